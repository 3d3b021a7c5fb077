"""Train a segmentation network with Lightning Fabric, as `network` trains a classifier: best epoch by tune loss."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.augment import augment_alike, seed_of
from hilum.cache import ArrayView
from hilum.errors import DataError
from hilum.networks.backbones import per_channel
from hilum.networks.classifier import films_a_pass
from hilum.networks.segmentation import Segmenter, build_segmenter
from hilum.parallel import Progress
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.train.checkpoint import Training, load_checkpoint
from hilum.train.epochs import Best, Fitted, learning_rate, make_optimiser, set_rate
from hilum.train.loop import Row, batches_of, precision_of, run_epochs, share_of
from hilum.train.mask_losses import mask_loss
from hilum.train.processes import make_fabric

MASK_HISTORY = ["epoch", "train_loss", "tune_loss", "tune_dice", "learning_rate"]


@dataclass(frozen=True)
class DrawnFilms:
    """Frames of films and the masks drawn on them, row by row, and which rows train and tune.

    `masks` holds a view a label, of 0 and 1; `assessed` (N, labels) is False where nobody drew that label, and None
    where every label was drawn on every film.
    """

    frames: ArrayView
    masks: tuple[ArrayView, ...]
    train: NDArray[np.int64]
    tune: NDArray[np.int64]
    assessed: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if any(len(mask) != len(self.frames) for mask in self.masks):
            raise DataError(f"there are {len(self.frames)} films but not as many masks of each label")
        if not len(self.train):
            raise DataError("no film is left to train the segmentation network on")
        if np.intersect1d(self.train, self.tune).size:
            raise DataError("a film is in the train fold and in the tune fold of the segmentation network")


def start_segmenter(recipe: SegmentationRecipe, seed: int) -> tuple[Segmenter, SegmentationRecipe]:
    """The recipe's network with what the seed draws of it, and the recipe with the network's own grey scale.

    Raises:
        UsageError: names that are not known, or parts that do not fit together.
        DataError: the weights cannot be had, with what would work instead.
    """
    torch.manual_seed(seed)
    told = recipe.preprocess
    network = build_segmenter(
        recipe.network,
        encoder=recipe.encoder,
        weights=recipe.weights,
        channels=told.channels,
        labels=len(recipe.labels),
    )
    scale = {"mean": per_channel(network.mean, told.channels), "std": per_channel(network.std, told.channels)}
    return network, recipe.model_copy(update={"preprocess": told.model_copy(update=scale)})


def fit_masks(
    segmenter: Segmenter,
    films: DrawnFilms,
    recipe: SegmentationRecipe,
    seed: int,
    *,
    checkpoint: Path,
    progress: Progress | None = None,
) -> Fitted:
    """Train all of a segmentation network; continues from `checkpoint` where a run was interrupted.

    Args:
        segmenter: changed in place; holds the best weights afterwards.
        films: with their masks, a view a label of the recipe.
        recipe: loss, augmentation, schedule, and the preprocess with the network's own mean and deviation.
        seed: of everything random here.
        checkpoint: file rewritten after every epoch; the caller removes it when the result is safe.
        progress: called with epochs done and epochs in all.

    Returns:
        A history with the columns `MASK_HISTORY`; the tune figure is the soft Dice of whole masks.
    """
    torch.manual_seed(seed)
    fitting = _MaskFit(segmenter, films, recipe, seed)
    best = Best(segmenter, recipe.schedule.patience)
    training = Training(segmenter, fitting.optimiser, best)
    rows = load_checkpoint(training, checkpoint)

    def one(epoch: int) -> Row:
        train_loss, rate = fitting.epoch(epoch)
        return epoch, train_loss, *fitting.score(), rate

    tuned = bool(len(films.tune))
    run_epochs(training, rows, recipe.schedule, one, tuned=tuned, checkpoint=checkpoint, progress=progress)
    fitting.fabric.barrier()
    history = pd.DataFrame(rows, columns=MASK_HISTORY)
    return Fitted(history, best.epoch, fitting.precision, fitting.fabric.device.type)


class _MaskFit:
    """One epoch after another over frames and masks, through Fabric."""

    def __init__(self, segmenter: Segmenter, films: DrawnFilms, recipe: SegmentationRecipe, seed: int) -> None:
        self.films, self.recipe, self.seed = films, recipe, seed
        self.loss = mask_loss(recipe.loss)
        self.fabric = make_fabric(recipe.schedule.precision)
        self.precision = precision_of(self.fabric)
        self.segmenter = segmenter.to(memory_format=torch.channels_last)
        optimiser = make_optimiser(list(segmenter.parameters()), recipe.schedule)
        self.network, self.optimiser = self.fabric.setup(segmenter, optimiser)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train loss and last learning rate; the draw of order and augmentation depends on seed and epoch alone."""
        torch.manual_seed(seed_of(self.seed, "epoch", epoch))
        self.segmenter.train()
        schedule, count = self.recipe.schedule, len(self.films.train)
        batches = batches_of(count, schedule, self.seed, epoch)
        total = torch.zeros((), device=self.fabric.device)
        for number, places in enumerate(batches):
            rate = learning_rate(schedule, (epoch - 1) * len(batches) + number, len(batches))
            set_rate(self.optimiser, rate)
            total += self._step(self.films.train[share_of(self.fabric, places)], epoch) * len(places)
        mean: Any = self.fabric.all_reduce(total / count, reduce_op="mean")
        return float(mean), rate

    def _step(self, rows: NDArray[np.int64], epoch: int) -> Tensor:
        views = [seed_of(self.seed, self.films.frames.keys[row], epoch) for row in rows.tolist()]
        grey, masks = augment_alike(self._grey(rows), self._masks(rows), self.recipe.augmentation, views)
        loss = self.loss(self.network(self._as_films(grey)), masks.to(self.fabric.device), self._assessed(rows))
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.optimiser.step()
        return loss.detach()

    def score(self) -> tuple[float, float]:
        """Loss and soft Dice on the tune fold, in float32; the first process's where several would differ."""
        tune = self.films.tune
        if not len(tune):
            return math.nan, math.nan
        self.segmenter.eval()
        at_once = films_a_pass(self.fabric.device)
        told = torch.zeros(2)
        dice = mask_loss("dice")
        with torch.inference_mode():
            for start in range(0, len(tune), at_once):
                rows = tune[start : start + at_once]
                logits = self.segmenter(self._as_films(self._grey(rows)))
                masks, assessed = self._masks(rows).to(logits.device), self._assessed(rows)
                losses = [float(one(logits, masks, assessed)) for one in (self.loss, dice)]
                told += torch.tensor(losses) * len(rows) / len(tune)
        scored: tuple[float, float] = self.fabric.broadcast((float(told[0]), 1 - float(told[1])))
        return scored

    def _grey(self, rows: NDArray[np.int64]) -> Tensor:
        """(N, 1, side, side) in [0, 1]."""
        top = float(2**self.recipe.preprocess.depth_bits - 1)
        return torch.from_numpy(self.films.frames[rows].astype(np.float32))[:, None] / top

    def _masks(self, rows: NDArray[np.int64]) -> Tensor:
        """(N, labels, side, side), 0 and 1."""
        return torch.from_numpy(np.stack([mask[rows] for mask in self.films.masks], 1)).float()

    def _assessed(self, rows: NDArray[np.int64]) -> Tensor | None:
        if self.films.assessed is None:
            return None
        return torch.from_numpy(self.films.assessed[rows]).to(self.fabric.device)

    def _as_films(self, grey: Tensor) -> Tensor:
        """Scaled as `Preprocess.normalise` does, but from greys that augmentation left between whole numbers."""
        told = self.recipe.preprocess
        mean, std = (torch.tensor(values or (0.5,)).reshape(1, -1, 1, 1) for values in (told.mean, told.std))
        films = (grey.expand(-1, told.channels, -1, -1) - mean) / std
        return films.to(self.fabric.device).contiguous(memory_format=torch.channels_last)

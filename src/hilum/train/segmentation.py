"""Train a segmentation network with Lightning Fabric, as `network` trains a classifier: best epoch by tune loss."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.augment import augment_alike
from hilum.cache import ArrayView
from hilum.engine.eager import films_a_pass
from hilum.errors import DataError
from hilum.networks.segmentation import Segmenter, build_segmenter
from hilum.parallel import Progress
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.train.epochs import Fitted
from hilum.train.frames import FrameFit, grey_of, with_scale
from hilum.train.mask_losses import mask_loss

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
    return network, with_scale(recipe, network)


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
    return _MaskFit(segmenter, films, recipe, seed).run(MASK_HISTORY, checkpoint=checkpoint, progress=progress)


Shown = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_] | None]
"""Films (N, 1, side, side) in [0, 1], their masks (N, labels, side, side), and who was assessed (N, labels)."""


class _MaskFit(FrameFit[DrawnFilms, SegmentationRecipe, Shown]):
    """One epoch after another over frames and masks, through Fabric."""

    def __init__(self, segmenter: Segmenter, films: DrawnFilms, recipe: SegmentationRecipe, seed: int) -> None:
        super().__init__(segmenter, films, recipe, seed)
        self.segmenter = segmenter
        self.loss = mask_loss(recipe.loss)

    def begin(self) -> None:
        self.segmenter.train()

    def look(self, rows: NDArray[np.int64], views: list[int]) -> Callable[[], Shown]:
        masks = [mask.only(rows) for mask in self.films.masks]
        return partial(_shown, self.films.frames.only(rows), masks, self._assessed(rows), self.recipe, views)

    def loss_of(self, shown: Shown) -> Tensor:
        grey, masks, assessed = shown
        return self.loss(self.network(self.as_films(torch.from_numpy(grey))), *self._here(masks, assessed))

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
                logits = self.segmenter(self.as_films(self.grey(rows)))
                drawn = _drawn([mask.only(rows) for mask in self.films.masks])
                reference = self._here(drawn, self._assessed(rows))
                losses = [float(one(logits, *reference)) for one in (self.loss, dice)]
                told += torch.tensor(losses) * len(rows) / len(tune)
        scored: tuple[float, float] = self.fabric.broadcast((float(told[0]), 1 - float(told[1])))
        return scored

    def _assessed(self, rows: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        return None if self.films.assessed is None else self.films.assessed[rows]

    def _here(self, masks: NDArray[np.float32], assessed: NDArray[np.bool_] | None) -> tuple[Tensor, Tensor | None]:
        device = self.fabric.device
        return torch.from_numpy(masks).to(device), None if assessed is None else torch.from_numpy(assessed).to(device)


def _shown(
    frames: ArrayView,
    masks: Sequence[ArrayView],
    assessed: NDArray[np.bool_] | None,
    recipe: SegmentationRecipe,
    views: list[int],
) -> Shown:
    """Films and masks changed alike."""
    drawn = torch.from_numpy(_drawn(masks))
    grey, moved = augment_alike(grey_of(frames[:], recipe), drawn, recipe.augmentation, views)
    return grey.numpy(), moved.numpy(), assessed


def _drawn(masks: Sequence[ArrayView]) -> NDArray[np.float32]:
    """(N, labels, side, side), 0 and 1, of a view a label."""
    return np.stack([mask[:] for mask in masks], 1).astype(np.float32)

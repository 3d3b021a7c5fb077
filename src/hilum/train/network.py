"""Train the network itself, with Lightning Fabric: CPU or GPU, bfloat16, several processes.

A checkpoint after every epoch lets an interrupted training go on to the same result.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.augment import read_changed, seed_of
from hilum.cache import ArrayView
from hilum.engine.eager import films_a_pass, readers
from hilum.errors import UsageError
from hilum.networks import Classifier
from hilum.networks.classifier import Standardise, freeze, training_mode
from hilum.parallel import Ahead, Progress
from hilum.recipe import Recipe
from hilum.train.checkpoint import Training, load_checkpoint
from hilum.train.epochs import (
    HISTORY,
    Best,
    Fitted,
    Folds,
    Stage,
    draw_head,
    make_optimiser,
)
from hilum.train.loop import Row, batches_of, precision_of, run_epochs, run_steps, settle_draws, share_of
from hilum.train.processes import make_fabric
from hilum.train.weighing import Loss

MEASURED_FILMS = 4096
"""As many training films, evenly taken, tell the mean and deviation of the vectors a head reads."""


def fit_network(
    classifier: Classifier,
    frames: ArrayView,
    folds: Folds,
    recipe: Recipe,
    stage: Stage,
    seed: int,
    *,
    checkpoint: Path,
    progress: Progress | None = None,
) -> Fitted:
    """Train the network from where the stage says; continues from `checkpoint` where a run was interrupted.

    A stage that is not the first starts from the weights it is given, and gives those back if no epoch has a lower tune
    loss: its best epoch is then 0.

    Args:
        classifier: changed in place; holds the best weights afterwards.
        frames: of all films, in the rows `folds` counts.
        folds: who trains and who tunes.
        recipe: augmentation and preprocess.
        stage: the schedule, and what is trained.
        seed: of everything random here.
        checkpoint: file rewritten after every epoch; the caller removes it when the result is safe.
        progress: called with epochs done and epochs in all.
    """
    _check_trainable(classifier, recipe, stage)
    schedule = stage.schedule
    torch.manual_seed(seed)
    if stage.fresh:
        draw_head(classifier.head)
    best = Best(classifier, schedule.patience)
    fitting = _NetworkFit(classifier, frames, folds, recipe, stage, seed)
    training = Training(classifier, fitting.optimiser, best)
    rows = load_checkpoint(training, checkpoint)
    if not rows and stage.fresh:
        fitting.standardise()
    if not rows and not stage.fresh and len(folds.tune):
        best.offer(0, fitting.score()[0])

    def one(epoch: int) -> Row:
        train_loss, rate = fitting.epoch(epoch)
        return epoch, train_loss, *fitting.score(), rate

    tuned = bool(len(folds.tune))
    with fitting.ahead:
        run_epochs(training, rows, schedule, one, tuned=tuned, checkpoint=checkpoint, progress=progress)
    fitting.fabric.barrier()
    return Fitted(pd.DataFrame(rows, columns=HISTORY), best.epoch, fitting.precision, fitting.fabric.device.type)


def _check_trainable(classifier: Classifier, recipe: Recipe, stage: Stage) -> None:
    """Refuse settings that cannot train a network."""
    if stage.schedule.optimiser == "lbfgs":
        raise UsageError("schedule.optimiser = 'lbfgs' fits a head only: leave network.train_from out, or use 'adamw'")
    normed = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in classifier.backbone.modules())
    still = stage.thawed.batch_norm == "frozen" and (stage.fresh or recipe.network.batch_norm == "frozen")
    if normed and recipe.network.weights == "random" and still:
        part = "network" if stage.fresh else "finetuning"
        raise UsageError(f"a network with random weights has no statistics yet: set {part}.batch_norm = 'trained'")


class _NetworkFit:
    """One epoch after another over frames, through Fabric."""

    def __init__(
        self,
        classifier: Classifier,
        frames: ArrayView,
        folds: Folds,
        recipe: Recipe,
        stage: Stage,
        seed: int,
    ) -> None:
        self.recipe, self.stage, self.seed = recipe, stage, seed
        self.frames, self.folds = frames, folds
        self.fabric = make_fabric(stage.schedule.precision)
        self.precision = precision_of(self.fabric)
        self.classifier = classifier.to(memory_format=torch.channels_last)
        optimiser = make_optimiser(freeze(classifier, stage.thawed), stage.schedule)
        self.network, self.optimiser = self.fabric.setup(classifier, optimiser)
        self.targets = torch.tensor(folds.targets)
        self.loss = Loss(folds, len(recipe.classes), stage.schedule)
        self.ahead = Ahead(readers(self.fabric.device))

    def standardise(self) -> None:
        """Measure the vectors the head reads before training moves them, where the recipe scales them."""
        layers = [layer for layer in self.classifier.head if isinstance(layer, Standardise)]
        if layers:
            rows = self.folds.train[:: math.ceil(len(self.folds.train) / MEASURED_FILMS)]
            vectors = torch.cat(list(self._scored(rows, self.classifier.vectors)))
            for layer in layers:
                layer.measure(vectors)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train loss and last learning rate; the draw of order and augmentation depends on seed and epoch alone."""
        settle_draws(self.fabric, self.seed, epoch)
        training_mode(self.classifier, self.stage.thawed)
        schedule = self.stage.schedule
        batches = batches_of(len(self.folds.train), schedule, self.seed, epoch)
        return run_steps(self.fabric, self.optimiser, schedule, epoch, batches, self._losses(batches, epoch))

    def _losses(self, batches: Sequence[NDArray[np.int64]], epoch: int) -> Iterator[Tensor]:
        """Of this process's part of each batch; films are read ahead, the loss is computed when its turn comes."""
        parts = [self._part(places) for places in batches]
        shown = self.ahead.each(self._look(mine, epoch) for mine, _ in parts)
        for frames, (mine, factor) in zip(shown, parts, strict=True):
            rows = self.folds.train[mine]
            logits = self.network(self._as_films(frames))
            yield self.loss(logits.float(), self.targets[rows].to(self.fabric.device), rows) * factor

    def _part(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
        """This process's part of a batch, by places in the train fold, and what its loss is multiplied by."""
        batch = self.folds.train[places]
        mine, factor = share_of(self.fabric, self.loss.weights(self.targets[batch], batch).numpy())
        return places[mine], factor

    def _look(self, places: NDArray[np.int64], epoch: int) -> Callable[[], NDArray[Any]]:
        """What reads training films and changes them as the epoch shows them."""
        copies = self.folds.copies[places].tolist()
        frames = self.frames.only(self.folds.train[places])
        views = [seed_of(self.seed, key, copy, epoch) for key, copy in zip(frames.keys, copies, strict=True)]
        return partial(read_changed, frames, self.recipe, copies=copies, views=views)

    def _as_films(self, frames: NDArray[Any]) -> Tensor:
        films = torch.from_numpy(self.recipe.preprocess.normalise(frames))
        return films.to(self.fabric.device).contiguous(memory_format=torch.channels_last)

    def score(self) -> tuple[float, float]:
        """Loss and accuracy on the tune fold, in float32; the first process's where several would differ."""
        tune = self.folds.tune
        if not len(tune):
            return math.nan, math.nan
        logits = torch.cat(list(self._scored(tune, self.classifier)))
        targets = self.targets[tune].to(logits.device)
        loss = float(self.loss(logits, targets, tune))
        told: tuple[float, float] = self.fabric.broadcast((loss, float((logits.argmax(1) == targets).float().mean())))
        return told

    def _scored(self, rows: NDArray[np.int64], network: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        self.classifier.eval()
        at_once = films_a_pass(self.fabric.device)
        with torch.inference_mode():
            for start in range(0, len(rows), at_once):
                yield network(self._as_films(self.frames[rows[start : start + at_once]]))

"""Train a head on a frozen backbone's cached vectors: seconds, and with `lbfgs` the optimum of a convex problem."""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.augment import seed_of
from hilum.features import FeatureCache, Variant
from hilum.networks import Classifier
from hilum.networks.classifier import Standardise
from hilum.recipe import Network, Recipe, Schedule
from hilum.train.epochs import (
    HISTORY,
    Best,
    Fitted,
    Folds,
    draw_head,
    learning_rate,
    make_optimiser,
    set_rate,
)
from hilum.train.projecting import fold_projection, projected_head, source_directions
from hilum.train.weighing import Loss


def fit_head(classifier: Classifier, features: FeatureCache, folds: Folds, recipe: Recipe, seed: int) -> Fitted:
    """Fit the head on cached vectors; the backbone is not touched.

    Each epoch sees every training film once, in a view drawn for that epoch; `lbfgs` sees all views at once.
    """
    torch.manual_seed(seed)
    draw_head(classifier.head)
    halved = recipe.schedule.precision == "bfloat16"
    shown = training_views(folds, recipe.schedule)
    views = torch.from_numpy(np.stack([features.vectors(variants) for variants in shown]))
    tune = torch.from_numpy(features.vectors([Variant(row) for row in folds.tune.tolist()]))
    for layer in classifier.head:
        if isinstance(layer, Standardise):
            layer.measure(views.flatten(0, 1))
    directions = _source_directions(classifier.head, views, folds, recipe.network)
    head = classifier.head if directions is None else projected_head(classifier.head, directions)
    fitting = _HeadFit(head, recipe.schedule, views, folds, len(recipe.classes), seed)
    best = Best(head, recipe.schedule.patience)
    rows = []
    for epoch in range(1, recipe.schedule.epochs + 1):
        train_loss, rate = fitting.epoch(epoch)
        tune_loss, accuracy = fitting.score(tune, folds.tune)
        rows.append((epoch, train_loss, tune_loss, accuracy, rate))
        best.offer(epoch, tune_loss if len(tune) else train_loss)
        if best.stale(epoch):
            break
    best.restore()
    if directions is not None:
        fold_projection(classifier.head, directions)
    return Fitted(pd.DataFrame(rows, columns=HISTORY), best.epoch, "bfloat16" if halved else "float32", "cpu")


def training_views(folds: Folds, schedule: Schedule) -> list[list[Variant]]:
    """Every view of every training row, copies included: a list a view."""
    halved = schedule.precision == "bfloat16"
    rows = list(zip(folds.train.tolist(), folds.copies.tolist(), strict=True))
    return [[Variant(row, copy, view, halved) for row, copy in rows] for view in range(schedule.views)]


def _source_directions(
    head: nn.Sequential, views: Tensor, folds: Folds, network: Network
) -> NDArray[np.float64] | None:
    """What the recipe takes from the vectors (views, N, size) of the train fold; None where it takes nothing."""
    if network.project == "none":
        return None
    vectors = views.flatten(0, 1)
    if isinstance(head[0], Standardise):
        vectors = head[0](vectors)
    targets, places = (np.tile(each[folds.train], len(views)) for each in (folds.targets, folds.origins))
    return source_directions(vectors.numpy(), targets, places, network.project_rounds)


class _HeadFit:
    """One epoch after another over cached vectors (views, N, size)."""

    def __init__(
        self, head: nn.Sequential, schedule: Schedule, views: Tensor, folds: Folds, classes: int, seed: int
    ) -> None:
        self.head, self.schedule, self.views, self.seed = head, schedule, views, seed
        self.rows, self.targets = folds.train, torch.tensor(folds.targets)
        self.loss = Loss(folds, classes, schedule)
        self.optimiser = make_optimiser(list(head.parameters()), schedule)
        self.steps_per_epoch = math.ceil(len(self.rows) / schedule.batch_films)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train loss, of the worst cell in a robust fit, and learning rate."""
        self.head.train()
        loss, rate = (self._whole(), 1.0) if self.schedule.optimiser == "lbfgs" else self._batches(epoch)
        return (self._moved() if self.schedule.robust else loss), rate

    def _moved(self) -> float:
        """Move the weight to cells with a high loss; returns the highest."""
        losses = self._by_cell(self.views.flatten(0, 1), np.tile(self.rows, len(self.views)))
        self.loss.move(losses)
        if self.schedule.optimiser == "lbfgs":  # what it remembers is the slope of another loss
            self.optimiser = make_optimiser(list(self.head.parameters()), self.schedule)
        return float(np.nanmax(losses))

    def _by_cell(self, vectors: Tensor, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        with torch.inference_mode():
            return self.loss.by_cell(self.head.eval()(vectors), self.targets[rows], rows)

    def _whole(self) -> float:
        vectors = self.views.flatten(0, 1)
        rows = np.tile(self.rows, len(self.views))
        targets = self.targets[rows]
        matrices = [parameter for parameter in self.head.parameters() if parameter.ndim > 1]

        def closure() -> Tensor:
            self.optimiser.zero_grad()
            loss = self.loss(self.head(vectors), targets, rows)
            loss = loss + self.schedule.weight_decay / 2 * sum(matrix.square().sum() for matrix in matrices)
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
            return loss

        loss: Any = self.optimiser.step(closure)  # type: ignore[arg-type] # torch's closure type asks for a float
        return float(loss.detach())

    def _batches(self, epoch: int) -> tuple[float, float]:
        draw = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
        order = torch.randperm(len(self.rows), generator=draw)
        view = torch.randint(len(self.views), (len(self.rows),), generator=draw)
        total = 0.0
        for number, places in enumerate(torch.split(order, self.schedule.batch_films)):
            rate = learning_rate(self.schedule, (epoch - 1) * self.steps_per_epoch + number, self.steps_per_epoch)
            set_rate(self.optimiser, rate)
            rows = self.rows[places.numpy()]
            loss = self.loss(self.head(self.views[view[places], places]), self.targets[rows], rows)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
            self.optimiser.step()
            total += loss.item() * len(rows)
        return total / len(order), rate

    def score(self, vectors: Tensor, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Loss, of the worst cell in a robust fit, and accuracy on vectors (N, size); NaN where there are none."""
        if not len(rows):
            return math.nan, math.nan
        targets = self.targets[rows]
        with torch.inference_mode():
            logits = self.head.eval()(vectors)
            loss = float(self.loss(logits, targets, rows))
            if self.schedule.robust:
                loss = float(np.nanmax(self.loss.by_cell(logits, targets, rows)))
            return loss, float((logits.argmax(1) == targets).float().mean())

"""Train a head on a frozen backbone's cached vectors: seconds, and with `lbfgs` the optimum of a convex problem."""

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from hilum.augment import seed_of
from hilum.features import FeatureCache, Variant
from hilum.networks import Classifier
from hilum.networks.classifier import Standardise
from hilum.recipe import Recipe, Schedule
from hilum.train.epochs import (
    HISTORY,
    Best,
    Fitted,
    Folds,
    class_weights,
    draw_head,
    learning_rate,
    make_optimiser,
    set_rate,
)


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
    targets = torch.tensor(folds.targets)
    fitting = _HeadFit(classifier.head, recipe.schedule, views, targets[folds.train], len(recipe.classes), seed)
    best = Best(classifier.head, recipe.schedule.patience)
    rows = []
    for epoch in range(1, recipe.schedule.epochs + 1):
        train_loss, rate = fitting.epoch(epoch)
        tune_loss, accuracy = fitting.score(tune, targets[folds.tune])
        rows.append((epoch, train_loss, tune_loss, accuracy, rate))
        best.offer(epoch, tune_loss if len(tune) else train_loss)
        if best.stale(epoch):
            break
    best.restore()
    return Fitted(pd.DataFrame(rows, columns=HISTORY), best.epoch, "bfloat16" if halved else "float32", "cpu")


def training_views(folds: Folds, schedule: Schedule) -> list[list[Variant]]:
    """Every view of every training row, copies included: a list a view."""
    halved = schedule.precision == "bfloat16"
    rows = list(zip(folds.train.tolist(), folds.copies.tolist(), strict=True))
    return [[Variant(row, copy, view, halved) for row, copy in rows] for view in range(schedule.views)]


class _HeadFit:
    """One epoch after another over cached vectors (views, N, size)."""

    def __init__(
        self, head: nn.Sequential, schedule: Schedule, views: Tensor, targets: Tensor, classes: int, seed: int
    ) -> None:
        self.head, self.schedule, self.views, self.targets, self.seed = head, schedule, views, targets, seed
        self.weights = class_weights(targets.numpy(), classes, schedule.class_weights)
        self.optimiser = make_optimiser(list(head.parameters()), schedule)
        self.steps_per_epoch = math.ceil(len(targets) / schedule.batch_films)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train loss and learning rate."""
        self.head.train()
        if self.schedule.optimiser == "lbfgs":
            return self._whole(), 1.0
        return self._batches(epoch)

    def _whole(self) -> float:
        vectors = self.views.flatten(0, 1)
        targets = self.targets.repeat(len(self.views))
        matrices = [parameter for parameter in self.head.parameters() if parameter.ndim > 1]

        def closure() -> Tensor:
            self.optimiser.zero_grad()
            loss = functional.cross_entropy(self.head(vectors), targets, self.weights)
            loss = loss + self.schedule.weight_decay / 2 * sum(matrix.square().sum() for matrix in matrices)
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
            return loss

        loss: Any = self.optimiser.step(closure)  # type: ignore[arg-type] # torch's closure type asks for a float
        return float(loss.detach())

    def _batches(self, epoch: int) -> tuple[float, float]:
        draw = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
        order = torch.randperm(len(self.targets), generator=draw)
        view = torch.randint(len(self.views), (len(self.targets),), generator=draw)
        total = 0.0
        for number, rows in enumerate(torch.split(order, self.schedule.batch_films)):
            rate = learning_rate(self.schedule, (epoch - 1) * self.steps_per_epoch + number, self.steps_per_epoch)
            set_rate(self.optimiser, rate)
            loss = functional.cross_entropy(self.head(self.views[view[rows], rows]), self.targets[rows], self.weights)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
            self.optimiser.step()
            total += loss.item() * len(rows)
        return total / len(order), rate

    def score(self, vectors: Tensor, targets: Tensor) -> tuple[float, float]:
        """Loss and accuracy on vectors (N, size); NaN where there are none."""
        if not len(targets):
            return math.nan, math.nan
        with torch.inference_mode():
            logits = self.head.eval()(vectors)
            loss = functional.cross_entropy(logits, targets, self.weights)
            return float(loss), float((logits.argmax(1) == targets).float().mean())

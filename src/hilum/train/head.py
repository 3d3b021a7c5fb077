"""Train heads on a frozen backbone's cached vectors: seconds, and with `lbfgs` the optimum of a convex problem.

Heads that are stepped through batches of films are fitted many at once (`stacks`); a single one is a stack of one. A
head of `lbfgs` has a line search of its own and is fitted by itself.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.augment import seed_of
from hilum.errors import DataError
from hilum.features import Variant, VectorBank
from hilum.networks.classifier import Standardise
from hilum.recipe import Network, Recipe, Schedule
from hilum.train.epochs import HISTORY, Fitted, Folds, draw_head, make_optimiser
from hilum.train.projecting import fold_projection, projected_head, source_directions
from hilum.train.stacks import Course, fit_stacks
from hilum.train.weighing import Loss


@dataclass(frozen=True)
class HeadTask:
    """A head to fit: by whom, on which of the bank's vectors. `head` is changed, and holds the best weights after."""

    head: nn.Sequential
    bank: VectorBank
    folds: Folds
    recipe: Recipe
    seed: int
    shown: NDArray[np.int64]
    """(views, N) rows of the bank, of every view of every training film."""
    tune: NDArray[np.int64]
    """(M,) rows of the bank."""


def fit_heads(tasks: Sequence[HeadTask]) -> list[Fitted | DataError]:
    """Fit every head, many at once; what one gives does not depend on which others are fitted beside it.

    Each epoch of a head sees every training film once, in a view drawn for that epoch; `lbfgs` sees all views at once.

    Returns:
        Of each task its history, or why it has none: an error of one head is not the others'.
    """
    found = [_begun(task) for task in tasks]
    fits = [one for one in found if isinstance(one, _HeadFit)]
    alone = [one.course for one in fits if one.course.schedule.optimiser == "lbfgs"]
    fit_stacks([one.course for one in fits if one.course not in alone])
    for course in alone:
        WholeFit(course).run()
    return [one.done() if isinstance(one, _HeadFit) else one for one in found]


def training_views(folds: Folds, schedule: Schedule) -> list[list[Variant]]:
    """Every view of every training row, copies included: a list a view."""
    halved = schedule.precision == "bfloat16"
    rows = list(zip(folds.train.tolist(), folds.copies.tolist(), strict=True))
    return [[Variant(row, copied, view, halved) for row, copied in rows] for view in range(schedule.views)]


def drawn_head(head: nn.Sequential, seed: int) -> nn.Sequential:
    """A copy of a head, its weights drawn anew by this seed; the caller's random state is left alone."""
    drawn = copy.deepcopy(head).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        draw_head(drawn)
    return drawn


def _begun(task: HeadTask) -> "_HeadFit | DataError":
    try:
        return _HeadFit(task)
    except DataError as error:
        return error


def _source_directions(
    head: nn.Sequential, vectors: Tensor, folds: Folds, network: Network
) -> NDArray[np.float64] | None:
    """What the recipe takes from the vectors (views * N, size) of the train fold; None where it takes nothing."""
    if network.project == "none":
        return None
    if isinstance(head[0], Standardise):
        vectors = head[0](vectors)
    views = len(vectors) // len(folds.train)
    targets, places = (np.tile(each[folds.train], views) for each in (folds.targets, folds.origins))
    return source_directions(vectors.numpy(), targets, places, network.project_rounds)


class _HeadFit:
    """One head from its first epoch to its last; `course` says where it stands."""

    def __init__(self, task: HeadTask) -> None:
        self.task = task
        schedule, vectors = task.recipe.schedule, task.bank.vectors
        seen = vectors[task.shown.ravel()]
        for layer in task.head:
            if isinstance(layer, Standardise):
                layer.measure(seen)
        self.directions = _source_directions(task.head, seen, task.folds, task.recipe.network)
        head = task.head if self.directions is None else projected_head(task.head, self.directions)
        loss = Loss(task.folds, len(task.recipe.classes), schedule)
        self.course = Course(head, schedule, loss, task.folds, vectors, task.shown, task.tune, task.seed)

    def done(self) -> Fitted | DataError:
        """The history; the head then holds its best weights."""
        if self.course.failed is not None:
            return self.course.failed
        self.course.best.restore()
        if self.directions is not None:
            fold_projection(self.task.head, self.directions)
        halved = self.task.recipe.schedule.precision == "bfloat16"
        history = pd.DataFrame(self.course.rows, columns=HISTORY)
        return Fitted(history, self.course.best.epoch, "bfloat16" if halved else "float32", "cpu")


class WholeFit:
    """A head fitted by itself, every step on all vectors of its train fold."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.vectors = course.vectors[course.shown.ravel()]
        self.rows = np.tile(course.folds.train, len(course.shown))
        self.targets = torch.tensor(course.folds.targets[self.rows])
        self.matrices = [parameter for parameter in course.head.parameters() if parameter.ndim > 1]
        self.optimiser = self._optimiser()

    def _optimiser(self) -> torch.optim.Optimizer:
        return make_optimiser(list(self.course.head.parameters()), self.course.schedule)

    def run(self) -> None:
        """All epochs, five iterations each; the caller's random state is left alone."""
        while not self.course.over:
            self.course.head.train()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(self.course.seed, "dropout", len(self.course.rows) + 1))
                loss: Any = self.optimiser.step(self._closure)  # type: ignore[arg-type] # torch's type asks for a float
            self.course.end_epoch(float(loss.detach()), 1.0)
            if self.course.schedule.robust:  # what it remembers is the slope of another loss
                self.optimiser = self._optimiser()

    def _closure(self) -> Tensor:
        self.optimiser.zero_grad()
        loss = self.course.loss(self.course.head(self.vectors), self.targets, self.rows)
        loss = loss + self.course.schedule.weight_decay / 2 * sum(matrix.square().sum() for matrix in self.matrices)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        return loss

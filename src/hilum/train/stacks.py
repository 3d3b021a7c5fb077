"""Many heads stepped through their batches at once, their weights stacked; each comes out as if it were alone.

A head has its own films, order, views, weights of films, dropout draws, learning rate, waiting time and best epoch.
What heads of a stack share is the shape of their layers and the kind of their optimiser. Torch's optimiser moves the
whole stack by a step of rate one, of which every head keeps the share that its own rate tells: in Adam, AdamW and
stochastic gradient descent alike a step is the rate times what the gradients say.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from hilum.augment import seed_of
from hilum.errors import DataError
from hilum.recipe import Schedule
from hilum.train.epochs import Best, Folds, learning_rate, make_optimiser, set_rate
from hilum.train.loop import Row
from hilum.train.weighing import Loss

AT_ONCE = 700_000
"""Numbers of vectors that a step of a stack reads at most: with more the batches of one head after the other stay in
the processor's cache, and those of a stack do not. A head whose batch leaves no room for a second is fitted alone."""


class Course:
    """Where one head stands: its epochs so far, its best weights, and the batches of the epoch it is in."""

    def __init__(
        self,
        head: nn.Sequential,
        schedule: Schedule,
        loss: Loss,
        folds: Folds,
        vectors: Tensor,
        shown: NDArray[np.int64],
        tune: NDArray[np.int64],
        seed: int,
    ) -> None:
        """Begin before the first epoch.

        Args:
            head: its layers; holds the weights of the last epoch scored.
            schedule: how it is fitted.
            loss: what its films weigh.
            folds: its films.
            vectors: (V, size) of these and others.
            shown: (views, N) rows of `vectors`, of every view of every training film.
            tune: (M,) rows of `vectors`.
            seed: of its order, views and dropout.
        """
        self.head, self.schedule, self.loss, self.folds, self.seed = head, schedule, loss, folds, seed
        self.vectors, self.shown, self.tune = vectors, shown, tune
        self.best = Best(head, schedule.patience)
        self.rows: list[Row] = []
        self.failed: DataError | None = None
        self.draw = torch.Generator()
        self._targets = torch.tensor(folds.targets)
        self._steps: Iterator[tuple[Tensor, Tensor, Tensor]] = iter(())
        self.number = 0

    @property
    def batch_films(self) -> int:
        return min(self.schedule.batch_films, len(self.folds.train))

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.folds.train) / self.schedule.batch_films)

    @property
    def over(self) -> bool:
        """Whether no epoch is left."""
        done = len(self.rows)
        return self.failed is not None or done >= self.schedule.epochs or self.best.stale(done)

    @property
    def rate(self) -> float:
        """Learning rate of the step before this moment."""
        return learning_rate(self.schedule, self.number - 1, self.steps_per_epoch)

    def next_step(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the vectors (B,), targets (B,) and weights (B,) of its next batch; one is filled up with weight 0."""
        if self.number % self.steps_per_epoch == 0:
            self._steps = self._drawn(len(self.rows) + 1)
        self.number += 1
        return next(self._steps)

    @property
    def at_end_of_epoch(self) -> bool:
        return self.number % self.steps_per_epoch == 0

    @property
    def films_of_step(self) -> int:
        """Films of the batch before this moment."""
        place = (self.number - 1) % self.steps_per_epoch * self.schedule.batch_films
        return min(self.schedule.batch_films, len(self.folds.train) - place)

    def _drawn(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """An epoch's batches; order, views and dropout depend on seed and epoch alone."""
        train, films = self.folds.train, len(self.folds.train)
        draw = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
        order = torch.randperm(films, generator=draw)
        view = torch.randint(len(self.shown), (films,), generator=draw)
        self.draw.manual_seed(seed_of(self.seed, "dropout", epoch))
        filled = torch.cat([order, order[:1].expand(self.steps_per_epoch * self.batch_films - films)])
        weights = self.loss.weights(self._targets[train], train)[filled]
        weights[films:] = 0
        seen = torch.tensor(self.shown)[view[filled], filled]
        parts = (seen, self._targets[train][filled], weights)
        yield from zip(*(torch.split(part, self.batch_films) for part in parts), strict=True)

    def end_epoch(self, train_loss: float, rate: float) -> None:
        """Score the epoch with the weights the head holds now, and note whether they are the best."""
        if self.schedule.robust:
            train_loss = self._moved()
        tune_loss, accuracy = self._score()
        self.rows.append((len(self.rows) + 1, train_loss, tune_loss, accuracy, rate))
        try:
            self.best.offer(len(self.rows), tune_loss if len(self.tune) else train_loss)
        except DataError as error:
            self.failed = error

    def _moved(self) -> float:
        """Move the weight to cells with a high loss; returns the highest."""
        rows = np.tile(self.folds.train, len(self.shown))
        with torch.inference_mode():
            logits = self.head.eval()(self.vectors[self.shown.ravel()])
            losses = self.loss.by_cell(logits, self._targets[rows], rows)
        self.loss.move(losses)
        return float(np.nanmax(losses))

    def _score(self) -> tuple[float, float]:
        """Loss, of the worst cell in a robust fit, and accuracy on the tune fold; NaN where there is none."""
        rows = self.folds.tune
        if not len(rows):
            return math.nan, math.nan
        targets = self._targets[rows]
        with torch.inference_mode():
            logits = self.head.eval()(self.vectors[self.tune])
            loss = float(self.loss(logits, targets, rows))
            if self.schedule.robust:
                loss = float(np.nanmax(self.loss.by_cell(logits, targets, rows)))
            return loss, float((logits.argmax(1) == targets).float().mean())


def fit_stacks(courses: Sequence[Course]) -> None:
    """Fit all heads to their ends, those that are alike at once."""
    alike: dict[tuple[object, ...], list[Course]] = {}
    for course in courses:
        alike.setdefault(_likeness(course), []).append(course)
    for stack in alike.values():
        widest = max(course.batch_films for course in stack) * stack[0].vectors.shape[1]
        most = max(AT_ONCE // widest, 1)
        for start in range(0, len(stack), most):
            part = stack[start : start + most]
            (_Stack(part) if len(part) > 1 else _Lone(part[0])).run()


def _likeness(course: Course) -> tuple[object, ...]:
    """What heads must share to be stacked."""
    layers = tuple((type(layer), *_told(layer)) for layer in course.head)
    schedule = course.schedule
    momentum = schedule.momentum if schedule.optimiser == "sgd" else None
    return layers, schedule.optimiser, momentum, schedule.batch_films, id(course.vectors)


def _told(layer: nn.Module) -> tuple[object, ...]:
    return tuple((name, tuple(value.shape)) for name, value in layer.state_dict().items())


class _Lone:
    """A head by itself, from its first step to its last: what a stack of it would be, without what stacking costs."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.optimiser = make_optimiser(list(course.head.parameters()), course.schedule)

    def run(self) -> None:
        total, course = 0.0, self.course
        while not course.over:
            rows, targets, weights = course.next_step()
            each = functional.cross_entropy(self._logits(course.vectors[rows]), targets, reduction="none")
            loss = each @ weights / weights.sum()
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
            set_rate(self.optimiser, course.rate)
            self.optimiser.step()
            total += float(loss.detach()) * course.films_of_step
            if course.at_end_of_epoch:
                course.end_epoch(total / len(course.folds.train), course.rate)
                total = 0.0

    def _logits(self, seen: Tensor) -> Tensor:
        """(B, classes); dropout draws what it draws in a stack."""
        for layer in self.course.head:
            kept = 1 - _share(layer)
            mask = torch.ones_like(seen).bernoulli_(kept, generator=self.course.draw).div_(kept) if kept < 1 else None
            seen = layer(seen) if mask is None else seen * mask
        return seen


class _Masked(nn.Module):
    """Dropout whose draw is given: what is kept, over the share kept."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(1, 1))

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors * self.mask


class _Stack:
    """Heads that are alike, from their first step to the last one's last."""

    def __init__(self, courses: Sequence[Course]) -> None:
        self.courses = list(courses)
        schedule = courses[0].schedule
        self.parameters, self.buffers = _stacked([course.head for course in courses])
        self.base = _masked(courses[0].head)
        self.optimiser = _optimiser(self.parameters, schedule)
        self.decoupled = schedule.optimiser == "adamw"
        self.totals = torch.zeros(len(courses), dtype=torch.float64)

    def run(self) -> None:
        while self.courses:
            steps = [course.next_step() for course in self.courses]
            films = max(len(rows) for rows, _, _ in steps)
            rows, targets, weights = (
                torch.stack([_filled(part, films) for part in each]) for each in zip(*steps, strict=True)
            )
            losses = self._losses(self.courses[0].vectors[rows], targets, weights)
            self.totals += losses.detach() * torch.tensor([course.films_of_step for course in self.courses])
            self._step(losses, torch.tensor([course.rate for course in self.courses]))
            self._end_epochs()

    def _losses(self, vectors: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """(H,) of vectors (H, B, size), targets (H, B) and weights (H, B)."""
        drawn = self._masks(vectors.shape[1])
        called = vmap(lambda state, seen: functional_call(self.base, state, (seen,)))
        logits = called(self.parameters | self.buffers | drawn, vectors)
        each = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        losses: Tensor = (each.view_as(weights) * weights).sum(1) / weights.sum(1)
        return losses

    def _masks(self, films: int) -> dict[str, Tensor]:
        """What dropout leaves in each layer (H, films, width), drawn by each head's own generator."""
        found = {}
        for place, layer in enumerate(self.base):
            if isinstance(layer, _Masked):
                width = next(later.in_features for later in self.base[place:] if isinstance(later, nn.Linear))
                masks = torch.ones(len(self.courses), films, width)
                for mask, course in zip(masks, self.courses, strict=True):
                    kept = 1 - _share(course.head[place])
                    mask[: course.batch_films].bernoulli_(kept, generator=course.draw).div_(kept)
                found[f"{place}.mask"] = masks
        return found

    def _step(self, losses: Tensor, rates: Tensor) -> None:
        self.optimiser.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        decays = torch.tensor([course.schedule.weight_decay for course in self.courses])
        before = [parameter.detach().clone() for parameter in self.parameters.values()]
        with torch.no_grad():
            if not self.decoupled and decays.any():
                for parameter in self.parameters.values():
                    if parameter.grad is not None:
                        parameter.grad += _beside(decays, parameter) * parameter
            self.optimiser.step()
            for parameter, old in zip(self.parameters.values(), before, strict=True):
                rate = _beside(rates, parameter)
                moved = torch.lerp(old, parameter, rate)
                parameter.copy_(moved - rate * _beside(decays, parameter) * old if self.decoupled else moved)

    def _end_epochs(self) -> None:
        """Score the heads that have seen all their films, and let go of those that are done."""
        for place, course in enumerate(self.courses):
            if course.at_end_of_epoch:
                course.head.load_state_dict(
                    {name: value[place] for name, value in self.parameters.items()}, strict=False
                )
                course.end_epoch(float(self.totals[place]) / len(course.folds.train), course.rate)
                self.totals[place] = 0
        left = [place for place, course in enumerate(self.courses) if not course.over]
        if not left:
            self.courses = []
        elif len(left) < len(self.courses):
            self._keep(left)

    def _keep(self, left: list[int]) -> None:
        self.courses = [self.courses[place] for place in left]
        self.totals = self.totals[left]
        self.buffers = {name: value[left] for name, value in self.buffers.items()}
        before, moments = self.parameters, self.optimiser.state
        self.parameters = {name: nn.Parameter(parameter.detach()[left]) for name, parameter in before.items()}
        self.optimiser = _optimiser(self.parameters, self.courses[0].schedule)
        for parameter, kept in zip(before.values(), self.parameters.values(), strict=True):
            self.optimiser.state[kept] = {
                told: value[left] if isinstance(value, Tensor) and value.shape == parameter.shape else value
                for told, value in moments[parameter].items()
            }


def _optimiser(parameters: Mapping[str, nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    """The recipe's, with rate one and without decay: these are each head's own, and `_Stack` sees to them."""
    plain = schedule.model_copy(update={"learning_rate": 1.0, "weight_decay": 0.0})
    return make_optimiser(list(parameters.values()), plain)


def _stacked(heads: Sequence[nn.Sequential]) -> tuple[dict[str, nn.Parameter], dict[str, Tensor]]:
    """Weights and fixed tensors of the heads by name, (H, ...) each."""
    parameters, buffers = stack_module_state(list(heads))
    return {name: nn.Parameter(value.detach()) for name, value in parameters.items()}, dict(buffers)


def _masked(head: nn.Sequential) -> nn.Sequential:
    """The same layers, with dropout that is given its draw and nothing that changes what it reads."""
    swaps: Mapping[type[nn.Module], type[nn.Module]] = {nn.Dropout: _Masked, nn.ReLU: nn.ReLU}
    layers = [swaps[type(layer)]() if type(layer) in swaps else copy.deepcopy(layer) for layer in head]
    return nn.Sequential(*layers)


def _share(layer: nn.Module) -> float:
    return layer.p if isinstance(layer, nn.Dropout) else 0.0


def _beside(told: Tensor, parameter: Tensor) -> Tensor:
    """Numbers (H,) in as many dimensions as a parameter (H, ...)."""
    return told.view(-1, *[1] * (parameter.ndim - 1))


def _filled(part: Tensor, films: int) -> Tensor:
    """(B,) to (films,): repeated from the first for rows and targets, whose weight is then 0."""
    short = films - len(part)
    if not short:
        return part
    rest = part.new_zeros(short) if part.is_floating_point() else part[:1].expand(short)
    return torch.cat([part, rest])

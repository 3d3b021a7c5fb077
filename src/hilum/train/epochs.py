"""What both ways of training share: folds, weights of the loss, optimisers, learning rates, and the best epoch."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.errors import DataError
from hilum.recipe import Schedule, Thawed

HISTORY = ["epoch", "train_loss", "tune_loss", "tune_accuracy", "learning_rate"]


@dataclass(frozen=True)
class Folds:
    """Row numbers of the films that train and tune, and every film's class number.

    `copies` tells of each training row which off-line copy of the film it is; 0 is the film itself. `places` tells of
    every film by a number where it comes from; None where that plays no part.
    """

    train: NDArray[np.int64]
    tune: NDArray[np.int64]
    targets: NDArray[np.int64]
    copies: NDArray[np.int64]
    places: NDArray[np.int64] | None = None

    @property
    def origins(self) -> NDArray[np.int64]:
        """`places`, or one and the same."""
        return np.zeros_like(self.targets) if self.places is None else self.places


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe's training: how long and how, what is trained, and whether the head is drawn anew."""

    schedule: Schedule
    thawed: Thawed
    fresh: bool


@dataclass(frozen=True)
class Fitted:
    """A history (a row an epoch, columns `HISTORY`), the epoch whose weights were kept, and how it was computed."""

    history: pd.DataFrame
    best_epoch: int
    precision: str
    device: str

    def then(self, second: "Fitted") -> "Fitted":
        """This stage and the next as one: epochs count on, and the best one is the next's unless it found none."""
        done = len(self.history)
        later = second.history.assign(epoch=second.history["epoch"] + done)
        best = done + second.best_epoch if second.best_epoch else self.best_epoch
        history = pd.concat([self.history, later], ignore_index=True)
        return Fitted(history, best, second.precision, second.device)


class Best:
    """The weights with the lowest tune loss so far, and whether to go on waiting for lower."""

    def __init__(self, module: nn.Module, patience: int | None) -> None:
        self.module = module
        self.patience = patience
        self.epoch = 0
        self.loss = math.inf
        self.state: dict[str, Tensor] = {}

    def offer(self, epoch: int, loss: float) -> None:
        """Note an epoch's tune loss, and keep the weights where it is the lowest.

        Raises:
            DataError: the loss is no number.
        """
        if not math.isfinite(loss):
            raise DataError(f"the loss is no longer a number in epoch {epoch}; lower schedule.learning_rate")
        if loss < self.loss:
            self.epoch, self.loss = epoch, loss
            self.state = {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def stale(self, epochs: int) -> bool:
        """Whether the best of so many epochs lies too far back to go on."""
        return self.patience is not None and epochs - self.epoch >= self.patience

    def restore(self) -> None:
        """Put the best weights back."""
        self.module.load_state_dict(self.state)


def class_weights(targets: NDArray[np.int64], classes: int, kind: str) -> Tensor:
    """(classes,) weights of the loss; `balanced` is n / (k * n_class) (King and Zeng 2001).

    Raises:
        DataError: a class has no film in the train fold.
    """
    counts = np.bincount(targets, minlength=classes)
    if not counts.all():
        raise DataError(f"class number {int(np.argmin(counts))} has no film in the train fold")
    weights = len(targets) / (classes * counts) if kind == "balanced" else np.ones(classes)
    return torch.tensor(weights, dtype=torch.float32)


def make_optimiser(parameters: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    """The recipe's optimiser over `parameters`."""
    rate, decay = schedule.learning_rate, schedule.weight_decay
    match schedule.optimiser:
        case "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=schedule.momentum, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
        case "lbfgs":
            return torch.optim.LBFGS(parameters, lr=1.0, max_iter=5, line_search_fn="strong_wolfe")
        case kind:
            return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, amsgrad=kind == "amsgrad")


def learning_rate(schedule: Schedule, step: int, steps_per_epoch: int) -> float:
    """The rate at a step counted from 0."""
    if schedule.decay == "cosine":
        share = step / (schedule.epochs * steps_per_epoch)
        return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
    if schedule.decay == "inverse":
        return schedule.learning_rate / (1 + step * schedule.learning_rate / schedule.epochs)
    return schedule.learning_rate


def draw_head(head: nn.Module) -> None:
    """Draw the weights of the dense layers anew, from the state torch's generator is in."""
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters one learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate

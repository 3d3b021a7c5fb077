"""What a film weighs in the loss: by its class, or by its cell, the films of one class from one place.

A source that holds mostly films of one class is a shortcut to the class. Cells that weigh the same leave it none where
every source holds every class; where one holds a single class, no weighting can (`unparted` says which).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hilum.recipe import Schedule
from hilum.train.epochs import Folds, class_weights

STEP = 0.5
"""Of the weights of cells, up the loss, after each epoch of a robust fit."""
NAMED = 5
"""Places that a sentence names at most; the others are counted."""


class Loss:
    """Mean cross-entropy of films, each with its weight; weights of cells can be moved to those with a high loss."""

    def __init__(self, folds: Folds, classes: int, schedule: Schedule) -> None:
        """Weights as the schedule asks for them.

        Raises:
            DataError: a class has no film in the train fold.
        """
        self.by_class = class_weights(folds.targets[folds.train], classes, schedule.class_weights)
        self.by_film: Tensor | None = None
        if schedule.balance == "source" or schedule.robust:
            self.cells = cells_of(folds)
            self._counts = np.bincount(self.cells[folds.train], minlength=self.cells.max() + 1)
            self._shares = (self._counts > 0) / np.count_nonzero(self._counts)
            self._weigh()

    def __call__(self, logits: Tensor, targets: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Of films by their logits (N, classes), class numbers (N,) and row numbers (N,)."""
        if self.by_film is None:
            return functional.cross_entropy(logits, targets, self.by_class.to(logits.device))
        weights = self.by_film[rows].to(logits.device)
        return functional.cross_entropy(logits, targets, reduction="none") @ weights / weights.sum()

    def weights(self, targets: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """(N,) of films by their class numbers (N,) and row numbers (N,): what `__call__` takes the mean with."""
        return self.by_class[targets] if self.by_film is None else self.by_film[rows]

    def by_cell(self, logits: Tensor, targets: Tensor, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean loss of each cell, (cells,); NaN where a cell has no film among these."""
        losses = functional.cross_entropy(logits, targets, reduction="none").double().numpy()
        sums, counts = (np.bincount(self.cells[rows], each, len(self._counts)) for each in (losses, None))
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def move(self, losses: NDArray[np.float64]) -> None:
        """Multiply each cell's share of the weight by exp(STEP * its training loss): exponentiated gradient ascent.

        References:
            Sagawa, Koh, Hashimoto, Liang: Distributionally robust neural networks for group shifts. ICLR 2020.
            arXiv:1911.08731
        """
        shares = self._shares * np.exp(STEP * np.nan_to_num(losses - np.nanmax(losses)))
        self._shares = shares / shares.sum()
        self._weigh()

    def _weigh(self) -> None:
        """A cell's share over its training films; 1, the mean, for films of cells that none is trained from."""
        told = self._shares * self._counts.sum() / np.maximum(self._counts, 1)
        weights = np.where(self._counts > 0, told, 1.0)
        self.by_film = torch.tensor(weights[self.cells], dtype=torch.float32)


def cells_of(folds: Folds) -> NDArray[np.int64]:
    """Each film's cell, numbered without gaps: films of one class from one place have the same number."""
    both = np.stack([folds.origins, folds.targets], axis=1)
    cells: NDArray[np.int64] = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return cells


def unparted(targets: Sequence[str], places: Sequence[str], column: str) -> str | None:
    """One sentence on the places whose films are all of one class, which no weighting can part from it; None without.

    Args:
        targets: class of each training film.
        places: where each comes from, by the index's `column`.
        column: of the index.

    >>> unparted(["a", "b", "a"], ["here", "here", "there"], "source")
    'no weighting separates class and source where all films are of one class: there (a)'
    """
    classes: dict[str, set[str]] = {}
    for target, place in zip(targets, places, strict=True):
        classes.setdefault(place, set()).add(target)
    single = [f"{place} ({next(iter(held))})" for place, held in sorted(classes.items()) if len(held) == 1]
    if not single:
        return None
    if len(single) == len(classes):
        return f"no weighting can separate class and {column}: every {column} holds films of one class only"
    more = [f"{len(single) - NAMED} more"] if len(single) > NAMED else []
    named = ", ".join([*single[:NAMED], *more])
    return f"no weighting separates class and {column} where all films are of one class: {named}"

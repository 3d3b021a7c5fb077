"""An interval for a calibrated probability: the inductive Venn-Abers predictor.

A film's score is put among those of films whose label is known, once as a negative and once as a positive, and each
time an isotonic regression says what share of such films is positive. The two shares are the interval's ends. One of
the two is calibrated whatever the scores are like, as long as the film could have been one of those.

References:
    Vovk, Petej, Fedorova, "Large-scale probabilistic predictors with and without guarantees of validity", NIPS 2015,
        arXiv:1511.00213.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Floats = NDArray[np.float64]

MOST_SCORES = 1000
"""Beyond so many different scores, neighbours are counted as one: a film costs two regressions over all of them."""


class VennAbers:
    """Score -> (low, high), remembered: between two known scores the regressions are the same everywhere.

    Args:
        scores: (N,) of films whose label is known.
        positive: (N,) their label.
        weights: (N,) above 0, how much each counts.
        newcomer: how much the film asked about counts, as a negative and as a positive.
    """

    def __init__(
        self, scores: Floats, positive: NDArray[np.bool_], weights: Floats, newcomer: tuple[float, float] = (1.0, 1.0)
    ) -> None:
        self.newcomer = newcomer
        self.scores, self.weights, self.shares = _pooled(scores, positive, weights)
        self._known: dict[tuple[int, bool], tuple[float, float]] = {}

    def __call__(self, score: float) -> tuple[float, float]:
        """The interval of a score."""
        before = int(np.searchsorted(self.scores, score, side="left"))
        met = before < len(self.scores) and bool(self.scores[before] == score)
        if (before, met) not in self._known:
            ends = [self._share(before, met, label) for label in (0, 1)]
            self._known[before, met] = min(ends), max(ends)
        return self._known[before, met]

    def _share(self, before: int, met: bool, label: int) -> float:
        """The regression's value at a newcomer with so many scores before it, which meets the next one or does not."""
        weight = self.newcomer[label]
        shares, weights = self.shares, self.weights
        if met:
            shares, weights = shares.copy(), weights.copy()
            total = weights[before] + weight
            shares[before] = (weights[before] * shares[before] + weight * label) / total
            weights[before] = total
        else:
            shares, weights = np.insert(shares, before, label), np.insert(weights, before, weight)
        return float(isotonic_regression(shares, weights=weights).x[before])


def _pooled(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Different scores in their order, the weight at each, and what share of it is positive."""
    kept, place = np.unique(scores, return_inverse=True)
    if len(kept) > MOST_SCORES:
        place = place * MOST_SCORES // len(kept)
        kept = np.bincount(place, scores) / np.bincount(place)
    weight: Floats = np.bincount(place, weights).astype(np.float64)
    return kept, weight, np.bincount(place, weights * positive) / weight

"""How often chance alone does as well: permutation nulls for scores that are already made.

Films of one group are not independent, so labels are dealt to units, never to films. A unit is all films of one group
with one label, and its score is their mean: twenty copies of a film are one unit. A patient whose films carry two
labels is two units; they score alike, which only makes a difference between labels harder to find.

The scores stay as they are: what is asked is whether they know the labels, not whether training on dealt labels could.
For scores of films that the classifier was not trained on this is the right question. Pooled folds score a little below
one half where there is nothing to find, because a test fold rich in a label leaves the others poor in it; but they
also scatter more than fixed scores would (on random numbers p < .01 came up in 3.5 % of 4,000 deals). No verdict hangs
on p alone: the interval must lie past the limit too.

References:
    Phipson and Smyth 2010, Permutation p-values should never be zero, doi:10.2202/1544-6115.1585.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from hilum.metrics import ECE_BINS, Bools, Floats, Ints
from hilum.scoring import Predicted

PERMUTATIONS = 2000
"""The least p is then 1 in 2001."""

_BATCH_CELLS = 1 << 22
_TIE = 1e-9

Deal = Callable[[Ints], Floats]
"""Labels dealt to units (B, U) -> the statistic of each deal (B,)."""


@dataclass(frozen=True, slots=True)
class Units:
    """Groups by label, with the mean score of their films in each repeat.

    Attributes:
        target: (U,) class of each unit.
        repeats: for each repeat the units it tested (N,) and their mean scores (N, C).
    """

    target: Ints
    repeats: tuple[tuple[Ints, Floats], ...]


def units_of(tested: Predicted) -> Units:
    """The films of each group and label put together."""
    keys = np.stack([tested.group, tested.target], axis=1)
    found, unit = np.unique(keys, axis=0, return_inverse=True)
    repeats = []
    for rows, scores in tested.repeats:
        which, place = np.unique(unit.ravel()[rows], return_inverse=True)
        means = np.zeros((len(which), scores.shape[1]))
        np.add.at(means, place, scores)
        repeats.append((which.astype(np.int64), means / np.bincount(place)[:, None]))
    return Units(found[:, 1], tuple(repeats))


def permuted_p(
    statistic: Deal, labels: Ints, *, within: Ints | None = None, permutations: int = PERMUTATIONS, seed: int = 0
) -> float:
    """One-sided p of a statistic of labelled units: the share of deals that reach it, the true one counted in.

    Where two labels can be dealt in fewer ways than `permutations`, every way is tried and p is exact.

    Args:
        statistic: larger is further from chance; computed for a batch of deals at once. NaN never reaches anything.
        labels: (U,) what is dealt anew.
        within: (U,) strata; labels are dealt within each. None for one stratum.
        permutations: how many deals.
        seed: of the deals.

    Returns:
        In (0, 1]; 1 where the statistic of the true labels cannot be computed.
    """
    true = float(statistic(labels[None])[0])
    if not np.isfinite(true):
        return 1.0
    every = _every_deal(labels, permutations) if within is None else None
    if every is not None:
        with np.errstate(invalid="ignore"):
            return float((statistic(every) >= true - _TIE).mean())
    rng = np.random.default_rng(seed)
    batch = max(1, _BATCH_CELLS // max(1, len(labels)))
    reached = 0
    for start in range(0, permutations, batch):
        dealt = _deals(labels, within, min(batch, permutations - start), rng)
        with np.errstate(invalid="ignore"):
            reached += int((statistic(dealt) >= true - _TIE).sum())
    return (reached + 1) / (permutations + 1)


def _every_deal(labels: Ints, most: int) -> Ints | None:
    """All ways to deal two labels (D, U); None where there are too many, or other labels."""
    kinds, counts = np.unique(labels, return_counts=True)
    if len(kinds) != 2 or comb(len(labels), int(counts[1])) > most:
        return None
    chosen = np.array(list(combinations(range(len(labels)), int(counts[1]))))
    every = np.full((len(chosen), len(labels)), kinds[0])
    np.put_along_axis(every, chosen, kinds[1], axis=1)
    return every


def _deals(labels: Ints, within: Ints | None, count: int, rng: np.random.Generator) -> Ints:
    dealt = np.tile(labels, (count, 1))
    strata = np.zeros(len(labels), np.int64) if within is None else within
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        dealt[:, rows] = rng.permuted(dealt[:, rows], axis=1)
    return dealt


def auroc_p(
    tested: Predicted, label: int | None = None, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> float | None:
    """How often dealt labels give units an AUROC as high: one-sided p of the AUROC, mean over repeats.

    Args:
        tested: the films, their groups and what was predicted.
        label: column of the class against the rest; None for the first of two classes, the macro average of more.
        permutations: how many deals.
        seed: of the deals.

    Returns:
        None where there are fewer than two classes.
    """
    units = units_of(tested)
    if len(np.unique(units.target)) < 2:
        return None
    columns = [label] if label is not None else list(tested.judged)
    ranked = [(which, [(c, rankdata(scores[:, c])) for c in columns]) for which, scores in units.repeats]

    def statistic(dealt: Ints) -> Floats:
        areas = [_area(dealt[:, which] == c, ranks) for which, of_class in ranked for c, ranks in of_class]
        there = np.isfinite(areas)
        counts = there.sum(axis=0)
        sums = np.where(there, areas, 0.0).sum(axis=0)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    return permuted_p(statistic, units.target, permutations=permutations, seed=seed)


def _area(positive: Bools, ranks: Floats) -> Floats:
    """AUROC of each deal (B, U) by the sum of midranks; NaN where a deal has one label only."""
    n1 = positive.sum(axis=1).astype(np.float64)
    n0 = positive.shape[1] - n1
    sums = positive @ ranks - n1 * (n1 + 1) / 2
    area = np.full(len(n1), np.nan)
    np.divide(sums, n1 * n0, out=area, where=(n1 > 0) & (n0 > 0))
    return area


def one_source_p(label_groups: int, source_groups: NDArray[np.int64]) -> float:
    """How often chance puts all groups of a label into one source.

    Args:
        label_groups: groups with the label.
        source_groups: groups of each source, whatever their label.

    Returns:
        The sum over sources of the hypergeometric chance that all of the label's groups are the source's.

    >>> one_source_p(2, np.array([2, 2]))
    0.3333333333333333
    """
    total = int(source_groups.sum())
    drawn = np.arange(label_groups)
    shares = (source_groups[:, None] - drawn) / (total - drawn)
    return float(np.clip(shares, 0, None).prod(axis=1).sum())


def calibration_p(tested: Predicted, *, draws: int = PERMUTATIONS, seed: int = 0) -> float:
    """How often probabilities that are right give an expected calibration error as high, from as few films.

    Labels are drawn from the probabilities themselves (consistency resampling); the films of a group share a draw.

    References:
        Bröcker and Smith 2007, Increasing the reliability of reliability diagrams, Weather and Forecasting 22, 651-661.
    """
    rng = np.random.default_rng(seed)
    mean = np.zeros((len(tested.target), len(tested.classes)))
    for rows, p in tested.repeats:
        mean[rows] += p
    cumulated = np.cumsum(mean / np.maximum(mean.sum(axis=1, keepdims=True), 1e-12), axis=1)
    groups = int(tested.group.max()) + 1
    true = _calibration_errors(tested, tested.target[None])[0]
    batch, reached = max(1, _BATCH_CELLS // max(1, len(mean))), 0
    for start in range(0, draws, batch):
        u = rng.random((min(batch, draws - start), groups))[:, tested.group]
        dealt = np.minimum((u[:, :, None] >= cumulated[None]).sum(axis=2), len(tested.classes) - 1)
        reached += int((_calibration_errors(tested, dealt) >= true - _TIE).sum())
    return (reached + 1) / (draws + 1)


def _calibration_errors(tested: Predicted, dealt: Ints) -> Floats:
    """Expected calibration error under each deal of labels (B, F): (B,), mean over repeats."""
    errors = []
    for rows, p in tested.repeats:
        top, confidence = p.argmax(axis=1), p.max(axis=1)
        bins = np.clip(np.floor(confidence * ECE_BINS), 0, ECE_BINS - 1).astype(np.int64)
        gaps = confidence - (dealt[:, rows] == top)
        errors.append(np.abs(gaps @ np.eye(ECE_BINS)[bins]).sum(axis=1) / len(rows))
    mean: Floats = np.mean(errors, axis=0)
    return mean

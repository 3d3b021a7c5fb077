"""The figures a classifier is judged by, the thresholds it is used at, and intervals over groups for any of them.

A bootstrap resample is nothing but whole-number film weights. The figures that need intervals are therefore written for
a batch of weight vectors `(B, N)` at once: sorting and binning are done once, and a thousand resamples of five thousand
films take a fraction of a second. Figures that cannot be computed (no positives, say) are None, or NaN inside a batch.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.errors import DataError, unknown_name

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Counts = NDArray[np.uint8]
Statistic = Callable[[Floats], Floats]
"""Film weights (B, N) -> figures (B, M); NaN where a figure cannot be computed."""

ECE_BINS = 15
RELIABILITY_BINS = 10
TEMPERATURE_BOUNDS = (0.05, 20.0)
OPERATING_POINTS = ("youden", "sensitivity>=0.95", "specificity>=0.95", "0.5")
_TINY = 1e-12
_BATCH_CELLS = 1 << 20


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element by element; NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    shares = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=shares, where=denominator != 0)
    return shares


def known(value: float | np.float64) -> float | None:
    """The number, or None for NaN: how a batch's "cannot be computed" leaves this module."""
    return float(value) if np.isfinite(value) else None


def confusion_matrix(target: Ints, predicted: Ints, classes: int) -> Ints:
    """Films (C, C) by reference standard (rows) and predicted class (columns)."""
    return np.bincount(target * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def rates(tp: int, fp: int, fn: int, tn: int) -> dict[str, float | None]:
    """The figures of one two-by-two table; None where the denominator is 0.

    >>> rates(tp=50, fp=0, fn=50, tn=100)["accuracy"]
    0.75
    """

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    return {
        "accuracy": share(tp + tn, tp + fp + fn + tn),
        "sensitivity": share(tp, tp + fn),
        "specificity": share(tn, tn + fp),
        "ppv": share(tp, tp + fp),
        "npv": share(tn, tn + fn),
        "f1": share(2 * tp, 2 * tp + fp + fn),
        "prevalence": share(tp + fn, tp + fp + fn + tn),
    }


def class_report(confusion: Ints, classes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Precision, recall, F1 and support by class and averaged, under the keys of scikit-learn's `output_dict`.

    A figure whose denominator is 0 is None and left out of the averages, where scikit-learn would put 0.
    """
    support, predicted, hits = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    figures = {
        "precision": ratio(hits.astype(float), predicted.astype(float)),
        "recall": ratio(hits.astype(float), support.astype(float)),
        "f1-score": ratio(2 * hits.astype(float), (support + predicted).astype(float)),
    }
    rows = {name: {key: known(column[i]) for key, column in figures.items()} for i, name in enumerate(classes)}
    for name, weight in (("macro avg", np.ones(len(classes))), ("weighted avg", support.astype(float))):
        rows[name] = {key: _average(column, weight) for key, column in figures.items()}
    for name, films in zip(
        (*classes, "macro avg", "weighted avg"), (*support, support.sum(), support.sum()), strict=True
    ):
        rows[name]["support"] = float(films)
    rows["accuracy"] = {"accuracy": _average(hits.sum(keepdims=True) / max(support.sum(), 1), np.ones(1))}
    return rows


def _average(column: Floats, weight: Floats) -> float | None:
    there = np.isfinite(column) & (weight > 0)
    return float(np.average(column[there], weights=weight[there])) if there.any() else None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Films sorted by score once, so that AUROC and average precision of many weightings take a few array passes."""

    order: Ints
    starts: Ints
    """Where each run of equal scores begins in `order`, ascending."""
    positive: Bools
    """In the order of `order`."""

    @classmethod
    def of(cls, positive: Bools, score: Floats) -> "Ranking":
        order = np.argsort(score, kind="stable")
        ordered = score[order]
        starts = np.flatnonzero(np.concatenate([np.ones(min(len(order), 1), dtype=bool), ordered[1:] > ordered[:-1]]))
        return cls(order, starts, positive[order])

    def tied(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weight of positives and of negatives at each distinct score, ascending: two arrays (B, S)."""
        ordered = weights[:, self.order]
        positives = ordered * self.positive
        if len(self.starts) < len(self.order):
            ordered = np.add.reduceat(ordered, self.starts, axis=1)
            positives = np.add.reduceat(positives, self.starts, axis=1)
        return positives, ordered - positives

    def auroc(self, weights: Floats) -> Floats:
        """Chance that a positive outranks a negative, a tie counting one half (midranks): (B,)."""
        positives, negatives = self.tied(weights)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        return ratio((positives * below).sum(axis=1), positives.sum(axis=1) * negatives.sum(axis=1))

    def average_precision(self, weights: Floats) -> Floats:
        """Precision summed over steps of recall, without interpolation: (B,)."""
        positives, negatives = self.tied(weights)
        hits = np.cumsum(positives[:, ::-1], axis=1)
        alarms = hits + np.cumsum(negatives[:, ::-1], axis=1)
        precision = np.divide(hits, alarms, out=np.zeros_like(hits), where=alarms > 0)
        return ratio((positives[:, ::-1] * precision).sum(axis=1), positives.sum(axis=1))


def auroc(positive: Bools, score: Floats) -> float | None:
    """Area under the ROC curve; None without positives or without negatives."""
    return known(Ranking.of(positive, score).auroc(np.ones((1, len(score))))[0])


def average_precision(positive: Bools, score: Floats) -> float | None:
    """Area under the precision-recall steps; None without positives."""
    return known(Ranking.of(positive, score).average_precision(np.ones((1, len(score))))[0])


def one_vs_rest_auroc(target: Ints, probabilities: Floats) -> tuple[float | None, ...]:
    """AUROC of each class (N, C) against all others."""
    return tuple(auroc(target == c, probabilities[:, c]) for c in range(probabilities.shape[1]))


def macro_auroc(target: Ints, probabilities: Floats) -> float | None:
    """Mean one-versus-rest AUROC over the classes that have films."""
    areas = [area for area in one_vs_rest_auroc(target, probabilities) if area is not None]
    return float(np.mean(areas)) if areas else None


def roc_curve(positive: Bools, score: Floats, points: int = 200) -> tuple[Floats, Floats]:
    """Points x = 1 - specificity, y = sensitivity, from (0, 0) to (1, 1), thinned to about `points`; empty if none."""
    positives, negatives = Ranking.of(positive, score).tied(np.ones((1, len(score))))
    hits, alarms = (np.concatenate([[0.0], np.cumsum(w[0, ::-1])]) for w in (positives, negatives))
    if not (hits[-1] and alarms[-1]):
        return np.empty(0), np.empty(0)
    return _thinned(alarms / alarms[-1], hits / hits[-1], points)


def pr_curve(positive: Bools, score: Floats, points: int = 200) -> tuple[Floats, Floats]:
    """Points x = sensitivity, y = precision, from (0, 1) on, thinned to about `points`; empty without positives."""
    positives, negatives = Ranking.of(positive, score).tied(np.ones((1, len(score))))
    hits, alarms = (np.cumsum(w[0, ::-1]) for w in (positives, negatives))
    if not positive.any():
        return np.empty(0), np.empty(0)
    x, y = hits / hits[-1], hits / (hits + alarms)
    return _thinned(np.concatenate([[0.0], x]), np.concatenate([[1.0], y]), points)


def _thinned(x: Floats, y: Floats, points: int) -> tuple[Floats, Floats]:
    """Both ends and points evenly spread along the curve's length, so that steep stretches keep their shape."""
    if len(x) <= points:
        return x, y
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(length, np.linspace(0.0, length[-1], points)).clip(max=len(x) - 1))
    kept = np.union1d(kept, [0, len(x) - 1])
    return x[kept], y[kept]


def log_losses(target: Ints, probabilities: Floats) -> Floats:
    """Negative log probability of the reference class, film by film (N,); probabilities are kept above 1e-12."""
    return -np.log(np.clip(probabilities[np.arange(len(target)), target], _TINY, 1.0))


def brier_scores(target: Ints, probabilities: Floats) -> Floats:
    """Squared error summed over classes, film by film (N,); halved for two classes, as the binary score is."""
    error = probabilities - np.eye(probabilities.shape[1])[target]
    squares: Floats = (error**2).sum(axis=1)
    return squares / 2 if probabilities.shape[1] == 2 else squares


def brier(target: Ints, probabilities: Floats) -> float:
    return float(brier_scores(target, probabilities).mean())


def calibration_gaps(target: Ints, probabilities: Floats, bins: int = ECE_BINS) -> Floats:
    """Confidence minus correctness of the top class, placed in the column of its equal-width bin: (N, bins)."""
    top = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    gaps = np.zeros((len(target), bins))
    gaps[np.arange(len(target)), _bin_of(confidence, bins)] = confidence - (top == target)
    return gaps


def expected_calibration_error(target: Ints, probabilities: Floats, bins: int = ECE_BINS) -> float:
    """Mean distance of confidence from accuracy over equal-width bins of the top class's probability.

    References:
        Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599.
    """
    return float(np.abs(calibration_gaps(target, probabilities, bins).mean(axis=0)).sum())


def reliability_curve(positive: Bools, probability: Floats, bins: int = RELIABILITY_BINS) -> tuple[Floats, ...]:
    """Mean probability, share of positives and films of each equal-width bin that has films."""
    which = _bin_of(probability, bins)
    films = np.bincount(which, minlength=bins).astype(float)
    there = films > 0
    mean = np.bincount(which, weights=probability, minlength=bins)[there] / films[there]
    return mean, np.bincount(which, weights=positive, minlength=bins)[there] / films[there], films[there]


def _bin_of(probability: Floats, bins: int) -> Ints:
    return np.clip(np.floor(probability * bins), 0, bins - 1).astype(np.int64)


def calibration_line(positive: Bools, probability: Floats) -> tuple[float | None, float | None]:
    """Calibration slope, and calibration in the large: the intercept with the slope held at 1. Ideal: 1 and 0.

    The slope is None where it does not exist, that is where a threshold separates the classes without error; both are
    None without positives or negatives.

    References:
        Van Calster et al. 2019, Calibration: the Achilles heel of predictive analytics, doi:10.1186/s12916-019-1466-7.
    """
    if positive.all() or not positive.any():
        return None, None
    from scipy.optimize import brentq, minimize  # half a second, for those who fit only
    from scipy.special import expit, logit

    x = logit(np.clip(probability, _TINY, 1 - _TINY))
    intercept = brentq(lambda a: float(expit(a + x).sum() - positive.sum()), -80.0, 80.0)
    if x[positive].min() >= x[~positive].max() or x[positive].max() <= x[~positive].min():
        return None, float(intercept)
    z = (x - x.mean()) / x.std()
    sign = np.where(positive, 1.0, -1.0)

    def loss(line: Floats) -> tuple[float, Floats]:
        margin = sign * (line[0] + line[1] * z)
        pull = -sign * expit(-margin)
        return float(np.logaddexp(0.0, -margin).mean()), np.array([pull.mean(), (pull * z).mean()])

    return float(minimize(loss, np.zeros(2), jac=True, method="BFGS").x[1] / x.std()), float(intercept)


def fit_temperature(logits: Floats, target: Ints) -> float:
    """The temperature T in [0.05, 20] whose softmax(logits / T) has the least log loss on a tune fold.

    A fold the logits separate without error has no least log loss: T would run to its lower bound, and the first film
    it gets wrong later would cost everything. Platt's remedy is used: every film counts as 1 / (N + C) of a film of
    each other class, which is negligible for a fold with a fair number of errors.

    Args:
        logits: (N, C), any scale.
        target: (N,) column of the reference class.

    Raises:
        DataError: no films, or logits that are not finite.

    References:
        Guo et al. 2017, arXiv:1706.04599; Platt 1999, Probabilistic outputs for support vector machines.
    """
    from scipy.optimize import minimize_scalar  # half a second, for those who fit only
    from scipy.special import log_softmax

    logits = np.asarray(logits, dtype=np.float64)
    if not len(logits) or not np.isfinite(logits).all():
        raise DataError(
            "the temperature needs finite logits of at least one tune film; check the tune fold and training."
        )
    films, classes = logits.shape
    wanted = np.full((films, classes), 1.0 / (films + classes))
    wanted[np.arange(films), target] = 1.0 - (classes - 1) / (films + classes)

    def loss(log_temperature: float) -> float:
        return float(-(wanted * log_softmax(logits / np.exp(log_temperature), axis=1)).sum(axis=1).mean())

    low, high = np.log(TEMPERATURE_BOUNDS)
    found = float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)
    return float(np.clip(np.exp(min((found, low, high), key=loss)), *TEMPERATURE_BOUNDS))


def operating_threshold(name: str, positive: Bools, probability: Floats) -> float:
    """The threshold `name` stands for on these (tune) films; a film is called positive at probability >= threshold.

    `youden` maximises sensitivity + specificity (among equals: the most sensitive); `sensitivity>=S` is the highest
    threshold that reaches S; `specificity>=S` the lowest; a number is itself. Thresholds lie midway between two
    neighbouring probabilities, so that no tune film sits on the edge.

    Raises:
        UsageError: `name` is none of these.
        DataError: the films are all positive or all negative.
    """
    rule = re.fullmatch(r"youden|(sensitivity|specificity)>=(0?\.\d+|1(?:\.0+)?)|(0?\.\d+)", name)
    if rule is None:
        raise unknown_name("operating point", name, OPERATING_POINTS)
    if rule[3]:
        return float(name)
    if positive.all() or not positive.any():
        lacking = "no positives" if not positive.any() else "no negatives"
        raise DataError(f"the tune fold has {lacking}, so '{name}' cannot be chosen; split again or merge classes.")
    positives, negatives = Ranking.of(positive, probability).tied(np.ones((1, len(probability))))
    hits, alarms = (np.concatenate([[0.0], np.cumsum(w[0, ::-1])]) for w in (positives, negatives))
    if name == "youden":
        gain = hits * alarms[-1] - alarms * hits[-1]
        chosen = int(np.flatnonzero(gain == gain.max())[-1])
    elif rule[1] == "sensitivity":
        chosen = int(np.argmax(hits >= float(rule[2]) * hits[-1] - 1e-9))
    else:
        chosen = int(np.flatnonzero(alarms <= (1.0 - float(rule[2])) * alarms[-1] + 1e-9)[-1])
    return _threshold_below(np.unique(probability)[::-1], chosen)


def _threshold_below(descending: Floats, chosen: int) -> float:
    """A number that exactly the first `chosen` of the distinct probabilities reach."""
    above = descending[chosen - 1] if chosen else max(1.0, float(np.nextafter(descending[0], 2.0)))
    below = descending[chosen] if chosen < len(descending) else 0.0
    middle = (above + below) / 2
    return float(middle if middle > below else above)


def resampled_groups(groups: int, resamples: int = 1000, seed: int = 0) -> Counts:
    """How often each resample draws each of `groups`, with replacement: (resamples, groups), rows sum to `groups`."""
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, groups), dtype=np.uint8)
    for row in counts:
        row[:] = np.bincount(rng.integers(0, groups, size=groups), minlength=groups)
    return counts


def bootstrap(counts: Counts, repeats: Sequence[tuple[Statistic, Ints]]) -> Floats:
    """Figures of every resample (R, M), averaged over repeats that are all resampled alike.

    Args:
        counts: from `resampled_groups`.
        repeats: for each repeat its statistic and the group (column of `counts`) of each of its films (N,).
    """
    batch = max(1, _BATCH_CELLS // max(1, *(len(group) for _, group in repeats)))
    blocks = [
        np.mean([statistic(block[:, group].astype(np.float64)) for statistic, group in repeats], axis=0)
        for block in np.split(counts, range(batch, len(counts), batch))
    ]
    return np.concatenate(blocks)


def interval(replicates: Floats, value: float | None, units: int = 0) -> tuple[float, float] | None:
    """The 95 % percentile interval of a figure from its resamples (R,).

    Resamples in which the figure does not exist are dropped; more than a fifth of those, or no resamples: None. A
    figure that is perfect (exactly 1, or 0) is perfect in every resample too, which says nothing about its uncertainty.
    Then the open end is the exact binomial bound 0.025 ** (1 / units) for `units` independent trials without an error.
    For an AUROC, take the fewer of positive and negative groups: that many disjoint pairs were all ordered rightly.

    Args:
        replicates: the figure in each resample, NaN where it does not exist.
        value: the figure itself.
        units: independent trials behind it; 0 for figures that are not shares, which get no such bound.
    """
    kept = replicates[np.isfinite(replicates)]
    if value is None or not len(kept) or len(kept) < 0.8 * len(replicates):
        return None
    low, high = (float(bound) for bound in np.quantile(kept, (0.025, 0.975)))
    if units and value == 1.0:
        return min(low, 0.025 ** (1 / units)), 1.0
    if units and value == 0.0:
        return 0.0, max(high, 1.0 - 0.025 ** (1 / units))
    return low, high

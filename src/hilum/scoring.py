"""Films with a reference standard, and what each repeat predicted for them -> Scores with intervals over groups.

Every family of figures here is a pair: the Scores still without values, and for each repeat a statistic that returns
their values, in the same order, for any film weights. `measured` puts the two together, `paired` takes the difference
between two networks on the same films.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict

from hilum import metrics
from hilum.metrics import Bools, Counts, Floats, Ints, Ranking, Statistic, ratio

NOT_AUDITED = "not audited (hilum audit RUN)"
UNSEEN_BLANK = "unseen source not measured"
FEWEST = 5
"""Positives, and negatives, below which a source or subgroup gets no figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One figure. `low` and `high` bound its 95 % interval over groups; None where none can be computed."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    """Films the figure rests on: its denominator, where it is a share (a mean over repeats for PPV and NPV)."""
    n_positive: int | None = None
    label: str | None = None
    """The class called positive; None for a figure over all classes."""
    source: str | None = None
    subgroup: str | None = None
    """`sex=F`, `view=AP`, `age=60-69`; None for everybody."""
    at: str | None = None
    """The operating point, such as `youden` or `sensitivity>=0.95`; None for figures without one."""
    fold: str = "test"
    """`test`, or `external`: films of sources that no model was trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """A threshold with a name, chosen on the tune fold."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    label: str
    name: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A Score still without its value; `units` as in `metrics.interval`."""

    score: Score
    units: int = 0


@dataclass(frozen=True, slots=True)
class Predicted:
    """The films of one fold, and what each repeat predicted for them."""

    fold: str
    classes: tuple[str, ...]
    target: Ints
    """(F,) column of the reference class, film by film."""
    group: Ints
    """(F,) group of each film: a column of the resampled counts."""
    repeats: tuple[tuple[Ints, Floats], ...]
    """For each repeat the films it tested (N,) and their probabilities (N, C)."""

    @property
    def judged(self) -> range:
        """Classes judged one against the rest: of two classes only the first, the second being its mirror."""
        return range(1) if len(self.classes) == 2 else range(len(self.classes))

    @property
    def present(self) -> Ints:
        """Classes that have films: what averages over classes are over."""
        return np.unique(self.target)

    def groups(self, films: Bools | None = None) -> int:
        """How many groups the (marked) films belong to."""
        return len(np.unique(self.group if films is None else self.group[films]))

    def only(self, films: Bools) -> "Predicted":
        """The same, of the marked films (F,) alone."""
        place = np.cumsum(films) - 1
        repeats = tuple((place[rows[films[rows]]], p[films[rows]]) for rows, p in self.repeats)
        return replace(self, target=self.target[films], group=self.group[films], repeats=repeats)


Of = Callable[[Ints, Floats], Statistic]
"""Reference classes (N,) and probabilities (N, C) of one repeat -> its statistic."""

Family = tuple[list[Figure], Of]
"""Figures, and what makes a repeat's statistic of them."""


def measured(tested: Predicted, figures: Sequence[Figure], of: Of, counts: Counts) -> list[Score]:
    """The figures with their values and intervals, means over repeats.

    Args:
        tested: the films and predictions.
        figures: in the order of the statistic's columns.
        of: makes a repeat's statistic.
        counts: (R, G) from `metrics.resampled_groups`; repeats are resampled together.
    """
    repeats = [(of(tested.target[rows], p), tested.group[rows]) for rows, p in tested.repeats]
    once = np.ones((1, counts.shape[1]), dtype=np.uint8)
    values = [metrics.known(value) for value in metrics.bootstrap(once, repeats)[0]]
    replicates = metrics.bootstrap(counts, repeats)
    scores = []
    for figure, value, column in zip(figures, values, replicates.T, strict=True):
        enough = tested.groups() > 1
        low, high = (metrics.interval(column, value, figure.units) if enough else None) or (None, None)
        scores.append(replace(figure.score, value=value, low=low, high=high))
    return scores


def paired(first: Predicted, other: Predicted, counts: Counts) -> list[Score]:
    """Differences, `other` minus `first`, of every overall figure and AUROC, on the same resamples of the same groups.

    Args:
        first: the films and what one network predicted for them.
        other: the same films in the same order, and what another one predicted.
        counts: (R, G) from `metrics.resampled_groups`.

    Raises:
        ValueError: the films, classes or groups are not the same.
    """
    same = first.classes == other.classes and np.array_equal(first.target, other.target)
    if not (same and np.array_equal(first.group, other.group)):
        raise ValueError("only predictions for the same films, classes and groups can be paired")
    scores: list[Score] = []
    once = np.ones((1, counts.shape[1]), dtype=np.uint8)
    for family in (ranking_family, decision_family):
        figures, of = family(first)
        one, two = ([(of(p.target[rows], q), p.group[rows]) for rows, q in p.repeats] for p in (first, other))
        values = (metrics.bootstrap(once, two) - metrics.bootstrap(once, one))[0]
        replicates = metrics.bootstrap(counts, two) - metrics.bootstrap(counts, one)
        for figure, difference, column in zip(figures, values, replicates.T, strict=True):
            value = metrics.known(difference)
            low, high = (metrics.interval(column, value) if first.groups() > 1 else None) or (None, None)
            scores.append(replace(figure.score, value=value, low=low, high=high))
    return scores


def _score(
    tested: Predicted, metric: str, n: int | None = None, label: int | None = None, at: str | None = None
) -> Score:
    name = None if label is None else tested.classes[label]
    positive = None if label is None else int((tested.target == label).sum())
    n = len(tested.target) if n is None else n
    return Score(
        metric=metric, value=None, low=None, high=None, n=n, n_positive=positive, label=name, at=at, fold=tested.fold
    )


def decision_scores(tested: Predicted, counts: Counts) -> list[Score]:
    """`decision_family`, measured."""
    return measured(tested, *decision_family(tested), counts)


def decision_family(tested: Predicted) -> Family:
    """Figures of the most probable class and of the probabilities as they stand.

    Overall accuracy, balanced_accuracy, macro_f1, log_loss, brier, ece; by class precision, recall (the "accuracy" of a
    class) and f1.
    """
    groups = tested.groups()
    rarest = min(tested.groups(tested.target == c) for c in tested.present)
    overall = (("accuracy", groups), ("balanced_accuracy", rarest), ("macro_f1", rarest))
    figures = [Figure(_score(tested, name), units) for name, units in overall]
    figures += [Figure(_score(tested, name)) for name in ("log_loss", "brier", "ece")]
    for metric in ("precision", "recall", "f1"):
        for c in range(len(tested.classes)):
            n, units = _denominator(tested, metric, [p.argmax(axis=1) == c for _, p in tested.repeats], c)
            figures.append(Figure(_score(tested, metric, n, c), units))
    present = tested.present
    return figures, lambda target, p: _decision_statistic(target, p, present)


def _denominator(tested: Predicted, metric: str, called: Sequence[Bools], label: int) -> tuple[int, int]:
    """Films, and groups, a share rests on: a mean over repeats where it depends on the predictions."""
    positive = tested.target == label
    if metric in ("recall", "sensitivity"):
        return int(positive.sum()), tested.groups(positive)
    if metric == "specificity":
        return int((~positive).sum()), tested.groups(~positive)
    if metric == "f1":
        return len(tested.target), tested.groups(positive)
    chosen = [rows[which != (metric == "npv")] for (rows, _), which in zip(tested.repeats, called, strict=True)]
    films = float(np.mean([len(rows) for rows in chosen]))
    return round(films), min(len(np.unique(tested.group[rows])) for rows in chosen)


def _decision_statistic(target: Ints, probabilities: Floats, present: Ints) -> Statistic:
    classes = probabilities.shape[1]
    cells = classes * classes
    columns = np.column_stack(
        [
            np.eye(cells)[target * classes + probabilities.argmax(axis=1)],
            metrics.log_losses(target, probabilities),
            metrics.brier_scores(target, probabilities),
            metrics.calibration_gaps(target, probabilities),
        ]
    )

    def statistic(weights: Floats) -> Floats:
        sums, total = weights @ columns, weights.sum(axis=1)
        confusion = sums[:, :cells].reshape(-1, classes, classes)
        hits = np.diagonal(confusion, axis1=1, axis2=2)
        support, called = confusion.sum(axis=2), confusion.sum(axis=1)
        precision, recall, f1 = ratio(hits, called), ratio(hits, support), ratio(2 * hits, support + called)
        shares = (hits.sum(axis=1), *sums[:, cells : cells + 2].T, np.abs(sums[:, cells + 2 :]).sum(axis=1))
        accuracy, log_loss, brier, ece = (ratio(share, total) for share in shares)
        means = recall[:, present].mean(axis=1), f1[:, present].mean(axis=1)
        return np.column_stack([accuracy, *means, log_loss, brier, ece, precision, recall, f1])

    return statistic


def ranking_scores(tested: Predicted, counts: Counts) -> list[Score]:
    """`ranking_family`, measured."""
    return measured(tested, *ranking_family(tested), counts)


def ranking_family(tested: Predicted) -> Family:
    """AUROC and average_precision of each judged class, and macro_auroc where there are more than two."""
    judged, macro = tested.judged, tested.judged if len(tested.judged) > 1 else ()
    figures = [Figure(_score(tested, "auroc", label=c), _pairs(tested, c)) for c in judged]
    figures += [Figure(_score(tested, "average_precision", label=c), tested.groups(tested.target == c)) for c in judged]
    present = tested.present
    if macro:
        figures.append(Figure(_score(tested, "macro_auroc"), min(_pairs(tested, c) for c in present)))

    def of(target: Ints, probabilities: Floats) -> Statistic:
        rankings = [Ranking.of(target == c, probabilities[:, c]) for c in judged]

        def statistic(weights: Floats) -> Floats:
            areas = np.column_stack([ranking.auroc(weights) for ranking in rankings])
            precisions = [ranking.average_precision(weights) for ranking in rankings]
            means = [areas[:, present].mean(axis=1)] if macro else []
            return np.column_stack([areas, *precisions, *means])

        return statistic

    return figures, of


def _pairs(tested: Predicted, label: int) -> int:
    """The most disjoint pairs of a positive and a negative group."""
    positive = tested.target == label
    return min(tested.groups(positive), tested.groups(~positive))


def point_scores(tested: Predicted, label: int, name: str, called: Sequence[Bools], counts: Counts) -> list[Score]:
    """Sensitivity, specificity, ppv and npv of `label` where each repeat called its marked films (N,) positive."""
    figures = []
    for metric in ("sensitivity", "specificity", "ppv", "npv"):
        n, units = _denominator(tested, metric, called, label)
        figures.append(Figure(_score(tested, metric, n, label, name), units))

    def of(target: Ints, alarms: Floats) -> Statistic:
        positive, alarm = target == label, alarms[:, 0] > 0
        hits, rests = positive & alarm, ~positive & ~alarm
        parts = np.column_stack([hits, rests, hits, rests]).astype(float)
        wholes = np.column_stack([positive, ~positive, alarm, ~alarm]).astype(float)
        return lambda weights: ratio(weights @ parts, weights @ wholes)

    pairs = zip(tested.repeats, called, strict=True)
    decided = tuple((rows, alarm[:, None].astype(float)) for (rows, _), alarm in pairs)
    return measured(replace(tested, repeats=decided), figures, of, counts)


def brief_scores(tested: Predicted, counts: Counts) -> list[Score]:
    """AUROC of each judged class, and accuracy: what a source, a subgroup or a floor is described by."""
    if not len(tested.target):
        return []
    figures = [Figure(_score(tested, "auroc", label=c), _pairs(tested, c)) for c in tested.judged]
    figures.append(Figure(_score(tested, "accuracy"), tested.groups()))

    def of(target: Ints, probabilities: Floats) -> Statistic:
        rankings = [Ranking.of(target == c, probabilities[:, c]) for c in tested.judged]
        correct = (probabilities.argmax(axis=1) == target).astype(float)[:, None]
        return lambda weights: np.column_stack(
            [*(ranking.auroc(weights) for ranking in rankings), ratio(weights @ correct, weights.sum(1, keepdims=True))]
        )

    return measured(tested, figures, of, counts)


def part_scores(tested: Predicted, films: Bools, counts: Counts) -> list[Score]:
    """`brief_scores` of the marked films (F,); without a value where fewer than 5 films are, or are not, of a class."""
    scores = brief_scores(tested.only(films), counts)
    return [score if _enough(score) else replace(score, value=None, low=None, high=None) for score in scores]


def _enough(score: Score) -> bool:
    if score.n_positive is None:
        return score.n >= 2 * FEWEST
    return score.n_positive >= FEWEST and score.n - score.n_positive >= FEWEST


def plain_scores(tested: Predicted) -> list[Score]:
    """Of each judged class, without intervals: how its probability is spread, and how well it is calibrated.

    probability_{mean,median}_{positive,negative}, calibration_slope and calibration_intercept.
    """
    scores = []
    for c in tested.judged:
        repeats = [_plain(tested.target[rows] == c, p[:, c]) for rows, p in tested.repeats]
        for metric in repeats[0]:
            values = [repeat[metric] for repeat in repeats]
            there = [value for value in values if value is not None]
            value = float(np.mean(there)) if len(there) == len(values) else None
            scores.append(replace(_score(tested, metric, label=c), value=value))
    return scores


def _plain(positive: Bools, probability: Floats) -> dict[str, float | None]:
    slope, intercept = metrics.calibration_line(positive, probability)
    told: dict[str, float | None] = {}
    for name, which in (("positive", positive), ("negative", ~positive)):
        told[f"probability_mean_{name}"] = float(probability[which].mean()) if which.any() else None
        told[f"probability_median_{name}"] = float(np.median(probability[which])) if which.any() else None
    return {**told, "calibration_slope": slope, "calibration_intercept": intercept}


def find_score(
    scores: Iterable[Score],
    metric: str,
    *,
    label: str | None = None,
    at: str | None = None,
    source: str | None = None,
    subgroup: str | None = None,
    fold: str = "test",
) -> Score | None:
    """The one score of that name for all films, or for the part named; None where it was not measured."""
    wanted = (metric, label, at, source, subgroup, fold)
    return next((s for s in scores if (s.metric, s.label, s.at, s.source, s.subgroup, s.fold) == wanted), None)


def best_floor(floors: Iterable[Score]) -> Score | None:
    """The highest AUROC any classifier reached that never saw a lung; None where none was measured."""
    measured = [score for score in floors if score.metric.count(".") == 1 and score.value is not None]
    return max(measured, key=lambda score: score.value or 0.0, default=None)


def spelt(score: Score | None) -> str:
    """`0.981 [0.966, 0.992]`; a dash for what was not measured, no brackets without an interval."""
    if score is None or score.value is None:
        return "-"
    bounds = "" if score.low is None or score.high is None else f" [{score.low:.3f}, {score.high:.3f}]"
    return f"{score.value:.3f}{bounds}"


def in_one_line(
    score: Score | None, films: int, groups: int, *, floor: tuple[float, str] | None, unseen: str | None
) -> str:
    """Score with interval, shortcut floor, what is above it, score on unseen sources: what is never shown apart.

    Args:
        score: an AUROC; where its fold is not the test fold, that is said.
        films: that it rests on.
        groups: their patients.
        floor: the highest shortcut floor and what reached it; None where none was measured.
        unseen: the score on unseen sources in words; empty where `score` is that one, None where none was measured.
    """
    said = ["score not measured"]
    if score is not None:
        area = "macro AUROC" if score.metric == "macro_auroc" else "AUROC"
        where = "" if score.fold == "test" else f" on {score.fold} films"
        said = [f"{area} {spelt(score)}{where} (n = {films} films, {groups} groups)"]
    said.append(f"shortcut floor {floor[0]:.3f} ({floor[1]})" if floor else "shortcut floor not measured")
    if score is not None and score.value is not None and floor is not None:
        said.append(f"above the floor {round(score.value - floor[0], 3) + 0.0:+.3f}")
    if unseen != "":
        said.append(f"unseen source {unseen}" if unseen else UNSEEN_BLANK)
    return " · ".join(said)

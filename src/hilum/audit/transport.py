"""Does a threshold mean the same elsewhere? Sensitivity and specificity by source, at thresholds nobody touched."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hilum import metrics
from hilum.audit.chance import permuted_p
from hilum.audit.check import Finding, Measured, found, skipped
from hilum.audit.questions import QUESTIONS
from hilum.audit.subject import JUDGED, ORIGIN, SOURCE, Subject
from hilum.evaluate import OperatingPoint
from hilum.metrics import Bools, Floats, Ints
from hilum.scoring import FEWEST

POINT = "youden"
OWN = " (its own test fold)"
UNTOLD = 0.5
"""The threshold of a model that states none."""
PREVALENCE = 0.05
"""Sun et al. 2022 met 4.8 % (doi:10.1148/ryai.210217); test sets hold ten times as many."""


@dataclass(frozen=True, slots=True)
class Decided:
    """Films with a reference standard, and how often they are called positive.

    Attributes:
        label: the class called positive.
        table: a row a film: source, group, positive and alarm, the share of repeats that call it positive.
        threshold: in words.
    """

    label: str
    table: pd.DataFrame
    threshold: str


def ask_transport(subject: Subject) -> Finding:
    """18: the largest difference of one source from all others, in sensitivity or specificity.

    A bundle on other films is held against the test fold of the run that made it. So many comparisons find something by
    chance: p is multiplied by their number (Bonferroni).
    """
    question = QUESTIONS["threshold-transport"]
    decided = [_decided(subject, label) for label in _judged(subject)]
    if len(set(decided[0].table["source"])) < 2:
        return skipped(question, "all films that were scored come from one source")
    shifts = [shift for one in decided for shift in _shifts(one, subject.resamples)]
    if not shifts:
        return skipped(question, f"no source has {FEWEST} groups of a label that another one has too")
    measured = [replace(one, p=min(1.0, len(shifts) * (one.p or 1.0))) for one in shifts]
    widest = max(measured, key=lambda one: one.value)
    bounds = "" if widest.low is None else f" [{widest.low:.3f}, {widest.high:.3f}]"
    says = f"{widest.of[0].upper()}{widest.of[1:]} differs from other sources' by {widest.value:.3f}{bounds}."
    rows = [row for one in decided for row in _rows(one)]
    details = {"prevalence": PREVALENCE, "sources": rows, "thresholds": {one.label: one.threshold for one in decided}}
    return found(question, measured, says, details=details)


def _judged(subject: Subject) -> tuple[str, ...]:
    return subject.classes[:1] if len(subject.classes) == 2 else subject.classes


def _decided(subject: Subject, label: str) -> Decided:
    named = [point for point in subject.points if point.label == label]
    point = next((one for one in named if one.name == POINT), named[0] if named else None)
    parts = [_alarms(subject.predictions, subject.by_id, label, point)]
    run = subject.run
    if run is not None and subject.kind != "run":
        own = run.predictions[run.predictions["fold"] == "test"]
        films = run.index.films.assign(**{ORIGIN: run.index.films[SOURCE]})
        there = _alarms(own, films.set_index("image_id"), label, point)
        parts.append(there.assign(source=there["source"] + OWN, group=there["group"] + OWN))
    said = f"{point.name}, {point.threshold:.3f}" if point else f"{UNTOLD}, as the model states none"
    return Decided(label, pd.concat(parts), said)


def _alarms(predictions: pd.DataFrame, by_id: pd.DataFrame, label: str, point: OperatingPoint | None) -> pd.DataFrame:
    """A row a film judged: source, group, whether it has the label, and the share of repeats that say so."""
    told = predictions[predictions["fold"].isin(JUDGED)]
    threshold = pd.Series(UNTOLD if point is None else point.threshold, index=told.index)
    column = f"t.{label}.{POINT if point is None else point.name}"
    if column in told:
        threshold = told[column].fillna(threshold)
    alarm = (told[f"p.{label}"] >= threshold).astype(np.float64)
    films = alarm.groupby(told["image_id"]).mean().rename("alarm").to_frame()
    reference = told.groupby("image_id")["reference"].first()
    described = by_id.loc[films.index]
    return films.assign(source=described[ORIGIN], group=described["group_id"], positive=reference == label)


def _shifts(decided: Decided, resamples: int) -> Iterator[Measured]:
    for what, positive in (("sensitivity", True), ("specificity", False)):
        films = decided.table[decided.table["positive"] == positive]
        right = films["alarm"] if positive else 1 - films["alarm"]
        sources = sorted(films["source"].unique())
        for source in sources[:1] if len(sources) == 2 else sources:  # of two, the second mirrors the first
            here = films["source"] == source
            if min(films["group"][here].nunique(), films["group"][~here].nunique()) < FEWEST:
                continue
            of = f"{what} for {decided.label} at {source}"
            yield _shift(of, right.to_numpy(), here.to_numpy(bool), films["group"], resamples)


def _shift(of: str, right: Floats, here: Bools, group: pd.Series, resamples: int) -> Measured:
    """The distance of two shares, with its interval over groups and its p among groups that change sides."""
    codes = pd.factorize(group)[0].astype(np.int64)

    def difference(weights: Floats) -> Floats:
        one, other = weights * here, weights * ~here
        return (metrics.ratio(one @ right, one.sum(axis=1)) - metrics.ratio(other @ right, other.sum(axis=1)))[:, None]

    value = float(difference(np.ones((1, len(right))))[0, 0])
    counts = metrics.resampled_groups(int(codes.max()) + 1, resamples)
    bounds = metrics.interval(metrics.bootstrap(counts, [(difference, codes)])[:, 0], value)
    low, high = _of_distance(*bounds) if bounds else (None, None)
    p = _side_p(right, here, codes)
    return Measured(of=of, value=abs(value), low=low, high=high, p=p, n=len(right), groups=len(np.unique(codes)))


def _of_distance(low: float, high: float) -> tuple[float, float]:
    """The interval of a difference without its sign."""
    return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))


def _side_p(right: Floats, here: Bools, codes: Ints) -> float:
    units, place = np.unique(np.stack([codes, here.astype(np.int64)], axis=1), axis=0, return_inverse=True)
    means = np.bincount(place.ravel(), weights=right) / np.bincount(place.ravel())

    def distance(dealt: Ints) -> Floats:
        side = dealt == 1
        return np.abs(metrics.ratio(side @ means, side.sum(axis=1)) - metrics.ratio(~side @ means, (~side).sum(axis=1)))

    return permuted_p(distance, units[:, 1])


def _rows(decided: Decided) -> Iterator[dict[str, Any]]:
    """Of all films and of each source: both shares, and what an alarm and its absence mean where few are ill."""
    parts = [("all", decided.table), *decided.table.groupby("source")]
    for source, films in parts:
        positive = films["positive"].to_numpy(bool)
        alarm = films["alarm"].to_numpy(np.float64)
        sensitivity = float(alarm[positive].mean()) if positive.any() else None
        specificity = float(1 - alarm[~positive].mean()) if (~positive).any() else None
        row = {"source": str(source), "label": decided.label, "sensitivity": sensitivity, "specificity": specificity}
        counts = {"n_positive": int(positive.sum()), "n_negative": int((~positive).sum())}
        yield row | predictive_values(sensitivity, specificity) | counts


def predictive_values(
    sensitivity: float | None, specificity: float | None, prevalence: float = PREVALENCE
) -> dict[str, float | None]:
    """PPV and NPV where a share `prevalence` of those filmed is ill (Bayes' rule); None where they do not exist.

    >>> {name: round(value, 3) for name, value in predictive_values(0.9, 0.9).items()}
    {'ppv': 0.321, 'npv': 0.994}
    """
    if sensitivity is None or specificity is None:
        return {"ppv": None, "npv": None}
    tp, fn = sensitivity * prevalence, (1 - sensitivity) * prevalence
    tn, fp = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    return {"ppv": tp / (tp + fp) if tp + fp else None, "npv": tn / (tn + fn) if tn + fn else None}

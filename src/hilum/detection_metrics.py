"""How well boxes are found: average precision over thresholds of overlap, with intervals over groups.

The figures are COCO's: a box that was found counts as right when its intersection over union with a box of the
reference standard, not yet taken by a surer one, reaches the threshold; precision is read off at 101 recalls. Which
found box goes with which does not depend on the other films, so every film is matched once, and a resample of films is
nothing but other weights. Unlike COCO's tools, boxes of equal score count as one step, so that the order of the films
does not matter.

References:
    Lin et al. 2014, Microsoft COCO: Common Objects in Context, doi:10.1007/978-3-319-10602-1_48.
    Everingham et al. 2010, The PASCAL Visual Object Classes (VOC) Challenge, doi:10.1007/s11263-009-0275-4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.boxes import LabelledBox, overlaps
from hilum.errors import DataError
from hilum.metrics import bootstrap, interval, known, resampled_groups

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Overlaps at which a found box is right; the first is that of AP@.5, the mean over all that of AP@.5:.95."""
RECALLS = np.linspace(0.0, 1.0, 101)
MOST_FOUND = 100
"""The surest boxes of a label on one film that are looked at."""
ALL_LABELS = "all labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How well one label's boxes are found, or the mean over the labels; None where no film has such a box."""

    label: str
    films: int
    """With a box of the reference standard."""
    boxes: int
    found: int
    ap50: float | None
    """AP@.5."""
    ap50_interval: tuple[float, float] | None
    ap: float | None
    """AP@.5:.95."""
    ap_interval: tuple[float, float] | None


def detection_scores(
    reference: Sequence[Sequence[LabelledBox]],
    found: Sequence[Sequence[LabelledBox]],
    group: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Detection, ...]:
    """Average precision of every label of the reference standard, and last their mean, with 95 % intervals.

    Args:
        reference: each film's boxes.
        found: each film's boxes with their scores, films in the same order.
        group: each film's patient and near-duplicates; groups are drawn, not films.
        resamples: bootstrap resamples behind the intervals.
        seed: of the resamples.

    Raises:
        DataError: the three do not tell of the same number of films, or a found box has no score.
    """
    if not len(reference) == len(found) == len(group):
        raise DataError(f"{len(reference)}, {len(found)} and {len(group)} films cannot be compared; give one set")
    if any(one.score is None for boxes in found for one in boxes):
        raise DataError("a found box has no score, without which boxes cannot be ranked; have the detector write it")
    labels = sorted({one.label for boxes in reference for one in boxes})
    rankings = [Ranking.of(reference, found, label) for label in labels]
    names, place = np.unique(np.asarray(group, dtype=str), return_inverse=True)

    def figures(weights: Floats) -> Floats:
        """(B, N) -> (B, 2 * labels + 2): AP@.5 of every label and their mean, then AP@.5:.95 likewise."""
        both = np.stack([ranking.average_precision(weights) for ranking in rankings], axis=-1)  # (B, T, labels)
        kinds = (both[:, 0], both.mean(axis=1))
        return np.concatenate([part for kind in kinds for part in (kind, _mean_of_known(kind))], axis=1)

    if not rankings:
        return (_nothing(found),)
    value = figures(np.ones((1, len(group))))[0]
    drawn = bootstrap(resampled_groups(len(names), resamples, seed), [(figures, place.astype(np.int64))])
    units = [len(np.unique(place[ranking.boxes > 0])) for ranking in rankings]
    told = [(ranking.label, ranking.boxes, len(ranking.film), n) for ranking, n in zip(rankings, units, strict=True)]
    every = sum(ranking.boxes for ranking in rankings)
    told.append((ALL_LABELS, np.asarray(every), sum(len(ranking.film) for ranking in rankings), min(units)))
    return tuple(_detection(*row, value, drawn, column, len(told)) for column, row in enumerate(told))


def _mean_of_known(values: Floats) -> Floats:
    """(B, labels) -> (B, 1): the mean over the labels that have boxes; NaN where none has."""
    there = np.isfinite(values)
    total = np.where(there, values, 0.0).sum(axis=1, keepdims=True)
    count = there.sum(axis=1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _nothing(found: Sequence[Sequence[LabelledBox]]) -> Detection:
    n_found = sum(len(boxes) for boxes in found)
    return Detection(
        label=ALL_LABELS, films=0, boxes=0, found=n_found, ap50=None, ap50_interval=None, ap=None, ap_interval=None
    )


def _detection(
    label: str, boxes: Ints, found: int, units: int, value: Floats, drawn: Floats, column: int, columns: int
) -> Detection:
    ap50, ap = known(value[column]), known(value[columns + column])
    return Detection(
        label=label,
        films=int((boxes > 0).sum()),
        boxes=int(boxes.sum()),
        found=found,
        ap50=ap50,
        ap50_interval=interval(drawn[:, column], ap50, units),
        ap=ap,
        ap_interval=interval(drawn[:, columns + column], ap, units),
    )


@dataclass(frozen=True, slots=True)
class Ranking:
    """One label's found boxes on all films, the surest first, each matched within its film."""

    label: str
    film: Ints
    """(D,) which film a found box is on."""
    right: Bools
    """(10, D) whether it goes with a box of the reference standard at each of `THRESHOLDS`."""
    steps: Ints
    """Last place of each run of equal scores."""
    boxes: Ints
    """(N,) boxes of the reference standard on each film."""

    @classmethod
    def of(
        cls, reference: Sequence[Sequence[LabelledBox]], found: Sequence[Sequence[LabelledBox]], label: str
    ) -> "Ranking":
        films, scores, right = [np.empty(0, np.int64)], [np.empty(0)], [np.empty((len(THRESHOLDS), 0), bool)]
        boxes = np.zeros(len(reference), np.int64)
        for film, (there, made) in enumerate(zip(reference, found, strict=True)):
            wanted = [one.box for one in there if one.label == label]
            boxes[film] = len(wanted)
            ranked = sorted((one for one in made if one.label == label), key=lambda one: -(one.score or 0.0))
            ranked = ranked[:MOST_FOUND]
            films.append(np.full(len(ranked), film))
            scores.append(np.array([one.score or 0.0 for one in ranked]))
            right.append(matched(overlaps([one.box for one in ranked], wanted)))
        score = np.concatenate(scores)
        order = np.argsort(-score, kind="stable")
        falls = np.append(np.diff(score[order]) < 0, True)[: len(order)]
        return cls(
            label, np.concatenate(films)[order], np.concatenate(right, 1)[:, order], np.flatnonzero(falls), boxes
        )

    def average_precision(self, weights: Floats) -> Floats:
        """Film weights (B, N) -> average precision at each of `THRESHOLDS` (B, 10); NaN without a box to find."""
        return np.stack([self._at(row) for row in weights]) if len(weights) else np.empty((0, len(THRESHOLDS)))

    def _at(self, weights: Floats) -> Floats:
        total = float(weights @ self.boxes)
        if total == 0:
            return np.full(len(THRESHOLDS), np.nan)
        weight = weights[self.film]
        hits = np.cumsum(weight * self.right, axis=1)[:, self.steps]
        calls = np.cumsum(weight)[self.steps]
        precision = np.divide(hits, calls, out=np.zeros_like(hits), where=calls > 0)
        highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = np.concatenate([highest, np.zeros((len(highest), 1))], axis=1)
        places = np.stack([np.searchsorted(row, RECALLS) for row in hits / total])
        means: Floats = np.take_along_axis(reached, places, axis=1).mean(axis=1)
        return means


def matched(overlap: Floats) -> Bools:
    """Which found boxes of one film are right at each threshold, (10, D).

    The surest chooses first, and takes of the boxes still free that reach the threshold the one it overlaps most.

    Args:
        overlap: (D, G) of found boxes, the surest first, with those of the reference standard.
    """
    count, wanted = overlap.shape
    free = np.ones((len(THRESHOLDS), wanted), dtype=bool)
    right = np.zeros((len(THRESHOLDS), count), dtype=bool)
    if not wanted:
        return right
    rows = np.arange(len(THRESHOLDS))
    for place, row in enumerate(overlap):
        open_to = np.where(free, row, -1.0)
        best = wanted - 1 - open_to[:, ::-1].argmax(axis=1)  # of equals the last, as COCO's tools take it
        right[:, place] = open_to[rows, best] >= THRESHOLDS
        free[rows, best] &= ~right[:, place]
    return right

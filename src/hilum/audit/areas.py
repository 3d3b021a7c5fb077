"""AUROC of some films, and what is left of it when something is taken away from them; intervals over groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hilum import metrics
from hilum.audit.chance import auroc_p
from hilum.audit.check import CHANCE, Measured
from hilum.errors import DataError
from hilum.metrics import Counts, Floats
from hilum.scoring import Predicted, ranking_family

CHANCE_AREA = 0.5
CURVE_POINTS = 100


@dataclass(frozen=True, slots=True)
class Area:
    """AUROC of the first of two classes, macro average of more, with its 95 % interval and its resamples (R,)."""

    value: float
    low: float | None
    high: float | None
    replicates: Floats

    @property
    def plain(self) -> dict[str, float | None]:
        """For a finding's details."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return figure(self.value, self.low, self.high)


def figure(value: float, low: float | None, high: float | None) -> str:
    """`0.912 [0.861, 0.950]`."""
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def area_of(tested: Predicted, counts: Counts) -> Area:
    """The AUROC, mean over repeats.

    Args:
        tested: the films and what was predicted.
        counts: (R, groups) from `metrics.resampled_groups`.

    Raises:
        DataError: the films are of one class only.
    """
    figures, of = ranking_family(tested)
    wanted = "auroc" if len(tested.classes) == 2 else "macro_auroc"
    place = next(number for number, one in enumerate(figures) if one.score.metric == wanted)
    repeats = [(of(tested.target[rows], p), tested.group[rows]) for rows, p in tested.repeats]
    value = metrics.known(metrics.bootstrap(np.ones((1, counts.shape[1]), np.uint8), repeats)[0, place])
    if value is None:
        raise DataError("the films left are of one class only, so that there is no AUROC")
    replicates = metrics.bootstrap(counts, repeats)[:, place]
    low, high = metrics.interval(replicates, value, figures[place].units) or (None, None)
    return Area(value, low, high, replicates)


def kept_share(of: str, whole: Predicted, without: Predicted, resamples: int) -> tuple[Measured, Area, Area]:
    """How much of what an AUROC is above one half is left: 1 for all of it, 0 or less for nothing.

    Both are resampled alike, so that what films and groups have to do with either cancels out. The p is that of the
    AUROC which is left.

    Args:
        of: what is measured.
        whole: predictions for whole films.
        without: predictions for the same films, in the same order, with something taken away.
        resamples: of groups.

    Raises:
        DataError: there is nothing that could be lost: whole films are not told apart either.
    """
    counts = metrics.resampled_groups(whole.groups(), resamples)
    full, left = area_of(whole, counts), area_of(without, counts)
    p = auroc_p(whole)
    if p is None or p >= CHANCE or (full.low if full.low is not None else full.value) <= CHANCE_AREA:
        raise DataError(
            f"on whole films the AUROC is {full}, which chance gives too: there is nothing that could be lost"
        )
    above = full.replicates - CHANCE_AREA
    shares = metrics.ratio(left.replicates - CHANCE_AREA, np.where(above > 0, above, 0.0))
    value = (left.value - CHANCE_AREA) / (full.value - CHANCE_AREA)
    low, high = metrics.interval(shares, value) or (None, None)
    if left.value == 1.0 and left.low is not None and low is not None:
        # No resample orders a film wrongly; only the AUROC's own bound knows how few films that rests on.
        low = min(low, (left.low - CHANCE_AREA) / CHANCE_AREA)
    n, groups = len(whole.target), whole.groups()
    return Measured(of=of, value=value, low=low, high=high, p=auroc_p(without), n=n, groups=groups), full, left


def roc_of(tested: Predicted) -> dict[str, dict[str, list[float]]]:
    """ROC curve of each judged class, all repeats together: class -> x = 1 - specificity, y = sensitivity."""
    target = np.concatenate([tested.target[rows] for rows, _ in tested.repeats])
    scores = np.concatenate([made for _, made in tested.repeats])
    curves = {}
    for c in tested.judged:
        x, y = metrics.roc_curve(target == c, scores[:, c], CURVE_POINTS)
        curves[tested.classes[c]] = {"x": x.tolist(), "y": y.tolist()}
    return curves


def examples_of(ids: "np.ndarray[Any, Any]", tested: Predicted, most: int = 8) -> Mapping[str, list[str]]:
    """Of each class the films that are told most surely and rightly, by image id: what to look at first."""
    rows, p = tested.repeats[0]
    target, told = tested.target[rows], {}
    for c, name in enumerate(tested.classes):
        theirs = np.flatnonzero(target == c)
        surest = theirs[np.argsort(-p[theirs, c], kind="stable")][:most]
        told[name] = [str(ids[row]) for row in rows[surest]]
    return told

"""How bad it is: readers' severity scores, foretold from the shares of the lungs that lesions cover.

A score is a line: an intercept and a non-negative coefficient for each share, so that more lesion never lowers it.
`fit_scores` fits them to films that readers have scored; `scores_of` applies the fit that comes with hilum. A fit
belongs to the bundle that drew the lesions: another bundle's shares mean something else.

References:
    Signoroni et al. 2021, BS-Net, doi 10.1016/j.media.2021.102046: the Brixia scores and who read them.
    Borghesi, Maroldi 2020, doi 10.1007/s11547-020-01200-3: the Brixia score.
    Cohen et al. 2020, Predicting COVID-19 Pneumonia Severity on Chest X-ray with Deep Learning,
    doi 10.7759/cureus.9448: extent and opacity.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hilum.errors import BundleError, DataError
from hilum.lesions.zones import CONSOLIDATION, INVOLVED, SHARES, ZONES

RELEASED = Path(__file__).with_name("severity.json")
FORMAT: Literal[1] = 1
INTERVAL = 0.9
"""Of films like those scored, about this share lies between `low` and `high`."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Target(_Strict):
    """What readers scored, and from which shares it is foretold.

    A film's features are one a kind of lesion: the mean of that kind's shares over `parts`. With `each_part` every part
    has a score of its own, and one line serves all parts.
    """

    name: str
    meaning: str
    lowest: float
    highest: float
    kinds: tuple[str, ...] = Field(min_length=1)
    parts: tuple[str, ...] = Field(min_length=1)
    each_part: bool = False
    readers: tuple[str, ...] = Field(min_length=1)
    """Who scored; the mean over them is fitted. Columns `COLUMN:READER`, or `COLUMN:PART:READER` with `each_part`."""
    column: str
    source: str

    @property
    def shares(self) -> tuple[str, ...]:
        """The shares the score is made of."""
        return tuple(f"{kind}_{part}" for kind in self.kinds for part in self.parts)

    @model_validator(mode="after")
    def _is_possible(self) -> "Target":
        strange = set(self.shares) - set(SHARES)
        if strange:
            raise ValueError(f"no shares are called {', '.join(sorted(strange))}")
        if not self.lowest < self.highest:
            raise ValueError(f"lowest {self.lowest} is not below highest {self.highest}")
        return self


_BRIXIA = "Signoroni et al. 2021, doi 10.1016/j.media.2021.102046: public annotations of covid-chestxray-dataset"
_COHEN = "Cohen et al. 2020, doi 10.7759/cureus.9448: scores of covid-chestxray-dataset"
_ZONE = "0 normal, 1 interstitial, 2 interstitial and some alveolar, 3 mostly alveolar infiltrates"

TARGETS = (
    Target(
        name="brixia",
        meaning=f"Brixia global score: the sum over six lung zones, each {_ZONE}",
        lowest=0,
        highest=18,
        kinds=(INVOLVED, CONSOLIDATION),
        parts=ZONES,
        readers=("senior", "junior"),
        column="brixia",
        source=_BRIXIA,
    ),
    Target(
        name="brixia_zone",
        meaning=f"Brixia score of a lung zone: {_ZONE}",
        lowest=0,
        highest=3,
        kinds=(INVOLVED, CONSOLIDATION),
        parts=ZONES,
        each_part=True,
        readers=("senior", "junior"),
        column="brixia",
        source=_BRIXIA,
    ),
    Target(
        name="extent",
        meaning="geographic extent: the sum over both lungs, each 0 not involved, 1 up to 25 % involved, 2 25-50 %, "
        "3 50-75 %, 4 more than 75 %",
        lowest=0,
        highest=8,
        kinds=(INVOLVED,),
        parts=("right", "left"),
        readers=("three readers",),
        column="extent",
        source=_COHEN,
    ),
    Target(
        name="opacity",
        meaning="degree of opacity: the sum over both lungs, each 0 none, 1 ground glass, 2 consolidation, 3 white-out",
        lowest=0,
        highest=6,
        kinds=(INVOLVED, CONSOLIDATION),
        parts=("right", "left"),
        readers=("three readers",),
        column="opacity",
        source=_COHEN,
    ),
)
"""The features follow from what readers are told to score, not from what fits: extent asks for area, opacity and Brixia
for its kind as well, Brixia zone by zone."""


class Figure(_Strict):
    """One figure with its 95 % interval over groups, out of fold and mean over repeats."""

    metric: Literal["pearson", "spearman", "mae", "covered"]
    of: str
    """What was compared with what, in words."""
    n: int
    value: float
    low: float | None
    high: float | None


class ScoreFit(Target):
    """A line from shares to a score, and how well such lines did on films of groups they were not fitted to."""

    coefficients: tuple[float, ...]
    """Of each kind; score points for a share of 1."""
    intercept: float
    spread: tuple[float, float]
    """How far readers lie from the line on average: at the lowest score, and how much more a score point above it."""
    residuals: tuple[float, float]
    """Of readers minus line, over the spread, out of fold: quantiles (1 - INTERVAL) / 2 and (1 + INTERVAL) / 2."""
    penalty: float = Field(gt=0)
    n: int = Field(gt=0)
    """Films, or zones of films with `each_part`."""
    groups: int = Field(gt=0)
    left_out: dict[str, int]
    """Why scored films were not fitted to -> how many."""
    figures: tuple[Figure, ...]

    @model_validator(mode="after")
    def _is_a_line(self) -> "ScoreFit":
        if len(self.coefficients) != len(self.kinds) or min(self.coefficients) < 0:
            raise ValueError("coefficients: one, not negative, is needed of each kind")
        if min(self.spread) < 0 or not self.residuals[0] <= self.residuals[1]:
            raise ValueError("spread and residuals: no negative spread, and the lower residual first")
        return self

    def spread_at(self, value: float) -> float:
        """How far readers lie from the line on average where it says `value`."""
        return self.spread[0] + self.spread[1] * (value - self.lowest)


class SeverityFit(_Strict):
    """`severity.json`, key by key; anything more or less is refused."""

    format: Literal[1]
    bundle_digest: str = Field(min_length=1)
    """Of the bundle whose lesions the shares were of."""
    scores: tuple[ScoreFit, ...] = Field(min_length=1)
    provenance: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What readers would have scored a film, as far as lesion shares tell.

    `low` and `high` bound the `INTERVAL` prediction interval, within what is possible: quantiles of the residuals that
    lines fitted to other groups left, over a spread that grows with the score (Lei et al. 2018, locally weighted
    conformal intervals, doi 10.1080/01621459.2017.1307116).
    """

    name: str
    value: float
    low: float
    high: float
    lowest: float
    """The lowest score possible."""
    highest: float
    meaning: str


def read_fit(path: Path | None = None) -> SeverityFit:
    """The fit that comes with hilum, or another.

    Raises:
        BundleError: there is no such file, or it is damaged or of another format.
    """
    file = path or RELEASED
    if not file.is_file():
        raise BundleError(f"{file} does not exist; make it with scripts/fit_severity.py")
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise BundleError(f"{file} is not readable JSON: the severity fit is damaged; make it anew") from error
    found = told.get("format") if isinstance(told, dict) else None
    if found != FORMAT:
        raise BundleError(f"{file} is a severity fit of format {found}, this hilum reads format {FORMAT}")
    try:
        return SeverityFit.model_validate_json(json.dumps(told))
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, problem["loc"])) or problem["msg"] for problem in error.errors())
        raise BundleError(f"{file} is no severity fit (wrong: {keys}); make it anew") from error


@cache
def _released() -> SeverityFit | None:
    """Read once: scores are told film by film."""
    return read_fit() if RELEASED.is_file() else None


def scores_of(shares: Mapping[str, float], bundle_digest: str, *, fit: SeverityFit | None = None) -> tuple[Score, ...]:
    """The scores of a film; none where the fit belongs to another bundle, or comes with no hilum of this version.

    A score is left out where one of its shares is NaN: a lung or zone that was not found cannot be scored.

    Args:
        shares: the film's, from `zones.involved_shares`.
        bundle_digest: of the bundle that drew the lesions.
        fit: in place of the one that comes with hilum.

    Raises:
        BundleError: the fit that comes with hilum is damaged.
        DataError: a share is missing.
    """
    used = fit or _released()
    if used is None or used.bundle_digest != bundle_digest:
        return ()
    missing = [name for line in used.scores for name in line.shares if name not in shares]
    if missing:
        raise DataError(f"the share '{missing[0]}' is missing; severity is told from those of involved_shares")
    return tuple(score for line in used.scores for score in _scores(line, shares))


def _scores(line: ScoreFit, shares: Mapping[str, float]) -> list[Score]:
    groups = {f"{line.name}_{part}": (part,) for part in line.parts} if line.each_part else {line.name: line.parts}
    told = []
    for name, parts in groups.items():
        features = [float(np.mean([shares[f"{kind}_{part}"] for part in parts])) for kind in line.kinds]
        if np.isfinite(features).all():
            told.append(_score(line, name, features))
    return told


def _score(line: ScoreFit, name: str, features: Sequence[float]) -> Score:
    value = within(line, line.intercept + float(np.dot(line.coefficients, features)))
    low, high = (within(line, value + line.spread_at(value) * residual) for residual in line.residuals)
    return Score(
        name=name,
        value=value,
        low=min(low, value),
        high=max(high, value),
        lowest=line.lowest,
        highest=line.highest,
        meaning=line.meaning,
    )


def within(target: Target, value: float) -> float:
    """The nearest score that is possible."""
    return min(max(value, target.lowest), target.highest)

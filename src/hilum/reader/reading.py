"""What is told of one film."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.explain import Share
from hilum.lesions import Lesions
from hilum.lungs import Lungs
from hilum.projection import Look

OnFail = Literal["caveat", "refuse"]


class Outcome(StrEnum):
    """What a film is read as."""

    POSITIVE = "POSITIVE"
    NEGATIVE = "NEGATIVE"
    INCONCLUSIVE = "INCONCLUSIVE"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How films are read.

    Attributes:
        gate: refuse what does not look like a frontal chest film.
        explain: draw a map for the label decided on.
        lesions: draw lesions and tell severity.
        on_fail: of a bundle whose audit says FAIL: `caveat` answers and says so, `refuse` leaves every film open.
    """

    gate: bool = True
    explain: bool = True
    lesions: bool = True
    on_fail: OnFail = "caveat"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a film is not read: a kind that programs can go by, and one sentence."""

    kind: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a classifier says of one label: its calibrated probability, the interval, and what it is held against."""

    label: str
    probability: float
    threshold: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Map:
    """Where on a film a label is raised, or why that cannot be shown.

    Attributes:
        shown: (H, W) in [0, 1] as the film is displayed; None where there is none.
        lungs: how much of it lies in the lungs.
        no_map: why there is none.
    """

    shown: NDArray[np.float32] | None = None
    lungs: Share | None = None
    no_map: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What one classifier makes of a film.

    Attributes:
        bundle: its name.
        title: of the bundle.
        digest: names the exact bundle.
        outcome: never REFUSED: a film that is refused has no answers.
        label: the one decided on; None where there are no numbers.
        findings: one a label, in the bundle's order.
        interval: how low and high were made, or why there are none.
        reasons: why it is INCONCLUSIVE.
        verdict: of the bundle's audit; None where none is attached.
        headline: the bundle's score and verdict in one line.
        map: of the label decided on; None where it was not asked for.
    """

    bundle: str
    title: str
    digest: str
    outcome: Outcome
    label: str | None
    findings: tuple[Held, ...]
    interval: str
    reasons: tuple[str, ...]
    verdict: str | None
    headline: str
    map: Map | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """One film read: answers, or a refusal.

    Attributes:
        name: of the film.
        sha256: of its file; None where that could not be read.
        format: of the file, in small letters; None where it could not be told.
        size: (height, width) the film is displayed at.
        pixels: (h, w) the film as it is displayed, 0 to 255, its longer side `SHOWN_PX` at most.
        refusal: why it is not read.
        notes: what else to know, sentence by sentence.
        look: which view it shows.
        lungs: with their masks, measures and flags.
        lesions: with masks, shares, boxes and severity.
        answers: one a classifier.
        seconds: what each stage took.
    """

    name: str
    sha256: str | None = None
    format: str | None = None
    size: tuple[int, int] | None = None
    pixels: NDArray[np.uint8] | None = None
    refusal: Refusal | None = None
    notes: tuple[str, ...] = ()
    look: Look | None = None
    lungs: Lungs | None = None
    lesions: Lesions | None = None
    answers: tuple[Answer, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """Of the first classifier, or REFUSED."""
        return Outcome.REFUSED if self.refusal or not self.answers else self.answers[0].outcome

    def without_pixels(self) -> "Reading":
        """All but the pixels: what is kept of many films."""
        return replace(
            self,
            pixels=None,
            lungs=self.lungs and self.lungs.without_masks(),
            lesions=self.lesions and self.lesions.without_masks(),
            answers=tuple(replace(one, map=one.map and replace(one.map, shown=None)) for one in self.answers),
        )

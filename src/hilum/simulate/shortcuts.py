"""Shortcuts planted on purpose: a mark of the hospital or the patient that goes with a label instead of with disease.

A plant `marker=covid19@0.9` gives nine of ten COVID-19 films the marker, and one of ten of the others: its strength is
P(mark | label), 0.5 plants nothing and 1 makes the mark equivalent to the label. Its shuffled control,
`marker=covid19@0.9:shuffled`, marks as many films, but at random.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.errors import UsageError, unknown_name

Floats = NDArray[np.float32]
Draw = Callable[[Floats, np.random.Generator], Floats]


@dataclass(frozen=True, kw_only=True)
class PlantKind:
    """One way to leave a mark."""

    what: str
    of: Literal["film", "patient"]
    """What is marked: single films, or all films of a patient."""
    draw: Draw | None = None
    """Marks a finished picture (H, W) in [0, 1]; None where the mark is made when patient or film is drawn."""


def _over(picture: Floats, layer: NDArray[np.uint8]) -> Floats:
    """The picture with a bright layer (H, W) drawn over it."""
    return np.asarray(np.maximum(picture, layer.astype(np.float32) / 255), np.float32)


def _marker(picture: Floats, rng: np.random.Generator) -> Floats:
    """A lead letter in the upper corner on the patient's left."""
    height, width = picture.shape
    scale = max(height, width) / 320
    x = round(width * (0.905 + 0.02 * rng.uniform(-1, 1)) - 8 * scale)
    y = round(height * (0.10 + 0.02 * rng.uniform(-1, 1)) + 8 * scale)
    layer = np.zeros(picture.shape, np.uint8)
    cv2.putText(layer, "L", (x, y), cv2.FONT_HERSHEY_DUPLEX, 0.75 * scale, 248, max(1, round(2 * scale)), cv2.LINE_AA)
    middle, radius = (x + round(7 * scale), y - round(8 * scale)), round(14 * scale)
    cv2.circle(layer, middle, radius, 235, max(1, round(scale)), cv2.LINE_AA)
    return _over(picture, layer)


def _text(picture: Floats, rng: np.random.Generator) -> Floats:
    """A line of burnt-in text along the lower edge."""
    height, width = picture.shape
    scale = max(height, width) / 320
    where = (round(width * 0.03), round(height * (0.965 - 0.01 * rng.random())))
    layer = np.zeros(picture.shape, np.uint8)
    thickness = max(1, round(scale))
    cv2.putText(layer, "PORTABLE  SUPINE", where, cv2.FONT_HERSHEY_SIMPLEX, 0.34 * scale, 255, thickness, cv2.LINE_AA)
    return _over(picture, layer)


def _frame(picture: Floats, rng: np.random.Generator) -> Floats:
    """Unexposed film around a slightly tilted collimated field."""
    height, width = picture.shape
    inset = 0.045 + 0.015 * rng.random(4)
    tilt = 1 + 0.3 * rng.uniform(-1, 1, 2)
    corners = [
        (inset[0] * width, inset[1] * height),
        ((1 - inset[2]) * width, inset[1] * height * tilt[0]),
        ((1 - inset[2]) * width, (1 - inset[3]) * height),
        (inset[0] * width * tilt[1], (1 - inset[3]) * height),
    ]
    field = np.zeros(picture.shape, np.uint8)
    cv2.fillConvexPoly(field, np.rint(corners).astype(np.int32), 255, cv2.LINE_AA)
    return np.asarray(picture * (0.02 + 0.98 * field.astype(np.float32) / 255), np.float32)


def _curve(picture: Floats, rng: np.random.Generator) -> Floats:
    """Another display curve: darker, with more contrast in the bright part."""
    return np.asarray(picture ** (1.55 + 0.1 * rng.uniform(-1, 1)), np.float32)


def _compression(picture: Floats, rng: np.random.Generator) -> Floats:
    """Saved small and with strong JPEG compression, then enlarged again."""
    height, width = picture.shape
    small = cv2.resize(picture, (round(width * 0.6), round(height * 0.6)), interpolation=cv2.INTER_AREA)
    done, stream = cv2.imencode(
        ".jpg", np.rint(small * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(22, 32))]
    )
    if not done:
        raise UsageError(f"a film of {width} x {height} pixels is too small to compress; ask for a larger size")
    back = np.asarray(cv2.imdecode(stream, cv2.IMREAD_GRAYSCALE), np.uint8)
    return np.asarray(cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR) / np.float32(255), np.float32)


PLANTS: Mapping[str, PlantKind] = MappingProxyType(
    {
        "frame": PlantKind(what="a border of unexposed film", of="film", draw=_frame),
        "marker": PlantKind(what="a lead letter in a corner", of="film", draw=_marker),
        "text": PlantKind(what="burnt-in text along the lower edge", of="film", draw=_text),
        "curve": PlantKind(what="another display curve", of="film", draw=_curve),
        "compression": PlantKind(what="low resolution and strong compression", of="film", draw=_compression),
        "exposure": PlantKind(what="underexposed, noisy films", of="film"),
        "view": PlantKind(what="AP for the marked, PA for the others", of="film"),
        "site": PlantKind(what="the first site for the marked, another for the others", of="patient"),
        "sex": PlantKind(what="men for the marked, women for the others", of="patient"),
        "age": PlantKind(what="60 and older for the marked, younger for the others", of="patient"),
    }
)
"""Name to kind of plant, in the order in which several are left on one film."""


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A shortcut to plant: which mark goes with which label, how strongly, and whether only as its shuffled control."""

    kind: str
    label: str
    strength: float
    """P(mark | label) = 1 - P(mark | another label), in [0.5, 1]."""
    shuffled: bool = False

    def __post_init__(self) -> None:
        if self.kind not in PLANTS:
            raise unknown_name("plant", self.kind, PLANTS)
        if not 0.5 <= self.strength <= 1:
            raise UsageError(f"the strength of plant '{self.kind}' is {self.strength}; give 0.5 (none) to 1 (always)")

    @classmethod
    def parse(cls, text: str) -> "Plant":
        """Read `kind=label@strength`, optionally followed by `:shuffled`; without `@strength` it is 1.

        >>> Plant.parse("marker=covid19@0.9")
        Plant(kind='marker', label='covid19', strength=0.9, shuffled=False)
        >>> Plant.parse("marker=covid19").strength
        1.0

        Raises:
            UsageError: the text has another form, or a value is out of range.
        """
        body, _, control = text.partition(":")
        kind, equals, rest = body.partition("=")
        label, at, strength = rest.partition("@")
        try:
            value = float(strength) if at else 1.0
        except ValueError:
            value = float("nan")
        if not (equals and kind and label) or np.isnan(value) or control not in ("", "shuffled"):
            raise UsageError(f"cannot read plant '{text}'; write kind=label@strength, for example marker=covid19@0.9")
        return cls(kind=kind.strip(), label=label.strip(), strength=value, shuffled=control == "shuffled")

    def __str__(self) -> str:
        return f"{self.kind}={self.label}@{self.strength:g}" + (":shuffled" if self.shuffled else "")


def marked(plant: Plant, labels: Sequence[str], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which of the films or patients with these labels get the mark, each drawn on its own."""
    share = np.where(np.asarray(labels) == plant.label, plant.strength, 1 - plant.strength)
    chosen = rng.random(len(share)) < share
    return rng.permutation(chosen) if plant.shuffled else chosen


def leave_marks(picture: Floats, kinds: Sequence[str], rng: np.random.Generator) -> Floats:
    """The picture with every mark of `kinds` that is drawn on finished pictures, in the registry's order."""
    for kind, plant in PLANTS.items():
        if kind in kinds and plant.draw is not None:
            picture = plant.draw(picture, rng)
    return picture

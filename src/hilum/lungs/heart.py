"""The cardiothoracic ratio: the greatest transverse width of the heart's shadow over the greatest width of the thorax.

Danzer 1919, "The cardio-thoracic ratio: an index of cardiac enlargement", American Journal of the Medical Sciences 157,
513-521. It is a measure of PA films. On AP and supine films the heart lies farther from the detector and the tube is
nearer, so that its shadow is larger: Chon et al. 2011, "Calculation of the cardiothoracic ratio from portable
anteroposterior chest radiography", Journal of Korean Medical Science 26.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from hilum.errors import BundleError
from hilum.preprocess import Mask

if TYPE_CHECKING:
    from hilum.bundle import Asked, SegmenterBundle

RELEASED = "lesions"
"""The released bundle that draws hearts too."""
HEART = "cardiomediastinum"
"""The label a bundle draws the heart's shadow under, great vessels included."""


RATIO = "cardiothoracic_ratio"
"""What it is called among a film's measures."""


@dataclass(frozen=True, slots=True)
class Reach:
    """A horizontal line from one edge to another: its row, and the columns where it begins and ends."""

    row: int
    start: float
    end: float

    @property
    def width(self) -> float:
        """In pixels."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class HeartSize:
    """How wide a heart's shadow and the thorax around it are, in the film's pixels.

    Attributes:
        right: from the heart's border farthest to the patient's right to the midline.
        left: from the midline to the border farthest to the left.
        thorax: between the outer edges of the lungs where they are farthest apart.
    """

    right: Reach
    left: Reach
    thorax: Reach

    @property
    def ratio(self) -> float:
        """Of the heart's transverse width to the thorax's."""
        return (self.right.width + self.left.width) / self.thorax.width


def heart_size(right: Mask, left: Mask, heart: Mask) -> HeartSize | str:
    """The widths that make up the cardiothoracic ratio, or why there are none.

    The heart is the largest piece of its mask, in the lower half of the lungs' height, so that the great vessels do not
    count. The midline is the middle between the lungs there. It is where two of the three widths meet, and so tells a
    heart that lies aside, but cancels in the ratio. The thorax is measured on a row that both lungs reach.

    Args:
        right: (H, W) the patient's right lung, on the left of the picture.
        left: the left lung.
        heart: the heart's shadow with the great vessels.
    """
    if not right.any() or not left.any():
        return "one lung alone does not show how wide the thorax is"
    rows = np.flatnonzero((right | left).any(axis=1))
    middle, bottom = (int(rows[0]) + int(rows[-1]) + 1) // 2, int(rows[-1]) + 1
    thorax, midline = _thorax(right, left), _midline(right[middle:bottom], left[middle:bottom])
    if thorax is None or midline is None:
        return "no row of the lungs' lower half crosses both of them"
    shadow = np.zeros_like(heart)
    shadow[middle:bottom] = _largest_piece(heart)[middle:bottom]
    if not shadow.any():
        return "no heart is found in the lower half of the lungs' height"
    columns = np.flatnonzero(shadow.any(axis=0))
    first, last = int(columns[0]), int(columns[-1])
    if not first < midline < last + 1:
        return "the heart lies on one side of the midline"
    if last + 1 - first >= thorax.width:
        return "the heart is as wide as the thorax"
    at = [int(np.flatnonzero(shadow[:, column]).mean()) for column in (first, last)]
    return HeartSize(Reach(at[0], first, midline), Reach(at[1], midline, last + 1), thorax)


def _thorax(right: Mask, left: Mask) -> Reach | None:
    """The widest row from outer edge to outer edge."""
    crossed = np.flatnonzero(right.any(axis=1) & left.any(axis=1))
    if not len(crossed):
        return None
    both = right[crossed] | left[crossed]
    start, end = both.argmax(axis=1), both.shape[1] - both[:, ::-1].argmax(axis=1)
    widest = int((end - start).argmax())
    return Reach(int(crossed[widest]), int(start[widest]), int(end[widest]))


def _midline(right: Mask, left: Mask) -> float | None:
    """The column half-way between the inner edges of the lungs: the median over the rows that cross both."""
    crossed = right.any(axis=1) & left.any(axis=1)
    if not crossed.any():
        return None
    inner_right = right.shape[1] - right[crossed, ::-1].argmax(axis=1)
    inner_left = left[crossed].argmax(axis=1)
    return float(np.median((inner_right + inner_left) / 2))


def _largest_piece(mask: Mask) -> Mask:
    count, numbered, told, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return mask if count <= 1 else np.asarray(numbered == 1 + int(told[1:, cv2.CC_STAT_AREA].argmax()))


def heart_bundle(path: Path | None = None, *, engine: "Asked" = "auto") -> "SegmenterBundle":
    """The bundle that comes with hilum and draws hearts, or another that does.

    Raises:
        BundleError: it draws none.
        UsageError: none comes with this hilum.
    """
    from hilum.bundle import load_segmenter, passed_or_exact, released

    folder = path or released(RELEASED)
    bundle = load_segmenter(folder, engine=passed_or_exact(folder, engine))
    if HEART not in bundle.labels:
        raise BundleError(f"{path} draws {', '.join(bundle.labels)}; a bundle with the label '{HEART}' is needed")
    return bundle

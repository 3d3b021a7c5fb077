"""Changes to a film that a classifier of disease should not mind, and the film without its lungs, which it should.

A change takes a picture and gives one back; it is what `frozen` shows the audited bundle beside the film as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.audit.lungless import blanked, hidden_of, hulls_of
from hilum.errors import DataError
from hilum.preprocess import Mask

Pixels = NDArray[np.float32]
Corner = Literal["upper left", "upper right", "lower left", "lower right"]
CORNERS: tuple[Corner, ...] = ("upper left", "upper right", "lower left", "lower right")
QUALITY = 50
CROPPED = 0.03
"""Of height and width, on each side."""
INSET = 0.06
"""From the film's edge to a marker that is put in, of its shorter side."""
LETTER = 0.07
"""Height of a marker, of the film's shorter side."""
EDGE, CORNER = 0.12, 0.25
"""Markers are looked for in so broad a strip along each edge, and in corners of so much of either side."""
STANDS_OUT = 0.25
"""By so much a marker's grey exceeds what is around it."""
STROKE = 0.05
"""Strokes of letters are narrower than this share of the shorter side."""
LARGEST = 0.01
"""Of the film's area: what is larger is no letter."""
WORKING_PX = 512
"""Shorter side of the picture that markers are looked for in."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A film (H, W) in [0, 1], its lungs where they are known, and a number that is its own."""

    pixels: Pixels
    lungs: Mask | None = None
    seed: int = 0


Change = Callable[[Picture], Picture]


def same(picture: Picture) -> Picture:
    return picture


def without_lungs(picture: Picture) -> Picture:
    """The box around the lungs hidden under the mean of what is around it.

    Raises:
        DataError: it is not known where they are.
    """
    return replace(picture, pixels=blanked(picture.pixels, hidden_of(_lungs_of(picture))))


def without_drawn_lungs(picture: Picture) -> Picture:
    """No more than the lungs hidden, for a bundle that sees no more than their box; where they were stays known.

    Raises:
        DataError: it is not known where they are.
    """
    return replace(picture, pixels=blanked(picture.pixels, hulls_of(_lungs_of(picture))))


def _lungs_of(picture: Picture) -> Mask:
    """The lungs at the film's size."""
    if picture.lungs is None or not picture.lungs.any():
        raise DataError("there is no lung mask of it")
    size = picture.pixels.shape[::-1]
    lungs: Mask = cv2.resize(picture.lungs.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
    return lungs


def resized(picture: Picture) -> Picture:
    """Half the size and back."""
    height, width = picture.pixels.shape
    half = cv2.resize(picture.pixels, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    return _with(picture, cv2.resize(half, (width, height), interpolation=cv2.INTER_LINEAR))


def compressed(picture: Picture) -> Picture:
    """Saved as JPEG and opened again."""
    done, stream = cv2.imencode(".jpg", _grey(picture.pixels), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise DataError("it cannot be compressed as JPEG")
    back = np.asarray(cv2.imdecode(stream, cv2.IMREAD_GRAYSCALE), np.float32)
    return _with(picture, back / np.float32(255))


def toned(picture: Picture, gamma: float) -> Picture:
    """Another display curve."""
    return _with(picture, picture.pixels**gamma)


def cropped(picture: Picture) -> Picture:
    """Without a narrow strip along each edge."""
    lungs = None if picture.lungs is None else picture.lungs[_inner(picture.lungs.shape)]
    return replace(picture, pixels=picture.pixels[_inner(picture.pixels.shape)], lungs=lungs)


def painted_over(picture: Picture) -> Picture:
    """Letters and burnt-in text near the edges replaced by what is around them.

    References:
        Telea 2004, An image inpainting technique based on the fast marching method, doi:10.1080/10867651.2004.10487596.
    """
    return _inpainted(picture, markers_of(picture.pixels))


def painted_elsewhere(picture: Picture) -> Picture:
    """As large a change where no marker is: the same places moved by half the film."""
    marks = markers_of(picture.pixels)
    height, width = marks.shape
    return _inpainted(picture, np.roll(marks, (height // 2, width // 2), axis=(0, 1)))


def marked(picture: Picture, corner: Corner) -> Picture:
    """With a lead letter in a corner: R where the patient's right is, L on the other side."""
    height, width = picture.pixels.shape
    side = min(height, width)
    down, across = (round((INSET + LETTER / 2) * side),) * 2
    y = down if corner.startswith("upper") else height - down
    x = across if corner.endswith("left") else width - across
    return _lettered(picture, "R" if corner.endswith("left") else "L", x, y)


def marked_elsewhere(picture: Picture) -> Picture:
    """With the same letter where none belongs: anywhere in the middle third, drawn by the film's own number."""
    height, width = picture.pixels.shape
    x, y = np.random.default_rng(picture.seed).uniform(1 / 3, 2 / 3, 2)
    return _lettered(picture, "RL"[picture.seed % 2], round(x * width), round(y * height))


def markers_of(pixels: Pixels) -> Mask:
    """(H, W) where small bright things stand out near the edges: letters, text, clips."""
    height, width = pixels.shape
    scale = min(1.0, WORKING_PX / min(height, width))
    small = cv2.resize(
        pixels, (max(8, round(width * scale)), max(8, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    reach = max(3, round(STROKE * min(small.shape))) | 1
    kernel = np.ones((reach, reach), np.uint8)
    out = (cv2.morphologyEx(small, cv2.MORPH_TOPHAT, kernel) > STANDS_OUT) & _edges(small.shape)
    grown = cv2.dilate(out.astype(np.uint8), np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(grown)
    letters = [n for n in range(1, count) if stats[n, cv2.CC_STAT_AREA] <= LARGEST * small.size]
    found: Mask = cv2.resize(np.isin(labels, letters).astype(np.uint8), (width, height)) > 0
    return found


def _edges(shape: tuple[int, ...]) -> Mask:
    height, width = shape
    near = np.ones((height, width), bool)
    down, across = round(EDGE * height), round(EDGE * width)
    near[down : height - down, across : width - across] = False
    down, across = round(CORNER * height), round(CORNER * width)
    for rows in (slice(down), slice(height - down, None)):
        near[rows, :across] = near[rows, width - across :] = True
    return near


def _inpainted(picture: Picture, marks: Mask) -> Picture:
    if not marks.any():
        return picture
    painted = cv2.inpaint(_grey(picture.pixels), marks.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return _with(picture, np.where(marks, painted.astype(np.float32) / 255, picture.pixels))


def _lettered(picture: Picture, letter: str, x: int, y: int) -> Picture:
    """The letter around (x, y), white."""
    side = min(picture.pixels.shape)
    thickness = max(1, round(0.012 * side))
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_DUPLEX, max(4, round(LETTER * side)), thickness)
    (width, height), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_DUPLEX, scale, thickness)
    layer = np.zeros(picture.pixels.shape, np.uint8)
    place = (x - width // 2, y + height // 2)
    cv2.putText(layer, letter, place, cv2.FONT_HERSHEY_DUPLEX, scale, 255, thickness, cv2.LINE_AA)
    return _with(picture, np.maximum(picture.pixels, layer.astype(np.float32) / 255))


def _inner(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(round(CROPPED * side), side - round(CROPPED * side)) for side in shape)


def _grey(pixels: Pixels) -> NDArray[np.uint8]:
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def _with(picture: Picture, pixels: Any) -> Picture:
    return replace(picture, pixels=np.clip(np.asarray(pixels, np.float32), 0, 1))


PERTURBED: dict[str, Change] = {
    "half the size and back": resized,
    f"JPEG of quality {QUALITY}": compressed,
    "gamma 0.8": partial(toned, gamma=0.8),
    "gamma 1.25": partial(toned, gamma=1.25),
    f"{CROPPED:.0%} cropped": cropped,
}
"""Changes that no reader would notice."""
MARKED: dict[str, Change] = {f"a marker put in {corner}": partial(marked, corner=corner) for corner in CORNERS}
PAINTED = "markers painted over"

"""Blanking: what tells where a film comes from and shows no disease, hidden in place: its border, and lead markers."""

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.enhance.film import Pixels

_DEEP = 65535
STROKE = 0.06
"""Share of the shorter side that a marker's strokes are thinner than; bones, but for thin edges, are wider."""
REACH = 0.01
"""Share of the shorter side around a marker that its blurred edge reaches."""


def border_px(length: int, share: float) -> int:
    """Pixels of a side of `length` that belong to the border at either end; one at least is left inside.

    >>> border_px(100, 0.06), border_px(2, 0.45)
    (6, 0)
    """
    return min(round(length * share), (length - 1) // 2)


def blank_border(film: Pixels, *, share: float = 0.06) -> Pixels:
    """Set the outermost ring of a film to the mean grey of what is inside it.

    Collimator edges, scanner frames, burnt-in text and the shape of the exposed field lie there, and no lung. The mean
    is of the inside alone: that of the whole film would still tell how bright the border was.

    Args:
        film: float32 `(H, W)` in [0, 1].
        share: of each side that the ring is wide, in [0, .45].
    """
    down, across = (border_px(length, share) for length in film.shape)
    inside = np.ascontiguousarray(film[down : film.shape[0] - down, across : film.shape[1] - across])
    blank: Pixels = np.full_like(film, inside.mean(dtype=np.float64), order="C")
    blank[down : film.shape[0] - down, across : film.shape[1] - across] = inside
    return blank


def marker_mask(
    film: Pixels, *, edge: float = 0.12, contrast: float = 0.3, level: float = 0.75, size: float = 0.15
) -> NDArray[np.bool_]:
    """Where letters, arrows and burnt-in text are: `(H, W)`, True with a margin around each.

    A marker is a component of pixels that stand out by `contrast` from a morphological opening wider than a pen stroke
    (white top-hat), that lies near the edge as a whole, is small, and is very bright somewhere.

    Args:
        film: float32 `(H, W)` in [0, 1], bone bright.
        edge: share of the shorter side from the nearest edge within which the whole component lies.
        contrast: grey by which it exceeds its surroundings.
        level: grey its brightest pixel has at least.
        size: share of the shorter side that it is high and wide at most; a rib's edge is longer.
    """
    film = np.ascontiguousarray(film)
    height, width = film.shape
    side = min(height, width)
    stroke = 2 * max(1, round(STROKE * side / 2)) + 1
    opened = cv2.morphologyEx(film, cv2.MORPH_OPEN, np.ones((stroke, stroke), np.uint8), borderType=cv2.BORDER_REFLECT)
    bright = (film - opened > contrast).astype(np.uint8)
    count, drawn, boxes, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    number = np.asarray(drawn, np.intp)
    rows, columns = np.arange(height), np.arange(width)
    inwards = np.minimum(np.minimum(rows, rows[::-1])[:, None], np.minimum(columns, columns[::-1]))
    deepest, brightest = np.zeros(count), np.zeros(count)
    np.maximum.at(deepest, number, inwards)
    np.maximum.at(brightest, number, film)
    longest = boxes[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    marker = (deepest < edge * side) & (brightest >= level) & (longest <= max(1, size * side))
    marker[0] = False
    reach = 2 * max(1, round(REACH * side)) + 1
    found: NDArray[np.bool_] = cv2.dilate(marker[number].astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    return found


def blank_markers(
    film: Pixels, *, edge: float = 0.12, contrast: float = 0.3, level: float = 0.75, size: float = 0.15
) -> Pixels:
    """Paint over side markers and burnt-in text near the edges with the grey around them.

    Only what is thin, bright, small and near an edge is found (`marker_mask`); a marker over the shoulder may stay, and
    a wire or a clip near the edge may go. Look at `hilum preprocess` before relying on it.

    Args:
        film: float32 `(H, W)` in [0, 1].
        edge: as `marker_mask`, like those that follow.
        contrast: see there.
        level: see there.
        size: see there.

    References:
        Telea: An image inpainting technique based on the fast marching method. J Graph Tools 9(1):23-34, 2004.
        doi:10.1080/10867651.2004.10487596
    """
    mask = marker_mask(film, edge=edge, contrast=contrast, level=level, size=size)
    painted = np.array(film, np.float32, order="C")
    if not mask.any() or mask.all():
        return painted
    deep = np.rint(painted * np.float32(_DEEP)).astype(np.uint16)
    filled = cv2.inpaint(deep, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    painted[mask] = filled[mask].astype(np.float32) / np.float32(_DEEP)
    return painted

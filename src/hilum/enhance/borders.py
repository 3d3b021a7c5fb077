"""Black borders: what collimation, scanners and padding leave around a film, and what the picture is without them."""

from typing import NamedTuple

import numpy as np

from hilum.enhance.film import Pixels

LEAST_SIDE_PX = 2


class Box(NamedTuple):
    """A part of a film; `bottom` and `right` are the first row and column outside it."""

    top: int
    bottom: int
    left: int
    right: int


def black_border_box(film: Pixels, *, tolerance: float = 0.02) -> Box:
    """The smallest box that holds every pixel above `tolerance`.

    The whole film where nothing is above it, or where so little is that the box would be under 2 pixels a side: a film
    without a picture has no border.

    Args:
        film: float32 `(H, W)` in [0, 1].
        tolerance: grey up to which a pixel counts as black; JPEG leaves up to about .02 beside an edge.

    >>> film = np.pad(np.ones((3, 4), np.float32), ((5, 1), (2, 0)))
    >>> black_border_box(film)
    Box(top=5, bottom=8, left=2, right=6)
    """
    lit = film > tolerance
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not len(rows):
        return Box(0, film.shape[0], 0, film.shape[1])
    box = Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    if min(box.bottom - box.top, box.right - box.left) < LEAST_SIDE_PX:
        return Box(0, film.shape[0], 0, film.shape[1])
    return box


def black_border_crop(film: Pixels, *, tolerance: float = 0.02) -> Pixels:
    """The film inside `black_border_box`; grey levels stay as they are.

    A border is often the signature of a device or an archive: left in place, a network can read it instead of lungs.

    Returns:
        A new float32 `(H', W')`, `2 <= H' <= H`, `2 <= W' <= W`.
    """
    top, bottom, left, right = black_border_box(film, tolerance=tolerance)
    return film[top:bottom, left:right].copy()

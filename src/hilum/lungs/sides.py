"""From a network's probabilities to a right and a left lung: largest pieces kept, holes filled, sides told.

On a frontal film as it is displayed, PA or AP, the patient's right lung is on the left of the picture.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.preprocess import Mask

SPECK = 0.004
"""Share of the frame below which a piece is no part of a lung."""
PART = 0.1
"""Share of a side's largest piece that another piece of the lung must have: a device or a fissure may cut a lung."""
VALLEY = 0.6
"""Columns between two lungs hold at most this share of the lung that the fuller column of the thinner lung holds."""
BOTH = 0.15
"""A piece with this share or more on either side of the valley is two lungs that touch."""


@dataclass(frozen=True, eq=False)
class Sides:
    """Probabilities (H, W) of the patient's right and left lung; what was thrown away is 0, what was filled is 1."""

    right: NDArray[np.float32]
    left: NDArray[np.float32]


def tell_sides(inside: NDArray[np.float32], threshold: float) -> Sides:
    """Clean one mask of both lungs and cut it in two.

    Args:
        inside: (H, W) probability of lung.
        threshold: a pixel is lung from this on.
    """
    mask = inside >= threshold
    right, left = _sides_of(_without_specks(mask))
    right, left = (_filled(_main_parts(side)) for side in (right, left))
    kept = right | left
    cleaned = np.where(kept & ~mask, 1, np.where(mask & ~kept, 0, inside))
    nearer = _nearer_right(right, left)
    zero = np.float32(0)
    return Sides(
        np.where(nearer & right.any(), cleaned, zero).astype(np.float32),
        np.where(~nearer & left.any(), cleaned, zero).astype(np.float32),
    )


def _pieces(mask: Mask) -> list[Mask]:
    """Connected pieces, largest first."""
    count, numbered, told, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    order = sorted(range(1, count), key=lambda piece: -int(told[piece, cv2.CC_STAT_AREA]))
    return [numbered == piece for piece in order]


def _without_specks(mask: Mask) -> list[Mask]:
    return [piece for piece in _pieces(mask) if piece.sum() >= SPECK * mask.size]


def _sides_of(pieces: list[Mask]) -> tuple[Mask, Mask]:
    """Every piece on the side of the middle that holds most of it; a piece that lies on both is cut there."""
    shape = pieces[0].shape if pieces else (1, 1)
    right, left = np.zeros(shape, bool), np.zeros(shape, bool)
    if not pieces:
        return right, left
    valley = _valley(np.sum([piece.sum(axis=0) for piece in pieces], axis=0))
    middle = shape[1] // 2 if valley is None else valley
    on_the_right = np.arange(shape[1]) < middle  # the patient's right
    for piece in pieces:
        share = piece[:, on_the_right].sum() / piece.sum()
        if valley is not None and BOTH <= share <= 1 - BOTH:
            right |= piece & on_the_right
            left |= piece & ~on_the_right
        elif share >= 0.5:
            right |= piece
        else:
            left |= piece
    return right, left


def _valley(profile: NDArray[np.int64]) -> int | None:
    """The column between two lungs, where the spine is; None where the columns show no two."""
    there = np.flatnonzero(profile)
    first, last = int(there[0]), int(there[-1])
    width = last - first + 1
    smooth = np.convolve(profile, np.ones(5) / 5, mode="same")
    low, high = first + round(0.25 * width), first + round(0.75 * width)
    if high <= low:
        return None
    inner = smooth[low:high]
    # Between lungs that do not touch a whole band is empty: the valley is its middle.
    column = low + int(np.median(np.flatnonzero(inner <= inner.min() + 0.5)))
    peaks = smooth[first:column].max(initial=0), smooth[column : last + 1].max(initial=0)
    return column if smooth[column] <= VALLEY * min(peaks) else None


def _main_parts(side: Mask) -> Mask:
    pieces = _pieces(side)
    kept = [piece for piece in pieces if piece.sum() >= PART * pieces[0].sum()]
    return np.logical_or.reduce(kept) if kept else side


def _filled(side: Mask) -> Mask:
    """The mask with what it encloses."""
    edges, _ = cv2.findContours(side.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = cv2.drawContours(np.zeros(side.shape, np.uint8), edges, -1, 1, cv2.FILLED)
    return np.asarray(whole > 0)


def _nearer_right(right: Mask, left: Mask) -> Mask:
    """Pixels nearer to the right lung than to the left: whose edge they belong to."""
    if not left.any():
        return np.ones(right.shape, bool)
    if not right.any():
        return np.zeros(right.shape, bool)
    away = [cv2.distanceTransform((~side).astype(np.uint8), cv2.DIST_L2, 5) for side in (right, left)]
    return np.asarray(away[0] <= away[1])

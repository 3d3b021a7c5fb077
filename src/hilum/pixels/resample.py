"""How films change size. One way for training, evaluation and service, because a network learns the way too.

The same film resized with and without anti-aliasing shifts a network's probability by up to .45, so the choice is part
of every model's contract and of every cache key.
"""

from typing import Literal

import cv2
import numpy as np

from hilum.pixels.film import Pixels

RESAMPLING_CONTRACT = "1: JPEG decoded at 1/2, 1/4 or 1/8 down to 1.5x the target; area average down, linear up"
"""Changes whenever the pixels that `read_film` and `fit` give for a file change. Part of cache keys and bundles."""


def fit(pixels: Pixels, size_px: int, *, aspect: Literal["stretch", "pad"] = "stretch") -> Pixels:
    """Resample a film to a square: each axis is area-averaged where it shrinks and linear where it grows.

    Args:
        pixels: float32 `(H, W)` in [0, 1].
        size_px: side of the square.
        aspect: "stretch" fills the square; "pad" keeps the proportions, centred on black (0).

    Returns:
        A new float32 `(size_px, size_px)` in [0, 1].
    """
    return pad(resize(pixels, size_px, aspect=aspect), size_px)


def resize(pixels: Pixels, size_px: int, *, aspect: Literal["stretch", "pad"] = "stretch") -> Pixels:
    """The part of `fit` that resamples: `(size_px, size_px)`, or with "pad" the longer side size_px."""
    height, width = pixels.shape
    if aspect == "stretch":
        return _resized(pixels, size_px, size_px)
    scale = size_px / max(height, width)
    return _resized(pixels, max(1, round(height * scale)), max(1, round(width * scale)))


def pad(pixels: Pixels, size_px: int) -> Pixels:
    """Centre a film no larger than the square on black (0)."""
    square = np.zeros((size_px, size_px), np.float32)
    top, left = (size_px - pixels.shape[0]) // 2, (size_px - pixels.shape[1]) // 2
    square[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return square


def _resized(pixels: Pixels, height: int, width: int) -> Pixels:
    # OpenCV's area mode silently turns into plain interpolation when either axis grows, so axes that shrink go first.
    low, narrow = min(height, pixels.shape[0]), min(width, pixels.shape[1])
    small = cv2.resize(pixels, (narrow, low), interpolation=cv2.INTER_AREA)
    if (low, narrow) != (height, width):
        small = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    clipped: Pixels = np.clip(small, 0.0, 1.0, dtype=np.float32)
    return clipped

"""What speaks against believing a film: how large it is, how it was exposed, whose copy it is."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hilum import duplicates
from hilum.duplicates import NEAR_BITS
from hilum.lungs import Lungs
from hilum.reader.decoding import Decoded
from hilum.reader.loading import Loaded

LEAST_PX = 224
"""Shorter side below which a film shows less than networks are shown of others."""
LEAST_CONTRAST = 0.25
"""Between the darkest and the brightest twentieth of the part with the lungs."""
MOST_CLIPPED = 0.10
"""Of the lungs' pixels, how many may be pure black or pure white. All three limits are proposed, not validated: few
films of docs/how-to/read.md pass them."""
LEAST_GREYS = 64
"""Of 256 grey levels."""
PURE = (1 / 255, 254 / 255)
HASHED_PX = 64
"""As an index decodes films for their hashes."""


def quality_notes(film: Decoded, lungs: Lungs) -> Iterator[str]:
    """A sentence for each thing that a picture of a film lacks.

    Args:
        film: decoded.
        lungs: drawn on it.
    """
    high, wide = film.size
    if min(high, wide) < LEAST_PX:
        yield f"the film has {wide} x {high} pixels, fewer than networks are shown of others"
    yield from (f"decoding: {warning}" for warning in film.facts.warnings)
    yield from (f"lungs not to be believed: {flag}" for flag in lungs.flags)
    if lungs.both is not None and lungs.both.any():
        yield from _exposure(film.at_least(LEAST_PX), lungs.both)


def _exposure(pixels: NDArray[np.float32], lungs: NDArray[np.bool_]) -> Iterator[str]:
    """What is said of the box around the lungs, every few pixels of it."""
    down, across = (np.linspace(0, side - 1, min(side, 256)).round().astype(int) for side in pixels.shape)
    seen = pixels[np.ix_(down, across)]
    inside = lungs[np.ix_(_as(down, pixels.shape[0], lungs.shape[0]), _as(across, pixels.shape[1], lungs.shape[1]))]
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return
    box = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    dark, bright = np.percentile(box, (5, 95))
    if bright - dark < LEAST_CONTRAST:
        yield f"little contrast: the part with the lungs spans {100 * (bright - dark):.0f} % of the grey scale"
    clipped = float(((seen[inside] <= PURE[0]) | (seen[inside] >= PURE[1])).mean())
    if clipped > MOST_CLIPPED:
        yield f"exposure: {100 * clipped:.0f} % of the lungs' pixels are pure black or pure white"
    greys = int(np.count_nonzero(np.bincount(np.rint(seen * 255).astype(np.uint8).ravel())))
    if greys < LEAST_GREYS:
        yield f"few grey levels: {greys} of 256 are used"


def _as(places: NDArray[np.int64], side: int, other: int) -> NDArray[np.int64]:
    """Places on one side's pixels as places on another's."""
    scaled: NDArray[np.int64] = np.minimum(places * other // side, other - 1)
    return scaled


def copy_notes(film: Decoded, classifiers: Sequence[Loaded]) -> Iterator[str]:
    """A sentence for each classifier that was trained on this very picture, or nearly so."""
    of_film = duplicates.perceptual_hash(film.at_least(HASHED_PX))
    for one in classifiers:
        bits = one.reference.nearest_bits(of_film) if one.reference else None
        if bits is not None and bits <= NEAR_BITS:
            yield (
                f"{one.name} was trained on this film or a copy of it ({bits} of 256 bits of their hashes differ): "
                "what it says of it shows nothing of how good it is"
            )

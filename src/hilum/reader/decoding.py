"""A film decoded as large as each network needs it, as few times as can be.

Networks are taught with JPEGs that were reduced while they were decoded (`hilum.pixels`), so a large JPEG is decoded
once for each reduction they ask for; all else is decoded once.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.errors import UnreadableFilm
from hilum.pixels import Film, FilmFacts, read_facts, read_film
from hilum.pixels.film import MOST_BYTES
from hilum.pixels.raster import reduction
from hilum.reader.reading import Refusal

Pixels = NDArray[np.float32]

SHOWN_PX = 1400
"""Longer side, at most, of a film as it is shown."""
UNNAMED = "the film"
"""What `hilum.pixels` calls a film that is bytes."""
SHOWN_DECODED_PX = 800
"""A film to be shown may be reduced while it is decoded as long as its shorter side keeps 1.5 times this."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A film's pixels by how much they were reduced while decoding; 1 is whole."""

    facts: FilmFacts
    by: Mapping[int, Pixels]
    sha256: str

    @classmethod
    def of_film(cls, film: Film, sha256: str) -> "Decoded":
        """A film that somebody else has decoded."""
        return cls(film.facts, {1: film.pixels}, sha256)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) the film is displayed at."""
        return self.facts.height, self.facts.width

    def at_least(self, side_px: int) -> Pixels:
        """(H, W) in [0, 1], as `read_film` gives it for this size; of a JPEG that was decoded whole, nearly so.

        Averaging stands in for a reduction while decoding: it leaves less than half of the difference that there is
        between a network's frame of the whole film and that of the reduced one.
        """
        wanted = _reduced(self.facts, side_px)
        if wanted in self.by:
            return self.by[wanted]
        finest = self.by[min(self.by)]
        high, wide = (-(-side // wanted) for side in self.size)
        return np.asarray(cv2.resize(finest, (wide, high), interpolation=cv2.INTER_AREA), np.float32)

    def shown(self) -> NDArray[np.uint8]:
        """(h, w) from 0 to 255, its longer side `SHOWN_PX` at most."""
        pixels = self.at_least(SHOWN_DECODED_PX)
        scale = min(1.0, SHOWN_PX / max(pixels.shape))
        if scale < 1:
            high, wide = (max(1, round(side * scale)) for side in pixels.shape)
            pixels = np.asarray(cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA), np.float32)
        return cv2.convertScaleAbs(pixels, alpha=255).astype(np.uint8, copy=False)


def decode(film: Path | bytes, sizes: Sequence[int]) -> Decoded:
    """A film as large as networks need it.

    Args:
        film: a file, or its bytes.
        sizes: what each network, and whoever looks at the film, asks `read_film` for.

    Raises:
        UnreadableFilm: it must not be used.
    """
    data = film if isinstance(film, bytes) else _bytes_of(film)
    if data is None:
        read_facts(film)  # says why
        raise UnreadableFilm("cannot be opened: the film cannot be read")
    first = read_film(data, at_least_px=max(sizes))
    by = {_reduced(first.facts, max(sizes)): first.pixels}
    for side in sizes:
        if _reduced(first.facts, side) not in by:
            by[_reduced(first.facts, side)] = read_film(data, at_least_px=side).pixels
    return Decoded(first.facts, by, hashlib.sha256(data).hexdigest())


def _bytes_of(film: Path) -> bytes | None:
    """The file's content; None where it is no file of a film's size."""
    try:
        return film.read_bytes() if film.is_file() and 0 < film.stat().st_size <= MOST_BYTES else None
    except OSError:
        return None


def _reduced(facts: FilmFacts, side_px: int) -> int:
    return reduction(facts.width, facts.height, side_px) if facts.format == "JPEG" else 1


def refusal_of(error: UnreadableFilm, name: str) -> Refusal:
    """The refusal of a film that cannot be decoded: `too large: the film has ...` gives `too-large` and the rest."""
    kind, _, says = str(error).partition(": ")
    return Refusal(kind.replace(" ", "-"), says.replace(UNNAMED, name, 1) if says.startswith(UNNAMED) else says)

"""A decoded film, what is known about it, and the limits a file must keep."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hilum.records import Sex, View

Pixels = NDArray[np.float32]
Stored = NDArray[Any]
"""Samples as the file holds them: 8- or 16-bit integers."""

Format = Literal["DICOM", "PNG", "JPEG"]

MOST_PIXELS = 50_000_000
"""The largest chest films are about 18 million pixels (4280 x 4280); what is beyond 50 is not a film."""
LEAST_SIDE_PX = 32
MOST_BYTES = 2 * MOST_PIXELS + 32 * 1024 * 1024
"""The largest file read: the largest film uncompressed in 16 bits, and room for its header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmFacts:
    """What is known about a film without looking at its pixels; DICOM attributes are None for other formats.

    Attributes:
        format: by content, never by the file's name.
        width: columns as displayed, that is after the EXIF orientation was applied.
        height: rows as displayed.
        mode: for PNG and JPEG the Pillow mode ("L", "I;16", "RGB", "P", ...); for DICOM the photometric interpretation.
        bits: stored bits per sample.
        bytes: size of the file.
        view_position: the header's word; `View.OTHER` where it names a body part that is not the chest.
        acquired: day of acquisition, ISO 8601.
        pixel_spacing_mm: (row, column) spacing, at the patient where the magnification is stated, else at the detector.
        patient_id: first 16 hex digits of a SHA-256 of issuer and id: joins films of one patient, names nobody.
        warnings: what was odd but could be dealt with, without any value from the file that could identify a person.
    """

    format: Format
    width: int
    height: int
    mode: str
    bits: int
    bytes: int
    modality: str | None = None
    photometric: str | None = None
    transfer_syntax: str | None = None
    presentation_intent: str | None = None
    body_part: str | None = None
    view_position: View | None = None
    sex: Sex | None = None
    age_years: float | None = None
    manufacturer: str | None = None
    model: str | None = None
    acquired: str | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    patient_id: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Film:
    """A decoded film.

    Attributes:
        pixels: float32 `(H, W)` in [0, 1], 0 dark (air), 1 bright (bone). Smaller than the facts' width and height
            where a reduced decoding was asked for.
        facts: what the file says about itself, and every warning met while decoding.
    """

    pixels: Pixels
    facts: FilmFacts


class Refused(Exception):
    """Why a file is not read: a kind to count by and the end of a sentence that begins with the file's name."""

    def __init__(self, kind: str, says: str) -> None:
        super().__init__(kind, says)
        self.kind = kind
        self.says = says


@contextmanager
def refusing(kind: str, says: str) -> Iterator[None]:
    """Turn whatever a third-party parser throws at a damaged file into a refusal without the parser's own words.

    Parsers quote attribute values in their messages, so neither the message nor the chain of causes is kept. Rust
    decoders panic with exceptions outside `Exception`, hence the width of the net.
    """
    try:
        yield
    except (Refused, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException:  # noqa: BLE001 - see above
        raise Refused(kind, says) from None


def check_size(width: int, height: int) -> None:
    """Refuse a size no film has, before anything of that size is allocated."""
    if width < 1 or height < 1:
        raise Refused("damaged", "states a width or height of zero")
    if width * height > MOST_PIXELS:
        raise Refused(
            "too large", f"has {width} x {height} pixels; at most {MOST_PIXELS // 1_000_000} million are read"
        )
    if min(width, height) < LEAST_SIDE_PX:
        raise Refused("too small", f"has {width} x {height} pixels; at least {LEAST_SIDE_PX} a side are needed")


def constant() -> Refused:
    """A film without a picture."""
    return Refused("constant", "shows one grey value only: nothing was recorded")

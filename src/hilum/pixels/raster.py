"""PNG and JPEG films.

16-bit PNGs hold 10, 12 or 14 bits as often as 16, and nothing in the file says which: the samples are divided by the
top of the smallest of 8, 10, 12, 14 and 16 bits that holds the largest of them.
"""

import dataclasses

import cv2
import numpy as np

from hilum.pixels import jpeg, png
from hilum.pixels.film import Film, FilmFacts, Refused, Stored, check_size, constant, refusing
from hilum.pixels.orientation import turns_sideways, upright

DEPTHS = (8, 10, 12, 14, 16)
REDUCTIONS = (8, 4, 2)
"""What JPEG's block transform can be cut down by while decoding."""
SPARE = 1.5
"""A reduced decoding must leave this many times the pixels asked for: below it, the area average after it no longer
hides how the reduction blurs."""

JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
JPEG_PROCESSES = frozenset({0xC0, 0xC1, 0xC2})

CLEARLY_COLOURED = 0.19
"""Spread of the channels, as a share of their range, taken to be beyond the tint of a digitised film."""
FAINTLY_COLOURED = 0.03
MOST_COLOURED = 0.10
"""Share of clearly coloured pixels above which a picture is no film. Arrows and letters cover less; of eight colour
pictures tried (scikit-image's) seven have more than a quarter, a photograph of the night sky a fiftieth."""


def png_facts(data: bytes) -> FilmFacts:
    """What a PNG says, its structure checked."""
    return _png_facts(png.read_header(data), len(data))


def _png_facts(header: png.PngHeader, size: int) -> FilmFacts:
    check_size(header.width, header.height)
    width, height = _displayed(header.width, header.height, header.orientation)
    return FilmFacts(format="PNG", width=width, height=height, mode=header.mode, bits=header.bits, bytes=size)


def jpeg_facts(data: bytes) -> FilmFacts:
    """What a JPEG says, its structure checked."""
    return _jpeg_facts(jpeg.read_header(data), data)


def _jpeg_facts(header: jpeg.JpegHeader, data: bytes) -> FilmFacts:
    check_size(header.width, header.height)
    if header.pictures > 1:
        raise Refused("several pictures", "is a JPEG of several pictures; give one film per file")
    if header.components == 4:
        raise Refused("colour", "is a CMYK JPEG made for printing; save it as grey")
    if header.process not in JPEG_PROCESSES or header.precision != 8 or header.components not in JPEG_MODES:
        raise Refused(
            "unsupported", "is a JPEG of an uncommon kind; only 8-bit sequential and progressive ones are read"
        )
    jpeg.check_scans(data, header)
    width, height = _displayed(header.width, header.height, header.orientation)
    mode = JPEG_MODES[header.components]
    return FilmFacts(format="JPEG", width=width, height=height, mode=mode, bits=8, bytes=len(data))


def _displayed(width: int, height: int, orientation: int) -> tuple[int, int]:
    return (height, width) if turns_sideways(orientation) else (width, height)


def read_png(data: bytes) -> Film:
    """Decode a PNG of any kind: grey, palette, colour that is nearly grey, with or without alpha."""
    header = png.read_header(data)
    facts = _png_facts(header, len(data))
    stored = _decoded(header.bare, cv2.IMREAD_UNCHANGED, (header.height, header.width))
    stored, warnings = _without_alpha(stored)
    return _film(stored, facts, header.orientation, warnings)


def read_jpeg(data: bytes, *, at_least_px: int | None) -> Film:
    """Decode a JPEG; reduced where `at_least_px` allows it, with the decoder's own scaling."""
    header = jpeg.read_header(data)
    facts = _jpeg_facts(header, data)
    by = 1 if at_least_px is None else reduction(header.width, header.height, at_least_px)
    flags = cv2.IMREAD_IGNORE_ORIENTATION | (cv2.IMREAD_COLOR if header.components == 3 else cv2.IMREAD_GRAYSCALE)
    flags |= {1: 0, 2: 16, 4: 32, 8: 64}[by]  # what the IMREAD_REDUCED_* flags add to those for full size
    stored = _decoded(data, flags, (-(-header.height // by), -(-header.width // by)))
    return _film(stored, facts, header.orientation, ())


def reduction(width: int, height: int, at_least_px: int) -> int:
    """By how much a JPEG is reduced while it is decoded, where it will be reduced to `at_least_px`."""
    short = min(width, height)
    return next((by for by in REDUCTIONS if short / by >= SPARE * at_least_px), 1)


def _decoded(data: bytes, flags: int, shape: tuple[int, int]) -> Stored:
    with refusing("damaged", "cannot be decoded"):
        stored: Stored | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if stored is None or stored.shape[:2] != shape:
        raise Refused("damaged", "cannot be decoded")
    return stored


def _without_alpha(stored: Stored) -> tuple[Stored, tuple[str, ...]]:
    """Lay `(H, W, 4)` samples on black."""
    if stored.ndim == 2 or stored.shape[2] == 3:
        return stored, ()
    alpha, top = stored[..., 3:], np.iinfo(stored.dtype).max
    if bool((alpha == top).all()):
        return stored[..., :3], ("alpha channel dropped",)
    laid = np.round(stored[..., :3] * (alpha / np.float32(top))).astype(stored.dtype)
    return laid, ("alpha channel dropped: transparent parts are black",)


def _film(stored: Stored, facts: FilmFacts, orientation: int, warnings: tuple[str, ...]) -> Film:
    grey, tinted = _luminance(stored) if stored.ndim == 3 else (stored, ())
    low, high = int(grey.min()), int(grey.max())
    if low == high:
        raise constant()
    bits = next(depth for depth in DEPTHS if high < 1 << depth) if grey.dtype == np.uint16 else 8
    used = (f"{bits} of 16 bits used",) if grey.dtype == np.uint16 and bits < 16 else ()
    pixels = np.divide(upright(grey, orientation), np.float32((1 << bits) - 1), dtype=np.float32)
    warnings = (*facts.warnings, *warnings, *tinted, *used)
    return Film(pixels=pixels, facts=dataclasses.replace(facts, warnings=warnings))


def _luminance(stored: Stored) -> tuple[Stored, tuple[str, ...]]:
    """Grey `(H, W)` from blue, green, red `(H, W, 3)` (ITU-R BT.601), if there is hardly any colour in it."""
    step = max(1, min(stored.shape[:2]) // 256)
    blue, green, red = (np.ascontiguousarray(stored[::step, ::step, channel]) for channel in range(3))
    brightest = np.maximum(np.maximum(blue, green), red)
    spread = brightest - np.minimum(np.minimum(blue, green), red)
    top = float(brightest.max())
    if float((spread > CLEARLY_COLOURED * top).mean()) > MOST_COLOURED:
        raise Refused("colour", "is a colour picture, not a film")
    tinted = bool((spread > FAINTLY_COLOURED * top).mean() > 0.01)
    return cv2.cvtColor(stored, cv2.COLOR_BGR2GRAY), ("colour dropped: luminance read",) if tinted else ()

"""The two ways in: `read_facts` and `read_film`."""

import dataclasses
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeVar

from hilum.errors import UnreadableFilm
from hilum.pixels import png, raster
from hilum.pixels.film import MOST_BYTES, Film, FilmFacts, Format, Refused

Answer = TypeVar("Answer")

JPEG_START = b"\xff\xd8\xff"
DICOM_PREFIX = b"DICM"
BARE_DICOM = (b"\x02\x00", b"\x08\x00")
"""How a DICOM file without its preamble starts: with the group of its first attribute."""


def read_facts(film: Path | bytes) -> FilmFacts:
    """What a film's file says about itself, without decoding the picture.

    The structure is checked: truncated files, false checksums, sizes and kinds no film has are refused. Whether the
    picture itself is usable (colour, constant, damaged) only `read_film` can tell.

    Raises:
        UnreadableFilm: the file must not be used; the message is `kind: file name, reason` without any of its values.
    """
    return _answer(film, _facts)


def read_film(film: Path | bytes, *, at_least_px: int | None = None) -> Film:
    """Decode a film to float32 `(H, W)` in [0, 1], bone bright.

    Grey JPEG and PNG samples are divided by their top; DICOM goes through modality transform, window and polarity as
    a viewer would show it. Nearly grey colour is read as luminance. EXIF orientation is applied.

    Args:
        film: a file, or its bytes.
        at_least_px: a size the film will be reduced to. JPEGs are then decoded at 1/2, 1/4 or 1/8 as long as their
            shorter side keeps 1.5 times as much, which is faster; other formats are decoded whole.

    Raises:
        UnreadableFilm: the film must not be used; the message is `kind: file name, reason` without any of its values.
    """
    return _answer(film, lambda stream, size: _decoded(stream, size, at_least_px))


def _facts(stream: BinaryIO, size: int) -> FilmFacts:
    kind = _format(stream)
    if kind == "DICOM":
        from hilum.pixels import dicom_header  # pydicom takes a fifth of a second to import; PNG and JPEG do without

        return dicom_header.facts(dicom_header.read_header(stream, pixels=False), size)
    return raster.png_facts(stream.read()) if kind == "PNG" else raster.jpeg_facts(stream.read())


def _decoded(stream: BinaryIO, size: int, at_least_px: int | None) -> Film:
    kind = _format(stream)
    if kind == "PNG":
        return raster.read_png(stream.read())
    if kind == "JPEG":
        return raster.read_jpeg(stream.read(), at_least_px=at_least_px)
    from hilum.pixels import dicom_display, dicom_header, dicom_pixels

    header = dicom_header.read_header(stream, pixels=True)
    facts = dicom_header.facts(header, size)
    pixels, warnings = dicom_display.displayed(dicom_pixels.stored_pixels(header), header.data)
    return Film(pixels=pixels, facts=dataclasses.replace(facts, warnings=(*facts.warnings, *warnings)))


def _answer(film: Path | bytes, read: Callable[[BinaryIO, int], Answer]) -> Answer:
    """What `read` makes of a film's bytes and their number; a refusal becomes an error with the file's name."""
    try:
        with _stream(film) as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            if size == 0:
                raise Refused("empty", "is an empty file")
            if size > MOST_BYTES:
                raise Refused("too large", f"is larger than {MOST_BYTES // 1_000_000} MB")
            return read(stream, size)
    except Refused as refused:
        kind, says = refused.kind, refused.says
    except OSError as error:
        kind, says = "cannot be opened", f"cannot be opened ({error.strerror or type(error).__name__})"
    # Raised outside the handlers: the cause may quote what the file says, and would be shown as this error's context.
    raise UnreadableFilm(f"{kind}: {film.name if isinstance(film, Path) else 'the film'} {says}")


def _stream(film: Path | bytes) -> BinaryIO:
    if isinstance(film, bytes):
        return BytesIO(film)
    if not film.is_file():
        raise Refused("not found", "is not a file")
    return film.open("rb")


def _format(stream: BinaryIO) -> Format:
    """What the content is. The stream is left at its start.

    Raises:
        Refused: it is none of the three, or two at once.
    """
    head = stream.read(132)
    stream.seek(0)
    is_png, is_jpeg, is_dicom = head.startswith(png.SIGNATURE), head.startswith(JPEG_START), head[128:] == DICOM_PREFIX
    if is_dicom and (is_png or is_jpeg):
        raise Refused("unknown format", "claims to be two formats at once")
    if is_png:
        return "PNG"
    if is_jpeg:
        return "JPEG"
    if is_dicom or head.startswith(BARE_DICOM):
        return "DICOM"
    raise Refused("unknown format", "is not a PNG, JPEG or DICOM file")

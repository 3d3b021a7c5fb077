"""A reading drawn on its film: lungs, lesions and map, and under it what is said, with the interval on a bar."""

import io
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hilum.errors import DataError
from hilum.files import written_aside
from hilum.preprocess import Mask
from hilum.reader.plain import MAP_COLOUR, map_picture
from hilum.reader.reading import Answer, Held, Outcome, Reading
from hilum.reader.words import lesion_words, map_words, words_of
from hilum.records import DISCLAIMER

WIDTH_PX = 720
SIDE_PX = 720
"""Longer side of the film in the picture."""
MARGIN_PX, LINE_PX, BAR_PX = 14, 22, 26
LUNG, LESION = (235, 235, 235), {"ggo": (86, 180, 233), "consolidation": (230, 159, 0)}
"""Red, green, blue of the outlines, as `hilum lesions` draws them."""
INK, QUIET, WARNING = (255, 255, 255), (200, 212, 212), (224, 176, 80)
COLOURS = {
    Outcome.POSITIVE: (240, 150, 90),
    Outcome.NEGATIVE: (140, 210, 180),
    Outcome.INCONCLUSIVE: WARNING,
    Outcome.REFUSED: WARNING,
}
CHARACTERS = 98
"""A line holds about so many."""

Picture = NDArray[np.uint8]
"""(H, W, 3), red, green, blue."""
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of text, or a bar in its place."""

    text: str
    colour: Colour = QUIET
    bar: Held | None = None
    size: int = 14


def annotated_name(reading: Reading) -> str:
    """`FILM__covid19_0.61.png`, by the first classifier; `FILM__refused.png`.

    >>> annotated_name(Reading(name="a film.dcm"))
    'a film__refused.png'
    """
    stem = re.sub(r"[^\w. -]+", "-", PurePath(reading.name).stem) or "film"
    first = reading.answers[0] if reading.answers else None
    if reading.refusal or first is None:
        return f"{stem}__refused.png"
    held = next((one for one in first.findings if one.label == first.label), None)
    if held is None:
        return f"{stem}__inconclusive.png"
    label = re.sub(r"[^\w.-]+", "-", held.label)
    return f"{stem}__{label}_{held.probability:.2f}.png"


def annotated(reading: Reading) -> bytes:
    """The PNG of a film with its reading.

    Raises:
        DataError: there is no film to draw on: it could not be decoded.
    """
    if reading.pixels is None:
        raise DataError(f"{reading.name} was not decoded: there is no picture of it to draw on")
    picture, lines = _marked(reading, reading.pixels), [*_lines(reading)]
    high, wide = picture.shape[:2]
    sheet = Image.new("RGB", (WIDTH_PX, high + 2 * MARGIN_PX + sum(_height(line) for line in lines)), "black")
    sheet.paste(Image.fromarray(picture), ((WIDTH_PX - wide) // 2, 0))
    pen, top = ImageDraw.Draw(sheet), high + MARGIN_PX
    for line in lines:
        if line.bar:
            _draw_bar(pen, line.bar, top)
        else:
            pen.text((MARGIN_PX, top), line.text, fill=line.colour, font=ImageFont.load_default(line.size))
        top += _height(line)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def write_annotated(reading: Reading, folder: Path) -> Path | None:
    """Write the PNG under `annotated_name`, with a number where another film has that name; None of no picture."""
    if reading.pixels is None:
        return None
    named = Path(annotated_name(reading))
    path, number = folder / named, 2
    while path.exists():
        path, number = folder / f"{named.stem}-{number}.png", number + 1
    with written_aside(path) as aside:
        aside.write_bytes(annotated(reading))
    return path


def _height(line: _Line) -> int:
    return BAR_PX if line.bar else LINE_PX + (line.size - 14)


def _marked(reading: Reading, pixels: NDArray[np.uint8]) -> Picture:
    scale = SIDE_PX / max(pixels.shape)
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    grey = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    picture = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    shown = reading.answers[0].map if reading.answers else None
    if shown and shown.shown is not None:
        _lay(picture, map_picture(shown.shown))
    if reading.lungs:
        for lung in (reading.lungs.right, reading.lungs.left):
            _outline(picture, lung, LUNG)
    for label, colour in LESION.items():
        _outline(picture, reading.lesions.masks.get(label) if reading.lesions else None, colour)
    return picture


def _lay(picture: Picture, over: NDArray[np.uint8]) -> None:
    """A picture with alpha over another, in place."""
    high, wide = picture.shape[:2]
    alpha = cv2.resize(over[..., 3], (wide, high), interpolation=cv2.INTER_LINEAR)[..., None] / 255.0
    picture[:] = np.rint(picture * (1 - alpha) + np.array(MAP_COLOUR[::-1]) * alpha).astype(np.uint8)


def _outline(picture: Picture, mask: Mask | None, colour: Colour) -> None:
    if mask is None:
        return
    high, wide = picture.shape[:2]
    small = cv2.resize(mask.view(np.uint8), (wide, high), interpolation=cv2.INTER_NEAREST)
    edges, _ = cv2.findContours(small, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, edges, -1, colour, 2, cv2.LINE_AA)


def _lines(reading: Reading) -> Iterator[_Line]:
    if reading.refusal:
        yield _Line("REFUSED", COLOURS[Outcome.REFUSED], size=20)
        yield from _wrapped(reading.refusal.says)
    for one in reading.answers:
        yield from _answer_lines(one)
    if reading.lungs and reading.lungs.both is not None:
        yield _Line("white: lungs; blue: ground glass; orange: consolidation; red: what raises the label decided on")
    if reading.lesions:
        yield from (line for text in lesion_words(reading.lesions) for line in _wrapped(text))
    yield from (line for note in reading.notes for line in _wrapped(note, WARNING))
    yield _Line(DISCLAIMER, WARNING)


def _answer_lines(one: Answer) -> Iterator[_Line]:
    said = f"{one.outcome.value}: {words_of(one.label)}" if one.outcome is Outcome.POSITIVE else one.outcome.value
    yield _Line(said, COLOURS[one.outcome], size=20)
    bars = one.findings[:1] if len(one.findings) == 2 else one.findings
    yield from (_Line("", bar=held) for held in bars)
    for reason in one.reasons:
        yield from _wrapped(reason, WARNING)
    for text in map_words(one):
        yield from _wrapped(text.strip())
    yield from _wrapped(f"{one.bundle}: {one.headline}", WARNING if one.verdict == "FAIL" else QUIET)


def _draw_bar(pen: ImageDraw.ImageDraw, held: Held, top: int) -> None:
    """A label's probability as a dot, its interval as a bar, its threshold as a line."""
    left, right, middle = 250, WIDTH_PX - 190, top + 9
    across = right - left
    interval = "" if held.low is None else f" [{held.low:.2f}, {held.high:.2f}]"
    pen.text((MARGIN_PX, top), words_of(held.label), fill=INK, font=ImageFont.load_default(15))
    pen.text((right + 12, top), f"{held.probability:.2f}{interval}", fill=INK, font=ImageFont.load_default(15))
    pen.rectangle((left, middle - 2, right, middle + 2), fill=(70, 80, 84))
    if held.low is not None and held.high is not None:
        pen.rectangle(
            (left + held.low * across, middle - 5, left + held.high * across, middle + 5), fill=(120, 170, 190)
        )
    if held.threshold is not None:
        place = left + held.threshold * across
        pen.line((place, middle - 10, place, middle + 10), fill=WARNING, width=2)
    dot = left + held.probability * across
    pen.ellipse((dot - 5, middle - 5, dot + 5, middle + 5), fill=INK)


def _wrapped(text: str, colour: Colour = QUIET) -> Iterator[_Line]:
    yield from (_Line(line, colour) for line in textwrap.wrap(text, CHARACTERS))

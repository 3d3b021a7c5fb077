"""Explanations as pictures: overlays with colour bar, outlines and figures, and contact sheets of many."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hilum.explain.films import Explanation
from hilum.explain.judging import Share
from hilum.explain.writing import grid_words
from hilum.files import written_aside
from hilum.pixels import read_film
from hilum.preprocess import Mask
from hilum.records import DISCLAIMER

SIDE_PX = 560
"""Longer side of a film on an overlay."""
BAR_PX, MARGIN_PX, LINE_PX = 14, 12, 22
STRENGTH = 0.62
"""How much of the film the map's highest value covers; lower values cover less, so that the film stays to be seen."""
LUNGS_COLOUR, LESIONS_COLOUR, SEEN_COLOUR = (90, 220, 255), (110, 255, 110), (190, 190, 190)
"""Red, green, blue of the outlines; the last one is around what the network saw of a film."""
INK, FAINT, WARN = "#ffffff", "#c8d4d4", "#f0c060"
TILE_PX = 250
"""Longer side of either half of a tile on a contact sheet."""
COLUMNS = 2
JPEG_QUALITY = 85

Picture = NDArray[np.uint8]
"""(H, W, 3), red, green, blue."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One film on a contact sheet: the film beside its overlay as a JPEG, and the lines under them."""

    jpeg: bytes
    lines: tuple[str, ...]


def panels(one: Explanation) -> tuple[Picture, Picture]:
    """The film, and the film with map and outlines, at the size of an overlay."""
    read = read_film(one.film, at_least_px=SIDE_PX)
    pixels = read.pixels
    scale = SIDE_PX / max(pixels.shape)
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    grey = np.rint(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)
    film = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    marked = film.copy()
    if one.map is not None:
        marked = _covered(film, np.asarray(cv2.resize(one.map, size, interpolation=cv2.INTER_AREA), np.float32))
    if one.seen is not None:
        shrunk = size[0] / read.facts.width
        top, bottom, left, right = (round(edge * shrunk) for edge in one.seen)
        cv2.rectangle(marked, (left, top), (right - 1, bottom - 1), SEEN_COLOUR, 1)
    for mask, colour in ((one.lungs, LUNGS_COLOUR), (one.lesions, LESIONS_COLOUR)):
        if mask is not None:
            _outline(marked, mask, colour)
    return film, marked


def _covered(film: Picture, shown: NDArray[np.float32]) -> Picture:
    cover = (STRENGTH * np.sqrt(np.clip(shown, 0, 1)))[..., None]
    covered: Picture = np.rint(film * (1 - cover) + _coloured(shown) * cover).astype(np.uint8)
    return covered


def _coloured(shown: NDArray[np.float32]) -> Picture:
    levels = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def _outline(picture: Picture, mask: Mask, colour: tuple[int, int, int]) -> None:
    height, width = picture.shape[:2]
    small = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    edges, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, edges, -1, colour, 1, cv2.LINE_AA)


def lines_of(one: Explanation) -> list[tuple[str, str]]:
    """What stands under an overlay, line by line, each with its colour."""
    decided = "" if one.decided == one.label else f"   (decided: {_words(one.decided)})"
    lines = [(f"{_words(one.label)}: p = {one.probability:.2f}{decided}", INK)]
    lines.append((f"{one.method}, {one.layer}, {grid_words(one)} cells", FAINT))
    if one.no_map is not None:
        lines.append((f"No map. {one.no_map}", WARN))
    lines += [(text, FAINT) for text in _share_lines(one)]
    if one.lungs_flags:
        lines.append((f"lungs not to be believed: {'; '.join(one.lungs_flags)}", WARN))
    return lines


def _share_lines(one: Explanation) -> list[str]:
    lines = ["the network saw what is inside the grey line"] if one.seen else []
    if one.lungs_share:
        lines.append(f"in lungs (blue line): {share_words(one.lungs_share)}")
    if one.lesions_share:
        hit = "its peak is in one" if one.points_at_lesion else "its peak is in none"
        drawn = ", drawn by a network" if one.lesions_drawn_by else ""
        lines.append(f"in lesions (green line{drawn}): {share_words(one.lesions_share)}, {hit}")
    if one.padding_share is not None and one.padding_share >= 0.01:
        of = "part seen" if one.seen else "film"
        lines.append(f"{100 * one.padding_share:.0f} % of the map lay in the black padding beside the {of}")
    return lines


def share_words(share: Share) -> str:
    """`62 % of the map on 31 % of the film, 2.0 times as much as by area`."""
    of = "film" if share.film_area is None else "part seen"
    return (
        f"{100 * share.energy:.0f} % of the map on {100 * share.area:.0f} % of the {of}, "
        f"{share.ratio:.1f} times as much as by area"
    )


def overlay(one: Explanation, pair: tuple[Picture, Picture]) -> Image.Image:
    """The film beside the film with its map, a colour bar, and what was measured below."""
    film, marked = (Image.fromarray(part) for part in pair)
    width = 2 * film.width + 4 * MARGIN_PX + BAR_PX + 34
    lines = [(part, colour) for text, colour in lines_of(one) for part in textwrap.wrap(text, max(40, int(width / 8)))]
    lines += [(part, WARN) for part in textwrap.wrap(DISCLAIMER, max(40, int(width / 8)))]
    sheet = Image.new("RGB", (width, film.height + 3 * MARGIN_PX + LINE_PX * len(lines)), "black")
    sheet.paste(film, (MARGIN_PX, MARGIN_PX))
    sheet.paste(marked, (film.width + 2 * MARGIN_PX, MARGIN_PX))
    pen = ImageDraw.Draw(sheet)
    if one.map is not None:
        _bar(sheet, pen, 2 * film.width + 3 * MARGIN_PX, film.height)
    for number, (text, colour) in enumerate(lines):
        place = (MARGIN_PX, film.height + 2 * MARGIN_PX + number * LINE_PX)
        pen.text(place, text, fill=colour, font=ImageFont.load_default(16))
    return sheet


def _bar(sheet: Image.Image, pen: ImageDraw.ImageDraw, left: int, height: int) -> None:
    """The colour bar beside a film of so many rows: the share of the map's highest value."""
    values = np.linspace(1, 0, height, dtype=np.float32)[:, None].repeat(BAR_PX, 1)
    sheet.paste(Image.fromarray(_coloured(values)), (left, MARGIN_PX))
    for value in (1.0, 0.5, 0.0):
        top = MARGIN_PX + round((1 - value) * (height - 1))
        pen.text((left + BAR_PX + 5, top), f"{value:.1f}", fill=FAINT, font=ImageFont.load_default(13), anchor="lm")


def write_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG."""
    with written_aside(path) as aside:
        picture.save(aside)


def tile_of(one: Explanation, pair: tuple[Picture, Picture], lines: Sequence[str]) -> Tile:
    """A film's place on contact sheets, small enough to keep many."""
    both = Image.fromarray(np.concatenate(pair, axis=1))
    scale = TILE_PX / max(pair[0].shape[:2])
    both = both.resize((max(2, round(both.width * scale)), max(1, round(both.height * scale))), Image.Resampling.BOX)
    stream = io.BytesIO()
    both.save(stream, format="JPEG", quality=JPEG_QUALITY)
    return Tile(stream.getvalue(), tuple([*lines, f"no map: {one.no_map}"] if one.no_map else lines))


def sheet_of(title: str, tiles: Sequence[Tile], note: str = "") -> Image.Image:
    """Tiles in two columns under a title; every film beside its overlay."""
    wide, step = 2 * TILE_PX + MARGIN_PX, TILE_PX + MARGIN_PX
    below = 18 * max(len(_wrapped(tile.lines)) for tile in tiles) + MARGIN_PX
    across = min(COLUMNS, len(tiles))
    width = across * wide + MARGIN_PX
    told = [(part, FAINT) for text in (note, DISCLAIMER) for part in textwrap.wrap(text, width // 7)]
    top = 2 * MARGIN_PX + 24 + 18 * len(told)
    rows = -(-len(tiles) // across)
    sheet = Image.new("RGB", (width, top + rows * (step + below)), "black")
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN_PX, MARGIN_PX), title, fill=INK, font=ImageFont.load_default(19))
    for number, (text, colour) in enumerate(told):
        pen.text((MARGIN_PX, MARGIN_PX + 26 + 18 * number), text, fill=colour, font=ImageFont.load_default(13))
    for number, tile in enumerate(tiles):
        left = MARGIN_PX + number % across * wide
        high = top + number // across * (step + below)
        sheet.paste(Image.open(io.BytesIO(tile.jpeg)), (left, high))
        for line, text in enumerate(_wrapped(tile.lines)):
            place = (left, high + TILE_PX + 4 + 18 * line)
            pen.text(place, text, fill=FAINT, font=ImageFont.load_default(13))
    return sheet


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [part for text in lines for part in textwrap.wrap(text, 2 * TILE_PX // 7)]


def _words(label: str | None) -> str:
    return (label or "").replace("_", " ")

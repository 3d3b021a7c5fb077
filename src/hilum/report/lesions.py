"""A film with its lesions drawn on it: lungs and zones outlined, ground glass and consolidation tinted, a legend."""

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hilum.files import written_aside
from hilum.lesions import Lesions, thirds_of
from hilum.lesions.zones import CONSOLIDATION, GGO, INVOLVED, LEFT_ZONES, RIGHT_ZONES, ZONES
from hilum.pixels import read_film
from hilum.preprocess import Mask
from hilum.records import DISCLAIMER

SIDE_PX = 640
"""Longer side of the film in the picture."""
WIDTH_PX = 640
"""Of the picture: the legend needs it under narrow films."""
MARGIN_PX, LINE_PX = 10, 22
COLOURS = {GGO: (86, 180, 233), CONSOLIDATION: (230, 159, 0)}
"""Sky blue and orange of Okabe and Ito, which every colour vision tells apart; consolidation is striped as well."""
WORDS = {GGO: "ground glass", CONSOLIDATION: "consolidation", INVOLVED: "either"}
LUNG, QUIET, WARNING = (235, 235, 235), (200, 212, 212), (224, 176, 80)
TINT = 0.3
"""Of a lesion's colour in the pixels it covers."""
STRIPE_PX = 6

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


def write_overlay(lesions: Lesions, path: Path, *, boxes: bool = False) -> None:
    """Write a PNG of a film with its lesions; nothing of a refused film.

    Args:
        lesions: of the film, masks included.
        path: of the PNG.
        boxes: whether to draw the boxes.
    """
    if lesions.size is None or lesions.lungs.right is None or lesions.lungs.left is None:
        return
    picture = _film(lesions.film, lesions.size)
    for label, colour in COLOURS.items():
        _tint(picture, _shrunk(lesions.masks[label], picture), colour, striped=label == CONSOLIDATION)
    for lung, zones in ((lesions.lungs.right, RIGHT_ZONES), (lesions.lungs.left, LEFT_ZONES)):
        _outline(picture, _shrunk(lung, picture), LUNG, 1)
        _draw_zones(picture, _shrunk(lung, picture), zones)
    if boxes:
        _draw_boxes(picture, lesions, lesions.size)
    sheet = _with_legend(picture, lesions)
    with written_aside(path) as aside:
        sheet.save(aside)


def _film(film: Path, size: tuple[int, int]) -> Picture:
    """The film (h, w, 3), grey, its longer side `SIDE_PX`."""
    pixels = read_film(film, at_least_px=SIDE_PX).pixels
    high, wide = (max(1, round(side * SIDE_PX / max(size))) for side in size)
    grey = np.rint(cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def _shrunk(mask: Mask, picture: Picture) -> Mask:
    high, wide = picture.shape[:2]
    return np.asarray(cv2.resize(mask.view(np.uint8), (wide, high), interpolation=cv2.INTER_NEAREST) > 0)


def _tint(picture: Picture, mask: Mask, colour: Colour, *, striped: bool) -> None:
    """Colour and outline where the mask is, in place."""
    rows, columns = np.nonzero(mask)
    if striped:
        on = (rows + columns) // STRIPE_PX % 2 == 0
        rows, columns = rows[on], columns[on]
    mixed = (1 - TINT) * picture[rows, columns] + TINT * np.array(colour)
    picture[rows, columns] = np.rint(mixed).astype(np.uint8)
    _outline(picture, mask, colour, 2)


def _outline(picture: Picture, mask: Mask, colour: Colour, thick: int) -> None:
    edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, edges, -1, colour, thick, cv2.LINE_AA)


def _draw_zones(picture: Picture, lung: Mask, zones: tuple[str, ...]) -> None:
    """Dotted lines between a lung's thirds, and their letters."""
    for zone, (top, bottom) in zip(zones, thirds_of(lung), strict=True):
        rows, columns = np.nonzero(lung[top:bottom])
        if not len(columns):
            continue
        _write(picture, zone, (int(columns.mean()) - 5, top + int(rows.mean()) + 5), LUNG)
        if zone != zones[-1]:
            across = np.flatnonzero(lung[bottom - 1])
            picture[bottom, across[across % 6 < 3]] = LUNG


def _draw_boxes(picture: Picture, lesions: Lesions, size: tuple[int, int]) -> None:
    down, across = picture.shape[0] / size[0], picture.shape[1] / size[1]
    for one in lesions.boxes:
        left, top, right, bottom = (int(edge) for edge in one.box.scaled(across, down).rounded())
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), COLOURS.get(one.label, QUIET), 1)
        # Ground glass and consolidation often share a corner: their scores stand at different ones.
        row = max(top - 4, 12) if one.label == GGO else bottom - 5
        _write(picture, f"{one.score or 0:.2f}", (left + 3, row), COLOURS.get(one.label, QUIET))


def _write(picture: Picture, text: str, place: tuple[int, int], colour: Colour) -> None:
    for ink, thick in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, ink, thick, cv2.LINE_AA)


def _with_legend(picture: Picture, lesions: Lesions) -> Image.Image:
    lines = list(_lines(lesions))
    high, wide = picture.shape[:2]
    sheet = Image.new("RGB", (WIDTH_PX, high + 2 * MARGIN_PX + LINE_PX * len(lines)), "black")
    sheet.paste(Image.fromarray(picture), ((WIDTH_PX - wide) // 2, 0))
    pen = ImageDraw.Draw(sheet)
    for number, (text, colour, swatch) in enumerate(lines):
        top = high + MARGIN_PX + number * LINE_PX
        if swatch:
            sheet.paste(Image.fromarray(_swatch(swatch)), (MARGIN_PX, top))
        left = MARGIN_PX + (26 if swatch else 0)
        pen.text((left, top), text, fill=colour, font=ImageFont.load_default(14))
    return sheet


def _swatch(label: str) -> Picture:
    patch = np.full((16, 18, 3), 90, np.uint8)
    _tint(patch, np.ones((16, 18), bool), COLOURS[label], striped=label == CONSOLIDATION)
    return patch


def _lines(lesions: Lesions) -> Iterator[tuple[str, Colour, str | None]]:
    """The legend: text, its colour, and the label whose tint stands before it."""
    for kind, words in WORDS.items():
        both, right, left = (percent(lesions.shares[f"{kind}_{part}"]) for part in ("both", "right", "left"))
        told = f"{words}: {both} of both lungs, {right} of the right, {left} of the left"
        yield told, QUIET, kind if kind in COLOURS else None
    zones = "   ".join(f"{zone} {percent(lesions.shares[f'{INVOLVED}_{zone}'])}" for zone in ZONES)
    yield f"either, in thirds of each lung's height:   {zones}", QUIET, None
    for score in lesions.scores:
        if not any(score.name.endswith(f"_{zone}") for zone in ZONES):
            bounds = f"({score.low:.1f} to {score.high:.1f}), of {score.lowest:g} to {score.highest:g}"
            yield f"{score.name.replace('_', ' ')}: {score.value:.1f} {bounds}", QUIET, None
    for flag in lesions.flags:
        yield f"flagged: {flag}", WARNING, None
    yield DISCLAIMER, WARNING, None


def percent(share: float) -> str:
    """A share in whole per cent, a dash where there is none.

    >>> percent(0.124), percent(float("nan"))
    ('12 %', '-')
    """
    return "-" if math.isnan(share) else f"{100 * share:.0f} %"

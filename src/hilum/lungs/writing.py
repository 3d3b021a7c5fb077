"""Lungs on disk: a PNG a film, overlays to look at, and one table."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.files import written_aside
from hilum.lungs.films import Lungs
from hilum.lungs.heart import HeartSize
from hilum.lungs.rows import MEASURES
from hilum.pixels import read_film

COLUMNS = ("film", "mask", *MEASURES, "no_ratio", "flags", "refused", "bundle", "heart_bundle")
OVERLAY_PX = 640
"""Longer side of an overlay."""
RIGHT_COLOUR, LEFT_COLOUR = (255, 190, 0), (0, 190, 255)
"""Blue, green, red: the right lung's outline is blue, the left lung's orange."""
HEART_COLOUR, WIDTH_COLOUR = (150, 120, 255), (220, 220, 220)
"""The heart's outline is pink, the widths of its ratio and the midline are white."""


def write_mask(lungs: Lungs, path: Path, *, sides: bool = False) -> None:
    """Write a PNG of the film's size: 0 outside and 255 inside, or with `sides` 1 right and 2 left."""
    if lungs.right is None or lungs.left is None:
        return
    right, left = lungs.right.astype(np.uint8), lungs.left.astype(np.uint8)
    _write(right + 2 * left if sides else 255 * (right | left), path)


def write_overlay(lungs: Lungs, path: Path) -> None:
    """Write the film with both lungs' outlines, the heart's where it was drawn, its widths and ratio, and the flags."""
    if lungs.right is None or lungs.left is None:
        return
    film = read_film(lungs.film, at_least_px=OVERLAY_PX).pixels
    scale = OVERLAY_PX / max(lungs.right.shape)
    size = (max(1, round(lungs.right.shape[1] * scale)), max(1, round(lungs.right.shape[0] * scale)))
    grey = np.rint(cv2.resize(film, size, interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)
    picture = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    outlined = ((lungs.right, RIGHT_COLOUR), (lungs.left, LEFT_COLOUR), (lungs.heart, HEART_COLOUR))
    for mask, colour in outlined:
        if mask is not None:
            small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            edges, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, edges, -1, colour, 2, cv2.LINE_AA)
    if isinstance(lungs.heart_size, HeartSize):
        _draw_widths(picture, lungs.heart_size, scale)
    for line, text in enumerate(_remarks(lungs), 1):
        # A thicker shadow would not lie under its letters: a text's thickness changes its width.
        for colour, away in (((0, 0, 0), 1), ((80, 200, 255), 0)):
            place = (8 + away, 18 * line + away)
            cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
    _write(picture, path)


def _draw_widths(picture: NDArray[np.uint8], size: HeartSize, scale: float) -> None:
    """The heart's two widths and the thorax's as lines between end marks, and the midline they meet at."""
    for reach in (size.right, size.left, size.thorax):
        row, start, end = round((reach.row + 0.5) * scale), round(reach.start * scale), round(reach.end * scale)
        cv2.line(picture, (start, row), (end, row), WIDTH_COLOUR, 1, cv2.LINE_AA)
        for column in (start, end):
            cv2.line(picture, (column, row - 5), (column, row + 5), WIDTH_COLOUR, 1, cv2.LINE_AA)
    middle = round(size.right.end * scale)
    first, last = sorted(round(reach.row * scale) for reach in (size.right, size.left))
    cv2.line(picture, (middle, first - 24), (middle, last + 24), WIDTH_COLOUR, 1, cv2.LINE_AA)


def _remarks(lungs: Lungs) -> list[str]:
    """What is written on an overlay, a line each."""
    if isinstance(lungs.heart_size, HeartSize):
        return [*lungs.flags, f"cardiothoracic ratio {lungs.heart_size.ratio:.2f}"]
    return [*lungs.flags, *([f"no cardiothoracic ratio: {lungs.heart_size}"] if lungs.heart_size else [])]


def write_table(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write `COLUMNS` as CSV, a line for every row of `rows.row_of`; what is not there is empty."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for row in rows:
            told = {name: "" if row[name] is None else f"{row[name]:.4f}" for name in MEASURES}
            told["flags"] = "; ".join(row["flags"])
            writer.writerow([told.get(name, row[name] or "") for name in COLUMNS])


def _write(picture: NDArray[np.uint8], path: Path) -> None:
    _, encoded = cv2.imencode(".png", picture)
    with written_aside(path) as aside:
        aside.write_bytes(encoded.tobytes())

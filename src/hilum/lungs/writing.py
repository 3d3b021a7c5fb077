"""Lungs on disk: a PNG a film, overlays to look at, and one table."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.files import written_aside
from hilum.lungs.films import Lungs
from hilum.pixels import read_film

MEASURES = ("area_share", "right_share", "left_share", "balance", "border_share", "unsure_share")
COLUMNS = ("film", "mask", *MEASURES, "flags", "refused", "bundle")
OVERLAY_PX = 640
"""Longer side of an overlay."""
RIGHT_COLOUR, LEFT_COLOUR = (255, 190, 0), (0, 190, 255)
"""Blue, green, red: the right lung's outline is blue, the left lung's orange."""


def names_of(films: Iterable[Path]) -> Iterator[str]:
    """A file name for each film's mask: its stem, with a number where another film has that stem."""
    taken: set[str] = set()
    for film in films:
        name, number = film.stem, 1
        while name in taken:
            number += 1
            name = f"{film.stem}-{number}"
        taken.add(name)
        yield f"{name}.png"


def write_mask(lungs: Lungs, path: Path, *, sides: bool = False) -> None:
    """Write a PNG of the film's size: 0 outside and 255 inside, or with `sides` 1 right and 2 left."""
    if lungs.right is None or lungs.left is None:
        return
    right, left = lungs.right.astype(np.uint8), lungs.left.astype(np.uint8)
    _write(right + 2 * left if sides else 255 * (right | left), path)


def write_overlay(lungs: Lungs, path: Path) -> None:
    """Write the film with both lungs' outlines; flags are written on it."""
    if lungs.right is None or lungs.left is None:
        return
    film = read_film(lungs.film, at_least_px=OVERLAY_PX).pixels
    scale = OVERLAY_PX / max(film.shape)
    size = (max(1, round(film.shape[1] * scale)), max(1, round(film.shape[0] * scale)))
    grey = np.rint(cv2.resize(film, size, interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    for mask, colour in ((lungs.right, RIGHT_COLOUR), (lungs.left, LEFT_COLOUR)):
        small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        edges, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, edges, -1, colour, 2, cv2.LINE_AA)
    for line, flag in enumerate(lungs.flags, 1):
        place = (8, 18 * line)
        for colour, thick in (((0, 0, 0), 3), ((80, 200, 255), 1)):
            cv2.putText(picture, flag, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thick, cv2.LINE_AA)
    _write(np.asarray(picture, np.uint8), path)


def write_table(found: Sequence[tuple[Lungs, str | None]], path: Path) -> None:
    """Write `COLUMNS` as CSV, a row a film; the mask's name beside each, none where it was refused."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for lungs, mask in found:
            shares = [f"{lungs.measures[name]:.4f}" if lungs.measures else "" for name in MEASURES]
            told = [str(lungs.film), mask or "", *shares, "; ".join(lungs.flags), lungs.refusal or ""]
            writer.writerow([*told, lungs.bundle_digest])


def _write(picture: NDArray[np.uint8], path: Path) -> None:
    _, encoded = cv2.imencode(".png", picture)
    with written_aside(path) as aside:
        aside.write_bytes(encoded.tobytes())

"""Sheets of films with outlines on them, to look at what was scored worst."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.pixels import read_film
from hilum.preprocess import Mask

TILE_PX = 300
ACROSS = 5

Colour = tuple[int, int, int]
"""Blue, green, red."""
REFERENCE: Colour = (80, 220, 80)


def tile_of(film: Path, outlines: Sequence[tuple[Mask | None, Colour]], said: str) -> NDArray[np.uint8]:
    """A film, squeezed to a square, with outlines of masks at its own size, the first undermost, and a line of text."""
    grey = np.rint(read_film(film).pixels * 255).astype(np.uint8)
    tile = cv2.cvtColor(cv2.resize(grey, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
    for mask, colour in outlines:
        if mask is not None:
            small = cv2.resize(mask.astype(np.uint8), (TILE_PX, TILE_PX), interpolation=cv2.INTER_NEAREST)
            edges, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(tile, edges, -1, colour, 2)
    for colour, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(tile, said, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thick)
    return np.asarray(tile, np.uint8)


def write_sheet(tiles: Sequence[NDArray[np.uint8]], path: Path) -> None:
    """Rows of five tiles as a PNG; black where the last row is not full."""
    blank = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    whole = [*tiles, *[blank] * (-len(tiles) % ACROSS)]
    if whole:
        rows = [np.hstack(whole[at : at + ACROSS]) for at in range(0, len(whole), ACROSS)]
        cv2.imwrite(str(path), np.vstack(rows))

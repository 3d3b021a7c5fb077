"""Films of the same picture, as a table for a terminal, as CSV files, for machines, and side by side on a page."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.table import Table

from hilum.console import table
from hilum.copies import Copies, How, Pair
from hilum.duplicates.matching import Match, frame_of, moved, undone
from hilum.errors import UnreadableFilm
from hilum.files import written_aside
from hilum.parallel import Progress
from hilum.pixels import read_film, resize
from hilum.report.films import SIDE_PX, jpeg_uri
from hilum.report.html import render

COLUMNS = (
    *("index_1", "image_id_1", "index_2", "image_id_2", "group", "how", "hash_bits", "inliers", "overlap"),
    *("scale", "stretch", "rotation_degrees", "offset_x_px", "offset_y_px", "hanging"),
)
HOWS: tuple[How, ...] = get_args(How)
SHOWN = 40
"""Pairs a terminal shows; all of them are in the CSV."""
Pixels = NDArray[np.float32]
MOST_DRAWN = 300
"""Pairs on a page, which grows by 40 KB each."""
FRAME_COLOUR = (255, 153, 0)


def as_rows(copies: Copies) -> list[dict[str, Any]]:
    """The pairs as plain values: `COLUMNS`, None where nothing is told."""
    films = copies.films
    where = list(zip(films["index"], films["image_id"], strict=True))
    rows = []
    for pair in copies.pairs:
        ends = (*where[pair.first], *where[pair.second])
        told = (int(films["group"].iloc[pair.first]), pair.how, pair.hash_bits, *_told(pair.match))
        rows.append(dict(zip(COLUMNS, (*ends, *told), strict=True)))
    return rows


def _told(match: Match | None) -> tuple[Any, ...]:
    if match is None:
        return (None,) * 8
    x, y = match.affine[:, 2]
    return (
        match.inliers,
        round(match.overlap, 3),
        round(match.scale, 4),
        round(match.stretch, 4),
        round(match.rotation_degrees, 1),
        round(float(x), 1),
        round(float(y), 1),
        match.hanging,
    )


def write_copies(copies: Copies, out: Path) -> None:
    """Write pairs.csv (`COLUMNS`), films.csv (films that have a pair, with their group) and refused.csv."""
    grouped = copies.films.dropna(subset="group").sort_values(["group", "index", "image_id"])
    films = grouped[["group", "index", "image_id", "source", "sha256"]]
    pairs = pd.DataFrame(as_rows(copies), columns=list(COLUMNS)).astype({"inliers": "Int64"})
    for name, part in {"pairs": pairs, "films": films, "refused": copies.refused}.items():
        with written_aside(out / f"{name}.csv") as aside:
            part.to_csv(aside, index=False)


def copies_table(copies: Copies) -> Table:
    """The pairs that need a look first: crops and edits, near hashes, then what is certain; `SHOWN` at most."""
    rows = sorted(as_rows(copies), key=lambda row: -HOWS.index(row["how"]))
    named = len(set(copies.films["index"])) > 1
    cells = [
        (
            *((f"{row[f'index_{film}']}: " if named else "") + row[f"image_id_{film}"] for film in (1, 2)),
            row["how"] + ("" if row["hanging"] in (None, "as is") else f", {row['hanging']}"),
            *("" if row[name] is None else str(row[name]) for name in ("inliers", "overlap", "scale")),
        )
        for row in rows[:SHOWN]
    ]
    title = f"The first {SHOWN} of {len(rows)} pairs" if len(rows) > SHOWN else ""
    columns = ["film 1", "film 2", "how", "inliers", "overlap", "scale"]
    return table(title, columns, cells, right=columns[3:])


def summary_of(copies: Copies) -> str:
    """`1660 films, 260 pairs in 233 groups: 200 same bytes, 40 near hash, 20 crop or edit`."""
    counts = Counter(pair.how for pair in copies.pairs)
    said = ", ".join(f"{counts[how]} {how}" for how in HOWS if counts[how])
    pairs, groups = len(copies.pairs), copies.films["group"].nunique()
    return f"{len(copies.films)} films, {pairs} pairs in {groups} groups" + (f": {said}" if said else "")


@dataclass(frozen=True, slots=True)
class Side:
    """One film of a pair on the page; without a picture where it cannot be read."""

    name: str
    uri: str | None
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A pair on the page."""

    sides: tuple[Side, Side]
    how: str
    remarks: str


def copies_page(copies: Copies, *, progress: Progress | None = None) -> str:
    """A page with each pair side by side, the frame of one outlined on the other; equal bytes are only counted."""
    drawn = [pair for how in reversed(HOWS[1:]) for pair in copies.pairs if pair.how == how]
    rows = []
    for done, pair in enumerate(drawn[:MOST_DRAWN], 1):
        rows.append(_row(copies, pair))
        if progress:
            progress(done, min(len(drawn), MOST_DRAWN))
    return render(
        "duplicates.html.j2",
        title="Films of the same picture",
        summary=summary_of(copies),
        rows=rows,
        undrawn=len(drawn) - len(rows),
        refused=len(copies.refused),
    )


def _row(copies: Copies, pair: Pair) -> Row:
    films = [copies.films.iloc[row] for row in (pair.first, pair.second)]
    pictures = [_picture(film["path"]) for film in films]
    first, second = pictures
    frames: tuple[NDArray[np.float32] | None, ...] = (None, None)
    if pair.match and first is not None and second is not None:
        frames = outlines(pair.match, _shape(first), _shape(second))
    names = [f"{film['index']}: {film['image_id']}" for film in films]
    sides = [_side(name, picture, frame) for name, picture, frame in zip(names, pictures, frames, strict=True)]
    return Row(sides=(sides[0], sides[1]), how=pair.how, remarks=", ".join(_remarks(pair)))


def _remarks(pair: Pair) -> list[str]:
    remarks = [f"{pair.hash_bits} of 256 hash bits differ"]
    if pair.match:
        found = pair.match
        remarks += [f"{found.inliers} inliers", f"overlap {found.overlap:.2f}", f"scale {found.scale:.2f}"]
        remarks += [f"turned by {found.rotation_degrees:.0f} degrees"] if abs(found.rotation_degrees) >= 1 else []
        remarks += [f"second {found.hanging}"] if found.hanging != "as is" else []
    return remarks


def _picture(path: Path) -> Pixels | None:
    try:
        return read_film(path).pixels
    except (UnreadableFilm, OSError):
        return None


def _shape(picture: Pixels) -> tuple[int, int]:
    return picture.shape[0], picture.shape[1]


def _side(name: str, picture: Pixels | None, frame: NDArray[np.float32] | None) -> Side:
    if picture is None:
        return Side(name, None)
    small = resize(picture, SIDE_PX, aspect="pad")
    shown = cv2.cvtColor(np.rint(small * 255).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    if frame is not None:
        corners = frame * np.divide(small.shape, picture.shape)[::-1]
        cv2.polylines(shown, [np.rint(corners).astype(np.int32)], True, FRAME_COLOUR, 2, cv2.LINE_AA)
    return Side(name, *jpeg_uri(shown.astype(np.uint8)))


def outlines(
    match: Match, first: tuple[int, int], second: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(4, 2) corners of the second film's frame on the first, and of the first one's on the second as it is.

    Args:
        match: in pixels of both films.
        first: height and width of the first film.
        second: of the second.
    """
    back = moved(frame_of(first), undone(match.affine))
    if match.hanging in ("mirrored", "mirrored and inverted"):
        back[:, 0] = second[1] - back[:, 0]
    return moved(frame_of(second), match.affine), back

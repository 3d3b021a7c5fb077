"""Lesions on disk: a PNG a film and label, and one table."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hilum.files import written_aside
from hilum.lesions.films import Lesions
from hilum.lesions.zones import LESIONS, SHARES

FIRST = ("film", "name", *SHARES, *(f"{label}_highest" for label in LESIONS), "boxes")
LAST = ("flags", "refused", "bundle", "lungs_bundle")
"""Columns before and after those of the scores, which are there where a fit belongs to the bundle."""


def write_masks(lesions: Lesions, folder: Path, name: str) -> None:
    """Write `NAME-LABEL.png` for every label, of the film's size: 0 outside and 255 inside; nothing of a refused film.

    Args:
        lesions: of a film.
        folder: to write to.
        name: of the film among the others, without suffix.
    """
    for label, mask in lesions.masks.items():
        _, encoded = cv2.imencode(".png", mask.astype(np.uint8) * 255)
        with written_aside(folder / f"{name}-{label}.png") as aside:
            aside.write_bytes(encoded.tobytes())


def write_table(rows: Iterable[Mapping[str, Any]], path: Path, *, scores: Sequence[str] = ()) -> None:
    """Write a CSV, a line a film: `FIRST`, three columns a score, `LAST`; what is not there is empty.

    Args:
        rows: as `rows.row_of` makes them.
        path: of the CSV.
        scores: names of the scores that any film has.
    """
    columns = [column for name in scores for column in (name, f"{name}_low", f"{name}_high")]
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*FIRST, *columns, *LAST])
        for row in rows:
            last = ["; ".join(row["flags"]), *(row[name] or "" for name in LAST[1:])]
            writer.writerow([row["film"], row["name"], *_measured(row), *_scored(row, scores), *last])


def score_names(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of the scores that any of the rows has, in the order they are met."""
    return tuple(dict.fromkeys(score["name"] for row in rows for score in row["scores"]))


def _measured(row: Mapping[str, Any]) -> Iterator[str]:
    shares, highest = dict(row["shares"]), dict(row["highest"])
    yield from (_number(shares.get(name)) for name in SHARES)
    yield from (_number(highest.get(label)) for label in LESIONS)
    yield "" if row["refused"] else str(len(row["boxes"]))


def _scored(row: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    known = {score["name"]: score for score in row["scores"]}
    for name in names:
        score = known.get(name)
        yield from ("", "", "") if score is None else (_number(score[key]) for key in ("value", "low", "high"))


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"

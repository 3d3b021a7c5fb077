"""Lesions on disk: a PNG a film and label, and one table."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from hilum.files import written_aside
from hilum.lesions.boxed import Boxed
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


def boxed(lesions: Lesions, name: str) -> Boxed:
    """A film's boxes as `boxed.write_boxes` takes them."""
    size = lesions.size or (0, 0)
    return Boxed(source=lesions.film, name=name, size=size, boxes=lesions.boxes, refusal=lesions.refusal)


def write_table(found: Sequence[tuple[Lesions, str]], path: Path) -> None:
    """Write a CSV, a row a film: `FIRST`, three columns a score, `LAST`; what is not there is empty.

    Args:
        found: films with their names among each other.
        path: of the CSV.
    """
    scores = tuple(dict.fromkeys(score.name for lesions, _ in found for score in lesions.scores))
    columns = [column for name in scores for column in (name, f"{name}_low", f"{name}_high")]
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*FIRST, *columns, *LAST])
        for lesions, name in found:
            last = ["; ".join(lesions.flags), lesions.refusal or "", lesions.bundle_digest, lesions.lungs.bundle_digest]
            writer.writerow([str(lesions.film), name, *_measured(lesions), *_scored(lesions, scores), *last])


def _measured(lesions: Lesions) -> Iterator[str]:
    yield from (_number(lesions.shares.get(name)) for name in SHARES)
    yield from (_number(lesions.highest.get(label)) for label in LESIONS)
    yield "" if lesions.refusal else str(len(lesions.boxes))


def _scored(lesions: Lesions, names: Sequence[str]) -> Iterator[str]:
    known = {score.name: score for score in lesions.scores}
    for name in names:
        score = known.get(name)
        yield from ("", "", "") if score is None else map(_number, (score.value, score.low, score.high))


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"

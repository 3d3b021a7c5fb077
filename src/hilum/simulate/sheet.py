"""Contact sheets: what a cohort looks like at a glance."""

import csv
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.errors import DataError
from hilum.files import written_aside
from hilum.simulate.cohort import CohortSpec, plan_cohort
from hilum.simulate.film import render
from hilum.simulate.shortcuts import leave_marks
from hilum.simulate.volume import load_ct

Picture = NDArray[np.uint8]

COLUMNS, TILE_PX, CAPTION_PX, GAP_PX = 6, 240, 18, 4


def draw_sheet(cohort: CohortSpec | Path, path: Path, *, columns: int = COLUMNS) -> None:
    """Write a PNG with a row of films for every label and view.

    Args:
        cohort: what to simulate, or the folder of a cohort already written.
        path: the PNG to write.
        columns: films a row.

    Raises:
        DataError: the folder holds no cohort, or only films that are no pictures.
    """
    rows = _from_folder(cohort, columns) if isinstance(cohort, Path) else _from_spec(cohort, columns)
    lines = [np.hstack([_tile(picture, caption) for picture, caption in row]) for row in rows]
    width = max(line.shape[1] for line in lines)
    sheet = np.vstack([np.pad(line, ((0, 0), (0, width - line.shape[1]))) for line in lines])
    done, stream = cv2.imencode(".png", sheet)
    if not done:
        raise DataError(f"the contact sheet for {path} is too large to encode; ask for fewer columns")
    with written_aside(path) as aside:
        aside.write_bytes(stream.tobytes())


def _from_spec(spec: CohortSpec, columns: int) -> list[list[tuple[Picture, str]]]:
    ct = load_ct()
    rows: dict[tuple[str, str], list[tuple[Picture, str]]] = {
        (label, str(view)): [] for label in spec.labels for view in spec.views
    }
    for job in plan_cohort(spec):
        row = rows[job.plan.label, str(job.plan.view)]
        if len(row) < columns:
            kinds = [kind for kind, carried in job.marks.items() if carried]
            rng = np.random.default_rng([job.plan.seed, 6, job.plan.film])
            shown = leave_marks(render(ct, job.plan).shown, kinds, rng)
            row.append((np.rint(shown * 255).astype(np.uint8), _caption(job.plan.label, str(job.plan.view))))
    return [row for row in rows.values() if row]


def _from_folder(folder: Path, columns: int) -> list[list[tuple[Picture, str]]]:
    index = folder / "index.csv"
    if not index.is_file():
        raise DataError(f"{folder} holds no simulated cohort (no index.csv); simulate one first")
    rows: dict[tuple[str, str], list[tuple[Picture, str]]] = {}
    with index.open(encoding="utf-8", newline="") as stream:
        for film in csv.DictReader(stream):
            row = rows.setdefault((film["label"], film["view"]), [])
            picture = (
                cv2.imread(str(folder.parent / film["file"]), cv2.IMREAD_GRAYSCALE) if len(row) < columns else None
            )
            if picture is not None:
                row.append((np.asarray(picture, np.uint8), _caption(film["label"], film["view"])))
    filled = [row for _, row in sorted(rows.items()) if row]
    if not filled:
        raise DataError(f"{folder} holds no film that is a PNG or JPEG; draw the sheet from the specification instead")
    return filled


def _caption(label: str, view: str) -> str:
    return f"{label} {view}".replace("_", " ")


def _tile(picture: Picture, caption: str) -> Picture:
    """The film, fitted into a square above its caption."""
    scale = TILE_PX / max(picture.shape)
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    tile = np.full((TILE_PX + CAPTION_PX + GAP_PX, TILE_PX + GAP_PX), 32, np.uint8)
    top, left = (TILE_PX - size[1]) // 2, (TILE_PX - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    cv2.putText(tile, caption, (4, TILE_PX + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 230, 1, cv2.LINE_AA)
    return tile

"""Simulated films on disk: pictures, masks, boxes, and the tables that list them.

Every film's record is written last, so that a film with a record is complete and an interrupted cohort goes on where
it stopped.

    simulated/index.csv           one row a film; `file` is relative to the folder above
    simulated/boxes.csv           one row a box: left, top, width, height in pixels
    simulated/images/             the films
    simulated/masks/lungs/        0/255 PNG of a film's size, and so for `lesions`
    simulated/boxes/              one YOLO text file a film, and `classes.txt`
    simulated/counterfactuals/    the diseased films without their disease, on request
    simulated/records/            one JSON file a film, what the tables are made of
    simulated/cohort.json         the specification
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.boxes import write_classes, yolo_line
from hilum.errors import DataError
from hilum.files import write_json, write_text, written_aside
from hilum.records import NORMAL, View
from hilum.simulate.dicom import dicom_bytes
from hilum.simulate.film import Film, FilmPlan, boxes_of, render
from hilum.simulate.shortcuts import leave_marks
from hilum.simulate.volume import load_ct

Format = Literal["png", "jpg", "dcm"]
Floats = NDArray[np.float32]

DATASET = "simulated"
CLAIM = "cohort.json"
JPEG_QUALITY = 92
LICENCE = "simulated by hilum from a CT believed to be LIDC-IDRI-0001 (CC BY 3.0)"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One film to take and how to write it."""

    plan: FilmPlan
    image_id: str
    acquired: str
    """ISO date."""
    marks: dict[str, bool] = field(default_factory=dict)
    """Kind of plant to whether this film carries its mark."""
    duplicated: bool = False
    """Also write a near-duplicate."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where films go and in which form."""

    folder: Path
    ct: Path
    """The prepared CT; other processes need not share this one's environment."""
    format: Format
    counterfactuals: bool
    classes: tuple[str, ...]
    """Labels of the boxes, in the order of their YOLO numbers."""


def read_claim(folder: Path) -> str | None:
    """Digest of the specification whose films lie in `folder`, or None for none."""
    path = folder / CLAIM
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged; delete the folder and simulate again") from error


def is_complete(folder: Path, image_id: str) -> bool:
    """Whether a film was written to the end."""
    return (folder / "records" / f"{image_id}.json").is_file()


def take_film_of(job: Job, *, target: Target) -> None:
    """Take one film and write it with all of its truth."""
    film = render(load_ct(target.ct), job.plan)
    kinds = [kind for kind, carried in job.marks.items() if carried]
    seeds = [job.plan.seed, 6, job.plan.film]
    shown = leave_marks(film.shown, kinds, np.random.default_rng(seeds))
    record = _write_film(job, job.image_id, shown, film.lungs, film.lesion, target)
    if target.counterfactuals and film.lesion.any():
        without = leave_marks(film.counterfactual, kinds, np.random.default_rng(seeds))
        path = target.folder / "counterfactuals" / f"{job.image_id}.{target.format}"
        _write_picture(path, without, job, job.image_id + "-without")
        record["counterfactual"] = path.relative_to(target.folder.parent).as_posix()
    records = [record]
    if job.duplicated:
        records.append(_write_duplicate(job, shown, film, target))
    write_json(target.folder / "records" / f"{job.image_id}.json", records)


def _write_film(
    job: Job, image_id: str, shown: Floats, lungs: NDArray[np.bool_], lesion: NDArray[np.bool_], target: Target
) -> dict[str, Any]:
    folder, boxes = target.folder, boxes_of(lesion)
    path = folder / "images" / f"{image_id}.{target.format}"
    _write_picture(path, shown, job, image_id)
    _write_mask(folder / "masks" / "lungs" / f"{image_id}.png", lungs)
    _write_mask(folder / "masks" / "lesions" / f"{image_id}.png", lesion)
    height, width = shown.shape
    number = target.classes.index(job.plan.label) if job.plan.label in target.classes else 0
    lines = [yolo_line(number, box, width, height) for box in boxes]
    write_text(folder / "boxes" / f"{image_id}.txt", "".join(f"{line}\n" for line in lines))
    return _row(job, image_id) | {
        "file": path.relative_to(folder.parent).as_posix(),
        "width": width,
        "height": height,
        "extent": round(float(lesion.sum() / max(1, lungs.sum())), 4),
        "boxes": [[box.left, box.top, box.width, box.height] for box in boxes],
    }


def _row(job: Job, image_id: str) -> dict[str, Any]:
    plan = job.plan
    patient = f"s{plan.seed}-p{plan.patient:05d}"
    return {
        "image_id": image_id,
        "file": "",
        "dataset": DATASET,
        "label": plan.label,
        "label_std": plan.label,
        "view": str(plan.view),
        "projection": "lateral" if plan.view is View.LATERAL else "frontal",
        "patient_id": patient,
        "group_id": f"simulated-{patient}",
        "sex": plan.sex,
        "age": plan.age_years,
        "width": 0,
        "height": 0,
        "licence": LICENCE,
        "manufacturer": manufacturer(job),
        "site": plan.site.name,
        "date": job.acquired,
        "lung_mask": "simulated",
        "severity": round(plan.severity, 4) if plan.lesions and plan.label != NORMAL else 0.0,
        "extent": 0.0,
        "duplicate_of": "",
        "counterfactual": "",
    } | {f"planted_{kind}": int(carried) for kind, carried in job.marks.items()}


def manufacturer(job: Job) -> str:
    """The made-up maker of the site's equipment."""
    return f"hilum simulated {job.plan.site.name}"


def _write_duplicate(job: Job, shown: Floats, film: Film, target: Target) -> dict[str, Any]:
    """The same film exported again: cropped by a few per cent, resized, slightly brighter, JPEG once in between."""
    rng = np.random.default_rng([job.plan.seed, 7, job.plan.film])
    height, width = shown.shape
    top, left = (int(rng.integers(0, max(1, round(0.04 * n)) + 1)) for n in (height, width))
    bottom, right = (n - int(rng.integers(0, max(1, round(0.04 * n)) + 1)) for n in (height, width))
    cut = np.s_[top:bottom, left:right]
    factor = float(rng.uniform(0.85, 1.0))
    size = (max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor)))
    grey = cv2.resize(shown[cut], size, interpolation=cv2.INTER_AREA) ** float(rng.uniform(0.9, 1.1))
    eight_bit = np.rint(grey * 255).clip(0, 255).astype(np.uint8)
    stream = _encoded(".jpg", eight_bit, [cv2.IMWRITE_JPEG_QUALITY, 80])
    again = np.asarray(cv2.imdecode(stream, cv2.IMREAD_GRAYSCALE), np.float32) / np.float32(255)
    lungs, lesion = (
        cv2.resize(mask[cut].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        for mask in (film.lungs, film.lesion)
    )
    record = _write_film(job, f"{job.image_id}-again", again, lungs, lesion, target)
    return record | {"duplicate_of": job.image_id}


def _encoded(suffix: str, picture: NDArray[np.uint8], options: list[int]) -> NDArray[np.uint8]:
    done, stream = cv2.imencode(suffix, picture, options)
    if not done:
        raise DataError(f"a film of {picture.shape[1]} x {picture.shape[0]} pixels cannot be written as {suffix}")
    return np.asarray(stream, np.uint8)


def _write_picture(path: Path, shown: Floats, job: Job, image_id: str) -> None:
    if path.suffix == ".dcm":
        content = dicom_bytes(shown, plan=job.plan, image_id=image_id, acquired=job.acquired, maker=manufacturer(job))
    else:
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if path.suffix == ".jpg" else []
        content = _encoded(path.suffix, np.rint(shown * 255).clip(0, 255).astype(np.uint8), options).tobytes()
    with written_aside(path) as aside:
        aside.write_bytes(content)


def _write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    with written_aside(path) as aside:
        aside.write_bytes(_encoded(".png", mask.astype(np.uint8) * np.uint8(255), []).tobytes())


def write_tables(target: Target, image_ids: Sequence[str]) -> None:
    """Gather the films' records into `index.csv` and `boxes.csv`."""
    folder = target.folder
    rows: list[dict[str, Any]] = []
    for image_id in image_ids:
        rows += json.loads((folder / "records" / f"{image_id}.json").read_text(encoding="utf-8"))
    boxes = [
        dict(zip(("image_id", "label", "x", "y", "w", "h"), (row["image_id"], row["label"], *box), strict=True))
        for row in rows
        for box in row["boxes"]
    ]
    films = [{key: value for key, value in row.items() if key != "boxes"} for row in rows]
    write_classes(folder / "boxes" / "classes.txt", target.classes)
    write_text(folder / "boxes.csv", _as_csv(boxes, ["image_id", "label", "x", "y", "w", "h"]))
    write_text(folder / "index.csv", _as_csv(films, list(films[0])))


def _as_csv(rows: list[dict[str, Any]], columns: list[str]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()

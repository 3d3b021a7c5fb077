"""YOLO: boxes as a data set that Ultralytics' trainer reads, and the boxes of a network that it trained.

The data set is plain files and needs nothing. Running such a network needs the extra `hilum[yolo]`, whose package
`ultralytics` is under the AGPL-3.0: whoever distributes a program with it, or offers it over a network, owes its users
the program's whole source under that licence, or has a licence from Ultralytics. hilum itself uses none of its code.

References:
    Redmon et al. 2016, You only look once, doi:10.1109/CVPR.2016.91.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.boxes import Box, LabelledBox, write_yolo
from hilum.errors import DataError, MissingExtra, UsageError, require, unknown_name
from hilum.files import write_text, written_aside
from hilum.pixels import read_film

FOLDERS: Mapping[str, str] = {"train": "train", "tune": "val", "test": "test"}
"""hilum's name of a fold -> YOLO's."""
PLAN = "data.yaml"
LICENCE = (
    "running YOLO networks needs the package 'ultralytics', which is not installed and under the AGPL-3.0 (a program "
    "that uses it must be offered with its source under that licence); run: pip install 'hilum[yolo]'"
)
KEPT_QUIET: Mapping[str, str] = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
"""Environment that keeps the package from reporting use, downloading and installing; read once, when imported."""


def write_dataset(
    films: Sequence[Path],
    boxes: Sequence[Sequence[LabelledBox]],
    folds: Sequence[str],
    classes: Sequence[str],
    out: Path,
) -> Path:
    """Write films and boxes as YOLO's `images/`, `labels/` and `data.yaml`; returns the path of the latter.

    Every film is decoded as hilum shows it and written as a grey 8-bit PNG, so that DICOM films, inverted or turned
    ones come as they are looked at. Paths in `data.yaml` are relative to it: the folder can be moved. Scores are left
    out. A film without boxes gets an empty text file, which says that nothing is there.

    Args:
        films: whose names without suffix differ.
        boxes: each film's, in its pixels.
        folds: each film's: `train`, `tune` (YOLO's `val`) or `test`.
        classes: labels in the order of their numbers.
        out: a folder that holds no data set yet.

    Raises:
        UsageError: unknown folds or labels, a fold without a film, or a folder in use.
        DataError: two films of one name, or a box that reaches outside its film.
        UnreadableFilm: a film cannot be used.
    """
    _check(films, boxes, folds, out)
    for film, told, fold in zip(films, boxes, folds, strict=True):
        grey = _grey(film)
        folder, (height, width) = FOLDERS[fold], grey.shape
        labels = out / "labels" / folder / f"{film.stem}.txt"
        write_yolo(labels, [replace(one, score=None) for one in told], classes, width_px=width, height_px=height)
        with written_aside(out / "images" / folder / f"{film.stem}.png") as aside:
            aside.write_bytes(cv2.imencode(".png", grey)[1].tobytes())
    lines = [f"{FOLDERS[fold]}: images/{FOLDERS[fold]}" for fold in FOLDERS if fold in folds]
    # A JSON text is a YAML text too, whatever letters a name has.
    names = [f"  {number}: {json.dumps(name)}" for number, name in enumerate(classes)]
    write_text(out / PLAN, "\n".join([*lines, "names:", *names, ""]))
    return out / PLAN


def _check(films: Sequence[Path], boxes: Sequence[Sequence[LabelledBox]], folds: Sequence[str], out: Path) -> None:
    if not len(films) == len(boxes) == len(folds):
        raise UsageError(f"{len(films)} films, boxes of {len(boxes)} and folds of {len(folds)} do not go together")
    for fold in folds:
        if fold not in FOLDERS:
            raise unknown_name("fold", fold, FOLDERS)
    for fold in ("train", "tune"):
        if fold not in folds:
            raise UsageError(f"no film is in the fold '{fold}', without which YOLO does not train; name some")
    taken: set[str] = set()
    for film in films:
        if film.stem.casefold() in taken:
            raise DataError(f"two films are called {film.stem}; rename one, for its boxes go by that name")
        taken.add(film.stem.casefold())
    if any((out / name).exists() for name in ("images", "labels", PLAN)):
        raise UsageError(f"{out} holds a data set already, whose films would mix with these; name a new folder")


def _grey(film: Path) -> NDArray[np.uint8]:
    """(H, W) at the film's own size, bone bright."""
    return np.rint(read_film(film).pixels * 255).astype(np.uint8)


def detect_yolo(
    weights: Path,
    films: Sequence[Path],
    *,
    score_threshold: float = 0.25,
    nms_threshold: float = 0.5,
    size_px: int = 640,
) -> list[list[LabelledBox]]:
    """The boxes that a network trained with Ultralytics finds, as `DetectorBundle.detect` gives them.

    A `.pt` file is a pickle and runs what is in it: give only files from people you trust. Nothing is downloaded.

    Args:
        weights: the trained network, `best.pt` or its export.
        films: decoded as hilum shows them.
        score_threshold: the least score of a box that is told.
        nms_threshold: of two boxes of a label that share more than this, the surer is told.
        size_px: longer side of the film as the network sees it; what it was trained with.

    Returns:
        Each film's boxes in its pixels, the surest first.

    Raises:
        DataError: the weights are not there.
        MissingExtra: the package is not installed; the sentence names its licence.
        UnreadableFilm: a film cannot be used.
    """
    if not weights.is_file():
        raise DataError(f"{weights} does not exist; give the network that YOLO's trainer wrote, such as best.pt")
    network = _library().YOLO(str(weights), task="detect")
    told = {"conf": score_threshold, "iou": nms_threshold, "imgsz": size_px, "verbose": False}
    found = []
    for film in films:
        grey = _grey(film)
        result = network.predict(np.repeat(grey[..., None], 3, axis=2), **told)[0]
        found.append(_boxes_of(result, width_px=grey.shape[1], height_px=grey.shape[0]))
    return found


def _library() -> Any:
    for name, value in KEPT_QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return require("ultralytics", extra="yolo")
    except MissingExtra as error:
        raise MissingExtra(LICENCE) from error


def _boxes_of(result: Any, *, width_px: int, height_px: int) -> list[LabelledBox]:
    names: Mapping[int, str] = result.names
    rows = zip(result.boxes.xyxy.tolist(), result.boxes.cls.tolist(), result.boxes.conf.tolist(), strict=True)
    told = [LabelledBox(names[int(kind)], Box(*edges).clipped(width_px, height_px), s) for edges, kind, s in rows]
    return sorted(told, key=lambda one: -(one.score or 0.0))

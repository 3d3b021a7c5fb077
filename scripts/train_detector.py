"""Train and score box detectors for ground glass and consolidation, from 100 films that a radiologist drew.

    python scripts/train_detector.py --data DATA --out DIR [--network fcos] [--folds-from LESIONS/films.parquet]
    python scripts/train_detector.py --data DATA --out DIR --simulated COHORT       pre-trained on simulated films
    python scripts/train_detector.py --data DATA --out DIR --start DIR/simulated/bundle
    python scripts/train_detector.py --data DATA --out DIR --only 0 --epochs 2      a try: one fold, two epochs

A cross-validation over groups: every film is scored once, by a detector that never saw its group. The number of epochs
is fixed before and no fold chooses it, unless `--tune` keeps the next fold out of training to choose the best epoch.
Boxes of NIH's films are an outside check of every fold's detector. An interrupted training goes on where it was.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.augment import seed_of
from hilum.boxes import GAP_SHARE, LEAST_SHARE, Box, LabelledBox, overlaps
from hilum.bundle import DetectorBundle, Figure, load_detector, save_detector
from hilum.cache import ArrayView, FrameCache
from hilum.console import OUT, watch
from hilum.detection_metrics import Detection, detection_scores
from hilum.errors import DataError, UsageError
from hilum.files import write_json
from hilum.index import Index, build_index
from hilum.masks import read_mask
from hilum.outlines import Outline, Placing, boxes_of, outlines_of
from hilum.preprocess import Preprocess
from hilum.provenance import describe_versions
from hilum.recipe import Augmentation, Schedule
from hilum.recipe.detection import DetectionRecipe
from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL
from hilum.sources import read_source
from hilum.train.detection import LEAST_SCORE, BoxedFilms, fit_boxes, start_detector

LABELS = ("ggo", "consolidation")
SIMULATED_AS = {NORMAL: "", COVID19: "ggo", BACTERIAL_PNEUMONIA: "consolidation"}
"""What a simulated film's lesions are called; a viral net has no box worth learning and its films are left out."""
SIMULATED_TEST = 25
"""Per cent of the simulated patients."""
OPACITIES = ("Pneumonia", "Infiltrate")
"""NIH's boxes that ground glass or consolidation may lie in."""
OPACITY = "opacity"

INTENDED = (
    "Research and teaching: boxes around ground glass and consolidation on frontal films of adults. Not for patients. "
    "Trained on films of covid-chestxray-dataset (licence per film, mostly CC BY-NC-SA) with outlines by General "
    "Blockchain."
)

Found = list[list[LabelledBox]]


def recipe(network: str, epochs: int) -> DetectionRecipe:
    """Small: eighty films teach it."""
    return DetectionRecipe(
        title="Boxes around ground glass and consolidation on frontal films",
        labels=LABELS,
        network=network,
        preprocess=Preprocess(size_px=320, aspect="pad", channels=1),
        augmentation=Augmentation(
            rotate_degrees=10, zoom=0.15, shift=0.06, flip=0.5, brightness=0.2, contrast=0.25, moved=0.9
        ),
        schedule=Schedule(
            epochs=epochs,
            batch_films=4,
            learning_rate=3e-4,
            weight_decay=1e-2,
            decay="cosine",
            class_weights="none",
            patience=0,
            precision="float32",
        ),
    )


@dataclass(frozen=True)
class Drawn:
    """Films, in the order of the table, and each one's outlines in its own pixels."""

    table: pd.DataFrame
    root: Path
    outlines: tuple[tuple[Outline, ...], ...]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return list(zip(self.table["height"].astype(int), self.table["width"].astype(int), strict=True))

    def frames(self, preprocess: Preprocess) -> ArrayView:
        cache = FrameCache(preprocess)
        cache.fill(self.table, self.root, processes=1)
        return cache.view(self.table, self.root)

    def on_frames(self, preprocess: Preprocess) -> tuple[tuple[Outline, ...], ...]:
        placings = (Placing.of(preprocess, size) for size in self.sizes)
        return tuple(
            tuple(one.onto_frame(placing) for one in told)
            for told, placing in zip(self.outlines, placings, strict=True)
        )


def films_of(source: str, root: Path) -> Index:
    """The source's films in use."""
    index = build_index(list(read_source(source, root)), Path("/"), processes=1)
    return Index(index.films, index.root)


def outlines_from(mask: Path, label: str, size: tuple[int, int]) -> list[Outline]:
    """Outlines of a mask file; none where there is no file: it was looked for and not found."""
    if not mask.is_file():
        return []
    inside = read_mask(mask, size, may_be_empty=True)
    return outlines_of(inside, label, least_share=LEAST_SHARE, gap_share=GAP_SHARE)


def _films(table: pd.DataFrame) -> list[tuple[Path, tuple[int, int]]]:
    """Each film's path and (height, width)."""
    sizes = zip(table["height"].astype(int), table["width"].astype(int), strict=True)
    return list(zip(map(Path, table["path"]), sizes, strict=True))


def real_films(data: Path, folds: int, folds_from: Path | None) -> Drawn:
    """The 100 films and their folds."""
    index = films_of("covid_seg", data)
    table = index.table
    table["fold"] = fold_of(table["group_id"], folds) if folds_from is None else _given_folds(table, folds_from)
    outlines = []
    for path, size in _films(table):
        name = f"{path.stem}.png"
        drawn = [outlines_from(data / "covid_seg" / "masks" / label / name, label, size) for label in LABELS]
        outlines.append(tuple(one for told in drawn for one in told))
    return Drawn(table, index.root, tuple(outlines))


def fold_of(group: pd.Series, folds: int) -> list[int]:
    """Groups dealt out in an order that depends on their names alone, as `train_lesions.py` deals them."""
    ranked = sorted(set(group), key=lambda name: seed_of("lesions", name))
    place = {name: number % folds for number, name in enumerate(ranked)}
    return [place[name] for name in group]


def _given_folds(table: pd.DataFrame, file: Path) -> list[int]:
    """The folds of another training, so that its figures and these are of the same divisions."""
    told = pd.read_parquet(file, columns=["image_id", "group_id", "fold"])
    fold = dict(zip(told["image_id"], told["fold"].astype(int), strict=True))
    if missing := sorted(set(table["image_id"]) - set(fold)):
        raise DataError(f"{file} names no fold of {len(missing)} films, first {missing[0]}; give the lesions' table")
    folds = [fold[name] for name in table["image_id"]]
    if len(set(zip(table["group_id"], folds, strict=True))) > len(set(table["group_id"])):
        raise DataError(f"{file} divides a group between folds; split on group_id")
    return folds


def simulated_films(cohort: Path) -> Drawn:
    """Frontal films whose lesions look like ground glass or like consolidation, and healthy ones."""
    index = films_of("simulated", cohort)
    table = index.table[index.table["label_original"].isin(list(SIMULATED_AS))].reset_index(drop=True)
    table["fold"] = [int(seed_of("sim", group) % 100 < SIMULATED_TEST) for group in table["group_id"]]
    outlines = []
    for (path, size), shown in zip(_films(table), table["label_original"], strict=True):
        label = SIMULATED_AS[str(shown)]
        mask = cohort / "simulated" / "masks" / "lesions" / f"{path.stem}.png"
        outlines.append(tuple(outlines_from(mask, label, size) if label else []))
    return Drawn(table, index.root, tuple(outlines))


def fit(
    films: Drawn,
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
    plan: DetectionRecipe,
    start: Path | None,
    out: Path,
) -> DetectorBundle:
    """Train on the first rows and tune on the second; the bundle is read from `out/bundle` where it is finished."""
    if (out / "bundle" / "bundle.json").is_file():
        return load_detector(out / "bundle")
    network, plan = start_detector(plan, seed=0)
    if start:
        network.load_state_dict(_fitting(load_detector(start), plan).network.state_dict())
    given = BoxedFilms(films.frames(plan.preprocess), films.on_frames(plan.preprocess), *rows)
    out.mkdir(parents=True, exist_ok=True)
    since = time.process_time()
    with watch(f"epochs of {out.name}") as progress:
        result = fit_boxes(network, given, plan, 0, checkpoint=out / "checkpoint.safetensors", progress=progress)
    result.history.to_csv(out / "history.csv", index=False)
    OUT.print(f"{out.name}: {time.process_time() - since:.0f} s of processor time for {len(result.history)} epochs")
    told = {
        "films": len(rows[0]),
        "groups": int(films.table["group_id"].iloc[rows[0]].nunique()),
        "boxes": sum(len(films.outlines[row]) for row in rows[0].tolist()),
        "sources": sorted(set(films.table["source"])),
        "started_from": "simulated films" if start else f"{network.origin.kind} weights of {network.origin.detail}",
        "best_epoch": result.best_epoch,
        "seed": 0,
        "versions": describe_versions(),
    }
    bundle = DetectorBundle(
        title=plan.title,
        labels=plan.labels,
        recipe=plan,
        preprocess=plan.preprocess,
        network=network,
        score_threshold=plan.score_threshold,
        nms_threshold=plan.nms_threshold,
        most_found=plan.most_found,
        intended_use=INTENDED,
        provenance=told,
    )
    saved = save_detector(bundle, out / "bundle")
    (out / "checkpoint.safetensors").unlink(missing_ok=True)
    return saved


def _fitting(start: DetectorBundle, plan: DetectionRecipe) -> DetectorBundle:
    """The bundle to start from, where it is of the same network and labels."""
    for key in ("network", "encoder", "width", "labels"):
        if getattr(start.recipe, key) != getattr(plan, key):
            raise UsageError(f"the detector to start from has {key} = {getattr(start.recipe, key)}; give one like this")
    return start


def find(bundle: DetectorBundle, films: Drawn, rows: NDArray[np.int64]) -> Found:
    """Boxes on these films, down to scores that only a whole precision-recall curve asks for."""
    sizes = films.sizes
    frames = films.frames(bundle.preprocess)[rows]
    return bundle.detect(frames, [sizes[row] for row in rows.tolist()], score_threshold=LEAST_SCORE)


def tell(scores: Sequence[Detection], said: str, films: int, groups: int, training: str) -> list[Figure]:
    """Print average precisions, and give them as a bundle keeps them."""
    figures = []
    for one in scores:
        counts = f"{one.boxes} boxes on {one.films} of {films} films, {groups} groups"
        for metric, value, limits in (("AP@.5", one.ap50, one.ap50_interval), ("AP@.5:.95", one.ap, one.ap_interval)):
            if value is None:
                continue
            low, high = limits or (None, None)
            shown = "" if low is None else f" [{low:.3f}, {high:.3f}]"
            OUT.print(f"{metric:9} {value:.3f}{shown} {one.label}: {said}; {counts}", soft_wrap=True, highlight=False)
            figures.append(
                Figure(
                    metric=metric,
                    label=one.label,
                    films=f"{said}; {counts}",
                    n=films,
                    groups=groups,
                    value=round(value, 4),
                    low=None if low is None else round(low, 4),
                    high=None if high is None else round(high, 4),
                    training=training,
                )
            )
    return figures


def score(films: Drawn, rows: NDArray[np.int64], found: Found, said: str, training: str) -> list[Figure]:
    """Average precision of each label against the drawn boxes."""
    groups = films.table["group_id"].iloc[rows].tolist()
    reference = [boxes_of(films.outlines[row]) for row in rows.tolist()]
    scores = detection_scores(reference, found, groups)
    several = len(scores) > 2  # of a single label the mean over the labels says the same again
    return tell(scores if several else scores[:1], said, len(rows), len(set(groups)), training)


def as_opacities(found: Sequence[LabelledBox]) -> list[LabelledBox]:
    """All boxes under one name; of two labels' boxes around the same place the surer is kept."""
    kept: list[LabelledBox] = []
    for one in sorted(found, key=lambda one: -(one.score or 0.0)):
        if not kept or overlaps([one.box], [other.box for other in kept]).max() <= 0.5:
            kept.append(replace(one, label=OPACITY))
    return kept


def nih_films(data: Path) -> Drawn:
    """NIH's films with a box around an opacity, each box an outline of its own."""
    index = films_of("nih_subset", data)
    told = pd.read_csv(data / "nih_subset" / "boxes.csv")
    told = told[told["label"].isin(OPACITIES)]
    boxes: dict[str, list[Outline]] = {}
    for name, *edges in told[["image_id", "x", "y", "w", "h"]].itertuples(index=False):
        one = Outline.of_box(LabelledBox(OPACITY, Box.at(*edges)))
        boxes.setdefault(name.replace("__", "/", 1), []).append(one)
    table = index.table[index.table["image_id"].isin(list(boxes))].reset_index(drop=True)
    if len(table) < len(boxes):
        raise DataError(f"{len(boxes) - len(table)} films of nih_subset with boxes are missing; complete the pack")
    return Drawn(table, index.root, tuple(tuple(boxes[name]) for name in table["image_id"]))


def cross_validate(films: Drawn, asked: argparse.Namespace, start: Path | None, out: Path) -> None:
    """Every fold asked for: train, find on the films kept out, and score all of those together."""
    outside = nih_films(asked.data.resolve())
    fold, folds = films.table["fold"].to_numpy(), int(films.table["fold"].max()) + 1
    rows, found, figures = np.empty(0, np.int64), list[list[LabelledBox]](), list[Figure]()
    for test in asked.only or range(folds):
        tune = np.flatnonzero(fold == (test + 1) % folds) if asked.tune else np.empty(0, np.int64)
        train = np.setdiff1d(np.flatnonzero(fold != test), tune)
        bundle = fit(films, (train, tune), recipe(asked.network, asked.epochs), start, out / f"fold{test}")
        kept_out = np.flatnonzero(fold == test)
        rows, found = np.concatenate([rows, kept_out]), found + find(bundle, films, kept_out)
        opacities = [as_opacities(boxes) for boxes in find(bundle, outside, np.arange(len(outside.table)))]
        said = "nih_subset, films with a box of Pneumonia or Infiltrate, both labels as one"
        figures += score(outside, np.arange(len(outside.table)), opacities, said, f"the detector of fold {test}")
    said = "covid_seg, each film by a detector that never saw its group"
    figures = score(films, rows, found, said, "twins of this over the folds") + figures
    write_json(out / "figures.json", [one.model_dump() for one in figures])
    _write_boxes(films, rows, found, out / "found.csv")


def _write_boxes(films: Drawn, rows: NDArray[np.int64], found: Found, path: Path) -> None:
    names = films.table["image_id"].iloc[rows].tolist()
    told = [(name, one.label, one.score, *one.box) for name, boxes in zip(names, found, strict=True) for one in boxes]
    columns = ["image_id", "label", "score", "left", "top", "right", "bottom"]
    pd.DataFrame(told, columns=columns).to_csv(path, index=False)


def pre_train(cohort: Path, network: str, epochs: int, out: Path) -> Path:
    """A detector of simulated films, scored on simulated patients kept out; returns its bundle's folder."""
    films = simulated_films(cohort)
    test = np.flatnonzero(films.table["fold"] == 1)
    train, none = np.flatnonzero(films.table["fold"] == 0), np.empty(0, np.int64)
    bundle = fit(films, (train, none), recipe(network, epochs), None, out)
    figures = score(films, test, find(bundle, films, test), "simulated films of patients kept out", "this")
    write_json(out / "figures.json", [one.model_dump() for one in figures])
    return out / "bundle"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--network", default="retinanet")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--folds-from", type=Path)
    parser.add_argument("--only", type=int, nargs="+")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--start", type=Path)
    parser.add_argument("--simulated", type=Path)
    parser.add_argument("--simulated-epochs", type=int, default=15)
    asked = parser.parse_args()
    out = asked.out.resolve()
    start = asked.start
    if asked.simulated:
        start = pre_train(asked.simulated.resolve(), asked.network, asked.simulated_epochs, out / "simulated")
    films = real_films(asked.data.resolve(), asked.folds, asked.folds_from)
    out.mkdir(parents=True, exist_ok=True)
    films.table[["image_id", "group_id", "fold"]].to_parquet(out / "films.parquet")
    cross_validate(films, asked, start, out)


if __name__ == "__main__":
    main()

"""Train the lesions bundle: ground glass, consolidation and the heart's shadow, from 100 films that a radiologist drew.

    python scripts/train_lesions.py simulated --simulated COHORT --out DIR/simulated
    python scripts/train_lesions.py folds --data DATA --out DIR/NAME [--network unet-1] [--start DIR/simulated/bundle]
    python scripts/train_lesions.py final --data DATA --out DIR/final [--start DIR/simulated/bundle]
    ... --healthy --simulated COHORT --epochs 20

`folds` is a cross-validation over groups in which every film is drawn once by a network that never saw its group;
the number of epochs is fixed before, no fold chooses it. About three minutes a fold on two cores. With --healthy films
without a finding, and simulated ones, join those drawn by a radiologist; figures are of the radiologist's films, and
scripts/score_healthy.py gives those of the others. An interrupted training goes on where it was; --only trains some
folds, so that several processes can share them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.augment import seed_of
from hilum.bundle import Figure, SegmenterBundle, figure_of, load_segmenter, save_segmenter
from hilum.cache import ArrayView, FrameCache
from hilum.console import OUT, watch
from hilum.engine.eager import TorchEngine
from hilum.errors import DataError
from hilum.files import write_json
from hilum.index import Index, build_index
from hilum.masks import MaskCache, film_sized, read_mask
from hilum.overlap import overlap_scores
from hilum.preprocess import Preprocess
from hilum.provenance import describe_versions
from hilum.recipe import Augmentation, Schedule
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL
from hilum.sources import read_source
from hilum.train.segmentation import DrawnFilms, fit_masks, start_segmenter

DRAWN_BY_HAND, HEALTHY = "covid_seg", "nih_subset"
LABELS = ("ggo", "consolidation", "cardiomediastinum")
SIMULATED_AS = {NORMAL: "", COVID19: "ggo", BACTERIAL_PNEUMONIA: "consolidation"}
"""What a simulated film's lesions are drawn as; nothing on a healthy one."""
FOLDS = 5
SIMULATED_TEST = 25
"""Per cent of the simulated patients."""

INTENDED = (
    "Research and teaching: ground glass, consolidation and the heart's shadow on frontal films of adults. Not for "
    "patients. Trained on 100 films of covid-chestxray-dataset (licence per film, mostly CC BY-NC-SA) with outlines by "
    "General Blockchain."
)
WITH_HEALTHY = " Also trained on films of NIH ChestX-ray14 without a finding, and on simulated films."


def recipe(network: str, epochs: int) -> SegmentationRecipe:
    """A hundred films teach a small network; its frames are small because ground glass is drawn with a broad brush."""
    own = network not in ("unet", "fpn", "linknet")
    return SegmentationRecipe(
        title="Ground glass, consolidation and heart on frontal films",
        labels=LABELS,
        network=network,
        encoder=None if own else "tf_efficientnet_lite0",
        weights="random" if own else "packaged",
        loss="bce+dice",
        preprocess=Preprocess(size_px=192, channels=1),
        augmentation=Augmentation(
            rotate_degrees=10, zoom=0.15, shift=0.06, flip=0.5, brightness=0.2, contrast=0.25, moved=0.9
        ),
        schedule=Schedule(
            epochs=epochs,
            batch_films=4,
            learning_rate=4e-3,
            weight_decay=1e-2,
            decay="cosine",
            class_weights="none",
            patience=0,
        ),
    )


@dataclass(frozen=True)
class Drawn:
    """Films and, for each label, each film's mask file; `assessed` (N, labels) where somebody looked for it."""

    table: pd.DataFrame
    root: Path
    masks: dict[str, list[Path]]
    assessed: NDArray[np.bool_]

    def frames(self, preprocess: Preprocess) -> ArrayView:
        cache = FrameCache(preprocess)
        cache.fill(self.table, self.root, processes=1)
        return cache.view(self.table, self.root)

    def mask_frames(self, preprocess: Preprocess) -> tuple[ArrayView, ...]:
        cache = MaskCache(preprocess, may_be_empty=True)
        views = []
        for label in LABELS:
            cache.fill(self.table, self.masks[label], processes=1)
            views.append(cache.view(self.table, self.masks[label]))
        return tuple(views)


def films_of(source: str, root: Path) -> Index:
    """The source's films in use."""
    index = build_index(list(read_source(source, root)), Path("/"), processes=1)
    return Index(index.table[index.table["left_out"].isna()].reset_index(drop=True), index.root)


def blank(row: Any, folder: Path) -> Path:
    """An empty mask of the film's size."""
    path = folder / f"{row.width}x{row.height}.png"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((int(row.height), int(row.width)), np.uint8))
    return path


def with_healthy(films: Drawn, data: Path, simulated: Path | None, out: Path) -> Drawn:
    """Also films without a finding, on which no lesion is to be drawn, and simulated ones of both kinds.

    The healthy films all come from one hospital, so a network could draw nothing wherever it sees that hospital. The
    simulated films, healthy and ill from one machine, speak against that.
    """
    index = films_of(HEALTHY, data)
    normal = index.table[index.table["label.normal"].fillna(value=False)].reset_index(drop=True)
    normal["fold"] = folds_of(normal["group_id"])
    blanks = [blank(row, out / "blank") for row in normal.itertuples()]
    unseen = np.tile([label != LABELS[2] for label in LABELS], (len(normal), 1))  # nobody outlined the heart
    parts = [films, Drawn(normal, index.root, dict.fromkeys(LABELS, blanks), unseen)]
    if simulated:
        made = simulated_films(simulated, out)
        made.table["fold"] = folds_of(made.table["group_id"])
        parts.append(made)
    return Drawn(
        pd.concat([part.table for part in parts], ignore_index=True),
        films.root,
        {label: [path for part in parts for path in part.masks[label]] for label in LABELS},
        np.concatenate([part.assessed for part in parts]),
    )


def folds_of(groups: pd.Series) -> list[int]:
    """A fold a film, whole groups, all folds of nearly as many groups."""
    ranked = sorted(set(groups), key=lambda group: seed_of("lesions", group))
    fold = {group: place % FOLDS for place, group in enumerate(ranked)}
    return [fold[group] for group in groups]


def drawn_films(data: Path, out: Path) -> Drawn:
    """The 100 films; a label without a mask was looked for and not found."""
    index = films_of("covid_seg", data)
    table = index.table
    table["fold"] = folds_of(table["group_id"])
    told = pd.read_csv(data / "covid_seg" / "index.csv")
    by_file = {Path(file).name: group for file, group in zip(told["file"], told["group_id"], strict=True)}
    table["pack_group"] = [by_file[Path(path).name] for path in table["path"]]
    masks: dict[str, list[Path]] = {label: [] for label in LABELS}
    for row in table.itertuples():
        for label in LABELS:
            path = data / "covid_seg" / "masks" / label / f"{Path(str(row.path)).stem}.png"
            masks[label].append(path if path.is_file() else blank(row, out / "blank"))
    return Drawn(table, index.root, masks, np.ones((len(table), len(LABELS)), bool))


def simulated_films(cohort: Path, out: Path) -> Drawn:
    """Frontal films whose lesions look like ground glass or like consolidation, and healthy ones."""
    index = films_of("simulated", cohort)
    table = index.table[index.table["label_original"].isin(list(SIMULATED_AS))].reset_index(drop=True)
    shown = [SIMULATED_AS[str(kind)] for kind in table["label_original"]]
    table["fold"] = ["test" if seed_of("sim", group) % 100 < SIMULATED_TEST else "train" for group in table["group_id"]]
    masks: dict[str, list[Path]] = {label: [] for label in LABELS}
    for row, lesion in zip(table.itertuples(), shown, strict=True):
        true = cohort / "simulated" / "masks" / "lesions" / f"{Path(str(row.path)).stem}.png"
        for label in LABELS:
            masks[label].append(true if label == lesion else blank(row, out / "blank"))
    # A film of one disease says nothing of the other label: dense ground glass and thin consolidation look alike.
    assessed = np.array(
        [[label == lesion or (not lesion and label != LABELS[2]) for label in LABELS] for lesion in shown]
    )
    return Drawn(table, index.root, masks, assessed)


def fit(
    films: Drawn, train: NDArray[np.int64], plan: SegmentationRecipe, start: Path | None, out: Path
) -> SegmenterBundle:
    """Train on these rows; the bundle is written to `out/bundle`, or read from there where it is finished."""
    if (out / "bundle" / "bundle.json").is_file():
        return load_segmenter(out / "bundle")
    network, plan = start_segmenter(plan, seed=0)
    if start:
        network.load_state_dict(load_segmenter(start).network.state_dict())
    given = DrawnFilms(
        films.frames(plan.preprocess),
        films.mask_frames(plan.preprocess),
        train,
        np.empty(0, np.int64),
        None if films.assessed.all() else films.assessed,
    )
    out.mkdir(parents=True, exist_ok=True)
    with watch(f"epochs of {out.name}") as progress:
        result = fit_masks(network, given, plan, 0, checkpoint=out / "checkpoint.safetensors", progress=progress)
    result.history.to_csv(out / "history.csv", index=False)
    told = {
        "films": len(train),
        "groups": int(films.table["group_id"].iloc[train].nunique()),
        "sources": sorted(set(films.table["source"])),
        "started_from": "simulated films" if start else "ImageNet" if plan.encoder else "random",
        "seed": 0,
        "versions": describe_versions(),
    }
    bundle = SegmenterBundle(
        title=plan.title,
        labels=plan.labels,
        recipe=plan,
        preprocess=plan.preprocess,
        engine=TorchEngine(network),
        threshold=plan.threshold,
        intended_use=INTENDED + (WITH_HEALTHY if HEALTHY in set(films.table["source"]) else ""),
        provenance=told,
    )
    saved = save_segmenter(bundle, out / "bundle")
    (out / "checkpoint.safetensors").unlink(missing_ok=True)
    return saved


Masks = dict[str, list[NDArray[np.bool_]]]


def predict(bundle: SegmenterBundle, films: Drawn, rows: NDArray[np.int64]) -> Masks:
    """Each label's masks at film size."""
    inside = bundle.probabilities(films.frames(bundle.preprocess)[rows])
    sizes = _sizes(films, rows)
    return {
        label: [
            film_sized(bundle.preprocess, one[place], size) >= bundle.threshold
            for one, size in zip(inside, sizes, strict=True)
        ]
        for place, label in enumerate(LABELS)
    }


def reference(films: Drawn, rows: NDArray[np.int64]) -> Masks:
    """What was drawn, at film size."""
    sizes = _sizes(films, rows)
    return {
        label: [
            read_mask(films.masks[label][row], size, may_be_empty=True) for row, size in zip(rows, sizes, strict=True)
        ]
        for label in LABELS
    }


def _sizes(films: Drawn, rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    told = films.table.iloc[rows]
    return list(zip(told["height"].astype(int), told["width"].astype(int), strict=True))


def scored(found: Masks, drawn: Masks, films: Drawn, rows: NDArray[np.int64], said: str, training: str) -> list[Figure]:
    """Dice and IoU of every label on the films on which it was looked for and found."""
    groups = films.table["group_id"].iloc[rows].tolist()
    figures: list[Figure] = []
    for place, label in enumerate(LABELS):
        kept = [one for one, row in enumerate(rows) if films.assessed[row, place] and drawn[label][one].any()]
        if not kept:
            continue
        picked = [groups[one] for one in kept]
        scores = overlap_scores(
            [found[label][one] for one in kept], [drawn[label][one] for one in kept], picked, label=label
        )
        figures += [figure_of(one, films=said, groups=len(set(picked)), training=training) for one in scores]
    return figures


def tell(figures: list[Figure], out: Path) -> None:
    for one in figures:
        OUT.print(
            f"{one.metric:5} {one.value:.3f} [{one.low}, {one.high}] n={one.n} ({one.groups}) {one.label}: {one.films}",
            soft_wrap=True,
        )
    write_json(out / "figures.json", [one.model_dump() for one in figures])


def cross_validate(
    films: Drawn, network: str, epochs: int, start: Path | None, out: Path, only: Sequence[int] | None
) -> None:
    films.table[["image_id", "group_id", "pack_group", "fold"]].to_parquet(out / "films.parquet")
    fold_of = films.table["fold"].to_numpy()
    bundles = {
        fold: fit(films, np.flatnonzero(fold_of != fold), recipe(network, epochs), start, out / f"fold{fold}")
        for fold in only or range(FOLDS)
    }
    if only:
        return
    by_hand = np.flatnonzero((films.table["source"] == DRAWN_BY_HAND).to_numpy())
    found: Masks = {label: [None] * len(by_hand) for label in LABELS}  # type: ignore[list-item]
    for fold, bundle in bundles.items():
        places = np.flatnonzero(fold_of[by_hand] == fold)
        for label, masks in predict(bundle, films, by_hand[places]).items():
            for place, mask in zip(places, masks, strict=True):
                found[label][place] = mask
    said = "covid_seg, films that show it, each by a network that never saw its group"
    tell(scored(found, reference(films, by_hand), films, by_hand, said, "five-fold twins of this"), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("simulated", "folds", "final"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--simulated", type=Path)
    parser.add_argument("--healthy", action="store_true", help="also films without a finding, and those of --simulated")
    parser.add_argument("--network", default="linknet")
    parser.add_argument("--start", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--only", type=int, nargs="+", choices=range(FOLDS), help="train these folds and score nothing")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if asked.what == "simulated":
        films = simulated_films(asked.simulated.resolve(), out)
        train, test = (np.flatnonzero((films.table["fold"] == name).to_numpy()) for name in ("train", "test"))
        bundle = fit(films, train, recipe(asked.network, asked.epochs), None, out)
        said = "simulated films of patients kept out"
        tell(scored(predict(bundle, films, test), reference(films, test), films, test, said, "simulated films"), out)
        return
    if asked.data is None:
        raise DataError("name the data pack: --data DATA")
    data = asked.data.resolve()
    films = drawn_films(data, out)
    if asked.healthy:
        films = with_healthy(films, data, asked.simulated.resolve() if asked.simulated else None, out)
    if asked.what == "folds":
        cross_validate(films, asked.network, asked.epochs, asked.start, out, asked.only)
    else:
        fit(films, np.arange(len(films.table)), recipe(asked.network, asked.epochs), asked.start, out)


if __name__ == "__main__":
    main()

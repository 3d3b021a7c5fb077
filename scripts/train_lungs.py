"""Train the lungs bundle: what the data pack's films with lung masks by V7 Labs teach a small U-Net.

Simulated films are left out unless asked for: their lungs reach the spine, where V7's masks stop short of it.

    python scripts/train_lungs.py --data DATA --out DIR            the released bundle: no group of covid_seg in it
    python scripts/train_lungs.py --data DATA --out DIR --sources sandrofab     children only, to score on adults

About two minutes an epoch on two cores. An interrupted training goes on where it was.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.augment import seed_of
from hilum.bundle import SegmenterBundle, save_segmenter
from hilum.cache import FrameCache
from hilum.console import OUT, watch
from hilum.engine.eager import TorchEngine
from hilum.index import Index, build_index
from hilum.lungs import measure, plausible_range, tell_sides, unsure_share
from hilum.masks import MaskCache, read_mask
from hilum.networks.segmentation import Segmenter
from hilum.preprocess import HALF, Preprocess
from hilum.provenance import describe_versions
from hilum.recipe import Augmentation, Schedule
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.sources import read_source
from hilum.train.processes import is_leader
from hilum.train.segmentation import DrawnFilms, fit_masks, start_segmenter

HELD_OUT = "covid_seg"
TUNE, TEST = 12, 15
"""Per cent of the groups."""


INTENDED = (
    "Research and teaching: lungs on frontal films. Not for patients. Trained on films of "
    "covid-chestxray-dataset (licence per film, mostly CC BY-NC-SA) and of Kermany et al. (CC BY 4.0) with masks of "
    "V7 Labs (CC BY 4.0), which include the lung behind the heart."
)


def recipe(epochs: int) -> SegmentationRecipe:
    """Small on purpose: it is used before everything else, on every film."""
    return SegmentationRecipe(
        title="Lungs on frontal films, the region behind the heart included",
        labels=("lungs",),
        loss="bce+dice",
        preprocess=Preprocess(size_px=256, channels=1),
        augmentation=Augmentation(
            rotate_degrees=12, zoom=0.2, shift=0.08, flip=0.5, brightness=0.25, contrast=0.3, moved=0.8
        ),
        schedule=Schedule(
            epochs=epochs,
            batch_films=8,
            learning_rate=1e-3,
            weight_decay=1e-2,
            decay="cosine",
            class_weights="none",
            patience=0,
        ),
    )


def masked_films(data: Path, simulated: Path | None) -> Index:
    """Films with a lung mask, each once; covid_seg joins so that its groups are known."""
    records = []
    for name in ("covid_chestxray", "sandrofab", HELD_OUT):
        records += list(read_source(name, data))
    if simulated:
        records += list(read_source("simulated", simulated))
    index = build_index(records, Path("/"), processes=1)
    table = index.table
    held = set(table["group_id"][table["source"] == HELD_OUT])
    told = table[table["left_out"].isna() & table["lung_mask"].notna() & table["duplicate_of"].isna()].copy()
    told["fold"] = [_fold(group) for group in told["group_id"]]
    told.loc[told["group_id"].isin(held), "fold"] = "external"
    return Index(told.reset_index(drop=True), index.root)


def _fold(group: str) -> str:
    place = seed_of("lungs", group) % 100
    return "tune" if place < TUNE else "test" if place < TUNE + TEST else "train"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--simulated", type=Path)
    parser.add_argument("--sources", nargs="+", default=["covid_chestxray", "sandrofab"])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    train(asked.data.resolve(), asked.simulated, asked.sources, asked.epochs, asked.out)


def train(data: Path, simulated: Path | None, sources: list[str], epochs: int, out: Path) -> None:
    index = masked_films(data, simulated.resolve() if simulated else None)
    table = index.table
    out.mkdir(parents=True, exist_ok=True)
    table.to_parquet(out / "films.parquet")
    fitted = table[table["fold"].isin(["train", "tune"]) & table["source"].isin(sources)].reset_index(drop=True)
    network, plan = start_segmenter(recipe(epochs), seed=0)
    masks = [index.root / path for path in fitted["lung_mask"]]
    frames, drawn = FrameCache(plan.preprocess), MaskCache(plan.preprocess)
    with watch("films") as progress:
        frames.fill(fitted, index.root, processes=1, progress=progress)
    drawn.fill(fitted, masks, processes=1)
    rows = {fold: np.flatnonzero((fitted["fold"] == fold).to_numpy()) for fold in ("train", "tune")}
    films = DrawnFilms(frames.view(fitted, index.root), (drawn.view(fitted, masks),), rows["train"], rows["tune"])
    OUT.print(pd.crosstab(table["source"], table["fold"]).to_string())
    with watch("epochs") as progress:
        result = fit_masks(network, films, plan, 0, checkpoint=out / "checkpoint.safetensors", progress=progress)
    if is_leader():
        result.history.to_csv(out / "history.csv", index=False)
        told = {"films": len(films.train), "sources": sources, "best_epoch": result.best_epoch, "seed": 0}
        finish(network, plan, fitted, index.root, told, out / "bundle")


def finish(
    network: Segmenter, plan: SegmentationRecipe, fitted: pd.DataFrame, root: Path, told: dict[str, Any], out: Path
) -> None:
    """Measure what is plausible on the masks of the films that were fitted, and write the bundle in full precision."""
    bundle = SegmenterBundle(
        title=plan.title,
        labels=plan.labels,
        recipe=plan,
        preprocess=plan.preprocess,
        engine=TorchEngine(network),
        threshold=plan.threshold,
        intended_use=INTENDED,
        provenance=told | {"versions": describe_versions()},
    )
    frames = FrameCache(plan.preprocess).view(fitted, root)
    tune = np.flatnonzero((fitted["fold"] == "tune").to_numpy())
    seen: dict[str, list[float]] = {"area_share": [], "balance": [], "border_share": []}
    for path, size in zip(fitted["lung_mask"], zip(fitted["height"], fitted["width"], strict=True), strict=True):
        sides = tell_sides(read_mask(root / path, size).astype(np.float32), HALF)
        told_of = measure(sides.right >= HALF, sides.left >= HALF)
        for name, values in seen.items():
            values.append(told_of[name])
    inside = bundle.probabilities(frames[tune])[:, 0]
    limits = {name: plausible_range(values) for name, values in seen.items()}
    limits["unsure_share"] = plausible_range([unsure_share(one, plan.threshold) for one in inside])
    save_segmenter(replace(bundle, plausible=limits), out)


if __name__ == "__main__":
    main()

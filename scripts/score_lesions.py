"""Score lesions as `hilum lesions` draws them, by the fold networks of a cross-validation, and write the bundle.

    python scripts/score_lesions.py --data DATA --folds DIR/NAME --out SCORES [--against DIR/OTHER]
    ... --bundle DIR/final/bundle --release src/hilum/bundles/lesions    the bundle with these figures, half precision

DIR/NAME is what scripts/train_lesions.py folds wrote. Figures are region Dice and IoU, and average precision of boxes,
with 95 % intervals over groups; --against adds the difference in Dice from another training on the same folds.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tiles import REFERENCE, tile_of, write_sheet

from hilum.boxes import GAP_SHARE, LEAST_SHARE, Box, LabelledBox, mask_boxes, merge_boxes
from hilum.bundle import Figure, figure_of, load_segmenter, save_segmenter
from hilum.cache import FrameCache
from hilum.console import OUT
from hilum.detection_metrics import detection_scores
from hilum.files import write_json
from hilum.index import build_index
from hilum.lesions import Lesions, segment_lesions
from hilum.lungs import lungs_bundle
from hilum.masks import read_mask
from hilum.overlap import overlap_scores, region_dice
from hilum.preprocess import Mask
from hilum.sources import read_source

LABELS = ("ggo", "consolidation", "cardiomediastinum")
BOXED = LABELS[:2]
FILMS = "covid_seg, films that show it, each by a network that never saw its group"
TRAINING = "five-fold twins of this"
COLOURS = {"ggo": (233, 180, 86), "consolidation": (0, 159, 230), "cardiomediastinum": (180, 120, 220)}
WORST = 20


@dataclass(frozen=True)
class Scored:
    """The films of a cross-validation: what was drawn by a person, and by a network that never saw the film's group."""

    table: pd.DataFrame
    """`film`, `group_id`, `fold`."""
    found: list[Lesions]
    reference: list[dict[str, Mask]]


def score_folds(folds: Path, data: Path) -> Scored:
    """Every film once, as `hilum lesions` draws it with its fold's network and the lungs that come with hilum."""
    table = pd.read_parquet(folds / "films.parquet")
    table = table[table["image_id"].str.startswith("covid_seg/")].reset_index(drop=True)  # others may have taught too
    index = build_index(list(read_source("covid_seg", data)), Path("/"), processes=1).table.set_index("image_id")
    table["film"] = [Path("/") / index["path"][image_id] for image_id in table["image_id"]]
    lungs = lungs_bundle()
    drawn: dict[Path, Lesions] = {}
    for fold in sorted(table["fold"].unique()):
        bundle = load_segmenter(folds / f"fold{fold}" / "bundle")
        films = table["film"][table["fold"] == fold].tolist()
        drawn |= {one.film: one for one in segment_lesions(films, bundle=bundle, lungs=lungs, processes=1)}
    refused = [film.name for film, one in drawn.items() if one.refusal]
    if refused:
        OUT.print(f"refused, and left out: {', '.join(refused)}")
    kept = table[[drawn[film].refusal is None for film in table["film"]]].reset_index(drop=True)
    found = [drawn[film] for film in kept["film"]]
    return Scored(kept, found, [reference_of(one, data) for one in found])


def reference_of(one: Lesions, data: Path) -> dict[str, Mask]:
    """What the radiologist drew on a film; nothing where there is no mask of a label."""
    size = one.size or (0, 0)
    told = {}
    for label in LABELS:
        path = mask_path(one.film, label, data)
        told[label] = read_mask(path, size, may_be_empty=True) if path.is_file() else np.zeros(size, bool)
    return told


def mask_path(film: Path, label: str, data: Path) -> Path:
    return data / "covid_seg" / "masks" / label / f"{film.stem}.png"


def mask_figures(scored: Scored) -> list[Figure]:
    """Dice and IoU of every label on the films that show it."""
    figures = []
    for label in LABELS:
        shown = [place for place, masks in enumerate(scored.reference) if masks[label].any()]
        groups = scored.table["group_id"].iloc[shown].tolist()
        scores = overlap_scores(
            [scored.found[place].masks[label] for place in shown],
            [scored.reference[place][label] for place in shown],
            groups,
            label=label,
        )
        figures += [figure_of(one, films=FILMS, groups=len(set(groups)), training=TRAINING) for one in scores]
    return figures


def box_figures(scored: Scored) -> list[Figure]:
    """Average precision of the boxes of both lesions, over all films."""
    reference = [
        [LabelledBox(label, box) for label in BOXED for box in boxes_of(masks[label])] for masks in scored.reference
    ]
    found = [[box for box in one.boxes if box.label in BOXED] for one in scored.found]
    groups = scored.table["group_id"].tolist()
    figures = []
    for told in detection_scores(reference, found, groups):
        OUT.print(f"{told.label}: {told.boxes} boxes drawn on {told.films} films, {told.found} found", highlight=False)
        kinds = (("ap50", told.ap50, told.ap50_interval), ("ap", told.ap, told.ap_interval))
        for metric, value, bounds in kinds:
            if value is None:
                continue
            low, high = bounds or (None, None)
            figures.append(
                Figure(
                    metric=metric,
                    label=told.label,
                    films="covid_seg, all films, each by a network that never saw its group",
                    n=len(scored.found),
                    groups=len(set(groups)),
                    value=round(value, 4),
                    low=None if low is None else round(low, 4),
                    high=None if high is None else round(high, 4),
                    training=TRAINING,
                )
            )
    return figures


def boxes_of(mask: Mask) -> list[Box]:
    """The boxes of a person's mask, by the rule of those of a network's."""
    pieces = mask_boxes(mask, least_area_px=LEAST_SHARE * mask.size)
    return merge_boxes(pieces, side_px=max(mask.shape), gap_share=GAP_SHARE)


def film_table(scored: Scored, data: Path, out: Path) -> pd.DataFrame:
    """A row a film and label shown on it; what was drawn is written beside, for cards to outline."""
    rows = []
    for one, masks, group in zip(scored.found, scored.reference, scored.table["group_id"], strict=True):
        for label in LABELS:
            if not masks[label].any():
                continue
            drawn = out / "drawn" / f"{one.film.stem}-{label}.png"
            drawn.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(drawn), one.masks[label].astype(np.uint8) * 255)
            rows.append(
                {
                    "film": one.film,
                    "mask": mask_path(one.film, label, data),
                    "drawn": drawn,
                    "group": group,
                    "label": label,
                    "set": FILMS,
                    "dice": region_dice(one.masks[label], masks[label]),
                    "flags": "; ".join(one.flags),
                }
            )
    table = pd.DataFrame(rows)
    table.to_csv(out / "worst.csv", index=False)
    return table


def write_worst(scored: Scored, table: pd.DataFrame, out: Path) -> None:
    """A sheet a label of the films with the lowest Dice: the reference green."""
    place = {one.film: number for number, one in enumerate(scored.found)}
    for label in LABELS:
        lowest = table[table["label"] == label].nsmallest(WORST, "dice")
        tiles = [
            tile_of(
                film,
                (
                    (scored.reference[place[film]][label], REFERENCE),
                    (scored.found[place[film]].masks[label], COLOURS[label]),
                ),
                f"{dice:.2f} {film.stem[:22]}",
            )
            for film, dice in zip(lowest["film"], lowest["dice"], strict=True)
        ]
        write_sheet(tiles, out / f"worst-{label}.png")


def difference(table: pd.DataFrame, other: pd.DataFrame, label: str) -> str:
    """Mean difference in Dice on the same films, with its interval over groups."""
    both = table[table["label"] == label].merge(other[other["label"] == label], on="film", suffixes=("", "_other"))
    gain = (both["dice"] - both["dice_other"]).groupby(both["group"]).agg(["sum", "count"]).to_numpy()
    rng = np.random.default_rng(0)
    drawn = gain[rng.integers(len(gain), size=(2000, len(gain)))].sum(1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
    mean = gain[:, 0].sum() / gain[:, 1].sum()
    return f"{label}: Dice {mean:+.3f} [{low:+.3f}, {high:+.3f}], {len(both)} films, {len(gain)} groups"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--release", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    data, out = asked.data.resolve(), asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    scored = score_folds(asked.folds, data)
    figures = mask_figures(scored) + box_figures(scored)
    for one in figures:
        said = f"{one.metric:5} {one.value:.3f} [{one.low}, {one.high}] n={one.n} ({one.groups}) {one.label}"
        OUT.print(said, highlight=False)
    write_json(out / "figures.json", [one.model_dump() for one in figures])
    table = film_table(scored, data, out)
    write_worst(scored, table, out)
    if asked.against:
        other = film_table(score_folds(asked.against, data), data, out / "against")
        for label in LABELS:
            OUT.print(difference(table, other, label), highlight=False)
    if asked.release:
        release(asked.bundle, figures, data, asked.release)


def release(bundle: Path, figures: list[Figure], data: Path, folder: Path) -> None:
    """Write the bundle with its figures, its weights in half precision."""
    table = build_index(list(read_source("covid_seg", data)), Path("/"), processes=1).films
    whole = replace(load_segmenter(bundle), figures=tuple(figures))
    frames = FrameCache(whole.preprocess)
    frames.fill(table, Path("/"), processes=1)
    released = save_segmenter(whole, folder, halved_on=frames.view(table, Path("/"))[:])
    OUT.print(released.digest, released.agreement)


if __name__ == "__main__":
    main()

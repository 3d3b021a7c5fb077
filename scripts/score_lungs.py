"""Score lungs bundles on films they were not trained on, look at the worst, and write the one to release.

    python scripts/score_lungs.py --data DATA --bundle OUT/bundle --films OUT/films.parquet --out SCORES
    ... --children CHILDREN/bundle            another training, on children alone, scored on adults
    ... --release src/hilum/bundles/lungs     the bundle with these figures, in half precision

Figures are region Dice and IoU, means over films at the films' own size, with 95 % intervals over groups.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from tiles import REFERENCE, tile_of, write_sheet

from hilum.bundle import Figure, SegmenterBundle, figure_of, load_segmenter, save_segmenter
from hilum.cache import FrameCache
from hilum.console import OUT
from hilum.files import write_json
from hilum.lungs import Lungs, segment_lungs
from hilum.masks import read_mask
from hilum.overlap import overlap_scores, region_dice
from hilum.pixels import read_facts
from hilum.preprocess import Mask


@dataclass(frozen=True)
class Scored:
    """Films with a reference mask each, in words, and whose label it is."""

    films: str
    label: str
    table: pd.DataFrame
    """Columns `film`, `mask`, `group`."""


def sets(films: pd.DataFrame, data: Path) -> dict[str, Scored]:
    """What a bundle is scored on, by name."""
    table = pd.DataFrame(
        {
            "film": [Path("/") / path for path in films["path"]],
            "mask": [Path("/") / path for path in films["lung_mask"]],
            "group": films["group_id"],
            "source": films["source"],
            "fold": films["fold"],
        }
    )
    adults, children = table["source"] == "covid_chestxray", table["source"] == "sandrofab"
    test = table["fold"] == "test"
    seg = pd.read_csv(data / "covid_seg" / "index.csv", dtype=str)
    told = {
        "adults, test": Scored(
            "covid_chestxray, test fold, V7 masks, groups left out of training", "lungs", table[adults & test]
        ),
        "children, test": Scored(
            "sandrofab (Kermany), test fold, V7 masks, groups left out of training", "lungs", table[children & test]
        ),
        "adults": Scored("covid_chestxray, all films, V7 masks", "lungs", table[adults]),
    }
    words = {
        "lungs_v7": ("covid_seg, V7 masks, groups left out of training", "lungs"),
        "lungs": ("covid_seg, radiologist's masks (drawn by another hand and rule)", "lungs"),
        "right_lung": ("covid_seg, radiologist's masks (drawn by another hand and rule)", "right lung"),
        "left_lung": ("covid_seg, radiologist's masks (drawn by another hand and rule)", "left lung"),
    }
    for folder, (said, label) in words.items():
        told[folder] = Scored(said, label, _masked(seg, data, folder))
    return told


def _masked(seg: pd.DataFrame, data: Path, folder: str) -> pd.DataFrame:
    rows = []
    for file, group in zip(seg["file"], seg["group_id"], strict=True):
        mask = data / "covid_seg" / "masks" / folder / f"{Path(file).stem}.png"
        if mask.is_file():
            rows.append({"film": data / file, "mask": mask, "group": group})
    return pd.DataFrame(rows)


Drawn = dict[Path, Lungs]
"""What a bundle drew, film by film: several sets score the same films."""


def draw(bundle: SegmenterBundle, films: list[Path], drawn: Drawn) -> list[Lungs]:
    """The films' lungs; those not yet known are drawn."""
    missing = [film for film in dict.fromkeys(films) if film not in drawn]
    drawn.update((one.film, one) for one in segment_lungs(missing, bundle=bundle, processes=1))
    return [drawn[film] for film in films]


def score(asked: Scored, found: list[Lungs], training: str) -> tuple[list[Figure], pd.DataFrame]:
    """Dice and IoU of a set, and every film's Dice and flags."""
    table = asked.table.reset_index(drop=True)
    predicted, reference, kept, flags = [], [], [], []
    for place, lungs in enumerate(found):
        drawn = {"right lung": lungs.right, "left lung": lungs.left}.get(asked.label, lungs.both)
        if drawn is None:
            continue
        predicted.append(drawn)
        reference.append(_reference(table["mask"][place], lungs.film))
        kept.append(place)
        flags.append("; ".join(lungs.flags))
    told = table.iloc[kept].reset_index(drop=True)
    told["dice"] = [region_dice(one, other) for one, other in zip(predicted, reference, strict=True)]
    told["flags"] = flags
    groups = told["group"].tolist()
    scores = overlap_scores(predicted, reference, groups, label=asked.label)
    figures = [
        figure_of(one, films=asked.films, groups=len(set(groups)), training=training)
        for one in scores
        if one.value is not None
    ]
    return figures, told


def _reference(path: Path, film: Path) -> Mask:
    facts = read_facts(film)
    return read_mask(path, (facts.height, facts.width), may_be_empty=True)


def sheet(found: list[Lungs], worst: pd.DataFrame, path: Path) -> None:
    """The worst films: reference green, drawn blue and orange; Dice, and `F` where the result was flagged."""
    tiles = [
        tile_of(
            lungs.film,
            ((_reference(mask, lungs.film), REFERENCE), (lungs.right, (255, 190, 0)), (lungs.left, (0, 190, 255))),
            f"{dice:.2f}{' F' if lungs.flags else ''} {lungs.film.stem[:22]}",
        )
        for lungs, mask, dice in zip(found, worst["mask"], worst["dice"], strict=True)
    ]
    write_sheet(tiles, path)


UNSEEN = ("lungs_v7", "adults, test", "lungs", "right_lung", "left_lung", "children, test")
ALIKE = ("adults, test", "children, test", "lungs_v7")
"""Drawn by the convention the bundle was taught."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--films", type=Path, required=True)
    parser.add_argument("--children", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--release", type=Path)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    films = pd.read_parquet(asked.films)
    everything = sets(films, asked.data.resolve())
    bundle = load_segmenter(asked.bundle)
    figures = _scored(bundle, {name: everything[name] for name in UNSEEN}, "this", asked.out / "worst.png")
    if asked.children:
        names = ("adults", "lungs_v7", "children, test")
        told = "the same network trained on sandrofab (children) alone"
        wanted = {name: everything[name] for name in names}
        figures += _scored(load_segmenter(asked.children), wanted, told, asked.out / "worst_children.png")
    write_json(asked.out / "figures.json", [one.model_dump() for one in figures])
    if asked.release:
        _release(replace(bundle, figures=tuple(figures)), films, asked.release)


def _scored(bundle: SegmenterBundle, wanted: dict[str, Scored], training: str, worst: Path) -> list[Figure]:
    """The figures of some sets, said and returned, and the sheet of the worst films drawn by the same convention."""
    told, tables = [], []
    drawn: Drawn = {}
    for name, asked in wanted.items():
        figures, table = score(asked, draw(bundle, list(asked.table["film"]), drawn), training)
        for one in figures:
            bounds = f"[{one.low}, {one.high}] n={one.n} groups={one.groups}"
            OUT.print(f"{one.metric:5} {one.value:.4f} {bounds} {one.label}: {one.films}; {training}", soft_wrap=True)
        told += figures
        tables.append(table.assign(set=name))
    rows = pd.concat(tables, ignore_index=True)
    rows.to_csv(worst.with_suffix(".csv"), index=False)
    alike = rows[rows["set"].isin(ALIKE) | (rows["set"] == "adults")].drop_duplicates("film")
    lowest = alike.nsmallest(20, "dice")
    sheet(draw(bundle, list(lowest["film"]), drawn), lowest, worst)
    return told


def _release(bundle: SegmenterBundle, films: pd.DataFrame, folder: Path) -> None:
    tune = films[(films["fold"] == "tune") & films["source"].isin(bundle.provenance["sources"])]
    frames = FrameCache(bundle.preprocess)
    frames.fill(tune, Path("/"), processes=1)
    released = save_segmenter(bundle, folder, halved_on=frames.view(tune, Path("/"))[:])
    OUT.print(released.digest, released.agreement, dict(released.plausible))


if __name__ == "__main__":
    main()

"""How well the view filter tells views, what it refuses, and what wrongly: the figures of docs/how-to/views.md.

    python scripts/make_view_films.py --root DATA --out FILMS
    python benchmarks/view_filter.py --films FILMS --root DATA --work DIR

Trains the recipes `view` and `projection` by grouped folds, then `view` without each source and without each kind of
picture that is no film, and counts. Pictures of scikit-image and pydicom are tried where those are installed with their
examples; nothing is trained on them. Ten minutes on two cores. Every share has its n, and a 95 % interval: Wilson's, of
groups where films of a group hang together.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from hilum.bundle import Bundle, load_bundle
from hilum.errors import UnreadableFilm
from hilum.index import Index
from hilum.pixels import read_film
from hilum.projection import SURE, ViewFilter, why_not
from hilum.recipe import changed, recipe_text
from hilum.records import View
from hilum.run import Run, train_run

REAL = ("covid_chestxray", "nih_subset", "sandrofab", "covid_seg", "rovai", "covid_qu_ex_sample")
HELD_OUT = ("covid_chestxray", "nih_subset", "sandrofab")
EVERY = 4
"""Of nih_subset's films so many-th one is changed."""
KINDS = ("noise", "gradient", "text", "chart", "limb", "plates", "photograph")
CLASSES = ("frontal", "lateral", "frontal_inverted", "lateral_inverted", "other")


@dataclass
class Row:
    """A line of a table: of which films the filter is right."""

    what: str
    hits: NDArray[np.bool_]
    groups: NDArray[np.str_]

    def __str__(self) -> str:
        """`what | hits of n (share, interval) | groups`. A group counts as a hit by the share of its films that are."""
        by_group = pd.Series(self.hits.astype(float)).groupby(self.groups).mean()
        low, high = wilson(float(self.hits.mean()), len(by_group))
        return (
            f"| {self.what} | {int(self.hits.sum())} of {len(self.hits)} | {len(by_group)} | "
            f"{self.hits.mean():.3f} [{low:.3f}, {high:.3f}] |"
        )


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n."""
    z = 1.959964
    middle, half = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, required=True, help="what scripts/make_view_films.py wrote")
    parser.add_argument("--root", type=Path, required=True, help="folder of the prepared data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for the runs")
    told = parser.parse_args()
    index = Index.load(told.films / "index.parquet")
    show("Grouped folds", folds(index, told.work))
    show("Never trained on", unseen(told.root, told.work))
    for source in HELD_OUT:
        show(f"Without {source}", without(index, told.work, source))
    show("Without a kind of picture", (row for kind in KINDS for row in without(index, told.work, kind)))
    show("Films of a source not trained on, changed", perturbed(index, told.work / "without-nih_subset"))
    show("PA against AP", projections(index, told.work))


def show(title: str, rows: Iterable[Row | str]) -> None:
    print(f"\n{title}\n")
    print("| what | films | groups | share |\n|---|---|---|---|")
    for row in rows:
        print(row, flush=True)


def run_of(index: Index, folder: Path, name: str, changes: dict[str, str]) -> Run:
    return train_run(changed(recipe_text(name), changes), None, folder, given=index)


def told_of(run: Run, fold: str) -> pd.DataFrame:
    """Predictions of a fold with what they mean: `view`, `upright`, and the film's source, group and kind."""
    table = run.predictions[run.predictions["fold"] == fold]
    films = run.index.films
    # Worn copies and a source's copies of another's films are trained on; counted is every picture once.
    copies = films[["duplicate_of", "near_duplicate_of"]].notna().any(axis=1)
    counted = ~films["image_id"].str.endswith("-worn") & (~copies | films["source"].isin(KINDS))
    films = films[counted][["image_id", "source", "group_id", "label_original"]]
    table = table.drop(columns=[name for name in ("source", "group_id") if name in table]).merge(films, on="image_id")
    shares = {view: table[f"p.{view}"] + table.get(f"p.{view}_inverted", 0) for view in ("frontal", "lateral", "other")}
    table["view"] = pd.DataFrame(shares).idxmax(axis=1)
    inverted = table["p.frontal_inverted"] + table["p.lateral_inverted"]
    table["inverted"] = (inverted > (table["p.frontal"] + table["p.lateral"])) & (table["view"] != "other")
    table["p_lateral"] = shares["lateral"]
    table["passes"] = 1 - table["p.frontal"] < SURE
    return table


def row(what: str, table: pd.DataFrame, hits: pd.Series) -> Row:
    return Row(what, hits.to_numpy(bool), table["group_id"].to_numpy(str))


def folds(index: Index, work: Path) -> Iterator[Row | str]:
    table = told_of(run_of(index, work / "folds", "view", {}), "test")
    real = table[table["source"].isin(REAL)]
    of = {name: real[real["reference"] == name] for name in CLASSES}
    chests = pd.concat([of["frontal"], of["lateral"]])
    auc = roc_auc_score(chests["reference"] == "lateral", chests["p_lateral"])
    yield f"| real lateral against frontal films, AUC {auc:.4f} | {len(chests)} | {chests['group_id'].nunique()} | |"
    inside = chests[chests["source"] == "covid_chestxray"]
    auc = roc_auc_score(inside["reference"] == "lateral", inside["p_lateral"])
    yield f"| the same inside covid_chestxray, AUC {auc:.4f} | {len(inside)} | {inside['group_id'].nunique()} | |"
    yield row("frontal films pass", of["frontal"], of["frontal"]["passes"])
    yield row("frontal films told frontal", of["frontal"], of["frontal"]["view"] == "frontal")
    yield row("lateral films told lateral", of["lateral"], of["lateral"]["view"] == "lateral")
    yield row("lateral films refused", of["lateral"], ~of["lateral"]["passes"])
    yield row("CT slices refused", of["other"], ~of["other"]["passes"])
    for name in ("frontal", "lateral"):
        theirs = of[f"{name}_inverted"]
        yield row(f"inverted {name} films told inverted", theirs, theirs["inverted"])
        yield row(f"inverted {name} films refused", theirs, ~theirs["passes"])
        yield row(f"{name} films not told inverted", of[name], ~of[name]["inverted"])
    drawn = table[table["source"].isin(KINDS)]
    for kind, theirs in drawn.groupby("source"):
        yield row(f"{kind} refused", theirs, ~theirs["passes"])


def without(index: Index, work: Path, source: str) -> Iterator[Row]:
    """The source's films, told by a filter that has seen none of it."""
    changes = {
        "split.method": "fractions",
        "split.test": "0.0",
        "split.hold_out_sources": f'["{source}"]',
        "judgement.resamples": "100",
    }
    table = told_of(run_of(index, work / f"without-{source}", "view", changes), "external")
    for name in CLASSES:
        theirs = table[table["reference"] == name]
        if len(theirs):
            kind = name.removesuffix("_inverted")
            right = (theirs["view"] == kind) & (theirs["inverted"] == name.endswith("_inverted"))
            yield row(f"{source}, {name}: told so", theirs, right)
            done = theirs["passes"] if name == "frontal" else ~theirs["passes"]
            yield row(f"{source}, {name}: {'passes' if name == 'frontal' else 'refused by'} the gate", theirs, done)


CHANGES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "as they are": lambda film: film,
    "turned by 10 degrees": lambda film: turned(film, 10),
    "a tenth cut off every side": lambda film: inner(film, 0.1),
    "a quarter cut off the top": lambda film: film[film.shape[0] // 4 :],
    "a black border of a quarter": lambda film: np.pad(film, film.shape[0] // 4),
    "a white border of a tenth": lambda film: np.pad(film, film.shape[0] // 10, constant_values=1),
    "gamma 2": lambda film: film**2,
    "gamma 0.5": lambda film: film**0.5,
    "a third of the contrast": lambda film: 0.33 + film / 3,
    "80 pixels a side": lambda film: cv2.resize(film, (80, 80), interpolation=cv2.INTER_AREA),
    "mirrored": lambda film: np.ascontiguousarray(film[:, ::-1]),
    "lying on the side": lambda film: np.ascontiguousarray(np.rot90(film)),
    "upside down": lambda film: np.ascontiguousarray(film[::-1, ::-1]),
}


def turned(film: NDArray[np.float32], degrees: float) -> NDArray[np.float32]:
    height, width = film.shape
    return cv2.warpAffine(film, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), (width, height))


def inner(film: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    top, left = (int(side * share) for side in film.shape)
    return film[top:-top, left:-left]


def loaded(bundle: Bundle) -> ViewFilter:
    made = ViewFilter()
    made.__dict__["views"] = bundle  # in place of the released one
    return made


def perturbed(index: Index, folder: Path) -> Iterator[Row]:
    """Films of nih_subset that pass the filter trained without it, changed in ways films differ."""
    tried = loaded(load_bundle(folder))
    theirs = index.films[(index.films["source"] == "nih_subset") & index.films["label.frontal"]][::EVERY]
    films = [read_film(index.path(path)).pixels for path in theirs["path"]]
    for what, change in CHANGES.items():
        frames = np.stack([tried.preprocess.frame(np.ascontiguousarray(change(film), np.float32)) for film in films])
        passes = pd.Series([why_not(look, "", (View.FRONTAL,)) is None for look in tried.looks(frames)])
        yield row(f"{what}: pass", theirs, passes)


def unseen(root: Path, work: Path) -> Iterator[Row | str]:
    """Pictures of other packages and the one limb, told by the bundle that is released."""
    tried = loaded(load_bundle(work / "folds"))
    groups = {"leg (dicom_samples)": [root / "dicom_samples" / "RG3_J2KI.dcm"]}
    groups["chests (dicom_samples)"] = [root / "dicom_samples" / n for n in ("CR-MONO1-10-chest.dcm", "RG1_J2KI.dcm")]
    groups["photographs of scikit-image"] = examples("skimage", "data", (".png", ".jpg"))
    groups["CT, MR and other DICOM of pydicom"] = examples("pydicom", "data/test_files", (".dcm",))
    for what, paths in groups.items():
        looks = {}
        for path in paths:
            try:
                film = read_film(path).pixels if path.suffix == ".dcm" else grey(path)
            except UnreadableFilm:
                continue
            looks[path.name] = tried.looks(tried.preprocess.frame(film)[None])[0]
        if looks:
            refused = [why_not(look, "", (View.FRONTAL,)) is not None for look in looks.values()]
            yield Row(f"{what}: refused", np.array(refused), np.array(list(looks)))
            through = [name for name, no in zip(looks, refused, strict=True) if not no]
            yield from (f"|   passes: {name} {looks[name]} | | | |" for name in through)


def examples(package: str, folder: str, endings: tuple[str, ...]) -> list[Path]:
    found = util.find_spec(package)
    if found is None or found.origin is None:
        return []
    return sorted(path for path in (Path(found.origin).parent / folder).iterdir() if path.suffix in endings)


def grey(path: Path) -> NDArray[np.float32]:
    """A picture without its colour: with it, decoding would refuse it before the filter sees it."""
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255


def projections(index: Index, work: Path) -> Iterator[Row | str]:
    run = run_of(index, work / "projection", "projection", {})
    table = run.predictions[run.predictions["fold"] == "test"]
    yield from told_projections(run, table, "folds over both")
    for source in ("covid_chestxray", "nih_subset"):
        alone = run_of(index, work / f"projection-{source}", "projection", {"films.sources": f'["{source}"]'})
        yield from told_projections(alone, alone.predictions[alone.predictions["fold"] == "test"], "folds inside")
        changes = {"split.method": "fractions", "split.test": "0.0", "split.hold_out_sources": f'["{source}"]'}
        other = run_of(index, work / f"projection-without-{source}", "projection", changes)
        yield from told_projections(
            other, other.predictions[other.predictions["fold"] == "external"], "trained without"
        )


def told_projections(run: Run, table: pd.DataFrame, how: str) -> Iterator[Row | str]:
    films = run.index.films[["image_id", "source", "group_id"]]
    table = table.drop(columns=[name for name in ("source", "group_id") if name in table]).merge(films, on="image_id")
    for source, theirs in table.groupby("source"):
        auc = roc_auc_score(theirs["reference"] == "AP", theirs["p.AP"])
        right = (theirs["p.AP"] >= 0.5) == (theirs["reference"] == "AP")
        sure = np.maximum(theirs["p.AP"], theirs["p.PA"]) >= 0.9
        counts = theirs["reference"].value_counts()
        yield row(f"{source}, {how} (PA {counts['PA']}, AP {counts['AP']}; AUC {auc:.3f})", theirs, right)
        yield row(f"{source}, {how}, where p is .9 or more", theirs[sure], right[sure])


if __name__ == "__main__":
    main()

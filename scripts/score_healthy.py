"""Measure what the lesions bundle draws where there is nothing to draw, and on films with pneumonia beside them.

    python scripts/score_healthy.py --data DATA --out SCORES [--bundle BUNDLE] [--folds DIR/NAME] [--severity FILE]

Films without a finding should have no lesion. Those of a set that BUNDLE was trained on are drawn by the network of
DIR/NAME that never saw their group, all others by BUNDLE. A network that draws nothing wherever it sees a hospital
whose healthy films it was taught draws nothing on that hospital's ill either: the area under the curve of the involved
share, healthy against pneumonia within one set, would fall to .5.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from fit_severity import FINAL, networks

from hilum.bundle import SegmenterBundle
from hilum.console import OUT, table, watch
from hilum.index import build_index
from hilum.lesions import lesions_bundle, segment_lesions
from hilum.lesions.severity import read_fit, scores_of
from hilum.lungs import lungs_bundle
from hilum.metrics import Ranking, bootstrap, interval, resampled_groups
from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL, PNEUMONIA, VIRAL_PNEUMONIA
from hilum.sources import read_source

SETS = ("nih_subset", "sandrofab")
SHARES = ("ggo_both", "consolidation_both", "involved_both")
ILL = (PNEUMONIA, BACTERIAL_PNEUMONIA, VIRAL_PNEUMONIA)


def films_of(data: Path) -> pd.DataFrame:
    """Frontal films without a finding or with pneumonia; columns `film`, `image_id`, `source`, `group_id`, `ill`.

    Films of COVID-19 are left out: they are of the collection whose outlines taught the network.
    """
    index = build_index([film for name in SETS for film in read_source(name, data)], Path("/"), processes=1)
    films = index.films
    healthy = films[f"label.{NORMAL}"].fillna(value=False).astype(bool)
    covid19 = films[f"label.{COVID19}"].fillna(value=False).astype(bool)
    ill = films[[f"label.{name}" for name in ILL]].fillna(value=False).astype(bool).any(axis=1) & ~healthy & ~covid19
    kept = films[healthy | ill]
    paths = [Path("/") / path for path in kept["path"]]
    return kept[["image_id", "source", "group_id"]].assign(film=paths, ill=ill[healthy | ill]).reset_index(drop=True)


def drawn(films: pd.DataFrame, final: SegmenterBundle, folds: Path | None, severity: Path | None) -> pd.DataFrame:
    """The shares of every film, and its Brixia score where there is a fit; NaN where a film was refused."""
    lungs, fit = lungs_bundle(), read_fit(severity) if severity else None
    rows = []
    with watch("draw lesions") as progress:
        for name, part in films.groupby("network"):
            bundle = final if name == FINAL or folds is None else lesions_bundle(folds / str(name) / "bundle")
            found = segment_lesions(part["film"].tolist(), bundle=bundle, lungs=lungs, processes=1)
            for image_id, one in zip(part["image_id"], found, strict=True):
                shares = {share: one.shares.get(share, np.nan) for share in SHARES}
                scores = scores_of(one.shares, final.digest, fit=fit) if one.shares else ()
                brixia = next((score.value for score in scores if score.name == "brixia"), np.nan)
                rows.append({"image_id": image_id, **shares, "brixia": brixia})
                progress(len(rows), len(films))
    return films.merge(pd.DataFrame(rows), on="image_id", validate="one_to_one")


def quartiles(values: pd.Series) -> str:
    low, median, high = np.percentile(values.dropna(), [25, 50, 75])
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


def area(films: pd.DataFrame) -> str:
    """AUROC of the involved share for pneumonia, with its interval over groups."""
    ranking = Ranking.of(films["ill"].to_numpy(), films["involved_both"].to_numpy())
    groups = pd.factorize(films["group_id"])[0]
    value = float(ranking.auroc(np.ones((1, len(films))))[0])
    units = films.groupby("ill")["group_id"].nunique().min()
    drawn_again = bootstrap(
        resampled_groups(groups.max() + 1), [(lambda weights: ranking.auroc(weights)[:, None], groups)]
    )
    low, high = interval(drawn_again[:, 0], value, units) or (np.nan, np.nan)
    return f"{value:.3f} [{low:.3f}, {high:.3f}], {len(films)} films, {groups.max() + 1} groups"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="default the one that comes with hilum")
    parser.add_argument("--folds", type=Path)
    parser.add_argument("--severity", type=Path, help="the fit that belongs to the bundle")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    films = films_of(asked.data.resolve())
    films["network"] = FINAL
    if asked.folds:
        known = pd.read_parquet(asked.folds / "films.parquet")["image_id"]
        films["network"] = networks(films, films[films["image_id"].isin(known)], asked.folds)
    told = drawn(films, lesions_bundle(asked.bundle), asked.folds, asked.severity)
    asked.out.mkdir(parents=True, exist_ok=True)
    told.to_csv(asked.out / "healthy.csv", index=False)
    lines = []
    for (source, ill), part in told.groupby(["source", "ill"]):
        shown = part.dropna(subset=["involved_both"])
        if shown.empty:
            continue
        brixia = quartiles(shown["brixia"]) if shown["brixia"].notna().any() else ""
        name = f"{source}, {'ill' if ill else 'no finding'}"
        lines.append((name, f"{len(shown)} of {len(part)}", *(quartiles(shown[share]) for share in SHARES), brixia))
    OUT.print(table("median [quartiles]", ("films", "n", "ground glass", "consolidation", "either", "Brixia"), lines))
    for source, part in told.dropna(subset=["involved_both"]).groupby("source"):
        if part["ill"].nunique() == 2:
            OUT.print(f"{source}: AUROC of the involved share, pneumonia against none: {area(part)}", highlight=False)


if __name__ == "__main__":
    main()

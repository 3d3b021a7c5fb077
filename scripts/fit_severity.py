"""Fit the severity scores: shares of the lungs that the lesions bundle draws, against what readers scored.

    python scripts/fit_severity.py --data DATA --folds DIR --bundle BUNDLE --out src/hilum/lesions/severity.json

DIR holds films.parquet (columns image_id and fold, of the covid_seg films) and fold0 ... fold4: FOLD is the bundle that
was trained without that fold's films. The scored films are films of covid_chestxray, and every film of covid_seg is one
of these as well. A film whose group has a film in covid_seg is therefore drawn by the bundle that was trained without
that group, any other film by BUNDLE; BUNDLE is trained on all of covid_seg, and is what the fit is for.

The networks take minutes. Shares are kept in DIR/severity_shares by the networks' digests, so that a second
fit takes seconds. With --outlines the radiologists' own outlines of covid_seg take the networks' place: the same
figures, told and not written, say how much of the error is the line's and the readers' own.
"""

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.bundle import SegmenterBundle
from hilum.console import OUT, table, watch
from hilum.errors import DataError
from hilum.files import sha256_file, write_json, written_aside
from hilum.index import build_index
from hilum.lesions import LESIONS, SHARES, ZONES, involved_shares, lesions_bundle, segment_lesions
from hilum.lesions.severity import SeverityFit
from hilum.lesions.severity_fitting import FLAGGED, REFUSED, fit_scores
from hilum.lungs import lungs_bundle
from hilum.masks import read_mask
from hilum.preprocess import Mask
from hilum.provenance import describe_versions
from hilum.sources import read_source

SCORED, OUTLINED = "covid_chestxray", "covid_seg"
BRIXIA, COHEN = "brixia_scores.csv", "cohen_severity_scores.csv"
READERS = {"S": "senior", "J": "junior"}
COLUMNS = {f"{letter}-Global": f"brixia:{reader}" for letter, reader in READERS.items()}
COLUMNS |= {f"{letter}-{zone}": f"brixia:{zone}:{reader}" for letter, reader in READERS.items() for zone in ZONES}
COLUMNS |= {"geographic_mean": "extent:three readers", "opacity_mean": "opacity:three readers"}
FINAL = "final"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared data sets")
    parser.add_argument("--folds", type=Path, help="films.parquet and fold0 ... fold4")
    parser.add_argument("--bundle", type=Path, help="the bundle trained on all of covid_seg")
    parser.add_argument("--out", type=Path, help="severity.json to write")
    parser.add_argument("--outlines", action="store_true", help="judge the radiologists' outlines; writes nothing")
    asked = parser.parse_args()
    if not asked.outlines and None in (asked.folds, asked.bundle, asked.out):
        parser.error("--folds, --bundle and --out are needed, or --outlines")
    films = indexed(asked.data.resolve())
    if asked.outlines:
        say(fit_scores(outlined(films, asked.data.resolve()), "none: drawn by radiologists"))
        return
    scored = with_scores(films, asked.data)
    scored["network"] = networks(scored, films[films["source"] == OUTLINED], asked.folds)
    final, lungs = lesions_bundle(asked.bundle), lungs_bundle()
    shares = drawn(scored, asked.folds, final, lungs)
    told = scored.merge(shares, on="image_id", validate="one_to_one")
    say_films(told)
    provenance = {
        "lungs_bundle": lungs.digest,
        "films_by_network": dict(Counter(told["network"])),
        "scores": {name: sha256_file(asked.data / SCORED / name) for name in (BRIXIA, COHEN)},
        "versions": describe_versions(),
    }
    fit = fit_scores(told, final.digest, provenance=provenance)
    say(fit)
    write_json(asked.out, fit.model_dump(mode="json"))


def indexed(data: Path) -> pd.DataFrame:
    """Films of both sets, in groups that reach across them; columns `image_id`, `source`, `group_id`, `path` ..."""
    records = [film for name in (SCORED, OUTLINED) for film in read_source(name, data)]
    with watch("check films") as progress:
        index = build_index(records, Path("/"), processes=1, progress=progress)
    return index.table


def with_scores(films: pd.DataFrame, data: Path) -> pd.DataFrame:
    """The scored films with readers' scores under the columns that the fit asks for; missing where not scored."""
    tables = []
    for name in (BRIXIA, COHEN):
        scores = pd.read_csv(data / SCORED / name).rename(columns=COLUMNS).drop(columns="filename")
        scores["image_id"] = _named(scores["image_id"])
        absent = ~scores["image_id"].isin(films["image_id"])
        OUT.print(f"{name}: {len(scores)} films scored, {absent.sum()} of them not in the data pack")
        tables.append(scores[~absent].set_index("image_id"))
    scores = pd.concat(tables, axis=1)
    used = films[films["image_id"].isin(scores.index)]
    unreadable = used["left_out"].notna()
    OUT.print(f"{len(used)} films scored by either; {unreadable.sum()} left out of the index")
    return used[~unreadable].merge(scores, left_on="image_id", right_index=True).reset_index(drop=True)


def _named(image_id: pd.Series) -> pd.Series:
    """The pack writes SET__STEM where an index has SET/STEM."""
    return image_id.astype("string").str.replace(rf"^({SCORED}|{OUTLINED})__", r"\1/", regex=True)


def networks(films: pd.DataFrame, taught: pd.DataFrame, folds: Path) -> pd.Series:
    """Which network has not seen a film's group: `fold0` ... `fold4`, or `final`.

    Args:
        films: with their `group_id`.
        taught: those of the same index that networks were trained on.
        folds: with films.parquet.

    Raises:
        DataError: a film that taught has no fold, or the films of a group lie in two: no network has not seen it.
    """
    told = pd.read_parquet(folds / "films.parquet")
    fold_of = dict(zip(_named(told["image_id"]), told["fold"], strict=True))
    fold = taught["image_id"].map(fold_of)
    if fold.isna().any():
        raise DataError(f"{folds / 'films.parquet'} names no fold for {fold.isna().sum()} films that taught")
    by_group = fold.groupby(taught["group_id"])
    torn = by_group.min() < by_group.max()
    if torn.any():
        raise DataError(f"{torn.sum()} groups have films in two folds of {folds}; no fold's network is free of them")
    network = {group: f"fold{int(number)}" for group, number in by_group.first().items()}
    return films["group_id"].map(lambda group: network.get(group, FINAL))


def drawn(scored: pd.DataFrame, folds: Path, final: SegmenterBundle, lungs: SegmenterBundle) -> pd.DataFrame:
    """Shares of every scored film, `flagged` and `refused`, each film drawn by its network."""
    parts = []
    for name, films in scored.groupby("network"):
        bundle = final if name == FINAL else lesions_bundle(folds / str(name))
        place = folds / "severity_shares" / f"{bundle.digest[:16]}-{lungs.digest[:16]}.parquet"
        known = pd.read_parquet(place) if place.is_file() else pd.DataFrame({"sha256": pd.Series(dtype=str)})
        missing = films[~films["sha256"].isin(known["sha256"])].drop_duplicates("sha256")
        if len(missing):
            known = pd.concat([known, measured(missing, bundle, lungs, str(name))], ignore_index=True)
            with written_aside(place) as aside:
                known.to_parquet(aside)
        parts.append(films[["image_id", "sha256"]].merge(known, on="sha256", validate="many_to_one"))
    return pd.concat(parts, ignore_index=True).drop(columns="sha256")


def measured(films: pd.DataFrame, bundle: SegmenterBundle, lungs: SegmenterBundle, name: str) -> pd.DataFrame:
    """One network's shares, a row a film."""
    paths = [Path("/") / path for path in films["path"]]
    rows = []
    with watch(f"lesions, {name}") as progress:
        found = segment_lesions(paths, bundle=bundle, lungs=lungs, processes=1)
        for sha256, lesions in zip(films["sha256"], found, strict=True):
            shares = {share: lesions.shares.get(share, np.nan) for share in SHARES}
            # The reason without the film's name: these are counted.
            why = lesions.refusal.replace(lesions.film.name, "the film") if lesions.refusal else None
            rows.append({"sha256": sha256, **shares, FLAGGED: bool(lesions.flags), REFUSED: why})
            progress(len(rows), len(paths))
    return pd.DataFrame(rows).astype({REFUSED: "string"})


def outlined(films: pd.DataFrame, data: Path) -> pd.DataFrame:
    """Scored films that radiologists outlined, with the shares of their outlines; films of both sets share a stem."""
    scored = with_scores(films, data)
    rows = []
    for image_id, path, *size in films[films["source"] == OUTLINED][["image_id", "path", "height", "width"]].itertuples(
        index=False
    ):
        masks = {name: _outline(data, Path(path), name, (size[0], size[1])) for name in (*LESIONS, *LUNGS)}
        right, left = (masks.pop(name) for name in LUNGS)
        shares = involved_shares(right, left & ~right, masks)
        rows.append({"stem": Path(image_id).name, **shares, FLAGGED: False, REFUSED: pd.NA})
    told = scored.assign(stem=[Path(image_id).name for image_id in scored["image_id"]])
    told = told.merge(pd.DataFrame(rows), on="stem", validate="one_to_one")
    say_films(told)
    return told


LUNGS = ("right_lung", "left_lung")


def _outline(data: Path, film: Path, name: str, size: tuple[int, int]) -> Mask:
    """A film's outline; empty where there is none of that name."""
    path = data / OUTLINED / "masks" / name / f"{film.stem}.png"
    return read_mask(path, size, may_be_empty=True) if path.is_file() else np.zeros(size, np.bool_)


def say_films(told: pd.DataFrame) -> None:
    """How many films, in how many groups, were drawn by whom, refused, or flagged."""
    if "network" in told:
        OUT.print("films drawn by:", _counted(told["network"]))
    OUT.print(f"{len(told)} films, {told['group_id'].nunique()} groups; {told[FLAGGED].sum()} with flagged lungs")
    for reason, films in Counter(told[REFUSED].dropna()).items():
        OUT.print(f"refused: {films}  {reason}", markup=False)
    halves = told[REFUSED].isna() & told["involved_both"].isna()
    OUT.print(f"one lung only, so that nothing is known of both: {halves.sum()}")


def _counted(names: pd.Series) -> str:
    counts: Mapping[str, int] = Counter(sorted(names))
    return ", ".join(f"{name} {films}" for name, films in counts.items())


def say(fit: SeverityFit) -> None:
    """Every line and every figure."""
    for line in fit.scores:
        sum_of = " + ".join(f"{value:.3f} {kind}" for value, kind in zip(line.coefficients, line.kinds, strict=True))
        title = f"\n{line.name} = {line.intercept:.3f} + {sum_of}; penalty {line.penalty}; {line.groups} groups"
        rows = [
            (
                one.metric,
                one.of,
                str(one.n),
                f"{one.value:.3f}",
                "" if one.low is None else f"{one.low:.3f}-{one.high:.3f}",
            )
            for one in line.figures
        ]
        OUT.print(table(title, ("figure", "of", "n", "value", "95 %"), rows, right=("n", "value")))
        for reason, number in line.left_out.items():
            OUT.print(f"left out: {number}  {reason}", markup=False)


if __name__ == "__main__":
    main()

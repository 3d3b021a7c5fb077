"""Write a bundle's notes: what its card tells beyond the manifest, from scripts/notes/NAME.toml and score tables.

    python scripts/note_bundles.py --bundle src/hilum/bundles/view
    python scripts/note_bundles.py --bundle src/hilum/bundles/lungs --films SCORES/worst.csv --trained-on films.parquet
    ... --name lungs            where the folder has another name
    python scripts/note_bundles.py --bundle src/hilum/bundles/covid19-frontal --audited RUN

--films takes tables as scripts/score_lungs.py writes them: columns `film`, `mask`, `dice`, `set`; `label` where a
bundle draws several; `drawn`, a mask's file, where other weights than the bundle's own were scored. The worst films of
each set become failure examples: outlines, no pixel of a film; a classifier's are the films that its run was surest and
wrong about. --trained-on takes the table of films that a training
wrote: columns `source`, `group_id`, `fold`. --audited takes the run that a bundle was released from, after
`hilum audit RUN`, and attaches its audit; a bundle that computes with anything else is refused. Weights stay as they
are; the bundle's digest changes.
"""

import argparse
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.audit.attached import attach_audit, audit_of
from hilum.bundle import SegmenterBundle, load_segmenter
from hilum.bundle.notes import Contour, DataSet, Failure, Notes, with_notes
from hilum.cache import read_for
from hilum.card import contour_of
from hilum.console import OUT
from hilum.errors import DataError
from hilum.lungs import segment_lungs
from hilum.masks import film_sized, read_mask
from hilum.pixels import read_facts
from hilum.preprocess import Mask
from hilum.run import Run

KNOWN = Path(__file__).parent / "notes"
NEEDED = ("film", "mask", "dice", "set")
THIRDS = ("upper", "middle", "lower")


def scored_films(tables: Sequence[Path], skip: Sequence[str], label: str) -> pd.DataFrame:
    """The rows of all score tables but those of skipped sets, a label in each.

    Raises:
        DataError: a table lacks a column.
    """
    read = []
    for path in tables:
        table = pd.read_csv(path)
        missing = [name for name in NEEDED if name not in table]
        if missing:
            raise DataError(f"{path} has no column {', '.join(missing)}; write it with scripts/score_lungs.py")
        read.append(table if "label" in table else table.assign(label=label))
    rows = pd.concat(read, ignore_index=True)
    return rows[~rows["set"].isin(skip) & rows["dice"].notna()]


def worst_films(rows: pd.DataFrame, each: int) -> pd.DataFrame:
    """The lowest of every set and label, no film twice for a label."""
    ranked = rows.sort_values("dice", kind="stable").drop_duplicates(["film", "label"])
    return ranked.groupby(["set", "label"], sort=False).head(each)


def failures(bundle: SegmenterBundle, rows: pd.DataFrame, told: Mapping[str, Any]) -> Iterator[Failure]:
    """The films of these rows, by outlines."""
    for row in rows.to_dict("records"):
        film = Path(row["film"])
        facts = read_facts(film)
        size = facts.height, facts.width
        reference = read_mask(Path(row["mask"]), size, may_be_empty=True)
        drawn = drawn_mask(bundle, film, str(row["label"]), size, row.get("drawn"))
        masks = {"reference": reference, "bundle": drawn}
        contours = [
            Contour.model_validate({"label": row["label"], "drawn_by": by, "path": contour_of(mask)})
            for by, mask in masks.items()
            if contour_of(mask)
        ]
        yield Failure(
            film=film.name,
            films=told["sets"].get(row["set"], row["set"]),
            metric="dice",
            value=round(float(row["dice"]), 4),
            reason=told["seen"].get(film.name) or difference(reference, drawn),
            aspect=round(size[1] / size[0], 4),
            contours=tuple(contours),
        )


def drawn_mask(bundle: SegmenterBundle, film: Path, label: str, size: tuple[int, int], drawn: Any) -> Mask:
    """What was scored: the mask the table names, or what this bundle draws.

    Raises:
        DataError: the film cannot be read, or the bundle has no such label.
    """
    if isinstance(drawn, str):
        return read_mask(Path(drawn), size, may_be_empty=True)
    if label not in bundle.labels:
        raise DataError(f"the bundle draws {', '.join(bundle.labels)}, not {label}: correct the table's column label")
    if bundle.labels == ("lungs",):
        lungs = next(segment_lungs([film], bundle=bundle, processes=1)).both
        if lungs is not None:
            return lungs
    read = read_for(bundle.preprocess, film)
    if isinstance(read, str):
        raise DataError(read)
    inside = bundle.probabilities(np.stack([bundle.preprocess.frame(read.pixels)]))[0, bundle.labels.index(label)]
    return film_sized(bundle.preprocess, inside, size) >= bundle.threshold


def difference(reference: Mask, drawn: Mask) -> str:
    """How two masks differ, in words that are measured and explain nothing."""
    if not drawn.any():
        return "nothing was drawn"
    if not reference.any():
        return "drawn where the reference has nothing"
    apart = reference ^ drawn
    shares = [part.sum() / max(1, apart.sum()) for part in np.array_split(apart, 3, axis=0)]
    third = int(np.argmax(shares))
    area = f"{100 * drawn.sum() / reference.sum():.0f} % of the reference's area is drawn"
    return f"{area}; {100 * shares[third]:.0f} % of the difference is in the film's {THIRDS[third]} third"


def wrong_films(run: Run, each: int) -> Iterator[Failure]:
    """Of each class, the tested films that a run gave most of their probability to another, over its repeats."""
    tested = run.predictions[run.predictions["fold"] == "test"]
    films = run.index.films.set_index("image_id")
    for name in run.recipe.class_names:
        theirs = tested[tested["reference"] == name]
        missed = 1 - theirs.groupby("image_id")[f"p.{name}"].mean()
        for image_id, value in missed.sort_values(ascending=False, kind="stable").head(each).items():
            film = films.loc[image_id]
            yield Failure(
                film=Path(film["path"]).name,
                films=f"{film['source']}, tested by networks that never saw the patient",
                metric="probability",
                value=round(float(value), 4),
                reason=f"of another class than {name}, the reference standard; nobody looked why",
                aspect=round(float(film["width"]) / float(film["height"]), 4),
            )


def counted(data: Sequence[DataSet], trained_on: Path | None) -> tuple[DataSet, ...]:
    """Data sets with the films and groups of the train fold, where the table of a training is given."""
    if trained_on is None:
        return tuple(data)
    table = pd.read_parquet(trained_on)
    train = table[table["fold"] == "train"].groupby("source")["group_id"].agg(["size", "nunique"])
    return tuple(
        one.model_copy(
            update={"films": int(train["size"][one.source]), "groups": int(train["nunique"][one.source])}
            if one.source in train.index
            else {}
        )
        for one in data
    )


def attach(bundle: Path, run: Run) -> None:
    """Give a released bundle the audit of the run it was released from.

    Raises:
        BundleError: the bundle is another than the run's, notes aside.
        DataError: the run was not audited.
    """
    audit, films = audit_of(run), run.index.table
    if audit is None:
        raise DataError(f"{run.folder} was not audited; run: hilum audit {run.folder}")
    written = attach_audit(bundle, audit, films={*films["image_id"], *films["path"]})
    OUT.print(f"{written}: {audit.verdict}", soft_wrap=True, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--name", help="of the file in scripts/notes; default the folder's")
    parser.add_argument("--films", type=Path, nargs="*", default=[], help="score tables")
    parser.add_argument("--trained-on", type=Path)
    parser.add_argument("--audited", type=Path, metavar="RUN", help="the run that the bundle was released from")
    parser.add_argument("--worst", type=int, default=3, help="films of each set and label")
    asked = parser.parse_args()
    told = tomllib.loads((KNOWN / f"{asked.name or asked.bundle.resolve().name}.toml").read_text(encoding="utf-8"))
    own = {name: told.pop(name, default) for name, default in (("sets", {}), ("skip", []), ("seen", {}))}
    notes = Notes.model_validate(told)
    found: tuple[Failure, ...] = ()
    if asked.films:
        bundle = load_segmenter(asked.bundle)
        rows = worst_films(scored_films(asked.films, own["skip"], bundle.labels[0]), asked.worst)
        found = tuple(failures(bundle, rows, own))
    elif asked.audited:
        found = tuple(wrong_films(Run(asked.audited), asked.worst))
    digest = with_notes(
        asked.bundle, notes.model_copy(update={"failures": found, "data": counted(notes.data, asked.trained_on)})
    )
    OUT.print(f"{asked.bundle}: {len(found)} failure examples, digest {digest}", soft_wrap=True, highlight=False)
    if asked.audited:
        attach(asked.bundle, Run(asked.audited))


if __name__ == "__main__":
    main()

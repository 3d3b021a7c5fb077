"""Anybody's model as a subject: a CSV of its scores, and an index of the films they are of.

    image_id,p.covid19,fold          one probability: the label against films assessed and found without it
    path,p.covid19,p.normal          one a class, summing to 1
    image_id,score,reference         a score of the label named with --label, or of the one label of the index

`fold` (train, tune, test, external) says who was trained on; without it every film counts as tested. `reference` is the
class by the reference standard, where it is not what the index says.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.audit.subject import JUDGED, Division, Subject, frames_of
from hilum.errors import DataError, UsageError, unknown_name
from hilum.index import LABEL, Index
from hilum.preprocess import Preprocess
from hilum.selection import TARGET
from hilum.split import FOLDS

PROBABILITY = "p."
SCORE = "score"
WORDS = ("image_id", "path", "fold", "reference")
REST = "other"
"""The second class of a model that gives one probability."""
SMALL = Preprocess(size_px=32, channels=1)
"""What thumbnails are made of where no bundle says how films are prepared."""
SPELT = {"val": "tune", "valid": "tune", "validation": "tune"}


def subject_of_scores(file: Path, index: Index, *, label: str | None = None) -> Subject:
    """Read the scores and put films, reference standard and folds together.

    Args:
        file: the CSV.
        index: of at least the films scored.
        label: the label that `score` is of.

    Raises:
        UsageError: a label that the index does not have.
        DataError: no such file, a column missing, films unknown or twice, values no probability can have.
    """
    table = _scored_films(_read(file), index, file.name)
    classes, probabilities = _classes(table, index, label, file.name)
    table = table.assign(**{f"{PROBABILITY}{name}": values for name, values in probabilities.items()})
    table, notes = _with_reference(table, index, classes, file.name)
    films = index.films.set_index("image_id").loc[table["image_id"]].reset_index()
    films = films.assign(**{TARGET: table["reference"].astype("string").to_numpy()})
    judged = table[table["fold"].isin(JUDGED)]
    columns = ["image_id", "fold", "reference", *(f"{PROBABILITY}{name}" for name in classes)]
    return Subject(
        title=f"scores in {file.name}",
        kind="scores",
        classes=classes,
        films=films,
        root=index.root,
        index_digest=index.digest,
        predictions=judged[columns].assign(repeat=0).reset_index(drop=True),
        divisions=_divisions(table),
        look=small_films,
        notes=notes,
    )


def small_films(subject: Subject) -> NDArray[np.uint8]:
    """(F, 32, 32) thumbnails of a subject's films, stretched as they are.

    Raises:
        DataError: a film is not the one that was indexed.
    """
    return np.asarray(frames_of(subject, SMALL)[slice(None)], np.uint8)


def _read(file: Path) -> pd.DataFrame:
    if not file.is_file():
        raise DataError(f"scores {file} do not exist")
    try:
        # Only an empty cell is missing: a film may be called "NA".
        table = pd.read_csv(file, dtype=dict.fromkeys(WORDS, "string"), keep_default_na=False, na_values=[""])
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{file.name} is not a readable CSV file") from error
    if "image_id" not in table and "path" not in table:
        raise DataError(f"{file.name} names no films; it needs a column image_id or path")
    if table.empty:
        raise DataError(f"{file.name} holds no film; write a row a film")
    return table


def _scored_films(table: pd.DataFrame, index: Index, name: str) -> pd.DataFrame:
    """The rows of films in use, with their image_id and fold."""
    if "image_id" not in table:
        table = table.assign(image_id=_by_path(table["path"], index))
    known = table["image_id"].isin(index.table["image_id"])
    if not known.all():
        raise DataError(
            f"{int((~known).sum())} of {len(table)} rows of {name} name films that the index does not have; index them "
            "too, or leave the rows out"
        )
    twice = int(table["image_id"].duplicated().sum())
    if twice:
        raise DataError(f"{twice} rows of {name} are of films that have a row already; keep one row a film")
    fold = table["fold"].str.strip().str.lower().replace(SPELT) if "fold" in table else pd.Series("test", table.index)
    strange = int((~fold.isin(FOLDS)).sum())
    if strange:
        raise DataError(f"{strange} rows of {name} have a fold that is none of {', '.join(FOLDS)}")
    if not fold.isin(JUDGED).any():
        raise DataError(f"{name} has no row in the test fold; a model is judged by films it was not trained on")
    return table.assign(fold=fold.astype("string"))


def _by_path(path: pd.Series, index: Index) -> pd.Series:
    """Image ids by the path an index states, or by where that film lies; missing where none fits."""
    relative = dict(zip(index.table["path"], index.table["image_id"], strict=True))
    absolute = {str((index.root / one).resolve()): image_id for one, image_id in relative.items()}
    found = [relative.get(one) or absolute.get(str(Path(one).resolve())) for one in path.fillna("")]
    return pd.Series(found, index=path.index, dtype="string")


def _classes(
    table: pd.DataFrame, index: Index, label: str | None, name: str
) -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """The classes and their probabilities, by column; missing values in rows that nothing is judged by are allowed."""
    columns = [str(column) for column in table if str(column).startswith(PROBABILITY)]
    if not columns and SCORE not in table:
        raise DataError(f"{name} states no probability; it needs a column p.LABEL for each class, or score")
    if not columns:
        columns, label = [SCORE], label or _only_label(index, name)
    judged = table["fold"].isin(JUDGED)
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = int((~((values >= 0) & (values <= 1)).all(axis=1) & judged).sum())
    if bad:
        raise DataError(f"{bad} rows of {name} have a value that is missing or outside [0, 1]; give probabilities")
    if len(columns) == 1:
        first = label if columns == [SCORE] else columns[0].removeprefix(PROBABILITY)
        return (str(first), REST), {str(first): values[:, 0], REST: 1 - values[:, 0]}
    apart = int(((np.abs(values.sum(axis=1) - 1) > 1e-2) & judged).sum())
    if apart:
        raise DataError(f"the p.* of {apart} rows of {name} do not sum to 1; give one p.LABEL for independent labels")
    classes = tuple(column.removeprefix(PROBABILITY) for column in columns)
    values = values / values.sum(axis=1, keepdims=True)
    return classes, {one: values[:, c] for c, one in enumerate(classes)}


def _only_label(index: Index, name: str) -> str:
    if len(index.labels) != 1:
        raise UsageError(f"say with --label what the scores of {name} are of; the index has {', '.join(index.labels)}")
    return index.labels[0]


def _with_reference(
    table: pd.DataFrame, index: Index, classes: tuple[str, ...], name: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows whose class is known and whose film is in use; how many others were left aside, a sentence each."""
    if "reference" in table:
        reference = table["reference"].str.strip()
        strange = int((~reference.isin(classes) & reference.notna()).sum())
        if strange:
            raise DataError(f"{strange} rows of {name} have a reference that is none of {', '.join(classes)}")
    else:
        reference = _index_reference(table, index, classes)
    in_use = table["image_id"].isin(index.films["image_id"])
    notes = []
    for what, rows in (("the index leaves out", ~in_use), ("no class is known of", in_use & reference.isna())):
        if rows.any():
            notes.append(f"{int(rows.sum())} films that {what} are left aside")
    kept = in_use & reference.notna()
    table = table.assign(reference=reference)[kept].reset_index(drop=True)
    judged = table["reference"][table["fold"].isin(JUDGED)]
    missing = [one for one in classes if one not in set(judged)]
    if missing:
        raise DataError(f"no film judged in {name} is {' or '.join(missing)}; without it nothing can be told apart")
    return table, tuple(notes)


def _index_reference(table: pd.DataFrame, index: Index, classes: tuple[str, ...]) -> pd.Series:
    """The class of each row by the index's labels; missing where none or several fit."""
    labels = index.table.set_index("image_id").loc[table["image_id"]]
    named = classes[:1] if classes[1:] == (REST,) and LABEL + REST not in labels else classes
    for one in named:
        if LABEL + one not in labels:
            raise unknown_name("label (column p.*)", one, index.labels)
    says = labels[[LABEL + one for one in named]]
    if len(named) == 1:
        word = says.iloc[:, 0].map({True: classes[0], False: classes[1]})
    else:
        true = says.fillna(value=False).to_numpy(bool)
        word = pd.Series(np.array(classes, object)[true.argmax(axis=1)], says.index).where(true.sum(axis=1) == 1)
    return pd.Series(word.to_numpy(object), index=table.index, dtype="string")


def _divisions(table: pd.DataFrame) -> tuple[Division, ...]:
    """One division where some films were trained on, none where nobody says."""
    if not table["fold"].isin(["train", "tune"]).any():
        return ()
    return (Division(0, "0", table[["image_id", "fold"]]),)

"""Index: one row a radiograph, every file opened, hashed, compared, grouped; what is left out stays, with its reason.

The one table everything else starts from. Building it opens each file once, in parallel; facts are remembered by path,
size and time of change, so a second run, or one that was interrupted, opens only what is new.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hilum import duplicates
from hilum.checks import CHECKED, Facts, check_films
from hilum.errors import DataError
from hilum.files import remove_asides, written_aside
from hilum.parallel import Progress, Spread, spread
from hilum.records import Radiograph, View

FORMAT = 1
LABEL = "label."
ATTRIBUTE = "attr."

DESCRIBED = {
    "image_id": "string",
    "source": "string",
    "path": "string",
    "modality": "string",
    "view": "string",
    "view_detail": "string",
    "patient_id": "string",
    "group_id": "string",
    "sex": "string",
    "age_years": "Float64",
    "acquired": "string",
    "manufacturer": "string",
    "model": "string",
    "label_original": "string",
    "licence": "string",
    "lung_mask": "string",
    "notes": "string",
}
"""Columns a source fills, with their pandas types; labels and attributes follow, then the checked facts."""

HEADER = "header_"
SAID = tuple(one.name.removeprefix(HEADER) for one in fields(Facts) if one.name.startswith(HEADER))
"""Columns a DICOM header may fill."""

COMPARED = {"duplicate_of": "string", "near_duplicate_of": "string"}

RowPairs = NDArray[np.int64]


@dataclass(frozen=True)
class Index:
    """The table of films and the folder its paths are relative to.

    Columns: `DESCRIBED`, one nullable `label.NAME` each (missing = not assessed), one text `attr.NAME` each,
    `checks.CHECKED` (with `left_out`: why a film must not be used, missing where it may) and `COMPARED`.
    """

    table: pd.DataFrame
    root: Path

    @property
    def films(self) -> pd.DataFrame:
        """The rows in use."""
        return self.table[self.table["left_out"].isna()].reset_index(drop=True)

    @property
    def left_out(self) -> pd.DataFrame:
        """The rows not in use, each with its reason."""
        return self.table[self.table["left_out"].notna()].reset_index(drop=True)

    @property
    def labels(self) -> list[str]:
        """Label names, in column order."""
        return [name.removeprefix(LABEL) for name in self.table.columns if name.startswith(LABEL)]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of what the table says, whatever its row order and wherever the films lie."""
        told = self.table.drop(columns=["path", "lung_mask"]).sort_values("image_id")
        told = told.reindex(columns=sorted(told.columns))
        digest = hashlib.sha256()
        for start in range(0, max(len(told), 1), 10_000):  # a part at a time: the text of all is larger than the table
            part = told.iloc[start : start + 10_000]
            digest.update(part.to_csv(index=False, header=start == 0, na_rep="", lineterminator="\n").encode())
        return digest.hexdigest()

    def path(self, relative: str) -> Path:
        """Where a film lies."""
        return self.root / relative

    def leave_out(self, rows: pd.Series, reason: str) -> "Index":
        """The same index with the marked rows (boolean, aligned to the table) left out for `reason`."""
        kept = self.table["left_out"]
        return replace(self, table=self.table.assign(left_out=kept.mask(rows & kept.isna(), reason)))

    def save(self, path: Path) -> None:
        """Write Parquet; the root and the digest travel in its metadata. What a killed run left of it is removed."""
        arrow = pa.Table.from_pandas(self.table, preserve_index=False)
        told = {"format": FORMAT, "root": str(self.root.resolve()), "digest": self.digest}
        arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), b"hilum": json.dumps(told).encode()})
        remove_asides(path.parent, of=path)
        with written_aside(path) as aside:
            pq.write_table(arrow, aside, compression="zstd")

    @classmethod
    def load(cls, path: Path, *, root: Path | None = None) -> "Index":
        """Read an index; `root` says where the films lie now, when that is not where they were.

        Raises:
            DataError: no such file, no index, or of another format.
        """
        if not path.is_file():
            raise DataError(f"index {path} does not exist; make one with: hilum index SOURCE --root DIR --out {path}")
        try:
            arrow = pq.read_table(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{path.name} is not a readable Parquet file") from error
        told = json.loads((arrow.schema.metadata or {}).get(b"hilum", b"{}"))  # any other Parquet file has no such key
        if told.get("format") != FORMAT:
            raise DataError(f"{path.name} is not an index of format {FORMAT}; make it anew with: hilum index")
        table = typed(arrow.to_pandas())
        return cls(table=table, root=root or Path(told["root"]))


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with hilum's nullable types, whatever the file format made of them."""
    types = {**DESCRIBED, **CHECKED, **COMPARED}
    labels = {name: "boolean" for name in table.columns if name.startswith(LABEL)}
    attributes = {name: "string" for name in table.columns if name.startswith(ATTRIBUTE)}
    wanted = {name: kind for name, kind in {**types, **labels, **attributes}.items() if name in table.columns}
    return table.astype(wanted)


def build_index(
    records: Iterable[Radiograph],
    root: Path,
    *,
    processes: int | None = None,
    progress: Progress | None = None,
    spread: Spread = spread,
) -> Index:
    """Check every film and put the table together.

    Args:
        records: what the sources say; image ids must differ.
        root: folder the stored paths are relative to (paths outside it stay absolute).
        processes: how many decode at once; default one a core.
        progress: called with films done and films in all.
        spread: hands the films out.

    Raises:
        DataError: no record at all, or two with one image id.
    """
    table = describe_records(records, root)
    paths = [root / path for path in table["path"]]
    facts = check_films(paths, processes=processes, progress=progress, spread=spread)
    return Index(table=complete(table, facts), root=root)


def describe_records(records: Iterable[Radiograph], root: Path) -> pd.DataFrame:
    """What the sources say, as a typed table without checked facts."""
    rows = [_row(record, root) for record in records]
    if not rows:
        raise DataError(f"no radiograph found under {root}; see the expected layout with: hilum sources show NAME")
    table = pd.DataFrame.from_records(rows)
    extra = sorted(name for name in table.columns if name.startswith((LABEL, ATTRIBUTE)))
    table = typed(table.reindex(columns=[*DESCRIBED, *extra]))
    twice = table["image_id"][table["image_id"].duplicated()]
    if len(twice):
        raise DataError(f"image id '{twice.iloc[0]}' occurs more than once; rename one of the files or sources")
    return table


def _row(record: Radiograph, root: Path) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(record, name) for name in DESCRIBED}
    row["path"] = _relative(record.path, root)
    row["lung_mask"] = _relative(record.lung_mask, root) if record.lung_mask else None
    row["view"] = record.view.value if record.view else None
    row["acquired"] = record.acquired.isoformat() if record.acquired else None
    row["notes"] = "; ".join(record.notes) or None
    row |= {LABEL + name: value for name, value in record.labels.items()}
    return row | {ATTRIBUTE + name: value for name, value in record.attributes.items()}


def _relative(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path.resolve()).as_posix()


def complete(table: pd.DataFrame, facts: Iterable[Facts]) -> pd.DataFrame:
    """Add the checked facts, what DICOM headers say where the source is silent, duplicates and groups.

    Args:
        table: what `describe_records` made.
        facts: of its rows, in their order.
    """
    names = [one.name for one in fields(Facts)]
    told = pd.DataFrame.from_records([attrgetter(*names)(fact) for fact in facts], columns=names, index=table.index)
    said = told[[name for name in names if name.startswith(HEADER)]]
    said = said.rename(columns=lambda name: name.removeprefix(HEADER)).astype({name: DESCRIBED[name] for name in SAID})
    table = pd.concat([table, told[list(CHECKED)].astype(CHECKED)], axis=1)
    pairs = alike(table)
    group = groups(table, pairs, said["patient_id"])
    table = mark_duplicates(_fill_from_headers(table, said), pairs)
    return table.assign(group_id=group)


def _fill_from_headers(table: pd.DataFrame, said: pd.DataFrame) -> pd.DataFrame:
    """Take view, sex, age, device, date and patient from the DICOM header where the source states none.

    Where both state something and disagree, the source's word stays and `notes` say so.
    """
    for name in SAID:
        ours, theirs = table[name], said[name]
        if name == "view":  # a source that says no more than "frontal" leaves open what PA and AP answer
            ours = ours.mask((ours == View.FRONTAL) & theirs.isin([View.PA, View.AP]))
        table[name] = ours.fillna(theirs)
        differ = _differ(name, ours, theirs)
        if differ.any():
            note = f"DICOM header disagrees about {name}"
            table["notes"] = table["notes"].mask(differ, (table["notes"] + "; ").fillna("") + note)
    return table


def _differ(name: str, ours: pd.Series, theirs: pd.Series) -> pd.Series:
    """Where source and header contradict each other; headers' patient ids are hashed and prove nothing."""
    if name == "patient_id":
        return pd.Series(data=False, index=ours.index)
    if name == "age_years":
        return ((ours - theirs).abs() >= 1).fillna(value=False)
    return (ours.str.casefold() != theirs.str.casefold()).fillna(value=False)


def alike(table: pd.DataFrame) -> RowPairs:
    """(P, 2) rows that show the same picture, first < second.

    Of films with equal hashes each later one is paired with the first only, which stands for all of them: a picture
    that occurs a thousand times gives a thousand pairs, not half a million.
    """
    codes, texts = pd.factorize(table["phash"])
    first_row = np.full(len(texts), len(table), np.int64)
    hashed = np.flatnonzero(codes >= 0)
    np.minimum.at(first_row, codes[hashed], hashed)
    later = hashed[first_row[codes[hashed]] != hashed]
    copies = np.stack([first_row[codes[later]], later], axis=1)
    near = first_row[duplicates.near_pairs(duplicates.from_text(list(texts)))]
    return np.concatenate([copies, np.sort(near, axis=1)])


def mark_duplicates(table: pd.DataFrame, pairs: RowPairs) -> pd.DataFrame:
    """Fill `duplicate_of` (same bytes) and `near_duplicate_of` (same picture): the first such film's image id."""
    first = table["image_id"].groupby(table["sha256"]).transform("first")
    table["duplicate_of"] = first.where(first.notna() & (first != table["image_id"])).astype("string")
    ordered = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    later, earliest = np.unique(ordered[:, 1], return_index=True)
    near = pd.Series(pd.NA, index=table.index, dtype="string")
    near.iloc[later] = table["image_id"].iloc[ordered[earliest, 0]].to_numpy()
    table["near_duplicate_of"] = near.mask(table["duplicate_of"].notna())
    return table


def groups(table: pd.DataFrame, pairs: RowPairs, header_patient: pd.Series) -> pd.Series:
    """A name for each set of films that share a patient, a source's own group, their bytes or their picture.

    Patients are compared within their source only, by the source's id and by the header's: some films of a patient may
    state the one and some the other. A header's id that the source gives to several patients is a placeholder and
    joins nobody. A film with no patient id and no twin is a group of its own.
    """
    patient, header = (table["source"] + "\x00" + one for one in (table["patient_id"], header_patient))
    header = header.mask(patient.groupby(header).transform("nunique") > 1)
    names = _components(len(table), [patient, header, table["group_id"], table["sha256"]], pairs)
    first = table["image_id"].groupby(names).transform("min")
    return ("g-" + first.map(lambda text: hashlib.sha256(text.encode()).hexdigest()[:12])).astype("string")


def _components(count: int, keys: Iterable[pd.Series], pairs: RowPairs) -> NDArray[np.int32]:
    """Connected components of `count` films, joined by pairs and by equal values of a key (missing joins none).

    Every distinct value of a key is a node of its own, numbered after the films, that its films are tied to.
    """
    from scipy.sparse import coo_array  # a tenth of a second, for those who make an index only
    from scipy.sparse.csgraph import connected_components

    films, nodes, offset = [pairs[:, 0]], [pairs[:, 1]], count
    for key in keys:
        codes, known = pd.factorize(key)
        stated = np.flatnonzero(codes >= 0)
        films.append(stated)
        nodes.append(codes[stated] + offset)
        offset += len(known)
    ties = (np.concatenate(films), np.concatenate(nodes))
    graph = coo_array((np.ones(len(ties[0]), np.int8), ties), shape=(offset, offset))
    names: NDArray[np.int32] = connected_components(graph, directed=False)[1][:count]
    return names


def counted(reasons: pd.Series) -> Mapping[str, int]:
    """How many films were left out for each kind of reason (the text before the first colon), most frequent first."""
    return {str(kind): int(n) for kind, n in reasons.str.split(":").str[0].value_counts().items()}

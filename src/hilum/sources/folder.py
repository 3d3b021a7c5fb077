"""A folder of one's own films: a sub-folder per class, or a CSV that names them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import DataError, UsageError
from hilum.records import Radiograph
from hilum.sources.fields import age_of, date_of, modality_of, rest_of, sex_of, snake, stated, view_of
from hilum.sources.tables import DEFECT, ImageIds, films_under, read_rows

FIELDS = (
    "path",
    "label",
    "patient_id",
    "group_id",
    "view",
    "sex",
    "age",
    "date",
    "modality",
    "manufacturer",
    "model",
    "licence",
    "lung_mask",
)
"""What a column of the CSV can be mapped to, besides `label.NAME` for a column of NAME's true / false cells."""

_TRUTH = {"1": True, "1.0": True, "true": True, "yes": True, "y": True, "positive": True}
_TRUTH |= {"0": False, "0.0": False, "false": False, "no": False, "n": False, "negative": False}
_UNCERTAIN = frozenset({"-1", "-1.0", "uncertain"})
_SAME_NAMES: Mapping[str, str] = {}


def read_folder(
    root: Path, *, labels: Path | None = None, columns: Mapping[str, str] = _SAME_NAMES, source: str | None = None
) -> Iterator[Radiograph]:
    """Films of a local folder.

    Without `labels`, each sub-folder of `root` is a class: its films have that label True and the other classes
    False. With it, the CSV alone says which films there are.

    Args:
        root: Folder of the films; paths in the CSV are relative to it.
        labels: CSV with a column of paths. A `label` column holds one class per film, or several split by "|",
            and every class it names anywhere is assessed in each film that has an entry. A `label.NAME` column
            holds 1 / 0 (or true / false, yes / no); blank is not assessed, -1 is uncertain and noted as such.
        columns: What is called otherwise in the CSV, field to column: `{"path": "File", "label.edema": "Edema"}`.
        source: Name of the source; the folder's name unless given.

    Raises:
        DataError: the folder or the CSV is missing, or a cell cannot be understood.
        UsageError: `columns` names a field there is none of.
    """
    if not root.is_dir():
        raise DataError(f"the folder {root} does not exist; name the folder that holds the films")
    name = source or snake(root.resolve().name)
    return _from_classes(root, name) if labels is None else _from_table(root, labels, dict(columns), name)


def _from_classes(root: Path, name: str) -> Iterator[Radiograph]:
    films = films_under(root)
    if not films:
        raise DataError(f"no film lies under {root}; expected sub-folders of images, one per class")
    classes = {
        snake(film.relative_to(root).parts[0]): film.relative_to(root).parts[0] for film in films if _inside(film, root)
    }
    ids = ImageIds(name)
    for film in films:
        place = film.relative_to(root)
        own = snake(place.parts[0]) if _inside(film, root) else None
        yield Radiograph(
            image_id=ids.of(place.with_suffix("").as_posix(), place.as_posix()),
            source=name,
            path=film,
            labels={label: label == own for label in classes} if own else {},
            label_original=classes[own] if own else None,
            notes=("view is not stated",) if own else ("view is not stated", "the film lies in no class folder"),
        )


def _inside(film: Path, root: Path) -> bool:
    return film.parent != root


def _from_table(root: Path, table: Path, columns: dict[str, str], name: str) -> Iterator[Radiograph]:
    unknown = [field for field in columns if field not in FIELDS and not field.startswith("label.")]
    if unknown:
        raise UsageError(f"no field '{unknown[0]}' to map a column to; there are {', '.join(FIELDS)} and label.NAME")
    rows = list(read_rows(table, required=(columns.get("path", "path"), *columns.values())))
    header = rows[0].keys() if rows else ()
    same = {column: column for column in header if column in FIELDS or column.startswith("label.")}
    reader = _Reader(root=root, name=name, columns=same | columns)
    classes = sorted({label for row in rows for label in reader.named(row)})
    ids = ImageIds(name)
    for line, row in enumerate(rows, start=2):
        yield reader.film(row, line, classes, ids)


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """How to read a row: `columns` maps the fields that are there to their columns."""

    root: Path
    name: str
    columns: Mapping[str, str]

    def named(self, row: Mapping[str, str]) -> set[str]:
        """The classes a row names in its one `label` cell."""
        cell = stated(row.get(self.columns.get("label", "")))
        return {snake(part) for part in cell.split("|") if part.strip()}

    def film(self, row: Mapping[str, str], line: int, classes: Collection[str], ids: ImageIds) -> Radiograph:
        cells = {field: row.get(self.columns.get(field, ""), "") for field in FIELDS}
        if not cells["path"]:
            raise DataError(f"line {line} of the label table names no film; fill its path or remove the line")
        notes = [row[DEFECT]] if DEFECT in row else []
        named, place = self.named(row), Path(cells["path"])
        labels = ({label: label in named for label in classes} if named else {}) | self._assessed(row, line, notes)
        if not labels:
            notes.append("no label is stated")
        return Radiograph(
            image_id=ids.of(place.with_suffix("").as_posix(), place.as_posix()),
            source=self.name,
            path=self.root / place,
            labels=labels,
            label_original=cells["label"] or None,
            modality=modality_of(cells["modality"]),
            view=view_of(cells["view"], notes),
            view_detail=cells["view"] or None,
            patient_id=cells["patient_id"] or None,
            group_id=cells["group_id"] or None,
            sex=sex_of(cells["sex"], notes),
            age_years=age_of(cells["age"], notes),
            acquired=date_of(cells["date"], notes),
            manufacturer=cells["manufacturer"] or None,
            model=cells["model"] or None,
            licence=cells["licence"] or None,
            lung_mask=self.root / cells["lung_mask"] if cells["lung_mask"] else None,
            attributes=rest_of(row, {*self.columns.values(), DEFECT}),
            notes=tuple(notes),
        )

    def _assessed(self, row: Mapping[str, str], line: int, notes: list[str]) -> dict[str, bool]:
        """Labels from the `label.NAME` columns; blank and uncertain cells are not assessed."""
        labels = {}
        for field, column in self.columns.items():
            if not field.startswith("label."):
                continue
            label, cell = snake(field.removeprefix("label.")), stated(row.get(column)).lower()
            if cell in _UNCERTAIN:
                notes.append(f"{label} is uncertain")
            elif cell in _TRUTH:
                labels[label] = _TRUTH[cell]
            elif cell:
                raise DataError(f"line {line} of the label table, column '{column}': write 1, 0, -1 or leave it blank")
        return labels

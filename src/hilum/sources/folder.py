"""A folder of one's own films: a sub-folder per class, or a CSV that names them."""

from collections.abc import Iterator, Mapping
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
    columns = (
        {field: field for field in FIELDS if field in header}
        | {column: column for column in header if column.startswith("label.")}
        | columns
    )
    classes = sorted({snake(part) for row in rows for part in _parts(row, columns)})
    ids = ImageIds(name)
    for number, row in enumerate(rows, start=2):
        yield _row_film(row, number, root, columns, classes, ids, name)


def _parts(row: Mapping[str, str], columns: Mapping[str, str]) -> list[str]:
    return [part for part in stated(row.get(columns.get("label", ""))).split("|") if part.strip()]


def _row_film(
    row: Mapping[str, str],
    number: int,
    root: Path,
    columns: Mapping[str, str],
    classes: list[str],
    ids: ImageIds,
    name: str,
) -> Radiograph:
    def cell(field: str) -> str:
        return row.get(columns.get(field, ""), "")

    if not cell("path"):
        raise DataError(f"line {number} of the label table names no film; fill its path or remove the line")
    notes = [row[DEFECT]] if DEFECT in row else []
    place, mask = Path(cell("path")), cell("lung_mask")
    named = {snake(part) for part in _parts(row, columns)}
    labels = {label: label in named for label in classes} if named else {}
    labels |= _assessed(row, number, columns, notes)
    if not labels:
        notes.append("no label is stated")
    return Radiograph(
        image_id=ids.of(place.with_suffix("").as_posix(), place.as_posix()),
        source=name,
        path=root / place,
        labels=labels,
        label_original=cell("label") or None,
        modality=modality_of(cell("modality")),
        view=view_of(cell("view"), notes),
        view_detail=cell("view") or None,
        patient_id=cell("patient_id") or None,
        group_id=cell("group_id") or None,
        sex=sex_of(cell("sex"), notes),
        age_years=age_of(cell("age"), notes),
        acquired=date_of(cell("date"), notes),
        manufacturer=cell("manufacturer") or None,
        model=cell("model") or None,
        licence=cell("licence") or None,
        lung_mask=root / mask if mask else None,
        attributes=rest_of(row, {*columns.values(), DEFECT}),
        notes=tuple(notes),
    )


def _assessed(row: Mapping[str, str], number: int, columns: Mapping[str, str], notes: list[str]) -> dict[str, bool]:
    labels = {}
    for field, column in columns.items():
        if not field.startswith("label."):
            continue
        label, cell = snake(field.removeprefix("label.")), stated(row.get(column)).lower()
        if cell in _UNCERTAIN:
            notes.append(f"{label} is uncertain")
        elif cell in _TRUTH:
            labels[label] = _TRUTH[cell]
        elif cell:
            raise DataError(f"line {number} of the label table, column '{column}': write 1, 0, -1 or leave it blank")
    return labels

"""The pack layout: DATA/NAME/index.csv, one row per film, `file` relative to DATA.

The layout of the prepared data sets and of simulated cohorts. Columns: image_id, file, label, label_std, view,
projection, view_detail, patient_id, group_id, sex, age, date, modality, manufacturer, model, licence, lung_mask and
use_for_classification are understood; any other column goes to the attributes as it stands. Only `file` is required.
`label_std` holds one of the composite labels, or `other`. A `lung_mask` cell says that NAME/masks/lungs/STEM.png
should exist (or names the file itself).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from hilum.records import PNEUMONIA, Modality, Radiograph, View
from hilum.sources.causes import COMPOSITE, Diagnosis, diagnosis_of, labels_of
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import age_of, date_of, modality_of, rest_of, sex_of, stated, view_of
from hilum.sources.tables import DEFECT, ImageIds, read_rows

_USED = frozenset(
    (
        *("image_id", "file", "dataset", "label", "label_std", "view", "projection", "view_detail"),
        *("patient_id", "group_id", "sex", "date", "modality", "manufacturer", "model", "licence"),
        "use_for_classification",
    )
)
_SET_LEVEL = "dataset-level"


def read_pack(
    name: str, root: Path, *, classes: Sequence[str] | None = None, known_absent: Collection[str] = ()
) -> Iterator[Radiograph]:
    """Films of the data set `name` under `root`, as its index.csv lists them.

    Args:
        name: Folder of the data set; becomes the films' source.
        root: What `file` is relative to.
        classes: The labels a film of this set can carry; those that occur in `label_std` unless given.
        known_absent: Labels that are False for every film with a diagnosis.
    """
    rows = list(read_rows(root / name / "index.csv", required=("file",)))
    occurring = {row.get("label_std", "") for row in rows}
    chosen = classes if classes is not None else [label for label in COMPOSITE if label in occurring]
    ids = ImageIds(name)
    for row in rows:
        yield _radiograph(row, name, root, ids, chosen, known_absent)


def pack_source(sheet: Datasheet) -> Source:
    """A source that exists in the pack layout only."""

    def read(folder: Path) -> Iterator[Radiograph]:
        classes = sheet.labels or None
        return read_pack(folder.name, folder.parent, classes=classes, known_absent=sheet.known_absent)

    return Source(sheet=sheet, read=read)


def _radiograph(
    row: Mapping[str, str],
    name: str,
    root: Path,
    ids: ImageIds,
    classes: Sequence[str],
    known_absent: Collection[str],
) -> Radiograph:
    notes = [row[DEFECT]] if DEFECT in row else []
    path = _film(row["file"], name, root)
    modality, view = _modality_view(row, notes)
    stem = row.get("image_id", "").removeprefix(f"{name}__") or path.stem
    return Radiograph(
        image_id=ids.of(stem, Path(row["file"]).as_posix()),
        source=name,
        path=path,
        labels=_labels(row, classes, known_absent, notes),
        label_original=row.get("label") or None,
        modality=modality,
        view=view,
        view_detail=row.get("view_detail") or None,
        patient_id=row.get("patient_id") or None,
        group_id=row.get("group_id") or None,
        sex=sex_of(row.get("sex"), notes),
        age_years=_age(row.get("age", ""), notes),
        acquired=date_of(row.get("date"), notes),
        manufacturer=row.get("manufacturer") or None,
        model=row.get("model") or None,
        licence=row.get("licence") or None,
        lung_mask=_lung_mask(row.get("lung_mask", ""), path.stem, name, root, notes),
        attributes=rest_of(row, _USED | {DEFECT}),
        notes=tuple(notes),
    )


def _film(file: str, name: str, root: Path) -> Path:
    """`file` under the pack root; under the data set's own folder where it only exists there."""
    path, own = root / file, root / name / file
    return own if own.is_file() and not path.is_file() else path


def _labels(
    row: Mapping[str, str], classes: Sequence[str], known_absent: Collection[str], notes: list[str]
) -> dict[str, bool]:
    standard = row.get("label_std", "")
    if not standard:
        return {}
    if row.get("use_for_classification") == "0":
        notes.append("the source marks the film as not for classification; its label is left out")
        return {}
    if standard == PNEUMONIA:
        original = diagnosis_of(row.get("label", ""))
        cause_stated = original is not None and original.cause_stated
        return labels_of(Diagnosis(PNEUMONIA, cause_stated), notes, classes=classes, known_absent=known_absent)
    diagnosis = Diagnosis(standard) if standard in COMPOSITE else None
    return labels_of(diagnosis, notes, classes=classes, known_absent=known_absent)


def _modality_view(row: Mapping[str, str], notes: list[str]) -> tuple[Modality, View | None]:
    projection, body_part = row.get("projection", ""), row.get("body_part", "CHEST")
    if projection == "ct_slice" or "CT" in (row.get("view"), row.get("modality")):
        return "CT", View.OTHER
    if stated(body_part).upper() not in ("", "CHEST"):
        notes.append("the body part is not the chest")
        return modality_of(row.get("modality")), View.OTHER
    if stated(row.get("view")):
        if _SET_LEVEL in row.get("view_detail", ""):
            notes.append("view is stated for the whole set only")
        return modality_of(row.get("modality")), view_of(row.get("view"), notes)
    return modality_of(row.get("modality")), view_of(projection, notes)


def _age(text: str, notes: list[str]) -> float | None:
    if _SET_LEVEL in text:
        notes.append("age is stated for the whole set only")
        return None
    return age_of(text, notes)


def _lung_mask(cell: str, stem: str, name: str, root: Path, notes: list[str]) -> Path | None:
    if not cell:
        return None
    for mask in (root / name / "masks" / "lungs" / f"{stem}.png", root / cell, root / name / cell):
        if mask.is_file():
            return mask
    notes.append("a lung mask is announced but its file is missing")
    return None

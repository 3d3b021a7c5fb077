"""The metadata.csv of the COVID-19 image data collection, whose columns several other sets borrowed.

The table changed names as it grew (`Patientid`, `patientid`; `pO2 saturation`, `pO2_saturation`) and its findings
turned from flat words ("COVID-19", "SARS") into paths ("Pneumonia/Viral/SARS"); every edition is read the same way.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hilum.records import Radiograph
from hilum.sources.causes import diagnosis_of, labels_of
from hilum.sources.fields import age_of, date_of, modality_of, rest_of, sex_of, snake, view_of
from hilum.sources.tables import DEFECT, ImageIds, read_rows

_USED = frozenset({"patientid", "sex", "finding", "view", "modality", "filename", "folder", "license", DEFECT})


def read_collection(name: str, folder: Path) -> Iterator[Radiograph]:
    """Films as `folder`/metadata.csv lists them, in its order; they lie in `images` where no folder is named."""
    ids = ImageIds(name)
    for row in collection_rows(folder / "metadata.csv"):
        yield film_of(row, name, folder / (row.get("folder") or "images") / row["filename"], ids)


def collection_rows(table: Path) -> Iterator[dict[str, str]]:
    """Rows with their column names in snake case; a row that names no film says nothing about one and is skipped."""
    for row in read_rows(table, required=("filename", "finding")):
        cells = {snake(column): cell for column, cell in row.items()}
        if cells["filename"]:
            yield cells


def film_of(row: Mapping[str, str], name: str, path: Path, ids: ImageIds) -> Radiograph:
    notes = [row[DEFECT]] if DEFECT in row else []
    finding, view, modality = row["finding"], row.get("view", ""), modality_of(row.get("modality"))
    return Radiograph(
        image_id=ids.of(path.stem, path.name),
        source=name,
        path=path,
        labels=labels_of(diagnosis_of(finding), notes),
        label_original=finding or None,
        modality=modality,
        view=view_of("CT" if modality == "CT" else view, notes),
        view_detail=view or None,
        patient_id=row.get("patientid") or None,
        sex=sex_of(row.get("sex"), notes),
        age_years=age_of(row.get("age"), notes),
        acquired=date_of(row.get("date"), notes),
        licence=row.get("license") or None,
        attributes=rest_of(row, _USED),
        notes=tuple(notes),
    )

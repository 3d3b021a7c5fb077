"""RSNA pneumonia detection challenge (2018): 26,684 NIH films read again by radiologists, with boxes.

**Who and where.** Radiological Society of North America and Society of Thoracic Radiology (Shih, Wu, Halabi and
eighteen readers); films of NIH ChestX-ray14, Bethesda, USA. **Counts** of the stage-2 training set: 26,684 films:
lung opacity 6,012, no lung opacity but not normal 11,821, normal 8,851; 30,227 rows (one per box). **Devices** not
stated. DICOM, 1024 x 1024; view, sex and age stand in each file's header.

**Labels**: `lung_opacity` (suspicious for pneumonia; Target = 1) and `normal`. The class "No Lung Opacity / Not
Normal" is neither. The readers saw the film alone, so pneumonia as a diagnosis was not assessed. **Licence**: the
challenge's rules, non-commercial and research; films as NIH. **Beware**: `patientId` names the film, not the
patient; the true patient is known only through the mapping file, and without it films of one patient can land on
both sides of a split.

References:
    Shih et al. Radiol Artif Intell 1:e180041, 2019, doi 10.1148/ryai.2019180041.
    Wang et al. CVPR 2017, doi 10.1109/CVPR.2017.369.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from hilum.errors import DataError
from hilum.records import COVID19, NORMAL, Radiograph, View
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.tables import ImageIds, read_rows

NAME = "rsna"
LUNG_OPACITY = "lung_opacity"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"

SHEET = Datasheet(
    name=NAME,
    title="RSNA pneumonia detection challenge 2018",
    what="26,684 frontal films judged by radiologists: lung opacity with boxes, normal, or neither.",
    who="Radiological Society of North America, Society of Thoracic Radiology",
    where="NIH Clinical Center, Bethesda, USA",
    devices="not stated",
    years="films 1992 to 2015, read again 2018",
    counts={"films": 26684, "lung opacity": 6012, "not normal": 11821, "normal": 8851, "rows": 30227},
    views="PA and AP, stated in the DICOM headers",
    labels=(LUNG_OPACITY, NORMAL, COVID19),
    known_absent=(COVID19,),
    licence="challenge rules: non-commercial and research; films as NIH ChestX-ray14",
    citation="Shih et al. Radiol Artif Intell 1:e180041, 2019, doi 10.1148/ryai.2019180041",
    homepages=(
        "https://www.rsna.org/rsnai/ai-image-challenge/rsna-pneumonia-detection-challenge-2018",
        "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge",
    ),
    obtain=(
        "accept the rules on Kaggle and download the challenge data into DATA/rsna",
        f"download {MAPPING} from the RSNA page as well: it alone tells the patients",
    ),
    layout=f"""
rsna/
  stage_2_train_labels.csv            patientId, x, y, width, height, Target
  stage_2_detailed_class_info.csv     patientId, class
  stage_2_train_images/*.dcm
  {MAPPING}   optional: patientId -> NIH film
""",
    caveats=(
        "patientId names the film; without the mapping file the patients are unknown",
        "lung opacity is what readers saw, not a diagnosis of pneumonia",
        "the films are among those of nih and of radiography_database",
    ),
)


def read(root: Path) -> Iterator[Radiograph]:
    """One record per film; boxes stay in the table, their number is an attribute."""
    targets: dict[str, list[bool]] = {}
    for row in read_rows(root / "stage_2_train_labels.csv", required=("patientId", "Target")):
        targets.setdefault(row["patientId"], []).append(row["Target"] == "1")
    classes = _classes(root / "stage_2_detailed_class_info.csv")
    origins = _origins(root / MAPPING)
    ids = ImageIds(NAME)
    for film, target in targets.items():
        notes = ["view, sex and age stand in the DICOM header only"]
        origin = origins.get(film)
        if origin is None:
            notes.append("the patient is unknown: patientId names the film")
        yield Radiograph(
            image_id=ids.of(film),
            source=NAME,
            path=root / "stage_2_train_images" / f"{film}.dcm",
            labels=_labels(any(target), classes.get(film), notes),
            label_original=classes.get(film),
            view=View.FRONTAL,
            patient_id=str(int(origin.split("_")[0])) if origin else None,
            attributes={"boxes": str(sum(target))} | ({"nih_film": origin} if origin else {}),
            notes=tuple(notes),
        )


def _classes(table: Path) -> dict[str, str]:
    if not table.is_file():
        return {}
    return {row["patientId"]: row["class"] for row in read_rows(table, required=("patientId", "class"))}


def _origins(mapping: Path) -> dict[str, str]:
    """NIH film name ("00000013_005") by challenge film, where the mapping file lies."""
    if not mapping.is_file():
        return {}
    try:
        entries = json.loads(mapping.read_text(encoding="utf-8"))
        return {entry["subset_img_id"]: Path(entry["img_id"]).stem for entry in entries}
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{mapping} is not the challenge's mapping file; download it again or remove it") from error


def _labels(opacity: bool, stated: str | None, notes: list[str]) -> dict[str, bool]:
    absent = dict.fromkeys(SHEET.known_absent, False)
    if stated is not None and opacity != (stated == "Lung Opacity"):
        notes.append("the two tables contradict each other about lung opacity; left without labels")
        return absent
    labels = {LUNG_OPACITY: opacity} | absent
    if opacity or stated is not None:
        labels[NORMAL] = stated == "Normal"
    return labels


SOURCE = Source(sheet=SHEET, read=read)

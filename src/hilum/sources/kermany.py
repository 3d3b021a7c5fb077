"""Guangzhou children's chest films (Kermany, Zhang, Goldbaum; 2018): normal against bacterial and viral pneumonia.

**Who and where.** Retrospective cohorts of children aged one to five, Guangzhou Women and Children's Medical Center;
AP films of routine care. **Counts** as distributed (Kaggle edition): train 1,341 normal and 3,875 pneumonia, test
234 and 390, val 8 and 8, together 5,856 films; 2,780 bacterial and 1,493 viral by file name. The Mendeley edition v2
puts the sixteen val films into train (1,349 and 3,883). **Devices** not stated; no sex, age or date per film.

**Labels**: two physicians graded each film, a third checked the evaluation set; bacterial or viral is told by the
file name alone (`personN_bacteria_M`). **Licence**: CC BY 4.0. **Beware**: children, so anatomy and disease differ
from adults'; the person number repeats within and between the causes, and nobody states whether it continues from
train to test; sixteen val films are too few to choose a model on.

References:
    Kermany et al. Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning. Cell
    172:1122-1131, 2018, doi 10.1016/j.cell.2018.02.010. Data: Mendeley rscbjbr9sj, doi 10.17632/rscbjbr9sj.
"""

from collections.abc import Iterator
from pathlib import Path

from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL, VIRAL_PNEUMONIA, Radiograph, View
from hilum.sources import kermany_names
from hilum.sources.causes import Diagnosis, labels_of
from hilum.sources.classes import ClassFilm, class_films
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.tables import ImageIds, not_laid_out, one_folder

NAME = "kermany"
FOLDS = ("train", "test", "val")
CLASSES = ("NORMAL", "PNEUMONIA")

SHEET = Datasheet(
    name=NAME,
    title="Chest X-ray images (pneumonia), Guangzhou children",
    what="5,856 AP films of children aged one to five: normal, bacterial and viral pneumonia.",
    who="Daniel Kermany, Kang Zhang, Michael Goldbaum (UC San Diego, Guangzhou Women and Children's Medical Center)",
    where="Guangzhou, China, one hospital",
    devices="not stated",
    years="published January 2018; acquisition not stated",
    counts={
        "films": 5856,
        "train normal": 1341,
        "train pneumonia": 3875,
        "test normal": 234,
        "test pneumonia": 390,
        "val normal": 8,
        "val pneumonia": 8,
        "bacterial": 2780,
        "viral": 1493,
    },
    views="AP, stated for the whole set",
    labels=(NORMAL, BACTERIAL_PNEUMONIA, VIRAL_PNEUMONIA, COVID19),
    known_absent=(COVID19,),
    licence="CC BY 4.0",
    citation="Kermany et al. Cell 172:1122-1131, 2018, doi 10.1016/j.cell.2018.02.010",
    homepages=(
        "https://data.mendeley.com/datasets/rscbjbr9sj",
        "https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia",
    ),
    obtain=(
        "download ChestXRay2017.zip (Mendeley) or archive.zip (Kaggle)",
        "unzip it into DATA/kermany, so that DATA/kermany/chest_xray/train/NORMAL exists",
    ),
    layout="""
kermany/
  chest_xray/
    train/  NORMAL/  PNEUMONIA/
    test/   NORMAL/  PNEUMONIA/
    val/    NORMAL/  PNEUMONIA/    Kaggle edition only
""",
    caveats=(
        "children aged one to five, one hospital, AP: do not mix with adults to tell diseases apart",
        "the cause is told by the file name only; person numbers repeat within and between causes",
        "whether a person number means the same child in train and test is not published; it is taken to",
        "the val folder holds sixteen films: no validation set",
    ),
)


def read(root: Path) -> Iterator[Radiograph]:
    """Films of every fold that is there; the fold is an attribute."""
    top = one_folder(root, "chest_xray", "chest_xray/chest_xray", "") or root
    folds = [fold for fold in FOLDS if (top / fold).is_dir()]
    if not folds:
        raise not_laid_out(NAME, root, "folder chest_xray/train, test or val")
    ids = ImageIds(NAME)
    for fold in folds:
        for film in class_films(NAME, root, top / fold, dict.fromkeys(CLASSES)):
            yield _radiograph(film, fold, ids)


def _radiograph(film: ClassFilm, fold: str, ids: ImageIds) -> Radiograph:
    stem = film.path.stem
    notes = ["view is stated for the whole set only", kermany_names.AGE_NOTE]
    labels = _labels(film.folder, kermany_names.cause_in(stem), notes)
    patient = kermany_names.patient_in(stem)
    if patient is None:
        notes.append("the file name tells no patient")
    return Radiograph(
        image_id=ids.of(f"{fold}/{film.folder}/{stem}", f"{fold}/{film.folder}/{film.path.name}"),
        source=NAME,
        path=film.path,
        labels=labels,
        label_original=film.folder,
        view=View.AP,
        view_detail=kermany_names.VIEW_DETAIL,
        patient_id=patient,
        licence=SHEET.licence,
        attributes={"fold": fold},
        notes=tuple(notes),
    )


def _labels(folder: str, cause: str | None, notes: list[str]) -> dict[str, bool]:
    if folder == "NORMAL" and cause is not None:
        notes.append("the folder says normal, the file name says pneumonia; left without a diagnosis")
        return dict.fromkeys(SHEET.known_absent, False)
    if folder == "PNEUMONIA" and cause is None:
        notes.append("the file name tells no cause; viral and bacterial are not assessed")
        return {NORMAL: False} | dict.fromkeys(SHEET.known_absent, False)
    return labels_of(Diagnosis(cause or NORMAL), notes, classes=SHEET.labels, known_absent=SHEET.known_absent)


SOURCE = Source(sheet=SHEET, read=read)

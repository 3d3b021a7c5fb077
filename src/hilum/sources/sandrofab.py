"""sandrofab/Covid-X-ray (May 2020): 680 films in four classes, put together for a student project.

**Who and where.** sandrofab on GitHub. COVID: PA films of the COVID-19 image data collection (adults, journal
figures, many countries). BACTERIA, VIRAL and NORMAL: the Guangzhou children's films (ages 1 to 5, AP, one hospital).
**Counts**: bacteria 197, COVID 140, normal 200, viral 143, together 680. **Devices** not stated.

**Licence**: repository GPL-2.0; the children's films CC BY 4.0; COVID films each their own. **Beware**: class and
origin coincide. The children's names give 182 persons for 197 bacterial and 139 for 143 viral films, 23 of them in
both; a classifier of file sizes and colour modes alone separates COVID from the rest with an AUC of .999.

References:
    https://github.com/sandrofab/Covid-X-ray
    Kermany et al. Cell 172:1122, 2018, doi 10.1016/j.cell.2018.02.010; Cohen et al. arXiv:2003.11597.
"""

from collections.abc import Iterator
from pathlib import Path

from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL, VIRAL_PNEUMONIA, Radiograph, View
from hilum.sources import kermany_names
from hilum.sources.causes import Diagnosis, labels_of
from hilum.sources.classes import ClassFilm, class_films
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.tables import ImageIds, one_folder

NAME = "sandrofab"
CLASSES = {"BACTERIA": BACTERIAL_PNEUMONIA, "COVID": COVID19, "NORMAL": NORMAL, "VIRAL": VIRAL_PNEUMONIA}

SHEET = Datasheet(
    name=NAME,
    title="Covid-X-ray, four classes",
    what="680 films: COVID-19 from publications, bacterial, viral and no pneumonia from children of one hospital.",
    who="sandrofab (GitHub), from the collections of Cohen et al. and Kermany et al.",
    where="COVID: many countries; the rest: Guangzhou Women and Children's Medical Center",
    devices="not stated",
    years="2020 (COVID), before 2018 (the rest)",
    counts={"films": 680, "BACTERIA": 197, "COVID": 140, "NORMAL": 200, "VIRAL": 143},
    views="PA (COVID), AP (the rest), stated per class",
    labels=tuple(CLASSES.values()),
    collections={label: "covid_chestxray" if label == COVID19 else "kermany" for label in CLASSES.values()},
    licence="repository GPL-2.0; children's films CC BY 4.0; COVID films per image",
    citation="GitHub sandrofab/Covid-X-ray; Kermany et al. Cell 172:1122, 2018; Cohen et al. arXiv:2003.11597",
    homepages=("https://github.com/sandrofab/Covid-X-ray",),
    obtain=(
        "git clone https://github.com/sandrofab/Covid-X-ray",
        "move its folder dataset_for_classification to DATA/sandrofab/dataset_for_classification",
    ),
    layout="""
sandrofab/
  dataset_for_classification/
    BACTERIA/  COVID/  NORMAL/  VIRAL/
""",
    caveats=(
        "COVID films come from adults' journal figures, all others from children: no score here shows COVID detection",
        "23 person numbers occur under both BACTERIA and VIRAL",
        "every COVID film is also one of covid_chestxray",
    ),
)


def read(root: Path) -> Iterator[Radiograph]:
    """Films of the four class folders."""
    top = one_folder(root, "dataset_for_classification", "") or root
    ids = ImageIds(NAME)
    for film in class_films(NAME, root, top, CLASSES):
        yield _radiograph(film, ids)


def _radiograph(film: ClassFilm, ids: ImageIds) -> Radiograph:
    stem, label = film.path.stem, CLASSES[film.folder]
    child = film.folder != "COVID"
    notes = ["view is stated for the whole class only"]
    notes.append(kermany_names.AGE_NOTE if child else "the patient is named in the table of covid_chestxray only")
    cause = kermany_names.cause_in(stem)
    diagnosis: Diagnosis | None = Diagnosis(label)
    if cause is not None and cause != label:
        notes.append("the class folder and the file name contradict each other; left without a diagnosis")
        diagnosis = None
    return Radiograph(
        image_id=ids.of(stem, film.place.as_posix()),
        source=NAME,
        path=film.path,
        labels=labels_of(diagnosis, notes, classes=SHEET.labels),
        label_original=film.folder,
        view=View.AP if child else View.PA,
        view_detail=kermany_names.VIEW_DETAIL if child else "PA (stated for the whole class)",
        patient_id=kermany_names.patient_in(stem) if child else None,
        notes=tuple(notes),
    )


SOURCE = Source(sheet=SHEET, read=read)

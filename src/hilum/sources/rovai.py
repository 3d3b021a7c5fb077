"""Validation folders of Mjrovai/covid19Xray (May 2020): 48 films that came with a teaching Flask application.

**Who and where.** Marcelo Rovai put them beside his notebooks: 8 COVID-19 films of March 2020 from the COVID-19
image data collection, 20 normal and 20 pneumonia films (16 bacterial, 4 viral by file name) of the Guangzhou
children. **Counts**: 8, 20, 20. **Devices** not stated.

**Licence**: children's films CC BY 4.0, COVID films each their own. **Beware**: not an independent test set. The
COVID films are in covid_chestxray, twelve of the 48 are in sandrofab, and thumbnails of the 40 children's films match
films the project was trained on.

References:
    https://github.com/Mjrovai/covid19Xray
    Kermany et al. Cell 172:1122, 2018, doi 10.1016/j.cell.2018.02.010; Cohen et al. arXiv:2003.11597.
"""

from collections.abc import Iterator
from pathlib import Path

from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL, PNEUMONIA, VIRAL_PNEUMONIA, Radiograph, View
from hilum.sources import kermany_names
from hilum.sources.causes import Diagnosis, labels_of
from hilum.sources.classes import ClassFilm, class_films
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.tables import ImageIds, one_folder

NAME = "rovai"
FOLDERS = {"covid_validation": COVID19, "normal_validation": NORMAL, "non_covid_pneumonia_validation": PNEUMONIA}

SHEET = Datasheet(
    name=NAME,
    title="covid19Xray validation folders",
    what="48 films: COVID-19 of March 2020, children with and without pneumonia.",
    who="Marcelo Rovai (GitHub Mjrovai), from the collections of Cohen et al. and Kermany et al.",
    where="COVID: many countries; the rest: Guangzhou Women and Children's Medical Center",
    devices="not stated",
    years="March 2020 (COVID), before 2018 (the rest)",
    counts={"films": 48, "covid": 8, "normal": 20, "pneumonia": 20, "bacterial": 16, "viral": 4},
    views="PA (COVID), AP (the rest), stated per class",
    labels=(NORMAL, COVID19, BACTERIAL_PNEUMONIA, VIRAL_PNEUMONIA),
    collections={
        COVID19: "covid_chestxray",
        NORMAL: "kermany",
        BACTERIAL_PNEUMONIA: "kermany",
        VIRAL_PNEUMONIA: "kermany",
    },
    licence="children's films CC BY 4.0; COVID films per image",
    citation="GitHub Mjrovai/covid19Xray; Kermany et al. Cell 172:1122, 2018; Cohen et al. arXiv:2003.11597",
    homepages=("https://github.com/Mjrovai/covid19Xray",),
    obtain=(
        "git clone https://github.com/Mjrovai/covid19Xray",
        "move 10_X-Ray_Covid_development/dataset_validation to DATA/rovai/dataset_validation",
    ),
    layout="""
rovai/
  dataset_validation/
    covid_validation/  normal_validation/  non_covid_pneumonia_validation/
""",
    caveats=(
        "not independent: its films are in covid_chestxray, kermany and partly in sandrofab",
        "adults (COVID) against children (the rest)",
    ),
)


def read(root: Path) -> Iterator[Radiograph]:
    """Films of the three validation folders; the cause of a pneumonia is read off the file name."""
    inside = "10_X-Ray_Covid_development/dataset_validation"
    top = one_folder(root, "dataset_validation", inside, "") or root
    ids = ImageIds(NAME)
    for film in class_films(NAME, root, top, FOLDERS):
        yield _radiograph(film, ids)


def _radiograph(film: ClassFilm, ids: ImageIds) -> Radiograph:
    stem, label = film.path.stem, FOLDERS[film.folder]
    child = label != COVID19
    notes = ["view is stated for the whole class only"]
    notes.append(kermany_names.AGE_NOTE if child else "the patient is named in the table of covid_chestxray only")
    return Radiograph(
        image_id=ids.of(stem, film.place.as_posix()),
        source=NAME,
        path=film.path,
        labels=_labels(label, kermany_names.cause_in(stem), notes),
        label_original=film.folder,
        view=View.AP if child else View.PA,
        view_detail=kermany_names.VIEW_DETAIL if child else "PA (stated for the whole class)",
        patient_id=kermany_names.patient_in(stem) if child else None,
        notes=tuple(notes),
    )


def _labels(label: str, cause: str | None, notes: list[str]) -> dict[str, bool]:
    if label == PNEUMONIA and cause is None:
        notes.append("the file name tells no cause; viral and bacterial are not assessed")
        return {NORMAL: False, COVID19: False}
    if label != PNEUMONIA and cause is not None:
        notes.append("the class folder and the file name contradict each other; left without a diagnosis")
        return {}
    return labels_of(Diagnosis(cause or label), notes, classes=SHEET.labels)


SOURCE = Source(sheet=SHEET, read=read)

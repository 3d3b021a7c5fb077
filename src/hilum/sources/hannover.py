"""COVID-19 image repository of Hannover Medical School (2020): serial films of COVID-19 inpatients.

**Who and where.** Institute for Diagnostic and Interventional Radiology, Hannover Medical School, Germany (Winther,
Laser, Gerbel and colleagues). **Counts**: 243 films. **Devices**: CR and DX; makers not stated. data.csv gives
patient, film, sex, days since admission, intensive care and death, projection, and laboratory values with the day
they were taken; offsets are relative to the film, age, size and weight blank in the public table.

**Licence**: CC BY 3.0. **Beware**: every patient has COVID-19, so nothing can be told apart within the set; more than
twenty films of one patient; AP marks the ward and intensive care, so view goes with severity. All films are also in
the last editions of covid_chestxray.

References:
    Winther et al. COVID-19 Image Repository. figshare, 2020, doi 10.6084/m9.figshare.12275009.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hilum.records import COVID19, Radiograph
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import age_of, rest_of, sex_of, view_of
from hilum.sources.tables import ImageIds, read_rows

NAME = "hannover"
SHEET = Datasheet(
    name=NAME,
    title="COVID-19 image repository, Hannover Medical School",
    what="243 serial films of COVID-19 inpatients with laboratory values and the course of their stay.",
    who="Hinrich Winther and colleagues, Institute for Diagnostic and Interventional Radiology",
    where="Hannover, Germany, one hospital",
    devices="CR and DX, makers not stated",
    years="2020",
    counts={"films": 243},
    views="AP (bedside) and PA",
    labels=(COVID19,),
    licence="CC BY 3.0",
    citation="Winther et al. COVID-19 Image Repository. figshare 2020, doi 10.6084/m9.figshare.12275009",
    homepages=("https://github.com/ml-workgroup/covid-19-image-repository",),
    obtain=(
        "git clone https://github.com/ml-workgroup/covid-19-image-repository",
        "move the folder to DATA/hannover (data.csv directly in it)",
    ),
    layout="""
hannover/
  data.csv                    patient_id, image_id, sex, age, modality, projection, ..._offset, ..._val
  png/IMAGE_ID.png
""",
    caveats=(
        "COVID-19 only: a class of its own origin in any mixture",
        "more than twenty films of one patient: split by patient",
        "AP means bedside and goes with severity",
        "its films are in covid_chestxray and in radiography_database as well",
    ),
)

_USED = frozenset({"patient_id", "image_id", "sex", "projection"})


def read(root: Path) -> Iterator[Radiograph]:
    """Every row of data.csv."""
    ids = ImageIds(NAME)
    for row in read_rows(root / "data.csv", required=("patient_id", "image_id")):
        yield _radiograph(row, root, ids)


def _radiograph(row: Mapping[str, str], root: Path, ids: ImageIds) -> Radiograph:
    notes: list[str] = []
    return Radiograph(
        image_id=ids.of(row["image_id"]),
        source=NAME,
        path=root / "png" / f"{row['image_id']}.png",
        labels={COVID19: True},
        view=view_of(row.get("projection"), notes),
        view_detail=row.get("projection") or None,
        patient_id=row["patient_id"] or None,
        sex=sex_of(row.get("sex"), notes),
        age_years=age_of(row.get("age"), notes),
        licence=SHEET.licence,
        attributes=rest_of(row, _USED),
        notes=tuple(notes),
    )


SOURCE = Source(sheet=SHEET, read=read)

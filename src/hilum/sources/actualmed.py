"""Actualmed COVID chest X-ray dataset (2020): films of patients tested in Spain, with the result of the test.

**Who and where.** Actualmed (Spain), Universitat Jaume I (Jose Antonio Heredia Alvaro and Pedro Agustin Orts), with
DarwinAI and the Vision and Image Processing Lab of the University of Waterloo; March to April 2020. **Devices**: the
film names begin with the DICOM modality (CR, DX); makers are not stated. **Counts**: 238 films: 58 COVID-19, 127
"No finding", 53 inconclusive (finding left blank).

**Licence**: see the repository (research use, attribution). **Beware**: "No finding" says that COVID-19 was excluded,
not that the film is normal: it sets covid19 to False and nothing else. Inconclusive films carry no label. The day of
the film stands in the notes column only; sex and age are blank throughout.

References:
    https://github.com/agchung/Actualmed-COVID-chestxray-dataset
    Wang, Lin, Wong. COVID-Net. Sci Rep 10:19549, 2020, doi 10.1038/s41598-020-76550-z.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from hilum.records import COVID19, Radiograph
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import age_of, date_of, modality_of, rest_of, sex_of, snake, view_of
from hilum.sources.tables import ImageIds, read_rows

NAME = "actualmed"
SHEET = Datasheet(
    name=NAME,
    title="Actualmed COVID chest X-ray dataset",
    what="238 films of patients tested for COVID-19 in Spain, with the outcome of the test.",
    who="Actualmed, Universitat Jaume I, DarwinAI, University of Waterloo",
    where="Spain",
    devices="CR and DX, makers not stated",
    years="March to April 2020",
    counts={"films": 238, "COVID-19": 58, "No finding": 127, "inconclusive": 53},
    views="PA, AP, lateral",
    labels=(COVID19,),
    licence="as stated in the repository: research use with attribution",
    citation="https://github.com/agchung/Actualmed-COVID-chestxray-dataset; Wang et al. Sci Rep 10:19549, 2020",
    homepages=("https://github.com/agchung/Actualmed-COVID-chestxray-dataset",),
    obtain=(
        "git clone https://github.com/agchung/Actualmed-COVID-chestxray-dataset",
        "move the folder to DATA/actualmed (metadata.csv directly in it)",
    ),
    layout="""
actualmed/
  metadata.csv                finding, view, modality, imagename, notes
  images/*.png
""",
    caveats=(
        "'No finding' means that COVID-19 was excluded, not a normal film",
        "a patient can have negative and positive films: the label belongs to the day of the film",
        "part of the COVIDx mixtures: do not test on those after training on this, or the reverse",
    ),
)

_DAY = re.compile(r"\(YYYYMMDD\):\s*(\d{8})")
_USED = frozenset({"patientid", "sex", "finding", "view", "modality", "imagename"})


def read(root: Path) -> Iterator[Radiograph]:
    """Every row of metadata.csv."""
    ids = ImageIds(NAME)
    for cells in read_rows(root / "metadata.csv", required=("imagename", "finding")):
        row = {snake(column): cell for column, cell in cells.items()}
        if row["imagename"]:
            yield _radiograph(row, root, ids)


def _radiograph(row: Mapping[str, str], root: Path, ids: ImageIds) -> Radiograph:
    notes: list[str] = []
    day = _DAY.search(row.get("notes", ""))
    return Radiograph(
        image_id=ids.of(Path(row["imagename"]).stem, row["imagename"]),
        source=NAME,
        path=root / "images" / row["imagename"],
        labels=_labels(row["finding"], notes),
        label_original=row["finding"] or None,
        modality=modality_of(row.get("modality")),
        view=view_of(row.get("view"), notes),
        view_detail=row.get("view") or None,
        patient_id=row.get("patientid") or None,
        sex=sex_of(row.get("sex"), notes),
        age_years=age_of(row.get("age"), notes),
        acquired=date_of(day[1] if day else "", notes),
        attributes=rest_of(row, _USED),
        notes=tuple(notes),
    )


def _labels(finding: str, notes: list[str]) -> dict[str, bool]:
    if finding.lower() == "covid-19":
        return {COVID19: True}
    if finding.lower() == "no finding":
        notes.append("the test excluded COVID-19; whether the film is normal was not assessed")
        return {COVID19: False}
    notes.append("the test was inconclusive")
    return {}


SOURCE = Source(sheet=SHEET, read=read)

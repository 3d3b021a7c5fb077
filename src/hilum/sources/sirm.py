"""SIRM COVID-19 cases (2020): the case collection of the Italian Society of Medical and Interventional Radiology.

**Who and where.** Members of SIRM posted 115 consecutive cases of COVID-19 from Italian hospitals, February to April
2020, each a web page with text, radiographs and CT slices. There is no table and no archive: the pictures are saved
page by page. **Counts**: 115 cases. **Devices** not stated.

**Licence**: the society's; pictures must not be passed on. **Beware**: COVID-19 only; the page does not state file by
file which picture is a radiograph, a CT slice or a lateral film, so view is left open and a projection filter is
needed; teaching cases, chosen for being instructive; JPEGs of screen size. They recur in the first edition of
radiography_database and in covid_chestxray.

References:
    SIRM. COVID-19 DATABASE, 2020. https://sirm.org/category/senza-categoria/covid-19/
"""

from collections.abc import Iterator
from pathlib import Path

from hilum.records import COVID19, Radiograph
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.tables import ImageIds, films_under, not_laid_out

NAME = "sirm"
SHEET = Datasheet(
    name=NAME,
    title="SIRM COVID-19 cases",
    what="Radiographs and CT slices of 115 Italian COVID-19 teaching cases.",
    who="Italian Society of Medical and Interventional Radiology and its members",
    where="Italy, many hospitals",
    devices="not stated",
    years="February to April 2020",
    counts={"cases": 115},
    views="not stated per file: frontal, lateral and CT slices",
    labels=(COVID19,),
    licence="the society's; not to be passed on",
    citation="SIRM. COVID-19 DATABASE, 2020. https://sirm.org/category/senza-categoria/covid-19/",
    homepages=("https://sirm.org/category/senza-categoria/covid-19/",),
    obtain=(
        "open the cases on the homepage and save the pictures of case N into DATA/sirm/case-N",
        "leave CT slices out, or let the projection filter do it",
    ),
    layout="""
sirm/
  case-1/*.jpg                one folder per case (patient)
  case-2/*.jpg
""",
    caveats=(
        "COVID-19 only: a class of its own origin in any mixture",
        "CT slices and laterals among the pictures, not marked as such",
        "in radiography_database and covid_chestxray as well",
    ),
)


def read(root: Path) -> Iterator[Radiograph]:
    """Every picture; the folder it lies in is the patient."""
    films = films_under(root)
    if not films:
        raise not_laid_out(NAME, root, "picture case-N/*.jpg")
    ids = ImageIds(NAME)
    for path in films:
        place = path.relative_to(root)
        cased = len(place.parts) > 1
        unstated = ("view is not stated", "modality is not stated: the cases mix radiographs and CT slices")
        yield Radiograph(
            image_id=ids.of(place.with_suffix("").as_posix(), place.as_posix()),
            source=NAME,
            path=path,
            labels={COVID19: True},
            patient_id=place.parts[0] if cased else None,
            licence=SHEET.licence,
            notes=unstated if cased else (*unstated, "the picture lies in no case folder; its patient is unknown"),
        )


SOURCE = Source(sheet=SHEET, read=read)

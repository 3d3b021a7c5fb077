"""Figure 1 COVID-19 chest X-ray dataset initiative (2020): cases posted by clinicians, photographed screens included.

**Who and where.** DarwinAI and the Vision and Image Processing Lab of the University of Waterloo, from cases of the
Figure 1 network; countries mostly not stated. **Counts**: 55 films, 35 marked COVID-19, the rest "No finding",
"Pneumonia" or blank. **Devices** not stated; some films are photographs of a monitor (column artifacts/distortion).

**Licence**: see the repository (research use, attribution). **Beware**: the clinician's word is the label; a blank
finding is not assessed, though the file is called COVID-; ages are often "50+" or "early 40s". The letter behind a
number ("COVID-00013a") is the film, the number the patient. The table is Latin-1.

References:
    https://github.com/agchung/Figure1-COVID-chestxray-dataset
    Wang, Lin, Wong. COVID-Net. Sci Rep 10:19549, 2020, doi 10.1038/s41598-020-76550-z.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hilum.records import Radiograph
from hilum.sources.causes import COMPOSITE, diagnosis_of, labels_of
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import age_of, modality_of, rest_of, sex_of, snake, view_of
from hilum.sources.tables import ImageIds, films_under, read_rows

NAME = "figure1"
SHEET = Datasheet(
    name=NAME,
    title="Figure 1 COVID-19 chest X-ray dataset initiative",
    what="55 films clinicians posted as cases, most of them COVID-19.",
    who="DarwinAI and University of Waterloo, from the Figure 1 network",
    where="mostly not stated",
    devices="not stated; some films are photographs of a monitor",
    years="2020",
    counts={"films": 55, "COVID-19": 35},
    views="PA, AP, AP erect, half of them not stated",
    labels=COMPOSITE,
    licence="as stated in the repository: research use with attribution",
    citation="https://github.com/agchung/Figure1-COVID-chestxray-dataset; Wang et al. Sci Rep 10:19549, 2020",
    homepages=("https://github.com/agchung/Figure1-COVID-chestxray-dataset",),
    obtain=(
        "git clone https://github.com/agchung/Figure1-COVID-chestxray-dataset",
        "move the folder to DATA/figure1 (metadata.csv directly in it)",
    ),
    layout="""
figure1/
  metadata.csv                patientid names the film: COVID-00013a
  images/COVID-00013a.jpg     .jpg or .png
""",
    caveats=(
        "a file called COVID- without a finding is not assessed",
        "photographed monitors, cropped mouse pointers, burnt-in colour",
        "part of the COVIDx mixtures: do not test on those after training on this, or the reverse",
    ),
)

_USED = frozenset({"patientid", "sex", "finding", "view", "modality"})


def read(root: Path) -> Iterator[Radiograph]:
    """Every row of metadata.csv; the film is found by its name, whatever its suffix."""
    films = {path.stem: path for path in films_under(root / "images")}
    ids = ImageIds(NAME)
    for cells in read_rows(root / "metadata.csv", required=("patientid", "finding")):
        row = {snake(column): cell for column, cell in cells.items()}
        name = row["patientid"]
        if name:
            yield _radiograph(row, films.get(name, root / "images" / f"{name}.jpg"), ids)


def _radiograph(row: Mapping[str, str], path: Path, ids: ImageIds) -> Radiograph:
    notes: list[str] = []
    return Radiograph(
        image_id=ids.of(row["patientid"]),
        source=NAME,
        path=path,
        labels=labels_of(diagnosis_of(row["finding"]), notes),
        label_original=row["finding"] or None,
        modality=modality_of(row.get("modality")),
        view=view_of(row.get("view"), notes),
        view_detail=row.get("view") or None,
        patient_id=row["patientid"].rstrip("abcdefgh"),
        sex=sex_of(row.get("sex"), notes),
        age_years=age_of(row.get("age"), notes),
        attributes=rest_of(row, _USED),
        notes=tuple(notes),
    )


SOURCE = Source(sheet=SHEET, read=read)

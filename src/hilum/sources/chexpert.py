"""CheXpert (Stanford, 2019): 224,316 adult chest films with labels mined from the reports, uncertainty included.

**Who and where.** Irvin, Rajpurkar, Ng, Lungren and colleagues; Stanford Hospital, in- and outpatients, October 2002
to July 2017. **Counts**: 224,316 films of 65,240 patients; train.csv 223,414 films, valid.csv 234 (three
radiologists), a test set of 668 published later. **Devices** not stated; films were exported to 8-bit JPEG with
histogram equalisation, small edition 390 x 320.

**Labels**: fourteen observations; 1 positive, 0 negative, -1 uncertain, blank not mentioned. Here -1 and blank are not
assessed (-1 with a note), and `No Finding` = 1 makes `normal` True and the twelve pathologies False (not
`support_devices`). **Licence**: Stanford University Dataset Research Use Agreement, no redistribution. **Beware**:
mined labels carry the labeller's errors; age 0 in a few rows is an error upstream and 90 means 90 or older; no
dates; all films are older than SARS-CoV-2.

References:
    Irvin et al. CheXpert. AAAI 33:590, 2019, doi 10.1609/aaai.v33i01.3301590.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from hilum.records import COVID19, NORMAL, Radiograph, View
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import age_of, sex_of, snake, view_of
from hilum.sources.tables import ImageIds, not_laid_out, one_folder, read_rows

NAME = "chexpert"
PATHOLOGIES = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
)
TABLES = ("train.csv", "valid.csv", "test.csv")

SHEET = Datasheet(
    name=NAME,
    title="CheXpert",
    what="224,316 adult films with fourteen observations mined from reports, uncertain mentions marked.",
    who="Jeremy Irvin, Pranav Rajpurkar, Matthew Lungren, Andrew Ng and colleagues",
    where="Stanford Hospital, USA",
    devices="not stated",
    years="October 2002 to July 2017",
    counts={"films": 224316, "patients": 65240, "train": 223414, "valid": 234, "test": 668},
    views="frontal (AP mostly, PA) and lateral",
    labels=(NORMAL, *map(snake, PATHOLOGIES), "support_devices", COVID19),
    known_absent=(COVID19,),
    licence="Stanford University Dataset Research Use Agreement; no redistribution",
    citation="Irvin et al. AAAI 33:590, 2019, doi 10.1609/aaai.v33i01.3301590",
    homepages=("https://stanfordmlgroup.github.io/competitions/chexpert/", "https://aimi.stanford.edu/"),
    obtain=(
        "register at Stanford AIMI and accept the agreement",
        "download CheXpert-v1.0-small (11 GB) or CheXpert-v1.0 (439 GB) and unpack it into DATA/chexpert",
    ),
    layout="""
chexpert/
  CheXpert-v1.0-small/        or CheXpert-v1.0, or its content directly here
    train.csv  valid.csv
    train/patient00001/study1/view1_frontal.jpg
    valid/...
""",
    caveats=(
        "labels are mined from reports; blank means not mentioned, not absent",
        "age 90 means 90 or older, age 0 in a few rows is an upstream error",
        "mostly AP: view goes with severity",
        "no dates",
    ),
)


def read(root: Path) -> Iterator[Radiograph]:
    """Films of every table that is there."""
    top = one_folder(root, "CheXpert-v1.0-small", "CheXpert-v1.0", "") or root
    tables = [top / name for name in TABLES if (top / name).is_file()]
    if not tables:
        raise not_laid_out(NAME, root, "train.csv, valid.csv or test.csv")
    ids = ImageIds(NAME)
    for table in tables:
        for row in read_rows(table, required=("Path",)):
            yield _radiograph(row, table.stem, top, ids)


def _radiograph(row: Mapping[str, str], fold: str, top: Path, ids: ImageIds) -> Radiograph:
    notes: list[str] = []
    parts = PurePosixPath(row["Path"]).parts
    # Paths begin with the name of the edition; the folder may have been renamed.
    place = Path(*parts[1:]) if parts[0].startswith("CheXpert") else Path(*parts)
    patient = re.search(r"patient\d+", row["Path"])
    frontal = row.get("AP/PA", "") if row.get("Frontal/Lateral", "").lower() == "frontal" else ""
    stated = row.get("Frontal/Lateral", "")
    return Radiograph(
        image_id=ids.of(place.with_suffix("").as_posix(), place.as_posix()),
        source=NAME,
        path=top / place,
        labels=_labels(row, notes),
        view=View.LATERAL if stated.lower() == "lateral" else view_of(frontal or stated, notes),
        view_detail=" ".join(part for part in (stated, row.get("AP/PA", "")) if part) or None,
        patient_id=patient[0] if patient else None,
        sex=sex_of(row.get("Sex"), notes),
        age_years=age_of(row.get("Age"), notes),
        attributes={"fold": fold},
        notes=tuple(notes),
    )


def _labels(row: Mapping[str, str], notes: list[str]) -> dict[str, bool]:
    labels: dict[str, bool] = {}
    for column in (*PATHOLOGIES, "Support Devices"):
        cell = row.get(column, "")
        if cell in ("1.0", "1", "0.0", "0"):
            labels[snake(column)] = cell.startswith("1")
        elif cell:
            notes.append(f"{snake(column)} is uncertain in the report")
    if row.get("No Finding", "") in ("1.0", "1"):
        labels = dict.fromkeys(map(snake, PATHOLOGIES), False) | labels | {NORMAL: True}
    elif any(labels.get(snake(column)) for column in PATHOLOGIES):
        labels[NORMAL] = False
    return labels | dict.fromkeys(SHEET.known_absent, False)


SOURCE = Source(sheet=SHEET, read=read)

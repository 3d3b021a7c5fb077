"""BrixIA COVID-19 data set (Brescia, 2020): DICOM films of COVID-19 patients with the severity score of each zone.

**Who and where.** Signoroni, Savardi, Benini, Borghesi, Maroldi, Farina; ASST Spedali Civili di Brescia, Italy, all
triage and ward films of 4 March to 4 April 2020. **Counts**: 4,703 films, 150 of them a consensus test set scored by
five radiologists. **Devices**: CR and DX of several makers, named in the table.

**Labels**: the Brixia score, six zones (A to C right lung from top to bottom, D to F left) of 0 to 3, global 0 to 18;
they are attributes here (`brixia_a` ... `brixia_f`, `brixia_global`). Every patient has COVID-19; a score of 0 is a
film without abnormality. **Licence**: research use on request. **Beware**: COVID-19 only; scores are those of the
radiologist on duty; age is rounded to five years; the photometric interpretation differs by maker.

References:
    Signoroni et al. BS-Net. Med Image Anal 71:102046, 2021, doi 10.1016/j.media.2021.102046.
    Borghesi, Maroldi. Radiol Med 125:509, 2020, doi 10.1007/s11547-020-01200-3.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hilum.records import COVID19, Radiograph
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import age_of, date_of, rest_of, sex_of, stated, view_of
from hilum.sources.tables import ImageIds, not_laid_out, read_rows

NAME = "brixia"
TABLES = ("metadata_global_v2.csv", "data/metadata_global_v2.csv")

SHEET = Datasheet(
    name=NAME,
    title="BrixIA COVID-19 data set",
    what="4,703 films of COVID-19 patients with a severity score of 0 to 3 for each of six lung zones.",
    who="Alberto Signoroni, Mattia Savardi and colleagues, University of Brescia",
    where="ASST Spedali Civili di Brescia, Italy",
    devices="CR and DX of several makers, named per film",
    years="4 March to 4 April 2020",
    counts={"films": 4703, "consensus": 150},
    views="AP and PA",
    labels=(COVID19,),
    licence="research use on request; annotations of public films CC BY-NC-SA 4.0",
    citation="Signoroni et al. Med Image Anal 71:102046, 2021, doi 10.1016/j.media.2021.102046",
    homepages=("https://brixia.github.io/", "https://github.com/BrixIA/Brixia-score-COVID-19"),
    obtain=("ask for access on the homepage", "unpack the archive into DATA/brixia"),
    layout="""
brixia/
  metadata_global_v2.csv      separator ;  Filename, BrixiaScore, BrixiaScoreGlobal, ConsensusTestset, ...
  dicom_clean/*.dcm           data/dicom_clean is accepted as well
""",
    caveats=(
        "COVID-19 only: a class of its own origin in any mixture",
        "scores of one reader on duty; only the 150 consensus films have five",
        "age is rounded to five years",
    ),
)

_USED = frozenset({"Filename", "BrixiaScore", "Sex", "Manufacturer", "Subject", "ViewPosition"})


def read(root: Path) -> Iterator[Radiograph]:
    """Every row of the table."""
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    if table is None:
        raise not_laid_out(NAME, root, f"table {TABLES[0]}")
    ids = ImageIds(NAME)
    for row in read_rows(table, required=("Filename",), delimiter=";"):
        yield _radiograph(row, table.parent / "dicom_clean" / row["Filename"], ids)


def _radiograph(row: Mapping[str, str], path: Path, ids: ImageIds) -> Radiograph:
    notes: list[str] = []
    age = age_of(row.get("AgeAtStudyDateFiveYear"), notes)
    if age is not None:
        notes.append("age is rounded to five years")
    return Radiograph(
        image_id=ids.of(path.stem, path.name),
        source=NAME,
        path=path,
        labels={COVID19: True},
        label_original=row.get("BrixiaScoreGlobal") or None,
        view=view_of(row.get("ViewPosition"), notes),
        view_detail=row.get("ViewPosition") or None,
        patient_id=row.get("Subject") or None,
        sex=sex_of(row.get("Sex"), notes),
        age_years=age,
        acquired=date_of(row.get("StudyDate"), notes),
        manufacturer=row.get("Manufacturer") or None,
        attributes=rest_of(row, _USED) | _zones(row.get("BrixiaScore", ""), row.get("BrixiaScoreGlobal", ""), notes),
        notes=tuple(notes),
    )


def _zones(score: str, total: str, notes: list[str]) -> dict[str, str]:
    """Score per zone; the six digits lose their leading zeros in spreadsheets ("11" is 000011)."""
    digits = stated(score).removesuffix(".0").removeprefix("[").removesuffix("]").replace(" ", "")
    if not digits:
        return {}
    if not digits.isdigit() or len(digits) > 6 or set(digits) - set("0123"):
        notes.append("the zone scores are unreadable")
        return {}
    zones = digits.zfill(6)
    if total.isdigit() and sum(map(int, zones)) != int(total):
        notes.append("the zone scores do not add up to the global score")
    return {f"brixia_{zone}": digit for zone, digit in zip("abcdef", zones, strict=True)} | {
        "brixia_global": str(sum(map(int, zones)))
    }


SOURCE = Source(sheet=SHEET, read=read)

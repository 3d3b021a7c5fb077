"""PadChest (2019): 160,868 films of one Spanish hospital with reports annotated for 174 findings.

**Who and where.** Bustos, Pertusa, Salinas, de la Iglesia-Vaya; Hospital San Juan, Alicante, 2009 to 2017. **Counts**:
160,868 films of 67,625 patients (160,861 rows in the table); 27 % of the reports annotated by physicians, the rest by
a network trained on them. **Devices**: Philips and Imaging Dynamics (ImagingDynamicsCompanyLtd, PhilipsMedicalSystems).
16-bit PNG in 54 numbered folders.

**Views** (column Projection): PA, L, AP, AP_horizontal (bed), COSTAL (ribs), EXCLUDE. **Labels**: terms of a tree; see
`spanish_labels`. Age is the year of the study minus the year of birth. **Licence**: CC BY-SA 4.0 and a research use
agreement. **Beware**: the label belongs to the report of the study, so a lateral film carries what was seen on the
frontal one; view, maker and ward go together; a handful of files is broken upstream; all films are older than
SARS-CoV-2.

References:
    Bustos et al. PadChest. Med Image Anal 66:101797, 2020, doi 10.1016/j.media.2020.101797.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hilum.records import COVID19, Radiograph, View
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import date_of, rest_of, sex_of, view_of
from hilum.sources.spanish_labels import LABELS, labels_of_terms, terms_of
from hilum.sources.tables import ImageIds, not_laid_out, read_rows

NAME = "padchest"
STEM = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"

SHEET = Datasheet(
    name=NAME,
    title="PadChest",
    what="160,868 films of 67,625 patients with reports annotated for 174 findings.",
    who="Aurelia Bustos, Antonio Pertusa, Jose Maria Salinas, Maria de la Iglesia-Vaya",
    where="Hospital San Juan, Alicante, Spain",
    devices="Philips, Imaging Dynamics",
    years="2009 to 2017",
    counts={"films": 160868, "patients": 67625, "rows": 160861},
    views="PA, AP, AP horizontal, lateral, costal",
    labels=(*LABELS, COVID19),
    known_absent=(COVID19,),
    licence="CC BY-SA 4.0 with a research use agreement",
    citation="Bustos et al. Med Image Anal 66:101797, 2020, doi 10.1016/j.media.2020.101797",
    homepages=("https://bimcv.cipf.es/bimcv-projects/padchest/",),
    obtain=(
        "accept the agreement on the homepage",
        f"download {STEM}.gz and the numbered archives (1 TB), unpack each into DATA/padchest/images/NUMBER",
    ),
    layout=f"""
padchest/
  {STEM}      or .csv.gz
  images/0/*.png to images/54/*.png   ImageDir is the number; images/*.png is accepted
""",
    caveats=(
        "labels belong to the study's report; three quarters of them were set by a network",
        "view, maker and ward go together",
        "a term not listed as assessed is True where named and unassessed elsewhere",
        "some PNG files are broken upstream",
    ),
)

_USED = frozenset({"ImageID", "PatientID", "PatientSex_DICOM", "Projection", "Manufacturer_DICOM", "Labels", "Report"})


def read(root: Path) -> Iterator[Radiograph]:
    """Every row of the table."""
    table = next((root / name for name in (STEM, f"{STEM}.gz") if (root / name).is_file()), None)
    if table is None:
        raise not_laid_out(NAME, root, f"table {STEM} or {STEM}.gz")
    ids = ImageIds(NAME)
    for row in read_rows(table, required=("ImageID", "Labels")):
        if row["ImageID"]:
            yield _radiograph(row, root / "images", ids)


def _radiograph(row: Mapping[str, str], images: Path, ids: ImageIds) -> Radiograph:
    notes: list[str] = []
    name, projection = row["ImageID"], row.get("Projection", "")
    nested = images / row.get("ImageDir", "").removesuffix(".0") / name
    flat = images / name
    acquired = date_of(row.get("StudyDate_DICOM", "").removesuffix(".0"), notes)
    labels = labels_of_terms(terms_of(row["Labels"], notes), notes)
    if labels:
        labels |= dict.fromkeys(SHEET.known_absent, False)
    return Radiograph(
        image_id=ids.of(Path(name).stem, name),
        source=NAME,
        path=flat if flat.is_file() and not nested.is_file() else nested,
        labels=labels,
        label_original=row["Labels"] or None,
        view=View.OTHER if projection == "EXCLUDE" else view_of(projection, notes),
        view_detail=projection or None,
        patient_id=row.get("PatientID") or None,
        sex=sex_of(row.get("PatientSex_DICOM"), notes),
        age_years=_age(acquired.year if acquired else None, row.get("PatientBirth", "")),
        acquired=acquired,
        manufacturer=row.get("Manufacturer_DICOM") or None,
        licence=SHEET.licence,
        attributes=rest_of(row, _USED),
        notes=tuple(notes),
    )


def _age(year: int | None, birth: str) -> float | None:
    born = birth.removesuffix(".0")
    return float(year - int(born)) if year is not None and born.isdigit() and int(born) > 0 else None


SOURCE = Source(sheet=SHEET, read=read)

"""BIMCV COVID-19+ and COVID-19- (Valencian Region, 2020-2021): films and CT of tested patients, MIDS layout.

**Who and where.** Medical Imaging Databank of the Valencian Region (BIMCV: FISABIO, Universidad Miguel Hernandez,
Universidad de Alicante and others); eleven hospitals, first iteration 26 February to 18 April 2020. **Counts**:
COVID-19+ first iteration 1,380 CR, 885 DX and 163 CT studies of 1,311 patients; iterations one and two 7,377 CR,
9,463 DX and 6,687 CT studies. COVID-19- holds patients of the same hospitals and months with negative tests.
**Devices**: many; each film has a JSON file of its DICOM header beside it. 16-bit PNG.

**Labels**: `covid19` is the patient's, by PCR or antibody test at some time: True in COVID-19+, False in COVID-19-;
findings are terms of the annotated report of the session, see `spanish_labels`. What the report says of COVID-19
itself is not taken for the label. **Licence**: research use agreement, attribution, no redistribution (CC BY 4.0 in the
IEEE DataPort edition). **Beware**: test and film may be weeks apart; the sets differ in hospitals and view shares, and
a classifier of the data set alone scores well; DICOM headers disagree with the picture about the view now and then.

References:
    de la Iglesia Vaya et al. BIMCV COVID-19+. arXiv:2006.01174, 2020.
    BIMCV COVID-19-. IEEE DataPort, 2021, doi 10.21227/m4j2-ap59.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hilum.records import COVID19, Radiograph, View
from hilum.sources.datasheet import Datasheet, Source
from hilum.sources.fields import age_of, date_of, date_span, rest_of, sex_of, stated, view_of
from hilum.sources.spanish_labels import LABELS, labels_of_terms, terms_of
from hilum.sources.tables import ImageIds, films_under, not_laid_out, one_folder, read_rows

POSITIVE, NEGATIVE = "bimcv_positive", "bimcv_negative"
_COMMON_CAVEATS = (
    "the COVID-19 label is the patient's, by test; the film may be weeks away from it or show nothing",
    "lateral films share the report of the frontal one",
    "films of bimcv_positive are in radiography_database and covid_qu_ex: never test across them",
)


def _sheet(name: str, sign: str, folder: str, labels_table: str, counts: Mapping[str, int]) -> Datasheet:
    return Datasheet(
        name=name,
        title=f"BIMCV COVID-19{sign}",
        what=f"Films and CT of patients tested {'positive' if sign == '+' else 'negative'} for SARS-CoV-2.",
        who="Medical Imaging Databank of the Valencian Region (BIMCV) and partners",
        where="eleven hospitals of the Valencian Region, Spain",
        devices="many; the DICOM header of each film lies beside it as JSON",
        years="2020 to 2021",
        counts=counts,
        views="PA, AP, lateral; in the file name (vp-)",
        labels=(COVID19, *LABELS),
        licence="BIMCV research use agreement; attribution, no redistribution",
        citation="de la Iglesia Vaya et al. arXiv:2006.01174, 2020"
        + ("" if sign == "+" else "; BIMCV COVID-19-, IEEE DataPort 2021, doi 10.21227/m4j2-ap59"),
        homepages=(
            "https://bimcv.cipf.es/bimcv-projects/bimcv-covid19/",
            "https://github.com/BIMCV-CSUSP/BIMCV-COVID-19",
        ),
        obtain=(
            "accept the agreement on the homepage",
            f"download the metadata and subject archives of COVID-19{sign} and unpack all of them into DATA/{name}",
        ),
        layout=f"""
{name}/
  {folder}/
    participants.tsv
    sub-S03044/
      sub-S03044_sessions.tsv
      ses-E06167/mod-rx/sub-S03044_ses-E06167_run-1_bp-chest_vp-ap_cr.png (and .json)
    derivatives/labels/{labels_table}
    derivatives/EHR/sil_reg_covid_{"posi" if sign == "+" else "neg"}.tsv
""",
        caveats=_COMMON_CAVEATS,
    )


POSITIVE_SHEET = _sheet(
    POSITIVE,
    "+",
    "covid19_posi",
    "labels_covid_posi.tsv",
    {"CR studies": 7377, "DX studies": 9463, "CT studies": 6687, "first iteration patients": 1311},
)
NEGATIVE_SHEET = _sheet(NEGATIVE, "-", "covid19_neg", "Labels_covid_NEG_JAN21.tsv", {})


@dataclass(frozen=True)
class _Tables:
    participants: Mapping[str, Mapping[str, str]]
    reports: Mapping[str, Mapping[str, str]]
    positive_tests: Mapping[str, str]


def _reader(name: str, folder: str, *, positive: bool) -> Callable[[Path], Iterator[Radiograph]]:
    def read(root: Path) -> Iterator[Radiograph]:
        """Every PNG film of the set; CT volumes are not films."""
        top = one_folder(root, folder, "") or root
        films = [path for path in films_under(top) if path.name.startswith("sub-")]
        if not films:
            raise not_laid_out(name, root, f"film {folder}/sub-*/ses-*/mod-rx/*.png")
        tables = _tables(top)
        ids = ImageIds(name)
        return (_radiograph(path, name, tables, ids, positive=positive) for path in films)

    return read


def _tables(top: Path) -> _Tables:
    def keyed(pattern: str, key: str) -> dict[str, dict[str, str]]:
        found = sorted(top.glob(pattern))
        return {row[key]: row for path in found for row in read_rows(path, required=(key,), delimiter="\t")}

    tests: dict[str, str] = {}
    for path in sorted(top.glob("derivatives/EHR/sil_reg_covid*.tsv")):
        for row in read_rows(path, delimiter="\t"):
            if row.get("result", "").upper().startswith("POSITIV") and date_span(row.get("date")):
                subject = row.get("participant", "")
                tests[subject] = min(tests.get(subject, "9"), _iso(row["date"]))
    return _Tables(
        keyed("participants.tsv", "participant"), keyed("derivatives/labels/[Ll]abels_*.tsv", "ReportID"), tests
    )


def _iso(date: str) -> str:
    span = date_span(date)
    return span[0].isoformat() if span else ""


def _radiograph(path: Path, name: str, tables: _Tables, ids: ImageIds, *, positive: bool) -> Radiograph:
    notes: list[str] = []
    entities = dict(part.partition("-")[::2] for part in path.stem.split("_"))
    subject, session = f"sub-{entities['sub']}", f"ses-{entities.get('ses', '')}"
    person = tables.participants.get(subject, {})
    report = tables.reports.get(session, {})
    study = _session(path, subject, session)
    attributes = rest_of(study, {"session_id"}) | {"session": session, "modality": path.stem.rpartition("_")[2]}
    if tables.positive_tests.get(subject):
        attributes["first_positive_test"] = tables.positive_tests[subject]
    return Radiograph(
        image_id=ids.of(path.stem, path.name),
        source=name,
        path=path,
        labels=_labels(report, notes) | {COVID19: positive},
        label_original=report.get("Labels") or None,
        view=_view(entities, notes),
        view_detail=entities.get("vp"),
        patient_id=subject,
        sex=sex_of(person.get("gender"), notes),
        age_years=_age(person.get("age", ""), notes),
        acquired=date_of(study.get("study_date", "").removesuffix(".0"), notes),
        attributes=attributes,
        notes=("COVID-19 is the patient's, by test, not the film's", *notes),
    )


def _session(path: Path, subject: str, session: str) -> Mapping[str, str]:
    """The row of the session in the subject's own table, or nothing."""
    table = next((above / f"{subject}_sessions.tsv" for above in path.parents if above.name == subject), None)
    if table is None or not table.is_file():
        return {}
    return next((row for row in read_rows(table, delimiter="\t") if row.get("session_id") == session), {})


def _labels(report: Mapping[str, str], notes: list[str]) -> dict[str, bool]:
    if not report:
        notes.append("no annotated report belongs to the session")
        return {}
    terms = terms_of(report.get("Labels", ""), notes)
    return labels_of_terms([term for term in terms if not term.startswith("covid")], notes)


def _view(entities: Mapping[str, str], notes: list[str]) -> View | None:
    if entities.get("bp", "chest").lower() != "chest":
        notes.append("the body part is not the chest")
        return View.OTHER
    return view_of(entities.get("vp"), notes)


def _age(cell: str, notes: list[str]) -> float | None:
    """Ages come as "[79]" or, over a birthday, "[79, 80]"."""
    ages = re.findall(r"\d+(?:\.\d+)?", stated(cell))
    if len(ages) > 1:
        notes.append("age changed between the patient's sessions; the lowest is taken")
    return age_of(min(ages, key=float), notes) if ages else None


SOURCE_POSITIVE = Source(sheet=POSITIVE_SHEET, read=_reader(POSITIVE, "covid19_posi", positive=True))
SOURCE_NEGATIVE = Source(sheet=NEGATIVE_SHEET, read=_reader(NEGATIVE, "covid19_neg", positive=False))

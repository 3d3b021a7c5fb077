"""The COVID-19 image data collection: both vocabularies of its findings, vague dates, and the query over a snapshot."""

import csv
import datetime as dt
import random
from pathlib import Path

import pytest

from hilum.records import Radiograph, View
from hilum.sources.causes import COMPOSITE, diagnosis_of, labels_of
from hilum.sources.cohen import read, select

XRAY_FINDINGS = {
    "COVID-19": 235,
    "Streptococcus": 17,
    "SARS": 16,
    "Pneumocystis": 15,
    "COVID-19, ARDS": 12,
    "E.Coli": 4,
    "ARDS": 4,
    "No Finding": 2,
    "Chlamydophila": 2,
    "Legionella": 2,
    "Klebsiella": 1,
}
COVID_PA, COVID_PA_PATIENTS, MARCH = 142, 96, 8
OTHER_VIEWS = {"PA": 205 - COVID_PA, "AP": 39, "AP Supine": 38, "L": 27, "AP semi erect": 1}
CT_SLICES = 44
HEADER = ["Patientid", "offset", "sex", "age", "finding", "view", "modality", "date", "filename", " url", ""]


def row(number: int, patient: int, finding: str, view: str, modality: str, date: str) -> list[str]:
    return [str(patient), "", "", "", finding, view, modality, date, f"film-{number}.png", "", ""]


def snapshot(folder: Path) -> Path:
    """A table with the arithmetic of the 354-row edition: its findings, views, patients and March films."""
    films = [(patient % COVID_PA_PATIENTS, "COVID-19", "PA", "X-ray") for patient in range(COVID_PA)]
    findings = [f for f, count in XRAY_FINDINGS.items() for _ in range(count - COVID_PA * (f == "COVID-19"))]
    views = [view for view, count in OTHER_VIEWS.items() for _ in range(count)]
    # The other COVID-19 films must not be PA, or the count of COVID-19 on PA would change.
    views.sort(key="PA".__eq__)
    others = zip(sorted(findings, key="COVID-19".__ne__), views, strict=True)
    films += [(1000 + number, finding, view, "X-ray") for number, (finding, view) in enumerate(others)]
    films += [(2000 + number, "COVID-19", "Axial", "CT") for number in range(CT_SLICES)]
    dates = [f"March {day}, 2020" for day in range(1, MARCH + 1)] + ["January 22, 2020", "2020", "", "2017"]
    rows = [
        row(number, patient, finding, view, modality, dates[number if number < MARCH else MARCH + number % 4])
        for number, (patient, finding, view, modality) in enumerate(films)
    ]
    random.Random(0).shuffle(rows)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([HEADER, *rows])
    return folder


@pytest.fixture
def films(tmp_path: Path) -> list[Radiograph]:
    return list(read(snapshot(tmp_path)))


def test_snapshot_arithmetic_of_the_354_row_edition(films: list[Radiograph]) -> None:
    covid_pa = list(select(films, modality="XR", finding="COVID-19", view="PA"))
    assert len(films) == 354
    assert sum(1 for _ in select(films, modality="XR")) == 310
    assert sum(1 for _ in select(films, modality="XR", view=View.PA)) == 205
    assert sum(1 for _ in select(films, modality="CT")) == CT_SLICES
    assert len(covid_pa) == 142
    assert len({film.patient_id for film in covid_pa}) == 96


def test_snapshot_findings_and_views(films: list[Radiograph]) -> None:
    counted = {finding: sum(1 for _ in select(films, modality="XR", finding=finding)) for finding in XRAY_FINDINGS}
    assert counted == XRAY_FINDINGS
    assert sum(1 for _ in select(films, view="AP Supine")) == 38
    assert sum(1 for _ in select(films, view=View.AP)) == 39 + 38 + 1
    assert sum(film.view is View.OTHER for film in films) == CT_SLICES


def test_march_films_are_held_out_by_date(films: list[Radiograph]) -> None:
    chosen = list(select(films, modality="XR", finding="COVID-19", view="PA"))
    march = list(select(chosen, after=dt.date(2020, 3, 1), before=dt.date(2020, 4, 1)))
    assert len(march) == 8
    assert {film.image_id for film in chosen} > {film.image_id for film in march}
    earlier = {film.attributes.get("date", "") for film in select(chosen, before=dt.date(2020, 3, 1))}
    assert earlier == {"January 22, 2020", "2017"}, "a film dated 2020 or not at all may be of March"


def test_a_year_is_no_day_and_is_noted(films: list[Radiograph]) -> None:
    vague = next(film for film in films if film.attributes.get("date") == "2017")
    assert vague.acquired is None
    assert "date is stated to the month or year only" in vague.notes


def test_paths_answer_to_each_of_their_steps(tmp_path: Path) -> None:
    findings = ["Pneumonia/Viral/COVID-19", "Pneumonia/Viral/SARS", "Pneumonia", "Tuberculosis"]
    lines = [f"{number},{finding},{number}.png" for number, finding in enumerate(findings)]
    (tmp_path / "metadata.csv").write_text("\n".join(["patientid,finding,filename", *lines]), encoding="utf-8")
    films = list(read(tmp_path))
    counts = [sum(1 for _ in select(films, finding=step)) for step in ("covid-19", "viral", "Pneumonia", "sar")]
    assert counts == [1, 2, 3, 0]


ONLY = {"covid19", "viral_pneumonia", "bacterial_pneumonia", "pneumonia", "normal"}


@pytest.mark.parametrize(
    ("finding", "label"),
    [
        ("Pneumonia/Viral/COVID-19", "covid19"),
        ("COVID-19", "covid19"),
        ("COVID-19, ARDS", "covid19"),
        ("SARS", "viral_pneumonia"),
        ("Pneumonia/Viral/MERS-CoV", "viral_pneumonia"),
        ("Pneumonia/Viral/Influenza/H1N1", "viral_pneumonia"),
        ("Varicella", "viral_pneumonia"),
        ("Streptococcus", "bacterial_pneumonia"),
        ("Pneumonia/Bacterial/Staphylococcus/MRSA", "bacterial_pneumonia"),
        ("Mycoplasma Bacterial Pneumonia", "bacterial_pneumonia"),
        ("E.Coli", "bacterial_pneumonia"),
        ("Pneumocystis", "pneumonia"),
        ("Pneumonia/Fungal/Aspergillosis", "pneumonia"),
        ("Pneumonia/Lipoid", "pneumonia"),
        ("No Finding", "normal"),
    ],
)
def test_a_diagnosis_excludes_the_others(finding: str, label: str) -> None:
    notes: list[str] = []
    labels = labels_of(diagnosis_of(finding), notes)
    assert labels == {name: name == label for name in COMPOSITE}
    assert set(labels) == ONLY
    assert notes == []


@pytest.mark.parametrize("finding", ["todo", "Unknown", "", "ARDS", "Tuberculosis"])
def test_what_is_no_diagnosis_among_the_labels_gives_none(finding: str) -> None:
    notes: list[str] = []
    assert labels_of(diagnosis_of(finding), notes) == {}
    assert len(notes) == 1


def test_pneumonia_without_a_cause_leaves_viral_and_bacterial_open() -> None:
    notes: list[str] = []
    assert labels_of(diagnosis_of("Pneumonia"), notes) == {"pneumonia": True, "normal": False, "covid19": False}
    assert len(notes) == 1

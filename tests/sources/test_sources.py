"""Laws of every known data set, each on a miniature of its published layout; published counts on the real films."""

import csv
import importlib
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hilum.errors import DataError, UsageError
from hilum.records import Radiograph, View
from hilum.sources import SOURCES, find_source, read_source
from hilum.sources.datasheet import Datasheet

OPEN_LISTS = ("padchest", "bimcv_positive", "bimcv_negative")
"""Sets whose annotators drew on a tree of terms too long for a datasheet."""

every_source = pytest.mark.parametrize("built", sorted(SOURCES), indirect=True)


def read(built: tuple[str, Path]) -> list[Radiograph]:
    return list(read_source(*built))


def test_every_source_has_a_miniature(miniatures: dict[str, Any]) -> None:
    assert set(miniatures) == set(SOURCES)


@every_source
def test_films_are_named_once_and_lie_where_said(built: tuple[str, Path], miniatures: dict[str, Any]) -> None:
    films = read(built)
    assert len(films) == miniatures[built[0]].films
    assert len({film.image_id for film in films}) == len(films)
    assert {film.path for film in films} == {film.path for film in films if film.path.is_file()}
    assert all(film.image_id.startswith(f"{film.source}/") and film.source == built[0] for film in films)
    assert all(film.lung_mask is None or film.lung_mask.is_file() for film in films)
    assert not any("masks" in film.path.parent.name for film in films)


@every_source
def test_labels_are_those_of_the_sheet_and_true_or_false(built: tuple[str, Path]) -> None:
    sheet = find_source(built[0]).sheet
    for film_ in read(built):
        if built[0] not in OPEN_LISTS:
            assert set(film_.labels) <= set(sheet.labels)
        assert all(value in (True, False) for value in film_.labels.values())
        assert all(film_.labels[label] is False for label in sheet.known_absent if film_.labels)
        assert film_.labels or film_.notes or built[0] == "dicom_samples", "a film without labels says why"


@every_source
def test_reading_twice_gives_the_same(built: tuple[str, Path]) -> None:
    assert read(built) == read(built)


@every_source
def test_fields_are_stated_or_absent_never_guessed(built: tuple[str, Path]) -> None:
    for film_ in read(built):
        assert film_.age_years is None or 0 <= film_.age_years <= 120
        assert film_.patient_id != ""
        assert film_.view is not None or any("view" in note for note in film_.notes)
        assert all(isinstance(text, str) and text for text in film_.attributes.values())


@every_source
def test_optional_columns_may_be_missing(built: tuple[str, Path], miniatures: dict[str, Any]) -> None:
    name, data = built
    full = [film_.image_id for film_ in read(built)]
    for path in (*data.rglob("*.csv"), *data.rglob("*.tsv")):
        delimiter = "\t" if path.suffix == ".tsv" else ";" if name == "brixia" else ","
        encoding = "latin-1" if name == "figure1" else "utf-8"
        with path.open(encoding=encoding, newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter=delimiter))
        kept = [column for column in rows[0] if column in miniatures[name].required]
        if not kept:
            path.unlink()
            continue
        with path.open("w", encoding=encoding, newline="") as stream:
            writer = csv.DictWriter(stream, kept, delimiter=delimiter, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    assert len(read(built)) == len(full)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_missing_or_foreign_folder_is_one_clear_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{name}.*hilum sources show {name}"):
        read_source(name, tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=f"hilum sources show {name}"):
        read_source(name, tmp_path)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_datasheet_is_filled_in_and_the_module_tells_it_in_prose(name: str) -> None:
    sheet = find_source(name).sheet
    optional = {"counts", "labels", "known_absent", "collections"}
    assert sheet.name == name
    assert {field.name for field in fields(Datasheet) if not getattr(sheet, field.name)} <= optional
    assert set(sheet.known_absent) <= set(sheet.labels)
    assert set(sheet.collections) <= set(sheet.labels)
    assert set(sheet.collections.values()) <= set(SOURCES)
    assert sheet.layout.strip().startswith(f"{name}/")
    text = sheet.text()
    assert all(part in text for part in (sheet.licence, sheet.obtain[0], sheet.caveats[-1], sheet.citation))
    homes = {"covid_chestxray": "cohen", "nih_subset": "nih", "covid_qu_ex_sample": "covid_qu_ex"}
    home = "bimcv" if name.startswith("bimcv") else homes.get(name, name)
    prose = importlib.import_module(f"hilum.sources.{home}").__doc__ or ""
    missing = [
        word
        for word in ("**who", "**counts**", "**devices**", "**licence**", "**beware**")
        if word not in prose.lower()
    ]
    assert missing == []
    assert "References:" in prose


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'kermany'"):
        find_source("kermani")


def positives(films: list[Radiograph]) -> dict[str, int]:
    return dict(Counter(label for film_ in films for label, here in film_.labels.items() if here))


def test_published_counts_of_the_real_films(data_pack: Path) -> None:
    real = {name: list(read_source(name, data_pack)) for name in SOURCES if (data_pack / name).is_dir()}
    counts = {"sandrofab": 680, "covid_chestxray": 592, "covid_seg": 100, "nih_subset": 240, "rovai": 48}
    assert {name: len(real[name]) for name in counts} == counts
    assert positives(real["sandrofab"]) == {
        "bacterial_pneumonia": 197,
        "covid19": 140,
        "normal": 200,
        "viral_pneumonia": 143,
    }
    assert positives(real["nih_subset"]) == {"pneumonia": 120, "normal": 120}
    assert positives(real["rovai"]) == {"normal": 20, "bacterial_pneumonia": 16, "covid19": 8, "viral_pneumonia": 4}
    assert positives(real["covid_seg"])["covid19"] == 65
    assert sum(film_.view is View.LATERAL for film_ in real["covid_chestxray"]) == 57
    assert sum(film_.modality == "CT" for film_ in real["covid_chestxray"]) == 59
    assert len(real["covid_qu_ex_sample"]) == 12


def test_real_films_and_masks_are_all_there(data_pack: Path) -> None:
    films = [film_ for name in SOURCES if (data_pack / name).is_dir() for film_ in read_source(name, data_pack)]
    assert [film_.image_id for film_ in films if not film_.path.is_file()] == []
    masks = Counter(film_.source for film_ in films if film_.lung_mask is not None)
    assert masks == {"sandrofab": 671, "covid_chestxray": 398, "covid_seg": 100, "rovai": 47, "covid_qu_ex_sample": 12}


def test_real_dicom_samples_without_ids_or_labels(data_pack: Path) -> None:
    films = {film_.path.name: film_ for film_ in read_source("dicom_samples", data_pack)}
    assert films["RG3_J2KI.dcm"].view is View.OTHER
    assert "the body part is not the chest" in films["RG3_J2KI.dcm"].notes
    assert films["RG1_J2KI.dcm"].image_id == "dicom_samples/RG1_J2KI"
    assert films["RG1_J2KI.dcm"].attributes["source_url"].endswith("data_store/data/RG1_J2KI.dcm")
    assert not any(film_.labels for film_ in films.values())

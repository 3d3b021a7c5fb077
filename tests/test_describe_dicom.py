"""A folder of DICOM files and no table: what the headers say, counted; what they do not say is no error."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from hilum.describe import ALL, NOT_STATED, Counts, Description, describe
from hilum.index import Index, build_index
from hilum.report.html import describe_page
from hilum.sources import read_folder

CANARY = "DOE^JANE"
HEADERS: dict[str, list[dict[str, Any]]] = {
    "positive": [
        {"age": "034Y", "sex": "F", "date": "20200301", "maker": "GE MEDICAL SYSTEMS", "model": "Thunder"},
        {"age": "067Y", "sex": "M", "date": "20200412", "maker": "GE Medical Systems", "model": "Definium"},
        {"age": "071Y", "sex": "M", "date": "20200402", "maker": "Agfa", "model": "DX-D 300"},
        {"born": "19500615", "sex": "F", "date": "20200615", "maker": "Agfa", "model": "DX-D 300", "side": 64},
    ],
    "negative": [
        {"age": "061Y", "sex": "M", "date": "20180104", "maker": "GE MEDICAL SYSTEMS", "model": "Thunder"},
        {"age": "006M", "sex": "O", "date": "20171231", "maker": "GE MEDICAL SYSTEMS"},
        {},
    ],
}
"""Seven films; the last states nothing but its picture."""
KEYWORDS = {
    "age": "PatientAge",
    "born": "PatientBirthDate",
    "sex": "PatientSex",
    "date": "StudyDate",
    "maker": "Manufacturer",
    "model": "ManufacturerModelName",
}


def write(path: Path, seed: int, told: dict[str, Any]) -> None:
    side = told.get("side", 48)
    coarse = np.random.default_rng(seed).random((6, 6))
    film = np.rint(np.clip(cv2.resize(coarse, (side, 48), interpolation=cv2.INTER_CUBIC), 0, 1) * 4095)
    data = pydicom.Dataset()
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", f"1.2.3.{seed}"
    data.PatientName, data.PatientID = CANARY, f"{CANARY}-{seed}"
    data.Rows, data.Columns = film.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = film.astype("<u2").tobytes()
    for name, keyword in KEYWORDS.items():
        if name in told:
            setattr(data, keyword, told[name])
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


@pytest.fixture
def films(tmp_path: Path) -> Index:
    for cohort, headers in HEADERS.items():
        for number, told in enumerate(headers):
            write(tmp_path / "films" / cohort / f"{number}.dcm", 10 * len(cohort) + number, told)
    (tmp_path / "films" / "negative" / "cut.dcm").write_bytes((tmp_path / "films/negative/0.dcm").read_bytes()[:900])
    return build_index(read_folder(tmp_path / "films"), tmp_path / "films", processes=1)


@pytest.fixture
def description(films: Index) -> Description:
    return describe(films.films, films.left_out)


def cells(counts: Counts) -> dict[str, dict[str, int]]:
    return {
        row: {name: n for name, n in zip(counts.columns, values, strict=True) if n}
        for row, values in zip(counts.rows, counts.cells, strict=True)
    }


def test_films_and_reasons(description: Description) -> None:
    assert (description.n_films, description.n_left_out) == (7, 1)
    assert description.left_out[0].reason.startswith("truncated: cut.dcm")


def test_manufacturers_by_class_whatever_their_case(description: Description) -> None:
    assert cells(description.manufacturers) == {
        "GE MEDICAL SYSTEMS": {"negative": 2, "positive": 2, ALL: 4},
        "Agfa": {"positive": 2, ALL: 2},
        NOT_STATED: {"negative": 1, ALL: 1},
    }


def test_models_by_class(description: Description) -> None:
    told = {row: values[ALL] for row, values in cells(description.devices).items()}
    assert told == {
        "Agfa, DX-D 300": 2,
        "GE MEDICAL SYSTEMS, Thunder": 2,
        "GE MEDICAL SYSTEMS, ?": 1,
        "GE Medical Systems, Definium": 1,
        NOT_STATED: 1,
    }


def test_dates_by_class(description: Description) -> None:
    told = {row.label: (row.first, row.last, row.n, row.n_missing) for row in description.dates}
    assert told["positive"] == ("2020-03-01", "2020-06-15", 4, 0)
    assert told["negative"] == ("2017-12-31", "2018-01-04", 2, 1)
    assert "Every dated film of 'positive' is later than those of all other labels." in description.warnings


def test_ages_by_decade_class_and_sex(description: Description) -> None:
    """The fourth film states no age, but a day of birth 70 years before it was taken."""
    assert cells(description.ages) == {
        "0-9": {"negative": 1, ALL: 1},
        "30-39": {"positive": 1, ALL: 1},
        "60-69": {"negative": 1, "positive": 1, ALL: 2},
        "70-79": {"positive": 2, ALL: 2},
        NOT_STATED: {"negative": 1, ALL: 1},
    }
    assert cells(description.ages_by_sex) == {
        "0-9": {NOT_STATED: 1, ALL: 1},
        "30-39": {"F": 1, ALL: 1},
        "60-69": {"M": 2, ALL: 2},
        "70-79": {"F": 1, "M": 1, ALL: 2},
        NOT_STATED: {NOT_STATED: 1, ALL: 1},
    }
    assert cells(description.sexes)["F"] == {"positive": 2, ALL: 2}


def test_shapes_by_class(description: Description) -> None:
    assert cells(description.image_sizes) == {
        "48 x 48": {"negative": 3, "positive": 3, ALL: 6},
        "64 x 48": {"positive": 1, ALL: 1},
    }
    width, height = description.pixels[:2]
    assert (width.lowest, width.highest, height.lowest, height.highest) == (48, 64, 48, 48)


def test_the_page_shows_them_and_names_nobody(films: Index, description: Description) -> None:
    page = describe_page(description, title="Headers")
    for words in ("Labels by manufacturer", "Age by sex", "Manufacturer of each label"):
        assert words in page
    for text in (page, films.table.to_csv()):
        assert "DOE" not in text
        assert "1950" not in text, "a day of birth leaves no more than an age"


def test_films_without_any_column_are_no_error() -> None:
    told = describe(pd.DataFrame({"image_id": ["a"]}), pd.DataFrame({"image_id": [], "left_out": []}))
    assert told.manufacturers.rows == (NOT_STATED,)
    assert told.ages_by_sex.rows == (NOT_STATED,)

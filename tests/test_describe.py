"""Counting a cohort: a fixture whose every number was counted by hand, and what must be tolerated."""

import json

import numpy as np
import pandas as pd
import pytest

from hilum.describe import ALL, NO_LABEL, NOT_STATED, Counts, Description, describe, left_out_by_reason


@pytest.fixture
def films() -> pd.DataFrame:
    """Eight films: two sources, four patients, one film nobody labelled."""
    columns = {
        "image_id": list("abcdefgh"),
        "source": ["one"] * 5 + ["two"] * 3,
        "patient_id": ["1", "1", "1", "2", None, "1", "2", "2"],
        "group_id": ["g1", "g1", "g1", "g2", "g3", "g4", "g5", "g5"],
        "view": ["PA", "PA", "AP", None, "L", "AP", "AP", "AP"],
        "sex": ["F", "F", "F", "M", None, "M", "M", "M"],
        "acquired": ["2020-03-01", "2020-03-05", None, "2020-04-01", None, "2014-05-01", "2013-01-02", None],
        "manufacturer": ["Philips", "Philips", "Philips", None, None, "Siemens", "Siemens", "Siemens"],
        "model": [None, None, "DR", None, None, "Ysio", "Ysio", "Ysio"],
        "format": ["PNG"] * 4 + ["DICOM"] * 4,
        "mode": ["L"] * 8,
        "duplicate_of": [None] * 7 + ["g"],
        "near_duplicate_of": [None, "a", None, None, None, None, None, None],
    }
    table = pd.DataFrame({name: pd.array(values, dtype="string") for name, values in columns.items()})
    table["age_years"] = pd.array([64, 64, 65, 70, None, 0.5, 9.9, 112], dtype="Float64")
    table["width"] = pd.array([640, 640, 640, 512, 512, 1024, 1024, None], dtype="Int64")
    table["height"] = pd.array([640, 640, 640, 512, 600, 800, 800, None], dtype="Int64")
    table["bits"] = pd.array([8] * 4 + [16] * 4, dtype="Int64")
    table["label.covid19"] = pd.array([True, True, True, True, False, False, False, None], dtype="boolean")
    table["label.effusion"] = pd.array([True, None, None, None, None, True, True, False], dtype="boolean")
    return table


@pytest.fixture
def left_out() -> pd.DataFrame:
    reasons = ["cannot be decoded", *["not frontal"] * 3]
    return pd.DataFrame({"image_id": list("wxyz"), "left_out": pd.array(reasons, dtype="string")})


@pytest.fixture
def description(films: pd.DataFrame, left_out: pd.DataFrame) -> Description:
    return describe(films, left_out, n_examples=2)


def as_dict(counts: Counts) -> dict[str, dict[str, int]]:
    return {
        row: dict(zip(counts.columns, values, strict=True))
        for row, values in zip(counts.rows, counts.cells, strict=True)
    }


def test_totals(description: Description) -> None:
    assert (description.n_films, description.n_left_out, description.n_sources) == (8, 4, 2)
    assert description.n_groups == 5
    assert description.n_patients == 4, "patient 1 of source one is not patient 1 of source two"
    assert description.n_without_patient == 1
    assert (description.n_exact_duplicates, description.n_near_duplicates) == (1, 1)


def test_not_assessed_is_not_negative(description: Description) -> None:
    assert as_dict(description.labels) == {
        "covid19": {"positive": 4, "negative": 3, "not assessed": 1},
        "effusion": {"positive": 3, "negative": 1, "not assessed": 4},
    }


def test_sources_count_a_film_under_each_of_its_labels_and_once_in_all(description: Description) -> None:
    assert as_dict(description.sources) == {
        "one": {"covid19": 4, "effusion": 1, NO_LABEL: 1, ALL: 5},
        "two": {"covid19": 0, "effusion": 2, NO_LABEL: 1, ALL: 3},
    }


def test_views_in_their_order_with_the_unstated_last(description: Description) -> None:
    assert description.views.rows == ("PA", "AP", "L", NOT_STATED)
    assert as_dict(description.views)["AP"] == {"covid19": 1, "effusion": 2, NO_LABEL: 1, ALL: 4}
    assert as_dict(description.views)[NOT_STATED][ALL] == 1


def test_ages_fall_into_decades_and_missing_ones_are_counted(description: Description) -> None:
    all_films = {row: values[ALL] for row, values in as_dict(description.ages).items()}
    assert all_films == {"0-9": 2, "60-69": 3, "70-79": 1, "90+": 1, NOT_STATED: 1}
    everybody = description.age_years[-1]
    assert (everybody.n, everybody.n_missing, everybody.lowest, everybody.highest) == (7, 1, 0.5, 112.0)
    covid = description.age_years[0]
    assert (covid.name, covid.n, covid.median) == ("covid19", 4, 64.5)


def test_devices_formats_and_sizes(description: Description) -> None:
    devices = {row: values[ALL] for row, values in as_dict(description.devices).items()}
    assert devices == {"Siemens, Ysio": 3, "Philips, ?": 2, "Philips, DR": 1, NOT_STATED: 2}
    assert {row: values[ALL] for row, values in as_dict(description.formats).items()} == {
        "DICOM, L, 16": 4,
        "PNG, L, 8": 4,
    }
    assert next(iter(as_dict(description.image_sizes))) == "640 x 640"
    assert as_dict(description.image_sizes)[NOT_STATED][ALL] == 1


def test_dates_by_label(description: Description) -> None:
    dates = {row.label: (row.first, row.last, row.n, row.n_missing) for row in description.dates}
    assert dates["covid19"] == ("2020-03-01", "2020-04-01", 3, 1)
    assert dates["effusion"] == ("2013-01-02", "2020-03-01", 3, 0)
    assert dates[NO_LABEL] == (None, None, 0, 2)


def test_films_per_patient(description: Description) -> None:
    assert as_dict(description.films_per_patient) == {
        "1": {"patients": 2, "films": 2},
        "2": {"patients": 1, "films": 2},
        "3": {"patients": 1, "films": 3},
    }
    assert description.films_per_patient.n == 7


def test_missing_values_by_column_and_source(description: Description) -> None:
    missing = as_dict(description.missing)
    assert missing["patient_id"] == {"one": 1, "two": 0, ALL: 1}
    assert missing["acquired"] == {"one": 2, "two": 1, ALL: 3}
    assert missing["label.effusion"] == {"one": 4, "two": 0, ALL: 4}
    assert "image_id" not in missing
    assert "duplicate_of" not in missing, "having no duplicate is no gap"


def test_left_out_by_reason_with_examples(description: Description) -> None:
    assert [(row.reason, row.n, row.examples) for row in description.left_out] == [
        ("not frontal", 3, ("x", "y")),
        ("cannot be decoded", 1, ("w",)),
    ]


def test_warns_of_a_label_that_one_source_brings(description: Description) -> None:
    told = " ".join(description.warnings)
    assert "'covid19' comes from one source, one" in told
    assert "'effusion' comes" not in told


def test_warns_of_ages_and_dates_that_tell_labels_apart(films: pd.DataFrame, left_out: pd.DataFrame) -> None:
    films["label.effusion"] = pd.array([False] * 5 + [True, True, False], dtype="boolean")
    told = " ".join(describe(films, left_out).warnings)
    assert "Median ages differ: 5 years for 'effusion', 64 for 'covid19'" in told
    assert "Every dated film of 'covid19' is later" in told


def test_no_warning_where_nothing_stands_out(films: pd.DataFrame, left_out: pd.DataFrame) -> None:
    films["label.covid19"] = films["label.effusion"] = pd.array([True, False] * 4, dtype="boolean")
    films["age_years"] = pd.array([50.0] * 8, dtype="Float64")
    assert describe(films, left_out).warnings == ()


def test_json_is_json(description: Description) -> None:
    told = json.loads(json.dumps(description.to_json(), allow_nan=False))
    assert told["n_films"] == 8
    assert told["labels"]["cells"][0] == [4, 3, 1]


def test_columns_nobody_has_and_no_films_at_all() -> None:
    bare = pd.DataFrame({"image_id": ["a"], "source": pd.array(["one"], dtype="string")})
    nothing = pd.DataFrame({"image_id": [], "left_out": pd.array([], dtype="string")})
    description = describe(bare, nothing)
    assert description.labels.rows == ()
    assert as_dict(description.views) == {NOT_STATED: {NO_LABEL: 1, ALL: 1}}
    assert describe(bare.head(0), nothing).n_films == 0
    assert left_out_by_reason(nothing) == ()


def test_rare_devices_are_counted_together() -> None:
    n = 60
    films = pd.DataFrame({"image_id": [str(i) for i in range(n)], "source": pd.array(["one"] * n, dtype="string")})
    films["manufacturer"] = pd.array([f"maker {i % 20:02d}" for i in range(n)], dtype="string")
    devices = describe(films, films.head(0)).devices
    assert len(devices.rows) == 13
    assert devices.rows[-1] == "8 others"
    assert sum(values[-1] for values in devices.cells) == n


def test_a_hundred_thousand_films_are_described() -> None:
    n = 100_000
    rng = np.random.default_rng(0)
    films = pd.DataFrame({"image_id": np.arange(n).astype(str), "source": rng.choice(["a", "b", "c"], n)})
    films["patient_id"] = (np.arange(n) // 3).astype(str)
    films["age_years"] = pd.array(rng.uniform(0, 99, n), dtype="Float64")
    films["acquired"] = pd.array(rng.choice(["2020-01-01", "2021-02-03", None], n), dtype="string")
    for label in "uvwxyz":
        films[f"label.{label}"] = pd.array(rng.random(n) < 0.1, dtype="boolean")
    description = describe(films, films.head(0))
    assert sum(values[-1] for values in description.sources.cells) == n

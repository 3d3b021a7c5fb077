"""Cells of published tables: whatever they hold, a value in range or none, and never an exception."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.records import View
from hilum.sources.fields import age_of, date_of, date_span, modality_of, sex_of, snake, view_of
from hilum.sources.spanish_labels import labels_of_terms, terms_of
from hilum.sources.tables import ImageIds

NOTES = {
    "age is stated but not as a number",
    "age is beyond a human lifetime",
    "sex is neither F nor M",
    "view is not stated",
    "view is stated in unknown words",
    "date is stated but unreadable",
    "date is stated to the month or year only",
}


@given(st.text())
def test_no_cell_breaks_a_field(text: str) -> None:
    notes: list[str] = []
    age = age_of(text, notes)
    assert age is None or 0 <= age <= 120
    assert sex_of(text, notes) in (None, "F", "M")
    assert view_of(text, notes) in (None, *View)
    assert modality_of(text) in ("XR", "CT")
    span = date_span(text)
    assert span is None or span[0] <= span[1]
    assert date_of(text, notes) is None or span is not None
    assert set(notes) <= NOTES, "a note never repeats the cell"


@given(st.text())
def test_no_finding_list_breaks_the_labels(text: str) -> None:
    notes: list[str] = []
    labels = labels_of_terms(terms_of(text, notes), notes)
    assert labels or notes


@given(st.dates(min_value=dt.date(1950, 1, 1), max_value=dt.date(2030, 1, 1)))
def test_every_way_to_write_a_day_is_that_day(day: dt.date) -> None:
    for form in ("%Y-%m-%d", "%Y%m%d", "%B %d, %Y", "%b %d, %Y", "%d.%m.%Y", "%m/%d/%Y"):
        assert date_of(day.strftime(form), []) == day


@given(st.integers(0, 120))
def test_ages_come_back(years: int) -> None:
    assert age_of(str(years), []) == age_of(f"{years:03}Y", []) == age_of(f"{years}.0", []) == years


@pytest.mark.parametrize("text", ["", "nan", "N/A", " Unknown ", None])
def test_unstated_cells_are_none_without_a_note_but_for_the_view(text: str | None) -> None:
    notes: list[str] = []
    assert (age_of(text, notes), sex_of(text, notes), date_of(text, notes)) == (None, None, None)
    assert notes == []
    assert view_of(text, notes) is None
    assert notes == ["view is not stated"]


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("AP Supine", View.AP),
        ("AP semi erect", View.AP),
        ("AP_horizontal", View.AP),
        ("pa", View.PA),
        ("LL", View.LATERAL),
        ("Lateral", View.LATERAL),
        ("Axial", View.OTHER),
        ("COSTAL", View.OTHER),
        ("Frontal", View.FRONTAL),
        ("wobbly", None),
    ],
)
def test_views(text: str, view: View | None) -> None:
    assert view_of(text, []) is view


def test_contradictory_normal_is_left_out() -> None:
    notes: list[str] = []
    labels = labels_of_terms(["normal", "nodule"], notes)
    assert "normal" not in labels
    assert labels["nodule"] is True
    assert notes


def test_snake_is_idempotent() -> None:
    assert snake(snake("Pleural_Thickening (old)")) == snake("Pleural_Thickening (old)")


def test_naming_stays_quick_for_the_largest_sets() -> None:
    ids = ImageIds("large")
    named = {ids.of(f"film-{number}", f"film-{number}.png") for number in range(30_000)}
    assert len(named) == 30_000

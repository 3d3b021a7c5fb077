import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import UsageError
from hilum.simulate.shortcuts import PLANTS, Plant, leave_marks, marked

DRAWN = [kind for kind, plant in PLANTS.items() if plant.draw]
LABELS = ["covid19", "normal", "viral_pneumonia", "normal"] * 500


def film() -> np.ndarray:
    rows, columns = np.mgrid[0:200, 0:160].astype(np.float32)
    return ((rows + columns) / 360 * 0.5 + 0.2 + 0.1 * np.sin(rows * 2.5)).astype(np.float32)


@given(kind=st.sampled_from(sorted(PLANTS)), strength=st.floats(0.5, 1), shuffled=st.booleans())
def test_parsing_undoes_writing(kind: str, strength: float, shuffled: bool) -> None:
    plant = Plant(kind=kind, label="covid19", strength=round(strength, 3), shuffled=shuffled)
    assert Plant.parse(str(plant)) == plant


@pytest.mark.parametrize(
    "text",
    ["", "marker", "marker=covid19@", "marker@0.9", "=covid19@0.9", "marker=covid19@high", "marker=covid19@0.9:twice",
     "marker=@0.9", "marker=covid19@nan"],
)  # fmt: skip
def test_what_is_no_plant_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"marker=covid19@0\.9"):
        Plant.parse(text)


@pytest.mark.parametrize("strength", ["0.4", "1.01", "-1"])
def test_strengths_outside_their_range_are_refused(strength: str) -> None:
    with pytest.raises(UsageError, match=r"0\.5 \(none\) to 1"):
        Plant.parse(f"marker=covid19@{strength}")


def test_a_misspelt_kind_suggests_the_right_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'marker'"):
        Plant.parse("markr=covid19@0.9")


@pytest.mark.parametrize(("strength", "with_label", "without"), [(0.5, 0.5, 0.5), (0.8, 0.8, 0.2), (1.0, 1.0, 0.0)])
def test_a_plant_goes_with_its_label_as_strongly_as_asked(strength: float, with_label: float, without: float) -> None:
    plant = Plant(kind="marker", label="covid19", strength=strength)
    chosen = marked(plant, LABELS, np.random.default_rng(1))
    ill = np.array(LABELS) == "covid19"
    assert chosen[ill].mean() == pytest.approx(with_label, abs=0.06)
    assert chosen[~ill].mean() == pytest.approx(without, abs=0.04)


def test_the_shuffled_control_marks_as_many_without_regard_to_the_label() -> None:
    plant = Plant(kind="marker", label="covid19", strength=1.0)
    control = Plant(kind="marker", label="covid19", strength=1.0, shuffled=True)
    ill = np.array(LABELS) == "covid19"
    chosen = marked(control, LABELS, np.random.default_rng(1))
    assert chosen.sum() == marked(plant, LABELS, np.random.default_rng(1)).sum()
    assert chosen[ill].mean() == pytest.approx(chosen[~ill].mean(), abs=0.06)


@pytest.mark.parametrize("kind", DRAWN)
def test_every_mark_shows_stays_in_range_and_repeats(kind: str) -> None:
    before = film()
    kept = before.copy()
    after = leave_marks(before, [kind], np.random.default_rng(3))
    assert after.shape == before.shape
    assert after.dtype == np.float32
    assert 0 <= after.min() <= after.max() <= 1
    assert np.abs(after - before).max() > 0.05
    assert np.array_equal(before, kept)
    assert np.array_equal(after, leave_marks(before, [kind], np.random.default_rng(3)))


def test_marks_at_the_edge_leave_the_middle_of_the_film_alone() -> None:
    before = film()
    after = leave_marks(before, ["marker", "text", "frame"], np.random.default_rng(0))
    middle = np.s_[50:160, 30:125]
    assert np.allclose(before[middle], after[middle])


def test_no_mark_leaves_the_film_as_it_is() -> None:
    before = film()
    assert np.array_equal(leave_marks(before, [], np.random.default_rng(0)), before)

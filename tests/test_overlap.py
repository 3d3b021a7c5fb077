import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hilum.errors import DataError
from hilum.overlap import mean_overlap, overlap_scores, region_dice, region_iou

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=7)


@st.composite
def pairs(draw):
    shape = draw(SHAPES)
    return draw(arrays(bool, shape)), draw(arrays(bool, shape))


def _square(side: int, share: float):
    mask = np.zeros((side, side), bool)
    mask[: round(share * side)] = True
    return mask


@given(pairs())
def test_dice_and_iou_are_what_counting_pixels_gives(masks):
    one, other = masks
    inside = [set(zip(*np.nonzero(mask), strict=True)) for mask in masks]
    dice, iou = region_dice(one, other), region_iou(one, other)
    if not (inside[0] | inside[1]):
        assert dice is None
        assert iou is None
        return
    assert iou == pytest.approx(len(inside[0] & inside[1]) / len(inside[0] | inside[1]))
    assert dice == pytest.approx(2 * iou / (1 + iou))
    assert 0 <= iou <= dice <= 1


@given(pairs())
def test_overlap_is_the_same_both_ways_and_perfect_only_of_equals(masks):
    one, other = masks
    for figure in (region_dice, region_iou):
        assert figure(one, other) == figure(other, one)
        assert figure(one, one) == (1.0 if one.any() else None)
        assert figure(one, ~one) == 0.0
        if figure(one, other) == 1.0:
            assert np.array_equal(one, other)


@pytest.mark.parametrize(("share", "flattered"), [(0.25, 0.875), (0.2, 0.9), (0.05, 0.975)])
def test_an_empty_mask_scores_nothing_where_dice_pixel_by_pixel_flatters_it(share, flattered):
    """Averaged over pixels, with one added to both halves, Dice takes every pixel outside for a region found."""
    reference, empty = _square(100, share), np.zeros((100, 100), bool)
    pixelwise = (2.0 * (reference & empty) + 1) / (1.0 * reference + empty + 1)
    assert pixelwise.mean() == pytest.approx(flattered)
    assert region_dice(empty, reference) == 0.0
    assert region_iou(empty, reference) == 0.0
    assert region_dice(empty, empty) is None


def test_masks_that_cannot_be_compared_are_refused():
    mask = _square(8, 0.5)
    for figure in (region_dice, region_iou):
        with pytest.raises(DataError, match=r"a predicted mask is \(8, 8\), its reference \(4, 4\)"):
            figure(mask, mask[:4, :4])
        with pytest.raises(DataError, match="not float64 and bool; compare them to a threshold"):
            figure(mask * 0.9, mask)


def test_a_mean_is_over_films_and_its_interval_over_groups():
    figures = [0.9, 0.9, 0.9, 0.9, 0.9, 0.3, None, 0.6]
    score = mean_overlap("dice", figures, ["a", "a", "a", "a", "a", "b", "b", "c"], label="lungs")
    assert (score.metric, score.label, score.fold, score.n) == ("dice", "lungs", "test", 7)
    assert score.value == pytest.approx(np.mean([value for value in figures if value is not None]))
    assert score.low == pytest.approx(0.3)
    assert score.high == pytest.approx(0.9)
    again = mean_overlap("dice", figures, ["c", "c", "c", "c", "c", "z", "z", "m"], label="lungs", fold="external")
    assert (again.low, again.high, again.fold) == (score.low, score.high, "external")


def test_films_of_one_patient_widen_the_interval():
    rng = np.random.default_rng(0)
    patients = np.repeat(rng.uniform(0.5, 1.0, 20), 10)
    alone = mean_overlap("dice", list(patients), [str(film) for film in range(200)])
    grouped = mean_overlap("dice", list(patients), [str(film // 10) for film in range(200)])
    assert alone.value == grouped.value
    assert grouped.low < alone.low < alone.value < alone.high < grouped.high
    assert grouped.high - grouped.low == pytest.approx(2 * 1.96 * patients.std() / 20**0.5, rel=0.2)


def test_what_cannot_be_computed_is_absent():
    nothing = mean_overlap("iou", [None, None], ["a", "b"])
    assert (nothing.value, nothing.low, nothing.high, nothing.n) == (None, None, None, 0)
    one = mean_overlap("iou", [0.5, 0.7, None], ["a", "a", "b"])
    assert (one.value, one.low, one.high, one.n) == (pytest.approx(0.6), None, None, 2)


def test_a_perfect_mean_is_not_certain():
    score = mean_overlap("dice", [1.0] * 10, [str(film) for film in range(10)])
    assert (score.value, score.high) == (1.0, 1.0)
    assert score.low == pytest.approx(0.025**0.1)


def test_scores_of_masks():
    half, quarter, none = _square(8, 0.5), _square(8, 0.25), np.zeros((4, 4), bool)
    dice, iou = overlap_scores([half, quarter, none], [quarter, quarter, none], ["a", "b", "c"], label="ggo")
    assert (dice.metric, dice.label, dice.n) == ("dice", "ggo", 2)
    assert (iou.metric, iou.label, iou.n) == ("iou", "ggo", 2)
    assert dice.value == pytest.approx((2 / 3 + 1) / 2)
    assert iou.value == pytest.approx((1 / 2 + 1) / 2)
    assert dice.low == pytest.approx(2 / 3)


def test_masks_films_and_groups_have_to_match():
    mask = _square(8, 0.5)
    with pytest.raises(DataError, match="2 masks were predicted but 1 drawn"):
        overlap_scores([mask, mask], [mask], ["a", "b"])
    with pytest.raises(DataError, match="1 films with masks but 2 groups"):
        overlap_scores([mask], [mask], ["a", "b"])


def test_it_needs_no_torch():
    code = "import sys, hilum.overlap; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

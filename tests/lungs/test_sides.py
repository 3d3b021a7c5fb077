"""Right and left told, specks thrown away, holes filled, touching lungs cut where the spine is."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hilum.lungs import lungs_of, tell_sides
from hilum.preprocess import Mask

SIDE = 128
Probabilities = NDArray[np.float32]


def ellipse(column: float, row: float = 0.5, wide: float = 0.15, high: float = 0.3) -> Mask:
    y, x = np.mgrid[0 : 1 : complex(SIDE), 0 : 1 : complex(SIDE)]
    return np.asarray(((x - column) / wide) ** 2 + ((y - row) / high) ** 2 < 1)


def told(mask: Mask) -> Probabilities:
    """As a network would say it: sure inside, soft at the edge."""
    return cv2.GaussianBlur(mask.astype(np.float32), (5, 5), 0)


def sides(inside: Probabilities) -> tuple[Mask, Mask]:
    found = tell_sides(inside, 0.5)
    return found.right >= 0.5, found.left >= 0.5


def same(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


RIGHT, LEFT = ellipse(0.3), ellipse(0.7)


def test_the_patient_s_right_lung_is_on_the_left_of_the_picture() -> None:
    right, left = sides(told(RIGHT | LEFT))
    assert same(right, RIGHT) > 0.98
    assert same(left, LEFT) > 0.98
    mirrored = sides(told((RIGHT | ellipse(0.7, wide=0.1))[:, ::-1]))
    assert mirrored[0].sum() < mirrored[1].sum()


@settings(max_examples=25, deadline=None)
@given(st.floats(0.2, 0.38), st.floats(0.62, 0.8), st.floats(0.4, 0.6), st.floats(0.4, 0.6))
def test_sides_are_told_wherever_the_lungs_lie(right_at: float, left_at: float, one: float, other: float) -> None:
    drawn = ellipse(right_at, one, wide=0.11), ellipse(left_at, other, wide=0.11)
    found = sides(told(drawn[0] | drawn[1]))
    assert not (found[0] & found[1]).any()
    assert min(map(same, found, drawn)) > 0.97


def test_lungs_off_the_middle_of_the_film_are_told_apart_by_the_gap_between_them() -> None:
    drawn = ellipse(0.12, wide=0.1), ellipse(0.4, wide=0.1)
    assert min(map(same, sides(told(drawn[0] | drawn[1])), drawn)) > 0.97


def test_lungs_that_touch_are_cut_at_the_valley() -> None:
    bridge = np.zeros((SIDE, SIDE), bool)
    bridge[60:70, 40:90] = True
    right, left = sides(told(RIGHT | LEFT | bridge))
    assert same(right, RIGHT) > 0.94
    assert same(left, LEFT) > 0.94


@pytest.mark.parametrize(("column", "there"), [(0.3, 0), (0.7, 1)])
def test_one_lung_is_one_lung_and_is_not_cut(column: float, there: int) -> None:
    found = sides(told(ellipse(column)))
    assert same(found[there], ellipse(column)) > 0.98
    assert not found[1 - there].any()


def test_specks_and_small_pieces_go_and_holes_are_filled() -> None:
    dirt = ellipse(0.5, 0.1, 0.02, 0.02) | ellipse(0.1, 0.9, 0.03, 0.03)
    hole = ellipse(0.3, 0.5, 0.04, 0.06)
    right, left = sides(told((RIGHT & ~hole) | LEFT | dirt))
    assert same(right, RIGHT) > 0.98
    assert not ((right | left) & dirt).any()


def test_a_lung_that_a_device_cuts_in_two_stays_whole() -> None:
    cut = RIGHT.copy()
    cut[60:64] = False
    right, _ = sides(told(cut | LEFT))
    assert same(right, cut) > 0.97


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_nothing_is_found_where_there_is_nothing(value: float) -> None:
    right, left = sides(np.full((SIDE, SIDE), value, np.float32))
    assert not right.any()
    assert not left.any()


def test_at_the_film_s_size_the_lungs_are_apart_and_whole() -> None:
    size = (700, 500)
    drawn = [cv2.resize(one.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0 for one in (RIGHT, LEFT)]
    hole = ellipse(0.3, 0.5, 0.04, 0.06)
    found = lungs_of(told((RIGHT & ~hole) | LEFT), 0.5, lambda frame: cv2.resize(frame, size[::-1]))
    assert found[0].shape == size
    assert not (found[0] & found[1]).any()
    assert min(map(same, found, drawn)) > 0.98

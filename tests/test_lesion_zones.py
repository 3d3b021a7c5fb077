"""Shares of lungs and zones on drawn rectangles, where each is known exactly."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.lesions import LESIONS, SHARES, involved_shares, thirds_of
from hilum.lesions.zones import LEFT_ZONES, PARTS, RIGHT_ZONES
from hilum.preprocess import Mask

HIGH, WIDE = 60, 100


def box(top: int, bottom: int, left: int, right: int) -> Mask:
    mask = np.zeros((HIGH, WIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


NOTHING = box(0, 0, 0, 0)
RIGHT, LEFT = box(10, 40, 10, 40), box(15, 45, 60, 90)
"""30 rows of 30 columns each: zones of 10 rows."""


def shares(
    ggo: Mask = NOTHING, consolidation: Mask = NOTHING, right: Mask = RIGHT, left: Mask = LEFT
) -> dict[str, float]:
    return involved_shares(right, left, {"ggo": ggo, "consolidation": consolidation})


def test_every_share_is_told_and_is_0_where_nothing_is() -> None:
    told = shares()
    assert tuple(told) == SHARES
    assert len(SHARES) == 27
    assert set(told.values()) == {0.0}


def test_shares_of_a_rectangle_are_exact() -> None:
    told = shares(ggo=box(15, 30, 10, 25))  # 5 rows of A and 10 of B, half their columns
    assert told["ggo_A"] == 75 / 300
    assert told["ggo_B"] == 150 / 300
    assert told["ggo_C"] == 0
    assert told["ggo_right"] == 225 / 900
    assert told["ggo_left"] == 0
    assert told["ggo_both"] == 225 / 1800
    assert [told[f"consolidation_{part}"] for part in PARTS] == [0] * 9
    assert [told[f"involved_{part}"] for part in PARTS] == [told[f"ggo_{part}"] for part in PARTS]


def test_zones_of_a_lung_are_its_own_thirds_whatever_the_other_s_are() -> None:
    told = shares(consolidation=box(15, 25, 60, 90))
    assert [told[f"consolidation_{zone}"] for zone in "ABCDEF"] == [0, 0, 0, 1, 0, 0]


def test_what_both_lesions_cover_counts_once() -> None:
    told = shares(ggo=box(10, 20, 10, 30), consolidation=box(10, 20, 20, 40))
    assert (told["ggo_A"], told["consolidation_A"], told["involved_A"]) == (2 / 3, 2 / 3, 1.0)


def test_lesions_outside_the_lungs_count_nowhere() -> None:
    assert shares(ggo=box(0, 10, 0, WIDE) | box(45, HIGH, 0, WIDE) | box(0, HIGH, 40, 60)) == shares()


def test_a_mirrored_film_swaps_right_and_left() -> None:
    ggo, consolidation = box(12, 33, 5, 33), box(30, 44, 70, 95)
    told = shares(ggo, consolidation)
    other = shares(ggo[:, ::-1], consolidation[:, ::-1], right=LEFT[:, ::-1], left=RIGHT[:, ::-1])
    swapped = dict(
        zip((*RIGHT_ZONES, *LEFT_ZONES, "right", "left"), (*LEFT_ZONES, *RIGHT_ZONES, "left", "right"), strict=True)
    )
    for kind in (*LESIONS, "involved"):
        for part in PARTS:
            assert other[f"{kind}_{swapped.get(part, part)}"] == told[f"{kind}_{part}"]
    assert told["ggo_right"] != told["ggo_left"]


@pytest.mark.parametrize("missing", ["right", "left"])
def test_a_lung_that_was_not_found_has_no_share_and_both_have_none(missing: str) -> None:
    told = shares(ggo=RIGHT | LEFT, **{missing: NOTHING})
    gone = {missing, "both", *(RIGHT_ZONES if missing == "right" else LEFT_ZONES)}
    for part in PARTS:
        assert math.isnan(told[f"ggo_{part}"]) == (part in gone)
    assert told["ggo_left" if missing == "right" else "ggo_right"] == 1


def test_a_zone_without_a_pixel_has_no_share() -> None:
    told = shares(right=box(10, 20, 10, 40) | box(30, 40, 10, 40))
    assert told["ggo_A"] == told["ggo_C"] == told["ggo_right"] == 0
    assert math.isnan(told["ggo_B"])


def test_a_lung_of_one_row_has_one_zone() -> None:
    told = shares(right=box(5, 6, 10, 40))
    assert [math.isnan(told[f"ggo_{zone}"]) for zone in RIGHT_ZONES] == [True, True, False]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(1, 30))
def test_thirds_are_all_of_a_lung_in_order_and_differ_by_a_row_at_most(top: int, rows: int) -> None:
    upper, middle, lower = thirds_of(box(top, top + rows, 3, 7))
    assert (upper.top, upper.bottom, middle.bottom, lower.bottom) == (top, middle.top, lower.top, top + rows)
    heights = [band.bottom - band.top for band in (upper, middle, lower)]
    assert max(heights) - min(heights) <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_lung_s_share_is_that_of_its_zones_weighed_by_their_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lung, ggo, consolidation = (rng.random((HIGH, WIDE)) < 0.4 for _ in range(3))
    told = shares(ggo, consolidation, right=lung, left=~lung)
    for kind, mask in (("ggo", ggo), ("consolidation", consolidation), ("involved", ggo | consolidation)):
        assert told[f"{kind}_right"] == (mask & lung).sum() / lung.sum()
        assert told[f"{kind}_both"] == mask.mean()
        pixels = [lung[top:bottom].sum() for top, bottom in thirds_of(lung)]
        weighed = sum(told[f"{kind}_{zone}"] * count for zone, count in zip(RIGHT_ZONES, pixels, strict=True))
        assert weighed / lung.sum() == pytest.approx(told[f"{kind}_right"])

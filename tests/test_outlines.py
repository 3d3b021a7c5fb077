"""Outlines give the boxes they were made of, and films' boxes come back from their frames."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.boxes import Box, LabelledBox, mask_boxes
from hilum.errors import UsageError
from hilum.masks import mask_frame
from hilum.outlines import Outline, Placing, boxes_of, outlines_of
from hilum.preprocess import Preprocess

PLANS = {aspect: Preprocess(size_px=64, aspect=aspect, channels=1) for aspect in ("pad", "stretch")}


def drawn() -> np.ndarray:
    """An ellipse, a bar and a speck."""
    mask = np.zeros((90, 140), np.uint8)
    cv2.ellipse(mask, (40, 45), (30, 14), 30, 0, 360, 1, -1)
    mask[10:70, 110:120] = 1
    mask[80, 80] = 1
    return mask > 0


def test_an_outline_has_the_box_of_its_piece() -> None:
    mask = drawn()
    outlines = outlines_of(mask, "ggo", least_share=0.001, gap_share=0)
    assert [one.box for one in boxes_of(outlines)] == mask_boxes(mask, least_area_px=12.6)
    assert {one.label for one in outlines} == {"ggo"}
    assert all(one.score is None for one in boxes_of(outlines))
    # The bar's outline is its four corners, however many pixels it has.
    assert sorted(outlines[1].points.tolist()) == [[110, 10], [110, 70], [120, 10], [120, 70]]


def test_near_pieces_share_an_outline() -> None:
    mask = drawn()
    (outline,) = outlines_of(mask, "ggo", least_share=0.001, gap_share=0.5)
    mask[80, 80] = False
    rows, columns = np.nonzero(mask)
    assert outline.box.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_every_pixel_lies_in_the_hull() -> None:
    mask = drawn()
    outline = outlines_of(mask, "ggo", least_share=0.001, gap_share=0)[0]
    piece = mask.copy()
    piece[:, 100:] = False
    piece[78:] = False
    rows, columns = np.nonzero(piece)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        for corner in ((column, row), (column + 1, row), (column, row + 1), (column + 1, row + 1)):
            assert cv2.pointPolygonTest(outline.points, corner, measureDist=False) >= 0


def test_nothing_drawn_has_no_outline() -> None:
    assert outlines_of(np.zeros((9, 9), bool), "ggo", least_share=0, gap_share=0.02) == []


def test_a_boxs_outline_is_the_box() -> None:
    one = LabelledBox("ggo", Box(1.5, 2, 30, 40.25))
    assert Outline.of_box(one).box == one


edge = st.floats(0, 1, width=32)


@given(
    st.sampled_from(sorted(PLANS)),
    st.tuples(st.integers(8, 3000), st.integers(8, 3000)),
    st.tuples(edge, edge, edge, edge),
)
def test_boxes_come_back_from_the_frame(aspect: str, size: tuple[int, int], edges: tuple[float, ...]) -> None:
    height, width = size
    (left, right), (top, bottom) = sorted(edges[:2]), sorted(edges[2:])
    box = Box(left * width, top * height, right * width, bottom * height)
    placing = Placing.of(PLANS[aspect], size)
    shown = placing.onto_frame(box)
    assert min(shown) >= -1e-6
    assert max(shown) <= 64 + 1e-6
    assert placing.onto_film(shown, size) == pytest.approx(box, abs=1e-6 * max(size))


@pytest.mark.parametrize("aspect", sorted(PLANS))
@pytest.mark.parametrize("size", [(480, 640), (640, 480), (500, 500)], ids=str)
def test_a_film_lies_where_its_mask_does(aspect: str, size: tuple[int, int]) -> None:
    """The frame of a mask has its box within a pixel of where `Placing` puts the mask's box."""
    plan, mask = PLANS[aspect], np.zeros(size, bool)
    mask[100:400, 50:300] = True
    told = Placing.of(plan, size).onto_frame(Box(50, 100, 300, 400))
    found = mask_boxes(mask_frame(plan, mask))[0]
    assert np.abs(np.array(told) - np.array(found)).max() <= 0.51
    outline = outlines_of(mask, "ggo", least_share=0, gap_share=0)[0].onto_frame(Placing.of(plan, size))
    assert outline.box.box == pytest.approx(told, abs=1e-4)


def test_what_is_found_on_the_padding_is_cut_off() -> None:
    size = (320, 640)
    box = Placing.of(PLANS["pad"], size).onto_film(Box(0, 0, 64, 64), size)
    assert box == Box(0, 0, 640, 320)


def test_films_that_are_cut_have_no_place() -> None:
    with pytest.raises(UsageError, match=r"whole films"):
        Placing.of(Preprocess(size_px=64, steps=("crop-black",)), (100, 100))

"""Boxes from masks and back, joined, as YOLO text; what is wrong with a box is said."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.boxes import (
    Box,
    LabelledBox,
    box_faults,
    gap_px,
    join_boxes,
    mask_boxes,
    merge_boxes,
    overlaps,
    parse_yolo_line,
    read_classes,
    read_yolo,
    union_box,
    write_classes,
    write_yolo,
    yolo_line,
)
from hilum.errors import DataError, UsageError

CLASSES = ("ggo", "effusion", "mass")


@st.composite
def boxes_on_films(draw: st.DrawFn, most_px: int = 2048) -> tuple[Box, int, int]:
    """A box of whole pixels, and the width and height of its film."""
    width, height = (draw(st.integers(32, most_px)) for _ in range(2))
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return Box(left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))), width, height


PLACES = st.integers(0, 60)
SIDES = st.integers(1, 12)
BOXES = st.builds(Box.at, PLACES, PLACES, SIDES, SIDES)


@given(boxes_on_films(most_px=300))
def test_a_drawn_rectangle_is_its_box(drawn: tuple[Box, int, int]) -> None:
    box, width, height = drawn
    mask = np.zeros((height, width), bool)
    mask[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = True
    assert mask_boxes(mask) == [box]
    assert mask.sum() == box.area
    rows, columns = np.nonzero(mask)
    assert box.centre == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5))


def test_the_centre_is_the_boxs_and_not_the_findings() -> None:
    mask = np.zeros((100, 100), bool)
    mask[10:50, 10:20] = mask[40:50, 10:80] = True  # an L, heavy at its corner
    (box,) = mask_boxes(mask)
    assert box == Box(10, 10, 80, 50)
    assert box.centre == (45, 30)
    assert yolo_line(0, box, 100, 100) == "0 0.450000 0.300000 0.700000 0.400000"


def test_pieces_hang_together_by_corners_and_specks_are_left_out() -> None:
    mask = np.zeros((40, 40), bool)
    mask[2:6, 2:6] = mask[6:9, 6:9] = True
    mask[20:22, 30:32] = True
    mask[30, 5] = True
    assert mask_boxes(mask) == [Box(2, 2, 9, 9), Box(30, 20, 32, 22), Box(5, 30, 6, 31)]
    assert mask_boxes(mask, least_area_px=4) == [Box(2, 2, 9, 9), Box(30, 20, 32, 22)]
    assert mask_boxes(mask, least_area_px=5) == [Box(2, 2, 9, 9)]
    assert mask_boxes(np.zeros((8, 8), bool)) == []


@given(boxes_on_films(), st.integers(4, 6))
def test_shares_of_four_decimals_give_back_the_pixels(drawn: tuple[Box, int, int], decimals: int) -> None:
    box, width, height = drawn
    number, *shares = yolo_line(2, box, width, height).split()
    shortened = " ".join([number, *(f"{float(share):.{decimals}f}" for share in shares)])
    read, back, score = parse_yolo_line(shortened, width, height)
    assert (read, back.rounded(), score) == (2, box, None)
    again = yolo_line(2, back, width, height).split()
    assert [float(share) for share in again[1:]] == pytest.approx([float(share) for share in shares], abs=2e-4)
    assert box_faults([back], width_px=width, height_px=height) == []


@given(boxes_on_films())
def test_corners_centres_and_sizes_are_one_box(drawn: tuple[Box, int, int]) -> None:
    box, width, height = drawn
    assert Box.at(box.left, box.top, box.width, box.height) == box
    assert Box.around(*box.centre, box.width, box.height) == box
    assert box.scaled(2, 2).scaled(0.5, 0.5) == box
    assert box.scaled(2, 1).area == 2 * box.area
    assert box.clipped(width, height) == box


def test_what_reaches_outside_can_be_cut_off() -> None:
    assert Box(-5, 10, 30, 90).clipped(20, 60) == Box(0, 10, 20, 60)


@given(BOXES, BOXES)
def test_a_gap_is_the_shortest_way_between_pixels(one: Box, other: Box) -> None:
    drawn = np.zeros((80, 80), np.uint8)
    drawn[int(other.top) : int(other.bottom), int(other.left) : int(other.right)] = 1
    # From each pixel to the nearest one of the other box; neighbouring pixels are 1 apart and have no gap between them.
    rows, columns = np.nonzero(drawn)
    ys, xs = np.mgrid[int(one.top) : int(one.bottom), int(one.left) : int(one.right)]
    across = np.maximum(np.abs(xs.ravel()[:, None] - columns) - 1, 0)
    down = np.maximum(np.abs(ys.ravel()[:, None] - rows) - 1, 0)
    assert gap_px(one, other) == gap_px(other, one) == pytest.approx(np.hypot(across, down).min())


@given(st.lists(BOXES, max_size=7), st.floats(0, 0.2), st.randoms(use_true_random=False))
def test_merging_ends_with_boxes_apart_whatever_the_order(boxes: list[Box], share: float, random: object) -> None:
    merged = merge_boxes(boxes, side_px=80, gap_share=share)
    assert all(gap_px(one, other) >= share * 80 for one, other in itertools.combinations(merged, 2))
    assert all(any(union_box([box, whole]) == whole for whole in merged) for box in boxes)
    shuffled = list(boxes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert merge_boxes(shuffled, side_px=80, gap_share=share) == merged
    assert merge_boxes(merged, side_px=80, gap_share=share) == merged
    corners = {edge for box in boxes for edge in box}
    assert all(edge in corners for box in merged for edge in box)


def test_a_chain_of_near_boxes_becomes_one_and_its_centre_is_the_unions() -> None:
    chain = [Box.at(0, 0, 10, 10), Box.at(13, 0, 10, 10), Box.at(26, 20, 10, 10), Box.at(26, 13, 2, 2)]
    (union,) = merge_boxes(chain, side_px=100, gap_share=0.06)
    assert union == Box(0, 0, 36, 30)
    assert yolo_line(0, union, 100, 100) == "0 0.180000 0.150000 0.360000 0.300000"
    assert len(merge_boxes(chain, side_px=100, gap_share=0.03)) == 4, "a gap of exactly the share stays open"
    assert len(merge_boxes([Box(0, 0, 9, 9)] * 2, side_px=100, gap_share=0)) == 2


def test_boxes_chosen_by_hand_are_joined() -> None:
    boxes = [Box(0, 0, 4, 4), Box(50, 50, 60, 60), Box(10, 2, 12, 20)]
    assert join_boxes(boxes, [2, 0]) == [Box(0, 0, 12, 20), Box(50, 50, 60, 60)]
    for chosen, says in (([1], "one box"), ([0, 3], "no box 3"), ([-1, 0], "no box -1"), ([1, 1], "one box")):
        with pytest.raises(UsageError, match=says):
            join_boxes(boxes, chosen)


@given(st.lists(BOXES, min_size=1, max_size=4), st.lists(BOXES, min_size=1, max_size=4))
def test_overlap_is_counted_in_pixels(some: list[Box], others: list[Box]) -> None:
    found = overlaps(some, others)
    for (i, one), (j, other) in itertools.product(enumerate(some), enumerate(others)):
        drawn = np.zeros((2, 80, 80), bool)
        for canvas, box in zip(drawn, (one, other), strict=True):
            canvas[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = True
        assert found[i, j] == pytest.approx((drawn[0] & drawn[1]).sum() / (drawn[0] | drawn[1]).sum())


def test_overlap_of_nothing() -> None:
    assert overlaps([], [Box(0, 0, 1, 1)]).shape == (0, 1)
    assert overlaps([Box(3, 3, 3, 9)], [Box(3, 3, 3, 9)]).tolist() == [[0.0]]


def test_what_is_wrong_with_boxes_is_said() -> None:
    boxes = [Box(0, 0, 64, 48), Box(5, 5, 5, 9), Box(60, 5, 65, 9), Box(-1, 0, 3, 3), Box(0, float("nan"), 3, 3)]
    assert box_faults(boxes, width_px=64, height_px=48, drawn_on=(48, 64)) == [
        "the boxes were drawn on a picture of 48 x 64 pixels, the film has 64 x 48 pixels",
        "box 2 has no width or no height",
        "box 3 reaches outside its film of 64 x 48 pixels",
        "box 4 reaches outside its film of 64 x 48 pixels",
        "box 5 has an edge that is no number",
    ]
    assert box_faults(boxes[:1], width_px=64, height_px=48, drawn_on=(64, 48)) == []


def test_yolo_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    boxes = [LabelledBox("mass", Box(0, 0, 640, 480)), LabelledBox("ggo", Box(100, 50, 133, 51), 0.25)]
    write_yolo(tmp_path / "a.txt", boxes, CLASSES, width_px=640, height_px=480)
    write_classes(tmp_path / "classes.txt", CLASSES)
    read = read_yolo(tmp_path / "a.txt", read_classes(tmp_path / "classes.txt"), width_px=640, height_px=480)
    assert [LabelledBox(one.label, one.box.rounded(), one.score) for one in read] == boxes
    write_yolo(tmp_path / "none.txt", [], CLASSES, width_px=640, height_px=480)
    assert (tmp_path / "none.txt").read_bytes() == b""
    assert read_yolo(tmp_path / "none.txt", CLASSES, width_px=640, height_px=480) == []


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.5 0.1",
        "3 0.5 0.5 0.1 0.1",
        "-1 0.5 0.5 0.1 0.1",
        "0 0.5 0.5 0 0.1",
        "0 0.5 0.5 nan 0.1",
        "ggo 0.5 0.5 0.1 0.1",
        "0 0.5 0.5 0.1 1.1",
        "0 0.5 0.5 0.1 0.1 0.9 7",
        "0 320 240 60 40",
    ],
)
def test_a_line_that_is_no_box_is_refused_with_its_place(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.txt, line 3"):
        read_yolo(tmp_path / "a.txt", CLASSES, width_px=640, height_px=480)


def test_what_cannot_be_written_or_found_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'ggo'"):
        write_yolo(tmp_path / "a.txt", [LabelledBox("GGO", Box(0, 0, 1, 1))], CLASSES, width_px=9, height_px=9)
    with pytest.raises(DataError, match="outside its film of 9 x 9"):
        write_yolo(tmp_path / "a.txt", [LabelledBox("ggo", Box(0, 0, 10, 1))], CLASSES, width_px=9, height_px=9)
    assert not (tmp_path / "a.txt").exists()
    with pytest.raises(DataError, match="empty file"):
        read_yolo(tmp_path / "a.txt", CLASSES, width_px=9, height_px=9)
    (tmp_path / "classes.txt").write_text("one\n\ntwo\n", encoding="utf-8")
    for name in ("classes.txt", "absent.txt"):
        with pytest.raises(DataError, match="one class name a line"):
            read_classes(tmp_path / name)


def test_boxes_of_a_resized_mask_are_the_scaled_boxes() -> None:
    mask = np.zeros((60, 90), np.uint8)
    mask[12:30, 24:60] = 1
    doubled = cv2.resize(mask, (180, 120), interpolation=cv2.INTER_NEAREST) > 0
    assert mask_boxes(doubled) == [mask_boxes(mask > 0)[0].scaled(2, 2)]

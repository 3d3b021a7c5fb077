"""Boxes around findings: made from masks, joined, written and read as YOLO text, compared, checked against their film.

A box is in pixels of its film, `right` and `bottom` being the first column and row outside it. Boxes of masks are whole
pixels; a detector's are not.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.errors import DataError, UsageError, unknown_name
from hilum.files import write_text

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

DECIMALS = 6
"""Of a share in YOLO text: six give back whole pixels on any film, four on films of up to 6,000 pixels a side."""
ROUNDING = 1e-4
"""Share of the film's side by which a box read from YOLO text may pass its edge because shares were rounded."""


LEAST_SHARE = 4e-4
"""Pieces of a lesion that cover less of their film are specks without a box."""
GAP_SHARE = 0.02
"""Pieces of one lesion that are closer than this share of the film's longer side share a box: a rib may cut it."""


class Box(NamedTuple):
    """A rectangle in pixels of its film; `right` and `bottom` lie outside it."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def at(cls, left: float, top: float, width: float, height: float) -> "Box":
        """From its upper left corner and size, as COCO writes boxes.

        >>> Box.at(10, 20, 30, 40)
        Box(left=10, top=20, right=40, bottom=60)
        """
        return cls(left, top, left + width, top + height)

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> "Box":
        """From its centre and size, as YOLO writes boxes."""
        return cls(x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """Column and row halfway between the edges, which is not the centroid of what the box is around."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def scaled(self, across: float, down: float) -> "Box":
        """The box on the film resized by these factors."""
        return Box(self.left * across, self.top * down, self.right * across, self.bottom * down)

    def clipped(self, width_px: float, height_px: float) -> "Box":
        """The part of it inside a film of that size."""
        edges = zip(self, (width_px, height_px) * 2, strict=True)
        return Box(*(min(max(edge, 0), most) for edge, most in edges))

    def rounded(self) -> "Box":
        """To the nearest whole pixels."""
        return Box(*(math.floor(edge + 0.5) for edge in self))


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A box, what it is around, and how sure a detector is of it; None where a person drew it."""

    label: str
    box: Box
    score: float | None = None
    """[0, 1]"""


def mask_boxes(mask: Mask, *, least_area_px: float = 1) -> list[Box]:
    """Tight boxes around the pieces of a mask that hang together by a side or a corner.

    Args:
        mask: (H, W).
        least_area_px: pieces of fewer pixels are specks and left out.

    Returns:
        Whole pixels, the largest piece first, then from the left and from the top.
    """
    whole = mask.astype(np.uint8)
    left, top, width, height = cv2.boundingRect(whole)  # counting pieces takes longer than finding where they are
    if not width:
        return []
    inner = whole[top : top + height, left : left + width]
    _, _, stats, _ = cv2.connectedComponentsWithStats(inner, connectivity=8)
    pieces = [[int(value) for value in row] for row in stats[1:] if row[cv2.CC_STAT_AREA] >= least_area_px]
    pieces.sort(key=lambda piece: (-piece[cv2.CC_STAT_AREA], piece[0], piece[1]))
    return [Box.at(left + piece[0], top + piece[1], *piece[2:4]) for piece in pieces]


def union_box(boxes: Iterable[Box]) -> Box:
    """The smallest box that holds all of them, one at least."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))


def gap_px(one: Box, other: Box) -> float:
    """Shortest way between two boxes; 0 where they touch or overlap."""
    across = max(one.left, other.left) - min(one.right, other.right)
    down = max(one.top, other.top) - min(one.bottom, other.bottom)
    return math.hypot(max(across, 0), max(down, 0))


def merge_boxes(boxes: Sequence[Box], *, side_px: int, gap_share: float) -> list[Box]:
    """Boxes closer than a share of the film's longer side become their union, until none are that close.

    Joining only brings boxes closer to the rest, so the outcome does not depend on the order. One opacity that a rib
    cuts in two is one box again.

    Args:
        boxes: of one label on one film.
        side_px: the film's longer side.
        gap_share: a gap of less than `gap_share * side_px` is closed; 0 joins nothing, not even boxes that overlap.

    Returns:
        The largest first, then from the left and from the top.

    >>> merge_boxes([Box(0, 0, 10, 10), Box(12, 0, 20, 10), Box(60, 0, 70, 10)], side_px=100, gap_share=0.05)
    [Box(left=0, top=0, right=20, bottom=10), Box(left=60, top=0, right=70, bottom=10)]
    """
    waiting, done = list(boxes), list[Box]()
    while waiting:
        grown = waiting.pop()
        near = [box for box in (*waiting, *done) if gap_px(grown, box) < gap_share * side_px]
        if near:
            waiting = [box for box in waiting if box not in near]
            done = [box for box in done if box not in near]
            waiting.append(union_box([grown, *near]))
        else:
            done.append(grown)
    return sorted(done, key=lambda box: (-box.area, box.left, box.top))


def join_boxes(boxes: Sequence[Box], chosen: Collection[int]) -> list[Box]:
    """The boxes with those at the chosen places replaced by their union, at the first one's place.

    Raises:
        UsageError: a place that no box has, or fewer than two.
    """
    wrong = [place for place in chosen if not 0 <= place < len(boxes)]
    if wrong or len(set(chosen)) < 2:
        named = f"there is no box {wrong[0]}" if wrong else "one box cannot be joined"
        raise UsageError(f"{named}; name two or more of the {len(boxes)} boxes, counted from 0")
    first, joined = min(chosen), union_box(boxes[place] for place in chosen)
    swallowed = set(chosen) - {first}
    return [joined if place == first else box for place, box in enumerate(boxes) if place not in swallowed]


def edges_of(boxes: Sequence[Box]) -> Floats:
    """(N, 4) left, top, right, bottom."""
    return np.array(boxes, np.float64).reshape(len(boxes), 4)


def overlaps(some: Sequence[Box], others: Sequence[Box]) -> Floats:
    """Intersection over union of each with each, (N, M) in [0, 1]; 0 where a box has no area.

    >>> overlaps([Box(0, 0, 10, 10)], [Box(5, 0, 15, 10), Box(0, 0, 10, 10)]).round(3).tolist()
    [[0.333, 1.0]]
    """
    one, other = edges_of(some)[:, None], edges_of(others)[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.prod(np.maximum(sides, 0), axis=-1)
    union = np.prod(one[..., 2:] - one[..., :2], -1) + np.prod(other[..., 2:] - other[..., :2], -1) - shared
    shares: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return shares


def box_faults(
    boxes: Sequence[Box], *, width_px: int, height_px: int, drawn_on: tuple[int, int] | None = None
) -> list[str]:
    """What is wrong with a film's boxes, a sentence each; none where all is well.

    Args:
        boxes: counted from 1 in the sentences.
        width_px: of the film.
        height_px: of the film.
        drawn_on: width and height of the picture the boxes were drawn on, where that is known.
    """
    size = f"{width_px} x {height_px} pixels"
    faults = []
    if drawn_on is not None and drawn_on != (width_px, height_px):
        faults.append(f"the boxes were drawn on a picture of {drawn_on[0]} x {drawn_on[1]} pixels, the film has {size}")
    for number, box in enumerate(boxes, 1):
        if not all(math.isfinite(edge) for edge in box):
            faults.append(f"box {number} has an edge that is no number")
        elif box.width <= 0 or box.height <= 0:
            faults.append(f"box {number} has no width or no height")
        elif box.left < 0 or box.top < 0 or box.right > width_px or box.bottom > height_px:
            faults.append(f"box {number} reaches outside its film of {size}")
    return faults


def yolo_line(number: int, box: Box, width: int, height: int, *, score: float | None = None) -> str:
    """Class, centre and size as shares of the film, and the score where there is one.

    >>> yolo_line(0, Box.at(10, 20, 30, 40), width=100, height=200)
    '0 0.250000 0.200000 0.300000 0.200000'
    """
    x, y = box.centre
    numbers = [x / width, y / height, box.width / width, box.height / height]
    if score is not None:
        numbers.append(score)
    return " ".join([str(number), *(f"{share:.{DECIMALS}f}" for share in numbers)])


def parse_yolo_line(line: str, width: int, height: int) -> tuple[int, Box, float | None]:
    """Class number, box and score of a line; what only rounding put outside the film is cut off.

    Raises:
        ValueError: the line is not five or six numbers, the first a class.

    >>> parse_yolo_line("2 0.25 0.2 0.3 0.2 0.9", width=100, height=200)
    (2, Box(left=10.0, top=20.0, right=40.0, bottom=60.0), 0.9)
    """
    number, *texts = line.split()
    shares = [float(text) for text in texts]
    if len(shares) not in (4, 5) or not all(math.isfinite(share) for share in shares) or int(number) < 0:
        raise ValueError(line)
    x, y, across, down = shares[:4]
    edges = Box.around(x, y, across, down)
    left, top, right, bottom = (min(max(e, 0.0), 1.0) if -ROUNDING < e < 1 + ROUNDING else e for e in edges)
    box = Box(*(round(edge, DECIMALS) for edge in Box(left, top, right, bottom).scaled(width, height)))
    return int(number), box, shares[4] if len(shares) == 5 else None


def write_yolo(
    path: Path, boxes: Sequence[LabelledBox], classes: Sequence[str], *, width_px: int, height_px: int
) -> None:
    """Write a film's boxes as YOLO text, a line a box; a film without boxes gets an empty file.

    Raises:
        UsageError: a label is not among the classes.
        DataError: a box has no size or reaches outside the film.
    """
    faults = box_faults([one.box for one in boxes], width_px=width_px, height_px=height_px)
    if faults:
        raise DataError(f"{path.name} cannot be written: {faults[0]}")
    for one in boxes:
        if one.label not in classes:
            raise unknown_name("class of boxes", one.label, classes)
    lines = [yolo_line(classes.index(one.label), one.box, width_px, height_px, score=one.score) for one in boxes]
    write_text(path, "".join(f"{line}\n" for line in lines))


def read_yolo(path: Path, classes: Sequence[str], *, width_px: int, height_px: int) -> list[LabelledBox]:
    """A film's boxes from YOLO text.

    Raises:
        DataError: the file is missing, or a line is no box of a known class inside the film.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; a film without boxes has an empty file")
    lines = path.read_text(encoding="utf-8").splitlines()
    size = {"width_px": width_px, "height_px": height_px}
    return [
        _read_line(line, classes, where=f"{path.name}, line {place}", **size)
        for place, line in enumerate(lines, 1)
        if line.strip()
    ]


def _read_line(line: str, classes: Sequence[str], *, where: str, width_px: int, height_px: int) -> LabelledBox:
    try:
        number, box, score = parse_yolo_line(line, width_px, height_px)
        label = classes[number]
    except (ValueError, IndexError):
        raise DataError(
            f"{where}, is no box of one of {len(classes)} classes; write the class's number and, as shares of the "
            "film, the box's centre, width and height"
        ) from None
    faults = box_faults([box], width_px=width_px, height_px=height_px)
    if faults:
        raise DataError(f"{where}: {faults[0].removeprefix('box 1 ')}")
    return LabelledBox(label, box, score)


def write_classes(path: Path, classes: Sequence[str]) -> None:
    """Write `classes.txt`, a name a line, in the order of their YOLO numbers."""
    write_text(path, "".join(f"{name}\n" for name in classes))


def read_classes(path: Path) -> tuple[str, ...]:
    """The names in `classes.txt`, in the order of their YOLO numbers.

    Raises:
        DataError: the file is missing or empty.
    """
    names = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if not all(names) or not names:
        raise DataError(f"{path} is missing or has an empty line; write one class name a line")
    return tuple(names)

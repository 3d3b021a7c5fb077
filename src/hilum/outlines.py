"""Outlines: what boxes are around, as corner points, so that a box stays tight when its film is turned.

The box of a turned region is that of the turned corners of its convex hull, exactly; the turned corners of the box
itself give a larger one. A box that somebody drew without a mask has its own four corners. And the way between a film's
pixels and those of the frame that a network sees of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.boxes import Box, LabelledBox, mask_boxes, merge_boxes
from hilum.masks import check_geometry
from hilum.preprocess import Mask, Preprocess

Points = NDArray[np.float32]


class Placing(NamedTuple):
    """Where a film lies on its frame: film pixels times a scale, plus a shift, are frame pixels."""

    across: float
    down: float
    left: float
    top: float

    @classmethod
    def of(cls, preprocess: Preprocess, size: tuple[int, int]) -> "Placing":
        """As `Preprocess.frame` lays a film of (height, width) on its square.

        Raises:
            UsageError: the preprocess cuts films to what they show, which their sizes alone do not tell.
        """
        check_geometry(preprocess)
        side, (height, width) = preprocess.size_px, size
        if preprocess.aspect == "stretch":
            return cls(side / width, side / height, 0, 0)
        scale = side / max(size)
        high, wide = max(1, round(height * scale)), max(1, round(width * scale))
        return cls(wide / width, high / height, (side - wide) // 2, (side - high) // 2)

    def onto_frame(self, box: Box) -> Box:
        """A film's box in pixels of its frame."""
        left, top, right, bottom = box.scaled(self.across, self.down)
        return Box(left + self.left, top + self.top, right + self.left, bottom + self.top)

    def onto_film(self, box: Box, size: tuple[int, int]) -> Box:
        """A frame's box in pixels of its film of (height, width), what lies outside the film cut off."""
        moved = Box(box.left - self.left, box.top - self.top, box.right - self.left, box.bottom - self.top)
        return moved.scaled(1 / self.across, 1 / self.down).clipped(size[1], size[0])


@dataclass(frozen=True, eq=False)
class Outline:
    """Corner points of the convex hull of what one box is around."""

    label: str
    points: Points
    """(M, 2) column and row of the corners in their order around it, in pixels; pixel edges, not centres."""

    @classmethod
    def of_box(cls, one: LabelledBox) -> "Outline":
        """The box's own corners."""
        left, top, right, bottom = one.box
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        return cls(one.label, np.array(corners, np.float32))

    @property
    def box(self) -> LabelledBox:
        """The tight box."""
        (left, top), (right, bottom) = self.points.min(0).tolist(), self.points.max(0).tolist()
        return LabelledBox(self.label, Box(left, top, right, bottom))

    @property
    def area(self) -> float:
        """Of the hull, in square pixels."""
        return float(cv2.contourArea(np.ascontiguousarray(self.points)))

    def onto_frame(self, placing: Placing) -> "Outline":
        """The same outline in pixels of the frame."""
        scale, shift = np.array(placing[:2], np.float32), np.array(placing[2:], np.float32)
        return Outline(self.label, self.points * scale + shift)


def outlines_of(mask: Mask, label: str, *, least_share: float, gap_share: float) -> list[Outline]:
    """An outline for every box that `mask_boxes` and `merge_boxes` make of a mask.

    Args:
        mask: (H, W) of the film, True inside.
        label: what was drawn.
        least_share: pieces smaller than this share of the film are specks and get no box.
        gap_share: boxes closer than this share of the film's longer side are one.

    Returns:
        In film pixels, the largest box first.
    """
    boxes = mask_boxes(mask, least_area_px=max(1.0, least_share * mask.size))
    if gap_share:
        boxes = merge_boxes(boxes, side_px=max(mask.shape), gap_share=gap_share)
    return [Outline(label, _hull(mask, box)) for box in boxes]


def _hull(mask: Mask, box: Box) -> Points:
    """(M, 2) corners of the hull of the mask's pixels inside a box of whole pixels."""
    left, top, right, bottom = (int(edge) for edge in box)
    inside = mask[top:bottom, left:right]
    rows = np.flatnonzero(inside.any(1))
    first = inside[rows].argmax(1)
    last = inside.shape[1] - inside[rows, ::-1].argmax(1)
    # A pixel is a square: each row gives its outermost corners above and below.
    corners = [np.stack([edge, rows + below], 1) for edge in (first, last) for below in (0, 1)]
    hull = cv2.convexHull(np.concatenate(corners).astype(np.float32)).reshape(-1, 2)
    return np.asarray(hull + np.array([left, top], np.float32), np.float32)


def boxes_of(outlines: Sequence[Outline]) -> list[LabelledBox]:
    """The tight box of each."""
    return [one.box for one in outlines]

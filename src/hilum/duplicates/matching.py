"""Do two films show the same picture? Keypoints that agree on one movement of the whole film.

A keypoint of one film goes with its nearest neighbour in the other, where each is the other's nearest and clearly
nearer than the second (Lowe 2004, doi 10.1023/B:VISI.0000029664.99615.94). RANSAC (Fischler and Bolles 1981, doi
10.1145/358669.358692) finds the affine map that most of them obey. A map that no export makes is refused, and so is
agreement in few places only: a caption, a marker or a device occurs on films of different patients.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.duplicates.keypoints import SCALE, Hanging, Keypoints, Points, hung

Affine = NDArray[np.float64]
"""(2, 3): takes pixels of the second film to pixels of the first."""

RATIO = 0.85
"""A match must be nearer than this share of the distance to the next best keypoint."""
TOLERANCE_PX = 4.0
"""How far from where the map puts it a keypoint may lie, on films `keypoints.SIDE_PX` long."""
TRIES = 5_000
INLIERS = 25
"""Distinct keypoints that must agree."""
CELL_PX = 8
"""Keypoints in one such square count once: a letter has many."""
PARTS = 5
"""Into so many rows and columns the shared area is cut to see whether the agreement is spread."""
OCCUPIED = 7
"""Parts of the 25 that must hold agreeing keypoints."""
AGREEING = 0.25
"""Share of the keypoints in the shared area that must agree. Copies reach .54 and more, neighbouring slices of a CT and
repeated exposures of one patient .15 at most: see docs/how-to/find-duplicates.md."""
OVERLAP = 0.15
"""Share of the smaller film that both must show: two films may share a strip with a caption in print."""
MOST_ZOOM = 5.0
MOST_STRETCH = 1.8
MOST_SHEAR = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How the second film lies on the first.

    Attributes:
        inliers: distinct keypoints that agree.
        share: of the distinct keypoints that the film with fewer of them has in the shared area, in [0, 1].
        affine: takes pixels of the second film, hung as `hanging` says, to pixels of the first; both as reduced.
        hanging: what must be done to the second film before.
        overlap: area shared, as a share of the smaller film, in [0, 1].
    """

    inliers: int
    share: float
    affine: Affine
    hanging: Hanging
    overlap: float

    @property
    def scale(self) -> float:
        """Pixels of the first film a pixel of the second covers, as a length."""
        return float(np.sqrt(np.linalg.det(self.affine[:, :2])))

    @property
    def stretch(self) -> float:
        """By how much more the second film is enlarged along one axis than along the other, at least 1."""
        long, short = np.linalg.svd(self.affine[:, :2], compute_uv=False)
        return float(long / short)

    @property
    def rotation_degrees(self) -> float:
        """By how much the second film is turned, clockwise as seen, in (-180, 180]."""
        return float(np.degrees(np.arctan2(self.affine[1, 0], self.affine[0, 0])))


def match(first: Keypoints, second: Keypoints, *, hanging: Hanging = "as is") -> Match | None:
    """How `second`, hung so, lies on `first`; None where too little agrees or only in too few places."""
    second = hung(second, hanging)
    here, there = corresponding(first, second)
    if len(here) < INLIERS:
        return None
    found = _fitted(here, there)
    if found is None or not plausible(found[0]):
        return None
    affine, agrees = found
    inliers = distinct(here[agrees], there[agrees])
    shared = _shared(affine, first.size, second.size)
    spread = _occupied(here[agrees], shared)
    share = inliers / max(1, min(_within(first, second, affine)))
    if inliers < INLIERS or spread < OCCUPIED or share < AGREEING:
        return None
    overlap = cv2.contourArea(shared) / min(np.prod(first.size), np.prod(second.size) * np.linalg.det(affine[:, :2]))
    if overlap < OVERLAP:
        return None
    return Match(inliers=inliers, share=share, affine=affine, hanging=hanging, overlap=float(min(1, overlap)))


def corresponding(first: Keypoints, second: Keypoints) -> tuple[Points, Points]:
    """(M, 2) points of both films that are one another's nearest, and nearer than the next best."""
    if min(len(first), len(second)) < 2:
        return first.points[:0], second.points[:0]
    ours, theirs = (one.descriptors.astype(np.float32) / SCALE for one in (first, second))
    alike = ours @ theirs.T
    best = alike.argmax(axis=1)
    rows = np.arange(len(best))
    mutual = alike.argmax(axis=0)[best] == rows
    two = np.partition(alike, -2, axis=1)[:, -2:]
    nearest, next_best = (np.sqrt(np.maximum(0, 2 - 2 * two[:, place])) for place in (1, 0))
    kept = mutual & (nearest < RATIO * next_best)
    return first.points[kept], second.points[best[kept]]


def _fitted(here: Points, there: Points) -> tuple[Affine, NDArray[np.bool_]] | None:
    affine, agrees = cv2.estimateAffine2D(
        there, here, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE_PX, maxIters=TRIES, confidence=0.999
    )
    return None if affine is None else (affine.astype(np.float64), agrees.ravel().astype(bool))


def plausible(affine: Affine) -> bool:
    """Whether an export can have done this: turned, moved, scaled, a little squeezed, never folded or slanted."""
    linear = affine[:, :2]
    if np.linalg.det(linear) <= 0:
        return False
    long, short = np.linalg.svd(linear, compute_uv=False)
    slant = abs(linear[:, 0] @ linear[:, 1]) / (np.linalg.norm(linear[:, 0]) * np.linalg.norm(linear[:, 1]))
    zooms = short >= 1 / MOST_ZOOM and long <= MOST_ZOOM
    return bool(zooms and long <= MOST_STRETCH * short and slant <= MOST_SHEAR)


def distinct(here: Points, there: Points) -> int:
    """Agreeing keypoints in squares of their own, in both films."""
    return min(len(np.unique(points // CELL_PX, axis=0)) for points in (here, there))


def _within(first: Keypoints, second: Keypoints, affine: Affine) -> tuple[int, int]:
    """Distinct keypoints of each film in the area that both show."""
    ours = first.points[_inside(moved(first.points, undone(affine)), second.size)]
    theirs = second.points[_inside(moved(second.points, affine), first.size)]
    return distinct(ours, ours), distinct(theirs, theirs)


def _inside(points: Points, size: tuple[int, int]) -> NDArray[np.bool_]:
    within: NDArray[np.bool_] = np.all((points >= 0) & (points < size[::-1]), axis=1)
    return within


def frame_of(size: tuple[int, int]) -> Points:
    """The (4, 2) corners of a film of this height and width, clockwise from the upper left."""
    height, width = size
    return np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)


def moved(points: Points, affine: Affine) -> Points:
    """(N, 2) points where the map takes them."""
    return (points @ affine[:, :2].T + affine[:, 2]).astype(np.float32)


def undone(affine: Affine) -> Affine:
    """The map that takes pixels of the first film to pixels of the second."""
    return cv2.invertAffineTransform(affine).astype(np.float64)


def _shared(affine: Affine, first: tuple[int, int], second: tuple[int, int]) -> Points:
    """The corners of the area both films show, in the first one's pixels; none where there is no such area."""
    _, corners = cv2.intersectConvexConvex(frame_of(first), moved(frame_of(second), affine))
    return np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2).astype(np.float32)


def _occupied(points: Points, shared: Points) -> int:
    """Parts of the box around the shared area that hold a point."""
    if not len(shared):
        return 0
    low, high = shared.min(axis=0), shared.max(axis=0)
    place = np.clip((points - low) / np.maximum(high - low, 1) * PARTS, 0, PARTS - 1).astype(int)
    return len(np.unique(place, axis=0))


def in_own_pixels(found: Match, first: Keypoints, second: Keypoints) -> Match:
    """The same match between the films as they are, before they were reduced."""
    affine = found.affine.copy()
    affine[:, :2] *= _reduction(second)
    return replace(found, affine=affine / _reduction(first)[:, None])


def _reduction(film: Keypoints) -> NDArray[np.float64]:
    """Along x and y, by what the film's pixels were multiplied."""
    reduced: NDArray[np.float64] = np.divide(film.size, film.shape)[::-1]
    return reduced

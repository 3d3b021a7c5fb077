"""What a film is recognised by when part of it is cut away: local features, and words to look them up by.

Keypoints and descriptors are SIFT's (Lowe 2004, doi 10.1023/B:VISI.0000029664.99615.94) as OpenCV computes them, with
the square root of Arandjelovic and Zisserman (2012, doi 10.1109/CVPR.2012.6248018): RootSIFT. They survive cropping,
scaling, turning, captions and moderate changes of contrast. A film hung the wrong way round or inverted has the same
descriptors with their parts in another order, so both are found without looking at a film twice.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
"""(N, 2): x and y in pixels."""
Descriptors = NDArray[np.uint8]
"""(N, 128): unit vectors times 255."""
Hanging = Literal["as is", "mirrored", "inverted", "mirrored and inverted"]
HANGINGS: tuple[Hanging, ...] = get_args(Hanging)

SIDE_PX = 512
"""Longer side at which films are described; smaller films stay as they are."""
MOST = 600
"""Keypoints kept of a film, those with the highest response."""
CONTRAST = 0.01
"""SIFT's contrast threshold, a quarter of OpenCV's: lungs are faint."""
CONTRACT = "1: longer side 512, area average, CLAHE 2 of 8 x 8, 600 RootSIFT, contrast .01"
"""Changes whenever the same film gives other keypoints. Part of cache keys."""

SCALE = 255
PARTS = (4, 4, 8)
"""How SIFT lays out a descriptor: rows, columns, directions."""


@dataclass(frozen=True, slots=True)
class Keypoints:
    """The local features of one film.

    Attributes:
        points: where, in pixels of the film reduced to `size`.
        descriptors: what each looks like.
        size: height and width the film was reduced to, in pixels.
        shape: its own height and width.
        digest: SHA-256 of the film's own pixels and their shape: equal where two files decode to the same picture.
    """

    points: Points
    descriptors: Descriptors
    size: tuple[int, int]
    shape: tuple[int, int]
    digest: bytes

    def __len__(self) -> int:
        return len(self.points)


def describe(pixels: NDArray[np.float32]) -> Keypoints:
    """The keypoints of one film, `pixels` (H, W) in [0, 1]; none where it shows nothing."""
    small = _reduced(pixels)
    grey = cv2.createCLAHE(2.0, (8, 8)).apply(np.rint(small * 255).astype(np.uint8))
    found, raw = cv2.SIFT.create(nfeatures=MOST, contrastThreshold=CONTRAST).detectAndCompute(grey, None)
    points = np.array([point.pt for point in found[:MOST]], np.float32).reshape(-1, 2)
    descriptors = np.zeros((0, 128), np.float32) if raw is None else raw[:MOST].astype(np.float32)
    size, shape = ((one.shape[0], one.shape[1]) for one in (small, pixels))
    return Keypoints(points, root(descriptors), size=size, shape=shape, digest=_digest(pixels))


def root(descriptors: NDArray[np.float32]) -> Descriptors:
    """RootSIFT: each descriptor divided by its sum, then the square root; scaled to whole numbers."""
    shares = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    rooted: Descriptors = np.rint(np.sqrt(shares) * SCALE).astype(np.uint8)
    return rooted


def hung(keypoints: Keypoints, hanging: Hanging) -> Keypoints:
    """The keypoints of the same film mirrored left to right, inverted, or both.

    A mirror turns every gradient's direction to its opposite sense and the rows about the keypoint's axis upside down.
    Inversion turns all gradients by half a circle, the keypoint's own direction among them: relative to that only the
    place of the parts changes.
    """
    parts = keypoints.descriptors.reshape(-1, *PARTS)
    points = keypoints.points
    if hanging in ("mirrored", "mirrored and inverted"):
        backwards = -np.arange(PARTS[2]) % PARTS[2]
        parts = parts[:, ::-1, :, backwards]
        points = np.stack([keypoints.size[1] - 1 - points[:, 0], points[:, 1]], axis=1)
    if hanging in ("inverted", "mirrored and inverted"):
        parts = parts[:, ::-1, ::-1]
    return replace(keypoints, points=points, descriptors=np.ascontiguousarray(parts).reshape(-1, 128))


def _reduced(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = pixels.shape
    scale = SIDE_PX / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: NDArray[np.float32] = np.clip(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), 0, 1, dtype=np.float32)
    return small


def _digest(pixels: NDArray[np.float32]) -> bytes:
    content = hashlib.sha256(repr(pixels.shape).encode())
    content.update(np.ascontiguousarray(pixels, np.float32).tobytes())
    return content.digest()

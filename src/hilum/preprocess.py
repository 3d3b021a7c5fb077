"""Preprocess: from a decoded film to what a network reads; one definition for training and service.

Two halves, so that the first can be cached: `frame` crops, masks, resizes and enhances and gives whole numbers (H, W),
the same bytes whichever process makes them; `normalise` turns those into the network's floats.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hilum.enhance import Box, ParsedStep, apply_steps, crop_steps, grey_steps, parse_steps
from hilum.errors import DataError, UsageError
from hilum.files import digest_of
from hilum.pixels import RESAMPLING_CONTRACT, pad, resize

Frame = NDArray[np.uint8] | NDArray[np.uint16]
Mask = NDArray[np.bool_]
Shown = tuple[NDArray[np.float32], Mask | None]

HALF = 0.5
MASK_CONTRACT = (
    "1: nearest to the film's size; at the network's, half or more is lung and shown pixels alone are averaged"
)
"""Changes whenever the same film and mask give another frame. Part of cache keys and bundles."""


class Preprocess(BaseModel):
    """Size, geometry and scaling; part of a recipe and of every bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    size_px: int = Field(default=224, ge=32, le=2048)
    """Side of the square the network sees."""
    aspect: Literal["stretch", "pad"] = "stretch"
    """`stretch` ignores the aspect ratio, as the reference systems do; `pad` keeps it and fills with black."""
    depth_bits: Literal[8, 16] = 8
    """Grey levels kept by the cache and by service alike."""
    lungs: Literal["none", "crop", "only", "not"] = "none"
    """What to do with the lung mask: nothing; cut the film to its bounding box; show lungs only; show all but lungs."""
    masks: Literal["given", "made"] = "given"
    """Whose lung masks: those a source gives, or those drawn on every film alike by the bundle that comes with hilum.
    With `made`, films on which no lung can be drawn are left out whatever `lungs` says, so that runs that differ in
    `lungs` alone are on the same films."""
    steps: tuple[str, ...] = ()
    """Enhancement, in order, as `hilum preprocess --list` names it: `crop-black`, `clahe:clip=2`."""
    channels: Literal[1, 3] = 3
    """Grey is repeated for networks made for colour."""
    mean: tuple[float, ...] | None = None
    """Subtracted from [0, 1] grey, a value a channel; what the network's weights were trained with where not given."""
    std: tuple[float, ...] | None = None
    """Divides after the mean is subtracted; like `mean`."""

    @model_validator(mode="after")
    def _a_value_a_channel(self) -> "Preprocess":
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, self.channels):
                raise ValueError(f"{name} has {len(values)} values for {self.channels} channels")
        if any(value <= 0 for value in self.std or ()):
            raise ValueError("std must be above 0")
        return self

    @field_validator("steps")
    @classmethod
    def _known_steps(cls, steps: tuple[str, ...]) -> tuple[str, ...]:
        try:
            parse_steps(steps)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return steps

    @property
    def geometry_digest(self) -> str:
        """Names the frames this makes: equal digests, equal bytes."""
        return digest_of(
            {
                "contract": RESAMPLING_CONTRACT,
                "size_px": self.size_px,
                "aspect": self.aspect,
                "depth_bits": self.depth_bits,
                "lungs": self.lungs,
                "steps": [str(step) for step in self._parsed],
                "masks": MASK_CONTRACT if self.masked else None,
            }
        )

    @property
    def decoded_px(self) -> int:
        """The longer side a film must be decoded with at least: twice the size where part of it is cut away."""
        crops = self.lungs == "crop" or crop_steps(self._parsed)
        return 2 * self.size_px if crops else self.size_px

    @property
    def masked(self) -> bool:
        """Whether a film's lung mask is needed."""
        return self.lungs != "none"

    @property
    def _parsed(self) -> tuple[ParsedStep, ...]:
        return parse_steps(self.steps)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        return np.uint8 if self.depth_bits == 8 else np.uint16

    def frame(self, pixels: NDArray[np.float32], lungs: NDArray[np.bool_] | None = None) -> Frame:
        """(H, W) in [0, 1] -> (size_px, size_px) whole numbers from 0 to 2**depth_bits - 1.

        Cropped, resized, masked, enhanced, masked again, padded: enhancement sees the network's pixels and nothing that
        the mask hides, and what is hidden is exactly 0.

        Args:
            pixels: the film, bone bright.
            lungs: (H, W) of the film at any size; needed where `masked`.

        Raises:
            DataError: a mask is needed and there is none, or it shows no lung.
        """
        whole: Shown = (pixels, self._mask(pixels, lungs))
        inner, keep = self._resized(_cut(whole, self._seen(whole)))
        square = pad(apply_steps(inner, grey_steps(self._parsed)) * keep, self.size_px)
        scaled: Frame = np.rint(square * np.float32(2**self.depth_bits - 1)).astype(self.dtype)
        return scaled

    def seen(
        self,
        pixels: NDArray[np.float32],
        lungs: NDArray[np.bool_] | None = None,
        *,
        size: tuple[int, int] | None = None,
    ) -> Box:
        """The rows and columns of the film that `frame` is made of: all of them where nothing is cropped.

        Args:
            pixels: as `frame` takes them.
            lungs: as `frame` takes them.
            size: (height, width) of the film that the box is told in, where `pixels` are fewer; default theirs.

        Raises:
            DataError: as `frame`.
        """
        box = self._seen((pixels, self._mask(pixels, lungs)))
        if size is None or size == pixels.shape:
            return box
        down, across = (own / decoded for own, decoded in zip(size, pixels.shape, strict=True))
        return Box(*(round(edge * scale) for edge, scale in zip(box, (down, down, across, across), strict=True)))

    def _seen(self, whole: Shown) -> Box:
        height, width = whole[0].shape
        box, shown = Box(0, height, 0, width), whole
        for step in crop_steps(self._parsed):
            box = _within(box, step.box(shown[0]))
            shown = _cut(whole, box)
        if self.lungs == "crop" and shown[1] is not None:
            box = _within(box, _box(shown[1]))
        return box

    def _mask(self, pixels: NDArray[np.float32], lungs: NDArray[np.bool_] | None) -> Mask | None:
        if not self.masked:
            return None
        if lungs is None or not lungs.any():
            raise DataError("there is no lung mask of it" if lungs is None else "its lung mask is empty")
        height, width = pixels.shape
        scaled: Mask = cv2.resize(lungs.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0
        return scaled

    def _resized(self, shown: Shown) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The film at the network's size, what is hidden 0 and no part of an average, and 1 where the film is shown."""
        pixels, lungs = shown
        if lungs is None or self.lungs == "crop":
            inner = resize(pixels, self.size_px, aspect=self.aspect)
            return inner, np.ones_like(inner)
        only = self.lungs == "only"
        share = resize(lungs.astype(np.float32), self.size_px, aspect=self.aspect)
        keep: NDArray[np.float32] = ((share >= HALF) == only).astype(np.float32)
        seen = resize(pixels * (lungs == only), self.size_px, aspect=self.aspect)
        return np.minimum(seen / np.maximum(share if only else 1 - share, HALF), 1) * keep, keep

    def normalise(self, frames: Frame) -> NDArray[np.float32]:
        """(N, H, W) whole numbers -> (N, channels, H, W) as the network was trained to see them."""
        grey = frames.astype(np.float32)[:, None] / np.float32(2**self.depth_bits - 1)
        mean = np.asarray(self.mean or (0.5,), np.float32).reshape(1, -1, 1, 1)
        std = np.asarray(self.std or (0.5,), np.float32).reshape(1, -1, 1, 1)
        scaled: NDArray[np.float32] = np.broadcast_to(grey, (len(grey), self.channels, *grey.shape[2:]))
        return np.ascontiguousarray((scaled - mean) / std)


def _cut(shown: Shown, box: Box) -> Shown:
    top, bottom, left, right = box
    pixels, lungs = shown
    return pixels[top:bottom, left:right], None if lungs is None else lungs[top:bottom, left:right]


def _within(box: Box, inner: Box) -> Box:
    """A box told from the upper left corner of another, told from that of the film."""
    return Box(box.top + inner.top, box.top + inner.bottom, box.left + inner.left, box.left + inner.right)


def _box(lungs: Mask) -> Box:
    """The rows and columns that hold lung."""
    rows, columns = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
    if not len(rows):
        raise DataError("a crop leaves nothing of its lungs")
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)

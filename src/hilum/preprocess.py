"""Preprocess: from a decoded film to what a network reads; one definition for training and service.

Two steps, so that the first can be cached: `frame` gives whole numbers (H, W), the same bytes whichever process makes
them; `normalise` turns those into the network's floats.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hilum.files import digest_of
from hilum.pixels import RESAMPLING_CONTRACT, fit

Frame = NDArray[np.uint8] | NDArray[np.uint16]


class Preprocess(BaseModel):
    """Size, geometry and scaling; part of a recipe and of every bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    size_px: int = Field(default=224, ge=32, le=2048)
    """Side of the square the network sees."""
    aspect: Literal["stretch", "pad"] = "stretch"
    """`stretch` ignores the aspect ratio, as the reference systems do; `pad` keeps it and fills with black."""
    depth_bits: Literal[8, 16] = 8
    """Grey levels kept by the cache and by service alike."""
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

    @property
    def geometry_digest(self) -> str:
        """Names the frames this makes: equal digests, equal bytes."""
        return digest_of(
            {
                "contract": RESAMPLING_CONTRACT,
                "size_px": self.size_px,
                "aspect": self.aspect,
                "depth_bits": self.depth_bits,
            }
        )

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        return np.uint8 if self.depth_bits == 8 else np.uint16

    def frame(self, pixels: NDArray[np.float32]) -> Frame:
        """(H, W) in [0, 1] -> (size_px, size_px) whole numbers from 0 to 2**depth_bits - 1."""
        fitted = fit(pixels, self.size_px, aspect=self.aspect)
        scaled: Frame = np.rint(fitted * np.float32(2**self.depth_bits - 1)).astype(self.dtype)
        return scaled

    def normalise(self, frames: Frame) -> NDArray[np.float32]:
        """(N, H, W) whole numbers -> (N, channels, H, W) as the network was trained to see them."""
        grey = frames.astype(np.float32)[:, None] / np.float32(2**self.depth_bits - 1)
        mean = np.asarray(self.mean or (0.5,), np.float32).reshape(1, -1, 1, 1)
        std = np.asarray(self.std or (0.5,), np.float32).reshape(1, -1, 1, 1)
        scaled: NDArray[np.float32] = np.broadcast_to(grey, (len(grey), self.channels, *grey.shape[2:]))
        return np.ascontiguousarray((scaled - mean) / std)

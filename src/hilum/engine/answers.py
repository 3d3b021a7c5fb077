"""What every engine can be asked, and how films come to it: a few at a time, normalised."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hilum.preprocess import Preprocess

Floats = NDArray[np.float32]
Network = TypeVar("Network", covariant=True)

LOGITS, VECTOR = "logits", "vector"
"""Names of outputs: logits of every network; of a classifier also the vector (N, size) that its head reads."""
MAP, MIRRORED = "map.", "mirrored."
"""What the names of the maps begin with."""
SCORING_BATCH = 32
"""Films decoded ahead of a forward pass when predicting."""


class Frames(Protocol):
    """(N, side, side) whole numbers, in memory or on disk, that slices can be taken of."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[Any]: ...


class Engine(Protocol[Network]):
    """Computes what a network answers.

    Attributes:
        name: `onnx`, `openvino`, `openvino-bf16` or `torch`.
        at_once: films to send through at once.
        outputs: names of all that can be asked for.
        network: the torch network, for training and for what needs gradients; built when it is first asked for.
    """

    @property
    def name(self) -> str: ...

    @property
    def at_once(self) -> int: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def network(self) -> Network: ...

    def __call__(self, films: Floats, names: Sequence[str] = (LOGITS,)) -> tuple[Floats, ...]:
        """(N, channels, H, W) films -> the outputs named, each (N, ...)."""
        ...

    def tensors(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The network's tensors whose names begin so."""
        ...


def map_names(levels: int, *, mirror: bool) -> tuple[str, ...]:
    """Names of the maps (N, features, h, w) that a classifier's head reads, those of the mirrored film last.

    >>> map_names(2, mirror=True)
    ('map.0', 'map.1', 'mirrored.0', 'mirrored.1')
    """
    looks = (MAP, MIRRORED) if mirror else (MAP,)
    return tuple(f"{look}{level}" for look in looks for level in range(levels))


def in_passes(
    answer: Callable[[Floats], tuple[Floats, ...]], preprocess: Preprocess, frames: Frames, at_once: int
) -> tuple[Floats, ...]:
    """(N, side, side) frames -> outputs (N, ...), a few films a pass."""
    parts = [answer(preprocess.normalise(frames[start : start + at_once])) for start in range(0, len(frames), at_once)]
    if parts:
        # torch lays maps out pixel by pixel, and joining keeps that.
        return tuple(np.ascontiguousarray(np.concatenate(part)) for part in zip(*parts, strict=True))
    blank: NDArray[Any] = np.zeros((1, preprocess.size_px, preprocess.size_px), preprocess.dtype)
    return tuple(np.ascontiguousarray(part[:0]) for part in answer(preprocess.normalise(blank)))  # tells the shapes

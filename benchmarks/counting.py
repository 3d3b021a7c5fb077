"""What a stage has to compute and to move: operations and bytes, by torch's own counters or by formula.

Of networks, `torch.utils.flop_counter.FlopCounterMode` counts two operations a multiplication and addition in
convolutions and matrix products; activations, normalisation, pooling and resizing are not counted. Bytes are told
twice. The least any way of computing must move is the input, the output and the weights; the most is what every
operator of eager torch reads and writes, nothing joined and nothing kept in a cache.

Of everything else the operations are formulas of the pixels, each with its reason below; most are of whole numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode

JPEG_OPS = 13.0
"""A pixel: 2 x 8 one-dimensional cosine transforms of 12 multiplications and 32 additions over 64 pixels, one
multiplication to undo the quantising, one to make a float of it. Decoding the bits is not counted."""
PNG_OPS = 5.0
"""A pixel: about four to undo the filter (one for most filters, eight for Paeth's), one to make a float of it.
Inflating is not counted."""
FRAME_OPS = 16.0
"""A pixel of the film: two to average into the frame, one to look for the black border, one to count grey levels,
twelve to change the contrast by four tables."""
MAP_OPS = 2.0
"""A number of the maps: one multiplication, one addition."""
HEAD_OPS = 4.0
"""A weight and film: forward and the weights' gradient, two each; what the head reads needs no gradient."""


@dataclass(frozen=True)
class Count:
    """Of one film: operations, and the least and the most bytes moved."""

    ops: float
    least_bytes: float
    most_bytes: float


class ByteCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what operators read and write; those that only look at a tensor in another way move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = tensors_in((args, kwargs or {}))
        made = func(*args, **(kwargs or {}))
        told = tensors_in(made)
        places = {one.untyped_storage().data_ptr() for one in given}
        if func._schema.is_mutable or any(one.untyped_storage().data_ptr() not in places for one in told):
            self.bytes += sum(one.numel() * one.element_size() for one in (*given, *told))
        return made


def tensors_in(tree: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def size_of(*tensors: Tensor) -> int:
    """Bytes, each number in float32 or what it is kept in."""
    return sum(one.numel() * one.element_size() for one in tensors)


def count_network(network: nn.Module, films: Tensor, *, number_bytes: int = 4) -> Count:
    """A film's share of one pass.

    Args:
        network: on the processor, in float32.
        films: (N, channels, H, W).
        number_bytes: of a number where it is computed: 4 in float32, 2 in bfloat16.
    """
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        out = network(films)
    with torch.no_grad(), ByteCounter() as moved:
        network(films)
    weights = size_of(*network.parameters(), *network.buffers())
    scale = number_bytes / 4 / len(films)
    least = (size_of(films) + size_of(*tensors_in(out)) + weights) * scale
    return Count(flops.get_total_flops() / len(films), least, max(least, moved.bytes * scale))


def count_head(films: int, size: int, classes: int) -> Count:
    """A film's share of one step on vectors (films, size): AdamW reads and writes weight, gradient and two means."""
    weights = classes * (size + 1)
    ops = HEAD_OPS * films * weights + 2 * films * size + 12 * weights
    least = 4 * (films * size + 7 * weights)
    most = 4 * (4 * films * size + 12 * weights + 8 * films * classes)
    return Count(ops / films, least / films, most / films)


def count_jpeg(file_bytes: float, pixels: float) -> Count:
    """Coefficients of two bytes and grey levels of one are written and read back at most."""
    return Count(JPEG_OPS * pixels, file_bytes + 4 * pixels, file_bytes + (2 * 2 + 2 * 1 + 4) * pixels)


def count_png(file_bytes: float, pixels: float) -> Count:
    """What was inflated, and then the grey levels, are written and read back at most."""
    return Count(PNG_OPS * pixels, file_bytes + 4 * pixels, file_bytes + (2 * 1 + 2 * 1 + 4) * pixels)


def count_frame(pixels: float, side: int) -> Count:
    """From float32 pixels to a frame of one byte a pixel; each of four passes reads and writes the film at most."""
    return Count(FRAME_OPS * pixels, 4 * pixels + side**2, 4 * 8 * pixels + side**2)


def count_map(numbers: float, cells: float) -> Count:
    """From maps of float32 to one of float64; at most in float64 in between."""
    return Count(MAP_OPS * numbers, 4 * numbers + 8 * cells, (4 + 5 * 8) * numbers + 8 * cells)


def count_reading(file_bytes: float) -> Count:
    """Bytes only."""
    return Count(0.0, file_bytes, file_bytes)

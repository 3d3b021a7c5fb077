"""From a torch network to `network.onnx`: a graph without weights of its own, which reads the bundle's.

A safetensors file is eight bytes that tell the length of a JSON header, the header, and the tensors' plain numbers.
ONNX lets an initializer say in which file and at which byte its numbers lie, so the graph points there. Tensors kept in
half precision are cast to float32 in the graph; ONNX Runtime does that once, when the session is made.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from hilum.engine.answers import LOGITS, Floats
from hilum.engine.record import FILMS
from hilum.errors import BundleError, require

EXTRA = "train"
_HALF, _WHOLE = "F16", "F32"
_INSIDE = "network."


class _Telling(nn.Module):
    """Gives the outputs named, in their order."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(names)

    def forward(self, films: Tensor) -> tuple[Tensor, ...]:
        if self.names == (LOGITS,):
            return (self.network(films),)
        told: Mapping[str, Tensor] = getattr(self.network, "told")(films)  # noqa: B009 - nn.Module types it as a module
        return tuple(told[name] for name in self.names)


def write_graph(network: nn.Module, films: Floats, names: Sequence[str], file: Path, weights: Path) -> int:
    """Write the graph of a network and return the version of ONNX's operators it is written in.

    Args:
        network: on the processor, in float32.
        films: (2 or more, channels, H, W) to trace it with; later any number of films is read.
        names: of the outputs.
        file: to write, beside `weights`.
        weights: safetensors with this network's tensors.

    Raises:
        BundleError: torch cannot express this network in ONNX.
        MissingExtra: the packages that write ONNX are not installed.
    """
    onnx = require("onnx", extra=EXTRA)
    optimizer = require("onnxscript.optimizer", extra=EXTRA)
    program = _exported(_Telling(network, names).eval(), torch.from_numpy(films), names)
    optimizer.fold_constants(program.model)
    model = program.model_proto
    _strip(model)
    _point(onnx, model.graph, weights)
    file.write_bytes(model.SerializeToString(deterministic=True))
    return int(model.opset_import[0].version)


def _exported(network: nn.Module, films: Tensor, names: Sequence[str]) -> Any:
    try:
        return torch.onnx.export(
            network,
            (films,),
            dynamo=True,
            optimize=False,  # it would join layers, whose weights are then none of the bundle's
            input_names=[FILMS],
            output_names=list(names),
            dynamic_shapes=({0: torch.export.Dim("count")},),
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise BundleError("torch cannot write this network as ONNX; it runs with torch only") from error


def _strip(model: Any) -> None:
    """Take away what is no part of the computation: where in whose source files each layer was written."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for part in (model.graph.value_info, model.graph.metadata_props, model.metadata_props):
        del part[:]


def _point(onnx: Any, graph: Any, weights: Path) -> None:
    """Let initializers that the weights file holds point into it; others are constants and stay."""
    places = _places(weights)
    used = {name for node in graph.node for name in node.input}
    kept, casts = [], []
    with safe_open(weights, framework="numpy") as stored:
        for one in graph.initializer:
            name = one.name.removeprefix(_INSIDE)
            kind, start, length = places.get(name, ("", 0, 0))
            if one.name not in used:
                continue
            if kind not in (_HALF, _WHOLE) or not _same(onnx, one, stored.get_tensor(name)):
                kept.append(one)
                continue
            there = onnx.TensorProto(name=one.name, data_type=onnx.TensorProto.FLOAT, dims=one.dims)
            if kind == _HALF:
                there.name, there.data_type = f"{one.name}.half", onnx.TensorProto.FLOAT16
                casts.append(onnx.helper.make_node("Cast", [there.name], [one.name], to=onnx.TensorProto.FLOAT))
            there.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", weights.name), ("offset", start), ("length", length)):
                there.external_data.add(key=key, value=str(value))
            kept.append(there)
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


def _same(onnx: Any, one: Any, stored: Any) -> bool:
    return bool(np.array_equal(onnx.numpy_helper.to_array(one), stored.astype(np.float32)))


def _places(weights: Path) -> dict[str, tuple[str, int, int]]:
    """Type, first byte and length in bytes of every tensor in a safetensors file."""
    with weights.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    begin = 8 + length
    return {
        name: (told["dtype"], begin + told["data_offsets"][0], told["data_offsets"][1] - told["data_offsets"][0])
        for name, told in header.items()
        if name != "__metadata__"
    }

"""OpenVINO as an engine: the exported graph in float32, or in bfloat16 where that was checked.

OpenVINO: Intel, https://docs.openvino.ai (Apache-2.0). It reads `network.onnx` with the weights that lie beside it,
those in half precision too. Every film goes through by itself, in a graph of that fixed shape: of the graphs measured
that one costs least, and a film's answer does not depend on those beside it.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from hilum.engine.answers import LOGITS, Floats
from hilum.engine.record import FILMS
from hilum.engine.stored import StoredTensors
from hilum.engine.threads import threads_wanted
from hilum.errors import BundleError, UsageError, require
from hilum.files import cache_dir
from hilum.process import stay_silent

Network = TypeVar("Network")
Precision = Literal["f32", "bf16"]
EXTRA = "openvino"
AT_ONCE = 16
FEW = 3
"""Up to so many films go one after another, each through all threads; more go side by side, each through one thread."""


class OpenVinoEngine(Generic[Network]):
    """An exported network.

    Args:
        file: `network.onnx`.
        weights: the bundle's tensors, which lie beside it and which it reads.
        build: makes the torch network of the same weights, should anybody ask for it.
        key: of this network with these weights: names the folder in which the compiled graphs are kept.
        precision: what is computed in; sums are in float32 always.

    Raises:
        BundleError: OpenVINO cannot read it.
        MissingExtra: OpenVINO is not installed.
        UsageError: this processor does not compute in this precision.
    """

    at_once = AT_ONCE

    def __init__(
        self, file: Path, weights: Path, build: Callable[[], Network], *, key: str, precision: Precision = "f32"
    ) -> None:
        self.name = "openvino" if precision == "f32" else f"openvino-{precision}"
        self._core = _core()
        if precision == "bf16" and not computes_bf16(self._core):
            raise UsageError("this processor has no instructions for bfloat16: take the engine 'openvino'")
        self._model = _read(self._core, file)
        self._settings = {"INFERENCE_PRECISION_HINT": precision, "CACHE_DIR": str(cache_dir() / "openvino" / key)}
        self._build = build
        self._lock = threading.Lock()
        self._graphs: dict[int, Any] = {}
        self._stored = StoredTensors(weights)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        return tuple(output.get_any_name() for output in self._model.outputs)

    @cached_property
    def network(self) -> Network:
        return self._build()

    def __call__(self, films: Floats, names: Sequence[str] = (LOGITS,)) -> tuple[Floats, ...]:
        if not len(films):
            return tuple(one[:0] for one in self(np.zeros((1, *films.shape[1:]), np.float32), names))
        wanted = [self.outputs.index(name) for name in names]
        answers = self._one_by_one(films, wanted) if len(films) <= FEW else self._side_by_side(films, wanted)
        return tuple(np.concatenate(part) for part in zip(*answers, strict=True))

    def tensors(self, prefix: str) -> dict[str, NDArray[Any]]:
        return self._stored(prefix)

    def _one_by_one(self, films: Floats, wanted: Sequence[int]) -> list[list[Floats]]:
        # A request belongs to one call: several threads may ask at once, and making one takes a tenth of a millisecond.
        request = self._compiled(1).create_infer_request()
        answers = []
        for film in films:
            request.infer({FILMS: film[None]}, share_inputs=True)
            answers.append(_answers(request, wanted))
        return answers

    def _side_by_side(self, films: Floats, wanted: Sequence[int]) -> list[list[Floats]]:
        # Requests in turn, not OpenVINO's queue with a callback in Python: its threads need the interpreter then, and
        # where the graph is let go meanwhile, both wait for each other for ever.
        streams = min(threads_wanted(), len(films))
        graph = self._compiled(threads_wanted())
        requests = [graph.create_infer_request() for _ in range(streams)]
        answers = []
        for place, film in enumerate(films):
            request = requests[place % streams]
            if place >= streams:
                request.wait()
                answers.append(_answers(request, wanted))
            request.start_async({FILMS: film[None]})
        for place in range(len(films) - streams, len(films)):
            request = requests[place % streams]
            request.wait()
            answers.append(_answers(request, wanted))
        return answers

    def _compiled(self, streams: int) -> Any:
        """The graph for so many films at a time, compiled when it is first asked for."""
        with self._lock:
            if streams not in self._graphs:
                self._graphs[streams] = self._compile(streams)
            return self._graphs[streams]

    def _compile(self, streams: int) -> Any:
        settings = {**self._settings, "INFERENCE_NUM_THREADS": threads_wanted(), "NUM_STREAMS": streams}
        with suppress(RuntimeError):
            return self._core.compile_model(self._model, "CPU", settings)
        # What is kept of an earlier run may be damaged or not writable: without it the graph is compiled anew.
        del settings["CACHE_DIR"]
        return self._core.compile_model(self._model, "CPU", settings)


def _answers(request: Any, wanted: Sequence[int]) -> list[Floats]:
    return [np.array(request.get_output_tensor(place).data, np.float32) for place in wanted]


def _core() -> Any:
    """OpenVINO's core, with its reports to its maker off.

    Raises:
        MissingExtra: it is not installed.
    """
    stay_silent()
    return require("openvino", extra=EXTRA).Core()


def _read(core: Any, file: Path) -> Any:
    """The graph, for one film at a time."""
    try:
        model = core.read_model(file)
        shape = model.input(FILMS).get_partial_shape()
        shape[0] = 1
        model.reshape({FILMS: shape})
    except RuntimeError as error:
        raise BundleError(f"{file} cannot be read by OpenVINO {version()}: export it again") from error
    return model


def computes_bf16(core: Any = None) -> bool:
    """Whether this processor has instructions for bfloat16 that OpenVINO uses."""
    return "BF16" in (core or _core()).get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def version() -> str:
    """OpenVINO's, without the build it was made by.

    Raises:
        MissingExtra: it is not installed.
    """
    stay_silent()
    return str(require("openvino", extra=EXTRA).__version__).partition("-")[0]

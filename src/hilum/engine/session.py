"""ONNX Runtime as an engine: the exported graph, whose weights are the bundle's own file.

ONNX Runtime: Microsoft, https://onnxruntime.ai (MIT). It reads the weights of `network.onnx` from `weights.safetensors`
beside it, joins layers and folds constants when the session is made.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from hilum.engine.answers import LOGITS, Floats
from hilum.engine.record import FILMS
from hilum.engine.stored import StoredTensors
from hilum.engine.threads import threads_wanted
from hilum.errors import BundleError
from hilum.process import stay_silent

Network = TypeVar("Network")
AT_ONCE = 4
ERRORS_ONLY = 3
"""ONNX Runtime's scale of what is worth a line on the console."""


class OnnxEngine(Generic[Network]):
    """An exported network.

    Args:
        file: `network.onnx`.
        weights: the bundle's tensors, which lie beside it and which it reads.
        build: makes the torch network of the same weights, should anybody ask for it.

    Raises:
        BundleError: ONNX Runtime cannot read it.
    """

    name = "onnx"
    at_once = AT_ONCE

    def __init__(self, file: Path, weights: Path, build: Callable[[], Network]) -> None:
        self._session = _session(file)
        self._build = build
        self._stored = StoredTensors(weights)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(one.name for one in self._session.get_outputs())

    @cached_property
    def network(self) -> Network:
        return self._build()

    def __call__(self, films: Floats, names: Sequence[str] = (LOGITS,)) -> tuple[Floats, ...]:
        return tuple(self._session.run(list(names), {FILMS: films}))

    def tensors(self, prefix: str) -> dict[str, NDArray[Any]]:
        return self._stored(prefix)


def _session(file: Path) -> Any:
    stay_silent()
    import onnxruntime as runtime  # a fifth of a second, for those who run a network only

    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads_wanted()
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    # Threads that wait by spinning slow a busy machine down.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    state = runtime.capi.onnxruntime_pybind11_state
    try:
        return runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except (state.Fail, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented, state.NoSuchFile) as error:
        raise BundleError(f"{file} cannot be read by ONNX Runtime {runtime.__version__}: export it again") from error

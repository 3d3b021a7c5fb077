"""Which engine a loaded bundle answers through: ONNX Runtime where a valid export lies beside it, else torch."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from hilum.bundle.format import WEIGHTS, digest_without_notes
from hilum.engine import NETWORK, Engine, read_export
from hilum.errors import BundleError, UsageError, require, unknown_name

if TYPE_CHECKING:
    from torch import nn

Asked = Literal["auto", "onnx", "torch"]
CPU = "cpu"
Network = TypeVar("Network", bound="nn.Module")


def engine_for(
    folder: Path,
    asked: Asked,
    device: str,
    build: "Callable[[], Network]",
    prove: "Callable[[Engine[Network]], None]",
) -> "Engine[Network]":
    """An engine that has passed the bundle's self-test.

    Args:
        folder: of a checked bundle.
        asked: `auto` takes ONNX Runtime where it is installed and the export is there and valid, else torch.
        device: torch's; on others than the processor `auto` is torch.
        build: makes the torch network, with the bundle's weights.
        prove: replays the self-test.

    Raises:
        BundleError: the self-test fails; or there is no valid export and nothing but ONNX Runtime is asked for or here.
        MissingExtra: what was asked for is not installed.
        UsageError: an unknown engine, or one that does not run on that device.
    """
    if asked not in get_args(Asked):
        raise unknown_name("engine", asked, get_args(Asked))
    if asked == "onnx" and device != CPU:
        raise UsageError(f"engine 'onnx' runs on the processor, not on '{device}': leave the device out or use 'torch'")
    if asked == "onnx" or (asked == "auto" and device == CPU and find_spec("onnxruntime")):
        try:
            return _exported(folder, build, prove)
        except BundleError as error:
            if asked == "onnx":
                raise
            if not find_spec("torch"):
                raise BundleError(f"{error}; without it a bundle needs torch: pip install 'hilum[train]'") from error
    return _eager(device, build, prove)


def _exported(
    folder: Path, build: "Callable[[], Network]", prove: "Callable[[Engine[Network]], None]"
) -> "Engine[Network]":
    from hilum.engine.session import OnnxEngine

    read_export(folder, digest_without_notes(folder))
    network = partial(_eager_network, build, prove)
    engine: OnnxEngine[Network] = OnnxEngine(folder / NETWORK, folder / WEIGHTS, network)
    prove(engine)
    return engine


def _eager_network(build: "Callable[[], Network]", prove: "Callable[[Engine[Network]], None]") -> "Network":
    return _eager(CPU, build, prove).network


def _eager(
    device: str, build: "Callable[[], Network]", prove: "Callable[[Engine[Network]], None]"
) -> "Engine[Network]":
    require("torch", extra="train")
    from hilum.engine.eager import TorchEngine

    engine: TorchEngine[Network] = TorchEngine(build())
    prove(engine)
    engine.network.to(device)
    return engine

"""Which engine a loaded bundle answers through: ONNX Runtime where a valid export lies beside it, else torch."""

import logging
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from hilum.bundle.format import TOLERANCE, WEIGHTS, digest_without_notes, find_bundle
from hilum.engine import EXPORT, NETWORK, Engine, read_engines, read_export
from hilum.errors import BundleError, UsageError, require, unknown_name

if TYPE_CHECKING:
    from torch import nn

Asked = Literal["auto", "onnx", "openvino", "openvino-bf16", "torch"]
CPU = "cpu"
RUN_EXPORTS = {"onnx": "onnxruntime", "openvino": "openvino", "openvino-bf16": "openvino"}
"""Engine -> the package it needs: those that run `network.onnx`."""
CHECKED = {"openvino-bf16": "openvino"}
"""Engine that may be used only where a bundle's own check on films was passed -> what to use where it was not."""
Network = TypeVar("Network", bound="nn.Module")
Prove = Callable[[Engine[Network], float], None]
"""Replays the self-test of a bundle through an engine, within a tolerance."""


def engine_for(
    folder: Path, asked: Asked, device: str, build: "Callable[[], Network]", prove: "Prove[Network]"
) -> "Engine[Network]":
    """An engine that has passed the bundle's self-test.

    Args:
        folder: of a checked bundle.
        asked: `auto` takes ONNX Runtime where it is installed and the export is there and valid, else torch; where the
            export is there and damaged, a warning is logged, once.
        device: torch's; on others than the processor `auto` is torch.
        build: makes the torch network, with the bundle's weights.
        prove: replays the self-test.

    Raises:
        BundleError: the self-test fails; what was asked for has no valid export, or did not pass its check on films; or
            there is no valid export and no torch.
        MissingExtra: what was asked for is not installed.
        UsageError: an unknown engine, or one that does not run on that device or this processor.
    """
    if asked not in get_args(Asked):
        raise unknown_name("engine", asked, get_args(Asked))
    if asked in RUN_EXPORTS and device != CPU:
        raise UsageError(
            f"engine '{asked}' runs on the processor, not on '{device}': leave the device out or use 'torch'"
        )
    if asked in RUN_EXPORTS:
        return _exported(folder, asked, build, prove)
    if asked == "auto" and device == CPU and find_spec("onnxruntime"):
        try:
            return _exported(folder, "onnx", build, prove)
        except BundleError as error:
            if not find_spec("torch"):
                raise BundleError(f"{error}; without it a bundle needs torch: pip install 'hilum[train]'") from error
            engine = _eager(device, build, prove)
            if (folder / NETWORK).exists() or (folder / EXPORT).exists():
                _warn(f"{error}; until then this bundle runs with torch")
            return engine
    return _eager(device, build, prove)


def passed_or_exact(path: Path, asked: Asked) -> Asked:
    """The engine asked for, or where it needs a check that this bundle has not passed, the one in float32.

    Args:
        path: of the bundle or its run.
        asked: an engine.
    """
    if asked not in CHECKED:
        return asked
    folder = find_bundle(path)
    try:
        _tolerance(folder, asked)
    except BundleError:
        return "openvino"
    return asked


def why_not(folder: Path, name: str) -> str | None:
    """Why a bundle cannot be run by an engine here; None where it can, as far as can be told without trying.

    Args:
        folder: of a checked bundle.
        name: `torch` or one of `RUN_EXPORTS`.
    """
    package = RUN_EXPORTS.get(name, name)
    if not find_spec(package):
        return f"the package {package} is not installed"
    if name not in RUN_EXPORTS:
        return None
    try:
        read_export(folder, digest_without_notes(folder))
        _tolerance(folder, name)
    except BundleError as error:
        return str(error)
    return None


@cache
def _warn(message: str) -> None:
    """Log a warning, the first time."""
    logging.getLogger("hilum.bundle").warning(message)


def opened(folder: Path, name: str, network: "Callable[[], Network]") -> "Engine[Network]":
    """An engine that runs the bundle's export, not yet proved.

    Args:
        folder: of a checked bundle.
        name: one of `RUN_EXPORTS`.
        network: makes the torch network, should anybody ask for it.

    Raises:
        BundleError: there is no valid export, or it cannot be read.
        MissingExtra: the engine is not installed.
        UsageError: the engine does not run on this processor.
    """
    digest = digest_without_notes(folder)
    export = read_export(folder, digest)
    file, weights = folder / NETWORK, folder / WEIGHTS
    if name == "onnx":
        from hilum.engine.session import OnnxEngine

        return OnnxEngine(file, weights, network)
    from hilum.engine.openvino import OpenVinoEngine

    key = f"{digest[:16]}-{export.network[:16]}"
    return OpenVinoEngine(file, weights, network, key=key, precision="bf16" if name == "openvino-bf16" else "f32")


def _exported(folder: Path, name: str, build: "Callable[[], Network]", prove: "Prove[Network]") -> "Engine[Network]":
    engine = opened(folder, name, partial(_eager_network, build, prove))
    prove(engine, _tolerance(folder, name))
    return engine


def _tolerance(folder: Path, name: str) -> float:
    """How far an engine's answers to the self-test may lie from those saved.

    Raises:
        BundleError: the engine needs a check on films, and this bundle has none that was passed.
    """
    if name not in CHECKED:
        return TOLERANCE
    digest = digest_without_notes(folder)
    record = read_engines(folder, digest)
    trial = record.trials.get(name)
    if record.network != read_export(folder, digest).network or trial is None:
        raise BundleError(f"{folder}: '{name}' was not checked on films with this export: hilum engines {folder} FILMS")
    if not trial.passed:
        raise BundleError(
            f"{folder}: '{name}' did not pass the check on {record.checked_on.films} films: use '{CHECKED[name]}'"
        )
    # Another processor or version rounds otherwise, by about as much again.
    return TOLERANCE + 2 * trial.selftest


def _eager_network(build: "Callable[[], Network]", prove: "Prove[Network]") -> "Network":
    return _eager(CPU, build, prove).network


def _eager(device: str, build: "Callable[[], Network]", prove: "Prove[Network]") -> "Engine[Network]":
    require("torch", extra="train")
    from hilum.engine.eager import TorchEngine

    engine: TorchEngine[Network] = TorchEngine(build())
    prove(engine, TOLERANCE)
    engine.network.to(device)
    return engine

"""Exporting a bundle: its network as `network.onnx`, held against torch before it is kept."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.bundle.checking import load_eager, probabilities_of
from hilum.bundle.classifier import Bundle
from hilum.bundle.format import (
    TOLERANCE,
    WEIGHTS,
    digest_without_notes,
    find_bundle,
    proof_frames,
    proof_shift,
)
from hilum.bundle.segmenter import SegmenterBundle
from hilum.engine import EXPORT, LOGITS, NETWORK, Engine, Export, Shift, in_passes
from hilum.engine.record import FORMAT
from hilum.errors import BundleError, MissingExtra, require
from hilum.files import sha256_file, write_json, written_aside
from hilum.preprocess import Preprocess

MADE_BY = ("onnx", "onnxruntime", "onnxscript", "torch")
SEED = 0


def export_bundle(path: Path) -> Export:
    """Write `network.onnx` and `export.json` beside a classifier's or segmenter's manifest; its digest stays.

    Args:
        path: of the bundle or its run.

    Raises:
        BundleError: the bundle is not what it claims to be, torch cannot write its network as ONNX, or what was written
            answers otherwise; then nothing is left.
        MissingExtra: a package that writes or runs ONNX is not installed.
        UsageError: the bundle is of a kind that runs with torch only.
    """
    from hilum.engine.exporting import write_graph
    from hilum.engine.session import OnnxEngine

    folder = find_bundle(path)
    bundle = load_eager(folder)
    for stale in (EXPORT, NETWORK):
        (folder / stale).unlink(missing_ok=True)
    frames = drawn_frames(bundle.preprocess)
    with written_aside(folder / NETWORK) as aside:
        films = bundle.preprocess.normalise(frames[:2])
        opset = write_graph(bundle.network, films, bundle.engine.outputs, aside, folder / WEIGHTS)
        shift = _shift(bundle, OnnxEngine(aside, folder / WEIGHTS, lambda: bundle.network), frames)
    export = Export(
        format=FORMAT,
        bundle=digest_without_notes(folder),
        network=sha256_file(folder / NETWORK),
        opset=opset,
        outputs=bundle.engine.outputs,
        versions={name: str(require(name, extra="train").__version__) for name in MADE_BY},
        shift=shift,
    )
    write_json(folder / EXPORT, export.model_dump(mode="json"))
    return export


def try_export(path: Path) -> dict[str, str]:
    """Export a bundle where that can be done; else tell why not, as `not_exported`: with torch it runs all the same."""
    try:
        export_bundle(path)
    except (BundleError, MissingExtra) as error:
        return {"not_exported": str(error)}
    return {}


def drawn_frames(preprocess: Preprocess) -> NDArray[Any]:
    """(7, side, side): those of the self-test, upside down and inverted, and one of noise."""
    frames = proof_frames(preprocess)
    most = 2**preprocess.depth_bits - 1
    noise = np.random.default_rng(SEED).integers(0, most + 1, (1, *frames.shape[1:]), frames.dtype)
    return np.concatenate([frames, frames[:, ::-1], most - frames, noise])


def _shift(bundle: Bundle | SegmenterBundle, exported: Engine[Any], frames: NDArray[Any]) -> Shift:
    """How far an export's answers lie from the bundle's own.

    Raises:
        BundleError: as far as a self-test would not let pass.
    """
    names = bundle.engine.outputs
    expected, found = (
        in_passes(partial(engine, names=names), bundle.preprocess, frames, engine.at_once)
        for engine in (bundle.engine, exported)
    )
    for name, one, other in zip(names, expected, found, strict=True):
        if not proof_shift(other, one) <= TOLERANCE:
            raise BundleError(
                f"{bundle.title}: its export answers otherwise than torch ({name}); it runs with torch only"
            )
    place = names.index(LOGITS)
    logits = expected[place], found[place]
    shares = [probabilities_of(bundle, one) for one in logits]
    return Shift(
        frames=len(frames),
        largest_logit=float(np.abs(logits[0] - logits[1]).max()),
        largest_probability=float(np.abs(shares[0] - shares[1]).max()),
    )

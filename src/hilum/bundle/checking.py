"""Checking a bundle's engines on films: how near each comes to torch in float32, and what it costs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.bundle import classifier, segmenter
from hilum.bundle.classifier import Bundle, load_bundle
from hilum.bundle.engines import RUN_EXPORTS, opened, why_not
from hilum.bundle.format import (
    SELFTEST,
    OpenManifest,
    digest_without_notes,
    find_bundle,
    proof_shift,
    read_checked,
    read_proof,
)
from hilum.bundle.segmenter import SegmenterBundle, load_segmenter, shares_of
from hilum.engine import ENGINES, EngineRecord, Frames, Trial, read_engines, read_export
from hilum.engine.threads import threads_wanted
from hilum.engine.trials import FORMAT, CheckedOn, limits, near_enough
from hilum.errors import BundleError, DataError, UsageError, unknown_name
from hilum.files import write_json
from hilum.parallel import Progress
from hilum.process import instructions
from hilum.provenance import describe_machine, describe_versions

EAGER = "torch"
A_PASS = 16
"""Films an engine answers before the next one's turn."""

Floats = NDArray[Any]


@dataclass
class _Tally:
    """What an engine's answers came to so far."""

    shifts: list[float] = field(default_factory=list)
    flips: int = 0
    flipped: list[float] = field(default_factory=list)
    share: float = 0.0
    ms: list[float] = field(default_factory=list)
    processor_ms: list[float] = field(default_factory=list)


def check_engines(
    path: Path,
    frames: Frames,
    checked_on: CheckedOn,
    *,
    engines: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> EngineRecord:
    """Hold a bundle's engines against torch in float32 and write `engines.json`; the bundle's digest stays.

    Take films the bundle was not trained on: the limits were not chosen on any, and nothing is fitted.

    Args:
        path: of the bundle or its run.
        frames: (N, side, side), the films as the bundle reads them.
        checked_on: says which films these are.
        engines: of `RUN_EXPORTS`; default those installed.
        progress: told how many films are done.

    Raises:
        BundleError: the bundle is not what it claims to be, or it has no valid export.
        DataError: there are no films.
        MissingExtra: torch or an engine is not installed.
        UsageError: an unknown engine, one this processor cannot run, or a bundle that runs with torch only.
    """
    folder = find_bundle(path)
    reference = load_eager(folder)
    if not len(frames):
        raise DataError("no film is left to check the engines on: name films that the bundle reads")
    names = installed() if engines is None else tuple(engines)
    for name in names:
        if name not in RUN_EXPORTS:
            raise unknown_name("engine", name, RUN_EXPORTS)
    asked = {EAGER: reference} | {name: _through(reference, folder, name) for name in names}
    tallies = _asked(asked, frames, progress)
    digest = digest_without_notes(folder)
    record = EngineRecord(
        format=FORMAT,
        bundle=digest,
        network=read_export(folder, digest).network,
        checked_on=checked_on,
        trials={name: _trial(asked[name], tally, folder) for name, tally in tallies.items()},
        limits=limits(),
        versions=_versions(),
        processor=describe_machine()["processor"],
        instructions=instructions(),
        threads=threads_wanted(),
    )
    write_json(folder / ENGINES, record.model_dump(mode="json"))
    return record


def load_eager(folder: Path) -> Bundle | SegmenterBundle:
    """A classifier or a segmentation network, through torch in float32.

    Raises:
        BundleError: it is not what it claims to be.
        MissingExtra: torch is not installed.
        UsageError: it is of a kind that runs with torch only.
    """
    kind = read_checked(folder, None, OpenManifest).kind
    if kind == classifier.KIND:
        return load_bundle(folder, engine="torch")
    if kind == segmenter.KIND:
        return load_segmenter(folder, engine="torch")
    raise UsageError(f"{folder} holds a {kind}, which runs with torch only; name a classifier or a segmenter")


def installed() -> tuple[str, ...]:
    """Engines that run exports and whose packages are here; bfloat16 only where the processor computes in it."""
    here = tuple(name for name, package in RUN_EXPORTS.items() if find_spec(package))
    if "openvino-bf16" not in here:
        return here
    from hilum.engine.openvino import computes_bf16

    return here if computes_bf16() else tuple(name for name in here if name != "openvino-bf16")


@dataclass(frozen=True, slots=True)
class EngineState:
    """Whether a bundle can be run by an engine, without trying it.

    Attributes:
        name: the engine's.
        installed: whether its package is here.
        why_not: why it cannot be used here with this bundle; None where it can.
        auto: whether `auto` takes it.
        trial: what a check on films came to; None where there was none.
    """

    name: str
    installed: bool
    why_not: str | None
    auto: bool
    trial: Trial | None


def engine_states(path: Path) -> tuple[EngineState, ...]:
    """Every engine, and whether this bundle can be run by it here; the self-test is not replayed.

    Raises:
        BundleError: the bundle is not what it claims to be.
    """
    folder = find_bundle(path)
    read_checked(folder, None, OpenManifest)
    try:
        trials = read_engines(folder, digest_without_notes(folder)).trials
    except BundleError:
        trials = {}
    here = {EAGER: find_spec(EAGER) is not None} | {name: find_spec(of) is not None for name, of in RUN_EXPORTS.items()}
    reasons = {name: why_not(folder, name) for name in here}
    auto = "onnx" if reasons["onnx"] is None else EAGER
    return tuple(
        EngineState(name, here[name], reasons[name], name == auto and reasons[name] is None, trials.get(name))
        for name in here
    )


def _through(reference: Bundle | SegmenterBundle, folder: Path, name: str) -> Bundle | SegmenterBundle:
    if isinstance(reference, Bundle):
        return replace(reference, engine=opened(folder, name, lambda: reference.network))
    return replace(reference, engine=opened(folder, name, lambda: reference.network))


def _asked(
    asked: Mapping[str, Bundle | SegmenterBundle], frames: Frames, progress: Progress | None
) -> dict[str, _Tally]:
    """Every engine's answers to all frames, in turns: what slows the machine down slows all of them."""
    tallies = {name: _Tally() for name in asked}
    order = list(asked)
    for name in order:
        asked[name].logits(frames[:A_PASS])  # the first pass compiles, and takes longer
    for start in range(0, len(frames), A_PASS):
        part = np.asarray(frames[start : start + A_PASS])
        told = {name: _timed(asked[name], part, tallies[name]) for name in order}
        for name in asked:
            _compare(asked[name], told[EAGER], told[name], tallies[name])
        order.append(order.pop(0))
        if progress:
            progress(start + len(part), len(frames))
    return tallies


def _timed(bundle: Bundle | SegmenterBundle, frames: Floats, tally: _Tally) -> Floats:
    """Probabilities of frames; the time goes to the tally, save that of a shorter last pass."""
    wall, processor = time.perf_counter(), time.process_time()
    logits = bundle.logits(frames)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    if len(frames) == A_PASS or not tally.ms:
        tally.ms.append(1000 * wall / len(frames))
        tally.processor_ms.append(1000 * processor / len(frames))
    return probabilities_of(bundle, logits)


def probabilities_of(bundle: Bundle | SegmenterBundle, logits: NDArray[np.float32]) -> Floats:
    """What a bundle makes of its network's logits, in their shape."""
    return bundle.probabilities(logits) if isinstance(bundle, Bundle) else shares_of(logits)


def _compare(bundle: Bundle | SegmenterBundle, expected: Floats, found: Floats, tally: _Tally) -> None:
    tally.shifts += np.abs(expected - found).reshape(len(expected), -1).max(1).tolist()
    if isinstance(bundle, Bundle):
        tally.flips += int((_decisions(bundle, expected) != _decisions(bundle, found)).any(1).sum())
        return
    before, after = expected >= bundle.threshold, found >= bundle.threshold
    tally.flipped += (before != after).reshape(len(before), -1).mean(1).tolist()
    tally.share = max(tally.share, float(np.abs(before.mean((2, 3)) - after.mean((2, 3))).max()))


def _decisions(bundle: Bundle, probabilities: Floats) -> NDArray[np.int64]:
    """(N, decisions): the likeliest class, and for each operating point whether its probability reaches it."""
    points = [
        probabilities[:, bundle.classes.index(point.label)] >= point.threshold for point in bundle.operating_points
    ]
    return np.stack([probabilities.argmax(1), *points], axis=1)


def _trial(bundle: Bundle | SegmenterBundle, tally: _Tally, folder: Path) -> Trial:
    told: dict[str, Any] = {"largest": max(tally.shifts), "flips": tally.flips}
    if isinstance(bundle, SegmenterBundle):
        flipped = float(np.mean(tally.flipped))
        told |= {"flips": None, "pixels_flipped": flipped, "largest_share": tally.share}
    return Trial(
        **{"pixels_flipped": None, "largest_share": None} | told,
        median=float(np.median(tally.shifts)),
        selftest=_selftest(bundle, folder / SELFTEST),
        ms=round(float(np.median(tally.ms)), 3),
        processor_ms=round(float(np.median(tally.processor_ms)), 3),
        passed=near_enough(len(tally.shifts), **told),
    )


def _selftest(bundle: Bundle | SegmenterBundle, proof: Path) -> float:
    side = bundle.preprocess.size_px
    shape = (len(bundle.classes),) if isinstance(bundle, Bundle) else (len(bundle.labels), side, side)
    frames, expected = read_proof(proof, bundle.preprocess, shape)
    return proof_shift(bundle.logits(frames), expected)


def _versions() -> dict[str, str]:
    engines = {package: metadata.version(package) for package in set(RUN_EXPORTS.values()) if find_spec(package)}
    return describe_versions() | dict(sorted(engines.items()))

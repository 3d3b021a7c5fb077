"""What every bundle is on disk, whatever it holds: a manifest with closed keys, tensors, a self-test, and hashes.

    bundle.json           what it is, the hash of every other file, and a digest over all of it
    weights.safetensors   the network's tensors
    selftest.safetensors  drawn frames and the logits they must give, replayed on load
    notes.json            what its card tells beyond the manifest; only where the manifest lists it
    audit.json            what its audit found, naming the bundle; the manifest, which is older, does not list it
    reference.safetensors the films behind a classifier, as `hilum.reference` needs them; not listed either
    network.onnx          the network as a graph that ONNX Runtime runs, its weights read from weights.safetensors
    export.json           which bundle network.onnx was made of, its hash, and how near it comes; neither is listed
    engines.json          how near each engine comes to torch on films, and which may be used; not listed

Nothing in it is pickled and nothing in it is executed.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file

from hilum.engine import ENGINES, EXPORT, NETWORK
from hilum.errors import BundleError
from hilum.files import digest_of, sha256_file, write_json, written_aside
from hilum.preprocess import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1
MANIFEST, WEIGHTS, SELFTEST, NOTES = "bundle.json", "weights.safetensors", "selftest.safetensors", "notes.json"
AUDIT, REFERENCE = "audit.json", "reference.safetensors"
TOLERANCE = 1e-3
"""Largest difference in a self-test logit between the machine that saved and the one that loads, in units of the
largest of these logits (of one, where all are smaller)."""


class AnyManifest(BaseModel):
    """Keys that the `bundle.json` of every kind has; anything more or less than a kind's own is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    kind: str
    title: str
    preprocess: Preprocess
    intended_use: str
    disclaimer: str
    recipe: dict[str, Any]
    provenance: dict[str, Any]
    files: dict[str, str]
    digest: str


class OpenManifest(AnyManifest):
    """A `bundle.json` of any kind, for those who only tell what is in it; the kind's own keys are extras."""

    model_config = ConfigDict(extra="allow", frozen=True)


Kind = TypeVar("Kind", bound=AnyManifest)


def told_by(manifest: AnyManifest, kind: type[Any]) -> dict[str, Any]:
    """What a manifest tells of a bundle as it stands: values by field of the dataclass `kind`, all but the recipe."""
    shared = {one.name for one in fields(kind)} & type(manifest).model_fields.keys() - {"recipe"}
    return {name: getattr(manifest, name) for name in shared}


def proof_frames(preprocess: Preprocess) -> NDArray[Any]:
    """(2, side, side) drawn frames for the self-test: a soft chest-like shape and a ramp; no film of anybody."""
    side = preprocess.size_px
    across, down = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    lungs = sum(np.exp(-(((across - at) / 0.28) ** 2) - ((down / 0.55) ** 2)) for at in (-0.45, 0.45))
    drawn = np.stack([0.85 - 0.7 * lungs + 0.05 * np.cos(18 * down), (across + down + 2) / 4])
    frames: NDArray[Any] = np.rint(np.clip(drawn, 0, 1) * (2**preprocess.depth_bits - 1)).astype(preprocess.dtype)
    return frames


def write_bundle(
    folder: Path, told: Mapping[str, Any], state: "Mapping[str, Tensor]", frames: NDArray[Any], logits: NDArray[Any]
) -> None:
    """Write tensors, self-test and manifest; the manifest last, so a torn bundle has none.

    Args:
        folder: made where it is not there.
        told: the manifest without `files` and `digest`.
        state: the network's tensors.
        frames: of the self-test.
        logits: what the network says of them.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for stale in (MANIFEST, NOTES, AUDIT, REFERENCE, EXPORT, NETWORK, ENGINES):
        (folder / stale).unlink(missing_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    # safetensors has no unsigned 16-bit numbers in every version: the frames travel as 32-bit ones.
    proof = {"frames": torch.from_numpy(frames.astype(np.int32)), "logits": torch.from_numpy(logits)}
    for name, content in ((WEIGHTS, tensors), (SELFTEST, proof)):
        with written_aside(folder / name) as aside:
            save_file(content, aside)
    sign_manifest(folder, {**told, "files": {name: sha256_file(folder / name) for name in (WEIGHTS, SELFTEST)}})


def sign_manifest(folder: Path, told: Mapping[str, Any]) -> str:
    """Write the manifest with the digest over all of it, and return that digest.

    Args:
        folder: the bundle's.
        told: the manifest; a digest in it is replaced.
    """
    whole = {key: value for key, value in told.items() if key != "digest"}
    whole["digest"] = digest = digest_of(whole)
    write_json(folder / MANIFEST, whole)
    return digest


def digest_without_notes(folder: Path) -> str:
    """The digest that a checked bundle has, or would have, without notes: of all that it computes with."""
    told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    files = {name: sha256 for name, sha256 in told["files"].items() if name != NOTES}
    return digest_of({**{key: value for key, value in told.items() if key != "digest"}, "files": files})


def find_bundle(path: Path) -> Path:
    """The bundle's folder: `path` itself, or `path/bundle` where `path` is a run.

    Raises:
        BundleError: neither holds a bundle.
    """
    for folder in (path, path / "bundle"):
        if (folder / MANIFEST).is_file():
            return folder
    raise BundleError(f"{path} is no bundle: it has no {MANIFEST}; make one with: hilum train RECIPE --out RUN")


def read_checked(path: Path, kind: str | None, model: type[Kind]) -> Kind:
    """The checked manifest: format, kind, keys, digest and the hash of every file.

    Args:
        path: of the bundle or its run.
        kind: the one wanted; None takes any.
        model: the manifest's keys.

    Raises:
        BundleError: tampered, truncated, foreign, of another kind or of another format.
    """
    folder = find_bundle(path)
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError, OSError) as error:
        raise BundleError(f"{folder / MANIFEST} is not readable JSON: the bundle is damaged") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        found = told.get("format") if isinstance(told, dict) else None
        raise BundleError(f"{folder} is a bundle of format {found}, this hilum reads format {FORMAT}")
    if kind is not None and told.get("kind") != kind:
        raise BundleError(f"{folder} holds a {told.get('kind')}, and a {kind} is needed; name another bundle")
    try:
        manifest = model.model_validate_json(json.dumps(told))
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise BundleError(f"{folder / MANIFEST} is no hilum bundle (wrong: {keys})") from error
    _check_hashes(folder, told, manifest)
    return manifest


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _check_hashes(folder: Path, told: Mapping[str, Any], manifest: AnyManifest) -> None:
    if digest_of({key: value for key, value in told.items() if key != "digest"}) != manifest.digest:
        raise BundleError(f"{folder / MANIFEST} was changed after it was written: its digest does not match")
    if set(manifest.files) - {NOTES} != {WEIGHTS, SELFTEST}:
        raise BundleError(f"{folder / MANIFEST} lists other files than {WEIGHTS}, {SELFTEST} and {NOTES}")
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise BundleError(f"bundle file {name} is missing from {folder}")
        if sha256_file(file) != expected:
            raise BundleError(f"bundle file {name} in {folder} is damaged or changed: its hash does not match")


def load_weights(network: "nn.Module", folder: Path) -> None:
    """Fill a network with the bundle's tensors; those stored in half precision become float32 again.

    Raises:
        BundleError: they are not this network's.
    """
    import torch
    from safetensors.torch import load_file as load_tensors

    try:
        network.load_state_dict(load_tensors(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise BundleError(f"{WEIGHTS} in {folder} does not fit the network its manifest describes") from error
    network.eval().to(memory_format=torch.channels_last)


def read_proof(
    proof: Path, preprocess: Preprocess, logits_of_a_film: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Frames (N, side, side) of a self-test and the logits they must give.

    Raises:
        BundleError: it is no self-test of such a network.
    """
    side = preprocess.size_px
    try:
        told = load_file(proof)
        frames, expected = told["frames"].astype(preprocess.dtype), told["logits"]
    except (SafetensorError, KeyError) as error:
        raise BundleError(f"{proof} is no self-test of this bundle") from error
    if frames.shape[1:] != (side, side) or expected.shape != (len(frames), *logits_of_a_film) or not len(frames):
        raise BundleError(f"{proof} is no self-test of this bundle: its frames or logits have other shapes")
    return frames, expected


def check_proof(logits: NDArray[Any], expected: NDArray[Any], tolerance: float = TOLERANCE) -> None:
    """Compare what this machine computes with what the one that saved the bundle did.

    Args:
        logits: of the self-test, as they are computed here.
        expected: as they were saved.
        tolerance: in units of the largest of these, or of one where all are smaller.

    Raises:
        BundleError: they differ.
    """
    shift, unit = proof_shift(logits, expected), _unit(expected)
    if not shift <= tolerance:
        raise BundleError(
            f"the bundle's self-test gives logits {shift * unit:.2g} away from those it was saved with (limit "
            f"{tolerance * unit:.2g}): its weights or this machine's software are not what they were"
        )


def proof_shift(logits: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference of a logit, in units of the largest expected, or of one where all are smaller."""
    return float(np.abs(logits - expected).max()) / _unit(expected)


def _unit(expected: NDArray[Any]) -> float:
    return max(1.0, float(np.abs(expected).max()))

"""Bundle: what is released. A folder of JSON and safetensors that says what it is, checks itself and predicts alone.

    bundle.json           what it is, the hash of every other file, and a digest over all of it
    weights.safetensors   the network's tensors
    selftest.safetensors  drawn frames and the logits they must give, replayed on load

Nothing in it is pickled and nothing in it is executed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hilum.errors import BundleError, UsageError
from hilum.evaluate import OperatingPoint
from hilum.files import digest_of, sha256_file, write_json, written_aside
from hilum.networks import Classifier, Frames, build_classifier, logits_of
from hilum.preprocess import Preprocess
from hilum.recipe import Recipe, checked_recipe
from hilum.records import DISCLAIMER

FORMAT = 1
MANIFEST, WEIGHTS, SELFTEST = "bundle.json", "weights.safetensors", "selftest.safetensors"
TOLERANCE = 1e-3
"""Largest difference in a self-test logit between the machine that saved and the one that loads, in units of the
largest of these logits (of one, where all are smaller)."""


class Manifest(BaseModel):
    """`bundle.json`, key by key; anything more or less is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    kind: str
    title: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    temperature: float = Field(gt=0, allow_inf_nan=False)
    operating_points: tuple[OperatingPoint, ...]
    intended_use: str
    disclaimer: str
    recipe: dict[str, Any]
    evaluation: dict[str, Any] | None
    provenance: dict[str, Any]
    files: dict[str, str]
    digest: str


@dataclass(frozen=True)
class Bundle:
    """A classifier ready to use: network, preprocess, calibration, thresholds, and how it came to be."""

    title: str
    classes: tuple[str, ...]
    recipe: Recipe
    preprocess: Preprocess
    network: Classifier
    temperature: float
    operating_points: tuple[OperatingPoint, ...]
    evaluation: Mapping[str, Any] | None = None
    """Headline figures of the run that made it: what `evaluation.json` holds, without curves."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = "Research on shortcut learning and teaching. Not for patients."
    digest: str = ""
    """Names the exact bundle; empty until saved."""

    def logits(self, frames: Frames) -> NDArray[np.float32]:
        """(N, side, side) frames -> (N, classes) logits, in float32."""
        return logits_of(self.network, self.preprocess, frames)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, classes) calibrated probabilities; rows sum to one."""
        return calibrated(logits, self.temperature)


def calibrated(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Softmax of logits over a temperature (Guo et al. 2017)."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def proof_frames(preprocess: Preprocess) -> NDArray[Any]:
    """(2, side, side) drawn frames for the self-test: a soft chest-like shape and a ramp; no film of anybody."""
    side = preprocess.size_px
    across, down = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    lungs = sum(np.exp(-(((across - at) / 0.28) ** 2) - ((down / 0.55) ** 2)) for at in (-0.45, 0.45))
    drawn = np.stack([0.85 - 0.7 * lungs + 0.05 * np.cos(18 * down), (across + down + 2) / 4])
    frames: NDArray[Any] = np.rint(np.clip(drawn, 0, 1) * (2**preprocess.depth_bits - 1)).astype(preprocess.dtype)
    return frames


def save_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """Write a bundle and return it with its digest; the manifest is written last, so a torn bundle has none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    state = {name: value.detach().cpu().contiguous() for name, value in bundle.network.state_dict().items()}
    frames = proof_frames(bundle.preprocess)
    # safetensors has no unsigned 16-bit numbers in every version: the frames travel as 32-bit ones.
    proof = {"frames": torch.from_numpy(frames.astype(np.int32)), "logits": torch.from_numpy(bundle.logits(frames))}
    for name, tensors in ((WEIGHTS, state), (SELFTEST, proof)):
        with written_aside(folder / name) as aside:
            save_file(tensors, aside)
    told = _manifest(bundle) | {"files": {name: sha256_file(folder / name) for name in (WEIGHTS, SELFTEST)}}
    told["digest"] = digest_of(told)
    write_json(folder / MANIFEST, told)
    return load_bundle(folder)


def _manifest(bundle: Bundle) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": "classifier",
        "title": bundle.title,
        "classes": list(bundle.classes),
        "preprocess": bundle.preprocess.model_dump(mode="json"),
        "temperature": bundle.temperature,
        "operating_points": [asdict(point) for point in bundle.operating_points],
        "intended_use": bundle.intended_use,
        "disclaimer": DISCLAIMER,
        "recipe": bundle.recipe.model_dump(mode="json"),
        "evaluation": bundle.evaluation,
        "provenance": dict(bundle.provenance),
    }


def find_bundle(path: Path) -> Path:
    """The bundle's folder: `path` itself, or `path/bundle` where `path` is a run.

    Raises:
        BundleError: neither holds a bundle.
    """
    for folder in (path, path / "bundle"):
        if (folder / MANIFEST).is_file():
            return folder
    raise BundleError(f"{path} is no bundle: it has no {MANIFEST}; make one with: hilum train RECIPE --out RUN")


def read_manifest(folder: Path) -> Manifest:
    """The checked manifest: format, keys, digest and the hash of every file.

    Raises:
        BundleError: tampered, truncated, foreign, or of another format.
    """
    folder = find_bundle(folder)
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError, OSError) as error:
        raise BundleError(f"{folder / MANIFEST} is not readable JSON: the bundle is damaged") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        found = told.get("format") if isinstance(told, dict) else None
        raise BundleError(f"{folder} is a bundle of format {found}, this hilum reads format {FORMAT}")
    try:
        manifest = Manifest.model_validate_json(json.dumps(told))
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise BundleError(f"{folder / MANIFEST} is no hilum bundle (wrong: {keys})") from error
    _check_hashes(folder, told, manifest)
    return manifest


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _check_hashes(folder: Path, told: Mapping[str, Any], manifest: Manifest) -> None:
    if digest_of({key: value for key, value in told.items() if key != "digest"}) != manifest.digest:
        raise BundleError(f"{folder / MANIFEST} was changed after it was written: its digest does not match")
    if set(manifest.files) != {WEIGHTS, SELFTEST}:
        raise BundleError(f"{folder / MANIFEST} lists other files than {WEIGHTS} and {SELFTEST}")
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise BundleError(f"bundle file {name} is missing from {folder}")
        if sha256_file(file) != expected:
            raise BundleError(f"bundle file {name} in {folder} is damaged or changed: its hash does not match")


def load_bundle(path: Path, *, device: str = "cpu") -> Bundle:
    """Read, check and self-test a bundle (or the bundle of a run).

    Raises:
        BundleError: with what is wrong.
    """
    folder = find_bundle(path)
    manifest = read_manifest(folder)
    recipe = _recipe(folder, manifest)
    bundle = Bundle(
        title=manifest.title,
        classes=manifest.classes,
        recipe=recipe,
        preprocess=manifest.preprocess,
        network=_network(folder, manifest, recipe),
        temperature=manifest.temperature,
        operating_points=manifest.operating_points,
        evaluation=manifest.evaluation,
        provenance=manifest.provenance,
        intended_use=manifest.intended_use,
        digest=manifest.digest,
    )
    self_test(bundle, folder / SELFTEST)
    bundle.network.to(device)
    return bundle


def _recipe(folder: Path, manifest: Manifest) -> Recipe:
    try:
        recipe = checked_recipe(manifest.recipe)
    except UsageError as error:
        raise BundleError(f"{folder / MANIFEST} holds a recipe this hilum cannot read: {error}") from error
    if recipe.class_names != manifest.classes:
        raise BundleError(f"{folder / MANIFEST} names other classes than its recipe")
    return recipe


def _network(folder: Path, manifest: Manifest, recipe: Recipe) -> Classifier:
    try:
        network, _ = build_classifier(
            recipe.network, manifest.preprocess, classes=len(manifest.classes), weights="random"
        )
    except UsageError as error:
        raise BundleError(f"the network of {folder} cannot be built here: {error}") from error
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise BundleError(f"{WEIGHTS} in {folder} does not fit the network its manifest describes") from error
    return network.eval().to(memory_format=torch.channels_last)


def self_test(bundle: Bundle, proof: Path) -> None:
    """Replay the self-test.

    Raises:
        BundleError: this machine computes something else than the one that saved the bundle.
    """
    side = bundle.preprocess.size_px
    try:
        told = load_file(proof)
        frames, expected = told["frames"].numpy().astype(bundle.preprocess.dtype), told["logits"].numpy()
    except (SafetensorError, KeyError) as error:
        raise BundleError(f"{proof} is no self-test of this bundle") from error
    if frames.shape[1:] != (side, side) or expected.shape != (len(frames), len(bundle.classes)) or not len(frames):
        raise BundleError(f"{proof} is no self-test of this bundle: its frames or logits have other shapes")
    shift = float(np.abs(bundle.logits(frames) - expected).max())
    limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not shift <= limit:
        raise BundleError(
            f"the bundle's self-test gives logits {shift:.2g} away from those it was saved with (limit {limit:.2g}): "
            "its weights or this machine's torch are not what they were"
        )


def points_of(points: Sequence[OperatingPoint], label: str) -> dict[str, float]:
    """Threshold by name of one class's operating points."""
    return {point.name: point.threshold for point in points if point.label == label}

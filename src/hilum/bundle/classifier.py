"""The bundle of a classifier: network, preprocess, calibration, thresholds, and how it came to be."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.bundle.engines import CPU, Asked, engine_for
from hilum.bundle.format import (
    FORMAT,
    MANIFEST,
    SELFTEST,
    TOLERANCE,
    AnyManifest,
    check_proof,
    find_bundle,
    load_weights,
    proof_frames,
    read_checked,
    read_proof,
    told_by,
    write_bundle,
)
from hilum.engine import (
    LOGITS,
    VECTOR,
    Engine,
    EvidenceMap,
    FilmAnswers,
    Frames,
    evidence_map,
    film_answers,
    in_passes,
)
from hilum.errors import BundleError, UsageError
from hilum.preprocess import Preprocess
from hilum.recipe import Recipe, checked_recipe
from hilum.records import DISCLAIMER
from hilum.scoring import OperatingPoint

if TYPE_CHECKING:
    from hilum.networks import Classifier

KIND = "classifier"


class Manifest(AnyManifest):
    """`bundle.json` of a classifier, key by key; anything more or less is refused."""

    classes: tuple[str, ...]
    temperature: float = Field(gt=0, allow_inf_nan=False)
    operating_points: tuple[OperatingPoint, ...]
    evaluation: dict[str, Any] | None


@dataclass(frozen=True)
class Bundle:
    """A classifier ready to use: an engine, preprocess, calibration, thresholds, and how it came to be."""

    title: str
    classes: tuple[str, ...]
    recipe: Recipe
    preprocess: Preprocess
    engine: "Engine[Classifier]"
    """Computes the logits; holds the network."""
    temperature: float
    operating_points: tuple[OperatingPoint, ...]
    evaluation: Mapping[str, Any] | None = None
    """Headline figures of the run that made it: what `evaluation.json` holds, without curves."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = "Research on shortcut learning and teaching. Not for patients."
    digest: str = ""
    """Names the exact bundle; empty until saved."""

    @property
    def network(self) -> "Classifier":
        """The torch network, for what needs gradients; built when it is first asked for."""
        return self.engine.network

    def logits(self, frames: Frames) -> NDArray[np.float32]:
        """(N, side, side) frames -> (N, classes) logits, in float32."""
        return self._outputs(frames, LOGITS)

    def vectors(self, frames: Frames) -> NDArray[np.float32]:
        """(N, side, side) frames -> (N, size): what the head reads of them."""
        return self._outputs(frames, VECTOR)

    def _outputs(self, frames: Frames, name: str) -> NDArray[np.float32]:
        answer = partial(self.engine, names=(name,))
        return in_passes(answer, self.preprocess, frames, self.engine.at_once)[0]

    def answers(self, frame: NDArray[Any]) -> FilmAnswers:
        """Logits, vector and maps of a (side, side) frame, in one pass."""
        return film_answers(self.engine, self.preprocess.normalise(frame[None]))

    def evidence(self, frame: NDArray[Any], place: int) -> EvidenceMap:
        """What each cell of a (side, side) frame adds to the log-odds of the class at `place`, before calibration.

        Raises:
            UsageError: the head has hidden layers.
        """
        return self.evidence_of(self.answers(frame), place)

    def evidence_of(self, answers: FilmAnswers, place: int) -> EvidenceMap:
        """`evidence` of a film that has passed the network."""
        return evidence_map(self.engine, answers, place, pooling=self.recipe.network.pooling)

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


def save_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """Write a bundle and return it with its digest; the manifest is written last, so a torn bundle has none."""
    from hilum.engine.eager import TorchEngine

    bundle = replace(bundle, engine=TorchEngine(bundle.network))  # the network is what is saved, not an export of it
    frames = proof_frames(bundle.preprocess)
    write_bundle(folder, _manifest(bundle), bundle.network.state_dict(), frames, bundle.logits(frames))
    return load_bundle(folder)


def _manifest(bundle: Bundle) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": KIND,
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


def read_manifest(folder: Path) -> Manifest:
    """The checked manifest: format, keys, digest and the hash of every file.

    Raises:
        BundleError: tampered, truncated, foreign, or of another kind or format.
    """
    return read_checked(folder, KIND, Manifest)


def load_bundle(path: Path, *, device: str = CPU, engine: Asked = "auto") -> Bundle:
    """Read, check and self-test a bundle (or the bundle of a run).

    Args:
        path: of the bundle or its run.
        device: torch's.
        engine: `onnx` and `openvino` need no torch and an export beside the bundle, `auto` takes `onnx` where it can;
            `openvino-bf16` needs a check on films that was passed (`check_engines`).

    Raises:
        BundleError: with what is wrong.
        MissingExtra: what the engine needs is not installed.
    """
    folder = find_bundle(path)
    manifest = read_manifest(folder)
    recipe = _recipe(folder, manifest)

    def made(chosen: "Engine[Classifier]") -> Bundle:
        return Bundle(recipe=recipe, engine=chosen, **told_by(manifest, Bundle))

    def prove(tried: "Engine[Classifier]", tolerance: float) -> None:
        self_test(made(tried), folder / SELFTEST, tolerance)

    return made(engine_for(folder, engine, device, partial(_network, folder, manifest, recipe), prove))


def _recipe(folder: Path, manifest: Manifest) -> Recipe:
    try:
        recipe = checked_recipe(manifest.recipe)
    except UsageError as error:
        raise BundleError(f"{folder / MANIFEST} holds a recipe this hilum cannot read: {error}") from error
    if recipe.class_names != manifest.classes:
        raise BundleError(f"{folder / MANIFEST} names other classes than its recipe")
    return recipe


def _network(folder: Path, manifest: Manifest, recipe: Recipe) -> "Classifier":
    from hilum.networks import build_classifier

    try:
        network, _ = build_classifier(
            recipe.network, manifest.preprocess, classes=len(manifest.classes), weights="random"
        )
    except UsageError as error:
        raise BundleError(f"the network of {folder} cannot be built here: {error}") from error
    load_weights(network, folder)
    return network


def self_test(bundle: Bundle, proof: Path, tolerance: float = TOLERANCE) -> None:
    """Replay the self-test, within a tolerance as `check_proof` takes it.

    Raises:
        BundleError: this machine computes something else than the one that saved the bundle.
    """
    frames, expected = read_proof(proof, bundle.preprocess, (len(bundle.classes),))
    check_proof(bundle.logits(frames), expected, tolerance)


def points_of(points: Sequence[OperatingPoint], label: str) -> dict[str, float]:
    """Threshold by name of one class's operating points."""
    return {point.name: point.threshold for point in points if point.label == label}

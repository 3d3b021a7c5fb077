"""The bundle of a segmentation network: masks of its labels on whole films, and how far to trust them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hilum.bundle.engines import CPU, Asked, engine_for
from hilum.bundle.format import (
    FORMAT,
    MANIFEST,
    SELFTEST,
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
from hilum.engine import Engine, Frames, in_passes
from hilum.errors import BundleError, DataError, UsageError
from hilum.preprocess import Preprocess
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.records import DISCLAIMER
from hilum.scoring import Score

if TYPE_CHECKING:
    from hilum.networks.segmentation import Segmenter

KIND = "segmenter"
Stored = Literal["float32", "float16"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Agreement(_Strict):
    """What storing the weights in half precision changed, measured on films before they were let go."""

    films: int = Field(ge=0)
    pixels_changed: float = Field(ge=0, le=1)
    """Share of the pixels that changed sides."""
    largest_change: float = Field(ge=0, le=1)
    """Of any pixel's probability."""


class Figure(_Strict):
    """One figure with its 95 % interval, and what it was measured on."""

    metric: str
    label: str
    films: str
    """Which, in words: source, fold, whose masks."""
    n: int
    groups: int
    value: float
    low: float | None
    high: float | None
    training: str
    """`this`, or in words the training that was measured where it was not this bundle's own."""


def figure_of(score: Score, *, films: str, groups: int, training: str) -> Figure:
    """A score as a bundle keeps it, to four decimals.

    Raises:
        DataError: nothing was there to score.
    """
    if score.value is None:
        raise DataError(f"{score.metric} of {score.label} has no value on {films}: score films that show it")
    value, low, high = (None if one is None else round(one, 4) for one in (score.value, score.low, score.high))
    return Figure(
        metric=score.metric,
        label=score.label or "",
        films=films,
        n=score.n,
        groups=groups,
        value=value or 0.0,
        low=low,
        high=high,
        training=training,
    )


class SegmenterManifest(AnyManifest):
    """`bundle.json` of a segmentation network, key by key; anything more or less is refused."""

    labels: tuple[str, ...]
    threshold: float = Field(gt=0, lt=1)
    stored: Stored
    agreement: Agreement | None
    figures: tuple[Figure, ...]
    plausible: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class SegmenterBundle:
    """A segmentation network ready to use.

    Attributes:
        engine: computes the logits; holds the network.
        plausible: of what was seen on the training films' own masks: measure -> (lowest, highest).
        stored: what the weights are kept in; computed is in float32 always.
        agreement: what `stored` cost; None where it is float32.
        digest: names the exact bundle; empty until saved.
    """

    title: str
    labels: tuple[str, ...]
    recipe: SegmentationRecipe
    preprocess: Preprocess
    engine: "Engine[Segmenter]"
    threshold: float
    figures: Sequence[Figure] = ()
    plausible: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = "Research and teaching. Not for patients."
    stored: Stored = "float32"
    agreement: Agreement | None = None
    digest: str = ""

    @property
    def network(self) -> "Segmenter":
        """The torch network, for what needs gradients; built when it is first asked for."""
        return self.engine.network

    def logits(self, frames: Frames) -> NDArray[np.float32]:
        """(N, side, side) frames -> (N, labels, side, side) logits, in float32."""
        return in_passes(self.engine, self.preprocess, frames, self.engine.at_once)[0]

    def probabilities(self, frames: Frames) -> NDArray[np.float32]:
        """(N, side, side) frames -> (N, labels, side, side) in [0, 1]; labels may overlap."""
        return shares_of(self.logits(frames))


def shares_of(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of logits, each by itself: labels may overlap."""
    with np.errstate(over="ignore"):  # one over infinity is the 0 it should be
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def save_segmenter(bundle: SegmenterBundle, folder: Path, *, halved_on: Frames | None = None) -> SegmenterBundle:
    """Write a bundle and return it as it will be loaded.

    Args:
        bundle: its network's weights become what is stored.
        folder: to write to.
        halved_on: frames of films to measure on what half precision changes; the weights are then stored as float16,
            half the size. None stores float32.
    """
    from hilum.engine.eager import TorchEngine

    bundle = replace(bundle, engine=TorchEngine(bundle.network))  # the network is what is saved, not an export of it
    if halved_on is not None:
        bundle = replace(bundle, stored="float16", agreement=_halve(bundle, halved_on))
    state = bundle.network.state_dict()
    if bundle.stored == "float16":
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    frames = proof_frames(bundle.preprocess)
    write_bundle(folder, _manifest(bundle), state, frames, bundle.logits(frames))
    return load_segmenter(folder)


def _halve(bundle: SegmenterBundle, frames: Frames) -> Agreement:
    """Round the network's weights to half precision, and tell what that does to the masks."""
    before = bundle.probabilities(frames)
    rounded = {
        name: value.half().to(value.dtype) if value.is_floating_point() else value
        for name, value in bundle.network.state_dict().items()
    }
    if not all(bool(value.isfinite().all()) for value in rounded.values()):
        raise UsageError("a weight of the network is too large for float16; store float32")
    bundle.network.load_state_dict(rounded)
    after = bundle.probabilities(frames)
    changed = (before >= bundle.threshold) != (after >= bundle.threshold)
    return Agreement(
        films=len(frames),
        pixels_changed=float(changed.mean()) if changed.size else 0.0,
        largest_change=float(np.abs(before - after).max(initial=0.0)),
    )


def _manifest(bundle: SegmenterBundle) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": KIND,
        "title": bundle.title,
        "labels": list(bundle.labels),
        "preprocess": bundle.preprocess.model_dump(mode="json"),
        "threshold": bundle.threshold,
        "stored": bundle.stored,
        "agreement": bundle.agreement.model_dump(mode="json") if bundle.agreement else None,
        "intended_use": bundle.intended_use,
        "disclaimer": DISCLAIMER,
        "recipe": bundle.recipe.model_dump(mode="json"),
        "figures": [figure.model_dump(mode="json") for figure in bundle.figures],
        "plausible": {name: list(limits) for name, limits in bundle.plausible.items()},
        "provenance": dict(bundle.provenance),
    }


def load_segmenter(path: Path, *, device: str = CPU, engine: Asked = "auto") -> SegmenterBundle:
    """Read, check and self-test the bundle of a segmentation network; the arguments are those of `load_bundle`.

    Raises:
        BundleError: with what is wrong.
        MissingExtra: what the engine needs is not installed.
    """
    folder = find_bundle(path)
    manifest = read_checked(folder, KIND, SegmenterManifest)
    recipe = _recipe(folder, manifest)

    def made(chosen: "Engine[Segmenter]") -> SegmenterBundle:
        return SegmenterBundle(recipe=recipe, engine=chosen, **told_by(manifest, SegmenterBundle))

    def prove(tried: "Engine[Segmenter]", tolerance: float) -> None:
        self_test(made(tried), folder / SELFTEST, tolerance)

    return made(engine_for(folder, engine, device, partial(_network, folder, manifest, recipe), prove))


def self_test(bundle: SegmenterBundle, proof: Path, tolerance: float) -> None:
    """Replay the self-test, within a tolerance as `check_proof` takes it.

    Raises:
        BundleError: this machine computes something else than the one that saved the bundle.
    """
    side = bundle.preprocess.size_px
    frames, expected = read_proof(proof, bundle.preprocess, (len(bundle.labels), side, side))
    check_proof(bundle.logits(frames), expected, tolerance)


def _recipe(folder: Path, manifest: SegmenterManifest) -> SegmentationRecipe:
    try:
        recipe = SegmentationRecipe.model_validate(manifest.recipe)
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise BundleError(f"{folder / MANIFEST} holds a recipe this hilum cannot read (wrong: {keys})") from error
    if recipe.labels != manifest.labels:
        raise BundleError(f"{folder / MANIFEST} names other labels than its recipe")
    return recipe


def _network(folder: Path, manifest: SegmenterManifest, recipe: SegmentationRecipe) -> "Segmenter":
    from hilum.networks.segmentation import build_segmenter

    try:
        network = build_segmenter(
            recipe.network,
            encoder=recipe.encoder,
            weights="random",
            channels=manifest.preprocess.channels,
            labels=len(manifest.labels),
        )
    except UsageError as error:
        raise BundleError(f"the network of {folder} cannot be built here: {error}") from error
    load_weights(network, folder)
    return network

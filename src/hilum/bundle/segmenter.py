"""The bundle of a segmentation network: masks of its labels on whole films, and how far to trust them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
    write_bundle,
)
from hilum.errors import BundleError, DataError, UsageError
from hilum.networks import Frames
from hilum.networks.classifier import outputs_of
from hilum.networks.segmentation import Segmenter, build_segmenter
from hilum.preprocess import Preprocess
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.records import DISCLAIMER
from hilum.scoring import Score

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
        plausible: of what was seen on the training films' own masks: measure -> (lowest, highest).
        stored: what the weights are kept in; computed is in float32 always.
        agreement: what `stored` cost; None where it is float32.
        digest: names the exact bundle; empty until saved.
    """

    title: str
    labels: tuple[str, ...]
    recipe: SegmentationRecipe
    preprocess: Preprocess
    network: Segmenter
    threshold: float
    figures: Sequence[Figure] = ()
    plausible: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = "Research and teaching. Not for patients."
    stored: Stored = "float32"
    agreement: Agreement | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        # As a loaded one is laid out: another layout rounds otherwise, and a figure would not repeat to the last digit.
        self.network.to(memory_format=torch.channels_last)

    def logits(self, frames: Frames) -> NDArray[np.float32]:
        """(N, side, side) frames -> (N, labels, side, side) logits, in float32."""
        side = self.preprocess.size_px
        return outputs_of(self.network, self.preprocess, frames, (len(self.labels), side, side))

    def probabilities(self, frames: Frames) -> NDArray[np.float32]:
        """(N, side, side) frames -> (N, labels, side, side) in [0, 1]; labels may overlap."""
        shares: NDArray[np.float32] = torch.sigmoid(torch.from_numpy(self.logits(frames))).numpy()
        return shares


def save_segmenter(bundle: SegmenterBundle, folder: Path, *, halved_on: Frames | None = None) -> SegmenterBundle:
    """Write a bundle and return it as it will be loaded.

    Args:
        bundle: its network's weights become what is stored.
        folder: to write to.
        halved_on: frames of films to measure on what half precision changes; the weights are then stored as float16,
            half the size. None stores float32.
    """
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
    if not all(bool(torch.isfinite(value).all()) for value in rounded.values()):
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


def load_segmenter(path: Path, *, device: str = "cpu") -> SegmenterBundle:
    """Read, check and self-test the bundle of a segmentation network.

    Raises:
        BundleError: with what is wrong.
    """
    folder = find_bundle(path)
    manifest = read_checked(folder, KIND, SegmenterManifest)
    recipe = _recipe(folder, manifest)
    bundle = SegmenterBundle(
        title=manifest.title,
        labels=manifest.labels,
        recipe=recipe,
        preprocess=manifest.preprocess,
        network=_network(folder, manifest, recipe),
        threshold=manifest.threshold,
        figures=manifest.figures,
        plausible=manifest.plausible,
        provenance=manifest.provenance,
        intended_use=manifest.intended_use,
        stored=manifest.stored,
        agreement=manifest.agreement,
        digest=manifest.digest,
    )
    side = manifest.preprocess.size_px
    frames, expected = read_proof(folder / SELFTEST, manifest.preprocess, (len(manifest.labels), side, side))
    check_proof(bundle.logits(frames), expected)
    bundle.network.to(device)
    return bundle


def _recipe(folder: Path, manifest: SegmenterManifest) -> SegmentationRecipe:
    try:
        recipe = SegmentationRecipe.model_validate(manifest.recipe)
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise BundleError(f"{folder / MANIFEST} holds a recipe this hilum cannot read (wrong: {keys})") from error
    if recipe.labels != manifest.labels:
        raise BundleError(f"{folder / MANIFEST} names other labels than its recipe")
    return recipe


def _network(folder: Path, manifest: SegmenterManifest, recipe: SegmentationRecipe) -> Segmenter:
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

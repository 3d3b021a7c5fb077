"""The bundle of a box detector: boxes of its labels on whole films, and how far to trust them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from hilum.boxes import Box, LabelledBox
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
from hilum.bundle.segmenter import Figure
from hilum.engine import Frames
from hilum.errors import BundleError, UsageError, require
from hilum.outlines import Placing
from hilum.preprocess import Preprocess
from hilum.recipe.detection import DetectionRecipe
from hilum.records import DISCLAIMER

if TYPE_CHECKING:
    from hilum.networks.detectors import Detector

KIND = "detector"


class DetectorManifest(AnyManifest):
    """`bundle.json` of a box detector, key by key; anything more or less is refused."""

    labels: tuple[str, ...]
    score_threshold: float = Field(ge=0, lt=1)
    nms_threshold: float = Field(gt=0, le=1)
    most_found: int = Field(ge=1)
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class DetectorBundle:
    """A box detector ready to use; it runs with torch only.

    Attributes:
        score_threshold: boxes with a lower score are not told.
        nms_threshold: of two boxes of a label that share more than this, the surer is told.
        most_found: boxes on a film.
        digest: names the exact bundle; empty until saved.
    """

    title: str
    labels: tuple[str, ...]
    recipe: DetectionRecipe
    preprocess: Preprocess
    network: "Detector"
    score_threshold: float
    nms_threshold: float
    most_found: int = 100
    figures: Sequence[Figure] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = "Research and teaching. Not for patients."
    digest: str = ""

    def __post_init__(self) -> None:
        # As a loaded one is laid out: another layout rounds otherwise, and a figure would not repeat to the last digit.
        self.network.to(memory_format=require("torch", extra="train").channels_last)

    def answers(self, frames: Frames) -> NDArray[np.float32]:
        """(N, side, side) frames -> (N, numbers): all that the network's heads answer, before boxes are chosen."""
        from hilum.networks.classifier import outputs_of

        return outputs_of(self.network, self.preprocess, frames)

    def detect(
        self, frames: Frames, sizes: Sequence[tuple[int, int]], *, score_threshold: float | None = None
    ) -> list[list[LabelledBox]]:
        """The boxes on each film, in pixels of the film, the surest first.

        Args:
            frames: (N, side, side) of films.
            sizes: each film's (height, width) as it is displayed.
            score_threshold: in place of the bundle's; low for a whole precision-recall curve.

        Raises:
            UsageError: there are not as many sizes as frames.
        """
        from hilum.networks.detectors import Limits, found_in, labelled

        if len(sizes) != len(frames):
            raise UsageError(f"{len(frames)} frames come with the sizes of {len(sizes)} films; give one each")
        least = self.score_threshold if score_threshold is None else score_threshold
        marked = found_in(self.network, self.preprocess, frames, Limits(least, self.nms_threshold, self.most_found))
        return [
            _on_film(labelled(one, self.labels), self.preprocess, size) for one, size in zip(marked, sizes, strict=True)
        ]


def _on_film(found: Sequence[LabelledBox], preprocess: Preprocess, size: tuple[int, int]) -> list[LabelledBox]:
    """Boxes of a frame on its film; those that lie on the padding alone are no boxes of the film."""
    placing = Placing.of(preprocess, size)
    told: list[tuple[LabelledBox, Box]] = [(one, placing.onto_film(one.box, size)) for one in found]
    return [LabelledBox(one.label, box, one.score) for one, box in told if box.width > 0 and box.height > 0]


def save_detector(bundle: DetectorBundle, folder: Path) -> DetectorBundle:
    """Write a bundle and return it as it will be loaded."""
    frames = proof_frames(bundle.preprocess)
    write_bundle(folder, _manifest(bundle), bundle.network.state_dict(), frames, bundle.answers(frames))
    return load_detector(folder)


def _manifest(bundle: DetectorBundle) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": KIND,
        "title": bundle.title,
        "labels": list(bundle.labels),
        "preprocess": bundle.preprocess.model_dump(mode="json"),
        "score_threshold": bundle.score_threshold,
        "nms_threshold": bundle.nms_threshold,
        "most_found": bundle.most_found,
        "intended_use": bundle.intended_use,
        "disclaimer": DISCLAIMER,
        "recipe": bundle.recipe.model_dump(mode="json"),
        "figures": [figure.model_dump(mode="json") for figure in bundle.figures],
        "provenance": dict(bundle.provenance),
    }


def load_detector(path: Path, *, device: str = "cpu") -> DetectorBundle:
    """Read, check and self-test the bundle of a box detector.

    Raises:
        BundleError: with what is wrong.
    """
    folder = find_bundle(path)
    manifest = read_checked(folder, KIND, DetectorManifest)
    recipe = _recipe(folder, manifest)
    require("torch", extra="train")
    network = _network(folder, manifest, recipe)
    bundle = DetectorBundle(recipe=recipe, network=network, **told_by(manifest, DetectorBundle))
    blank = np.zeros((0, manifest.preprocess.size_px, manifest.preprocess.size_px), manifest.preprocess.dtype)
    frames, expected = read_proof(folder / SELFTEST, manifest.preprocess, bundle.answers(blank).shape[1:])
    check_proof(bundle.answers(frames), expected)
    bundle.network.to(device)
    return bundle


def _recipe(folder: Path, manifest: DetectorManifest) -> DetectionRecipe:
    try:
        recipe = DetectionRecipe.model_validate(manifest.recipe)
    except ValidationError as error:
        keys = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise BundleError(f"{folder / MANIFEST} holds a recipe this hilum cannot read (wrong: {keys})") from error
    if recipe.labels != manifest.labels:
        raise BundleError(f"{folder / MANIFEST} names other labels than its recipe")
    return recipe


def _network(folder: Path, manifest: DetectorManifest, recipe: DetectionRecipe) -> "Detector":
    from hilum.networks.detectors import build_detector

    try:
        network = build_detector(
            recipe.network,
            encoder=recipe.encoder,
            weights="random",
            channels=manifest.preprocess.channels,
            labels=len(manifest.labels),
            width=recipe.width,
        )
    except UsageError as error:
        raise BundleError(f"the network of {folder} cannot be built here: {error}") from error
    load_weights(network, folder)
    return network

"""Bundles to measure with: a named backbone and a head of one layer, exported, and the engines that can answer.

Weights are random but for EfficientNet-Lite0, which a package carries, so nothing is downloaded. What is random is
made to behave like a trained network: batch norm has numbers of its own, and logits spread over the films by about
one, so that a probability shows where an engine computes otherwise.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from hilum.bundle import Bundle, load_bundle, save_bundle
from hilum.bundle.engines import Asked, opened
from hilum.bundle.exporting import export_bundle
from hilum.errors import HilumError
from hilum.recipe import parse_recipe

RECIPE = """
title = "A network to measure"
[films]
sources = ["simulated"]
views = ["PA", "AP"]
[classes]
covid19 = ["covid19"]
normal = ["normal"]
[preprocess]
size_px = {side}
channels = {channels}
{scaling}
[network]
backbone = "{backbone}"
weights = "{weights}"
pooling = "avg"
standardise = false
"""
LITE0 = "tf_efficientnet_lite0"
SHOWN = {
    "onnx": "ONNX Runtime, float32",
    "openvino": "OpenVINO, float32",
    "openvino-bf16": "OpenVINO, bfloat16",
    "torch": "torch, float32",
}
"""Engine -> what it is called here."""


@dataclass(frozen=True)
class Answering:
    """An engine under the name it is shown by, ready to answer."""

    name: str
    bundle: Bundle

    def probabilities(self, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, side, side) -> (N, classes)."""
        return self.bundle.probabilities(self.bundle.logits(frames))


def made_bundle(backbone: str, frames: Callable[[Any], NDArray[np.uint8]], folder: Path, *, side: int = 224) -> Bundle:
    """A bundle in `folder`, exported, answered by torch.

    Args:
        backbone: of timm, or TorchXRayVision's (`xrv:NAME`).
        frames: makes frames (N, side, side) of films by the bundle's preprocess; the head is drawn to tell them apart.
        folder: to write.
        side: in px.
    """
    import torch

    from hilum.engine.eager import TorchEngine
    from hilum.networks import build_classifier

    torch.manual_seed(0)
    chest = backbone.startswith("xrv:")
    recipe = parse_recipe(
        RECIPE.format(
            side=side,
            channels=1 if chest else 3,
            scaling="" if chest or backbone == LITE0 else "mean = [0.0]\nstd = [1.0]",
            backbone=backbone,
            weights="packaged" if backbone == LITE0 else "random",
        )
    )
    network, _ = build_classifier(recipe.network, recipe.preprocess, classes=2)
    preprocess = recipe.preprocess.model_copy(
        update={
            "mean": recipe.preprocess.mean or network.backbone.mean,
            "std": recipe.preprocess.std or network.backbone.std,
        }
    )
    if backbone != LITE0:
        enliven(network)
    tell_apart(network, preprocess.normalise(frames(preprocess)))
    bundle = Bundle(
        title=f"{backbone}, to measure",
        classes=recipe.class_names,
        recipe=recipe,
        preprocess=preprocess,
        engine=TorchEngine(network.eval()),
        temperature=1.0,
        operating_points=(),
    )
    save_bundle(bundle, folder)
    export_bundle(folder)
    return load_bundle(folder, engine="torch")


def enliven(network: Any) -> None:
    """Give batch norm numbers as training leaves them; as built, timm's ends every residual branch with a zero."""
    import torch

    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for tensor, low, high in (
                (layer.weight, 0.5, 1.0),
                (layer.bias, -0.2, 0.2),
                (layer.running_mean, -0.2, 0.2),
                (layer.running_var, 0.5, 1.5),
            ):
                torch.nn.init.uniform_(tensor, low, high)


def tell_apart(network: Any, films: NDArray[np.float32]) -> None:
    """Draw the head so that logits of (N, channels, H, W) films have a mean of zero and a deviation of about one."""
    import torch

    with torch.inference_mode():
        vectors = torch.cat(
            [network.eval().vectors(torch.from_numpy(part)) for part in np.array_split(films, len(films))]
        )
    mean, deviation = vectors.mean(0), vectors.std(0)
    used = deviation > 1e-3 * vectors.abs().mean().clamp_min(1e-12)
    head = network.head[-1]
    drawn = torch.randn(head.weight.shape) / torch.where(used, deviation, torch.inf)
    spread = ((vectors - mean) @ drawn.T).std(0)
    with torch.no_grad():
        head.weight.copy_(drawn / spread[:, None])
        head.bias.copy_(-(head.weight @ mean))


def engines_of(folder: Path) -> Iterator[Answering]:
    """Every engine that can answer for this bundle here, torch last.

    Those that may be used only where a check on films was passed answer all the same: how far they lie apart is
    measured by whoever asks.
    """
    network = load_bundle(folder, engine="torch")
    for name in get_args(Asked):
        if name in ("auto", "torch"):
            continue
        try:
            yield Answering(
                SHOWN.get(name, name), replace(network, engine=opened(folder, name, lambda: network.network))
            )
        except HilumError as error:
            print(f"engine {name} does not answer here: {error}", file=sys.stderr)
    yield Answering(SHOWN["torch"], network)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the block, and in it hilum's cache: graphs that engines compile are not left behind."""
    before = os.environ.get("HILUM_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HILUM_CACHE"] = str(Path(folder) / "hilum-cache")
        try:
            yield Path(folder)
        finally:
            os.environ.pop("HILUM_CACHE")
            if before is not None:
                os.environ["HILUM_CACHE"] = before


def farthest(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Largest difference of a probability."""
    return float(np.abs(one - other).max())


def framed(films: list[NDArray[np.uint8]]) -> Callable[[Any], NDArray[np.uint8]]:
    """Makes frames of films (H, W) by a preprocess."""
    return partial(_frames, films)


def _frames(films: list[NDArray[np.uint8]], preprocess: Any) -> NDArray[np.uint8]:
    return np.stack([preprocess.frame(film.astype(np.float32) / 255) for film in films])

"""Segmentation networks that draw anything, and a chest for them to draw on."""

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

if TYPE_CHECKING:
    from hilum.bundle import SegmenterBundle


def untrained(*labels: str) -> "SegmenterBundle":
    """A small network of random weights, the same each time, for films of 64 x 64."""
    torch = pytest.importorskip("torch", reason="needs the extra hilum[train]")
    from hilum.bundle import SegmenterBundle
    from hilum.engine.eager import TorchEngine
    from hilum.networks.segmentation import build_segmenter
    from hilum.preprocess import Preprocess
    from hilum.recipe.segmentation import SegmentationRecipe

    plain = Preprocess(size_px=64, channels=1)
    recipe = SegmentationRecipe(
        title="Untrained", labels=labels, network="unet-1", encoder=None, weights="random", preprocess=plain
    )
    torch.manual_seed(0)
    network = build_segmenter("unet-1", encoder=None, weights="random", channels=1, labels=len(labels))
    return SegmenterBundle("Untrained", labels, recipe, plain, TorchEngine(network), 0.5)


def drawer(folder: Path, *labels: str) -> Path:
    """The folder of a bundle that draws anything under these labels."""
    from hilum.bundle import save_segmenter

    save_segmenter(untrained(*labels), folder)
    return folder


def chest(path: Path) -> Path:
    """A drawn chest: bright body, two dark lungs, a heart, a spine, the dark outside."""
    y, x = np.mgrid[0:1:300j, 0:1:320j]
    film = 0.62 * (((x - 0.5) / 0.46) ** 4 + ((y - 0.6) / 0.62) ** 4 < 1)
    for column in (0.3, 0.7):
        film = film - 0.45 * (((x - column) / 0.15) ** 2 + ((y - 0.48) / 0.33) ** 2 < 1)
    film = film + 0.25 * (((x - 0.56) / 0.13) ** 2 + ((y - 0.66) / 0.14) ** 2 < 1) + 0.15 * (abs(x - 0.5) < 0.04)
    film = cv2.GaussianBlur(np.clip(film, 0, 1), (0, 0), 4) + np.random.default_rng(0).normal(0, 0.01, film.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.rint(255 * np.clip(film, 0, 1)).astype(np.uint8))
    return path

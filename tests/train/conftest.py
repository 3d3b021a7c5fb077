"""Films with and without a planted bright patch, and a tiny network trained on them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hilum.cache import ArrayCache, ArrayView
from hilum.files import cache_dir
from hilum.networks import build_classifier
from hilum.networks.classifier import Classifier
from hilum.recipe import Recipe
from hilum.train import Fitted, Folds, Stage, fit_network

Targets = np.ndarray[Any, Any]


def _recipe(**parts: dict[str, Any]) -> Recipe:
    """A tiny network trained from scratch in four epochs, with other values in some parts."""
    told: dict[str, Any] = {
        "title": "t",
        "classes": {"patch": ("patch",), "plain": ("plain",)},
        "preprocess": {"size_px": 48, "mean": (0.5,) * 3, "std": (0.25,) * 3},
        "network": {"backbone": "test_resnet", "weights": "random", "train_from": "all", "batch_norm": "trained"},
        "schedule": {"epochs": 4, "batch_films": 16, "precision": "float32"},
    }
    for part, values in parts.items():
        told[part] = told.get(part, {}) | values
    return Recipe.model_validate(told)


def _planted(films: int, seed: int = 0, side: int = 48) -> tuple[ArrayView, Targets]:
    """Frames and targets of so many films, every other one (class 0) with a bright patch."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(60, 160, (films, side, side)).astype(np.uint8)
    targets = np.arange(films) % 2
    for row in np.flatnonzero(targets == 0):
        top, left = rng.integers(0, side - 16, 2)
        frames[row, top : top + 16, left : left + 16] = 250
    cache = ArrayCache(cache_dir() / f"drawn-{films}-{seed}", shape=(side, side), dtype=np.uint8)
    cache.add((str(row), frame) for row, frame in enumerate(frames))
    return cache.view([str(row) for row in range(films)]), targets


def _start(recipe: Recipe) -> Classifier:
    """The network `train` starts from."""
    torch.manual_seed(11)
    return build_classifier(recipe.network, recipe.preprocess, classes=2)[0]


def _train(
    recipe: Recipe,
    checkpoint: Path,
    *,
    films: int = 48,
    tune: int = 16,
    seed: int = 0,
    start: Classifier | None = None,
    stage: Stage | None = None,
    **told: Any,
) -> tuple[Classifier, Fitted]:
    """Train a recipe's network on planted films, the last `tune` of them to tune with."""
    frames, targets = _planted(films)
    classifier = start or _start(recipe)
    rows = np.arange(films)
    folds = Folds(rows[: films - tune], rows[films - tune :], targets, np.zeros(films - tune, np.int64))
    stage = stage or Stage(recipe.schedule, recipe.network, fresh=True)
    fitted = fit_network(classifier, frames, folds, recipe, stage, seed, checkpoint=checkpoint, **told)
    return classifier, fitted


class Tiny:
    """A tiny network, the films it is trained on, and what to compare afterwards."""

    recipe = staticmethod(_recipe)
    planted = staticmethod(_planted)
    start = staticmethod(_start)
    train = staticmethod(_train)

    @staticmethod
    def state(classifier: Classifier) -> dict[str, torch.Tensor]:
        """A copy of all tensors of a network."""
        return {name: value.clone() for name, value in classifier.state_dict().items()}

    @staticmethod
    def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
        """Names of the tensors in which two states differ in any bit."""
        return {name for name, value in one.items() if not torch.equal(value, other[name])}


@pytest.fixture(scope="session")
def tiny() -> type[Tiny]:
    """Recipes, films, trainings and states of a tiny network."""
    return Tiny

"""A segmentation network is trained: it learns drawn discs, resumes to the same weights, and masks move with films."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hilum.augment import augment, augment_alike
from hilum.cache import ArrayCache, ArrayView
from hilum.errors import DataError
from hilum.networks.segmentation import Segmenter, build_segmenter
from hilum.preprocess import Preprocess
from hilum.recipe import Augmentation, Schedule
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.train import Fitted
from hilum.train.segmentation import MASK_HISTORY, DrawnFilms, fit_masks

SIDE, FILMS = 32, 24


def recipe(loss: Any = "bce+dice", **schedule: Any) -> SegmentationRecipe:
    told = {"epochs": 3, "batch_films": 6, "learning_rate": 3e-3, "class_weights": "none", "precision": "float32"}
    return SegmentationRecipe(
        title="Discs",
        labels=("disc",),
        network="unet-1",
        encoder=None,
        weights="random",
        loss=loss,
        preprocess=Preprocess(size_px=SIDE, channels=1),
        augmentation=Augmentation(rotate_degrees=20, shift=0.1, brightness=0.1),
        schedule=Schedule(**told | schedule),
    )


def drawn(count: int = FILMS, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Films (N, 32, 32) with a bright disc on noise, and where it is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    masks = np.stack([(y - a) ** 2 + (x - b) ** 2 < 36 for a, b in rng.integers(9, SIDE - 9, (count, 2))])
    films = rng.integers(0, 120, masks.shape) + 110 * masks
    return films.astype(np.uint8), masks.astype(np.uint8)


def view(folder: Path, arrays: np.ndarray[Any, Any]) -> ArrayView:
    cache = ArrayCache(folder, shape=(SIDE, SIDE), dtype=np.uint8)
    keys = [str(number) for number in range(len(arrays))]
    cache.add(zip(keys, arrays, strict=True))
    return cache.view(keys)


@pytest.fixture
def films(tmp_path: Path) -> DrawnFilms:
    shown, masks = drawn()
    rows = np.arange(FILMS)
    return DrawnFilms(view(tmp_path / "f", shown), (view(tmp_path / "m", masks),), rows[6:], rows[:6])


def train(films: DrawnFilms, plan: SegmentationRecipe, checkpoint: Path, seed: int = 1) -> tuple[Segmenter, Fitted]:
    torch.manual_seed(0)
    network = build_segmenter("unet-1", encoder=None, weights="random", channels=1, labels=1)
    return network, fit_masks(network, films, plan, seed, checkpoint=checkpoint)


def states(network: Segmenter) -> Sequence[torch.Tensor]:
    return [value.clone() for value in network.state_dict().values()]


@pytest.mark.parametrize("loss", ["dice", "bce+dice", "focal"])
def test_a_network_learns_to_draw_what_it_is_shown(films: DrawnFilms, tmp_path: Path, loss: str) -> None:
    network, fitted = train(films, recipe(loss, epochs=12), tmp_path / "c")
    assert list(fitted.history.columns) == MASK_HISTORY
    assert fitted.best_epoch == 1 + int(fitted.history["tune_loss"].argmin())
    shown, masks = drawn(12, seed=5)
    plan = recipe().preprocess
    with torch.inference_mode():
        told = network.eval()(torch.from_numpy(plan.normalise(shown)))[:, 0].numpy() > 0
    dice = 2 * (told & (masks > 0)).sum() / (told.sum() + masks.sum())
    assert dice > 0.8


def test_an_interrupted_training_ends_at_the_same_weights(films: DrawnFilms, tmp_path: Path) -> None:
    whole, told = train(films, recipe(decay="constant"), tmp_path / "whole")
    train(films, recipe(epochs=2, decay="constant"), tmp_path / "cut")
    resumed, later = train(films, recipe(decay="constant"), tmp_path / "cut")
    assert later.history.equals(told.history)
    assert all(torch.equal(one, other) for one, other in zip(states(whole), states(resumed), strict=True))


def test_films_prepared_by_other_processes_train_the_same_network(
    films: DrawnFilms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assessed = np.ones((FILMS, 1), bool)
    assessed[20:] = False
    films = replace(films, assessed=assessed)
    here, told = train(films, recipe(epochs=2), tmp_path / "here")
    monkeypatch.setattr("hilum.train.frames.readers", lambda _device: 2)
    there, later = train(films, recipe(epochs=2), tmp_path / "there")
    assert later.history.equals(told.history)
    assert all(torch.equal(one, other) for one, other in zip(states(here), states(there), strict=True))


def test_another_seed_gives_other_weights(films: DrawnFilms, tmp_path: Path) -> None:
    one, other = (train(films, recipe(epochs=1), tmp_path / str(seed), seed)[0] for seed in (1, 2))
    assert not all(torch.equal(a, b) for a, b in zip(states(one), states(other), strict=True))


def test_without_a_tune_fold_the_train_loss_chooses(films: DrawnFilms, tmp_path: Path) -> None:
    none = np.empty(0, np.int64)
    _, fitted = train(replace(films, tune=none), recipe(epochs=2), tmp_path / "c")
    assert fitted.history["tune_loss"].map(math.isnan).all()
    assert fitted.best_epoch == 1 + int(fitted.history["train_loss"].argmin())


def test_a_label_nobody_drew_teaches_nothing(films: DrawnFilms, tmp_path: Path) -> None:
    """Films whose mask was not drawn may hold anything: the weights do not see it."""
    assessed = np.ones((FILMS, 1), bool)
    assessed[10:] = False
    wrong = view(tmp_path / "w", np.concatenate([films.masks[0][:][:10], 1 - films.masks[0][:][10:]]))
    plan = recipe(epochs=1)
    one, _ = train(replace(films, assessed=assessed), plan, tmp_path / "a")
    other, _ = train(replace(films, assessed=assessed, masks=(wrong,)), plan, tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(states(one), states(other), strict=True))


def test_films_that_cannot_train_are_refused(films: DrawnFilms) -> None:
    with pytest.raises(DataError, match=r"not as many masks"):
        replace(films, masks=(films.masks[0].only(np.arange(3)),))
    with pytest.raises(DataError, match=r"no film is left"):
        replace(films, train=np.empty(0, np.int64))
    with pytest.raises(DataError, match=r"in the train fold and in the tune fold"):
        replace(films, tune=films.train[:1])


CHANGES = [
    Augmentation(rotate_degrees=25),
    Augmentation(zoom=0.3),
    Augmentation(shift=0.2, fill="edge"),
    Augmentation(flip=0.5),
    Augmentation(rotate_degrees=10, zoom=0.1, shift=0.1, flip=0.5, moved=0.7),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: ",".join(sorted(change.model_fields_set)))
def test_a_mask_moves_exactly_as_its_film(change: Augmentation) -> None:
    """Films that are their own masks stay so, but for a rim that the film's interpolation blurs."""
    masks = torch.from_numpy(drawn(8)[1])[:, None].float()
    films, moved = augment_alike(masks.clone(), masks, change, list(range(8)))
    assert set(moved.unique().tolist()) <= {0.0, 1.0}
    assert not torch.equal(moved, masks)
    overlap = 2 * ((films >= 0.5) & (moved > 0)).sum() / ((films >= 0.5).sum() + (moved > 0).sum())
    assert overlap > 0.93


def test_films_change_as_they_would_alone_and_masks_keep_their_levels_under_brightness() -> None:
    shown, masks = (torch.from_numpy(part)[:, None] for part in drawn(4))
    change = Augmentation(brightness=0.4, contrast=0.4, rotate_degrees=15)
    seeds = [3, None, 5, 6]
    films, moved = augment_alike(shown / 255, masks, change, seeds)
    assert torch.equal(films, augment(shown / 255, change, seeds))
    assert torch.equal(moved[1], masks[1])
    assert moved.dtype == masks.dtype

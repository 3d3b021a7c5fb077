from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from hilum.errors import DataError
from hilum.features import Variant
from hilum.networks import build_classifier
from hilum.networks.classifier import Classifier, Standardise
from hilum.recipe import Recipe
from hilum.train import HISTORY, Fitted, Folds, class_weights, fit_head


class _Vectors:
    """Stands for a feature cache: a film's vectors, a little apart by copy and view; remembers what was asked for."""

    def __init__(self, vectors: np.ndarray[Any, Any]) -> None:
        self._vectors = vectors.astype(np.float32)
        self.asked: list[Variant] = []

    def vectors(self, variants: Sequence[Variant]) -> np.ndarray[Any, Any]:
        self.asked += variants
        apart = np.float32([0.01 * variant.view + 0.1 * variant.copy for variant in variants])
        return self._vectors[[variant.row for variant in variants]] + apart[:, None]


def _head(recipe: Recipe, size: int) -> Classifier:
    classifier = build_classifier(recipe.network, recipe.preprocess, classes=2)[0]
    layers: list[nn.Module] = [Standardise(size)] if recipe.network.standardise else []
    classifier.head = nn.Sequential(*layers, nn.Linear(size, len(recipe.classes)))
    return classifier


def _fit(
    vectors: np.ndarray[Any, Any], targets: np.ndarray[Any, Any], recipe: Recipe, *, tune: int = 0, seed: int = 0
) -> tuple[Classifier, Fitted]:
    """Fit a head; the last `tune` rows tune."""
    classifier = _head(recipe, vectors.shape[1])
    rows = np.arange(len(vectors))
    train = rows[: len(rows) - tune]
    folds = Folds(train, rows[len(rows) - tune :], targets, np.zeros_like(train))
    fitted = fit_head(classifier, _Vectors(vectors), folds, recipe, seed)  # type: ignore[arg-type]
    return classifier, fitted


def _blobs(films: int, apart: float, seed: int = 0, size: int = 6) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, films)
    return rng.normal(size=(films, size)) + apart * targets[:, None], targets


@pytest.mark.parametrize("optimiser", ["adam", "amsgrad", "adamw", "sgd", "lbfgs"])
def test_every_optimiser_fits_a_head_to_separable_vectors(tiny: Any, optimiser: str) -> None:
    vectors, targets = _blobs(120, 3.0)
    recipe = tiny.recipe(schedule={"optimiser": optimiser, "learning_rate": 0.05, "epochs": 30, "weight_decay": 0.001})
    classifier, fitted = _fit(vectors, targets, recipe, tune=40)
    logits = classifier.head(torch.tensor(vectors, dtype=torch.float32))
    assert (logits.argmax(1).numpy() == targets).mean() > 0.97
    assert list(fitted.history.columns) == HISTORY
    assert fitted.history["tune_accuracy"].iloc[fitted.best_epoch - 1] > 0.95
    assert (fitted.precision, fitted.device) == ("float32", "cpu")


@pytest.mark.parametrize("balance", ["none", "balanced"])
@pytest.mark.parametrize("decay", [0.01, 0.3])
def test_lbfgs_finds_what_sklearn_finds(tiny: Any, balance: str, decay: float) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(150, 5))
    targets = (rng.random(150) < 1 / (1 + np.exp(-(vectors @ [1.0, -2.0, 0.5, 0, 0]) - 1))).astype(np.int64)
    recipe = tiny.recipe(
        network={"standardise": False},
        schedule={
            "optimiser": "lbfgs",
            "weight_decay": decay,
            "epochs": 60,
            "patience": None,
            "class_weights": balance,
        },
    )
    classifier, _ = _fit(vectors, targets, recipe)
    # Two logits with the same penalty: their difference has half of it, hence the factor two in C.
    other = LogisticRegression(
        C=2 / (len(targets) * decay), class_weight=None if balance == "none" else "balanced", tol=1e-8, max_iter=1000
    ).fit(vectors, targets)
    logits = classifier.head(torch.tensor(vectors, dtype=torch.float32)).detach()
    np.testing.assert_allclose((logits[:, 1] - logits[:, 0]).numpy(), other.decision_function(vectors), atol=5e-3)


def test_the_best_epoch_is_kept_not_the_last(tiny: Any) -> None:
    vectors, targets = _blobs(40, 0.3, size=30)
    recipe = tiny.recipe(
        schedule={"optimiser": "adam", "learning_rate": 0.05, "epochs": 80, "patience": None, "batch_films": 40}
    )
    classifier, fitted = _fit(vectors, targets, recipe, tune=20)
    losses = fitted.history["tune_loss"]
    assert fitted.best_epoch == losses.idxmin() + 1 < len(losses) == 80
    assert losses.iloc[-1] > 1.2 * losses.min()
    logits = classifier.head.eval()(torch.tensor(vectors[20:], dtype=torch.float32))
    weights = class_weights(targets[:20], 2, "balanced")
    kept = nn.functional.cross_entropy(logits, torch.tensor(targets[20:]), weights)
    assert kept.item() == pytest.approx(losses.min(), abs=1e-6)


@pytest.mark.parametrize("patience", [1, 4])
def test_patience_ends_training_so_many_epochs_behind_the_best(tiny: Any, patience: int) -> None:
    vectors, targets = _blobs(40, 0.0, size=30)
    recipe = tiny.recipe(schedule={"learning_rate": 0.1, "epochs": 200, "patience": patience, "batch_films": 40})
    _, fitted = _fit(vectors, targets, recipe, tune=20)
    assert len(fitted.history) == fitted.best_epoch + patience < 200


def test_without_a_tune_fold_the_train_loss_chooses(tiny: Any) -> None:
    vectors, targets = _blobs(40, 1.0)
    _, fitted = _fit(vectors, targets, tiny.recipe(schedule={"epochs": 5, "learning_rate": 0.01}))
    assert fitted.best_epoch == 5
    assert fitted.history["tune_loss"].isna().all()


def test_the_same_seed_gives_the_same_head_another_seed_another(tiny: Any) -> None:
    vectors, targets = _blobs(60, 0.5)
    recipe = tiny.recipe(network={"dropout": 0.3}, schedule={"batch_films": 8, "views": 3}, augmentation={"flip": 0.5})
    states = [_fit(vectors, targets, recipe, tune=20, seed=seed)[0].head.state_dict() for seed in (4, 4, 5)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_loss_that_is_no_number_ends_in_one_sentence(tiny: Any, optimiser: str) -> None:
    vectors, targets = _blobs(30, 1.0)
    vectors[3] = np.nan
    with pytest.raises(DataError, match=r"no longer a number in epoch 1; lower schedule\.learning_rate"):
        _fit(vectors, targets, tiny.recipe(schedule={"optimiser": optimiser}), tune=10)

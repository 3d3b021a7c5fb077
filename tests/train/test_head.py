from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from hilum.errors import DataError
from hilum.features import VectorBank
from hilum.networks.classifier import _head
from hilum.recipe import Recipe
from hilum.train import HISTORY, Fitted, Folds, HeadTask, class_weights, drawn_head, fit_heads
from hilum.train.epochs import make_optimiser

Array = np.ndarray[Any, Any]


def _task(
    vectors: Array, targets: Array, recipe: Recipe, *, tune: int = 0, seed: int = 0, rows: Array | None = None
) -> HeadTask:
    """A head to fit to some rows, the last `tune` of them to tune with; a view's vectors lie a little apart."""
    views = recipe.schedule.views
    bank = np.concatenate([vectors + 0.01 * view for view in range(views)]).astype(np.float32)
    return _banked(VectorBank(torch.from_numpy(bank), {}), targets, recipe, tune=tune, seed=seed, rows=rows)


def _banked(
    bank: VectorBank, targets: Array, recipe: Recipe, *, tune: int, seed: int = 0, rows: Array | None = None
) -> HeadTask:
    size = bank.vectors.shape[1]
    head = _head(recipe.network, size, len(recipe.classes))
    rows = np.arange(len(targets)) if rows is None else rows
    train = rows[: len(rows) - tune]
    folds = Folds(train, rows[len(rows) - tune :], targets, np.zeros_like(train), np.arange(len(targets)) % 3)
    shown = np.stack([train + view * len(targets) for view in range(recipe.schedule.views)])
    return HeadTask(drawn_head(head, seed), bank, folds, recipe, seed, shown, folds.tune)


def _fit(
    vectors: Array, targets: Array, recipe: Recipe, *, tune: int = 0, seed: int = 0
) -> tuple[nn.Sequential, Fitted]:
    """Fit one head; the last `tune` rows tune."""
    task = _task(vectors, targets, recipe, tune=tune, seed=seed)
    fitted = fit_heads([task])[0]
    if isinstance(fitted, DataError):
        raise fitted
    return task.head, fitted


def _blobs(films: int, apart: float, seed: int = 0, size: int = 6) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, films)
    return rng.normal(size=(films, size)) + apart * targets[:, None], targets


@pytest.mark.parametrize("optimiser", ["adam", "amsgrad", "adamw", "sgd", "lbfgs"])
def test_every_optimiser_fits_a_head_to_separable_vectors(tiny: Any, optimiser: str) -> None:
    vectors, targets = _blobs(120, 3.0)
    recipe = tiny.recipe(schedule={"optimiser": optimiser, "learning_rate": 0.05, "epochs": 30, "weight_decay": 0.001})
    head, fitted = _fit(vectors, targets, recipe, tune=40)
    logits = head(torch.tensor(vectors, dtype=torch.float32))
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
    head, _ = _fit(vectors, targets, recipe)
    # Two logits with the same penalty: their difference has half of it, hence the factor two in C.
    other = LogisticRegression(
        C=2 / (len(targets) * decay), class_weight=None if balance == "none" else "balanced", tol=1e-8, max_iter=1000
    ).fit(vectors, targets)
    logits = head(torch.tensor(vectors, dtype=torch.float32)).detach()
    np.testing.assert_allclose((logits[:, 1] - logits[:, 0]).numpy(), other.decision_function(vectors), atol=5e-3)


def test_the_best_epoch_is_kept_not_the_last(tiny: Any) -> None:
    vectors, targets = _blobs(40, 0.3, size=30)
    recipe = tiny.recipe(
        schedule={"optimiser": "adam", "learning_rate": 0.05, "epochs": 80, "patience": None, "batch_films": 40}
    )
    head, fitted = _fit(vectors, targets, recipe, tune=20)
    losses = fitted.history["tune_loss"]
    assert fitted.best_epoch == losses.idxmin() + 1 < len(losses) == 80
    assert losses.iloc[-1] > 1.2 * losses.min()
    logits = head.eval()(torch.tensor(vectors[20:], dtype=torch.float32))
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
    states = [_fit(vectors, targets, recipe, tune=20, seed=seed)[0].state_dict() for seed in (4, 4, 5)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_loss_that_is_no_number_ends_in_one_sentence(tiny: Any, optimiser: str) -> None:
    vectors, targets = _blobs(30, 1.0)
    vectors[3] = np.nan
    with pytest.raises(DataError, match=r"no longer a number in epoch 1; lower schedule\.learning_rate"):
        _fit(vectors, targets, tiny.recipe(schedule={"optimiser": optimiser}), tune=10)


SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"optimiser": "adam", "weight_decay": 0.01},
    "amsgrad": {"optimiser": "amsgrad"},
    "adamw": {"optimiser": "adamw", "weight_decay": 0.1},
    "sgd": {"optimiser": "sgd", "learning_rate": 0.02, "weight_decay": 0.01},
    "lbfgs": {"optimiser": "lbfgs", "weight_decay": 0.1},
}
DROPPED = {"hidden": (7,), "dropout": (0.2, 0.4)}


def _mixed(tiny: Any, optimiser: str, vectors: Array, targets: Array) -> list[HeadTask]:
    """Heads that differ in all that heads of a stack may differ in, sizes of folds and waiting times among it."""
    shared = {"learning_rate": 0.01, "epochs": 12, "batch_films": 16, "views": 2} | SETTINGS[optimiser]
    rng = np.random.default_rng(5)
    bank = VectorBank(torch.from_numpy(np.concatenate([vectors, vectors + 0.01]).astype(np.float32)), {})
    tasks = []
    for number, (films, told) in enumerate(
        [
            (90, {"patience": None}),
            (75, {"patience": 1, "learning_rate": 0.05}),
            (64, {"patience": 3, "decay": "cosine", "class_weights": "none"}),
            (91, {"patience": None, "epochs": 5, "decay": "inverse", "weight_decay": 0.3}),
            (27, {"patience": 2, "balance": "source"}),
            (80, {"patience": 4, "robust": True}),
        ]
    ):
        recipe = tiny.recipe(
            network=DROPPED | {"train_from": None, "batch_norm": "frozen"},
            schedule=shared | told,
            augmentation={"flip": 0.5},
        )
        rows = rng.permutation(len(targets))[:films]
        tasks.append(_banked(bank, targets, recipe, tune=20, seed=number, rows=rows))
    return tasks


@pytest.mark.parametrize("optimiser", SETTINGS)
def test_a_head_among_others_is_the_head_alone(tiny: Any, optimiser: str) -> None:
    vectors, targets = _blobs(120, 0.4, size=30)
    together, alone = (_mixed(tiny, optimiser, vectors, targets) for _ in range(2))
    fitted = fit_heads(together)
    for task, single, told in zip(together, alone, fitted, strict=True):
        other = fit_heads([single])[0]
        assert isinstance(told, Fitted)
        assert isinstance(other, Fitted)
        assert told.best_epoch == other.best_epoch
        np.testing.assert_allclose(told.history, other.history, rtol=1e-5, atol=1e-6)
        for value, expected in zip(task.head.parameters(), single.head.parameters(), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    lengths = {len(told.history) for told in fitted if isinstance(told, Fitted)}
    assert len(lengths) > 2  # some stopped early, so that the stack became smaller on its way


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("optimiser", ["adam", "amsgrad", "adamw", "sgd"])
def test_a_head_takes_the_steps_of_torchs_optimiser(tiny: Any, optimiser: str, heads: int) -> None:
    vectors, targets = _blobs(50, 0.5, size=12)
    plain = {"epochs": 8, "batch_films": 50, "patience": None, "learning_rate": 0.03, "momentum": 0.8}
    recipe = tiny.recipe(schedule=plain | SETTINGS[optimiser])
    task = _task(vectors, targets, recipe)
    other = drawn_head(task.head, 0)
    mean, scale = (torch.tensor(told, dtype=torch.float32) for told in (vectors.mean(0), vectors.std(0)))
    optimiser_ = make_optimiser(list(other.parameters()), recipe.schedule)
    seen, weights = (torch.tensor(vectors, dtype=torch.float32) - mean) / scale, class_weights(targets, 2, "balanced")
    for _ in range(8):
        optimiser_.zero_grad()
        nn.functional.cross_entropy(other[1:](seen), torch.tensor(targets), weights).backward()
        optimiser_.step()
    fit_heads([task, *[replace(task, head=drawn_head(task.head, 1))] * (heads - 1)])
    for value, expected in zip(task.head.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_an_error_of_one_head_is_not_the_others(tiny: Any) -> None:
    vectors, targets = _blobs(60, 1.0)
    vectors[40:] = np.nan
    bank = VectorBank(torch.from_numpy(vectors.astype(np.float32)), {})
    recipe = tiny.recipe(schedule={"epochs": 3, "batch_films": 16})
    one_class = np.zeros_like(targets)
    rows = [np.arange(40), np.arange(20, 60), np.arange(30), np.arange(39)]
    told = [targets, targets, one_class, targets]
    tasks = [_banked(bank, of, recipe, tune=10, rows=part) for part, of in zip(rows, told, strict=True)]
    fitted = fit_heads(tasks)
    assert [type(one) for one in fitted] == [Fitted, DataError, DataError, Fitted]
    assert all(torch.isfinite(value).all() for task in (tasks[0], tasks[3]) for value in task.head.parameters())


def test_dropout_draws_are_a_heads_own(tiny: Any) -> None:
    vectors, targets = _blobs(40, 0.5)
    recipe = tiny.recipe(network={"dropout": 0.5}, schedule={"epochs": 3, "batch_films": 16})
    still = tiny.recipe(schedule={"epochs": 3, "batch_films": 16})
    tasks = [_task(vectors, targets, told) for told in (recipe, recipe, still)]
    for task in tasks:
        torch.rand(1)  # the caller's draws are elsewhere each time
        before = torch.random.get_rng_state()
        fit_heads([task])
        assert torch.equal(torch.random.get_rng_state(), before)
    one, again, other = (task.head[-1].weight for task in tasks)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_several_small_stacks_fit_the_same_heads_as_one(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, targets = _blobs(120, 0.4, size=30)
    one, other = (_mixed(tiny, "adamw", vectors, targets) for _ in range(2))
    fit_heads(one)
    monkeypatch.setattr("hilum.train.stacks.AT_ONCE", 1000)
    fit_heads(other)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.head.state_dict(), b.head.state_dict(), rtol=1e-5, atol=1e-6)

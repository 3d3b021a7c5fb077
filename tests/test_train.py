import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from hilum.cache import ArrayCache, ArrayView
from hilum.errors import DataError, UsageError
from hilum.files import cache_dir
from hilum.networks import build_classifier, logits_of
from hilum.networks.classifier import Classifier, Standardise
from hilum.preprocess import Preprocess
from hilum.recipe import Recipe, Schedule
from hilum.train import HISTORY, Fitted, Folds, class_weights, fit_head, fit_network, learning_rate, make_optimiser
from hilum.train.epochs import Best
from hilum.train.processes import native_bfloat16

CLASSES = {"patch": ("patch",), "plain": ("plain",)}


def _recipe(**parts: dict[str, Any]) -> Recipe:
    told: dict[str, Any] = {
        "title": "t",
        "classes": CLASSES,
        "preprocess": {"size_px": 48, "mean": (0.5,) * 3, "std": (0.25,) * 3},
        "network": {"backbone": "test_resnet", "weights": "random", "train_from": "all", "batch_norm": "trained"},
        "schedule": {"epochs": 4, "batch_films": 16, "precision": "float32"},
    }
    for part, values in parts.items():
        told[part] = told.get(part, {}) | values
    return Recipe.model_validate(told)


class _Vectors:
    """Stands for a feature cache: vectors by the row number a film's hash holds."""

    def __init__(self, vectors: np.ndarray[Any, Any]) -> None:
        self.vectors = vectors.astype(np.float32)

    def view(self, films: pd.DataFrame, view: int = 0) -> np.ndarray[Any, Any]:
        return self.vectors[films["sha256"].astype(int)] + 0.01 * np.float32(view)


def _head(recipe: Recipe, size: int) -> Classifier:
    classifier = build_classifier(recipe.network, channels=3, classes=2)[0]
    layers: list[nn.Module] = [Standardise(size)] if recipe.network.standardise else []
    classifier.head = nn.Sequential(*layers, nn.Linear(size, len(recipe.classes)))
    return classifier


def _fit(
    vectors: np.ndarray[Any, Any], targets: np.ndarray[Any, Any], recipe: Recipe, *, tune: int = 0, seed: int = 0
) -> tuple[Classifier, Fitted]:
    """Fit a head; the last `tune` rows tune."""
    classifier = _head(recipe, vectors.shape[1])
    films = pd.DataFrame({"sha256": [str(row) for row in range(len(vectors))]})
    rows = np.arange(len(vectors))
    folds = Folds(rows[: len(rows) - tune], rows[len(rows) - tune :], targets)
    fitted = fit_head(classifier, _Vectors(vectors), films, folds, recipe, seed)  # type: ignore[arg-type]
    return classifier, fitted


def _blobs(films: int, apart: float, seed: int = 0, size: int = 6) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, films)
    return rng.normal(size=(films, size)) + apart * targets[:, None], targets


@pytest.mark.parametrize("optimiser", ["adam", "amsgrad", "adamw", "sgd", "lbfgs"])
def test_every_optimiser_fits_a_head_to_separable_vectors(optimiser: str) -> None:
    vectors, targets = _blobs(120, 3.0)
    recipe = _recipe(schedule={"optimiser": optimiser, "learning_rate": 0.05, "epochs": 30, "weight_decay": 0.001})
    classifier, fitted = _fit(vectors, targets, recipe, tune=40)
    logits = classifier.head(torch.tensor(vectors, dtype=torch.float32))
    assert (logits.argmax(1).numpy() == targets).mean() > 0.97
    assert list(fitted.history.columns) == HISTORY
    assert fitted.history["tune_accuracy"].iloc[fitted.best_epoch - 1] > 0.95
    assert (fitted.precision, fitted.device) == ("float32", "cpu")


@pytest.mark.parametrize("balance", ["none", "balanced"])
@pytest.mark.parametrize("decay", [0.01, 0.3])
def test_lbfgs_finds_what_sklearn_finds(balance: str, decay: float) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(150, 5))
    targets = (rng.random(150) < 1 / (1 + np.exp(-(vectors @ [1.0, -2.0, 0.5, 0, 0]) - 1))).astype(np.int64)
    recipe = _recipe(
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


def test_the_best_epoch_is_kept_not_the_last() -> None:
    vectors, targets = _blobs(40, 0.3, size=30)
    recipe = _recipe(
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
def test_patience_ends_training_so_many_epochs_behind_the_best(patience: int) -> None:
    vectors, targets = _blobs(40, 0.0, size=30)
    recipe = _recipe(schedule={"learning_rate": 0.1, "epochs": 200, "patience": patience, "batch_films": 40})
    _, fitted = _fit(vectors, targets, recipe, tune=20)
    assert len(fitted.history) == fitted.best_epoch + patience < 200


def test_without_a_tune_fold_the_train_loss_chooses() -> None:
    vectors, targets = _blobs(40, 1.0)
    _, fitted = _fit(vectors, targets, _recipe(schedule={"epochs": 5, "learning_rate": 0.01}))
    assert fitted.best_epoch == 5
    assert fitted.history["tune_loss"].isna().all()


def test_the_same_seed_gives_the_same_head_another_seed_another() -> None:
    vectors, targets = _blobs(60, 0.5)
    recipe = _recipe(network={"dropout": 0.3}, schedule={"batch_films": 8, "views": 3}, augmentation={"flip": True})
    states = [_fit(vectors, targets, recipe, tune=20, seed=seed)[0].head.state_dict() for seed in (4, 4, 5)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_loss_that_is_no_number_ends_in_one_sentence(optimiser: str) -> None:
    vectors, targets = _blobs(30, 1.0)
    vectors[3] = np.nan
    with pytest.raises(DataError, match=r"no longer a number in epoch 1; lower schedule\.learning_rate"):
        _fit(vectors, targets, _recipe(schedule={"optimiser": optimiser}), tune=10)


def test_best_keeps_a_copy_not_the_moving_weights() -> None:
    layer = nn.Linear(1, 1)
    best = Best(layer, patience=2)
    best.offer(1, 0.5)
    kept = layer.weight.detach().clone()
    nn.init.constant_(layer.weight, 9.0)
    best.offer(2, 0.6)
    assert not best.stale(2)
    assert best.stale(3)
    best.restore()
    assert torch.equal(layer.weight, kept)


def test_class_weights_follow_the_balanced_formula() -> None:
    targets = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    told = class_weights(targets, 3, "balanced")
    assert told.tolist() == pytest.approx([10 / (3 * 6), 10 / (3 * 2), 10 / (3 * 2)])
    assert class_weights(targets, 3, "none").tolist() == [1, 1, 1]
    with pytest.raises(DataError, match="class number 3 has no film"):
        class_weights(targets, 4, "balanced")


def test_learning_rates_follow_their_formulas() -> None:
    def rates(**told: Any) -> list[float]:
        schedule = Schedule(epochs=10, learning_rate=0.5, **told)
        return [learning_rate(schedule, step, 4) for step in range(40)]

    assert rates() == [0.5] * 40
    assert rates(decay="cosine") == pytest.approx([0.25 * (1 + math.cos(math.pi * step / 40)) for step in range(40)])
    assert rates(decay="inverse") == pytest.approx([0.5 / (1 + step * 0.5 / 10) for step in range(40)])


@pytest.mark.parametrize(
    ("told", "kind", "set_to"),
    [
        ({"optimiser": "sgd", "momentum": 0.7}, torch.optim.SGD, {"momentum": 0.7}),
        ({"optimiser": "adam"}, torch.optim.Adam, {"amsgrad": False}),
        ({"optimiser": "amsgrad"}, torch.optim.Adam, {"amsgrad": True}),
        ({"optimiser": "adamw"}, torch.optim.AdamW, {"amsgrad": False}),
    ],
)
def test_optimisers_are_set_as_told(told: dict[str, Any], kind: type, set_to: dict[str, object]) -> None:
    optimiser = make_optimiser([nn.Parameter(torch.zeros(1))], Schedule(learning_rate=0.03, weight_decay=0.2, **told))
    group = optimiser.param_groups[0]
    assert type(optimiser) is kind
    assert {name: group[name] for name in set_to} == set_to
    assert (group["lr"], group["weight_decay"]) == (0.03, 0.2)


# A network of its own on films with a planted bright patch.


def _frames(films: int, seed: int = 0, side: int = 48) -> tuple[ArrayView, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    frames = rng.integers(60, 160, (films, side, side)).astype(np.uint8)
    targets = np.arange(films) % 2
    for row in np.flatnonzero(targets == 0):
        top, left = rng.integers(0, side - 16, 2)
        frames[row, top : top + 16, left : left + 16] = 250
    cache = ArrayCache(cache_dir() / f"drawn-{films}-{seed}", shape=(side, side), dtype=np.uint8)
    cache.add((str(row), frame) for row, frame in enumerate(frames))
    return cache.view([str(row) for row in range(films)]), targets


def _train(
    recipe: Recipe, checkpoint: Path, *, films: int = 48, tune: int = 16, seed: int = 0, **told: Any
) -> tuple[Classifier, Fitted]:
    frames, targets = _frames(films)
    torch.manual_seed(11)
    classifier = build_classifier(recipe.network, channels=3, classes=2)[0]
    rows = np.arange(films)
    folds = Folds(rows[: films - tune], rows[films - tune :], targets)
    ids = [f"film-{row}" for row in rows]
    fitted = fit_network(classifier, frames, ids, folds, recipe, seed, checkpoint=checkpoint, **told)
    return classifier, fitted


def _state(classifier: Classifier) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in classifier.state_dict().items()}


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_network_learns_a_planted_patch_from_scratch(tmp_path: Path) -> None:
    recipe = _recipe(schedule={"epochs": 12, "learning_rate": 3e-3, "patience": None})
    classifier, fitted = _train(recipe, tmp_path / "c", films=96, tune=32)
    assert fitted.history["tune_accuracy"].iloc[fitted.best_epoch - 1] >= 0.9
    frames, targets = _frames(40, seed=99)
    logits = logits_of(classifier, recipe.preprocess, frames)
    assert (logits.argmax(1) == targets).mean() >= 0.9
    assert not (tmp_path / "c").exists()


class _Killed(Exception):
    pass


@pytest.mark.parametrize(
    "schedule",
    [
        {"optimiser": "adamw", "weight_decay": 0.01, "decay": "cosine"},
        {"optimiser": "amsgrad"},
        {"optimiser": "sgd", "momentum": 0.9, "decay": "inverse"},
        {"optimiser": "sgd", "momentum": 0.0},
    ],
    ids=lambda told: told["optimiser"] + str(told.get("momentum", "")),
)
def test_an_interrupted_training_ends_like_an_uninterrupted_one(tmp_path: Path, schedule: dict[str, Any]) -> None:
    recipe = _recipe(
        schedule={**schedule, "learning_rate": 0.01, "epochs": 4, "patience": None},
        augmentation={"rotate_degrees": 10.0, "flip": True},
        network={"dropout": 0.2},
    )
    whole, wanted = _train(recipe, tmp_path / "whole")

    def kill(done: int, _total: int) -> None:
        if done in (1, 3):
            raise _Killed

    for _ in range(2):
        with pytest.raises(_Killed):
            _train(recipe, tmp_path / "torn", progress=kill)
    told: list[int] = []
    torn, fitted = _train(recipe, tmp_path / "torn", progress=lambda done, _total: told.append(done))
    assert told == [4]
    assert _equal(_state(torn), _state(whole))
    pd.testing.assert_frame_equal(fitted.history, wanted.history)
    assert fitted.best_epoch == wanted.best_epoch


def test_a_finished_training_killed_before_it_was_told_is_not_trained_on(tmp_path: Path) -> None:
    recipe = _recipe(schedule={"epochs": 2})

    def kill(done: int, _total: int) -> None:
        if done == 2:
            raise _Killed

    with pytest.raises(_Killed):
        _train(recipe, tmp_path / "c", progress=kill)
    _, fitted = _train(recipe, tmp_path / "c", progress=lambda _done, _total: pytest.fail("trained on"))
    assert len(fitted.history) == 2


@pytest.mark.parametrize("damage", [lambda raw: raw[:-40], lambda raw: b"", lambda raw: b"\x80\x04K\x01."])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: Any) -> None:
    def kill(_done: int, _total: int) -> None:
        raise _Killed

    with pytest.raises(_Killed):
        _train(_recipe(), tmp_path / "c", progress=kill)
    (tmp_path / "c").write_bytes(damage((tmp_path / "c").read_bytes()))
    with pytest.raises(DataError, match=r"checkpoint .*c is damaged .* remove it"):
        _train(_recipe(), tmp_path / "c")


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    def kill(_done: int, _total: int) -> None:
        raise _Killed

    with pytest.raises(_Killed):
        _train(_recipe(), tmp_path / "c", progress=kill)
    with pytest.raises(DataError, match="of another network"):
        _train(_recipe(network={"backbone": "test_efficientnet"}), tmp_path / "c")


def test_the_same_seed_gives_the_same_network_another_seed_another(tmp_path: Path) -> None:
    recipe = _recipe(schedule={"epochs": 1}, network={"dropout": 0.3})
    states = [_state(_train(recipe, tmp_path / "c", seed=seed)[0]) for seed in (4, 4, 5)]
    assert _equal(states[0], states[1])
    assert not _equal(states[0], states[2])


def test_partial_training_leaves_the_frozen_part_bit_identical(tmp_path: Path) -> None:
    recipe = _recipe(network={"train_from": "layer4"}, schedule={"epochs": 1})
    torch.manual_seed(11)
    before = _state(build_classifier(recipe.network, channels=3, classes=2)[0])
    after = _state(_train(recipe, tmp_path / "c")[0])
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {name.split(".")[2] for name in changed if name.startswith("backbone.")} == {"layer4"}


def test_the_vectors_of_a_trained_network_are_standardised_too(tmp_path: Path) -> None:
    classifier, _ = _train(_recipe(schedule={"epochs": 1}), tmp_path / "c")
    assert isinstance(classifier.head[0], Standardise)
    assert classifier.head[0].scale.std() > 0


def test_precision_is_recorded_and_bfloat16_runs(tmp_path: Path) -> None:
    native = "bfloat16" if native_bfloat16(torch.device("cpu")) else "float32"
    told = {"auto": native, "float32": "float32", "bfloat16": "bfloat16"}
    for asked, wanted in told.items():
        classifier, fitted = _train(_recipe(schedule={"epochs": 1, "precision": asked}), tmp_path / asked)
        if not torch.cuda.is_available():
            assert (fitted.precision, fitted.device) == (wanted, "cpu")
        assert {value.dtype for value in classifier.parameters()} == {torch.float32}
        assert math.isfinite(fitted.history["train_loss"].iloc[0])


def test_a_network_s_loss_that_is_no_number_ends_in_one_sentence(tmp_path: Path) -> None:
    recipe = _recipe(schedule={"optimiser": "sgd", "learning_rate": 1e30})
    with pytest.raises(DataError, match=r"no longer a number in epoch \d"):
        _train(recipe, tmp_path / "c")


def test_settings_that_cannot_train_a_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'lbfgs' fits a head only"):
        _train(_recipe(schedule={"optimiser": "lbfgs"}), tmp_path / "c")
    with pytest.raises(UsageError, match="batch_norm = 'trained'"):
        _train(_recipe(network={"batch_norm": "frozen"}), tmp_path / "c")


def test_a_single_film_left_over_joins_another_batch(tmp_path: Path) -> None:
    recipe = _recipe(preprocess={"size_px": 48}, schedule={"epochs": 1, "batch_films": 31})
    _, fitted = _train(recipe, tmp_path / "c", films=48, tune=16)
    assert len(fitted.history) == 1


def test_sixteen_bit_films_are_augmented_in_their_own_scale(tmp_path: Path) -> None:
    recipe = _recipe(preprocess={"depth_bits": 16}, schedule={"epochs": 1}, augmentation={"brightness": 0.2})
    assert Preprocess(depth_bits=16).dtype is np.uint16
    _, fitted = _train(recipe, tmp_path / "c")
    assert math.isfinite(fitted.history["train_loss"].iloc[0])


_SEVERAL = """
import json, os, sys
from pathlib import Path
from hilum.index import Index
from hilum.run import train_run
told = json.loads(sys.argv[1])
run = train_run(told["recipe"], None, Path(told["out"]), given=Index.load(Path(told["index"])), processes=1)
Path(told["out"], f"rank-{os.environ['RANK']}.json").write_text(json.dumps(run.history["epoch"].tolist()))
"""


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path, drawn: Any, tiny_recipe: str) -> None:
    text = tiny_recipe.replace('weights = "random"', 'weights = "random"\ntrain_from = "all"\nbatch_norm = "trained"')
    text = text.replace('optimiser = "lbfgs"', 'optimiser = "adamw"\nprecision = "float32"')
    drawn.save(tmp_path / "index.parquet")
    (tmp_path / "go.py").write_text(_SEVERAL)
    told = {"recipe": text, "out": str(tmp_path / "run"), "index": str(tmp_path / "index.parquet")}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(tmp_path / "go.py"), json.dumps(told)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    epochs = [json.loads((tmp_path / "run" / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert epochs[0] == epochs[1]
    from hilum.bundle import load_bundle

    assert load_bundle(tmp_path / "run").classes == ("patch", "plain")

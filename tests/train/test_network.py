import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hilum.errors import DataError, UsageError
from hilum.networks import logits_of
from hilum.networks.classifier import Standardise
from hilum.preprocess import Preprocess
from hilum.train.processes import native_bfloat16


def test_a_network_learns_a_planted_patch_from_scratch(tiny: Any, tmp_path: Path) -> None:
    recipe = tiny.recipe(schedule={"epochs": 12, "learning_rate": 3e-3, "patience": None})
    classifier, fitted = tiny.train(recipe, tmp_path / "c", films=96, tune=32)
    assert fitted.history["tune_accuracy"].iloc[fitted.best_epoch - 1] >= 0.9
    frames, targets = tiny.planted(40, seed=99)
    logits = logits_of(classifier, recipe.preprocess, frames)
    assert (logits.argmax(1) == targets).mean() >= 0.9
    assert (tmp_path / "c").is_file(), "kept until the caller has the result in safety"


def test_the_same_seed_gives_the_same_network_another_seed_another(tiny: Any, tmp_path: Path) -> None:
    recipe = tiny.recipe(schedule={"epochs": 1}, network={"dropout": 0.3})
    states = [tiny.state(tiny.train(recipe, tmp_path / name, seed=int(name[1]))[0]) for name in ("a4", "b4", "c5")]
    assert not tiny.differing(states[0], states[1])
    assert tiny.differing(states[0], states[2])


def test_films_prepared_by_other_processes_train_the_same_network(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny.recipe(schedule={"epochs": 2}, network={"dropout": 0.3}, augmentation={"flip": 0.5, "shift": 0.1})
    here = tiny.train(recipe, tmp_path / "here")
    monkeypatch.setattr("hilum.train.network.readers", lambda _device: 2)
    there = tiny.train(recipe, tmp_path / "there")
    assert here[1].history.equals(there[1].history)
    assert not tiny.differing(tiny.state(here[0]), tiny.state(there[0]))


def test_partial_training_leaves_the_frozen_part_bit_identical(tiny: Any, tmp_path: Path) -> None:
    recipe = tiny.recipe(network={"train_from": "layer4"}, schedule={"epochs": 1})
    torch.manual_seed(11)
    before = tiny.state(tiny.start(recipe))
    after = tiny.state(tiny.train(recipe, tmp_path / "c")[0])
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {name.split(".")[2] for name in changed if name.startswith("backbone.")} == {"layer4"}


def test_the_vectors_of_a_trained_network_are_standardised_too(tiny: Any, tmp_path: Path) -> None:
    classifier, _ = tiny.train(tiny.recipe(schedule={"epochs": 1}), tmp_path / "c")
    assert isinstance(classifier.head[0], Standardise)
    assert classifier.head[0].scale.std() > 0


def test_precision_is_recorded_and_bfloat16_runs(tiny: Any, tmp_path: Path) -> None:
    native = "bfloat16" if native_bfloat16(torch.device("cpu")) else "float32"
    told = {"auto": native, "float32": "float32", "bfloat16": "bfloat16"}
    for asked, wanted in told.items():
        classifier, fitted = tiny.train(tiny.recipe(schedule={"epochs": 1, "precision": asked}), tmp_path / asked)
        if not torch.cuda.is_available():
            assert (fitted.precision, fitted.device) == (wanted, "cpu")
        assert {value.dtype for value in classifier.parameters()} == {torch.float32}
        assert math.isfinite(fitted.history["train_loss"].iloc[0])


def test_a_network_s_loss_that_is_no_number_ends_in_one_sentence(tiny: Any, tmp_path: Path) -> None:
    recipe = tiny.recipe(schedule={"optimiser": "sgd", "learning_rate": 1e30})
    with pytest.raises(DataError, match=r"no longer a number in epoch \d"):
        tiny.train(recipe, tmp_path / "c")


def test_settings_that_cannot_train_a_network_are_refused(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'lbfgs' fits a head only"):
        tiny.train(tiny.recipe(schedule={"optimiser": "lbfgs"}), tmp_path / "c")
    with pytest.raises(UsageError, match="batch_norm = 'trained'"):
        tiny.train(tiny.recipe(network={"batch_norm": "frozen"}), tmp_path / "c")


def test_a_single_film_left_over_joins_another_batch(tiny: Any, tmp_path: Path) -> None:
    recipe = tiny.recipe(preprocess={"size_px": 48}, schedule={"epochs": 1, "batch_films": 31})
    _, fitted = tiny.train(recipe, tmp_path / "c", films=48, tune=16)
    assert len(fitted.history) == 1


def test_sixteen_bit_films_are_augmented_in_their_own_scale(tiny: Any, tmp_path: Path) -> None:
    recipe = tiny.recipe(preprocess={"depth_bits": 16}, schedule={"epochs": 1}, augmentation={"brightness": 0.2})
    assert Preprocess(depth_bits=16).dtype is np.uint16
    _, fitted = tiny.train(recipe, tmp_path / "c")
    assert math.isfinite(fitted.history["train_loss"].iloc[0])

"""A training that was killed goes on where it stood and ends the same; a checkpoint it cannot use is named."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hilum.errors import DataError


class _Killed(Exception):
    pass


@pytest.mark.parametrize(
    "schedule",
    [
        {"optimiser": "adamw", "weight_decay": 0.01, "decay": "cosine"},
        {"optimiser": "amsgrad"},
        {"optimiser": "sgd", "momentum": 0.9, "decay": "inverse", "learning_rate": 1e-4},
        {"optimiser": "sgd", "momentum": 0.0},
    ],
    ids=lambda told: told["optimiser"] + str(told.get("momentum", "")),
)
def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    tiny: Any, tmp_path: Path, schedule: dict[str, Any]
) -> None:
    recipe = tiny.recipe(
        schedule={"learning_rate": 0.01, "epochs": 4, "patience": None} | schedule,
        augmentation={"rotate_degrees": 10.0, "flip": 0.5},
        network={"dropout": 0.2},
    )
    whole, wanted = tiny.train(recipe, tmp_path / "whole")

    def kill(done: int, _total: int) -> None:
        if done in (1, 3):
            raise _Killed

    for _ in range(2):
        with pytest.raises(_Killed):
            tiny.train(recipe, tmp_path / "torn", progress=kill)
    told: list[int] = []
    torn, fitted = tiny.train(recipe, tmp_path / "torn", progress=lambda done, _total: told.append(done))
    assert told == [4]
    assert not tiny.differing(tiny.state(torn), tiny.state(whole))
    pd.testing.assert_frame_equal(fitted.history, wanted.history)
    assert fitted.best_epoch == wanted.best_epoch


def test_a_finished_training_killed_before_it_was_told_is_not_trained_on(tiny: Any, tmp_path: Path) -> None:
    recipe = tiny.recipe(schedule={"epochs": 2})

    def kill(done: int, _total: int) -> None:
        if done == 2:
            raise _Killed

    with pytest.raises(_Killed):
        tiny.train(recipe, tmp_path / "c", progress=kill)
    _, fitted = tiny.train(recipe, tmp_path / "c", progress=lambda _done, _total: pytest.fail("trained on"))
    assert len(fitted.history) == 2


@pytest.mark.parametrize("damage", [lambda raw: raw[:-40], lambda raw: b"", lambda raw: b"\x80\x04K\x01."])
def test_a_damaged_checkpoint_is_named(tiny: Any, tmp_path: Path, damage: Any) -> None:
    def kill(_done: int, _total: int) -> None:
        raise _Killed

    with pytest.raises(_Killed):
        tiny.train(tiny.recipe(), tmp_path / "c", progress=kill)
    (tmp_path / "c").write_bytes(damage((tmp_path / "c").read_bytes()))
    with pytest.raises(DataError, match=r"checkpoint .*c is damaged .* remove it"):
        tiny.train(tiny.recipe(), tmp_path / "c")


def test_a_checkpoint_of_another_network_is_named(tiny: Any, tmp_path: Path) -> None:
    def kill(_done: int, _total: int) -> None:
        raise _Killed

    with pytest.raises(_Killed):
        tiny.train(tiny.recipe(), tmp_path / "c", progress=kill)
    with pytest.raises(DataError, match="of another network"):
        tiny.train(tiny.recipe(network={"backbone": "test_efficientnet"}), tmp_path / "c")

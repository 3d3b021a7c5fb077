"""Two stages: the second goes on from the first's best weights, with more of the network trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.errors import UsageError
from hilum.networks import logits_of
from hilum.recipe import FineTuning, Recipe
from hilum.train import Stage
from hilum.train.network import _NetworkFit


def _second(**told: Any) -> Stage:
    settings = {"epochs": 2, "batch_films": 16, "precision": "float32", "train_from": "layer4", "batch_norm": "trained"}
    finetuning = FineTuning.model_validate(settings | told)
    return Stage(finetuning, finetuning, fresh=False)


@pytest.fixture(scope="module")
def recipe(tiny: Any) -> Recipe:
    made: Recipe = tiny.recipe(
        schedule={"epochs": 2, "learning_rate": 3e-3, "patience": None}, network={"standardise": False}
    )
    return made


@pytest.mark.parametrize("standardise", [True, False])
def test_a_second_stage_starts_from_the_weights_it_is_given(tiny: Any, tmp_path: Path, *, standardise: bool) -> None:
    """A step too small to see leaves the first stage's weights and loss: nothing is drawn or measured anew."""
    recipe = tiny.recipe(schedule={"epochs": 2, "learning_rate": 1e-4}, network={"standardise": standardise})
    first, told = tiny.train(recipe, tmp_path / "c")
    before = tiny.state(first)
    again, fitted = tiny.train(
        recipe, tmp_path / "d", start=first, stage=_second(learning_rate=1e-12, optimiser="sgd", batch_norm="frozen")
    )
    for name, value in tiny.state(again).items():
        np.testing.assert_allclose(value, before[name], atol=1e-6, err_msg=name)
    assert fitted.history["tune_loss"].iloc[0] == pytest.approx(told.history["tune_loss"].min(), rel=1e-4)


def test_a_second_stage_changes_what_it_thaws_and_nothing_else(tiny: Any, recipe: Recipe, tmp_path: Path) -> None:
    first, _ = tiny.train(recipe, tmp_path / "c")
    before = tiny.state(first)
    # Without a tune fold the train loss chooses, so that the second stage's weights are kept.
    second, fitted = tiny.train(recipe, tmp_path / "d", start=first, stage=_second(), films=32, tune=0)
    changed = tiny.differing(tiny.state(second), before)
    assert {name.split(".")[2] for name in changed if name.startswith("backbone.")} == {"layer4"}
    assert {name for name in before if "layer4" in name and name.endswith("conv2.weight")} <= changed
    dense = len(first.head) - 1
    assert f"head.{dense}.weight" in changed
    assert fitted.best_epoch in (1, 2)


def _judged(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    """Let every epoch of a second stage seem so much worse (or better) than what was there before it."""
    real = _NetworkFit.score

    def score(self: Any) -> tuple[float, float]:
        loss, accuracy = real(self)
        if self.stage.fresh:
            return loss, accuracy
        self.asked = getattr(self, "asked", -1) + 1
        return loss + by * self.asked, accuracy

    monkeypatch.setattr(_NetworkFit, "score", score)


@pytest.mark.parametrize("by", [-100.0, 100.0], ids=["better", "worse"])
def test_a_second_stage_that_is_never_better_gives_the_first_back(
    tiny: Any, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    """Its epochs count as better only below the tune loss it began with."""
    first, told = tiny.train(recipe, tmp_path / "c")
    before = tiny.state(first)
    _judged(monkeypatch, by)
    second, fitted = tiny.train(recipe, tmp_path / "d", start=first, stage=_second())
    if by < 0:
        assert fitted.best_epoch == 2
        assert tiny.differing(tiny.state(second), before)
    else:
        assert fitted.best_epoch == 0
        assert not tiny.differing(tiny.state(second), before)
        assert told.then(fitted).best_epoch == told.best_epoch


def test_patience_in_a_second_stage_counts_from_where_it_began(
    tiny: Any, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = tiny.train(recipe, tmp_path / "c")
    _judged(monkeypatch, 100.0)
    _, fitted = tiny.train(recipe, tmp_path / "d", start=first, stage=_second(epochs=9, patience=2))
    assert (fitted.best_epoch, len(fitted.history)) == (0, 2)


def test_statistics_of_a_second_stage_may_stay_where_the_first_left_them(
    tiny: Any, recipe: Recipe, tmp_path: Path
) -> None:
    first, _ = tiny.train(recipe, tmp_path / "c")
    before = tiny.state(first)
    still = _second(batch_norm="frozen")
    second, _ = tiny.train(recipe, tmp_path / "d", start=first, stage=still, films=32, tune=0)
    changed = tiny.differing(tiny.state(second), before)
    assert changed
    assert not [name for name in changed if "running" in name or "tracked" in name]


def test_a_second_stage_on_statistics_never_measured_is_refused(tiny: Any, tmp_path: Path) -> None:
    never = tiny.recipe(network={"train_from": None, "batch_norm": "frozen"})
    with pytest.raises(UsageError, match=r"no statistics yet: set finetuning\.batch_norm = 'trained'"):
        tiny.train(never, tmp_path / "c", stage=_second(batch_norm="frozen"))


class _Killed(Exception):
    pass


def test_a_second_stage_interrupted_ends_like_an_uninterrupted_one(tiny: Any, recipe: Recipe, tmp_path: Path) -> None:
    stage = _second(epochs=3, learning_rate=1e-3)

    def start() -> Any:
        return tiny.train(recipe, tmp_path / "first")[0]

    def kill(done: int, _total: int) -> None:
        if done == 1:
            raise _Killed

    whole, wanted = tiny.train(recipe, tmp_path / "whole", start=start(), stage=stage)
    with pytest.raises(_Killed):
        tiny.train(recipe, tmp_path / "torn", start=start(), stage=stage, progress=kill)
    torn, fitted = tiny.train(recipe, tmp_path / "torn", start=start(), stage=stage)
    assert not tiny.differing(tiny.state(torn), tiny.state(whole))
    assert (fitted.best_epoch, fitted.history.to_dict()) == (wanted.best_epoch, wanted.history.to_dict())


def test_the_best_of_both_stages_is_what_remains(tiny: Any, recipe: Recipe, tmp_path: Path) -> None:
    first, told = tiny.train(recipe, tmp_path / "c")
    second, fitted = tiny.train(recipe, tmp_path / "d", start=first, stage=_second(epochs=3, learning_rate=1e-3))
    losses = told.then(fitted).history["tune_loss"]
    frames, targets = tiny.planted(48)
    logits = logits_of(second, recipe.preprocess, frames.only(np.arange(32, 48))).astype(np.float64)
    spread = np.log(np.exp(logits).sum(1)) - logits[np.arange(16), targets[32:]]
    assert spread.mean() == pytest.approx(losses.min(), rel=1e-3)

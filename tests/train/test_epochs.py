import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hilum.errors import DataError
from hilum.recipe import Schedule
from hilum.train import HISTORY, Fitted, class_weights, learning_rate, make_optimiser
from hilum.train.epochs import Best


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


def _fitted(epochs: int, best: int, precision: str = "float32") -> Fitted:
    rows = [(epoch, 1.0 / epoch, 2.0 / epoch, 0.5, 0.1) for epoch in range(1, epochs + 1)]
    return Fitted(pd.DataFrame(rows, columns=HISTORY), best, precision, "cpu")


def test_the_epochs_of_a_second_stage_count_on() -> None:
    both = _fitted(3, best=2).then(_fitted(4, best=3, precision="bfloat16"))
    assert both.history["epoch"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert both.history["tune_loss"].iloc[5] == pytest.approx(2 / 3)
    assert (both.best_epoch, both.precision) == (6, "bfloat16")


def test_a_second_stage_that_found_nothing_better_leaves_the_first_s_best_epoch() -> None:
    assert _fitted(3, best=2).then(_fitted(4, best=0)).best_epoch == 2

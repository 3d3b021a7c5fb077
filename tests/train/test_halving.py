from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hilum.train import Halving, judge_halving

FINE = Halving(films=100, median=0.01, largest=0.02, loss=(0.4, 0.41), accuracy=(0.8, 0.81))


def _head() -> nn.Sequential:
    """Calls a film by the larger of two numbers; in training it would drop all."""
    same = nn.Linear(2, 2, bias=False)
    same.weight = nn.Parameter(torch.eye(2))
    return nn.Sequential(nn.Dropout(1.0), same).train()


def test_vectors_are_compared_by_their_length_and_the_head_scores_both() -> None:
    whole = np.array([[3, 4], [0, 2], [1, 0]], np.float32)
    halved = np.array([[3, 4], [0, 1], [0, 0.1]], np.float32)
    told = judge_halving(_head(), whole, halved, np.array([1, 1, 0]))
    assert (told.films, told.median) == (3, 0.5)
    assert told.largest == pytest.approx(np.hypot(1, 0.1))
    assert told.accuracy == pytest.approx((1, 2 / 3))
    targets = torch.tensor([1, 1, 0])
    wanted = [float(functional.cross_entropy(torch.from_numpy(vectors), targets)) for vectors in (whole, halved)]
    assert told.loss == pytest.approx(wanted)
    assert len(told.problems) == 3, "one film may change sides, loss and distances may not so far"


def test_a_film_without_a_vector_has_no_share_of_its_own() -> None:
    nothing = np.zeros((2, 2), np.float32)
    assert judge_halving(_head(), nothing, nothing, np.array([0, 1])).largest == 0


@pytest.mark.parametrize(
    ("told", "word"),
    [
        ({"median": 0.11}, "median"),
        ({"largest": 0.26}, "largest"),
        ({"largest": float("nan")}, "largest"),
        ({"loss": (0.4, 0.46)}, "loss"),
        ({"loss": (0.4, 0.34)}, "loss"),
        ({"accuracy": (0.8, 0.77)}, "accuracy"),
    ],
)
def test_what_passes_a_limit_is_told_in_a_sentence(told: dict[str, float], word: str) -> None:
    assert FINE.problems == []
    assert FINE.account["within_limits"]
    worse = replace(FINE, **told)  # type: ignore[arg-type]
    [problem] = worse.problems
    assert word in problem
    assert "schedule.precision" in problem
    assert not worse.account["within_limits"]

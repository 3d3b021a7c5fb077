"""Vectors in which the source is planted within each class, and what is left of it."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn

from hilum.errors import DataError
from hilum.networks.classifier import Standardise
from hilum.train.projecting import Projection, fold_projection, projected_head, source_directions

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]


def _planted(films: int, size: int = 40, seed: int = 0) -> tuple[Floats, Whole, Whole]:
    """Class along two axes; the place along others, partly other ones in each class; all of them mixed."""
    rng = np.random.default_rng(seed)
    targets, places = rng.integers(0, 2, films), rng.integers(0, 2, films)
    vectors = rng.normal(size=(films, size))
    vectors[:, :2] += 1.0 * (2 * targets - 1)[:, None]
    vectors[:, 2:5] += 1.5 * (2 * places - 1)[:, None]
    vectors[:, 5] += 2.0 * (2 * places - 1) * targets
    vectors[:, 6] += 2.0 * (2 * places - 1) * (1 - targets)
    mixed = np.linalg.qr(np.random.default_rng(9).normal(size=(size, size)))[0]
    return (vectors @ mixed).astype(np.float32), targets, places


def _told(vectors: Floats, told: Whole, rows: NDArray[np.bool_]) -> float:
    """AUROC of a fresh linear classifier, fitted on the first half of the rows and judged on the second."""
    chosen = np.flatnonzero(rows)
    one, two = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
    fitted = LogisticRegression(C=0.1, max_iter=2000).fit(vectors[one], told[one])
    return float(roc_auc_score(told[two], fitted.decision_function(vectors[two])))


def test_the_source_is_gone_within_each_class_and_the_class_stays() -> None:
    vectors, targets, places = _planted(4000)
    directions = source_directions(vectors[:2000], targets[:2000], places[:2000], 3)
    left = Projection(directions)(torch.from_numpy(vectors)).numpy()
    everywhere = np.ones(4000, bool)
    for number in (0, 1):
        assert _told(vectors, places, targets == number) > 0.95
        assert _told(left, places, targets == number) < 0.58
    assert _told(left, targets, everywhere) > _told(vectors, targets, everywhere) - 0.02 > 0.88


def test_with_fewer_films_than_numbers_those_films_teach_the_source_no_more() -> None:
    """More films could: what 200 films tell of a direction among 400 is not all of it."""
    vectors, targets, places = _planted(1200, size=400)
    directions = source_directions(vectors[:200], targets[:200], places[:200], 3)
    left = Projection(directions)(torch.from_numpy(vectors)).numpy()
    for number in (0, 1):
        seen, other = (rows[targets[rows] == number] for rows in (np.arange(200), np.arange(200, 1200)))
        aurocs = []
        for each in (vectors, left):
            fitted = LogisticRegression(C=0.1, max_iter=2000).fit(each[seen], places[seen])
            aurocs.append(roc_auc_score(places[other], fitted.decision_function(each[other])))
        assert aurocs[0] > 0.9
        assert aurocs[1] < 0.65


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_directions_are_orthonormal_one_a_round_and_class(rounds: int) -> None:
    vectors, targets, places = _planted(300)
    directions = source_directions(vectors, targets, places, rounds)
    assert directions.shape == (2 * rounds, 40)
    np.testing.assert_allclose(directions @ directions.T, np.eye(2 * rounds), atol=1e-9)
    assert np.array_equal(directions, source_directions(vectors, targets, places, rounds))


def test_three_places_differ_in_two_directions() -> None:
    vectors, targets, _ = _planted(300)
    places = np.arange(300) % 3
    assert len(source_directions(vectors, np.zeros_like(targets), places, 1)) == 2


def test_a_class_from_one_place_is_left_out_and_two_such_are_refused() -> None:
    vectors, targets, places = _planted(300)
    one = np.where(targets == 1, 1, places)
    assert len(source_directions(vectors, targets, one, 2)) == 2
    with pytest.raises(DataError, match="class and source cannot be separated"):
        source_directions(vectors, targets, targets, 2)
    few = np.where(np.arange(300) < 4, 1 - targets, targets)
    with pytest.raises(DataError, match="5 training films or more from each of two places"):
        source_directions(vectors, targets, few, 2)


def test_taking_everything_away_is_refused() -> None:
    vectors, targets, places = _planted(300, size=8)
    with pytest.raises(DataError, match=r"takes all 8 directions .* lower network\.project_rounds"):
        source_directions(vectors, targets, places, 10)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("hidden", [True, False])
def test_a_folded_projection_says_the_same(*, scaled: bool, hidden: bool) -> None:
    vectors, targets, places = _planted(300)
    torch.manual_seed(0)
    layers: list[nn.Module] = [Standardise(40)] if scaled else []
    layers += [nn.Linear(40, 7), nn.ReLU(), nn.Linear(7, 2)] if hidden else [nn.Linear(40, 2)]
    head = nn.Sequential(*layers)
    films = torch.from_numpy(vectors)
    if isinstance(head[0], Standardise):
        head[0].measure(3 * films + 1)
    directions = source_directions(vectors, targets, places, 2)
    before, projected = head(films), projected_head(head, directions)(films)
    assert (before - projected).abs().max() > 0.05
    names: list[Any] = list(head.state_dict())
    fold_projection(head, directions)
    torch.testing.assert_close(head(films), projected, atol=1e-5, rtol=1e-4)
    assert list(head.state_dict()) == names

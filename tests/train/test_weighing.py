"""Weights of films, and heads fitted with them to vectors in which a source is planted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from hilum.errors import DataError
from hilum.networks import logits_of
from hilum.recipe import Schedule
from hilum.train import Folds, Stage, drawn_head, fit_network, unparted
from hilum.train.head import WholeFit
from hilum.train.stacks import Course
from hilum.train.weighing import STEP, Loss, cells_of

Whole = NDArray[np.int64]

TARGETS = np.array([0, 0, 0, 1, 0, 1, 1, 1, 1, 0, 1])
PLACES = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2])
TRAIN = np.arange(9)
"""Cells in training: place 0 has three films of class 0 and one of 1; place 1 one of class 0 and four of 1."""


def _folds(places: Whole | None = PLACES) -> Folds:
    return Folds(TRAIN, np.array([9, 10]), TARGETS, np.zeros_like(TRAIN), places)


def _loss(places: Whole | None = PLACES, **told: Any) -> Loss:
    return Loss(_folds(places), 2, Schedule.model_validate(told))


def test_every_cell_weighs_the_same_as_computed_by_hand() -> None:
    weights = _loss(balance="source").by_film
    assert weights is not None
    by_hand = [9 / (4 * 3)] * 3 + [9 / (4 * 1)] + [9 / (4 * 1)] + [9 / (4 * 4)] * 4
    np.testing.assert_allclose(weights[:9], by_hand, rtol=1e-6)
    assert weights[9:].tolist() == [1, 1], "no film of their cells is trained from"
    assert weights[:9].mean() == pytest.approx(1)
    for place in (0, 1):
        one = weights[:9][(PLACES[:9] == place) & (TARGETS[:9] == 1)].sum()
        assert one / weights[:9][PLACES[:9] == place].sum() == pytest.approx(0.5), "the place tells nothing"


def test_the_loss_is_the_weighted_mean() -> None:
    loss, logits = _loss(balance="source"), torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    rows = np.array([0, 3, 8])
    targets = torch.tensor(TARGETS)[rows]
    each = functional.cross_entropy(logits, targets, reduction="none")
    weights = torch.tensor([0.75, 2.25, 0.5625])
    assert float(loss(logits, targets, rows)) == pytest.approx(float((each * weights).sum() / weights.sum()))


def test_with_one_place_it_is_the_balance_of_classes() -> None:
    logits = torch.randn(11, 2, generator=torch.Generator().manual_seed(2))
    one, other = (_loss(None, **told) for told in ({"balance": "source"}, {"class_weights": "balanced"}))
    assert other.by_film is None
    values = [float(loss(logits, torch.tensor(TARGETS), np.arange(11))) for loss in (one, other)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_films_of_one_class_and_place_are_a_cell() -> None:
    cells = cells_of(_folds())
    assert len(np.unique(cells)) == cells.max() + 1 == 6
    both = list(zip(PLACES.tolist(), TARGETS.tolist(), strict=True))
    assert [both.index(pair) for pair in both] == [cells.tolist().index(cell) for cell in cells.tolist()]


def test_weight_moves_to_the_cell_with_the_highest_loss() -> None:
    loss = _loss(robust=True)
    before = loss.by_film
    assert before is not None
    np.testing.assert_allclose(before, _loss(balance="source").by_film)  # type: ignore[arg-type]
    losses = np.full(6, np.nan)
    of_film = cells_of(_folds())
    losses[of_film[[0, 3, 4, 5]]] = 0.2, 1.2, 0.2, 0.2
    loss.move(losses)
    after = loss.by_film
    assert after is not None
    share = np.exp(STEP) / (np.exp(STEP) + 3)
    assert float(after[3]) == pytest.approx(9 * share)
    assert float(after[4]) == pytest.approx(9 * (1 - share) / 3)
    assert float(after[:9].mean()) == pytest.approx(1)


def test_the_loss_of_each_cell() -> None:
    loss, logits = _loss(robust=True), torch.zeros(4, 2)
    logits[0, 0] = 3
    rows = np.array([0, 1, 3, 4])
    found = loss.by_cell(logits, torch.tensor(TARGETS)[rows], rows)
    cells = cells_of(_folds())
    assert found[cells[0]] == pytest.approx((np.log1p(np.exp(-3)) + np.log(2)) / 2)
    assert found[cells[3]] == found[cells[4]] == pytest.approx(np.log(2))
    assert np.isnan(found[[cells[5], cells[9], cells[10]]]).all()


def test_a_class_without_a_film_is_refused() -> None:
    with pytest.raises(DataError, match="class number 2 has no film in the train fold"):
        Loss(_folds(), 3, Schedule(balance="source"))


def test_places_of_one_class_are_named() -> None:
    assert unparted(["a", "b", "a", "b"], ["x", "x", "y", "y"], "source") is None
    assert unparted(["a", "b", "a"], ["x", "x", "y"], "source") == (
        "no weighting separates class and source where all films are of one class: y (a)"
    )
    many = unparted(["a", "b", *"a" * 7], ["x", "x", *"1234567"], "source")
    assert many is not None
    assert many.endswith(": 1 (a), 2 (a), 3 (a), 4 (a), 5 (a), 2 more")
    assert unparted(["a", "b"], ["x", "y"], "attr.location") == (
        "no weighting can separate class and attr.location: every attr.location holds films of one class only"
    )


def _crossed(films: int) -> tuple[NDArray[np.float32], Whole, Whole]:
    """Class by a weak axis, place by a strong one; nine films of ten are of their place's class."""
    rng = np.random.default_rng(3)
    targets = rng.integers(0, 2, films)
    places = np.where(rng.random(films) < 0.93, targets, 1 - targets)
    vectors = rng.normal(size=(films, 4))
    vectors[:, 0] += 1.2 * (2 * targets - 1)
    vectors[:, 1] += 2.5 * (2 * places - 1)
    return vectors.astype(np.float32), targets, places


def _headed(vectors: NDArray[np.float32], folds: Folds, schedule: Schedule) -> tuple[nn.Sequential, Loss]:
    """A head after its last epoch, not its best, and what films weighed in that."""
    shown = np.arange(len(vectors))[None]
    head, loss = drawn_head(nn.Sequential(nn.Linear(4, 2)), 0), Loss(folds, 2, schedule)
    course = Course(head, schedule, loss, folds, torch.from_numpy(vectors), shown, folds.tune, 0)
    WholeFit(course).run()
    return head, loss


def _fitted(**told: Any) -> NDArray[np.float64]:
    """Accuracy in each cell of a head fitted to crossed vectors, judged on others like them."""
    vectors, targets, places = _crossed(1200)
    rows = np.arange(600)
    folds = Folds(rows, rows[:0], targets, np.zeros_like(rows), places)
    schedule = Schedule.model_validate(
        {"optimiser": "lbfgs", "weight_decay": 0.01, "epochs": 30, "patience": None} | told
    )
    head, _ = _headed(vectors[:600], folds, schedule)
    right = head(torch.from_numpy(vectors[600:])).argmax(1).numpy() == targets[600:]
    cells = 2 * targets[600:] + places[600:]
    return np.array([right[cells == cell].mean() for cell in range(4)])


def test_balance_and_a_robust_fit_raise_the_worst_cell() -> None:
    plain, balanced, robust = _fitted(), _fitted(balance="source"), _fitted(robust=True)
    assert plain.min() < 0.6
    assert balanced.min() > plain.min() + 0.15
    assert robust.min() > plain.min() + 0.15


def test_a_robust_fit_evens_out_what_balance_leaves() -> None:
    """A cell that is harder than the others: its training loss comes down when weight moves to it."""
    vectors, targets, places = _crossed(400)
    hard = (targets == 1) & (places == 1)
    vectors[hard, 0] -= 1.6
    highest = []
    for told in ({"balance": "source"}, {"robust": True}):
        rows = np.arange(400)
        folds = Folds(rows, rows[:0], targets, np.zeros_like(rows), places)
        schedule = Schedule.model_validate(
            {"optimiser": "lbfgs", "weight_decay": 0.01, "epochs": 30, "patience": None} | told
        )
        head, loss = _headed(vectors, folds, schedule)
        logits = head(torch.from_numpy(vectors)).detach()
        highest.append(np.sort(loss.by_cell(logits, torch.tensor(targets), rows))[-2:])
    balanced, robust = highest
    assert robust[1] < 0.92 * balanced[1]
    assert robust[1] - robust[0] < 0.02 < balanced[1] - balanced[0], "no cell is worse than the one it is traded with"


def test_the_same_fit_twice_is_the_same() -> None:
    assert np.array_equal(_fitted(robust=True), _fitted(robust=True))


def test_a_network_is_trained_and_tuned_by_the_weights_of_films(tiny: Any, tmp_path: Path) -> None:
    frames, targets = tiny.planted(48)
    rows = np.arange(48)
    folds = Folds(rows[:32], rows[32:], targets, np.zeros(32, np.int64), np.where(rows % 6 < 2, targets, 0))
    states = []
    for balance in ("none", "source"):
        recipe = tiny.recipe(schedule={"epochs": 1, "balance": balance})
        classifier = tiny.start(recipe)
        stage = Stage(recipe.schedule, recipe.network, fresh=True)
        fitted = fit_network(classifier, frames, folds, recipe, stage, 0, checkpoint=tmp_path / balance)
        states.append(tiny.state(classifier))
    assert "head.1.weight" in tiny.differing(*states)
    logits = torch.from_numpy(logits_of(classifier, recipe.preprocess, frames.only(folds.tune)))
    each = functional.cross_entropy(logits, torch.tensor(targets)[32:], reduction="none")
    weights = _film_weights(folds)[32:]
    assert fitted.history["tune_loss"][0] == pytest.approx(float(each @ weights / weights.sum()), rel=1e-4)


def _film_weights(folds: Folds) -> torch.Tensor:
    """n / (cells * n_cell), counted one by one."""
    cells = list(zip(folds.origins.tolist(), folds.targets.tolist(), strict=True))
    trained = [cells[row] for row in folds.train]
    return torch.tensor([len(trained) / (len(set(trained)) * trained.count(cell)) for cell in cells])

import numpy as np
import pytest

from hilum import metrics, scoring
from hilum.scoring import Predicted, Score, best_floor, spelt


def simulated(films=60, classes=("a", "b", "c"), repeats=2, seed=0, perfect=False):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, len(classes), films)
    made = []
    for _ in range(repeats):
        rows = rng.permutation(films)
        p = rng.dirichlet(np.ones(len(classes)), films)
        made.append((rows, np.eye(len(classes))[target[rows]] * 0.9 + 0.1 * p if perfect else p))
    return Predicted("test", classes, target, np.arange(films) // 2, tuple(made))


@pytest.fixture(scope="module")
def counts():
    return metrics.resampled_groups(30, 300, seed=0)


def test_a_part_keeps_its_films_predictions_and_groups():
    whole = simulated()
    marked = whole.target != 0
    part = whole.only(marked)
    assert (part.target == whole.target[marked]).all()
    assert (part.group == whole.group[marked]).all()
    for (rows, p), (kept, q) in zip(whole.repeats, part.repeats, strict=True):
        assert (np.flatnonzero(marked)[kept] == rows[marked[rows]]).all()
        assert (q == p[marked[rows]]).all()


def test_all_films_as_a_part_score_like_all_films(counts):
    whole = simulated()
    assert scoring.part_scores(whole, np.ones(60, dtype=bool), counts) == scoring.brief_scores(whole, counts)
    assert scoring.part_scores(whole, np.zeros(60, dtype=bool), counts) == []


def test_a_perfect_network_is_perfect_but_not_certain(counts):
    whole = simulated(perfect=True)
    scores = scoring.ranking_scores(whole, counts) + scoring.decision_scores(whole, counts)
    scores += scoring.point_scores(whole, 0, "0.5", [p[:, 0] >= 0.5 for _, p in whole.repeats], counts)
    for score in scores:
        if score.metric in ("log_loss", "brier", "ece"):
            continue
        assert score.value == score.high == 1.0, score
        assert 0.5 < score.low < 0.95, score


def test_one_group_gives_no_interval():
    whole = simulated()
    single = Predicted("test", whole.classes, whole.target, np.zeros(60, dtype=np.int64), whole.repeats)
    scores = scoring.brief_scores(single, metrics.resampled_groups(1, 300))
    assert all(score.value is not None and score.low is None for score in scores)


def test_the_best_floor_is_an_auroc_that_was_measured():
    nothing = Score(metric="floor.source", value=None, low=None, high=None, n=0)
    header = Score(metric="floor.header", value=0.6, low=0.5, high=0.7, n=9)
    accuracy = Score(metric="floor.header.accuracy", value=0.9, low=0.5, high=1.0, n=9)
    assert best_floor([nothing, accuracy, header]) is header
    assert best_floor([nothing, accuracy]) is None


def test_a_score_is_spelt_with_its_interval_or_a_dash():
    assert spelt(Score(metric="auroc", value=0.98123, low=0.9, high=1.0, n=9)) == "0.981 [0.900, 1.000]"
    assert spelt(Score(metric="auroc", value=0.98123, low=None, high=None, n=9)) == "0.981"
    assert spelt(Score(metric="auroc", value=None, low=None, high=None, n=9)) == spelt(None) == "-"

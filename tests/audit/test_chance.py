import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from hilum.audit.chance import auroc_p, calibration_p, one_source_p, permuted_p, units_of
from hilum.scoring import Predicted

TWO = ("covid19", "other")


def predicted(target, group, score, classes=TWO):
    rows = np.arange(len(target))
    p = np.stack([score, 1 - score], axis=1) if np.ndim(score) == 1 else score
    return Predicted("test", classes, np.asarray(target, np.int64), np.asarray(group, np.int64), ((rows, p),))


def drawn(seed, films=80, planted=0.0):
    rng = np.random.default_rng(seed)
    target = rng.permutation(np.resize([0, 1], films))
    score = 1 / (1 + np.exp(-(rng.normal(0, 1, films) + planted * (target == 0))))
    return target, score


def test_where_nothing_is_planted_p_is_uniform():
    p = [auroc_p(predicted(target, np.arange(80), score), permutations=500) for target, score in map(drawn, range(50))]
    assert kstest(p, "uniform").pvalue > 0.01
    assert min(p) > 0.001


def test_what_is_planted_has_a_small_p():
    target, score = drawn(0, planted=2.0)
    assert auroc_p(predicted(target, np.arange(80), score)) == pytest.approx(1 / 2001)


def test_a_model_worse_than_chance_has_a_large_p():
    target, score = drawn(0, planted=-2.0)
    assert auroc_p(predicted(target, np.arange(80), score)) > 0.99


def test_twenty_copies_of_a_film_prove_nothing():
    """Three films right by luck: copied, they would be significant if films were dealt labels."""
    target, score = np.array([0, 0, 0, 1, 1, 1]), np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    once = auroc_p(predicted(target, np.arange(6), score))
    copied = auroc_p(predicted(np.repeat(target, 20), np.repeat(np.arange(6), 20), np.repeat(score, 20)))
    alone = auroc_p(predicted(np.repeat(target, 20), np.arange(120), np.repeat(score, 20)))
    assert copied == once == pytest.approx(1 / 20)
    assert alone < 0.001


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_copies_never_change_p(seed, copies):
    target, score = drawn(seed, films=12, planted=1.0)
    once = auroc_p(predicted(target, np.arange(12), score), permutations=50)
    again = predicted(np.repeat(target, copies), np.repeat(np.arange(12), copies), np.repeat(score, copies))
    assert auroc_p(again, permutations=50) == once


def test_a_group_with_two_labels_is_two_units():
    units = units_of(predicted([0, 0, 1, 1], [0, 0, 0, 1], np.array([0.2, 0.4, 0.6, 0.8])))
    assert units.target.tolist() == [0, 1, 1]
    assert units.repeats[0][1][:, 0].tolist() == pytest.approx([0.3, 0.6, 0.8])


def test_repeats_on_different_films_are_averaged():
    target, score = drawn(0, planted=2.0)
    both = np.stack([score, 1 - score], axis=1)
    halves = tuple((rows, both[rows]) for rows in np.array_split(np.arange(80), 2))
    assert auroc_p(Predicted("test", TWO, target, np.arange(80), halves)) < 0.005


def test_three_classes_are_judged_by_their_average():
    rng = np.random.default_rng(0)
    target = np.resize([0, 1, 2], 90)
    chance = rng.dirichlet([1, 1, 1], 90)
    classes = ("a", "b", "c")
    assert auroc_p(predicted(target, np.arange(90), chance, classes)) > 0.05
    assert auroc_p(predicted(target, np.arange(90), chance + np.eye(3)[target], classes)) < 0.005


def test_one_class_has_no_p():
    assert auroc_p(predicted([0, 0], [0, 1], np.array([0.1, 0.9]))) is None


def test_labels_stay_in_their_stratum():
    labels, within = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])
    assert permuted_p(lambda dealt: (dealt[:, 2:] == 1).all(axis=1).astype(float), labels, within=within) == 1.0


def test_few_units_are_dealt_in_every_way():
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1])
    assert auroc_p(predicted([0, 0, 0, 0, 1, 1, 1, 1], np.arange(8), score)) == pytest.approx(1 / 70)
    assert auroc_p(predicted([1, 0, 1, 1, 1, 1, 1, 1], np.arange(8), score)) == pytest.approx(2 / 8)


def test_a_statistic_that_does_not_exist_is_no_evidence():
    assert permuted_p(lambda dealt: np.full(len(dealt), np.nan), np.array([0, 1])) == 1.0


def test_right_probabilities_have_uniform_calibration_p():
    p = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        score = rng.uniform(0.05, 0.95, 120)
        target = (rng.random(120) >= score).astype(np.int64)
        p.append(calibration_p(predicted(target, np.arange(120), score), draws=300))
    assert kstest(p, "uniform").pvalue > 0.01


def test_probabilities_that_lie_have_a_small_calibration_p():
    rng = np.random.default_rng(0)
    score = rng.choice([0.02, 0.98], 200)
    target = (rng.random(200) >= np.where(score > 0.5, 0.7, 0.3)).astype(np.int64)
    assert calibration_p(predicted(target, np.arange(200), score)) < 0.001


@pytest.mark.parametrize(("label", "sources", "p"), [(1, [5, 5], 1.0), (5, [5, 5], 2 / 252), (6, [5, 5], 0.0)])
def test_one_source_by_chance(label, sources, p):
    assert one_source_p(label, np.array(sources)) == pytest.approx(p)

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from hilum import metrics
from hilum.errors import DataError, UsageError
from hilum.metrics import Ranking


@st.composite
def ranked(draw):
    """Positives and negatives with many ties."""
    films = draw(st.integers(2, 40))
    positive = np.array(draw(st.lists(st.booleans(), min_size=films, max_size=films)))
    positive[0], positive[1] = True, False
    score = np.array(draw(st.lists(st.integers(0, 8), min_size=films, max_size=films))) / 8
    return positive, score


def multiclass(films=300, classes=4, seed=0, signal=1.5):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, films)
    logits = rng.normal(size=(films, classes))
    logits[np.arange(films), target] += signal
    return target, logits, softmax(logits, axis=1)


def test_rates_of_two_published_tables():
    found = metrics.rates(tp=27, fp=2, fn=0, tn=25)
    assert round(found["accuracy"], 4) == 0.9630
    assert found["sensitivity"] == 1.0
    assert round(found["specificity"], 4) == 0.9259
    found = metrics.rates(tp=50, fp=0, fn=50, tn=100)
    assert (found["accuracy"], found["prevalence"], found["ppv"]) == (0.75, 0.5, 1.0)
    assert found["f1"] == pytest.approx(2 / 3)


def test_rates_without_a_denominator_are_none_rather_than_zero():
    found = metrics.rates(tp=0, fp=0, fn=0, tn=5)
    assert {name for name, value in found.items() if value is None} == {"sensitivity", "ppv", "f1"}
    assert (found["specificity"], found["prevalence"]) == (1.0, 0.0)


def test_accuracy_by_class_of_a_published_table():
    confusion = np.array([[26, 5, 2], [1, 198, 2], [4, 6, 192]])
    report = metrics.class_report(confusion, ["covid19", "normal", "pneumonia"])
    assert [round(100 * report[name]["recall"], 2) for name in ("covid19", "normal", "pneumonia")] == [
        78.79,
        98.51,
        95.05,
    ]


def test_confusion_and_class_report_equal_scikit_learn():
    target, _, p = multiclass()
    names = ["a", "b", "c", "d"]
    confusion = metrics.confusion_matrix(target, p.argmax(axis=1), 4)
    assert (confusion == reference.confusion_matrix(target, p.argmax(axis=1))).all()
    wanted = reference.classification_report(target, p.argmax(axis=1), target_names=names, output_dict=True)
    found = metrics.class_report(confusion, names)
    assert found["accuracy"]["accuracy"] == pytest.approx(wanted.pop("accuracy"))
    for name, row in wanted.items():
        assert found[name] == pytest.approx(row), name


def test_a_class_never_predicted_has_no_precision():
    report = metrics.class_report(np.array([[5, 0], [3, 0]]), ["a", "b"])
    assert report["b"]["precision"] is None
    assert report["b"]["recall"] == 0.0
    assert report["macro avg"]["precision"] == 5 / 8


@settings(deadline=None)
@given(ranked())
def test_areas_equal_scikit_learn_with_ties(case):
    positive, score = case
    assert metrics.auroc(positive, score) == pytest.approx(reference.roc_auc_score(positive, score))
    assert metrics.average_precision(positive, score) == pytest.approx(
        reference.average_precision_score(positive, score)
    )


@settings(deadline=None)
@given(ranked(), st.integers(0, 2**32 - 1))
def test_weights_are_copies_of_films(case, seed):
    positive, score = case
    weights = np.random.default_rng(seed).integers(0, 4, len(score))
    weights[:2] += 1
    copied, copies = np.repeat(positive, weights), np.repeat(score, weights)
    batch = np.stack([np.ones(len(score)), weights]).astype(float)
    ranking = Ranking.of(positive, score)
    assert ranking.auroc(batch)[1] == pytest.approx(reference.roc_auc_score(copied, copies))
    assert ranking.average_precision(batch)[1] == pytest.approx(reference.average_precision_score(copied, copies))


def test_areas_of_one_class_only_are_unknown():
    score = np.array([0.1, 0.9])
    assert metrics.auroc(np.array([True, True]), score) is None
    assert metrics.auroc(np.array([False, False]), score) is None
    assert metrics.average_precision(np.array([False, False]), score) is None
    assert metrics.auroc(np.empty(0, dtype=bool), np.empty(0)) is None


def test_macro_auroc_equals_scikit_learn_and_leaves_out_absent_classes():
    target, _, p = multiclass()
    wanted = reference.roc_auc_score(target, p, multi_class="ovr", average="macro")
    assert metrics.macro_auroc(target, p) == pytest.approx(wanted)
    kept = target != 2
    areas = metrics.one_vs_rest_auroc(target[kept], p[kept])
    assert areas[2] is None
    assert metrics.macro_auroc(target[kept], p[kept]) == pytest.approx(np.mean([areas[0], areas[1], areas[3]]))


def test_curves_enclose_the_areas_and_stay_short():
    rng = np.random.default_rng(0)
    positive = rng.random(20_000) < 0.3
    score = rng.normal(size=20_000) + positive
    x, y = metrics.roc_curve(positive, score)
    assert len(x) <= 202
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(reference.roc_auc_score(positive, score), abs=2e-3)
    x, y = metrics.pr_curve(positive, score)
    assert len(x) <= 202
    assert (np.diff(x) >= 0).all()
    assert np.trapezoid(y, x) == pytest.approx(reference.average_precision_score(positive, score), abs=5e-3)


@settings(deadline=None)
@given(ranked())
def test_short_curves_equal_scikit_learn(case):
    positive, score = case
    x, y = metrics.roc_curve(positive, score)
    fpr, tpr, _ = reference.roc_curve(positive, score, drop_intermediate=False)
    np.testing.assert_allclose([x, y], [fpr, tpr])
    x, y = metrics.pr_curve(positive, score)
    precision, recall, _ = reference.precision_recall_curve(positive, score)
    np.testing.assert_allclose([x, y], [recall[::-1], precision[::-1]])


def test_curves_of_one_class_only_are_empty():
    x, y = metrics.roc_curve(np.ones(3, dtype=bool), np.arange(3.0))
    assert len(x) == len(y) == 0
    assert len(metrics.pr_curve(np.zeros(3, dtype=bool), np.arange(3.0))[0]) == 0


def test_brier_and_log_loss_equal_scikit_learn():
    target, _, p = multiclass(classes=2)
    assert metrics.brier(target, p) == pytest.approx(reference.brier_score_loss(target, p[:, 1]))
    target, _, p = multiclass()
    assert metrics.log_losses(target, p).mean() == pytest.approx(reference.log_loss(target, p))
    assert metrics.brier(target, p) == pytest.approx(((p - np.eye(4)[target]) ** 2).sum() / len(p))


def test_ece_by_hand():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.35, 0.65]])
    target = np.array([0, 0, 0, 1, 1, 1])
    assert metrics.expected_calibration_error(target, p) == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.35)


def test_reliability_leaves_out_empty_bins():
    probability = np.array([0.02, 0.04, 0.95, 1.0])
    mean, share, films = metrics.reliability_curve(np.array([False, True, True, True]), probability)
    np.testing.assert_allclose(mean, [0.03, 0.975])
    assert share.tolist() == [0.5, 1.0]
    assert films.tolist() == [2, 2]


def test_calibration_line_finds_the_planted_slope_and_equals_logistic_regression():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    positive = rng.random(20_000) < expit(x)
    slope, intercept = metrics.calibration_line(positive, expit(2 * x))
    wanted = LogisticRegression(C=np.inf, tol=1e-8).fit(2 * x[:, None], positive).coef_[0, 0]
    assert slope == pytest.approx(wanted, rel=1e-3)
    assert slope == pytest.approx(0.5, abs=0.03)
    slope, intercept = metrics.calibration_line(positive, expit(x - 1))
    assert slope == pytest.approx(1.0, abs=0.05)
    assert intercept == pytest.approx(1.0, abs=0.05)


def test_calibration_line_where_it_does_not_exist():
    separated = np.array([True, True, False, False])
    assert metrics.calibration_line(separated, np.array([0.9, 0.8, 0.2, 0.1]))[0] is None
    assert metrics.calibration_line(separated, np.full(4, 0.5))[0] is None
    assert metrics.calibration_line(np.ones(4, dtype=bool), np.array([0.9, 0.8, 0.2, 0.1])) == (None, None)


@pytest.mark.parametrize("planted", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_temperature_is_recovered(planted, classes):
    rng = np.random.default_rng(1)
    logits = 2 * rng.normal(size=(5000, classes))
    target = np.array([rng.choice(classes, p=p) for p in softmax(logits, axis=1)])
    assert metrics.fit_temperature(planted * logits, target) == pytest.approx(planted, rel=0.06)


def test_temperature_of_a_separated_fold_stays_moderate():
    target = np.repeat([0, 1], 20)
    logits = np.where(np.eye(2)[target] > 0, 3.0, -3.0)
    found = metrics.fit_temperature(logits, target)
    assert 0.5 < found < 3
    assert metrics.fit_temperature(1000 * logits, target) == pytest.approx(20.0)
    assert metrics.fit_temperature(logits / 1000, target) == pytest.approx(0.05)


def test_temperature_of_an_inverted_network_is_the_upper_bound():
    target = np.repeat([0, 1], 20)
    assert metrics.fit_temperature(np.where(np.eye(2)[target] > 0, -3.0, 3.0), target) == pytest.approx(20.0)


@pytest.mark.parametrize("logits", [np.empty((0, 2)), np.array([[np.nan, 0.0]])])
def test_temperature_refuses_what_is_no_logit(logits):
    with pytest.raises(DataError, match="finite logits"):
        metrics.fit_temperature(logits, np.zeros(len(logits), dtype=int))


@settings(deadline=None)
@given(ranked(), st.sampled_from([0.5, 0.8, 0.95, 1.0]))
def test_operating_points_reach_what_their_name_says_and_no_better_one_exists(case, wanted):
    positive, p = case
    candidates = np.append(np.unique(p), 2.0)
    sensitivity = np.array([(p[positive] >= t).mean() for t in candidates])
    specificity = np.array([(p[~positive] < t).mean() for t in candidates])

    t = metrics.operating_threshold(f"sensitivity>={wanted}", positive, p)
    assert (p[positive] >= t).mean() >= wanted
    assert (p[~positive] < t).mean() == specificity[sensitivity >= wanted].max()
    t = metrics.operating_threshold(f"specificity>={wanted}", positive, p)
    assert (p[~positive] < t).mean() >= wanted
    assert (p[positive] >= t).mean() == sensitivity[specificity >= wanted].max()
    t = metrics.operating_threshold("youden", positive, p)
    gain = (p[positive] >= t).mean() + (p[~positive] < t).mean()
    assert gain == pytest.approx((sensitivity + specificity).max())


def test_operating_points_by_hand():
    positive = np.array([True, True, False, True, False, False])
    p = np.array([0.9, 0.8, 0.6, 0.4, 0.2, 0.1])
    assert metrics.operating_threshold("youden", positive, p) == pytest.approx(0.3), "of two equals the more sensitive"
    assert metrics.operating_threshold("specificity>=0.95", positive, p) == pytest.approx(0.7)
    assert metrics.operating_threshold("sensitivity>=0.95", positive, p) == pytest.approx(0.3)
    assert metrics.operating_threshold("0.5", positive, p) == 0.5
    assert metrics.operating_threshold("0.5", positive[:1], p[:1]) == 0.5, "a fixed threshold needs no films"


def test_a_threshold_between_neighbouring_floats_keeps_them_apart():
    low = 0.5
    high = float(np.nextafter(low, 1))
    t = metrics.operating_threshold("youden", np.array([True, False]), np.array([high, low]))
    assert low < t <= high


def test_operating_points_refuse_one_class_and_unknown_names():
    p = np.array([0.2, 0.4])
    with pytest.raises(DataError, match="no positives, so 'youden'"):
        metrics.operating_threshold("youden", np.zeros(2, dtype=bool), p)
    with pytest.raises(DataError, match="no negatives"):
        metrics.operating_threshold("sensitivity>=0.95", np.ones(2, dtype=bool), p)
    with pytest.raises(UsageError, match="did you mean 'youden'"):
        metrics.operating_threshold("yuden", np.array([True, False]), p)


def test_group_counts_are_draws_with_replacement():
    counts = metrics.resampled_groups(200, 500, seed=3)
    assert (counts.sum(axis=1) == 200).all()
    assert counts.mean(axis=0).std() < 0.1
    assert counts.var() == pytest.approx(1.0, abs=0.05)
    assert (counts == metrics.resampled_groups(200, 500, seed=3)).all()
    assert (counts != metrics.resampled_groups(200, 500, seed=4)).any()


def share_interval(correct, group, resamples=2000):
    counts = metrics.resampled_groups(int(group.max()) + 1, resamples, seed=0)
    column = correct.astype(float)[:, None]
    replicates = metrics.bootstrap(counts, [(lambda w: (w @ column) / w.sum(axis=1, keepdims=True), group)])
    return metrics.interval(replicates[:, 0], float(correct.mean()), units=int(group.max()) + 1)


def test_the_interval_of_a_share_is_the_binomial_one_and_that_of_33_films_is_wide():
    correct = np.arange(33) < 26
    low, high = share_interval(correct, np.arange(33))
    spread = np.sqrt(26 / 33 * 7 / 33 / 33)
    assert low == pytest.approx(26 / 33 - 1.96 * spread, abs=0.03)
    assert high == pytest.approx(26 / 33 + 1.96 * spread, abs=0.03)
    assert high - low > 0.2


def test_films_of_one_group_count_as_one():
    correct = np.random.default_rng(0).random(50) < 0.7
    alone = share_interval(correct, np.arange(50))
    tenfold = share_interval(np.repeat(correct, 10), np.repeat(np.arange(50), 10))
    ungrouped = share_interval(np.repeat(correct, 10), np.arange(500))
    assert tenfold == pytest.approx(alone, abs=1e-12)
    assert ungrouped[1] - ungrouped[0] < 0.5 * (tenfold[1] - tenfold[0])


def test_repeats_are_resampled_together_and_averaged():
    rng = np.random.default_rng(0)
    group = np.arange(60)
    first, second = rng.random((60, 1)), rng.random((60, 1))
    counts = metrics.resampled_groups(60, 200, seed=0)

    def mean_of(column):
        return lambda weights: (weights @ column) / weights.sum(axis=1, keepdims=True)

    both = metrics.bootstrap(counts, [(mean_of(first), group), (mean_of(second), group)])
    np.testing.assert_allclose(both, metrics.bootstrap(counts, [(mean_of((first + second) / 2), group)]))


@settings(deadline=None)
@given(st.integers(1, 3))
def test_batches_do_not_change_resamples(batches):
    counts = metrics.resampled_groups(1 << 10, 1500 * batches, seed=0)
    weights = metrics.bootstrap(counts, [(lambda w: w[:, :5], np.arange(1 << 10))])
    assert (weights == counts[:, :5]).all()


def test_degenerate_resamples_are_dropped_but_not_too_many():
    replicates = np.linspace(0, 1, 1000)
    replicates[::6] = np.nan
    low, high = metrics.interval(replicates, 0.5)
    assert (low, high) == pytest.approx((0.025, 0.975), abs=0.005)
    replicates[::4] = np.nan
    assert metrics.interval(replicates, 0.5) is None
    assert metrics.interval(np.empty(0), 0.5) is None
    assert metrics.interval(np.ones(10), None) is None


def test_a_perfect_figure_is_not_certain():
    assert metrics.interval(np.ones(1000), 1.0, units=33) == (pytest.approx(0.8942, abs=1e-4), 1.0)
    assert metrics.interval(np.zeros(1000), 0.0, units=33) == (0.0, pytest.approx(0.1058, abs=1e-4))
    assert metrics.interval(np.ones(1000), 1.0, units=0) == (1.0, 1.0)


def test_an_auroc_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    truth = 0.7602499389065233  # of two unit normals one standard deviation apart: Phi(1 / sqrt(2))
    positive, group = np.arange(120) < 50, np.arange(120)
    covered = 0
    counts = metrics.resampled_groups(120, 400, seed=0)
    for _ in range(200):
        ranking = Ranking.of(positive, rng.normal(size=120) + positive)
        replicates = metrics.bootstrap(counts, [(lambda w, r=ranking: r.auroc(w)[:, None], group)])
        low, high = metrics.interval(replicates[:, 0], 0.76)
        covered += low <= truth <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_a_thousand_resamples_of_five_thousand_films_take_seconds():
    rng = np.random.default_rng(0)
    ranking = Ranking.of(rng.random(5000) < 0.3, rng.random(5000))
    start = time.process_time()
    counts = metrics.resampled_groups(5000, 1000)
    metrics.bootstrap(counts, [(lambda w: ranking.auroc(w)[:, None], np.arange(5000))])
    assert time.process_time() - start < 5

"""Severity scores: lines recovered from drawn shares, nothing found where nothing is, and files that are refused."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr

from hilum.errors import BundleError, DataError
from hilum.lesions import severity, severity_fitting
from hilum.lesions.severity import RELEASED, TARGETS, ScoreFit, SeverityFit, Target, read_fit, scores_of
from hilum.lesions.severity_fitting import fit_scores
from hilum.lesions.zones import SHARES, ZONES, involved_shares

GROUPS = 60
EXTENT = next(target for target in TARGETS if target.name == "extent")
BRIXIA = next(target for target in TARGETS if target.name == "brixia")
BY_ZONE = next(target for target in TARGETS if target.name == "brixia_zone")


def drawn(seed: int = 0) -> pd.DataFrame:
    """Films of 60 groups, one to three films each, with shares and without scores."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(GROUPS), rng.integers(1, 4, GROUPS))
    table = pd.DataFrame({name: rng.beta(0.8, 1.6, len(group)) for name in SHARES})
    table["group_id"] = [f"g-{number:02d}" for number in group]
    return table.assign(flagged=rng.random(len(group)) < 0.2, refused=pd.Series(pd.NA, table.index, dtype="string"))


def mean_of(table: pd.DataFrame, kind: str, parts: tuple[str, ...]) -> NDArray[np.float64]:
    return table[[f"{kind}_{part}" for part in parts]].to_numpy().mean(axis=1)


def with_extent(table: pd.DataFrame, *, noise: float = 0.3, seed: int = 1) -> pd.DataFrame:
    truth = 0.5 + 6 * mean_of(table, "involved", ("right", "left"))
    scored = truth + np.random.default_rng(seed).normal(0, noise, len(table))
    return table.assign(**{"extent:three readers": scored})


def figure(line: ScoreFit, metric: str, of: str) -> float:
    (found,) = [one.value for one in line.figures if (one.metric, one.of) == (metric, of)]
    return found


FITTED, MEAN = "fitted, against the mean of the readers", "always the mean, against the mean of the readers"


@pytest.fixture(scope="module")
def fit() -> SeverityFit:
    return fit_scores(with_extent(drawn()), "d" * 64, targets=[EXTENT], resamples=100)


def test_a_line_is_recovered_with_its_error_and_the_interval_covers(fit: SeverityFit) -> None:
    (line,) = fit.scores
    assert line.coefficients[0] == pytest.approx(6, rel=0.08)
    assert line.intercept == pytest.approx(0.5, abs=0.2)
    assert figure(line, "mae", FITTED) == pytest.approx(0.3 * np.sqrt(2 / np.pi), rel=0.2)
    assert figure(line, "pearson", FITTED) > 0.93
    assert figure(line, "spearman", FITTED) > 0.9
    assert figure(line, "mae", MEAN) > 3 * figure(line, "mae", FITTED)
    assert 0.84 < figure(line, "covered", "all") <= 0.97
    low, high = next((one.low, one.high) for one in line.figures if (one.metric, one.of) == ("mae", FITTED))
    assert low is not None
    assert high is not None
    assert low < figure(line, "mae", FITTED) < high
    assert line.groups == GROUPS
    assert line.n == len(drawn())


def test_scores_that_belong_to_other_films_are_not_foretold() -> None:
    table = with_extent(drawn())
    shuffled = table["extent:three readers"].to_numpy()[np.random.default_rng(3).permutation(len(table))]
    line = fit_scores(table.assign(**{"extent:three readers": shuffled}), "d", targets=[EXTENT], resamples=20).scores[0]
    found = [one.value for one in line.figures if (one.metric, one.of) == ("pearson", FITTED)]
    assert not found or abs(found[0]) < 0.25
    assert figure(line, "mae", FITTED) == pytest.approx(figure(line, "mae", MEAN), rel=0.08)


def test_more_lesion_never_lowers_a_score() -> None:
    table = drawn()
    falling = table.assign(**{"extent:three readers": 6 - 5 * mean_of(table, "involved", ("right", "left"))})
    line = fit_scores(falling, "d", targets=[EXTENT], resamples=20).scores[0]
    assert line.coefficients == (0.0,)
    assert line.intercept == pytest.approx(falling["extent:three readers"].mean())


def test_a_film_s_scores_have_no_part_in_what_is_foretold_of_its_group() -> None:
    """Every figure rests on this. A change that moves no film to another fold moves the lines of other groups only."""
    table = with_extent(drawn(), noise=1.0)
    column = "extent:three readers"
    highest = table.groupby("group_id")[column].min().idxmax()
    mine = (table["group_id"] == highest).to_numpy()
    changed = table.assign(**{column: table[column] + 3.0 * mine})
    rows, others = (severity_fitting._scored(one, EXTENT) for one in (table, changed))
    before, after = (severity_fitting._out_of_fold(one, EXTENT, 0) for one in (rows, others))
    np.testing.assert_array_equal(before.fold, after.fold)
    np.testing.assert_array_equal(before.line[mine], after.line[mine])
    elsewhere = before.fold != before.fold[mine][0]
    assert (before.line[elsewhere] != after.line[elsewhere]).all()


def test_no_group_is_torn_and_every_row_is_tested_once() -> None:
    rows = severity_fitting._scored(with_extent(drawn()), EXTENT)
    for seed in range(3):
        fold = severity_fitting._folds(rows.truth, rows.group, seed)
        assert set(fold) == set(range(5))
        dealt = pd.Series(fold).groupby(rows.group)
        assert (dealt.min() == dealt.max()).all()


def test_the_order_of_the_films_changes_nothing(fit: SeverityFit) -> None:
    table = with_extent(drawn()).sample(frac=1, random_state=5)
    again = fit_scores(table, "d" * 64, targets=[EXTENT], resamples=100)
    assert again.scores[0].coefficients == pytest.approx(fit.scores[0].coefficients, rel=1e-9)
    assert figure(again.scores[0], "mae", FITTED) == pytest.approx(figure(fit.scores[0], "mae", FITTED), rel=1e-9)


def with_readers(table: pd.DataFrame, apart: float) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    columns: dict[str, Any] = {}
    for zone in ZONES:
        truth = 0.3 + 2 * table[f"involved_{zone}"] + 0.6 * table[f"consolidation_{zone}"]
        for reader in ("senior", "junior"):
            columns[f"brixia:{zone}:{reader}"] = truth + rng.normal(0, apart, len(table))
    for reader in ("senior", "junior"):
        columns[f"brixia:{reader}"] = sum(columns[f"brixia:{zone}:{reader}"] for zone in ZONES)
    return table.assign(**columns)


def test_the_readers_own_agreement_is_told_beside_and_zones_share_a_line() -> None:
    line, zone = fit_scores(with_readers(drawn(), 0.2), "d", targets=[BRIXIA, BY_ZONE], resamples=50).scores
    assert line.coefficients == pytest.approx((12, 3.6), rel=0.25)
    assert zone.coefficients == pytest.approx((2, 0.6), rel=0.15)
    assert zone.n == 6 * line.n
    assert zone.groups == line.groups
    assert figure(line, "mae", "junior, against senior") == pytest.approx(0.2 * np.sqrt(6 * 4 / np.pi), rel=0.2)
    # The mean of both readers is nearer to the truth than either.
    assert figure(line, "mae", FITTED) < figure(line, "mae", "fitted, against senior")
    assert {one.of for one in line.figures} >= {"fitted, films with flagged lungs", "fitted, films without flags"}


def test_an_interval_is_as_wide_as_readers_are_far_at_that_score() -> None:
    table = drawn()
    share = mean_of(table, "involved", ("right", "left"))
    noise = np.random.default_rng(2).normal(0, 0.1 + 1.5 * share)
    line = fit_scores(table.assign(**{"extent:three readers": 1 + 6 * share + noise}), "d", targets=[EXTENT]).scores[0]
    assert line.spread[1] > 0.1
    assert figure(line, "covered", "lowest third foretold") < 0.99
    assert figure(line, "covered", "highest third foretold") > 0.8


def test_what_cannot_be_fitted_to_is_counted_by_reason() -> None:
    table = with_extent(drawn())
    table.loc[:2, list(SHARES)] = np.nan
    table.loc[:1, "refused"] = "no chest"
    table.loc[3, "involved_left"] = np.nan
    table.loc[4, "extent:three readers"] = np.nan
    line = fit_scores(table, "d", targets=[EXTENT], resamples=20).scores[0]
    assert line.left_out == {"no chest": 2, "a lung was not found": 2}
    assert line.n == len(table) - 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop(columns="involved_left"), "lacks the column 'involved_left'"),
        (lambda table: table.drop(columns="extent:three readers"), "lacks the column 'extent:three readers'"),
        (lambda table: table[table["group_id"] < "g-09"], "scored on 9 groups"),
        (lambda table: table.assign(**{"extent:three readers": 3.0}), "the same score on every film"),
    ],
    ids=["share", "reader", "groups", "constant"],
)
def test_a_table_that_cannot_carry_a_fit_is_refused(change: Callable[[pd.DataFrame], pd.DataFrame], said: str) -> None:
    with pytest.raises(DataError, match=said):
        fit_scores(change(with_extent(drawn())), "d", targets=[EXTENT])


def test_agreement_of_a_resample_is_that_of_the_films_written_out() -> None:
    rng = np.random.default_rng(4)
    one, other = rng.integers(0, 6, 40).astype(float), rng.random(40)
    weights = rng.integers(0, 4, (5, 40)).astype(float)
    found = severity_fitting._agreement(one, other, weights)
    for row, counts in zip(found, weights.astype(int), strict=True):
        x, y = np.repeat(one, counts), np.repeat(other, counts)
        wanted = pearsonr(x, y).statistic, spearmanr(x, y).statistic, np.abs(x - y).mean()
        np.testing.assert_allclose(row, wanted, rtol=1e-10)


def test_correlation_with_a_constant_does_not_exist() -> None:
    found = severity_fitting._agreement(np.full(9, 0.1), np.arange(9.0), np.ones((1, 9)))
    assert np.isnan(found[0, :2]).all()
    assert found[0, 2] == pytest.approx((0.1 + sum(range(1, 9)) - 0.8) / 9)


def disc(lung: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """The lowest rows of a lung, as many as hold a share of its pixels."""
    through = np.cumsum(lung.sum(axis=1)[::-1])[::-1]
    return lung & (through <= share * lung.sum())[:, None]


def test_shares_of_drawn_lesions_give_the_extent_they_were_drawn_with() -> None:
    rng = np.random.default_rng(11)
    y, x = np.mgrid[0:1:120j, 0:1:120j]
    right, left = (((x - middle) / 0.18) ** 2 + ((y - 0.5) / 0.4) ** 2 < 1 for middle in (0.27, 0.73))
    rows = []
    for number in range(40):
        one, other = rng.random(2)
        masks = {"ggo": disc(right, one) | disc(left, other), "consolidation": disc(right, one / 3)}
        shares = involved_shares(right, left, masks)
        rows.append({**shares, "group_id": f"g{number // 2}", "extent:three readers": 4 * one + 4 * other})
    table = pd.DataFrame(rows).assign(flagged=False, refused=pd.NA)
    line = fit_scores(table, "d", targets=[EXTENT], resamples=20).scores[0]
    assert figure(line, "mae", FITTED) < 0.1
    assert line.coefficients[0] == pytest.approx(8, rel=0.02)


def line_of(target: Target, **changed: Any) -> dict[str, Any]:
    told = target.model_dump(mode="json") | {
        "coefficients": [10.0] * len(target.kinds),
        "intercept": 1.0,
        "spread": [0.5, 0.1],
        "residuals": [-2.0, 3.0],
        "penalty": 0.1,
        "n": 30,
        "groups": 20,
        "left_out": {},
        "figures": [],
    }
    return told | changed


def made(*lines: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {"format": 1, "bundle_digest": "d" * 64, "scores": list(lines), "provenance": {}} | changed


def test_a_score_is_its_line_within_what_is_possible() -> None:
    fit = SeverityFit.model_validate_json(json.dumps(made(line_of(EXTENT))))
    shares = dict.fromkeys(SHARES, 0.0) | {"involved_right": 0.5, "involved_left": 0.1}
    (score,) = scores_of(shares, "d" * 64, fit=fit)
    assert score.value == pytest.approx(1 + 10 * 0.3)
    assert score.low == pytest.approx(4 - 2 * 0.9)
    assert score.high == pytest.approx(4 + 3 * 0.9)
    assert (score.name, score.lowest, score.highest) == ("extent", 0, 8)
    (score,) = scores_of(dict.fromkeys(SHARES, 0.9), "d" * 64, fit=fit)
    assert score.value == score.high == 8
    assert score.low == pytest.approx(8 - 2 * 1.3)


def test_zones_are_scored_one_by_one_and_what_is_not_there_is_not() -> None:
    fit = SeverityFit.model_validate_json(json.dumps(made(line_of(BY_ZONE), line_of(EXTENT))))
    shares = dict.fromkeys(SHARES, 0.01) | {f"{kind}_D": np.nan for kind in ("involved", "consolidation")}
    shares["involved_left"] = np.nan
    scores = scores_of(shares, "d" * 64, fit=fit)
    assert [score.name for score in scores] == [f"brixia_zone_{zone}" for zone in "ABCEF"]
    assert all(score.value == pytest.approx(1.2) for score in scores)


def test_a_fit_of_another_bundle_says_nothing(fit: SeverityFit) -> None:
    shares = dict.fromkeys(SHARES, 0.5)
    assert scores_of(shares, "e" * 64, fit=fit) == ()
    assert len(scores_of(shares, "d" * 64, fit=fit)) == 1
    with pytest.raises(DataError, match="involved_right"):
        scores_of({"involved_left": 0.5}, "d" * 64, fit=fit)


def test_without_a_fit_there_are_no_scores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(severity, "RELEASED", tmp_path / "severity.json")
    severity._released.cache_clear()
    try:
        assert scores_of(dict.fromkeys(SHARES, 0.5), "d" * 64) == ()
    finally:
        severity._released.cache_clear()


def test_a_fit_is_read_back_as_it_was_written(fit: SeverityFit, tmp_path: Path) -> None:
    path = tmp_path / "severity.json"
    path.write_text(fit.model_dump_json(), encoding="utf-8")
    assert read_fit(path) == fit


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ('{"format": 1, ', "not readable JSON"),
        ("[1]", "of format None"),
        (json.dumps(made(line_of(EXTENT), format=2)), "of format 2"),
        (json.dumps(made(line_of(EXTENT), more=1)), "wrong: more"),
        (json.dumps(made()), "wrong: scores"),
        (json.dumps(made(line_of(EXTENT, coefficients=[1.0, 2.0]))), "wrong: scores.0"),
        (json.dumps(made(line_of(EXTENT, coefficients=[-1.0]))), "wrong: scores.0"),
        (json.dumps(made(line_of(EXTENT, coefficients=[]))), "wrong: scores.0"),
        (json.dumps(made(line_of(EXTENT, intercept=float("nan")))), "wrong: scores.0.intercept"),
        (json.dumps(made(line_of(EXTENT, residuals=[2.0, 1.0]))), "wrong: scores.0"),
        (json.dumps(made(line_of(EXTENT, kinds=["fluid"]))), "wrong: scores.0"),
        (json.dumps(made(line_of(EXTENT, lowest=9))), "wrong: scores.0"),
    ],
    ids=[
        *("cut", "list", "format", "key", "none", "coefficients", "negative"),
        *("no-coefficient", "nan", "residuals", "kinds", "range"),
    ],
)
def test_a_damaged_file_is_refused(told: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "severity.json"
    path.write_text(told, encoding="utf-8")
    with pytest.raises(BundleError, match=said):
        read_fit(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        read_fit(tmp_path / "none.json")


@pytest.mark.skipif(not RELEASED.is_file(), reason="no severity fit comes with this hilum")
def test_the_fit_that_comes_with_hilum_belongs_to_its_bundle() -> None:
    bundle = RELEASED.parents[1] / "bundles" / "lesions" / "bundle.json"
    fit = read_fit()
    assert fit.bundle_digest == json.loads(bundle.read_text(encoding="utf-8"))["digest"]
    assert [line.name for line in fit.scores] == [target.name for target in TARGETS]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    pytest.importorskip("torch", reason="needs the extra hilum[train]")
    path = Path(__file__).parents[1] / "scripts" / "fit_severity.py"
    spec = importlib.util.spec_from_file_location("fit_severity", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def both_sets() -> pd.DataFrame:
    """Films of both sets: a is in fold 0 of covid_seg, b in fold 3, c in neither."""
    rows = [("covid_seg/a", "g-a"), ("covid_seg/b", "g-b")]
    rows += [(f"covid_chestxray/{name}", f"g-{name[0]}") for name in ("a", "a2", "b", "c")]
    table = pd.DataFrame(rows, columns=["image_id", "group_id"], dtype="string")
    return table.assign(source=table["image_id"].str.split("/").str[0])


def test_a_film_is_drawn_by_the_network_that_has_not_seen_its_group(script: ModuleType, tmp_path: Path) -> None:
    films = both_sets()
    folds = pd.DataFrame({"image_id": ["covid_seg/a", "covid_seg__b"], "fold": [0, 3]})
    folds.to_parquet(tmp_path / "films.parquet")
    outlined = films["source"] == "covid_seg"
    scored = films[~outlined].reset_index(drop=True)
    assert script.networks(scored, films[outlined], tmp_path).tolist() == ["fold0", "fold0", "fold3", "final"]


@pytest.mark.parametrize(
    ("folds", "said"),
    [({"covid_seg/a": 0}, "no fold for 1 films"), ({"covid_seg/a": 0, "covid_seg/b": 3}, "1 groups have films in two")],
    ids=["missing", "torn"],
)
def test_folds_that_leak_are_refused(script: ModuleType, tmp_path: Path, folds: dict[str, int], said: str) -> None:
    films = both_sets().assign(group_id="g-a")
    pd.DataFrame({"image_id": list(folds), "fold": list(folds.values())}).to_parquet(tmp_path / "films.parquet")
    with pytest.raises(DataError, match=said):
        script.networks(films, films[films["source"] == "covid_seg"], tmp_path)

"""Comparisons: what is planned, that finished runs are left alone, and that differences are paired."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from typer.testing import CliRunner

from hilum import metrics, scoring
from hilum.cli import app
from hilum.compare import (
    MEASURES,
    Comparison,
    Seeds,
    Variant,
    as_dict,
    comparison_table,
    difference_text,
    judge_runs,
    parse_vary,
    plan_variants,
    train_variants,
)
from hilum.errors import DataError, UsageError
from hilum.fitting import Fitter
from hilum.index import Index
from hilum.recipe import parse_recipe
from hilum.run import Run
from hilum.scoring import Predicted

Make = Callable[..., Comparison]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def recipe(folder: Path, tiny_recipe: str) -> Path:
    """The tiny recipe with two divisions, as a file."""
    file = folder / "tiny.toml"
    file.write_text(tiny_recipe.replace("folds = 3", "folds = 2"), encoding="utf-8")
    return file


def write_like(recipe: Path, name: str, *changes: tuple[str, str]) -> Path:
    """Another recipe beside `recipe`, with pieces of its text replaced."""
    text = recipe.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = recipe.with_name(f"{name}.toml")
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def make(folder: Path, drawn: Index) -> Make:
    """Plans, trains on the drawn films and judges; runs of the same name are shared by the tests of this module."""

    def made(*recipes: Path, vary: Mapping[str, tuple[str, ...]] | None = None, own_splits: bool = False) -> Comparison:
        variants = plan_variants([str(path) for path in recipes], vary, own_splits=own_splits)
        runs = train_variants(variants, None, folder, given=drawn, processes=1)
        return judge_runs(variants, runs)

    return made


@pytest.fixture(scope="module")
def compared(make: Make, recipe: Path) -> Comparison:
    return make(recipe, vary={"network.pooling": ("avg", "grid3")})


def test_every_combination_is_planned_under_a_name_a_folder_can_have(recipe: Path) -> None:
    vary = parse_vary(["network.pooling=avg,grid3", 'network.weights="random","file:a/b.pth"', "schedule.seed=0,1"])
    variants = plan_variants([str(recipe)], vary)
    assert len({variant.name for variant in variants}) == 8
    assert variants[0].name == "tiny_pooling=avg_weights=-random-_seed=0"
    assert variants[0].says == 'pooling = avg, weights = "random", seed = 0'
    assert not any("/" in variant.name for variant in variants)
    last = parse_recipe(variants[-1].text)
    assert (last.network.pooling, last.network.weights, last.schedule.seed) == ("grid3", "file:a/b.pth", 1)


def test_a_part_is_varied_as_a_whole(recipe: Path) -> None:
    flipped = write_like(recipe, "flipped", ("[schedule]", "[augmentation]\nbrightness = 0.2\n\n[schedule]"))
    on, off = plan_variants([str(flipped)], parse_vary(["augmentation=on,off"]))
    assert parse_recipe(on.text).augmentation.brightness == 0.2
    assert parse_recipe(off.text).augmentation.changes_nothing


def test_all_runs_have_the_first_one_s_split_unless_told(recipe: Path) -> None:
    other = write_like(recipe, "other", ('method = "kfold"\nfolds = 2', "test = 0.3\nseeds = [4]"))
    with pytest.raises(UsageError, match=r"say the same, given the first one's split \(see --own-splits\)"):
        plan_variants([str(recipe), str(other)])
    other = write_like(other, "shorter", ("epochs = 6", "epochs = 5"))
    first, second = plan_variants([str(recipe), str(other)])
    assert parse_recipe(second.text).split == parse_recipe(first.text).split
    assert first.text == recipe.read_text(encoding="utf-8")
    _, own = plan_variants([str(recipe), str(other)], own_splits=True)
    assert parse_recipe(own.text).split.seeds == (4,)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (["network.pooling"], "--vary takes KEY=A,B"),
        (["=a,b"], "--vary takes KEY=A,B"),
        (["schedule.seed="], "--vary takes KEY=A,B"),
        (["schedule.seed=0,,1"], "--vary takes KEY=A,B"),
        (['network.weights="a,b'], "--vary takes KEY=A,B"),
        (["network.hidden=[8,9"], "--vary takes KEY=A,B"),
        (["schedule.seed=0,1", "schedule.seed=2"], "names 'schedule.seed' twice; give all its values at once"),
        (["schedule.seed=0,0"], "has a value twice: 0,0"),
    ],
    ids=["no values", "no key", "empty", "gap", "open quote", "open bracket", "key twice", "value twice"],
)
def test_a_wrong_vary_is_refused(told: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        parse_vary(told)


def test_what_is_no_comparison_is_refused(recipe: Path, tmp_path: Path) -> None:
    name = str(recipe)
    elsewhere = tmp_path / "TINY.toml"
    elsewhere.write_text(recipe.read_text(encoding="utf-8").replace("epochs = 6", "epochs = 5"), encoding="utf-8")
    for recipes, vary, sentence in (
        ([name], {}, "one run is no comparison; name a second recipe, or vary this one"),
        ([name], {"schedule.seed": ("1",)}, "one run is no comparison"),
        ([name, name], {}, "is listed twice; list it once and say what differs with --vary"),
        ([name, str(elsewhere)], {}, "two runs would be called 'tiny'"),
        ([name], {"augmentation": ("on", "off")}, "would be the same run: their recipes say the same$"),
        ([name], {"network.poling": ("avg", "max")}, r"unknown key 'network.poling'; did you mean 'pooling'\?"),
        ([name, "no-such-recipe"], {}, "unknown recipe 'no-such-recipe'"),
    ):
        with pytest.raises(UsageError, match=sentence) as refused:
            plan_variants(recipes, vary)
        assert "\n" not in str(refused.value)


def test_the_table_holds_what_the_runs_hold(compared: Comparison) -> None:
    table = comparison_table(compared)
    assert table["run"].tolist() == ["tiny_pooling=avg", "tiny_pooling=grid3"]
    assert table["varied"].tolist() == ["network.pooling = avg", "network.pooling = grid3"]
    for row, (_, told) in zip(compared.rows, table.iterrows(), strict=True):
        scores = {(s.metric, s.label): s for s in row.evaluation.scores if not (s.source or s.subgroup or s.at)}
        assert told["accuracy"] == scores["accuracy", None].value
        assert told["auroc_low"] == scores["auroc", "patch"].low
        floors = {floor.metric: floor.value for floor in row.evaluation.floors}
        assert told["floor"] == floors[f"floor.{told['floor_name']}"] == max(filter(None, floors.values()))
        lowest = row.run.history.groupby("division")["tune_loss"].min()
        assert told["tune_loss"] == pytest.approx(lowest.mean())
    assert table["chosen_on_tune"].tolist() == [run == compared.chosen for run in table["run"]]
    assert table.loc[table["chosen_on_tune"], "tune_loss"].item() == table["tune_loss"].min()
    assert (table["parameters"] > table["trained_parameters"]).all()
    assert table["trained_parameters"][1] > table["trained_parameters"][0]  # nine cells of the map, not their mean
    assert set(table["weights"].str.partition(":")[0]) == {"random"}


def test_the_json_is_json(compared: Comparison) -> None:
    told = json.loads(json.dumps(as_dict(compared), allow_nan=False))
    assert [run["varied"] for run in told["runs"]] == [{"network.pooling": "avg"}, {"network.pooling": "grid3"}]
    assert told["chosen_on_tune"] == compared.chosen


def test_a_second_comparison_redoes_nothing_and_goes_on(
    make: Make, recipe: Path, compared: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[Any] = []
    fit = Fitter.fit

    def counted(self: Fitter, split: Any, **told: Any) -> Any:
        fits.append(self.recipe.network.pooling)
        return fit(self, split, **told)

    monkeypatch.setattr(Fitter, "fit", counted)
    again = make(recipe, vary={"network.pooling": ("avg", "grid3")})
    assert not fits
    assert as_dict(again) == as_dict(compared)
    more = make(recipe, vary={"network.pooling": ("avg", "max")})
    assert set(fits) == {"max"}
    assert len(more.rows) == 2


def test_a_run_that_fails_is_named_and_the_finished_stay(recipe: Path, drawn: Index, tmp_path: Path) -> None:
    strange = write_like(recipe, "strange", ('plain = ["plain"]', 'plain = ["nodule"]'))
    variants = plan_variants([str(recipe), str(strange)])
    with pytest.raises(UsageError, match=r"^run strange: unknown label"):
        train_variants(variants, None, tmp_path, given=drawn, processes=1)
    assert Run(tmp_path / "runs" / "tiny").evaluation.n_films == 48


def test_no_films_are_said_with_the_run(recipe: Path, drawn: Index, tmp_path: Path) -> None:
    slices = write_like(recipe, "slices", ("[classes]", '[films]\nmodality = "CT"\n\n[classes]'))
    with pytest.raises(DataError, match=r"^run slices: "):
        train_variants(plan_variants([str(slices), str(recipe)]), None, tmp_path, given=drawn, processes=1)


def test_stages_are_told_with_the_number_of_their_run(recipe: Path, drawn: Index, tmp_path: Path) -> None:
    stages: list[str] = []

    def watch(stage: str) -> Any:
        stages.append(stage)
        raise DataError("stop here")

    variants = plan_variants([str(recipe)], {"schedule.seed": ("0", "1")})
    with pytest.raises(DataError, match="stop here"):
        train_variants(variants, None, tmp_path, given=drawn, processes=1, watch=watch)
    assert stages == ["1/2 decode films"]


def test_the_same_predictions_differ_by_exactly_nothing(make: Make, recipe: Path) -> None:
    renamed = write_like(recipe, "renamed", ('title = "Drawn films"', 'title = "The same under another name"'))
    comparison = make(recipe, renamed)
    first, other = comparison.rows
    assert first.differences is None
    assert first.apart == "the first run"
    assert other.differences is not None
    for measure in MEASURES:
        score = other.differences[measure]
        assert (score.value, score.low, score.high) == (0.0, 0.0, 0.0)
    assert difference_text(other) == "0.000 [0.000, 0.000]"


def predicted(right: list[bool], group: list[int]) -> Predicted:
    """Two classes in turn, each film called rightly or wrongly with the same confidence."""
    target = np.arange(len(right)) % 2
    called = np.where(right, target, 1 - target)
    p = np.where(np.eye(2)[called] > 0, 0.8, 0.2)
    return Predicted("test", ("a", "b"), target, np.array(group), ((np.arange(len(right)), p),))


def test_a_difference_is_taken_on_the_same_resamples_of_the_same_groups() -> None:
    group = [0, 0, 1, 1, 2, 3, 4, 5]
    right = np.array([1, 0, 1, 1, 0, 1, 0, 1], dtype=bool)
    better = np.array([1, 1, 1, 1, 0, 1, 1, 0], dtype=bool)
    counts = metrics.resampled_groups(6, 500, seed=3)
    scores = scoring.paired(predicted([*right], group), predicted([*better], group), counts)
    accuracy = scoring.find_score(scores, "accuracy")
    assert accuracy is not None
    assert accuracy.value == pytest.approx((better.sum() - right.sum()) / 8)
    by_hand = []
    for drawn_groups in counts:
        films = np.repeat(np.arange(8), drawn_groups[group])
        by_hand.append(better[films].mean() - right[films].mean())
    assert (accuracy.low, accuracy.high) == pytest.approx(tuple(np.quantile(by_hand, (0.025, 0.975))))


def test_only_the_same_films_can_be_paired() -> None:
    one = predicted([True, False, True, False], [0, 1, 2, 3])
    for other in (
        predicted([True, False], [0, 1]),
        predicted([True, False, True, False], [0, 1, 2, 2]),
        dataclasses.replace(one, classes=("b", "a")),
    ):
        with pytest.raises(ValueError, match="same films, classes and groups"):
            scoring.paired(one, other, metrics.resampled_groups(4, 100))


def test_other_films_and_other_classes_are_said_instead_of_a_difference(make: Make, recipe: Path) -> None:
    fewer = write_like(recipe, "fewer", ('method = "kfold"\nfolds = 2', "test = 0.3"))
    turned = write_like(
        recipe, "turned", ('patch = ["patch"]\nplain = ["plain"]', 'plain = ["plain"]\npatch = ["patch"]')
    )
    comparison = make(recipe, fewer, turned, own_splits=True)
    assert [row.apart for row in comparison.rows] == ["the first run", "tested on other films", "other classes"]
    assert comparison.chosen is None
    assert any("Not paired with the first run: fewer (tested on other films)" in note for note in comparison.notes)
    assert any("optimistic" in note for note in comparison.notes)
    assert difference_text(comparison.rows[1]) == "tested on other films"
    assert pd.isna(comparison_table(comparison)["auroc_difference"]).all()


def test_losses_that_are_weighed_differently_choose_nothing(make: Make, recipe: Path) -> None:
    unweighed = write_like(recipe, "unweighed", ("epochs = 6", 'epochs = 6\nclass_weights = "none"'))
    comparison = make(recipe, unweighed)
    assert comparison.chosen is None
    assert any("schedule.class_weights differs" in note for note in comparison.notes)


def test_seeds_are_summarised_over_runs_alike_in_all_else(make: Make, recipe: Path, compared: Comparison) -> None:
    assert compared.seeds == ()
    again = write_like(recipe, "again", ("epochs = 6", "epochs = 6\nseed = 5"))
    comparison = make(recipe, again)
    (spread,) = comparison.seeds
    assert (spread.runs, spread.seeds) == (("tiny", "again"), (0, 5))
    assert comparison.name_of(spread) == "tiny, again"
    for measure in MEASURES:
        values = [row.scores[measure].value for row in comparison.rows]
        assert spread.mean[measure] == pytest.approx(np.mean(values))
        assert spread.deviation[measure] == pytest.approx(np.std(values, ddof=1))


def test_runs_of_several_seeds_are_called_by_what_they_share(compared: Comparison) -> None:
    variants = [
        Variant(f"{pooling}-{seed}", "tiny", "", {"network.pooling": pooling, "schedule.seed": seed})
        for pooling in ("avg", "grid3")
        for seed in "01"
    ]
    rows = [dataclasses.replace(compared.rows[0], variant=variant) for variant in variants]
    comparison = dataclasses.replace(compared, rows=tuple(rows))
    assert comparison.names["avg-1"] == "pooling = avg, seed = 1"
    spread = Seeds(runs=("grid3-0", "grid3-1"), seeds=(0, 1), mean={}, deviation={})
    assert comparison.name_of(spread) == "pooling = grid3"


def test_the_command_compares_and_tells_machines(
    recipe: Path, drawn: Index, folder: Path, compared: Comparison, tmp_path: Path
) -> None:
    drawn.save(tmp_path / "index.parquet")
    words = ["compare", str(recipe), "--vary", "network.pooling=avg,grid3", "--out", str(folder), "--processes", "1"]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, UsageError)
    assert str(refused.exception) == "say where the films are: --root DATA, or --index FILE"
    words += ["--index", str(tmp_path / "index.parquet")]
    told = CliRunner().invoke(app, words, catch_exceptions=False)
    assert told.exit_code == 0
    for said in ("pooling = grid3", "difference to", "tune loss", "comparison.html", "not a diagnostic device"):
        assert said in " ".join(told.stdout.split())
    assert {"runs", "comparison.csv", "comparison.html"} <= {path.name for path in folder.iterdir()}
    again = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert [run["run"] for run in again["runs"]] == ["tiny_pooling=avg", "tiny_pooling=grid3"]

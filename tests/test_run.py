import json
import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hilum.bundle import MANIFEST, WEIGHTS, load_bundle
from hilum.bundle.exporting import try_export
from hilum.errors import DataError, UsageError
from hilum.fitting import DONE, Fitter
from hilum.index import Index
from hilum.parallel import spread
from hilum.recipe import parse_recipe, shipped
from hilum.report.pages import write_run_report
from hilum.run import REFIT, Run, evaluate_elsewhere, find_recipe, measure_floors, seen_in_training, train_run
from hilum.run.training import thumbnails
from hilum.selection import TARGET
from hilum.train import fit_heads


def _train(text: str, out: Path, given: Index, **told: Any) -> Run:
    return train_run(text, None, out, given=given, processes=1, **told)


@pytest.fixture
def begun(finished: Path, tmp_path: Path) -> Path:
    """A finished run, ready to lose files."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the divisions fitted."""
    names: list[str] = []
    fit = Fitter.fit

    def counted(self: Fitter, split: Any, **told: Any) -> Any:
        names.append(split.name)
        return fit(self, split, **told)

    monkeypatch.setattr(Fitter, "fit", counted)
    return names


def test_a_run_leaves_what_its_docstring_says(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        *("recipe.toml", "index.parquet", "splits", "divisions", "predictions.parquet"),
        *("evaluation.json", "scores.csv", "bundle", "run.json"),
    }
    assert not list(finished.rglob(".*"))
    assert not list((finished / "divisions").rglob("*.safetensors"))


def test_every_film_is_tested_once_and_never_by_a_network_that_saw_its_group(finished: Path) -> None:
    run = Run(finished)
    predictions, films = run.predictions, run.index.films
    assert sorted(predictions["image_id"]) == sorted(films["image_id"])
    assert len(run.splits) == 3
    for split in run.splits:
        table = split.table
        tested = set(table["image_id"][table["fold"] == "test"])
        mine = predictions[predictions["division"] == str(split.number)]
        assert set(mine["image_id"]) == tested
        assert not set(table["group_id"][table["fold"] == "test"]) & set(table["group_id"][table["fold"] == "train"])


def test_a_planted_patch_is_found_and_the_floor_stands_beside_it(finished: Path) -> None:
    evaluation = Run(finished).evaluation
    auroc = next(s for s in evaluation.scores if s.metric == "auroc" and s.fold == "test")
    assert auroc.value is not None
    assert auroc.value > 0.85
    assert {score.metric for score in evaluation.floors} >= {"floor.header", "floor.thumbnail"}
    assert evaluation.index_digest == Run(finished).index.digest


def test_the_account_tells_how_it_came_to_be(finished: Path) -> None:
    run = Run(finished)
    told = run.account
    assert told["recipe_digest"] == run.recipe.digest
    assert told["index_digest"] == run.index.digest
    assert told["weights"]["kind"] == "random"
    assert {"torch", "timm", "hilum"} <= set(told["versions"])
    assert set(told["seconds"]) == {"index", "decode", "features", "train", "evaluate", "bundle", "export", "reference"}
    history = run.history
    assert set(history["division"]) == {0, 1, 2}
    assert (history.groupby("division")["epoch"].max() >= 1).all()


def test_a_run_exports_its_bundle(
    tmp_path: Path, drawn: Index, tiny_recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.run.training.try_export", try_export)
    run = train_run(tiny_recipe, None, tmp_path / "run", given=drawn, processes=1)
    assert (run.folder / "bundle" / "network.onnx").is_file()
    assert "not_exported" not in run.account
    assert load_bundle(run.folder).engine.name == "onnx"


def test_a_run_that_is_only_scored_is_not_made_ready_for_use(tmp_path: Path, drawn: Index, tiny_recipe: str) -> None:
    run = train_run(tiny_recipe, None, tmp_path / "run", given=drawn, processes=1, for_use=False)
    assert {"export", "reference"}.isdisjoint(run.account["seconds"])
    assert not (run.folder / "bundle" / "reference.safetensors").exists()
    assert run.evaluation.n_films == 48


def test_a_finished_run_returns_at_once(finished: Path, drawn: Index, tiny_recipe: str, fits: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != "recipe.toml"}
    run = _train(tiny_recipe, finished, drawn, watch=lambda _stage: pytest.fail("did something"))
    assert not fits
    assert run.evaluation.n_films == 48
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_recipe_in_the_same_folder_is_refused(finished: Path, drawn: Index, tiny_recipe: str) -> None:
    with pytest.raises(UsageError, match="holds a run of another recipe; choose another --out"):
        _train(tiny_recipe.replace("epochs = 6", "epochs = 7"), finished, drawn)


def test_other_films_in_the_same_folder_are_refused(finished: Path, drawn: Index, tiny_recipe: str) -> None:
    fewer = drawn.leave_out(drawn.table["image_id"] == "drawn/003", "for the test")
    with pytest.raises(UsageError, match="holds a run on other films"):
        _train(tiny_recipe, finished, fewer)


LAST = ("run.json",)
STAGES = {
    "account": (LAST, []),
    "bundle": ((*LAST, "bundle"), [REFIT]),
    "evaluation": ((*LAST, "bundle", "evaluation.json", "predictions.parquet"), [REFIT]),
    "one division": ((*LAST, "bundle", "divisions/seed-0-fold-1"), ["1", REFIT]),
    "half a division": ((*LAST, f"divisions/seed-0-fold-2/{DONE}"), ["2", REFIT]),
    "all divisions": ((*LAST, "divisions"), ["0", "1", "2", REFIT]),
    "one split": ((*LAST, "splits/seed-0-fold-1.csv", "divisions/seed-0-fold-1"), ["1", REFIT]),
    "index": ((*LAST, "index.parquet", "splits", "divisions"), ["0", "1", "2", REFIT]),
}


@pytest.mark.parametrize("stage", STAGES)
def test_an_interrupted_run_goes_on_where_it_was(
    begun: Path, finished: Path, drawn: Index, tiny_recipe: str, fits: list[str], stage: str
) -> None:
    lost, redone = STAGES[stage]
    for name in lost:
        path = begun / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run = _train(tiny_recipe, begun, drawn)
    # The refit's weights went into the bundle when the run had finished: without an account they are made again.
    assert fits == [f"seed-0-fold-{name}" for name in redone or [REFIT]]
    pd.testing.assert_frame_equal(run.predictions, Run(finished).predictions)
    one, other = load_bundle(begun), load_bundle(finished)
    frames = np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8)
    assert np.array_equal(one.logits(frames), other.logits(frames))


class _Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3, 4])
def test_a_run_killed_while_training_keeps_what_was_done(
    drawn: Index, tiny_recipe: str, tmp_path: Path, fits: list[str], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    headed: list[int] = []

    def counted(tasks: Any) -> Any:
        headed.append(len(tasks))
        return fit_heads(tasks)

    def killed(self: Fitter, split: Any, **told: Any) -> Any:
        if len(fits) >= after - 1:
            raise _Killed
        return counted_fit(self, split, **told)

    counted_fit = Fitter.fit
    monkeypatch.setattr("hilum.fitting.fit_heads", counted)
    with monkeypatch.context() as patched:
        patched.setattr(Fitter, "fit", killed)
        with pytest.raises(_Killed):
            _train(tiny_recipe, tmp_path, drawn)
    assert not (tmp_path / "run.json").exists()
    with pytest.raises(UsageError, match=r"not finished: .* is missing; continue it with: hilum train"):
        _ = Run(tmp_path).predictions
    done = fits[: after - 1]
    assert len(list((tmp_path / "divisions").glob(f"*/{DONE}"))) == len(done)
    fits.clear()
    run = _train(tiny_recipe, tmp_path, drawn)
    assert not set(fits) & set(done)
    assert len(done) + len(fits) == 4
    assert headed == [4, 4 - len(done)], "the heads of a run are fitted in one pass, and only those not done"
    assert len(run.predictions) == 48


def test_a_run_killed_while_evaluating_trains_nothing_again(
    drawn: Index, tiny_recipe: str, tmp_path: Path, fits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise _Killed

    for stage in ("evaluate", "save_bundle"):
        with monkeypatch.context() as patched:
            patched.setattr(f"hilum.run.training.{stage}", killed)
            with pytest.raises(_Killed):
                _train(tiny_recipe, tmp_path, drawn)
        assert (tmp_path / "divisions" / f"seed-0-fold-{REFIT}" / WEIGHTS).is_file()
    assert len(fits) == 4
    _train(tiny_recipe, tmp_path, drawn)
    assert len(fits) == 4


def test_a_recipe_repeated_from_the_bundle_alone_predicts_the_same(
    finished: Path, drawn: Index, tmp_path: Path
) -> None:
    alone = Path(shutil.copytree(finished / "bundle", tmp_path / "bundle"))
    run = _train(find_recipe(str(alone)), tmp_path / "again", drawn)
    assert run.recipe == Run(finished).recipe
    pd.testing.assert_frame_equal(run.predictions, Run(finished).predictions)
    told = [json.loads((folder / MANIFEST).read_text())["files"] for folder in (alone, tmp_path / "again" / "bundle")]
    assert told[0] == told[1]


def test_recipes_are_found_by_name_file_run_and_bundle(finished: Path, tiny_recipe: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(tiny_recipe)
    for name in (str(tmp_path / "mine.toml"), str(finished), str(finished / "bundle")):
        assert parse_recipe(find_recipe(name)) == parse_recipe(tiny_recipe)
    for name in shipped():
        assert parse_recipe(find_recipe(name)).title
    with pytest.raises(UsageError, match="unknown recipe 'demoo'; did you mean 'demo'"):
        find_recipe("demoo")
    with pytest.raises(UsageError, match=r"gone\.toml does not exist"):
        find_recipe(str(tmp_path / "gone.toml"))


def test_a_folder_without_a_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no run: it has no recipe\.toml; make one with: hilum train"):
        _ = Run(tmp_path).recipe


def test_a_recipe_without_sources_asks_for_an_index(tiny_recipe: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give an index of your films with --index FILE"):
        train_run(tiny_recipe, tmp_path, tmp_path / "run")


def test_one_division_needs_no_refit(
    drawn: Index, tiny_recipe: str, tmp_path: Path, fits: list[str], finished: Path
) -> None:
    run = _train(tiny_recipe.replace('"kfold"\nfolds = 3', '"fractions"'), tmp_path, drawn)
    assert fits == ["seed-0-fold-0"]
    assert set(run.predictions["fold"]) == {"test"}
    assert not list((tmp_path / "splits").glob("*refit*"))
    assert list((finished / "splits").glob("*refit*"))


def test_a_run_on_bfloat16_vectors_says_what_that_did_to_its_tune_fold(
    drawn: Index, tiny_recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tiny_recipe.replace('method = "kfold"\nfolds = 3', 'method = "fractions"\ntest = 0.25')
    text = text.replace('optimiser = "lbfgs"', 'optimiser = "lbfgs"\nprecision = "bfloat16"')
    run = _train(text, tmp_path / "a", drawn, for_use=False)
    told = run.account["bfloat16_vectors"]
    assert told["films"] == len(run.splits[0].rows("tune"))
    assert 0 < told["median_difference"] <= told["largest_difference"] < 0.05
    assert told["within_limits"]
    history = pd.read_csv(next(run.folder.glob("divisions/*/history.csv")))
    best = history.loc[history["tune_loss"].idxmin()]
    assert told["tune_accuracy"]["float32"] == pytest.approx(best["tune_accuracy"])
    assert told["tune_loss"]["bfloat16"] != told["tune_loss"]["float32"]
    assert "notes" not in run.account
    assert "Bfloat16 vectors" in write_run_report(run).read_text(encoding="utf-8")
    monkeypatch.setattr("hilum.train.halving.MEDIAN", 1e-9)
    [note] = _train(text, tmp_path / "b", drawn, for_use=False).account["notes"]
    assert "vectors in bfloat16" in note


def test_two_seeds_test_every_film_twice(drawn: Index, tiny_recipe: str, tmp_path: Path) -> None:
    run = _train(tiny_recipe.replace("folds = 3", "folds = 2\nseeds = [0, 1]"), tmp_path, drawn)
    assert run.predictions.groupby("repeat").size().to_dict() == {0: 48, 1: 48}
    assert run.evaluation.n_repeats == 2


def test_held_out_sources_are_scored_apart(
    drawn: Index, draw_index: Callable[..., Index], tiny_recipe: str, tmp_path: Path
) -> None:
    other = draw_index(drawn.root, 12, first_seed=500, source="elsewhere")
    both = Index(pd.concat([drawn.table, other.table], ignore_index=True), drawn.root)
    run = _train(tiny_recipe.replace("folds = 3", 'folds = 3\nhold_out_sources = ["elsewhere"]'), tmp_path, both)
    outside = run.predictions[run.predictions["fold"] == "external"]
    assert sorted(outside["image_id"]) == sorted(other.films["image_id"])
    assert any(score.fold == "external" for score in run.evaluation.scores)
    trained = pd.concat([split.table for split in run.splits])
    assert set(trained["fold"][trained["image_id"].str.startswith("elsewhere")]) == {"external"}


def test_floors_see_the_same_folds(finished: Path) -> None:
    run = Run(finished)
    films = run.index.films
    told = measure_floors(run.recipe, films, _NoFrames(len(films)), run.splits)  # type: ignore[arg-type]
    thumbnail = next(score for score in told if score.metric == "floor.thumbnail")
    assert thumbnail.value == pytest.approx(0.5, abs=0.1)  # black frames tell nothing
    assert thumbnail.n == 48
    assert measure_floors(run.recipe, films, _NoFrames(len(films)), []) == ()  # type: ignore[arg-type]


class _NoFrames:
    """Black frames."""

    def __init__(self, films: int) -> None:
        self.films = films

    def __len__(self) -> int:
        return self.films

    def __getitem__(self, part: slice) -> np.ndarray[Any, Any]:
        return np.zeros((len(range(*part.indices(self.films))), 64, 64), np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_thumbnails_are_eight_bit_means(dtype: type) -> None:
    top = np.iinfo(dtype).max
    frames = np.zeros((5, 64, 64), dtype)
    frames[3, :32] = top
    small = thumbnails(frames, at_once=2)  # type: ignore[arg-type]
    assert small.shape == (5, 32, 32)
    assert small.dtype == np.uint8
    assert (small[3, :16] == 255).all()
    assert not small[[0, 1, 2, 4]].any()
    assert not small[3, 16:].any()


# Films from elsewhere.


def test_films_of_other_people_are_scored(finished: Path, draw_index: Callable[..., Index], tmp_path: Path) -> None:
    other = draw_index(tmp_path, 16, first_seed=900, source="other")
    evaluation, left_out = evaluate_elsewhere(Run(finished), other)
    assert evaluation.n_films == 16
    assert left_out.empty
    assert {score.fold for score in evaluation.scores if score.fold} == {"external"}
    assert evaluation.bundle_digest == load_bundle(finished).digest
    auroc = next(score for score in evaluation.scores if score.metric == "auroc")
    assert auroc.value is not None
    assert auroc.value > 0.8


def test_films_seen_in_training_are_left_out(
    finished: Path, drawn: Index, draw_index: Callable[..., Index], tmp_path: Path
) -> None:
    other = draw_index(tmp_path, 14, first_seed=900, source="other").table
    known = drawn.table.iloc[:3].reset_index(drop=True)
    other.loc[0, "sha256"] = known.loc[0, "sha256"]
    other.loc[1, "phash"] = known.loc[1, "phash"]
    other.loc[2, ["source", "patient_id"]] = ["drawn", known.loc[2, "patient_id"]]
    other.loc[3, "patient_id"] = known.loc[2, "patient_id"]  # of another source: another person
    evaluation, left_out = evaluate_elsewhere(Run(finished), Index(other, tmp_path))
    assert evaluation.n_films == 11
    assert left_out.tolist() == ["the bundle was trained on this picture or patient"] * 3


def test_missing_hashes_and_patients_are_nobody_s(finished: Path, drawn: Index) -> None:
    table = drawn.table.copy()
    table["sha256"] = pd.array([pd.NA] * len(table), "string")
    table["patient_id"] = pd.array([pd.NA] * len(table), "string")
    table["phash"] = pd.array([pd.NA] * len(table), "string")
    assert not seen_in_training(Index(table, drawn.root), Run(finished).index).any()
    assert seen_in_training(drawn, Run(finished).index).all()


def test_when_nothing_is_left_to_score_it_says_so(finished: Path, drawn: Index) -> None:
    with pytest.raises(
        DataError,
        match=r"the bundle was trained on this picture or patient \(48\)",
    ):
        evaluate_elsewhere(Run(finished), drawn)


def test_elsewhere_may_have_one_class_only(finished: Path, draw_index: Callable[..., Index], tmp_path: Path) -> None:
    other = draw_index(tmp_path, 12, first_seed=900, source="other")
    only = other.leave_out(other.table["label.plain"].fillna(value=False), "for the test")
    evaluation, _ = evaluate_elsewhere(Run(finished), only)
    assert evaluation.n_films == len(only.films) < 12


# Processes.


def test_processes_that_decode_do_not_import_torch() -> None:
    told = (
        "(__import__('hilum.cache'), __import__('hilum.predict') if 0 else 0, 'torch' in __import__('sys').modules)[2]"
    )
    assert [imported for _, imported in spread(eval, [told] * 4, processes=2)] == [False] * 4


def test_workers_come_from_a_fork_server_that_holds_no_threads() -> None:
    told = "__import__('multiprocessing').get_start_method(allow_none=True)"
    methods = {method for _, method in spread(eval, [told] * 4, processes=2)}
    assert methods <= {"forkserver", "spawn", None}
    assert "fork" not in methods
    assert "forkserver" in multiprocessing.get_all_start_methods()


def test_importing_hilum_and_its_command_imports_no_torch() -> None:
    code = "import sys, hilum, hilum.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_target_of_the_run_s_index_is_its_class(finished: Path) -> None:
    films = Run(finished).index.films
    assert ((films[TARGET] == "patch") == films["label.patch"]).all()

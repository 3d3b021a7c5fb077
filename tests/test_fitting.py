import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.bundle import calibrated
from hilum.cache import ArrayView, FrameCache
from hilum.fitting import DONE, Division, Fitter, prediction_table
from hilum.index import Index
from hilum.recipe import parse_recipe
from hilum.selection import TARGET, select_films
from hilum.split import Split, make_splits


@pytest.fixture
def films(drawn: Index, tiny_recipe: str) -> pd.DataFrame:
    return select_films(drawn, parse_recipe(tiny_recipe)).films


@pytest.fixture
def frames(drawn: Index, films: pd.DataFrame, tiny_recipe: str) -> ArrayView:
    cache = FrameCache(parse_recipe(tiny_recipe).preprocess)
    cache.fill(films, drawn.root, processes=1)
    return cache.view(films, drawn.root)


def _fitted(text: str, films: pd.DataFrame, frames: ArrayView, split: Split, folder: Path) -> Division:
    fitter = Fitter(parse_recipe(text), films, frames)
    fitter.prepare([split])
    return fitter.fit(split, checkpoint=folder / "checkpoint")


def _split(films: pd.DataFrame, text: str) -> Split:
    return make_splits(films, parse_recipe(text).split)[0]


def _without_test_labels(films: pd.DataFrame, split: Split) -> pd.DataFrame:
    """The films with the classes of the test fold exchanged."""
    tested = films["image_id"].isin(split.table["image_id"].iloc[split.rows("test")])
    other = films[TARGET].map({"patch": "plain", "plain": "patch"})
    return films.assign(**{TARGET: films[TARGET].mask(tested, other)})


TRAINED = (
    ('weights = "random"', 'weights = "random"\ntrain_from = "all"\nbatch_norm = "trained"'),
    ('optimiser = "lbfgs"', 'optimiser = "adamw"\nprecision = "float32"'),
    ("epochs = 6", "epochs = 2"),
)


@pytest.fixture(params=["frozen", "trained"])
def recipe(request: pytest.FixtureRequest, tiny_recipe: str) -> str:
    if request.param == "trained":
        for old, new in TRAINED:
            tiny_recipe = tiny_recipe.replace(old, new)
    return tiny_recipe


def test_the_test_fold_chooses_nothing(films: pd.DataFrame, frames: ArrayView, recipe: str, tmp_path: Path) -> None:
    split = _split(films, recipe)
    honest = _fitted(recipe, films, frames, split, tmp_path)
    exchanged = _fitted(recipe, _without_test_labels(films, split), frames, split, tmp_path)
    assert exchanged.temperature == honest.temperature
    assert exchanged.points == honest.points
    assert exchanged.fitted.best_epoch == honest.fitted.best_epoch
    columns = ["image_id", "logit.patch", "p.patch", "p.plain"]
    pd.testing.assert_frame_equal(exchanged.predictions[columns], honest.predictions[columns])
    tested = honest.predictions["fold"] == "test"
    assert (exchanged.predictions["reference"] != honest.predictions["reference"]).equals(tested)


def test_the_tune_fold_does_choose(films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    split = _split(films, tiny_recipe)
    honest = _fitted(tiny_recipe, films, frames, split, tmp_path)
    turned = replace(
        split, table=split.table.assign(fold=split.table["fold"].replace({"tune": "test", "test": "tune"}))
    )
    assert _fitted(tiny_recipe, films, frames, turned, tmp_path).points != honest.points


def test_predictions_say_who_was_predicted_from_what(
    films: pd.DataFrame, frames: ArrayView, recipe: str, tmp_path: Path
) -> None:
    split = _split(films, recipe)
    told = _fitted(recipe, films, frames, split, tmp_path)
    assert list(told.predictions.columns) == [
        *["image_id", "reference", "logit.patch", "logit.plain", "p.patch", "p.plain", "repeat", "division", "fold"],
        *[f"t.{point.label}.{point.name}" for point in told.points],
    ]
    for fold in ("tune", "test"):
        wanted = set(split.table["image_id"].iloc[split.rows(fold)])
        assert set(told.predictions["image_id"][told.predictions["fold"] == fold]) == wanted
    reference = films.set_index("image_id")[TARGET]
    assert (told.predictions["reference"] == reference.loc[told.predictions["image_id"]].to_numpy()).all()
    for point in told.points:
        assert set(told.predictions[f"t.{point.label}.{point.name}"]) == {point.threshold}
    logits = told.predictions[["logit.patch", "logit.plain"]].to_numpy(np.float32)
    np.testing.assert_allclose(
        told.predictions[["p.patch", "p.plain"]], calibrated(logits, told.temperature), atol=1e-6
    )


def test_cached_vectors_and_the_whole_network_give_the_same_logits(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    from hilum.networks import logits_of

    fitter = Fitter(parse_recipe(tiny_recipe), films, frames)
    split = _split(films, tiny_recipe)
    assert fitter.prepare([split]) == len(films)
    told = fitter.fit(split, checkpoint=tmp_path / "c").predictions
    rows = pd.Index(films["image_id"]).get_indexer(told["image_id"])
    logits = logits_of(fitter.classifier, fitter.preprocess, frames.only(rows))
    np.testing.assert_allclose(told[["logit.patch", "logit.plain"]], logits, atol=1e-4)


def test_the_head_s_drawn_patch_is_learnt(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    told = _fitted(tiny_recipe, films, frames, _split(films, tiny_recipe), tmp_path).predictions
    tested = told[told["fold"] == "test"]
    right = (tested["p.patch"] > 0.5) == (tested["reference"] == "patch")
    assert right.mean() > 0.8


def test_one_division_leaves_no_trace_in_the_next(
    films: pd.DataFrame, frames: ArrayView, recipe: str, tmp_path: Path
) -> None:
    splits = make_splits(films, parse_recipe(recipe).split)
    fitter = Fitter(parse_recipe(recipe), films, frames)
    fitter.prepare(splits)
    fitter.fit(splits[0], checkpoint=tmp_path / "c")
    second = fitter.fit(splits[1], checkpoint=tmp_path / "c")
    alone = _fitted(recipe, films, frames, splits[1], tmp_path)
    pd.testing.assert_frame_equal(second.predictions, alone.predictions)


def test_without_a_tune_fold_nothing_is_calibrated(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    text = tiny_recipe.replace("tune = 0.25", "tune = 0.0")
    told = _fitted(text, films, frames, _split(films, text), tmp_path)
    assert (told.temperature, told.points) == (1.0, ())


def test_calibration_can_be_left_out(films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    text = tiny_recipe + "calibrate = false\n"
    assert _fitted(text, films, frames, _split(films, text), tmp_path).temperature == 1.0
    assert _fitted(tiny_recipe, films, frames, _split(films, text), tmp_path).temperature != 1.0


def test_a_division_comes_back_as_it_was_saved(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    told = _fitted(tiny_recipe, films, frames, _split(films, tiny_recipe), tmp_path)
    told.save(tmp_path / "division")
    back = Division.load(tmp_path / "division")
    assert (back.temperature, back.points) == (told.temperature, told.points)
    assert (back.fitted.best_epoch, back.fitted.precision) == (told.fitted.best_epoch, told.fitted.precision)
    pd.testing.assert_frame_equal(back.predictions, told.predictions, check_dtype=False)
    np.testing.assert_allclose(back.fitted.history, told.fitted.history, rtol=1e-12)
    epochs = json.loads((tmp_path / "division" / "history.json").read_text(encoding="utf-8"))
    assert [row["epoch"] for row in epochs] == told.fitted.history["epoch"].tolist()


def test_a_division_is_done_only_when_all_of_it_is_there(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = _fitted(tiny_recipe, films, frames, _split(films, tiny_recipe), tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(OSError, match="disk full"):
        told.save(tmp_path / "division")
    assert not (tmp_path / "division" / DONE).exists()


def test_prediction_tables_keep_rows_and_classes_in_order(films: pd.DataFrame) -> None:
    logits = np.array([[2.0, -1.0], [0.0, 0.5]], np.float32)
    table = prediction_table(films.iloc[[5, 2]], ("patch", "plain"), logits, 2.0)
    assert table["image_id"].tolist() == films["image_id"].iloc[[5, 2]].tolist()
    assert table["logit.plain"].tolist() == [-1.0, 0.5]
    np.testing.assert_allclose(table["p.patch"] + table["p.plain"], 1.0)

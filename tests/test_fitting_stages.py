"""What a recipe asks of training beyond one plain stage: a second one, copies of rare classes, another draw."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from hilum.augment import changed_frames
from hilum.cache import ArrayView, FrameCache
from hilum.features import FeatureCache, Variant
from hilum.fitting import Division, Fitter
from hilum.index import Index
from hilum.recipe import changed, parse_recipe
from hilum.selection import select_films
from hilum.split import Split, make_splits
from hilum.train import class_weights, training_views
from hilum.train.network import _NetworkFit

TRAINED = {
    "network.train_from": "layer4",
    "network.batch_norm": "trained",
    "network.pooling": "avg",
    "schedule.optimiser": "adamw",
    "schedule.precision": "float32",
    "schedule.epochs": "2",
    "schedule.weight_decay": "0.0",
}
FINETUNED = {
    "finetuning.epochs": "2",
    "finetuning.train_from": "layer3",
    "finetuning.batch_norm": "trained",
    "finetuning.precision": "float32",
    "finetuning.learning_rate": "0.001",
}
COPIED = {"oversampling.copies": "2", "oversampling.classes": '["patch"]', "oversampling.rotate_degrees": "15.0"}


@pytest.fixture
def films(drawn: Index, tiny_recipe: str) -> pd.DataFrame:
    return select_films(drawn, parse_recipe(tiny_recipe)).films


@pytest.fixture
def frames(drawn: Index, films: pd.DataFrame, tiny_recipe: str) -> ArrayView:
    cache = FrameCache(parse_recipe(tiny_recipe).preprocess)
    cache.fill(films, drawn.root, processes=1)
    return cache.view(films, drawn.root)


@pytest.fixture(params=["frozen", "trained"])
def first_stage(request: pytest.FixtureRequest, tiny_recipe: str) -> str:
    """A recipe whose first stage fits a head on cached vectors, or trains part of the network."""
    return changed(tiny_recipe, TRAINED) if request.param == "trained" else tiny_recipe


def _split(films: pd.DataFrame, text: str) -> Split:
    return make_splits(films, parse_recipe(text).split)[0]


def _fitted(text: str, films: pd.DataFrame, frames: ArrayView, folder: Path, **told: Any) -> tuple[Fitter, Division]:
    fitter = Fitter(parse_recipe(text), films, frames)
    split = _split(films, text)
    fitter.prepare([split])
    return fitter, fitter.fit(split, checkpoint=folder / "checkpoint", **told)


def _state(fitter: Fitter) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in fitter.classifier.state_dict().items()}


def _moved(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in one.items() if not torch.equal(value, other[name])}


def test_two_stages_are_one_history_and_one_network(
    films: pd.DataFrame, frames: ArrayView, first_stage: str, tmp_path: Path
) -> None:
    alone, first = _fitted(first_stage, films, frames, tmp_path)
    both, division = _fitted(changed(first_stage, FINETUNED), films, frames, tmp_path)
    count = len(first.fitted.history)
    history = division.fitted.history
    assert history["epoch"].tolist() == list(range(1, count + 3))
    pd.testing.assert_frame_equal(history.iloc[:count], first.fitted.history, check_dtype=False)
    moved = {name.split(".")[2] for name in _moved(_state(both), _state(alone)) if name.startswith("backbone.")}
    if division.fitted.best_epoch > count:
        assert moved == {"layer3", "layer4"}
    else:
        assert not moved
        assert division.fitted.best_epoch == first.fitted.best_epoch
    assert not list(tmp_path.iterdir()), "checkpoints go when the division is done"


def test_a_second_stage_that_is_never_better_leaves_the_first_s_predictions(
    films: pd.DataFrame, frames: ArrayView, first_stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _NetworkFit.score

    def worse(self: Any) -> tuple[float, float]:
        loss, accuracy = real(self)
        self.asked = getattr(self, "asked", -1) + 1
        return loss + (0 if self.stage.fresh else 100 * self.asked), accuracy

    monkeypatch.setattr(_NetworkFit, "score", worse)
    alone, first = _fitted(first_stage, films, frames, tmp_path)
    both, division = _fitted(changed(first_stage, FINETUNED), films, frames, tmp_path)
    assert len(division.fitted.history) > len(first.fitted.history)
    assert division.fitted.best_epoch == first.fitted.best_epoch
    assert not _moved(_state(both), _state(alone))
    logits = ["logit.patch", "logit.plain"]
    np.testing.assert_allclose(division.predictions[logits], first.predictions[logits], atol=1e-4)


def test_a_second_stage_leaves_no_trace_in_the_next_division(
    films: pd.DataFrame, frames: ArrayView, first_stage: str, tmp_path: Path
) -> None:
    text = changed(first_stage, FINETUNED)
    splits = make_splits(films, parse_recipe(text).split)[:2]
    fitters = [Fitter(parse_recipe(text), films, frames) for _ in range(2)]
    for fitter in fitters:
        fitter.prepare(splits)
    fitters[0].fit(splits[0], checkpoint=tmp_path / "c")
    second, alone = (fitter.fit(splits[1], checkpoint=tmp_path / "c") for fitter in fitters)
    pd.testing.assert_frame_equal(second.predictions, alone.predictions)


class _Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 3])
def test_interrupted_in_either_stage_a_division_ends_the_same(
    films: pd.DataFrame, frames: ArrayView, first_stage: str, tmp_path: Path, at: int
) -> None:
    """Killed after so many epochs of network training, in a new process as it were; what was done is not done again."""
    text = changed(first_stage, FINETUNED)
    whole, wanted = _fitted(text, films, frames, tmp_path)
    trained: list[int] = []

    def kill(_done: int, _total: int) -> None:
        trained.append(1)
        if len(trained) == at:
            raise _Killed

    try:
        torn, division = _fitted(text, films, frames, tmp_path, progress=kill)
    except _Killed:
        torn, division = _fitted(text, films, frames, tmp_path, progress=lambda *_: trained.append(1))
    assert len(trained) == (4 if 'train_from = "layer4"' in text else 2)
    assert not _moved(_state(torn), _state(whole))
    pd.testing.assert_frame_equal(division.predictions, wanted.predictions)
    pd.testing.assert_frame_equal(division.fitted.history, wanted.fitted.history)


# Copies of rare classes


def test_only_the_class_named_grows_and_only_to_train_on(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str
) -> None:
    split = _split(films, tiny_recipe)
    plain, copied = (
        fitter._folds(fitter._rows(split))
        for fitter in (
            Fitter(parse_recipe(text), films, frames) for text in (tiny_recipe, changed(tiny_recipe, COPIED))
        )
    )
    counts = np.bincount(plain.targets[plain.train])
    assert np.bincount(copied.targets[copied.train]).tolist() == [3 * counts[0], counts[1]]
    assert np.array_equal(copied.tune, plain.tune)
    assert set(copied.train) == set(plain.train)
    assert np.array_equal(copied.train[copied.copies == 0], plain.train)
    for number in (1, 2):
        rows = copied.train[copied.copies == number]
        assert np.array_equal(rows, plain.train[plain.targets[plain.train] == 0])
    weights = class_weights(copied.targets[copied.train], 2, "balanced")
    total = 3 * counts[0] + counts[1]
    assert weights.tolist() == pytest.approx([total / (2 * 3 * counts[0]), total / (2 * counts[1])])


def test_a_head_reads_every_copy_in_every_view(tiny_recipe: str, films: pd.DataFrame, frames: ArrayView) -> None:
    told = COPIED | {"augmentation.shift": "0.1", "schedule.views": "2", "schedule.precision": "bfloat16"}
    fitter = Fitter(parse_recipe(changed(tiny_recipe, told)), films, frames)
    split = _split(films, tiny_recipe)
    folds = fitter._folds(fitter._rows(split))
    views = training_views(folds, fitter.recipe.schedule)
    assert [{variant.view for variant in variants} for variants in views] == [{0}, {1}]
    assert len({*views[0], *views[1]}) == 2 * len(folds.train)
    assert all(variant.halved for variants in views for variant in variants)
    scored = len(split.rows("tune")) + len(split.rows("test"))
    assert fitter.prepare([split]) == 2 * len(folds.train) + scored, "those scored as they are, in float32"


def test_heads_and_networks_are_trained_on_the_same_copies_in_every_epoch(
    films: pd.DataFrame, frames: ArrayView, first_stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[tuple[str, int], set[bytes]] = {}

    def watched(given: Any, recipe: Any, keys: Any, *, copies: Any, views: Any) -> Any:
        made = changed_frames(given, recipe, keys, copies=copies, views=views)
        for key, copy, frame in zip(keys, copies, made, strict=True):
            shown.setdefault((key, copy), set()).add(frame.tobytes())
        return made

    monkeypatch.setattr("hilum.augment.changed_frames", watched)
    _, division = _fitted(changed(first_stage, COPIED), films, frames, tmp_path)
    assert len(division.fitted.history) >= 2
    assert {copy for _, copy in shown} == {0, 1, 2}
    assert all(len(pictures) == 1 for pictures in shown.values()), "the same in every epoch"
    copied = {key for key, copy in shown if copy}
    patched = set(films["sha256"][films["target"] == "patch"])
    assert copied < patched, "the test fold's are not copied"
    for key in copied:
        assert len({next(iter(shown[key, copy])) for copy in range(3)}) == 3


def test_copies_change_what_is_learnt(films: pd.DataFrame, frames: ArrayView, first_stage: str, tmp_path: Path) -> None:
    one, other = (
        _state(_fitted(text, films, frames, tmp_path)[0]) for text in (first_stage, changed(first_stage, COPIED))
    )
    assert any(name.startswith("head.") for name in _moved(one, other))


# Another draw


def test_another_seed_in_the_schedule_draws_other_weights_on_the_same_division(
    films: pd.DataFrame, frames: ArrayView, first_stage: str, tmp_path: Path
) -> None:
    first_stage = changed(first_stage, {"schedule.optimiser": "adamw", "schedule.epochs": "2"})
    texts = [changed(first_stage, {"schedule.seed": seed}) for seed in ("0", "1", "1", "2")]
    assert _split(films, texts[0]).table.equals(_split(films, texts[1]).table)
    told = [_fitted(text, films, frames, tmp_path) for text in texts]
    states = [_state(fitter) for fitter, _ in told]
    assert not _moved(states[1], states[2])
    dense = f"head.{len(told[0][0].classifier.head) - 1}.weight"
    for one, other in ((0, 1), (0, 3), (1, 3)):
        moved = _moved(states[one], states[other])
        assert {dense, "backbone.body.conv1.0.weight"} <= moved, "weights drawn at random, frozen ones too"
    ids = [division.predictions[["image_id", "fold"]] for _, division in told]
    assert ids[0].equals(ids[1])


def test_without_another_seed_the_division_s_own_is_used(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str
) -> None:
    torch.manual_seed(0)
    fitter = Fitter(parse_recipe(tiny_recipe), films, frames)
    other = Fitter(parse_recipe(changed(tiny_recipe, {"schedule.seed": "0"})), films, frames)
    assert not _moved(_state(fitter), _state(other))


def test_bfloat16_training_scores_in_float32(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    fitter, division = _fitted(changed(tiny_recipe, {"schedule.precision": "bfloat16"}), films, frames, tmp_path)
    assert division.fitted.precision == "bfloat16"
    assert isinstance(fitter._features, FeatureCache)
    scored = pd.Index(films["image_id"]).get_indexer(division.predictions["image_id"])
    vectors = fitter._features.vectors([Variant(row) for row in scored])
    with torch.inference_mode():
        wanted = fitter.classifier.head.eval()(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(division.predictions[["logit.patch", "logit.plain"]], wanted, atol=1e-5)


@pytest.mark.parametrize(
    "told", [{}, {"finetuning.epochs": "1", "finetuning.train_from": '"all"'}, {"split.tune": "0"}]
)
def test_nothing_is_compared_where_no_head_rests_on_bfloat16(
    told: dict[str, str], films: pd.DataFrame, frames: ArrayView, tiny_recipe: str
) -> None:
    precision = {} if not told else {"schedule.precision": "bfloat16", "split.folds": "2"}
    text = changed(tiny_recipe, told | precision)
    fitter, split = Fitter(parse_recipe(text), films, frames), _split(films, text)
    new = fitter.prepare([split])
    assert fitter.prepare([split], compared=split) == 0 < new
    assert fitter.halving(split) is None

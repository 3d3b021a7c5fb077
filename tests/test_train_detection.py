"""A detector is trained: it learns drawn squares, resumes to the same weights, and boxes move exactly with films."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from hilum.augment import augment, augment_alike, augment_with_points
from hilum.boxes import Box, LabelledBox, mask_boxes
from hilum.cache import ArrayCache, ArrayView
from hilum.detection_metrics import detection_scores
from hilum.errors import DataError, UsageError
from hilum.networks.detectors import DETECTORS, Detector
from hilum.outlines import Outline, boxes_of, outlines_of
from hilum.preprocess import Preprocess
from hilum.recipe import Augmentation, Schedule
from hilum.recipe.detection import DetectionRecipe
from hilum.train import Fitted
from hilum.train.detection import (
    BOX_HISTORY,
    BoxedFilms,
    augment_outlines,
    fit_boxes,
    mean_ap50,
    start_detector,
    training_mode,
)

SIDE, FILMS = 64, 12
MOVED = Augmentation(rotate_degrees=15, shift=0.1, zoom=0.1, flip=0.5, contrast=0.2)


def recipe(network: str = "fcos", **told: Any) -> DetectionRecipe:
    schedule = {"epochs": 2, "batch_films": 4, "learning_rate": 2e-3, "class_weights": "none", "precision": "float32"}
    return DetectionRecipe(
        title="Squares",
        labels=("dark", "bright"),
        network=network,
        encoder="test_resnet",
        weights="random",
        width=64,
        preprocess=Preprocess(size_px=SIDE, aspect="pad", channels=1),
        augmentation=told.pop("augmentation", MOVED),
        schedule=Schedule(**schedule | told),
    )


def drawn(count: int = FILMS, seed: int = 0) -> tuple[np.ndarray[Any, Any], list[tuple[Outline, ...]]]:
    """Films (N, 64, 64) of noise with a bright or dark square, the last one without, and the squares' outlines."""
    rng = np.random.default_rng(seed)
    films = rng.integers(110, 140, (count, SIDE, SIDE))
    outlines: list[tuple[Outline, ...]] = []
    for place in range(count - 1):
        left, top = rng.integers(4, SIDE - 36, 2).tolist()
        side, label = int(rng.integers(20, 32)), ("dark", "bright")[place % 2]
        films[place, top : top + side, left : left + side] = 240 if label == "bright" else 15
        outlines.append((Outline.of_box(LabelledBox(label, Box.at(left, top, side, side))),))
    return films.astype(np.uint8), [*outlines, ()]


def view(folder: Path, arrays: np.ndarray[Any, Any]) -> ArrayView:
    cache = ArrayCache(folder, shape=(SIDE, SIDE), dtype=np.uint8)
    keys = [str(number) for number in range(len(arrays))]
    cache.add(zip(keys, arrays, strict=True))
    return cache.view(keys)


@pytest.fixture
def films(tmp_path: Path) -> BoxedFilms:
    shown, outlines = drawn()
    rows = np.arange(FILMS)
    return BoxedFilms(view(tmp_path / "f", shown), tuple(outlines), rows[4:], rows[:4])


def train(films: BoxedFilms, plan: DetectionRecipe, checkpoint: Path, seed: int = 1) -> tuple[Detector, Fitted]:
    network, plan = start_detector(plan, 0)
    return network, fit_boxes(network, films, plan, seed, checkpoint=checkpoint)


def states(network: Detector) -> list[Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def same(one: Detector, other: Detector) -> bool:
    return all(torch.equal(a, b) for a, b in zip(states(one), states(other), strict=True))


def test_a_detector_learns_to_find_what_it_is_shown(films: BoxedFilms, tmp_path: Path) -> None:
    _, fitted = train(films, recipe(epochs=25, augmentation=Augmentation(flip=0.5)), tmp_path / "c")
    history = fitted.history
    assert list(history.columns) == BOX_HISTORY
    assert fitted.best_epoch == 1 + int(history["tune_loss"].argmin())
    assert history["train_loss"].iloc[-1] < 0.6 * history["train_loss"].iloc[0]
    assert history["tune_ap50"].max() > 0.5


@pytest.mark.parametrize("network", DETECTORS)
def test_an_interrupted_training_ends_at_the_same_weights(films: BoxedFilms, tmp_path: Path, network: str) -> None:
    whole, told = train(films, recipe(network), tmp_path / "whole")
    train(films, recipe(network, epochs=1), tmp_path / "cut")
    resumed, later = train(films, recipe(network), tmp_path / "cut")
    assert later.history.equals(told.history)
    assert same(whole, resumed)


def test_films_prepared_by_other_processes_train_the_same_network(
    films: BoxedFilms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, told = train(films, recipe(epochs=1), tmp_path / "here")
    monkeypatch.setattr("hilum.train.frames.readers", lambda _device: 2)
    there, later = train(films, recipe(epochs=1), tmp_path / "there")
    assert later.history.equals(told.history)
    assert same(here, there)


def test_another_seed_gives_other_weights(films: BoxedFilms, tmp_path: Path) -> None:
    one, other = (train(films, recipe(epochs=1), tmp_path / str(seed), seed)[0] for seed in (1, 2))
    assert not same(one, other)


def test_without_a_tune_fold_the_train_loss_chooses(films: BoxedFilms, tmp_path: Path) -> None:
    _, fitted = train(replace(films, tune=np.empty(0, np.int64)), recipe(), tmp_path / "c")
    assert fitted.history[["tune_loss", "tune_ap50"]].isna().all(axis=None)
    assert fitted.best_epoch == 1 + int(fitted.history["train_loss"].argmin())


@pytest.mark.parametrize("kind", ["frozen", "trained"])
def test_batch_statistics_move_only_when_asked(films: BoxedFilms, tmp_path: Path, kind: Any) -> None:
    plan = recipe(epochs=1).model_copy(update={"batch_norm": kind})
    before, _ = start_detector(plan, 0)
    after, _ = train(films, plan, tmp_path / "c")
    pairs = zip(before.state_dict().items(), after.state_dict().items(), strict=True)
    still = {torch.equal(a, b) for (name, a), (_, b) in pairs if name.endswith("running_mean")}
    assert still == {kind == "frozen"}
    training_mode(after, norms=False)
    assert not any(one.training for one in after.modules() if isinstance(one, nn.BatchNorm2d))


def test_films_that_cannot_train_are_refused(films: BoxedFilms, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"12 films but outlines of 3"):
        replace(films, outlines=films.outlines[:3])
    with pytest.raises(DataError, match=r"no film is left"):
        replace(films, train=np.empty(0, np.int64))
    with pytest.raises(DataError, match=r"in the train fold and in the tune fold"):
        replace(films, tune=films.train[:1])
    with pytest.raises(DataError, match=r"no film of the train fold has a box"):
        replace(films, train=films.train[-1:])
    with pytest.raises(UsageError, match=r"unknown label of boxes 'dark'"):
        train(films, recipe().model_copy(update={"labels": ("bright", "other")}), tmp_path / "c")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"labels": ("a", "a")}, "names one twice"),
        ({"labels": ()}, "labels"),
        ({"width": 40}, "multiple of 32"),
        ({"schedule": Schedule(optimiser="lbfgs")}, "fits a head only"),
        ({"loss": "dice"}, "loss"),
    ],
    ids=["twice", "none", "width", "lbfgs", "unknown key"],
)
def test_recipes_that_say_nothing_sensible_are_refused(told: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        DetectionRecipe(**{"title": "t", "labels": ("a",), **told})


def test_a_recipes_digest_tells_what_it_says() -> None:
    assert recipe().digest == recipe().digest
    assert recipe().digest != recipe("retinanet").digest


CHANGES = [
    Augmentation(rotate_degrees=25),
    Augmentation(rotate_degrees=25, fill="edge"),
    Augmentation(zoom=0.3),
    Augmentation(shift=0.2, fill="edge"),
    Augmentation(flip=1.0),
    Augmentation(rotate_degrees=10, zoom=0.1, shift=0.1, flip=0.5, moved=0.7, contrast=0.3, brightness=0.2),
]


def names(change: Augmentation) -> str:
    return ",".join(sorted(change.model_fields_set))


@pytest.mark.parametrize("change", CHANGES, ids=names)
def test_a_box_is_that_of_the_mask_moved_alike(change: Augmentation) -> None:
    """The tight box of a turned ellipse is that of its turned mask, within a pixel; that of turned corners is not."""
    y, x = np.mgrid[:SIDE, :SIDE] - 31.5
    mask = ((x * 0.8 + y * 0.6) / 22) ** 2 + ((y * 0.8 - x * 0.6) / 9) ** 2 < 1
    outline = outlines_of(mask, "dark", least_share=0, gap_share=0)[0]
    masks = torch.from_numpy(np.stack([mask] * 6)[:, None].astype(np.float32))
    seeds = list(range(6))
    films, moved = augment_alike(masks.clone(), masks, change, seeds)
    again, outlines = augment_outlines(masks.clone(), [(outline,)] * 6, change, seeds)
    assert torch.equal(films, again)
    for told, drawn_mask in zip(outlines, moved, strict=True):
        wanted = np.array(mask_boxes(drawn_mask[0].numpy() > 0)[0])
        assert np.abs(np.array(told[0].box.box) - wanted).max() <= 1.5


def test_turned_corners_would_give_a_larger_box() -> None:
    y, x = np.mgrid[:SIDE, :SIDE] - 31.5
    mask = x**2 + y**2 < 400
    disc = outlines_of(mask, "dark", least_share=0, gap_share=0)[0]
    change, film = Augmentation(rotate_degrees=40), torch.zeros(1, 1, SIDE, SIDE)
    round_box, corner_box = (
        augment_outlines(film, [(one,)], change, [3])[1][0][0].box.box for one in (disc, Outline.of_box(disc.box))
    )
    assert round_box.area < 1.1 * disc.box.box.area
    assert corner_box.area > 1.2 * round_box.area


def test_films_change_as_they_would_alone_and_unchanged_ones_keep_their_points() -> None:
    shown = torch.from_numpy(drawn(4)[0])[:, None] / 255
    points = [torch.tensor([[float(n), 5.0], [20, 30]]) for n in range(3)] + [torch.zeros(0, 2)]
    films, moved = augment_with_points(shown, points, MOVED, [3, None, 5, 6])
    assert torch.equal(films, augment(shown, MOVED, [3, None, 5, 6]))
    assert torch.equal(moved[1], points[1])
    assert not torch.equal(moved[0], points[0])
    assert moved[3].shape == (0, 2)
    assert type(moved[0]) is Tensor
    untouched = augment_with_points(shown, points, Augmentation(), [1, 2, 3, 4])
    assert untouched[0] is shown


def test_what_leaves_the_film_is_dropped_and_what_stays_is_cut() -> None:
    edge, middle = (Outline.of_box(LabelledBox("dark", box)) for box in (Box(0, 20, 4, 40), Box(20, 20, 40, 40)))
    film, shift = torch.zeros(1, 1, SIDE, SIDE), Augmentation(shift=0.4)
    left = [augment_outlines(film, [(edge, middle)], shift, [seed])[1][0] for seed in range(30)]
    assert {len(outlines) for outlines in left} == {1, 2}
    for outlines in left:
        for one in outlines:
            assert 0 <= one.points.min() <= one.points.max() <= SIDE


def test_a_thin_lesion_stays_however_its_film_is_turned_or_shrunk() -> None:
    """Its box loses most of its area, the lesion none of its own."""
    y, x = np.mgrid[:SIDE, :SIDE]
    mask = (abs(x + y - 63) <= 3) & (abs(x - y) < 32)
    strip = outlines_of(mask, "dark", least_share=0, gap_share=0)[0]
    for change in (Augmentation(rotate_degrees=45), Augmentation(zoom=0.6)):
        boxes = [augment_outlines(torch.zeros(1, 1, SIDE, SIDE), [(strip,)], change, [n])[1][0] for n in range(40)]
        assert all(len(told) == 1 for told in boxes)
        assert min(told[0].box.box.area for told in boxes) < 0.5 * strip.box.box.area


def test_the_reference_standard_itself_scores_one(films: BoxedFilms) -> None:
    told = [boxes_of(outlines) for outlines in films.outlines]
    found = [[replace(one, score=0.9) for one in boxes] for boxes in told]
    assert mean_ap50(told, found) == 1.0
    assert math.isnan(mean_ap50([[]], [[]]))
    groups = [str(place) for place in range(FILMS)]
    assert {(one.ap50, one.ap) for one in detection_scores(told, found, groups, resamples=20)} == {(1.0, 1.0)}
    shifted = [[replace(one, box=one.box.scaled(0.5, 0.5)) for one in boxes] for boxes in found]
    assert mean_ap50(told, shifted) < 0.2

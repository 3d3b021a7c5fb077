"""Train a box detector with Lightning Fabric, as `segmentation` trains a segmentation network.

The best epoch is the one with the lowest tune loss. Average precision on the tune fold stands in the history and
chooses nothing: with the few boxes of a tune fold one box more or less moves it by several hundredths.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.augment import augment_with_points
from hilum.boxes import LabelledBox
from hilum.cache import ArrayView
from hilum.detection_metrics import Ranking
from hilum.engine.eager import films_a_pass
from hilum.errors import DataError, unknown_name
from hilum.networks.detectors import Detector, Limits, Marked, build_detector, found_in, labelled
from hilum.outlines import Outline, Points, boxes_of
from hilum.parallel import Progress
from hilum.recipe import Augmentation
from hilum.recipe.detection import DetectionRecipe
from hilum.train.epochs import Fitted
from hilum.train.frames import FrameFit, grey_of, with_scale

BOX_HISTORY = ["epoch", "train_loss", "tune_loss", "tune_ap50", "learning_rate"]
LEAST_SCORE = 0.01
"""Of boxes that average precision is computed from: those below change nothing that can be seen."""
LEAST_LEFT = 0.25
"""Share of an outline's area that must be left in the changed film; less of it teaches nothing."""
LEAST_SIDE_PX = 2.0


@dataclass(frozen=True)
class BoxedFilms:
    """Frames of films and the outlines on each, in pixels of the frame, and which rows train and tune.

    A film without outlines was looked at and has nothing.
    """

    frames: ArrayView
    outlines: tuple[tuple[Outline, ...], ...]
    train: NDArray[np.int64]
    tune: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.outlines) != len(self.frames):
            raise DataError(f"there are {len(self.frames)} films but outlines of {len(self.outlines)}")
        if not len(self.train):
            raise DataError("no film is left to train the detector on")
        if np.intersect1d(self.train, self.tune).size:
            raise DataError("a film is in the train fold and in the tune fold of the detector")
        if not any(self.outlines[row] for row in self.train.tolist()):
            raise DataError("no film of the train fold has a box; give films that show what is to be found")


def start_detector(recipe: DetectionRecipe, seed: int) -> tuple[Detector, DetectionRecipe]:
    """The recipe's network with what the seed draws of it, and the recipe with the network's own grey scale.

    Raises:
        UsageError: names that are not known, or parts that do not fit together.
        DataError: the weights cannot be had, with what would work instead.
    """
    torch.manual_seed(seed)
    told = recipe.preprocess
    detector = build_detector(
        recipe.network,
        encoder=recipe.encoder,
        weights=recipe.weights,
        channels=told.channels,
        labels=len(recipe.labels),
        width=recipe.width,
    )
    return detector, with_scale(recipe, detector)


def fit_boxes(
    detector: Detector,
    films: BoxedFilms,
    recipe: DetectionRecipe,
    seed: int,
    *,
    checkpoint: Path,
    progress: Progress | None = None,
) -> Fitted:
    """Train all of a detector; continues from `checkpoint` where a run was interrupted.

    Args:
        detector: changed in place; holds the best weights afterwards.
        films: with their outlines, whose labels are the recipe's.
        recipe: augmentation, schedule, and the preprocess with the network's own mean and deviation.
        seed: of everything random here.
        checkpoint: file rewritten after every epoch; the caller removes it when the result is safe.
        progress: called with epochs done and epochs in all.

    Returns:
        A history with the columns `BOX_HISTORY`; the tune figure is the mean AP@.5 of the labels.

    Raises:
        UsageError: an outline's label is not the recipe's.
        DataError: the loss is no longer a number.
    """
    torch.manual_seed(seed)
    return _BoxFit(detector, films, recipe, seed).run(BOX_HISTORY, checkpoint=checkpoint, progress=progress)


Shown = tuple[NDArray[np.float32], list[list[Outline]]]
"""Films (N, 1, side, side) in [0, 1], and the outlines on each."""


class _BoxFit(FrameFit[BoxedFilms, DetectionRecipe, Shown]):
    """One epoch after another over frames and outlines, through Fabric."""

    def __init__(self, detector: Detector, films: BoxedFilms, recipe: DetectionRecipe, seed: int) -> None:
        self.numbers = {label: number for number, label in enumerate(recipe.labels)}
        for one in (one for outlines in films.outlines for one in outlines):
            if one.label not in self.numbers:
                raise unknown_name("label of boxes", one.label, recipe.labels)
        super().__init__(detector, films, recipe, seed)
        self.detector = detector

    def begin(self) -> None:
        training_mode(self.detector, norms=self.recipe.batch_norm == "trained")

    def look(self, rows: NDArray[np.int64], views: list[int]) -> Callable[[], Shown]:
        return partial(_shown, self.films.frames.only(rows), self._outlines(rows), self.recipe, views)

    def loss_of(self, shown: Shown) -> Tensor:
        grey, outlines = shown
        loss: Tensor = self.network(self.as_films(torch.from_numpy(grey)), self._marked(outlines))
        return loss

    def score(self) -> tuple[float, float]:
        """Loss and AP@.5 on the tune fold, in float32; the first process's where several would differ."""
        if not len(self.films.tune):
            return math.nan, math.nan
        scored: tuple[float, float] = self.fabric.broadcast((self._tune_loss(), self._tune_ap50()))
        return scored

    def _tune_loss(self) -> float:
        tune, at_once = self.films.tune, films_a_pass(self.fabric.device)
        training_mode(self.detector, norms=False)
        told = 0.0
        torch.manual_seed(self.seed)  # Faster R-CNN's loss draws which boxes it counts: the same every epoch
        with torch.no_grad():
            for start in range(0, len(tune), at_once):
                rows = tune[start : start + at_once]
                loss = self.detector(self.as_films(self.grey(rows)), self._marked(self._outlines(rows)))
                told += float(loss) * len(rows) / len(tune)
        return told

    def _tune_ap50(self) -> float:
        """Mean over the labels that the tune fold has; NaN where it has none."""
        tune, recipe = self.films.tune, self.recipe
        limits = Limits(LEAST_SCORE, recipe.nms_threshold, recipe.most_found)
        marked = found_in(self.detector, recipe.preprocess, self.films.frames.only(tune), limits)
        found = [labelled(one, recipe.labels) for one in marked]
        return mean_ap50([boxes_of(outlines) for outlines in self._outlines(tune)], found)

    def _outlines(self, rows: NDArray[np.int64]) -> list[tuple[Outline, ...]]:
        return [self.films.outlines[row] for row in rows.tolist()]

    def _marked(self, outlines: Sequence[Sequence[Outline]]) -> list[Marked]:
        device = self.fabric.device
        return [
            Marked(
                torch.tensor([one.box.box for one in told], dtype=torch.float32, device=device).reshape(-1, 4),
                torch.tensor([self.numbers[one.label] for one in told], dtype=torch.int64, device=device),
            )
            for told in outlines
        ]


def training_mode(detector: Detector, *, norms: bool) -> None:
    """Set a detector to give its loss; batch statistics move only with `norms`."""
    detector.train()
    for module in detector.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train(norms)


def _shown(
    frames: ArrayView, outlines: Sequence[Sequence[Outline]], recipe: DetectionRecipe, views: list[int]
) -> Shown:
    """Films and outlines changed alike."""
    grey, moved = augment_outlines(grey_of(frames[:], recipe), outlines, recipe.augmentation, views)
    return grey.numpy(), moved


def augment_outlines(
    films: Tensor, outlines: Sequence[Sequence[Outline]], augmentation: Augmentation, seeds: Sequence[int | None]
) -> tuple[Tensor, list[list[Outline]]]:
    """Change films (N, 1, side, side) in [0, 1] and turn, shift and cut the outlines on them alike.

    An outline of which less than `LEAST_LEFT` stays on the film is dropped.
    """
    none = np.empty((0, 2), np.float32)
    points = [torch.from_numpy(np.concatenate([none, *(one.points for one in told)])) for told in outlines]
    changed, moved = augment_with_points(films, points, augmentation, seeds)
    least = LEAST_LEFT * (1 - augmentation.zoom) ** 2  # a film that shrinks takes nothing out of view
    return changed, [_moved(told, corners.numpy(), least) for told, corners in zip(outlines, moved, strict=True)]


def _moved(outlines: Sequence[Outline], corners: Points, least: float) -> list[Outline]:
    """The outlines at their new corners, one after another, without those of which less than that share is left."""
    kept, start = [], 0
    for before in outlines:
        end = start + len(before.points)
        after = Outline(before.label, corners[start:end])
        box, start = after.box.box, end
        if min(box.width, box.height) >= LEAST_SIDE_PX and after.area >= least * before.area:
            kept.append(after)
    return kept


def mean_ap50(reference: Sequence[Sequence[LabelledBox]], found: Sequence[Sequence[LabelledBox]]) -> float:
    """AP@.5 averaged over the labels of the reference standard; NaN where it has no box."""
    labels = sorted({one.label for boxes in reference for one in boxes})
    every = np.ones((1, len(reference)))
    told = [Ranking.of(reference, found, label).average_precision(every)[0, 0] for label in labels]
    return float(np.mean(told)) if told else math.nan

"""The bundle of a box detector: what is saved is what is loaded, and boxes come back onto films of any shape."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hilum.boxes import Box, LabelledBox, mask_boxes
from hilum.bundle import (
    MANIFEST,
    SELFTEST,
    WEIGHTS,
    DetectorBundle,
    Figure,
    load_detector,
    load_segmenter,
    save_detector,
)
from hilum.detection_metrics import detection_scores
from hilum.errors import BundleError, UsageError
from hilum.files import digest_of, sha256_file
from hilum.networks.detectors import DETECTORS, Detector, Limits, Marked, build_detector
from hilum.outlines import Outline, Placing, outlines_of
from hilum.preprocess import Preprocess
from hilum.recipe.detection import DetectionRecipe
from hilum.records import DISCLAIMER

LABELS = ("ggo", "consolidation")
FIGURE = Figure(metric="ap50", label="ggo", films="drawn", n=3, groups=3, value=0.4, low=0.2, high=0.6, training="this")
PLAIN = Preprocess(size_px=64, aspect="pad", channels=1)


def _made(network: str = "retinanet", **told: Any) -> DetectorBundle:
    parts: dict[str, Any] = {"network": network, "encoder": "test_resnet", "weights": "random", "width": 64}
    recipe = DetectionRecipe(title="Drawn", labels=LABELS, preprocess=PLAIN, **parts)
    torch.manual_seed(0)
    built = build_detector(network, encoder="test_resnet", weights="random", channels=1, labels=2, width=64)
    settings: dict[str, Any] = {
        "title": "Drawn",
        "labels": LABELS,
        "recipe": recipe,
        "preprocess": PLAIN.model_copy(update={"mean": (0.5,), "std": (0.25,)}),
        "network": built,
        "score_threshold": 0.0,
        "nms_threshold": 0.4,
        "most_found": 7,
        "figures": (FIGURE,),
        "provenance": {"films": 3},
    }
    return DetectorBundle(**settings | told)


def _frames(count: int = 3) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 255, (count, 64, 64), np.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "one"
    save_detector(_made(), folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def _rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest and sign it anew, as somebody would who knows the format."""
    told = json.loads((folder / MANIFEST).read_text())
    change(told)
    told["files"] = {name: sha256_file(folder / name) for name in (WEIGHTS, SELFTEST)}
    told["digest"] = digest_of({key: value for key, value in told.items() if key != "digest"})
    (folder / MANIFEST).write_text(json.dumps(told))


@pytest.mark.parametrize("network", DETECTORS)
def test_a_loaded_bundle_finds_exactly_what_was_saved(tmp_path: Path, network: str) -> None:
    before = _made(network)
    after = save_detector(before, tmp_path / "b")
    sizes = [(50, 64), (640, 480), (64, 64)]
    assert np.array_equal(after.answers(_frames()), before.answers(_frames()))
    found = after.detect(_frames(), sizes)
    assert found == before.detect(_frames(), sizes)
    assert any(found)
    assert (after.labels, after.figures) == (LABELS, (FIGURE,))
    assert (after.score_threshold, after.nms_threshold, after.most_found) == (0.0, 0.4, 7)
    assert (after.recipe, after.preprocess) == (before.recipe, before.preprocess)
    told = json.loads((tmp_path / "b" / MANIFEST).read_text())
    assert (after.digest, told["disclaimer"]) == (told["digest"], DISCLAIMER)


def test_boxes_lie_on_their_film_with_a_score_and_a_known_label(saved: Path) -> None:
    bundle, sizes = load_detector(saved), [(30, 640), (900, 400), (64, 64)]
    for boxes, (height, width) in zip(bundle.detect(_frames(), sizes), sizes, strict=True):
        assert len(boxes) <= 7
        scores = [one.score or 0.0 for one in boxes]
        assert scores == sorted(scores, reverse=True)
        for one in boxes:
            assert one.label in LABELS
            assert 0 <= (one.score or 0.0) <= 1
            assert one.box == one.box.clipped(width, height)
            assert min(one.box.width, one.box.height) > 0
    assert bundle.detect(_frames(0), []) == []
    with pytest.raises(UsageError, match=r"3 frames come with the sizes of 2 films"):
        bundle.detect(_frames(), sizes[:2])


def test_the_bundles_threshold_holds_unless_another_is_given(saved: Path) -> None:
    bundle, sizes = load_detector(saved), [(64, 64)] * 3
    every = [one.score or 0.0 for boxes in bundle.detect(_frames(), sizes) for one in boxes]
    middle = float(np.median(every))
    strict = replace(bundle, score_threshold=middle)
    kept = [one.score or 0.0 for boxes in strict.detect(_frames(), sizes) for one in boxes]
    assert 0 < len(kept) < len(every)
    assert min(kept) > middle
    assert strict.detect(_frames(), sizes, score_threshold=0.0) == bundle.detect(_frames(), sizes)


class _Oracle(Detector):
    """Finds on the frames, in turn, what it was told lies there."""

    def __init__(self, marked: list[Marked]) -> None:
        torch.nn.Module.__init__(self)
        self.one = torch.nn.Parameter(torch.zeros(1))
        self.marked = marked

    def find(self, films: torch.Tensor, limits: Limits) -> list[Marked]:
        told, self.marked = self.marked[: len(films)], self.marked[len(films) :]
        assert limits.most == 7
        return told

    def _raw(self, levels: Any, films: Any) -> Any: ...
    def _limit(self, limits: Limits) -> None: ...


@pytest.mark.parametrize("aspect", ["pad", "stretch"])
def test_an_oracle_scores_one_through_the_whole_chain(aspect: Any) -> None:
    """Masks to outlines, onto frames, found there, back onto films: the boxes are those of the masks."""
    rng, plan = np.random.default_rng(0), PLAIN.model_copy(update={"aspect": aspect})
    sizes = [(480, 640), (640, 480), (333, 517), (1200, 800), (640, 640), (512, 600)]
    reference, marked = [], []
    for place, size in enumerate(sizes):
        mask = np.zeros(size, np.uint8)
        for _ in range(2):
            centre = (int(rng.uniform(0.2, 0.8) * size[1]), int(rng.uniform(0.2, 0.8) * size[0]))
            cv2.ellipse(mask, centre, (int(size[1] * 0.12), int(size[0] * 0.16)), 20, 0, 360, 1, -1)
        label = place % 2
        reference.append([LabelledBox(LABELS[label], box) for box in mask_boxes(mask > 0)])
        outlines = outlines_of(mask > 0, LABELS[label], least_share=0, gap_share=0)
        shown = [one.onto_frame(Placing.of(plan, size)).box.box for one in outlines]
        numbers = torch.full((len(shown),), label)
        marked.append(Marked(torch.tensor(shown), numbers, torch.linspace(0.9, 0.8, len(shown))))
    bundle = replace(_made(), network=_Oracle(marked), preprocess=plan)
    found = bundle.detect(_frames(len(sizes)), sizes)
    scores = detection_scores(reference, found, [str(place) for place in range(len(sizes))], resamples=20)
    assert [(one.label, one.ap50, one.ap) for one in scores] == [
        (label, 1.0, 1.0) for label in ("consolidation", "ggo", "all labels")
    ]


def test_boxes_on_the_padding_alone_are_no_boxes() -> None:
    told = Marked(torch.tensor([[0.0, 0, 64, 10], [0, 20, 30, 40]]), torch.tensor([0, 1]), torch.tensor([0.9, 0.8]))
    found = replace(_made(), network=_Oracle([told])).detect(_frames(1), [(320, 640)])
    assert found == [[LabelledBox("consolidation", Box(0, 40, 300, 240), pytest.approx(0.8))]]


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another kind": (lambda told: told.update(kind="segmenter"), r"holds a segmenter, and a detector is needed"),
    "a key more": (lambda told: told.update(more=1), r"wrong: more"),
    "a key less": (lambda told: told.pop("figures"), r"wrong: figures"),
    "score": (lambda told: told.update(score_threshold=1.5), r"wrong: score_threshold"),
    "overlap": (lambda told: told.update(nms_threshold=0), r"wrong: nms_threshold"),
    "other labels": (lambda told: told.update(labels=["heart"]), r"other labels than its recipe"),
    "recipe": (lambda told: told["recipe"].update(width=40), r"a recipe this hilum cannot read \(wrong: width\)"),
    "network": (lambda told: told["recipe"].update(network="yolo"), r"cannot be built here"),
    "other network": (lambda told: told["recipe"].update(network="fcos"), r"does not fit the network"),
}


@pytest.mark.parametrize("kind", TAMPERED)
def test_a_bundle_that_does_not_hold_together_is_refused(copy: Path, kind: str) -> None:
    change, says = TAMPERED[kind]
    _rewritten(copy, change)
    with pytest.raises(BundleError, match=says):
        load_detector(copy)


def test_other_weights_fail_the_self_test(copy: Path) -> None:
    state = load_file(copy / WEIGHTS)
    name = next(name for name in state if name.endswith("cls_logits.bias"))
    state[name] = state[name] + 0.5
    save_file(state, copy / WEIGHTS)
    with pytest.raises(BundleError, match=r"its hash does not match"):
        load_detector(copy)
    _rewritten(copy, lambda _: None)
    with pytest.raises(BundleError, match=r"self-test gives logits"):
        load_detector(copy)


def test_a_detector_is_no_segmenter(saved: Path) -> None:
    with pytest.raises(BundleError, match=r"holds a detector, and a segmenter is needed"):
        load_segmenter(saved)


def test_an_outline_of_a_box_comes_back_as_that_box() -> None:
    size, one = (333, 517), LabelledBox("ggo", Box(10, 20, 110, 220))
    placing = Placing.of(PLAIN, size)
    assert placing.onto_film(Outline.of_box(one).onto_frame(placing).box.box, size) == pytest.approx(one.box, abs=1e-3)

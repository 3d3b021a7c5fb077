"""The audited bundle itself, asked of films that were changed: what it looks at is planted where a test knows it."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum.audit import changes, frozen
from hilum.audit.changes import CORNERS, MARKED, PAINTED, PERTURBED, Picture
from hilum.audit.check import Verdict
from hilum.audit.runs import subject_elsewhere, subject_of_run
from hilum.errors import DataError
from hilum.run import train_run

from .drawing import planted_index, with_known_lungs, without_processes

FILMS = 120
RECIPE = """\
title = "Drawn films"

[classes]
ill = ["ill"]
well = ["well"]

[split]
tune = 0.2
test = 0.5

[preprocess]
size_px = 64

[network]
backbone = "test_resnet"
weights = "random"
pooling = "grid3"

[schedule]
optimiser = "lbfgs"
weight_decay = 0.1
epochs = 6

[judgement]
resamples = 200
"""
TELLS = ("border", "lungs", "marker")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A run on films that only one thing tells, each released as it was tested."""
    made = {}
    for tells in TELLS:
        root = tmp_path_factory.mktemp(tells)
        made[tells] = root / "run"
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("HILUM_CACHE", str(root / "cache"))
            train_run(RECIPE, None, made[tells], given=planted_index(root / "films", FILMS, tells), processes=1)
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    with_known_lungs(monkeypatch)
    without_processes(monkeypatch)


def test_a_network_that_looks_at_the_border_does_as_well_without_lungs(runs):
    finding = frozen.ask_lungs_out(subject_of_run(runs["border"]))
    assert finding.verdict == Verdict.FAIL
    assert finding.worst.value > 0.9
    assert finding.details["films"] == FILMS // 2
    assert "films of the test fold" in finding.says
    assert set(finding.details["roc"]) == {"whole", "lungs hidden"}


def test_a_network_that_looks_at_lungs_is_lost_without_them(runs):
    finding = frozen.ask_lungs_out(subject_of_run(runs["lungs"]))
    assert finding.verdict == Verdict.PASS
    assert finding.worst.value < 0.3


def test_a_network_that_looks_at_a_marker_decides_otherwise_without_it(runs):
    finding = frozen.ask_markers(subject_of_run(runs["marker"]))
    assert finding.verdict == Verdict.FAIL
    flips = finding.details["flips"]
    assert flips[PAINTED] > 0.3, "every film with the marker is decided otherwise without it"
    assert max(flips[control] for control in set(finding.details["controls"].values())) < 0.15
    first = finding.details["examples"][PAINTED][0]
    assert (first["from"], first["to"]) == ("ill", "well")


def test_a_network_that_looks_at_lungs_does_not_mind_markers(runs):
    finding = frozen.ask_markers(subject_of_run(runs["lungs"]))
    assert finding.verdict == Verdict.PASS
    assert {one.of for one in finding.measured} == {PAINTED, *MARKED}
    assert finding.worst.groups == FILMS // 4


def test_what_no_reader_would_notice_flips_nothing_that_is_clear(runs):
    finding = frozen.ask_perturbation(subject_of_run(runs["border"]))
    assert {one.of for one in finding.measured} == set(PERTURBED)
    assert finding.verdict == Verdict.PASS


def test_a_network_that_hangs_on_a_hair_is_found(runs, monkeypatch):
    subject = subject_of_run(runs["lungs"])
    monkeypatch.setattr(frozen, "PERTURBED", {"darkness": _dark})
    finding = frozen.ask_perturbation(subject)
    assert finding.verdict == Verdict.FAIL
    assert finding.worst.value > 0.3
    assert finding.worst.p < 0.01


def _dark(picture: Picture) -> Picture:
    return replace(picture, pixels=np.zeros_like(picture.pixels))


def test_a_network_fitted_again_on_all_films_is_asked_of_its_tune_fold_only(finished):
    subject = subject_of_run(finished)
    films, which = frozen.unfitted_films(subject)
    refit = next((finished / "splits").glob("*-refit.csv"))
    tune = {line.split(",")[0] for line in refit.read_text().splitlines() if ",tune" in line}
    assert set(films["image_id"]) == tune
    assert "tune fold" in which


def test_films_elsewhere_are_all_asked_of(runs, tmp_path):
    elsewhere = planted_index(tmp_path, 40, "lungs", seed=7)
    films, which = frozen.unfitted_films(subject_elsewhere(runs["lungs"], elsewhere))
    assert (len(films), which) == (40, "films scored")


def test_too_few_films_are_not_asked_of(runs):
    subject = subject_of_run(runs["lungs"])
    few = subject.divisions[0].table.assign(fold="train")
    few.loc[few.index[:4], "fold"] = "test"
    with pytest.raises(DataError, match="fewer than 5 groups of two classes"):
        frozen.unfitted_films(replace(subject, divisions=(replace(subject.divisions[0], table=few),)))


def test_a_bundle_that_reads_lungs_cut_out_is_not_asked_without_them(runs):
    subject = subject_of_run(runs["lungs"])
    masked = subject.recipe.model_copy(
        update={"preprocess": subject.recipe.preprocess.model_copy(update={"lungs": "only"})}
    )
    finding = frozen.ask_lungs_out(replace(subject, recipe=masked))
    assert finding.verdict == Verdict.SKIPPED
    assert "already cut out" in finding.reason


def grey(height: int = 200, width: int = 160) -> Picture:
    rng = np.random.default_rng(0)
    film = cv2.resize(rng.random((7, 7)), (width, height), interpolation=cv2.INTER_CUBIC) * 0.3 + 0.3
    return Picture(film.astype(np.float32), seed=3)


@pytest.mark.parametrize("corner", CORNERS)
def test_a_marker_is_put_into_its_corner_found_there_and_painted_over(corner):
    picture = grey()
    marked = changes.marked(picture, corner)
    rows, columns = np.nonzero(marked.pixels != picture.pixels)
    height, width = picture.pixels.shape
    assert (rows.max() < height / 4, rows.min() > height * 3 / 4) == (
        corner.startswith("upper"),
        corner.startswith("lower"),
    )
    assert (columns.max() < width / 4) == corner.endswith("left")
    found = changes.markers_of(marked.pixels)
    assert found[rows, columns].mean() > 0.9
    restored = changes.painted_over(marked)
    assert np.abs(restored.pixels - picture.pixels).max() < 0.15
    assert not changes.markers_of(picture.pixels).any()


def test_controls_are_as_large_and_elsewhere():
    picture = grey()
    marked, control = changes.marked(picture, "upper left"), changes.marked_elsewhere(picture)
    changed = [(one.pixels != picture.pixels) for one in (marked, control)]
    assert changed[1].sum() == pytest.approx(changed[0].sum(), rel=0.5)
    assert not (changed[0] & changed[1]).any()
    assert np.array_equal(control.pixels, changes.marked_elsewhere(picture).pixels), "drawn by the film's own number"
    elsewhere = changes.painted_elsewhere(marked).pixels != marked.pixels
    assert elsewhere.any()
    assert not (elsewhere & changes.markers_of(marked.pixels)).any()


@pytest.mark.parametrize("name", PERTURBED)
def test_what_no_reader_would_notice_changes_little_and_something(name):
    picture = replace(grey(), lungs=np.ones((200, 160), bool))
    changed = PERTURBED[name](picture)
    assert changed.pixels.dtype == np.float32
    assert 0 <= changed.pixels.min() <= changed.pixels.max() <= 1
    assert changed.lungs.shape == changed.pixels.shape
    if changed.pixels.shape == picture.pixels.shape:
        assert 0 < np.abs(changed.pixels - picture.pixels).mean() < 0.1
    else:
        assert changed.pixels.shape == (188, 150)


def test_lungs_that_are_not_known_cannot_be_hidden():
    with pytest.raises(DataError, match="no lung mask"):
        changes.without_lungs(grey())
    lungs = np.zeros((100, 80), bool)
    lungs[30:60, 20:60] = True
    hidden = changes.without_lungs(replace(grey(), lungs=lungs)).pixels
    assert np.ptp(hidden[60:120, 40:120]) == 0, "a mask of another size is brought to the film's"

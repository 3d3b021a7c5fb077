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
from hilum.errors import DataError, UsageError
from hilum.run import train_run

from .drawing import Lungs, planted_index, with_known_lungs, without_processes

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


@pytest.fixture(scope="module")
def cropped(tmp_path_factory) -> dict[str, Path]:
    """Runs that see no more than the box of the lungs that hilum draws: what tells is in the lungs, or between them."""
    made = {}
    for tells in ("lungs", "gap"):
        root = tmp_path_factory.mktemp(tells)
        made[tells] = root / "run"
        text = RECIPE.replace("size_px = 64", 'size_px = 64\nlungs = "crop"\nmasks = "made"')
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("HILUM_CACHE", str(root / "cache"))
            with_known_lungs(patched)
            train_run(text, None, made[tells], given=planted_index(root / "films", FILMS, tells), processes=1)
    return made


def test_a_bundle_that_sees_the_lungs_box_is_asked_with_the_box_and_without_the_lungs(cropped):
    found = {tells: frozen.ask_lungs_out(subject_of_run(run)) for tells, run in cropped.items()}
    assert found["lungs"].verdict == Verdict.PASS
    assert found["lungs"].worst.value < 0.3
    assert found["gap"].verdict == Verdict.FAIL, "what is between the lungs is left"
    assert found["gap"].worst.value > 0.8
    assert "the model sees the box of the lungs that were there" in found["gap"].says
    assert found["gap"].details["sees"] == "crop"


def test_lungs_are_drawn_anew_on_every_changed_film(cropped, monkeypatch):
    sizes = []

    class Sees(Lungs):
        def probabilities(self, frames):
            sizes.append(len(frames))
            return super().probabilities(frames)

    monkeypatch.setattr("hilum.predict.lungs_bundle", Sees)
    finding = frozen.ask_perturbation(subject_of_run(cropped["lungs"]))
    assert sizes == [1 + len(PERTURBED)] * (FILMS // 2)
    assert finding.verdict == Verdict.PASS
    assert finding.details["no lung found"] == {}


def test_a_film_whose_lungs_are_lost_by_a_change_counts_as_flipped_and_is_counted(cropped, monkeypatch):
    class Loses(Lungs):
        def probabilities(self, frames):
            found = super().probabilities(frames)
            found[frames.mean((1, 2)) < 40] = 0
            return found

    monkeypatch.setattr("hilum.predict.lungs_bundle", Loses)
    monkeypatch.setattr(frozen, "PERTURBED", {"darkness": _dark})
    finding = frozen.ask_perturbation(subject_of_run(cropped["lungs"]))
    assert finding.worst.value == 1
    assert finding.details["no lung found"] == {"darkness": FILMS // 2}
    assert f"on up to {FILMS // 2} films no lung is found" in finding.says
    assert finding.details["examples"]["darkness"][0]["to"] == "no lung found"


def test_films_without_lungs_as_they_are_are_never_asked_of(cropped, monkeypatch):
    class Misses(Lungs):
        asked = 0

        def probabilities(self, frames):
            found = super().probabilities(frames)
            Misses.asked += 1
            found[:] *= Misses.asked % 4 > 0
            return found

    monkeypatch.setattr("hilum.predict.lungs_bundle", Misses)
    finding = frozen.ask_perturbation(subject_of_run(cropped["lungs"]))
    assert finding.worst.n == FILMS // 2 * 3 // 4
    assert finding.details["no lung found"] == {}


def test_a_bundle_is_not_asked_by_lungs_that_it_was_not_taught_with(cropped, monkeypatch):
    class Other(Lungs):
        digest = "b2" * 32

    monkeypatch.setattr("hilum.predict.lungs_bundle", Other)
    with pytest.raises(UsageError, match="taught with lungs that bundle a1a1a1a1a1a1 drew"):
        frozen.ask_markers(subject_of_run(cropped["lungs"]))


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


def test_of_a_box_of_lungs_only_the_lungs_are_hidden():
    lungs = np.zeros((200, 160), bool)
    lungs[50:150, 30:60] = lungs[50:150, 100:130] = True
    lungs[90:110, 30:45] = False  # a dent, such as a consolidated part leaves
    picture = replace(grey(), lungs=lungs)
    left = changes.without_drawn_lungs(picture)
    assert np.ptp(left.pixels[lungs]) == 0
    assert np.ptp(left.pixels[90:110, 30:60]) == 0, "the dent is hidden too"
    assert np.array_equal(left.pixels[:, 70:90], picture.pixels[:, 70:90]), "what is between them is not"
    assert np.array_equal(left.lungs, lungs)
    with pytest.raises(DataError, match="no lung mask"):
        changes.without_drawn_lungs(grey())

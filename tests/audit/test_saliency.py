"""Where maps of the audited bundle lie: in lungs where these tell the label, elsewhere where the border does."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum.audit import saliency
from hilum.audit.check import Verdict
from hilum.audit.questions import QUESTIONS
from hilum.audit.runs import subject_of_run
from hilum.errors import DataError
from hilum.run import train_run

from .drawing import LEFT, RIGHT, planted_index, with_known_lungs, without_processes
from .test_frozen import RECIPE

FINER = RECIPE.replace('pooling = "grid3"', 'pooling = "grid3"\nlevel = -3')
"""Maps of the last level are 2 x 2: they show no lung."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    made = {}
    for tells in ("border", "lungs"):
        root = tmp_path_factory.mktemp(tells)
        made[tells] = root / "run"
        index = planted_index(root / "films", 64, tells, lesions=tells == "lungs")
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("HILUM_CACHE", str(root / "cache"))
            train_run(FINER, None, made[tells], given=index, processes=1)
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    with_known_lungs(monkeypatch)
    without_processes(monkeypatch)
    monkeypatch.setattr(saliency, "CHECKED", 2)


def test_maps_lie_in_lungs_where_lungs_tell_more_than_where_the_border_does(runs):
    found = {tells: saliency.ask_saliency_in_lungs(subject_of_run(run)) for tells, run in runs.items()}
    lungs, border = (found[tells].worst.value for tells in ("lungs", "border"))
    assert border < 1.5
    assert lungs > border
    assert found["border"].verdict in (Verdict.WARN, Verdict.FAIL)
    details = found["lungs"].details
    assert details["maps"] == len(details["ratios"]) <= details["films"] == 32
    assert set(details[saliency.KEPT]) == {"head", "all"}
    assert details["examples"][0]["ratio"] == min(details["ratios"])


def test_maps_of_a_bundle_that_sees_the_lungs_box_are_held_against_the_box_and_shown(tmp_path, monkeypatch):
    text = FINER.replace("size_px = 64", 'size_px = 64\nlungs = "crop"\nmasks = "made"')
    index = planted_index(tmp_path / "films", 64, "lungs")
    run = train_run(text, None, tmp_path / "run", given=index, processes=1)
    subject = replace(subject_of_run(run.folder), out=tmp_path / "audit")
    finding = saliency.ask_saliency_in_lungs(subject)
    seen = finding.details["of the part seen"]
    box = (RIGHT[0].stop - RIGHT[0].start) * (LEFT[1].stop - RIGHT[1].start)
    lungs = 2 * (RIGHT[0].stop - RIGHT[0].start) * (RIGHT[1].stop - RIGHT[1].start)
    assert seen["area"] == pytest.approx(lungs / box, rel=0.1)
    assert seen["ratio"] == pytest.approx(seen["energy"] / seen["area"], rel=0.1)
    assert "of the part of the film that the model sees" in finding.says
    assert finding.pictures == ("saliency-in-lungs-worst.png", "saliency-in-lungs-ordinary.png")
    for name in finding.pictures:
        sheet = cv2.imread(str(tmp_path / "audit" / name))
        assert sheet is not None
        assert sheet.shape[1] > 1000
        assert (sheet.max(2).astype(int) - sheet.min(2) > 100).any(), "maps have colour"


def test_without_a_folder_no_picture_is_written(runs):
    assert saliency.ask_saliency_on_lesions(subject_of_run(runs["lungs"])).pictures == ()


def test_maps_that_weights_hardly_change_are_a_warning_at_most(runs, monkeypatch):
    monkeypatch.setattr("hilum.explain.judging.HARDLY_CHANGES", 0.0)
    finding = saliency.ask_saliency_in_lungs(subject_of_run(runs["border"]))
    assert finding.verdict != Verdict.FAIL
    assert "prove little" in finding.says


def test_maps_are_held_against_lesions_that_lie_beside_the_films(runs):
    finding = saliency.ask_saliency_on_lesions(subject_of_run(runs["lungs"]))
    assert finding.verdict in (Verdict.PASS, Verdict.WARN)
    assert finding.worst.n == finding.details["maps"] >= 10
    assert 0 <= finding.details["pointing"] <= 1
    assert finding.details["pointing by chance"] == pytest.approx(32 * 14 / 96**2, rel=0.05)


def test_without_lesions_drawn_there_is_no_question(runs):
    finding = saliency.ask_saliency_on_lesions(subject_of_run(runs["border"]))
    assert finding.verdict == Verdict.SKIPPED
    assert "lesions are drawn on 0 of the 32" in finding.reason


def test_lesions_of_several_kinds_are_lesions(tmp_path):
    index = planted_index(tmp_path, 2, "lungs", lesions=True)
    film = index.path(index.films["path"].iloc[0])
    first = saliency.lesions_beside(film, (96, 96))
    assert first.sum() == 32 * 14
    other = tmp_path / "here" / "masks" / "ggo" / film.name
    other.parent.mkdir()
    other.write_bytes((tmp_path / "here" / "masks" / "lesions" / film.name).read_bytes())
    assert np.array_equal(saliency.lesions_beside(film, (96, 96)), first)
    with pytest.raises(DataError, match="its film 90 x 96"):
        saliency.lesions_beside(film, (96, 90))
    assert saliency.lesions_beside(tmp_path / "elsewhere" / "film.png", (96, 96)) is None


def test_a_median_is_judged_by_groups_and_a_sign_test():
    limit = QUESTIONS["saliency-in-lungs"].warn
    group = np.arange(20)
    assert saliency._sign_p(np.full(20, limit - 0.5), group, limit) == pytest.approx(0.5**20)
    assert saliency._sign_p(np.full(20, limit + 0.5), group, limit) == pytest.approx(1.0)
    assert saliency._sign_p(np.full(20, limit - 0.5), np.zeros(20, int), limit) == pytest.approx(0.5)

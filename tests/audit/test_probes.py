"""Probes trained anew: what tells the label, or the source, is planted where a test knows it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum.audit import probes
from hilum.audit.areas import area_of, kept_share
from hilum.audit.check import Verdict
from hilum.audit.lungless import blanked, hidden_of
from hilum.audit.sampling import some_films
from hilum.audit.subject import Division, Subject
from hilum.errors import DataError
from hilum.metrics import resampled_groups
from hilum.recipe import Network
from hilum.scoring import Predicted
from hilum.selection import TARGET

from .drawing import CLASSES, planted_index, with_known_lungs, without_processes


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A random tiny network in place of Lite0."""
    monkeypatch.setattr(probes, "NETWORK", Network(backbone="test_resnet", weights="random", pooling="grid3"))
    monkeypatch.setattr(probes, "SIZE_PX", 64)
    with_known_lungs(monkeypatch)
    without_processes(monkeypatch)


def subject(root: Path, films: int, *tells: str, **told) -> Subject:
    """Somebody's scores, which say nothing, for films with something planted."""
    index = planted_index(root, films, *tells, **told)
    table = index.films.assign(**{TARGET: np.where(index.films["label.ill"], *CLASSES)}).astype({TARGET: "string"})
    return of_films(table, root)


def of_films(table: pd.DataFrame, root: Path, **told) -> Subject:
    guess = np.random.default_rng(0).random(len(table))
    told_of = pd.DataFrame({"image_id": table["image_id"], "repeat": 0, "fold": "test", "reference": table[TARGET]})
    predictions = told.pop("predictions", told_of.assign(**{"p.ill": guess, "p.well": 1 - guess}))
    given = {"title": "drawn", "kind": "scores", "classes": CLASSES, "root": root, "index_digest": "0" * 64}
    return Subject(films=table, predictions=predictions, **(given | told))


def test_where_only_the_border_tells_the_label_it_is_told_without_lungs(tmp_path):
    finding = probes.ask_lungs_out(subject(tmp_path, 60, "border"))
    assert finding.verdict == Verdict.FAIL
    assert finding.worst.value > 0.9
    assert finding.worst.low < finding.worst.value
    assert finding.worst.groups == 30
    assert set(finding.details["roc"]) == {"whole", "lungs hidden"}
    assert set(finding.details["examples"]) == set(CLASSES)
    assert finding.details["films"] == finding.details["of"] == 60


def test_where_only_lungs_tell_the_label_nothing_is_left_without_them(tmp_path):
    finding = probes.ask_lungs_out(subject(tmp_path, 60, "lungs"))
    assert finding.verdict == Verdict.PASS
    assert finding.worst.value < 0.5
    assert finding.details["auroc"]["whole"]["value"] > 0.95


def test_where_nothing_tells_the_label_there_is_nothing_to_lose(tmp_path):
    finding = probes.ask_lungs_out(subject(tmp_path, 40))
    assert finding.verdict == Verdict.SKIPPED
    assert "which chance gives too" in finding.reason


def test_the_model_s_own_folds_are_used_and_no_group_is_on_both_sides(tmp_path):
    audited = subject(tmp_path, 80, "border")
    fold = np.where(np.arange(80) < 41, "train", "test")  # films 40 and 41 are of one patient
    divided = of_films(audited.films, tmp_path, divisions=(Division(0, "0", audited.films.assign(fold=fold)),))
    (split,) = probes.own_splits(divided, divided.films)
    assert (len(split.rows("train")), len(split.rows("test"))) == (40, 39)
    finding = probes.ask_lungs_out(divided)
    assert finding.verdict in (Verdict.WARN, Verdict.FAIL)
    assert finding.worst.n == 39


def test_a_source_that_shows_in_the_lungs_is_told_within_a_label(tmp_path):
    finding = probes.ask_source_within_label(subject(tmp_path, 128, "source", sources=("here", "there")))
    assert finding.verdict in (Verdict.WARN, Verdict.FAIL)
    assert {one.of for one in finding.measured} == {"of ill", "of well"}
    assert finding.worst.value > 0.3
    assert np.sum(finding.details["labels"][0]["confusion"]) == 64


@pytest.mark.parametrize("tells", [True, False], ids=["tells the label", "dealt by lot"])
def test_hospitals_that_look_different_fail_only_where_they_tell_the_label(tmp_path, monkeypatch, tells):
    question = replace(probes.QUESTIONS["source-within-label"], fail=0.15)  # 128 films do not reach beyond .3
    monkeypatch.setattr(probes, "QUESTIONS", {**probes.QUESTIONS, question.name: question})
    asked = subject(tmp_path, 128, "source", sources=("here", "there"))
    about_source = probes.ask_source(asked)
    assert about_source.verdict == Verdict.PASS
    if tells:
        monkeypatch.setattr(probes, "ask_source", lambda _: replace(about_source, verdict=Verdict.WARN))
    finding = probes.ask_source_within_label(asked)
    assert finding.verdict == (Verdict.FAIL if tells else Verdict.WARN)
    assert ("gains nothing by it" in finding.says) != tells


def test_a_source_in_name_only_is_not_told(tmp_path):
    finding = probes.ask_source_within_label(subject(tmp_path, 128, "lungs", sources=("here", "there")))
    assert finding.verdict == Verdict.PASS
    assert finding.worst.p > 0.01


@pytest.mark.parametrize(
    ("films", "sources", "says"),
    [(40, ("here",), "one source by name, here"), (48, ("here", "there"), "no label has 10 groups of films in two")],
)
def test_without_two_sources_within_a_label_there_is_no_question(tmp_path, films, sources, says):
    finding = probes.ask_source_within_label(subject(tmp_path, films, sources=sources))
    assert finding.verdict == Verdict.SKIPPED
    assert says in finding.reason


def test_what_does_not_hold_at_another_source_is_found_by_keeping_it_out(tmp_path):
    finding = probes.ask_unseen_source(subject(tmp_path, 96, "reversed", sources=("here", "there", "yonder")))
    assert finding.verdict == Verdict.FAIL
    assert finding.worst.of == "here"
    assert finding.worst.value > 0.5
    assert finding.details["by"] == "probe"
    assert finding.details["unseen"]["n"] == 32
    assert finding.details["unseen"]["value"] < 0.5


def test_what_holds_everywhere_is_not_lost(tmp_path):
    finding = probes.ask_unseen_source(subject(tmp_path, 96, "lungs", sources=("here", "there", "yonder")))
    assert finding.verdict == Verdict.PASS
    assert len(finding.measured) == 3
    assert abs(finding.worst.value) < 0.1


def test_a_label_of_one_source_cannot_be_learnt_without_it(tmp_path):
    audited = subject(tmp_path, 48, "lungs", sources=("here", "there"))
    alone = audited.films[(audited.films["source"] == "here") == (audited.films[TARGET] == "ill")]
    finding = probes.ask_unseen_source(of_films(alone.reset_index(drop=True), tmp_path))
    assert finding.verdict == Verdict.SKIPPED
    assert finding.reason.startswith("all films of ill and of well come from one source each")


def test_a_model_with_films_of_an_unseen_source_is_asked_itself(tmp_path):
    audited = subject(tmp_path, 80, sources=("here", "there"))
    there = (audited.films["source"] == "there").to_numpy()
    ill = (audited.films[TARGET] == "ill").to_numpy()
    skill = np.where(there, 0.5 + 0.01 * np.arange(80) % 0.1, np.where(ill, 0.9, 0.1))
    fold = np.where(there, "external", "test")
    told = audited.predictions.assign(fold=fold, **{"p.ill": skill, "p.well": 1 - skill})
    finding = probes.ask_unseen_source(of_films(audited.films, tmp_path, predictions=told))
    assert (finding.verdict, finding.worst.of, finding.details["by"]) == (Verdict.FAIL, "there", "model")
    assert finding.details["sources"][0]["inside"]["value"] == 1.0


def test_some_films_are_whole_groups_of_every_class_and_source_in_proportion():
    rows = np.arange(400)
    films = pd.DataFrame(
        {
            "image_id": [f"{row:03d}" for row in rows],
            "group_id": [f"g{row // 2}" for row in rows],
            TARGET: np.where(rows % 8 < 6, "ill", "well"),
            "source": np.where(rows < 300, "here", "there"),
        }
    )
    some = some_films(films, 100)
    assert 96 <= len(some) <= 100
    assert some["group_id"].value_counts().eq(2).all()
    assert (some[TARGET] == "ill").mean() == pytest.approx(0.75, abs=0.03)
    assert (some["source"] == "here").mean() == pytest.approx(0.75, abs=0.03)
    shuffled = some_films(films.sample(frac=1, random_state=1), 100)
    assert set(shuffled["image_id"]) == set(some["image_id"])
    assert some_films(films, 400).equals(films)


def test_the_box_of_both_lungs_is_hidden_and_filled_with_the_rest_s_mean():
    lungs = np.zeros((100, 200), bool)
    lungs[20:60, 40:80] = lungs[30:80, 120:150] = True
    hidden = hidden_of(lungs)
    assert np.array_equal(np.flatnonzero(hidden.any(axis=1)), np.arange(17, 83))
    assert np.array_equal(np.flatnonzero(hidden.any(axis=0)), np.arange(34, 156))
    film = np.where(hidden, 0.9, 0.2).astype(np.float32)
    assert blanked(film, hidden) == pytest.approx(0.2)
    whole = np.ones_like(lungs)
    assert blanked(film, whole) == pytest.approx(film.mean())


def predicted(skill: float, films: int = 200) -> Predicted:
    rng = np.random.default_rng(3)
    target = np.arange(films) % 2
    p = 1 / (1 + np.exp(-(skill * (1 - 2 * target) + rng.normal(0, 1, films))))
    repeats = ((np.arange(films), np.stack([p, 1 - p], axis=1)),)
    return Predicted("test", CLASSES, target, np.arange(films) // 2, repeats)


def test_what_is_left_of_an_auroc_is_measured_against_one_half():
    one, whole, left = kept_share("hidden", predicted(1.5), predicted(0.5), 200)
    assert one.value == pytest.approx((left.value - 0.5) / (whole.value - 0.5))
    assert one.low < one.value < one.high
    same, _, _ = kept_share("hidden", predicted(1.5), predicted(1.5), 200)
    assert (same.value, same.low, same.high) == pytest.approx((1.0, 1.0, 1.0)), "paired: nothing is left to chance"
    with pytest.raises(DataError, match="nothing that could be lost"):
        kept_share("hidden", predicted(0.0), predicted(0.0), 200)


def test_films_of_one_class_have_no_auroc():
    one_class = predicted(1.0).only(np.arange(200) % 2 == 0)
    with pytest.raises(DataError, match="one class only"):
        area_of(one_class, resampled_groups(100, 50))


def test_a_film_that_is_all_lungs_keeps_its_outermost_pixels():
    hidden = hidden_of(np.ones((40, 30), bool))
    assert hidden.sum() == 38 * 28
    assert not hidden[0].any()
    part = np.zeros((100, 100), bool)
    part[20:60, 30:70] = True
    assert hidden_of(part).sum() == (40 + 6) * (40 + 6), "3 % of either side more, all round"

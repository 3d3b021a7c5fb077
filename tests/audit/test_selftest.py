"""Cohorts with a known answer: marks lie where they should, controls carry none, and the self-test tells them apart."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.audit import selftest, tested
from hilum.audit.check import Measured, Verdict, found
from hilum.audit.planted import KINDS, MARKS, Plant, Stock, draw_cohort, stock_of
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import Audit
from hilum.audit.selftest import self_test
from hilum.audit.subject import Subject
from hilum.audit.tested import Seen, SelfTest, Trial, ask_self_test, audit_key, remembered, rows_of
from hilum.errors import DataError, UsageError

FILMS = 60


def _draw(path: Path, grey: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8))


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """Drawn films of 40 patients in the form of a simulated cohort; disease is a brighter middle."""
    root, rng = tmp_path_factory.mktemp("stock"), np.random.default_rng(0)
    rows = []
    for number in range(FILMS):
        film = cv2.resize(rng.random((8, 8)), (96, 96), interpolation=cv2.INTER_CUBIC) * 0.4 + 0.2
        _draw(root / "simulated" / "without" / f"{number}.png", film)
        film[32:64, 32:64] += 0.3
        _draw(root / "simulated" / "images" / f"{number}.png", film)
        rows.append(
            {
                "file": f"simulated/images/{number}.png",
                "counterfactual": f"simulated/without/{number}.png",
                "patient_id": f"p{number % 40}",
                "view": ("PA", "AP")[int(rng.integers(2))],
                "sex": ("F", "M")[int(rng.integers(2))],
                "age": int(rng.integers(20, 90)),
                "site": f"site{int(rng.integers(4))}",
                "manufacturer": "maker",
                "licence": "drawn",
            }
        )
    with (root / "simulated" / "index.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return stock_of(root / "simulated", processes=1)


def table_of(subject: Subject) -> pd.DataFrame:
    """image_id, target, view, source, and what the path says of the look."""
    films = subject.films
    stem = films["path"].str.removesuffix(".png").str.split("-")
    return films.assign(ill=stem.str[1] == "ill", mark=stem.str[2].astype("string").fillna(""))


def test_a_stock_keeps_every_film_in_every_look(stock: Stock) -> None:
    assert len(stock.paths) == len(stock.facts) == len(stock.thumbnails) == FILMS * 2 * (1 + len(MARKS))
    hashes = [stock.facts[stock.picture(7, ill=ill, mark=m)].sha256 for ill in (True, False) for m in ("", *MARKS)]
    assert len(set(hashes)) == len(hashes)
    middle = stock.thumbnails[stock.picture(7, ill=True, mark="")].astype(int) - stock.thumbnails[
        stock.picture(7, ill=False, mark="")
    ].astype(int)
    assert middle[12:20, 12:20].mean() > 40
    assert np.abs(middle[:8]).max() == 0


def test_a_marker_changes_nothing_but_its_corner(stock: Stock) -> None:
    plain, marked = (stock.thumbnails[stock.picture(3, ill=True, mark=mark)].astype(int) for mark in ("", "marker"))
    changed = np.argwhere(np.abs(marked - plain) > 3)
    assert len(changed)
    assert changed[:, 0].max() < 8
    assert changed[:, 1].min() >= 24


@pytest.mark.parametrize("kind", MARKS)
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_so_many_positive_films_carry_the_mark_and_no_other_does(stock: Stock, kind: str, strength: float) -> None:
    films = table_of(draw_cohort(stock, Plant(kind=kind, strength=strength), seed=1))
    positive = films["target"] == "covid19"
    marked = films["mark"] == kind
    assert not marked[~positive].any()
    assert marked.sum() == round(strength * positive.sum())
    assert (films["ill"] == positive).all()


@pytest.mark.parametrize(("kind", "column", "value"), [("view", "view", "AP"), ("source", "source", "hospital a")])
def test_a_trait_is_chosen_as_often_as_the_strength_asks(stock: Stock, kind: str, column: str, value: str) -> None:
    for strength in (0.0, 0.5, 1.0):
        films = table_of(draw_cohort(stock, Plant(kind=kind, strength=strength), seed=2))
        shares = (films[column] == value).groupby(films["target"]).mean()
        assert shares["covid19"] == pytest.approx((1 + strength) / 2, abs=0.1)
        assert shares["normal"] == pytest.approx((1 - strength) / 2, abs=0.1)
        assert (films["mark"] == "").all()


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_control_has_the_same_films_and_marks_but_labels_by_lot(stock: Stock, kind: str) -> None:
    planted = table_of(draw_cohort(stock, Plant(kind=kind, disease=False), seed=3)).set_index("image_id")
    control = table_of(draw_cohort(stock, Plant(kind=kind, disease=False, shuffled=True), seed=3)).set_index("image_id")
    assert control.index.equals(planted.index)
    assert (control["sha256"] == planted["sha256"]).all()
    assert 0.25 < (control["target"] == planted["target"]).mean() < 0.75
    labels = control.groupby("patient_id")["target"].nunique()
    assert (labels == 1).all()


@pytest.mark.parametrize("kind", MARKS)
def test_a_scattered_control_has_the_same_films_and_disease_but_marks_by_lot(stock: Stock, kind: str) -> None:
    planted = table_of(draw_cohort(stock, Plant(kind=kind), seed=3)).set_index("image_id")
    control = table_of(draw_cohort(stock, Plant(kind=kind, scattered=True), seed=3)).set_index("image_id")
    for column in ("target", "ill", "patient_id"):
        assert control[column].equals(planted[column])
    marked = control["mark"] == kind
    assert marked.sum() == (planted["mark"] == kind).sum() == planted["ill"].sum()
    assert 0.25 < marked[control["ill"]].mean() < 0.75


def test_cohorts_repeat_with_their_seed_and_differ_without(stock: Stock) -> None:
    one, again, other = (draw_cohort(stock, Plant(kind="frame"), seed=seed, films=30) for seed in (4, 4, 5))
    assert one.digest == again.digest != other.digest
    assert len(one.films) == 30
    films = table_of(draw_cohort(stock, Plant(disease=False), seed=4))
    assert not films["ill"].any()


def test_thumbnails_follow_the_films_asked_for(stock: Stock) -> None:
    subject = draw_cohort(stock, Plant(kind="curve"), seed=6)
    expected = [stock.thumbnails[stock.paths.index(path)] for path in subject.films["path"]]
    assert np.array_equal(subject.thumbnails, expected)


def test_wrong_plants_and_lost_films_are_refused(stock: Stock, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'marker'"):
        Plant(kind="markr")
    with pytest.raises(UsageError, match="strength of a planted frame is 2"):
        Plant(kind="frame", strength=2)
    with pytest.raises(UsageError, match="a view is no mark that could be scattered; name one of marker"):
        Plant(kind="view", scattered=True)
    (tmp_path / "simulated").mkdir()
    told = (stock.root / "simulated" / "index.csv").read_text(encoding="utf-8")
    (tmp_path / "simulated" / "index.csv").write_text(told, encoding="utf-8")
    with pytest.raises(DataError, match=r"0\.png is gone"):
        stock_of(tmp_path / "simulated", processes=1)


def trial(kind: str = "frame", *, control: bool = False, verdict: Verdict = Verdict.FAIL) -> Trial:
    seen = () if verdict == Verdict.PASS else (Seen(check="edges", of="border", verdict=verdict, value=0.9, low=0.8),)
    return Trial(kind=kind, control=control, films=60, verdict=verdict, seen=seen)


def test_the_test_fails_where_a_plant_is_missed_or_a_control_accused() -> None:
    good, passed = trial(), trial(control=True, verdict=Verdict.PASS)
    assert SelfTest("k", (good, passed)).verdict == Verdict.PASS
    missed = SelfTest("k", (trial(verdict=Verdict.PASS), passed))
    assert (missed.verdict, missed.missed, missed.accused) == (Verdict.FAIL, ("frame",), ())
    accused = SelfTest("k", (good, trial(control=True, verdict=Verdict.WARN)))
    assert (accused.verdict, accused.missed, accused.accused) == (Verdict.FAIL, (), ("frame",))
    skipped = SelfTest("k", (trial(verdict=Verdict.SKIPPED), trial(control=True, verdict=Verdict.SKIPPED)))
    assert (skipped.missed, skipped.accused) == (("frame",), ("frame",))


def test_a_row_says_which_check_saw_what() -> None:
    made = SelfTest("k", (trial(), trial(control=True, verdict=Verdict.PASS)))
    assert rows_of(made) == [("frame", "FAIL", "edges: border 0.90 (FAIL)", "PASS", "-")]


@pytest.fixture
def small(stock: Stock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test of one kind by one check, on drawn films; without torch, so that no probe is trained."""
    monkeypatch.setattr(selftest, "find_spec", lambda _name: None)
    monkeypatch.setattr(selftest, "ASKED", ("edges",))
    monkeypatch.setattr(selftest, "make_stock", lambda *_args, **_named: stock)
    monkeypatch.setattr(selftest, "KINDS", {"frame": KINDS["frame"]})


@pytest.mark.usefixtures("small")
def test_a_planted_frame_is_found_its_control_passes_and_check_22_says_so(stock: Stock, tmp_path: Path) -> None:
    subject = draw_cohort(stock, Plant(), seed=0)
    before = ask_self_test(subject)
    assert before.verdict == Verdict.SKIPPED
    assert "--self-test" in (before.reason or "")
    made = self_test(tmp_path)
    planted, control = made.trials
    assert (planted.verdict, control.verdict, made.verdict) == (Verdict.FAIL, Verdict.PASS, Verdict.PASS)
    assert planted.seen[0].check == "edges"
    assert json.loads((tmp_path / tested.RESULT).read_text(encoding="utf-8"))["verdict"] == "PASS"
    assert remembered() == made
    finding = ask_self_test(subject)
    assert (finding.verdict, finding.measured[0].value) == (Verdict.PASS, 0)
    assert "1 of 1 planted shortcuts were flagged and 0 of 1 controls accused" in finding.says


def test_a_probe_is_shown_a_mark_that_tells_a_visible_disease_and_the_same_mark_scattered(
    stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe's own answers are made up: it must keep its score where the mark tells the label, and only there."""
    pytest.importorskip("torch")
    shown: list[pd.DataFrame] = []

    def audited(subject: Subject, _folder: Path, *, only: tuple[str, ...]) -> Audit:
        assert only == ("lungs-out-retrained",)
        shown.append(table_of(subject))
        marked = shown[-1]["mark"] == selftest.OUTSIDE
        kept = float((marked == shown[-1]["ill"]).mean())
        one = Measured(of="lungs hidden", value=kept, low=kept - 0.05, high=1, p=0.001 if kept > 0.9 else 0.5, n=40)
        finding = found(QUESTIONS["lungs-out-retrained"], [one], "?")
        return Audit(
            title="t", kind="scores", subject_digest="", index_digest="", bundle_digest=None, score=None, external=None,
            findings=(finding,), n_films=40, n_groups=20,
        )  # fmt: skip

    monkeypatch.setattr(selftest, "run_audit", audited)
    monkeypatch.setattr(selftest, "make_stock", lambda *_args, **_named: stock)
    monkeypatch.setattr(selftest, "KINDS", {})
    monkeypatch.setattr(selftest, "PROBE_FILMS", 40)
    made = self_test(tmp_path)
    assert [len(films) for films in shown] == [40, 40]
    assert all((films["ill"] == (films["target"] == "covid19")).all() for films in shown)
    planted, control = made.trials
    assert (planted.verdict, control.verdict, made.verdict) == (Verdict.FAIL, Verdict.PASS, Verdict.PASS)
    assert rows_of(made)[0][0] == "marker, lungs hidden"
    assert planted.seen[0].check == "lungs-out-retrained"


@pytest.mark.usefixtures("small")
def test_an_audit_that_sees_nothing_fails(stock: Stock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "ASKED", ("attributes",))
    made = self_test(tmp_path)
    assert made.missed == ("frame",)
    assert ask_self_test(draw_cohort(stock, Plant(), seed=0)).verdict == Verdict.FAIL


@pytest.mark.usefixtures("small")
def test_an_answer_about_another_audit_or_a_damaged_one_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remembered() is None
    monkeypatch.setattr(selftest, "ASKED", ("source",))
    made = self_test(tmp_path)
    assert remembered() == made
    with monkeypatch.context() as patched:
        for name, change in (("edges", {"warn": 0.7}), ("edges", {"own": {}}), ("lungs-out-retrained", {"warn": 0.3})):
            patched.setattr(tested, "QUESTIONS", {**QUESTIONS, name: replace(QUESTIONS[name], **change)})
            assert audit_key() != made.key
            assert remembered() is None
    tested.memory().write_text("{", encoding="utf-8")
    assert remembered() is None

import json
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hilum.audit import apart, running, table
from hilum.audit.check import Finding, Limits, Measured, Verdict, found, judge, outdated, skipped, worst
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import as_dict, headline, load_audit, verdict_words
from hilum.audit.running import run_audit
from hilum.errors import DataError, UsageError
from hilum.parallel import spread, unwatched

from .conftest import film_table, score_table

CHEAP = ("too-good", "size", "calibration", "provenance")


def planted(films=200):
    told = film_table(films)
    source = np.where(told["target"] == "covid19", "here", "there")
    return told.assign(source=pd.array(source, dtype="string"))


def test_questions_are_numbered_and_the_table_is_in_their_order():
    assert [question.number for question in QUESTIONS.values()] == list(range(1, 24))
    numbers = [check.question.number for check in table.CHECKS.values()]
    assert numbers == sorted(set(numbers))
    assert all(name == check.question.name for name, check in table.CHECKS.items())


def test_limits_lie_in_order():
    for question in QUESTIONS.values():
        for limits in (Limits(question.warn, question.fail), *question.own.values()):
            if limits.warn is not None and limits.fail is not None:
                assert (limits.warn < limits.fail) != question.low_is_bad


def test_chance_and_bound_are_both_needed():
    question = QUESTIONS["header"]
    sure = Measured(of="header", value=0.9, low=0.8, high=1.0, p=0.001, n=50)
    assert judge(question, sure) == Verdict.FAIL
    assert judge(question, replace(sure, p=0.02)) == Verdict.PASS
    assert judge(question, replace(sure, low=0.55)) == Verdict.PASS
    assert judge(question, replace(sure, p=None)) == Verdict.PASS
    low = replace(sure, value=0.9, high=0.93)
    assert judge(QUESTIONS["gate"], low) == Verdict.FAIL


def test_the_worst_measurement_decides_and_leads():
    mild, bad = (Measured(of=of, value=v, low=v - 0.05, high=1.0, p=0.001, n=9) for of, v in (("a", 0.7), ("b", 0.9)))
    finding = found(QUESTIONS["edges"], [mild, bad], "?")
    assert (finding.verdict, finding.worst.of) == (Verdict.FAIL, "b")
    assert found(QUESTIONS["edges"], [mild], "?", at_least=Verdict.FAIL).verdict == Verdict.FAIL
    assert found(QUESTIONS["edges"], [bad], "?", at_most=Verdict.PASS).verdict == Verdict.PASS


def edge(of, low):
    return Measured(of=of, value=low + 0.05, low=low, high=low + 0.1, p=0.001, n=99)


@pytest.mark.parametrize(
    ("low", "border", "thumbnail"),
    [
        (0.59, "PASS", "PASS"),
        (0.65, "WARN", "PASS"),
        (0.72, "WARN", "WARN"),
        (0.8, "FAIL", "WARN"),
        (0.91, "FAIL", "FAIL"),
    ],
)
def test_a_measurement_with_limits_of_its_own_is_judged_by_them(low, border, thumbnail):
    """A thumbnail shows disease, a border does not."""
    question = QUESTIONS["edges"]
    assert [judge(question, edge(of, low)).value for of in ("border", "thumbnail")] == [border, thumbnail]
    assert judge(question, edge("histogram", low)) == judge(question, edge("thumbnail", low))
    assert judge(question, edge("corners", low)) == judge(question, edge("border", low))


def test_a_finding_keeps_what_each_measurement_was_judged_by():
    """The border is past its limit, the thumbnail is not, though its value is the larger."""
    finding = found(QUESTIONS["edges"], [edge("thumbnail", 0.68), edge("border", 0.62)], "?")
    assert (finding.verdict, finding.worst.of) == (Verdict.WARN, "border")
    assert finding.limits == (Limits(0.6, 0.75), Limits(0.7, 0.9))
    assert skipped(QUESTIONS["edges"], "why").limits == ()


def test_a_finding_judged_by_other_limits_is_known_as_such():
    question = QUESTIONS["edges"]
    finding = found(question, [edge("thumbnail", 0.68), edge("border", 0.62)], "?")
    assert not outdated(question, finding)
    assert not outdated(question, skipped(question, "why"))
    assert outdated(replace(question, own={}), finding)
    assert outdated(replace(question, fail=0.8), finding)
    assert outdated(question, replace(finding, limits=())), "it was kept when findings did not tell their limits"


def test_nothing_asked_is_no_pass():
    assert worst([]) == Verdict.SKIPPED


def test_an_audit_is_saved_and_read_back(make_subject, tmp_path):
    audit = run_audit(make_subject(planted(), notes=("one note",)), tmp_path, only=["source", "16"])
    assert [finding.check for finding in audit.findings] == ["source", "size"]
    assert load_audit(tmp_path / "audit.json") == audit
    assert audit.verdict == Verdict.FAIL
    assert audit.about("data set") == Verdict.FAIL
    assert audit.about("model") == Verdict.SKIPPED
    assert verdict_words(audit) == "FAIL (data set: source; 2 of 23 checks made)"


def test_the_headline_never_shows_a_score_alone(make_subject, tmp_path):
    line = headline(run_audit(make_subject(planted()), tmp_path, only=["source"]))
    parts = line.split(" · ")
    assert parts[0].startswith("AUROC 0.")
    assert parts[0].endswith("(n = 200 films, 100 groups)")
    assert parts[1] == "shortcut floor 1.000 (source)"
    assert parts[2].startswith("above the floor -0.")
    assert parts[3:] == ["unseen source not measured", "FAIL (data set: source; 1 of 23 checks made)"]


def test_external_films_are_the_unseen_score(make_subject, tmp_path):
    films = film_table(200)
    told = score_table(films).assign(fold=np.where(np.arange(200) % 4 < 2, "test", "external"))
    audit = run_audit(make_subject(films, told), tmp_path, only=["size"])
    assert audit.score.fold == "test"
    assert audit.unseen == audit.external
    assert "unseen source 0." in headline(audit)


def test_a_source_kept_out_is_the_unseen_score(make_subject, tmp_path):
    audit = run_audit(make_subject(), tmp_path, only=["size"])
    told = {"unseen": {"value": 0.6, "low": 0.5, "high": 0.7, "n": 44}}
    kept_out = Finding(check="unseen-source", verdict=Verdict.FAIL, says="?", details=told)
    audit = replace(audit, findings=(*audit.findings, kept_out))
    assert (audit.unseen.value, audit.unseen.n, audit.unseen.fold) == (0.6, 44, "external")
    assert "(a probe's)" not in headline(audit)
    probed = replace(kept_out, details={**told, "by": "probe"})
    assert "] (a probe's) ·" in headline(replace(audit, findings=(*audit.findings[:-1], probed)))


def test_a_verdict_that_was_written_over_is_refused(make_subject, tmp_path):
    audit = run_audit(make_subject(planted()), tmp_path, only=["source"])
    told = as_dict(audit)
    (tmp_path / "fair.json").write_text(json.dumps({**told, "verdict": "PASS"}))
    with pytest.raises(DataError, match="verdict that its findings do not give"):
        load_audit(tmp_path / "fair.json")
    for wrong in ({**told, "more": 1}, {**told, "format": 0}, [], {"format": 1}):
        (tmp_path / "wrong.json").write_text(json.dumps(wrong))
        with pytest.raises(DataError, match="audit again"):
            load_audit(tmp_path / "wrong.json")
    with pytest.raises(DataError, match="does not exist"):
        load_audit(tmp_path / "none.json")


def test_a_verdict_by_limits_that_are_no_longer_in_force_is_refused(make_subject, tmp_path):
    told = as_dict(run_audit(make_subject(planted()), tmp_path, only=["source"]))
    (told_of,) = told["findings"]
    assert told_of["limits"][0] == {"warn": 0.6, "fail": 0.8}
    untold = {key: value for key, value in told_of.items() if key != "limits"}
    for other in ({**told_of, "limits": [{"warn": 0.5, "fail": 0.8}]}, {**told_of, "limits": []}, untold):
        (tmp_path / "old.json").write_text(json.dumps({**told, "findings": [other]}))
        with pytest.raises(DataError, match="other limits"):
            load_audit(tmp_path / "old.json")


def test_an_answer_to_no_question_is_refused(make_subject, tmp_path):
    told = as_dict(run_audit(make_subject(), tmp_path, only=["provenance"]))
    (tmp_path / "strange.json").write_text(json.dumps(told).replace('"provenance"', '"horoscope"'))
    with pytest.raises(DataError, match="does not ask"):
        load_audit(tmp_path / "strange.json")


@contextmanager
def _silent() -> Iterator[object]:
    yield lambda done, total: None


def test_what_was_found_is_not_sought_again(make_subject, tmp_path):
    asked: list[str] = []

    def watch(stage: str):
        asked.append(stage)
        return _silent()

    subject = make_subject()
    first = run_audit(subject, tmp_path, only=CHEAP, watch=watch)
    assert len(asked) == 4
    (tmp_path / "checks" / "size.json").write_text("{ torn")
    (tmp_path / "checks" / "calibration.json").unlink()
    assert run_audit(subject, tmp_path, only=CHEAP, watch=watch) == first
    assert asked[4:] == ["16 size", "17 calibration"]
    other = make_subject(predictions=score_table(film_table(200), seed=1))
    run_audit(other, tmp_path, only=CHEAP, watch=watch)
    assert len(asked) == 10


def answering(ask):
    check = table.CHECKS["size"]
    return {**table.CHECKS, "size": replace(check, ask=ask)}


def test_what_a_check_cannot_do_skips_it_alone_and_is_tried_again(make_subject, tmp_path, monkeypatch):
    def refuse(subject):
        raise DataError("film a.png is gone")

    monkeypatch.setattr(running, "CHECKS", answering(refuse))
    audit = run_audit(make_subject(), tmp_path, only=CHEAP)
    assert audit.find("size").reason == "film a.png is gone"
    assert audit.find("provenance").verdict == Verdict.PASS
    monkeypatch.undo()
    assert run_audit(make_subject(), tmp_path, only=CHEAP).find("size").verdict == Verdict.WARN


def test_a_bug_surfaces_and_loses_nothing(make_subject, tmp_path, monkeypatch):
    def broken(subject):
        raise ZeroDivisionError

    monkeypatch.setattr(running, "CHECKS", answering(broken))
    with pytest.raises(ZeroDivisionError):
        run_audit(make_subject(), tmp_path, only=CHEAP)
    assert (tmp_path / "checks" / "too-good.json").is_file()
    assert not (tmp_path / "audit.json").exists()


def test_a_subject_in_another_process_reports_to_nobody_and_works_alone(make_subject):
    def elsewhere(function, items, *, processes=None):
        raise AssertionError

    subject = make_subject(watch=lambda stage: _silent(), spread=elsewhere, processes=3)
    there = pickle.loads(pickle.dumps(subject))
    assert (there.watch, there.spread, there.processes) == (unwatched, spread, 1)
    assert there.digest == subject.digest


def test_checks_that_share_vectors_are_answered_by_one_process():
    groups = apart._groups(list(table.CHECKS.values()))
    assert sorted(name for group in groups for name in group) == sorted(table.CHECKS)
    assert [group for group in groups if len(group) > 1] == list(apart.TOGETHER)
    assert apart._groups([table.CHECKS["size"], table.CHECKS["unseen-source"]]) == [("unseen-source",), ("size",)]


def test_checks_answered_apart_are_kept_as_they_come_and_in_order(make_subject, tmp_path):
    handed = []

    def backwards(function, items, *, processes=None):
        for names in reversed(list(items)):
            handed.append(names)
            yield names, pickle.loads(pickle.dumps(function))(names)

    here = run_audit(make_subject(), tmp_path / "here", only=CHEAP)
    (tmp_path / "there" / "checks").mkdir(parents=True)
    shutil.copy(tmp_path / "here" / "checks" / "size.json", tmp_path / "there" / "checks")
    there = run_audit(make_subject(spread=backwards), tmp_path / "there", only=CHEAP, apart=True)
    assert there == here
    assert handed == [("provenance",), ("calibration",), ("too-good",)]


def test_checks_are_named_or_numbered(make_subject, tmp_path):
    with pytest.raises(UsageError, match="unknown check 'sauce'; did you mean 'source'"):
        run_audit(make_subject(), tmp_path, only=["sauce"])


def test_a_changed_limit_is_judged_anew(make_subject, tmp_path, monkeypatch):
    run_audit(make_subject(), tmp_path, only=["provenance"])
    before = json.loads((tmp_path / "checks" / "provenance.json").read_text())["key"]
    limits = {"licence": Limits(5, None)}
    for question in (replace(QUESTIONS["provenance"], warn=5), replace(QUESTIONS["provenance"], own=limits)):
        changed = replace(table.CHECKS["provenance"], question=question)
        monkeypatch.setattr(running, "CHECKS", {**table.CHECKS, "provenance": changed})
        run_audit(make_subject(), tmp_path, only=["provenance"])
        after = json.loads((tmp_path / "checks" / "provenance.json").read_text())["key"]
        assert after != before
        before = after

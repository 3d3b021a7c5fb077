"""An audit goes along with its bundle: whole, of this very bundle, without a film's name, and stands beside a score."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

import typer
from typer.testing import CliRunner

from hilum.audit import running, table
from hilum.audit.attached import (
    attach_audit,
    attached_audit,
    audit_of,
    known_of_bundle,
    known_of_run,
    line_of_bundle,
    line_of_run,
)
from hilum.audit.check import Measured, Verdict, found, skipped
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import Audit, headline, save_audit
from hilum.bundle import load_bundle, read_manifest, save_bundle
from hilum.bundle.format import AUDIT, sign_manifest
from hilum.bundle.notes import Notes, with_notes
from hilum.cli.audit import audit as audit_verb
from hilum.cli.judge import evaluate as evaluate_verb
from hilum.cli.judge import predict as predict_verb
from hilum.errors import BundleError, DataError, UsageError
from hilum.evaluate import headline_score
from hilum.files import write_json
from hilum.run import Run

NAMELESS = "IM0001"
"""A film's file as hospitals call them, without an ending."""


def whole(folder: Path, **told: object) -> Audit:
    """An answer to every question: three measured, one of them a probe's on a source kept out, the others skipped."""
    run = Run(folder)
    one = Measured(of="border", value=0.95, low=0.9, high=0.99, p=0.001, n=48, groups=40)
    findings = {name: skipped(question, f"film {NAMELESS} is gone") for name, question in QUESTIONS.items()}
    findings["header"] = skipped(
        QUESTIONS["header"], "film-003.png (of /data/ward 3) is damaged; see drawn/003, 2 of 40"
    )
    findings["edges"] = found(
        QUESTIONS["edges"],
        [one],
        "From the border 0.950.",
        details={"films": ["drawn/001"]},
        pictures=["drawn-001.png"],
    )
    findings["size"] = found(QUESTIONS["size"], [replace(one, of="width", p=None, counts=True)], "Wide.")
    lost = [replace(one, of="there", value=0.3, low=0.2, high=0.4)]
    kept = {"unseen": {"value": 0.6, "low": 0.5, "high": 0.7, "n": 44}, "by": "probe", "sources": ["drawn/001"]}
    findings["unseen-source"] = found(QUESTIONS["unseen-source"], lost, "It loses 0.300.", details=kept)
    content: dict[str, object] = {
        "title": "Drawn films",
        "kind": "run",
        "subject_digest": "1" * 64,
        "index_digest": run.index.digest,
        "bundle_digest": read_manifest(folder).digest,
        "score": headline_score(run.evaluation),
        "external": None,
        "findings": tuple(findings.values()),
        "n_films": 48,
        "n_groups": 40,
        "version": "0.1.0",
    }
    return Audit(**(content | told))  # type: ignore[arg-type]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def names(run: Path) -> list[str]:
    films = Run(run).index.films
    return [*films["image_id"], *films["path"], NAMELESS]


def test_an_audit_goes_along_and_changes_nothing_of_the_bundle(run: Path) -> None:
    before, made = load_bundle(run).digest, whole(run)
    file = attach_audit(run, made, films=names(run))
    assert file == run / "bundle" / AUDIT
    assert load_bundle(run).digest == before
    assert json.loads(file.read_text(encoding="utf-8"))["bundle_digest"] == before
    read = attached_audit(run / "bundle")
    assert read is not None
    assert headline(read) == headline(made)
    assert "unseen source 0.600 [0.500, 0.700] (a probe's)" in headline(read)
    assert [(one.check, one.verdict, one.measured) for one in read.findings] == [
        (one.check, one.verdict, one.measured) for one in made.findings
    ]


def test_no_film_is_named_in_a_bundle(run: Path) -> None:
    text = attach_audit(run, whole(run), films=names(run)).read_text(encoding="utf-8")
    for name in (NAMELESS, "film-003", "drawn/0", "drawn-001", "/data/ward"):
        assert name not in text, name
    read = attached_audit(run)
    assert read is not None
    assert read.find("source").reason == "film … is gone"
    assert read.find("header").reason.endswith("is damaged; see …, 2 of 40")
    assert all(one.pictures == () for one in read.findings)
    assert {key for one in read.findings for key in one.details} == {"unseen", "by"}


def test_files_are_not_named_even_where_nobody_lists_the_films(run: Path) -> None:
    text = attach_audit(run, whole(run)).read_text(encoding="utf-8")
    assert "film-003" not in text
    assert "/data" not in text


def test_what_is_not_of_this_bundle_or_not_whole_is_not_attached(run: Path) -> None:
    made = whole(run)
    for other in ("f" * 64, None):
        with pytest.raises(BundleError, match="audit this one"):
            attach_audit(run, replace(made, bundle_digest=other))
    with pytest.raises(UsageError, match="leaves 20 of 23 checks out: make it without --only"):
        attach_audit(run, replace(made, findings=made.findings[:3]))
    assert attached_audit(run) is None


def test_an_audit_of_another_bundle_is_told_and_not_shown(run: Path) -> None:
    attach_audit(run, whole(run))
    folder = run / "bundle"
    told = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    sign_manifest(folder, {**told, "title": "another"})
    with pytest.raises(BundleError, match=r"audit\.json is of bundle [0-9a-f]{12}, .* audit again"):
        attached_audit(folder)
    with pytest.raises(DataError, match="audit again"):
        audit_of(Run(run))
    line = line_of_bundle("AUROC 0.9 · shortcut floor 0.5", known_of_bundle(folder))
    assert " · unseen source not measured · audit not shown: audit.json is of bundle" in line
    assert " · audit not shown: audit.json is of bundle" in line_of_run(Run(run).evaluation, known_of_run(Run(run)))


def test_a_verdict_that_was_written_over_is_told_and_not_shown(run: Path) -> None:
    file = attach_audit(run, whole(run))
    write_json(file, {**json.loads(file.read_text(encoding="utf-8")), "verdict": "PASS"})
    with pytest.raises(DataError, match="verdict that its findings do not give"):
        attached_audit(run)
    assert known_of_bundle(run).audit is None
    assert "PASS" not in line_of_bundle(None, known_of_bundle(run))


def test_a_verdict_by_other_limits_than_this_hilum_s_is_told_and_not_shown(run: Path) -> None:
    made = whole(run)
    judged = [replace(one, limits=()) if one.check == "edges" else one for one in made.findings]
    attach_audit(run, replace(made, findings=tuple(judged)))
    with pytest.raises(DataError, match="other limits than this hilum's; audit again"):
        attached_audit(run)


def test_notes_leave_an_audit_where_it_is(run: Path) -> None:
    made = whole(run)
    attach_audit(run, made)
    with_notes(run, Notes(views="frontal"))
    noted = attached_audit(run)
    assert noted is not None
    assert noted.bundle_digest == made.bundle_digest != read_manifest(run).digest
    for digest in (made.bundle_digest, read_manifest(run).digest):
        attach_audit(run, replace(made, bundle_digest=digest))
        assert attached_audit(run) == noted
    with_notes(run, None)
    assert attached_audit(run) == noted


def test_a_bundle_saved_again_has_no_audit_of_the_former(run: Path) -> None:
    file = attach_audit(run, whole(run))
    save_bundle(load_bundle(run), run / "bundle")
    assert not file.exists()


def test_a_run_s_audit_is_that_of_its_folder_else_the_one_of_its_bundle(run: Path) -> None:
    assert audit_of(Run(run)) is None
    assert line_of_run(Run(run).evaluation, known_of_run(Run(run))).endswith(
        " · unseen source not measured · not audited (hilum audit RUN)"
    )
    attach_audit(run, whole(run))
    assert audit_of(Run(run)) == attached_audit(run)
    own = whole(run, title="its own")
    save_audit(own, run / "audit" / "audit.json")
    assert audit_of(Run(run)) == own
    assert line_of_run(Run(run).evaluation, known_of_run(Run(run))) == headline(own)


def test_an_audit_on_other_films_stands_beside_the_score_and_is_none_of_the_run(run: Path) -> None:
    score = replace(whole(run).score, fold="external", value=0.55, low=0.4, high=0.7)
    attach_audit(run, whole(run, kind="bundle elsewhere", index_digest="2" * 64, score=score, external=score))
    assert audit_of(Run(run)) is None
    line = line_of_bundle("AUROC 0.9 [0.8, 1.0]", known_of_bundle(run))
    assert line.startswith("AUROC 0.9 [0.8, 1.0] · unseen source not measured · audited on other films: AUROC 0.550")
    assert "FAIL (" in line


def app_of(*verbs: object) -> typer.Typer:
    app = typer.Typer()
    for verb in verbs:
        app.command()(verb)  # type: ignore[type-var]
    app.callback()(lambda: None)
    return app


def said(*words: object) -> str:
    app = app_of(audit_verb, evaluate_verb, predict_verb)
    result = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check is skipped but the one for size."""
    quickly = {
        name: check
        if name == "size"
        else replace(check, ask=lambda subject, question=check.question: skipped(question, "not in this test"))
        for name, check in table.CHECKS.items()
    }
    monkeypatch.setattr(running, "CHECKS", quickly)


@pytest.mark.usefixtures("quick")
def test_the_command_attaches_a_whole_audit_and_no_other(run: Path) -> None:
    file = run / "bundle" / AUDIT
    assert "attached" not in said("audit", run, "--only", "size")
    assert not file.exists()
    with pytest.raises(UsageError, match="leave --only"):
        said("audit", run, "--only", "size", "--attach")
    told = said("audit", run)
    assert f"attached: {file}" in told
    made = attached_audit(run)
    assert made is not None
    assert made.verdict in (Verdict.PASS, Verdict.WARN)


@pytest.mark.usefixtures("quick")
def test_a_bundle_is_audited_elsewhere_and_keeps_it_only_where_asked(
    run: Path, draw_index: object, tmp_path: Path
) -> None:
    other = draw_index(tmp_path / "other", 12, first_seed=500, source="away")
    other.save(tmp_path / "other.parquet")
    words = ("audit", run, "--index", tmp_path / "other.parquet", "--out", tmp_path / "out")
    said(*words)
    assert attached_audit(run) is None
    assert "attached: " in said(*words, "--attach")
    assert attached_audit(run).kind == "bundle elsewhere"


def test_scores_stand_with_their_verdict_in_the_terminal(run: Path) -> None:
    film = Run(run).index.path(Run(run).index.films["path"].iloc[0])
    assert "not audited (hilum audit RUN)" in said("evaluate", run)
    assert "unseen source not measured · not audited (hilum audit RUN)" in said("predict", run, film, "--no-gate")
    attach_audit(run, whole(run))
    for told in (said("evaluate", run), said("predict", run, film, "--no-gate")):
        assert headline(whole(run)) in told
        assert "FAIL (" in told
    words = ["predict", str(run), str(film), "--json", "--no-gate"]
    plain = json.loads(CliRunner().invoke(app_of(predict_verb, audit_verb), words).stdout)
    assert "FAIL" not in json.dumps(plain)


def test_an_audit_is_read_without_torch() -> None:
    code = "import sys, hilum.audit.result as r; sys.exit('torch' in sys.modules or not r.load_audit)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

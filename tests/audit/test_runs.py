"""The audit of a run of hilum, as a caller and as a user of the command line meets it."""

import json
import shutil

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from hilum.audit.check import Verdict
from hilum.audit.result import load_audit
from hilum.audit.running import run_audit
from hilum.audit.transport import ask_transport
from hilum.cli.audit import audit
from hilum.errors import UsageError

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum.audit.hygiene import ask_hygiene
from hilum.audit.runs import subject_elsewhere, subject_of_run
from hilum.scoring import find_score

app = typer.Typer()
app.command()(audit)


def called(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def run(finished, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(finished, tmp_path / "run")


def test_a_run_is_audited_on_its_own_folds(finished, tmp_path):
    subject = subject_of_run(finished)
    assert len(subject.divisions) == 3
    made = run_audit(subject, tmp_path, only=["edges", "hygiene", "groups-across-folds", "duplicates"])
    floors = subject.evaluation.floors
    for one in made.find("edges").measured:
        assert (one.value, one.low, one.high) == pytest.approx(
            [getattr(find_score(floors, f"floor.{one.of}", label="patch"), key) for key in ("value", "low", "high")],
            abs=0.1,  # fewer trees here
        )
    assert [made.find(name).verdict for name in ("hygiene", "groups-across-folds", "duplicates")] == ["PASS"] * 3
    assert made.bundle_digest == subject.bundle_digest


def test_hygiene_finds_a_film_reported_that_was_trained_on(run):
    file = run / "predictions.parquet"
    told = pd.read_parquet(file)
    told["division"] = told["division"].replace({"0": "1", "1": "0"})
    told.to_parquet(file)
    finding = ask_hygiene(subject_of_run(run))
    assert finding.verdict == Verdict.FAIL
    assert "films are reported that were trained or tuned on" in finding.says


def test_hygiene_finds_thresholds_that_the_tune_fold_does_not_give(run):
    file = next((run / "divisions").glob("*fold-1/division.json"))
    told = json.loads(file.read_text())
    told["operating_points"][0]["threshold"] += 0.1
    told["temperature"] *= 2
    file.write_text(json.dumps(told))
    finding = ask_hygiene(subject_of_run(run))
    assert finding.worst.value == 2
    assert "the temperature" in finding.details["faults"][0]
    assert "the threshold youden of patch" in finding.details["faults"][1]


def test_a_bundle_elsewhere(finished, draw_index, tmp_path):
    other = draw_index(tmp_path / "films", 24, first_seed=500, source="elsewhere")
    for path, note in ((finished, "0 films that"), (finished / "bundle", "not at hand")):
        subject = subject_elsewhere(path, other)
        assert (subject.kind, subject.fold, len(subject.films)) == ("bundle elsewhere", "external", 24)
        assert note in subject.notes[0]
        sources = {row["source"] for row in ask_transport(subject).details.get("sources", ())}
        assert sources == ({"all", "elsewhere", "drawn (its own test fold)"} if path == finished else set())
    made = run_audit(subject, tmp_path / "audit", only=["header", "too-good", "size"])
    assert made.find("too-good").verdict == Verdict.SKIPPED
    assert made.score.fold == "external"


def test_a_run_on_its_own_films_has_none_left(finished, drawn):
    from hilum.errors import DataError

    with pytest.raises(DataError, match="trained on this picture"):
        subject_elsewhere(finished, drawn)


def test_the_command_prints_a_table_and_succeeds_whatever_the_verdict(run):
    done = called(run, "--only", "size", "--only", "23")
    assert done.exit_code == 0, done.output
    assert "WARN" in done.output
    assert "For research and education only" in done.output
    assert load_audit(run / "audit" / "audit.json").verdict == Verdict.WARN


@pytest.mark.parametrize(("least", "status"), [("warn", 1), ("fail", 0)])
def test_the_command_can_fail(run, least, status):
    assert called(run, "--only", "size", "--fail-on", least).exit_code == status


def test_the_command_speaks_json(run, tmp_path):
    done = called(run, "--only", "size", "--json", "--out", tmp_path / "there")
    told = json.loads(done.stdout)
    assert told["verdict"] == "WARN"
    assert json.loads((tmp_path / "there" / "audit.json").read_text()) == told


def test_the_command_takes_scores(finished, drawn, tmp_path):
    told = pd.read_parquet(finished / "predictions.parquet")
    told[["image_id", "p.patch"]].to_csv(tmp_path / "scores.csv", index=False)
    drawn.save(tmp_path / "index.parquet")
    done = called("--scores", tmp_path / "scores.csv", "--index", tmp_path / "index.parquet", "--only", "size")
    assert done.exit_code == 0, done.output
    assert load_audit(tmp_path / "scores-audit" / "audit.json").kind == "scores"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a run or a bundle"),
        (["--scores", "a.csv"], "--scores goes with --index"),
        (["RUN", "--label", "x"], "--label goes with --scores"),
        (["RUN", "--index", "a.parquet"], "say with --out"),
        (["RUN/bundle"], "is no run; audit a bundle"),
    ],
)
def test_wrong_use_is_said(finished, words, said):
    done = called(*(word.replace("RUN", str(finished)) for word in words))
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)

"""An audit whose checks other processes answer is the audit that one process makes."""

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

import typer
from typer.testing import CliRunner

from hilum.audit.check import Verdict
from hilum.audit.running import run_audit
from hilum.audit.runs import subject_of_run
from hilum.cli.audit import audit
from hilum.cluster import spread
from hilum.errors import UsageError

SOME = ("header", "edges", "too-good", "size", "calibration")
LOOKS = '''
"""Thumbnails that only other processes see."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilum.errors import DataError


@dataclass(frozen=True)
class Deadly:
    """Ends the first process that looks, or every one."""

    driver: int
    mark: Path
    always: bool = False

    def __call__(self, subject):
        if os.getpid() == self.driver:
            raise DataError("not here")
        if self.always or not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((len(subject.films), 32, 32), np.uint8)
'''
app = typer.Typer()
app.command()(audit)


@pytest.fixture
def looks(jobs: Any) -> Iterator[Any]:
    """A module beside the cluster's own, where its machines look for modules."""
    file = Path(jobs.__file__).with_name("looks_of_audit_tests.py")
    file.write_text(LOOKS)
    importlib.invalidate_caches()
    yield importlib.import_module(file.stem)
    del sys.modules[file.stem]


def files_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def audited(run: Path, out: Path, *words: str) -> dict[str, bytes]:
    done = CliRunner().invoke(app, [str(run), "--out", str(out), *words])
    assert done.exit_code == 0, done.output
    return files_of(out)


def named(checks: Sequence[str]) -> list[str]:
    return [word for name in checks for word in ("--only", name)]


def test_the_same_files_are_written(cluster: Any, finished: Path, tmp_path: Path) -> None:
    here = audited(finished, tmp_path / "here", *named(SOME))
    there = audited(finished, tmp_path / "there", *named(SOME), "--engine", "ray", "--address", cluster.address)
    assert there == here
    assert {f"checks/{name}.json" for name in SOME} <= set(there)


@pytest.mark.slow
def test_a_whole_audit_is_the_same(
    cluster: Any, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {}
    for name, more in {"here": [], "there": ["--engine", "ray", "--address", cluster.address]}.items():
        monkeypatch.setenv("HILUM_CACHE", str(tmp_path / f"cache-{name}"))
        made[name] = audited(finished, tmp_path / name, *more)
    assert made["there"] == made["here"]


def test_a_killed_worker_costs_nothing(connection: None, finished: Path, tmp_path: Path, looks: Any) -> None:
    deadly = looks.Deadly(os.getpid(), tmp_path / "mark")
    subject = replace(subject_of_run(finished), look=deadly, spread=spread)
    made = run_audit(subject, tmp_path / "out", only=("edges", "size"), apart=True)
    assert deadly.mark.exists()
    assert [finding.verdict is Verdict.SKIPPED for finding in made.findings] == [False, False]


@pytest.mark.slow
def test_a_check_that_ends_every_process_is_skipped(
    connection: None, finished: Path, tmp_path: Path, looks: Any
) -> None:
    deadly = looks.Deadly(os.getpid(), tmp_path / "mark", always=True)
    subject = replace(subject_of_run(finished), look=deadly, spread=spread)
    made = run_audit(subject, tmp_path / "out", only=("edges", "size"), apart=True)
    assert "ended, twice" in (made.find("edges").reason or "")
    assert made.find("size").verdict is not Verdict.SKIPPED


def test_the_self_test_stays_here(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--self-test", "--out", str(tmp_path), "--engine", "ray"])
    assert isinstance(done.exception, UsageError)

"""Parts on a cluster: every film once, whatever is lost on the way."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hilum.cluster import part_rows_at, plan_at, run_parts, stored_films
from hilum.errors import DataError, UsageError
from hilum.parallel import CRASHED
from hilum.parts import Plan, listed, part_rows, plan_parts
from hilum.parts import run_parts as run_here


def done_by(diary: Path) -> Counter[int]:
    """How often each film was done."""
    return Counter(int(line.split()[1]) for line in diary.read_text().splitlines())


def planned(job: Any, films: list[Path], out: Path, films_a_part: int = 4) -> Plan:
    return plan_parts(job, listed(films), out, films_a_part=films_a_part)


def test_a_cluster_makes_the_parts_that_this_machine_would(
    connection: None, jobs: Any, films: list[Path], tmp_path: Path
) -> None:
    films[3].write_bytes(b"")
    here, there = tmp_path / "here", tmp_path / "there"
    job, seen = jobs.Sizes(tmp_path / "diary"), list[tuple[int, int]]()
    wanted = run_here(job, planned(job, films, here), processes=1)
    (tmp_path / "diary").unlink()
    outcome = run_parts(job, planned(job, films, there), progress=lambda *done: seen.append(done))
    assert outcome == wanted
    assert outcome.refused == 1
    assert list(part_rows(there)) == list(part_rows(here)) == list(part_rows_at(str(there)))
    assert done_by(tmp_path / "diary") == dict.fromkeys(range(24), 1)
    assert sorted(path.name for path in (there / "notes").iterdir()) == sorted(
        path.name for path in (here / "notes").iterdir()
    )
    assert seen[-1] == (24, 24)
    assert not list((there / "parts").glob("*.tried"))


def test_what_is_there_is_not_made_again(connection: None, jobs: Any, films: list[Path], tmp_path: Path) -> None:
    job, out = jobs.Sizes(tmp_path / "diary"), tmp_path / "out"
    films[0].write_bytes(b"")
    run_parts(job, planned(job, films, out))
    (out / "parts" / "part-000002.parquet").unlink()
    (tmp_path / "diary").unlink()
    outcome = run_parts(job, planned(job, films, out))
    assert done_by(tmp_path / "diary") == dict.fromkeys(range(8, 12), 1)
    assert (outcome.films, outcome.before, outcome.refused) == (24, 20, 1)
    assert len(list(part_rows(out))) == 24


@pytest.mark.parametrize("kind", ["decoder", "job"])
@pytest.mark.slow
def test_a_film_that_ends_its_process_is_refused_alone(
    connection: None, jobs: Any, films: list[Path], tmp_path: Path, kind: str
) -> None:
    films[5] = films[5].rename(films[5].with_name("deadly.png" if kind == "decoder" else "fatal.png"))
    job, out = jobs.Sizes(tmp_path / "diary", deadly_itself=kind == "job"), tmp_path / "out"
    outcome = run_parts(job, planned(job, films, out))
    rows = list(part_rows(out))
    assert outcome.refused == 1
    assert [row["film"] for row in rows] == [str(path) for path in films]
    assert [number for number, row in enumerate(rows) if row["refused"]] == [5]
    assert rows[5]["refused"] == CRASHED
    assert [row["bytes"] for row in rows if not row["refused"]] == [n + 1 for n in range(24) if n != 5]


@pytest.mark.slow
def test_a_lost_process_costs_its_part_again(connection: None, jobs: Any, films: list[Path], tmp_path: Path) -> None:
    job, out = jobs.Sizes(tmp_path / "diary", pause_s=0.1), tmp_path / "out"

    def kill() -> None:
        while not (tmp_path / "diary").exists() or len(done_by(tmp_path / "diary")) < 6:
            time.sleep(0.05)
        os.kill(int((tmp_path / "diary").read_text().split()[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    outcome = run_parts(job, planned(job, films, out))
    killer.join()
    times = done_by(tmp_path / "diary")
    assert outcome.refused == 0
    assert [row["bytes"] for row in part_rows(out)] == list(range(1, 25))
    assert 24 < sum(times.values()) <= 28
    assert len({line.split()[0] for line in (tmp_path / "diary").read_text().splitlines()}) == 2


@pytest.mark.slow
def test_a_lost_machine_costs_its_parts_again(
    second_machine: Callable[[], None], connection: None, jobs: Any, films: list[Path], tmp_path: Path
) -> None:
    job, out = jobs.Sizes(tmp_path / "diary", pause_s=0.3), tmp_path / "out"

    def lose() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lines = (tmp_path / "diary").read_text().splitlines() if (tmp_path / "diary").exists() else []
            if len({line.split()[0] for line in lines}) == 2:
                break
            time.sleep(0.05)
        second_machine()

    loser = threading.Thread(target=lose)
    loser.start()
    outcome = run_parts(job, planned(job, films, out, films_a_part=2))
    loser.join()
    assert outcome.refused == 0
    assert [row["bytes"] for row in part_rows(out)] == list(range(1, 25))


def test_what_the_job_says_ends_the_run(connection: None, jobs: Any, films: list[Path], tmp_path: Path) -> None:
    job = jobs.Short(tmp_path / "diary")
    with pytest.raises(DataError, match="part 0 has 4 films, and 3 rows"):
        run_parts(job, planned(job, films, tmp_path / "out"))


def test_films_and_parts_in_a_store(connection: None, jobs: Any, films: list[Path], tmp_path: Path) -> None:
    job, out = jobs.Sizes(tmp_path / "diary"), f"file://{tmp_path}/out"
    films[7].write_bytes(b"")
    known = list(stored_films(f"file://{tmp_path}/films"))
    assert [one.bytes for one in known] == [path.stat().st_size for path in films]
    told = listed(one.url for one in known)
    plan = plan_at(job, told, out, known, films_a_part=5)
    outcome = run_parts(job, plan, out=out)
    rows = list(part_rows_at(out))
    assert (outcome.films, outcome.refused) == (24, 1)
    assert [row["film"] for row in rows] == [one.url for one in known]
    assert rows[7]["refused"] == "film-07.png is empty"
    assert (tmp_path / "out" / "notes" / "film-20.txt").read_text() == "21"
    assert json.loads((tmp_path / "out" / "parts" / "job.json").read_text())["films"]["count"] == 24
    assert plan_at(job, told, out, known).missing == ()
    with pytest.raises(UsageError, match="begun with other films"):
        plan_at(job, told[1:], out, known)

"""Parts are whole or absent, no film is lost or done twice, and parts of something else are never taken for these."""

import fcntl
import importlib
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import DataError, UsageError
from hilum.files import LEFT, aside_name, names_of, remove_asides
from hilum.parts import (
    FILMS_A_PART,
    FILMS_AT_A_TIME,
    LEAST_EACH,
    Listed,
    LoadsOnce,
    Plan,
    claimed,
    listed,
    part_rows,
    path_of,
    plan_parts,
    refused_films,
    remove_parts,
    run_parts,
    write_part,
)

from .meeting import MEET

DONE = list[str]()
"""Films that any `Sizes` has told of, in their order."""


@dataclass(frozen=True)
class Sizes(LoadsOnce):
    """A film's size; it stops like an interrupted run before the film of a number."""

    kind: str = "size"
    stop: int = -1
    fewer: int = 0

    @cached_property
    def loaded(self) -> object:
        return lambda: "what cannot be pickled"

    @property
    def identity(self) -> Mapping[str, str]:
        return {"kind": self.kind, "view filter": "none"}

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([("bytes", pa.int64()), ("refused", pa.string())])

    def rows(
        self, films: Sequence[tuple[Path, Listed]], out: Path, *, processes: int | None = None
    ) -> Iterator[dict[str, Any]]:
        for path, film in films[: len(films) - max(0, self.fewer)]:
            if film.number == self.stop:
                raise KeyboardInterrupt
            DONE.append(film.name)
            (out / f"{film.name}.txt").write_text(film.path)
            size = path.stat().st_size
            yield {"bytes": size, "refused": None if size else f"empty: {path.name}"}
        yield from [{"bytes": 0, "refused": None}] * -self.fewer


@pytest.fixture
def films(tmp_path: Path) -> list[Listed]:
    """Ten files; the fourth and the tenth are empty."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(10):
        (folder / f"film-{number}").write_bytes(b"." * (0 if number in (3, 9) else 10 + number))
    return listed(sorted(folder.iterdir()))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    DONE.clear()
    return tmp_path / "out"


def planned(films: Sequence[Listed], out: Path, job: Sizes | None = None) -> Plan:
    return plan_parts(job or Sizes(), films, out, films_a_part=4)


def interrupted(films: Sequence[Listed], out: Path, stop: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_parts(Sizes(stop=stop), planned(films, out))


def test_every_film_has_a_row_in_its_place(films: list[Listed], out: Path) -> None:
    plan = planned(films, out)
    assert (plan.missing, plan.done) == ((0, 1, 2), 0)
    told = list[tuple[int, int]]()
    outcome = run_parts(Sizes(), plan, progress=lambda *at: told.append(at))
    assert (outcome.films, outcome.before, outcome.refused) == (10, 0, 2)
    rows = list(part_rows(out))
    assert [row["film"] for row in rows] == [film.path for film in films]
    assert [row["bytes"] for row in rows] == [10, 11, 12, 0, 14, 15, 16, 17, 18, 0]
    assert [row["refused"] is not None for row in rows] == [number in (3, 9) for number in range(10)]
    assert told == [(done, 10) for done in range(1, 11)]
    assert list(part_rows(out, ["bytes"])) == [{"bytes": row["bytes"]} for row in rows]


@pytest.mark.parametrize("stop", range(10))
def test_stopped_before_any_film_it_goes_on_with_the_parts_that_are_missing(
    films: list[Listed], out: Path, stop: int
) -> None:
    interrupted(films, out, stop)
    whole = stop // 4 * 4
    assert [row["film"] for row in part_rows(out)] == [film.path for film in films[:whole]]
    DONE.clear()
    told = list[int]()
    outcome = run_parts(Sizes(), planned(films, out), progress=lambda done, _: told.append(done))
    assert (outcome.films, outcome.before, outcome.refused) == (10, whole, 2)
    assert [film.name for film in films[whole:]] == DONE, "a finished part is not done again"
    assert told == list(range(whole + 1, 11))
    assert [row["film"] for row in part_rows(out)] == [film.path for film in films]
    assert not planned(films, out).missing


def test_no_more_than_a_part_is_in_memory(films: list[Listed], out: Path) -> None:
    plan = planned(films, out)

    def on_disk(done: int, _total: int) -> None:
        assert refused_films(out) == sum(number in (3, 9) for number in range((done - 1) // 4 * 4))
        assert path_of(out, 0).is_file() == (done > 4)

    run_parts(Sizes(), plan, progress=on_disk)


def test_what_is_beside_is_written_before_the_part_that_names_it(films: list[Listed], out: Path) -> None:
    interrupted(films, out, 6)
    assert {file.stem for file in out.glob("*.txt")} >= {Path(row["film"]).name for row in part_rows(out)}


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_part_that_is_not_whole_is_made_again(films: list[Listed], out: Path, kept: int) -> None:
    run_parts(Sizes(), planned(films, out))
    part = path_of(out, 1)
    part.write_bytes(part.read_bytes()[:kept])
    assert planned(films, out).missing == (1,)
    DONE.clear()
    run_parts(Sizes(), planned(films, out))
    assert [film.name for film in films[4:8]] == DONE
    assert len(list(part_rows(out))) == 10


def test_parts_may_be_made_in_any_order(films: list[Listed], out: Path) -> None:
    """As workers of a cluster make them."""
    plan, job = planned(films, out), Sizes()
    for number in (2, 0, 1):
        pairs = [(Path(film.path), film) for film in plan.films_of(number)]
        write_part(job, plan, number, job.rows(pairs, out))
    assert [row["film"] for row in part_rows(out)] == [film.path for film in films]
    assert not planned(films, out).missing


def test_parts_that_are_begun_keep_their_size(films: list[Listed], out: Path) -> None:
    interrupted(films, out, 5)
    assert plan_parts(Sizes(), films, out).films_a_part == 4


def test_parts_of_another_job_are_refused(films: list[Listed], out: Path) -> None:
    interrupted(films, out, 5)
    with pytest.raises(UsageError, match=r"was begun with another kind; repeat that command to finish it, or remove"):
        planned(films, out, Sizes(kind="colour"))


@pytest.mark.parametrize("change", ["fewer", "order", "content"])
def test_parts_of_other_films_are_refused(films: list[Listed], out: Path, change: str) -> None:
    interrupted(films, out, 5)
    if change == "content":
        Path(films[7].path).write_bytes(b"another film")
    paths = [film.path for film in films]
    others = {"fewer": paths[:-1], "order": paths[::-1], "content": paths}[change]
    with pytest.raises(UsageError, match="was begun with other films, or one of them has changed since"):
        planned(listed(others), out)


def test_before_a_part_is_done_anything_else_may_begin(films: list[Listed], out: Path) -> None:
    interrupted(films, out, 3)
    assert planned(films[:8], out, Sizes(kind="colour")).missing == (0, 1)


@pytest.mark.parametrize("told", ["", "{}", '{"format": 99}', "[]"])
def test_parts_of_nobody_knows_what_are_refused(films: list[Listed], out: Path, told: str) -> None:
    interrupted(films, out, 5)
    (out / "parts" / "job.json").write_text(told)
    with pytest.raises(UsageError, match=r"holds parts, and no job\.json that this hilum can read"):
        planned(films, out)


def test_a_job_that_tells_of_too_few_films_or_too_many_makes_no_part(films: list[Listed], out: Path) -> None:
    with pytest.raises(DataError, match="part 2 has 2 films, and 1 rows"):
        run_parts(Sizes(fewer=1), planned(films, out))
    assert planned(films, out).missing == (2,)
    with pytest.raises(DataError, match="more rows were made than there are films"):
        run_parts(Sizes(fewer=-1), planned(films, out))


def test_no_films_make_no_parts(out: Path) -> None:
    outcome = run_parts(Sizes(), planned([], out))
    assert (outcome.films, outcome.refused, list(part_rows(out))) == (0, 0, [])


def test_two_runs_do_not_work_in_one_folder(films: list[Listed], out: Path) -> None:
    with claimed(out), pytest.raises(UsageError, match="another run is at work in"), claimed(out):
        pass
    with claimed(out):
        run_parts(Sizes(), planned(films, out))
        remove_parts(out)
        for file in out.glob("*.txt"):
            file.unlink()
    with claimed(out):
        remove_parts(out)
    assert not out.exists()


def test_what_a_killed_run_of_a_cluster_leaves_is_taken_over(out: Path) -> None:
    (out / "parts").mkdir(parents=True)
    noted = ["films.parquet", "part-000001.tried"]
    elsewhere = f".part-000001.{'0' * 8}-17-1.part.parquet"
    for name in (*noted, elsewhere):
        (out / "parts" / name).touch()
    with claimed(out):
        assert sorted(file.name for file in (out / "parts").iterdir()) == [noted[0], "lock", noted[1]]


def test_a_folder_of_something_else_is_left_alone(out: Path) -> None:
    (out / "parts").mkdir(parents=True)
    (out / "parts" / "thesis.txt").write_text("ten years of work")
    with pytest.raises(UsageError, match=r"holds thesis\.txt, which is no part; name another folder"), claimed(out):
        pass
    assert [file.name for file in (out / "parts").iterdir()] == ["thesis.txt"]


def test_a_run_that_waited_for_a_folder_s_removal_claims_the_new_one(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock it got was of a file that is no longer there."""
    real, times = fcntl.flock, itertools.count()

    def late(handle: Any, how: int) -> None:
        if not next(times):
            (out / "parts" / "lock").unlink()
        real(handle, how)

    monkeypatch.setattr("hilum.parts.fcntl.flock", late)
    with claimed(out):
        assert (out / "parts" / "lock").is_file()
    assert next(times) == 2


def test_what_killed_writers_left_is_removed_and_no_more(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead, here = int(gone.stdout), os.getpid()
    host = LEFT.fullmatch(aside_name("a.csv"))["host"]
    left = [f".part-000001.{host}-{dead}-1.part.parquet", f".a b.{host}-{dead}-2.part.csv"]
    left += [f".job.{host}-{here}-1.part.json"]
    kept = [f".at-work.{host}-{os.getppid()}-1.part.csv", ".hidden", "a.part.csv", f".x.{host}-{dead}.part"]
    kept += [f"x.{host}-{dead}-1.part.csv"]
    elsewhere = f".x.{'0' * 8}-{dead}-1.part.csv"
    for name in (*left, *kept, elsewhere):
        (tmp_path / name).touch()
    kept.append(elsewhere)
    remove_asides(tmp_path, of=tmp_path / "a b.csv")
    assert {file.name for file in tmp_path.iterdir()} == {*kept, *left} - {left[1]}
    remove_asides(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(kept)
    remove_asides(tmp_path, elsewhere=True)
    assert {file.name for file in tmp_path.iterdir()} == set(kept) - {elsewhere}
    remove_asides(tmp_path / "absent")


ELSEWHERE = """
from dataclasses import dataclass
from pathlib import Path
import pyarrow as pa
from hilum.parts import LoadsOnce

@dataclass(frozen=True)
class Numbers(LoadsOnce):
    fatal: int = -1
    meets: Path | None = None
    identity = {"kind": "number"}
    schema = pa.schema([("number", pa.int64()), ("process", pa.int64()), ("refused", pa.string())])

    def rows(self, films, out, *, processes=None):
        if self.meets:
            meet(self.meets)
        for path, film in films:
            if film.number == self.fatal and processes == 1:
                os._exit(3)
            why = "it ends its process" if film.number == self.fatal else None
            yield {"number": film.number, "process": os.getpid(), "refused": why}
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A module with a job that other processes can import."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "job_for_other_processes.py").write_text(MEET + ELSEWHERE)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("job_for_other_processes")
    sys.path.remove(str(folder))
    del sys.modules["job_for_other_processes"]


def made(job: Any, count: int, out: Path, processes: int) -> list[dict[str, Any]]:
    plan = plan_parts(job, listed(f"film-{number}.png" for number in range(count)), out, films_a_part=100)
    run_parts(job, plan, processes=processes)
    return list(part_rows(out))


def test_many_films_are_divided_among_processes_and_come_in_order(
    elsewhere: Any, out: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    job = elsewhere.Numbers(meets=tmp_path_factory.mktemp("meeting"))
    rows = made(job, 2 * LEAST_EACH + 30, out, processes=2)
    assert [row["number"] for row in rows] == list(range(2 * LEAST_EACH + 30))
    assert len({row["process"] for row in rows} - {os.getpid()}) == 2


@pytest.mark.parametrize(("count", "processes"), [(2 * LEAST_EACH - 1, 2), (2 * LEAST_EACH + 30, 1)])
def test_few_films_are_worked_on_here(elsewhere: Any, out: Path, count: int, processes: int) -> None:
    assert {row["process"] for row in made(elsewhere.Numbers(), count, out, processes)} == {os.getpid()}


def test_a_film_that_ends_its_process_costs_no_other(elsewhere: Any, out: Path) -> None:
    count = 2 * LEAST_EACH + 30
    rows = made(elsewhere.Numbers(fatal=70), count, out, processes=2)
    assert [row["number"] for row in rows] == list(range(count))
    assert [row["number"] for row in rows if row["refused"]] == [70]


def test_a_job_is_sent_without_what_it_has_loaded() -> None:
    job = Sizes(kind="colour")
    assert job.loaded is job.loaded
    sent = pickle.loads(pickle.dumps(job))
    assert (sent, "loaded" in sent.__dict__) == (job, False)


def test_parts_hold_whole_passes_of_the_networks() -> None:
    from hilum.engine import SCORING_BATCH
    from hilum.lungs.films import AT_ONCE

    for films in (FILMS_A_PART, FILMS_AT_A_TIME):
        assert films % SCORING_BATCH == films % AT_ONCE == 0


@given(st.lists(st.sampled_from(["a/x.png", "b/x.dcm", "x", "x-2.png", "x-3.jpg", "x-2-2", "y.z.png"]), max_size=30))
def test_names_are_unique_and_the_first_of_a_stem_keeps_it(paths: list[str]) -> None:
    names = list(names_of(paths))
    assert len(set(names)) == len(names) == len(paths)
    stems = [Path(path).stem for path in paths]
    assert all(name == stem or name.startswith(f"{stem}-") for name, stem in zip(names, stems, strict=True))
    taken = set[str]()  # the same by trying every number
    for name, stem in zip(names, stems, strict=True):
        free = (one for one in itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2))) if one not in taken)
        assert name == next(free)
        taken.add(name)

"""Work on many films in parts: each is written whole when it is done, so that a kill costs the part at hand alone.

A folder of parts holds `job.json`, which says what is done to which films, and `part-000000.parquet` and so on, a row a
film. A part is there whole or not at all. What is written beside the rows, masks and pictures, is written before them.
"""

import fcntl
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hilum.errors import DataError, UsageError
from hilum.files import LEFT, names_of, remove_asides, write_json, written_aside
from hilum.parallel import Crashed, Progress, default_processes, in_batches, in_order

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
FOLDER, JOB, LOCK = "parts", "job.json", "lock"
PARTS = "part-*.parquet"
FILMS, TRIED = "films.parquet", "part-*.tried"
"""Beside the parts while many machines make them: the list of films, and which parts were begun."""
FILMS_A_PART = 256
"""A multiple of the films that networks take in one pass, so that every film is in the same pass after a kill as it
would have been without one: sums in another pass differ in their last bits."""
FILMS_AT_A_TIME = 32
"""Of films that one of several processes works on before it takes others; a multiple of a pass too."""
LEAST_EACH = 128
"""Films a process, fewer of which are not worth starting it and loading its networks."""

Row = dict[str, Any]
State = Callable[[str], Sequence[int] | None]
"""Told a film's path, what changes when its file does, without reading it; None where there is no file."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One of many films: its place among them, its path as it was given, a name that no other film of them has."""

    number: int
    path: str
    name: str


class Job(Protocol):
    """What is done to films, sent to other processes by pickle: options and paths, with nothing loaded yet."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What the answers depend on: digests of bundles, and options."""

    @property
    def schema(self) -> "pa.Schema":
        """Of a row, without `film`, which the runner adds; `refused` is among its columns."""

    def rows(self, films: Sequence[tuple[Path, Listed]], out: Path, *, processes: int | None = None) -> Iterator[Row]:
        """One row a film, in their order, whose files in `out` are already written; `refused` says why there are none.

        Args:
            films: where each lies on this machine, and which it is.
            out: folder for masks and pictures.
            processes: films decoded at once; default one a core.
        """


class LoadsOnce:
    """A dataclass whose `cached_property`s are loaded once a process, and left behind when it is pickled."""

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Plan:
    """Which films make which parts, and which parts are not there yet.

    Attributes:
        films: all of them.
        out: the folder whose `parts` are meant.
        films_a_part: of every part but the last.
        missing: numbers of the parts still to be made.
    """

    films: Sequence[Listed]
    out: Path
    films_a_part: int
    missing: tuple[int, ...]

    @property
    def done(self) -> int:
        """Films in the parts that are there."""
        return len(self.films) - sum(len(self.films_of(number)) for number in self.missing)

    def films_of(self, number: int) -> Sequence[Listed]:
        """The films of one part."""
        return self.films[number * self.films_a_part : (number + 1) * self.films_a_part]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many films there are, how many of them were done before, and how many of all were refused."""

    films: int
    before: int
    refused: int


def listed(paths: Iterable[Path | str]) -> list[Listed]:
    """The films with their places and names."""
    told = [str(path) for path in paths]
    return [Listed(number, *one) for number, one in enumerate(zip(told, names_of(told), strict=True))]


def state_of(path: str) -> Sequence[int] | None:
    """Size in bytes and time of change in nanoseconds of a file on this machine."""
    try:
        state = Path(path).stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Keeps a second run of this machine out of the parts in `out`; removes what killed ones left half-written there.

    Raises:
        UsageError: another run is at work there, or the folder of parts holds something else.
    """
    folder = out / FOLDER
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        _check_ours(folder)
        with (folder / LOCK).open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"another run is at work in {folder}; wait for it, or name another folder") from None
            if not _same_file(folder / LOCK, handle.fileno()):
                continue  # the run before removed its parts while this one opened them
            remove_asides(folder, elsewhere=True)
            shutil.rmtree(_removed(out), ignore_errors=True)
            yield
            (folder / LOCK).unlink(missing_ok=True)
            return


def _check_ours(folder: Path) -> None:
    """Whether nothing of anybody's is lost when the folder is removed."""
    for file in folder.iterdir():
        ours = file.name in (JOB, LOCK, FILMS) or file.match(PARTS) or file.match(TRIED)
        if not (ours or LEFT.fullmatch(file.name)):
            raise UsageError(f"{folder} holds {file.name}, which is no part; name another folder, or move that file")


def _same_file(path: Path, handle: int) -> bool:
    return path.exists() and os.path.samestat(path.stat(), os.fstat(handle))


def plan_parts(
    job: Job, films: Sequence[Listed], out: Path, *, films_a_part: int = FILMS_A_PART, state: State = state_of
) -> Plan:
    """Begin the parts in `out`, or go on with those that are there.

    Args:
        job: what is to be done.
        films: all of them.
        out: folder that gets the folder of parts.
        films_a_part: of parts that are begun; those that are there keep their size.
        state: of a film's file.

    Raises:
        UsageError: the parts that are there are of another job, or of other films.
    """
    file, asked = out / FOLDER / JOB, _asked(job, films, state)
    if _parts(out):
        told = _begun(file)
        _check_same(told, asked, out / FOLDER)
        films_a_part = int(told["films_a_part"])
    else:
        write_json(file, {**asked, "films_a_part": films_a_part})
    plan = Plan(films, out, films_a_part, ())
    count = -(-len(films) // films_a_part)
    missing = (number for number in range(count) if not _whole(path_of(out, number), len(plan.films_of(number))))
    return Plan(films, out, films_a_part, tuple(missing))


def _asked(job: Job, films: Sequence[Listed], state: State) -> dict[str, Any]:
    digest = hashlib.sha256()
    for film in films:
        digest.update(f"{film.path}\0{film.name}\0{state(film.path)}\n".encode(errors="surrogateescape"))
    told = {"count": len(films), "digest": digest.hexdigest()}
    schema = {column.name: str(column.type) for column in job.schema}
    return {"format": FORMAT, "job": dict(job.identity), "films": told, "schema": schema}


def _begun(file: Path) -> dict[str, Any]:
    """What parts that are there are said to be of."""
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if told["format"] == FORMAT:
            return told
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"{file.parent} holds parts, and no {JOB} that this hilum can read says of what; remove it")


def _check_same(told: Mapping[str, Any], asked: Mapping[str, Any], folder: Path) -> None:
    """Whether parts that were begun are those asked for."""
    before, now = told["job"], asked["job"]
    if before != now:
        differ = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        what = f"with another {' and another '.join(differ)}"
    elif told["films"] != asked["films"]:
        what = "with other films, or one of them has changed since"
    elif told["schema"] != asked["schema"]:
        what = "by another version of hilum"
    else:
        return
    raise UsageError(f"{folder} was begun {what}; repeat that command to finish it, or remove {folder} to begin anew")


def _whole(path: Path, films: int) -> bool:
    import pyarrow as pa  # a tenth of a second, for those who keep parts only
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows) == films
    except (OSError, pa.ArrowInvalid):
        return False


def run_parts(job: Job, plan: Plan, *, processes: int | None = None, progress: Progress | None = None) -> Outcome:
    """Make the parts that are missing, on this machine, and no film of those that are there.

    All films of the missing parts go through the job in one stream, so that its processes start once.

    Args:
        job: as `plan_parts` was told.
        plan: what `plan_parts` said.
        processes: at work at once; default one a core.
        progress: called with films done, those of before among them, and films in all.
    """
    done, total = plan.done, len(plan.films)
    films = [(Path(film.path), film) for number in plan.missing for film in plan.films_of(number)]
    rows = _rows(job, films, plan.out, processes)
    for number in plan.missing:
        part = plan.films_of(number)
        write_part(job, plan, number, _reported(islice(rows, len(part)), done, total, progress))
        done += len(part)
    if next(rows, None) is not None:
        raise DataError(f"more rows were made than there are films, {len(films)}")
    return Outcome(films=total, before=plan.done, refused=refused_films(plan.out))


def _rows(job: Job, films: Sequence[tuple[Path, Listed]], out: Path, processes: int | None) -> Iterator[Row]:
    """One row a film, in their order.

    Many films are divided among processes that each do all there is to do, with one thread: networks that share their
    threads with decoders wait for the slowest of them after every layer. Few films, or one process, are done here.
    """
    count = min(processes or default_processes(), len(films) // LEAST_EACH)
    if count < 2:
        yield from job.rows(films, out, processes=processes)
        return
    work = partial(_rows_there, job=pickle.dumps(job), out=out)
    for some, rows in in_order(work, in_batches(films, FILMS_AT_A_TIME), processes=count):
        # A film that ends its process is found by decoding apart from the networks, which costs that film alone.
        yield from job.rows(some, out, processes=2) if isinstance(rows, Crashed) else rows


def _rows_there(films: Sequence[tuple[Path, Listed]], *, job: bytes, out: Path) -> list[Row]:
    return list(loaded_job(job).rows(films, out, processes=1))


@lru_cache(maxsize=1)
def loaded_job(job: bytes) -> Job:
    """A pickled job, once a process, with what it loads."""
    loaded: Job = pickle.loads(job)  # noqa: S301 - of the process that started this one
    return loaded


def _reported(rows: Iterable[Row], before: int, total: int, progress: Progress | None) -> Iterator[Row]:
    for done, row in enumerate(rows, before + 1):
        yield row
        if progress:
            progress(done, total)


def write_part(job: Job, plan: Plan, number: int, rows: Iterable[Row]) -> None:
    """Write one part, whole.

    Args:
        job: whose rows they are.
        plan: of all parts.
        number: of the part.
        rows: of its films, in their order.

    Raises:
        DataError: there are more or fewer rows than films.
    """
    import pyarrow as pa  # a tenth of a second, for those who keep parts only
    import pyarrow.parquet as pq

    films, made = plan.films_of(number), list(rows)
    if len(made) != len(films):
        raise DataError(f"part {number} has {len(films)} films, and {len(made)} rows were made of them")
    schema = pa.schema([pa.field("film", pa.string()), *job.schema])
    told = [{"film": film.path, **row} for film, row in zip(films, made, strict=True)]
    with written_aside(path_of(plan.out, number)) as aside:
        pq.write_table(pa.Table.from_pylist(told, schema=schema), aside, compression="zstd")


def path_of(out: Path, number: int) -> Path:
    """Where a part lies."""
    return out / FOLDER / f"part-{number:06d}.parquet"


def part_rows(out: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of the parts in `out`, in the order of the films, with no more than a part of them in memory.

    Args:
        out: the folder with the folder of parts.
        columns: those wanted; default all.
    """
    import pyarrow.parquet as pq  # a tenth of a second, for those who keep parts only

    return chain.from_iterable(pq.read_table(path, columns=columns).to_pylist() for path in _parts(out))


def refused_films(out: Path) -> int:
    """How many rows of the parts in `out` are refusals, counted without loading them."""
    import pyarrow.dataset as ds  # a tenth of a second, for those who keep parts only

    return int(ds.dataset(_parts(out)).count_rows(filter=ds.field("refused").is_valid())) if _parts(out) else 0


def remove_parts(out: Path) -> None:
    """Remove the folder of parts, all of it or nothing: a kill meanwhile leaves no parts that look unfinished.

    `out` goes too where nothing else is in it.
    """
    (out / FOLDER).rename(_removed(out))
    shutil.rmtree(_removed(out))
    with suppress(OSError):
        out.rmdir()


def _removed(out: Path) -> Path:
    return out / f".{FOLDER}-removed"


def _parts(out: Path) -> list[Path]:
    # Six digits hold 256 million films; more would still sort by length first.
    return sorted((out / FOLDER).glob(PARTS), key=lambda path: (len(path.name), path.name))

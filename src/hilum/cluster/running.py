"""Parts of a long list of films, each made and written by one process of a cluster, once.

The driver sends numbers of parts through Ray Data to actors that hold the job, and gets counts back; films, rows and
pixels never pass through it. Whoever makes a part writes it under the name that its number gives, whole or not at all,
so that work done twice, after a machine was lost or taken for lost, leaves one part. The list of films lies beside the
parts, and each actor reads the rows of its part.

A film may end the process that decodes it. A part that was begun before and is not there is therefore tried with
decoders in processes of their own, and, where that does not help, film by film in such processes: the film that ends
them is refused, and the others have their rows.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property, partial
from pathlib import Path
from socket import gethostname
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hilum.cluster import stores
from hilum.cluster.connecting import ClusterError, ray_data, workers
from hilum.cluster.spreading import settled
from hilum.errors import HilumError
from hilum.files import is_url
from hilum.parallel import CRASHED, Crashed, Progress, in_batches, in_order
from hilum.parts import (
    FILMS,
    FILMS_A_PART,
    FOLDER,
    JOB,
    TRIED,
    Job,
    Listed,
    Outcome,
    Plan,
    Row,
    loaded_job,
    path_of,
    plan_parts,
    state_of,
)
from hilum.parts import write_part as write_local

BLOCKS = 4000
"""Pieces of work at most; with more parts than that a piece is several parts, which a lost machine may have to begin
again, but not to make again."""
PARTS_EACH = 4
"""Parts for each process at least, while they are of `PASS` films or more."""
PASS = 32
"""Films that every network takes whole passes of."""
FETCHING = 8
"""Films fetched from a store at once."""
TOGETHER, DECODED_APART = 0, 1
"""Tries of a part before: none, so its films go through this process; one, so decoders get processes of their own."""


def part_size(films: int, processes: int | None = None) -> int:
    """Films a part, fewer where there are few, so that every process of the connected cluster gets several parts.

    Args:
        films: how many there are.
        processes: parts made at once at most; default one a processor of the cluster.

    Raises:
        UsageError: no cluster is connected.
    """
    share = -(-films // (PARTS_EACH * (processes or workers())))
    return min(FILMS_A_PART, PASS * max(1, -(-share // PASS)))


def plan_at(
    job: Job, films: Sequence[Listed], out: str, known: Iterable[stores.Stored], *, films_a_part: int = FILMS_A_PART
) -> Plan:
    """Like `hilum.parts.plan_parts`, where films or parts lie in a store.

    Args:
        job: what is to be done.
        films: all of them; paths or URLs.
        out: folder or URL that gets the folder of parts.
        known: what the store says of those films that are URLs.
        films_a_part: of parts that are begun.

    Raises:
        UsageError: the parts that are there are of another job, or of other films.
    """
    states = {one.url: (one.bytes, one.changed_ns) for one in known}

    def state(path: str) -> Sequence[int] | None:
        return states.get(path) if is_url(path) else state_of(path)

    if not is_url(out):
        return plan_parts(job, films, Path(out), films_a_part=films_a_part, state=state)
    there = _parts_at(out)
    with TemporaryDirectory() as folder:
        file, url = Path(folder, FOLDER, JOB), _beside(out, JOB)
        file.parent.mkdir()
        if stores.size_of(url) is not None:
            stores.fetch(url, file)
        for name in there:
            file.with_name(name).touch()  # the plan is held against the job that made them
        plan = plan_parts(job, films, Path(folder), films_a_part=films_a_part, state=state)
        stores.put(file, url)
    return replace(plan, missing=tuple(n for n in plan.missing if Path(_part(out, n)).name not in there))


def run_parts(
    job: Job, plan: Plan, *, out: str | None = None, processes: int | None = None, progress: Progress | None = None
) -> Outcome:
    """Make the parts that are missing on the processes of the connected cluster, and no film of those that are there.

    Args:
        job: as the plan was made for; its bundle and the films lie where every machine finds them.
        plan: what `plan_parts` or `plan_at` said.
        out: where the parts go, when that is a store; default the plan's folder.
        processes: parts made at once at most; default one a processor of the cluster, however it grows.
        progress: called with films done, those of before among them, and films in all.

    Raises:
        UsageError: no cluster is connected.
    """
    place, done = out or str(plan.out.resolve()), plan.done
    workers()
    refused = _refused_before(plan, place)
    if plan.missing:
        _write_films(plan, place)
        if progress:
            progress(done, len(plan.films))  # so that a rate is of what comes
        for counts in _counts(_Part(job, place, dict(job.identity), Path.cwd()), plan.missing, processes):
            done += counts["films"]
            refused += counts["refused"]
            if progress:
                progress(done, len(plan.films))
    return Outcome(films=len(plan.films), before=plan.done, refused=refused)


def finish_parts(out: str) -> None:
    """Remove what only the work on parts needed, and leave the parts and what they are of.

    Args:
        out: folder or URL with the folder of parts, all of which are there.
    """
    for name in stores.file_names(f"{out}/{FOLDER}"):
        if name == FILMS or fnmatch(name, TRIED):
            stores.remove(_beside(out, name))


def part_rows_at(out: str, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Like `hilum.parts.part_rows`, of parts that may lie in a store."""
    files, folder = stores.opened(f"{out}/{FOLDER}")
    for name in sorted(_parts_at(out), key=lambda name: (len(name), name)):
        table = pq.read_table(f"{folder}/{name}", columns=None if columns is None else list(columns), filesystem=files)
        yield from table.to_pylist()


def _counts(part: "_Part", missing: Sequence[int], processes: int | None) -> Iterator[Mapping[str, int]]:
    """The counts of parts as they are made."""
    data = ray_data()
    numbers = data.from_items([{"part": number} for number in missing], override_num_blocks=min(len(missing), BLOCKS))
    made = numbers.map_batches(
        _Actor,
        fn_constructor_args=(part,),
        batch_size=1,
        num_cpus=1,
        compute=data.ActorPoolStrategy(min_size=1, max_size=processes),
    )
    for counts in made.iter_rows():
        if counts["failed"]:
            raise pickle.loads(counts["failed"])  # noqa: S301 - of this run's own worker
        yield counts


class _Actor:
    """Holds the job in one process of the cluster, with what it loads."""

    def __init__(self, part: "_Part") -> None:
        settled()
        self._part = part

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        told: dict[str, Any] = {"films": 0, "refused": 0, "failed": b""}
        try:
            told["films"], told["refused"] = self._part.make(int(batch["part"][0]))
        except HilumError as error:
            told["failed"] = pickle.dumps(error)
        return {name: [value] for name, value in told.items()}


@dataclass(frozen=True)
class _Part:
    """How any part is made.

    Attributes:
        job: what is done.
        out: folder or URL with the folder of parts.
        identity: the job's where the command was given.
        base: what relative paths of films are relative to.
    """

    job: Job
    out: str
    identity: Mapping[str, str]
    base: Path

    @cached_property
    def _listed(self) -> pq.ParquetFile:
        files, path = stores.opened(_beside(self.out, FILMS))
        return pq.ParquetFile(files.open_input_file(path))

    def make(self, number: int) -> tuple[int, int]:
        """Make one part; how many films it has, and how many of them were refused.

        Raises:
            ClusterError: this machine would do something else than the one that gave the command.
        """
        self._check_same()
        films = [Listed(**row) for row in self._listed.read_row_group(number).to_pylist()]
        refused = _refused(_part(self.out, number), len(films))
        if refused is None:
            with _tried(_beside(self.out, f"part-{number:06d}.tried")) as before:
                refused = self._written(number, films, before)
        return len(films), refused

    def _check_same(self) -> None:
        """Whether the job is here what it is there: parts of two bundles or two engines must not be mixed."""
        here = dict(self.job.identity)
        differ = sorted(key for key in {*here, *self.identity} if here.get(key) != self.identity.get(key))
        if differ:
            told = ", ".join(f"{key} '{here.get(key)}' in place of '{self.identity.get(key)}'" for key in differ)
            raise ClusterError(
                f"{gethostname()} would work with {told}; install hilum and its bundles alike everywhere"
            )

    def _written(self, number: int, films: Sequence[Listed], before: int) -> int:
        with TemporaryDirectory(prefix="hilum-part-") as folder:
            stage = Path(folder, "out") if is_url(self.out) else Path(self.out)
            count = _Count()
            rows = _rows(self.job, _at_hand(films, self.base, Path(folder, "films")), stage, before)
            write_local(self.job, _Alone(films, stage, len(films), ()), number, count.refusals(rows))
            if is_url(self.out):
                put_folder(stage, self.out, last=path_of(stage, number))
            return count.refused


class _Alone(Plan):
    """The plan of one part, whatever its number."""

    def films_of(self, number: int) -> Sequence[Listed]:  # noqa: ARG002 - the one there is
        return self.films


class _Count:
    """Counts refusals as rows go by."""

    def __init__(self) -> None:
        self.refused = 0

    def refusals(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.refused += row.get("refused") is not None
            yield row


@contextmanager
def _tried(marker: str) -> Iterator[int]:
    """How often a part was begun before, and a note that it is begun again, removed when it is there.

    The note has a byte a try: a store tells a file's size without being asked for the file.
    """
    before = stores.size_of(marker) or 0
    with TemporaryDirectory() as folder:
        note = Path(folder, "note")
        note.write_bytes(b"." * (before + 1))
        stores.put(note, marker)
    yield before
    stores.remove(marker)


def _rows(job: Job, films: Sequence[tuple[Path, Listed]], out: Path, before: int) -> Iterator[Row]:
    """A part's rows, the more carefully made the more often it was begun."""
    if before in (TOGETHER, DECODED_APART):
        yield from job.rows(films, out, processes=1 if before == TOGETHER else 2)
        return
    work = partial(_row_alone, job=pickle.dumps(job), out=out)
    for _, row in in_order(work, films, processes=2):
        yield {"refused": CRASHED} if isinstance(row, Crashed) else row


def _row_alone(film: tuple[Path, Listed], *, job: bytes, out: Path) -> Row:
    return next(iter(loaded_job(job).rows([film], out, processes=1)))


def _at_hand(films: Sequence[Listed], base: Path, folder: Path) -> list[tuple[Path, Listed]]:
    """Where each film lies on this machine, those of a store fetched there under their own names.

    Raises:
        ClusterError: a store does not answer.
    """

    def fetched(film: Listed) -> tuple[Path, Listed]:
        if not is_url(film.path):
            return base / film.path, film
        file = folder / str(film.number) / film.path.rpartition("/")[2]
        file.parent.mkdir(parents=True)
        try:
            stores.fetch(film.path, file)
        except FileNotFoundError:
            file.unlink(missing_ok=True)  # the job says that there is no such file
        except OSError as error:
            raise ClusterError(f"{film.path} cannot be fetched ({error}); repeat the command to go on") from error
        return file, film

    with ThreadPoolExecutor(FETCHING) as threads:
        return list(threads.map(fetched, films))


def put_folder(folder: Path, out: str, *, last: Path | None = None) -> None:
    """Copy all files of a folder into a store.

    Args:
        folder: of this machine.
        out: URL of a folder.
        last: of the files, the one that tells that the others are there.

    Raises:
        ClusterError: the store does not take them.
    """
    files = [file for file in folder.rglob("*") if file.is_file() and file != last]
    put: Callable[[Path], None] = lambda file: stores.put(file, f"{out}/{file.relative_to(folder).as_posix()}")  # noqa: E731
    try:
        with ThreadPoolExecutor(FETCHING) as threads:
            list(threads.map(put, files))
        if last:
            put(last)
    except OSError as error:
        raise ClusterError(f"{out} cannot be written to ({error}); repeat the command to go on") from error


def _write_films(plan: Plan, out: str) -> None:
    """Write the list of films beside the parts, a row group a part."""
    schema = pa.schema([("number", pa.int64()), ("path", pa.string()), ("name", pa.string())])
    with TemporaryDirectory() as folder:
        file = Path(folder, FILMS)
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for some in in_batches(plan.films, plan.films_a_part):
                columns = {name: [getattr(film, name) for film in some] for name in schema.names}
                writer.write_table(pa.table(columns, schema=schema))
        stores.put(file, _beside(out, FILMS))


def _refused_before(plan: Plan, out: str) -> int:
    missing = set(plan.missing)
    count = -(-len(plan.films) // plan.films_a_part)
    numbers = [number for number in range(count) if number not in missing]
    return sum(_refused(_part(out, number), len(plan.films_of(number))) or 0 for number in numbers)


def _refused(part: str, films: int) -> int | None:
    """How many of a part's films were refused; None where the part is not there, or not whole."""
    if stores.size_of(part) is None:
        return None
    files, path = stores.opened(part)
    try:
        refused = pq.read_table(path, columns=["refused"], filesystem=files)["refused"]
    except (pa.ArrowInvalid, OSError):
        return None
    return len(refused) - refused.null_count if len(refused) == films else None


def _parts_at(out: str) -> set[str]:
    """Names of the parts that are there."""
    names = stores.file_names(f"{out}/{FOLDER}")
    return {name for name in names if name.startswith("part-") and name.endswith(".parquet")}


def _part(out: str, number: int) -> str:
    return _beside(out, path_of(Path(), number).name)


def _beside(out: str, name: str) -> str:
    return f"{out}/{FOLDER}/{name}"

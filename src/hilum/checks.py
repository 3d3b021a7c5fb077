"""Opening every film once: does it decode, what is it, which bytes, which picture; remembered for the next run."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hilum import duplicates
from hilum.errors import DataError, UnreadableFilm
from hilum.files import cache_dir, sha256_file
from hilum.parallel import Crashed, Progress, Spread, spread
from hilum.pixels import FilmFacts, read_film

VERSION = 4
"""Part of the memory's key: raise it when a check changes what it says."""

PASSING = ("not found", "cannot be opened", "out of memory", "decoder crashed")
"""Reasons that may be gone at the next run without the file having changed."""

UNSAVED = 64
"""Films whose facts a kill may cost at most."""
AT_ONCE = 500
"""Keys asked for in one query; SQLite allows 999 and more."""

CHECKED = {
    "sha256": "string",
    "bytes": "Int64",
    "width": "Int64",
    "height": "Int64",
    "mode": "string",
    "format": "string",
    "bits": "Int64",
    "photometric": "string",
    "pixel_warnings": "string",
    "phash": "string",
    "left_out": "string",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What opening one film told; everything missing but `left_out` where it could not be opened."""

    sha256: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    format: str | None = None
    bits: int | None = None
    photometric: str | None = None
    pixel_warnings: str | None = None
    phash: str | None = None
    left_out: str | None = None
    header_view: str | None = None
    header_sex: str | None = None
    header_age_years: float | None = None
    header_manufacturer: str | None = None
    header_model: str | None = None
    header_acquired: str | None = None
    header_patient_id: str | None = None


def check_films(
    paths: Sequence[Path],
    *,
    processes: int | None = None,
    progress: Progress | None = None,
    spread: Spread = spread,
) -> list[Facts]:
    """The facts of every film, in order; never raises for a film, whatever is wrong with it.

    Args:
        paths: of the films.
        processes: how many decode at once; default one a core.
        progress: called with films done and films in all.
        spread: hands the films out.

    Raises:
        DataError: the memory of checked films cannot be used.
    """
    keys = [_key(path) for path in paths]
    with _Memory.opened(cache_dir() / "facts.sqlite") as memory:
        known = memory.recall(keys)
        facts = [known.get(key) for key in keys]
        missing = [number for number, fact in enumerate(facts) if fact is None]
        work = ((number, paths[number]) for number in missing)
        for done, (item, result) in enumerate(spread(_check, work, processes=processes), 1):
            number = item[0]
            fact = facts[number] = _crashed(item[1]) if isinstance(result, Crashed) else result
            if not _may_pass(fact):
                memory.remember(keys[number], fact)
            if progress:
                progress(len(paths) - len(missing) + done, len(paths))
    return [fact for fact in facts if fact is not None]


def _crashed(path: Path) -> Facts:
    return Facts(left_out=f"decoder crashed: {path.name} ended the process that read it")


def _may_pass(facts: Facts) -> bool:
    """Whether a film was left out for what may be the machine's fault, not the film's: such reasons are not kept."""
    return facts.left_out is not None and facts.left_out.partition(":")[0] in PASSING


def _key(path: Path) -> str | None:
    """Names a file's content without reading it; None where there is no file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return f"{VERSION}|{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"


def _check(item: tuple[int, Path]) -> Facts:
    path = item[1]
    try:
        return check_film(path)
    except UnreadableFilm as error:
        return Facts(left_out=str(error))
    except OSError as error:
        return Facts(left_out=f"cannot be opened: {path.name} cannot be opened ({error.strerror})")
    except MemoryError:
        return Facts(left_out=f"out of memory: {path.name} needs more memory than there is")


def check_film(path: Path) -> Facts:
    """Decode one film and say what it is.

    Raises:
        UnreadableFilm: it must not be used, with the reason.
    """
    film = read_film(path, at_least_px=64)
    return Facts(
        sha256=sha256_file(path),
        phash=duplicates.to_text(duplicates.perceptual_hash(film.pixels)),
        **_told(film.facts),
    )


def _told(facts: FilmFacts) -> dict[str, Any]:
    return {
        "bytes": facts.bytes,
        "width": facts.width,
        "height": facts.height,
        "mode": facts.mode,
        "format": facts.format,
        "bits": facts.bits,
        "photometric": facts.photometric,
        "pixel_warnings": "; ".join(facts.warnings) or None,
        "header_view": facts.view_position,
        "header_sex": facts.sex,
        "header_age_years": facts.age_years,
        "header_manufacturer": facts.manufacturer,
        "header_model": facts.model,
        "header_acquired": facts.acquired,
        "header_patient_id": facts.patient_id,
    }


class _Memory:
    """Facts by file state, in SQLite: survives a kill at any moment, shared by runs.

    Written in short transactions, so that runs side by side hardly wait for one another.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._unsaved: list[tuple[str, str]] = []

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator["_Memory"]:
        """The memory kept in `path`; what is unsaved is saved when the block ends, however it ends."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path, timeout=60)) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, told TEXT NOT NULL)")
                memory = cls(connection)
                try:
                    yield memory
                finally:
                    memory.save()
        except sqlite3.Error as error:
            raise DataError(
                f"the memory of checked films, {path}, cannot be used ({error}); remove that file, or set HILUM_CACHE "
                "to a folder you may write to"
            ) from error

    def recall(self, keys: Iterable[str | None]) -> dict[str | None, Facts]:
        """What is known, by key; a film without a key is never known."""
        return dict(self._recalled([key for key in keys if key is not None]))

    def _recalled(self, wanted: Sequence[str]) -> Iterator[tuple[str | None, Facts]]:
        for start in range(0, len(wanted), AT_ONCE):
            part = wanted[start : start + AT_ONCE]
            marks = ",".join("?" * len(part))
            asked = f"SELECT key, told FROM facts WHERE key IN ({marks})"  # noqa: S608 - only question marks are inserted
            for key, told in self._connection.execute(asked, part):
                yield key, Facts(**json.loads(told))

    def remember(self, key: str | None, facts: Facts) -> None:
        """Keep a film's facts; saved a few at a time."""
        if key is None:
            return
        told = {name: value for name, value in asdict(facts).items() if value is not None}
        self._unsaved.append((key, json.dumps(told)))
        if len(self._unsaved) >= UNSAVED:
            self.save()

    def save(self) -> None:
        """Write what is not yet on disk."""
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", self._unsaved)
        self._unsaved.clear()

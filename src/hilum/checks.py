"""Opening every film once: does it decode, what is it, which bytes, which picture; remembered for the next run."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from hilum import duplicates
from hilum.errors import UnreadableFilm
from hilum.files import cache_dir, sha256_file
from hilum.parallel import Crashed, spread
from hilum.pixels import FilmFacts, read_film

VERSION = 1
"""Part of the memory's key: raise it when a check changes what it says."""

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


class Progress(Protocol):
    """Called with films done and films in all."""

    def __call__(self, done: int, total: int, /) -> None: ...


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
    paths: Sequence[Path], *, processes: int | None = None, progress: Progress | None = None
) -> list[Facts]:
    """The facts of every film, in order; never raises for a film, whatever is wrong with it."""
    memory = _Memory(cache_dir() / "facts.sqlite")
    keys = [_key(path) for path in paths]
    facts = memory.recall(keys)
    missing = [number for number, key in enumerate(keys) if key not in facts]
    done = len(paths) - len(missing)
    found: dict[int, Facts] = {}
    for item, result in spread(_check, ((number, paths[number]) for number in missing), processes=processes):
        number = item[0]
        found[number] = (
            Facts(left_out="decoder crashed: the file is damaged") if isinstance(result, Crashed) else result
        )
        if keys[number] is not None:
            memory.remember(keys[number], found[number])
        done += 1
        if progress:
            progress(done, len(paths))
    memory.close()
    return [found[number] if number in found else facts[key] for number, key in enumerate(keys)]


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
    """Facts by file state, in SQLite: survives a kill at any moment, shared by runs."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=60)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, told TEXT NOT NULL)")
        self._unsaved = 0

    def recall(self, keys: Sequence[str | None]) -> dict[str | None, Facts]:
        wanted = [key for key in keys if key is not None]
        return dict(self._recalled(wanted))

    def _recalled(self, wanted: Sequence[str]) -> Iterator[tuple[str, Facts]]:
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            marks = ",".join("?" * len(part))
            with closing(self._connection.execute(f"SELECT key, told FROM facts WHERE key IN ({marks})", part)) as rows:  # noqa: S608 - only question marks are inserted
                for key, told in rows:
                    yield key, Facts(**json.loads(told))

    def remember(self, key: str | None, facts: Facts) -> None:
        told = json.dumps({name: value for name, value in asdict(facts).items() if value is not None})
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, told))
        self._unsaved += 1
        if self._unsaved >= 64:
            self._connection.commit()
            self._unsaved = 0

    def close(self) -> None:
        self._connection.commit()
        self._connection.close()

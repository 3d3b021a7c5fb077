"""Writing that leaves no half-written file behind, and the names and hashes files are known by."""

import hashlib
import json
import os
import platform
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePath
from typing import Any


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path` to write to; renamed to `path` when the block ends, removed when it fails.

    The temporary name keeps the suffix of `path`, for writers that choose their format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(aside_name(path.name))
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


LEFT = re.compile(r"\.(?P<stem>.+)\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<thread>\d+)\.part(?P<suffix>\.[^.]*)?")
"""The names that `written_aside` gives."""


def aside_name(name: str) -> str:
    """What a file of this name is called until it is whole: after who writes it, as no other thread anywhere does."""
    path = PurePath(name)
    return f".{path.stem}.{_host()}-{os.getpid()}-{threading.get_ident()}.part{path.suffix}"


@cache
def _host() -> str:
    """Stands for this machine; containers of one machine, which count processes each for itself, have one each."""
    try:
        counted = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        counted = ""
    return digest_of([platform.node(), counted])[:8]


def remove_asides(folder: Path, of: Path | None = None, *, elsewhere: bool = False) -> None:
    """Remove what writers that were killed left half-written in a folder; those still at work keep theirs.

    Args:
        folder: looked at, and no folder in it.
        of: only what would have become this file; default of any.
        elsewhere: also what was left by other machines, of which nobody can tell whether they are at work: for folders
            that this process alone has a claim to.
    """
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        told = LEFT.fullmatch(entry.name)
        wanted = told and (of is None or (told["stem"], told["suffix"] or "") == (of.stem, of.suffix))
        if told and wanted and not (_at_work(told) if told["host"] == _host() else not elsewhere):
            Path(entry.path).unlink(missing_ok=True)


def _at_work(told: re.Match[str]) -> bool:
    """Whether a thread of this process, or any of another process of this machine, may still be writing."""
    pid, thread = int(told["pid"]), int(told["thread"])
    if pid == os.getpid():
        return thread in {one.ident for one in threading.enumerate()}
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def is_url(place: str) -> bool:
    """Whether a place is named by a scheme, `s3://films/2024`, and not by a path."""
    scheme, colon, _ = place.partition("://")
    return bool(colon) and scheme.replace("+", "").isalnum()


def names_of(paths: Iterable[PurePath | str]) -> Iterator[str]:
    """A name for each film that no other has: its stem, with a number where another film has that stem.

    >>> list(names_of(["a/x.png", "b/x.dcm", "x-2.png", "c/x.png"]))
    ['x', 'x-2', 'x-2-2', 'x-3']
    """
    taken, tried = set[str](), Counter[str]()
    for path in paths:
        stem = name = PurePath(path).stem
        while name in taken:
            tried[stem] += 1
            name = f"{stem}-{tried[stem] + 1}"
        taken.add(name)
        yield name


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, all of it or nothing."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON a person can read and a diff can follow: two spaces, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def canonical_json(value: Any) -> str:
    """The one text for a value: sorted keys, no spaces. What digests of settings are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of a JSON value's canonical text.

    >>> digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1})
    True
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in constant memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_dir() -> Path:
    """Where decoded films, features and the prepared CT are kept: `$HILUM_CACHE`, else `~/.cache/hilum`."""
    named = os.environ.get("HILUM_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hilum"

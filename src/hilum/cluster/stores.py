"""Folders that are not on a file system of this machine: object stores and whatever else pyarrow or fsspec opens.

`s3://`, `gs://`, `abfs://`, `hdfs://` and `file://` are pyarrow's own; any other scheme is fsspec's, where it and the
package for that scheme are installed. Keys, regions and endpoints are taken from the environment, as those libraries
document it; a URL holds none.
"""

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyarrow import ArrowInvalid, ArrowNotImplementedError
from pyarrow import fs as pafs

from hilum.errors import DataError, UsageError, require
from hilum.files import aside_name, is_url
from hilum.sources.tables import DICOM_MAGIC, film_by_name, is_dicom

CHUNK = 8 << 20
"""Bytes copied at once."""
WHOLE_AT_ONCE = ("s3", "gcs", "abfs")
"""File systems on which a file is there when all of it is, and not before; on others it is written aside first."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in a store: its URL, its size in bytes, and when it changed, in nanoseconds; 0 where unknown."""

    url: str
    bytes: int
    changed_ns: int


def stored_films(url: str) -> Iterator[Stored]:
    """Every film below a folder, sorted, by the rules that hold for folders of this machine; or the one file named.

    Raises:
        DataError: there is nothing, or no film.
        UsageError: the URL cannot be opened.
    """
    files, path = opened(url)
    base = url.rstrip("/")
    told = _told(files, path, url)
    if told.type == pafs.FileType.File:
        yield _stored(base, told)
        return
    prefix = path.rstrip("/") + "/"
    found = files.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True))
    films = [one for one in found if one.type == pafs.FileType.File and _is_film(files, one, prefix)]
    if not films:
        raise DataError(f"folder {url} does not exist, or holds no film")
    for one in sorted(films, key=lambda one: str(one.path).removeprefix(prefix).split("/")):
        yield _stored(f"{base}/{one.path.removeprefix(prefix)}", one)


def file_names(url: str) -> list[str]:
    """Names of the files in a folder, sorted; none where there is no such folder."""
    files, path = opened(url)
    found = files.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return sorted(one.base_name for one in found if one.type == pafs.FileType.File)


def fetch(url: str, to: Path) -> None:
    """Copy a file of a store to this machine.

    Raises:
        OSError: it is not there, or the store does not answer.
    """
    files, path = opened(url)
    with files.open_input_stream(path) as source, to.open("wb") as target:
        while chunk := source.read(CHUNK):
            target.write(chunk)


def put(file: Path, url: str) -> None:
    """Copy a file of this machine into a store; it is there whole, or not at all.

    Raises:
        OSError: it cannot be written.
    """
    files, path = opened(url)
    if files.type_name in WHOLE_AT_ONCE:
        _copy(file, files, path)
        return
    folder, name = posixpath.split(path)
    files.create_dir(folder, recursive=True)
    aside = posixpath.join(folder, aside_name(name))
    _copy(file, files, aside)
    files.move(aside, path)


def size_of(url: str) -> int | None:
    """Bytes of a file; None where there is none."""
    files, path = opened(url)
    told = files.get_file_info(path)
    return int(told.size or 0) if told.type == pafs.FileType.File else None


def remove(url: str) -> None:
    """Remove a file of a store, where it is there."""
    files, path = opened(url)
    if files.get_file_info(path).type == pafs.FileType.File:
        files.delete_file(path)


def _copy(file: Path, files: pafs.FileSystem, path: str) -> None:
    with file.open("rb") as source, files.open_output_stream(path) as target:
        while chunk := source.read(CHUNK):
            target.write(chunk)


def _stored(url: str, told: Any) -> Stored:
    return Stored(url, int(told.size or 0), int(told.mtime_ns or 0))


def _told(files: pafs.FileSystem, path: str, url: str) -> Any:
    try:
        return files.get_file_info(path)
    except OSError as error:
        raise DataError(f"{url} cannot be looked at ({error})") from error


def _is_film(files: pafs.FileSystem, told: Any, prefix: str) -> bool:
    named = film_by_name(str(told.path).removeprefix(prefix).split("/"))
    if named is not None:
        return named
    with files.open_input_stream(told.path) as stream:
        return is_dicom(stream.read(DICOM_MAGIC))


def opened(place: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a URL or of this machine, and the path in it; names are taken as they are, `%20` is no blank.

    Raises:
        UsageError: the URL cannot be opened.
    """
    if not is_url(place):
        return pafs.LocalFileSystem(), os.path.abspath(place)  # noqa: PTH100 - as text, like URLs
    scheme, _, rest = place.partition("://")
    machine, _, inside = rest.partition("/")
    files, root = _root(scheme, machine, os.getpid())
    return files, posixpath.join(root, inside) if inside else root


@lru_cache(maxsize=32)
def _root(scheme: str, machine: str, _process: int) -> tuple[pafs.FileSystem, str]:
    """A bucket or machine, opened once a process: each opening has connections of its own."""
    url = f"{scheme}://{machine}/"
    try:
        files, root = pafs.FileSystem.from_uri(url)
    except (ArrowInvalid, ArrowNotImplementedError):
        return _by_fsspec(url)
    except OSError as error:
        raise UsageError(f"{url} cannot be opened ({error})") from error
    return files, root


def _by_fsspec(url: str) -> tuple[pafs.FileSystem, str]:
    fsspec = require("fsspec", extra="ray")
    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UsageError(f"{url} cannot be opened: {error}") from error
    return pafs.PyFileSystem(pafs.FSSpecHandler(files)), root

"""ArrayCache: arrays of one shape on disk, found by what they were made from, read without decoding anything again."""

import fcntl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import DataError, UnreadableFilm
from hilum.files import cache_dir, sha256_file
from hilum.parallel import Crashed, Progress, Spread, spread
from hilum.pixels import Film, read_film
from hilum.preprocess import HALF, Frame, Preprocess

if TYPE_CHECKING:
    import pandas as pd


class ArrayCache:
    """Rows of one shape in a flat file, and the keys they are known by in another.

    A row is written before its key, so a kill at any moment leaves whole rows only; a row without a key, and a key
    without a row, are written over. One process writes at a time, the others wait; readers need no lock.
    """

    def __init__(self, folder: Path, *, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._rows = folder / "rows.bin"
        self._keys = folder / "keys.txt"
        self._lock = folder / "lock"
        for file in (self._rows, self._keys, self._lock):
            file.touch()

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def positions(self) -> dict[str, int]:
        """Key -> row, of every whole row."""
        text = self._keys.read_bytes()
        whole = text[: text.rfind(b"\n") + 1].decode().split("\n")[:-1]
        there = self._rows.stat().st_size // self.row_bytes  # fewer than keys after a power cut or on a full disk
        return {key: row for row, key in enumerate(whole[:there])}

    def missing(self, keys: Iterable[str]) -> list[str]:
        """The keys without a row, each once, in order."""
        known = self.positions()
        return [key for key in dict.fromkeys(keys) if key not in known]

    def fill(self, keys: Iterable[str], make: Callable[[list[str]], Iterable[tuple[str, NDArray[Any]]]]) -> int:
        """Have `make` make the rows still missing and append them as they come; returns how many were missing.

        What is missing is asked after other writers are done, so that nothing is made twice.
        """
        keys = list(keys)
        if not self.missing(keys):
            return 0
        with self._writing():
            missing = self.missing(keys)
            self._append(make(missing))
            return len(missing)

    def add(self, rows: Iterable[tuple[str, NDArray[Any]]]) -> None:
        """Append rows as they come; keys already known are skipped."""
        with self._writing():
            self._append(rows)

    def _append(self, rows: Iterable[tuple[str, NDArray[Any]]]) -> None:
        known = self.positions()
        with self._rows.open("r+b") as data, self._keys.open("r+b") as names:
            data.seek(data.truncate(len(known) * self.row_bytes))
            names.seek(names.truncate(sum(len(key.encode()) + 1 for key in known)))
            for key, row in rows:
                if key in known:
                    continue
                data.write(np.ascontiguousarray(row, self.dtype).reshape(self.shape).tobytes())
                data.flush()
                names.write(f"{key}\n".encode())
                names.flush()
                known[key] = len(known)

    def view(self, keys: Sequence[str]) -> "ArrayView":
        """The rows of `keys`, in their order, still on disk.

        Raises:
            KeyError: a key has no row; `missing` tells beforehand.
        """
        known = self.positions()
        rows = np.array([known[key] for key in keys], np.int64)
        return ArrayView(self._rows, self.shape, self.dtype, rows, tuple(keys))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)


@dataclass(frozen=True)
class ArrayView:
    """Some rows of a cache, in an order of their own; indexing reads them from disk and keeps nothing.

    Plain reads rather than a memory map: a map of a file larger than memory counts towards a container's limit, and
    takes all of the file along when it is sent to another process.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: NDArray[np.int64]
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: NDArray[np.int64] | slice) -> NDArray[Any]:
        rows = self.rows[positions]
        read = np.empty((len(rows), *self.shape), self.dtype)
        with self.file.open("rb", buffering=0) as stream:
            for place, row in zip(read, rows.tolist(), strict=True):
                stream.seek(row * place.nbytes)
                if stream.readinto(place.data.cast("B")) != place.nbytes:
                    raise DataError(f"{self.file} is shorter than it was; remove its folder and start again")
        return read

    def only(self, positions: NDArray[np.int64]) -> "ArrayView":
        """The view of some of its rows."""
        return replace(self, rows=self.rows[positions], keys=tuple(self.keys[place] for place in positions.tolist()))


@dataclass(frozen=True)
class _Source:
    """What a frame is made of: a film, the hash it was indexed with, and its lung mask where that matters."""

    sha256: str
    film: Path
    mask: Path | None


class FrameCache:
    """Films as the network's frames, made once: a second run decodes nothing."""

    def __init__(self, preprocess: Preprocess, folder: Path | None = None) -> None:
        self.preprocess = preprocess
        self._mask_hashes: dict[Path, str] = {}
        side = preprocess.size_px
        self.folder = (folder or cache_dir()) / "frames" / preprocess.geometry_digest[:16]
        self._cache = ArrayCache(self.folder, shape=(side, side), dtype=preprocess.dtype)

    @property
    def frame_bytes(self) -> int:
        """What one frame takes on disk."""
        return self._cache.row_bytes

    def fill(
        self,
        films: "pd.DataFrame",
        root: Path,
        *,
        processes: int | None = None,
        progress: Progress | None = None,
        spread: Spread = spread,
    ) -> int:
        """Decode the films (rows of an index) not yet known, in parallel; returns how many that were.

        Args:
            films: rows of an index.
            root: folder that their paths are relative to.
            processes: how many decode at once; default one a core.
            progress: called with films done and films in all.
            spread: hands the films out.

        Raises:
            DataError: a film that the index says is readable is not, or no longer the same file.
        """
        wanted = dict(zip(self._keys(films, root), self._sources(films, root), strict=True))

        def decoded(missing: list[str]) -> Iterator[tuple[str, Frame]]:
            work = partial(_indexed_frame, preprocess=self.preprocess)
            results = spread(work, ((key, wanted[key]) for key in missing), processes=processes)
            return _counted(results, len(missing), progress)

        return self._cache.fill(wanted, decoded)

    def view(self, films: "pd.DataFrame", root: Path) -> ArrayView:
        """The films' (side, side) frames, in their order."""
        return self._cache.view(self._keys(films, root))

    def _keys(self, films: "pd.DataFrame", root: Path) -> list[str]:
        """A film's hash, and its mask's where the mask matters: another mask makes another frame."""
        hashes: list[str] = films["sha256"].tolist()
        if not self.preprocess.masked:
            return hashes
        masks = [source.mask for source in self._sources(films, root)]
        return [f"{film}-{self._mask_hash(mask)}" for film, mask in zip(hashes, masks, strict=True)]

    def _sources(self, films: "pd.DataFrame", root: Path) -> list[_Source]:
        masks = films["lung_mask"] if self.preprocess.masked else [None] * len(films)
        return [
            _Source(sha256, root / path, root / mask if isinstance(mask, str) else None)
            for sha256, path, mask in zip(films["sha256"], films["path"], masks, strict=True)
        ]

    def _mask_hash(self, mask: Path | None) -> str:
        if mask is None:
            return ""
        if mask not in self._mask_hashes:
            self._mask_hashes[mask] = sha256_file(mask)[:16] if mask.is_file() else "absent"
        return self._mask_hashes[mask]


def read_for(preprocess: Preprocess, path: Path) -> Film | str:
    """A film decoded as large as its frame needs, or why it cannot be."""
    try:
        return read_film(path, at_least_px=preprocess.decoded_px)
    except (UnreadableFilm, OSError) as error:
        return str(error)


def _indexed_frame(item: tuple[str, _Source], *, preprocess: Preprocess) -> Frame | str:
    """The frame of the very file that was indexed, known by its SHA-256; of any other file why there is none."""
    _, source = item
    film = read_for(preprocess, source.film)
    if isinstance(film, str):
        return film
    try:
        lungs = read_film(source.mask).pixels >= HALF if source.mask else None
        frame = preprocess.frame(film.pixels, lungs)
        return frame if sha256_file(source.film) == source.sha256 else "its content has changed"
    except DataError as error:
        return str(error)
    except UnreadableFilm as error:
        return f"its lung mask: {error}"
    except OSError as error:
        return str(error)


def _counted(results: Iterable[Any], total: int, progress: Progress | None) -> Iterator[tuple[str, Frame]]:
    for done, ((key, source), frame) in enumerate(results, 1):
        if isinstance(frame, Crashed | str):
            why = "its decoder crashed" if isinstance(frame, Crashed) else frame
            raise DataError(f"film {source.film.name} is not as it was indexed ({why}); run hilum index again")
        if progress:
            progress(done, total)
        yield key, frame

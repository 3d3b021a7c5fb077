"""Export: films as arrays for programs that are not hilum, several sizes in one go, row by row the same films.

    films-224.npy    (N, 224, 224), one file a size; uint8, or uint16 with 16 bits; bone bright
    films.csv        row n of the table is row n of every array: image_id, classes, source, group, sha256
    left_out.csv     every other film of the index, with the reason
    export.json      how the arrays were made

A row is byte for byte what a network of that size is shown, before its mean is subtracted.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum import __version__
from hilum.cache import read_for
from hilum.errors import DataError, UnreadableFilm, UsageError
from hilum.files import sha256_file, write_json, written_aside
from hilum.index import Index
from hilum.parallel import Crashed, Progress, spread
from hilum.pixels import read_film
from hilum.preprocess import HALF, Frame, Preprocess
from hilum.selection import TARGET

CHANGED = "changed: the film is not the one that was indexed; run hilum index again"
JPEG = "JPEG"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A film to read, where its row goes, and the hash it was indexed with."""

    row: int
    film: Path
    mask: Path | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    arrays: tuple[Path, ...]
    films: int
    left_out: pd.DataFrame
    """`image_id`, `reason` of every film of the index that is in no array."""
    refused: int
    """How many of these the index had taken for readable."""


def export_arrays(
    chosen: Index,
    out: Path,
    preprocess: Sequence[Preprocess],
    *,
    classes: Sequence[str] = (),
    processes: int | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write the films in use as one array for each way of preprocessing, and the tables that go with them.

    A film that cannot be read any more is left out of every array. Nothing half-written is left behind.

    Args:
        chosen: the films; as `select_films` gives it where there are `classes`.
        out: the folder.
        preprocess: one for each size; sizes must differ.
        classes: names for which the table gets a column of 0 and 1, and one that says which.
        processes: how many decode at once; default one a core.
        progress: called with films done and films in all.

    Raises:
        UsageError: no size, or one twice.
        DataError: no film can be exported.
    """
    sizes = [one.size_px for one in preprocess]
    if not sizes or len(set(sizes)) < len(sizes):
        raise UsageError("give every size once, such as --size 224 --size 600")
    films = chosen.films
    paths = tuple(out / f"films-{size}.npy" for size in sizes)
    with ExitStack() as files:
        shapes = [(len(films), one.size_px, one.size_px) for one in preprocess]
        made = [
            files.enter_context(_written_rows(path, shape, one.dtype))
            for path, shape, one in zip(paths, shapes, preprocess, strict=True)
        ]
        wanted = _wanted(films, chosen.root, masked=any(one.masked for one in preprocess))
        refused = _fill(made, wanted, partial(_frames, preprocess=tuple(preprocess)), processes, progress)
        kept = np.setdiff1d(np.arange(len(films)), list(refused))
        if not len(kept):
            raise DataError(f"no film can be exported: {next(iter(refused.values()), 'the index has none in use')}")
        for rows in made:
            rows.keep(kept)
    left_out = _left_out(chosen, films, refused)
    _write_table(out / "films.csv", _table(films.iloc[kept], classes))
    _write_table(out / "left_out.csv", left_out)
    write_json(out / "export.json", _told(chosen, preprocess, classes, len(kept), left_out))
    return Exported(paths, len(kept), left_out, len(refused))


def in_sizes(base: Preprocess, sizes: Sequence[int], **changes: object) -> list[Preprocess]:
    """A way of preprocessing at several sizes, with some of its settings changed; None changes nothing."""
    told = base.model_dump() | {name: value for name, value in changes.items() if value is not None}
    return [Preprocess.model_validate(told | {"size_px": size}) for size in sizes]


def _wanted(films: pd.DataFrame, root: Path, *, masked: bool) -> Iterator[_Wanted]:
    masks = films["lung_mask"] if masked else [pd.NA] * len(films)
    for row, (path, mask, sha256) in enumerate(zip(films["path"], masks, films["sha256"], strict=True)):
        yield _Wanted(row, root / path, None if pd.isna(mask) else root / mask, sha256)


def _frames(wanted: _Wanted, *, preprocess: tuple[Preprocess, ...]) -> list[Frame] | str:
    """A film in every size, or why there is none; decoded once, but for JPEGs, whose decoding depends on the size."""
    frames: list[Frame] = []
    film = None
    try:
        lungs = read_film(wanted.mask).pixels >= HALF if wanted.mask else None
        for one in preprocess:
            if film is None or film.facts.format == JPEG:
                read = read_for(one, wanted.film)
                if isinstance(read, str):
                    return read
                film = read
            frames.append(one.frame(film.pixels, lungs))
        return frames if sha256_file(wanted.film) == wanted.sha256 else CHANGED
    except UnreadableFilm as error:
        return f"lung mask: {error}"
    except (DataError, OSError) as error:
        return str(error)


def _fill(
    made: Sequence["_Rows"],
    wanted: Iterator[_Wanted],
    work: Callable[[_Wanted], list[Frame] | str],
    processes: int | None,
    progress: Progress | None,
) -> dict[int, str]:
    """Write every film's rows as they come; returns why the others have none, by row."""
    refused: dict[int, str] = {}
    total = made[0].shape[0]
    for done, (item, frames) in enumerate(spread(work, wanted, processes=processes), 1):
        if isinstance(frames, Crashed):
            refused[item.row] = "decoder crashed: the process that read the film died"
        elif isinstance(frames, str):
            refused[item.row] = frames
        else:
            for rows, frame in zip(made, frames, strict=True):
                rows.put(item.row, frame)
        if progress:
            progress(done, total)
    return refused


@dataclass
class _Rows:
    """A .npy file filled row by row, in any order: films come as they are decoded, and need not fit into memory."""

    stream: BinaryIO
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    start: int = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.stream.write(self._header(self.shape[0]))

    @property
    def row_bytes(self) -> int:
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def put(self, row: int, frame: Frame) -> None:
        self._write(row, np.ascontiguousarray(frame, self.dtype).tobytes())

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Move these rows (ascending) to the front and cut off the rest."""
        for place, row in enumerate(rows.tolist()):
            if place != row:
                self.stream.seek(self.start + row * self.row_bytes)
                self._write(place, self.stream.read(self.row_bytes))
        self.stream.truncate(self.start + len(rows) * self.row_bytes)
        self.stream.seek(0)
        self.stream.write(self._header(len(rows)))

    def _write(self, row: int, content: bytes) -> None:
        self.stream.seek(self.start + row * self.row_bytes)
        self.stream.write(content)

    def _header(self, rows: int) -> bytes:
        """NumPy leaves room in it for the number of rows to change: its length depends on nothing else."""
        told = {"descr": self.dtype.str, "fortran_order": False, "shape": (rows, *self.shape[1:])}
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, told)
        return stream.getvalue()


@contextmanager
def _written_rows(path: Path, shape: tuple[int, int, int], dtype: type[np.uint8] | type[np.uint16]) -> Iterator[_Rows]:
    with written_aside(path) as aside, aside.open("w+b") as stream:
        yield _Rows(stream, shape, np.dtype(dtype))


def _left_out(chosen: Index, films: pd.DataFrame, refused: dict[int, str]) -> pd.DataFrame:
    """`image_id`, `reason`: left out by the index and the recipe, then what could not be read now."""
    before = chosen.left_out[["image_id", "left_out"]].rename(columns={"left_out": "reason"})
    rows = sorted(refused)
    now = pd.DataFrame({"image_id": films["image_id"].iloc[rows], "reason": [refused[row] for row in rows]})
    return pd.concat([before, now.astype("string")], ignore_index=True)


def _table(films: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame({"image_id": films["image_id"]})
    if classes:
        table["class"] = films[TARGET]
        for name in classes:
            table[f"class.{name}"] = (films[TARGET] == name).astype(int)
    return table.assign(source=films["source"], group=films["group_id"], sha256=films["sha256"])


def _write_table(path: Path, table: pd.DataFrame) -> None:
    with written_aside(path) as aside:
        table.to_csv(aside, index=False)


def _told(
    chosen: Index, preprocess: Sequence[Preprocess], classes: Sequence[str], films: int, left_out: pd.DataFrame
) -> dict[str, object]:
    kept = ("size_px", "aspect", "depth_bits", "lungs", "steps")
    return {
        "hilum": __version__,
        "index": chosen.digest,
        "films": films,
        "left_out": len(left_out),
        "classes": list(classes),
        "arrays": [
            {"file": f"films-{one.size_px}.npy"}
            | {name: value for name, value in one.model_dump(mode="json").items() if name in kept}
            | {"geometry": one.geometry_digest}
            for one in preprocess
        ],
    }

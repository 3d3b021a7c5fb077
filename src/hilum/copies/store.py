"""KeypointCache: what films are recognised by, kept by the hash of their bytes, so that a second run opens no film."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.cache import ArrayCache, ArrayView
from hilum.duplicates.keypoints import CONTRACT, MOST, Keypoints, describe
from hilum.errors import UnreadableFilm
from hilum.files import cache_dir, digest_of, sha256_file
from hilum.parallel import CRASHED, Crashed, Progress, spread
from hilum.pixels import RESAMPLING_CONTRACT, read_film

Row = NDArray[np.uint8]
Sought = tuple[str, tuple[Path, ...]]
"""The SHA-256 of a film's bytes, and the files that had it when they were indexed."""

HEAD = np.dtype([("count", "<u2"), ("size", "<u2", 2), ("shape", "<u4", 2), ("digest", "u1", 32)])
STEPS = 64
"""Places are kept in 64ths of a pixel."""
POINT_BYTES, DESCRIPTOR_BYTES = 4, 128
ROW_BYTES = HEAD.itemsize + MOST * (POINT_BYTES + DESCRIPTOR_BYTES)


class KeypointCache:
    """Keypoints by SHA-256 of the film's file, 79 KB a film."""

    def __init__(self, folder: Path | None = None) -> None:
        made_by = digest_of({"keypoints": CONTRACT, "pixels": RESAMPLING_CONTRACT})
        place = (folder or cache_dir()) / "keypoints" / made_by[:16]
        self._cache = ArrayCache(place, shape=(ROW_BYTES,), dtype=np.uint8)

    def fill(
        self,
        films: Mapping[str, Sequence[Path]],
        *,
        processes: int | None = None,
        progress: Progress | None = None,
    ) -> dict[str, str]:
        """Describe the films not yet known, by hash; returns why some cannot be, by hash.

        Args:
            films: SHA-256 -> the files of these bytes; the first that can be read is.
            processes: how many decode at once; default one a core.
            progress: called with films done and films to do.
        """
        refused: dict[str, str] = {}

        def described(missing: list[str]) -> Iterator[tuple[str, Row]]:
            work: Iterable[Sought] = ((sha256, tuple(films[sha256])) for sha256 in missing)
            for done, ((sha256, _), row) in enumerate(spread(_described, work, processes=processes), 1):
                if progress:
                    progress(done, len(missing))
                if isinstance(row, Crashed | str):
                    refused[sha256] = CRASHED if isinstance(row, Crashed) else row
                else:
                    yield sha256, row

        self._cache.fill(films, described)
        return refused

    def view(self, keys: Sequence[str]) -> ArrayView:
        """The films' rows, for `unpacked`, still on disk."""
        return self._cache.view(keys)


def _described(sought: Sought) -> Row | str:
    """The row of the very film that was indexed, or why there is none."""
    sha256, paths = sought
    why = ""
    for path in paths:
        try:
            film = read_film(path)
            if sha256_file(path) == sha256:
                return packed(describe(film.pixels))
            why = f"changed: {path.name} is not the file that was indexed; run hilum index again"
        except (UnreadableFilm, OSError) as error:
            why = str(error)
    return why


def packed(keypoints: Keypoints) -> Row:
    """(ROW_BYTES,): all of them in one row of fixed length."""
    count = len(keypoints)
    head = np.zeros((), HEAD)
    head["count"], head["size"], head["shape"] = count, keypoints.size, keypoints.shape
    head["digest"] = np.frombuffer(keypoints.digest, np.uint8)
    row = np.zeros(ROW_BYTES, np.uint8)
    row[: HEAD.itemsize] = np.frombuffer(head.tobytes(), np.uint8)
    places = np.rint(np.maximum(keypoints.points, 0) * STEPS).astype("<u2")
    points, descriptors = _parts(row)
    points[: places.nbytes] = np.frombuffer(places.tobytes(), np.uint8)
    descriptors[: keypoints.descriptors.size] = keypoints.descriptors.ravel()
    return row


def unpacked(row: NDArray[Any]) -> Keypoints:
    """The keypoints of a row."""
    head = np.frombuffer(row[: HEAD.itemsize].tobytes(), HEAD)[0]
    count = int(head["count"])
    points, descriptors = _parts(row)
    places = np.frombuffer(points[: count * POINT_BYTES].tobytes(), "<u2").reshape(-1, 2)
    return Keypoints(
        points=(places / STEPS).astype(np.float32),
        descriptors=descriptors[: count * DESCRIPTOR_BYTES].reshape(-1, DESCRIPTOR_BYTES),
        size=(int(head["size"][0]), int(head["size"][1])),
        shape=(int(head["shape"][0]), int(head["shape"][1])),
        digest=head["digest"].tobytes(),
    )


def _parts(row: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The bytes of the places and those of the descriptors."""
    split = HEAD.itemsize + MOST * POINT_BYTES
    return row[HEAD.itemsize : split], row[split:]

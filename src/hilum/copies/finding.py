"""Which films show the same picture, in three stages, each on what the one before has left.

Equal bytes and equal pixels are certain. Perceptual hashes find exports. For crops and edits, films that share unusual
words are compared keypoint by keypoint. What is unreadable now is told, never passed over.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hilum import duplicates
from hilum.cache import ArrayView
from hilum.copies.store import KeypointCache, unpacked
from hilum.duplicates.keypoints import Hanging, hung
from hilum.duplicates.matching import Match, in_own_pixels, match
from hilum.duplicates.words import WordIndex, Words, words_of
from hilum.errors import DataError, UsageError
from hilum.index import Index, alike, counted
from hilum.parallel import Ahead, Crashed, Progress, Watch, default_processes, in_batches, spread, unwatched

How = Literal["same bytes", "same pixels", "near hash", "crop or edit"]

CANDIDATES: dict[Hanging, int] = {"as is": 4, "mirrored": 2, "inverted": 2, "mirrored and inverted": 2}
"""Films a film is compared with at most. What more would find: see docs/how-to/find-duplicates.md."""
AT_ONCE = 64
"""Pairs compared in one piece of work; their keypoints are all that is in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two films of one picture, by their rows in `Copies.films`, first < second.

    Attributes:
        how: the surest way they are known to be.
        hash_bits: how many of 256 bits of their perceptual hashes differ.
        match: how the second lies on the first, in pixels of both; None for equal pixels, and where a near hash is all
            there is.
    """

    first: int
    second: int
    how: How
    hash_bits: int
    match: Match | None = None


@dataclass(frozen=True)
class Copies:
    """What `find_copies` found.

    Attributes:
        films: a row a compared film: index, image_id, source, path (whole), width, height, sha256, phash, group (a
            number for films of one picture, missing where there is no other).
        pairs: by first and second. Of films with equal bytes or pixels each later one is paired with the first only,
            and the first alone is compared with other films.
        refused: index, image_id and reason of films that can no longer be read.
    """

    films: pd.DataFrame
    pairs: tuple[Pair, ...]
    refused: pd.DataFrame

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many films cannot be read for each kind of reason."""
        return counted(self.refused["reason"])


class _Asked(NamedTuple):
    """Rows to compare, first < second, and how the second is hung."""

    first: int
    second: int
    hanging: Hanging


def find_copies(indexes: Mapping[str, Index], *, processes: int | None = None, watch: Watch = unwatched) -> Copies:
    """Compare the films in use of one or several indexes, within and across.

    Args:
        indexes: name -> index; a film is known by the name and its image id.
        processes: how many decode, and compare, at once; default one a core.
        watch: shows progress, stage by stage.

    Raises:
        UsageError: no index.
        DataError: a process died comparing films.
    """
    films = _films(indexes)
    cache = KeypointCache()
    sought = {str(sha256): list(paths) for sha256, paths in films.groupby("sha256", sort=False)["path"]}
    with watch("describe films") as progress:
        refused = cache.fill(sought, processes=processes, progress=progress)
    reasons = films["sha256"].map(refused).astype("string")
    told = films[["index", "image_id"]].assign(reason=reasons)[reasons.notna()].reset_index(drop=True)
    films = films[reasons.isna()].reset_index(drop=True)
    equal, kept = _equal(films, cache)
    compared = films.iloc[kept].reset_index(drop=True)
    with watch("look up films") as progress:
        asked = _asked(compared, cache, processes, progress)
    with watch("compare films") as progress:
        matches = _matches(asked, compared, cache, processes, progress)
    pairs = sorted([*equal, *_alike(films, kept, matches)], key=lambda pair: (pair.first, pair.second))
    return Copies(films=films.assign(group=_groups(len(films), pairs)), pairs=tuple(pairs), refused=told)


def _films(indexes: Mapping[str, Index]) -> pd.DataFrame:
    if not indexes:
        raise UsageError("name an index, such as: hilum duplicates index.parquet")
    columns = ["image_id", "source", "width", "height", "sha256", "phash"]
    tables = []
    for name, index in indexes.items():
        films = index.films
        tables.append(films[columns].assign(index=name, path=films["path"].map(index.path).astype(object)))
    return pd.concat(tables, ignore_index=True)


def _equal(films: pd.DataFrame, cache: KeypointCache) -> tuple[list[Pair], NDArray[np.int64]]:
    """Films of equal bytes or pixels, each paired with the first of its kind, and the rows of all the firsts."""
    pairs: list[Pair] = []
    rows = np.arange(len(films))
    original = _first_rows(films.groupby("sha256", sort=False).ngroup())
    kept = rows[original == rows]
    pairs += [_same(films, original[row], row, "same bytes") for row in rows[original != rows]]
    digests = pd.Series([unpacked(row).digest for row in _rows(cache.view(list(films["sha256"].iloc[kept])))])
    twin = kept[_first_rows(digests.groupby(digests, sort=False).ngroup())]
    pairs += [_same(films, first, row, "same pixels") for first, row in zip(twin, kept, strict=True) if first != row]
    return pairs, kept[twin == kept]


def _first_rows(codes: pd.Series) -> NDArray[np.int64]:
    """For each place the first one of the same code."""
    first: NDArray[np.int64] = codes.reset_index(drop=True).drop_duplicates().index.to_numpy()[codes]
    return first


def _same(films: pd.DataFrame, first: int, second: int, how: How) -> Pair:
    return Pair(first=int(first), second=int(second), how=how, hash_bits=_bits(films, first, second))


def _bits(films: pd.DataFrame, first: int, second: int) -> int:
    one, other = duplicates.from_text([films["phash"].iloc[first], films["phash"].iloc[second]])
    return int(duplicates.distance(one, other))


def _rows(view: ArrayView) -> Iterator[NDArray[np.uint8]]:
    """The rows of a view, a few in memory at a time."""
    for start in range(0, len(view), AT_ONCE):
        yield from view[start : start + AT_ONCE]


def _asked(films: pd.DataFrame, cache: KeypointCache, processes: int | None, progress: Progress) -> list[_Asked]:
    """Which films to compare: those whose hashes are near, and those that share unusual words.

    Raises:
        DataError: a process died.
    """
    view = cache.view(list(films["sha256"]))
    asked = {_Asked(int(first), int(second), "as is") for first, second in alike(films)}
    pieces = [(rows, view.only(np.array(rows))) for rows in in_batches(range(len(view)), AT_ONCE)]
    with TemporaryDirectory() as folder, Ahead(min(len(pieces), processes or default_processes())) as pool:
        index = Path(folder)
        words = pool.each(partial(_words, part) for _, part in pieces)
        WordIndex.of([one for some in words for one in some]).save(index)
        work = (partial(_looked_up, index, part, rows) for rows, part in pieces)
        for (rows, _), found in zip(pieces, pool.each(work), strict=True):
            asked |= found
            progress(rows[-1] + 1, len(view))
    return sorted(asked)


def _words(view: ArrayView) -> list[Words]:
    """Of each film as it hangs."""
    return [words_of(unpacked(row).descriptors) for row in view[:]]


def _looked_up(index: Path, view: ArrayView, films: Sequence[int]) -> set[_Asked]:
    """What to compare films with, hung in every way; `view` has their rows."""
    known, asked = WordIndex.open(index), set()
    for film, row in zip(films, view[:], strict=True):
        keypoints = unpacked(row)
        for hanging, most in CANDIDATES.items():
            others = known.nearest(words_of(hung(keypoints, hanging).descriptors), most=most, but=film)
            asked |= {_Asked(min(film, other), max(film, other), hanging) for other in others.tolist()}
    return asked


def _matches(
    asked: Sequence[_Asked], films: pd.DataFrame, cache: KeypointCache, processes: int | None, progress: Progress
) -> dict[tuple[int, int], Match]:
    """The best match of each two films that have one.

    Raises:
        DataError: a process died.
    """
    best: dict[tuple[int, int], Match] = {}
    done = 0
    for work, found in spread(_compared, _batches(asked, films, cache), processes=processes):
        if isinstance(found, Crashed):
            raise DataError("a process that compared films died, perhaps for want of memory; name fewer --processes")
        for one, matched in zip(work.asked, found, strict=True):
            key = one.first, one.second
            if matched and (key not in best or matched.inliers > best[key].inliers):
                best[key] = matched
        done += len(found)
        progress(done, len(asked))
    return best


class _Batch(NamedTuple):
    """Films to compare, and where their keypoints are: `rows[film]` of `view`."""

    asked: list[_Asked]
    view: ArrayView
    rows: dict[int, int]


def _batches(asked: Iterable[_Asked], films: pd.DataFrame, cache: KeypointCache) -> Iterator[_Batch]:
    view = cache.view(list(films["sha256"]))
    for part in in_batches(asked, AT_ONCE):
        needed = sorted({row for one in part for row in (one.first, one.second)})
        yield _Batch(part, view.only(np.array(needed)), {row: place for place, row in enumerate(needed)})


def _compared(batch: _Batch) -> list[Match | None]:
    """How the films of each two lie on one another."""
    keypoints = [unpacked(row) for row in batch.view[:]]
    found: list[Match | None] = []
    for one in batch.asked:
        first, second = keypoints[batch.rows[one.first]], keypoints[batch.rows[one.second]]
        matched = match(first, second, hanging=one.hanging)
        found.append(in_own_pixels(matched, first, second) if matched else None)
    return found


def _alike(films: pd.DataFrame, kept: NDArray[np.int64], matches: Mapping[tuple[int, int], Match]) -> Iterator[Pair]:
    """The pairs of a near hash and those whose keypoints alone agree; `matches` counts the rows of `kept`."""
    near = {(int(first), int(second)) for first, second in alike(films.iloc[kept].reset_index(drop=True))}
    for key in near | set(matches):
        first, second = (int(kept[place]) for place in key)
        how: How = "near hash" if key in near else "crop or edit"
        yield Pair(first=first, second=second, how=how, hash_bits=_bits(films, first, second), match=matches.get(key))


def _groups(count: int, pairs: Sequence[Pair]) -> pd.Series:
    """Numbers from 1 for films joined by pairs, in the order of the first of each; missing for the others."""
    ends = np.array([(pair.first, pair.second) for pair in pairs], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    joined = pd.Series(connected_components(graph, directed=False)[1])
    joined = joined.where(joined.duplicated(keep=False))
    numbers = {name: number for number, name in enumerate(joined.dropna().unique(), 1)}
    return joined.map(numbers).astype("Int64")

"""Which films are worth comparing keypoint by keypoint: those that share unusual words.

A descriptor's word is the signs of its projections on fixed random directions (Charikar 2002, doi
10.1145/509907.509965): descriptors that are nearly the same mostly have the same word. Films are compared as texts are,
by the words they share, rare ones counting more (Sivic and Zisserman 2003, doi 10.1109/ICCV.2003.1238663). Nothing is
learnt, so a film has the same words whatever films it is compared with.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from hilum.duplicates.keypoints import SCALE, Descriptors

Words = NDArray[np.uint32]
"""(N, TABLES): a descriptor's word in each table."""

TABLES = 8
BITS = 18
AT_ONCE = 256
"""Films whose shared words are counted in one go."""
COMMON = 0.1
"""A word in more than this share of the films (and in more than `FEW`) tells nothing."""
FEW = 20

_DIRECTIONS = np.random.default_rng(0).standard_normal((128, TABLES * BITS)).astype(np.float32)
_DIRECTIONS -= _DIRECTIONS.mean(axis=0)  # descriptors are all positive: what they have in common would decide signs
_WEIGHTS = np.uint32(1) << np.arange(BITS, dtype=np.uint32)


def words_of(descriptors: Descriptors) -> Words:
    """The words of descriptors (N, 128)."""
    signs = (descriptors.astype(np.float32) / SCALE) @ _DIRECTIONS > 0
    words: Words = (signs.reshape(-1, TABLES, BITS) * _WEIGHTS).sum(axis=2, dtype=np.uint32)
    return words


def shared_words(words: list[Words], queries: list[Words] | None = None) -> Iterator[tuple[int, csr_array]]:
    """For some films at a time: the number of the first, and the weight (films, all films) of the words they share.

    Args:
        words: of each film, without order.
        queries: of each film in another hanging, to be looked up among `words`; none looks up `words` themselves.
    """
    count = len(words)
    table = _occurrences(words)
    often = np.asarray(table.sum(axis=0)).ravel()
    telling = (often > 0) & (often <= max(FEW, COMMON * count))
    weight = np.where(telling, np.log((count + 1) / np.maximum(often, 1)), 0).astype(np.float32)
    looked_up = table if queries is None else _occurrences(queries)
    known = (table * weight).T.tocsr()
    for start in range(0, count, AT_ONCE):
        yield start, csr_array(looked_up[start : start + AT_ONCE] @ known)


def candidates(words: list[Words], queries: list[Words] | None = None, *, most: int) -> Iterator[NDArray[np.int64]]:
    """(P, 2) films that share most: up to `most` for each film that is looked up, row by row.

    The film looked up comes second. A pair may come twice, once from each side.
    """
    for start, shared in shared_words(words, queries):
        for row in range(shared.shape[0]):
            part = slice(shared.indptr[row], shared.indptr[row + 1])
            others, weights = shared.indices[part].astype(np.int64), shared.data[part]
            kept = (weights > 0) & (others != start + row)
            others, weights = others[kept], weights[kept]
            best = others[np.argsort(-weights, kind="stable")[:most]]
            yield np.stack([best, np.full(len(best), start + row)], axis=1)


def _occurrences(words: list[Words]) -> csr_array:
    """(films, words): 1 where a film has a word."""
    size = TABLES << BITS
    offset = np.arange(TABLES, dtype=np.int64) << BITS
    columns = [np.unique(one.astype(np.int64) + offset) for one in words]
    ends = np.cumsum([0, *map(len, columns)])
    indices = np.concatenate(columns) if columns else np.zeros(0, np.int64)
    return csr_array((np.ones(len(indices), np.float32), indices, ends), shape=(len(words), size))

"""Which films are worth comparing keypoint by keypoint: those that share unusual words.

A descriptor's word is the signs of its projections on fixed random directions (Charikar 2002, doi
10.1145/509907.509965): descriptors that are nearly the same mostly have the same word. Films are compared as texts are,
by the words they share, rare ones counting more (Sivic and Zisserman 2003, doi 10.1109/ICCV.2003.1238663). Nothing is
learnt, so a film has the same words whatever films it is compared with.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hilum.duplicates.keypoints import SCALE, Descriptors

Words = NDArray[np.int32]
"""The words of a film, each once, in order; those of different tables are different."""

TABLES = 8
BITS = 18
COMMON = 500
"""A word of more films than this tells too little: thanks to this a film costs the same among any number of films."""

_DIRECTIONS = np.random.default_rng(0).standard_normal((128, TABLES * BITS)).astype(np.float32)
_DIRECTIONS -= _DIRECTIONS.mean(axis=0)  # descriptors are all positive: what they have in common would decide signs
_PLACES = np.int32(1) << np.arange(BITS, dtype=np.int32)
_TABLES = np.arange(TABLES, dtype=np.int32) << np.int32(BITS)


def words_of(descriptors: Descriptors) -> Words:
    """The words of descriptors (N, 128), one a table and descriptor."""
    signs = (descriptors.astype(np.float32) / SCALE) @ _DIRECTIONS > 0
    words: Words = np.unique((signs.reshape(-1, TABLES, BITS) * _PLACES).sum(axis=2, dtype=np.int32) + _TABLES)
    return words


class WordIndex:
    """Films by their words: for each word the films that have it, unless too many do.

    Args:
        films: the words of each.
    """

    def __init__(self, films: Sequence[Words]) -> None:
        often = np.zeros(TABLES << BITS, np.int32)
        for words in films:
            often[words] += 1
        held = np.where(often <= COMMON, often, 0)
        self._count = len(films)
        self._ends = np.concatenate([[0], np.cumsum(held, dtype=np.int64)])
        self._weight = np.log((len(films) + 1) / np.maximum(often, 1)).astype(np.float32)
        self._films = np.empty(self._ends[-1], np.int32)
        free = self._ends[:-1].copy()
        for film, words in enumerate(films):
            telling = words[held[words] > 0]
            self._films[free[telling]] = film
            free[telling] += 1

    def nearest(self, words: Words, *, most: int, but: int) -> NDArray[np.int64]:
        """Up to `most` films that share most with one of these words, best first; film `but` is left out."""
        starts, lengths = self._ends[words], self._ends[words + 1] - self._ends[words]
        before = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
        shared = np.bincount(self._films[places], np.repeat(self._weight[words], lengths), self._count)
        sharing: NDArray[np.int64] = np.flatnonzero(shared)
        sharing = sharing[sharing != but]
        if len(sharing) > most:
            sharing = sharing[shared[sharing] >= np.partition(shared[sharing], -most)[-most]]
        best: NDArray[np.int64] = sharing[np.argsort(-shared[sharing], kind="stable")[:most]]
        return best

"""Which films are worth comparing keypoint by keypoint: those that share unusual words.

A descriptor's word is the signs of its projections on fixed random directions (Charikar 2002, doi
10.1145/509907.509965): descriptors that are nearly the same mostly have the same word. Films are compared as texts are,
by the words they share, rare ones counting more (Sivic and Zisserman 2003, doi 10.1109/ICCV.2003.1238663). Nothing is
learnt, so a film has the same words whatever films it is compared with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

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


@dataclass(frozen=True, eq=False)
class WordIndex:
    """Films by their words: for each word the films that have it, unless too many do.

    Attributes:
        ends: (words + 1,): the films of a word are `films[ends[word] : ends[word + 1]]`.
        films: their numbers.
        weight: (words,): what sharing a word counts.
    """

    ends: NDArray[np.int64]
    films: NDArray[np.int32]
    weight: NDArray[np.float32]

    @classmethod
    def of(cls, films: Sequence[Words]) -> Self:
        """The index of films by the words of each; a film's number is its place."""
        often = np.zeros(TABLES << BITS, np.int32)
        for words in films:
            often[words] += 1
        held = np.where(often <= COMMON, often, 0)
        ends = np.concatenate([[0], np.cumsum(held, dtype=np.int64)])
        listed, free = np.empty(ends[-1], np.int32), ends[:-1].copy()
        for film, words in enumerate(films):
            telling = words[held[words] > 0]
            listed[free[telling]] = film
            free[telling] += 1
        weight = np.log((len(films) + 1) / np.maximum(often, 1)).astype(np.float32)
        return cls(ends=ends, films=listed, weight=weight)

    def save(self, folder: Path) -> None:
        """Write it as arrays that several processes can open."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The index that was saved, left on disk."""
        return cls(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS})

    def nearest(self, words: Words, *, most: int, but: int) -> NDArray[np.int64]:
        """Up to `most` films that share most with one of these words, best first; film `but` is left out."""
        starts, lengths = self.ends[words], self.ends[words + 1] - self.ends[words]
        before = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
        shared = np.bincount(self.films[places], np.repeat(self.weight[words], lengths))
        sharing: NDArray[np.int64] = np.flatnonzero(shared)
        sharing = sharing[sharing != but]
        if len(sharing) > most:
            sharing = sharing[shared[sharing] >= np.partition(shared[sharing], -most)[-most]]
        best: NDArray[np.int64] = sharing[np.argsort(-shared[sharing], kind="stable")[:most]]
        return best


_ARRAYS = tuple(one.name for one in fields(WordIndex))

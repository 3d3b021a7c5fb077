"""A perceptual hash of 256 bits, and all pairs of films close in it.

The hash keeps the signs of the low-frequency cosine coefficients of a 64 x 64 thumbnail against their median (the
construction known as pHash; Zauner 2010). Chest radiographs look alike, so 64 bits are too few: the 16 x 16 lowest
frequencies are kept. It sees re-exports, rescaling, mild contrast changes and compression; crops and turned films need
keypoints.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Hash = NDArray[np.uint16]
"""(..., 16) words: 256 bits."""

WORDS = 16
NEAR_BITS = 15
"""Two hashes at most this far apart are near-duplicates. With 16 words, any such pair shares a whole word."""

_SHUFFLE = np.random.default_rng(0).permutation(256)
# Rows of coefficients differ in how much films share them; shuffled, every word tells films apart equally well.

_BITS = np.array([value.bit_count() for value in range(1 << 16)], dtype=np.uint8)


def perceptual_hash(pixels: NDArray[np.float32]) -> Hash:
    """The (16,) words of one film's hash; `pixels` (H, W) in any range."""
    small = cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small)[:16, :16].ravel()
    above = low > np.median(low[1:])
    return np.packbits(above[_SHUFFLE]).view(">u2").astype(np.uint16)


def to_text(words: Hash) -> str:
    """64 hexadecimal digits, as the index stores them.

    >>> to_text(np.arange(16, dtype=np.uint16))[:12]
    '000000010002'
    """
    return words.astype(">u2").tobytes().hex()


def from_text(texts: list[str]) -> Hash:
    """(N, 16) words from N texts of 64 hexadecimal digits."""
    raw = bytes.fromhex("".join(texts))
    return np.frombuffer(raw, dtype=">u2").reshape(-1, WORDS).astype(np.uint16)


def distance(first: Hash, second: Hash) -> NDArray[np.int64]:
    """Differing bits, over the last axis."""
    bits: NDArray[np.int64] = _BITS[first ^ second].sum(axis=-1, dtype=np.int64)
    return bits


def near_pairs(hashes: Hash, *, bits: int = NEAR_BITS) -> NDArray[np.int64]:
    """(P, 2) row pairs, first < second, at most `bits` apart; `bits` up to 15.

    By the pigeonhole principle a pair within 15 bits agrees in one of its 16 words at least, so only films sharing a
    word are compared: the work grows with the films that look alike, not with all pairs. Of equal hashes every pair is
    listed, a quadratic number: callers that expect many copies of one picture pass distinct hashes.
    """
    if bits > NEAR_BITS:
        raise ValueError(f"pairs {bits} bits apart need not share a word; at most {NEAR_BITS} can be found")
    count = len(hashes)
    codes = [first * count + second for word in range(WORDS) for first, second in _sharing(hashes, word, bits)]
    found = np.unique(np.concatenate(codes)) if codes else np.empty(0, np.int64)
    return np.stack(np.divmod(found, max(count, 1)), axis=1)


def _sharing(hashes: Hash, word: int, bits: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows at most `bits` apart (first < second) among those that share one word, some at a time."""
    order = np.argsort(hashes[:, word], kind="stable")
    laid = hashes[order]  # side by side in memory, as they are compared
    values = laid[:, word]
    place = np.arange(len(order))
    # Compare each film with its 1st, 2nd, 3rd ... follower in sorted order for as long as that shares the word. The
    # order is stable, so a follower's row number is always the higher one.
    for step in range(1, len(order)):
        place = place[place + step < len(order)]
        place = place[values[place] == values[place + step]]
        if not len(place):
            return
        close = place[distance(laid[place], laid[place + step]) <= bits]
        yield order[close], order[close + step]


def looks_like(texts: "pd.Series", known: "pd.Series") -> "pd.Series":
    """Which hashes (texts, missing allowed) are near any of the `known` ones; aligned to `texts`."""
    ours, theirs = set(texts.dropna()), set(known.dropna())
    every = sorted(ours | theirs)
    is_theirs = np.array([text in theirs for text in every], bool)
    like = is_theirs.copy()
    first, second = near_pairs(from_text(every)).T
    like[first] |= is_theirs[second]
    like[second] |= is_theirs[first]
    return texts.isin([text for text, found in zip(every, like, strict=True) if found])

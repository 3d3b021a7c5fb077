"""The same picture is recognised through what exports do to it; different films stay different."""

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hilum import duplicates
from hilum.duplicates import NEAR_BITS, distance, from_text, looks_like, near_pairs, perceptual_hash, to_text
from hilum.pixels import read_film

Film = NDArray[np.float32]


def drawn(seed: int, height: int = 480, width: int = 400) -> Film:
    """Two dark lungs, a heart, ribs and noise, as different from seed to seed as two patients' films."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)]
    shade = cv2.resize(rng.random((12, 12)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    film = 0.6 + 0.3 * shade + 0.05 * np.sin(rng.uniform(30, 50) * y + rng.uniform(8, 15) * (x - 0.5) ** 2)
    for middle in (0.3 + rng.uniform(-0.04, 0.04), 0.7 + rng.uniform(-0.04, 0.04)):
        film -= 0.45 * np.exp(
            -(((x - middle) / rng.uniform(0.1, 0.16)) ** 2) - ((y - 0.5) / rng.uniform(0.2, 0.35)) ** 2
        )
    return np.clip(film + rng.normal(0, 0.01, film.shape), 0, 1).astype(np.float32)


def jpeg(film: Film, quality: int) -> Film:
    data = cv2.imencode(".jpg", np.rint(film * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255


EXPORTS: dict[str, Callable[[Film], Film]] = {
    "compressed": lambda film: jpeg(film, 40),
    "half the size": lambda film: cv2.resize(film, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "a thumbnail": lambda film: cv2.resize(film, (96, 96), interpolation=cv2.INTER_AREA),
    "enlarged": lambda film: cv2.resize(film, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC),
    "brighter": lambda film: np.clip(film + 0.08, 0, 1),
    "less contrast": lambda film: 0.7 * film + 0.1,
    "gamma": lambda film: film**0.9,
    "sixteen bits": lambda film: np.rint(film * 65535).astype(np.float32),
}


@pytest.mark.parametrize("export", EXPORTS)
def test_an_export_is_the_same_picture(export: str) -> None:
    for seed in range(4):
        film = drawn(seed)
        assert distance(perceptual_hash(film), perceptual_hash(EXPORTS[export](film))) <= NEAR_BITS


def test_different_films_are_far_apart() -> None:
    hashes = np.stack([perceptual_hash(drawn(seed)) for seed in range(25)])
    first, second = np.triu_indices(len(hashes), 1)
    assert distance(hashes[first], hashes[second]).min() > 2 * NEAR_BITS
    assert not len(near_pairs(hashes))


def test_inverted_and_mirrored_films_are_other_pictures() -> None:
    film = drawn(0)
    assert distance(perceptual_hash(film), perceptual_hash(1 - film)) > NEAR_BITS
    assert distance(perceptual_hash(film), perceptual_hash(np.ascontiguousarray(film[:, ::-1]))) > NEAR_BITS


def test_half_of_the_bits_are_set_so_that_each_tells_films_apart() -> None:
    assert distance(perceptual_hash(drawn(3)), np.zeros(16, np.uint16)) == pytest.approx(128, abs=2)


def test_text_and_words_are_the_same_thing() -> None:
    hashes = np.random.default_rng(0).integers(0, 1 << 16, (20, 16)).astype(np.uint16)
    texts = [to_text(words) for words in hashes]
    assert {len(text) for text in texts} == {64}
    assert (from_text(texts) == hashes).all()
    assert from_text([]).shape == (0, 16)


def brute(hashes: duplicates.Hash, bits: int) -> list[list[int]]:
    first, second = np.triu_indices(len(hashes), 1)
    near = distance(hashes[first], hashes[second]) <= bits
    return np.stack([first[near], second[near]], axis=1).tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(0, NEAR_BITS))
def test_near_pairs_are_all_pairs_within_the_bits(seed: int, count: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 1 << 16, (count, 16)).astype(np.uint16)
    for row in range(1, count, 2):  # relatives of an earlier film, up to a little beyond the limit
        change = np.zeros(256, np.uint8)
        change[rng.choice(256, rng.integers(0, NEAR_BITS + 4), replace=False)] = 1
        hashes[row] = hashes[rng.integers(row)] ^ np.packbits(change).view(np.uint16)
    assert near_pairs(hashes, bits=bits).tolist() == brute(hashes, bits)


def test_more_bits_than_can_be_promised_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 15"):
        near_pairs(np.zeros((2, 16), np.uint16), bits=NEAR_BITS + 1)


def test_a_hundred_thousand_films_are_compared() -> None:
    hashes = np.random.default_rng(0).integers(0, 1 << 16, (100_000, 16)).astype(np.uint16)
    hashes[70_000] = hashes[5]
    assert near_pairs(hashes).tolist() == [[5, 70_000]]


def test_looks_like_compares_across_and_keeps_rows() -> None:
    words = np.random.default_rng(1).integers(0, 1 << 16, (4, 16)).astype(np.uint16)
    near = words[1].copy()
    near[3] ^= 0b111
    ours = pd.Series(
        [to_text(words[0]), None, to_text(near), to_text(words[3]), to_text(words[0])], index=[9, 7, 7, 2, 1]
    )
    known = pd.Series([to_text(words[0]), to_text(words[1]), to_text(words[2]), None])
    found = looks_like(ours.astype("string"), known.astype("string"))
    assert found.tolist() == [True, False, True, False, True]
    assert found.index.tolist() == [9, 7, 7, 2, 1]


def test_looks_like_sees_a_picture_through_its_own_copies() -> None:
    """Two of ours are alike and only the second is exactly known: the first still lies within the limit."""
    first = np.zeros(16, np.uint16)
    second = first.copy()
    second[0] = 1
    ours = pd.Series([to_text(first), to_text(second)])
    assert looks_like(ours, pd.Series([to_text(second)])).tolist() == [True, True]
    assert looks_like(ours, pd.Series([], dtype="string")).tolist() == [False, False]
    assert looks_like(ours.iloc[:0], ours).empty


def test_a_pictures_thousand_copies_cost_no_thousand_thousands() -> None:
    texts = pd.Series(["0" * 64] * 200_000)
    assert looks_like(texts, texts).all()


@pytest.mark.slow
def test_on_real_films_shared_pictures_are_found_and_no_others(data_pack: Path) -> None:
    """Two data sets that hold a film of one name hold one picture; three are cropped, which no hash like this sees."""
    names = ("sandrofab", "rovai", "covid_chestxray", "covid_seg", "nih_subset")
    rows = pd.concat([pd.read_csv(data_pack / name / "index.csv") for name in names]).drop_duplicates("file")
    rows = rows[rows["view"] != "CT"].reset_index(drop=True)
    hashes = np.stack([perceptual_hash(read_film(data_pack / file, at_least_px=64).pixels) for file in rows["file"]])
    first, second = near_pairs(hashes).T
    group, source = rows["group_id"].to_numpy(), rows["dataset"].to_numpy()
    assert (group[first] == group[second]).all(), "the pack's keypoint matching calls these different patients"
    stem = rows["orig_name"].str.replace(r"\.\w+$", "", regex=True).str.lower()
    alike = {
        pair
        for rows_of in stem.groupby(stem).groups.values()
        for pair in itertools.combinations(sorted(rows_of), 2)
        if source[pair[0]] != source[pair[1]]
    }
    assert len(alike) == 78
    missed = alike - set(zip(first.tolist(), second.tolist(), strict=True))
    assert {stem[row] for pair in missed for row in pair} == {f"ciaa199.pdf-001-{part}" for part in "abc"}

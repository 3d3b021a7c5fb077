import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hilum.enhance import blank_border, blank_markers, marker_mask
from hilum.enhance.blanking import border_px
from hilum.preprocess import Preprocess

Pixels = NDArray[np.float32]


def _film(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).random((height, width), np.float32)


@given(height=st.integers(2, 40), width=st.integers(2, 40), share=st.floats(0, 0.45))
def test_exactly_the_ring_is_blank(height: int, width: int, share: float) -> None:
    film = _film(height, width)
    blank = blank_border(film, share=share)
    down, across = border_px(height, share), border_px(width, share)
    assert 2 * down < height
    assert 2 * across < width
    inside = np.zeros(film.shape, bool)
    inside[down : height - down, across : width - across] = True
    assert np.array_equal(blank[inside], film[inside])
    assert np.allclose(blank[~inside], film[inside].mean(dtype=np.float64), atol=1e-6)


def test_a_ring_of_six_hundredths() -> None:
    blank = blank_border(np.eye(100, 50, dtype=np.float32), share=0.06)
    ring = np.ones((100, 50), bool)
    ring[6:94, 3:47] = False
    grey = np.eye(100, 50)[6:94, 3:47].mean()
    assert np.allclose(blank[ring], grey)
    assert set(np.unique(blank[~ring])) == {0.0, 1.0}


def test_nothing_is_left_of_what_the_border_showed() -> None:
    """Neither its pattern nor its brightness."""
    film = _film(60, 80)
    other = film.copy()
    other[:4] = other[:, -5:] = 1.0
    assert not np.array_equal(film, other)
    assert np.array_equal(blank_border(film, share=0.1), blank_border(other, share=0.1))


def test_a_preprocess_blanks_the_border_of_what_the_network_sees() -> None:
    frame = Preprocess(size_px=100, steps=("blank-border:share=0.1",)).frame(_film(300, 200))
    ring = np.ones((100, 100), bool)
    ring[10:90, 10:90] = False
    assert len(np.unique(frame[ring])) == 1
    assert len(np.unique(frame[~ring])) > 50


def _marked(drawn_film: Pixels, text: str, where: tuple[int, int]) -> tuple[Pixels, NDArray[np.bool_]]:
    """The drawn film at 280 x 300 with letters on it, and where they are."""
    film = np.ascontiguousarray(cv2.resize(drawn_film, (280, 300), interpolation=cv2.INTER_LINEAR))
    layer = np.zeros(film.shape, np.uint8)
    cv2.putText(layer, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    film = np.where(layer > 0, np.float32(0.98), film)
    return film, layer > 0


@pytest.mark.parametrize(
    ("text", "where"), [("L", (256, 28)), ("R", (6, 150)), ("AP", (4, 294))], ids=["corner", "side", "text"]
)
def test_letters_near_an_edge_are_found_and_painted_over(drawn_film: Pixels, text: str, where: tuple[int, int]) -> None:
    film, letters = _marked(drawn_film, text, where)
    mask = marker_mask(film)
    assert mask[letters].all()
    assert mask.mean() < 0.03
    plain = _marked(drawn_film, "", where)[0]
    painted = blank_markers(film)
    assert np.array_equal(painted[~mask], film[~mask])
    assert np.abs(painted - plain)[letters].mean() < 0.25 * np.abs(film - plain)[letters].mean()


def test_letters_over_the_lungs_stay(drawn_film: Pixels) -> None:
    film, letters = _marked(drawn_film, "L", (130, 150))
    assert not marker_mask(film)[letters].any()


def test_a_film_without_markers_is_the_same_film(drawn_film: Pixels) -> None:
    soft = cv2.GaussianBlur(drawn_film, (0, 0), 2)
    assert not marker_mask(soft).any()
    assert np.array_equal(blank_markers(soft), soft)


@pytest.mark.parametrize(
    ("setting", "value"), [("edge", 0.05), ("contrast", 0.9), ("level", 0.99), ("size", 0.03)], ids=str
)
def test_every_limit_keeps_a_marker_beyond_it(drawn_film: Pixels, setting: str, value: float) -> None:
    film, letters = _marked(drawn_film, "L", (256, 28))
    assert not marker_mask(film, **{setting: value})[letters].any()

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.enhance import Box, black_border_box, black_border_crop

SIDES = st.tuples(*[st.integers(0, 7)] * 4)


@given(pads=SIDES, height=st.integers(2, 9), width=st.integers(2, 9), level=st.floats(0.0, 0.0199))
def test_a_padded_film_returns_to_its_box(
    pads: tuple[int, int, int, int], height: int, width: int, level: float
) -> None:
    film = np.random.default_rng(height).uniform(0.1, 1, (height, width)).astype(np.float32)
    top, bottom, left, right = pads
    padded = np.pad(film, ((top, bottom), (left, right)), constant_values=level)
    assert black_border_box(padded) == Box(top, top + height, left, left + width)
    assert np.array_equal(black_border_crop(padded), film)


def test_black_inside_the_film_stays() -> None:
    film = np.full((9, 8), 0.5, np.float32)
    film[4] = film[:, 3] = 0
    assert np.array_equal(black_border_crop(np.pad(film, 2)), film)


def test_what_is_as_bright_as_the_tolerance_is_black() -> None:
    film = np.pad(np.full((4, 4), 0.75, np.float32), 3, constant_values=0.25)
    assert black_border_box(film, tolerance=0.25) == Box(3, 7, 3, 7)
    assert black_border_box(np.pad(film, 1), tolerance=0.0) == Box(1, 11, 1, 11)


def test_one_bright_pixel_keeps_its_row_and_column() -> None:
    film = np.pad(np.full((4, 4), 0.5, np.float32), 5)
    film[0, 13] = 0.03
    assert black_border_box(film) == Box(0, 9, 5, 14)
    assert black_border_box(film, tolerance=0.04) == Box(5, 9, 5, 9)


@pytest.mark.parametrize("lit", [[], [(3, 4)], [(3, 4), (3, 9)]], ids=["nothing", "a pixel", "a row"])
def test_a_film_without_a_picture_is_returned_whole(lit: list[tuple[int, int]]) -> None:
    film = np.zeros((11, 12), np.float32)
    for place in lit:
        film[place] = 1
    assert black_border_box(film) == Box(0, 11, 0, 12)
    assert np.array_equal(black_border_crop(film), film)

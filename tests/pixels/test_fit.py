"""The resampling contract, held to arithmetic rather than to OpenCV."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.pixels import RESAMPLING_CONTRACT, fit


def area_average(line: np.ndarray, size: int) -> np.ndarray:  # type: ignore[type-arg]
    """The mean of a piecewise constant line over `size` equal parts."""
    edges = np.linspace(0, len(line), size + 1)
    integral = np.concatenate([[0.0], np.cumsum(line)])
    at = np.interp(edges, np.arange(len(line) + 1), integral)
    return np.diff(at) * size / len(line)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(33, 200), width=st.integers(33, 200), size=st.integers(8, 32), seed=st.integers(0, 99))
def test_shrinking_is_the_area_average(height: int, width: int, size: int, seed: int) -> None:
    film = np.random.default_rng(seed).random((height, width), np.float32)
    by_rows = np.apply_along_axis(area_average, 0, film, size)
    np.testing.assert_allclose(fit(film, size), np.apply_along_axis(area_average, 1, by_rows, size), atol=2e-4)


def test_one_axis_may_shrink_while_the_other_grows() -> None:
    film = np.random.default_rng(1).random((300, 40), np.float32)
    narrow = fit(film, 60)
    assert narrow.shape == (60, 60)
    np.testing.assert_allclose(narrow.mean(axis=1), film.reshape(60, 5, 40).mean(axis=(1, 2)), atol=0.02)


def test_a_fine_pattern_averages_out_instead_of_aliasing() -> None:
    stripes = np.tile(np.float32([0, 1]), (512, 256))
    np.testing.assert_allclose(fit(stripes, 128), 0.5, atol=1e-6)


def test_enlarging_is_linear() -> None:
    ramp = np.tile(np.linspace(0, 1, 50, dtype=np.float32), (50, 1))
    large = fit(ramp, 100)
    assert np.all(np.diff(large, axis=1) >= 0)
    np.testing.assert_allclose(np.diff(large[0, 2:-2]), 1 / 98, atol=1e-4)


@pytest.mark.parametrize("shape", [(100, 60), (60, 100), (20, 10), (33, 400)])
def test_padding_keeps_proportions_and_centres_on_black(shape: tuple[int, int]) -> None:
    square = fit(np.ones(shape, np.float32), 50, aspect="pad")
    inside = np.argwhere(square > 0)
    extent = inside.max(axis=0) - inside.min(axis=0) + 1
    assert square.shape == (50, 50)
    assert max(extent) == 50
    np.testing.assert_allclose(extent, [50 * side / max(shape) for side in shape], atol=1)
    np.testing.assert_allclose(inside.mean(axis=0), 24.5, atol=0.5)


@pytest.mark.parametrize("aspect", ["stretch", "pad"])
def test_the_result_is_a_new_float32_in_range(aspect) -> None:  # type: ignore[no-untyped-def]
    film = np.random.default_rng(2).random((64, 64), np.float32)
    same = fit(film, 64, aspect=aspect)
    np.testing.assert_array_equal(same, film)
    assert same.dtype == np.float32
    assert not np.shares_memory(same, film)


def test_the_contract_has_a_version() -> None:
    assert RESAMPLING_CONTRACT.split(":")[0].isdigit()

"""Laws that hold for every step, on every kind of film."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hilum.enhance import STEPS, parse_step

Pixels = NDArray[np.float32]
GREY = [name for name, step in STEPS.items() if step.box is None]
SIZES = [(2, 2), (2, 9), (7, 2), (3, 3), (31, 40), (64, 33)]

films = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=14),
    elements=st.floats(0, 1, width=32),
)


def _film(shape: tuple[int, int], seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).random(shape, np.float32)


def _is_film(grey: Pixels) -> None:
    assert grey.dtype == np.float32
    assert grey.ndim == 2
    assert min(grey.shape) >= 2
    assert np.isfinite(grey).all()
    assert grey.min() >= 0
    assert grey.max() <= 1


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_every_step_makes_a_film_of_any_film(name: str, shape: tuple[int, int]) -> None:
    grey = parse_step(name).apply(_film(shape))
    _is_film(grey)
    assert name not in GREY or grey.shape == shape


@pytest.mark.parametrize("name", STEPS)
@settings(max_examples=25, deadline=None)
@given(film=films)
def test_every_step_makes_a_film_of_the_strangest_film(name: str, film: Pixels) -> None:
    _is_film(parse_step(name).apply(film))


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", STEPS)
def test_a_film_of_one_grey_stays_one(name: str, level: float) -> None:
    grey = parse_step("salt-and-pepper:share=0" if name == "salt-and-pepper" else name).apply(
        np.full((20, 30), level, np.float32)
    )
    _is_film(grey)
    assert grey.shape == (20, 30)
    assert np.ptp(grey) < 1e-6


@pytest.mark.parametrize("name", STEPS)
def test_the_film_given_is_left_alone(name: str) -> None:
    film = np.pad(_film((24, 18)), 3)
    before = film.copy()
    film.flags.writeable = False
    grey = parse_step(name).apply(film)
    assert np.array_equal(film, before)
    assert not np.shares_memory(grey, film)
    assert grey.flags.writeable


@pytest.mark.parametrize("name", STEPS)
def test_the_same_film_gives_the_same_bytes_on_any_number_of_threads(name: str) -> None:
    film, step, threads = _film((90, 70)), parse_step(name), cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = step.apply(film)
        cv2.setNumThreads(4)
        assert step.apply(film).tobytes() == one.tobytes()
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("name", STEPS)
def test_a_view_into_a_larger_array_is_a_film_too(name: str) -> None:
    large = _film((60, 80))
    view = large[5:45:2, 70:10:-3]
    assert np.array_equal(parse_step(name).apply(view), parse_step(name).apply(view.copy()))


@pytest.mark.parametrize("name", [name for name in GREY if name != "salt-and-pepper"])
def test_eight_and_sixteen_bits_of_a_film_come_out_alike(name: str, drawn_film: Pixels) -> None:
    """What a step makes must not tell the depth of the file: sources differ in it."""
    film = cv2.GaussianBlur(drawn_film, (0, 0), 1.5)
    eight, sixteen = (np.rint(film * top).astype(np.float32) / np.float32(top) for top in (255, 65535))
    step = parse_step(name)
    assert np.abs(step.apply(eight) - step.apply(sixteen)).mean() < 0.02


@pytest.mark.parametrize("name", STEPS)
def test_a_step_does_something(name: str, drawn_film: Pixels) -> None:
    film = np.pad(drawn_film, 5)
    noisy = parse_step("salt-and-pepper:seed=9").apply(film)
    marked = film.copy()
    marked[10:20, 8:10] = marked[18:20, 8:15] = 1.0
    given = {"adaptive-median": noisy, "blank-markers": marked}.get(name, film)
    grey = parse_step(name).apply(given)
    assert grey.shape != given.shape or np.abs(grey - given).max() > 0.02


@pytest.mark.parametrize("name", STEPS)
def test_what_a_step_leaves_is_its_box(name: str) -> None:
    """A lung mask is cut to the box, and must still fit the film."""
    film, step = np.pad(_film((24, 18)), 3), parse_step(name)
    top, bottom, left, right = step.box(film)
    if name in GREY:
        assert (top, bottom, left, right) == (0, 30, 0, 24)
    else:
        assert np.array_equal(step.apply(film), film[top:bottom, left:right])
        assert (bottom - top, right - left) != film.shape


@pytest.mark.parametrize("name", STEPS)
def test_the_registry_tells_what_a_step_is(name: str) -> None:
    step = STEPS[name]
    assert name == name.lower()
    assert step.says
    assert "\n" not in step.says
    for parameter in step.parameters.values():
        assert parameter.low <= parameter.default <= parameter.high
        assert parameter.says


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("end", ["low", "high"])
def test_every_parameter_works_at_its_limits(name: str, end: str) -> None:
    for key, parameter in STEPS[name].parameters.items():
        _is_film(parse_step(f"{name}:{key}={getattr(parameter, end)}").apply(_film((23, 37))))

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hilum.enhance import agcwd, agcwd_curve, clahe, min_max, zscore, zscore_grey
from hilum.preprocess import Preprocess

Pixels = NDArray[np.float32]
LEVELS = np.arange(256)


@pytest.fixture
def levels() -> Pixels:
    """Every level of 256 once."""
    return (LEVELS.reshape(16, 16) / 255).astype(np.float32)


def test_min_max_fills_the_range_in_proportion(drawn_film: Pixels) -> None:
    grey = min_max(drawn_film)
    assert (grey.min(), grey.max()) == (0, 1)
    assert np.allclose(np.polyfit(drawn_film.ravel(), grey.ravel(), 1)[0], 1 / np.ptp(drawn_film), atol=1e-4)
    assert np.array_equal(min_max(grey), grey)
    assert np.allclose(min_max(drawn_film / 3 + np.float32(0.1)), grey, atol=1e-5)


def test_zscore_has_mean_0_and_sd_1(drawn_film: Pixels) -> None:
    scored = zscore(drawn_film)
    assert abs(scored.mean(dtype=np.float64)) < 1e-6
    assert abs(scored.std(dtype=np.float64) - 1) < 1e-6
    assert np.allclose(zscore(drawn_film / 3 + np.float32(0.1)), scored, atol=1e-4)


@pytest.mark.parametrize("limit", [2.0, 4.0])
def test_a_network_gets_z_back(drawn_film: Pixels, limit: float) -> None:
    grey = zscore_grey(drawn_film[:140], limit=limit)
    recipe = Preprocess(size_px=140, depth_bits=16, channels=1, mean=(0.5,), std=(1 / (2 * limit),))
    got = recipe.normalise(recipe.frame(grey)[None])[0, 0]
    assert np.allclose(got, np.clip(zscore(drawn_film[:140]), -limit, limit), atol=1e-4)


def test_a_film_is_scored_by_its_own_values_only(drawn_film: Pixels) -> None:
    alone = zscore_grey(drawn_film)
    zscore_grey(1 - drawn_film)
    assert np.array_equal(zscore_grey(drawn_film), alone)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0, 3.0])
def test_the_curve_of_agcwd_never_falls(drawn_film: Pixels, alpha: float) -> None:
    curve = agcwd_curve(drawn_film, alpha=alpha)
    assert (np.diff(curve) >= 0).all()
    assert (curve[0], curve[-1]) == (0, 1)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0, 2.0])
def test_the_curve_of_agcwd_is_the_papers(drawn_film: Pixels, alpha: float) -> None:
    pdf = np.bincount(np.rint(drawn_film * 255).astype(int).ravel(), minlength=256) / drawn_film.size
    weighted = [pdf.max() * ((p - pdf.min()) / (pdf.max() - pdf.min())) ** alpha for p in pdf]
    expected = [(level / 255) ** (1 - sum(weighted[: level + 1]) / sum(weighted)) for level in LEVELS]
    assert np.allclose(agcwd_curve(drawn_film, alpha=alpha)[1:], expected[1:], atol=1e-9)


def test_agcwd_with_alpha_0_depends_on_no_film(drawn_film: Pixels, levels: Pixels) -> None:
    expected = (LEVELS / 255) ** (1 - (LEVELS + 1) / 256)
    assert np.allclose(agcwd_curve(drawn_film, alpha=0), expected)
    assert np.allclose(agcwd_curve(levels, alpha=2), expected)  # all levels alike: nothing to weigh


def test_agcwd_with_alpha_1_uses_the_histogram_as_it_is() -> None:
    film = np.array([[50, 50, 50, 100]] * 2, np.float32) / 255
    curve = agcwd_curve(film, alpha=1)
    expected = {49: 49 / 255, 50: (50 / 255) ** 0.25, 99: (99 / 255) ** 0.25, 100: 1}
    assert {level: curve[level] for level in expected} == pytest.approx(expected)


def test_black_stays_black_where_nothing_else_is() -> None:
    film = np.zeros((4, 4), np.float32)
    film[1, 2] = 0.001
    assert agcwd_curve(film)[0] == 0
    assert (agcwd(film)[film == 0] == 0).all()


def test_agcwd_follows_its_curve_to_a_level_and_lifts_the_shades(drawn_film: Pixels) -> None:
    grey = agcwd(drawn_film)
    curve = agcwd_curve(drawn_film)
    assert np.abs(grey * 255 - 255 * curve[np.rint(drawn_film * 255).astype(int)]).max() < 1.5
    assert grey.mean() > drawn_film.mean()


@pytest.mark.parametrize(("tiles", "apart"), [(1, 1.5), (2, 2.5)])
@pytest.mark.parametrize("clip", [2.0, 4.0, 40.0])
def test_clahe_agrees_with_opencv_on_large_parts_of_8_bit_films(
    drawn_film: Pixels, tiles: int, apart: float, clip: float
) -> None:
    large = cv2.GaussianBlur(cv2.resize(drawn_film, (512, 512)), (0, 0), 3)
    eight = np.rint(large * 255).astype(np.uint8)
    theirs = cv2.createCLAHE(clip, (tiles, tiles)).apply(eight)
    ours = clahe(eight.astype(np.float32) / 255, clip=clip, tiles=tiles) * 255
    assert np.abs(ours - theirs).mean() < apart


def test_clahe_with_one_part_and_no_limit_equalises(drawn_film: Pixels) -> None:
    grey = clahe(drawn_film, clip=256, tiles=1)
    level = np.rint(drawn_film * 255)
    expected = [(level <= value).mean() for value in level[::30, ::30].ravel()]
    # A pixel between two levels lies between their shares.
    assert np.abs(grey[::30, ::30].ravel() - expected).max() < 0.03


@pytest.mark.parametrize("clip", [1.0, 2.0, 5.0])
def test_clahe_limits_the_contrast(drawn_film: Pixels, clip: float) -> None:
    """A level holds `clip` times its even share at most, and at most one even share of the excess."""
    into, out = (
        np.sort(film.ravel()).astype(np.float64) for film in (drawn_film, clahe(drawn_film, clip=clip, tiles=1))
    )
    assert (np.diff(out) <= (clip + 1) * np.diff(into) + 1e-6).all()
    assert clip > 1 or np.abs(out - into).max() < 0.12


def test_clahe_raises_contrast_where_there_is_little(drawn_film: Pixels) -> None:
    pale = drawn_film * np.float32(0.2) + np.float32(0.4)
    contrast = [clahe(pale, clip=clip).std() for clip in (1.0, 2.0, 4.0, 8.0)]
    assert contrast == sorted(contrast)
    assert contrast[2] > 1.8 * pale.std()


def test_clahe_prefers_no_side(drawn_film: Pixels) -> None:
    film = drawn_film[:144, :136]
    grey = clahe(film)
    for turned, back in ((film[::-1], grey[::-1]), (film[:, ::-1], grey[:, ::-1]), (film.T, grey.T)):
        assert np.allclose(clahe(turned), back, atol=1e-6)


def test_clahe_leaves_no_seams_between_its_parts() -> None:
    film = np.tile(np.linspace(0.2, 0.8, 128, dtype=np.float32), (128, 1))
    assert np.abs(np.diff(clahe(film, tiles=8), axis=0)).max() < 0.01
    assert (np.diff(clahe(film, tiles=1), axis=1) > 0).all()

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from hilum.enhance import adaptive_median, non_local_means, salt_and_pepper

Pixels = NDArray[np.float32]


def psnr(film: Pixels, clean: Pixels) -> float:
    """Peak signal-to-noise ratio in dB, for a range of 1."""
    return float(-10 * np.log10(np.mean((film.astype(np.float64) - clean) ** 2)))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2, 0.5])
def test_salt_and_pepper_take_their_shares(share: float) -> None:
    film = np.full((200, 300), 0.5, np.float32)
    noisy = salt_and_pepper(film, share=share, rng=np.random.default_rng(1))
    for hit, expected in ((noisy != 0.5, 2 * share), (noisy == 1, share), (noisy == 0, share)):
        assert abs(hit.mean() - expected) <= 3 * np.sqrt(expected * (1 - expected) / film.size)


def test_salt_and_pepper_is_the_generators() -> None:
    film = np.full((20, 30), 0.5, np.float32)
    one, same, other = (salt_and_pepper(film, share=0.1, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(("share", "gain_db"), [(0.1, 1.5), (0.2, 5), (0.3, 5)])
def test_the_adaptive_median_beats_the_plain_one(drawn_film: Pixels, share: float, gain_db: float) -> None:
    noisy = salt_and_pepper(drawn_film, share=share, rng=np.random.default_rng(3))
    plain = ndimage.median_filter(noisy, 3, mode="reflect")
    assert psnr(adaptive_median(noisy), drawn_film) > psnr(plain, drawn_film) + gain_db


def test_the_window_grows_with_the_noise(drawn_film: Pixels) -> None:
    noisy = salt_and_pepper(drawn_film, share=0.3, rng=np.random.default_rng(3))
    by_window = [psnr(adaptive_median(noisy, window=window), drawn_film) for window in (3, 5, 7)]
    assert by_window == sorted(by_window)
    assert by_window[2] > by_window[0] + 5


def test_a_clean_film_stays_as_it_is(drawn_film: Pixels) -> None:
    rows, columns = np.mgrid[:40, :50]
    slope = (rows / 100 + columns / 90).astype(np.float32)
    assert np.array_equal(adaptive_median(slope)[1:-1, 1:-1], slope[1:-1, 1:-1])
    blocks = np.zeros((40, 50), np.float32)
    blocks[:, 20:], blocks[:, 35:] = 0.4, 0.8
    assert np.array_equal(adaptive_median(blocks), blocks)
    smooth = cv2.GaussianBlur(drawn_film, (0, 0), 2)
    assert (adaptive_median(smooth) == smooth).mean() > 0.97
    assert psnr(adaptive_median(smooth), smooth) > 55


def test_a_window_of_one_grey_holds_no_impulse() -> None:
    film = np.random.default_rng(0).uniform(0.6, 0.8, (21, 21)).astype(np.float32)
    film[9:12, 9:12] = 0
    assert adaptive_median(film)[10, 10] == 0


def test_a_lone_impulse_goes_and_its_neighbours_stay() -> None:
    film = np.tile(np.linspace(0.2, 0.6, 21, dtype=np.float32), (21, 1))
    noisy = film.copy()
    noisy[10, 10], noisy[0, 0], noisy[20, 5] = 1, 1, 0
    cleaned = adaptive_median(noisy)
    assert np.abs(cleaned - film).max() < 0.03
    assert np.array_equal(np.delete(cleaned[10, 2:-2], 8), np.delete(film[10, 2:-2], 8))


def test_the_statistics_are_those_of_the_grown_window() -> None:
    """The 3 x 3 around the middle is salt but for one pixel, so that its median is salt; the 5 x 5 has a median."""
    film = np.random.default_rng(0).uniform(0.3, 0.5, (15, 15)).astype(np.float32)
    noisy = film.copy()
    noisy[6:9, 6:9] = 1
    noisy[6, 6] = film[6, 6]
    expected = np.median(noisy[5:10, 5:10])
    assert expected < 1
    assert adaptive_median(noisy)[7, 7] == expected
    assert adaptive_median(noisy, window=3)[7, 7] == 1


def test_the_adaptive_median_does_not_depend_on_how_it_is_cut_up(monkeypatch: pytest.MonkeyPatch) -> None:
    film = np.random.default_rng(0).random((40, 30), np.float32)
    whole = adaptive_median(film)
    monkeypatch.setattr("hilum.enhance.noise._WINDOWS_AT_ONCE", 77)
    assert np.array_equal(adaptive_median(film), whole)


@pytest.mark.parametrize(("noise", "gain_db"), [(0.03, 4), (0.08, 6)])
def test_non_local_means_gains_on_gaussian_noise(drawn_film: Pixels, noise: float, gain_db: float) -> None:
    draw = np.random.default_rng(2).normal(0, noise, drawn_film.shape)
    noisy = np.clip(drawn_film + draw, 0, 1).astype(np.float32)
    cleaned = non_local_means(noisy, strength=noise)
    assert psnr(cleaned, drawn_film) > psnr(noisy, drawn_film) + gain_db
    blurred = max(psnr(cv2.GaussianBlur(noisy, (0, 0), sigma), drawn_film) for sigma in (0.6, 0.8, 1.0, 1.3))
    assert psnr(cleaned, drawn_film) > blurred + 1


def test_non_local_means_is_the_formula(drawn_film: Pixels) -> None:
    film = np.clip(drawn_film[40:64, 50:80] + np.random.default_rng(2).normal(0, 0.04, (24, 30)), 0, 1)
    strength, patch, search = 0.05, 3, 7
    near, around = patch // 2, search // 2
    padded = np.pad(film, near + around, mode="reflect")
    top, weights = np.zeros_like(film), np.zeros_like(film)
    for down in range(-around, around + 1):
        for right in range(-around, around + 1):
            moved = np.roll(padded, (down, right), (0, 1))
            apart = cv2.blur(np.abs(padded - moved), (patch, patch))
            inside = (slice(near + around, -near - around),) * 2
            weight = np.exp(-np.pi / 2 * (apart[inside] / strength) ** 2)
            top, weights = top + weight * moved[inside], weights + weight
    got = non_local_means(film.astype(np.float32), strength=strength, patch=patch, search=search)
    assert np.abs(got - top / weights).max() < 0.01
    assert np.abs(got - top / weights).mean() < 0.001


def test_non_local_means_keeps_more_than_256_levels() -> None:
    film = np.tile(np.linspace(0.4, 0.5, 100, dtype=np.float32), (20, 1))
    assert len(np.unique(non_local_means(film, strength=0.001))) > 90

import cv2
import numpy as np
import pytest

from hilum.simulate.optics import Exposure, blurred, take_film
from hilum.simulate.sites import SITES, draw_sites, jittered


def body() -> np.ndarray:
    rows, columns = np.mgrid[0:160, 0:160].astype(np.float32)
    thick = 4.5 * np.exp(-(((columns - 80) / 75) ** 4))
    lungs = 2.2 * np.exp(-(((np.abs(columns - 80) - 32) / 18) ** 2) - ((rows - 75) / 45) ** 2)
    return (thick - lungs + 0.3 * np.sin(rows / 4) * (thick > 2)).clip(0).astype(np.float32)


def lesion() -> np.ndarray:
    rows, columns = np.mgrid[0:160, 0:160]
    return np.maximum(0, 0.6 - np.hypot(rows - 90, columns - 45) / 20).astype(np.float32)


def exposure(site: int = 0, seed: int = 0) -> Exposure:
    noise = np.random.default_rng(seed).standard_normal((160, 160)).astype(np.float32)
    return Exposure(site=SITES[site], mm_per_px=2.0, noise=noise)


@pytest.mark.parametrize("site", range(len(SITES)))
def test_films_fill_the_range_with_the_densest_bright(site: int) -> None:
    shown, _ = take_film(body(), None, exposure(site))
    assert 0 <= shown.min() < 0.1
    assert 0.9 < shown.max() <= 1
    assert np.corrcoef(shown.ravel(), body().ravel())[0, 1] > 0.8


@pytest.mark.parametrize("site", range(len(SITES)))
def test_a_lesion_changes_its_own_place_and_not_one_pixel_elsewhere(site: int) -> None:
    added = lesion()
    shown, without = take_film(body(), added, exposure(site))
    reach = cv2.dilate((added > 0).astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    assert np.array_equal(shown[~reach], without[~reach])
    assert (shown - without)[added > 0.3].mean() > 0.02
    assert np.array_equal(without, take_film(body(), None, exposure(site))[0])


def test_the_noise_of_a_film_and_its_counterfactual_is_the_same() -> None:
    faint = lesion() * np.float32(1e-3)
    noisy = exposure(3)
    silent = Exposure(site=noisy.site, mm_per_px=2.0, noise=np.zeros_like(noisy.noise))
    pair = [shown - take_film(body(), faint, silent)[i] for i, shown in enumerate(take_film(body(), faint, noisy))]
    assert np.std(pair[0]) > 1e-4
    assert np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1] > 0.999


def test_less_exposure_is_more_noise() -> None:
    grain = []
    for factor in (1.0, 0.05):
        site = SITES[0].__class__(**{**vars(SITES[0]), "exposure": factor})
        shots = [
            take_film(body(), None, Exposure(site=site, mm_per_px=2.0, noise=exposure(0, s).noise))[0] for s in (1, 2)
        ]
        grain.append(float(np.std(shots[0] - shots[1])))
    assert grain[1] > 2 * grain[0]


def test_wide_blurs_keep_level_and_agree_with_the_exact_one() -> None:
    picture = body()
    exact = cv2.GaussianBlur(picture, (0, 0), 16, borderType=cv2.BORDER_REPLICATE)
    assert np.abs(blurred(picture, 16) - exact).max() < 0.05 * picture.max()


def test_sites_beyond_the_built_in_ones_are_drawn_and_named() -> None:
    sites = draw_sites(7, np.random.default_rng(0))
    assert [site.name for site in sites] == [f"site{i}" for i in range(7)]
    assert sites[:4] == SITES
    assert len({site.photons for site in sites}) == 7
    assert jittered(SITES[0], np.random.default_rng(1)) != SITES[0]

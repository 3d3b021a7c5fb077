import numpy as np
import pytest

from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL, VIRAL_PNEUMONIA
from hilum.simulate.lesions import DISEASES, disease_stack, draw_disease
from hilum.simulate.prepare import WATER
from hilum.simulate.volume import LungGrid

ILL = [label for label in DISEASES if label != NORMAL]


def added(lungs: LungGrid, label: str, seed: int, severity: float = 0.7) -> np.ndarray:
    disease = draw_disease(lungs, label, np.random.default_rng(seed), severity)
    assert disease is not None
    return disease.hounsfield


def test_the_normal_label_adds_nothing(toy_lungs: LungGrid) -> None:
    assert draw_disease(toy_lungs, NORMAL, np.random.default_rng(0), 0.9) is None


@pytest.mark.parametrize("label", ILL)
@pytest.mark.parametrize("seed", range(4))
def test_disease_adds_density_inside_the_lungs_and_nowhere_else(toy_lungs: LungGrid, label: str, seed: int) -> None:
    more = added(toy_lungs, label, seed)
    assert more.min() >= 0
    assert more.max() > 100
    assert not more[toy_lungs.lobe == 0].any()
    assert (toy_lungs.hounsfield + more).max() <= 200


@pytest.mark.parametrize("label", ILL)
def test_the_same_seed_gives_the_same_disease(toy_lungs: LungGrid, label: str) -> None:
    assert np.array_equal(added(toy_lungs, label, 5), added(toy_lungs, label, 5))
    assert not np.array_equal(added(toy_lungs, label, 5), added(toy_lungs, label, 6))


@pytest.mark.parametrize("label", ILL)
def test_severe_disease_adds_more_than_mild(toy_lungs: LungGrid, label: str) -> None:
    mild, severe = (np.mean([added(toy_lungs, label, s, severity).sum() for s in range(6)]) for severity in (0.1, 0.95))
    assert severe > 1.3 * mild


def test_bacterial_pneumonia_keeps_to_one_lobe(toy_lungs: LungGrid) -> None:
    for seed in range(6):
        assert len(np.unique(toy_lungs.lobe[added(toy_lungs, BACTERIAL_PNEUMONIA, seed) > 0])) == 1


def test_viral_pneumonia_takes_both_lungs(toy_lungs: LungGrid) -> None:
    more = added(toy_lungs, VIRAL_PNEUMONIA, 0)
    left, right = more[(toy_lungs.lobe > 0) & (toy_lungs.lobe < 3)], more[toy_lungs.lobe >= 3]
    assert min((left > 20).mean(), (right > 20).mean()) > 0.2


def test_covid19_is_mostly_bilateral_and_lies_low(toy_lungs: LungGrid) -> None:
    lesions = [added(toy_lungs, COVID19, seed) for seed in range(30)]
    right = toy_lungs.lobe >= 3
    both = [more[right].any() and more[~right].any() for more in lesions]
    heights = [np.average(np.arange(len(more)), weights=more.sum((1, 2))) for more in lesions]
    assert 0.7 <= np.mean(both) < 1
    assert np.mean(heights) < (len(toy_lungs.lobe) - 1) / 2 - 3


def test_lung_behind_the_diaphragm_is_left_alone(toy_lungs: LungGrid) -> None:
    hidden = LungGrid(**{**vars(toy_lungs), "open_air": (np.arange(50)[:, None, None] > 20) * np.ones((50, 36, 52))})
    for label in ILL:
        assert not added(hidden, label, 1)[:20].any()


@pytest.mark.parametrize("lateral", [False, True])
def test_planes_hold_all_that_was_added(toy_lungs: LungGrid, lateral: bool) -> None:
    disease = draw_disease(toy_lungs, COVID19, np.random.default_rng(1), 0.6)
    assert disease is not None
    stack = disease_stack(toy_lungs, disease, lateral=lateral)
    held = stack.planes.astype(float).sum() * stack.scale[0] / 65535
    assert held == pytest.approx(disease.hounsfield.sum() * WATER / 1000, rel=1e-3)

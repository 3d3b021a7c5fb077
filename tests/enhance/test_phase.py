import numpy as np
import pytest
from numpy.typing import NDArray

from hilum.enhance import Bank, local_phase, local_phase_grey, phase_congruency
from hilum.enhance.phase import _noise_energy, periodic_spectrum

Pixels = NDArray[np.float32]
SIDE, MIDDLE = 65, 32


def line(level: float) -> Pixels:
    film = np.full((SIDE, SIDE), 0.4, np.float32)
    film[:, MIDDLE] = level
    return film


def step() -> Pixels:
    """Dark, one column between, bright: symmetric about that column."""
    film = np.full((SIDE, SIDE), 0.2, np.float32)
    film[:, MIDDLE], film[:, MIDDLE + 1 :] = 0.5, 0.8
    return film


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("film", "expected"),
    [(line(0.9), np.pi / 2), (line(0.1), -np.pi / 2), (step(), 0.0)],
    ids=["bright line", "dark line", "step"],
)
def test_lines_and_steps_have_their_phase(film: Pixels, expected: float, turned: bool) -> None:
    phase = local_phase(film.T if turned else film)
    found = (phase.T if turned else phase)[:, MIDDLE]
    assert np.allclose(found, expected, atol=1e-5)


def test_the_phase_as_a_film() -> None:
    assert np.allclose(local_phase_grey(line(0.9))[:, MIDDLE], 1, atol=1e-5)
    assert np.allclose(local_phase_grey(line(0.1))[:, MIDDLE], 0, atol=1e-5)
    assert np.allclose(local_phase_grey(step())[:, MIDDLE], 0.5, atol=1e-5)


def test_the_phase_stays_in_its_range(drawn_film: Pixels) -> None:
    phase = local_phase(drawn_film)
    assert np.abs(phase).max() <= np.pi / 2
    assert phase.min() < -1
    assert phase.max() > 1


@pytest.mark.parametrize(("a", "b"), [(0.1, 0.0), (0.5, 0.4), (1.0, 0.1), (0.003, 0.9)])
def test_brightness_and_contrast_do_not_matter(drawn_film: Pixels, a: float, b: float) -> None:
    # In double precision: rounding to the film's own float32 would be a change of the film.
    film = drawn_film.astype(np.float64)
    other = a * film + b
    assert np.allclose(local_phase(other), local_phase(film), atol=1e-6)
    assert np.allclose(phase_congruency(other).congruency, phase_congruency(film).congruency, atol=1e-6)


def test_the_negative_has_the_negative_phase(drawn_film: Pixels) -> None:
    assert np.allclose(local_phase(1 - drawn_film), -local_phase(drawn_film), atol=1e-3)


def test_a_turned_film_has_the_turned_phase(drawn_film: Pixels) -> None:
    for film in (drawn_film, drawn_film[1:, 1:]):
        assert np.allclose(local_phase(film.T), local_phase(film).T, atol=1e-9)
        assert np.allclose(local_phase(film[:, ::-1]), local_phase(film)[:, ::-1], atol=1e-6)


def test_both_ways_to_the_phase_agree(drawn_film: Pixels) -> None:
    bank = Bank(scales=4, wavelength=4, mult=1.8, sigma=0.65)
    assert np.allclose(phase_congruency(drawn_film, bank=bank).phase, local_phase(drawn_film, bank=bank), atol=1e-9)


def test_congruency_marks_an_edge_and_its_direction() -> None:
    for film, direction in ((step(), 0.0), (step().T, np.pi / 2)):
        found = phase_congruency(film)
        across = found.congruency if direction == 0 else found.congruency.T
        assert across[MIDDLE].argmax() == MIDDLE
        assert across[MIDDLE, MIDDLE] > 0.8
        assert across[MIDDLE, MIDDLE - 20 : MIDDLE - 5].max() < 0.01
        assert abs(np.sin(found.orientation[MIDDLE, MIDDLE] - direction)) < 1e-6


def test_congruency_is_small_on_noise_alone() -> None:
    noise = np.random.default_rng(0).normal(0.5, 0.05, (128, 128))
    found = phase_congruency(noise)
    assert found.congruency.mean() < 0.02
    assert phase_congruency(noise, k=0).congruency.mean() > 2 * found.congruency.mean()
    assert phase_congruency(2 * noise).noise == pytest.approx(2 * found.noise)


def test_the_noise_is_judged_by_its_median() -> None:
    sample = np.random.default_rng(0).rayleigh(0.3, 200_000)
    sample[:2000] = 50  # a few edges
    quiet = sample[2000:]
    for k in (0.0, 2.0):
        assert _noise_energy(sample, Bank(scales=1), k) == pytest.approx(quiet.mean() + k * quiet.std(), rel=0.03)
    assert _noise_energy(sample, Bank(scales=3, mult=2), 2) == pytest.approx(1.75 * _noise_energy(sample, Bank(1), 2))


def test_the_borders_are_no_edges() -> None:
    """A slope jumps from its end to its start in the Fourier transform's eyes."""
    film = np.tile(np.linspace(0.1, 0.9, 64), (64, 1))
    assert np.abs(periodic_spectrum(film))[0, 1] < 0.05 * np.abs(np.fft.fft2(film))[0, 1]


def test_the_periodic_part_differs_from_the_film_by_something_smooth(drawn_film: Pixels) -> None:
    smooth = drawn_film - np.fft.ifft2(periodic_spectrum(drawn_film)).real
    inner = smooth[1:-1, 1:-1]
    laplacian = smooth[:-2, 1:-1] + smooth[2:, 1:-1] + smooth[1:-1, :-2] + smooth[1:-1, 2:] - 4 * inner
    assert np.abs(laplacian).max() < 1e-9
    assert np.ptp(smooth) > 0.1

"""Local phase: lines, steps and their direction, told by the shape of the grey profile and not by its contrast.

The monogenic signal has, for each scale, an even part (a band-pass of the film: large on lines) and two odd parts (its
Riesz transforms along x and y: large on steps). What depends on their proportions only is the same for a film and for
any brighter or more contrasty copy of it.

References:
    Felsberg, Sommer: The monogenic signal. IEEE Trans Signal Process 49(12):3136-3144, 2001. doi:10.1109/78.969520
    Kovesi: Image features from phase congruency. Videre 1(3):1-26, 1999.
    Kovesi: Phase congruency: a low-level image invariant. Psychol Res 64:136-148, 2000. doi:10.1007/s004260000024
    Field: Relations between the statistics of natural images and the response properties of cortical cells. J Opt Soc
    Am A 4(12):2379-2394, 1987. doi:10.1364/JOSAA.4.002379
    Moisan: Periodic plus smooth image decomposition. J Math Imaging Vis 39:161-179, 2011. doi:10.1007/s10851-010-0227-1
"""

from typing import NamedTuple

import numpy as np
from numpy import fft
from numpy.typing import NDArray

from hilum.enhance.film import Pixels

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

LOWPASS_CUTOFF, LOWPASS_ORDER = 0.45, 15
"""Butterworth low-pass that takes the corners off the spectrum, in cycles a pixel: no filter reaches beyond it."""
_TINY = 1e-4


class Bank(NamedTuple):
    """The log-Gabor filters of one analysis: exp(-ln(f / f_s)^2 / (2 ln(sigma)^2)), f_s = 1 / (wavelength mult^s)."""

    scales: int = 5
    """Filters, from fine to coarse."""
    wavelength: float = 3.0
    """Of the finest filter, in pixels."""
    mult: float = 2.1
    """From one wavelength to the next."""
    sigma: float = 0.55
    """Bandwidth, as the ratio of the filter's spread to its centre; .55 is about two octaves."""


class PhaseCongruency(NamedTuple):
    """What the monogenic signal says of each pixel."""

    congruency: Floats
    """`(H, W)` in [0, 1]: how well the scales agree that something is here."""
    orientation: Floats
    """`(H, W)` in [0, pi]: direction of the steepest change; 0 from side to side, pi/2 from top to bottom."""
    phase: Floats
    """`(H, W)` in [-pi/2, pi/2]: local weighted mean phase angle, +pi/2 on a bright line, 0 on a step."""
    noise: float
    """Energy below which nothing counts."""


def local_phase(film: Pixels, *, bank: Bank | None = None) -> Floats:
    """Local weighted mean phase angle: +pi/2 on a bright line, -pi/2 on a dark one, 0 on a step.

    atan2(sum of even, hypot(sum of odd_x, sum of odd_y)), the sums over all scales: each scale weighs by its amplitude.
    Equal for a film and for a film + b with a > 0. A constant film has phase 0.

    Returns:
        float64 `(H, W)` in [-pi/2, pi/2].

    References:
        Qi, Brown, Foran, Nosher, Hacihaliloglu: Chest X-ray image phase features for improved diagnosis of COVID-19
        using convolutional neural network. Int J Comput Assist Radiol Surg 16:197-206, 2021.
        doi:10.1007/s11548-020-02305-w
    """
    if film.min() == film.max():
        return np.zeros(film.shape)
    even, odd = _responses(periodic_spectrum(film), _log_gabors(film.shape, bank or Bank()).sum(axis=0))
    return np.arctan2(even, np.abs(odd))


def local_phase_grey(
    film: Pixels, *, scales: int = 5, wavelength: float = 3.0, mult: float = 2.1, sigma: float = 0.55
) -> Pixels:
    """`local_phase` as a film: -pi/2 is black, 0 mid grey, +pi/2 white."""
    phase = local_phase(film, bank=Bank(scales, wavelength, mult, sigma))
    return np.clip(phase / np.pi + 0.5, 0, 1).astype(np.float32)


def phase_congruency(
    film: Pixels, *, bank: Bank | None = None, k: float = 2.0, cutoff: float = 0.5, g: float = 10.0, gain: float = 1.5
) -> PhaseCongruency:
    """Phase congruency: weight * max(1 - gain * deviation, 0) * max(energy - noise, 0) / energy.

    The deviation is the angle acos(energy / sum of amplitudes) between the scales; the weight falls by a logistic curve
    where few scales answer; the noise is judged by the median amplitude of the finest scale (Rayleigh distributed).

    Args:
        film: float32 `(H, W)` in [0, 1].
        bank: the filters.
        k: standard deviations above its mean from which an energy is no noise.
        cutoff: share of the scales below which the weight falls.
        g: steepness of that fall.
        gain: how strongly disagreement between the scales counts.
    """
    bank = bank or Bank()
    if film.min() == film.max():
        nothing = np.zeros(film.shape)
        return PhaseCongruency(nothing, nothing.copy(), nothing.copy(), 0.0)
    spectrum = periodic_spectrum(film)
    evens, odds = zip(*(_responses(spectrum, band) for band in _log_gabors(film.shape, bank)), strict=True)
    even, odd = np.sum(evens, axis=0), np.sum(odds, axis=0)
    amplitudes = np.stack([np.hypot(one, np.abs(other)) for one, other in zip(evens, odds, strict=True)])
    total, energy = amplitudes.sum(axis=0), np.hypot(even, np.abs(odd))
    noise = _noise_energy(amplitudes[0], bank, k)
    # Relative, so that a film of a tenth of the contrast gives the same map.
    floor = _TINY * float(film.max() - film.min())
    width = (total / (amplitudes.max(axis=0) + floor) - 1) / max(bank.scales - 1, 1)
    weight = 1 / (1 + np.exp(g * (cutoff - width)))
    agreement = np.maximum(1 - gain * np.arccos(np.clip(energy / (total + floor), 0, 1)), 0)
    congruency = weight * agreement * np.maximum(energy - noise, 0) / (energy + floor)
    orientation = np.mod(np.angle(odd), np.pi)
    return PhaseCongruency(congruency, orientation, np.arctan2(even, np.abs(odd)), noise)


def phase_congruency_grey(film: Pixels, *, scales: int = 5, wavelength: float = 3.0, k: float = 2.0) -> Pixels:
    """The map of `phase_congruency` as a film: edges and lines white, whatever their contrast."""
    found = phase_congruency(film, bank=Bank(scales, wavelength), k=k)
    return np.clip(found.congruency, 0, 1).astype(np.float32)


def periodic_spectrum(film: Pixels) -> Complexes:
    """Fourier transform `(H, W)` of the film less the smooth film that explains its jump from one border to the other.

    Without this the jump between opposite borders, which the transform takes for neighbours, is the strongest edge.
    """
    grey = film.astype(np.float64)
    jumps = np.zeros_like(grey)
    jumps[0] += grey[0] - grey[-1]
    jumps[-1] -= grey[0] - grey[-1]
    jumps[:, 0] += grey[:, 0] - grey[:, -1]
    jumps[:, -1] -= grey[:, 0] - grey[:, -1]
    rows, columns = _frequencies(film.shape)
    laplacian = 2 * np.cos(2 * np.pi * rows) + 2 * np.cos(2 * np.pi * columns) - 4
    laplacian[0, 0] = 1.0
    smooth = fft.fft2(jumps) / -laplacian
    smooth[0, 0] = 0.0
    spectrum: Complexes = fft.fft2(grey) - smooth
    return spectrum


def _responses(spectrum: Complexes, band: Floats) -> tuple[Floats, Complexes]:
    """The even part and, as real and imaginary part, the odd parts along x and y of what `band` lets through."""
    rows, columns = _frequencies(band.shape)
    radius = np.hypot(rows, columns)
    radius[0, 0] = 1.0
    # The highest frequency of an even side has no sign, so no odd part: left in, it would mix x and y.
    rows[np.abs(rows) == 0.5] = 0.0
    columns[np.abs(columns) == 0.5] = 0.0
    passed = spectrum * band
    even: Floats = fft.ifft2(passed).real
    # i u / f and i v / f are the transfer functions of the two Riesz transforms; summed as x + i y they need one FFT.
    odd: Complexes = fft.ifft2(passed * (1j * columns - rows) / radius)
    return even, odd


def _log_gabors(shape: tuple[int, ...], bank: Bank) -> Floats:
    """`(scales, H, W)` in [0, 1], 0 at frequency 0."""
    radius = np.hypot(*_frequencies(shape))
    radius[0, 0] = 1.0
    low_pass = 1 / (1 + (radius / LOWPASS_CUTOFF) ** (2 * LOWPASS_ORDER))
    centres = 1 / (bank.wavelength * bank.mult ** np.arange(bank.scales))
    bands: Floats = np.exp(-(np.log(radius / centres[:, None, None]) ** 2) / (2 * np.log(bank.sigma) ** 2))
    bands *= low_pass
    bands[:, 0, 0] = 0.0
    return bands


def _noise_energy(finest: Floats, bank: Bank, k: float) -> float:
    """Energy that noise alone reaches: mean and `k` standard deviations of a Rayleigh distribution over all scales.

    White noise answers at scale s with 1 / mult^s of what it answers at the finest.
    """
    finest_mode = float(np.median(finest)) / np.sqrt(np.log(4))
    mode = finest_mode * (1 - bank.mult**-bank.scales) / (1 - 1 / bank.mult)
    return float(mode * np.sqrt(np.pi / 2) + k * mode * np.sqrt((4 - np.pi) / 2))


def _frequencies(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Cycles a pixel down the rows `(H, 1)` and along the columns `(1, W)`."""
    return np.asarray(fft.fftfreq(shape[0]))[:, None], np.asarray(fft.fftfreq(shape[1]))[None]

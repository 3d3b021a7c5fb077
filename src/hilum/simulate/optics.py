"""From line integrals to a displayed film: detector, noise, processing, window, display curve.

A film and its counterfactual without the lesion share the noise's random numbers, the scattered light, the broad
density that dynamic-range compression removes, and the window; all are computed from the film without the lesion. So
a lesion changes the picture where it lies, within the blur, and nowhere else: nothing outside the lungs can tell the
label.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.simulate.sites import Site

Floats = NDArray[np.float32]

SCATTER_SHARE_OF_FILM = 0.10
BROAD_SHARE_OF_FILM = 0.07
DETAIL_SHARE_OF_FILM = 0.006
CENTRAL = 0.08
"""Share of each side left out of the field the window is taken from."""
AIR = 0.3
"""Line integral below which a ray missed the body."""
HARD_LIMIT = 9.0
"""Largest line integral the detector tells from none."""


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """One shot: the site's settings of the day and the random numbers of its noise."""

    site: Site
    mm_per_px: float
    noise: Floats
    """(H, W) standard normal."""


def take_film(clean: Floats, lesion: Floats | None, exposure: Exposure) -> tuple[Floats, Floats]:
    """The film and its counterfactual, both (H, W) in [0, 1], bone bright.

    Args:
        clean: line integrals without the lesion.
        lesion: line integrals the lesion adds; None for none.
        exposure: what both are taken with.
    """
    shape_px = max(clean.shape)
    site = exposure.site
    blur_px = site.blur_mm / exposure.mm_per_px
    primary = blurred(np.exp(-clean.clip(0, HARD_LIMIT)), blur_px)
    scattered = site.scatter * blurred(primary, SCATTER_SHARE_OF_FILM * shape_px)
    scattered = np.minimum(scattered, 3 * site.scatter * primary.mean())
    reference = _density(primary, scattered, exposure)
    quiet = _density(primary, scattered, None)
    broad = blurred(quiet, BROAD_SHARE_OF_FILM * shape_px)
    window = _window(_processed(quiet, broad, site, shape_px), clean > AIR, site)
    counterfactual = _displayed(_processed(reference, broad, site, shape_px), window, site)
    if lesion is None:
        return counterfactual, counterfactual
    dimmed = blurred(np.exp(-(clean + lesion).clip(0, HARD_LIMIT)), blur_px)
    density = _density(dimmed, scattered, exposure)
    return _displayed(_processed(density, broad, site, shape_px), window, site), counterfactual


def blurred(picture: Floats, sigma_px: float) -> Floats:
    """Gaussian blur with the picture's edge continued; wide ones are computed on a smaller picture."""
    if sigma_px < 0.15:
        return picture
    if sigma_px > 8:
        factor = int(sigma_px // 4)
        small = cv2.resize(picture, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), sigma_px / factor, borderType=cv2.BORDER_REPLICATE)
        large = cv2.resize(small, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)
        # Interpolation leaves a lattice, faint but visible in the logarithm where little light is left.
        return np.asarray(cv2.GaussianBlur(large, (0, 0), factor / 2, borderType=cv2.BORDER_REPLICATE), np.float32)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE), np.float32)


def _density(primary: Floats, scattered: Floats, exposure: Exposure | None) -> Floats:
    """Optical density after the detector, without noise where `exposure` is None."""
    light = primary + scattered
    if exposure is not None:
        photons = exposure.site.photons * exposure.site.exposure
        light = light + np.sqrt(light.clip(0) / photons) * exposure.noise
    return np.asarray(-np.log(light.clip(np.exp(-HARD_LIMIT))), np.float32)


def _processed(density: Floats, broad: Floats, site: Site, shape_px: int) -> Floats:
    """Less of the broad differences, more of the fine ones."""
    fine = density - blurred(density, DETAIL_SHARE_OF_FILM * shape_px)
    return np.asarray(density - site.compression * broad + site.detail * fine, np.float32)


def _window(processed: Floats, body: NDArray[np.bool_], site: Site) -> tuple[float, float]:
    """What is shown as black and white: percentiles of the body within the central field."""
    height, width = processed.shape
    top, left = round(height * CENTRAL), round(width * CENTRAL)
    central = np.s_[top : height - top, left : width - left]
    low, high = np.percentile(processed[central][body[central]], site.latitude)
    return float(low - site.toe * (high - low)), float(high)


def _displayed(processed: Floats, window: tuple[float, float], site: Site) -> Floats:
    low, high = window
    # A toe and a shoulder a little outside the window keep its ends from clipping hard.
    level = (processed - low) / max(high - low, 1e-3)
    curve = 1 / (1 + np.exp(-site.slope * (level - 0.5)))
    ends = 1 / (1 + np.exp(site.slope * np.array([0.56, -0.56])))
    shown = ((curve - ends[0]) / (ends[1] - ends[0])).clip(0, 1)
    return np.asarray(shown**site.gamma, np.float32)

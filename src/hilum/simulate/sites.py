"""Sites: what makes one hospital's films look different from another's.

The numbers are made up; they span the variety of the public data sets by eye.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Site:
    """A detector and the display processing of one hospital."""

    name: str
    photons: float
    """Photons a pixel of an unattenuated beam at exposure 1; fewer is noisier."""
    scatter: float
    """Scattered share, relative to the primary beam in the bright part."""
    blur_mm: float
    """Focal spot and detector, standard deviation on the detector."""
    compression: float
    """[0, 1]: how much of the broad differences of density the processing takes out."""
    detail: float
    """Unsharp masking, relative weight."""
    latitude: tuple[float, float]
    """Percentiles of the central field that are shown as black and white."""
    toe: float
    """How far the black end lies below the lungs, relative to the window."""
    slope: float
    """Of the sigmoid display curve; 0 is linear."""
    gamma: float
    aspect: float
    """Height over width of the film."""
    margin_mm: float
    """Room left around the lungs by the collimation."""
    exposure: float = 1.0
    year: int = 2019


SITES = (
    Site(name="site0", photons=2.0e5, scatter=0.25, blur_mm=0.35, compression=0.35, detail=0.5, latitude=(1.0, 98.5),
         toe=0.22, slope=3.0, gamma=1.0, aspect=1.0, margin_mm=24, year=2018),
    Site(name="site1", photons=0.9e5, scatter=0.45, blur_mm=0.55, compression=0.20, detail=0.3, latitude=(0.5, 99.3),
         toe=0.12, slope=4.2, gamma=0.85, aspect=1.18, margin_mm=20, year=2015),
    Site(name="site2", photons=3.5e5, scatter=0.15, blur_mm=0.25, compression=0.50, detail=0.9, latitude=(2.0, 97.5),
         toe=0.18, slope=2.2, gamma=1.15, aspect=0.86, margin_mm=28, year=2020),
    Site(name="site3", photons=0.6e5, scatter=0.60, blur_mm=0.60, compression=0.40, detail=0.7, latitude=(0.3, 99.0),
         toe=0.3, slope=3.4, gamma=0.95, aspect=0.92, margin_mm=32, year=2016),
)  # fmt: skip


def draw_sites(count: int, rng: np.random.Generator) -> tuple[Site, ...]:
    """The first sites are fixed; further ones are drawn between them."""
    drawn = list(SITES[:count])
    for number in range(len(drawn), count):
        a, b = (SITES[i] for i in rng.choice(len(SITES), 2, replace=False))
        t = float(rng.random())
        between: dict[str, Any] = {key: value + t * (getattr(b, key) - value) for key, value in _numbers(a).items()}
        between |= {"latitude": (a.latitude[0], b.latitude[1]), "year": int(rng.integers(2012, 2021))}
        drawn.append(replace(a, name=f"site{number}", **between))
    return tuple(drawn)


def jittered(site: Site, rng: np.random.Generator) -> Site:
    """The site on one day: every film differs a little from the site's habit."""
    spread = {"photons": 0.2, "scatter": 0.15, "compression": 0.1, "detail": 0.15, "slope": 0.1, "gamma": 0.06,
              "aspect": 0.03, "margin_mm": 0.15}  # fmt: skip
    factors = {key: float(np.exp(rng.normal(0, deviation))) for key, deviation in spread.items()}
    today: dict[str, Any] = {key: getattr(site, key) * factor for key, factor in factors.items()}
    return replace(site, **today)


def _numbers(site: Site) -> dict[str, float]:
    keys = ("photons", "scatter", "blur_mm", "compression", "detail", "toe", "slope", "gamma", "aspect", "margin_mm")
    return {key: float(getattr(site, key)) for key in keys}

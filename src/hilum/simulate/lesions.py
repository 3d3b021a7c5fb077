"""Disease, put into the lungs in three dimensions before the film is taken.

Only the lungs' own voxels change, upwards to a target density, and what is added is projected like everything else.
Lesions are kept out of lung that a frontal film shows only through the diaphragm. The shapes follow descriptions of
the literature in a crude way: bilateral, peripheral, lower and posterior ground glass for COVID-19; thickened
bronchial walls and vessels with a reticular and nodular pattern around the hila for other viruses; one lobe filled,
with air left in its bronchi, for bacteria.

References:
    Wong et al., Frequency and distribution of chest radiographic findings in patients positive for COVID-19,
    Radiology 296 (2020), doi:10.1148/radiol.2020201160.
    Franquet, Imaging of pulmonary viral pneumonia, Radiology 260 (2011), doi:10.1148/radiol.11092149.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.records import BACTERIAL_PNEUMONIA, COVID19, NORMAL, VIRAL_PNEUMONIA
from hilum.simulate.prepare import WATER
from hilum.simulate.volume import LungGrid, PlaneStack

Floats = NDArray[np.float32]

LOBE_SHARES = (0.10, 0.25, 0.20, 0.15, 0.30)
"""How often a bacterial pneumonia takes each lobe: lower ones most."""
LESION_SCALE = 0.03
"""Full scale of the added attenuation, 1/mm; blood and pus reach 0.02."""


@dataclass(frozen=True)
class Disease:
    """What is added to the lungs."""

    hounsfield: Floats
    """(Z, Y, X) of the lung grid: HU added to each voxel, at least 0 and 0 outside the lungs."""
    severity: float
    """[0, 1]; scales number, size and density."""


def no_disease(_: LungGrid, rng: np.random.Generator, severity: float) -> Floats | None:  # noqa: ARG001
    """Nothing is added."""
    return None


def covid19(lungs: LungGrid, rng: np.random.Generator, severity: float) -> Floats:
    """2-11 rough ellipsoids of ground glass or denser, mostly bilateral, peripheral, low and posterior."""
    count = int(np.clip(np.rint(rng.normal(3 + 9 * severity, 1.2)), 2, 11))
    bilateral = rng.random() < 0.88
    side = int(rng.integers(2))
    weight = _peripheral_weight(lungs)
    summed = [_summed(weight * _side(lungs, number)) for number in (0, 1)]
    rough = _noise(rng, lungs.lobe.shape, 7.0 / lungs.step_mm)
    texture = (0.95 + 0.16 * _noise(rng, lungs.lobe.shape, 4.0 / lungs.step_mm)).clip(0.4, 1)
    added = np.zeros(lungs.lobe.shape, np.float32)
    for number in range(count):
        centre = _draw_voxel(summed[(side + number) % 2 if bilateral else side], lungs, rng)
        radii_mm = rng.uniform(14, 31) * (0.75 + 0.5 * severity) * rng.uniform(0.8, 1.25, 3)
        dense = rng.random() < 0.3 + 0.45 * severity
        target = rng.uniform(-220, -20) if dense else rng.uniform(-420, -250)
        share = _ellipsoid(lungs, centre, radii_mm, rough, 0.45)
        np.maximum(added, _raise_to(lungs, target, share * texture), out=added)
    return added


def viral(lungs: LungGrid, rng: np.random.Generator, severity: float) -> Floats:
    """Both lungs: cuffs along vessels and bronchi, a net of lines and small nodules, densest around the hila."""
    z, y, x = _coordinates(lungs)
    reach_mm = rng.uniform(45, 75)
    hilum = [np.exp(-(((x - c) / 1.1) ** 2 + (y + 5) ** 2 + (z - 10) ** 2) / (2 * reach_mm**2)) for c in (-45, 45)]
    balance = rng.uniform(0.7, 1.3)
    around_hila = np.maximum(hilum[0] * balance, hilum[1] * (2 - balance))
    around_hila = around_hila * (1 + 0.5 * _noise(rng, lungs.lobe.shape, 22 / lungs.step_mm)).clip(0.2, 2)
    cuffs = np.clip(lungs.vessels * 2.2, 0, 1)
    first, second = (_noise(rng, lungs.lobe.shape, 9.0 / lungs.step_mm) for _ in range(2))
    net = np.exp(-((first / 0.16) ** 2)) + 0.8 * np.exp(-((second / 0.16) ** 2))
    nodules = np.clip((_noise(rng, lungs.lobe.shape, 5.5 / lungs.step_mm) - 1.4) * 2.0, 0, 1)
    haze = 0.06
    share = (0.65 * cuffs + 0.40 * net + 0.8 * nodules + haze) * around_hila * (0.45 + 0.7 * severity)
    return _raise_to(lungs, -150.0, share.clip(0, 0.85).astype(np.float32))


def bacterial(lungs: LungGrid, rng: np.random.Generator, severity: float) -> Floats:
    """One lobe filled from a focus outwards, stopping at its fissure, with air left in its larger airways."""
    lobe = int(rng.choice(5, p=LOBE_SHARES)) + 1
    inside = lungs.lobe == lobe
    centre = _draw_voxel(_summed(inside * (0.3 + lungs.pleura_mm / 20).clip(0, 1)), lungs, rng)
    radii_mm = (32 + 46 * severity) * rng.uniform(0.8, 1.25, 3)
    rough = _noise(rng, lungs.lobe.shape, 11.0 / lungs.step_mm)
    share = _ellipsoid(lungs, centre, radii_mm, rough, 0.35) * inside
    bronchi = np.exp(-((_noise(rng, lungs.lobe.shape, 12.0 / lungs.step_mm) / 0.10) ** 2))
    bronchi *= np.exp(-((_noise(rng, lungs.lobe.shape, 12.0 / lungs.step_mm) / 0.3) ** 2))
    patchy = (0.92 + 0.15 * _noise(rng, lungs.lobe.shape, 6.0 / lungs.step_mm)).clip(0.4, 1)
    share = share * patchy * (1 - 0.9 * bronchi)
    return _raise_to(lungs, float(rng.uniform(-40, 30)), share.astype(np.float32) * (0.7 + 0.3 * severity))


Maker = Callable[[LungGrid, np.random.Generator, float], Floats | None]

DISEASES: Mapping[str, Maker] = MappingProxyType(
    {NORMAL: no_disease, BACTERIAL_PNEUMONIA: bacterial, VIRAL_PNEUMONIA: viral, COVID19: covid19}
)
"""Label to what it does to the lungs."""


def draw_disease(lungs: LungGrid, label: str, rng: np.random.Generator, severity: float) -> Disease | None:
    """The disease of `label`, or None where the label adds nothing."""
    added = DISEASES[label](lungs, rng, severity)
    return None if added is None else Disease(hounsfield=added, severity=severity)


def disease_stack(lungs: LungGrid, disease: Disease, *, lateral: bool) -> PlaneStack:
    """The added attenuation as planes across the beam, only where there is any."""
    added = (disease.hounsfield * (WATER / 1000 / LESION_SCALE)).clip(0, 1)
    moved = added.transpose(2, 0, 1) if lateral else added.transpose(1, 0, 2)
    axes = (2, 0, 1) if lateral else (1, 0, 2)
    filled = np.flatnonzero(moved.any((1, 2)))
    start, stop = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, 1)
    planes = np.rint(moved[start:stop, :, :, None] * 65535).astype(np.uint16)
    first = [lungs.first_mm[axis] for axis in axes]
    step = lungs.step_mm
    return PlaneStack(
        np.ascontiguousarray(planes), (first[0] + start * step, first[1], first[2]), (step,) * 3, (LESION_SCALE,)
    )


def _coordinates(lungs: LungGrid) -> list[Floats]:
    """Broadcastable z, y, x of the grid's voxels, mm in the CT's space."""
    axes = [first + lungs.step_mm * np.arange(n) for first, n in zip(lungs.first_mm, lungs.lobe.shape, strict=True)]
    return [np.asarray(axis, np.float32) for axis in np.meshgrid(*axes, indexing="ij", sparse=True)]


def _side(lungs: LungGrid, side: int) -> NDArray[np.bool_]:
    """The left (0) or right (1) lung."""
    return (lungs.lobe >= 3) if side else (lungs.lobe > 0) & (lungs.lobe < 3)


def _peripheral_weight(lungs: LungGrid) -> Floats:
    z, y, _ = _coordinates(lungs)
    low = 1 / (1 + np.exp((z - 25) / 30))
    back = 1 / (1 + np.exp((y + 5) / 35))
    near_pleura = np.exp(-((lungs.pleura_mm - 12) ** 2) / (2 * 9.0**2))
    return np.asarray(near_pleura * (0.15 + low) * (0.25 + back) * lungs.open_air**2 * (lungs.lobe > 0), np.float32)


def _summed(weight: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.cumsum(weight.ravel(), dtype=np.float64)


def _draw_voxel(summed: NDArray[np.float64], lungs: LungGrid, rng: np.random.Generator) -> tuple[int, int, int]:
    """A voxel (k, j, i) drawn by its weight, given the running sum of all weights."""
    index = int(np.searchsorted(summed, rng.random() * summed[-1]))
    k, j, i = np.unravel_index(min(index, summed.size - 1), lungs.lobe.shape)
    return int(k), int(j), int(i)


def _ellipsoid(
    lungs: LungGrid, centre: tuple[int, int, int], radii_mm: NDArray[np.float64], rough: Floats, roughness: float
) -> Floats:
    """Share [0, 1]: 1 well inside, falling over a rough rim to 0."""
    axes = [
        (np.arange(n, dtype=np.float32) - c) * lungs.step_mm / r
        for n, c, r in zip(lungs.lobe.shape, centre, radii_mm, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.asarray(np.clip((1 + roughness * rough - np.sqrt(z * z + y * y + x * x)) * 2.2, 0, 1), np.float32)


def _raise_to(lungs: LungGrid, target_hu: float, share: Floats) -> Floats:
    """HU to add so that `share` of each lung voxel reaches the target density."""
    room = np.maximum(target_hu - lungs.hounsfield, 0) * (lungs.lobe > 0) * lungs.open_air
    return np.asarray(room * share, np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Floats:
    """Smooth noise of mean 0 and deviation 1 whose bumps are about `scale` voxels wide."""
    coarse_shape = [max(4, int(np.ceil(n / scale)) + 3) for n in shape]
    coarse = rng.standard_normal(coarse_shape).astype(np.float32)
    depth, height, width = shape
    planes = np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_CUBIC) for plane in coarse])
    flat = planes.reshape(len(coarse), -1)
    full = cv2.resize(flat.T, (depth, flat.shape[1]), interpolation=cv2.INTER_CUBIC).T.reshape(shape)
    return np.asarray(full / max(float(full.std()), 1e-6), np.float32)

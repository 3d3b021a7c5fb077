"""Patients: smooth random maps of one anatomy, with tissue properties of their own.

A patient is a map from the patient's space to the CT's (both in mm; x to the patient's left, y forward, z up, the
origin in the middle of the scan) and a few factors for soft tissue, bone and lung. Ribs and vessels therefore keep
the CT's pattern in every patient, which is the simulator's largest limit.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating[Any]]

FIELD_NODES, FIELD_FROM_MM, FIELD_STEP_MM = 7, (-240.0, -150.0, -240.0), (80.0, 50.0, 80.0)
"""The coarse random displacement: nodes a side, first node and step along (z, y, x)."""
RIBCAGE_MM = 128.0
DIAPHRAGM_MM, APEX_MM = -20.0, 140.0
HEART_MM, HEART_REACH_MM = (24.0, 24.0, -35.0), 58.0


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One person's body. Scales are relative to the CT's patient, a man of average size."""

    sex: Literal["F", "M"]
    age_years: int
    width: float
    depth: float
    height: float
    habitus: float
    """Stretch of what lies outside the rib cage; 1 is the CT's."""
    inspiration_mm: float
    """Positive: the diaphragm lies lower than in the CT."""
    heart: float
    """Relative enlargement of the heart; 0 is the CT's."""
    scoliosis_mm: float
    kyphosis_mm: float
    soft: float
    bone: float
    aeration: float
    """Factor on lung attenuation; below 1 is more air."""
    mottle: float
    """Relative amplitude of the lung's irregularity."""
    breast_mm: float
    shift_mm: NDArray[np.float64]
    """(3, n, n, n): coarse random displacement along z, y, x."""

    def to_ct(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Where in the CT the points (mm, in the patient's space, any one shape) lie."""
        scales = (self.width, self.depth, self.height)
        x_ct, y_ct, z_ct = (axis / np.float32(scale) for axis, scale in zip((x, y, z), scales, strict=True))
        outside = np.maximum(np.abs(x_ct) - RIBCAGE_MM, 0)
        x_ct = x_ct - np.sign(x_ct) * outside * (1 - 1 / self.habitus)
        bend = np.sin((z_ct + 60) / 75)
        x_ct = x_ct + self.scoliosis_mm * bend
        y_ct = y_ct + self.kyphosis_mm * np.cos((z_ct - 60) / 110)
        down = np.clip((APEX_MM - z_ct) / (APEX_MM - DIAPHRAGM_MM), 0, 1)
        z_ct = z_ct + self.inspiration_mm * down * down * (3 - 2 * down)
        pull = self._heart_pull(x_ct, y_ct, z_ct)
        shift = self._shift(x_ct, y_ct, z_ct)
        return (
            x_ct - (x_ct - HEART_MM[0]) * pull + shift[2],
            y_ct - (y_ct - HEART_MM[1]) * pull + shift[1],
            z_ct - (z_ct - HEART_MM[2]) * pull * 0.6 + shift[0],
        )

    def _heart_pull(self, x: Floats, y: Floats, z: Floats) -> Floats:
        squared = (x - HEART_MM[0]) ** 2 + (y - HEART_MM[1]) ** 2 + (z - HEART_MM[2]) ** 2
        return np.asarray(self.heart * np.exp(-squared / (2 * HEART_REACH_MM**2)), np.float32)

    def _shift(self, x: Floats, y: Floats, z: Floats) -> list[Floats]:
        at = [(axis - f) / s for axis, f, s in zip((z, y, x), FIELD_FROM_MM, FIELD_STEP_MM, strict=True)]
        where = np.stack(at)
        # The nodes are already spline coefficients (random all the same), so nothing needs prefiltering.
        return [
            ndimage.map_coordinates(field, where, output=np.float32, order=3, mode="nearest", prefilter=False)
            for field in self.shift_mm
        ]


def draw_patient(rng: np.random.Generator, *, sex: Literal["F", "M"], age_years: int) -> Patient:
    """A random adult of the given sex and age."""
    female = sex == "F"
    size = rng.normal(0, 0.035)
    habitus = float(np.clip(rng.normal(1.05 if female else 1.08, 0.14), 0.8, 1.5))
    years = (age_years - 50) / 10
    return Patient(
        sex=sex,
        age_years=age_years,
        width=float((0.93 if female else 1.0) * np.exp(size + rng.normal(0, 0.035))),
        depth=float((0.93 if female else 1.0) * np.exp(size + rng.normal(0, 0.05))),
        height=float((0.92 if female else 1.0) * np.exp(size + rng.normal(0, 0.04))),
        habitus=habitus,
        inspiration_mm=float(rng.normal(2, 9)),
        heart=float(np.clip(rng.normal(0.02 + 0.02 * years, 0.10), -0.2, 0.4)),
        scoliosis_mm=float(rng.normal(0, 3.0)),
        kyphosis_mm=float(rng.normal(1.5 * years, 3.0)),
        soft=float(np.clip(rng.normal(0.92 + 0.25 * (habitus - 1), 0.05), 0.75, 1.2)),
        bone=float(np.clip((1.22 - 0.07 * max(years, -2) * (1.3 if female else 1.0)) * rng.normal(1, 0.1), 0.55, 1.6)),
        aeration=float(np.clip(rng.normal(1.0, 0.13), 0.7, 1.4)),
        mottle=float(rng.uniform(0.05, 0.14)),
        breast_mm=float(rng.uniform(8, 34)) if female else float(max(0.0, rng.normal(0, 5))),
        shift_mm=rng.normal(0, 7.0, (3, FIELD_NODES, FIELD_NODES, FIELD_NODES)),
    )

"""One simulated film from its plan: patient, disease, beam, detector, and the truth that comes with them.

Conventions, chosen and not measured: a lung pixel has more than 15 mm of lung and less than 18 mm of abdominal organs
on its ray, so the lung behind the heart counts and the lung behind the diaphragm does not; a lesion pixel is a lung
pixel where the added line integral exceeds .045 and .22 of the film's largest; a box encloses one connected piece of
lesion of at least .04 % of the film.
"""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.boxes import LEAST_SHARE, Box, mask_boxes
from hilum.records import View
from hilum.simulate.anatomy import Patient, draw_patient
from hilum.simulate.lesions import disease_stack, draw_disease
from hilum.simulate.optics import Exposure, blurred, take_film
from hilum.simulate.prepare import WATER
from hilum.simulate.projection import Beam, Field, Pose, integrate, lung_bounds, stack_for
from hilum.simulate.sites import Site, jittered
from hilum.simulate.volume import PreparedCT

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

LUNG_MM, ABDOMEN_MM = 15.0, 18.0
LESION_LEAST, LESION_SHARE = 0.045, 0.22
SPECK_SHARE = 5e-3
POSE_DEGREES = {View.PA: (2.0, 2.0, 1.0), View.AP: (4.0, 5.0, 2.5), View.LATERAL: (3.0, 1.5, 1.5)}
"""Standard deviations of yaw, pitch and roll."""
BREAST_MM, BREAST_RADIUS_MM = (78.0, -32.0), 70.0
UNDEREXPOSED = 0.06


@dataclass(frozen=True, kw_only=True)
class FilmPlan:
    """All that decides one film's pixels."""

    seed: int
    film: int
    """Number of the film within the cohort."""
    patient: int
    label: str
    severity: float
    view: View
    sex: Literal["F", "M"]
    age_years: int
    site: Site
    size_px: int
    """Longest side."""
    lesions: bool = True
    underexposed: bool = False


@dataclass(frozen=True)
class Film:
    """Pixels and truth; every array (H, W)."""

    shown: Floats
    """[0, 1], bone bright."""
    counterfactual: Floats
    """The same shot of the same patient without the disease."""
    lungs: Mask
    lesion: Mask
    added: Floats
    """Line integral the disease adds, before any threshold."""

    @property
    def boxes(self) -> list[Box]:
        return boxes_of(self.lesion)

    @property
    def extent(self) -> float:
        """Share of the lungs' pixels that the lesion covers."""
        return float(self.lesion.sum() / max(1, self.lungs.sum()))


def render(ct: PreparedCT, plan: FilmPlan) -> Film:
    """Take the planned film."""
    patient = draw_patient(np.random.default_rng([plan.seed, 1, plan.patient]), sex=plan.sex, age_years=plan.age_years)
    rng = np.random.default_rng([plan.seed, 2, plan.film])
    if plan.view is View.AP:
        # Taken in bed: less breath, and the heart looks larger even before the shorter distance magnifies it.
        patient = replace(patient, inspiration_mm=patient.inspiration_mm - 7, heart=patient.heart + 0.04)
    site = _site_of_the_day(plan, rng)
    beam = _draw_beam(ct, patient, plan, site, rng)
    tissues, organs = (integrate(stack, beam) for stack in stack_for(ct, plan.view))
    clean = _line_integral(tissues, patient, beam, plan)
    added = _added(ct, plan, beam)
    noise = rng.standard_normal(beam.shape).astype(np.float32)
    exposure = Exposure(site=site, mm_per_px=beam.field.height_mm / beam.shape[0], noise=noise)
    shown, counterfactual = take_film(clean, added, exposure)
    lungs = lung_mask(tissues[:, :, 3], organs[:, :, 1])
    lesion = np.zeros_like(lungs) if added is None else lesion_mask(added, lungs)
    return Film(shown, counterfactual, lungs, lesion, np.zeros_like(clean) if added is None else added)


def lung_mask(lung_mm: Floats, abdomen_mm: Floats) -> Mask:
    """Where lung shows, without specks."""
    lungs = ((lung_mm > LUNG_MM) & (abdomen_mm < ABDOMEN_MM)).astype(np.uint8)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(lungs, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= SPECK_SHARE * lungs.size
    large[0] = False
    return np.asarray(large[pieces])


def lesion_mask(added: Floats, lungs: Mask) -> Mask:
    """Where a lesion counts as visible."""
    return np.asarray((added > max(LESION_LEAST, LESION_SHARE * float(added.max()))) & lungs)


def boxes_of(lesion: Mask) -> list[Box]:
    """Tight boxes around the connected pieces of a lesion mask, largest first; specks are left out."""
    return mask_boxes(lesion, least_area_px=max(4.0, LEAST_SHARE * lesion.size))


def _site_of_the_day(plan: FilmPlan, rng: np.random.Generator) -> Site:
    site = jittered(plan.site, rng)
    if plan.view is View.AP:
        site = replace(site, photons=site.photons * 0.5, scatter=site.scatter * 1.4)
    if plan.view is View.LATERAL:
        site = replace(site, photons=site.photons * 4, scatter=site.scatter * 0.5, toe=site.toe * 0.4)
    if plan.underexposed:
        site = replace(site, exposure=site.exposure * UNDEREXPOSED)
    return site


def _draw_beam(ct: PreparedCT, patient: Patient, plan: FilmPlan, site: Site, rng: np.random.Generator) -> Beam:
    yaw, pitch, roll = (float(rng.normal(0, deviation)) for deviation in POSE_DEGREES[plan.view])
    pose = Pose(yaw=yaw, pitch=pitch, roll=roll)
    bounds = lung_bounds(ct, view=plan.view, patient=patient, pose=pose)
    loose = 1.5 if plan.view is View.AP else 1.0
    aspect = site.aspect * (1.12 if plan.view is View.LATERAL else 1.0)
    field = collimated(bounds, margin_mm=site.margin_mm, aspect=aspect, off_mm=rng.normal(0, 5 * loose, 2))
    height, width = (
        (plan.size_px, round(plan.size_px / aspect)) if aspect >= 1 else (round(plan.size_px * aspect), plan.size_px)
    )
    return Beam(view=plan.view, patient=patient, pose=pose, field=field, shape=(height, width))


def collimated(lungs: Field, *, margin_mm: float, aspect: float, off_mm: NDArray[np.float64]) -> Field:
    """The field around the lungs: margins, then widened to the film's height over width, a little off centre."""
    width = lungs.width_mm + 2 * margin_mm
    height = lungs.height_mm + 1.45 * margin_mm
    width, height = max(width, height / aspect), max(height, width * aspect)
    across = sum(lungs.across) / 2 + float(off_mm[0])
    up = sum(lungs.up) / 2 + float(off_mm[1]) + 0.32 * margin_mm
    return Field(across=(across - width / 2, across + width / 2), up=(up - height / 2, up + height / 2))


def _line_integral(tissues: Floats, patient: Patient, beam: Beam, plan: FilmPlan) -> Floats:
    view_number = list(View).index(plan.view)
    rng = np.random.default_rng([plan.seed, 4, plan.patient, view_number])
    mottle = 1 + patient.mottle * _fractal(rng, beam.shape)
    total = patient.soft * tissues[:, :, 0] + patient.bone * tissues[:, :, 1]
    total += patient.aeration * mottle * tissues[:, :, 2]
    return np.asarray(total + _breasts(beam), np.float32)


def _fractal(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """(H, W) noise of deviation about 1 with bumps from a tenth to a hundredth of the film."""
    total = np.zeros(shape, np.float32)
    for share, weight in ((0.06, 0.6), (0.025, 0.5), (0.01, 0.5)):
        smooth = blurred(rng.standard_normal(shape).astype(np.float32), share * max(shape))
        total += weight * smooth / max(float(smooth.std()), 1e-6)
    return total


def _breasts(beam: Beam) -> Floats:
    """Attenuation of two rounded pads with a crisp lower edge; on a lateral film, of one in front of the chest."""
    patient, (rows, columns) = beam.patient, beam.shape
    if patient.breast_mm < 2 or beam.view is View.LATERAL:
        return np.zeros(beam.shape, np.float32)
    u = np.linspace(*beam.field.across, columns, dtype=np.float32)[None]
    v = np.linspace(*beam.field.up[::-1], rows, dtype=np.float32)[:, None]
    radius = BREAST_RADIUS_MM * (0.8 + patient.breast_mm / 110)
    total = np.zeros(beam.shape, np.float32)
    for side in (-1, 1):
        du, dv = u - side * BREAST_MM[0] * patient.width, v - BREAST_MM[1] * patient.height
        squared = (du / radius) ** 2 + (dv / np.where(dv < 0, radius * 0.85, radius * 1.5)) ** 2
        total += np.sqrt(np.maximum(0, 1 - squared)) * np.where(dv < 0, 1, np.exp(-((dv / (radius * 0.9)) ** 2)))
    return np.asarray(cv2.GaussianBlur(total, (0, 0), 1.5) * patient.breast_mm * WATER, np.float32)


def _added(ct: PreparedCT, plan: FilmPlan, beam: Beam) -> Floats | None:
    """Line integral the disease adds; every film of a patient shows the same disease."""
    rng = np.random.default_rng([plan.seed, 3, plan.patient])
    disease = draw_disease(ct.lungs, plan.label, rng, plan.severity) if plan.lesions else None
    if disease is None:
        return None
    stack = disease_stack(ct.lungs, disease, lateral=plan.view is View.LATERAL)
    return np.ascontiguousarray(integrate(stack, beam)[:, :, 0])

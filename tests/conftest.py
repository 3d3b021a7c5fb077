"""What every test may ask for: the real films where they are, and a cache of the test's own."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache; the prepared CT alone is shared, because it takes a minute to make."""
    if "HILUM_TEST_CACHE" not in os.environ:
        monkeypatch.setenv("HILUM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def data_pack() -> Path:
    """The folder of real films beside the checkout; the test skips where it is absent."""
    root = Path(os.environ.get("HILUM_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "sandrofab" / "index.csv").is_file():
        pytest.skip(f"needs the real films, which are not at {root} (set HILUM_DATA)")
    return root

"""What every test may ask for: the real films where they are, drawn films and a run on them, a cache of its own."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.index import Index, build_index
from hilum.records import Radiograph

from .calling import Call, Told, status_of_main


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache; the prepared CT alone is shared, because it takes a minute to make."""
    if "HILUM_TEST_CACHE" not in os.environ:
        monkeypatch.setenv("HILUM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def hilum(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls the command in this process; whatever the call, there is no traceback."""

    def call(*words: object) -> Told:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["hilum", *map(str, words)])
        told = Told(status_of_main(), *capsys.readouterr())
        assert "Traceback" not in told.out + told.err
        return told

    return call


@pytest.fixture(autouse=True, scope="session")
def runs_without_exports() -> Iterator[None]:
    """Exporting a network takes seconds: runs made in tests leave it out, but for the test that is about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hilum.run.training.try_export", lambda _folder: {})
        yield


@pytest.fixture(scope="session")
def data_pack() -> Path:
    """The folder of real films beside the checkout; the test skips where it is absent."""
    root = Path(os.environ.get("HILUM_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "sandrofab" / "index.csv").is_file():
        pytest.skip(f"needs the real films, which are not at {root} (set HILUM_DATA)")
    return root


TINY_RECIPE = """\
title = "Drawn films"

[classes]
patch = ["patch"]
plain = ["plain"]

[split]
method = "kfold"
folds = 3
tune = 0.25

[preprocess]
size_px = 64

[network]
backbone = "test_resnet"
weights = "random"
pooling = "grid3"

[schedule]
optimiser = "lbfgs"
weight_decay = 0.1
epochs = 6

[judgement]
resamples = 100
"""
"""A frozen, random, tiny network on drawn films: the whole way in a second."""


def draw_film(path: Path, *, patch: bool, seed: int, side: int = 80) -> None:
    """A film that looks like no other; with a patch, its upper left has a bright square."""
    rng = np.random.default_rng(seed)
    film = cv2.resize(rng.random((9, 9)), (side, side), interpolation=cv2.INTER_CUBIC) * 0.4 + 0.25
    if patch:
        top, left = rng.integers(side // 10, side // 4, 2)
        film[top : top + side // 4, left : left + side // 4] = 0.97
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.rint(np.clip(film, 0, 1) * 255).astype(np.uint8))


def drawn_index(root: Path, films: int, *, first_seed: int = 0, source: str = "drawn") -> Index:
    """Half of the films with a patch; every third patient has two films."""
    records = []
    for number in range(films):
        patient, patch = number - (number % 6 == 5), number // 2 % 2 == 0
        patch = patch if number % 6 != 5 else (number - 1) // 2 % 2 == 0
        path = root / source / f"film-{number:03d}.png"
        draw_film(path, patch=patch, seed=first_seed + number)
        records.append(
            Radiograph(
                image_id=f"{source}/{number:03d}",
                source=source,
                path=path,
                patient_id=f"p{first_seed + patient}",
                labels={"patch": patch, "plain": not patch},
            )
        )
    return build_index(records, root, processes=1)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """48 drawn films with and without a bright patch, indexed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HILUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        return drawn_index(tmp_path_factory.mktemp("films"), 48)


@pytest.fixture(scope="session")
def tiny_recipe() -> str:
    """TOML of a recipe that `drawn` can be trained with in a second."""
    return TINY_RECIPE


@pytest.fixture(scope="session")
def draw_index() -> Callable[..., Index]:
    """Draws and indexes other films: `draw_index(root, films, first_seed=1000)`."""
    return drawn_index


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, drawn: Index) -> Path:
    """The folder of a finished run on `drawn`; not to be changed."""
    pytest.importorskip("torch", reason="needs the extra hilum[train]")
    from hilum.run import train_run

    out = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HILUM_CACHE", str(tmp_path_factory.mktemp("cache")))
        train_run(TINY_RECIPE, None, out, given=drawn, processes=1)
    return out

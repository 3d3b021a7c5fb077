"""An untrained classifier with its export, and a segmentation network with weights in half precision."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.drawers import untrained

from hilum.bundle import Bundle, save_bundle, save_segmenter
from hilum.bundle.format import digest_without_notes
from hilum.engine import ENGINES, read_export
from hilum.engine.trials import limits
from hilum.evaluate import OperatingPoint
from hilum.files import write_json
from hilum.recipe import parse_recipe

Frames = NDArray[np.uint8]


@pytest.fixture(scope="session")
def exported(tiny_recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of an untrained classifier of two levels with two thresholds, exported; not to be changed."""
    pytest.importorskip("onnxscript", reason="needs the extra hilum[train]")
    import torch

    from hilum.bundle.exporting import export_bundle
    from hilum.engine.eager import TorchEngine
    from hilum.networks import build_classifier

    recipe = parse_recipe(tiny_recipe)
    told = recipe.network.model_copy(update={"backbone": "test_efficientnet", "level": (-1, -2)})
    torch.manual_seed(1)
    network, _ = build_classifier(told, recipe.preprocess, classes=2)
    first = recipe.class_names[0]
    bundle = Bundle(
        title=recipe.title,
        classes=recipe.class_names,
        recipe=recipe.model_copy(update={"network": told}),
        preprocess=recipe.preprocess.model_copy(update={"mean": (0.5,) * 3, "std": (0.25,) * 3}),
        engine=TorchEngine(network),
        temperature=0.2,
        operating_points=tuple(
            OperatingPoint(label=first, name=name, threshold=at) for name, at in (("youden", 0.5), ("high", 0.6))
        ),
    )
    folder = tmp_path_factory.mktemp("engines") / "bundle"
    save_bundle(bundle, folder)
    export_bundle(folder)
    return folder


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def halved(tmp_path_factory: pytest.TempPathFactory, drawn_frames: Frames) -> Path:
    """The bundle of an untrained segmentation network of two labels in half precision, exported; not to be changed."""
    pytest.importorskip("onnxscript", reason="needs the extra hilum[train]")
    from hilum.bundle.exporting import export_bundle

    bundle = untrained("lungs", "heart")
    scaled = bundle.preprocess.model_copy(update={"mean": (0.5,), "std": (0.25,)})
    folder = tmp_path_factory.mktemp("engines") / "bundle"
    save_segmenter(replace(bundle, preprocess=scaled), folder, halved_on=drawn_frames[:2])
    export_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def drawn_frames() -> Frames:
    """(20, 64, 64): blocks of grey, no two frames alike."""
    rng = np.random.default_rng(5)
    return rng.integers(0, 255, (20, 8, 8), np.uint8).repeat(8, 1).repeat(8, 2)


@pytest.fixture
def passing_record() -> Callable[[Path], None]:
    """Writes a record beside a bundle that lets it run in bfloat16."""

    def write(folder: Path) -> None:
        digest = digest_without_notes(folder)
        trial = {"largest": 0.004, "median": 0.001, "flips": 0, "pixels_flipped": None, "largest_share": None}
        told = {
            "format": 1,
            "bundle": digest,
            "network": read_export(folder, digest).network,
            "checked_on": {"films": 120, "digest": "0" * 64, "named": "drawn frames"},
            "trials": {"openvino-bf16": trial | {"selftest": 0.05, "ms": 1.0, "processor_ms": 1.0, "passed": True}},
            "limits": limits(),
            "versions": {},
            "processor": "any",
            "instructions": [],
            "threads": 1,
        }
        write_json(folder / ENGINES, told)

    return write

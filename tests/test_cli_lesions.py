"""`hilum lesions` as a user meets it, with untrained bundles."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from hilum.bundle import SegmenterBundle, load_segmenter, released_names, save_segmenter
from hilum.cli.lesions import lesions
from hilum.engine.eager import TorchEngine
from hilum.lesions import LESIONS
from hilum.networks.segmentation import build_segmenter
from hilum.preprocess import Preprocess
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.records import DISCLAIMER

app = typer.Typer()
app.command()(lesions)


def untrained(folder: Path) -> Path:
    """A bundle that draws anything."""
    plain = Preprocess(size_px=64, channels=1)
    recipe = SegmentationRecipe(
        title="Untrained", labels=LESIONS, network="unet-1", encoder=None, weights="random", preprocess=plain
    )
    torch.manual_seed(0)
    network = build_segmenter("unet-1", encoder=None, weights="random", channels=1, labels=len(LESIONS))
    save_segmenter(SegmenterBundle("Untrained", LESIONS, recipe, plain, TorchEngine(network), 0.5), folder)
    return folder


def chest(path: Path) -> Path:
    """A drawn chest: bright body, two dark lungs, a heart, a spine, the dark outside."""
    y, x = np.mgrid[0:1:300j, 0:1:320j]
    film = 0.62 * (((x - 0.5) / 0.46) ** 4 + ((y - 0.6) / 0.62) ** 4 < 1)
    for column in (0.3, 0.7):
        film = film - 0.45 * (((x - column) / 0.15) ** 2 + ((y - 0.48) / 0.33) ** 2 < 1)
    film = film + 0.25 * (((x - 0.56) / 0.13) ** 2 + ((y - 0.66) / 0.14) ** 2 < 1) + 0.15 * (abs(x - 0.5) < 0.04)
    film = cv2.GaussianBlur(np.clip(film, 0, 1), (0, 0), 4) + np.random.default_rng(0).normal(0, 0.01, film.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.rint(255 * np.clip(film, 0, 1)).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def anything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two films of one name in two folders, and one that is cut short."""
    for name in ("a/x.png", "b/x.png"):
        chest(tmp_path / "films" / name)
    broken = tmp_path / "films" / "b" / "y.png"
    broken.write_bytes((tmp_path / "films" / "a" / "x.png").read_bytes()[:500])
    return tmp_path / "films"


def run(*told: Any) -> Any:
    return CliRunner().invoke(app, [str(one) for one in told])


def test_a_table_masks_boxes_overlays_and_the_refused_named(films: Path, anything: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = ("--boxes", "--overlay", "--no-gate", "--processes", 1)
    told = run(films, "--out", out, "--bundle", anything, *more)
    assert told.exit_code == 3, told.output
    assert "3 films: 2 drawn" in told.output
    assert DISCLAIMER in told.output
    assert "refused truncated: y.png" in told.output
    rows = list(csv.DictReader((out / "lesions.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["x", "x-2", "y"]
    assert {row["bundle"] for row in rows} == {load_segmenter(anything).digest}
    masks = {f"{name}-{label}.png" for name in ("x", "x-2") for label in LESIONS}
    assert {file.name for file in (out / "masks").iterdir()} == masks
    assert {file.name for file in (out / "overlays").iterdir()} == {"x.png", "x-2.png"}
    assert {file.name for file in (out / "boxes").iterdir()} == {"x.txt", "x-2.txt", "classes.txt", "boxes.csv"}
    assert (out / "boxes" / "classes.txt").read_text() == "ggo\nconsolidation\n"


def test_json_is_all_there_is_on_standard_output(films: Path, anything: Path, tmp_path: Path) -> None:
    told = run(films / "a", "--out", tmp_path / "out", "--bundle", anything, "--json", "--no-gate")
    assert told.exit_code == 0
    (one,) = json.loads(told.stdout)
    assert one["bundle"] == load_segmenter(anything).digest
    assert one["film"].endswith("x.png")
    assert 0 <= one["shares"]["involved_both"] <= 1
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"lesions.csv", "masks"}


@pytest.mark.skipif("lesions" not in released_names(), reason="the bundle of lesions is not in this checkout")
def test_the_bundle_that_comes_with_hilum_finds_what_radiologists_drew(data_pack: Path, tmp_path: Path) -> None:
    """It was trained on these films: what is shown is that film, frame and mask lie on one another."""
    from hilum.lesions import segment_lesions
    from hilum.masks import read_mask
    from hilum.overlap import region_dice

    masks = sorted((data_pack / "covid_seg" / "masks" / "ggo").glob("*.png"))[::15]
    films = [next((data_pack / "covid_seg" / "images").glob(f"{mask.stem}.*")) for mask in masks]
    told = []
    for mask, found in zip(masks, segment_lesions(films, processes=1), strict=True):
        assert found.size is not None
        told.append(region_dice(found.masks["ggo"], read_mask(mask, found.size)) or 0.0)
    assert np.median(told) > 0.5

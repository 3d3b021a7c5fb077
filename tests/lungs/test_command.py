"""`hilum lungs` as a user meets it, and the bundle that comes with hilum."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from hilum.bundle import SegmenterBundle, load_segmenter, released, save_segmenter
from hilum.cli import main
from hilum.engine.eager import TorchEngine
from hilum.errors import BundleError
from hilum.lungs import heart_bundle, lungs_bundle, segment_lungs
from hilum.networks.segmentation import build_segmenter
from hilum.preprocess import Preprocess
from hilum.projection import ViewFilter
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.records import DISCLAIMER


def untrained(folder: Path, label: str = "lungs") -> Path:
    """A bundle that draws anything."""
    plain = Preprocess(size_px=64, channels=1)
    recipe = SegmentationRecipe(
        title="Untrained", labels=(label,), network="unet-1", encoder=None, weights="random", preprocess=plain
    )
    torch.manual_seed(0)
    network = build_segmenter("unet-1", encoder=None, weights="random", channels=1, labels=1)
    save_segmenter(SegmenterBundle("Untrained", (label,), recipe, plain, TorchEngine(network), 0.5), folder)
    return folder


def chest(path: Path) -> Path:
    """A drawn chest: bright body, two dark lungs, a heart, a spine, the dark outside."""
    y, x = np.mgrid[0:1:300j, 0:1:320j]
    film = 0.62 * (((x - 0.5) / 0.46) ** 4 + ((y - 0.6) / 0.62) ** 4 < 1)
    for column in (0.3, 0.7):
        film = film - 0.45 * (((x - column) / 0.15) ** 2 + ((y - 0.48) / 0.33) ** 2 < 1)
    film = film + 0.25 * (((x - 0.56) / 0.13) ** 2 + ((y - 0.66) / 0.14) ** 2 < 1) + 0.15 * (abs(x - 0.5) < 0.04)
    film = cv2.GaussianBlur(np.clip(film, 0, 1), (0, 0), 4) + np.random.default_rng(0).normal(0, 0.01, film.shape)
    cv2.imwrite(str(path), np.rint(255 * np.clip(film, 0, 1)).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def anything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    chest(folder / "a.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:500])
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *told: Any) -> int:
    monkeypatch.setattr(sys, "argv", ["hilum", "lungs", *map(str, told)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_mask_a_film_a_table_and_the_refused_named(
    films: Path, anything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(monkeypatch, films, "--out", out, "--bundle", anything, "--overlay", "--no-gate") == 3
    told = capsys.readouterr()
    assert "2 films: 1 drawn" in told.out
    assert DISCLAIMER in told.out
    assert "refused truncated: broken.png" in told.err
    rows = list(csv.DictReader((out / "lungs.csv").read_text().splitlines()))
    assert [row["mask"] for row in rows] == ["masks/a.png", ""]
    mask = cv2.imread(str(out / "masks" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (300, 320)
    assert set(np.unique(mask)) <= {0, 255}
    assert [file.name for file in (out / "overlays").iterdir()] == ["a.png"]


def test_json_is_all_there_is_on_standard_output(
    films: Path, anything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (films / "a.png", "--out", tmp_path / "out", "--bundle", anything, "--json", "--sides", "--no-gate")
    status = run(monkeypatch, *asked)
    (told,) = json.loads(capsys.readouterr().out)
    assert status == 0
    assert told["bundle"] == load_segmenter(anything).digest
    assert 0 <= told["area_share"] <= 1
    mask = cv2.imread(str(tmp_path / "out" / "masks" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(mask)) <= {0, 1, 2}


def test_the_view_filter_refuses_what_is_no_film_of_a_chest(
    films: Path, anything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The drawn chest is a cartoon to the filter that comes with hilum."""
    assert run(monkeypatch, films, "--out", tmp_path / "out", "--bundle", anything, "--overlay") == 3
    told = capsys.readouterr()
    assert "2 films: 0 drawn" in told.out
    assert "refused not applicable: a.png looks like no chest radiograph" in told.err
    assert not (tmp_path / "out" / "masks").exists()
    assert not (tmp_path / "out" / "overlays").exists()


def test_with_heart_every_film_drawn_has_a_ratio_or_a_reason(
    films: Path, anything: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawer = heart_bundle(untrained(tmp_path / "heart", "cardiomediastinum"))
    monkeypatch.setattr("hilum.lungs.job.heart_bundle", lambda **_: drawer)
    asked = (films, "--out", tmp_path / "out", "--bundle", anything, "--heart", "--overlay", "--no-gate")
    assert run(monkeypatch, *asked) == 3
    rows = list(csv.DictReader((tmp_path / "out" / "lungs.csv").read_text().splitlines()))
    assert [bool(row["cardiothoracic_ratio"]) != bool(row["no_ratio"]) for row in rows] == [True, False]
    assert [row["heart_bundle"] for row in rows] == [drawer.digest, ""]


def test_a_bundle_that_draws_no_heart_is_refused(anything: Path) -> None:
    with pytest.raises(BundleError, match=r"draws lungs; a bundle with the label 'cardiomediastinum' is needed"):
        heart_bundle(anything)


def test_a_bundle_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"draws heart; a bundle with the one label 'lungs' is needed"):
        lungs_bundle(untrained(tmp_path / "heart", "heart"))


def test_the_bundle_that_comes_with_hilum_is_small_checks_itself_and_knows_a_drawn_chest(tmp_path: Path) -> None:
    folder = released("lungs")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 15_000_000
    bundle = lungs_bundle()
    assert bundle.stored == "float16"
    assert bundle.agreement is not None
    assert bundle.agreement.pixels_changed < 1e-3
    assert {figure.training for figure in bundle.figures} >= {"this"}
    (found,) = segment_lungs([chest(tmp_path / "chest.png")], bundle=bundle)
    assert found.right is not None
    assert found.left is not None
    assert found.right[:, :160].sum() > 0.9 * found.right.sum() > 0
    assert found.left[:, 160:].sum() > 0.9 * found.left.sum() > 0
    assert 0.15 < found.measures["area_share"] < 0.6


def test_the_bundle_that_comes_with_hilum_draws_a_film_s_lungs_as_v7_did(data_pack: Path) -> None:
    """Films of groups it was not trained on; the middle one, for three of these masks were drawn on other cuts."""
    from hilum.masks import read_mask
    from hilum.overlap import region_dice

    masks = sorted((data_pack / "covid_seg" / "masks" / "lungs_v7").glob("*.png"))[:90:13]
    films = [next((data_pack / "covid_seg" / "images").glob(f"{mask.stem}.*")) for mask in masks]
    told = []
    for mask, found in zip(masks, segment_lungs(films), strict=True):
        assert found.both is not None
        told.append(region_dice(found.both, read_mask(mask, (found.both.shape[0], found.both.shape[1]))) or 0.0)
    assert np.median(told) > 0.94


def test_laterals_and_slices_get_no_lungs_and_frontal_films_do(data_pack: Path) -> None:
    table = pd.read_csv(data_pack / "covid_chestxray" / "index.csv")
    wanted = [table[table["projection"] == kind]["file"].iloc[:4] for kind in ("frontal", "lateral", "ct_slice")]
    films = [data_pack / file for files in wanted for file in files]
    found = list(segment_lungs(films, gate=ViewFilter()))
    assert [one.refusal is None for one in found] == [True] * 4 + [False] * 8
    assert all("looks like a lateral film" in (one.refusal or "") for one in found[4:8])
    assert all("looks like no chest radiograph" in (one.refusal or "") for one in found[8:])

"""`hilum lungs` as a user meets it, and the bundle that comes with hilum."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from tests.calling import Call
from tests.drawers import chest, drawer

from hilum.bundle import load_segmenter, released
from hilum.errors import BundleError
from hilum.lungs import heart_bundle, lungs_bundle, segment_lungs
from hilum.projection import ViewFilter
from hilum.records import DISCLAIMER


@pytest.fixture(scope="module")
def anything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawer(tmp_path_factory.mktemp("bundle"), "lungs")


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    chest(folder / "a.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:500])
    return folder


def test_a_mask_a_film_a_table_and_the_refused_named(films: Path, anything: Path, tmp_path: Path, hilum: Call) -> None:
    out = tmp_path / "out"
    told = hilum("lungs", films, "--out", out, "--bundle", anything, "--overlay", "--no-gate")
    assert told.status == 3
    assert "2 films: 1 drawn" in told.out
    assert DISCLAIMER in told.out
    assert "refused truncated: broken.png" in told.err
    rows = list(csv.DictReader((out / "lungs.csv").read_text().splitlines()))
    assert [row["mask"] for row in rows] == ["masks/a.png", ""]
    mask = cv2.imread(str(out / "masks" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (300, 320)
    assert set(np.unique(mask)) <= {0, 255}
    assert [file.name for file in (out / "overlays").iterdir()] == ["a.png"]


def test_json_is_all_there_is_on_standard_output(films: Path, anything: Path, tmp_path: Path, hilum: Call) -> None:
    asked = (films / "a.png", "--out", tmp_path / "out", "--bundle", anything, "--json", "--sides", "--no-gate")
    called = hilum("lungs", *asked)
    (told,) = json.loads(called.out)
    assert called.status == 0
    assert told["bundle"] == load_segmenter(anything).digest
    assert 0 <= told["area_share"] <= 1
    mask = cv2.imread(str(tmp_path / "out" / "masks" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(mask)) <= {0, 1, 2}


def test_the_view_filter_refuses_what_is_no_film_of_a_chest(
    films: Path, anything: Path, tmp_path: Path, hilum: Call
) -> None:
    """The drawn chest is a cartoon to the filter that comes with hilum."""
    told = hilum("lungs", films, "--out", tmp_path / "out", "--bundle", anything, "--overlay")
    assert told.status == 3
    assert "2 films: 0 drawn" in told.out
    assert "refused not applicable: a.png looks like no chest radiograph" in told.err
    assert not (tmp_path / "out" / "masks").exists()
    assert not (tmp_path / "out" / "overlays").exists()


def test_with_heart_every_film_drawn_has_a_ratio_or_a_reason(
    films: Path, anything: Path, tmp_path: Path, hilum: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    heart = heart_bundle(drawer(tmp_path / "heart", "cardiomediastinum"))
    monkeypatch.setattr("hilum.lungs.job.heart_bundle", lambda **_: heart)
    asked = (films, "--out", tmp_path / "out", "--bundle", anything, "--heart", "--overlay", "--no-gate")
    assert hilum("lungs", *asked).status == 3
    rows = list(csv.DictReader((tmp_path / "out" / "lungs.csv").read_text().splitlines()))
    assert [bool(row["cardiothoracic_ratio"]) != bool(row["no_ratio"]) for row in rows] == [True, False]
    assert [row["heart_bundle"] for row in rows] == [heart.digest, ""]


def test_a_bundle_that_draws_no_heart_is_refused(anything: Path) -> None:
    with pytest.raises(BundleError, match=r"draws lungs; a bundle with the label 'cardiomediastinum' is needed"):
        heart_bundle(anything)


def test_a_bundle_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"draws heart; a bundle with the one label 'lungs' is needed"):
        lungs_bundle(drawer(tmp_path / "heart", "heart"))


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

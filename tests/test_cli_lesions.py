"""`hilum lesions` as a user meets it, with untrained bundles."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from hilum.bundle import load_segmenter, released_names
from hilum.lesions import LESIONS
from hilum.records import DISCLAIMER

from .calling import Call
from .drawers import chest, drawer


@pytest.fixture(scope="module")
def anything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawer(tmp_path_factory.mktemp("bundle"), *LESIONS)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two films of one name in two folders, and one that is cut short."""
    for name in ("a/x.png", "b/x.png"):
        chest(tmp_path / "films" / name)
    broken = tmp_path / "films" / "b" / "y.png"
    broken.write_bytes((tmp_path / "films" / "a" / "x.png").read_bytes()[:500])
    return tmp_path / "films"


def test_a_table_masks_boxes_overlays_and_the_refused_named(
    films: Path, anything: Path, tmp_path: Path, hilum: Call
) -> None:
    out = tmp_path / "out"
    more = ("--boxes", "--overlay", "--no-gate", "--processes", 1)
    told = hilum("lesions", films, "--out", out, "--bundle", anything, *more)
    assert told.status == 3, told.err
    assert "3 films: 2 drawn" in told.out
    assert DISCLAIMER in told.out
    assert "refused truncated: y.png" in told.err
    rows = list(csv.DictReader((out / "lesions.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["x", "x-2", "y"]
    assert {row["bundle"] for row in rows} == {load_segmenter(anything).digest}
    masks = {f"{name}-{label}.png" for name in ("x", "x-2") for label in LESIONS}
    assert {file.name for file in (out / "masks").iterdir()} == masks
    assert {file.name for file in (out / "overlays").iterdir()} == {"x.png", "x-2.png"}
    assert {file.name for file in (out / "boxes").iterdir()} == {"x.txt", "x-2.txt", "classes.txt", "boxes.csv"}
    assert (out / "boxes" / "classes.txt").read_text() == "ggo\nconsolidation\n"


def test_json_is_all_there_is_on_standard_output(films: Path, anything: Path, tmp_path: Path, hilum: Call) -> None:
    told = hilum("lesions", films / "a", "--out", tmp_path / "out", "--bundle", anything, "--json", "--no-gate")
    assert told.status == 0
    (one,) = json.loads(told.out)
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

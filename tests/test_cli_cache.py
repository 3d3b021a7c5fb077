"""`hilum cache` as a user meets it: what it decodes is what training looks for."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from hilum.cache import FrameCache
from hilum.cli.cache import cache
from hilum.index import Index
from hilum.recipe import parse_recipe
from hilum.run.films import choose_films

app = typer.Typer()
app.command()(cache)


def run(*words: Any) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture
def recipe(tiny_recipe: str, tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(tiny_recipe)
    return tmp_path / "tiny.toml"


@pytest.fixture
def index(drawn: Index, tmp_path: Path) -> Path:
    """48 films; two are left out, and one shows what another shows."""
    left = drawn.leave_out(drawn.table["image_id"].isin(["drawn/003", "drawn/004"]), "made up: not wanted")
    left.table.loc[5, "sha256"] = left.table.loc[6, "sha256"]
    left.table.loc[5, "path"] = left.table.loc[6, "path"]
    left.save(tmp_path / "index.parquet")
    return tmp_path / "index.parquet"


def test_films_are_decoded_once_and_found_by_training(index: Path, recipe: Path, tiny_recipe: str) -> None:
    told = run(index, "--recipe", recipe, "--processes", 1)
    assert told.exit_code == 0, told.output
    words = " ".join(told.stdout.split())
    assert "45 films: 45 decoded, 0 known before; 0.2 MB of 64-pixel frames in" in words
    assert "2 made up" in " ".join(told.stderr.split())
    wanted = parse_recipe(tiny_recipe)
    chosen = choose_films(Index.load(index), wanted)
    assert FrameCache(wanted.preprocess).fill(chosen.films, chosen.root, processes=1) == 0
    again = json.loads(run(index, "--recipe", recipe, "--json").stdout)
    assert {name: again[name] for name in ("films", "made", "known", "bytes")} == {
        "films": 45,
        "made": 0,
        "known": 45,
        "bytes": 45 * 64 * 64,
    }
    assert (Path(again["folder"]) / "rows.bin").stat().st_size == again["bytes"]


def test_another_preprocessing_makes_other_frames(index: Path, recipe: Path) -> None:
    run(index, "--recipe", recipe, "--processes", 1)
    told = json.loads(run(index, "--recipe", recipe, "--set", "preprocess.size_px=32", "--json").stdout)
    assert (told["made"], told["size_px"]) == (45, 32)


def test_films_are_found_where_they_have_moved(index: Path, recipe: Path, drawn: Index, tmp_path: Path) -> None:
    shutil.copytree(drawn.root, tmp_path / "moved")
    lost = Index.load(index, root=tmp_path / "nowhere")
    lost.save(index)
    told = run(index, "--recipe", recipe, "--root", tmp_path / "moved", "--json", "--processes", 1)
    assert json.loads(told.stdout)["made"] == 45


def test_lungs_are_drawn_where_the_recipe_asks_for_them(
    index: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where training has them drawn; other tests look at what is drawn."""
    lung = np.zeros((80, 80), np.uint8)
    lung[20:60, 20:60] = 255
    cv2.imwrite(str(tmp_path / "lung.png"), lung)

    def drawn(chosen: Index, **_: Any) -> Index:
        masks = chosen.table["lung_mask"].fillna(str(tmp_path / "lung.png"))
        there = Index(table=chosen.table.assign(lung_mask=masks), root=chosen.root)
        return there.leave_out(there.table["image_id"] == "drawn/000", "no lung could be drawn")

    monkeypatch.setattr("hilum.run.films.drawn_films", drawn)
    made = ("--set", "preprocess.lungs=only", "--set", "preprocess.masks=made")
    told = run(index, "--recipe", recipe, *made, "--json", "--processes", 1)
    assert json.loads(told.stdout)["made"] == 44

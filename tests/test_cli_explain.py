"""The command `hilum explain`: what it writes, says and refuses."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from hilum.cli.explain import explain
from hilum.errors import DataError, UsageError
from hilum.index import Index

app = typer.Typer()
app.command()(explain)


def _run(*told: object, code: int = 0) -> str:
    ran = CliRunner().invoke(app, [*map(str, told), "--processes", "1"], catch_exceptions=False)
    assert ran.exit_code == code, ran.output
    return ran.stdout


def test_films_are_explained_into_a_folder(finished: Path, drawn: Index, tmp_path: Path) -> None:
    films = [drawn.path(path) for path in drawn.films["path"][:3]]
    said = _run(finished, films[0], *films, "--no-gate", "--check", "1", "--out", tmp_path)
    assert "With the head's weights drawn again" in said
    assert "not a diagnostic device" in said
    assert len(list((tmp_path / "overlays").glob("*.png"))) == 3  # the film named twice counts once
    assert {"explanations.csv", "explanations.json", "explanations.html"} <= {path.name for path in tmp_path.iterdir()}


def test_without_films_those_of_the_run_are_explained(finished: Path, tmp_path: Path) -> None:
    told = json.loads(_run(finished, "--no-lungs", "--each", "1", "--check", "0", "--json", "--out", tmp_path))
    assert "not kept" in told["notes"][0]
    assert {row["kind"] for row in told["explanations"]} >= {"confident right", "borderline"}
    assert all(row["lungs_area"] is None for row in told["explanations"])


def test_a_label_and_a_method_can_be_asked_for(finished: Path, drawn: Index, tmp_path: Path) -> None:
    film = drawn.path(drawn.films["path"].iloc[0])
    asked = ("--label", "plain", "--label", "patch", "--method", "eigen-cam", "--no-lungs", "--no-gate", "--check", "0")
    rows = json.loads(_run(finished, film, *asked, "--json", "--out", tmp_path))["explanations"]
    assert [(row["label"], row["method"]) for row in rows] == [("plain", "eigen-cam"), ("patch", "eigen-cam")]


def test_refused_films_end_in_exit_status_3(finished: Path, drawn: Index, tmp_path: Path) -> None:
    # The gate sees that a drawn film is no chest radiograph.
    film = drawn.path(drawn.films["path"].iloc[0])
    said = _run(finished, film, "--out", tmp_path, code=3)
    assert "0 maps, 1 films refused" in said
    assert not (tmp_path / "overlays").exists()


def test_a_bundle_without_a_run_needs_films(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name films"):
        _run(finished / "bundle", "--out", tmp_path)


def test_missing_films_are_told(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        _run(finished, tmp_path / "nothing", "--out", tmp_path)


def test_a_released_bundle_is_explained_by_its_name(data_pack: Path, tmp_path: Path) -> None:
    films = sorted((data_pack / "covid_chestxray" / "images" / "frontal").glob("*.jpg"))[:2]
    said = _run("covid19-frontal", *films, "--no-gate", "--check", "0", "--json", "--lesions", "--out", tmp_path)
    told = json.loads(said)
    for row in told["explanations"]:
        assert row["refused"] is None
        assert 0 <= row["seen_top"] < row["seen_bottom"]
        assert 0.3 < row["lungs_area"] < 0.95, "of the box of the lungs, not of the film"
    assert "of the box that the network sees" in " ".join(told["notes"])
    assert "drawn by hilum's own network" in " ".join(told["notes"])


def test_an_unknown_name_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="covid19-frontal"):
        _run("covid19-fronta", tmp_path, "--out", tmp_path)


def test_lesion_masks_of_a_folder_are_held_against_maps(finished: Path, drawn: Index, tmp_path: Path) -> None:
    film = drawn.path(drawn.films["path"].iloc[0])
    mask = np.zeros((80, 80), np.uint8)
    mask[:40] = 255
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / f"{film.stem}.png"), mask)
    asked = ("--lesion-masks", tmp_path / "masks", "--no-lungs", "--no-gate", "--check", "0", "--json")
    (row,) = json.loads(_run(finished, film, *asked, "--out", tmp_path / "out"))["explanations"]
    assert row["lesions_drawn_by"] is None
    assert row["no_map"] or row["lesions_area"] == 0.5

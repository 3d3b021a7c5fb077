"""Commands and predictions on a cluster are those of this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hilum.cli import app
from hilum.cluster import plan_at, run_parts
from hilum.index import Index
from hilum.parts import listed, part_rows, plan_parts
from hilum.parts import run_parts as run_here
from hilum.predict_job import PredictJob


def test_an_index_made_on_a_cluster_is_the_same(
    cluster: Any, drawn: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {}
    for name, more in {"local": [], "ray": ["--engine", "ray", "--address", cluster.address]}.items():
        monkeypatch.setenv("HILUM_CACHE", str(tmp_path / f"cache-{name}"))
        out = tmp_path / f"{name}.parquet"
        done = CliRunner().invoke(app, ["index", "folder", "--root", str(drawn.root), "--out", str(out), *more])
        assert done.exit_code == 0, done.output
        made[name] = Index.load(out)
    assert made["ray"].digest == made["local"].digest
    assert len(made["ray"].films) == 48


def test_an_address_goes_with_ray(drawn: Index, tmp_path: Path) -> None:
    asked = ["index", "folder", "--root", str(drawn.root), "--out", str(tmp_path / "i"), "--address", "auto"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code != 0
    assert "--address goes with --engine ray" in str(done.exception)


@pytest.mark.slow
def test_predictions_are_the_same_to_the_last_bit(
    connection: None, finished: Path, drawn: Index, tmp_path: Path
) -> None:
    job = PredictJob(bundle=finished / "bundle", gate=False)
    films = listed(drawn.path(path) for path in drawn.films["path"])
    here = run_here(job, plan_parts(job, films, tmp_path / "here", films_a_part=32), processes=1)
    there = run_parts(job, plan_at(job, films, str(tmp_path / "there"), (), films_a_part=32))
    assert there == here
    assert list(part_rows(tmp_path / "there")) == list(part_rows(tmp_path / "here"))


def test_frames_decoded_on_a_cluster_are_the_same(
    cluster: Any, drawn: Index, tiny_recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, recipe, frames = tmp_path / "i.parquet", tmp_path / "tiny.toml", []
    drawn.save(index)
    recipe.write_text(tiny_recipe)
    for name, more in {"local": [], "ray": ["--engine", "ray", "--address", cluster.address]}.items():
        monkeypatch.setenv("HILUM_CACHE", str(tmp_path / f"cache-{name}"))
        done = CliRunner().invoke(app, ["cache", str(index), "--recipe", str(recipe), "--json", *more])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["made"] == 48
        (rows,) = (tmp_path / f"cache-{name}").glob("frames/*/rows.bin")
        keys = rows.with_name("keys.txt").read_text().split()
        told = rows.read_bytes()
        frames.append({key: told[place * 4096 : (place + 1) * 4096] for place, key in enumerate(keys)})
    assert frames[0] == frames[1]

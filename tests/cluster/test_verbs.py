"""The commands that take many films do on a cluster what they do on this machine."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from tests.calling import Call
from tests.drawers import drawer
from tests.killing import contents, finish, kill

from hilum.index import Index
from hilum.parts import part_rows

PARTS = {"parts/job.json", *(f"parts/part-{number:06d}.parquet" for number in range(3))}
"""Of ten films, four a part."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.cli.films.FILMS_A_PART", 4)


@pytest.fixture(scope="module")
def films(drawn: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten drawn films; the last is cut short."""
    folder = tmp_path_factory.mktemp("films") / "some films"
    folder.mkdir()
    for place, path in enumerate(drawn.films["path"].tolist()[:10]):
        (folder / f"film-{place}.png").write_bytes(drawn.path(path).read_bytes()[: 300 if place == 9 else None])
    return folder


@pytest.fixture(scope="module")
def lungs_drawer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that draws anything as lungs."""
    return drawer(tmp_path_factory.mktemp("lungs-drawer"), "lungs")


def test_predictions_to_a_folder(
    connection: None, finished: Path, films: Path, tmp_path: Path, hilum: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(films.parent)
    words = ("predict", finished, films.name, "--no-gate", "--engine", "ray", "--out", tmp_path / "out", "--json")
    status, told, said = hilum(*words)
    assert status == 3
    assert [row["film"] for row in json.loads(told)] == [f"{films.name}/film-{place}.png" for place in range(10)]
    assert len(said.splitlines()) == 2, "nothing but progress"
    assert set(contents(tmp_path / "out")) == {"refused.csv", *PARTS}
    with (tmp_path / "out" / "refused.csv").open() as stream:
        (refused,) = list(csv.DictReader(stream))
    assert refused["film"].endswith("film-9.png")
    assert refused["reason"] == list(part_rows(tmp_path / "out"))[9]["refused"]
    again = hilum(*words)
    assert again[:2] == (3, told)
    assert "10 of 10 films were done before" in again[2]


@pytest.mark.slow
def test_a_table_of_predictions_is_the_same(
    connection: None, finished: Path, films: Path, tmp_path: Path, hilum: Call
) -> None:
    words = ("predict", finished, films, "--no-gate", "--annotate")
    here = hilum(*words, tmp_path / "drawn-here", "--processes", 1, "--out", tmp_path / "here.csv")
    there = hilum(*words, tmp_path / "drawn-there", "--engine", "ray", "--out", tmp_path / "there.csv")
    assert there[:2] == (here[0], here[1].replace("here.csv", "there.csv"))
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert contents(tmp_path / "drawn-there") == contents(tmp_path / "drawn-here") != {}
    assert {file.name for file in tmp_path.iterdir()} == {"here.csv", "there.csv", "drawn-here", "drawn-there"}


@pytest.mark.slow
@pytest.mark.parametrize("after", ["a part", "the list"])
def test_the_command_killed_and_begun_again(
    cluster: Any, lungs_drawer: Path, films: Path, tmp_path: Path, after: str
) -> None:
    out, cache = tmp_path / "out", tmp_path / "cache"
    words = ["lungs", str(films), "--no-gate", "--bundle", str(lungs_drawer), "--out"]
    ray = ["--engine", "ray", "--address", cluster.address]
    pattern = "part-*.parquet" if after == "a part" else "part-*.tried"
    assert kill([*words, str(out), *ray], cache, when=lambda: any((out / "parts").glob(pattern)))
    left = [file.name for file in (out / "parts").iterdir()]
    assert "films.parquet" in left
    assert "lock" in left
    status, said = finish([*words, str(out), *ray], cache)
    assert status == 3, said
    assert after != "a part" or "films were done before" in said
    rows = list(part_rows(out))
    assert [Path(row["film"]).name for row in rows] == [f"film-{place}.png" for place in range(10)]
    assert [row["refused"] is None for row in rows] == [True] * 9 + [False]
    status, said = finish([*words, str(tmp_path / "whole")], cache)
    told, whole = contents(out), contents(tmp_path / "whole")
    assert {name for name in told if name not in whole} == PARTS
    assert {name: told[name] for name in whole} == whole


def test_films_and_results_at_urls(connection: None, finished: Path, films: Path, tmp_path: Path, hilum: Call) -> None:
    out = f"file://{tmp_path}/out"
    status, told, _ = hilum("predict", finished, f"file://{films}", "--no-gate", "--engine", "ray", "--out", out)
    assert status == 3
    assert f"a row each in {out}/parts/part-*.parquet" in told
    rows = list(part_rows(tmp_path / "out"))
    assert [row["film"] for row in rows] == [f"file://{films}/film-{place}.png" for place in range(10)]
    assert (tmp_path / "out" / "refused.csv").read_text().count("\n") == 2
    assert set(contents(tmp_path / "out")) == {"refused.csv", *PARTS}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["s3://b/films", "--out", "p.csv"], "s3://b/films is a URL: it goes with --engine ray"),
        (["FILMS", "--out", "s3://b/out"], "s3://b/out is a URL: it goes with --engine ray"),
        (["FILMS", "--engine", "ray"], "with --engine ray say where results go"),
        (["FILMS", "--engine", "ray", "--out", "s3://b/p.csv"], "in a store name a folder"),
        (["FILMS", "--address", "auto", "--out", "p.csv"], "--address goes with --engine ray"),
        (["FILMS", "--engine", "ray", "--out", "p", "--annotate", "s3://b/p"], "--annotate takes a folder"),
        (["FILMS", "--out", "p.csv", "--runtime", "none"], "engine"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    finished: Path,
    films: Path,
    tmp_path: Path,
    hilum: Call,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, told = hilum("predict", finished, *(str(films) if word == "FILMS" else word for word in words))
    assert status == 2
    assert said in told
    assert not list(tmp_path.iterdir())


def test_lungs_are_the_same_to_the_last_byte(
    connection: None, lungs_drawer: Path, films: Path, tmp_path: Path, hilum: Call
) -> None:
    words = ("lungs", films, "--no-gate", "--overlay", "--bundle", lungs_drawer, "--out")
    here = hilum(*words, tmp_path / "here", "--processes", 1)
    there = hilum(*words, tmp_path / "there", "--engine", "ray")
    assert there[:2] == (here[0], here[1].replace("/here/", "/there/"))
    parts = {name: told for name, told in contents(tmp_path / "there").items() if name.startswith("parts/")}
    assert set(parts) == PARTS
    assert contents(tmp_path / "there") == contents(tmp_path / "here") | parts
    assert len(list((tmp_path / "there" / "masks").iterdir())) > 0


def test_the_engine_asked_for_is_used_and_said(finished: Path, films: Path, tmp_path: Path, hilum: Call) -> None:
    words = ("predict", finished, films, "--no-gate", "--processes", 1, "--out", tmp_path / "p.csv")
    status, _, said = hilum(*words, "--runtime", "torch")
    assert status == 3
    assert "engines: classifier torch" in said
    status, _, said = hilum(*words, "--runtime", "onnx")
    assert status == 1
    assert "bundle" in said, "it has no export"

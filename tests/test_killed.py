"""Killed at any moment and begun again, a command ends with what it would have made undisturbed, byte for byte."""

import itertools
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.files import LEFT
from hilum.index import build_index
from hilum.sources import read_folder

from .drawers import drawer
from .killing import contents, finish, kill

FILMS = 26
"""Six parts of four films and one of two; the last film is cut short."""
DELAYS_S = [round(random.Random(5).uniform(0, 2.4) * k / 3, 2) for k in (1, 2, 3)]
"""After the first sign of progress, from which on a whole run takes about three seconds."""


@dataclass(frozen=True)
class Case:
    """A command, what it writes to, what shows its progress, and what it says when it goes on."""

    words: Callable[[Path, Path], list[str]]
    progress: Callable[[Path, Path], bool]
    status: int = 0
    said: str = ""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn films, no two alike."""
    folder = tmp_path_factory.mktemp("drawn") / "films"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number in range(FILMS):
        film = cv2.resize(rng.random((9, 9)), (90, 80), interpolation=cv2.INTER_CUBIC) * 200
        cv2.imwrite(str(folder / f"film-{number:02d}.png"), np.clip(film, 0, 255).astype(np.uint8))
    last = folder / f"film-{FILMS - 1:02d}.png"
    last.write_bytes(last.read_bytes()[:500])
    return folder


@pytest.fixture(scope="module")
def lungs_drawer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that draws anything as lungs."""
    return drawer(tmp_path_factory.mktemp("lungs-drawer"), "lungs")


def remembered(_out: Path, cache: Path) -> bool:
    """Whether facts of films are on disk."""
    try:
        with sqlite3.connect(f"file:{cache / 'facts.sqlite'}?mode=ro", uri=True) as facts:
            return bool(facts.execute("SELECT count(*) FROM facts").fetchone()[0])
    except sqlite3.Error:
        return False


def decoded(_out: Path, cache: Path) -> bool:
    return any(file.stat().st_size for file in cache.glob("frames/*/keys.txt"))


def parted(out: Path, _cache: Path) -> bool:
    return any(out.glob("**/part-*.parquet"))


@pytest.fixture
def case(request: pytest.FixtureRequest, films: Path, tmp_path: Path) -> Case:
    """The command of the name it is asked for."""
    asked = str(request.param)
    if asked == "index":
        return Case(
            lambda out, _: ["index", "folder", "--root", str(films), "--out", str(out / "i.parquet")], remembered
        )
    if asked == "cache":
        index, recipe = tmp_path / "i.parquet", tmp_path / "tiny.toml"
        records = [
            replace(film, labels={"patch": odd, "plain": not odd})
            for film, odd in zip(read_folder(films), itertools.cycle([True, False]), strict=False)
        ]
        build_index(records, films, processes=1).save(index)
        recipe.write_text(request.getfixturevalue("tiny_recipe"))
        return Case(lambda _out, _: ["cache", str(index), "--recipe", str(recipe)], decoded)
    if asked == "predict":
        run = str(request.getfixturevalue("finished"))
        words = ["predict", run, str(films), "--no-gate"]
        return Case(
            lambda out, _: [*words, "--out", str(out / "p.csv"), "--annotate", str(out / "drawn")],
            parted,
            status=3,
            said=f"of {FILMS} films were done before",
        )
    drawer = str(request.getfixturevalue("lungs_drawer"))
    words = ["lungs", str(films), "--no-gate", "--overlay", "--bundle", drawer]
    return Case(lambda out, _: [*words, "--out", str(out)], parted, status=3, said=f"of {FILMS} films were done before")


def told_by(out: Path, cache: Path) -> dict[str, str]:
    """What a command made: files, facts and frames, but for what has times or the order of processes in it."""
    for place in (out, cache):
        left = [file for file in place.rglob("*") if LEFT.fullmatch(file.name) or "parts" in file.name]
        assert not left, "nothing of a run stays but its results"
    told = contents(out) | contents(cache, but=("facts.sqlite", "keys.txt", "rows.bin"))
    for keys in cache.glob("frames/*/keys.txt"):
        told |= _frames(keys)
    return told


def _frames(keys: Path) -> dict[str, str]:
    """Every frame by its film's hash; a film twice, or a row without its film, is seen."""
    names = keys.read_text().split()
    rows = keys.with_name("rows.bin").read_bytes()
    assert len(set(names)) == len(names)
    assert len(rows) % len(names) == 0
    size = len(rows) // len(names)
    return {name: rows[place * size : (place + 1) * size].hex() for place, name in enumerate(names)}


def unkilled(case: Case, place: Path) -> dict[str, str]:
    out, cache = place / "out", place / "cache"
    status, said = finish(case.words(out, cache), cache)
    assert status == case.status, said
    return told_by(out, cache)


@pytest.mark.parametrize(
    "case", ["index", "cache", "predict", pytest.param("lungs", marks=pytest.mark.slow)], indirect=True
)
def test_killed_when_it_first_shows_progress(case: Case, tmp_path: Path) -> None:
    out, cache = tmp_path / "killed" / "out", tmp_path / "killed" / "cache"
    words = case.words(out, cache)
    assert kill(words, cache, when=lambda: case.progress(out, cache))
    status, said = finish(words, cache)
    assert status == case.status, said
    assert case.said in said
    assert told_by(out, cache) == unkilled(case, tmp_path / "unkilled")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["index", "cache", "predict", "lungs"], indirect=True)
def test_killed_again_and_again(case: Case, tmp_path: Path) -> None:
    out, cache = tmp_path / "killed" / "out", tmp_path / "killed" / "cache"
    words = case.words(out, cache)
    begun = [kill(words, cache, when=lambda: True, after_s=2.0)]
    begun += [kill(words, cache, when=lambda: case.progress(out, cache), after_s=delay_s) for delay_s in DELAYS_S]
    assert any(begun)
    status, said = finish(words, cache)
    assert status == case.status, said
    assert told_by(out, cache) == unkilled(case, tmp_path / "unkilled")

"""Films are opened once; what opening told is remembered, but not what may pass."""

import os
import sqlite3
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum import checks
from hilum.checks import Facts, check_film, check_films
from hilum.errors import DataError, UnreadableFilm
from hilum.files import cache_dir, sha256_file


def film(path: Path, seed: int = 0, side: int = 80) -> Path:
    shade = cv2.resize(np.random.default_rng(seed).random((9, 9)), (side, side), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), np.rint(np.clip(shade, 0, 1) * 255).astype(np.uint8))
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the films opened, in order."""
    names: list[str] = []

    def counted(path: Path) -> Facts:
        names.append(path.name)
        return check_film(path)

    monkeypatch.setattr(checks, "check_film", counted)
    return names


def test_what_opening_tells(tmp_path: Path) -> None:
    path = film(tmp_path / "a.png")
    told = check_film(path)
    assert (told.sha256, told.bytes) == (sha256_file(path), path.stat().st_size)
    assert (told.width, told.height, told.mode, told.format, told.bits) == (80, 80, "L", "PNG", 8)
    assert told.phash is not None
    assert told.left_out is None
    with pytest.raises(UnreadableFilm, match=r"^not found: b\.png"):
        check_film(tmp_path / "b.png")


def test_facts_come_in_the_order_of_the_films(tmp_path: Path) -> None:
    paths = [film(tmp_path / f"{seed}.png", seed, 64 + seed) for seed in range(12)]
    assert [fact.width for fact in check_films(paths, processes=2)] == [64 + seed for seed in range(12)]


def test_a_second_look_opens_nothing(tmp_path: Path, opened: list[str]) -> None:
    paths = [film(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    (tmp_path / "text.png").write_text("no film")
    paths.append(tmp_path / "text.png")
    first = check_films(paths, processes=1)
    assert len(opened) == 4
    assert check_films(paths[::-1], processes=1) == first[::-1]
    assert len(opened) == 4


def test_a_changed_film_is_opened_again(tmp_path: Path, opened: list[str]) -> None:
    path = film(tmp_path / "a.png")
    before = check_films([path], processes=1)[0]
    film(path, seed=1)
    os.utime(path, ns=(1, 1))
    after = check_films([path], processes=1)[0]
    assert opened == ["a.png"] * 2
    assert before.sha256 != after.sha256


def test_an_interrupted_check_goes_on_where_it_was(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [film(tmp_path / f"{seed}.png", seed) for seed in range(5)]

    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_films(paths, processes=1, progress=interrupt)
    seen: list[tuple[int, int]] = []
    check_films(paths, processes=1, progress=lambda done, total: seen.append((done, total)))
    assert opened == [f"{seed}.png" for seed in range(5)]
    assert seen == [(4, 5), (5, 5)]


def test_a_kill_costs_few_films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "UNSAVED", 2)
    with checks._Memory.opened(tmp_path / "facts.sqlite") as memory:
        for number in range(5):
            memory.remember(str(number), Facts(width=number))
        with sqlite3.connect(tmp_path / "facts.sqlite") as other:
            assert other.execute("SELECT count(*) FROM facts").fetchone() == (4,)
        other.close()


def test_what_may_pass_is_not_remembered(tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    assert (check_films([path], processes=1)[0].left_out or "").startswith("not found: a.png")
    film(path)

    def denied(_: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(checks, "sha256_file", denied)
        reason = check_films([path], processes=1)[0].left_out
        assert reason == "cannot be opened: a.png cannot be opened (Permission denied)"
    assert check_films([path], processes=1)[0].left_out is None


def test_a_film_too_large_for_memory_is_one_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [film(tmp_path / f"{seed}.png", seed) for seed in range(2)]

    def hungry(path: Path) -> str:
        if path.name == "0.png":
            raise MemoryError
        return sha256_file(path)

    monkeypatch.setattr(checks, "sha256_file", hungry)
    first, second = check_films(paths, processes=1)
    assert (first.left_out or "").startswith("out of memory: 0.png")
    assert second.left_out is None


def test_runs_side_by_side_share_the_memory(tmp_path: Path) -> None:
    paths = [film(tmp_path / f"{seed}.png", seed) for seed in range(40)]
    failed: list[Exception] = []
    found: list[list[Facts]] = []

    def check() -> None:
        try:
            found.append(check_films(paths, processes=1))
        except DataError as error:
            failed.append(error)

    threads = [threading.Thread(target=check) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert found[0] == found[1] == found[2]


def test_a_damaged_memory_is_said_with_the_way_out(tmp_path: Path) -> None:
    cache_dir().mkdir(parents=True, exist_ok=True)
    (cache_dir() / "facts.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match=r"facts\.sqlite.*remove that file"):
        check_films([film(tmp_path / "a.png")], processes=1)

"""Nothing is decoded twice, nothing half-written is ever read, and memory does not grow with the cache."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hilum import cache
from hilum.cache import ArrayCache, FrameCache
from hilum.errors import DataError
from hilum.files import sha256_file
from hilum.parallel import Crashed
from hilum.pixels import read_film
from hilum.preprocess import Preprocess

SMALL = Preprocess(size_px=32)


def row(number: int) -> NDArray[np.uint8]:
    return np.full((4, 4), number, np.uint8)


def rows(*numbers: int) -> list[tuple[str, NDArray[np.uint8]]]:
    return [(f"key{number}", row(number)) for number in numbers]


def small_cache(folder: Path) -> ArrayCache:
    return ArrayCache(folder, shape=(4, 4), dtype=np.uint8)


def content(folder: Path) -> dict[str, int]:
    """Key -> grey value, of every row the cache gives out; each row must be whole."""
    opened = small_cache(folder)
    keys = list(opened.positions())
    read = opened.view(keys)[:]
    assert (read == read[:, :1, :1]).all()
    return {key: int(one[0, 0]) for key, one in zip(keys, read, strict=True)}


def test_rows_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    made = small_cache(tmp_path)
    made.add(rows(1, 2, 3))
    made.add(rows(2, 4))
    view = made.view(["key4", "key1", "key4"])
    assert len(view) == 3
    assert view[:][:, 0, 0].tolist() == [4, 1, 4]
    assert view[np.array([2, 1])][:, 0, 0].tolist() == [4, 1]
    assert view[slice(1, 2)].shape == (1, 4, 4)
    assert view.only(np.array([1]))[:][:, 0, 0].tolist() == [1]
    assert made.view([])[:].shape == (0, 4, 4)
    with pytest.raises(KeyError):
        made.view(["key9"])
    assert made.missing(["key9", "key1", "key9"]) == ["key9"]


def test_what_is_read_may_be_changed_without_harm(tmp_path: Path) -> None:
    made = small_cache(tmp_path)
    made.add(rows(1))
    made.view(["key1"])[:][:] = 9
    assert content(tmp_path) == {"key1": 1}


@settings(max_examples=60, deadline=None)
@given(cut_rows=st.integers(0, 80), cut_keys=st.integers(0, 30))
def test_a_writer_killed_anywhere_leaves_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, cut_rows: int, cut_keys: int
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    small_cache(folder).add(rows(1, 2, 3, 4, 5))
    for name, cut in (("rows.bin", cut_rows), ("keys.txt", cut_keys)):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) - min(cut, len(whole))])
    left = min(5 - -(-cut_rows // 16), 5 - -(-cut_keys // 5))
    assert content(folder) == {f"key{number}": number for number in range(1, max(left, 0) + 1)}
    small_cache(folder).add(rows(9, 5, 4, 3, 2, 1))
    assert content(folder) == {f"key{number}": number for number in (1, 2, 3, 4, 5, 9)}


def test_a_row_without_its_key_is_written_over(tmp_path: Path) -> None:
    small_cache(tmp_path).add(rows(1))
    with (tmp_path / "rows.bin").open("ab") as data:
        data.write(b"\x07" * 23)
    small_cache(tmp_path).add(rows(2))
    assert content(tmp_path) == {"key1": 1, "key2": 2}
    assert (tmp_path / "rows.bin").stat().st_size == 32


def test_what_was_made_before_a_failure_is_kept(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        yield from rows(1, 2)
        raise DataError("film 3 is gone")

    with pytest.raises(DataError, match="film 3"):
        small_cache(tmp_path).add(failing())
    assert content(tmp_path) == {"key1": 1, "key2": 2}
    small_cache(tmp_path).add(rows(3))
    assert content(tmp_path) == {"key1": 1, "key2": 2, "key3": 3}


def test_a_row_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reshape"):
        small_cache(tmp_path).add([("a", np.zeros((3, 4), np.uint8))])
    assert content(tmp_path) == {}


def test_filling_makes_only_what_is_missing(tmp_path: Path) -> None:
    made, asked = small_cache(tmp_path), []

    def make(missing: list[str]) -> list[tuple[str, NDArray[np.uint8]]]:
        asked.append(missing)
        return [(key, row(int(key[3:]))) for key in missing]

    assert made.fill(["key1", "key2", "key1"], make) == 2
    assert made.fill(["key2", "key3"], make) == 1
    assert made.fill(["key1", "key3"], make) == 0
    assert asked == [["key1", "key2"], ["key3"]]


WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from hilum.cache import ArrayCache

def make(missing):
    for key in missing:
        time.sleep(0.005)
        print("made", key)
        yield key, np.full((4, 4), int(key[3:]), np.uint8)

cache = ArrayCache(Path(sys.argv[1]), shape=(4, 4), dtype=np.uint8)
cache.fill([f"key{number}" for number in range(int(sys.argv[2]), int(sys.argv[3]))], make)
"""


def test_writers_side_by_side_do_not_mix_and_make_nothing_twice(tmp_path: Path) -> None:
    ranges = [(0, 60), (30, 90), (0, 90)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path, str(first), str(last)], stdout=subprocess.PIPE, text=True
        )
        for first, last in ranges
    ]
    made = [line for writer in writers for line in writer.communicate(timeout=60)[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(made) == 90
    assert content(tmp_path) == {f"key{number}": number for number in range(90)}


READER = """
import sys
from pathlib import Path
import numpy as np
from hilum.cache import ArrayCache

def told(name):
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(words[1]) / 1024 for words in lines if words[0] == f"{name}:")

made = ArrayCache(Path(sys.argv[1]), shape=(1024, 1024), dtype=np.uint8)
film = np.zeros((1024, 1024), np.uint8)
made.add((str(number), film) for number in range(200))
view = made.view([str(number) for number in range(200)])
before = told("VmHWM"), told("RssFile")
for start in range(0, 200, 10):
    assert view[slice(start, start + 10)].sum() == 0
print(told("VmHWM") - before[0], told("RssFile") - before[1])
"""
BATCH_MB, SLACK_MB = 10, 20


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the system does not tell a process's memory so")
def test_reading_keeps_nothing(tmp_path: Path) -> None:
    """200 MB are read ten at a time, in a process of its own: neither copies nor pages of the file stay in it."""
    call = [sys.executable, "-c", READER, str(tmp_path)]
    told = subprocess.run(call, capture_output=True, text=True, check=True, timeout=300).stdout
    most_mb, of_files_mb = map(float, told.split())
    assert most_mb < BATCH_MB + SLACK_MB
    assert of_files_mb < SLACK_MB


def test_a_view_sent_to_another_process_takes_no_film_along(tmp_path: Path) -> None:
    made = ArrayCache(tmp_path, shape=(512, 512), dtype=np.uint8)
    made.add((str(number), np.full((512, 512), number, np.uint8)) for number in range(8))
    sent = multiprocessing.reduction.ForkingPickler.dumps(made.view([str(number) for number in range(8)]))
    assert len(sent) < 5000


# Frames of films


def film(path: Path, seed: int = 0, side: int = 80) -> Path:
    shade = cv2.resize(np.random.default_rng(seed).random((9, 9)), (side, side), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), np.rint(np.clip(shade, 0, 1) * 255).astype(np.uint8))
    return path


def table(root: Path, *names: str) -> pd.DataFrame:
    return pd.DataFrame({"path": names, "sha256": [sha256_file(root / name) for name in names]})


@pytest.fixture
def films(tmp_path: Path) -> pd.DataFrame:
    names = [film(tmp_path / f"{seed}.png", seed).name for seed in range(6)]
    return table(tmp_path, *names)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the films decoded, in order."""
    names: list[str] = []

    def counted(path: Path, **how: Any) -> Any:
        names.append(path.name)
        return read_film(path, **how)

    monkeypatch.setattr(cache, "read_film", counted)
    return names


@pytest.mark.parametrize("processes", [1, 2])
def test_frames_are_those_of_the_films_in_their_order(films: pd.DataFrame, tmp_path: Path, processes: int) -> None:
    frames = FrameCache(SMALL)
    assert frames.fill(films, tmp_path, processes=processes) == 6
    shuffled = films.sample(frac=1, random_state=0)
    expected = [SMALL.frame(read_film(tmp_path / path, at_least_px=32).pixels) for path in shuffled["path"]]
    assert (frames.view(shuffled, tmp_path)[:] == np.stack(expected)).all()


def test_a_second_run_decodes_nothing_and_needs_no_film(
    films: pd.DataFrame, tmp_path: Path, decoded: list[str]
) -> None:
    seen: list[tuple[int, int]] = []
    FrameCache(SMALL).fill(films, tmp_path, processes=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 6) for number in range(1, 7)]
    before = FrameCache(SMALL).view(films, tmp_path)[:]
    for path in films["path"]:
        (tmp_path / path).unlink()
    assert FrameCache(SMALL).fill(films, tmp_path, processes=1) == 0
    assert (FrameCache(SMALL).view(films, tmp_path)[:] == before).all()
    assert len(decoded) == 6


def test_copies_of_one_file_are_decoded_once(tmp_path: Path, decoded: list[str]) -> None:
    film(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    both = table(tmp_path, "a.png", "b.png")
    assert FrameCache(SMALL).fill(both, tmp_path, processes=1) == 1
    assert len(decoded) == 1
    first, second = FrameCache(SMALL).view(both, tmp_path)[:]
    assert (first == second).all()


def test_geometry_has_a_place_of_its_own_and_scaling_has_not(
    films: pd.DataFrame, tmp_path: Path, decoded: list[str]
) -> None:
    FrameCache(SMALL).fill(films, tmp_path, processes=1)
    for change in ({"size_px": 48}, {"aspect": "pad"}, {"depth_bits": 16}):
        other = FrameCache(SMALL.model_copy(update=change))
        assert other.fill(films, tmp_path, processes=1) == 6
        assert other.view(films, tmp_path)[:].shape[1] == change.get("size_px", 32)
    assert FrameCache(SMALL.model_copy(update={"mean": (0.2,), "channels": 1})).fill(films, tmp_path) == 0


def test_a_film_that_changed_since_it_was_indexed_is_refused(films: pd.DataFrame, tmp_path: Path) -> None:
    film(tmp_path / "3.png", seed=99)
    with pytest.raises(DataError, match=r"3\.png is not as it was indexed \(its content has changed\).*hilum index"):
        FrameCache(SMALL).fill(films, tmp_path, processes=1)
    film(tmp_path / "3.png", seed=3)
    assert FrameCache(SMALL).fill(films, tmp_path, processes=1) == 3, "the films before the changed one were kept"


def test_a_film_that_went_or_broke_is_refused(films: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "0.png").unlink()
    with pytest.raises(DataError, match=r"0\.png is not as it was indexed \(not found"):
        FrameCache(SMALL).fill(films, tmp_path, processes=1)
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"\(empty: 0\.png"):
        FrameCache(SMALL).fill(films, tmp_path, processes=2)


def test_a_film_that_kills_its_decoder_is_refused(films: pd.DataFrame, tmp_path: Path) -> None:
    def spread(_: Any, items: Any, *, processes: int | None) -> Any:
        return ((item, Crashed(item)) for item in items)

    with pytest.raises(DataError, match="its decoder crashed"):
        FrameCache(SMALL).fill(films, tmp_path, spread=spread)


def test_a_cache_cut_short_under_a_reader_is_said(tmp_path: Path) -> None:
    made = small_cache(tmp_path)
    made.add(rows(1, 2))
    view = made.view(["key2"])
    os.truncate(tmp_path / "rows.bin", 20)
    with pytest.raises(DataError, match="is shorter than it was"):
        view[:]

"""Films as arrays: the same rows in every size, what a network would be shown, and who is missing."""

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.cache import FrameCache
from hilum.enhance import black_border_box
from hilum.errors import DataError, UsageError
from hilum.export import export_arrays, in_sizes
from hilum.index import Index, build_index
from hilum.preprocess import Preprocess
from hilum.recipe import checked_recipe
from hilum.records import Radiograph
from hilum.selection import select_films


def picture(seed: int, height: int = 90, width: int = 70) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((7, 6))
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.rint(np.clip(smooth, 0, 1) * 4095).astype(np.uint16)


@pytest.fixture
def films(tmp_path: Path) -> Index:
    """Six films: 16-bit PNGs, a large JPEG, one in a black border, and two the index leaves out."""
    root = tmp_path / "films"
    root.mkdir()
    for number in range(3):
        cv2.imwrite(str(root / f"{number}.png"), picture(number) << 4)
    cv2.imwrite(str(root / "3.jpg"), (picture(3, 900, 700) >> 4).astype(np.uint8))
    cv2.imwrite(str(root / "4.png"), np.pad(picture(4), ((0, 0), (30, 10))) << 4)
    (root / "5.png").write_bytes((root / "0.png").read_bytes()[:400])
    names = ("0.png", "1.png", "2.png", "3.jpg", "4.png", "5.png", "6.png")
    records = [
        Radiograph(
            image_id=f"one/{name[0]}",
            source="one",
            path=root / name,
            patient_id=f"p{number // 2}",
            labels={"ill": number % 2 == 0, "well": number % 2 == 1},
        )
        for number, name in enumerate(names)
    ]
    return build_index(records, root, processes=1)


def export(films: Index, out: Path, *sizes: int, base: Preprocess | None = None, **told: Any) -> list[np.ndarray]:
    ways = in_sizes(base or Preprocess(), sizes)
    return [np.load(path) for path in export_arrays(films, out, ways, processes=1, **told).arrays]


def test_every_size_holds_the_same_films_in_the_tables_order(films: Index, tmp_path: Path) -> None:
    small, large = export(films, tmp_path / "out", 224, 600)
    assert (small.shape, large.shape) == ((5, 224, 224), (5, 600, 600))
    assert small.dtype == large.dtype == np.uint8
    table = pd.read_csv(tmp_path / "out" / "films.csv")
    assert list(table.columns) == ["image_id", "source", "group", "sha256"]
    assert table["image_id"].tolist() == [f"one/{number}" for number in range(5)] == films.films["image_id"].tolist()
    assert table["sha256"].tolist() == films.films["sha256"].tolist()
    assert table["group"].tolist() == films.films["group_id"].tolist()
    for row in range(5):
        reduced = cv2.resize(large[row], (224, 224), interpolation=cv2.INTER_AREA).astype(int)
        differences = [np.abs(reduced - small[other]).mean() for other in range(5)]
        assert int(np.argmin(differences)) == row
        assert differences[row] < 2


@pytest.mark.parametrize("processes", [1, 2])
def test_rows_are_what_a_network_is_shown(films: Index, tmp_path: Path, processes: int) -> None:
    for bits, dtype in ((8, np.uint8), (16, np.uint16)):
        base = Preprocess(depth_bits=bits, aspect="pad", steps=("crop-black", "clahe"))
        ways = in_sizes(base, [96, 32])
        made = export_arrays(films, tmp_path / f"{bits}", ways, processes=processes)
        for way, path in zip(ways, made.arrays, strict=True):
            cache = FrameCache(way)
            cache.fill(films.films, films.root, processes=1)
            rows = np.load(path, mmap_mode="r")
            assert rows.dtype == dtype
            assert np.array_equal(rows, cache.view(films.films, films.root)[:])


def test_sixteen_bits_keep_grey_levels_that_eight_lose(films: Index, tmp_path: Path) -> None:
    (eight,) = export(films, tmp_path / "8", 64)
    (sixteen,) = export(films, tmp_path / "16", 64, base=Preprocess(depth_bits=16))
    assert len(np.unique(sixteen[0])) > 4 * len(np.unique(eight[0]))
    assert np.abs(sixteen / 65535 - eight / 255).max() < 1 / 255


def test_steps_and_aspect_are_applied(films: Index, tmp_path: Path) -> None:
    (plain,) = export(films, tmp_path / "plain", 64)
    (cropped,) = export(films, tmp_path / "cropped", 64, base=Preprocess(steps=("crop-black",)))
    (padded,) = export(films, tmp_path / "padded", 64, base=Preprocess(aspect="pad"))
    assert black_border_box(plain[4] / np.float32(255)).left > 10
    assert black_border_box(cropped[4] / np.float32(255)).left == 0
    assert not padded[0][:, :5].any()
    assert plain[0][:, :5].any()


def test_who_is_missing_is_listed_with_the_reason(films: Index, tmp_path: Path) -> None:
    (films.root / "1.png").write_bytes((films.root / "2.png").read_bytes())
    (films.root / "3.jpg").unlink()
    made = export_arrays(films, tmp_path, in_sizes(Preprocess(), [40, 50]), processes=1)
    assert (made.films, made.refused) == (3, 2)
    assert [np.load(path).shape for path in made.arrays] == [(3, 40, 40), (3, 50, 50)]
    assert pd.read_csv(tmp_path / "films.csv")["image_id"].tolist() == ["one/0", "one/2", "one/4"]
    left_out = pd.read_csv(tmp_path / "left_out.csv")
    assert left_out["image_id"].tolist() == ["one/5", "one/6", "one/1", "one/3"]
    kinds = [reason.partition(":")[0] for reason in left_out["reason"]]
    assert kinds == ["truncated", "not found", "changed", "not found"]
    told = json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))
    assert (told["films"], told["left_out"], told["index"]) == (3, 4, films.digest)


def test_rows_move_up_where_a_film_is_missing(films: Index, tmp_path: Path) -> None:
    (whole,) = export(films, tmp_path / "whole", 48)
    (films.root / "0.png").unlink()
    (films.root / "2.png").unlink()
    (rest,) = export(films, tmp_path / "rest", 48)
    assert np.array_equal(rest, whole[[1, 3, 4]])
    assert (tmp_path / "rest" / "films-48.npy").stat().st_size == (
        tmp_path / "whole" / "films-48.npy"
    ).stat().st_size - 2 * 48 * 48


def test_classes_are_columns(films: Index, tmp_path: Path) -> None:
    told = checked_recipe({"title": "t", "classes": {"sick": ["ill"], "well": ["well"]}})
    export(select_films(films, told), tmp_path, 32, classes=told.class_names)
    table = pd.read_csv(tmp_path / "films.csv")
    assert table["class"].tolist() == ["sick", "well", "sick", "well", "sick"]
    assert table["class.sick"].tolist() == [1, 0, 1, 0, 1]
    assert (table["class.sick"] + table["class.well"] == 1).all()


def test_an_export_again_gives_the_same_bytes(films: Index, tmp_path: Path) -> None:
    def content(folder: Path) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}

    export(films, tmp_path / "one", 32, 40)
    export(films, tmp_path / "two", 32, 40)
    assert list(content(tmp_path / "one")) == [
        "export.json",
        "films-32.npy",
        "films-40.npy",
        "films.csv",
        "left_out.csv",
    ]
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(films: Index, tmp_path: Path) -> None:
    for sizes in ([], [224, 224]):
        with pytest.raises(UsageError, match="every size once"):
            export_arrays(films, tmp_path / "out", in_sizes(Preprocess(), sizes))
    for file in films.root.iterdir():
        file.unlink()
    with pytest.raises(DataError, match="no film can be exported: not found"):
        export(films, tmp_path / "out", 32)
    assert not list((tmp_path / "out").iterdir())


def test_the_room_in_a_headers_front_suits_any_number_of_rows() -> None:
    """What `keep` relies on: NumPy's header is as long for one film as for a million."""

    def length(rows: int, side: int) -> int:
        stream = io.BytesIO()
        told = {"descr": "|u1", "fortran_order": False, "shape": (rows, side, side)}
        np.lib.format.write_array_header_1_0(stream, told)
        return stream.tell()

    assert len({length(10**power, 2048) for power in range(9)}) == 1


def test_memory_does_not_grow_with_the_films(films: Index, tmp_path: Path) -> None:
    """Rows lie in the file before the last film is read."""
    seen = []

    def look(done: int, total: int) -> None:
        (part,) = (tmp_path / "out").glob(".films-128*.part.npy")
        seen.append(part.stat().st_size)

    export(films, tmp_path / "out", 128, progress=look)
    assert seen == sorted(seen)
    assert seen[1] > 128 * 128

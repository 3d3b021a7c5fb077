"""From indexes to pairs of the same picture: every way of being the same, across indexes, twice as fast again."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from hilum.cli.duplicates import duplicates as verb
from hilum.copies import Copies, find_copies
from hilum.copies.store import ROW_BYTES, KeypointCache, packed, unpacked
from hilum.duplicates.keypoints import describe
from hilum.errors import UsageError
from hilum.files import sha256_file
from hilum.index import Index, build_index
from hilum.records import Radiograph
from hilum.report.duplicates import COLUMNS, as_rows, copies_page, outlines, summary_of, write_copies

Picture = NDArray[np.uint8]


def textured(seed: int, height: int = 300, width: int = 260) -> Picture:
    """Soft blobs of many sizes, others for every seed."""
    rng = np.random.default_rng(seed)
    film = np.zeros((height, width), np.float32)
    for cells in (5, 11, 23, 47):
        layer = rng.random((cells, cells)).astype(np.float32)
        film += cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) / cells**0.5
    return np.rint((film - film.min()) / np.ptp(film) * 255).astype(np.uint8)


def indexed(root: Path, pictures: dict[str, Picture | Path]) -> Index:
    """An index of films written as their names say; a path is copied byte by byte."""
    root.mkdir(parents=True)
    for name, picture in pictures.items():
        if isinstance(picture, Path):
            (root / name).write_bytes(picture.read_bytes())
        else:
            cv2.imwrite(str(root / name), picture)
    records = [Radiograph(image_id=name, source=root.name, path=root / name, labels={}) for name in pictures]
    return build_index(records, root, processes=1)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Index]:
    """Five films, and in another index four of them as they may come back, and one that is new."""
    root = tmp_path_factory.mktemp("films")
    films = [textured(seed) for seed in range(5)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HILUM_CACHE", str(tmp_path_factory.mktemp("facts")))
        ours = indexed(root / "ours", {f"{number}.png": film for number, film in enumerate(films)})
        theirs = indexed(
            root / "theirs",
            {
                "bytes.png": root / "ours" / "0.png",
                "pixels.bmp.png": _again(films[1]),
                "near.jpg": cv2.resize(films[2], None, fx=1.4, fy=1.4, interpolation=cv2.INTER_CUBIC),
                "crop.png": films[3][60:270, 30:240],
                "mirrored.png": np.ascontiguousarray(films[4][:, ::-1]),
                "new.png": textured(99),
            },
        )
    return {"ours": ours, "theirs": theirs}


def _again(film: Picture) -> Picture:
    """The same grey levels written as colour: other bytes."""
    return np.repeat(film[:, :, None], 3, axis=2)


@pytest.fixture(scope="module")
def found(indexes: dict[str, Index], tmp_path_factory: pytest.TempPathFactory) -> Copies:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HILUM_CACHE", str(tmp_path_factory.mktemp("keypoints")))
        return find_copies(indexes, processes=1)


def told(copies: Copies) -> dict[str, dict[str, Any]]:
    return {f"{row['image_id_1']} {row['image_id_2']}": row for row in as_rows(copies)}


def test_each_way_of_being_the_same_is_named(found: Copies) -> None:
    assert {pair: row["how"] for pair, row in told(found).items()} == {
        "0.png bytes.png": "same bytes",
        "1.png pixels.bmp.png": "same pixels",
        "2.png near.jpg": "near hash",
        "3.png crop.png": "crop or edit",
        "4.png mirrored.png": "crop or edit",
    }
    assert {(row["index_1"], row["index_2"]) for row in as_rows(found)} == {("ours", "theirs")}


def test_how_a_film_lies_on_the_other_is_told_in_its_pixels(found: Copies) -> None:
    rows = told(found)
    crop, near, mirrored = rows["3.png crop.png"], rows["2.png near.jpg"], rows["4.png mirrored.png"]
    assert (crop["offset_x_px"], crop["offset_y_px"]) == pytest.approx((30, 60), abs=1.5)
    assert (crop["scale"], crop["overlap"]) == pytest.approx((1, 1), abs=0.02)
    assert crop["hanging"] == "as is"
    assert near["scale"] == pytest.approx(1 / 1.4, rel=0.01)
    assert mirrored["hanging"] == "mirrored"
    assert abs(mirrored["offset_x_px"]) < 1.5
    assert crop["inliers"] >= 25
    assert rows["0.png bytes.png"]["inliers"] is None


def test_groups_are_numbered_and_films_alone_have_none(found: Copies) -> None:
    groups = found.films.set_index("image_id")["group"]
    assert groups[["0.png", "1.png", "2.png", "3.png", "4.png"]].tolist() == [1, 2, 3, 4, 5]
    assert groups["crop.png"] == groups["3.png"]
    assert groups.isna().sum() == 1
    assert pd.isna(groups["new.png"])
    assert summary_of(found) == (
        "11 films, 5 pairs in 5 groups: 1 same bytes, 1 same pixels, 1 near hash, 2 crop or edit"
    )


def test_one_index_is_compared_within(indexes: dict[str, Index]) -> None:
    found = find_copies({"theirs": indexes["theirs"]}, processes=1)
    assert found.pairs == ()
    assert found.films["group"].isna().all()
    assert summary_of(found) == "6 films, 0 pairs in 0 groups"


def test_a_second_run_opens_no_film(indexes: dict[str, Index], found: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    first = find_copies(indexes, processes=1)
    monkeypatch.setattr("hilum.copies.store.read_film", lambda _path: pytest.fail("a film was opened again"))
    assert as_rows(find_copies(indexes, processes=1)) == as_rows(first) == as_rows(found)


def test_several_processes_find_the_same(indexes: dict[str, Index], found: Copies) -> None:
    assert as_rows(find_copies(indexes, processes=2)) == as_rows(found)


def test_films_that_can_no_longer_be_read_are_told(tmp_path: Path) -> None:
    index = indexed(tmp_path / "films", {f"{number}.png": textured(number) for number in range(3)})
    (tmp_path / "films" / "1.png").unlink()
    cv2.imwrite(str(tmp_path / "films" / "2.png"), textured(7))
    found = find_copies({"films": index}, processes=1)
    assert found.films["image_id"].tolist() == ["0.png"]
    assert found.refused["image_id"].tolist() == ["1.png", "2.png"]
    assert found.refused["reason"].str.partition(":")[0].tolist() == ["not found", "changed"]
    assert dict(found.reasons) == {"not found": 1, "changed": 1}


def test_a_lost_films_copy_stands_for_it(tmp_path: Path) -> None:
    film = textured(0)
    first = indexed(tmp_path / "first", {"a.png": film})
    second = indexed(tmp_path / "second", {"b.png": film})
    (tmp_path / "first" / "a.png").unlink()
    found = find_copies({"first": first, "second": second}, processes=1)
    assert [pair.how for pair in found.pairs] == ["same bytes"]
    assert found.refused.empty


def test_an_index_whose_films_are_all_gone_has_no_pair(tmp_path: Path) -> None:
    index = indexed(tmp_path / "films", {"a.png": textured(0)})
    (tmp_path / "films" / "a.png").unlink()
    found = find_copies({"films": index}, processes=1)
    assert (found.pairs, len(found.films), len(found.refused)) == ((), 0, 1)


def test_no_index_is_wrong_use() -> None:
    with pytest.raises(UsageError, match="name an index"):
        find_copies({})


def test_keypoints_survive_their_row() -> None:
    keypoints = describe(textured(5).astype(np.float32) / 255)
    row = packed(keypoints)
    again = unpacked(row)
    assert row.shape == (ROW_BYTES,)
    assert (again.size, again.shape, again.digest) == (keypoints.size, keypoints.shape, keypoints.digest)
    assert (again.descriptors == keypoints.descriptors).all()
    assert again.points == pytest.approx(keypoints.points, abs=1 / 64)


def test_the_cache_keeps_films_by_their_bytes(tmp_path: Path) -> None:
    film = tmp_path / "film.png"
    cv2.imwrite(str(film), textured(1))
    sha256 = sha256_file(film)
    cache = KeypointCache(tmp_path / "cache")
    assert cache.fill({sha256: [tmp_path / "gone.png", film]}, processes=1) == {}
    film.unlink()
    assert cache.fill({sha256: [film]}, processes=1) == {}
    assert len(unpacked(cache.view([sha256])[:][0])) > 50


def test_files_are_written_for_spreadsheets(found: Copies, tmp_path: Path) -> None:
    write_copies(found, tmp_path)
    pairs, films = pd.read_csv(tmp_path / "pairs.csv"), pd.read_csv(tmp_path / "films.csv")
    assert tuple(pairs.columns) == COLUMNS
    assert len(pairs) == 5
    assert films.groupby("group").size().tolist() == [2] * 5
    assert pd.read_csv(tmp_path / "refused.csv").columns.tolist() == ["index", "image_id", "reason"]


def test_frames_are_outlined_where_the_other_film_lies(found: Copies) -> None:
    matches = {row["image_id_2"]: pair.match for row, pair in zip(as_rows(found), found.pairs, strict=True)}
    crop, mirrored = matches["crop.png"], matches["mirrored.png"]
    assert crop is not None
    assert mirrored is not None
    on_first, on_second = outlines(crop, (300, 260), (210, 210))
    assert on_first == pytest.approx(np.array([[30, 60], [240, 60], [240, 270], [30, 270]]), abs=3)
    assert on_second == pytest.approx(np.array([[-30, -60], [230, -60], [230, 240], [-30, 240]]), abs=3)
    _, flipped = outlines(mirrored, (300, 260), (300, 260))
    assert flipped == pytest.approx(np.array([[260, 0], [0, 0], [0, 300], [260, 300]]), abs=3)


def test_the_page_holds_its_films_and_asks_for_nothing(found: Copies) -> None:
    seen: list[tuple[int, int]] = []
    page = copies_page(found, progress=lambda done, total: seen.append((done, total)))
    assert page.count("data:image/jpeg") == 2 * 4, "films of the same bytes are counted only"
    assert page.index("Crop or edit") < page.index("Near hash") < page.index("Same pixels")
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert seen[-1] == (4, 4)


def test_a_film_gone_since_is_missing_on_the_page_only(found: Copies) -> None:
    gone = Copies(found.films.assign(path=Path("nowhere.png")), found.pairs, found.refused)
    assert copies_page(gone).count("can no longer be read") == 8


@pytest.fixture
def call(indexes: dict[str, Index], tmp_path: Path) -> Callable[..., Any]:
    """Runs the verb on both indexes, saved to files."""
    app = typer.Typer()
    app.command()(verb)
    for name, index in indexes.items():
        index.save(tmp_path / f"{name}.parquet")
    files = [str(tmp_path / f"{name}.parquet") for name in indexes]
    return lambda *options: CliRunner().invoke(app, [*files, "--processes", "1", *options])


def test_the_verb_writes_files_and_a_page(call: Callable[..., Any], tmp_path: Path) -> None:
    done = call("--out", str(tmp_path / "twins"), "--sheet")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "twins").iterdir()) == [
        *("films.csv", "pairs.csv", "pairs.html", "refused.csv")
    ]


def test_the_verb_tells_machines_the_pairs(call: Callable[..., Any]) -> None:
    done = call("--json")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert len(rows) == 5
    assert tuple(rows[0]) == COLUMNS


def test_the_verb_ends_with_3_when_films_cannot_be_read(tmp_path: Path) -> None:
    index = indexed(tmp_path / "films", {"a.png": textured(0), "b.png": textured(1)})
    index.save(tmp_path / "index.parquet")
    (tmp_path / "films" / "b.png").unlink()
    app = typer.Typer()
    app.command()(verb)
    assert CliRunner().invoke(app, [str(tmp_path / "index.parquet"), "--processes", "1"]).exit_code == 3


def test_wrong_use_of_the_verb_is_refused(call: Callable[..., Any], tmp_path: Path) -> None:
    assert isinstance(call("--sheet").exception, UsageError)
    assert isinstance(call(str(tmp_path / "ours.parquet")).exception, UsageError)


CROPS = [f"ciaa199.pdf-001-{part}" for part in "abc"]
CAPTIONED = [
    f"11547_2020_{name}" for name in ("1200_Fig2_HTML-b", "1200_Fig3_HTML-b", "1202_Fig1_HTML-a", "1202_Fig1_HTML-b")
]
REPEATED = [f"person620_virus_119{number}" for number in (1, 2)]


def test_on_real_films_crops_are_found_and_captions_and_repeats_are_not(data_pack: Path) -> None:
    """Four films with the same printed boxes, and two exposures of one child, share 25 keypoints and more."""
    records = []
    for source, stems in {"sandrofab": CROPS + REPEATED, "covid_seg": CROPS, "covid_chestxray": CAPTIONED}.items():
        table = pd.read_csv(data_pack / source / "index.csv")
        rows = table[table["orig_name"].str.rpartition(".")[0].isin(stems)]
        records += [
            Radiograph(image_id=f"{source}/{stem}", source=source, path=data_pack / file, labels={})
            for stem, file in zip(rows["orig_name"].str.rpartition(".")[0], rows["file"], strict=True)
        ]
    assert len(records) == 12
    found = find_copies({"real": build_index(records, data_pack, processes=1)}, processes=1)
    pairs = {(row["image_id_1"], row["image_id_2"]) for row in as_rows(found)}
    assert pairs == {(f"sandrofab/{stem}", f"covid_seg/{stem}") for stem in CROPS}
    assert {row["how"] for row in as_rows(found)} == {"crop or edit"}

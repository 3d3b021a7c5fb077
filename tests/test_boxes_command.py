"""`hilum boxes`: masks to YOLO text and back, and a sentence for every mask that cannot be used."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

from hilum.boxes import Box, read_classes, read_yolo
from hilum.cli.lesions import boxes
from hilum.errors import DataError, UsageError
from hilum.lesions import boxes_of_masks, write_boxes

HIGH, WIDE = 120, 200

app = typer.Typer()
app.command()(boxes)


def write(path: Path, picture: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)
    return path


def drawn(*pieces: tuple[int, int, int, int], value: int = 255) -> NDArray[np.uint8]:
    """A mask with rectangles (top, bottom, left, right)."""
    mask = np.zeros((HIGH, WIDE), np.uint8)
    for top, bottom, left, right in pieces:
        mask[top:bottom, left:right] = value
    return mask


TWO = drawn((10, 40, 20, 70), (50, 60, 120, 180))
TWO_BOXES = [Box(20, 10, 70, 40), Box(120, 50, 180, 60)]


def run(*told: Any) -> Any:
    return CliRunner().invoke(app, [str(one) for one in told])


def test_every_piece_has_its_exact_line(tmp_path: Path) -> None:
    write(tmp_path / "masks" / "a.png", TWO)
    found = run(tmp_path / "masks", "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert "1 masks: 2 boxes, 0 refused" in found.output
    lines = (tmp_path / "out" / "a.txt").read_text().splitlines()
    assert lines == ["0 0.225000 0.208333 0.250000 0.250000", "0 0.750000 0.458333 0.300000 0.083333"]
    assert read_classes(tmp_path / "out" / "classes.txt") == ("ggo",)
    rows = list(csv.DictReader((tmp_path / "out" / "boxes.csv").read_text().splitlines()))
    assert [[int(row[edge]) for edge in ("left", "top", "right", "bottom")] for row in rows] == [
        list(box) for box in TWO_BOXES
    ]
    assert {(row["name"], row["label"], row["score"], row["width_px"]) for row in rows} == {("a", "ggo", "", "200")}


edges = st.tuples(st.integers(0, 2999), st.integers(1, 3000), st.integers(0, 2399), st.integers(1, 2400))


@settings(max_examples=20, deadline=None)
@given(edges)
def test_boxes_come_back_to_the_pixel_from_four_decimals(
    tmp_path_factory: pytest.TempPathFactory, told: tuple[int, int, int, int]
) -> None:
    """Of a mask as large as films are."""
    folder = tmp_path_factory.mktemp("trip")
    (left, right), (top, bottom) = sorted(told[:2]), sorted(told[2:])
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    mask = np.zeros((2400, 3000), np.uint8)
    mask[top:bottom, left:right] = 255
    found = list(boxes_of_masks([write(folder / "m.png", mask)], "ggo"))
    write_boxes(found, ("ggo",), folder / "out")
    (line,) = (folder / "out" / "m.txt").read_text().splitlines()
    short = " ".join(f"{float(number):.4f}" for number in line.split()[1:])
    for text in (line, f"0 {short}"):
        (folder / "out" / "m.txt").write_text(f"{text}\n")
        (back,) = read_yolo(folder / "out" / "m.txt", ("ggo",), width_px=3000, height_px=2400)
        assert back.box.rounded() == Box(left, top, right, bottom)


def test_pieces_that_are_near_are_joined_when_asked(tmp_path: Path) -> None:
    mask = write(tmp_path / "m.png", drawn((10, 40, 20, 70), (44, 60, 20, 60)))
    told = {merge: json.loads(run(mask, "--out", tmp_path, "--merge", merge, "--json").output) for merge in (0, 0.05)}
    assert [len(found[0]["boxes"]) for found in told.values()] == [2, 1]
    assert told[0.05][0]["boxes"] == [{"label": "ggo", "left": 20, "top": 10, "right": 70, "bottom": 60}]


def test_a_label_names_the_class_and_is_taken_off_the_masks_names(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "x-consolidation.png", TWO)
    told = run(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out", "--label", "consolidation")
    assert told.exit_code == 0
    assert {file.name for file in (tmp_path / "out").glob("*.txt")} == {"x.txt", "x-2.txt", "classes.txt"}
    assert (tmp_path / "out" / "classes.txt").read_text() == "consolidation\n"


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:60])
    return path


def jpeg(path: Path) -> Path:
    path.write_bytes(cv2.imencode(".jpg", TWO)[1].tobytes())
    return path


BAD: dict[str, tuple[Any, str]] = {
    "of several grey levels": (
        lambda path: write(path, drawn((10, 40, 20, 70)) + drawn((50, 60, 20, 70), value=128)),
        "the mask bad.png holds 3 grey levels from 0 to 255; a mask is 0 outside and one other value inside",
    ),
    "in colour": (
        lambda path: write(path, cv2.merge([TWO] * 3)),
        "the mask bad.png is PNG in mode RGB; give a grey PNG, 0 and 255",
    ),
    "without a pixel": (
        lambda path: write(path, drawn()),
        "the mask bad.png is empty: no pixel of it is inside",
    ),
    "cut short": (lambda path: cut(write(path, TWO)), "bad.png"),
    "no picture": (lambda path: path.write_text("a mask"), "bad.png is not a PNG, JPEG or DICOM file"),
    "a jpeg": (jpeg, "the mask bad.png is JPEG in mode L; give a grey PNG, 0 and 255"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_mask_that_cannot_be_used_is_refused_with_its_name(kind: str, tmp_path: Path) -> None:
    make, says = BAD[kind]
    make(tmp_path / "bad.png")
    good = write(tmp_path / "good.png", TWO)
    told = run(tmp_path / "bad.png", good, "--out", tmp_path / "out")
    assert told.exit_code == 3
    (line,) = [line for line in told.output.splitlines() if line.startswith("  refused ")]
    assert says in line
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"good.txt", "classes.txt", "boxes.csv"}
    plain = json.loads(run(tmp_path / "bad.png", good, "--out", tmp_path / "out", "--json").output)
    assert ["refused" in one for one in plain] == [True, False]


def test_an_empty_mask_says_that_nothing_is_there_when_told_so(tmp_path: Path) -> None:
    mask = write(tmp_path / "clear.png", drawn())
    assert run(mask, "--out", tmp_path / "out", "--empty").exit_code == 0
    assert (tmp_path / "out" / "clear.txt").read_text() == ""


@pytest.mark.parametrize(
    ("size", "stem", "says"),
    [
        ((HIGH, WIDE), "x", None),
        ((HIGH, WIDE + 1), "x", "the mask x-ggo.png is 200 x 120 pixels but its film 201 x 120"),
        ((HIGH, WIDE), "y", "the mask x-ggo.png belongs to 0 of the films"),
    ],
    ids=["its size", "another size", "no film"],
)
def test_a_mask_has_its_film_s_size(size: tuple[int, int], stem: str, says: str | None, tmp_path: Path) -> None:
    write(tmp_path / "films" / f"{stem}.png", np.random.default_rng(0).integers(0, 255, size).astype(np.uint8))
    mask = write(tmp_path / "x-ggo.png", TWO)
    told = run(mask, "--out", tmp_path / "out", "--films", tmp_path / "films")
    assert told.exit_code == (3 if says else 0)
    assert (says or "2 boxes") in told.output


def test_a_mask_named_as_the_list_of_classes_is_not_written_over_it(tmp_path: Path) -> None:
    told = run(write(tmp_path / "classes.png", TWO), "--out", tmp_path / "out")
    assert isinstance(told.exception, DataError)
    assert "classes.txt" in str(told.exception)
    assert not (tmp_path / "out").exists()


def test_a_label_without_a_letter_is_wrong_use(tmp_path: Path) -> None:
    told = run(write(tmp_path / "m.png", TWO), "--out", tmp_path / "out", "--label", " ")
    assert isinstance(told.exception, UsageError)
    assert not (tmp_path / "out").exists()


def test_masks_that_a_radiologist_drew_give_boxes_that_hold_them(data_pack: Path, tmp_path: Path) -> None:
    masks = sorted((data_pack / "covid_seg" / "masks" / "ggo").glob("*.png"))[::20]
    films = sorted((data_pack / "covid_seg" / "images").iterdir())
    for path, one in zip(masks, boxes_of_masks(masks, "ggo", films=films), strict=True):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0
        assert one.refusal is None
        for labelled in one.boxes:
            left, top, right, bottom = (int(edge) for edge in labelled.box)
            mask[top:bottom, left:right] = False
        assert one.boxes
        assert not mask.any()

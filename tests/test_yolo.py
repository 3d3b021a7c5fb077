"""A YOLO data set holds exactly the films and boxes it was made of; without the package its licence is named."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.boxes import Box, LabelledBox, read_yolo
from hilum.errors import DataError, MissingExtra, UsageError
from hilum.yolo import KEPT_QUIET, detect_yolo, write_dataset

CLASSES = ("ggo", "consolidation")


def drawn(folder: Path, name: str, *, width: int = 200, height: int = 100, seed: int = 0) -> Path:
    film = np.random.default_rng(seed).integers(0, 255, (height, width), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), film)
    return folder / name


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    return [drawn(tmp_path / "films", f"{name}.png", seed=place) for place, name in enumerate(("a", "b", "c"))]


BOXES = (
    [LabelledBox("consolidation", Box(10, 20, 40, 60)), LabelledBox("ggo", Box(0, 0, 200, 100), 0.9)],
    [],
    [LabelledBox("ggo", Box(3, 5, 8, 13))],
)
FOLDS = ("train", "tune", "test")


def test_the_data_set_is_exactly_this(films: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "set"
    plan = write_dataset(films, BOXES, FOLDS, CLASSES, out)
    assert plan == out / "data.yaml"
    assert plan.read_text() == (
        'train: images/train\nval: images/val\ntest: images/test\nnames:\n  0: "ggo"\n  1: "consolidation"\n'
    )
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {
        "data.yaml",
        *(
            f"{kind}/{place}.{suffix}"
            for kind, suffix in (("images", "png"), ("labels", "txt"))
            for place in ("train/a", "val/b", "test/c")
        ),
    }
    assert (out / "labels/train/a.txt").read_text() == (
        "1 0.125000 0.400000 0.150000 0.400000\n0 0.500000 0.500000 1.000000 1.000000\n"
    )
    assert (out / "labels/val/b.txt").read_text() == ""
    assert read_yolo(out / "labels/test/c.txt", CLASSES, width_px=200, height_px=100) == BOXES[2]
    for film, written in zip(films, ("train/a", "val/b", "test/c"), strict=True):
        stored = cv2.imread(str(out / "images" / f"{written}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(stored, cv2.imread(str(film), cv2.IMREAD_UNCHANGED))


def test_without_a_test_fold_none_is_named(films: list[Path], tmp_path: Path) -> None:
    plan = write_dataset(films, BOXES, ("train", "train", "tune"), CLASSES, tmp_path / "set")
    assert "test" not in plan.read_text()
    assert not (tmp_path / "set" / "images" / "test").exists()


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "lengths": ({"folds": FOLDS[:2]}, UsageError, r"3 films, boxes of 3 and folds of 2"),
    "fold": ({"folds": ("train", "val", "tune")}, UsageError, r"unknown fold 'val'"),
    "no tune": ({"folds": ("train", "train", "test")}, UsageError, r"no film is in the fold 'tune'"),
    "label": ({"classes": ("ggo",)}, UsageError, r"unknown class of boxes 'consolidation'"),
    "outside": ({"boxes": ([LabelledBox("ggo", Box(1, 1, 201, 9))], [], [])}, DataError, r"reaches outside"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_makes_no_data_set_is_refused(films: list[Path], tmp_path: Path, kind: str) -> None:
    change, error, says = WRONG[kind]
    told: dict[str, Any] = {"films": films, "boxes": BOXES, "folds": FOLDS, "classes": CLASSES, "out": tmp_path / "s"}
    with pytest.raises(error, match=says):
        write_dataset(**told | change)


def test_films_of_one_name_and_folders_in_use_are_refused(films: list[Path], tmp_path: Path) -> None:
    twin = drawn(tmp_path / "others", "A.png")
    with pytest.raises(DataError, match=r"two films are called A;"):
        write_dataset([*films[:2], twin], BOXES, FOLDS, CLASSES, tmp_path / "s")
    write_dataset(films, BOXES, FOLDS, CLASSES, tmp_path / "s")
    with pytest.raises(UsageError, match=r"holds a data set already"):
        write_dataset(films, BOXES, FOLDS, CLASSES, tmp_path / "s")


def test_without_the_package_one_sentence_names_its_licence(
    films: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "best.pt"
    with pytest.raises(DataError, match=r"best.pt does not exist"):
        detect_yolo(weights, films)
    weights.write_bytes(b"no network")
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    for name in KEPT_QUIET:
        monkeypatch.setenv(name, "already said")
    with pytest.raises(MissingExtra, match=r"^[^.]*AGPL-3\.0[^.]*pip install 'hilum\[yolo\]'$"):
        detect_yolo(weights, films)


class _Numbers:
    def __init__(self, *values: Any) -> None:
        self.values = list(values)

    def tolist(self) -> list[Any]:
        return self.values


def test_what_the_package_finds_comes_in_film_pixels_surest_first(
    films: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a stand-in with the package's own shape of results."""
    seen: list[tuple[Any, dict[str, Any]]] = []

    class Network:
        def __init__(self, path: str, task: str) -> None:
            assert (Path(path).name, task) == ("best.pt", "detect")
            assert all(os.environ[name] for name in KEPT_QUIET)

        def predict(self, film: Any, **told: Any) -> list[Any]:
            seen.append((film, told))
            boxes = SimpleNamespace(
                xyxy=_Numbers([1.0, 2, 30, 40], [-1.0, 5, 201.5, 90]), cls=_Numbers(0.0, 1.0), conf=_Numbers(0.3, 0.8)
            )
            return [SimpleNamespace(boxes=boxes, names={0: "ggo", 1: "consolidation"})]

    for name in KEPT_QUIET:
        monkeypatch.setenv(name, "x")
    monkeypatch.setitem(sys.modules, "ultralytics", SimpleNamespace(YOLO=Network))
    (tmp_path / "best.pt").write_bytes(b"")
    found = detect_yolo(tmp_path / "best.pt", films, score_threshold=0.1, nms_threshold=0.4, size_px=320)
    expected = [LabelledBox("consolidation", Box(0, 5, 200, 90), 0.8), LabelledBox("ggo", Box(1, 2, 30, 40), 0.3)]
    assert found == [expected] * 3
    assert [film.shape for film, _ in seen] == [(100, 200, 3)] * 3
    assert seen[0][1] == {"conf": 0.1, "iou": 0.4, "imgsz": 320, "verbose": False}

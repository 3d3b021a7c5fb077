from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hilum.records import Finding, Prediction
from hilum.report.annotate import WIDTH_PX, write_annotated


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "patient film.png"
    cv2.imwrite(str(path), np.tile(np.arange(0, 200, dtype=np.uint8), (300, 1)))
    return path


def _prediction(film: Path, decided: str = "covid19", probability: float = 0.934) -> Prediction:
    return Prediction(
        film=str(film),
        bundle_digest="d",
        decided=decided,
        findings=(
            Finding(label=decided, probability=probability, threshold=0.4),
            Finding(label="normal", probability=1 - probability, threshold=None),
        ),
    )


def test_the_name_carries_label_and_probability(film: Path, tmp_path: Path) -> None:
    path = write_annotated(_prediction(film), tmp_path / "out")
    assert path == tmp_path / "out" / "covid19_93_patient film.png"
    assert path.is_file()


@pytest.mark.parametrize(("probability", "said"), [(1.0, "100"), (0.0449, "04"), (0.996, "100"), (0.5, "50")])
def test_percents_are_whole(film: Path, tmp_path: Path, probability: float, said: str) -> None:
    name = write_annotated(_prediction(film, probability=probability), tmp_path / "out").name
    assert name.split("_")[1] == said


def test_films_of_one_name_do_not_overwrite_each_other(film: Path, tmp_path: Path) -> None:
    names = [write_annotated(_prediction(film), tmp_path / "out").name for _ in range(3)]
    assert len(set(names)) == 3
    assert names[1:] == ["covid19_93_patient film-2.png", "covid19_93_patient film-3.png"]


def test_a_film_s_own_name_is_written_over_when_it_is_drawn_again(film: Path, tmp_path: Path) -> None:
    names = [write_annotated(_prediction(film), tmp_path / "out", "film-2").name for _ in range(2)]
    assert names == ["covid19_93_film-2.png"] * 2
    assert [file.name for file in (tmp_path / "out").iterdir()] == names[:1]


def test_a_label_that_is_a_path_stays_in_the_folder(film: Path, tmp_path: Path) -> None:
    path = write_annotated(_prediction(film, decided="../up/and away"), tmp_path / "out")
    assert path.parent == tmp_path / "out"
    assert ".." not in path.name.removesuffix(".png") or "/" not in path.name
    assert list((tmp_path / "out").iterdir()) == [path]


def test_the_film_is_shown_whole_with_the_result_and_the_disclaimer_below(film: Path, tmp_path: Path) -> None:
    sheet = np.asarray(Image.open(write_annotated(_prediction(film), tmp_path / "out")))
    height = round(300 * WIDTH_PX / 200)
    assert sheet.shape[1] == WIDTH_PX
    shown, below = sheet[:height], sheet[height:]
    assert np.ptp(shown, axis=2).max() == 0
    assert (np.diff(shown[100, :, 0].astype(int)) >= -1).all()
    lines = (below.max(axis=(1, 2)) > 100).astype(int)
    assert (np.diff(lines) == 1).sum() >= 4  # decision, two findings, disclaimer
    amber = (below[..., 0] > 200) & (below[..., 2] < 120)
    assert amber.sum() > 100
    assert not amber[:, -5:].any()

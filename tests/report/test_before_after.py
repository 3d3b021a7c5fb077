from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hilum.enhance import parse_steps
from hilum.errors import UsageError
from hilum.pixels import fit
from hilum.records import DISCLAIMER
from hilum.report.before_after import _STYLE, GAP_PX, MOST_STEPS, PANEL_PX, TITLE_PX, _panels, _sheet, draw_steps

Pixels = NDArray[np.float32]


@pytest.fixture
def film() -> Pixels:
    rng = np.random.default_rng(0)
    slope = np.linspace(0.2, 0.7, 90)[:, None] + np.linspace(0, 0.2, 120)
    return np.pad(slope + rng.normal(0, 0.01, slope.shape), 6).clip(0, 1).astype(np.float32)


def _texts(film: Pixels, steps: list[str]) -> list[str]:
    figure = _sheet(_panels(film, parse_steps(steps)), picture_px=200)
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [text.get_text() for text in figure.texts]


def test_names_parameters_and_sizes_are_written(film: Pixels) -> None:
    texts = _texts(film, ["crop-black", "clahe:clip=3"])
    assert {"original", "132 × 102 px", "1  crop-black", "tolerance 0.02, 120 × 90 px"} <= set(texts)
    assert {"2  clahe", "clip 3, tiles 8", DISCLAIMER} <= set(texts)


def test_each_picture_is_what_the_steps_made_so_far(film: Pixels) -> None:
    panels = _panels(film, parse_steps(["crop-black", "min-max", "agcwd"]))
    assert [panel.name for panel in panels] == ["original", "crop-black", "min-max", "agcwd"]
    assert panels[0].film is film
    for before, after, step in zip(panels, panels[1:], parse_steps(["crop-black", "min-max", "agcwd"]), strict=False):
        assert np.array_equal(after.film, step.apply(before.film))


def test_grey_steps_run_at_the_final_size(film: Pixels) -> None:
    steps = parse_steps(["crop-black", "clahe"])
    panels = _panels(film, steps, lambda grey: fit(grey, 48))
    assert [panel.name for panel in panels] == ["original", "crop-black", "resize", "clahe"]
    assert panels[2].detail == "48 × 48 px"
    assert np.array_equal(panels[3].film, steps[1].apply(fit(panels[1].film, 48)))


def test_the_film_is_on_the_sheet_under_its_title(film: Pixels, tmp_path: Path) -> None:
    out = tmp_path / "sheets" / "sheet.png"
    draw_steps(film, parse_steps(["min-max"]), out)
    with Image.open(out) as opened:
        sheet = np.asarray(opened.convert("L")).astype(float)
    picture = sheet[TITLE_PX + 2 : TITLE_PX + 225, GAP_PX + 2 : GAP_PX + PANEL_PX - 2]
    inner = picture[30:-30, 30:-30]
    assert inner.mean() == pytest.approx(film[14:-14, 14:-14].mean() * 255, abs=8)
    assert picture[3:9].max() < 40  # the black border
    assert list((tmp_path / "sheets").iterdir()) == [out]


@pytest.mark.parametrize("count", [1, 4, MOST_STEPS])
def test_no_text_is_cut_off_or_covers_another(film: Pixels, count: int) -> None:
    longest = "local-phase:scales=4:wavelength=7.333333:mult=1.2345678:sigma=0.34567898765"
    with mpl.rc_context(_STYLE):
        figure = _sheet(_panels(film, parse_steps([longest] * count)), picture_px=180)
        figure.canvas.draw()
    texts = [*figure.texts]
    for axes in figure.axes:
        texts += [*axes.texts, *(axes.get_xticklabels() if axes.axison else ())]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert len(boxes) >= 6 * (count + 1)
    width, height = figure.canvas.get_width_height()
    for number, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


@pytest.mark.parametrize("shape", [(2, 2), (400, 20), (20, 400)], ids=str)
def test_odd_shapes_are_drawn(shape: tuple[int, int], tmp_path: Path) -> None:
    draw_steps(np.random.default_rng(0).random(shape, np.float32), parse_steps(["zscore"]), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 2 * PANEL_PX + 3 * GAP_PX


def test_the_same_film_gives_the_same_file(film: Pixels, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        draw_steps(film, parse_steps(["salt-and-pepper", "adaptive-median"]), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize("count", [0, MOST_STEPS + 1])
def test_a_sheet_holds_so_many_steps(film: Pixels, count: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 to 9 steps"):
        draw_steps(film, parse_steps(["min-max"] * count), tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()

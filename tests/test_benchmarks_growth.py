"""benchmarks/{growth,roofline,gpu}.py without a clock: exponents, counting, roofs, pages, films, and `--help`."""

import argparse
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
NAMES = ("counting", "growth", "growth_films", "growth_page", "pages", "roofline", "roofline_figure", "watched")
BESIDE = ("measuring", "films")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The scripts as modules; they import each other by bare names, as they do when one is run."""
    pytest.importorskip("torch", reason="operations are counted by torch")
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(FOLDER))
        for name in (*NAMES, *BESIDE):
            sys.modules.pop(name, None)


def cells(scripts: dict[str, ModuleType]) -> list[Any]:
    made = scripts["growth_page"].Cell
    return [
        made("index", 1_000, 3.0, 5.0, 250.0),
        made("index", 10_000, 30.0, 50.0, 260.0),
        made("pairs", 1_000, 2.0, 2.0, 200.0),
        made("pairs", 10_000, 200.0, 200.0, 210.0),
        made("hoard", 1_000, 2.0, 20.0, 100.0),
        made("hoard", 10_000, 200.0, 200.0, 10_000.0),
        made("train", 1_000, 40.0, 40.0, 900.0, parts={"features": 12.5}),
        made("lungs", 1_000, 40.0, 40.0, 500.0),
        made("lungs", 10_000, stopped="would take about 400 s, more than 100"),
        made("describe", 100_000, 1.0, 1.0, 2048.0),
    ]


def test_an_exponent_is_the_slope_between_two_sizes(scripts: dict[str, ModuleType]) -> None:
    page = scripts["growth_page"]
    few, many = (
        page.Cell("x", 100, processor_s=2.0, peak_mb=50.0),
        page.Cell("x", 10_000, processor_s=20_000.0, peak_mb=500.0),
    )
    assert page.exponent(few, many) == pytest.approx(2.0)
    assert page.exponent(few, many, "peak_mb") == pytest.approx(0.5)


def test_only_stages_that_grow_faster_in_time_or_in_memory_are_named(scripts: dict[str, ModuleType]) -> None:
    found = scripts["growth_page"].faster_than_linear(cells(scripts))
    assert found == {"pairs": pytest.approx(2.0), "hoard": pytest.approx(2.0)}
    rows = {row.what: row.met for row in scripts["growth_page"].rows_of(cells(scripts))}
    assert rows["index, 1,000 to 10,000 films"] is True
    assert rows["pairs, 1,000 to 10,000 films"] is False
    assert rows["describe, 100,000 films"] is False, "2 GB are more than 1 GB"


def test_a_stage_is_expected_to_take_what_the_sizes_before_say(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    growth, cell = scripts["growth"], scripts["growth_page"].Cell
    file = tmp_path / "cells.jsonl"
    book = growth.Book(file)
    assert growth.expected_s(book, "view", 100) is None
    book.add(cell("view", 100, 10.0, 10.0, 1.0))
    assert growth.expected_s(book, "view", 1_000) == pytest.approx(100.0)
    book.add(cell("view", 1_000, 1_000.0, 1_000.0, 1.0))
    assert growth.expected_s(book, "view", 10_000) == pytest.approx(100_000.0)
    file.write_text(file.read_text() + '{"stage": "torn', encoding="utf-8")
    again = growth.Book(file)
    assert again.find("view", 1_000) == book.find("view", 1_000), "a torn last line is passed over"
    again.add(cell("view", 10_000, 1.0, 1.0, 1.0))
    assert growth.Book(file).find("view", 10_000) is not None, "what follows a torn line is read"


def test_what_was_left_out_is_tried_again_and_what_was_measured_is_not(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    growth, cell = scripts["growth"], scripts["growth_page"].Cell
    book = growth.Book(tmp_path / "cells.jsonl")
    book.add(cell("view", 100, 10.0, 10.0, 1.0))
    book.add(cell("lungs", 100, stopped="would take about 400 s, more than 100"))
    options = argparse.Namespace(again=["index"])
    told = {stage: growth.pending(stage, 100, book, options) for stage in ("view", "lungs", "lesions", "index")}
    assert told == {"view": False, "lungs": True, "lesions": True, "index": True}
    assert growth.pending("view", 1_000, book, options)


def test_what_a_stage_would_find_again_is_removed_before_it_is_measured(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    growth = scripts["growth"]
    place = growth.Place(tmp_path, 60)
    kept = place.cache / "frames" / "rows.bin", place.made("run/run.json")
    found_again = place.cache / "keypoints" / "rows.bin", place.made("run/audit/audit.json")
    for file in (*kept, *found_again):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    growth.STAGES["audit"].forget(place)
    assert [file.exists() for file in (*kept, *found_again)] == [True, True, False, False]


def test_the_page_is_made_of_cells_and_keeps_what_people_wrote(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    page, made = tmp_path / "growth.md", cells(scripts)
    page.write_text("# Growth\n\nBefore.\n\n<!-- growth: begin -->\nyesterday\n<!-- growth: end -->\n\nAfter.\n")
    result = _result("growth")
    for _ in range(2):
        scripts["growth_page"].page_of(page, result, made, {"index": "opens films"})
        text = page.read_text()
        assert text.startswith("# Growth\n\nBefore.\n\n<!-- growth: begin -->")
        assert text.endswith("<!-- growth: end -->\n\nAfter.\n")
    assert "yesterday" not in text
    assert "| index | 3.00, 5.00, 250 | 30.0, 50.0, 260 | not run | 1.00, 0.02 | 5.00, 1.1 |" in text
    assert "would take about 400 s" in text
    assert "pairs (2.00), hoard (2.00)" in text
    assert "features 12.5" in text


def test_the_figure_names_every_stage_once_a_panel(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    scripts["growth_page"].draw(cells(scripts), tmp_path / "growth.svg")
    text = (tmp_path / "growth.svg").read_text()
    for name in ("index (to 10,000)", "pairs (to 10,000)", "lungs (to 1,000)", "describe"):
        assert text.count(f">{name}<") == 2


def test_labels_are_moved_apart_and_no_further(scripts: dict[str, ModuleType]) -> None:
    apart = scripts["pages"].apart
    assert apart([3.0, 1.0, 5.0], 1.0) == [3.0, 1.0, 5.0]
    moved = apart([1.0, 1.1, 1.2, 9.0], 1.0)
    assert np.diff(moved[:3]).min() >= 1.0 - 1e-9
    assert np.mean(moved[:3]) == pytest.approx(1.1)
    assert moved[3] == 9.0


def test_a_small_network_is_counted_as_by_hand(scripts: dict[str, ModuleType]) -> None:
    import torch
    from torch import nn

    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    told = scripts["counting"].count_network(network, torch.zeros(2, 1, 8, 8))
    assert told.ops == 2 * (6 * 6 * 2 * 9) + 2 * (72 * 3)
    weights = 4 * (2 * 9 + 2 + 72 * 3 + 3)
    assert told.least_bytes == 4 * (64 + 3) + weights / 2
    inside = 4 * ((64 + 72) + (72 + 72) + (72 + 3))  # convolution, ReLU, dense layer; flattening moves nothing
    assert told.most_bytes == inside + weights / 2
    half = scripts["counting"].count_network(network, torch.zeros(2, 1, 8, 8), number_bytes=2)
    assert (half.ops, half.least_bytes) == (told.ops, told.least_bytes / 2)


def test_the_least_is_never_more_than_the_most(scripts: dict[str, ModuleType]) -> None:
    counting = scripts["counting"]
    for told in (
        counting.count_jpeg(1e5, 1e6),
        counting.count_png(1e5, 1e6),
        counting.count_frame(1e6, 224),
        counting.count_head(64, 1280, 4),
        counting.count_map(62_720, 49),
        counting.count_reading(1e5),
    ):
        assert 0 < told.least_bytes <= told.most_bytes


def test_a_roof_is_the_lower_of_arithmetic_and_memory(scripts: dict[str, ModuleType]) -> None:
    roofline = scripts["roofline"]
    peaks = roofline.Peaks(float32=100.0, bfloat16=200.0, memory=10.0, file=5.0)
    assert (peaks.roof("float32", 1.0), peaks.roof("float32", 50.0), peaks.roof("bfloat16", 50.0)) == (
        10.0,
        100.0,
        200.0,
    )
    dense = roofline.Point("dense", "float32", 10.0, ops=0.8e9, least_bytes=1e6, most_bytes=2e6)
    assert dense.share(peaks) == pytest.approx(0.8)
    assert dense.bound(peaks) == "arithmetic"
    thin = roofline.Point("thin", "float32", 1.0, ops=5e6, least_bytes=5e6, most_bytes=9e6, why="calls")
    assert thin.share(peaks) == pytest.approx(0.5)
    assert thin.bound(peaks) == "memory"
    reading = roofline.Point("reading", "whole numbers", 1.0, ops=0.0, least_bytes=5e5, most_bytes=5e5, why="calls")
    assert reading.share(peaks) == pytest.approx(0.1)
    said = "\n".join(roofline.told(peaks, peaks, [dense, thin, reading]))
    assert "**Near the roof**: dense (80 %), thin (50 %)." in said
    assert "* reading (10 %): calls" in said


def test_the_roofline_names_every_stage_at_a_height_of_its_own(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    roofline, figure = scripts["roofline"], scripts["roofline_figure"]
    peaks = roofline.Peaks(float32=100.0, bfloat16=200.0, memory=10.0, file=5.0)
    points = [
        roofline.Point(f"stage {number}", "float32", 10.0, ops=0.4e9 + 1e6 * number, least_bytes=1e7, most_bytes=4e7)
        for number in range(8)
    ]
    figure.draw(peaks, points, tmp_path / "roofline.svg")
    text = (tmp_path / "roofline.svg").read_text()
    told = re.findall(r'<text [^>]*?(?:y="|translate\([\d.]+ )([\d.]+)[^>]*>stage \d<', text)
    heights = sorted(float(height) for height in told)
    assert len(heights) == len(points)
    assert np.diff(heights).min() > 11


def test_mixed_films_differ_from_each_other_and_are_the_same_again(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    growth_films = scripts["growth_films"]
    y, x = np.mgrid[0:160, 0:160]
    pictures = [(x + y + 40 * number).astype(np.uint8) for number in range(3)]
    first, other = growth_films.mixed(0, pictures), growth_films.mixed(3, pictures)
    assert first.shape == (160, 160)
    assert np.abs(first.astype(int) - other).mean() > 5, "of the same picture, and another film"
    assert np.array_equal(first, growth_films.mixed(0, pictures))


def test_what_a_command_cost_counts_the_processes_it_started(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    if not Path("/proc/self/smaps_rollup").is_file():
        pytest.skip("memory is read from /proc")
    child = "import time; held = bytearray(80 << 20); sum(i * i for i in range(3_000_000)); time.sleep(0.5)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True); print('done')"
    script = "import os, sys, json; sys.path.insert(0, sys.argv[1]); from dataclasses import asdict\n"
    script += "from pathlib import Path; from watched import watched; file = Path(sys.argv[2])\n"
    script += f"cost = watched([sys.executable, '-c', {parent!r}], os.environ, file, at_most_s=60)\n"
    script += "late = watched(['sleep', '60'], os.environ, file, at_most_s=0.2)\n"
    script += "print(json.dumps([asdict(cost), asdict(late)]))"
    words = [sys.executable, "-c", script, str(FOLDER), str(tmp_path / "log")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    cost, late = json.loads(done.stdout)
    assert (cost["status"], cost["said"].strip()) == (0, "done")
    assert cost["largest_mb"] > 80
    assert cost["peak_mb"] >= cost["largest_mb"]
    assert cost["processor_s"] > 0.05
    assert late["status"] == -9


@pytest.mark.parametrize("name", ["growth", "roofline", "gpu", "growth_parts"])
def test_every_script_says_how_it_is_used(name: str) -> None:
    words = [sys.executable, str(FOLDER / f"{name}.py"), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    assert f"python benchmarks/{name}.py" in done.stdout


def test_without_a_gpu_the_benchmark_says_so_and_goes_well(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the benchmark asks torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    words = [sys.executable, str(FOLDER / "gpu.py"), "--json", str(tmp_path / "gpu.json")]
    subprocess.run(words, capture_output=True, check=True, timeout=120)
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row["why"] for row in rows} == {"not run: no GPU"}
    assert all(row["ratio"] is None for row in rows)


def _result(name: str) -> Any:
    from measuring import Result

    machine = {"processor": "a processor", "cores": "2", "threads": 1, "busy_before": 0.1}
    return Result(name=name, title=name, rows=(), machine=machine)

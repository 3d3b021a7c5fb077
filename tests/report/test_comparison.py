"""The page of a comparison: complete in itself, its links lead to the runs' reports, and it ranks nothing."""

import dataclasses
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from rich.console import Console

from hilum.compare import Compared, Comparison, Seeds, Variant, judge_runs
from hilum.evaluate import Curve, Score
from hilum.records import DISCLAIMER
from hilum.report import comparison_figures as figures
from hilum.report.comparison import comparison_page, format_comparison, write_comparison
from hilum.report.wording import figure
from hilum.run import Run

SVG = "{http://www.w3.org/2000/svg}"
PLACES = ("avg", "max", "grid3")


def words(svg: str) -> str:
    return " | ".join("".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text"))


@pytest.fixture(scope="module")
def folder(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison's folder with three runs of one recipe."""
    out = tmp_path_factory.mktemp("comparison")
    for place in PLACES:
        run = shutil.copytree(finished, out / "runs" / f"tiny_pooling={place}")
        if place != "avg":
            (run / "report.html").write_text("was there before", encoding="utf-8")
    return out


@pytest.fixture(scope="module")
def comparison(folder: Path) -> Comparison:
    """Three runs, the last of which found other films and lies below its floor."""
    variants = [Variant(f"tiny_pooling={place}", "tiny", "", {"network.pooling": place}) for place in PLACES]
    judged = judge_runs(variants, [Run(folder / "runs" / variant.name) for variant in variants])
    first, second, third = judged.rows
    second = dataclasses.replace(second, tune_loss=0.01, differences=shifted(second, 0.0421))
    third = dataclasses.replace(third, differences=None, apart="tested on other films", floor=None)
    pair = (first.variant.name, second.variant.name)
    seeds = Seeds(runs=pair, seeds=(0, 1), mean={"auroc": 0.8125}, deviation={"auroc": 0.0321})
    return dataclasses.replace(judged, rows=(first, second, third), chosen=second.variant.name, seeds=(seeds,))


def shifted(row: Compared, by: float) -> Mapping[str, Score]:
    assert row.differences is not None
    return {m: dataclasses.replace(s, value=by, low=by - 0.06, high=by + 0.02) for m, s in row.differences.items()}


@pytest.fixture(scope="module")
def page(comparison: Comparison, folder: Path) -> str:
    path = write_comparison(comparison, folder)
    assert path == folder / "comparison.html"
    return path.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")


def test_the_page_shows_every_run_its_figures_and_what_chose(page: str, comparison: Comparison) -> None:
    assert DISCLAIMER in page
    for row in comparison.rows:
        assert f"pooling = {row.variant.varied['network.pooling']}" in page
        accuracy = row.scores["accuracy"]
        assert accuracy is not None
        assert figure(accuracy.value) in page
    assert "Chosen on tune: pooling = max" in page
    assert "+0.042" in page
    assert "tested on other films" in page
    assert "not measured" in page
    assert "0.812 ± 0.032" in page
    assert "optimistic" in page


def test_the_page_needs_nothing_from_elsewhere(page: str) -> None:
    assert "default-src 'none'" in page
    for lure in ('src="http', "<link", "@import", "<script"):
        assert lure not in page


def test_links_lead_to_the_reports_of_the_runs(page: str, folder: Path) -> None:
    links = [link for link in re.findall(r'<a href="([^"]+)"', page) if not link.startswith("#")]
    assert len(links) == 3
    for link, place in zip(links, PLACES, strict=True):
        assert link == f"runs/tiny_pooling%3D{place}/report.html"
        assert (folder / "runs" / f"tiny_pooling={place}" / "report.html").is_file()


def test_every_contents_link_has_its_place(page: str) -> None:
    targets = re.findall(r'<a href="#([^"]+)"', page)
    assert {"scores", "training", "seeds"} <= set(targets)
    for target in targets:
        assert f'id="{target}"' in page


def test_ids_are_unique_and_the_table_is_written(page: str, folder: Path) -> None:
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    table = pd.read_csv(folder / "comparison.csv")
    assert table["run"].tolist() == [f"tiny_pooling={place}" for place in PLACES]
    assert table["auroc_difference"].tolist()[1] == pytest.approx(0.0421)


def test_a_report_that_is_there_is_not_made_again(page: str, comparison: Comparison, folder: Path) -> None:
    made, there = (folder / "runs" / f"tiny_pooling={place}" / "report.html" for place in ("avg", "max"))
    assert there.read_text(encoding="utf-8") == "was there before"
    before = made.stat().st_mtime_ns
    write_comparison(comparison, folder)
    assert made.stat().st_mtime_ns == before


def test_without_a_choice_the_page_says_why(comparison: Comparison, folder: Path) -> None:
    page = comparison_page(dataclasses.replace(comparison, chosen=None, notes=("Because.",), seeds=()), folder)
    assert "No run is chosen" in page
    assert "Because." in page
    assert "Chosen on tune" not in page
    assert 'id="seeds"' not in page


def test_names_of_recipes_are_escaped(comparison: Comparison, folder: Path) -> None:
    rows = [
        dataclasses.replace(row, variant=dataclasses.replace(row.variant, recipe="<b>x")) for row in comparison.rows
    ]
    rows[1] = comparison.rows[1]
    page = comparison_page(dataclasses.replace(comparison, rows=tuple(rows)), folder)
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page


def test_the_terminal_shows_the_same(comparison: Comparison) -> None:
    console = Console(width=120, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(format_comparison(comparison))
    told = " ".join(captured.get().split())
    assert "pooling = max (chosen on tune)" in told
    assert "+0.042" in told
    assert "AUROC 0.812 ± 0.032" in told
    assert "optimistic" in told


def test_long_names_are_cut_but_stay_apart() -> None:
    middle = "x" * 60
    cut = figures.drawn_names([f"one{middle}, pooling = avg", f"two{middle}, pooling = avg", "short"])
    assert all(len(name) <= figures.LONGEST for name in cut)
    assert len(set(cut)) == 3
    alike = figures.drawn_names([f"one-of-two-recipes{n}{middle}, pooling = avg" for n in range(12)])
    assert all(len(name) <= figures.LONGEST for name in alike)
    assert len(set(alike)) == 12


def history(losses: list[float], division: int = 0) -> pd.DataFrame:
    table = pd.DataFrame({"repeat": 0, "division": division, "epoch": range(1, len(losses) + 1), "tune_loss": losses})
    return table.assign(tune_accuracy=0.5)


def test_runs_are_told_apart_by_line_where_colours_come_round_again() -> None:
    svg = figures.learning_overlay({f"run {n}": history([1.0, 0.5 + n / 100]) for n in range(10)}, name="many")
    looks = re.findall(r'style="fill: none;([^"]*stroke: var\(--c\d[^"]*)"', svg)
    assert len(set(looks)) == 10
    assert all(f"run {n}" in words(svg) for n in range(10))


def test_the_mean_over_divisions_ends_where_the_first_of_them_does() -> None:
    both = pd.concat([history([1.0, 0.5, 0.9]), history([2.0, 1.5], division=1)])
    mean = figures._mean(both, "tune_loss")
    assert mean.to_dict() == {1: 1.5, 2: 1.0}


def test_the_macro_curve_is_the_mean_at_equal_specificity() -> None:
    diagonal = Curve(kind="roc", label="a", x=(0.0, 1.0), y=(0.0, 1.0))
    perfect = Curve(kind="roc", label="b", x=(0.0, 0.0, 1.0), y=(0.0, 1.0, 1.0))
    x, y = figures.macro_curve([diagonal, perfect])
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(0.75)
    alone = figures.macro_curve([perfect])
    assert [*alone[0]] == [0, 0, 1]


def test_a_difference_of_nothing_can_be_drawn() -> None:
    nothing = Score(metric="auroc", value=0.0, low=0.0, high=0.0, n=10)
    svg = figures.difference_forest({"again": nothing}, "AUROC", "first", name="nothing")
    assert "0.000 [0.000 to 0.000]" in words(svg)


def test_each_run_has_its_own_floor() -> None:
    score = Score(metric="auroc", value=0.9, low=0.85, high=0.95, n=10)
    with_floors = figures.score_forest({"a": score, "b": score}, {"a": 0.6, "b": 0.8}, "AUROC", name="f")
    without = figures.score_forest({"a": score, "b": score}, {}, "AUROC", name="f")
    assert with_floors.count("var(--warn") - without.count("var(--warn") == 4  # a band and a line each

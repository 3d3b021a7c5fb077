"""Figures: complete, the same every time, drawn in the page's colours, and safe to put into a page."""

import dataclasses
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from hilum.describe import Description, describe
from hilum.evaluate import Evaluation
from hilum.report import canvas, comparison_figures, figures
from hilum.report.cohort_figures import cohort_figures
from hilum.report.html import RunReport, run_figures

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> str:
    return " | ".join("".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text"))


@pytest.fixture(scope="module")
def drawn(run: RunReport, description: Description, history: pd.DataFrame) -> dict[str, str]:
    overlay = comparison_figures.learning_overlay({"vgg16": history, "resnet50": history})
    return run_figures(run) | cohort_figures(description) | {"overlay": overlay}


def test_a_run_has_every_figure(drawn: dict[str, str]) -> None:
    expected = {"floors", "learning", "roc", "pr", "reliability", "confusion", "scores-0", "subgroups-2", "overlay"}
    assert expected | {"sources", "views", "ages", "missing"} <= drawn.keys()


def test_every_figure_is_xml_with_a_title_and_ids_of_its_own(drawn: dict[str, str]) -> None:
    ids: list[str] = []
    for name, svg in drawn.items():
        root = ET.fromstring(svg)
        assert root.attrib["role"] == "img"
        title = root.find(f"{SVG}title")
        assert title is not None
        assert title.text
        assert root.attrib["aria-labelledby"] == title.attrib["id"] == f"{name}-title"
        ids += [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert not re.search(r'(?:href="|url\()(?!#)', svg), "a figure refers to nothing outside itself"
        assert "<metadata" not in svg
    assert len(ids) == len(set(ids)), "several figures share a page"


def test_references_point_to_what_is_there(drawn: dict[str, str]) -> None:
    for svg in drawn.values():
        targets = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
        assert targets <= set(re.findall(r'\bid="([^"]+)"', svg))


def test_no_marker_colour_is_left_and_the_page_decides_on_colours(drawn: dict[str, str]) -> None:
    for name, svg in drawn.items():
        assert not re.search(r"#010[0-9a-f]{3}\b", svg), name
        assert "var(--ink, " in svg
        assert "DejaVu" not in svg.replace("var(--figure-font, 'DejaVu Sans', sans-serif)", "")
        assert "fill: #ffffff" not in svg, "no white sheet behind the figure on a dark page"


def test_the_same_input_draws_the_same_text(run: RunReport, description: Description, drawn: dict[str, str]) -> None:
    again = run_figures(run) | cohort_figures(description)
    assert again == {name: drawn[name] for name in again}


def test_drawing_leaves_matplotlib_as_it_was(evaluation: Evaluation) -> None:
    before = dict(mpl.rcParams)
    figures.floor_forest(evaluation)
    assert dict(mpl.rcParams) == before


def test_floor_forest_shows_the_network_beside_every_floor(evaluation: Evaluation) -> None:
    text = words(figures.floor_forest(evaluation))
    for said in (
        "this network",
        "0.900 [0.880–0.910] · n = 300",
        "file header only",
        "0.970 [0.950–0.980]",
        "source only",
    ):
        assert said in text
    assert "0.610" in text, "the score on sources never seen"
    assert "0.990" not in text, "a part of a floor is not drawn"


def test_confusion_counts_and_percents(evaluation: Evaluation) -> None:
    text = words(figures.confusion(evaluation.classes, evaluation.confusion))
    assert "80" in text
    assert "15 %" in text
    assert text.count("n = 100") == 3


def test_a_class_without_films_has_an_empty_row() -> None:
    assert "n = 0" in words(figures.confusion(("a", "b"), ((0, 0), (1, 3))))


def test_curves_carry_their_area_and_interval(drawn: dict[str, str]) -> None:
    assert "bacterial pneumonia 0.930 [0.910–0.940]" in re.sub(r" +", " ", words(drawn["roc"]))
    assert "bacterial pneumonia 0.880 [0.860–0.890]" in re.sub(r" +", " ", words(drawn["pr"]))


def test_best_epoch_is_the_lowest_tune_loss(history: pd.DataFrame) -> None:
    one = history[history["repeat"] == 0]
    flat = one.assign(tune_loss=np.where(one["epoch"] == 7, 0.1, 0.5))
    assert figures.learning_curves(flat) != figures.learning_curves(flat.assign(tune_loss=0.5))
    assert "best epoch" in words(figures.learning_curves(flat))


def test_score_distribution_averages_repeats_and_counts_films(predictions: pd.DataFrame) -> None:
    text = words(figures.score_distribution(predictions, "covid19"))
    assert text.count("n = 50") == 3
    once = predictions.groupby(["image_id", "reference"]).mean(numeric_only=True).reset_index()
    assert figures.score_distribution(once, "covid19") == figures.score_distribution(predictions, "covid19")


def test_subgroups_without_a_figure_are_named_and_unseen_sources_marked(evaluation: Evaluation) -> None:
    svg = figures.subgroup_forest(evaluation, "covid19")
    assert svg is not None
    text = words(svg)
    assert "n/a · n = 4" in text
    assert "sources never seen" in text
    everybody = tuple(s for s in evaluation.scores if not s.source and not s.subgroup)
    assert figures.subgroup_forest(dataclasses.replace(evaluation, scores=everybody), "covid19") is None


def test_hostile_and_unusual_names_are_drawn_inert() -> None:
    svg = figures.confusion(("<script>alert(1)</script>", "$x^2$ & 肺炎"), ((1, 2), (3, 4)))
    assert "<script" not in svg
    assert "$x^2$ &" in words(svg), "no formula is made of a dollar sign"


@pytest.mark.parametrize("labels", [0, 1, 11])
def test_cohorts_of_any_size_are_drawn(labels: int) -> None:
    films = pd.DataFrame({"image_id": ["a", "b"], "source": pd.array(["one", "two"], dtype="string")})
    for label in range(labels):
        films[f"label.l{label}"] = pd.array([True, False], dtype="boolean")
    drawn = cohort_figures(describe(films, films.head(0)))
    assert ("sources" in drawn) == (labels > 0)


def test_many_sources_are_merged() -> None:
    names = [f"hospital {i:02d}" for i in range(12)]
    films = pd.DataFrame({"image_id": names, "source": pd.array(names, dtype="string")})
    films["label.covid19"] = pd.array([True] * 12, dtype="boolean")
    assert "5 others" in words(cohort_figures(describe(films, films.head(0)))["sources"])


@pytest.mark.parametrize(("name", "length", "expected"), [("a_b", 9, "a b"), ("abcdefghij", 5, "abcd…")])
def test_short(name: str, length: int, expected: str) -> None:
    assert canvas.short(name, length) == expected


def test_wrapped_stays_within_two_lines() -> None:
    assert canvas.wrapped("bacterial_pneumonia", 12) == "bacterial\npneumonia"
    assert len(canvas.wrapped("one two three four five six", 8).split("\n")) == 2


def test_a_failing_drawing_leaves_no_settings(evaluation: Evaluation) -> None:
    def fail(_: object) -> None:
        raise RuntimeError

    draw: Callable[..., None] = fail
    before = dict(mpl.rcParams)
    with pytest.raises(RuntimeError):
        canvas.svg("x", "x", draw, height=100)
    assert dict(mpl.rcParams) == before

"""Pages: complete in themselves, well-formed, escaped, legible, and never a bare score."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hilum.report
from hilum.describe import Description, describe
from hilum.evaluate import Evaluation
from hilum.records import DISCLAIMER
from hilum.report.canvas import _ROLES
from hilum.report.films import ExampleFilm
from hilum.report.html import RunReport, describe_page, render, run_report

from .page import Page

CSS = (Path(hilum.report.__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run_page(run: RunReport) -> str:
    return run_report(run)


@pytest.fixture(scope="module")
def cohort_page(description: Description) -> str:
    return describe_page(description, "A cohort")


def test_pages_request_nothing(run_page: str, cohort_page: str) -> None:
    for text in (run_page, cohort_page):
        page = Page(text)
        for tag, attributes in page.elements:
            for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster", "background"):
                value = attributes.get(name, "#")
                assert value.startswith(("#", "data:image/")), (tag, name, value)
            assert not any(name.startswith("on") for name in attributes)
        assert not page.all("script")
        assert not page.all("link")
        assert not re.search(r"url\((?!#)|@import", text)
        policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
        assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_links_within_a_page_arrive(run_page: str, cohort_page: str) -> None:
    for text in (run_page, cohort_page):
        page = Page(text)
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        links = {link["href"].removeprefix("#") for link in page.all("a")}
        assert links
        assert links <= set(ids)


def test_the_page_opens_with_the_whole_headline(run_page: str) -> None:
    words = Page(run_page).words
    opening = words[: words.index("What classifiers reach on the same folds")]
    for said in (
        "A fabricated run",
        "macro AUROC 0.900 [0.880–0.910] 95 % interval",
        "n = 300 films, 270 groups",
        "Shortcut floor 0.970 [0.950–0.980] file header only",
        "Above the floor −0.070",
        "Sources never seen 0.610 [0.590–0.620] n = 75",
        "audit verdict: not audited ",
        "unseen source 0.610 [0.590, 0.620] (n = 75 films) · not audited (hilum audit RUN)",
        "A model that only reads file headers does better (0.970): this score is not evidence",
        "28 films only",
    ):
        assert said in opening, said
    assert "No evidence above the shortcut floor" in opening, "the standing is said in words, not by colour alone"


def test_the_page_holds_what_the_run_was_made_of(run_page: str) -> None:
    words = Page(run_page).words
    for said in (
        "120 films of 78 named patients from 2 sources",
        "comes from one source, hospital_a",
        "lateral view",
        'name = "vgg16" # <frozen>',
        "Confident wrong (n = 1)",
        "film/002",
        "2.9",
        "ab" * 32,
        "cd" * 32,
        "T = 1.300",
        "means over 2 repeats",
        "bacterial_pneumonia 100",
    ):
        assert said in words, said


def test_the_disclaimer_is_in_header_and_footer(run_page: str, cohort_page: str) -> None:
    for text in (run_page, cohort_page):
        for part in ("header", "footer"):
            found = re.search(rf"<{part}\b.*?</{part}>", text, re.DOTALL)
            assert found
            assert DISCLAIMER in found.group()


def test_every_figure_has_a_caption_and_every_picture_words(run_page: str, cohort_page: str) -> None:
    for text in (run_page, cohort_page):
        page = Page(text)
        assert len(page.all("figure")) == len(page.all("figcaption")) > 4
        assert all(image["alt"] for image in page.all("img"))
        assert len(page.all("caption")) == len(page.all("table")) > 4
        tables = [div for div in page.all("div") if "table" in div.get("class", "").split()]
        assert len(tables) == len(page.all("table"))
        assert all(div["tabindex"] == "0" and div["aria-label"] for div in tables), "the keyboard can scroll them"


def test_the_cohort_page_shows_the_counts(cohort_page: str, description: Description) -> None:
    words = Page(cohort_page).words
    for counts in description.tables:
        assert f"{counts.title} (n = {counts.n:,} films)" in words
    for row, cells in zip(description.sources.rows, description.sources.cells, strict=True):
        assert " ".join([row, *map(str, cells)]) in words


HOSTILE = '<script>alert("x")</script><img src=//evil onerror=alert(1)>'


def test_hostile_names_come_out_inert(evaluation: Evaluation, run: RunReport) -> None:
    films = pd.DataFrame({"image_id": [HOSTILE, "b"], "source": pd.array([HOSTILE, "two"], dtype="string")})
    films[f"label.{HOSTILE}"] = pd.array([True, False], dtype="boolean")
    lost = pd.DataFrame({"image_id": [HOSTILE], "left_out": pd.array([HOSTILE], dtype="string")})
    classes = (HOSTILE, *evaluation.classes[1:])
    rename = {evaluation.classes[0]: HOSTILE}
    scores = tuple(dataclasses.replace(s, label=rename.get(s.label or "", s.label)) for s in evaluation.scores)
    curves = tuple(dataclasses.replace(c, label=rename.get(c.label, c.label)) for c in evaluation.curves)
    assert run.predictions is not None
    predictions = run.predictions.rename(columns={"p.covid19": f"p.{HOSTILE}"}).replace({"reference": rename})
    assert run.split is not None
    content = dataclasses.replace(
        run,
        title=HOSTILE,
        recipe_name=HOSTILE,
        recipe_toml=HOSTILE,
        sentence=HOSTILE,
        verdict=HOSTILE,
        evaluation=dataclasses.replace(evaluation, classes=classes, scores=scores, curves=curves, notes=(HOSTILE,)),
        description=describe(films, lost),
        split=run.split.replace({"target": rename}),
        predictions=predictions,
        examples=[ExampleFilm(HOSTILE, np.zeros((9, 9), np.uint8), HOSTILE, "b", 0.5, "borderline")],
        provenance={HOSTILE: {HOSTILE: HOSTILE}},
        left_out=lost,
        warnings=(HOSTILE,),
    )
    for text in (run_report(content), describe_page(content.description or describe(films, lost), HOSTILE)):
        page = Page(text)
        assert HOSTILE in page.text, "shown as it is"
        assert not page.all("script")
        assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
        assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_a_page_says_what_a_run_does_not_have(evaluation: Evaluation) -> None:
    bare = dataclasses.replace(evaluation, scores=(), curves=(), floors=(), confusion=((0,) * 3,) * 3, notes=())
    words = Page(run_report(RunReport(title="t", recipe_name="r", recipe_toml="", evaluation=bare))).words
    for said in (
        "No score could be computed",
        "not measured",
        "none held out",
        "no learning curves",
        "No example films",
        "The split is not part of this report",
    ):
        assert said in words


def test_a_sentence_and_verdict_given_replace_the_derived_ones(run: RunReport) -> None:
    words = Page(run_report(dataclasses.replace(run, sentence="Judge yourself.", verdict="fail"))).words
    assert "Judge yourself." in words
    assert "audit verdict: fail" in words
    assert "does better" not in words


def test_pages_are_the_same_every_time(run: RunReport, run_page: str) -> None:
    assert run_report(run) == run_page


def test_a_template_may_not_use_what_it_is_not_given() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("cohort.html.j2", title="t")


def tokens(dark: bool) -> dict[str, str]:
    light_part, dark_part = CSS.split("@media screen and (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", light_part))
    return found | dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", dark_part.split("* {")[0])) if dark else found


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_reaches_contrast_aa(dark: bool) -> None:
    colour = tokens(dark)
    pairs = [(ink, paper) for ink in ("ink", "muted", "accent") for paper in ("page", "card")]
    pairs += [
        ("fail", "card"),
        ("warn", "card"),
        ("accent", "accent-wash"),
        ("warn", "warn-wash"),
        ("fail", "fail-wash"),
    ]
    pairs += [("ink", f"{name}-wash") for name in ("accent", "warn", "fail")]
    for ink, paper in pairs:
        assert contrast(colour[ink], colour[paper]) >= 4.5, (ink, paper)
    for place in range(1, 9):
        assert contrast(colour[f"c{place}"], colour["card"]) >= 3, f"curve {place}"


def test_figures_alone_are_drawn_in_the_pages_light_colours() -> None:
    light = tokens(dark=False)
    assert {name: light[name] for name, _ in _ROLES.values()} == dict(_ROLES.values())

"""The audit's page and the run report's section: every check once, in words, inert, complete in itself."""

import base64
import dataclasses
import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.audit.check import Finding, Measured, Verdict, found, skipped
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import Audit, save_audit
from hilum.audit.subject import Subject
from hilum.evaluate import Curve, Evaluation, headline_score
from hilum.records import DISCLAIMER
from hilum.report.audit import STANDINGS, audit_page, meaning, write_audit
from hilum.report.audit_figures import measured_plot, ratio_plot, roc_plot
from hilum.report.audit_films import film_rows
from hilum.report.audit_tables import detail_grids, limit_texts, ordered, p_text, summary_grid, unasked
from hilum.report.html import RunReport, run_report
from hilum.report.pages import audit_of, gather, write_run_report
from hilum.run import Run
from hilum.scoring import Score

from .page import Page

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '<script>alert("x")</script><img src=//evil onerror=alert(1)>'
DIAGONAL = {"x": [0.0, 0.3, 1.0], "y": [0.0, 0.8, 1.0]}


def measured(value: float, low: float | None = None, high: float | None = None, **more: object) -> Measured:
    return Measured(**{"of": "all", "value": value, "low": low, "high": high, "p": 0.0005, "n": 120, **more})


def make_findings(label: str = "covid19") -> tuple[Finding, ...]:
    """A finding of every kind; 3 and 15 are skipped, 23 was not asked."""
    line = {label: DIAGONAL}
    counted = {"counts": True, "p": None}

    def make(name: str, says: str, *rows: Measured, **details: object) -> Finding:
        return found(QUESTIONS[name], rows, says, details=details)

    levels = {label: 90, "other": 0}
    place = {"source": label, "label": label, "sensitivity": 0.91, "specificity": None, "ppv": None, "npv": None}
    flips = {"image_id": "f1", "from": label, "to": "other"}
    shares = {"a marker put in upper left": 0.2, "markers painted over": 0.0, "marker elsewhere": 0.013}
    probes = [
        measured(v, v - 0.05, v + 0.04, of=n) for n, v in {"border": 0.9, "corners": 0.63, "histogram": 0.5}.items()
    ]
    unseen = {"value": 0.61, "low": 0.5, "high": 0.7, "n": 75}
    return (
        make("source", "1 says.", measured(0.8, 0.7, 0.86), roc={"floor": line}, tables={"source": {label: levels}}),
        make("header", "2 says.", measured(0.7, 0.65, 0.8), medians={"width": {label: 640.0}}, roc={"floor": line}),
        skipped(QUESTIONS["lungs-out-retrained"], f"no lungs {label}"),
        make("lungs-out", "4 says.", measured(0.9, 0.8, 0.95), roc={"whole": line, "lungs hidden": line}),
        make("edges", "5 says.", *probes, roc={"border": line, "corners": line}),
        make("source-within-label", "6 says.", measured(0.1, 0.0, 0.2), labels=[told_apart(label)]),
        make("unseen-source", "7 says.", measured(0.3, 0.2, 0.4), unseen=unseen, by="probe", sources=[kept_out(label)]),
        make("too-good", "8 says.", measured(0.99, 0.97, 1.0), external=None),
        make("groups-across-folds", "9 says.", measured(2, **counted), groups=["g7", label]),
        make("duplicates", "10 says.", measured(1, **counted), **{"the same picture": copies()}),
        make("attributes", "11 says.", measured(0.5, 0.4, 0.6, p=0.4), within=[stratum(label)]),
        make("hygiene", "12 says.", measured(0, **counted), faults=[], checked=[f"thresholds {label}"]),
        make("markers", "13 says.", measured(0.2, 0.12, 0.3), flips=shares, **marker_flips(flips)),
        make("saliency-in-lungs", "14 says.", measured(1.2, 1.1, 1.3), ratios=[1.0, 1.2, 1.5]),
        skipped(QUESTIONS["saliency-on-lesions"], "no lesion is drawn"),
        make("size", "16 says.", measured(0.07, **counted), films={label: 50}, groups={label: 40}),
        make(
            "calibration",
            "17 says.",
            measured(0.02, 0.01, 0.03),
            reliability={label: {**DIAGONAL, "weight": [1, 2, 3]}},
        ),
        make("threshold-transport", "18 says.", measured(0.2, 0.15, 0.3), sources=[place | counts()], prevalence=0.05),
        make("perturbation", "19 says.", measured(0.0, 0.0, 0.01, p=1.0)),
        make("seeds", "20 says.", measured(0.01, 0.0, 0.015), areas=[0.9, 0.91], over="folds"),
        make("gate", "21 says.", measured(0.9, 0.8, 0.94), kinds={"noise": [54, 60]}),
        make("self-test", "22 says.", measured(0, **counted), table=[["marker", "FAIL", label, "PASS", "-"]]),
    )


def told_apart(label: str) -> dict[str, object]:
    return {"label": label, "sources": ["a", label], "confusion": [[8, 2], [1, 9]], "above chance": 0.3}


def kept_out(label: str) -> dict[str, object]:
    return {"source": label, "labels": [label], "n": 75, "inside": {}, "outside": {}, "roc": {label: DIAGONAL}}


def copies() -> dict[str, object]:
    return {"pairs": 3, "between_sources": 1, "leaked": 1, "such_as": [["f0", "f1"], ["f1", "gone"]]}


def stratum(label: str) -> dict[str, object]:
    return {"subgroup": "sex=F", "label": label, "value": 0.51, "low": None, "high": None, "n": 31}


def counts() -> dict[str, int]:
    return {"n_positive": 40, "n_negative": 0}


def marker_flips(flips: dict[str, str]) -> dict[str, object]:
    change = "a marker put in upper left"
    return {"examples": {change: [flips]}, "controls": {change: "marker elsewhere"}, "films": 120}


def make_audit(**more: object) -> Audit:
    score = Score(metric="auroc", value=0.93, low=0.9, high=0.96, n=120, n_positive=50, label="covid19")
    content = {
        "title": "A made-up model",
        "kind": "run",
        "subject_digest": "ab" * 32,
        "index_digest": "cd" * 32,
        "bundle_digest": None,
        "score": score,
        "external": None,
        "findings": make_findings(),
        "n_films": 120,
        "n_groups": 97,
        "notes": ("what to know",),
        "version": "0.0.0",
    }
    return Audit(**{**content, **more})


@pytest.fixture(scope="module")
def audit() -> Audit:
    return make_audit()


@pytest.fixture(scope="module")
def text(audit: Audit, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("audit")
    assert write_audit(audit, out) == out / "audit.html"
    return (out / "audit.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_made_up_audit_has_every_verdict(audit: Audit) -> None:
    assert {finding.verdict for finding in audit.findings} == set(Verdict)
    assert [question.name for question in unasked(audit)] == ["provenance"]


def test_the_page_opens_with_the_whole_headline(page: Page) -> None:
    opening = page.words[: page.words.index("All checks, the worst first")]
    for said in (
        "Audit: A made-up model",
        "AUROC, covid19 0.930 [0.900–0.960] 95 % interval",
        "120 films of 97 groups",
        "Shortcut floor 0.900 [0.850–0.940] border",
        "Above the floor +0.030",
        "Unseen source 0.610 [0.500–0.700] n = 75",
        "Verdict FAIL",
        "20 of 23 checks made",
        "what to know",
    ):
        assert said in opening, said


def test_every_question_stands_once_with_what_was_found(page: Page, audit: Audit) -> None:
    for question in QUESTIONS.values():
        assert page.words.count(question.asks) == 1, question.name
        assert page.words.count(f" {question.number}. {question.asks}") == 1
    for finding in audit.findings:
        told = finding.says if finding.measured else finding.reason
        assert page.words.count(f" {told}") == 1, told
        question = QUESTIONS[finding.check]
        if finding.measured:
            assert question.because in page.words
            assert question.metric in page.words
            assert all(limit in page.words for limit in limit_texts(question, finding.measured[0]))


def test_every_verdict_is_a_word_and_a_glyph(text: str, audit: Audit) -> None:
    articles = dict(re.findall(r'<article id="([^"]+)">(.*?)</article>', text, re.DOTALL))
    assert list(articles) == [one.check for one in ordered(audit)] + ["provenance"]
    for finding in audit.findings:
        strip = articles[finding.check].split("</p>")[0]
        assert f"<b>{finding.verdict.value} · {finding.check}" in strip
        assert "<svg" in strip
        standing = STANDINGS[finding.verdict]
        assert f'class="meaning {standing}"' in strip if standing else 'class="meaning"' in strip
    assert "<b>NOT ASKED · provenance" in articles["provenance"]


def test_the_worst_stand_first(audit: Audit) -> None:
    verdicts = [one.verdict for one in ordered(audit)]
    rank = [Verdict.FAIL, Verdict.WARN, Verdict.PASS, Verdict.SKIPPED]
    assert verdicts == sorted(verdicts, key=rank.index)
    failed = [QUESTIONS[one.check].number for one in ordered(audit) if one.verdict == Verdict.FAIL]
    assert failed == sorted(failed)


def test_the_page_requests_nothing_and_its_links_arrive(page: Page, text: str) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {link["href"] for link in page.all("a")}
    assert {f"#{name}" for name in ("source", "fail", "skipped", "checks")} <= links
    assert {link.removeprefix("#") for link in links} <= set(ids)
    for tag, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster", "background"):
            assert attributes.get(name, "#").startswith(("#", "data:image/")), (tag, name)
    assert not page.all("script")
    assert not page.all("link")
    assert not re.search(r"url\((?!#)|@import", text)
    assert "default-src 'none'" in text
    assert DISCLAIMER in text


def test_figures_have_captions_tables_can_be_scrolled_and_nothing_is_wider_than_a_phone(page: Page) -> None:
    assert len(page.all("figure")) == len(page.all("figcaption")) > 20
    assert len(page.all("caption")) == len(page.all("table")) > 12
    assert sum("table" in div.get("class", "").split() for div in page.all("div")) == len(page.all("table"))
    for tag, attributes in page.elements:
        widths = re.findall(r"(?<![-\w])(?:min-)?width: *(\d+)px", attributes.get("style", ""))
        assert all(int(width) <= 390 for width in widths), (tag, attributes)
        for least in re.findall(r"minmax\(([^()]+),", attributes.get("style", "")):
            assert not least.endswith("px"), "a column may shrink to the page"


def test_hostile_text_comes_out_inert(tmp_path: Path) -> None:
    hostile = [dataclasses.replace(one, says=HOSTILE) for one in make_findings(HOSTILE)]
    hostile = [
        dataclasses.replace(one, measured=tuple(dataclasses.replace(m, of=HOSTILE) for m in one.measured))
        for one in hostile
    ]
    made = make_audit(title=HOSTILE, kind=HOSTILE, notes=(HOSTILE,), findings=tuple(hostile), version=HOSTILE)
    page = Page(audit_page(made, tmp_path))
    assert page.text.count(HOSTILE) > 40, "shown as it is"
    assert not page.all("script")
    assert not page.all("img")
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_what_findings_keep_is_shown(page: Page) -> None:
    for said in (
        "Films by source and label",
        "width 640",
        "sex: F covid19 0.510 31",
        "covid19 covid19 0.910 n/a n/a n/a 40 + 0",
        "a marker put in upper left 20.0 % 1.3 %",
        "the same picture 3 1 1",
        "thresholds covid19",
        "noise 54 60",
        "marker FAIL covid19 PASS -",
        "covid19 50 40",
        "PPV and NPV at a prevalence of 5 %",
    ):
        assert said in page.words, said


def test_details_of_another_shape_are_left_out(tmp_path: Path) -> None:
    one = measured(1, counts=True, p=None)
    findings = [dataclasses.replace(finding, measured=(one,)) for finding in make_findings() if finding.measured]
    bare, odd = (
        tuple(dataclasses.replace(finding, details=details(finding)) for finding in findings)
        for details in (lambda _: {}, lambda finding: {key: [None, 3] for key in finding.details})
    )
    assert audit_page(make_audit(findings=odd), tmp_path) == audit_page(make_audit(findings=bare), tmp_path)


def test_pages_are_the_same_every_time(tmp_path: Path) -> None:
    made = make_audit(findings=make_findings()[:1])
    assert audit_page(made, tmp_path) == audit_page(made, tmp_path)


def test_what_the_verdict_means_is_said_of_whom_it_accuses(audit: Audit) -> None:
    said = meaning(audit)
    assert "Whatever is trained on these films" in said
    assert "edges" in said
    assert "This model" in said
    passed = tuple(one for one in audit.findings if one.verdict == Verdict.PASS)
    assert "does not show that there is none" in meaning(make_audit(findings=passed))
    none = make_audit(findings=(skipped(QUESTIONS["source"], "one source"),), score=None)
    assert "Nothing was measured" in meaning(none)


def test_an_audit_without_a_measurement_has_a_page(tmp_path: Path) -> None:
    none = make_audit(findings=(skipped(QUESTIONS["source"], "one source"),), score=None, notes=())
    words = Page(audit_page(none, tmp_path)).words
    assert "one source" in words
    assert "Score n/a not measured" in words
    assert "Not made (23)" in words
    assert "Verdict: SKIPPED" in words


def words(svg: str) -> str:
    return " | ".join("".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text"))


def test_limits_are_marked_as_zones_and_verdicts_by_shape() -> None:
    question = QUESTIONS["edges"]
    rows = [measured(0.9, 0.8, 0.95, of="bad"), measured(0.7, 0.62, 0.8, of="fair"), measured(0.5, 0.4, 0.6, of="good")]
    svg = measured_plot(found(question, rows, "says"), question, name="zones")
    assert svg is not None
    told = words(svg)
    for said in ("WARN > 0.6", "FAIL > 0.75", "bad", "0.900 [0.800–0.950]", "good"):
        assert said in told
    assert all(f"var(--{role}" in svg for role in ("warn", "fail", "accent"))
    assert "bad 0.900 [0.800–0.950], FAIL; fair" in svg, "those who do not see it are told"


def test_a_measurement_with_limits_of_its_own_is_drawn_and_told_with_them() -> None:
    question = QUESTIONS["edges"]
    rows = [measured(0.72, 0.64, 0.8, of=name) for name in ("border", "thumbnail")]
    finding = found(question, rows, "says")
    svg = measured_plot(finding, question, name="own")
    assert svg is not None
    told = words(svg)
    assert "border, WARN > 0.6, FAIL > 0.75" in told
    assert "thumbnail, WARN > 0.7, FAIL > 0.9" in told
    assert "border 0.720 [0.640–0.800], WARN; thumbnail 0.720 [0.640–0.800], PASS." in svg
    assert "Limits: border WARN &gt; 0.6, FAIL &gt; 0.75; thumbnail WARN &gt; 0.7, FAIL &gt; 0.9." in svg
    grid = detail_grids(finding)[0]
    assert [(row[0], row[-1]) for row in grid.rows] == [
        ("border", "WARN > 0.6, FAIL > 0.75"),
        ("thumbnail", "WARN > 0.7, FAIL > 0.9"),
    ]
    assert "limits" not in detail_grids(found(QUESTIONS["markers"], rows, "says"))[0].head


def test_a_row_of_the_summary_tells_the_limits_of_what_decides(audit: Audit) -> None:
    alone = found(QUESTIONS["edges"], [measured(0.95, 0.92, 0.99, of="thumbnail")], "says")
    row = summary_grid(dataclasses.replace(audit, findings=(alone,)), {}).rows[0]
    assert "WARN > 0.7, FAIL > 0.9" in row


def test_where_low_is_bad_zones_lie_on_the_other_side() -> None:
    question = QUESTIONS["gate"]
    svg = measured_plot(found(question, [measured(0.9, 0.8, 0.94)], "says"), question, name="low")
    assert svg is not None
    assert "WARN < 0.99" in words(svg)
    assert "FAIL < 0.95" in words(svg)
    assert "films" in words(ratio_plot([0.5, 1.0, 2.0], QUESTIONS["saliency-in-lungs"], name="ratios"))


def test_counts_need_no_plot() -> None:
    question = QUESTIONS["duplicates"]
    assert measured_plot(found(question, [measured(3, counts=True)], "says"), question, name="count") is None
    assert measured_plot(skipped(question, "because"), question, name="none") is None


def test_of_many_measurements_the_worst_are_drawn_and_all_are_in_the_table() -> None:
    question = QUESTIONS["threshold-transport"]
    rows = [measured(n / 100, 0.0, n / 80, of=f"source-{n}") for n in range(30)]
    finding = found(question, rows, "says")
    svg = measured_plot(finding, question, name="many")
    assert svg is not None
    assert "source-29" in words(svg)
    assert "source-3 " not in words(svg)
    assert len(detail_grids(finding)[0].rows) == 30


def test_a_small_p_is_not_told_as_none() -> None:
    assert p_text(1e-9) == "< 0.0001"
    assert p_text(0.0123) == "0.0123"


def test_pictures_beside_the_audit_are_put_inside_and_no_others(tmp_path: Path) -> None:
    out = tmp_path / "audit"
    out.mkdir()
    for folder in (out, tmp_path):
        cv2.imwrite(str(folder / "seen.png"), np.full((20, 30), 128, np.uint8))
    (out / "note.txt").write_text("no picture")
    names = ("seen.png", "../seen.png", "note.txt", "gone.png")
    finding = found(QUESTIONS["edges"], [measured(0.9, 0.8, 0.95)], "says", pictures=names)
    images = Page(audit_page(make_audit(findings=(finding,)), out)).all("img")
    assert len(images) == 1
    assert images[0]["src"].startswith("data:image/jpeg;base64,")
    assert (images[0]["width"], images[0]["height"]) == ("30", "20")


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Three drawn films, the last of which is gone."""
    root = tmp_path_factory.mktemp("films")
    for number in range(2):
        pixels = np.random.default_rng(number).integers(20, 90, (200, 160), np.uint8)
        cv2.imwrite(str(root / f"f{number}.png"), pixels)
    films = pd.DataFrame({"image_id": ["f0", "f1", "f2"], "path": ["f0.png", "f1.png", "f2.png"], "source": "here"})
    predictions = pd.DataFrame({"image_id": ["f0"], "fold": ["test"]})
    return Subject(
        title="drawn",
        kind="scores",
        classes=("covid19", "other"),
        films=films,
        root=root,
        index_digest="0" * 64,
        predictions=predictions,
    )


def finding_of(name: str) -> Finding:
    return next(one for one in make_findings() if one.check == name)


def test_copies_stand_side_by_side(subject: Subject) -> None:
    (row,) = film_rows(finding_of("duplicates"), subject)
    assert row.pairs
    assert [shot.caption for shot in row.shots] == ["f0 (here)", "f1 (here)"], "a film that is not known is left out"
    assert all(shot.uri for shot in row.shots)
    assert "1 of 1 pairs" in row.title


def test_a_flip_is_shown_as_it_is_and_changed(subject: Subject) -> None:
    (row,) = film_rows(finding_of("markers"), subject)
    before, after = row.shots
    assert before.caption == "f1, as it is: covid19"
    assert after.caption == "a marker put in upper left: other"
    assert before.uri != after.uri


def test_films_are_shown_only_where_they_are_at_hand(subject: Subject) -> None:
    finding = finding_of("duplicates")
    assert film_rows(finding, None) == []
    assert film_rows(finding_of("edges"), subject) == []
    pair = {"such_as": [["f0", "f2"]]}
    (row,) = film_rows(dataclasses.replace(finding, details={"the same picture": pair}), subject)
    assert [shot.uri is None for shot in row.shots] == [False, True]


def audit_of_run(folder: Path, **more: object) -> Audit:
    run = Run(folder)
    known = {"index_digest": run.index.digest, "score": headline_score(run.evaluation)}
    return make_audit(**{**known, **more})


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_without_audit_and_explanations_the_run_s_page_has_neither(run_folder: Path) -> None:
    told = gather(Run(run_folder))
    assert told.audit is None
    assert told.verdict is None
    page = Page(run_report(told))
    assert "audit verdict: not audited " in page.words
    assert not {"#audit", "audit/audit.html", "explain/explanations.html"} & {link["href"] for link in page.all("a")}


def test_the_run_s_page_has_the_audit_s_table_and_links(run_folder: Path) -> None:
    save_audit(audit_of_run(run_folder), run_folder / "audit" / "audit.json")
    for name in ("audit/audit.html", "explain/explanations.html"):
        (run_folder / name).parent.mkdir(exist_ok=True)
        (run_folder / name).write_text("a page", encoding="utf-8")
    page = Page(write_run_report(Run(run_folder)).read_text(encoding="utf-8"))
    assert "audit verdict: FAIL" in page.words
    assert "shortcut floor 0.900 (border)" in page.words
    assert page.words.count("All checks, the worst first") == 1
    assert "groups-across-folds FAIL 2" in page.words
    links = [link["href"] for link in page.all("a")]
    assert {"#audit", "audit/audit.html", "explain/explanations.html"} <= set(links)


def test_links_lead_from_where_the_page_is_written(run_folder: Path) -> None:
    save_audit(audit_of_run(run_folder), run_folder / "audit" / "audit.json")
    (run_folder / "audit" / "audit.html").write_text("a page", encoding="utf-8")
    elsewhere = run_folder.parent / "pages" / "page.html"
    text = write_run_report(Run(run_folder), elsewhere).read_text(encoding="utf-8")
    links = re.findall(r'href="([^"#][^"]*audit\.html)"', text)
    assert links
    assert (elsewhere.parent / links[0]).resolve() == (run_folder / "audit" / "audit.html").resolve()


@pytest.mark.parametrize("stale", ["films", "score", "json"])
def test_an_audit_of_something_else_is_told_and_not_shown(run_folder: Path, stale: str) -> None:
    other = {"films": {"index_digest": "0" * 64}, "score": {"score": make_audit().score}, "json": {}}[stale]
    path = run_folder / "audit" / "audit.json"
    save_audit(audit_of_run(run_folder, **other), path)
    if stale == "json":
        path.write_text(json.dumps({"format": 99}), encoding="utf-8")
    told = gather(Run(run_folder))
    assert told.audit is None
    assert any("the run's audit is not shown" in warning and "audit again" in warning for warning in told.warnings)


def test_an_audit_of_the_run_is_read(run_folder: Path) -> None:
    made = audit_of_run(run_folder)
    save_audit(made, run_folder / "audit" / "audit.json")
    assert audit_of(Run(run_folder)) == made


def test_the_summary_names_every_finding_and_links_to_no_page_that_is_not_there(
    audit: Audit, evaluation: Evaluation
) -> None:
    grid = summary_grid(audit, {})
    assert [row[0] for row in grid.rows] == [one.check for one in ordered(audit)]
    bare = dataclasses.replace(evaluation, scores=(), curves=(), floors=(), confusion=((0,) * 3,) * 3)
    report = RunReport(title="t", recipe_name="r", recipe_toml="", evaluation=bare, audit=audit, verdict="FAIL")
    page = Page(run_report(report))
    assert "audit verdict: FAIL" in page.words
    assert "groups-across-folds FAIL 2" in page.words
    assert "The whole audit" not in page.words


def test_the_page_opens_with_what_the_audit_adds_to_floor_and_unseen_source(
    audit: Audit, evaluation: Evaluation
) -> None:
    inside = tuple(one for one in evaluation.scores if one.fold == "test")
    unseen = {"unseen": {"value": 0.55, "low": 0.45, "high": 0.65, "n": 44}, "by": "probe"}
    probed = Finding(check="unseen-source", verdict=Verdict.WARN, says="?", details=unseen)
    others = tuple(one for one in audit.findings if one.check != "unseen-source")
    made = dataclasses.replace(audit, findings=(*others, probed), external=None)
    lower = tuple(dataclasses.replace(one, value=0.6) for one in evaluation.floors)
    told = dataclasses.replace(evaluation, scores=inside, floors=lower)
    page = Page(run_report(RunReport(title="t", recipe_name="r", recipe_toml="", evaluation=told, audit=made)))
    assert f"{made.floor.value:.3f} in the audit ({made.floor.of})" in page.words
    assert "Sources never seen 0.550 [0.450–0.650] a probe's, n = 44" in page.words


def test_a_probe_s_curve_lies_beside_the_model_s() -> None:
    curve = Curve(kind="roc", label="covid19", x=(0.0, 0.3, 1.0), y=(0.0, 0.8, 1.0))
    both = roc_plot({"header alone": [curve]}, [curve], name="both")
    alone = roc_plot({"header alone": [curve, curve]}, [], name="alone")
    assert "the model" in words(both)
    assert "header alone" in words(both)
    assert "the model" not in words(alone)


def test_films_are_shown_with_their_lungs_hidden(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((200, 160), np.uint8)
    mask[60:150, 30:130] = 255
    cv2.imwrite(str(subject.root / "lungs.png"), mask)

    def drawn(films: pd.DataFrame, *_: object) -> tuple[pd.DataFrame, dict[str, int]]:
        there = films[films["image_id"] != "f0"]
        return there.assign(lung_mask="lungs.png"), {"other": 1}

    monkeypatch.setattr("hilum.audit.lungless.films_with_lungs", drawn)
    details = {"examples": {"covid19": ["f1", "gone"], "other": ["f0"]}}
    finding = dataclasses.replace(finding_of("lungs-out"), details=details)
    (row,) = film_rows(finding, subject)
    (shot,) = row.shots
    assert shot.uri is not None
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(shot.uri.split(",")[1]), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels.shape == (200, 160)
    assert np.ptp(pixels[70:140, 40:120].astype(int)) < 6, "where lungs were is one grey"
    assert np.ptp(pixels[:40].astype(int)) > 40
    assert "covid19" in row.title

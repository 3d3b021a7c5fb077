"""The audit's page: the headline that never shows a score alone, then every check, the worst first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from markupsafe import Markup
from pydantic import TypeAdapter

from hilum.audit.check import CHANCE, Finding, Question, Verdict
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import FLOORS, Audit, question_of
from hilum.evaluate import Curve
from hilum.files import write_text
from hilum.report import figures
from hilum.report.audit_figures import measured_plot, ratio_plot, roc_plot
from hilum.report.audit_films import Row, film_rows
from hilum.report.audit_tables import (
    detail_grids,
    interval_text,
    limit_texts,
    ordered,
    p_text,
    summary_grid,
    told,
    unasked,
    value_text,
)
from hilum.report.films import jpeg_uri
from hilum.report.html import Plot, render
from hilum.report.tables import Grid

if TYPE_CHECKING:
    from hilum.audit.subject import Subject

PAGE = "audit.html"
PICTURE_PX = 1000
STANDINGS = {Verdict.FAIL: "fail", Verdict.WARN: "warn", Verdict.PASS: "above", Verdict.SKIPPED: ""}
"""Verdict -> the class that the style sheet colours by; the word and a glyph always stand beside it."""
TITLES = {
    Verdict.FAIL: "Failed",
    Verdict.WARN: "Warnings",
    Verdict.PASS: "Passed",
    Verdict.SKIPPED: "Not made",
}
_OWES = {
    ("data set", Verdict.FAIL): "Whatever is trained on these films can learn to tell something else than disease",
    ("data set", Verdict.WARN): "What is trained on these films may learn to tell something else than disease",
    ("model", Verdict.FAIL): "This model, or its figures, cannot be relied on",
    ("model", Verdict.WARN): "This model, or its figures, call for caution",
    ("audit", Verdict.FAIL): "The audit does not find what was planted for it",
    ("audit", Verdict.WARN): "The audit may not find what was planted for it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    x: list[float]
    y: list[float]
    weight: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kept:
    """A source kept out, and the curves there; whatever else is told of it is left."""

    source: str
    roc: dict[str, _Line]


@dataclass(frozen=True, slots=True)
class _Sources:
    """Sources told apart among films of one label."""

    label: str
    sources: list[str]
    confusion: list[list[int]]


_ROC = TypeAdapter(dict[str, dict[str, _Line]])
_BINS = TypeAdapter(dict[str, _Line])
_KEPT = TypeAdapter(list[_Kept])
_TOLD_APART = TypeAdapter(list[_Sources])
_RATIOS = TypeAdapter(list[float])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One check on the page."""

    question: Question
    finding: Finding
    standing: str
    value: str
    interval: str
    p: str
    limits: Sequence[str]
    plots: Sequence[Plot]
    films: Sequence[Row]
    pictures: Sequence[tuple[str, int, int]]
    """Data URI, width and height of each file that the check left."""
    grids: Sequence[Grid]

    @property
    def open(self) -> bool:
        """Whether its tables are unfolded: those of a check that passed are there for who asks."""
        return self.finding.verdict in (Verdict.FAIL, Verdict.WARN)


def write_audit(audit: Audit, out: Path, *, subject: "Subject | None" = None) -> Path:
    """Write the audit's page, complete in itself, and return its path, `out/audit.html`.

    Args:
        audit: what was found.
        out: the audit's folder, where pictures that findings name lie.
        subject: what was audited, for the films themselves and the model's ROC; without it the page has neither.
    """
    page = out / PAGE
    write_text(page, audit_page(audit, out, subject=subject))
    return page


def audit_page(audit: Audit, out: Path, *, subject: "Subject | None" = None) -> str:
    """The page as HTML."""
    shown = [_shown(finding, out, subject) for finding in ordered(audit) if finding.measured]
    groups = [(verdict, [one for one in shown if one.finding.verdict == verdict]) for verdict in TITLES]
    skipped = [one for one in ordered(audit) if not one.measured]
    links = {one.check: Markup('<a href="#{}">{}</a>').format(one.check, one.check) for one in audit.findings}
    return render(
        "audit.html.j2",
        title=audit.title,
        audit=audit,
        standing=STANDINGS[audit.verdict] or "warn",
        standings={verdict.value: standing for verdict, standing in STANDINGS.items()},
        sentence=meaning(audit),
        total=len(QUESTIONS),
        summary=summary_grid(audit, links),
        groups=[(verdict.value, TITLES[verdict], found) for verdict, found in groups if found],
        skipped=[(question_of(one), one.reason or one.says, True) for one in skipped]
        + [(question, "not asked for in this audit", False) for question in unasked(audit)],
    )


def meaning(audit: Audit) -> str:
    """What the verdict means, and which checks it is owed to."""
    if audit.verdict == Verdict.SKIPPED:
        return "Nothing was measured, so nothing can be said."
    if audit.verdict == Verdict.PASS:
        return "No check that was made found a shortcut or a fault. That does not show that there is none."
    said = []
    for what in ("data set", "model", "audit"):
        names = [one.check for one in audit.deciding if question_of(one).about == what]
        if names:
            said.append(f"{_OWES[what, audit.verdict]} ({', '.join(names)}).")
    return " ".join(said)


def _shown(finding: Finding, out: Path, subject: "Subject | None") -> Shown:
    question, worst = question_of(finding), finding.measured[0]
    return Shown(
        question=question,
        finding=finding,
        standing=STANDINGS[finding.verdict],
        value=value_text(worst).removesuffix(interval_text(worst)).rstrip(),
        interval=interval_text(worst),
        p=p_text(worst.p),
        limits=limit_texts(question, worst),
        plots=list(_plots(finding, question, _curves_of(subject))),
        films=film_rows(finding, subject),
        pictures=[uri for name in finding.pictures if (uri := _picture(out, name)) is not None],
        grids=detail_grids(finding),
    )


def _curves_of(subject: "Subject | None") -> list[Curve]:
    """The model's own ROC curves."""
    return [] if subject is None else [curve for curve in subject.evaluation.curves if curve.kind == "roc"]


def _plots(finding: Finding, question: Question, model: Sequence[Curve]) -> Iterator[Plot]:
    """The figures that what a finding keeps can be drawn in, the measurements first."""
    name = finding.check
    text = measured_plot(finding, question, name=f"{name}-measured")
    if text:
        yield _plot(text, f"Measured, against the zones of WARN and FAIL. {_verdict_rule(question, finding)}")
    curves, own = _roc_curves(finding, model)
    if curves:
        beside = " beside that of the model on its own tested films" if own else ""
        yield _plot(roc_plot(curves, own, name=f"{name}-roc"), f"Receiver operating characteristic{beside}.")
    bins = told(finding.details, "reliability", _BINS)
    if bins:
        lines = [
            Curve(kind="reliability", label=c, x=tuple(b.x), y=tuple(b.y), weight=b.weight) for c, b in bins.items()
        ]
        text = figures.reliability(lines, name=f"{name}-reliability")
        yield _plot(text, "Observed share against predicted probability, above the films in each bin.")
    ratios = told(finding.details, "ratios", _RATIOS)
    if ratios:
        yield _plot(ratio_plot(ratios, question, name=f"{name}-ratios"), f"The ratio of each of {len(ratios)} films.")
    yield from _confusions(finding)


def _verdict_rule(question: Question, finding: Finding) -> str:
    """When what is drawn is past a limit."""
    if finding.measured[0].counts:
        return ""
    side = "upper" if question.low_is_bad else "lower"
    return f"Lines are 95 % intervals; past a limit is what has p < {CHANCE} and the {side} end of its interval there."


def _roc_curves(finding: Finding, model: Sequence[Curve]) -> tuple[Mapping[str, Sequence[Curve]], Sequence[Curve]]:
    """Who -> curves; and the model's beside them, but not beside its own of other films."""
    told_curves = told(finding.details, "roc", _ROC)
    if told_curves:
        named = {_who(finding.check, who): of_class for who, of_class in told_curves.items()}
        own = () if "whole" in told_curves else model
        return {who: _as_curves(of_class) for who, of_class in named.items()}, own
    kept = told(finding.details, "sources", _KEPT) if finding.check == "unseen-source" else None
    by_probe = finding.details.get("by") == "probe"
    return {one.source: _as_curves(one.roc) for one in kept or ()}, () if by_probe else model


def _who(check: str, who: str) -> str:
    """How a curve is called: a shortcut classifier sees one thing alone."""
    if check not in FLOORS:
        return who
    return f"{check if who == 'floor' else who} alone"


def _as_curves(of_class: Mapping[str, _Line]) -> list[Curve]:
    return [Curve(kind="roc", label=name, x=tuple(line.x), y=tuple(line.y)) for name, line in of_class.items()]


def _confusions(finding: Finding) -> Iterator[Plot]:
    """Sources told apart, a matrix for each label."""
    told_apart = told(finding.details, "labels", _TOLD_APART) or []
    for place, one in enumerate(told_apart):
        size = len(one.sources)
        if size and [len(row) for row in one.confusion] == [size] * size:
            text = figures.confusion(one.sources, one.confusion, name=f"{finding.check}-confusion-{place}")
            yield _plot(
                text, f"Films of {one.label.replace('_', ' ')} by source (rows) and the source they are taken for."
            )


def _plot(text: str, caption: str) -> Plot:
    return Plot(svg=Markup(text), caption=caption.strip())  # noqa: S704


def _picture(out: Path, name: str) -> tuple[str, int, int] | None:
    """A picture beside the audit's JSON, inside the page; None where it is gone, no picture, or lies elsewhere."""
    path = (out / name).resolve()
    if not path.is_relative_to(out.resolve()) or not path.is_file():
        return None
    pixels: Any = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    return None if pixels is None else jpeg_uri(pixels, side_px=PICTURE_PX)

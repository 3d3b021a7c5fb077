"""Figures of an audit: measurements against the zones of WARN and FAIL, ROC curves beside the model's, ratios of maps.

Every function returns the text of one SVG, drawn by `canvas.svg`, and is the same for the same input.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hilum.audit.check import Finding, Limits, Measured, Question, Verdict, judge
from hilum.evaluate import Curve
from hilum.report import canvas
from hilum.report.audit_tables import limit_texts, value_text
from hilum.report.comparison_figures import macro_curve

MOST_ROWS = 8
"""Measurements drawn; all of them are in the table."""
_LOOKS = {
    Verdict.FAIL: (canvas.FAIL, "s"),
    Verdict.WARN: (canvas.WARN, "^"),
    Verdict.PASS: (canvas.ACCENT, "o"),
}
_LINES: dict[str, Any] = {"WARN": (0, (3, 1.5)), "FAIL": "-"}
Scale = tuple[float, float]


def measured_plot(finding: Finding, question: Question, *, name: str) -> str | None:
    """The worst measurements with their intervals, and from where on they are a warning and a failure.

    Returns:
        None for a check that only counts, of which one is too many, and for one without a measurement.
    """
    rows = finding.measured[:MOST_ROWS]
    of_rows = [question.limits_of(one) for one in rows]
    limits = [limit for one in set(of_rows) for _, limit in _edges(one)]
    if not limits or all(one.counts and one.value == int(one.value) for one in rows):
        return None
    scale, alike = _scale(rows, limits), len(set(of_rows)) == 1
    told = [", ".join(limit_texts(question, one)) for one in rows]

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        axes.set(xlim=scale, ylim=(len(rows) + 0.06, -0.1), yticks=[])
        axes.set_xlabel(canvas.short(question.metric, 60))
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)
        for place, (one, its) in enumerate(zip(rows, of_rows, strict=True)):
            _zones(axes, its, scale, low_is_bad=question.low_is_bad, band=(place + 0.46, place + 0.9))
            _row(axes, place, one, one.of if alike else f"{one.of}, {told[place]}", question, scale)
        if alike:
            _names(axes, of_rows[0], scale, low_is_bad=question.low_is_bad)

    said = "; ".join(f"{one.of} {value_text(one)}, {judge(question, one).value}" for one in rows)
    of_each = [told[0]] if alike else [f"{one.of} {its}" for one, its in zip(rows, told, strict=True)]
    text = f"{question.metric}: {said}. Limits: {'; '.join(of_each)}."
    named = len(limits) if alike else 0
    return canvas.svg(name, text, draw, height=78 + 16 * named + 42 * len(rows))


def _edges(limits: Limits) -> list[tuple[str, float]]:
    """The limits there are, the milder first."""
    return [(word, limit) for word, limit in (("WARN", limits.warn), ("FAIL", limits.fail)) if limit is not None]


def _scale(rows: Sequence[Measured], limits: Sequence[float]) -> Scale:
    """From the least to the largest of what is drawn, with room for the zones' names; a share ends at 1."""
    ends = [end for one in rows for end in (one.low, one.value, one.high) if end is not None] + list(limits)
    low, high = min(ends), max(ends)
    room = 0.12 * (high - low or 1.0)
    return (low - room, min(high + room, 1.005) if high <= 1 else high + room)


def _zones(axes: Axes, limits: Limits, scale: Scale, *, low_is_bad: bool, band: Scale) -> None:
    """WARN and FAIL tinted in a band between two heights."""
    edges, end = _edges(limits), scale[0] if low_is_bad else scale[1]
    for place, (word, limit) in enumerate(edges):
        colour, (low, high) = _colour(word), band
        further = edges[place + 1][1] if place + 1 < len(edges) else end
        left, right = sorted((limit, further))
        tint = Rectangle((left, low), right - left, high - low, facecolor=colour, alpha=0.16, linewidth=0)
        tint.set_zorder(0.5)
        axes.add_patch(tint)
        axes.plot((limit, limit), band, color=colour, linestyle=_LINES[word], linewidth=1.4, zorder=2)


def _names(axes: Axes, limits: Limits, scale: Scale, *, low_is_bad: bool) -> None:
    """What the zones are called and where they begin, above the axes, each on a line of its own."""
    edges = _edges(limits)
    for place, (word, limit) in enumerate(edges):
        share = (limit - scale[0]) / (scale[1] - scale[0])
        axes.annotate(
            f"{word} {'<' if low_is_bad else '>'} {limit:g}",
            (limit, 1),
            (0, 4 + 15 * (len(edges) - 1 - place)),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right" if share > 0.7 else "left" if share < 0.3 else "center",
            va="bottom",
            fontsize=11,
            weight="bold",
            color=_colour(word),
        )


def _colour(word: str) -> str:
    return canvas.FAIL if word == "FAIL" else canvas.WARN


def _row(axes: Axes, place: int, one: Measured, name: str, question: Question, scale: Scale) -> None:
    colour, marker = _LOOKS[judge(question, one)]
    height = place + 0.68
    words: dict[str, Any] = {"va": "center", "transform": axes.get_yaxis_transform(), "zorder": 5}
    told = value_text(one)
    axes.text(0.012, place + 0.27, canvas.short(name, max(12, 52 - len(told))), ha="left", **words)
    axes.text(0.988, place + 0.27, told, ha="right", **words)
    axes.plot(scale, (height, height), color=canvas.RULE, linewidth=0.8, zorder=1)
    if one.low is not None and one.high is not None:
        axes.plot((one.low, one.high), (height, height), color=colour, linewidth=2.8, zorder=3)
    look: dict[str, Any] = {"markersize": 8.5, "markeredgecolor": canvas.PAPER, "zorder": 4, "clip_on": False}
    axes.plot(one.value, height, marker, color=colour, **look)


def roc_plot(curves: Mapping[str, Sequence[Curve]], model: Sequence[Curve], *, name: str) -> str:
    """ROC curves of what sees no lung, thin, beside the model's, thick; of more than two classes the mean over classes.

    Args:
        curves: who -> a curve a class.
        model: the model's own; empty where it is not known.
        name: of the figure, unique on its page.
    """

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="sensitivity")
        axes.plot((0, 1), (0, 1), color=canvas.MUTED, linewidth=0.9, linestyle=(0, (2, 3)), label="chance")
        if model:
            x, y = macro_curve(model)
            axes.plot(x, y, color=canvas.ACCENT, linewidth=3, alpha=0.75, label="the model")
        for place, (who, found) in enumerate(curves.items(), 1):
            x, y = macro_curve(found)
            line = canvas.LINES[place % len(canvas.LINES)]
            axes.plot(x, y, color=canvas.colour_of(place), linestyle=line, label=canvas.short(who))
        canvas.legend_above(sheet, axes)

    beside = " beside the model's" if model else ""
    lines = (len(curves) + 3) // 2
    return canvas.svg(name, f"ROC curves of {', '.join(curves)}{beside}.", draw, height=360 + 18 * lines)


def ratio_plot(ratios: Sequence[float], question: Question, *, name: str) -> str:
    """How many films have maps that lie in the lungs, or on lesions, so much more than chance."""
    limits = Limits(question.warn, question.fail)

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        scale = (0.0, float(max([*ratios, *(limit for _, limit in _edges(limits))])) * 1.08)
        axes.hist(np.asarray(ratios), bins=24, range=scale, color=canvas.ACCENT, alpha=0.75, linewidth=0)
        axes.set(xlim=scale, xlabel=canvas.short(question.metric, 60), ylabel="films")
        axes.grid(axis="x", visible=False)
        _zones(axes, limits, scale, low_is_bad=question.low_is_bad, band=axes.get_ylim())
        _names(axes, limits, scale, low_is_bad=question.low_is_bad)

    text = f"{question.metric} of {len(ratios)} films, median {float(np.median(ratios)):.2f}."
    return canvas.svg(name, text, draw, height=280)

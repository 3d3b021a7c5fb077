"""The figure of a comparison with kept-out domains: inside, every domain, their mean, and the floor, a line a run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hilum.compare import Compared
from hilum.evaluate import Score
from hilum.report import canvas
from hilum.report.wording import figure, score_text

ROW = 46
"""Height of a run's lines in px."""


def kept_figure(rows: Mapping[str, Compared], domains: Sequence[str], metric: str, *, name: str) -> str:
    """A dot a domain, a diamond with an interval for their mean, a hollow square inside; below the floor is tinted.

    Args:
        rows: the name to draw -> the run.
        domains: kept-out domains; those without an AUROC are not drawn.
        metric: what the area is called.
        name: of the figure on its page.
    """
    drawn = [domain for domain in domains if any(_area(row, domain) for row in rows.values())]
    left = _left(rows.values(), drawn)

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        for place, (run, row) in enumerate(rows.items()):
            _words(axes, place + 0.24, run, row)
            _line(axes, place + 0.66, row, left)
            for number, domain in enumerate(drawn):
                _dot(axes, place + 0.66, _area(row, domain), canvas.colour_of(number), canvas.MARKERS[number % 8])
        axes.set(xlim=(left, 1.005), ylim=(len(rows) + 0.15, -0.05), xlabel=metric, yticks=[])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)
        _legend(sheet, axes, drawn)

    said = "; ".join(f"{run} {_said(row)}" for run, row in rows.items())
    height = 82 + 18 * ((len(drawn) + 3) // 2) + ROW * len(rows)
    return canvas.svg(name, f"{metric} inside and kept out: {said}.", draw, height=height)


def _area(row: Compared, domain: str) -> Score | None:
    part = row.kept.find(domain) if row.kept else None
    return part.area if part else None


def _mean(row: Compared) -> Score | None:
    return row.kept.mean if row.kept else None


def _left(rows: Any, domains: Sequence[str]) -> float:
    """Where the axis begins: left of everything, chance included."""
    scores = [score for row in rows for score in (row.scores["auroc"], _mean(row), row.floor)]
    ends = [end for score in scores if score for end in (score.low, score.value) if end is not None]
    dots = [score.value for row in rows for domain in domains if (score := _area(row, domain))]
    return max(0.0, float(np.floor((min([*ends, *filter(None, dots), 0.5]) - 0.03) * 20) / 20))


def _said(row: Compared) -> str:
    inside, mean = row.scores["auroc"], _mean(row)
    told = [f"inside {score_text(inside)}"] if inside else []
    return ", ".join([*told, *([f"kept out {score_text(mean)}"] if mean else [])])


def _words(axes: Axes, height: float, run: str, row: Compared) -> None:
    where: dict[str, Any] = {"va": "center", "transform": axes.get_yaxis_transform()}
    axes.text(0, height, run, ha="left", **where)
    mean = _mean(row)
    axes.text(1, height, figure(mean.value) if mean else "no mean", ha="right", weight="bold", **where)


def _line(axes: Axes, height: float, row: Compared, left: float) -> None:
    axes.plot((left, 1), (height, height), color=canvas.RULE, linewidth=0.8, zorder=1)
    floor, inside, mean = row.floor.value if row.floor else None, row.scores["auroc"], _mean(row)
    if floor is not None:
        band = Rectangle((left, height - 0.2), floor - left, 0.4, facecolor=canvas.WARN, alpha=0.1, linewidth=0)
        axes.add_patch(band)
        axes.plot((floor, floor), (height - 0.2, height + 0.2), color=canvas.WARN, linewidth=1.2, zorder=2)
    if inside is not None and inside.value is not None:
        axes.plot(inside.value, height, "s", **_INSIDE)
    if mean is not None and mean.value is not None:
        if mean.low is not None and mean.high is not None:
            axes.plot((mean.low, mean.high), (height, height), color=canvas.INK, linewidth=2.2, zorder=3)
        axes.plot(mean.value, height, "D", **_MEAN)


_INSIDE: dict[str, Any] = {
    "markerfacecolor": "none",
    "markeredgecolor": canvas.INK,
    "markersize": 8,
    "markeredgewidth": 1.5,
    "linestyle": "none",
    "zorder": 4,
}
_MEAN: dict[str, Any] = {
    "color": canvas.INK,
    "markersize": 8,
    "markeredgecolor": canvas.PAPER,
    "linestyle": "none",
    "zorder": 5,
}


def _dot(axes: Axes, height: float, score: Score | None, colour: str, marker: str) -> None:
    if score is not None and score.value is not None:
        axes.plot(score.value, height, marker, color=colour, markersize=7, markeredgecolor=canvas.PAPER, zorder=6)


def _legend(sheet: Figure, axes: Axes, domains: Sequence[str]) -> None:
    axes.plot([], [], "s", label="inside", **_INSIDE)
    axes.plot([], [], "D", label="kept out, mean", **_MEAN)
    axes.add_patch(Rectangle((0, 0), 0, 0, facecolor=canvas.WARN, alpha=0.3, linewidth=0, label="below the floor"))
    for number, domain in enumerate(domains):
        look: dict[str, Any] = {"color": canvas.colour_of(number), "marker": canvas.MARKERS[number % 8]}
        axes.plot([], [], linestyle="none", markersize=7, label=canvas.short(domain), **look)
    canvas.legend_above(sheet, axes)

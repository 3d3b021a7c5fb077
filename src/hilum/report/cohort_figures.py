"""Figures of a cohort: what its labels, sources, views, ages and gaps look like before anything is learnt."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hilum.describe import ALL, NOT_STATED, Counts, Description
from hilum.report import canvas
from hilum.report.wording import percent

MOST_SEGMENTS = 8
"""Sources drawn one by one; hatching and colour tell no more apart."""
MOST_BARS = 16


def cohort_figures(description: Description) -> dict[str, str]:
    """The figures a cohort has data for: name -> SVG text."""
    drawn: dict[str, str] = {}
    if description.labels.rows:
        drawn["sources"] = stacked(description.sources, "sources", shares=False)
    if len(description.views.rows) > 1:
        drawn["views"] = stacked(description.views, "views", shares=True)
    if len(description.sexes.rows) > 1:
        drawn["sexes"] = stacked(description.sexes, "sexes", shares=True)
    if any(spread.n for spread in description.age_years):
        drawn["ages"] = ages(description)
    if len(description.manufacturers.rows) > 1:
        drawn["manufacturers"] = stacked(description.manufacturers, "manufacturers", shares=True)
    if description.missing.rows:
        drawn["missing"] = missing(description.missing)
    return drawn


def stacked(counts: Counts, name: str, *, shares: bool) -> str:
    """One bar for each label, divided by the categories of `counts`.

    Args:
        counts: categories in the rows, labels in the columns.
        name: of the figure, unique on its page.
        shares: bars of equal length, of percentages; else of films.
    """
    segments, table = _merged(counts)
    totals = table.sum(axis=0)
    keep = [place for place in range(len(counts.columns)) if totals[place]]

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        left = np.zeros(len(keep))
        for place, segment in enumerate(segments):
            width = table[place, keep] / (totals[keep] if shares else 1)
            axes.barh(
                range(len(keep)), width, left=left, height=0.62, label=canvas.short(segment), **_look(place, segment)
            )
            left += width
        names = [f"{canvas.wrapped(counts.columns[i], 16)}\nn = {int(totals[i])}" for i in keep]
        canvas.name_rows(axes, names)
        axes.set(ylim=(len(keep) - 0.5, -0.5), xlabel="share of the label's films" if shares else "films")
        _bare(axes, shares=shares)
        canvas.legend_above(sheet, axes)

    text = f"{counts.title}, {counts.n} films: one bar for each label, divided by {counts.heading}."
    return canvas.svg(name, text, draw, height=64 + 46 * len(keep) + 19 * ((len(segments) + 1) // 2))


def ages(description: Description, *, name: str = "ages") -> str:
    """A small histogram of decades for each label, with its median."""
    counts = description.ages
    known = [row for row in range(len(counts.rows)) if counts.rows[row] != NOT_STATED]
    table = np.array(counts.cells, dtype=int).reshape(len(counts.rows), len(counts.columns))
    spreads = [spread for spread in description.age_years if spread.n]

    def draw(sheet: Figure) -> None:
        panels = sheet.subplots(len(spreads), 1, sharex=True, squeeze=False)[:, 0]
        for axes, spread in zip(panels, spreads, strict=True):
            films = table[known, counts.columns.index(spread.name)]
            axes.bar(range(len(known)), films, width=0.86, color=canvas.MUTED if spread.name == ALL else canvas.ACCENT)
            axes.set_title(f"{canvas.short(spread.name, 30)}: median {spread.median:.0f} years, n = {spread.n}")
            axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
            axes.grid(axis="x", visible=False)
        panels[-1].set_xticks(range(len(known)), [counts.rows[row].partition("-")[0] for row in known])
        panels[-1].set_xlabel("age in years, by decade")
        sheet.supylabel("films", color=canvas.MUTED, fontsize=12)

    text = f"Age by label in decades, {description.age_years[-1].n} films that state it."
    return canvas.svg(name, text, draw, height=56 + 84 * len(spreads))


def missing(counts: Counts, *, name: str = "missing") -> str:
    """The share of films without a value, by column, the emptiest first."""
    shares = sorted(((row[-1] / counts.n, column) for row, column in zip(counts.cells, counts.rows, strict=True)))
    shown = shares[::-1][:MOST_BARS]

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        axes.barh(range(len(shown)), [share for share, _ in shown], height=0.62, color=canvas.ACCENT)
        for place, (share, _) in enumerate(shown):
            inside = share > 0.85
            words: dict[str, Any] = {
                "color": canvas.PAPER if inside else canvas.INK,
                "ha": "right" if inside else "left",
            }
            axes.text(share + (-0.012 if inside else 0.012), place, percent(share), va="center", fontsize=11, **words)
        axes.set_yticks(range(len(shown)), [canvas.short(column, 22) for _, column in shown])
        axes.set(xlim=(0, 1), ylim=(len(shown) - 0.5, -0.5), xlabel="share of films without a value")
        _bare(axes, shares=True)

    text = f"Missing values by column, {len(shown)} of {len(counts.rows)} incomplete columns, {counts.n} films."
    return canvas.svg(name, text, draw, height=56 + 26 * len(shown))


def _merged(counts: Counts) -> tuple[Sequence[str], np.ndarray]:
    """The categories, those beyond the eighth as one."""
    table = np.array(counts.cells, dtype=int).reshape(len(counts.rows), len(counts.columns))
    if len(counts.rows) <= MOST_SEGMENTS:
        return counts.rows, table
    kept = MOST_SEGMENTS - 1
    others = table[kept:].sum(axis=0, keepdims=True)
    return (*counts.rows[:kept], f"{len(counts.rows) - kept} others"), np.vstack([table[:kept], others])


def _look(place: int, segment: str) -> dict[str, Any]:
    stated = segment != NOT_STATED
    colour = canvas.colour_of(place) if stated else canvas.RULE
    hatch = canvas.HATCHES[place % len(canvas.HATCHES)] if stated else ""
    return {"facecolor": colour, "edgecolor": canvas.PAPER, "hatch": hatch, "linewidth": 0.8}


def _bare(axes: Axes, *, shares: bool) -> None:
    if shares:
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)

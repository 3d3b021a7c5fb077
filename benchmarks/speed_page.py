"""One page of all results: goals first, a figure, then each benchmark with its tables and its machine."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from measuring import MOST_BUSY, Result, Row, Table, figure
from pages import put_into

from hilum.files import write_text
from hilum.report import canvas

SECTION = "speed"
WIDTH, ROW_PX, EDGES_PX = 760, 34, 90
LONGEST_NAME = 44
ROOM = 2.4
"""Factor on the axis that a number beside a range takes up."""
GOAL_COLUMNS = ("what", "against", "goal", "measured [10-90 %]", "rounds", "")


def write_page(results: Sequence[Result], page: Path, picture: Path) -> None:
    """Write the figure, and the page's part between its markers; what people wrote around it stays."""
    rows = [row for result in results for row in result.rows]
    shown = [row for row in rows if row.ratio and row.goal is not None]
    if shown:
        write_text(picture, drawn(shown))
    put_into(page, SECTION, text_of(results, Path(os.path.relpath(picture, page.parent)) if shown else None))


def text_of(results: Sequence[Result], picture: Path | None) -> str:
    """The page, as Markdown."""
    parts = [*above(results), goals_table([row for result in results for row in result.rows])]
    if picture:
        parts.append(f"![Ratios of the table above with their ranges, and the goals]({picture.as_posix()})")
    parts += [section(result) for result in results if any(row.ratio for row in result.rows)]
    return "\n\n".join(parts)


def above(results: Sequence[Result]) -> Iterator[str]:
    """How to read the table, and what to be careful about."""
    yield (
        "A ratio is the peer's time over hilum's, round by round, both sides in one run and in turn: the median, and "
        "in brackets where the middle four fifths of the rounds lie. Units say which clock: the processor's or the "
        "wall's."
    )
    quick = [result.name for result in results if result.quick and any(row.ratio for row in result.rows)]
    if quick:
        yield f"**Tried, not measured:** few films and rounds (`--quick`) in {', '.join(quick)}."
    busy = [result.name for result in results if is_busy(result)]
    if busy:
        yield (
            f"Other work took more than {MOST_BUSY:.0%} of the cores' time before {', '.join(busy)} began: wall-clock "
            "times there are no fair comparison, processor times are less changed."
        )


def is_busy(result: Result) -> bool:
    """Whether the machine had other work when it began."""
    share = result.machine.get("busy_before")
    return share is not None and float(share) > MOST_BUSY


def goals_table(rows: Sequence[Row]) -> str:
    """Rows with a goal, or without a measurement; the others stand in the sections."""
    cells = tuple(goal_cells(row) for row in rows if row.goal is not None or row.ratio is None)
    return Table("## Goals", GOAL_COLUMNS, cells).markdown()


def goal_cells(row: Row) -> tuple[str, ...]:
    """A line of the first table."""
    goal = "" if row.goal is None else f">= {row.goal:.3g}"
    measured = str(row.ratio) if row.ratio else ""
    return escaped(row.what), escaped(row.peer), goal, measured, str(row.n or ""), escaped(verdict(row))


def verdict(row: Row) -> str:
    """Met, or why not."""
    if row.ratio is None:
        return f"not measured: {row.why}"
    return "**met**" if row.met else f"**not met**: {row.why or 'no reason was found'}"


def escaped(text: str) -> str:
    """Fit for a cell."""
    return " ".join(text.replace("|", "/").split())


def section(result: Result) -> str:
    """One benchmark: what it gave, where."""
    parts = [f"## {result.title}", f"{machine_line(result)}"]
    numbers = [
        (escaped(row.what), escaped(row.peer), *both(row), row.unit, escaped(row.notes))
        for row in result.rows
        if row.ratio
    ]
    columns = ("what", "against", "hilum", "peer", "unit", "")
    parts += [Table("", columns, tuple(numbers)).markdown().strip()]
    parts += [table.markdown() for table in result.tables]
    parts += list(result.told)
    return "\n\n".join(parts)


def both(row: Row) -> tuple[str, str]:
    return tuple("" if value is None else figure(value) for value in (row.ours, row.theirs))  # type: ignore[return-value]


def machine_line(result: Result) -> str:
    """Command, machine, load."""
    told: dict[str, Any] = dict(result.machine)
    parts = [f"`{result.command}`"] if result.command else []
    if told.get("processor"):
        parts.append(f"{told['processor']}, {told.get('cores', '?')} cores, threads taken: {told.get('threads', '?')}")
    if told.get("can"):
        parts.append(", ".join(told["can"]))
    if told.get("busy_before") is not None:
        parts.append(f"cores {told['busy_before']:.0%} busy with other work before it")
    versions = told.get("versions", {})
    named = [f"{name} {versions[name]}" for name in ("python", "numpy", "torch") if name in versions]
    return "; ".join([*parts, *([", ".join(named)] if named else []), f"{result.seconds:.0f} s in all"]) + "."


def drawn(rows: Sequence[Row]) -> str:
    """Ratios with their ranges on a logarithmic axis, and the goals."""
    ordered = sorted(rows, key=lambda row: row.goal is None)
    described = f"{len(rows)} ratios of a peer's time to hilum's with their ranges, and the goals set for them"
    return canvas.svg(
        SECTION, described, lambda figure_: draw(figure_, ordered), width=WIDTH, height=EDGES_PX + ROW_PX * len(rows)
    )


def draw(figure_: Figure, rows: Sequence[Row]) -> None:
    """On an empty figure."""
    axes = figure_.subplots()
    axes.set_xscale("log")
    axes.axvline(1, color=canvas.MUTED, linewidth=0.8)
    for place, row in enumerate(rows):
        one_row(axes, place, row)
    canvas.name_rows(axes, [canvas.wrapped(row.what.replace("`", ""), LONGEST_NAME) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(*limits(rows))
    axes.set_xlabel("times as fast as its peer; 1 is equal")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=False, axis="y")
    for colour, marker, name in (
        (canvas.ACCENT, "o", "goal met"),
        (canvas.FAIL, "o", "goal not met"),
        (canvas.MUTED, "o", "no goal"),
        (canvas.INK, "|", "goal"),
    ):
        face = canvas.PAPER if colour == canvas.FAIL else colour
        axes.plot([], [], marker, color=colour, markerfacecolor=face, label=name, markersize=9 if marker == "|" else 6)
    canvas.legend_above(figure_, axes, columns=4)


def one_row(axes: Axes, place: int, row: Row) -> None:
    """Median and range; filled where the goal is met, hollow where it is not, so that colour is not alone."""
    if row.ratio is None:
        return
    colour = {True: canvas.ACCENT, False: canvas.FAIL, None: canvas.MUTED}[row.met]
    axes.plot([row.ratio.low, row.ratio.high], [place, place], color=colour, linewidth=2.4)
    filled = colour if row.met is not False else canvas.PAPER
    axes.plot([row.ratio.median], [place], "o", color=colour, markerfacecolor=filled, markersize=6, zorder=3)
    # Beside the range, on the side where the goal is not.
    left = row.goal is not None and row.ratio.high < row.goal < ROOM * row.ratio.high
    axes.annotate(
        figure(row.ratio.median),
        (row.ratio.low if left else row.ratio.high, place),
        (-8 if left else 8, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="center",
        fontsize=10,
    )
    if row.goal is not None:
        axes.plot([row.goal], [place], "|", color=canvas.INK, markersize=13, markeredgewidth=1.6, zorder=4)


def limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Wide enough for every range and goal, with a little space."""
    ratios = [row.ratio for row in rows if row.ratio]
    goals = [row.goal for row in rows if row.goal]
    low = min([0.8, *(ratio.low for ratio in ratios), *goals])
    high = max([2.0, *(ratio.high for ratio in ratios), *goals])
    return low / ROOM, high * ROOM

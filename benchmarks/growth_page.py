"""What `growth.py` measured: exponents, a table, a page, and a figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from measuring import Ratio, Result, Row, Table, figure
from pages import apart, plain_numbers, put_into

from hilum.files import write_text
from hilum.report import canvas

LINEAR = 1.15
"""Exponent up to which growth counts as linear."""
FIXED_S = 10.0
"""Processor seconds below which an exponent tells of starting a process more than of films."""
TABLE_STAGES, TABLE_MB, TABLE_FILMS = ("index again", "table", "describe"), 1024.0, 100_000


@dataclass(frozen=True)
class Cell:
    """One stage at one size.

    Attributes:
        wall_s, processor_s: seconds.
        peak_mb: most memory of all its processes together.
        parts: seconds of its parts, where it says them.
        stopped: why it was not measured; empty where it was.
    """

    stage: str
    films: int
    wall_s: float = 0.0
    processor_s: float = 0.0
    peak_mb: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    stopped: str = ""


def exponent(few: Cell, many: Cell, of: str = "processor_s") -> float:
    """By which power of the number of films a quantity grew.

    >>> round(exponent(Cell("x", 10, processor_s=1.0), Cell("x", 1000, processor_s=100.0)), 3)
    1.0
    """
    return math.log(getattr(many, of) / getattr(few, of)) / math.log(many.films / few.films)


def measured(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Stage -> its cells by size, those that were left out without."""
    stages = dict.fromkeys(cell.stage for cell in cells)
    found = {stage: [cell for cell in cells if cell.stage == stage and not cell.stopped] for stage in stages}
    return {stage: sorted(theirs, key=lambda cell: cell.films) for stage, theirs in found.items() if theirs}


def faster_than_linear(cells: Sequence[Cell]) -> dict[str, float]:
    """Stages whose processor time or memory grew faster between their two largest sizes, with the exponent."""
    found = {}
    for stage, theirs in measured(cells).items():
        if len(theirs) > 1 and theirs[-1].processor_s > FIXED_S:
            worst = max(exponent(theirs[-2], theirs[-1], of) for of in ("processor_s", "peak_mb"))
            if worst > LINEAR:
                found[stage] = worst
    return found


def rows_of(cells: Sequence[Cell]) -> list[Row]:
    """A row a stage: linear growth held against what was seen, and the memory of the table."""
    rows = []
    for stage, theirs in measured(cells).items():
        if len(theirs) < 2:
            continue
        few, many = theirs[-2:]
        linear = few.processor_s * many.films / few.films
        rows.append(
            Row(
                f"{stage}, {few.films:,} to {many.films:,} films",
                "linear growth",
                Ratio.of([linear / many.processor_s]),
                goal=(many.films / few.films) ** (1 - LINEAR),
                ours=many.processor_s,
                theirs=linear,
                unit="s, processor",
                n=1,
                why=f"grows with an exponent of {exponent(few, many):.2f}",
            )
        )
    for stage in TABLE_STAGES:
        large = (cell for cell in measured(cells).get(stage, []) if cell.films == TABLE_FILMS)
        rows.extend(_memory_row(cell) for cell in large)
    return rows


def _memory_row(cell: Cell) -> Row:
    share = Ratio.of([TABLE_MB / cell.peak_mb])
    what = f"{cell.stage}, {cell.films:,} films"
    return Row(what, "1 GB", share, goal=1.0, ours=cell.peak_mb, theirs=TABLE_MB, unit="MB", n=1, why="more memory")


def table_of(cells: Sequence[Cell]) -> Table:
    """A row a stage: wall, processor and peak at every size; exponents between the two largest."""
    sizes = sorted({cell.films for cell in cells})
    heads = [f"{films:,}: wall s, processor s, MB" for films in sizes]
    lines = []
    for stage in dict.fromkeys(cell.stage for cell in cells):
        theirs = {cell.films: cell for cell in cells if cell.stage == stage}
        lines.append((stage, *(_told(theirs.get(films)) for films in sizes), *_growth(measured(cells).get(stage, []))))
    columns = ("stage", *heads, "exponent: time, memory", "a further film: processor ms, KB")
    return Table("Every stage in processes of its own", columns, tuple(lines))


def _told(cell: Cell | None) -> str:
    if cell is None:
        return "not run"
    if cell.stopped:
        return cell.stopped
    return f"{figure(cell.wall_s)}, {figure(cell.processor_s)}, {cell.peak_mb:,.0f}"


def _growth(theirs: Sequence[Cell]) -> tuple[str, str]:
    if len(theirs) < 2:
        return "", ""
    few, many = theirs[-2:]
    more = many.films - few.films
    each_ms, each_kb = 1000 * (many.processor_s - few.processor_s) / more, 1024 * (many.peak_mb - few.peak_mb) / more
    return (
        f"{exponent(few, many):.2f}, {exponent(few, many, 'peak_mb'):.2f}",
        f"{max(0.0, each_ms):.2f}, {max(0.0, each_kb):.1f}",
    )


def page_of(page: Path, result: Result, cells: Sequence[Cell], says: Mapping[str, str]) -> None:
    """Put what was measured into the page."""
    machine = result.machine
    text = [
        "## Every stage",
        "",
        f"`python benchmarks/growth.py`: films mixed of simulated ones, 160 px, no two alike; {machine['processor']}, "
        f"{machine['cores']} cores, at times shared with other work, which wall seconds show; threads a library: "
        f"{machine['threads']}. Each stage at each size is a command in a process of its own, with a cache that its "
        "size has to itself. Wall clock, processor and memory are those of all its processes; a page of memory that "
        "several hold counts once. Exponents are of processor time and of memory, between the two largest sizes; below "
        "10 s they tell of starting a process.",
        "",
        "![Processor time and memory by number of films](../images/growth.svg)",
        "",
        table_of(cells).markdown(),
        "",
        *_parts(cells),
        verdict(cells),
        "",
        "What the stages do: " + "; ".join(f"*{stage}*: {what}" for stage, what in says.items()) + ".",
    ]
    put_into(page, "growth", "\n".join(text))


def verdict(cells: Sequence[Cell]) -> str:
    """Which stages grow faster than their films, in a sentence."""
    found = faster_than_linear(cells)
    if not found:
        both = [stage for stage, theirs in measured(cells).items() if len(theirs) > 1]
        return f"**None of {', '.join(both)} grows faster than the films do** (exponent {LINEAR} at most)."
    named = ", ".join(f"{stage} ({worst:.2f})" for stage, worst in found.items())
    return f"**Faster than the number of films grow**: {named}."


def _parts(cells: Sequence[Cell]) -> list[str]:
    """Where training spends its time, at the largest size."""
    trained = [cell for cell in measured(cells).get("train", []) if cell.parts]
    if not trained:
        return []
    cell = trained[-1]
    told = ", ".join(f"{name} {figure(seconds)}" for name, seconds in cell.parts.items())
    return [f"Training on {cell.films:,} films, wall seconds of its parts: {told}.", ""]


def draw(cells: Sequence[Cell], file: Path) -> None:
    """Time and memory by films, a line a stage."""

    def both(sheet: Figure) -> None:
        time, memory = sheet.subplots(1, 2)
        _panel(time, cells, "processor_s", "processor time, s")
        _panel(memory, cells, "peak_mb", "memory, MB")

    said = "Processor time and memory of every stage by number of films, both scales logarithmic."
    write_text(file, canvas.svg("growth", said, both, width=900, height=430))


def _panel(axes: Axes, cells: Sequence[Cell], of: str, title: str) -> None:
    """Lines, each with its name behind its last point; a dashed line shows what is linear."""
    lines = measured(cells)
    axes.set(xscale="log", yscale="log", xlabel="films", title=title)
    for place, theirs in enumerate(lines.values()):
        axes.plot(
            [cell.films for cell in theirs],
            [getattr(cell, of) for cell in theirs],
            linestyle=canvas.LINES[place // 8],
            color=canvas.colour_of(place),
            marker=canvas.MARKERS[place % 8],
            markersize=5,
        )
    sizes = sorted({cell.films for theirs in lines.values() for cell in theirs})
    axes.set_xticks(sizes, [f"{films:,}" for films in sizes])
    axes.minorticks_off()
    low, high = axes.get_ylim()
    axes.set_ylim(low / 1.2, high * 1.2)
    plain_numbers(axes.yaxis, fine=high / low < 1000)
    _names(axes, lines, of, sizes[-1])


def _names(axes: Axes, lines: Mapping[str, Sequence[Cell]], of: str, films: int) -> None:
    low, high = (math.log(limit) for limit in axes.get_ylim())
    ends = [(math.log(getattr(theirs[-1], of)) - low) / (high - low) for theirs in lines.values()]
    for place, (stage, height, end) in enumerate(zip(lines, apart(ends, 0.052), ends, strict=True)):
        colour = canvas.colour_of(place)
        last = lines[stage][-1]
        told = stage if last.films == films else f"{stage} (to {last.films:,})"
        axes.annotate(
            told,
            (1.03, end),
            (1.09, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            fontsize=11,
            color=colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
        )

"""The page and the figure of `roofline.py`: log-log, two roofs of arithmetic and one of memory, a point a stage."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from measuring import Result, figure
from pages import apart, plain_numbers, put_into
from roofline import Peaks, Point

from hilum.files import write_text
from hilum.report import canvas

KINDS = ("float32", "bfloat16", "float64", "whole numbers")
CROWDED = 20.0
"""Operations a byte from which on all stages are networks, near each other."""
GAP = 0.042
"""Between two names, as a share of the height."""


def write_page(page: Path, result: Result) -> None:
    """Put what was measured into the page."""
    machine = result.machine
    text = [
        f"`python benchmarks/roofline.py`: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['busy_before'] or 0:.0%} busy with other work before it. One thread, processor time: "
        "peaks are the best round, stages the median.",
        "",
        "![Operations a second by operations a byte, with the roofs](../images/roofline.svg)",
        "",
        *[line for paragraph in result.told for line in (paragraph, "")],
        result.tables[0].markdown(),
    ]
    put_into(page, "roofline", "\n".join(text))


def draw(peaks: Peaks, points: Sequence[Point], file: Path) -> None:
    """Every stage that computes anything."""
    shown = [point for point in points if point.ops]

    def sheet(made: Figure) -> None:
        axes = made.add_subplot()
        _scales(axes, peaks, shown)
        _roofs(axes, peaks)
        for point in shown:
            _point(axes, point)
        axes.set(xlabel="operations a byte", ylabel="GFLOP/s of one core")
        _legend(made, axes, shown)
        _labels(axes, shown)

    said = "; ".join(f"{point.name} {figure(point.rate)}" for point in shown)
    write_text(file, canvas.svg("roofline", f"GFLOP/s of each stage: {said}.", sheet, width=900, height=560))


def _scales(axes: Axes, peaks: Peaks, points: Sequence[Point]) -> None:
    intensities = [value for point in points for value in (point.intensity, point.ops / point.most_bytes)]
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(min(intensities) / 2.2, max(intensities) * 4)
    axes.set_ylim(min(point.rate for point in points) / 2.5, peaks.bfloat16 * 6)
    for axis in (axes.xaxis, axes.yaxis):
        plain_numbers(axis)
    axes.minorticks_off()


def _roofs(axes: Axes, peaks: Peaks) -> None:
    """The lines, and what stands at them."""
    low, high = axes.get_xlim()
    across = np.geomspace(low, high, 400)
    for kind, line in (("bfloat16", "--"), ("float32", "-")):
        peak = peaks.compute(kind)
        axes.plot(
            across,
            [peaks.roof(kind, value) for value in across],
            color=canvas.INK,
            linestyle=line,
            linewidth=1.6,
            zorder=2,
        )
        _said(axes, f"{kind}, {figure(peak)} GFLOP/s", (1.15 * peak / peaks.memory, peak), (0, 5), "left")
    middle = float(np.sqrt(low * peaks.float32 / peaks.memory))
    _said(axes, f"memory, {figure(peaks.memory)} GB/s", (middle, middle * peaks.memory), (-8, 4), "right")


def _said(axes: Axes, told: str, place: tuple[float, float], offset: tuple[float, float], side: Any) -> None:
    axes.annotate(told, place, offset, textcoords="offset points", fontsize=11.5, ha=side, va="bottom")


def _look(kind: str) -> dict[str, Any]:
    place = KINDS.index(kind)
    return {"color": canvas.colour_of(place), "marker": canvas.MARKERS[place]}


def _point(axes: Axes, point: Point) -> None:
    """A point at the least bytes, and a line to where it would stand with the most."""
    look = _look(point.kind)
    axes.plot(
        [point.ops / point.most_bytes, point.intensity], [point.rate] * 2, color=look["color"], linewidth=1, alpha=0.6
    )
    axes.plot(
        point.intensity, point.rate, linestyle="none", markersize=8, zorder=4, markeredgecolor=canvas.PAPER, **look
    )


def _legend(sheet: Figure, axes: Axes, points: Sequence[Point]) -> None:
    for kind in KINDS:
        if any(point.kind == kind for point in points):
            axes.plot([], [], linestyle="none", markersize=8, label=kind, **_look(kind))
    axes.plot([], [], color=canvas.MUTED, linewidth=1, label="to the left: all that eager layers move")
    canvas.legend_above(sheet, axes, columns=5)


def _labels(axes: Axes, points: Sequence[Point]) -> None:
    """Names: of what computes much a byte, behind the axes with a line to each point; of all else, beside the point."""
    low, high = (float(np.log(limit)) for limit in axes.get_ylim())
    for crowded in (True, False):
        group = [point for point in points if (point.intensity > CROWDED) == crowded]
        heights = [(float(np.log(point.rate)) - low) / (high - low) for point in group]
        for point, height in zip(group, apart(heights, GAP), strict=True):
            across = 1.03 if crowded else axes.transLimits.transform((np.log10(point.intensity), 0.0))[0] + 0.015
            _name(axes, point, (float(across), height), line=crowded)


def _name(axes: Axes, point: Point, place: tuple[float, float], *, line: bool) -> None:
    look = {
        "arrowstyle": "-",
        "color": _look(point.kind)["color"],
        "linewidth": 0.6,
        "shrinkA": 1,
        "shrinkB": 4,
        "relpos": (0, 0.5),
    }
    axes.annotate(
        point.name,
        (point.intensity, point.rate),
        place,
        textcoords="axes fraction",
        va="center",
        fontsize=11,
        color=canvas.INK,
        annotation_clip=False,
        arrowprops=look if line else None,
    )

"""A film before and after each step, with its grey levels beneath: what an enhancement does, at a glance."""

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hilum.enhance import ParsedStep, crop_steps, grey_steps, written
from hilum.enhance.film import Pixels
from hilum.errors import UsageError
from hilum.files import written_aside
from hilum.records import DISCLAIMER
from hilum.report.canvas import POINTS_PER_INCH

MOST_STEPS = 9
MOST_COLUMNS = 4
DPI = 100
PANEL_PX, HISTOGRAM_PX = 300, 74
GAP_PX, TITLE_PX, TICKS_PX, FOOT_PX = 24, 74, 30, 34
DETAIL_CHARACTERS, DETAIL_LINES = 44, 2
BINS = 64
HEADROOM = 1.25
INK, MUTED, RULE, ACCENT, PAPER = "#16242b", "#53646d", "#d5dde0", "#0b6e69", "#ffffff"
"""The light page's colours; a PNG cannot follow a dark one."""

_STYLE: dict[Any, Any] = {
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": MUTED,
    "xtick.labelsize": 9,
    "xtick.major.size": 3,
}


class Panel(NamedTuple):
    """A film and what to write above it."""

    name: str
    detail: str
    film: Pixels


def draw_steps(
    film: Pixels, steps: Sequence[ParsedStep], out: Path, *, resize: Callable[[Pixels], Pixels] | None = None
) -> None:
    """Write a PNG with the film and what each step makes of the one before, each above its histogram.

    What a grey step does depends on the size of the film, so only with the recipe's own `resize` does the sheet show
    what a network is given.

    Args:
        film: float32 `(H, W)` in [0, 1].
        steps: 1 to 9, in sequence.
        out: the PNG to write.
        resize: takes the film to its final size, after the steps that move pixels; without it the size stays.

    Raises:
        UsageError: no step, or more than fit a sheet.
    """
    if not 1 <= len(steps) <= MOST_STEPS:
        raise UsageError(f"a sheet shows 1 to {MOST_STEPS} steps, not {len(steps)}; name fewer, or draw several sheets")
    panels = _panels(film, steps, resize)
    with mpl.rc_context(_STYLE):
        figure = _sheet(panels, picture_px=_picture_height(film))
        with written_aside(out) as aside:
            figure.savefig(aside, format="png", dpi=DPI, metadata={"Software": None})


def _panels(film: Pixels, steps: Sequence[ParsedStep], resize: Callable[[Pixels], Pixels] | None = None) -> list[Panel]:
    panels = [Panel("original", _size(film), film)]
    for step in crop_steps(steps):
        film = step.apply(film)
        panels.append(Panel(step.name, f"{_values(step)}, {_size(film)}", film))
    if resize:
        film = resize(film)
        panels.append(Panel("resize", _size(film), film))
    for step in grey_steps(steps):
        film = step.apply(film)
        panels.append(Panel(step.name, _values(step), film))
    return panels


def _values(step: ParsedStep) -> str:
    return ", ".join(f"{key} {written(value)}" for key, value in step.values)


def _size(film: Pixels) -> str:
    return f"{film.shape[1]} × {film.shape[0]} px"


def _picture_height(film: Pixels) -> int:
    """In px, of all pictures alike: as high as the original is, within reason."""
    height, width = film.shape
    return round(PANEL_PX * min(max(int(height) / int(width), 0.6), 1.4))


def _sheet(panels: Sequence[Panel], *, picture_px: int) -> Figure:
    rows = math.ceil(len(panels) / MOST_COLUMNS)
    columns = math.ceil(len(panels) / rows)
    row_px = TITLE_PX + picture_px + GAP_PX + HISTOGRAM_PX + TICKS_PX
    width, height = columns * (PANEL_PX + GAP_PX) + GAP_PX, rows * row_px + FOOT_PX
    figure = Figure(figsize=(width / DPI, height / DPI), facecolor=PAPER)

    def axes(left: int, bottom: int, high: int) -> Axes:
        return figure.add_axes((left / width, bottom / height, PANEL_PX / width, high / height))

    for place, panel in enumerate(panels):
        left = GAP_PX + place % columns * (PANEL_PX + GAP_PX)
        bottom = height - place // columns * row_px - TITLE_PX - picture_px
        picture = axes(left, bottom, picture_px)
        _draw_picture(picture, panel.film, picture_px)
        _write_title(picture, panel, number=place)
        _draw_histogram(axes(left, bottom - GAP_PX - HISTOGRAM_PX, HISTOGRAM_PX), panel.film)
    figure.text(GAP_PX / width, 10 / height, DISCLAIMER, color=MUTED, va="bottom")
    return figure


def _draw_picture(axes: Axes, film: Pixels, high_px: int) -> None:
    """The film whole, against the top of its place; never enlarged more than the place needs."""
    scale = min(PANEL_PX / film.shape[1], high_px / film.shape[0])
    size = (max(1, round(film.shape[1] * scale)), max(1, round(film.shape[0] * scale)))
    shown = cv2.resize(film, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=(0, size[0], size[1], 0))
    axes.set(xlim=(0, PANEL_PX), ylim=(high_px, 0))
    axes.set_axis_off()


def _write_title(axes: Axes, panel: Panel, *, number: int) -> None:
    lines = textwrap.wrap(panel.detail, DETAIL_CHARACTERS, max_lines=DETAIL_LINES, placeholder=" …")
    name = f"{number}  {panel.name}" if number else panel.name
    _write_above(axes, "\n".join(lines), 6, color=MUTED, linespacing=1.15)
    _write_above(axes, name, 12 + 15 * max(len(lines), 1), fontsize=11, fontweight="bold")


def _write_above(axes: Axes, text: str, up_px: int, **style: Any) -> None:
    up = (0, up_px * POINTS_PER_INCH / DPI)
    axes.annotate(text, (0, 1), up, xycoords="axes fraction", textcoords="offset points", va="bottom", **style)


def _draw_histogram(axes: Axes, film: Pixels) -> None:
    """Share of the pixels at each grey; black and white may rise beyond the axes, and then carry their share."""
    counts, edges = np.histogram(film, BINS, (0, 1))
    shares = counts / film.size
    # Borders of pure black would flatten what is worth seeing.
    top = HEADROOM * max(shares[1:-1].max(), 0.25 * shares.max())
    axes.bar(edges[:-1], shares, 1 / BINS, align="edge", color=ACCENT, linewidth=0)
    axes.set(xlim=(0, 1), ylim=(0, top), yticks=[], xticks=[0, 0.5, 1])
    axes.set_xticklabels(["0", "grey 0.5", "1"])
    first, _, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    for place, side, share in ((0.03, "left", shares[0]), (0.97, "right", shares[-1])):
        if share > top:
            axes.text(place, top * 0.86, f"{share:.0%}", ha=side, color=MUTED)
    said = f"mean {film.mean(dtype=np.float64):.2f}, sd {film.std(dtype=np.float64):.2f}"
    axes.text(0.5, top, said, ha="center", va="bottom", color=MUTED)

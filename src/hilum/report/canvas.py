"""The house look of figures: matplotlib draws, CSS colours, so that one SVG reads well on a light and a dark page.

matplotlib knows no CSS variables, so each role (ink, accent, class 3 ...) is drawn in a marker colour that no
figure uses otherwise, and the markers are replaced in the SVG text by `var(--role, fallback)`. One point is one user
unit of the SVG: sizes below are in px at the figure's natural width. Text stays text.
"""

import html
import io
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 430
"""Natural width of a figure in px: two side by side on a desk, one without scrolling on a phone."""
POINTS_PER_INCH = 72

INK = "#010101"
MUTED = "#010102"
RULE = "#010103"
PAPER = "#010104"
ACCENT = "#010105"
WARN = "#010106"
FAIL = "#010107"
CLASSES = tuple(f"#0102{place:02d}" for place in range(1, 9))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
HATCHES = ("", "///", "\\\\\\", "xx", "---", "|||", "++", "/")
LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (6, 2)),
    (0, (2, 1.5)),
    (0, (8, 2, 2, 2)),
    (0, (4, 1, 1, 1, 1, 1)),
    (0, (10, 3)),
    (0, (3, 3)),
    (0, (1, 1)),
)
"""Colour never carries a class alone: its line, marker or hatching does so as well."""

_ROLES = {
    INK: ("ink", "#16242b"),
    MUTED: ("muted", "#53646d"),
    RULE: ("rule", "#d5dde0"),
    PAPER: ("card", "#ffffff"),
    ACCENT: ("accent", "#0b6e69"),
    WARN: ("warn", "#8a5300"),
    FAIL: ("fail", "#b3261e"),
}
_CLASS_FALLBACKS = ("#0b6e69", "#b45309", "#4450b8", "#b02a5b", "#4d7c0f", "#52616b", "#8a3fa0", "#0b6fa4")
_ROLES |= {marker: (f"c{i + 1}", _CLASS_FALLBACKS[i]) for i, marker in enumerate(CLASSES)}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hilum",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "legend.fontsize": 11.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.7,
    "hatch.color": PAPER,
    "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}


def svg(name: str, description: str, draw: Callable[[Figure], None], *, width: float = WIDTH, height: float) -> str:
    """One figure as SVG text, the same for the same input, with `description` for those who do not see it.

    Args:
        name: unique on a page; letters, digits and dashes. Ids inside the SVG start with it.
        description: what the figure shows, in a sentence; becomes its title.
        draw: draws on an empty figure.
        width: natural width in px.
        height: natural height in px.
    """
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A label in a script DejaVu lacks is drawn by the browser in its own font: only its width is a guess.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure = Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return _page_ready(buffer.getvalue(), name, description, width)


def _page_ready(text: str, name: str, description: str, width: float) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"#0[0-9a-f]{5}\b", _role, text)
    text = text.replace("font-family: 'DejaVu Sans'", "font-family: var(--figure-font, 'DejaVu Sans', sans-serif)")
    box = re.search(r'viewBox="[^"]*"', text)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box.group() if box else ""} class="drawing" style="max-width: {width * 1.15:.0f}px" '
        f'role="img" aria-labelledby="{name}-title"><title id="{name}-title">{html.escape(description)}</title>'
    )
    return head + text[text.index(">") + 1 :]


def _role(found: re.Match[str]) -> str:
    role = _ROLES.get(found.group())
    return f"var(--{role[0]}, {role[1]})" if role else found.group()


def colour_of(place: int) -> str:
    """The marker colour of the class at `place`; beyond eight classes they repeat, with other lines."""
    return CLASSES[place % len(CLASSES)]


def short(name: str, length: int = 26) -> str:
    """`name`, cut in the middle of its length budget with an ellipsis: whole names stand in the tables.

    >>> short("bacterial_pneumonia", 12)
    'bacterial p…'
    """
    words = name.replace("_", " ")
    return words if len(words) <= length else words[: length - 1].rstrip() + "…"


def wrapped(name: str, length: int = 16) -> str:
    """`name` on at most two lines of `length` characters."""
    lines = textwrap.wrap(name.replace("_", " "), length) or [""]
    return "\n".join([lines[0], short(" ".join(lines[1:]), length)] if len(lines) > 1 else lines)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names left of the rows 0, 1, 2 ..., each line a text of its own.

    matplotlib would align several lines of one text by its own font, not by the one the browser has.
    """
    axes.set_yticks(range(len(names)), [""] * len(names))
    for place, name in enumerate(names):
        lines = name.split("\n")
        for number, line in enumerate(lines):
            axes.annotate(
                line,
                (0, place),
                (-7, 13.5 * ((len(lines) - 1) / 2 - number)),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=11.5,
                color=MUTED,
            )


def name_columns(axes: Axes, names: Sequence[str]) -> None:
    """Names over the columns 0, 1, 2 ..., line by line as in `name_rows`."""
    axes.set_xticks(range(len(names)), [""] * len(names))
    for place, name in enumerate(names):
        for number, line in enumerate(reversed(name.split("\n"))):
            axes.annotate(
                line,
                (place, 1),
                (0, 6 + 13.5 * number),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=11.5,
                color=MUTED,
            )


def legend_above(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """The legend over the axes, from the left, where it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderaxespad=0.2, handlelength=2.2)

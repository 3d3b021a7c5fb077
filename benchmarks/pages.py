"""Pages that scripts write a part of, and labels of figures that must not cover each other."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from hilum.files import write_text


def put_into(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of that name, or add it at the end; what people wrote around it stays."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = page.read_text(encoding="utf-8") if page.is_file() else f"# {name.capitalize()}\n"
    before, found, rest = old.partition(begin)
    after = rest.partition(end)[2] if found else "\n"
    glue = "" if found else "\n"
    write_text(page, f"{before}{glue}{begin}\n{text.rstrip()}\n{end}{after}")


def apart(places: Sequence[float], gap: float) -> list[float]:
    """The places moved as little as need be to lie `gap` apart, their order kept.

    >>> apart([1.0, 1.0, 5.0], 2.0)
    [0.0, 2.0, 5.0]
    """
    order = sorted(range(len(places)), key=lambda number: places[number])
    blocks: list[tuple[float, int]] = []  # middle and count of places that stand together
    for number in order:
        blocks.append((float(places[number]), 1))
        while len(blocks) > 1 and _top(blocks[-2], gap) + gap > _bottom(blocks[-1], gap) + 1e-9:
            (upper, many), (lower, few) = blocks.pop(), blocks.pop()
            blocks.append(((upper * many + lower * few) / (many + few), many + few))
    moved = [_bottom(block, gap) + gap * step for block in blocks for step in range(block[1])]
    return [moved[order.index(number)] for number in range(len(places))]


def plain_numbers(axis: Axis, *, fine: bool = False) -> None:
    """A logarithmic axis with its numbers written out, 1, 10, 100; with `fine` also 2 and 5 of each."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if fine else (1,), numticks=30))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _bottom(block: tuple[float, int], gap: float) -> float:
    return block[0] - gap * (block[1] - 1) / 2


def _top(block: tuple[float, int], gap: float) -> float:
    return block[0] + gap * (block[1] - 1) / 2

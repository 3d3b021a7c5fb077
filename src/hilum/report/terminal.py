"""Results as text tables for a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hilum.describe import Counts, Description, Spread


def format_description(description: Description) -> RenderableType:
    """The description as text tables. Names are printed as they are: rich's markup in them has no effect."""
    heading = (
        f"{description.n_films} films, {description.n_patients} patients, {description.n_groups} groups, "
        f"{description.n_sources} sources; {description.n_exact_duplicates} exact and "
        f"{description.n_near_duplicates} near-duplicates; {description.n_left_out} films left out"
    )
    warnings = [Text(f"! {warning}", style="yellow") for warning in description.warnings]
    tables: list[RenderableType] = [_counts(counts) for counts in description.tables if counts.rows]
    tables += [_spreads(description), _dates(description)]
    if description.left_out:
        rows = [(row.reason, str(row.n), ", ".join(row.examples)) for row in description.left_out]
        tables.append(_table("Left out", ("reason", "films", "such as"), rows))
    return Group(Text(heading), *warnings, *tables)


def _counts(counts: Counts) -> Table:
    rows = [(name, *(str(n) for n in values)) for name, values in zip(counts.rows, counts.cells, strict=True)]
    return _table(f"{counts.title} (n = {counts.n})", (counts.heading, *counts.columns), rows, counts.note)


def _spreads(description: Description) -> Table:
    named = [(f"age in years, {row.name}", row) for row in description.age_years]
    named += [(row.name, row) for row in description.pixels]
    columns = ("", "n", "missing", "lowest", "quartile 1", "median", "quartile 3", "highest")
    return _table("Ages and image sizes", columns, [_spread(name, row) for name, row in named])


def _spread(name: str, row: Spread) -> tuple[str, ...]:
    marks = (row.lowest, row.quartile_1, row.median, row.quartile_3, row.highest)
    return name, str(row.n), str(row.n_missing), *("-" if mark is None else f"{mark:.0f}" for mark in marks)


def _dates(description: Description) -> Table:
    rows = [(row.label, row.first or "-", row.last or "-", str(row.n), str(row.n_missing)) for row in description.dates]
    return _table("Dates acquired", ("label", "first", "last", "n", "missing"), rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]], note: str = "") -> Table:
    # Headings break at words, row names never: a narrow terminal stays readable.
    table = Table(title=Text(f"\n{title}", style="bold"), caption=Text(note) if note else None, box=None)
    table.title_justify = table.caption_justify = "left"
    table.padding = (0, 2, 0, 0)
    for place, name in enumerate(columns):
        first = place == 0
        table.add_column(
            Text(name.replace("_", " ")), justify="left" if first else "right", no_wrap=first, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table

"""What films show, as a table for a terminal, as a CSV and for machines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from hilum.console import table
from hilum.files import written_aside
from hilum.projection import SHOWN, ViewOf, counted_looks

COLUMNS = ("film", "view", "p.view", "inverted", "p.inverted", "projection", "p.projection", "stated", "agrees")


def as_row(told: ViewOf) -> dict[str, Any]:
    """A film as plain values, None where nothing is told; `refused` says why it cannot be read."""
    look = told.look
    values = (
        told.film,
        SHOWN[look.view] if look else None,
        _rounded(look.probability if look else None),
        look.inverted if look else None,
        _rounded(look.inverted_probability if look else None),
        told.projection.value if told.projection else None,
        _rounded(told.projection_probability),
        told.stated.value if told.stated else None,
        told.agrees,
    )
    return {**dict(zip(COLUMNS, values, strict=True)), "refused": told.refusal}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def views_table(films: Sequence[ViewOf]) -> Table:
    """A row a film: what it shows, how likely, and where its header says otherwise."""
    rows = [(film.film, *_cells(as_row(film))) for film in films]
    return table("", ["film", "view", "p", "projection", "p", "remarks"], rows)


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    if row["refused"] is not None:
        return "refused", "", "", "", row["refused"]
    remarks = [f"inverted (p = {row['p.inverted']:.2f})"] if row["inverted"] else []
    other_projection = row["projection"] and row["stated"] in ("PA", "AP") and row["stated"] != row["projection"]
    if row["agrees"] is False or other_projection:
        remarks.append(f"its header says {row['stated']}")
    projection = f"{row['p.projection']:.2f}" if row["projection"] else ""
    return row["view"], f"{row['p.view']:.2f}", row["projection"] or "", projection, "; ".join(remarks)


def write_views(films: Sequence[ViewOf], path: Path) -> None:
    """A CSV with a row a film: `COLUMNS`, then refused."""
    with written_aside(path) as aside:
        pd.DataFrame([as_row(film) for film in films], columns=[*COLUMNS, "refused"]).to_csv(aside, index=False)


def views_summary(films: Sequence[ViewOf]) -> Text:
    """How many films show what."""
    counts = counted_looks([film.look for film in films if film.look])
    refused = sum(film.look is None for film in films)
    return Text(summary_of({**counts, **({"refused": refused} if refused else {})}))


def summary_of(counts: Mapping[str, int]) -> str:
    """`12 films: 10 frontal, 2 lateral`."""
    said = ", ".join(f"{number} {what}" for what, number in sorted(counts.items(), key=lambda one: -one[1]))
    return f"{sum(counts.values())} films: {said}"

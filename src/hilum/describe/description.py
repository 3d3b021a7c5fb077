"""What a cohort's description holds: tables of counts, spreads, date ranges, reasons."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NOT_STATED = "not stated"
ALL = "all films"
NO_LABEL = "no label positive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A table of counts: one value per row and column, resting on `n` films."""

    title: str
    heading: str
    """What the rows are."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[int, ...], ...]
    n: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a quantity is distributed: the quartiles of the `n` films that state it."""

    name: str
    n: int
    n_missing: int
    lowest: float | None
    quartile_1: float | None
    median: float | None
    quartile_3: float | None
    highest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DateRange:
    """First and last day (ISO 8601) on which a label's films were acquired."""

    label: str
    first: str | None
    last: str | None
    n: int
    n_missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Films that were left out for one reason, and a few of them by name."""

    reason: str
    n: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A cohort in numbers. The `Counts` by label hold one column per label, since a film may carry several or none."""

    n_films: int
    n_left_out: int
    n_sources: int
    n_groups: int
    n_patients: int
    n_without_patient: int
    n_exact_duplicates: int
    """Films, used or left out, whose bytes or pixels are those of another film."""
    n_near_duplicates: int
    labels: Counts
    sources: Counts
    views: Counts
    sexes: Counts
    ages: Counts
    ages_by_sex: Counts
    """Films by decade and sex, whatever their label."""
    manufacturers: Counts
    """Spellings that differ in upper and lower case only are one manufacturer."""
    devices: Counts
    formats: Counts
    image_sizes: Counts
    films_per_patient: Counts
    missing: Counts
    """Films without a value, by column and source."""
    age_years: tuple[Spread, ...]
    dates: tuple[DateRange, ...]
    pixels: tuple[Spread, ...]
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]

    @property
    def tables(self) -> tuple[Counts, ...]:
        """Every table of counts, in the order to read them."""
        return tuple(value for value in _values(self) if isinstance(value, Counts))

    def to_json(self) -> dict[str, Any]:
        """The same as plain dicts and lists."""
        return dataclasses.asdict(self)


def _values(description: Description) -> Iterator[object]:
    for entry in dataclasses.fields(description):
        yield getattr(description, entry.name)

"""What a cohort is made of, counted before anything is learnt from it: labels, sources, ages, devices, gaps, copies.

Most shortcuts can be seen here already: a label that only one source brings, children in one class and adults in the
other, dates that do not overlap. `describe` counts; `Description.warnings` says in words what stands out.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hilum.records import View

LABEL_PREFIX = "label."
NOT_STATED = "not stated"
ALL = "all films"
NO_LABEL = "no label positive"

DECADES = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80-89", "90+")
AGE_GAP_YEARS = 15.0
"""Median ages of two labels further apart than this are reported: age alone would then tell the labels apart."""
MOST_MISSING = 0.5
MOST_ROWS = 12
"""Device models and image sizes listed by name; the rest are counted together."""


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


def describe(films: pd.DataFrame, left_out: pd.DataFrame, *, n_examples: int = 5) -> Description:
    """Count what an index holds.

    Args:
        films: the films in use, one row each, with the index's columns; optional columns may be absent.
        left_out: the films that are not in use, with `image_id` and the reason in `left_out`.
        n_examples: films to name for each reason.
    """
    marks = _Marks(films)
    ages = _column(films, "age_years").astype("Float64")
    spreads = tuple(_spread(name, ages[chosen]) for name, chosen in marks.subsets())
    dates = _dates(films, marks)
    by_source = marks.count("Labels by source", "source", _column(films, "source"), sort="count")
    return Description(
        n_films=len(films),
        n_left_out=len(left_out),
        n_sources=int(_column(films, "source").nunique()),
        n_groups=int(_column(films, "group_id").nunique()),
        n_patients=_patients(films).nunique(),
        n_without_patient=int(_column(films, "patient_id").isna().sum()),
        n_exact_duplicates=_noted("duplicate_of", films, left_out),
        n_near_duplicates=_noted("near_duplicate_of", films, left_out),
        labels=marks.assessed(),
        sources=by_source,
        views=marks.count("Labels by view", "view", _column(films, "view"), order=tuple(view.value for view in View)),
        sexes=marks.count("Labels by sex", "sex", _column(films, "sex"), order=("F", "M")),
        ages=marks.count("Labels by age", "age in years", _decades(ages), order=DECADES),
        devices=marks.count("Labels by device", "manufacturer, model", _devices(films), sort="count", most=MOST_ROWS),
        formats=marks.count("Labels by file format", "format, mode, bits", _formats(films), sort="count"),
        image_sizes=marks.count(
            "Labels by image size", "width x height, px", _sizes(films), sort="count", most=MOST_ROWS
        ),
        films_per_patient=_films_per_patient(films),
        missing=_missing(films),
        age_years=spreads,
        dates=dates,
        pixels=tuple(_spread(name, _column(films, name).astype("Float64")) for name in ("width", "height", "bytes")),
        left_out=left_out_by_reason(left_out, n_examples=n_examples),
        warnings=tuple(_warnings(by_source, spreads, dates)),
    )


def left_out_by_reason(left_out: pd.DataFrame, *, n_examples: int = 5) -> tuple[LeftOut, ...]:
    """The films of an index that are not in use, by reason, the commonest first."""
    reasons = _column(left_out, "left_out").astype("string").fillna(NOT_STATED)
    found = left_out.groupby(reasons.to_numpy(dtype=object), sort=True)["image_id"]
    rows = [
        LeftOut(reason=str(reason), n=len(names), examples=tuple(str(name) for name in names.head(n_examples)))
        for reason, names in found
    ]
    return tuple(sorted(rows, key=lambda row: (-row.n, row.reason)))


class _Marks:
    """Who carries which label, as one boolean matrix (films, labels), so that every table is a `bincount`."""

    def __init__(self, films: pd.DataFrame) -> None:
        columns = [name for name in films.columns if name.startswith(LABEL_PREFIX)]
        self.names = tuple(name.removeprefix(LABEL_PREFIX) for name in columns)
        self.n_films = len(films)
        values = [films[name].astype("boolean") for name in columns]
        self._positive = [value.fillna(False).to_numpy(dtype=bool) for value in values]
        self._assessed = [value.notna().to_numpy(dtype=bool) for value in values]
        self._unlabelled = ~np.logical_or.reduce([np.zeros(len(films), bool), *self._positive])

    def subsets(self) -> Iterator[tuple[str, np.ndarray]]:
        """The films of each label, those of none if there are any, and all."""
        yield from zip(self.names, self._positive, strict=True)
        if self._unlabelled.any():
            yield NO_LABEL, self._unlabelled
        yield ALL, np.ones(self.n_films, bool)

    def assessed(self) -> Counts:
        rows = tuple(
            (int(positive.sum()), int((known & ~positive).sum()), int((~known).sum()))
            for positive, known in zip(self._positive, self._assessed, strict=True)
        )
        return Counts(
            title="Labels",
            heading="label",
            rows=self.names,
            columns=("positive", "negative", "not assessed"),
            cells=rows,
            n=self.n_films,
        )

    def count(
        self,
        title: str,
        heading: str,
        category: pd.Series,
        *,
        order: Sequence[str] = (),
        sort: str = "order",
        most: int | None = None,
    ) -> Counts:
        """Films by category (rows) and label (columns); categories no film has are left out, unstated ones come last.

        Args:
            title: of the table.
            heading: of its rows.
            category: text, one per film.
            order: the categories known beforehand, in their order; others follow by name.
            sort: `order`, or `count` for the commonest first.
            most: rows to list by name.
        """
        codes, found = pd.factorize(category.astype("string"), use_na_sentinel=True)
        totals = np.bincount(codes[codes >= 0], minlength=len(found))
        rank = {name: place for place, name in enumerate(order)}
        keys = [(rank.get(name, len(rank)), name) for name in found.tolist()]
        ranked = sorted(range(len(found)), key=lambda i: (-totals[i], keys[i]) if sort == "count" else keys[i])
        kept = ranked if most is None or len(ranked) <= most else ranked[:most]
        rows, place = _places(found.tolist(), kept, codes)
        subsets = list(self.subsets())
        table = np.stack([np.bincount(place[chosen], minlength=len(found) + 2) for _, chosen in subsets], axis=1)
        shown = [row for row in range(len(rows)) if table[row, -1] > 0]
        return Counts(
            title=title,
            heading=heading,
            rows=tuple(rows[row] for row in shown),
            columns=tuple(name for name, _ in subsets),
            cells=tuple(tuple(int(value) for value in table[row]) for row in shown),
            n=self.n_films,
        )


def _places(found: list[str], kept: list[int], codes: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Row names, and each film's row: the kept categories, then the others together, then the unstated."""
    target = np.full(len(found) + 1, len(kept), dtype=np.intp)
    target[kept] = np.arange(len(kept))
    target[-1] = len(kept) + 1  # code -1, no value, indexes the last place
    others = f"{len(found) - len(kept)} others"
    return [*(found[i] for i in kept), others, NOT_STATED], target[codes]


def _column(films: pd.DataFrame, name: str) -> pd.Series:
    if name in films.columns:
        return films[name]
    return pd.Series(pd.NA, index=films.index, dtype="string")


def _text(films: pd.DataFrame, name: str, missing: str = "?") -> pd.Series:
    return _column(films, name).astype("string").fillna(missing)


def _decades(ages: pd.Series) -> pd.Series:
    years = ages.to_numpy(dtype=float, na_value=np.nan)
    tens = np.clip(np.nan_to_num(years, nan=0) // 10, 0, len(DECADES) - 1).astype(np.intp)
    return pd.Series(np.array(DECADES, dtype=object)[tens]).where(~np.isnan(years), None)


def _devices(films: pd.DataFrame) -> pd.Series:
    stated = _column(films, "manufacturer").notna() | _column(films, "model").notna()
    return (_text(films, "manufacturer") + ", " + _text(films, "model")).where(stated, pd.NA)


def _formats(films: pd.DataFrame) -> pd.Series:
    stated = _column(films, "format").notna() | _column(films, "mode").notna()
    names = _text(films, "format") + ", " + _text(films, "mode") + ", " + _text(films, "bits")
    return names.where(stated, pd.NA)


def _sizes(films: pd.DataFrame) -> pd.Series:
    return _column(films, "width").astype("string") + " x " + _column(films, "height").astype("string")


def _patients(films: pd.DataFrame) -> pd.Series:
    """Patient ids are unique within their source only; films without one are left out."""
    named = films[_column(films, "patient_id").notna()]
    return _text(named, "source") + "\x1f" + _text(named, "patient_id")


def _films_per_patient(films: pd.DataFrame) -> Counts:
    per_patient = _patients(films).value_counts().to_numpy(dtype=int)
    bounds = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, None))
    rows, values = [], []
    for low, high in bounds:
        chosen = (per_patient >= low) & (per_patient <= (high or per_patient.max(initial=0)))
        if chosen.any():
            rows.append(f"{low} or more" if high is None else str(low) if low == high else f"{low}-{high}")
            values.append((int(chosen.sum()), int(per_patient[chosen].sum())))
    n_unnamed = int(_column(films, "patient_id").isna().sum())
    return Counts(
        title="Films per patient",
        heading="films of the patient",
        rows=tuple(rows),
        columns=("patients", "films"),
        cells=tuple(values),
        n=len(films) - n_unnamed,
        note=f"{n_unnamed} films name no patient." if n_unnamed else "",
    )


def _missing(films: pd.DataFrame) -> Counts:
    """Missing values by column and source. What describes the check of a file rather than the film is not a gap."""
    silent = {"source", "left_out", "duplicate_of", "near_duplicate_of", "notes"}
    columns = [name for name in films.columns if name not in silent]
    codes, sources = pd.factorize(_text(films, "source"), sort=True)
    absent = {name: films[name].isna().to_numpy() for name in columns}
    rows = [name for name in columns if absent[name].any()]
    counts = [np.bincount(codes[absent[name]], minlength=len(sources)) for name in rows]
    return Counts(
        title="Missing values",
        heading="column",
        rows=tuple(rows),
        columns=(*(str(source) for source in sources), ALL),
        cells=tuple((*(int(value) for value in row), int(row.sum())) for row in counts),
        n=len(films),
        note=f"{len(columns) - len(rows)} of {len(columns)} columns are complete.",
    )


def _spread(name: str, values: pd.Series) -> Spread:
    known = values.dropna().to_numpy(dtype=float)
    marks = np.quantile(known, (0, 0.25, 0.5, 0.75, 1)).tolist() if known.size else [None] * 5
    return Spread(
        name=name,
        n=int(known.size),
        n_missing=len(values) - int(known.size),
        lowest=marks[0],
        quartile_1=marks[1],
        median=marks[2],
        quartile_3=marks[3],
        highest=marks[4],
    )


def _dates(films: pd.DataFrame, marks: _Marks) -> tuple[DateRange, ...]:
    days = pd.to_datetime(_column(films, "acquired").astype("string"), errors="coerce", format="ISO8601")
    ranges = []
    for name, chosen in marks.subsets():
        known = days[chosen].dropna()
        first, last = (known.min().date().isoformat(), known.max().date().isoformat()) if len(known) else (None, None)
        n_missing = int(chosen.sum()) - len(known)
        ranges.append(DateRange(label=name, first=first, last=last, n=len(known), n_missing=n_missing))
    return tuple(ranges)


def _noted(column: str, *tables: pd.DataFrame) -> int:
    return sum(int(_column(table, column).notna().sum()) for table in tables)


def _warnings(sources: Counts, ages: tuple[Spread, ...], dates: tuple[DateRange, ...]) -> Iterator[str]:
    """What tells the labels apart without a look at a lung."""
    for place, label in enumerate(sources.columns[:-1]):
        bringing = [row for row, values in zip(sources.rows, sources.cells, strict=True) if values[place]]
        if len(bringing) == 1 and len(sources.rows) > 1:
            films = "film without a positive label" if label == NO_LABEL else f"film of '{label}'"
            yield f"Every {films} comes from one source, {bringing[0]}: the source alone can tell these films."
    known = [row for row in ages if row.median is not None and row.name not in (ALL, NO_LABEL)]
    if known:
        young, old = min(known, key=_median), max(known, key=_median)
        if _median(old) - _median(young) > AGE_GAP_YEARS:
            yield (
                f"Median ages differ: {_median(young):.0f} years for '{young.name}', {_median(old):.0f} for "
                f"'{old.name}': age alone can tell these labels."
            )
    dated = [row for row in dates if row.first and row.last and row.label not in (ALL, NO_LABEL)]
    for row in dated:
        others = [other for other in dated if other is not row]
        if others and all((row.first or "") > (other.last or "") for other in others):
            yield f"Every dated film of '{row.label}' is later than those of all other labels."
    everybody = ages[-1]
    if everybody.n_missing > MOST_MISSING * (everybody.n + everybody.n_missing):
        yield f"{everybody.n_missing} of {everybody.n + everybody.n_missing} films state no age."


def _median(spread: Spread) -> float:
    return spread.median if spread.median is not None else float("nan")


def _values(description: Description) -> Iterator[object]:
    for entry in dataclasses.fields(description):
        yield getattr(description, entry.name)

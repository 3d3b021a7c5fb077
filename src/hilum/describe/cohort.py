"""A cohort's description, made from the table of films and the table of those left out."""

import numpy as np
import pandas as pd

from hilum.describe.counting import Marks
from hilum.describe.description import ALL, NOT_STATED, Counts, DateRange, Description, LeftOut, Spread
from hilum.describe.telling import warnings
from hilum.records import View

DECADES = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80-89", "90+")
MOST_ROWS = 12
"""Manufacturers, device models and image sizes listed by name; the rest are counted together."""


def describe(films: pd.DataFrame, left_out: pd.DataFrame, *, n_examples: int = 5) -> Description:
    """Count what an index holds.

    Args:
        films: the films in use, one row each, with the index's columns; optional columns may be absent.
        left_out: the films that are not in use, with `image_id` and the reason in `left_out`.
        n_examples: films to name for each reason.
    """
    marks = Marks(films)
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
        ages_by_sex=_ages_by_sex(films, ages),
        manufacturers=marks.count(
            "Labels by manufacturer", "manufacturer", _manufacturers(films), sort="count", most=MOST_ROWS
        ),
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
        warnings=tuple(warnings(by_source, spreads, dates)),
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


def _ages_by_sex(films: pd.DataFrame, ages: pd.Series) -> Counts:
    sex = _column(films, "sex").astype("string").fillna(NOT_STATED).to_numpy(dtype=object)
    decade = _decades(ages).fillna(NOT_STATED).to_numpy(dtype=object)
    rows = [name for name in (*DECADES, NOT_STATED) if (decade == name).any()]
    columns = [name for name in ("F", "M", NOT_STATED) if (sex == name).any()]
    cells = [[int(((decade == row) & (sex == column)).sum()) for column in columns] for row in rows]
    return Counts(
        title="Age by sex",
        heading="age in years",
        rows=tuple(rows),
        columns=(*columns, ALL),
        cells=tuple((*row, sum(row)) for row in cells),
        n=len(films),
    )


def _manufacturers(films: pd.DataFrame) -> pd.Series:
    """Each film's manufacturer as it is first spelt: "SIEMENS" and "Siemens" are one."""
    stated = _column(films, "manufacturer").astype("string").str.strip()
    return stated.groupby(stated.str.casefold()).transform("first")


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


def _dates(films: pd.DataFrame, marks: Marks) -> tuple[DateRange, ...]:
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

"""What tells the labels of a cohort apart without a look at a lung, in words."""

from collections.abc import Iterator

from hilum.describe.description import ALL, NO_LABEL, Counts, DateRange, Spread

AGE_GAP_YEARS = 15.0
"""Median ages of two labels further apart than this are reported: age alone would then tell the labels apart."""
MOST_MISSING = 0.5


def warnings(sources: Counts, ages: tuple[Spread, ...], dates: tuple[DateRange, ...]) -> Iterator[str]:
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

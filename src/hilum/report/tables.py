"""Results as tables for a page: rows of text with a caption and the number of films they rest on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hilum.describe import Counts, Description, LeftOut, Spread
from hilum.evaluate import Evaluation, Score
from hilum.report.wording import figure, floor_name, metric_name, percent, score_text

BY_CLASS = ("auroc", "average_precision", "precision", "recall", "f1")
AT_POINT = ("sensitivity", "specificity", "ppv", "npv", "accuracy")
CALIBRATION = ("brier", "ece", "log_loss")
BY_CLASS_CALIBRATION = ("calibration_slope", "calibration_intercept")
MOST_REASONS = 20
ACCURACY = ".accuracy"
"""Ends the name of a floor's accuracy: `floor.header.accuracy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table ready to print; the first `texts` columns are words, the others figures."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int = 1
    note: str = ""


def of_counts(counts: Counts, *, shares: bool = False) -> Grid:
    """A table of counts; with `shares`, each count followed by its percentage of the films."""

    def cell(value: int) -> str:
        return f"{value:,} ({percent(value / counts.n)})" if shares and counts.n else f"{value:,}"

    rows = tuple((name, *map(cell, values)) for name, values in zip(counts.rows, counts.cells, strict=True))
    caption = f"{counts.title} (n = {counts.n:,} films)"
    return Grid(caption=caption, head=(counts.heading, *counts.columns), rows=rows, note=counts.note)


def of_ages(description: Description) -> Grid:
    """Ages by label."""
    rows = tuple(_spread(spread) for spread in description.age_years)
    return Grid(caption=f"Age in years (n = {description.n_films:,} films)", head=_SPREAD_HEAD, rows=rows)


def of_pixels(description: Description) -> Grid:
    """Widths, heights and file sizes."""
    rows = tuple(_spread(spread) for spread in description.pixels)
    return Grid(caption=f"Image and file sizes (n = {description.n_films:,} films)", head=_SPREAD_HEAD, rows=rows)


def of_dates(description: Description) -> Grid:
    """First and last day of each label."""
    rows = tuple(
        (row.label, row.first or "–", row.last or "–", f"{row.n:,}", f"{row.n_missing:,}") for row in description.dates
    )
    head = ("label", "first", "last", "dated films", "undated films")
    return Grid(caption=f"Dates acquired (n = {description.n_films:,} films)", head=head, rows=rows)


def of_left_out(left_out: Sequence[LeftOut]) -> Grid:
    """Films not in use, by reason, with a few of their names."""
    total = sum(row.n for row in left_out)
    rows = [(row.reason, ", ".join(row.examples), f"{row.n:,}") for row in left_out[:MOST_REASONS]]
    others = left_out[MOST_REASONS:]
    if others:
        rows.append((f"{len(others)} other reasons", "", f"{sum(row.n for row in others):,}"))
    return Grid(
        caption=f"Films left out, by reason (n = {total:,} films)",
        head=("reason", "such as", "films"),
        rows=tuple(rows),
        texts=2,
    )


def of_split(split: pd.DataFrame, order: Sequence[str] = ()) -> Grid:
    """Films and groups by fold and class.

    Args:
        split: division, fold, target, films, groups; one row for each division, fold and class.
        order: classes to list first.
    """
    there = dict.fromkeys(split["target"].astype(str))
    classes = [*(name for name in order if name in there), *(name for name in there if name not in order)]
    rows = []
    for (division, fold), part in split.groupby(["division", "fold"], sort=False):
        by_class = part.set_index(part["target"].astype(str))
        cells = [_films(by_class, name) for name in classes]
        rows.append((str(division), str(fold), *cells, f"{part['films'].sum():,}"))
    n = int(split.loc[split["division"] == split["division"].iloc[0], "films"].sum())
    return Grid(
        caption=f"Films (groups) by fold and class (n = {n:,} films in each division)",
        head=("division", "fold", *classes, "all films"),
        rows=tuple(rows),
        texts=2,
        note="A group is a patient with all near-duplicates of the films; no group lies in two folds of a division.",
    )


def split_counts(divisions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Count films and groups for `of_split`.

    Args:
        divisions: name of the division -> image_id, group_id, target, fold; a row for each film.
    """
    parts = []
    for name, table in divisions.items():
        counted = table.groupby(["fold", "target"], sort=False, observed=True)
        part = counted.agg(films=("image_id", "size"), groups=("group_id", "nunique")).reset_index()
        parts.append(part.assign(division=name))
    columns = ["division", "fold", "target", "films", "groups"]
    return pd.concat(parts)[columns].reset_index(drop=True) if parts else pd.DataFrame(columns=columns)


def of_overall(evaluation: Evaluation, fold: str) -> Grid:
    """Figures over all classes."""
    scores = [s for s in _whole(evaluation, fold) if s.label is None and not s.at and s.metric not in CALIBRATION]
    rows = tuple((metric_name(s.metric), figure(s.value), _bounds(s), f"{s.n:,}") for s in scores)
    return Grid(
        caption=f"All classes, {_fold_name(fold, scores)}", head=("metric", "value", "95 % interval", "n"), rows=rows
    )


def of_classes(evaluation: Evaluation, fold: str) -> Grid:
    """Figures of each class against the rest."""
    return _by_class(evaluation, fold, BY_CLASS, "By class")


def of_points(evaluation: Evaluation, fold: str) -> Grid:
    """What each operating point means on this fold."""
    scores = {(s.label, s.at, s.metric): s for s in _whole(evaluation, fold) if s.at}
    metrics = [name for name in AT_POINT if any(key[2] == name for key in scores)]
    rows = [
        (
            point.label,
            point.name,
            figure(point.threshold),
            *(_cell(scores.get((point.label, point.name, metric))) for metric in metrics),
        )
        for point in evaluation.operating_points
        if metrics
    ]
    return Grid(
        caption=f"Operating points (chosen on the tune fold), {_fold_name(fold, _whole(evaluation, fold))}",
        head=("class", "operating point", "threshold", *map(metric_name, metrics)),
        rows=tuple(rows),
        texts=2,
        note="n = films the figure rests on.",
    )


def of_calibration(evaluation: Evaluation, fold: str) -> Grid:
    """How far probabilities can be taken at their word, over all classes."""
    scores = [s for s in _whole(evaluation, fold) if s.metric in CALIBRATION and s.label is None]
    rows = tuple((metric_name(s.metric), figure(s.value), _bounds(s), f"{s.n:,}") for s in scores)
    return Grid(
        caption=f"Calibration, {_fold_name(fold, scores)}",
        head=("metric", "value", "95 % interval", "n"),
        rows=rows,
        note=f"Probabilities after temperature scaling with T = {evaluation.temperature:.3f}, fitted on the tune fold.",
    )


def of_class_calibration(evaluation: Evaluation, fold: str) -> Grid:
    """Slope (ideally 1) and intercept (ideally 0) of each class's calibration line."""
    return _by_class(evaluation, fold, BY_CLASS_CALIBRATION, "Calibration line by class")


def of_parts(evaluation: Evaluation) -> Grid:
    """Every figure by source and subgroup."""
    rows = tuple(
        (
            s.source or str(s.subgroup).replace("=", ": "),
            s.fold,
            s.label or "all classes",
            metric_name(s.metric),
            figure(s.value),
            _bounds(s),
            f"{s.n:,}",
        )
        for s in evaluation.scores
        if s.source or s.subgroup
    )
    head = ("part", "fold", "class", "metric", "value", "95 % interval", "n")
    return Grid(caption="Figures by source and subgroup", head=head, rows=rows, texts=4)


def of_unseen(unseen: pd.DataFrame) -> Grid:
    """What films of classes never trained on are called, as `run.unseen` counts it."""
    rows = tuple(
        (
            *(str(row[name]) for name in ("shown", "source", "called")),
            percent(row["share"]),
            f"{percent(row['low'])} to {percent(row['high'])}",
            *(figure(row[name]) for name in ("mean_p", "median_p")),
            *(f"{row[name]:,}" for name in ("n_films", "n_groups")),
        )
        for row in unseen.to_dict("records")
    )
    head = ("shown", "source", "called", "of its films", "95 % interval", "mean p", "median p", "films", "groups")
    return Grid(caption="Classes the network was never shown", head=head, rows=rows, texts=3)


def of_floors(evaluation: Evaluation) -> Grid:
    """What classifiers reach that never see a lung, with the parts of each floor; accuracies beside the AUROCs."""
    accuracies = {floor.metric: floor for floor in evaluation.floors if floor.metric.endswith(ACCURACY)}
    ranked = sorted(evaluation.floors, key=lambda floor: -(floor.value or 0))
    rows = tuple(
        (
            floor_name(floor),
            figure(floor.value),
            _bounds(floor),
            score_text(accuracies[floor.metric + ACCURACY]) if floor.metric + ACCURACY in accuracies else "–",
            f"{floor.n:,}",
        )
        for floor in ranked
        if floor.metric not in accuracies
    )
    head = ("classifier", "AUROC", "95 % interval", "accuracy", "n")
    return Grid(caption="Shortcut floors: the same folds without a look at a lung", head=head, rows=rows)


def of_provenance(provenance: Mapping[str, Any]) -> list[Grid]:
    """One table for each nested part of a provenance record; its plain values come first."""
    plain = {key: value for key, value in provenance.items() if not isinstance(value, Mapping)}
    nested = {key: value for key, value in provenance.items() if isinstance(value, Mapping)}
    grids = [_facts("The run", plain)] if plain else []
    return [*grids, *(_facts(str(key).replace("_", " ").capitalize(), value) for key, value in nested.items())]


def _facts(caption: str, facts: Mapping[str, Any]) -> Grid:
    rows = tuple((key.replace("_", " "), value) for key, value in _flat(facts))
    return Grid(caption=caption, head=("", ""), rows=rows, texts=2)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}, ")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", ", ".join(str(part) for part in value)
        else:
            yield f"{prefix}{key}", "not stated" if value is None else str(value)


_SPREAD_HEAD = ("", "n", "missing", "lowest", "lower quartile", "median", "upper quartile", "highest")


def _spread(spread: Spread) -> tuple[str, ...]:
    marks = (spread.lowest, spread.quartile_1, spread.median, spread.quartile_3, spread.highest)
    cells = ("–" if mark is None else f"{mark:,.0f}" for mark in marks)
    return spread.name, f"{spread.n:,}", f"{spread.n_missing:,}", *cells


def _films(by_class: pd.DataFrame, name: str) -> str:
    if name not in by_class.index:
        return "0"
    row = by_class.loc[[name]]
    return f"{int(row['films'].sum()):,} ({int(row['groups'].sum()):,})"


def _whole(evaluation: Evaluation, fold: str) -> list[Score]:
    return [s for s in evaluation.scores if s.fold == fold and not s.source and not s.subgroup]


def _by_class(evaluation: Evaluation, fold: str, metrics: Sequence[str], caption: str) -> Grid:
    scores = {(s.label, s.metric): s for s in _whole(evaluation, fold) if s.label and not s.at}
    shown = [metric for metric in metrics if any(key[1] == metric for key in scores)]
    rows = []
    for label in evaluation.classes:
        found = [scores.get((label, metric)) for metric in shown]
        first = next((score for score in found if score), None)
        if first:
            positive = "n/a" if first.n_positive is None else f"{first.n_positive:,}"
            rows.append((label, positive, *(score_text(score) if score else "–" for score in found)))
    return Grid(
        caption=f"{caption}, {_fold_name(fold, scores.values())}",
        head=("class", "films", *map(metric_name, shown)),
        rows=tuple(rows),
    )


def _cell(score: Score | None) -> str:
    return f"{score_text(score)}\nn = {score.n:,}" if score else "–"


def _bounds(score: Score) -> str:
    if score.low is None or score.high is None:
        return "–"
    return f"{figure(score.low)}–{figure(score.high)}"


def _fold_name(fold: str, scores: Iterable[Score]) -> str:
    films = max((score.n for score in scores), default=0)
    where = "sources never seen" if fold == "external" else f"{fold} fold"
    return f"{where} (n = {films:,} films)"

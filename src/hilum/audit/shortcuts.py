"""Can the label be told without seeing a lung? From source, header, edges or attributes, on the model's own folds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hilum import metrics
from hilum.audit.chance import auroc_p, one_source_p
from hilum.audit.check import Finding, Measured, Question, found, ranked, skipped
from hilum.audit.questions import QUESTIONS
from hilum.audit.subject import ORIGIN, Subject
from hilum.floors import ATTRIBUTE_WORDS, HEADER_NUMBERS, HEADER_WORDS, floor_scores
from hilum.scoring import Predicted
from hilum.selection import TARGET

EDGES = ("border", "corners", "thumbnail", "histogram")
MOST_LEVELS = 12
"""Levels of a column that a table lists before the rest is put together."""


def ask_source(subject: Subject) -> Finding:
    """1: the label frequencies of each source; and labels that one source alone has."""
    question = QUESTIONS["source"]
    films = subject.films
    if films[ORIGIN].nunique() < 2:
        return skipped(question, f"all films come from one source by name, {films['source'].iloc[0]}")
    predicted = subject.floors(["source"])["source"]
    if predicted is None:
        return skipped(question, "the source of the films is not known")
    alone = _labels_of_one_source(subject)
    measured = [measured_floor(subject, "source", predicted), *alone]
    says = f"From the name of the source alone the label is told with {_figure(measured[0], subject)}."
    if alone:
        says += f" All films of {' and of '.join(one.of for one in alone)}."
    details = {"roc": _curves(predicted), "tables": {"source": levels_by_class(subject, ORIGIN)}}
    return found(question, measured, says, details=details)


def _labels_of_one_source(subject: Subject) -> list[Measured]:
    """A fact, not an estimate: its value is the share 1, and p the chance that it came about by itself."""
    films = subject.films
    groups = films.groupby("group_id", sort=False)[ORIGIN].first().value_counts()
    said = []
    for name in subject.classes:
        theirs = films[films[TARGET] == name]
        if len(set(theirs[ORIGIN])) != 1:
            continue
        count = int(theirs["group_id"].nunique())
        p = one_source_p(count, np.asarray(groups, np.int64))
        of = f"{name} come from {theirs[ORIGIN].iloc[0]}"
        said.append(Measured(of=of, value=1.0, low=1.0, high=1.0, p=p, n=len(theirs), groups=count))
    return said


def ask_header(subject: Subject) -> Finding:
    """2: all header facts jointly, which finds what none of them shows alone."""
    question = QUESTIONS["header"]
    columns = [name for name in HEADER_WORDS if name in subject.films]
    details = {
        "tables": {name: levels_by_class(subject, name) for name in columns},
        "medians": medians_by_class(subject, [name for name in HEADER_NUMBERS if name in subject.films]),
    }
    return _one_floor(subject, question, "header", "the file's header", details)


def ask_attributes(subject: Subject) -> Finding:
    """11: age, sex, view and maker jointly; and how the model does among films that share one of them."""
    question = QUESTIONS["attributes"]
    columns = [name for name in ATTRIBUTE_WORDS if name in subject.films and subject.films[name].notna().any()]
    details: dict[str, Any] = {"tables": {name: levels_by_class(subject, name) for name in columns}}
    details["medians"] = medians_by_class(subject, ["age_years"] if "age_years" in subject.films else [])
    details["within"] = _within_strata(subject)
    return _one_floor(subject, question, "attributes", "age, sex, view and maker", details)


def _within_strata(subject: Subject) -> list[dict[str, Any]]:
    """The model's own AUROC by level of each attribute."""
    return [
        {"subgroup": s.subgroup, "label": s.label, "value": s.value, "low": s.low, "high": s.high, "n": s.n}
        for s in subject.evaluation.scores
        if s.subgroup and s.metric == "auroc" and s.fold == subject.fold and s.value is not None
    ]


def _one_floor(subject: Subject, question: Question, name: str, what: str, details: Mapping[str, Any]) -> Finding:
    predicted = subject.floors([name])[name]
    if predicted is None:
        return skipped(question, "the index states none of these facts")
    measured = measured_floor(subject, name, predicted)
    says = f"From {what} alone the label is told with {_figure(measured, subject)}."
    return found(question, [measured], says, details={"roc": _curves(predicted), **details})


def ask_edges(subject: Subject) -> Finding:
    """5: four ways to look at a film without seeing a lung.

    Disease can be seen in two of them, thumbnail and histogram; these have limits of their own.
    """
    question = QUESTIONS["edges"]
    floors = {name: made for name, made in subject.floors(EDGES, pixels=True).items() if made is not None}
    measured = ranked(question, [measured_floor(subject, name, predicted) for name, predicted in floors.items()])
    says = f"From a film's {measured[0].of} alone the label is told with {_figure(measured[0], subject)}."
    curves = {name: _curves(predicted)["floor"] for name, predicted in floors.items()}
    return found(question, measured, says, details={"roc": curves})


def measured_floor(subject: Subject, name: str, predicted: Predicted) -> Measured:
    """AUROC (macro average of more than two classes) of a shortcut classifier."""
    score = floor_scores(predicted, name, resamples=subject.resamples)[0]
    return Measured(
        of=name,
        value=0.5 if score.value is None else score.value,
        low=score.low,
        high=score.high,
        p=auroc_p(predicted),
        n=len(predicted.target),
        groups=predicted.groups(),
    )


def _figure(measured: Measured, subject: Subject) -> str:
    area = "AUROC" if len(subject.classes) == 2 else "macro AUROC"
    bounds = "" if measured.low is None or measured.high is None else f" [{measured.low:.3f}, {measured.high:.3f}]"
    return f"{area} {measured.value:.3f}{bounds}"


def _curves(predicted: Predicted) -> dict[str, dict[str, dict[str, list[float]]]]:
    """ROC curves by class, all repeats together: `floor` -> class -> x = 1 - specificity, y = sensitivity."""
    target = np.concatenate([predicted.target[rows] for rows, _ in predicted.repeats])
    scores = np.concatenate([made for _, made in predicted.repeats])
    curves = {}
    for c in predicted.judged:
        x, y = metrics.roc_curve(target == c, scores[:, c], 100)
        curves[predicted.classes[c]] = {"x": x.tolist(), "y": y.tolist()}
    return {"floor": curves}


def levels_by_class(subject: Subject, column: str) -> dict[str, dict[str, int]]:
    """Films by level of a column and class; rare levels together as `others`, missing ones as `not stated`."""
    level = subject.films[column].astype("string").fillna("not stated")
    often = level.value_counts().index[:MOST_LEVELS]
    level = level.where(level.isin(often), "others")
    counts = pd.crosstab(level, subject.films[TARGET]).reindex(columns=list(subject.classes), fill_value=0)
    return {str(name): {str(c): int(n) for c, n in row.items()} for name, row in counts.iterrows()}


def medians_by_class(subject: Subject, columns: Sequence[str]) -> dict[str, dict[str, float]]:
    """Median of each number by class, where it is stated."""
    told: dict[str, dict[str, float]] = {}
    for column in columns:
        numbers = pd.to_numeric(subject.films[column], errors="coerce").astype("Float64")
        medians = numbers.groupby(subject.films[TARGET].astype("string")).median().dropna()
        told[column] = {str(name): float(value) for name, value in medians.items()}
    return told

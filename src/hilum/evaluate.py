"""Predictions on films with a reference standard -> an Evaluation: figures with intervals, by label, source, group."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import ConfigDict, TypeAdapter, ValidationError

from hilum import metrics, scoring
from hilum.errors import DataError
from hilum.files import write_json
from hilum.metrics import Bools, Counts
from hilum.scoring import FEWEST, Predicted, in_one_line
from hilum.scoring import NOT_AUDITED as NOT_AUDITED
from hilum.scoring import OperatingPoint as OperatingPoint
from hilum.scoring import Score as Score
from hilum.scoring import best_floor as best_floor
from hilum.scoring import find_score as find_score
from hilum.scoring import spelt as spelt

FORMAT = 1
FOLDS = ("test", "external")
FEW_GROUPS = 30
_SETTINGS = {
    "interval": "95 %, percentile bootstrap over groups; for a perfect figure the exact binomial bound",
    "ece": f"{metrics.ECE_BINS} equal-width bins of the most probable class's probability",
    "fewest": f"{FEWEST} positives and {FEWEST} negatives for a figure of a source or subgroup",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A curve to draw: `roc` (x = 1 - specificity), `pr` (x = sensitivity) or `reliability` (x = mean probability)."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    kind: str
    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    weight: tuple[float, ...] = ()
    """Films per bin, for reliability curves; all repeats together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What was measured, on which films, with which bundle."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    classes: tuple[str, ...]
    scores: tuple[Score, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Films by reference standard (rows) and predicted class (columns), in the order of `classes`; repeats add up."""
    operating_points: tuple[OperatingPoint, ...]
    curves: tuple[Curve, ...]
    floors: tuple[Score, ...]
    """What classifiers that never see a lung reach on the same folds: `floor.header`, `floor.thumbnail` ..."""
    n_films: int
    n_groups: int
    n_repeats: int
    """Seeds the figures are averaged over; every film is tested once in each."""
    temperature: float
    index_digest: str
    bundle_digest: str | None
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def choose_operating_points(
    tune_predictions: pd.DataFrame, classes: Sequence[str], names: Sequence[str] = metrics.OPERATING_POINTS
) -> tuple[OperatingPoint, ...]:
    """Thresholds by name on the tune fold, for every class (of two: for the first, the positive one).

    Args:
        tune_predictions: columns `reference` and `p.<class>`, repeats together.
        classes: class names.
        names: as `metrics.operating_threshold` understands them.

    Raises:
        DataError: a class has no tune films, or all of them.
        UsageError: an unknown name.
    """
    points = []
    for label in classes[:1] if len(classes) == 2 else classes:
        positive = (tune_predictions["reference"] == label).to_numpy(dtype=bool)
        probability = tune_predictions[f"p.{label}"].to_numpy(dtype=float)
        for name in names:
            try:
                threshold = metrics.operating_threshold(name, positive, probability)
            except DataError as error:
                raise DataError(f"class '{label}': {error}") from error
            points.append(OperatingPoint(label=label, name=name, threshold=threshold))
    return tuple(points)


def evaluate(
    predictions: pd.DataFrame,
    films: pd.DataFrame,
    *,
    classes: Sequence[str],
    operating_points: Sequence[OperatingPoint],
    temperature: float,
    index_digest: str,
    bundle_digest: str | None,
    floors: Sequence[Score] = (),
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Every figure, with 95 % intervals from resampling groups; repeats are resampled together and averaged.

    Args:
        predictions: a row for each film and repeat: `image_id`, `repeat`, `fold` (`test` or `external`), `reference`
            (a class) and `p.<class>`, calibrated probabilities that sum to 1; where present, `t.<class>.<name>`: the
            operating point of the very network that made the row, used instead of the one in `operating_points`, whose
            tune fold may hold films another network was tested on.
        films: the index table, keyed by `image_id` (column or index): `group_id`, `source` and, where they are known,
            `view`, `sex`, `age_years`, `manufacturer`.
        classes: class names; of two, the first is the positive one.
        operating_points: from `choose_operating_points`.
        temperature: the one the probabilities were calibrated with; recorded.
        index_digest: which index.
        bundle_digest: which bundle, if one was made.
        floors: from `hilum.floors`.
        resamples: bootstrap resamples of groups; 0 for no intervals.
        seed: of the resampling.

    Raises:
        DataError: predictions that do not fit the films, the classes or themselves.
    """
    films = films.set_index("image_id") if "image_id" in films.columns else films
    _check(predictions, films, classes)
    scores: list[Score] = []
    notes: list[str] = []
    folds: list[Predicted] = []
    for fold in (fold for fold in FOLDS if (predictions["fold"] == fold).any()):
        part = predictions[predictions["fold"] == fold]
        tested, described = arranged(part, films, tuple(classes), fold)
        counts = metrics.resampled_groups(tested.groups(), resamples, seed)
        scores += _fold_scores(tested, described, counts) + _point_scores(tested, part, operating_points, counts)
        notes += _notes(tested, described)
        folds.append(tested)
    first = folds[0]
    return Evaluation(
        classes=tuple(classes),
        scores=tuple(scores),
        confusion=_confusion(first),
        operating_points=tuple(operating_points),
        curves=tuple(_curves(first)),
        floors=tuple(floors),
        n_films=len(first.target),
        n_groups=first.groups(),
        n_repeats=len(first.repeats),
        temperature=float(temperature),
        index_digest=index_digest,
        bundle_digest=bundle_digest,
        notes=tuple(notes),
        settings={**_SETTINGS, "resamples": str(resamples), "seed": str(seed)},
    )


def _check(predictions: pd.DataFrame, films: pd.DataFrame, classes: Sequence[str]) -> None:
    """Refuse predictions no honest figure could come from. Counts, not ids, are told: ids may name patients."""
    columns = [f"p.{name}" for name in classes]
    missing = [name for name in ("image_id", "repeat", "fold", "reference", *columns) if name not in predictions]
    missing += [f"films.{name}" for name in ("group_id", "source") if name not in films]
    if missing:
        raise DataError(f"the predictions lack {', '.join(missing)}; write them anew with: hilum train")
    if not len(predictions):
        raise DataError("there are no predictions to evaluate; the test fold is empty: split again.")
    ambiguous = predictions.groupby("image_id")["reference"].transform("nunique") > 1
    faults: dict[str, pd.Series[bool] | Bools] = {
        "a fold other than test and external": ~predictions["fold"].isin(FOLDS),
        f"a reference that is none of {', '.join(classes)}": ~predictions["reference"].isin(classes),
        "an image id the index does not have": ~predictions["image_id"].isin(films.index),
        "an image id and repeat that occur twice": predictions.duplicated(["image_id", "repeat"]),
        "a reference that differs between repeats": ambiguous,
        "probabilities outside [0, 1] or not summing to 1": ~_is_distribution(predictions[columns]),
    }
    for what, where in faults.items():
        if where.any():
            raise DataError(f"{int(where.sum())} predictions have {what}; predict again with this index.")


def _is_distribution(probabilities: pd.DataFrame) -> Bools:
    p = probabilities.to_numpy(dtype=float)
    return np.asarray((p >= 0).all(axis=1) & (p <= 1 + 1e-6).all(axis=1) & (np.abs(p.sum(axis=1) - 1) < 1e-3))


def arranged(
    predictions: pd.DataFrame, films: pd.DataFrame, classes: tuple[str, ...], fold: str
) -> tuple[Predicted, pd.DataFrame]:
    """One fold's predictions as arrays, and the index rows of its films in the same order."""
    film, ids = pd.factorize(predictions["image_id"])
    described = films.loc[ids]
    group, _ = pd.factorize(described["group_id"].astype(object).where(described["group_id"].notna(), ids))
    column = {name: c for c, name in enumerate(classes)}
    target = np.zeros(len(ids), dtype=np.int64)
    target[film] = predictions["reference"].map(column).to_numpy(dtype=np.int64)
    p = predictions[[f"p.{name}" for name in classes]].to_numpy(dtype=float)
    repeat = predictions["repeat"].to_numpy()
    repeats = tuple((film[repeat == seed], p[repeat == seed]) for seed in sorted(set(repeat.tolist())))
    return Predicted(fold, classes, target, group, repeats), described


def _point_scores(
    tested: Predicted, predictions: pd.DataFrame, operating_points: Sequence[OperatingPoint], counts: Counts
) -> list[Score]:
    scores: list[Score] = []
    seeds = sorted(set(predictions["repeat"].tolist()))
    for point in operating_points:
        thresholds = pd.Series(point.threshold, index=predictions.index)
        if f"t.{point.label}.{point.name}" in predictions:
            thresholds = predictions[f"t.{point.label}.{point.name}"].fillna(point.threshold)
        alarm = (predictions[f"p.{point.label}"] >= thresholds).to_numpy(dtype=bool)
        called = [alarm[(predictions["repeat"] == seed).to_numpy(dtype=bool)] for seed in seeds]
        scores += scoring.point_scores(tested, tested.classes.index(point.label), point.name, called, counts)
    return scores


def _fold_scores(tested: Predicted, films: pd.DataFrame, counts: Counts) -> list[Score]:
    scores = scoring.ranking_scores(tested, counts) + scoring.decision_scores(tested, counts)
    scores += scoring.plain_scores(tested)
    for source in sorted(films["source"].dropna().unique()):
        part = scoring.part_scores(tested, (films["source"] == source).to_numpy(dtype=bool), counts)
        scores += [replace(score, source=source) for score in part]
    for subgroup, which in _subgroups(films):
        scores += [replace(score, subgroup=subgroup) for score in scoring.part_scores(tested, which, counts)]
    return scores


def _subgroups(films: pd.DataFrame) -> Iterable[tuple[str, Bools]]:
    """Every level of sex, view, age decade (90+ together) and manufacturer, and the films where it is not stated."""
    columns = {name: films[name].astype(object) for name in ("sex", "view", "manufacturer") if name in films}
    if "age_years" in films:
        ages = films["age_years"].to_numpy(dtype=float, na_value=np.nan)
        columns["age"] = pd.Series([_decade(age) for age in ages], index=films.index, dtype=object)
    for name, column in columns.items():
        stated = column.notna()
        for level in sorted(column[stated].unique()):
            yield f"{name}={level}", (column == level).fillna(False).to_numpy(dtype=bool)
        if stated.any() and not stated.all():
            yield f"{name}=unstated", ~stated.to_numpy(dtype=bool)


def _decade(age_years: float) -> str | None:
    if np.isnan(age_years):
        return None
    start = int(age_years // 10 * 10)
    return f"{start}-{start + 9}" if start < 90 else "90+"


def _confusion(tested: Predicted) -> tuple[tuple[int, ...], ...]:
    classes = len(tested.classes)
    tables = [metrics.confusion_matrix(tested.target[rows], p.argmax(axis=1), classes) for rows, p in tested.repeats]
    return tuple(tuple(int(n) for n in row) for row in np.sum(tables, axis=0))


def _curves(tested: Predicted) -> Iterable[Curve]:
    """ROC, precision-recall and reliability of each judged class, over the films of all repeats together."""
    target = np.concatenate([tested.target[rows] for rows, _ in tested.repeats])
    probabilities = np.concatenate([p for _, p in tested.repeats])
    for c in tested.judged:
        positive, p = target == c, probabilities[:, c]
        for kind, (x, y, *weight) in (
            ("roc", metrics.roc_curve(positive, p)),
            ("pr", metrics.pr_curve(positive, p)),
            ("reliability", metrics.reliability_curve(positive, p)),
        ):
            numbers = [tuple(float(v) for v in column) for column in (x, y, *weight)]
            if numbers[0]:
                yield Curve(kind=kind, label=tested.classes[c], x=numbers[0], y=numbers[1], weight=sum(numbers[2:], ()))


def _notes(tested: Predicted, films: pd.DataFrame) -> Iterable[str]:
    lacking = [name for c, name in enumerate(tested.classes) if c not in tested.present]
    if lacking:
        yield f"no {tested.fold} film is {' or '.join(lacking)}: averages over classes leave them out"
    alone = int(films["group_id"].isna().sum())
    if alone:
        yield f"{alone} {tested.fold} films have no group: each counts as a group of its own"
    if tested.groups() < FEW_GROUPS:
        yield f"only {tested.groups()} {tested.fold} groups: intervals from so few are too narrow"
    if len(tested.repeats) > 1:
        yield f"{tested.fold}: means over {len(tested.repeats)} repeats; the confusion matrix adds them up"


def headline_score(evaluation: Evaluation, fold: str = "test") -> Score | None:
    """AUROC of the positive class of two, macro AUROC of more."""
    if len(evaluation.classes) == 2:
        return find_score(evaluation.scores, "auroc", label=evaluation.classes[0], fold=fold)
    return find_score(evaluation.scores, "macro_auroc", fold=fold)


def headline(evaluation: Evaluation, verdict: str | None = None) -> str:
    """Score, interval, shortcut floor, what is above it, unseen source and the audit's verdict, in one line.

    Args:
        evaluation: what was measured.
        verdict: of the audit, in words, or `NOT_AUDITED`; None leaves it out, as a bundle's manifest must.
    """
    score, external = (headline_score(evaluation, fold) for fold in FOLDS)
    best = best_floor(evaluation.floors)
    floor = None if best is None or best.value is None else (best.value, best.metric.removeprefix("floor."))
    apart = f"{spelt(external)} (n = {external.n} films)" if external else None
    unseen = "" if external and not score else apart
    told = in_one_line(score or external, evaluation.n_films, evaluation.n_groups, floor=floor, unseen=unseen)
    return told if verdict is None else f"{told} · {verdict}"


def classification_report(evaluation: Evaluation) -> str:
    """The report by class as a text table, every figure with its interval, then the averages and operating points."""
    fold = "test" if find_score(evaluation.scores, "accuracy") else "external"
    by_class = ("recall", "precision", "f1", "auroc", "average_precision")
    table = [["class", "films", *(name.replace("_", " ") for name in by_class)]]
    for label in evaluation.classes:
        found = [find_score(evaluation.scores, metric, label=label, fold=fold) for metric in by_class]
        table.append([label, str(found[0].n if found[0] else 0), *(spelt(score) for score in found)])
    lines = [*_aligned(table), ""]
    for metric in ("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "log_loss", "brier", "ece"):
        score = find_score(evaluation.scores, metric, fold=fold)
        if score is not None:
            lines.append(f"{metric.replace('_', ' ')}: {spelt(score)}")
    return "\n".join([*lines, *_points_table(evaluation, fold), *_floors_table(evaluation)])


def _floors_table(evaluation: Evaluation) -> list[str]:
    """Every floor that was measured, highest first."""
    floors = [floor for floor in evaluation.floors if floor.metric.count(".") == 1 and floor.value is not None]
    floors.sort(key=lambda floor: -(floor.value or 0.0))
    area = "AUROC" if len(evaluation.classes) == 2 else "macro AUROC"
    table = [["shown no lung", area], *([floor.metric.removeprefix("floor."), spelt(floor)] for floor in floors)]
    return ["", *_aligned(table)] if floors else []


def _points_table(evaluation: Evaluation, fold: str) -> list[str]:
    metric_names = ("sensitivity", "specificity", "ppv", "npv")
    table = [["operating point", "released threshold", *metric_names]]
    for point in evaluation.operating_points:
        found = [
            find_score(evaluation.scores, metric, label=point.label, at=point.name, fold=fold)
            for metric in metric_names
        ]
        table.append([f"{point.label}, {point.name}", f"{point.threshold:.3f}", *(spelt(score) for score in found)])
    return ["", *_aligned(table)] if evaluation.operating_points else []


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def scores_table(evaluation: Evaluation) -> pd.DataFrame:
    """One row a score, floors last, in the fields of `Score`: what is written as CSV."""
    return pd.DataFrame([asdict(score) for score in (*evaluation.scores, *evaluation.floors)])


def as_dict(evaluation: Evaluation) -> dict[str, object]:
    """The evaluation as JSON values, with its format number."""
    return {"format": FORMAT, **asdict(evaluation)}


def save_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write JSON that `load_evaluation` reads back equal."""
    write_json(path, as_dict(evaluation))


def load_evaluation(path: Path) -> Evaluation:
    """Read what `save_evaluation` wrote; unknown and missing keys are refused.

    Raises:
        DataError: no such file, or not an evaluation of this format.
    """
    if not path.is_file():
        raise DataError(f"evaluation {path} does not exist; make one with: hilum evaluate")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told.pop("format") != FORMAT:
            raise DataError(f"{path.name} is not an evaluation of format {FORMAT}; evaluate again.")
        return TypeAdapter(Evaluation).validate_json(json.dumps(told))
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError, AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path.name} is not an evaluation hilum wrote; evaluate again.") from error

"""Figures of a run: learning curves, ROC, precision-recall, calibration, confusion, score distributions, forest plots.

Every function returns the text of one SVG, drawn by `canvas.svg`, and is the same for the same input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from hilum.evaluate import Curve, Evaluation, OperatingPoint, Score, find_score
from hilum.report import canvas
from hilum.report.wording import figure, floor_name, headline, is_floor, metric_name, score_text

MOST_POINTS = 200
"""Films drawn one by one per class in a score distribution; the box rests on all of them."""


def learning_curves(history: pd.DataFrame, *, name: str = "learning") -> str:
    """Loss and tune accuracy by epoch: thin lines for divisions, thick for their mean, a dot on each best epoch.

    Args:
        history: repeat, division (optional), epoch, train_loss, tune_loss, tune_accuracy.
        name: of the figure, unique on its page.
    """

    def draw(sheet: Figure) -> None:
        above, below = sheet.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _repeats(above, history, "train_loss", canvas.MUTED, canvas.LINES[1], "train loss")
        _repeats(above, history, "tune_loss", canvas.ACCENT, "-", "tune loss", mark_best=True)
        _repeats(below, history, "tune_accuracy", canvas.ACCENT, "-", "tune accuracy")
        above.set_ylabel("loss")
        below.set_ylabel("tune accuracy")
        below.set_xlabel("epoch")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        canvas.legend_above(sheet, above, columns=3)

    lines = len(history[_line_columns(history)].drop_duplicates())
    text = f"Loss and tune accuracy by epoch, {lines} divisions; the dots mark the epoch with the lowest tune loss."
    return canvas.svg(name, text, draw, height=400)


def _line_columns(history: pd.DataFrame) -> list[str]:
    """What tells one fitted division from another: the seed and, with several folds, the fold."""
    return [name for name in ("repeat", "division") if name in history]


def _repeats(
    axes: Axes, history: pd.DataFrame, measure: str, colour: str, line: Any, label: str, *, mark_best: bool = False
) -> None:
    by_repeat = history.pivot_table(index="epoch", columns=_line_columns(history), values=measure)
    if by_repeat.empty:
        return
    alone = by_repeat.shape[1] == 1
    for repeat in by_repeat.columns:
        runs = by_repeat[repeat].dropna()
        epochs = runs.index.to_numpy()
        axes.plot(epochs, runs, color=colour, linestyle=line, linewidth=0.9, alpha=0.4)
        if mark_best:
            label_best = "best epoch" if repeat == by_repeat.columns[0] else None
            axes.plot(
                epochs[int(runs.argmin())], runs.min(), "o", color=colour, markersize=5, label=label_best, zorder=3
            )
    mean = by_repeat.dropna().mean(axis=1)
    axes.plot(mean.index.to_numpy(), mean, color=colour, linestyle=line, label=label if alone else f"{label}, mean")


def roc(curves: Sequence[Curve], scores: Sequence[Score], *, name: str = "roc") -> str:
    """ROC curves by class, each with its AUROC and interval in the legend."""

    def draw(sheet: Figure) -> None:
        axes = _square(sheet, "1 - specificity", "sensitivity")
        axes.plot((0, 1), (0, 1), color=canvas.MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        _curves(axes, curves, scores, "auroc")
        canvas.legend_above(sheet, axes, columns=1)

    return canvas.svg(name, _says("ROC", curves, scores, "auroc"), draw, height=_tall(curves))


def precision_recall(curves: Sequence[Curve], scores: Sequence[Score], *, name: str = "pr") -> str:
    """Precision against sensitivity by class; a dotted line marks each class's prevalence, what chance reaches."""

    def draw(sheet: Figure) -> None:
        axes = _square(sheet, "sensitivity (recall)", "PPV (precision)")
        for place, label in enumerate(_labels(curves)):
            found = _overall(scores, "auroc", label)
            if found and found.n_positive and found.n:
                axes.axhline(found.n_positive / found.n, color=canvas.colour_of(place), linewidth=0.9, linestyle=":")
        _curves(axes, curves, scores, "average_precision")
        canvas.legend_above(sheet, axes, columns=1)

    text = _says("Precision-recall", curves, scores, "average_precision")
    return canvas.svg(name, text, draw, height=_tall(curves))


def reliability(curves: Sequence[Curve], *, name: str = "reliability") -> str:
    """Observed share against predicted probability by class, above the number of films in each bin."""

    def draw(sheet: Figure) -> None:
        above, below = sheet.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        above.plot((0, 1), (0, 1), color=canvas.MUTED, linewidth=0.9, linestyle=(0, (2, 3)), label="perfect")
        for place, label in enumerate(_labels(curves)):
            for curve in (curve for curve in curves if curve.label == label):
                _reliability_line(above, below, curve, place, len(_labels(curves)))
        above.set(ylabel="share of films with the label", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        below.set(ylabel="films", xlabel="predicted probability", ylim=(0, None))
        below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        canvas.legend_above(sheet, above)

    text = f"Reliability diagram for {', '.join(_labels(curves))}: observed share against predicted probability."
    return canvas.svg(name, text, draw, height=_tall(curves) + 40)


def _reliability_line(above: Axes, below: Axes, curve: Curve, place: int, places: int) -> None:
    known = np.isfinite(curve.x) & np.isfinite(curve.y)
    x, y = np.asarray(curve.x)[known], np.asarray(curve.y)[known]
    colour, marker = canvas.colour_of(place), canvas.MARKERS[place % len(canvas.MARKERS)]
    line = canvas.LINES[place % len(canvas.LINES)]
    above.plot(x, y, color=colour, marker=marker, markersize=5, linestyle=line, label=canvas.short(curve.label))
    if curve.weight:
        shifted = x + 0.008 * (place - (places - 1) / 2)
        below.vlines(shifted, 0, np.asarray(curve.weight)[known], color=colour, linewidth=3)


def confusion(classes: Sequence[str], matrix: Sequence[Sequence[int]], *, name: str = "confusion") -> str:
    """Films by reference standard (rows) and predicted class (columns): counts and percent of the row."""
    counts = np.asarray(matrix, dtype=float).reshape(len(classes), len(classes))
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        for row, column in np.ndindex(counts.shape):
            _cell(axes, row, column, int(counts[row, column]), float(shares[row, column]))
        axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5))
        canvas.name_columns(axes, [canvas.wrapped(label, 12) for label in classes])
        rows = [f"{canvas.wrapped(label, 12)}\nn = {int(n)}" for label, n in zip(classes, totals[:, 0], strict=True)]
        canvas.name_rows(axes, rows)
        sheet.supylabel("reference standard", color=canvas.MUTED, fontsize=12)
        sheet.suptitle("predicted", color=canvas.MUTED, fontsize=12)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)

    text = f"Confusion matrix of {int(counts.sum())} predictions in {len(classes)} classes, with percent of each row."
    return canvas.svg(name, text, draw, height=110 + 74 * max(len(classes), 2))


def _cell(axes: Axes, row: int, column: int, count: int, share: float) -> None:
    right = row == column
    box = Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, linewidth=0)
    box.set(facecolor=canvas.ACCENT if right else canvas.FAIL, alpha=0.04 + 0.36 * share)
    axes.add_patch(box)
    axes.text(column, row - 0.03, str(count), ha="center", va="bottom", fontsize=14, weight="bold" if right else None)
    axes.text(column, row + 0.06, f"{100 * share:.0f} %", ha="center", va="top", fontsize=11)


def score_distribution(
    predictions: pd.DataFrame, label: str, *, points: Sequence[OperatingPoint] = (), name: str = "scores"
) -> str:
    """The probability of `label` by reference class: every film, the quartile box, median and mean, thresholds.

    Args:
        predictions: image_id, reference, `p.<label>`; a film's repeats are averaged.
        label: the class whose probability is shown.
        points: thresholds to draw.
        name: of the figure, unique on its page.
    """
    column = f"p.{label}"
    films = predictions.groupby(["image_id", "reference"], sort=True, observed=True)[column].mean().reset_index()
    classes = sorted(films["reference"].unique(), key=lambda found: (found != label, str(found)))

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        for row, reference in enumerate(classes):
            values = films.loc[films["reference"] == reference, column].to_numpy(dtype=float)
            _strip(axes, row, np.sort(values), canvas.ACCENT if reference == label else canvas.MUTED)
        for place, point in enumerate(points):
            line = canvas.LINES[1 + place % (len(canvas.LINES) - 1)]
            named = f"{point.name}: {figure(point.threshold)}"
            axes.axvline(point.threshold, color=canvas.WARN, linewidth=1.2, linestyle=line, label=named, zorder=1)
        axes.plot([], [], "|", color=canvas.INK, markersize=11, markeredgewidth=2.4, label="median in quartile box")
        axes.plot([], [], "D", color=canvas.INK, markersize=4.5, label="mean")
        canvas.legend_above(sheet, axes)
        sizes = films["reference"].value_counts()
        names = [f"{canvas.wrapped(str(found), 14)}\nn = {sizes[found]}" for found in classes]
        canvas.name_rows(axes, names)
        axes.set(xlim=(-0.02, 1.02), ylim=(len(classes) - 0.4, -0.6), xlabel=f"probability of {canvas.short(label)}")
        axes.grid(axis="y", visible=False)

    text = f"Predicted probability of {label} for {len(films)} films by reference class, with quartiles and mean."
    return canvas.svg(name, text, draw, height=100 + 18 * len(points) + 60 * len(classes))


def _strip(axes: Axes, row: int, ordered: np.ndarray, colour: str) -> None:
    if len(ordered) > MOST_POINTS:
        shown = ordered[np.linspace(0, len(ordered) - 1, MOST_POINTS).round().astype(int)]
    else:
        shown = ordered
    # The golden ratio spreads neighbours evenly over the strip, with no random number.
    height = row + 0.22 + 0.2 * ((np.arange(len(shown)) * 0.618034) % 1)
    axes.plot(shown, height, "o", color=colour, alpha=0.5, markersize=3, markeredgewidth=0)
    first, middle, last = np.quantile(ordered, (0.25, 0.5, 0.75))
    axes.add_patch(Rectangle((first, row - 0.22), last - first, 0.3, facecolor=colour, alpha=0.25, linewidth=0))
    axes.plot((middle, middle), (row - 0.22, row + 0.08), color=colour, linewidth=2.4, solid_capstyle="butt")
    axes.plot(ordered.mean(), row - 0.07, "D", color=canvas.INK, markersize=4.5)


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One line of a forest plot; `score` is None for a heading."""

    text: str
    score: Score | None
    colour: str = canvas.INK
    marker: str = "o"
    weight: str = "normal"
    line: float | None = None
    """A mark of the row's own, in place of the plot's."""


def floor_forest(evaluation: Evaluation, *, name: str = "floors") -> str:
    """The network's score beside what classifiers reach that never see a lung: the first figure to look at."""
    top = headline(evaluation)
    rows = [ForestRow("this network", top.score, canvas.ACCENT, "s", "bold")] if top.score else []
    if top.elsewhere and top.elsewhere is not top.score:
        rows.append(ForestRow("this network, unseen sources", top.elsewhere, canvas.ACCENT, "s"))
    floors = sorted(filter(is_floor, evaluation.floors), key=lambda floor: -(floor.value or 0))
    rows += [ForestRow(floor_name(floor), floor, canvas.WARN, "D") for floor in floors]
    metric = metric_name(top.score.metric) if top.score else "score"
    parts = [f"{row.text} {score_text(row.score)}" for row in rows if row.score]
    best = top.floor.value if top.floor else None
    return forest(name, f"{metric}: {'; '.join(parts)}.", rows, metric, line=best, floor=True)


def subgroup_forest(evaluation: Evaluation, label: str, *, name: str = "subgroups") -> str | None:
    """A label's AUROC by source and subgroup against everybody's (dashed); None where there are no parts."""
    alike = [s for s in evaluation.scores if (s.metric, s.label, s.at) == ("auroc", label, None)]
    everybody = next((s for s in alike if not s.source and not s.subgroup), None)
    rows = [ForestRow("everybody", everybody, canvas.ACCENT, "s", "bold")]
    group = ""
    for score in (s for s in alike if s.source or s.subgroup):
        key, _, value = ("sources", "", score.source) if score.source else str(score.subgroup).partition("=")
        if score.fold == "external":
            key = "sources never seen" if score.source else f"{key}, sources never seen"
        if key != group:
            rows.append(ForestRow(key.replace("_", " "), None))
            group = key
        rows.append(ForestRow(canvas.short(str(value)), score))
    if everybody is None or len(rows) == 1:
        return None
    metric = f"AUROC, {canvas.short(label)}"
    text = f"AUROC of {label} by source and subgroup, {sum(row.score is not None for row in rows)} rows."
    return forest(name, text, rows, metric, line=everybody.value, floor=False)


def forest(name: str, text: str, rows: Sequence[ForestRow], metric: str, *, line: float | None, floor: bool) -> str:
    """Scores with their intervals, a row each, against a line; with `floor` what lies below the line is tinted."""
    scores = [row.score for row in rows if row.score and row.score.value is not None]
    ends = [end for score in scores for end in (score.low, score.value, score.high) if end is not None]
    ends += [row.line for row in rows if row.line is not None]
    left = max(0.0, float(np.floor((min([*ends, 0.5 if floor else 0.9]) - 0.03) * 20) / 20))
    places = np.cumsum([0.0, *(1.0 if row.score and row.score.value is not None else 0.7 for row in rows)])

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        for place, row in zip(places[:-1], rows, strict=True):
            if row.score and row.score.value is not None:
                _forest_marks(axes, place + 0.66, row, row.score, (left, line, floor))
            _forest_words(axes, place + 0.26, row)
        axes.set(xlim=(left, 1.005), ylim=(places[-1] + (0.22 if floor else 0.0), -0.1), xlabel=metric, yticks=[])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)
        if floor:
            axes.annotate("chance", (0.5, 0), (0, 3), color=canvas.MUTED, ha="center", **_ON_AXIS)
            axes.axvline(0.5, 0, 0.012, color=canvas.MUTED)

    return canvas.svg(name, text, draw, height=62 + 42 * float(places[-1]))


_ON_AXIS: dict[str, Any] = {
    "xycoords": ("data", "axes fraction"),
    "textcoords": "offset points",
    "va": "bottom",
    "fontsize": 10,
}


def _forest_words(axes: Axes, height: float, row: ForestRow) -> None:
    words: dict[str, Any] = {"va": "center", "transform": axes.get_yaxis_transform(), "weight": row.weight}
    if row.score is None:
        axes.text(0, height + 0.1, row.text, color=canvas.MUTED, style="italic", ha="left", **words)
        return
    axes.text(0, height, row.text, ha="left", **words)
    axes.text(1, height, f"{score_text(row.score)} · n = {row.score.n}", ha="right", **words)


def _forest_marks(
    axes: Axes, height: float, row: ForestRow, score: Score, scale: tuple[float, float | None, bool]
) -> None:
    left, line, floor = scale
    line = line if row.line is None else row.line
    axes.plot((left, 1), (height, height), color=canvas.RULE, linewidth=0.8, zorder=1)
    if line is not None:
        colour = canvas.WARN if floor else canvas.ACCENT
        if floor:
            band = Rectangle((left, height - 0.2), line - left, 0.4, facecolor=colour, alpha=0.1, linewidth=0)
            axes.add_patch(band)
        axes.plot((line, line), (height - 0.2, height + 0.2), color=colour, linewidth=1.2, zorder=2)
    if score.low is not None and score.high is not None:
        thick = 3.4 if row.weight == "bold" else 2.2
        axes.plot((score.low, score.high), (height, height), color=row.colour, linewidth=thick, zorder=3)
    look: dict[str, Any] = {"markersize": 8.5, "markeredgecolor": canvas.PAPER, "zorder": 4}
    axes.plot(score.value or 0.0, height, row.marker, color=row.colour, **look)


def _square(sheet: Figure, x: str, y: str) -> Axes:
    axes = sheet.add_subplot()
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y)
    return axes


def _curves(axes: Axes, curves: Sequence[Curve], scores: Sequence[Score], metric: str) -> None:
    for place, label in enumerate(_labels(curves)):
        found = _overall(scores, metric, label)
        text = f"{canvas.short(label)}  {score_text(found)}" if found else canvas.short(label)
        look: dict[str, Any] = {"color": canvas.colour_of(place), "linestyle": canvas.LINES[place % len(canvas.LINES)]}
        alike = [curve for curve in curves if curve.label == label]
        for number, curve in enumerate(alike):
            axes.plot(curve.x, curve.y, label=None if number else text, linewidth=1.8 if len(alike) == 1 else 1, **look)


def _labels(curves: Sequence[Curve]) -> list[str]:
    return list(dict.fromkeys(curve.label for curve in curves))


def _overall(scores: Sequence[Score], metric: str, label: str) -> Score | None:
    return find_score(scores, metric, label=label) or find_score(scores, metric, label=label, fold="external")


def _says(kind: str, curves: Sequence[Curve], scores: Sequence[Score], metric: str) -> str:
    found = [(label, _overall(scores, metric, label)) for label in _labels(curves)]
    return f"{kind} curves: " + "; ".join(f"{label} {score_text(s)}" if s else label for label, s in found) + "."


def _tall(curves: Sequence[Curve]) -> float:
    """Room for the axes and one line of legend a class."""
    return 390 + 18 * len(_labels(curves))

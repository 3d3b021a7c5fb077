"""Figures of a comparison: learning curves and ROC over one another, scores and paired differences with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hilum.evaluate import Curve, Score
from hilum.metrics import Floats
from hilum.report import canvas
from hilum.report.figures import ForestRow, forest
from hilum.report.wording import score_text, signed

LONGEST = 34
"""Characters of a run's name that fit beside its figures."""


def drawn_names(names: Sequence[str]) -> list[str]:
    """Names short enough to draw, beginning and end kept, and still told apart.

    >>> drawn_names(["sandrofab-multiclass-lite0, pooling = grid3", "demo"])
    ['sandrofab-multic…, pooling = grid3', 'demo']
    """
    cut = [_cut(name, LONGEST) for name in names]
    if len(set(cut)) == len(names):
        return cut
    return [f"{place}. {_cut(name, LONGEST - 4)}" for place, name in enumerate(names, 1)]


def _cut(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length // 2 - 1]}…{name[-(length // 2) :]}"


def learning_overlay(histories: Mapping[str, pd.DataFrame], *, name: str = "overlay") -> str:
    """Tune loss and accuracy by epoch, a line a run: the mean of its divisions while all of them run.

    Args:
        histories: run -> repeat, division (optional), epoch, tune_loss, tune_accuracy.
        name: of the figure, unique on its page.
    """

    def draw(sheet: Figure) -> None:
        above, below = sheet.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for place, (run, history) in enumerate(histories.items()):
            loss, accuracy = (_mean(history, measure) for measure in ("tune_loss", "tune_accuracy"))
            above.plot(loss.index, loss, label=run, **_look(place))
            below.plot(accuracy.index, accuracy, **_look(place))
            if loss.notna().any():
                best = int(loss.to_numpy().argmin())
                above.plot(
                    loss.index[best], loss.iloc[best], "o", color=canvas.colour_of(place), markersize=5, zorder=3
                )
        above.set_ylabel("tune loss")
        below.set_ylabel("tune accuracy")
        below.set_xlabel("epoch")
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        canvas.legend_above(sheet, above, columns=1)

    text = f"Tune loss and accuracy of {len(histories)} runs by epoch: {', '.join(histories)}."
    return canvas.svg(name, text, draw, height=340 + 18 * len(histories))


def _mean(history: pd.DataFrame, measure: str) -> pd.Series:
    lines = [column for column in ("repeat", "division") if column in history]
    by_line = history.pivot_table(index="epoch", columns=lines, values=measure)
    return by_line.dropna().mean(axis=1)


def _look(place: int) -> dict[str, Any]:
    """Colour and line of the run at `place`; where colours come round again, lines are one further."""
    line = canvas.LINES[(place + place // len(canvas.CLASSES)) % len(canvas.LINES)]
    return {"color": canvas.colour_of(place), "linestyle": line}


def roc_overlay(curves: Mapping[str, Sequence[Curve]], scores: Mapping[str, Score | None], *, name: str) -> str:
    """One ROC curve a run: of two classes the first's, of more the mean over classes.

    Args:
        curves: run -> its curves of kind `roc`.
        scores: run -> its AUROC, for the legend.
        name: of the figure, unique on its page.
    """

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 - specificity", ylabel="sensitivity")
        axes.plot((0, 1), (0, 1), color=canvas.MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        for place, (run, found) in enumerate(curves.items()):
            score = scores[run]
            told = f"{run}: {score_text(score)}" if score else run
            x, y = macro_curve(found)
            axes.plot(x, y, label=told, **_look(place))
        canvas.legend_above(sheet, axes, columns=1)

    said = "; ".join(f"{run} {score_text(score)}" if score else run for run, score in scores.items())
    return canvas.svg(name, f"ROC curves of {len(curves)} runs: {said}.", draw, height=390 + 18 * len(curves))


def macro_curve(curves: Sequence[Curve]) -> tuple[Floats, Floats]:
    """Sensitivity averaged over classes at equal specificity; a single curve stays as it is.

    References:
        Fawcett 2006, An introduction to ROC analysis, doi:10.1016/j.patrec.2005.10.010 (vertical averaging).
    """
    if len(curves) == 1:
        return np.asarray(curves[0].x), np.asarray(curves[0].y)
    x = np.linspace(0.0, 1.0, 201)
    y = np.mean([np.interp(x, curve.x, curve.y) for curve in curves], axis=0)
    return np.concatenate([[0.0], x]), np.concatenate([[0.0], y])


def score_forest(
    scores: Mapping[str, Score | None], floors: Mapping[str, float | None], metric: str, *, name: str
) -> str:
    """One figure of every run with its interval; where there are floors, each run's own tinted below it.

    Args:
        scores: run -> figure.
        floors: run -> what is reached on its folds without a look at a lung; empty for figures without floors.
        metric: the figure's name.
        name: of the figure on the page.
    """
    rows = [
        ForestRow(run, score, canvas.colour_of(place), _marker(place), line=floors.get(run))
        for place, (run, score) in enumerate(scores.items())
    ]
    said = "; ".join(f"{run} {score_text(score)}" for run, score in scores.items() if score)
    return forest(name, f"{metric}: {said}.", rows, metric, line=None, floor=bool(floors))


def _marker(place: int) -> str:
    return canvas.MARKERS[place % len(canvas.MARKERS)]


def difference_forest(differences: Mapping[str, Score], metric: str, first: str, *, name: str) -> str:
    """Paired differences to the first run with their intervals, either side of zero.

    Args:
        differences: run -> its figure minus the first run's; at least one.
        metric: the figure's name.
        first: the first run.
        name: of the figure on the page.
    """
    ends = [abs(end) for score in differences.values() for end in (score.value, score.low, score.high) if end]
    reach = max([*ends, 0.01]) * 1.1

    def draw(sheet: Figure) -> None:
        axes = sheet.add_subplot()
        for place, (run, score) in enumerate(differences.items(), 1):
            _difference(sheet, place, run, score)
        axes.set(xlim=(-reach, reach), ylim=(len(differences) + 0.05, -0.1), yticks=[])
        axes.set_xlabel(f"{metric}: difference to {first}")
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)

    said = "; ".join(f"{run} {score.value:+.3f}" for run, score in differences.items() if score.value is not None)
    text = f"Difference in {metric} to {first}: {said}."
    return canvas.svg(name, text, draw, height=62 + 42 * len(differences))


def _difference(sheet: Figure, place: int, run: str, score: Score) -> None:
    axes, height, colour = sheet.axes[0], place - 0.3, canvas.colour_of(place)
    words: dict[str, Any] = {"va": "center", "transform": axes.get_yaxis_transform()}
    axes.axhline(height, color=canvas.RULE, linewidth=0.8, zorder=1)
    axes.plot((0.0, 0.0), (height - 0.2, height + 0.2), color=canvas.MUTED, linewidth=1.4, zorder=2)
    axes.text(0, place - 0.7, run, ha="left", **words)
    if score.value is None:
        return
    axes.text(1, place - 0.7, signed_text(score), ha="right", **words)
    if score.low is not None and score.high is not None:
        axes.plot((score.low, score.high), (height, height), color=colour, linewidth=2.2, zorder=3)
    axes.plot(score.value, height, _marker(place), color=colour, markersize=8.5, markeredgecolor=canvas.PAPER, zorder=4)


def signed_text(score: Score) -> str:
    """A difference with its interval, in three decimals: `+0.012 [−0.004 to +0.028]`."""
    told = [signed(None if end is None else round(end, 3) + 0.0) for end in (score.value, score.low, score.high)]
    return told[0] if score.low is None or score.high is None else f"{told[0]} [{told[1]} to {told[2]}]"

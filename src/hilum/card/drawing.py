"""What a card draws: figures with their intervals, and failures as outlines, without a pixel of any film."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from markupsafe import Markup, escape

from hilum.bundle import Figure
from hilum.bundle.notes import Failure
from hilum.card.content import Measured
from hilum.evaluate import Score
from hilum.preprocess import Mask
from hilum.report import canvas
from hilum.report.figures import ForestRow, forest
from hilum.report.wording import figure, metric_name

SIDE = 200
"""Longer side of a drawn film, in user units."""
SMOOTHED = 0.004
"""How far an outline may leave the mask's edge, in units of the film's longer side."""
SMALLEST = 0.0005
"""Share of the film below which a piece of a mask is not drawn."""


def interval_plots(measured: Sequence[Measured]) -> list[tuple[str, str]]:
    """A plot a metric whose figures are shares: (SVG, caption)."""
    plots: list[tuple[str, str]] = []
    for metric in dict.fromkeys(one.figure.metric for one in measured):
        found = [one for one in measured if one.figure.metric == metric]
        if all(_is_share(one.figure) for one in found):
            plots.append((_plot(f"measured-{len(plots)}", metric, found), _caption(metric, found)))
    return plots


def _plot(name: str, metric: str, found: Sequence[Measured]) -> str:
    rows: list[ForestRow] = []
    heading = ""
    for one in found:
        told = one.figure
        said = told.films if one.own else f"{told.films} ({told.training})"
        if said != heading:
            rows.append(ForestRow(canvas.short(said, 64), None))
            heading = said
        rows.append(ForestRow(canvas.short(told.label, 30), _score(told), *_look(one)))
    text = "; ".join(f"{one.figure.label}, {one.figure.films}: {figure(one.figure.value)}" for one in found)
    return forest(name, f"{metric_name(metric)}: {text}.", rows, metric_name(metric), line=None, floor=False)


def _look(one: Measured) -> tuple[str, str]:
    """Colour and marker: dots for the sources trained on, squares for another, grey diamonds for another training."""
    if not one.own:
        return canvas.MUTED, "D"
    return (canvas.WARN, "s") if one.standing == "other" else (canvas.ACCENT, "o")


def _caption(metric: str, found: Sequence[Measured]) -> str:
    marks = ["dots: films of the sources trained on" if any(o.standing == "same" for o in found if o.own) else ""]
    marks.append("dots: not recorded of which source" if any(o.standing == "unknown" for o in found if o.own) else "")
    marks.append("squares: another source" if any(o.standing == "other" for o in found if o.own) else "")
    marks.append("diamonds: another training" if not all(one.own for one in found) else "")
    told = "; ".join(mark for mark in marks if mark)
    return f"By set of films: {metric_name(metric)} with 95 % intervals, n = films; {told}."


def _is_share(told: Figure) -> bool:
    return all(0 <= end <= 1 for end in (told.value, told.low, told.high) if end is not None)


def _score(told: Figure) -> Score:
    return Score(metric=told.metric, value=told.value, low=told.low, high=told.high, n=told.n)


def failure_drawing(failure: Failure) -> Markup:
    """A film's frame with its outlines: dashed by the reference, solid by the bundle, a colour a label."""
    width = SIDE * min(1.0, failure.aspect)
    height = SIDE / max(1.0, failure.aspect)
    labels = list(dict.fromkeys(contour.label for contour in failure.contours))
    drawn = Markup("").join(
        Markup(
            '<path d="{path}" transform="scale({width:.1f} {height:.1f})" vector-effect="non-scaling-stroke" '
            'fill="none" stroke="var(--c{colour})" stroke-width="2" stroke-linejoin="round"{dashes}/>'
        ).format(
            path=contour.path,
            width=width,
            height=height,
            colour=labels.index(contour.label) % len(canvas.CLASSES) + 1,
            dashes=Markup(' stroke-dasharray="5 3"') if contour.drawn_by == "reference" else "",
        )
        for contour in sorted(failure.contours, key=lambda one: one.drawn_by == "reference")
    )
    return Markup(
        '<svg viewBox="0 0 {width:.1f} {height:.1f}" role="img" aria-label="{said}" class="contours">'
        '<rect width="{width:.1f}" height="{height:.1f}" fill="none" stroke="var(--rule)"/>{drawn}</svg>'
    ).format(width=width, height=height, said=escape(f"outlines of {', '.join(labels)} on {failure.film}"), drawn=drawn)


def contour_of(mask: Mask) -> str:
    """The edges of a mask as closed polygons in units of its width and height; empty where nothing is drawn.

    Args:
        mask: (H, W), True inside. Holes are polygons too; specks are left out, corners are thinned.
    """
    return "".join(_polygons(mask))


def _polygons(mask: Mask) -> Iterator[str]:
    height, width = mask.shape
    # A frame of nothing: a mask that runs over the film's border is closed along it.
    framed = np.pad(mask.astype(np.uint8), 1)
    edges, _ = cv2.findContours(framed, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for edge in sorted(edges, key=cv2.contourArea, reverse=True):
        if cv2.contourArea(edge) < SMALLEST * height * width:
            continue
        thinned = cv2.approxPolyDP(edge, SMOOTHED * max(height, width), closed=True)[:, 0] - 1
        if len(thinned) > 2:
            shares = np.clip((thinned + 0.5) / (width, height), 0, 1)
            yield "M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in shares) + "Z"


def _short(share: float) -> str:
    """Three decimals without what goes without saying.

    >>> _short(0.25), _short(0.0), _short(1.0)
    ('.25', '0', '1')
    """
    return f"{share:.3f}".rstrip("0").rstrip(".").removeprefix("0") or "0"

"""The reproduction as a page of Markdown and as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hilum.records import DISCLAIMER
from hilum.reproduce.running import Outcome
from hilum.scoring import Score, spelt

HEAD = ("system", "asked", "figure", "published", "ours [95 % interval]", "films", "floor", "run", "weights", "comment")
INTRODUCTION = """\
Written by `hilum reproduce` from the runs it made; nothing here was typed in. Every figure of ours is measured on whole
groups (patients with all copies of their films) that no part of the run chose anything by, with a 95 % interval over
groups. *Floor* is what the run's own AUROC is held against: the best classifier on the same folds that never saw a lung
(file headers, patient attributes, border, corners, histogram, 8 x 8 thumbnail). Where the floor is as high as the
score, the figure says what separates two collections, not two diseases.

The published figures are those of other divisions of other films, by other networks: they stand beside ours to be asked
about, not to be beaten."""


def reproduction_table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """A row a figure that was run: published value and ours, with all that tells how ours came to be."""
    rows = [_row(outcome) for outcome in outcomes if outcome.ours is not None]
    return pd.DataFrame(rows)


def _row(outcome: Outcome) -> Mapping[str, Any]:
    published, ours = outcome.published, outcome.ours
    return {
        "system": published.system,
        "asked": published.asked,
        "figure": _figure(outcome),
        "published": published.value,
        "published_n": published.n,
        "value": ours.value if ours else None,
        "low": ours.low if ours else None,
        "high": ours.high if ours else None,
        "n": ours.n if ours else None,
        "auroc": outcome.headline.value if outcome.headline else None,
        "floor": outcome.floor.value if outcome.floor else None,
        "floor_of": outcome.floor.metric.partition(".")[2] if outcome.floor else None,
        "recipe": outcome.plan.recipe,
        "changes": "; ".join(f"{key} = {value}" for key, value in outcome.plan.changes.items()),
        "weights": outcome.weights,
        "comment": published.comment,
    }


def _figure(outcome: Outcome) -> str:
    published = outcome.published
    name = published.metric.replace("_", " ").replace("called:", "called ")
    of = f" of {published.label}" if published.label else ""
    return f"{name}{of}" + (", kept out" if published.fold == "external" else "")


def reproduction_page(outcomes: Sequence[Outcome], machine: Mapping[str, Any]) -> str:
    """The Markdown page: what was run, then what was not and why."""
    lines = ["# Reproduction", "", DISCLAIMER, "", INTRODUCTION, "", _machine(machine), "", *_lines(HEAD)]
    lines += [_line(_cells(outcome)) for outcome in outcomes if outcome.ours is not None]
    changes = {outcome.plan.name: outcome.plan for outcome in outcomes if outcome.ours and outcome.plan.changes}
    if changes:
        lines += ["", "## Changed recipes", "", *_lines(("run", "recipe", "changed"))]
        for name, plan in changes.items():
            told = ", ".join(f"`{key} = {value}`" for key, value in plan.changes.items())
            lines.append(_line((f"`{name}`", f"`{plan.recipe}`", told)))
    missing = [outcome for outcome in outcomes if outcome.ours is None]
    if missing:
        lines += ["", "## Not run", "", *_lines(("system", "asked", "figure", "published", "why not"))]
        lines += [
            _line((one.published.system, one.published.asked, _figure(one), _published(one), _briefly(one)))
            for one in missing
        ]
    return "\n".join(lines) + "\n"


def _briefly(outcome: Outcome) -> str:
    """The reasons without the ways out of them."""
    return "; ".join(reason.partition("; ")[0] for reason in outcome.why_not)


def _machine(machine: Mapping[str, Any]) -> str:
    return "Made on: " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items() if value) + "."


def _cells(outcome: Outcome) -> Sequence[str]:
    floor = outcome.floor
    held = f"AUROC {_short(outcome.headline)}, floor {_short(floor)}"
    return (
        outcome.published.system,
        outcome.published.asked,
        _figure(outcome),
        _published(outcome),
        spelt(outcome.ours),
        f"{outcome.ours.n:,}" if outcome.ours else "",
        f"{held} ({floor.metric.partition('.')[2]})" if floor else held,
        f"`{outcome.plan.name}`",
        outcome.weights,
        outcome.published.comment,
    )


def _short(score: Score | None) -> str:
    return "-" if score is None or score.value is None else f"{score.value:.3f}"


def _published(outcome: Outcome) -> str:
    published = outcome.published
    return "-" if published.value is None else f"{published.value:g} (n = {published.n})"


def _lines(head: Sequence[str]) -> list[str]:
    return [_line(head), "|" + "---|" * len(head)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"

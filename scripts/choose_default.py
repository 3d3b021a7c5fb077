"""Choose the recipe of a default bundle: by what it reaches on films of publishers it was not trained on.

    python scripts/choose_default.py --task other-pneumonia --data DATA --out DIR
    python scripts/choose_default.py --task not-covid --data DATA --out DIR

Frontal films of covid_chestxray, which names the page every film was published on: two teaching collections, and
everywhere else. `other-pneumonia` tells COVID-19 from other pneumonia; `not-covid` from everything else in adults, with
the films of nih_subset as a fourth domain, which has no COVID-19 and so, kept out, a specificity and no AUROC. A
candidate is a set of changes to `cohen-covid-lite0`. Every candidate is trained on all domains and again without each;
the honest figure of the choice is the nested one. An interrupted comparison goes on where it was.
"""

import argparse
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from hilum.compare import Variant, judge_runs, train_variants, train_without
from hilum.console import OUT, watch
from hilum.errors import unknown_name
from hilum.index import Index, build_index
from hilum.recipe import changed, recipe_text
from hilum.report.comparison import format_comparison, with_verdicts, write_comparison
from hilum.sources import read_source

BASE = "cohen-covid-lite0"
DOMAIN = "attr.publisher"
PAGES = {"radiopaedia": "radiopaedia.org", "eurorad": "eurorad.org"}
ELSEWHERE, NIH = "elsewhere", "nih"
ADULT_YEARS = 18
MADE = {"preprocess.masks": '"made"'}
BOX = {**MADE, "preprocess.lungs": '"crop"'}
SMALL = {"preprocess.size_px": "224"}
CANDIDATES: dict[str, dict[str, str]] = {
    "whole film": {},
    "lungs' box": BOX,
    "lungs' box, sources balanced": {**BOX, "schedule.balance": '"source"'},
    "lungs' box, worst cell": {**BOX, "schedule.robust": "true"},
    "lungs' box, sources projected out": {**BOX, "network.project": '"source"'},
    "lungs' box, 224 px": {**BOX, **SMALL},
    "lungs' box, 224 px, sources projected out": {**BOX, **SMALL, "network.project": '"source"'},
    "lungs' box, 224 px, penalty 100": {**BOX, **SMALL, "schedule.weight_decay": "100.0"},
    "whole film, 224 px": SMALL,
    "lungs' box, markers blanked": {**BOX, "preprocess.steps": '["blank-markers"]'},
    "lungs' box, min-max": {**BOX, "preprocess.steps": '["min-max"]'},
    "whole film, border blanked": {"preprocess.steps": '["blank-border:share=0.06"]'},
    "lungs only": {**MADE, "preprocess.lungs": '"only"'},
    "all but the lungs": {**MADE, "preprocess.lungs": '"not"'},
}
CONTROLS = ("all but the lungs",)
"""Shown beside the others and never chosen."""


@dataclass(frozen=True)
class Task:
    """What is told from what, on films of which sources."""

    title: str
    sources: tuple[str, ...] = ("covid_chestxray",)
    changes: dict[str, str] = field(default_factory=dict)
    adults: bool = False
    """Leave out films of patients known to be under 18 years."""


TASKS = {
    "other-pneumonia": Task("COVID-19 against other pneumonia"),
    "not-covid": Task(
        "COVID-19 against everything else in adults",
        sources=("covid_chestxray", "nih_subset"),
        changes={"classes": '{ covid19 = ["covid19"], not_covid19 = ["!covid19"] }'},
        adults=True,
    ),
}


def films(task: Task, data: Path) -> Index:
    """The sources' films with their publisher."""
    index = build_index([record for source in task.sources for record in read_source(source, data)], data)
    pages = index.table["attr.case_url"].fillna("")
    publisher = pd.Series(ELSEWHERE, index=index.table.index, dtype="string")
    for name, host in PAGES.items():
        publisher[pages.str.contains(host, regex=False)] = name
    publisher[index.table["source"] == "nih_subset"] = NIH
    index = Index(index.table.assign(**{DOMAIN: publisher}), index.root)
    children = (index.table["age_years"] < ADULT_YEARS).fillna(value=False)
    return index.leave_out(children, "under 18 years") if task.adults else index


def planned(task: Task, names: Collection[str]) -> list[Variant]:
    """The candidates of a task, each named by what it is."""
    every = {"title": task.title, "films.sources": "[]", "films.domain": DOMAIN, "split.seeds": "[0]", **task.changes}
    text = recipe_text(BASE)
    return [
        Variant(re.sub(r"[^\w]+", "-", name.replace("'", "")), name, changed(text, {**every, **CANDIDATES[name]}))
        for name in names
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", help="a candidate by name, repeatable; default all")
    asked = parser.parse_args()
    for name in asked.only or ():
        if name not in CANDIDATES:
            raise unknown_name("candidate", name, CANDIDATES)
    task = TASKS[asked.task]
    index = films(task, asked.data.resolve())
    variants = planned(task, asked.only or CANDIDATES)
    runs = train_variants(variants, None, asked.out, given=index, watch=watch)
    kept = train_without(variants, runs, None, asked.out, given=index, watch=watch)
    controls = [variant.name for variant in variants if variant.recipe in CONTROLS]
    comparison = with_verdicts(judge_runs(variants, runs, kept, controls=controls))
    OUT.print(format_comparison(comparison))
    OUT.print(f"page: {write_comparison(comparison, asked.out)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()

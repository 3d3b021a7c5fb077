"""How weak a shortcut the audit still sees, and how often it accuses films without one.

    python benchmarks/audit_sensitivity.py --work DIR --figure docs/images/audit-sensitivity.svg

The figures of docs/explanation/audit-sensitivity.md.

Takes 320 simulated films once, leaves every mark on them, and deals labels: cohorts of 128 films, half of them
positive. Each kind of shortcut is planted at several strengths, several times; besides, there are cohorts with nothing
planted, with disease and without. What each check found is kept in DIR/cohorts.jsonl, a line a cohort, so that an
interrupted run goes on and a larger one adds to it. About ten minutes of two cores. Shares have Wilson's 95 % interval.

To spare time, a planted shortcut is looked for with the classifiers best placed to see it, and clean cohorts with all:
an audit, which asks them all, finds at least as much.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest, norm

from hilum.audit.check import CHANCE, Measured, judge
from hilum.audit.planted import KINDS, Plant, Stock, draw_cohort, make_stock
from hilum.audit.questions import QUESTIONS
from hilum.audit.shortcuts import EDGES, measured_floor
from hilum.files import write_text
from hilum.metrics import auroc
from hilum.parallel import Crashed, spread
from hilum.report import canvas

FILMS, COHORT, SEED = 320, 128, 11
STRENGTHS = (0.1, 0.25, 0.5, 0.75, 1.0)
FLAGGED = ("WARN", "FAIL")

CHECK_OF = dict.fromkeys(EDGES, "edges") | {"source": "source", "header": "header", "attributes": "attributes"}
"""Shortcut classifiers, and the check that each is part of."""
SEERS = {
    "marker": ("corners",),
    "frame": ("border",),
    "curve": ("thumbnail",),
    "compression": ("header", "border"),
    "view": ("attributes",),
    "source": ("source",),
}
"""Those that a planted shortcut is looked for with."""

Record = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the films and the findings")
    parser.add_argument("--repeats", type=int, default=6, help="cohorts of each kind and strength")
    parser.add_argument("--clean", type=int, default=24, help="cohorts with nothing planted, with disease and without")
    parser.add_argument("--processes", type=int, help="cohorts audited at once; one a core by default")
    parser.add_argument("--figure", type=Path, help="where the figure goes")
    told = parser.parse_args()
    kept = told.work / "cohorts.jsonl"
    known = {record["name"]: record for record in read(kept)}
    missing = [one for one in planned(told.repeats, told.clean) if name_of(*one) not in known]
    if missing:
        stock = make_stock(told.work, films=FILMS, seed=SEED)
        for number, (_, record) in enumerate(spread(partial(asked, stock), missing, processes=told.processes), 1):
            if isinstance(record, Crashed):
                continue
            with kept.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
            known[record["name"]] = record
            print(f"{number} of {len(missing)}: {record['name']}", flush=True)
    records = [known[name] for one in planned(told.repeats, told.clean) if (name := name_of(*one)) in known]
    show(records)
    for numbers in (10, 64):
        print(luck(numbers))
    if told.figure:
        write_text(told.figure, figure([one for one in records if one["plant"]["kind"]]))


def planned(repeats: int, clean: int) -> list[tuple[Plant, int]]:
    """Plants with their seeds: some cohorts of every sort, then some more, so that an interrupted run is of use."""
    made: list[tuple[Plant, int]] = []
    for repeat in range(repeats):
        numbers = range(repeat, clean, repeats)
        made += [(Plant(disease=disease), 1000 + number) for number in numbers for disease in (False, True)]
        made += [
            (Plant(kind=kind, strength=strength, disease=False), 2000 + repeat)
            for strength in STRENGTHS
            for kind in KINDS
        ]
        made += [(Plant(kind=kind, shuffled=True, disease=False), 3000 + repeat) for kind in KINDS]
    return made


def name_of(plant: Plant, seed: int) -> str:
    what = f"{plant.kind}@{plant.strength:g}{':shuffled' if plant.shuffled else ''}" if plant.kind else "clean"
    return f"{what}{'+disease' if plant.disease else ''}#{seed}"


def read(kept: Path) -> Iterator[Record]:
    if kept.is_file():
        yield from map(json.loads, kept.read_text(encoding="utf-8").splitlines())


def asked(stock: Stock, item: tuple[Plant, int]) -> Record:
    """What every shortcut classifier that is asked makes of one cohort."""
    plant, seed = item
    subject = draw_cohort(stock, plant, seed=seed, films=COHORT)
    measured = []
    for name in SEERS.get(plant.kind or "", tuple(CHECK_OF)):
        predicted = subject.floors([name], pixels=CHECK_OF[name] == "edges")[name]
        if predicted is not None:
            measured.append({"check": CHECK_OF[name], **asdict(measured_floor(subject, name, predicted))})
    return {
        "name": name_of(plant, seed), "plant": asdict(plant), "seed": seed, "films": len(subject.films),
        "groups": int(subject.films["group_id"].nunique()), "measured": measured,
    }  # fmt: skip


def show(records: Sequence[Record]) -> None:
    """The tables of the page, in Markdown."""
    planted = [one for one in records if one["plant"]["kind"] and not one["plant"]["shuffled"]]
    print("\n| planted | " + " | ".join(f"{strength:g}" for strength in STRENGTHS) + " |")
    print("|---|" + "---|" * len(STRENGTHS))
    for kind in KINDS:
        cells = [share(flags(of(planted, kind, strength))) for strength in STRENGTHS]
        print(f"| {kind} | " + " | ".join(cells) + " |")
    print("\n| planted | measured by | " + " | ".join(f"{strength:g}" for strength in STRENGTHS) + " |")
    for kind in KINDS:
        for row in values(planted, kind):
            print(row)
    print("\n| cohorts | check | WARN or FAIL | FAIL | p < .01 | mean AUROC, largest |\n|---|---|---|---|---|---|")
    shuffled = [one for one in records if one["plant"]["shuffled"]]
    clean = [one for one in records if not one["plant"]["kind"]]
    for what, cohorts in (
        ("clean", [one for one in clean if not one["plant"]["disease"]]),
        ("clean, with disease", [one for one in clean if one["plant"]["disease"]]),
        ("shuffled controls", shuffled),
    ):
        alarms(what, cohorts)


def of(records: Iterable[Record], kind: str, strength: float) -> list[Record]:
    return [one for one in records if one["plant"]["kind"] == kind and one["plant"]["strength"] == strength]


def flags(records: Iterable[Record]) -> list[bool]:
    return [any(judged(one) in FLAGGED for one in record["measured"]) for record in records]


def share(hits: Sequence[bool]) -> str:
    """How many of how many, with interval."""
    if not hits:
        return "-"
    low, high = wilson(sum(hits), len(hits))
    return f"{sum(hits)} of {len(hits)} [{low:.2f}, {high:.2f}]"


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n."""
    bounds = binomtest(hits, n).proportion_ci(method="wilson")
    return float(bounds.low), float(bounds.high)


def values(records: Sequence[Record], kind: str) -> Iterator[str]:
    """Mean AUROC of each measurement by strength, with how many were significant and flagged."""
    names = dict.fromkeys((one["check"], one["of"]) for record in of(records, kind, 1.0) for one in record["measured"])
    for check, name in names:
        if " come from " in name:
            continue
        cells = []
        for strength in STRENGTHS:
            found = [one for one in measured(of(records, kind, strength)) if (one["check"], one["of"]) == (check, name)]
            hits = sum(judged(one) in FLAGGED for one in found)
            cells.append(f"{np.mean([one['value'] for one in found]):.2f} ({hits})" if found else "-")
        yield f"| {kind} | {name} | " + " | ".join(cells) + " |"


def measured(records: Iterable[Record]) -> list[Record]:
    return [one for record in records for one in record["measured"]]


def judged(one: Record) -> str:
    told = {name: one[name] for name in ("of", "value", "low", "high", "p", "n", "groups", "counts")}
    return judge(QUESTIONS[one["check"]], Measured(**told)).value


def alarms(what: str, records: Sequence[Record]) -> None:
    """False alarms of each measurement, of each check and of the audit as a whole."""
    ones = measured(records)
    for check, name in dict.fromkeys((one["check"], one["of"]) for one in ones if " come from " not in one["of"]):
        found = [one for one in ones if (one["check"], one["of"]) == (check, name)]
        told = [judged(one) for one in found]
        p = share([one["p"] < CHANCE for one in found])
        figures = [one["value"] for one in found]
        print(
            f"| {what} | {check}: {name} | {share([one in FLAGGED for one in told])} | "
            f"{share([one == 'FAIL' for one in told])} | {p} | {np.mean(figures):.2f}, {max(figures):.2f} |"
        )
    failed = [any(judged(one) == "FAIL" for one in record["measured"]) for record in records]
    chance = [any(one["p"] < CHANCE for one in record["measured"]) for record in records]
    print(f"| {what} | **any** | {share(flags(records))} | {share(failed)} | {share(chance)} | |")


def luck(numbers: int, *, deals: int = 4000, seed: int = 0) -> str:
    """How far a cross-validated AUROC of random numbers strays from .5, and how often its p would lie below .01.

    A film is so many random numbers; a centroid classifier is tested in five folds; the p is that of dealing labels to
    finished scores, by the normal approximation.
    """
    rng = np.random.default_rng(seed)
    spread_of_null = np.sqrt((COHORT + 1) / (12 * (COHORT / 2) ** 2))
    areas = []
    for _ in range(deals):
        positive, fold = rng.permutation(COHORT) < COHORT / 2, rng.permutation(COHORT) % 5
        films, scores = rng.standard_normal((COHORT, numbers)), np.zeros(COHORT)
        for one in range(5):
            ill, well = (films[(fold != one) & label].mean(axis=0) for label in (positive, ~positive))
            scores[fold == one] = (films[fold == one] - (ill + well) / 2) @ (ill - well)
        area = auroc(positive, scores)
        areas.append(np.nan if area is None else area)
    rare = (norm.sf((np.asarray(areas) - 0.5) / spread_of_null) < CHANCE).tolist()
    told = f"standard deviation {np.std(areas):.3f}, of the null {spread_of_null:.3f}, p < {CHANCE:g} in {share(rare)}"
    return f"{numbers} random numbers a film: {told}"


def figure(records: Sequence[Record]) -> str:
    """Share of cohorts flagged by the strength of what was planted, a panel a kind, with Wilson's interval."""
    planted = [one for one in records if not one["plant"]["shuffled"]]

    def draw(sheet: Figure) -> None:
        panels = sheet.subplots(2, 3, sharex=True, sharey=True)
        for place, (axes, kind) in enumerate(zip(panels.ravel(), KINDS, strict=True)):
            hits = [flags(of(planted, kind, strength)) for strength in STRENGTHS]
            shares = [float(np.mean(one)) for one in hits]
            bounds = [wilson(sum(one), len(one)) for one in hits]
            low, high = zip(*bounds, strict=True)
            axes.fill_between(STRENGTHS, low, high, color=canvas.ACCENT, alpha=0.15, linewidth=0)
            axes.plot(STRENGTHS, shares, "o-", color=canvas.ACCENT, markersize=5)
            axes.set_title(kind)
            axes.set(ylim=(-0.05, 1.05), xlim=(0, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
            if place % 3 == 0:
                axes.set_ylabel("cohorts flagged")
            if place == 4:
                axes.set_xlabel("strength of the shortcut")

    repeats = len(of(planted, "marker", 1.0))
    text = f"Share of cohorts that the audit flags, by strength of the shortcut: {repeats} of {COHORT} films a point."
    return canvas.svg("audit-sensitivity", text, draw, width=640, height=380)


if __name__ == "__main__":
    main()

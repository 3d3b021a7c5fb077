"""How weak a shortcut the audit still sees, and how often it accuses films without one.

    python benchmarks/audit_sensitivity.py --work DIR --figure docs/images/audit-sensitivity.svg
    python benchmarks/audit_sensitivity.py --work OTHER --films 160 --seed 22 --clean 24 --probed 0 --repeats 0

The figures of docs/explanation/audit-sensitivity.md; the second command is for the table of other films.

Takes 320 simulated films once, leaves every mark on them, and deals labels: cohorts of 128 films, half of them
positive. Each kind of shortcut is planted at several strengths, several times; besides, there are cohorts with nothing
planted, with disease and without. Some of these are asked by the checks that train a probe, too. What each check
measured is kept in DIR/cohorts.jsonl, a line a cohort, so that an interrupted run goes on and a larger one adds to it;
it is judged when it is shown, by the limits in force. About 15 minutes of a core and a few to take the films. Shares
have Wilson's 95 % interval.

To spare time, a planted shortcut is looked for with the classifiers best placed to see it, and clean cohorts with all:
an audit, which asks them all, finds at least as much.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest, norm

from hilum.audit.check import CHANCE, Measured, judge
from hilum.audit.planted import HOSPITALS, KINDS, MARKS, Plant, Stock, draw_cohort, make_stock
from hilum.audit.probes import ask_lungs_out, ask_source_within_label
from hilum.audit.questions import QUESTIONS
from hilum.audit.shortcuts import EDGES, measured_floor
from hilum.audit.subject import Subject
from hilum.files import write_text
from hilum.metrics import auroc
from hilum.parallel import Crashed, spread
from hilum.report import canvas

FILMS, COHORT, SEED = 320, 128, 11
LARGE, LARGE_CLEAN = 320, 12
"""Films of a large cohort, which has about 100 groups of each label; and how many clean ones there are."""
DEALS = 5000
"""The seeds of all cohorts are above it. The limits of thumbnail and histogram were read off cohorts dealt with others,
1000 to 3005, so that these can confirm or refute them."""
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
BY_LOT = "source-within-label, sources by lot"
"""What check 6 finds where sources were dealt to patients, so that no film shows its own."""
FAMILIES = {
    "1, 2, 5, 11: shortcut classifiers": ("source", "header", "edges", "attributes"),
    "3: lungs hidden": ("lungs-out-retrained",),
    "6: sources, dealt by lot": (BY_LOT,),
    "**1, 2, 3, 5, 11 and 6 by lot: any**": (
        "source",
        "header",
        "edges",
        "attributes",
        "lungs-out-retrained",
        BY_LOT,
    ),
    "6: sources as they are": ("source-within-label",),
}
"""Checks that clean cohorts are asked by, some together."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cohort:
    """What is planted, by which lots; `probed` asks the checks that train a probe, and not the classifiers."""

    plant: Plant
    seed: int
    probed: bool = False
    films: int = COHORT

    @property
    def name(self) -> str:
        plant = self.plant
        what = f"{plant.kind}@{plant.strength:g}{':shuffled' if plant.shuffled else ''}" if plant.kind else "clean"
        told = f"{what}{'+disease' if plant.disease else ''}#{self.seed}"
        return f"{told}{'+probes' if self.probed else ''}{f'x{self.films}' if self.films != COHORT else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the films and the findings")
    parser.add_argument("--repeats", type=int, default=6, help="cohorts of each kind and strength")
    parser.add_argument("--clean", type=int, default=60, help="cohorts with nothing planted, with disease and without")
    parser.add_argument("--probed", type=int, default=12, help="how many of these are asked by probes, too")
    parser.add_argument("--films", type=int, default=FILMS, help="simulated films to draw cohorts from")
    parser.add_argument("--seed", type=int, default=SEED, help="of the simulated films")
    parser.add_argument("--processes", type=int, help="cohorts audited at once; one a core by default")
    parser.add_argument("--figure", type=Path, help="where the figure goes")
    told = parser.parse_args()
    wanted = planned(told.repeats, told.clean, told.probed) + (large(told.repeats) if told.films >= LARGE else [])
    kept = told.work / "cohorts.jsonl"
    known = {record["name"]: record for record in read(kept)}
    missing = [one for one in wanted if one.name not in known]
    if missing:
        stock = make_stock(told.work, films=told.films, seed=told.seed)
        for number, (_, record) in enumerate(spread(partial(asked, stock), missing, processes=told.processes), 1):
            if isinstance(record, Crashed):
                continue
            with kept.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")
            known[record["name"]] = record
            print(f"{number} of {len(missing)}: {record['name']}", flush=True)
    records = [known[one.name] for one in wanted if one.name in known]
    show(records)
    for numbers in (10, 64):
        print(luck(numbers))
    if told.figure:
        write_text(told.figure, figure([one for one in records if one["plant"]["kind"] and one["films"] <= COHORT]))


def planned(repeats: int, clean: int, probed: int) -> list[Cohort]:
    """Some cohorts of every sort, then some more, so that an interrupted run is of use."""
    made: list[Cohort] = []
    rounds = max(repeats, 1)
    for repeat in range(rounds):
        made += [
            Cohort(Plant(disease=disease), DEALS + 1000 + number)
            for number in range(repeat, clean, rounds)
            for disease in (False, True)
        ]
        if repeat < repeats:
            made += [
                Cohort(Plant(kind=kind, strength=strength, disease=False), DEALS + 2000 + repeat)
                for strength in STRENGTHS
                for kind in KINDS
            ]
            made += [Cohort(Plant(kind=kind, shuffled=True, disease=False), DEALS + 3000 + repeat) for kind in KINDS]
    asked_by_probes = [Plant(disease=disease) for disease in (True, False)]
    made += [Cohort(plant, DEALS + 1000 + n, probed=True) for n in range(probed) for plant in asked_by_probes]
    return made


def large(repeats: int) -> list[Cohort]:
    """Cohorts of more films: what so many show that fewer do not, and what disease does there."""
    clean = [Plant(disease=disease) for disease in (True, False)]
    made = [Cohort(plant, DEALS + 1000 + n, films=LARGE) for n in range(LARGE_CLEAN) for plant in clean]
    return made + [
        Cohort(Plant(kind=kind, strength=strength, disease=False), DEALS + 2000 + repeat, films=LARGE)
        for repeat in range(repeats)
        for strength in STRENGTHS[1:3]
        for kind in MARKS
    ]


def read(kept: Path) -> Iterator[Record]:
    if kept.is_file():
        yield from map(json.loads, kept.read_text(encoding="utf-8").splitlines())


def asked(stock: Stock, cohort: Cohort) -> Record:
    """What the checks that are asked measure in one cohort."""
    subject = draw_cohort(stock, cohort.plant, seed=cohort.seed, films=cohort.films)
    return {
        "name": cohort.name,
        "plant": asdict(cohort.plant),
        "seed": cohort.seed,
        "probed": cohort.probed,
        "films": len(subject.films),
        "groups": int(subject.films["group_id"].nunique()),
        "measured": probed(subject, cohort.seed) if cohort.probed else classified(subject, cohort.plant.kind),
    }


def classified(subject: Subject, kind: str | None) -> list[Record]:
    """What the shortcut classifiers measure: all of them where nothing is planted."""
    measured = []
    for name in SEERS[kind] if kind else tuple(CHECK_OF):
        predicted = subject.floors([name], pixels=CHECK_OF[name] == "edges")[name]
        if predicted is not None:
            measured.append({"check": CHECK_OF[name], **asdict(measured_floor(subject, name, predicted))})
    return measured


def probed(subject: Subject, seed: int) -> list[Record]:
    """What checks 3 and 6 measure, and 6 once more with sources dealt to patients."""
    groups = subject.films["group_id"]
    names = np.random.default_rng(seed).choice(sorted(set(HOSPITALS.values())), groups.nunique())
    dealt = groups.map(dict(zip(groups.unique(), names, strict=True))).astype("string")
    told = {
        "lungs-out-retrained": ask_lungs_out(subject),
        "source-within-label": ask_source_within_label(subject),
        BY_LOT: ask_source_within_label(replace(subject, films=subject.films.assign(source=dealt))),
    }
    return [{"check": name, **asdict(one)} for name, finding in told.items() for one in finding.measured]


def show(records: Sequence[Record]) -> None:
    """The tables of the page, in Markdown."""
    small = [one for one in records if one["films"] <= COHORT]
    more = [one for one in records if one["films"] > COHORT]
    power([one for one in small if one["plant"]["kind"] and not one["plant"]["shuffled"]], KINDS, STRENGTHS)
    power([one for one in more if one["plant"]["kind"]], MARKS, STRENGTHS[1:3])
    print("\n| cohorts | check | WARN or FAIL | FAIL | p < .01 | mean AUROC, largest |\n|---|---|---|---|---|---|")
    alarms("shuffled controls", [one for one in small if one["plant"]["shuffled"]])
    for what, cohorts in (("clean", small), (f"clean, {LARGE} films", more)):
        clean = [one for one in cohorts if not one["plant"]["kind"] and not one["probed"]]
        alarms(what, [one for one in clean if not one["plant"]["disease"]])
        alarms(f"{what}, with disease", [one for one in clean if one["plant"]["disease"]])
    families([one for one in small if not one["plant"]["kind"]])


def power(planted: Sequence[Record], kinds: Iterable[str], strengths: Sequence[float]) -> None:
    """How many cohorts are flagged, and the mean AUROC of what they are flagged by, at each strength."""
    head = " | ".join(f"{strength:g}" for strength in strengths)
    lines = "---|" * len(strengths)
    print(f"\n| planted | {head} |\n|---|{lines}")
    for kind in kinds:
        print(f"| {kind} | " + " | ".join(share(flags(of(planted, kind, strength))) for strength in strengths) + " |")
    print(f"\n| planted | measured by | {head} |\n|---|---|{lines}")
    for kind in kinds:
        for row in values(planted, kind, strengths):
            print(row)


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


def values(records: Sequence[Record], kind: str, strengths: Sequence[float]) -> Iterator[str]:
    """Mean AUROC of each measurement by strength, with how many were significant and flagged."""
    ours = [record for strength in strengths for record in of(records, kind, strength)]
    for check, name in dict.fromkeys((one["check"], one["of"]) for one in measured(ours)):
        cells = []
        for strength in strengths:
            found = [one for one in measured(of(records, kind, strength)) if (one["check"], one["of"]) == (check, name)]
            hits = sum(judged(one) in FLAGGED for one in found)
            cells.append(f"{np.mean([one['value'] for one in found]):.2f} ({hits})" if found else "-")
        yield f"| {kind} | {name} | " + " | ".join(cells) + " |"


def measured(records: Iterable[Record]) -> list[Record]:
    return [one for record in records for one in record["measured"]]


def judged(one: Record) -> str:
    told = {name: one[name] for name in ("of", "value", "low", "high", "p", "n", "groups", "counts")}
    return judge(QUESTIONS[one["check"].partition(",")[0]], Measured(**told)).value


def alarms(what: str, records: Sequence[Record]) -> None:
    """False alarms of each shortcut classifier, and of all of them together."""
    ones = measured(records)
    for check, name in dict.fromkeys((one["check"], one["of"]) for one in ones):
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


def families(clean: Sequence[Record]) -> None:
    """False alarms of checks together, in the cohorts with nothing planted that were asked all of them."""
    print("\n| checks | well: WARN or FAIL | FAIL | ill: WARN or FAIL | FAIL |\n|---|---|---|---|---|")
    for what, checks in FAMILIES.items():
        wanted = {name not in CHECK_OF.values() for name in checks}
        cells = []
        for disease in (False, True):
            parts = [one for one in clean if one["plant"]["disease"] == disease and one["probed"] in wanted]
            whole = [
                [part for one in parts if one["seed"] == seed for part in one["measured"]]
                for seed, times in Counter(one["seed"] for one in parts).items()
                if times == len(wanted)
            ]
            told = [{judged(part) for part in ones if part["check"] in checks} for ones in whole]
            cells += [share([bool(one & set(FLAGGED)) for one in told]), share(["FAIL" in one for one in told])]
        print(f"| {what} | " + " | ".join(cells) + " |")


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

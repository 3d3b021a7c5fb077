"""Choose the recipe of the bundle `covid19-frontal`: by what it reaches on films of publishers it was not trained on.

    python scripts/choose_default.py --data DATA --out DIR

COVID-19 against other pneumonia, frontal films of covid_chestxray, which names the page every film was published on.
Each of three domains (two teaching collections, and everywhere else) is kept out once; a candidate is a set of changes
to `cohen-covid-lite0`. The honest figure of the choice is nested: for each domain the candidate is taken that is best
on the two others, and its score on the third is what counts. An interrupted comparison goes on where it was.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from hilum import metrics
from hilum.console import OUT, watch
from hilum.files import written_aside
from hilum.index import Index, build_index
from hilum.recipe import changed, recipe_text
from hilum.run import Run, train_run
from hilum.scoring import Predicted, ranking_scores
from hilum.sources import read_source

BASE = "cohen-covid-lite0"
POSITIVE = "covid19"
PAGES = {"radiopaedia": "radiopaedia.org", "eurorad": "eurorad.org"}
ELSEWHERE = "elsewhere"
DOMAINS = (*PAGES, ELSEWHERE)
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
"""Changes to the recipe; the last one is a control and is never chosen."""
CONTROL = "all but the lungs"


def films(data: Path) -> Index:
    """covid_chestxray with the domain as each film's source."""
    index = build_index(list(read_source("covid_chestxray", data)), data)
    pages = index.table["attr.case_url"].fillna("")
    domain = pd.Series(ELSEWHERE, index=index.table.index, dtype="string")
    for name, host in PAGES.items():
        domain[pages.str.contains(host, regex=False)] = name
    return Index(index.table.assign(source=domain), index.root)


def text_of(changes: dict[str, str], kept_out: str) -> str:
    """The recipe of a candidate with one domain kept out."""
    split = {"split.seeds": "[0]", "split.hold_out_sources": f'["{kept_out}"]', "films.sources": "[]"}
    return changed(recipe_text(BASE), {**split, **changes})


def predicted(run: Run, fold: str) -> Predicted:
    """What a run says of the films of a fold."""
    table = run.predictions[run.predictions["fold"] == fold].reset_index(drop=True)
    groups = run.index.films.set_index("image_id")["group_id"][table["image_id"]]
    classes = run.recipe.class_names
    target = pd.Index(list(classes)).get_indexer(pd.Index(table["reference"])).astype(np.int64)
    shares = table[[f"p.{name}" for name in classes]].to_numpy(float)
    rows = np.arange(len(table))
    return Predicted(fold, classes, target, pd.factorize(groups)[0].astype(np.int64), ((rows, shares),))


def auroc(tested: Predicted) -> tuple[float, float, float]:
    """With its 95 % interval over groups."""
    counts = metrics.resampled_groups(tested.groups(), 1000, 0)
    score = next(one for one in ranking_scores(tested, counts) if one.metric == "auroc")
    return tuple(np.nan if one is None else one for one in (score.value, score.low, score.high))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    index = films(asked.data.resolve())
    rows = []
    for name, changes in CANDIDATES.items():
        for domain in DOMAINS:
            place = asked.out / f"{name.replace(' ', '-')}-without-{domain}".replace("'", "")
            run = train_run(text_of(changes, domain), None, place, given=index, watch=watch)
            outside, inside = predicted(run, "external"), predicted(run, "test")
            rows.append((name, domain, *auroc(outside), len(outside.target), outside.groups(), *auroc(inside)))
            OUT.print(rows[-1], highlight=False, soft_wrap=True)
    columns = ["candidate", "domain", "auroc", "low", "high", "films", "groups", "inside", "inside_low", "inside_high"]
    table = pd.DataFrame(rows, columns=columns)
    with written_aside(asked.out / "candidates.csv") as aside:
        table.to_csv(aside, index=False)
    say(table)


def say(table: pd.DataFrame) -> None:
    """Every candidate's mean over the domains, the nested figure, and the choice."""
    outside = table.pivot_table(index="candidate", columns="domain", values="auroc", sort=False)[list(DOMAINS)]
    outside["mean"] = outside.mean(axis=1)
    outside["inside"] = table.groupby("candidate", sort=False)["inside"].mean()
    OUT.print(outside.round(3).to_string(), highlight=False)
    able = outside.drop(index=CONTROL)
    nested = []
    for domain in DOMAINS:
        others = [one for one in DOMAINS if one != domain]
        best = str(able[others].mean(axis=1).idxmax())
        nested.append(float(able[domain][best]))
        OUT.print(f"{domain}: '{best}' is best on the others and reaches {nested[-1]:.3f}", highlight=False)
    OUT.print(f"nested mean {np.mean(nested):.3f}; chosen on all: '{able['mean'].idxmax()}'", highlight=False)


if __name__ == "__main__":
    main()

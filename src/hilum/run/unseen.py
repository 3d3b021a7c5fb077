"""What a classifier calls films of classes it was never shown: a network knows no "something else"."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hilum import metrics
from hilum.bundle import Bundle
from hilum.cache import FrameCache
from hilum.fitting import prediction_table
from hilum.index import Index
from hilum.parallel import Watch
from hilum.predict import decide, findings_of
from hilum.recipe import Recipe
from hilum.run.films import with_lungs
from hilum.selection import unseen_films
from hilum.split import Split

COLUMNS = ["shown", "source", "called", "share", "low", "high", "n_films", "n_groups", "mean_p", "median_p"]
EVERYWHERE = "all"
"""In the column `source`: all of them together."""


def score_unseen(recipe: Recipe, index: Index, bundle: Bundle, split: Split, watch: Watch) -> pd.DataFrame:
    """How often films of each unseen class are called each class of the recipe, by source.

    Films of groups that the released weights were trained or tuned on are left out.

    Returns:
        `COLUMNS`, a row an unseen class, source (`all` for all together) and class called: the share of its films that
        are called so with a 95 % interval over groups, and mean and median of the class's probability.
    """
    found = unseen_films(index, recipe)
    used = split.table["group_id"][split.table["fold"].isin(["train", "tune"])]
    found = found.leave_out(found.table["group_id"].isin(used), "its group was trained on")
    films = with_lungs(found, recipe, watch=watch).films
    if films.empty:
        return pd.DataFrame(columns=COLUMNS)
    cache = FrameCache(bundle.preprocess)
    with watch("decode unseen films") as progress:
        cache.fill(films, index.root, progress=progress)
    table = prediction_table(films, bundle.classes, bundle.logits(cache.view(films, index.root)), bundle.temperature)
    table = table.assign(source=films["source"].to_numpy(), group=films["group_id"].to_numpy())
    probabilities = table[[f"p.{name}" for name in bundle.classes]].to_numpy(np.float64)
    table["called"] = [decide(findings_of(bundle, row)) for row in probabilities]
    rows = []
    for shown, of_class in table.groupby("reference", sort=False):
        sources = list(of_class.groupby("source"))
        for source, part in [(EVERYWHERE, of_class), *(sources if len(sources) > 1 else [])]:
            rows += [_row(str(shown), str(source), name, part, recipe.judgement.resamples) for name in bundle.classes]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(shown: str, source: str, name: str, part: pd.DataFrame, resamples: int) -> Sequence[object]:
    group, groups = pd.factorize(part["group"])
    hit = (part["called"] == name).to_numpy(np.float64)
    share = float(hit.mean())
    counts = metrics.resampled_groups(len(groups), resamples)
    replicates = metrics.bootstrap(counts, [(lambda weights: (weights @ hit / weights.sum(axis=1))[:, None], group)])
    low, high = metrics.interval(replicates[:, 0], share, len(groups)) or (np.nan, np.nan)
    p = part[f"p.{name}"]
    return (shown, source, name, share, low, high, len(part), len(groups), float(p.mean()), float(p.median()))

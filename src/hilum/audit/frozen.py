"""What the audited bundle says of films that were changed: without lungs, without or with markers, hardly changed.

Its own weights are asked, so only films that they were never fitted on can answer: those of the test fold where the
released network is the one that was tested; films of a source kept out; or, where the network was fitted again on all
films but a tune fold, the tune fold. That fold stopped the fitting and set the thresholds, which flatters a little; the
networks of the single folds are not kept.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from hilum import metrics
from hilum.audit.areas import examples_of, figure, kept_share, roc_of
from hilum.audit.asking import WHOLE, Asked, ask_bundle
from hilum.audit.chance import permuted_p
from hilum.audit.changes import (
    MARKED,
    PAINTED,
    PERTURBED,
    marked_elsewhere,
    painted_elsewhere,
    painted_over,
    without_drawn_lungs,
    without_lungs,
)
from hilum.audit.check import Finding, Measured, Question, found
from hilum.audit.lungless import films_with_lungs
from hilum.audit.questions import QUESTIONS
from hilum.audit.sampling import some_films
from hilum.audit.subject import Subject
from hilum.errors import DataError
from hilum.metrics import Bools, Floats, Ints
from hilum.preprocess import Preprocess
from hilum.scoring import FEWEST
from hilum.selection import TARGET
from hilum.split import Split

MOST_FILMS = 100
"""Films that are changed in many ways; each way is a pass through the network."""
MOST_REDRAWN = 75
"""The same, where lungs are drawn on each of them each way, which takes five times as long."""
MOST_BLANKED = 300
"""Films that are shown twice only."""
BLANKED = "lungs hidden"
SEES = {
    "crop": "; the model sees the box of the lungs that were there, and no more",
    "only": "; the model sees the outline of the lungs that were there, and no more",
    "not": "; the model sees films without lungs anyway",
}
"""What a bundle sees of a film without its lungs, by what it does with lungs."""


def unfitted_films(subject: Subject) -> tuple[pd.DataFrame, str]:
    """Index rows of the films that the bundle's weights were never fitted on, and which these are, in words.

    Raises:
        DataError: there are none of two classes.
    """
    if subject.kind != "run" or subject.run is None:
        return _two_classes(subject.tested_films.reset_index()), "films scored"
    refits = sorted((subject.run.folder / "splits").glob("seed-*-fold-refit.csv"))
    if not refits:
        ids = subject.divisions[0].ids("test")
        return _two_classes(subject.films[subject.films["image_id"].isin(ids)]), "films of the test fold"
    refit = Split.load(refits[0]).table
    for fold, words in (
        ("external", "films of sources kept out"),
        ("tune", "films of the tune fold, all others having been fitted in the end"),
    ):
        films = subject.films[subject.films["image_id"].isin(refit["image_id"][refit["fold"] == fold])]
        if _has_two(films):
            return films.reset_index(drop=True), words
    raise DataError("the released network was fitted on all films at hand but too few to ask it of")


def _has_two(films: pd.DataFrame) -> bool:
    groups = films.groupby(TARGET)["group_id"].nunique()
    return int((groups >= FEWEST).sum()) >= 2


def _two_classes(films: pd.DataFrame) -> pd.DataFrame:
    if not _has_two(films):
        raise DataError(f"fewer than {FEWEST} groups of two classes are among the films that can be asked of")
    return films.reset_index(drop=True)


def ask_lungs_out(subject: Subject) -> Finding:
    """4: the bundle on films whose lungs are hidden under a plain grey."""
    question = QUESTIONS["lungs-out"]
    sees = subject.recipe.preprocess if subject.recipe else Preprocess()
    films, which = unfitted_films(subject)
    films, undrawn = some_films(films, MOST_BLANKED), dict[str, int]()
    if not sees.masked or sees.masks == "made":
        films, undrawn = films_with_lungs(films, subject.root, subject.watch, processes=subject.processes)
    asked = ask_bundle(subject, films, {BLANKED: without_drawn_lungs if sees.masked else without_lungs})
    whole, without = asked.predicted(WHOLE), asked.predicted(BLANKED)
    one, area, left = kept_share(BLANKED, whole, without, subject.resamples)
    says = (
        f"With lungs hidden the model has AUROC {left}, on whole films {area}: "
        f"{figure(one.value, one.low, one.high)} of it is left ({len(films)} {which}){SEES.get(sees.lungs, '')}."
    )
    details = {
        "auroc": {WHOLE: area.plain, BLANKED: left.plain},
        "roc": {WHOLE: roc_of(whole), BLANKED: roc_of(without)},
        "examples": examples_of(films["image_id"].to_numpy(), without),
        "films": len(films),
        "which": which,
        "no lungs drawn": undrawn,
        "sees": sees.lungs,
    }
    return found(question, [one], says, details=details)


def ask_markers(subject: Subject) -> Finding:
    """13: decisions that flip when markers are painted over or put in, against as large a change elsewhere."""
    question = QUESTIONS["markers"]
    films, which = unfitted_films(subject)
    films = some_films(films, _most(subject))
    controls = {"elsewhere painted": painted_elsewhere, "marker elsewhere": marked_elsewhere}
    asked = ask_bundle(subject, films, {PAINTED: painted_over, **MARKED, **controls}, anew=True)
    films = asked.films
    pairs = {PAINTED: "elsewhere painted"} | dict.fromkeys(MARKED, "marker elsewhere")
    measured = []
    for change, control in pairs.items():
        flips, harmless = asked.flipped(change), asked.flipped(control)
        # So many comparisons find something by chance (Bonferroni).
        p = min(1.0, len(pairs) * _paired_p(flips, harmless, _groups(films)))
        measured.append(_share(change, flips, films, subject.resamples, p))
    worst = max(measured, key=lambda one: one.value)
    elsewhere = float(asked.flipped(pairs[worst.of]).mean())
    says = (
        f"With {worst.of}, {_percent(worst)} of the decisions flip; with as large a change elsewhere {elsewhere:.1%} "
        f"({len(films)} {which}){_refused(asked, list(pairs))}."
    )
    details = _flips(asked, [*pairs, *controls.keys()]) | {"which": which, "controls": pairs}
    return found(question, measured, says, details=details)


def ask_perturbation(subject: Subject) -> Finding:
    """19: decisions that flip under changes that no reader would notice; p against the limit of the warning."""
    question = QUESTIONS["perturbation"]
    films, which = unfitted_films(subject)
    films = some_films(films, _most(subject))
    asked = ask_bundle(subject, films, PERTURBED, anew=True)
    films = asked.films
    measured = []
    for change in PERTURBED:
        flips = asked.flipped(change)
        p = min(1.0, len(PERTURBED) * _above_p(flips, _groups(films), question))
        measured.append(_share(change, flips, films, subject.resamples, p))
    worst = max(measured, key=lambda one: one.value)
    refused = _refused(asked, list(PERTURBED))
    says = f"With {worst.of}, {_percent(worst)} of the decisions flip ({len(films)} {which}){refused}."
    return found(question, measured, says, details=_flips(asked, list(PERTURBED)) | {"which": which})


def _most(subject: Subject) -> int:
    """Films that can be afforded."""
    sees = subject.recipe.preprocess if subject.recipe else Preprocess()
    return MOST_REDRAWN if sees.masked and sees.masks == "made" else MOST_FILMS


def _groups(films: pd.DataFrame) -> Ints:
    return pd.factorize(films["group_id"])[0].astype(np.int64)


def _share(of: str, flips: Floats, films: pd.DataFrame, resamples: int, p: float) -> Measured:
    """The share of films that flip, with its interval over groups."""
    group = _groups(films)
    groups = int(group.max()) + 1
    counts = metrics.resampled_groups(groups, resamples)
    replicates = metrics.bootstrap(counts, [(lambda weights: (weights @ flips / weights.sum(axis=1))[:, None], group)])
    value = float(flips.mean())
    low, high = metrics.interval(replicates[:, 0], value, groups) or (None, None)
    return Measured(of=of, value=value, low=low, high=high, p=p, n=len(films), groups=groups)


def _paired_p(flips: Floats, harmless: Floats, group: Ints) -> float:
    """How often flips are as many more than those of the harmless change when the two change names, group by group."""
    sums = np.stack([np.bincount(group, weights=one) for one in (flips, harmless)], axis=1).ravel()
    names = np.tile(np.array([1, 0], np.int64), len(sums) // 2)

    def difference(dealt: Ints) -> Floats:
        return (2.0 * dealt - 1.0) @ sums

    return permuted_p(difference, names, within=np.repeat(np.arange(len(sums) // 2), 2))


def _above_p(flips: Floats, group: Ints, question: Question) -> float:
    """How often groups would flip as often if each flipped with the chance that is the limit of the warning."""
    groups = int(group.max()) + 1
    means = np.bincount(group, weights=flips) / np.bincount(group)
    return float(binom.sf(np.floor(means.sum() + 1e-9) - 1, groups, question.warn or 0.0))


def _percent(one: Measured) -> str:
    bounds = "" if one.low is None or one.high is None else f" [{one.low:.1%}, {one.high:.1%}]"
    return f"{one.value:.1%}{bounds}"


def _refused(asked: Asked, changes: Sequence[str]) -> str:
    """How many decisions flipped because no lung is found any more: whoever asks gets another answer, if a safe one."""
    lost = max(asked.refused(change) for change in changes)
    return f"; on up to {lost} films no lung is found after a change, which counts as a flip" if lost else ""


def _flips(asked: Asked, changes: Sequence[str], most: int = 8) -> dict[str, Any]:
    """Share of films that flip under each change, and the first that do: from which label to which."""
    before, ids = asked.decisions(WHOLE), asked.films["image_id"].to_numpy()
    examples: dict[str, list[dict[str, str]]] = {}
    for change in changes:
        after = asked.decisions(change)
        rows: Bools = before != after
        told = zip(ids[rows], before[rows], after[rows], strict=True)
        examples[change] = [{"image_id": str(i), "from": str(a), "to": str(b)} for i, a, b in list(told)[:most]]
    shares = {change: float(asked.flipped(change).mean()) for change in changes}
    lost = {change: asked.refused(change) for change in changes if asked.refused(change)}
    return {"films": len(ids), "flips": shares, "no lung found": lost, "examples": examples}

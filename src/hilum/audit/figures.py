"""Can the model's own figures be believed? Too high, too few films, probabilities off, or another with every seed."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2, rankdata

from hilum import metrics
from hilum.audit.chance import auroc_p, calibration_p, permuted_p, units_of
from hilum.audit.check import Finding, Measured, Verdict, found, skipped
from hilum.audit.questions import QUESTIONS
from hilum.audit.subject import ORIGIN, Subject, codes_of
from hilum.evaluate import find_score, headline_score
from hilum.metrics import Floats, Ints
from hilum.scoring import Predicted, Score, spelt

FEWEST_GROUPS = 100
"""Groups with a label below which a figure of it is a warning."""
FEWEST_SEEDS = 5
HELD = 0.05
"""A score that drops by less than this on a source never trained on has held there."""
SHUFFLES = 500


def ask_too_good(subject: Subject) -> Finding:
    """8: above what honest studies reach, and nowhere else shown to hold."""
    question = QUESTIONS["too-good"]
    if subject.fold != "test":
        return skipped(question, "the films are none of the model's own test fold")
    score = headline_score(subject.evaluation)
    if score is None or score.value is None:
        return skipped(question, "there is no AUROC to judge")
    outside = headline_score(subject.evaluation, "external")
    verified = outside is not None and outside.value is not None and outside.value > score.value - HELD
    measured = _of_score(score, subject.tested, auroc_p(subject.tested))
    sources = subject.films[ORIGIN].nunique()
    origin = f"films of {sources} sources put together" if sources > 1 else "films of one source by name"
    says = f"AUROC {spelt(score)} on {origin}"
    says += f", {spelt(outside)} on a source never trained on." if outside else ", unverified on any other source."
    at_most = Verdict.PASS if verified else Verdict.FAIL
    return found(question, [measured], says, at_most=at_most, details={"external": _plain(outside)})


def _of_score(score: Score, tested: Predicted, p: float | None) -> Measured:
    value = 0.5 if score.value is None else score.value
    of = score.metric if score.label is None else f"{score.metric} of {score.label}"
    return Measured(of=of, value=value, low=score.low, high=score.high, p=p, n=score.n, groups=tested.groups())


def _plain(score: Score | None) -> dict[str, Any] | None:
    if score is None or score.value is None:
        return None
    return {"value": score.value, "low": score.low, "high": score.high, "n": score.n}


def ask_size(subject: Subject) -> Finding:
    """16: how wide the interval of each label's AUROC is, and how many groups have the label."""
    question = QUESTIONS["size"]
    tested, measured = subject.tested, []
    groups = {name: tested.groups(tested.target == c) for c, name in enumerate(tested.classes)}
    for c in tested.judged:
        name = tested.classes[c]
        score = find_score(subject.evaluation.scores, "auroc", label=name, fold=subject.fold)
        if score is not None and score.low is not None and score.high is not None:
            half = (score.high - score.low) / 2
            measured.append(Measured(of=f"AUROC of {name}", value=half, n=score.n, groups=groups[name], counts=True))
    if not measured:
        return skipped(question, "no AUROC has an interval: too few groups of a label")
    rarest = min(groups, key=lambda name: groups[name])
    few = groups[rarest] < FEWEST_GROUPS
    widest = max(one.value for one in measured)
    says = f"The AUROC is known to ± {widest:.3f}; the rarest label, {rarest}, has {groups[rarest]} groups"
    says += f", fewer than {FEWEST_GROUPS}." if few else "."
    films = {name: int((tested.target == c).sum()) for c, name in enumerate(tested.classes)}
    details = {"films": films, "groups": groups}
    return found(question, measured, says, at_least=Verdict.WARN if few else Verdict.PASS, details=details)


def ask_calibration(subject: Subject) -> Finding:
    """17: expected calibration error against what right probabilities would give from as few films."""
    question = QUESTIONS["calibration"]
    scores, tested = subject.evaluation.scores, subject.tested
    ece = find_score(scores, "ece", fold=subject.fold)
    if ece is None or ece.value is None:
        return skipped(question, "there is no calibration error to judge")
    before = _uncalibrated(subject)
    details: dict[str, Any] = {"temperature": subject.temperature, "ece_before_temperature": before}
    details["brier"] = _plain(find_score(scores, "brier", fold=subject.fold))
    details["slope"] = {
        tested.classes[c]: getattr(
            find_score(scores, "calibration_slope", label=tested.classes[c], fold=subject.fold), "value", None
        )
        for c in tested.judged
    }
    details["reliability"] = {
        curve.label: {"x": list(curve.x), "y": list(curve.y), "weight": list(curve.weight)}
        for curve in subject.evaluation.curves
        if curve.kind == "reliability"
    }
    says = f"Probabilities are off by {spelt(ece)} on average"
    says += "." if before is None else f", {before:.3f} before the temperature."
    return found(question, [_of_score(ece, tested, calibration_p(tested))], says, details=details)


def _uncalibrated(subject: Subject) -> float | None:
    """The error of the logits as they stand; None where nobody told the logits."""
    columns = [f"logit.{name}" for name in subject.classes]
    told = subject.predictions[subject.predictions["fold"] == subject.fold]
    if any(name not in told or told[name].isna().any() for name in columns):
        return None
    logits = told[columns].to_numpy(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    target = codes_of(told["reference"], subject.classes)
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    errors = [metrics.expected_calibration_error(target[rows], shares[rows]) for rows in _by_repeat(told)]
    return float(np.mean(errors))


def _by_repeat(told: pd.DataFrame) -> list[Ints]:
    repeat = told["repeat"].to_numpy()
    return [np.flatnonzero(repeat == one) for one in np.unique(repeat)]


def ask_seeds(subject: Subject) -> Finding:
    """20: how the AUROC varies from seed to seed on the same films, or from fold to fold.

    From fold to fold the films differ too. A null takes that out: films keep their rank within their fold and change
    places between folds, label by label, so only what sampling does is left.
    """
    question = QUESTIONS["seeds"]
    told = subject.predictions[subject.predictions["fold"] == "test"]
    if "division" not in told or told.empty:
        return skipped(question, "the figures come from one model, and nobody says how others of its kind did")
    seeds = told["repeat"].nunique()
    if seeds >= FEWEST_SEEDS:
        areas = [_area(subject, part) for _, part in told.groupby("repeat")]
        p, what = None, "seeds"
    else:
        first = told[told["repeat"] == told["repeat"].min()]
        areas = [_area(subject, part) for _, part in first.groupby("division")]
        p, what = _fold_p(subject, first), "folds"
    known = [area for area in areas if area is not None]
    if len(known) < FEWEST_SEEDS:
        return skipped(question, f"{seeds} seeds and {len(known)} folds have an AUROC; five of either are needed")
    sd, freedom = float(np.std(known, ddof=1)), len(known) - 1
    low, high = (sd * float(np.sqrt(freedom / chi2.ppf(q, freedom))) for q in (0.975, 0.025))
    if p is None:
        p = float(chi2.sf(freedom * (sd / (question.warn or 1.0)) ** 2, freedom))
    measured = Measured(of=what, value=sd, low=low, high=high, p=p, n=told["image_id"].nunique())
    says = f"The AUROC has a deviation of {sd:.3f} over {len(known)} {what}, {min(known):.3f} to {max(known):.3f}."
    return found(question, [measured], says, details={"areas": known, "over": what})


def _area(subject: Subject, part: pd.DataFrame) -> float | None:
    target = codes_of(part["reference"], subject.classes)
    scores = part[[f"p.{name}" for name in subject.classes]].to_numpy(np.float64)
    if len(subject.classes) == 2:
        return metrics.auroc(target == 0, scores[:, 0])
    return metrics.macro_auroc(target, scores)


def _fold_p(subject: Subject, first: pd.DataFrame) -> float:
    """The p of the deviation over folds when units change folds within their label, each with its rank."""
    columns = [f"p.{name}" for name in subject.classes]
    ranked = first.copy()
    by_fold = first.groupby("division")[columns]
    ranked[columns] = by_fold.transform(lambda column: (rankdata(column) - 0.5) / len(column))
    ids, film = np.unique(first["image_id"].to_numpy(str), return_inverse=True)
    target = np.zeros(len(ids), np.int64)
    target[film] = codes_of(first["reference"], subject.classes)
    fold = np.zeros(len(ids), np.int64)
    fold[film] = pd.factorize(first["division"])[0]
    group = pd.factorize(subject.by_id["group_id"].reindex(ids))[0].astype(np.int64)
    tested = Predicted("test", subject.classes, target, group, ((film.astype(np.int64), ranked[columns].to_numpy()),))
    units = units_of(tested)
    _, first_film = np.unique(np.stack([group, target], axis=1), axis=0, return_index=True)
    scores = units.repeats[0][1]
    rankings = [metrics.Ranking.of(units.target == c, scores[:, c]) for c in tested.judged]

    def statistic(dealt: Ints) -> Floats:
        areas = [
            np.mean([one.auroc((dealt == number).astype(np.float64)) for one in rankings], axis=0)
            for number in range(int(fold.max()) + 1)
        ]
        return np.asarray(np.std(areas, axis=0, ddof=1))

    return permuted_p(statistic, fold[first_film], within=units.target, permutations=SHUFFLES)

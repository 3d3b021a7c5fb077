"""What can be learnt from a subject's films by a small classifier of the audit's own, whatever the model audited is.

The probe is a frozen EfficientNet-Lite0, as packaged, with a linear head. It is trained and tested in the subject's own
folds, on films with their lungs hidden, on the lungs alone, or without one source. What it finds is there for anyone to
find; what it does not find, a larger network may.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from hilum import metrics
from hilum.audit.areas import Area, area_of, examples_of, figure, kept_share, roc_of
from hilum.audit.chance import permuted_p, units_of
from hilum.audit.check import Finding, Measured, Verdict, found, skipped
from hilum.audit.lungless import films_with_lungs, with_hidden
from hilum.audit.questions import QUESTIONS
from hilum.audit.sampling import some_films
from hilum.audit.shortcuts import ask_source
from hilum.audit.subject import ORIGIN, Subject, frames_of
from hilum.errors import DataError
from hilum.evaluate import arranged
from hilum.files import cache_dir
from hilum.metrics import Bools, Floats, Ints
from hilum.preprocess import Preprocess
from hilum.recipe import Judgement, Network, Recipe, Schedule
from hilum.scoring import FEWEST, Predicted, decision_family, measured
from hilum.selection import TARGET
from hilum.split import Split, SplitPlan, make_splits

MOST_FILMS = 1000
"""Films a probe is trained and tested on at most; each costs a pass of the lung network and two of the probe's."""
MOST_SOURCES = 5
"""Sources left out in turn, the largest first."""
FOLDS = 5
FEWEST_GROUPS = 10
"""Groups a source needs, of one label, to be told from others."""
NETWORK = Network(level=(-2,), pooling="grid3")
SCHEDULE = Schedule(optimiser="lbfgs", weight_decay=0.3, epochs=20, patience=5)
SIZE_PX = 224
Shown = Literal["none", "only", "not"]


@dataclass(frozen=True)
class Probing:
    """Some films of a subject.

    Attributes:
        subject: whose.
        films: index rows with a target.
        classes: of the targets.
    """

    subject: Subject
    films: pd.DataFrame
    classes: tuple[str, ...]

    def tried(self, splits: Sequence[Split], shown: Shown) -> pd.DataFrame:
        """Fit the probe on each division's train fold; what it predicts for the others' films, as `evaluate` takes it.

        Raises:
            DataError: a train fold lacks a class, or a film is not as it was indexed.
        """
        from hilum.fitting import Fitter, fit_together  # torch: not for those who ask other checks

        recipe = _recipe(self.classes, shown)
        fitter = Fitter(recipe, self.films, frames_of(self.subject, recipe.preprocess, self.films))
        with self.subject.watch("compute features") as progress:
            fitter.prepare(splits, progress)
        fit_together([(fitter, splits)])
        place = cache_dir() / "probe"  # nothing is written there: a head is fitted in one go
        return pd.concat([fitter.fit(split, checkpoint=place).predictions for split in splits], ignore_index=True)

    def predicted(self, predictions: pd.DataFrame, fold: str = "test") -> tuple[Predicted, pd.DataFrame]:
        """One fold's predictions as arrays, and the index rows of its films."""
        part = predictions[predictions["fold"] == fold]
        return arranged(part, self.films.set_index("image_id"), self.classes, fold)


def _recipe(classes: Sequence[str], shown: Shown) -> Recipe:
    return Recipe(
        title="probe",
        classes={name: (name,) for name in classes},
        preprocess=Preprocess(size_px=SIZE_PX, lungs=shown, masks="made"),
        network=NETWORK,
        schedule=SCHEDULE,
        judgement=Judgement(operating_points=(), calibrate=False),
    )


def own_splits(subject: Subject, films: pd.DataFrame) -> list[Split]:
    """The subject's divisions of its first seed, cut down to these films; groups are never on both sides."""
    ids = subject.films["image_id"].to_numpy()
    made = []
    for number, (train, test) in enumerate(subject.repeats[0]):
        fold = dict.fromkeys(ids[train], "train") | dict.fromkeys(ids[test], "test")
        table = films[["image_id", "group_id", TARGET]].assign(fold=films["image_id"].map(fold).fillna("unused"))
        tested = table["group_id"][table["fold"] == "test"]
        torn = (table["fold"] == "train") & table["group_id"].isin(tested)
        split = Split(table.assign(fold=table["fold"].mask(torn, "unused")), seed=0, number=number)
        if len(split.rows("test")):
            made.append(split)
    return made


def prepare_probes(subject: Subject, names: Collection[str]) -> None:
    """Draw the lungs and decode the films that these checks will show a probe, by what the subject hands films out by.

    Raises:
        DataError: on no film can a lung be drawn, or one is not as it was indexed.
    """
    some, several = some_films(subject.films, MOST_FILMS), len(subject.films[ORIGIN].unique()) > 1
    if "unseen-source" in names and several:
        frames_of(subject, _recipe(subject.classes, "none").preprocess, some)
    among = "source-within-label" in names and several
    if among or "lungs-out-retrained" in names:
        films, _ = films_with_lungs(some, subject.root, subject.watch, spread=subject.spread)
        if among:
            frames_of(subject, _recipe(subject.classes, "only").preprocess, films)
        if "lungs-out-retrained" in names:
            frames_of(subject, _recipe(subject.classes, "none").preprocess, films)
            frames_of(subject, _recipe(subject.classes, "not").preprocess, with_hidden(films, subject.root))


def ask_lungs_out(subject: Subject) -> Finding:
    """3: the probe on films with their lungs hidden, against itself on whole films."""
    question = QUESTIONS["lungs-out-retrained"]
    some = some_films(subject.films, MOST_FILMS)
    films, undrawn = films_with_lungs(some, subject.root, subject.watch, processes=subject.processes)
    splits = own_splits(subject, films)
    whole = Probing(subject, films, subject.classes)
    hidden = replace(whole, films=with_hidden(films, subject.root))
    full, described = whole.predicted(whole.tried(splits, "none"))
    without, _ = hidden.predicted(hidden.tried(splits, "not"))
    try:
        one, area, left = kept_share("lungs hidden", full, without, subject.resamples)
    except DataError as error:
        return skipped(question, f"of a probe {error}")
    says = (
        f"With lungs hidden a newly trained probe has AUROC {left}, on whole films {area}: "
        f"{figure(one.value, one.low, one.high)} of it is left."
    )
    details = {
        "auroc": {"whole": area.plain, "lungs hidden": left.plain},
        "roc": {"whole": roc_of(full), "lungs hidden": roc_of(without)},
        "examples": examples_of(described.index.to_numpy(), without),
        **_account(subject, some, undrawn),
    }
    return found(question, [one], says, details=details)


def _account(subject: Subject, some: pd.DataFrame, undrawn: dict[str, int]) -> dict[str, Any]:
    """How many films were drawn from how many, and on how many of each class no lung is found."""
    return {"films": len(some), "of": len(subject.films), "no lungs drawn": undrawn, "probe": NETWORK.backbone}


def ask_source_within_label(subject: Subject) -> Finding:
    """6: the source told from the lungs alone, among films of one label: what differs then is no disease.

    No failure where the source does not tell the label (question 1): hospitals look different, and a model gains
    nothing by seeing it.
    """
    question = QUESTIONS["source-within-label"]
    if subject.films[ORIGIN].nunique() < 2:
        return skipped(question, f"all films come from one source by name, {subject.films['source'].iloc[0]}")
    some = some_films(subject.films, MOST_FILMS)
    if not any(_sources(some[some[TARGET] == name]) for name in subject.classes):
        return skipped(question, f"no label has {FEWEST_GROUPS} groups of films in two sources")
    films, undrawn = films_with_lungs(some, subject.root, subject.watch, processes=subject.processes)
    told = [_source_told(subject, films, name) for name in subject.classes]
    kept = [(one, detail) for one, detail in (pair for pair in told if pair is not None)]
    if not kept:
        return skipped(question, f"no label has {FEWEST_GROUPS} groups of films with lungs in two sources")
    best = max((one for one, _ in kept), key=lambda one: one.value)
    says = (
        f"Among films {best.of}, the source is told from the lungs alone with a balanced accuracy of "
        f"{figure(best.value, best.low, best.high)} above chance."
    )
    harmless = ask_source(subject).verdict == Verdict.PASS
    says += " The source does not tell the label, so that a model gains nothing by it." if harmless else ""
    details = {"labels": [detail for _, detail in kept], **_account(subject, some, undrawn)}
    at_most = Verdict.WARN if harmless else Verdict.FAIL
    return found(question, [one for one, _ in kept], says, at_most=at_most, details=details)


def _sources(films: pd.DataFrame) -> tuple[str, ...]:
    """Sources with groups enough, the first being the one with most; none where there is no second."""
    groups = films.groupby(ORIGIN)["group_id"].nunique().sort_values(ascending=False)
    enough = [str(name) for name in groups.index[groups >= FEWEST_GROUPS]]
    return tuple(enough) if len(enough) > 1 else ()


def _source_told(subject: Subject, films: pd.DataFrame, label: str) -> tuple[Measured, dict[str, Any]] | None:
    theirs = films[films[TARGET] == label]
    sources = _sources(theirs)
    if not sources:
        return None
    theirs = theirs[theirs[ORIGIN].isin(sources)].reset_index(drop=True)
    theirs = theirs.assign(**{TARGET: theirs[ORIGIN]})
    probing = Probing(subject, theirs, sources)
    splits = make_splits(theirs, SplitPlan(method="kfold", folds=FOLDS, tune=0.0))
    tested, _ = probing.predicted(probing.tried(splits, "only"))
    one = _above_chance(f"of {label}", tested, subject.resamples)
    confusion = metrics.confusion_matrix(tested.target, _called(tested), len(sources))
    detail = {"label": label, "sources": list(sources), "confusion": confusion.tolist(), "above chance": one.value}
    return one, detail | {"low": one.low, "high": one.high}


def _called(tested: Predicted) -> Ints:
    """The most probable class of each film, in the films' order."""
    rows, p = tested.repeats[0]
    called = np.zeros(len(tested.target), np.int64)
    called[rows] = p.argmax(axis=1)
    return called


def _above_chance(of: str, tested: Predicted, resamples: int) -> Measured:
    """Balanced accuracy less what guessing gives, with its interval; p by dealing classes to groups."""
    chance = 1 / len(tested.classes)
    figures, statistic = decision_family(tested)
    counts = metrics.resampled_groups(tested.groups(), resamples)
    score = next(s for s in measured(tested, figures, statistic, counts) if s.metric == "balanced_accuracy")
    low, high = (None if bound is None else bound - chance for bound in (score.low, score.high))
    value = (score.value or 0.0) - chance
    n, groups = len(tested.target), tested.groups()
    return Measured(of=of, value=value, low=low, high=high, p=_accuracy_p(tested), n=n, groups=groups)


def _accuracy_p(tested: Predicted) -> float:
    units = units_of(tested)
    which, means = units.repeats[0]
    right = np.eye(len(tested.classes))[means.argmax(axis=1)]

    def balanced(dealt: Ints) -> Floats:
        of_class = [_share(dealt[:, which] == c, right[:, c]) for c in range(len(tested.classes))]
        accuracy: Floats = np.mean(of_class, axis=0)
        return accuracy

    return permuted_p(balanced, units.target)


def _share(chosen: Bools, right: Floats) -> Floats:
    return metrics.ratio(chosen @ right, chosen.sum(axis=1).astype(np.float64))


@dataclass(frozen=True)
class _Elsewhere:
    """AUROC among sources that were trained on, and on one that was not; of the same labels.

    Attributes:
        source: kept out.
        labels: that both have.
        inside: of films tested in folds.
        outside: of all films of the source.
        tested: the source's films.
    """

    source: str
    labels: tuple[str, ...]
    inside: Area
    outside: Area
    tested: Predicted

    def measured(self) -> Measured:
        """What is lost; p is the share of resamples in which nothing is."""
        value = self.inside.value - self.outside.value
        differences = self.inside.replicates - self.outside.replicates
        low, high = metrics.interval(differences, value) or (None, None)
        there = differences[np.isfinite(differences)]
        p = (int((there <= 0).sum()) + 1) / (len(there) + 1)
        n, groups = len(self.tested.target), self.tested.groups()
        return Measured(of=self.source, value=value, low=low, high=high, p=p, n=n, groups=groups)

    def detail(self) -> dict[str, Any]:
        told = {"source": self.source, "labels": list(self.labels), "n": len(self.tested.target)}
        return told | {"inside": self.inside.plain, "outside": self.outside.plain, "roc": roc_of(self.tested)}


def ask_unseen_source(subject: Subject) -> Finding:
    """7: the model's own films of sources it never saw; of a model without such, a probe with one source kept out."""
    question = QUESTIONS["unseen-source"]
    own = _own_elsewhere(subject)
    parts = [own] if own else list(_probed_elsewhere(subject))
    if not parts:
        return skipped(question, _why_no_source(subject.films, subject.classes))
    told = sorted(((part, part.measured()) for part in parts), key=lambda pair: pair[1].value, reverse=True)
    worst, one = told[0]
    who = "The model" if own else "A probe trained without it"
    says = (
        f"{who} loses {figure(one.value, one.low, one.high)} of its AUROC on {worst.source}: "
        f"{worst.outside} there, {worst.inside} among the sources trained on."
    )
    details = {
        "unseen": worst.outside.plain | {"n": len(worst.tested.target)},
        "by": "model" if own else "probe",
        "sources": [part.detail() for part, _ in told],
    }
    return found(question, [measured for _, measured in told], says, details=details)


def _own_elsewhere(subject: Subject) -> _Elsewhere | None:
    folds = set(subject.predictions["fold"])
    if not {"test", "external"} <= folds:
        return None
    inside, outside = (_arranged(subject, fold) for fold in ("test", "external"))
    told = subject.predictions["image_id"][subject.predictions["fold"] == "external"]
    sources = sorted(subject.by_id[ORIGIN].reindex(told).dropna().unique())
    return _compared(" and ".join(sources), inside, outside, subject.resamples)


def _arranged(subject: Subject, fold: str) -> Predicted:
    part = subject.predictions[subject.predictions["fold"] == fold]
    return arranged(part, subject.by_id, subject.classes, fold)[0]


def _compared(source: str, inside: Predicted, outside: Predicted, resamples: int) -> _Elsewhere | None:
    """Both AUROCs, of the labels that both have groups enough of; None where these are fewer than two."""
    shared = [c for c in range(len(inside.classes)) if min(_groups(one, c) for one in (inside, outside)) >= FEWEST]
    if len(shared) < 2:
        return None
    parts = [one.only(np.isin(one.target, shared)) for one in (inside, outside)]
    parts = [replace(one, group=np.unique(one.group, return_inverse=True)[1]) for one in parts]
    # Two streams of resamples: films inside and outside are other films.
    counts = [metrics.resampled_groups(one.groups(), resamples, seed) for seed, one in enumerate(parts)]
    areas = [area_of(one, count) for one, count in zip(parts, counts, strict=True)]
    return _Elsewhere(source, tuple(inside.classes[c] for c in shared), areas[0], areas[1], parts[1])


def _groups(tested: Predicted, label: int) -> int:
    return tested.groups(tested.target == label)


def _probed_elsewhere(subject: Subject) -> Iterator[_Elsewhere]:
    films = some_films(subject.films, MOST_FILMS)
    probing = Probing(subject, films, subject.classes)
    for source in _to_keep_out(films, subject.classes):
        plan = SplitPlan(method="kfold", folds=FOLDS, tune=0.0, hold_out_sources=(source,))
        made = probing.tried(make_splits(films.assign(source=films[ORIGIN]), plan), "none")
        # Each fold's probe judges the whole source: five repeats, whose AUROCs are averaged.
        outside = made["fold"] == "external"
        made["repeat"] = made["repeat"].where(~outside, made["division"].astype(int))
        inside, kept_out = (probing.predicted(made, fold)[0] for fold in ("test", "external"))
        compared = _compared(source, inside, kept_out, subject.resamples)
        if compared is not None:
            yield compared


def _to_keep_out(films: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """Sources with two labels or more, without which every label is left; the largest first."""
    once = films.drop_duplicates(["group_id", ORIGIN, TARGET])
    groups = pd.crosstab(once[ORIGIN], once[TARGET])
    groups = groups.reindex(columns=list(classes), fill_value=0)
    there = (groups >= FEWEST).sum(axis=1) >= 2
    left = ((groups.sum() - groups) >= max(FEWEST, FOLDS)).all(axis=1)
    kept = groups[there & left].sum(axis=1).sort_values(ascending=False, kind="stable")
    return [str(name) for name in kept.index[:MOST_SOURCES]]


def _why_no_source(films: pd.DataFrame, classes: Sequence[str]) -> str:
    if films[ORIGIN].nunique() < 2:
        return f"all films come from one source by name, {films['source'].iloc[0]}"
    alone = [name for name in classes if films[ORIGIN][films[TARGET] == name].drop_duplicates().size == 1]
    if alone:
        return f"all films of {' and of '.join(alone)} come from one source each: without it there is nothing to learn"
    return f"no source has {FEWEST} groups of two labels and leaves as many of each label to others"

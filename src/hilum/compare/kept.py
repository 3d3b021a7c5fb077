"""What runs make of the domains they were kept from: a figure a domain, means, paired differences, an honest choice.

The mean is over domains, each counting the same, however many films it has. Resamples draw groups with replacement
within each domain, so an interval holds the chance of the films and not that of the choice of domains, of which there
are too few to resample. Every run is drawn alike: where films are the same, differences of means are paired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hilum import metrics, scoring
from hilum.compare.training import FEWEST_GROUPS, Without, inside_films
from hilum.evaluate import Score, arranged, find_score
from hilum.metrics import Counts, Floats
from hilum.predict import DECIDES
from hilum.run import Run
from hilum.scoring import Predicted


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One run on the films of the domain it was kept from."""

    without: Without
    films: int = 0
    groups: int = 0
    area: Score | None = None
    """AUROC, macro AUROC of more than two classes; None where a class has fewer than `FEWEST_GROUPS` groups."""
    shares: tuple[Score, ...] = ()
    """In place of an AUROC: sensitivity or specificity at the run's threshold, or recall, of the classes that have as
    many groups. Never averaged."""
    tested: Predicted | None = None
    ids: tuple[str, ...] = ()
    """The films of `tested`, in its order."""

    @property
    def domain(self) -> str:
        return self.without.domain


@dataclass(frozen=True, kw_only=True)
class KeptOut:
    """A variant's runs without a domain each."""

    parts: tuple[Kept, ...]
    mean: Score | None = None
    """Over the comparison's `domains`; n = their films."""
    difference: Score | None = None
    """The mean minus the first variant's, over the domains in which both tested the same films."""
    paired: tuple[str, ...] = ()
    """These domains."""

    def find(self, domain: str) -> Kept | None:
        return next((part for part in self.parts if part.domain == domain), None)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a choice by kept-out domains is worth."""

    best: str
    """The run with the highest mean."""
    mean: Score
    """Its mean: optimistic, for the very domains chose it."""
    nested: Score
    """Mean over domains of what the run that is best on the others reaches; resamples choose anew."""
    by_domain: Mapping[str, tuple[str, float]]
    """Domain -> the run that is best on the others, and its figure here."""


def judge_kept(without: Without, inside: Run) -> Kept:
    """Score a run on the films of the domain it was kept from.

    Films that the inside run does not train on either (`split.hold_out_sources` and the like) are left out.
    """
    run = without.run
    if run is None:
        return Kept(without=without)
    known = inside_films(run, inside)
    theirs = known.loc[known["domain"] == without.domain, "image_id"]
    external = run.predictions[run.predictions["fold"] == "external"]
    table = external[external["image_id"].isin(theirs)].sort_values("image_id", ignore_index=True)
    tested, films = arranged(table, run.index.films.set_index("image_id"), run.recipe.class_names, "external")
    counts = metrics.resampled_groups(tested.groups(), run.recipe.judgement.resamples)
    many = [tested.groups(tested.target == c) >= FEWEST_GROUPS for c in range(len(tested.classes))]
    return Kept(
        without=without,
        films=len(tested.target),
        groups=tested.groups(),
        area=_area(tested, counts) if all(many) else None,
        shares=() if all(many) else _shares(tested, table, many, counts),
        tested=tested,
        ids=tuple(map(str, films.index)),
    )


def _area(tested: Predicted, counts: Counts) -> Score | None:
    scores = scoring.ranking_scores(tested, counts)
    if len(tested.classes) == 2:
        return find_score(scores, "auroc", label=tested.classes[0], fold=tested.fold)
    return find_score(scores, "macro_auroc", fold=tested.fold)


def _shares(tested: Predicted, table: pd.DataFrame, many: Sequence[bool], counts: Counts) -> tuple[Score, ...]:
    """How often films of the classes that have enough of them are called right."""
    if len(tested.classes) > 2:
        found = scoring.decision_scores(tested, counts)
        labels = [name for name, enough in zip(tested.classes, many, strict=True) if enough]
        recalls = (find_score(found, "recall", label=name, fold=tested.fold) for name in labels)
        return tuple(score for score in recalls if score is not None)
    positive = tested.classes[0]
    threshold = table.get(f"t.{positive}.{DECIDES}", pd.Series(0.5, table.index))
    called = (table[f"p.{positive}"] >= threshold).to_numpy(dtype=bool)
    found = scoring.point_scores(tested, 0, DECIDES, [called], counts)
    wanted = [name for name, enough in zip(("sensitivity", "specificity"), many, strict=True) if enough]
    return tuple(score for score in found if score.metric in wanted)


def common_domains(rows: Sequence[Sequence[Kept]]) -> tuple[str, ...]:
    """Domains with an AUROC in every variant that has one anywhere, in alphabetical order: those means are over."""
    measured = [{part.domain for part in parts if part.area is not None} for parts in rows]
    able = [domains for domains in measured if domains]
    return tuple(sorted(set.intersection(*able))) if able else ()


@dataclass(frozen=True)
class _Area:
    """The area of one run on one domain: its value, and that of every resample (R,)."""

    kept: Kept
    value: float
    replicates: Floats


def kept_out(rows: Sequence[Sequence[Kept]], domains: Sequence[str], resamples: int) -> list[KeptOut]:
    """Each variant's means over the domains and what they add to the first variant's.

    Args:
        rows: of each variant its runs without a domain.
        domains: from `common_domains`.
        resamples: of groups, within each domain.
    """
    areas = [_areas(parts, domains, resamples) for parts in rows]
    found = []
    for parts, theirs in zip(rows, areas, strict=True):
        difference, paired = _difference(areas[0], theirs)
        found.append(
            KeptOut(parts=tuple(parts), mean=_mean(theirs) if theirs else None, difference=difference, paired=paired)
        )
    return found


def _areas(parts: Sequence[Kept], domains: Sequence[str], resamples: int) -> dict[str, _Area]:
    """Of every domain, or of none where the variant lacks one. Each domain has draws of its own, alike in all runs."""
    measured = {part.domain: part for part in parts if part.area is not None}
    if not set(domains) <= set(measured):
        return {}
    found = {}
    for place, domain in enumerate(domains, 1):
        kept = measured[domain]
        if kept.tested is not None and kept.area is not None and kept.area.value is not None:
            counts = metrics.resampled_groups(kept.tested.groups(), resamples, seed=place)
            found[domain] = _Area(kept, kept.area.value, _replicates(kept.tested, kept.area.metric, counts))
    return found


def _replicates(tested: Predicted, metric: str, counts: Counts) -> Floats:
    figures, of = scoring.ranking_family(tested)
    column = next(place for place, figure in enumerate(figures) if figure.score.metric == metric)
    made: Floats = metrics.bootstrap(
        counts, [(of(tested.target[rows], p), tested.group[rows]) for rows, p in tested.repeats]
    )
    return made[:, column]


def _mean(areas: Mapping[str, _Area]) -> Score:
    values = np.array([area.value for area in areas.values()])
    replicates = np.mean([area.replicates for area in areas.values()], axis=0)
    return _score(list(areas.values()), float(values.mean()), replicates, units=_pairs(areas))


def _pairs(areas: Mapping[str, _Area]) -> int:
    """The fewest disjoint pairs of groups of two classes in any domain: what bounds a mean without an error."""
    tested = [area.kept.tested for area in areas.values() if area.kept.tested is not None]
    return min(one.groups(one.target == c) for one in tested for c in range(len(one.classes)))


def _score(areas: Sequence[_Area], value: float, replicates: Floats, units: int = 0) -> Score:
    """A figure over several domains, named as that of the first."""
    low, high = metrics.interval(replicates, value, units) or (None, None)
    first = areas[0].kept.area
    n = sum(area.kept.films for area in areas)
    label = first.label if first else None
    metric = first.metric if first else "auroc"
    return Score(metric=metric, value=value, low=low, high=high, n=n, label=label, fold="external")


def _difference(first: Mapping[str, _Area], other: Mapping[str, _Area]) -> tuple[Score | None, tuple[str, ...]]:
    """`difference` and `paired` of `KeptOut`; none of the first itself."""
    alike = (
        [] if first is other else [name for name in first if name in other and _same_films(first[name], other[name])]
    )
    if not alike:
        return None, ()
    values = [other[name].value - first[name].value for name in alike]
    replicates = np.mean([other[name].replicates - first[name].replicates for name in alike], axis=0)
    score = _score([other[name] for name in alike], float(np.mean(values)), replicates)
    return score, tuple(alike)


def _same_films(one: _Area, other: _Area) -> bool:
    a, b = one.kept.tested, other.kept.tested
    if a is None or b is None or one.kept.ids != other.kept.ids or a.classes != b.classes:
        return False
    return np.array_equal(a.target, b.target) and np.array_equal(a.group, b.group)


def choose(kept: Mapping[str, KeptOut], domains: Sequence[str], resamples: int) -> Choice | None:
    """The variant with the highest mean, and what so choosing reaches on a domain that had no part in it.

    Args:
        kept: run -> what it makes of the domains; runs without a mean are left aside.
        domains: from `common_domains`; with fewer than two no choice can be checked.
        resamples: of groups, within each domain.
    """
    areas = {name: _areas(row.parts, domains, resamples) for name, row in kept.items()}
    areas = {name: found for name, found in areas.items() if found}
    if len(areas) < 2 or len(domains) < 2:
        return None
    names = list(areas)
    values = np.array([[areas[name][domain].value for domain in domains] for name in names])
    replicates = np.array([[areas[name][domain].replicates for domain in domains] for name in names])
    place = int(values.mean(axis=1).argmax())
    nested, chosen = _nested(values)
    picked = [areas[names[row]][domain] for row, domain in zip(chosen.tolist(), domains, strict=True)]
    return Choice(
        best=names[place],
        mean=_mean(areas[names[place]]),
        nested=_score(picked, float(nested.mean()), _nested(replicates)[0].mean(axis=0)),
        by_domain={domain: (names[row], area.value) for domain, row, area in zip(domains, chosen, picked, strict=True)},
    )


def _nested(areas: Floats) -> tuple[Floats, metrics.Ints]:
    """Of areas (V, D, ...) those (D, ...) of the variant that is best on the mean of the other domains, and which."""
    others = areas.sum(axis=1, keepdims=True) - areas
    chosen = others.argmax(axis=0)
    return np.take_along_axis(areas, chosen[None], axis=0)[0], chosen

"""What a comparison says: each run's figures, what each adds to the first on the same films, the spread over seeds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hilum import metrics, scoring
from hilum.compare.kept import Choice, KeptOut, choose, common_domains, judge_kept, kept_out
from hilum.compare.planning import Variant
from hilum.compare.training import Without, inside_films
from hilum.evaluate import FOLDS, Evaluation, Score, arranged, best_floor, find_score
from hilum.files import digest_of
from hilum.recipe import Recipe
from hilum.run import Run

MEASURES = ("accuracy", "macro_f1", "auroc")
"""What runs are compared by; `auroc` is that of the positive class of two, the macro AUROC of more."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One run of a comparison."""

    variant: Variant
    run: Run
    fold: str
    """`test`; `external` where the run tested on no other films."""
    scores: Mapping[str, Score | None]
    """`MEASURES` -> figure with interval."""
    differences: Mapping[str, Score] | None
    """`MEASURES` -> this run's figure minus the first run's, paired; None where `apart` says why."""
    apart: str | None
    floor: Score | None
    """The highest shortcut floor on the run's own folds."""
    tune_loss: float | None
    """At the best epoch, mean over divisions."""
    weights: str
    trained: int
    """Parameters fitted, in any stage."""
    parameters: int
    seconds: float
    kept: KeptOut | None = None
    """What it makes of domains it was kept from; None where none was kept out."""
    verdict: str | None = None
    """Its audit's; None before an audit."""
    control: bool = False
    """Shown beside the others and never chosen."""

    @property
    def evaluation(self) -> Evaluation:
        return self.run.evaluation

    @property
    def above(self) -> float | None:
        """What the AUROC adds to the floor."""
        score, floor = self.scores["auroc"], self.floor
        if score is None or score.value is None or floor is None or floor.value is None:
            return None
        return score.value - floor.value


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Runs that differ in `schedule.seed` alone."""

    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    mean: Mapping[str, float]
    """`MEASURES` -> mean over the runs."""
    deviation: Mapping[str, float]
    """Standard deviation over the runs, with n - 1."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs side by side, in the order they were asked for."""

    rows: tuple[Compared, ...]
    seeds: tuple[Seeds, ...]
    chosen: str | None
    """The run with the lowest tune loss; None where tune losses cannot be compared."""
    notes: tuple[str, ...]
    domains: tuple[str, ...] = ()
    """Kept-out domains with an AUROC in every run: means are over these."""
    choice: Choice | None = None
    """By kept-out domains; None where fewer than two runs or two domains allow one."""

    @property
    def kept_domains(self) -> tuple[str, ...]:
        """Every domain that was kept out, in the order it was asked for."""
        return tuple(dict.fromkeys(part.domain for row in self.rows if row.kept for part in row.kept.parts))

    @property
    def names(self) -> dict[str, str]:
        """Run -> how figures and tables call it: by its recipe where there are several, and by what was varied."""
        return {row.variant.name: self._name(row.variant) for row in self.rows}

    def name_of(self, seeds: Seeds) -> str:
        """What runs that differ in their seed are called together."""
        variants = [row.variant for row in self.rows if row.variant.name in seeds.runs]
        others = [{key: value for key, value in one.varied.items() if key != "schedule.seed"} for one in variants]
        names = (self._name(replace(one, varied=varied)) for one, varied in zip(variants, others, strict=True))
        return ", ".join(dict.fromkeys(names))

    def _name(self, variant: Variant) -> str:
        several = len({row.variant.recipe for row in self.rows}) > 1
        parts = [variant.recipe] if several or not variant.varied else []
        return ", ".join([*parts, *filter(None, [variant.says])])


def judge_runs(
    variants: Sequence[Variant],
    runs: Sequence[Run],
    without: Sequence[Sequence[Without]] = (),
    *,
    controls: Collection[str] = (),
) -> Comparison:
    """Put finished runs side by side.

    Args:
        variants: what each run was made from.
        runs: in the same order; the first is what the others are compared with.
        without: of each variant its runs without a domain, from `train_without`.
        controls: names of variants that are shown and never chosen.
    """
    rows = [_judged(variant, run, runs[0]) for variant, run in zip(variants, runs, strict=True)]
    rows = [replace(row, control=row.variant.name in controls) for row in rows]
    kept = [[judge_kept(one, run) for one in theirs] for theirs, run in zip(without, runs, strict=bool(without))]
    domains, resamples = common_domains(kept), runs[0].recipe.judgement.resamples
    if kept:
        rows = [replace(row, kept=one) for row, one in zip(rows, kept_out(kept, domains, resamples), strict=True)]
    unlike = _tune_unlike(runs)
    chosen = None if unlike else _chosen_on_tune(rows)
    return Comparison(
        rows=tuple(rows),
        seeds=tuple(_over_seeds(rows)),
        chosen=chosen.variant.name if chosen else None,
        notes=(*_notes(rows, unlike), *_kept_notes(rows, domains)),
        domains=domains,
        choice=_choice(rows, domains, resamples),
    )


def _chosen_on_tune(rows: Sequence[Compared]) -> Compared | None:
    able = [row for row in rows if not row.control]
    there = [row for row in able if row.tune_loss is not None]
    return min(there, key=lambda row: row.tune_loss or 0.0) if there and len(there) == len(able) else None


def _choice(rows: Sequence[Compared], domains: Sequence[str], resamples: int) -> Choice | None:
    if len({row.run.recipe.class_names for row in rows}) > 1:
        return None
    able = {row.variant.name: row.kept for row in rows if row.kept and not row.control}
    return choose(able, domains, resamples)


def _judged(variant: Variant, run: Run, first: Run) -> Compared:
    evaluation, recipe = run.evaluation, run.recipe
    fold = _fold(run)
    differences, apart = _differences(first, run)
    account = run.account
    origin = account["weights"]
    return Compared(
        variant=variant,
        run=run,
        fold=fold,
        scores={measure: _score(evaluation.scores, measure, recipe, fold) for measure in MEASURES},
        differences=differences,
        apart=apart,
        floor=best_floor(evaluation.floors),
        tune_loss=_tune_loss(run.history),
        weights=": ".join(part for part in (origin["kind"], origin["detail"]) if part),
        trained=account["parameters"]["trained"],
        parameters=account["parameters"]["all"],
        seconds=float(sum(account["seconds"].values())),
    )


def _fold(run: Run) -> str:
    tested = set(run.predictions["fold"])
    return next(fold for fold in FOLDS if fold in tested)


def _score(scores: Sequence[Score], measure: str, recipe: Recipe, fold: str) -> Score | None:
    if measure != "auroc":
        return find_score(scores, measure, fold=fold)
    if len(recipe.classes) == 2:
        return find_score(scores, measure, label=recipe.class_names[0], fold=fold)
    return find_score(scores, "macro_auroc", fold=fold)


def _differences(first: Run, other: Run) -> tuple[dict[str, Score] | None, str | None]:
    """Paired differences to the first run, or why there are none."""
    if other is first:
        return None, "the first run"
    if other.recipe.class_names != first.recipe.class_names:
        return None, "other classes"
    fold = _fold(first)
    tested = [_tested(run, fold) for run in (first, other)]
    keys = ["repeat", "image_id", "reference"]
    if not tested[0][keys].equals(tested[1][keys]):
        return None, "tested on other films"
    films = first.index.films.set_index("image_id")
    one, two = (arranged(table, films, first.recipe.class_names, fold)[0] for table in tested)
    counts = metrics.resampled_groups(one.groups(), first.recipe.judgement.resamples)
    scores = scoring.paired(one, two, counts)
    found = {measure: _score(scores, measure, first.recipe, fold) for measure in MEASURES}
    return {measure: score for measure, score in found.items() if score is not None}, None


def _tested(run: Run, fold: str) -> pd.DataFrame:
    """A fold's predictions in an order that does not depend on the divisions."""
    table = run.predictions[run.predictions["fold"] == fold]
    return table.sort_values(["repeat", "image_id"], ignore_index=True)


def _tune_loss(history: pd.DataFrame) -> float | None:
    """The lowest tune loss of each division, averaged; None without tune films."""
    lowest = history.groupby(["repeat", "division"])["tune_loss"].min()
    return None if lowest.isna().any() else float(lowest.mean())


def _tune_unlike(runs: Sequence[Run]) -> str | None:
    """Why the runs' tune losses cannot be compared; None where they can."""
    if len({run.recipe.class_names for run in runs}) > 1:
        return "the runs have other classes"
    for key in ("class_weights", "balance", "robust"):
        if len({getattr(run.recipe.schedule, key) for run in runs}) > 1:
            return f"schedule.{key} differs, which weighs the loss"
    folds = [{(s.name, *sorted(s.table["image_id"][s.table["fold"] == "tune"])) for s in run.splits} for run in runs]
    return None if all(fold == folds[0] for fold in folds) else "the runs have other tune films"


def _over_seeds(rows: Sequence[Compared]) -> list[Seeds]:
    alike: dict[str, list[Compared]] = {}
    for row in rows:
        told = row.run.recipe.model_dump(mode="json")
        del told["schedule"]["seed"]
        alike.setdefault(digest_of(told), []).append(row)
    return [_spread(found) for found in alike.values() if len(found) > 1]


def _spread(rows: Sequence[Compared]) -> Seeds:
    values: dict[str, list[float]] = {}
    for measure in MEASURES:
        scores = [row.scores[measure] for row in rows]
        known = [score.value for score in scores if score is not None and score.value is not None]
        if len(known) == len(rows):
            values[measure] = known
    return Seeds(
        runs=tuple(row.variant.name for row in rows),
        seeds=tuple(row.run.recipe.schedule.seed for row in rows),
        mean={measure: float(np.mean(known)) for measure, known in values.items()},
        deviation={measure: float(np.std(known, ddof=1)) for measure, known in values.items()},
    )


def _notes(rows: Sequence[Compared], unlike: str | None) -> list[str]:
    notes = []
    if len(rows) > 2:
        notes.append(
            "The best of several test scores is an optimistic number: nothing here is ranked by test score. "
            "Choose on the tune fold or on kept-out domains, then report that run's score whatever it is."
        )
    if unlike:
        notes.append(f"No run is chosen on the tune fold: {unlike}, so tune losses cannot be compared.")
    strangers = [f"{row.variant.name} ({row.apart})" for row in rows[1:] if row.apart]
    if strangers:
        notes.append(f"Not paired with the first run: {', '.join(strangers)}.")
    if any(row.floor is None for row in rows):
        notes.append("Shortcut floors were not measured for every run.")
    return notes


def _kept_notes(rows: Sequence[Compared], domains: Sequence[str]) -> list[str]:
    parts = [part for row in rows if row.kept for part in row.kept.parts]
    if not parts:
        return []
    names = dict.fromkeys(part.domain for part in parts)
    single = [name for name in names if any(part.domain == name and part.shares for part in parts)]
    notes = []
    if single:
        notes.append(
            f"Too few groups of a class, so no AUROC, in: {', '.join(single)}. Sensitivity or specificity at the run's "
            "threshold stands in its place and is not averaged."
        )
    failed = {f"{part.without.variant.name} ({part.without.failed})" for part in parts if part.without.failed}
    if failed:
        notes.append(f"Not trained: {'; '.join(sorted(failed))}.")
    told = inside_films(rows[0].run, rows[0].run)["domain"]
    rest = sorted({str(name) for name in told.unique()} - set(names))
    if rest:
        notes.append(f"Domains never kept out: {len(rest)}, with {told.isin(rest).sum()} of {len(told)} films.")
    if len(domains) == 1:
        notes.append(f"One kept-out domain ({domains[0]}) has an AUROC: it stands for no other.")
    return notes

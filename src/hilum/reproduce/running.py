"""Make the runs that the published figures ask for, and read their figures."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import DataError, HilumError
from hilum.evaluate import headline_score
from hilum.parallel import Progress, Watch, unwatched
from hilum.reproduce.published import Plan, Published
from hilum.run import EVERYWHERE, Run, train_run
from hilum.scoring import Score, best_floor, find_score

RUNS = "runs"
CALLED = "called:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A published figure and ours, or why there is none of ours."""

    published: Published
    plan: Plan
    ours: Score | None = None
    headline: Score | None = None
    """The run's AUROC, which the floor is held against."""
    floor: Score | None = None
    weights: str = ""
    why_not: tuple[str, ...] = ()
    """Why each of the runs that would have given a figure could not be made."""


def reproduce(
    rows: Sequence[tuple[Published, Plan, Plan | None]],
    root: Path,
    out: Path,
    *,
    processes: int | None = None,
    watch: Watch = unwatched,
) -> list[Outcome]:
    """Run what can be run, each run once and in `out/runs/NAME`; finished ones are not run again.

    Args:
        rows: from `load_published`.
        root: folder the data sets lie in.
        out: folder of the runs.
        processes: how many decode at once.
        watch: told of every stage, with the run's name before it.
    """
    tried: dict[str, Run | str] = {}
    outcomes = []
    for published, plan, instead in rows:
        told = [_tried(one, root, out, tried, processes, watch) for one in (plan, instead) if one is not None]
        made = next(((one, run) for one, run in told if isinstance(run, Run)), None)
        if made is None:
            reasons = tuple(f"{one.recipe}: {why}" for one, why in told)
            outcomes.append(Outcome(published=published, plan=plan, why_not=reasons))
        else:
            outcomes.append(_outcome(published, *made))
    return outcomes


def _tried(
    plan: Plan, root: Path, out: Path, tried: dict[str, Run | str], processes: int | None, watch: Watch
) -> tuple[Plan, Run | str]:
    """The plan's run, or why it cannot be made."""
    if plan.name not in tried:

        def named(stage: str) -> AbstractContextManager[Progress]:
            return watch(f"{plan.name}: {stage}")

        try:
            run = train_run(plan.text, root, out / RUNS / plan.name, processes=processes, watch=named)
            tried[plan.name] = run
        except (HilumError, OSError) as error:
            tried[plan.name] = str(error)
    return plan, tried[plan.name]


def _outcome(published: Published, plan: Plan, run: Run) -> Outcome:
    called = published.metric.removeprefix(CALLED)
    evaluation = run.evaluation
    if called != published.metric:
        ours = _called(run, str(published.shown), called)
    else:
        ours = find_score(evaluation.scores, published.metric, label=published.label, fold=published.fold)
    if ours is None:
        raise DataError(f"run {plan.name} measured no {published.metric} of {published.label or 'all classes'}")
    return Outcome(
        published=published,
        plan=plan,
        ours=ours,
        headline=headline_score(evaluation),
        floor=best_floor(evaluation.floors),
        weights=_weights(run),
    )


def _called(run: Run, shown: str, called: str) -> Score | None:
    """The share of the films of an unseen class, from all sources, that is called one of the classes."""
    if run.unseen is None:
        return None
    table = run.unseen
    found = table[(table["shown"] == shown) & (table["called"] == called) & (table["source"] == EVERYWHERE)]
    if found.empty:
        return None
    row = found.iloc[0]
    return Score(
        metric=f"{CALLED}{called}",
        value=float(row["share"]),
        low=float(row["low"]),
        high=float(row["high"]),
        n=int(row["n_films"]),
        label=shown,
        fold="unseen",
    )


def _weights(run: Run) -> str:
    told = run.account["weights"]
    network = run.recipe.network
    part = "trained from " + (network.train_from or f"module {network.freeze_first}") if network.trains_backbone else ""
    part = part or ("then fine-tuned" if run.recipe.finetuning.epochs else "frozen")
    return f"{network.backbone}, {told['kind']}, {part}"

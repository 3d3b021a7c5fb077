"""From a recipe and a folder of films to an evaluated bundle; whatever a run's folder holds already is not redone."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from hilum.bundle import WEIGHTS, Bundle, save_bundle
from hilum.bundle.exporting import try_export
from hilum.cache import ArrayView
from hilum.engine.eager import TorchEngine
from hilum.errors import HilumError
from hilum.evaluate import Score, evaluate, headline, save_evaluation, scores_table
from hilum.files import digest_of, write_json, written_aside
from hilum.fitting import DONE, Division, Fitter, fit_together
from hilum.floors import Fold, shortcut_floors
from hilum.index import Index
from hilum.networks import check_weights
from hilum.parallel import Watch, unwatched
from hilum.provenance import describe_machine, describe_versions
from hilum.recipe import Recipe, changes_of, parse_recipe
from hilum.run.films import lungs_account
from hilum.run.folder import UNSEEN, Run
from hilum.run.preparing import check_same_films, final_split, open_run, prepared, timed
from hilum.run.reference import attach_reference
from hilum.run.unseen import score_unseen
from hilum.selection import TARGET, domains_of
from hilum.split import Split
from hilum.train import all_or_none, is_leader, leader_first

THUMBNAIL_PX = 32


@dataclass(frozen=True, kw_only=True)
class Order:
    """A run to be made."""

    text: str
    """The recipe's TOML."""
    root: Path | None
    """Folder the sources lie in; None with `given`."""
    out: Path
    """The run's folder."""
    given: Index | None = None
    """An index to select from, in place of reading the recipe's sources."""
    watch: Watch = unwatched
    """Told of every stage."""
    for_use: bool = True
    """Also make what the bundle is read with elsewhere: its export without torch, and what its intervals are told from.
    A run that is only scored needs neither."""


@dataclass
class _Work:
    """A run under way: which films, decoded, how they are divided, and who fits."""

    order: Order
    run: Run
    watch: Watch
    index: Index
    frames: ArrayView
    splits: list[Split]
    final: Split
    fitter: Fitter
    seconds: dict[str, float]

    @property
    def todo(self) -> list[Split]:
        return self.splits if self.final is self.splits[0] else [*self.splits, self.final]


def train_run(
    text: str,
    root: Path | None,
    out: Path,
    *,
    given: Index | None = None,
    processes: int | None = None,
    watch: Watch = unwatched,
    for_use: bool = True,
) -> Run:
    """Do what a recipe says, or go on where it was interrupted; the arguments are those of `Order` and `train_runs`.

    Raises:
        UsageError: `out` holds a run of another recipe.
    """
    order = Order(text=text, root=root, out=out, given=given, watch=watch, for_use=for_use)
    [(_, made)] = train_runs([order], processes=processes)
    if isinstance(made, HilumError):
        raise made
    return made


def train_runs(
    orders: Sequence[Order], *, processes: int | None = None, go_on: bool = False
) -> Iterator[tuple[int, Run | HilumError]]:
    """Make several runs, or go on where they were interrupted.

    Heads on the same backbone's vectors are fitted in one pass over these, whichever run they belong to, and the floors
    of runs on the same films and divisions are measured once.

    Args:
        orders: what to make.
        processes: how many decode at once.
        go_on: with the others where a run cannot be made; else none is begun after it.

    Yields:
        Each order's place and its run, or why there is none, as they come: those that share vectors one after another.
    """
    floors: dict[str, tuple[Score, ...]] = {}
    for group in _sharing(orders):
        begun: list[tuple[int, _Work | Run | HilumError]] = []
        for place in group:
            beside = next((work.fitter for _, work in begun if isinstance(work, _Work)), None)
            try:
                begun.append((place, _begun(orders[place], processes, beside)))
            except HilumError as error:
                begun.append((place, error))
                if not go_on:
                    break
        _fit_heads([work for _, work in begun if isinstance(work, _Work)])
        for place, work in begun:
            made = _made(work, floors, processes)
            yield place, made
            if isinstance(made, HilumError) and not go_on:
                return


def _made(
    work: _Work | Run | HilumError, floors: dict[str, tuple[Score, ...]], processes: int | None
) -> Run | HilumError:
    if not isinstance(work, _Work):
        return work
    try:
        return _finished(work, floors, processes)
    except HilumError as error:
        return error


def _sharing(orders: Sequence[Order]) -> list[list[int]]:
    """Places of orders whose heads may read the same vectors; of every other order by itself."""
    groups: dict[object, list[int]] = {}
    for place, order in enumerate(orders):
        try:
            recipe = parse_recipe(order.text)
        except HilumError:  # told when its turn comes
            groups[place] = [place]
            continue
        network = recipe.network.model_dump(mode="json", exclude={"hidden", "dropout", "standardise", "project"})
        key = (
            place if recipe.network.trains_backbone else digest_of([network, recipe.preprocess.model_dump(mode="json")])
        )
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _begun(order: Order, processes: int | None, beside: Fitter | None) -> _Work | Run:
    """All that comes before fitting; the run itself where it is finished."""
    with leader_first():
        if not (order.out / "run.json").is_file():  # before an hour of reading films
            network = parse_recipe(order.text).network
            check_weights(network.backbone, network.weights)
        run = open_run(order.text, order.out)
        check_same_films(run, order.given)
        if (order.out / "run.json").is_file():
            return run
        return _prepared(order, run, processes, beside)


def _prepared(order: Order, run: Run, processes: int | None, beside: Fitter | None) -> _Work:
    watch, seconds = order.watch if is_leader() else unwatched, dict[str, float]()
    index, frames, splits = prepared(run, order.root, order.given, processes, watch, seconds)
    final = final_split(run, index.films, splits)
    with timed(seconds, "features"):
        fitter = Fitter(run.recipe, index.films, frames, beside=beside)
        work = _Work(order, run, watch, index, frames, splits, final, fitter, seconds)
        with watch("compute features" if fitter.frozen else "load network") as progress:
            fitter.prepare(work.todo, progress, compared=final)
    return work


def _fit_heads(works: Sequence[_Work]) -> None:
    """Fit the heads of all divisions not yet done; the first run's account tells what that took."""
    waiting = [(work.fitter, [split for split in work.todo if not _done(work, split)]) for work in works]
    if any(fitter.frozen and splits for fitter, splits in waiting):
        with timed(works[0].seconds, "train"), works[0].watch("fit heads") as progress:
            fit_together(waiting)
            progress(1, 1)


def _finished(work: _Work, floors: dict[str, tuple[Score, ...]], processes: int | None) -> Run:
    """All that comes after fitting heads; `floors` remembers what was measured for other runs."""
    with all_or_none():
        with timed(work.seconds, "train"):
            _train(work)
        if is_leader():
            _account(work, floors, processes)
    return work.run


def _account(work: _Work, floors: dict[str, tuple[Score, ...]], processes: int | None) -> None:
    """Evaluate, bundle and say that the run is finished."""
    run, fitter, final, watch, seconds = work.run, work.fitter, work.final, work.watch, work.seconds
    fitter.classifier.load_state_dict(load_file(_place(run, final) / WEIGHTS))
    last = Division.load(_place(run, final))
    with timed(seconds, "evaluate"), watch("evaluate") as progress:
        _judge(work, last, floors)
        progress(1, 1)
    with timed(seconds, "bundle"):
        bundle = _release(run, work.index, fitter, last, final)
    not_exported: dict[str, str] = {}
    if work.order.for_use:
        with timed(seconds, "export"):
            not_exported = try_export(run.folder / "bundle")
        with timed(seconds, "reference"):
            attach_reference(run, films=work.index, processes=processes)
    if run.recipe.unseen:
        unseen = score_unseen(run.recipe, work.index, bundle, final, watch)
        with written_aside(run.folder / UNSEEN) as aside:
            unseen.to_csv(aside, index=False)
    write_json(run.folder / "run.json", {**bundle.provenance, **not_exported, "seconds": seconds})  # finished
    for weights in (run.folder / "divisions").glob(f"*/{WEIGHTS}"):
        weights.unlink()  # the bundle holds them now


def _train(work: _Work) -> None:
    """Fit every division not yet done; the weights of the one to release are kept."""
    with work.watch("train") as progress:
        for number, split in enumerate(work.todo, 1):
            if not _done(work, split):
                _fit(work, split)
            progress(number, len(work.todo))


def _place(run: Run, split: Split) -> Path:
    return run.folder / "divisions" / split.name


def _done(work: _Work, split: Split) -> bool:
    place = _place(work.run, split)
    return (place / DONE).is_file() and (split is not work.final or (place / WEIGHTS).is_file())


def _fit(work: _Work, split: Split) -> None:
    place, fitter = _place(work.run, split), work.fitter
    with nullcontext(None) if fitter.frozen else work.watch(f"train {split.name}") as progress:
        division = fitter.fit(split, checkpoint=place / "checkpoint.pt", progress=progress)
    if not is_leader():
        return
    if split is work.final:
        with written_aside(place / WEIGHTS) as aside:
            save_file({name: value.contiguous() for name, value in fitter.classifier.state_dict().items()}, aside)
    if work.run.recipe.oversampling.copies:
        with written_aside(place / "copies.csv") as aside:
            fitter.copies(split).to_csv(aside, index=False)
    division.save(place)


def _judge(work: _Work, last: Division, floors: dict[str, tuple[Score, ...]]) -> None:
    """Pool what was tested, measure the floors on the same folds, evaluate, save."""
    run, index = work.run, work.index
    tested = [Division.load(_place(run, split)).predictions for split in work.splits]
    tested = [table[table["fold"] == "test"] for table in tested]
    tested.append(last.predictions[last.predictions["fold"] == "external"])
    predictions = pd.concat([table for table in tested if len(table)], ignore_index=True)
    with written_aside(run.folder / "predictions.parquet") as aside:
        predictions.to_parquet(aside, index=False)
    asked = _floors_asked(work)
    if asked not in floors:
        floors[asked] = measure_floors(run.recipe, index.films, work.frames, work.splits)
    evaluation = evaluate(
        predictions,
        index.films,
        classes=run.recipe.class_names,
        operating_points=last.points,
        temperature=last.temperature,
        index_digest=index.digest,
        bundle_digest=None,
        floors=floors[asked],
        resamples=run.recipe.judgement.resamples,
    )
    save_evaluation(evaluation, run.folder / "evaluation.json")
    with written_aside(run.folder / "scores.csv") as aside:
        scores_table(evaluation).to_csv(aside, index=False)


def _floors_asked(work: _Work) -> str:
    """What the floors depend on, in one digest: films, frames, divisions, classes, domains and resamples."""
    recipe = work.run.recipe
    divided = [
        [split.seed, *map(str, split.table["image_id"]), *map(str, split.table["fold"])] for split in work.splits
    ]
    told = [recipe.class_names, recipe.films.domain, recipe.judgement.resamples, recipe.preprocess.geometry_digest]
    return digest_of([work.index.digest, list(work.frames.keys), divided, told])


def measure_floors(
    recipe: Recipe, films: pd.DataFrame, frames: ArrayView, splits: Sequence[Split]
) -> tuple[Score, ...]:
    """What classifiers that never see a lung reach on the very same divisions; a film's source is its domain there."""
    where = pd.Index(films["image_id"])
    repeats: dict[int, list[Fold]] = {}
    for split in splits:
        train, test = (where.get_indexer(split.table["image_id"].iloc[split.rows(fold)]) for fold in ("train", "test"))
        if len(test):
            repeats.setdefault(split.seed, []).append((train, test))
    if not repeats:
        return ()
    return shortcut_floors(
        films.assign(source=domains_of(films, recipe.films.domain)),
        films[TARGET],
        thumbnails(frames),
        repeats=list(repeats.values()),
        classes=recipe.class_names,
        resamples=recipe.judgement.resamples,
    )


def thumbnails(frames: ArrayView, *, at_once: int = 256) -> NDArray[np.uint8]:
    """(N, 32, 32) eight-bit thumbnails of all frames."""
    small = np.empty((len(frames), THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    for start in range(0, len(frames), at_once):
        for row, frame in enumerate(frames[slice(start, start + at_once)], start):
            shrunk = cv2.resize(frame, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
            small[row] = shrunk if shrunk.dtype == np.uint8 else shrunk >> 8
    return small


def _release(run: Run, index: Index, fitter: Fitter, last: Division, final: Split) -> Bundle:
    evaluation, halving, notes = run.evaluation, fitter.halving(final), fitter.notes(final)
    provenance: dict[str, Any] = {
        "versions": describe_versions(),
        "machine": describe_machine(),
        "index_digest": evaluation.index_digest,
        "recipe_digest": run.recipe.digest,
        "weights": asdict(fitter.origin),
        "precision": last.fitted.precision,
        "device": last.fitted.device,
        "best_epoch": last.fitted.best_epoch,
        "seeds": list(run.recipe.split.seeds),
        "parameters": fitter.parameters,
        "changed": changes_of(run.recipe_text),
    }
    if run.recipe.preprocess.masks == "made":
        provenance["lungs"] = lungs_account(index)
    if halving:
        provenance["bfloat16_vectors"] = halving.account
        notes += halving.problems
    if notes:
        provenance["notes"] = notes
    return save_bundle(
        Bundle(
            title=run.recipe.title,
            classes=run.recipe.class_names,
            recipe=run.recipe,
            preprocess=fitter.preprocess,
            engine=TorchEngine(fitter.classifier),
            temperature=last.temperature,
            operating_points=last.points,
            evaluation={
                "headline": headline(evaluation),
                "n_films": evaluation.n_films,
                "n_groups": evaluation.n_groups,
            },
            provenance=provenance,
        ),
        run.folder / "bundle",
    )

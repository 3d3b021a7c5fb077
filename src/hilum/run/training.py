"""From a recipe and a folder of films to an evaluated bundle; whatever a run's folder holds already is not redone."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from hilum.bundle import WEIGHTS, Bundle, save_bundle
from hilum.bundle.exporting import try_export
from hilum.cache import ArrayView, FrameCache
from hilum.engine.eager import TorchEngine
from hilum.errors import UsageError
from hilum.evaluate import Score, evaluate, headline, save_evaluation, scores_table
from hilum.files import write_json, write_text, written_aside
from hilum.fitting import DONE, Division, Fitter
from hilum.floors import Fold, shortcut_floors
from hilum.index import Index, build_index
from hilum.lungs import before_drawing
from hilum.networks import check_weights
from hilum.parallel import Watch, unwatched
from hilum.provenance import describe_machine, describe_versions
from hilum.recipe import Recipe, changes_of, parse_recipe
from hilum.run.films import choose_films, lungs_account, with_lungs
from hilum.run.folder import REFIT, UNSEEN, Run
from hilum.run.reference import attach_reference
from hilum.run.unseen import score_unseen
from hilum.selection import TARGET, domains_of, select_films
from hilum.sources import read_source
from hilum.split import Split, SplitPlan, make_splits
from hilum.train import is_leader, leader_first, wait_for_all

THUMBNAIL_PX = 32


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
    """Do what a recipe says, or go on where it was interrupted.

    Args:
        text: the recipe's TOML.
        root: folder the sources lie in; None with `given`.
        out: the run's folder.
        given: an index to select from, in place of reading the recipe's sources.
        processes: how many decode at once.
        watch: told of every stage.
        for_use: also make what the bundle is read with elsewhere: its export without torch, and what its intervals are
            told from. A run that is only scored needs neither.

    Raises:
        UsageError: `out` holds a run of another recipe.
    """
    if not (out / "run.json").is_file():  # before an hour of reading films
        network = parse_recipe(text).network
        check_weights(network.backbone, network.weights)
    run = _open(text, out)
    _check_same_films(run, given)
    if (out / "run.json").is_file():
        return run
    seconds: dict[str, float] = {}
    with leader_first():
        index, frames, splits = _prepared(run, root, given, processes, watch, seconds)
        final = _final(run, index.films, splits)
        todo = splits if final is splits[0] else [*splits, final]
        with _timed(seconds, "features"):
            fitter = Fitter(run.recipe, index.films, frames)
            with watch("compute features" if fitter.frozen else "load network") as progress:
                fitter.prepare(todo, progress)
    with _timed(seconds, "train"):
        _train(run, fitter, todo, final, watch)
    if is_leader():
        fitter.classifier.load_state_dict(load_file(_place(run, final) / WEIGHTS))
        last = Division.load(_place(run, final))
        with _timed(seconds, "evaluate"), watch("evaluate") as progress:
            _judge(run, index, frames, splits, last)
            progress(1, 1)
        with _timed(seconds, "bundle"):
            bundle = _release(run, index, fitter, last, fitter.notes(final))
        not_exported: dict[str, str] = {}
        if for_use:
            with _timed(seconds, "export"):
                not_exported = try_export(run.folder / "bundle")
            with _timed(seconds, "reference"):
                attach_reference(run, films=index, processes=processes)
        if run.recipe.unseen:
            unseen = score_unseen(run.recipe, index, bundle, final, watch)
            with written_aside(out / UNSEEN) as aside:
                unseen.to_csv(aside, index=False)
        account = {**bundle.provenance, **not_exported, "seconds": seconds}
        write_json(out / "run.json", account)  # says that the run is finished
        for weights in (out / "divisions").glob(f"*/{WEIGHTS}"):
            weights.unlink()  # the bundle holds them now
    wait_for_all()
    return Run(out)


def _open(text: str, out: Path) -> Run:
    recipe = parse_recipe(text)
    file = out / "recipe.toml"
    begun = (out / "index.parquet").is_file()
    if begun and file.is_file() and Run(out).recipe.digest != recipe.digest:
        raise UsageError(f"{out} holds a run of another recipe; choose another --out or remove that folder")
    write_text(file, text)
    return Run(out)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 2)


def _check_same_films(run: Run, given: Index | None) -> None:
    """Refuse to go on with other films than a run began with."""
    file = run.folder / "index.parquet"
    if given is None or not file.is_file():
        return
    if select_films(given, run.recipe).digest != before_drawing(Index.load(file)).digest:
        raise UsageError(f"{run.folder} holds a run on other films; choose another --out or remove that folder")


def _prepared(
    run: Run, root: Path | None, given: Index | None, processes: int | None, watch: Watch, seconds: dict[str, float]
) -> tuple[Index, ArrayView, list[Split]]:
    """Which films, decoded, and how they are divided."""
    with _timed(seconds, "index"):
        index = _indexed(run, root, given, processes, watch)
        splits = _splits(run, index.films)
    with _timed(seconds, "decode"), watch("decode films") as progress:
        cache = FrameCache(run.recipe.preprocess)
        cache.fill(index.films, index.root, processes=processes, progress=progress)
    return index, cache.view(index.films, index.root), splits


def _indexed(run: Run, root: Path | None, given: Index | None, processes: int | None, watch: Watch) -> Index:
    """The run's index with targets: as saved, or selected from the given one or from the recipe's sources."""
    file = run.folder / "index.parquet"
    if file.is_file():
        begun = Index.load(file, root=given.root if given else root)
        drawn = with_lungs(begun, run.recipe, processes=processes, watch=watch)
        if drawn.digest != begun.digest:
            raise UsageError(
                f"{run.folder} holds a run begun with lungs that another bundle drew; choose another --out or remove "
                "that folder"
            )
        return drawn
    index = given or _read_sources(run.recipe, root, processes, watch)
    chosen = choose_films(index, run.recipe, processes=processes, watch=watch)
    chosen.save(file)
    return chosen


def _read_sources(recipe: Recipe, root: Path | None, processes: int | None, watch: Watch) -> Index:
    if root is None or not recipe.films.sources:
        raise UsageError("the recipe names no sources; give an index of your films with --index FILE")
    records = [record for source in recipe.films.sources for record in read_source(source, root)]
    with watch("check films") as progress:
        return build_index(records, root, processes=processes, progress=progress)


def _splits(run: Run, films: pd.DataFrame) -> list[Split]:
    """The recipe's divisions in their order: as saved where they were, for a person may have changed a file."""
    folder = run.folder / "splits"
    splits = []
    for made in make_splits(films, run.recipe.split, domains=domains_of(films, run.recipe.films.domain)):
        file = folder / f"{made.name}.csv"
        if not file.is_file():
            made.save(folder)
        splits.append(Split.load(file))
    return splits


def _train(run: Run, fitter: Fitter, todo: Sequence[Split], final: Split, watch: Watch) -> None:
    """Fit every division not yet done; the weights of the one to release are kept."""
    with watch("train") as progress:
        for number, split in enumerate(todo, 1):
            _fit(run, fitter, split, watch, keep_weights=split is final)
            progress(number, len(todo))


def _place(run: Run, split: Split) -> Path:
    return run.folder / "divisions" / split.name


def _fit(run: Run, fitter: Fitter, split: Split, watch: Watch, *, keep_weights: bool) -> None:
    place = _place(run, split)
    if (place / DONE).is_file() and (not keep_weights or (place / WEIGHTS).is_file()):
        return
    with nullcontext(None) if fitter.frozen else watch(f"train {split.name}") as progress:
        division = fitter.fit(split, checkpoint=place / "checkpoint.pt", progress=progress)
    if not is_leader():
        return
    if keep_weights:
        with written_aside(place / WEIGHTS) as aside:
            save_file({name: value.contiguous() for name, value in fitter.classifier.state_dict().items()}, aside)
    if run.recipe.oversampling.copies:
        with written_aside(place / "copies.csv") as aside:
            fitter.copies(split).to_csv(aside, index=False)
    division.save(place)


def _final(run: Run, films: pd.DataFrame, splits: Sequence[Split]) -> Split:
    """The division whose weights are released: the only one, or of several folds a refit on all but a tune fold."""
    plan = run.recipe.split
    if plan.method == "fractions" or plan.tests_by_date:
        return splits[0]
    whole = SplitPlan(
        tune=plan.tune,
        test=0.0,
        seeds=plan.seeds[:1],
        hold_out_sources=plan.hold_out_sources,
        hold_out_domains=plan.hold_out_domains,
        class_equal=plan.class_equal,
    )
    domains = domains_of(films, run.recipe.films.domain)
    refit = replace(make_splits(films, whole, domains=domains)[0], number=REFIT)
    refit.save(run.folder / "splits")
    return refit


def _judge(run: Run, index: Index, frames: ArrayView, splits: Sequence[Split], last: Division) -> None:
    """Pool what was tested, measure the floors on the same folds, evaluate, save."""
    tested = [Division.load(_place(run, split)).predictions for split in splits]
    tested = [table[table["fold"] == "test"] for table in tested]
    tested.append(last.predictions[last.predictions["fold"] == "external"])
    predictions = pd.concat([table for table in tested if len(table)], ignore_index=True)
    with written_aside(run.folder / "predictions.parquet") as aside:
        predictions.to_parquet(aside, index=False)
    evaluation = evaluate(
        predictions,
        index.films,
        classes=run.recipe.class_names,
        operating_points=last.points,
        temperature=last.temperature,
        index_digest=index.digest,
        bundle_digest=None,
        floors=measure_floors(run.recipe, index.films, frames, splits),
        resamples=run.recipe.judgement.resamples,
    )
    save_evaluation(evaluation, run.folder / "evaluation.json")
    with written_aside(run.folder / "scores.csv") as aside:
        scores_table(evaluation).to_csv(aside, index=False)


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


def _release(run: Run, index: Index, fitter: Fitter, last: Division, notes: Sequence[str]) -> Bundle:
    evaluation = run.evaluation
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
    if notes:
        provenance["notes"] = list(notes)
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

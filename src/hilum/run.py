"""Run: the whole way from a recipe and a folder of films to an evaluated bundle, in one folder that can be continued.

    recipe.toml         what was asked
    index.parquet       every film, in use or not, with its reason
    splits/*.csv        who trains, tunes, tests, a file a division
    divisions/NAME/     history.csv, predictions.parquet and division.json of one division
    predictions.parquet all divisions' tested films
    evaluation.json     figures with intervals; scores.csv holds the same as a table
    bundle/             what is released
    run.json            how it came to be: versions, machine, seconds

Every file is written aside and renamed, so what is there is whole; a run that was interrupted goes on behind it.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from hilum.audit.floors import Fold, shortcut_floors
from hilum.bundle import MANIFEST, WEIGHTS, Bundle, load_bundle, read_manifest, save_bundle
from hilum.cache import ArrayView, FrameCache
from hilum.duplicates import looks_like
from hilum.errors import DataError, UsageError
from hilum.evaluate import (
    Evaluation,
    Score,
    evaluate,
    headline,
    load_evaluation,
    save_evaluation,
    scores_table,
)
from hilum.files import write_json, write_text, written_aside
from hilum.fitting import DONE, Division, Fitter, prediction_table
from hilum.index import Index, build_index
from hilum.provenance import describe_machine, describe_versions
from hilum.recipe import Recipe, parse_recipe, recipe_text, toml_of
from hilum.selection import TARGET, select_films
from hilum.sources import read_source
from hilum.split import Split, SplitPlan, make_splits

THUMBNAIL_PX = 32
REFIT = "refit"

Progress = Callable[[int, int], None]
Watch = Callable[[str], AbstractContextManager[Progress]]
"""Told the name of a stage, gives something to report its progress to."""


def unwatched(_stage: str) -> AbstractContextManager[Progress]:
    """Reports to nobody."""
    return nullcontext(lambda _done, _total: None)


@dataclass(frozen=True)
class Run:
    """A run's folder; what it holds is read when asked for."""

    folder: Path

    @cached_property
    def recipe(self) -> Recipe:
        return parse_recipe(self.recipe_text, where=str(self.folder / "recipe.toml"))

    @property
    def recipe_text(self) -> str:
        file = self.folder / "recipe.toml"
        if not file.is_file():
            raise UsageError(
                f"{self.folder} is no run: it has no recipe.toml; make one with: hilum train RECIPE --out RUN"
            )
        return file.read_text(encoding="utf-8")

    @cached_property
    def index(self) -> Index:
        return Index.load(self.folder / "index.parquet")

    @cached_property
    def splits(self) -> list[Split]:
        files = sorted((self.folder / "splits").glob("seed-*-fold-*.csv"))
        return [Split.load(file) for file in files if not file.stem.endswith(REFIT)]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        return pd.read_parquet(self._finished("predictions.parquet"))

    @cached_property
    def evaluation(self) -> Evaluation:
        return load_evaluation(self._finished("evaluation.json"))

    @property
    def history(self) -> pd.DataFrame:
        """Every division's epochs: `repeat`, `division`, then `train.HISTORY`."""
        parts = []
        for split in self.splits:
            table = pd.read_csv(self._finished(f"divisions/{split.name}/history.csv"))
            parts.append(table.assign(repeat=split.seed, division=split.number))
        return pd.concat(parts, ignore_index=True)

    @property
    def account(self) -> dict[str, Any]:
        """How the run came to be: `run.json`."""
        told: dict[str, Any] = json.loads(self._finished("run.json").read_text(encoding="utf-8"))
        return told

    def _finished(self, name: str) -> Path:
        file = self.folder / name
        if not file.is_file():
            raise UsageError(
                f"the run in {self.folder} is not finished: {name} is missing; continue it with: hilum train"
            )
        return file


def find_recipe(name: str) -> str:
    """The TOML of a shipped recipe, of a file, or of the run or bundle it is to be repeated from.

    Raises:
        UsageError: no recipe of that name.
    """
    folder = Path(name)
    if (folder / "recipe.toml").is_file():
        return (folder / "recipe.toml").read_text(encoding="utf-8")
    if (folder / MANIFEST).is_file():
        return toml_of(read_manifest(folder).recipe)
    return recipe_text(name)


def train_run(
    text: str,
    root: Path | None,
    out: Path,
    *,
    given: Index | None = None,
    processes: int | None = None,
    watch: Watch = unwatched,
) -> Run:
    """Do what a recipe says, or go on where it was interrupted.

    Args:
        text: the recipe's TOML.
        root: folder the sources lie in; None with `given`.
        out: the run's folder.
        given: an index to select from, in place of reading the recipe's sources.
        processes: how many decode at once.
        watch: told of every stage.

    Raises:
        UsageError: `out` holds a run of another recipe.
    """
    run = _open(text, out)
    if (out / "run.json").is_file():
        return run
    seconds: dict[str, float] = {}
    with _timed(seconds, "index"):
        index = _indexed(run, root, given, processes, watch)
    films = index.films
    splits = _splits(run, films)
    with _timed(seconds, "decode"), watch("decode films") as progress:
        cache = FrameCache(run.recipe.preprocess)
        cache.fill(films, index.root, processes=processes, progress=progress)
    frames = cache.view(films)
    with _timed(seconds, "train"):
        fitter, last = _trained(run, films, frames, splits, watch)
    with _timed(seconds, "evaluate"), watch("evaluate") as progress:
        _judge(run, index, frames, splits, last)
        progress(1, 1)
    _release(run, fitter, last, seconds)
    for weights in (out / "divisions").glob(f"*/{WEIGHTS}"):
        weights.unlink()  # the bundle holds them now
    return Run(out)


def _open(text: str, out: Path) -> Run:
    recipe = parse_recipe(text)
    file = out / "recipe.toml"
    if file.is_file() and Run(out).recipe.digest != recipe.digest:
        raise UsageError(f"{out} holds a run of another recipe; choose another --out or remove that folder")
    write_text(file, text)
    return Run(out)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 2)


def _indexed(run: Run, root: Path | None, given: Index | None, processes: int | None, watch: Watch) -> Index:
    """The run's index with targets: as saved, or selected from the given one or from the recipe's sources."""
    file = run.folder / "index.parquet"
    if file.is_file():
        return Index.load(file, root=given.root if given else root)
    chosen = select_films(given or _read_sources(run.recipe, root, processes, watch), run.recipe)
    chosen.save(file)
    return chosen


def _read_sources(recipe: Recipe, root: Path | None, processes: int | None, watch: Watch) -> Index:
    if root is None or not recipe.films.sources:
        raise UsageError("the recipe names no sources; give an index of your films with --index FILE")
    records = (record for source in recipe.films.sources for record in read_source(source, root))
    with watch("check films") as progress:
        return build_index(records, root, processes=processes, progress=progress)


def _splits(run: Run, films: pd.DataFrame) -> list[Split]:
    if not run.splits:
        for split in make_splits(films, run.recipe.split):
            split.save(run.folder / "splits")
    return Run(run.folder).splits


def _trained(
    run: Run, films: pd.DataFrame, frames: ArrayView, splits: Sequence[Split], watch: Watch
) -> tuple[Fitter, Division]:
    """Fit every division not yet done; returns the one to release, its weights in the fitter."""
    fitter = Fitter(run.recipe, films, frames)
    with watch("compute features" if fitter.frozen else "load network") as progress:
        fitter.prepare(progress)
    final = _final(run, films, splits)
    todo = splits if final is splits[0] else [*splits, final]
    with watch("train") as progress:
        for number, split in enumerate(todo, 1):
            _fit(run, fitter, split, watch, keep_weights=split is final)
            progress(number, len(todo))
    fitter.classifier.load_state_dict(load_file(_place(run, final) / WEIGHTS))
    return fitter, Division.load(_place(run, final))


def _place(run: Run, split: Split) -> Path:
    return run.folder / "divisions" / split.name


def _fit(run: Run, fitter: Fitter, split: Split, watch: Watch, *, keep_weights: bool) -> None:
    place = _place(run, split)
    if (place / DONE).is_file() and (not keep_weights or (place / WEIGHTS).is_file()):
        return
    with nullcontext(None) if fitter.frozen else watch(f"train {split.name}") as progress:
        division = fitter.fit(split, checkpoint=place / "checkpoint.pt", progress=progress)
    if keep_weights:
        with written_aside(place / WEIGHTS) as aside:
            save_file({name: value.contiguous() for name, value in fitter.classifier.state_dict().items()}, aside)
    division.save(place)


def _final(run: Run, films: pd.DataFrame, splits: Sequence[Split]) -> Split:
    """The division whose weights are released: the only one, or of several folds a refit on all but a tune fold."""
    plan = run.recipe.split
    if plan.method == "fractions" or plan.hold_out_from is not None:
        return splits[0]
    whole = SplitPlan(
        tune=plan.tune,
        test=0.0,
        seeds=plan.seeds[:1],
        hold_out_sources=plan.hold_out_sources,
        class_equal=plan.class_equal,
    )
    refit = replace(make_splits(films, whole)[0], number=REFIT)
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
    """What classifiers that never see a lung reach on the very same divisions."""
    where = pd.Index(films["image_id"])
    repeats: dict[int, list[Fold]] = {}
    for split in splits:
        train, test = (where.get_indexer(split.table["image_id"].iloc[split.rows(fold)]) for fold in ("train", "test"))
        if len(test):
            repeats.setdefault(split.seed, []).append((train, test))
    if not repeats:
        return ()
    return shortcut_floors(
        films,
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


def _release(run: Run, fitter: Fitter, last: Division, seconds: dict[str, float]) -> None:
    evaluation = run.evaluation
    provenance = {
        "versions": describe_versions(),
        "machine": describe_machine(),
        "index_digest": evaluation.index_digest,
        "recipe_digest": run.recipe.digest,
        "weights": asdict(fitter.origin),
        "precision": last.fitted.precision,
        "device": last.fitted.device,
        "best_epoch": last.fitted.best_epoch,
        "seeds": list(run.recipe.split.seeds),
    }
    save_bundle(
        Bundle(
            title=run.recipe.title,
            classes=run.recipe.class_names,
            recipe=run.recipe,
            preprocess=fitter.preprocess,
            network=fitter.classifier,
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
    write_json(run.folder / "run.json", provenance | {"seconds": seconds})


def evaluate_elsewhere(run: Run, other: Index, *, watch: Watch = unwatched) -> tuple[Evaluation, pd.Series]:
    """Score a run's bundle on another index, without films the run was trained or tuned on.

    Returns:
        The evaluation (all films in the fold `external`) and why films were left out.

    Raises:
        DataError: no film is left to score.
    """
    bundle = load_bundle(run.folder)
    anywhere = run.recipe.films.model_copy(update={"sources": ()})
    chosen = select_films(other, run.recipe.model_copy(update={"films": anywhere}), every_class=False)
    chosen = chosen.leave_out(seen_in_training(chosen, run.index), "the bundle was trained on this picture or patient")
    films = chosen.films
    if films.empty:
        raise DataError("every film of that index was left out; see why with: hilum describe")
    with watch("decode films") as progress:
        cache = FrameCache(bundle.preprocess)
        cache.fill(films, chosen.root, progress=progress)
    logits = bundle.logits(cache.view(films))
    predictions = prediction_table(films, bundle.classes, logits, bundle.temperature).assign(repeat=0, fold="external")
    evaluation = evaluate(
        predictions,
        films,
        classes=bundle.classes,
        operating_points=bundle.operating_points,
        temperature=bundle.temperature,
        index_digest=chosen.digest,
        bundle_digest=bundle.digest,
        resamples=run.recipe.judgement.resamples,
    )
    return evaluation, chosen.left_out["left_out"]


def seen_in_training(chosen: Index, trained: Index) -> pd.Series:
    """Which films show a picture, or a patient of a source, that the trained index uses; aligned to the table."""
    table, known = chosen.table, trained.films
    same = table["sha256"].isin(known["sha256"]) & table["sha256"].notna()
    patients = set(zip(known["source"], known["patient_id"], strict=True))
    named = table["patient_id"].notna()
    same |= pd.Series(list(zip(table["source"], table["patient_id"], strict=True))).isin(patients) & named
    return same | looks_like(table["phash"], known["phash"])

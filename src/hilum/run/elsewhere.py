"""A run's bundle on other films, without those it was trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.bundle import load_bundle
from hilum.cache import FrameCache
from hilum.duplicates import looks_like
from hilum.errors import DataError
from hilum.evaluate import Evaluation, Score, evaluate
from hilum.fitting import prediction_table
from hilum.floors import shortcut_floors
from hilum.index import Index, counted
from hilum.parallel import Watch, unwatched
from hilum.predict import lungs_for
from hilum.run.films import choose_films, with_lungs
from hilum.run.folder import Run
from hilum.run.training import thumbnails
from hilum.selection import TARGET


def evaluate_elsewhere(run: Run, other: Index, *, watch: Watch = unwatched) -> tuple[Evaluation, pd.Series]:
    """Score a run's bundle on another index, without films the run was trained or tuned on.

    Returns:
        The evaluation (all films in the fold `external`) and why films were left out.

    Raises:
        DataError: no film is left to score.
        UsageError: the run's lungs were drawn by another bundle than this hilum's.
    """
    bundle = load_bundle(run.folder)
    anywhere = run.recipe.films.model_copy(update={"sources": (), "manufacturers": ()})
    if bundle.preprocess.masked and bundle.preprocess.masks == "made":
        lungs_for(bundle)
    chosen = choose_films(other, run.recipe.model_copy(update={"films": anywhere}), every_class=False, watch=watch)
    chosen = chosen.leave_out(seen_in_training(chosen, run.index), "the bundle was trained on this picture or patient")
    films = chosen.films
    if films.empty:
        reasons = ", ".join(f"{why} ({n})" for why, n in counted(chosen.left_out["left_out"]).items())
        raise DataError(f"no film of that index can be scored: {reasons}")
    with watch("decode films") as progress:
        cache = FrameCache(bundle.preprocess)
        cache.fill(films, chosen.root, progress=progress)
    logits = bundle.logits(cache.view(films, chosen.root))
    predictions = prediction_table(films, bundle.classes, logits, bundle.temperature).assign(repeat=0, fold="external")
    evaluation = evaluate(
        predictions,
        films,
        classes=bundle.classes,
        operating_points=bundle.operating_points,
        temperature=bundle.temperature,
        index_digest=chosen.digest,
        bundle_digest=bundle.digest,
        floors=_floors(run, films, chosen.root, cache, watch),
        resamples=run.recipe.judgement.resamples,
    )
    return evaluation, chosen.left_out["left_out"]


def _floors(run: Run, films: pd.DataFrame, root: Path, cache: FrameCache, watch: Watch) -> tuple[Score, ...]:
    """What classifiers without a look at a lung, fitted on the run's films, reach on the others.

    None where the run's films are no longer at hand: the headline then says that the floor was not measured.
    """
    try:
        known = with_lungs(run.index, run.recipe, watch=watch).films
        with watch("decode run's films") as progress:
            cache.fill(known, run.index.root, progress=progress)
    except DataError:
        return ()
    both = pd.concat([known, films], ignore_index=True)
    rows = np.arange(len(both))
    scores = shortcut_floors(
        both,
        both[TARGET],
        np.concatenate([thumbnails(cache.view(known, run.index.root)), thumbnails(cache.view(films, root))]),
        repeats=[[(rows[: len(known)], rows[len(known) :])]],
        classes=run.recipe.class_names,
        resamples=run.recipe.judgement.resamples,
    )
    return tuple(replace(score, fold="external") for score in scores)


def seen_in_training(chosen: Index, trained: Index) -> pd.Series:
    """Which films show a picture, or a patient of a source, that the trained index uses; aligned to the table."""
    table, known = chosen.table, trained.films
    same = table["sha256"].isin(known["sha256"]) & table["sha256"].notna()
    patients = set(zip(known["source"], known["patient_id"], strict=True))
    named = table["patient_id"].notna()
    same |= pd.Series(list(zip(table["source"], table["patient_id"], strict=True))).isin(patients) & named
    return same | looks_like(table["phash"], known["phash"])

"""A run of hilum as a subject, or a bundle on other films."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.audit.subject import Division, Subject, frames_of
from hilum.bundle import MANIFEST, Bundle, find_bundle, load_bundle, read_manifest
from hilum.cache import FrameCache
from hilum.errors import DataError
from hilum.fitting import prediction_table
from hilum.index import Index, counted
from hilum.parallel import Spread, Watch, spread, unwatched
from hilum.preprocess import Preprocess
from hilum.recipe import Recipe
from hilum.run import Run, seen_in_training
from hilum.run.films import choose_films
from hilum.run.training import thumbnails


@dataclass(frozen=True)
class Looking:
    """Thumbnails of films as a recipe prepares them: what its shortcut floors were measured on."""

    preprocess: Preprocess

    def __call__(self, subject: Subject) -> NDArray[np.uint8]:
        return thumbnails(frames_of(subject, self.preprocess))


def subject_of_run(folder: Path) -> Subject:
    """A finished run: its films, divisions, predictions and bundle.

    Raises:
        UsageError: no run, or not a finished one.
    """
    run = Run(folder)
    evaluation, recipe = run.evaluation, run.recipe
    bundle = folder / "bundle" if (folder / "bundle" / MANIFEST).is_file() else None
    return Subject(
        title=recipe.title,
        kind="run",
        classes=evaluation.classes,
        films=run.index.films,
        root=run.index.root,
        index_digest=run.index.digest,
        predictions=run.predictions,
        points=evaluation.operating_points,
        temperature=evaluation.temperature,
        divisions=tuple(Division(split.seed, str(split.number), split.table) for split in run.splits),
        recipe=recipe,
        domain=recipe.films.domain,
        look=Looking(recipe.preprocess),
        run=run,
        bundle_folder=bundle,
        bundle_digest=read_manifest(bundle).digest if bundle else None,
    )


def subject_elsewhere(path: Path, index: Index, *, watch: Watch = unwatched, spread: Spread = spread) -> Subject:
    """A bundle, or a run's, on the films of another index; those it was trained on are left out where that is known.

    Args:
        path: the bundle, or the run.
        index: of the other films.
        watch: told of long work.
        spread: hands out films to be decoded.

    Raises:
        BundleError: no bundle, or one that cannot be trusted.
        DataError: no film is left to score.
    """
    bundle, folder = load_bundle(path), find_bundle(path)
    trained = _trained_on(path)
    chosen, notes = _chosen(bundle, trained, index, watch)
    films = chosen.films
    cache = FrameCache(bundle.preprocess)
    with watch("decode films") as progress:
        cache.fill(films, chosen.root, progress=progress, spread=spread)
    logits = bundle.logits(cache.view(films, chosen.root))
    made = prediction_table(films, bundle.classes, logits, bundle.temperature)
    return Subject(
        title=bundle.title,
        kind="bundle elsewhere",
        classes=bundle.classes,
        films=films,
        root=chosen.root,
        index_digest=chosen.digest,
        predictions=made.assign(repeat=0, fold="external"),
        points=bundle.operating_points,
        temperature=bundle.temperature,
        recipe=bundle.recipe,
        domain=bundle.recipe.films.domain if bundle.recipe.films.domain in films else None,
        look=Looking(bundle.preprocess),
        run=trained,
        bundle_folder=folder,
        bundle_digest=bundle.digest,
        notes=notes,
    )


def _trained_on(path: Path) -> Run | None:
    """The run that made a bundle, where its folder is what was named."""
    return Run(path) if (path / "recipe.toml").is_file() and (path / "index.parquet").is_file() else None


def _chosen(bundle: Bundle, trained: Run | None, index: Index, watch: Watch) -> tuple[Index, tuple[str, ...]]:
    """The films that fit the bundle's recipe but for their source, and what must be known of the choice."""
    anywhere = bundle.recipe.films.model_copy(update={"sources": (), "manufacturers": ()})
    recipe: Recipe = bundle.recipe.model_copy(update={"films": anywhere})
    chosen = choose_films(index, recipe, every_class=False, watch=watch)
    if trained is None:
        note = "which films the bundle was trained on is not at hand: some of these may be among them"
    else:
        seen = seen_in_training(chosen, trained.index)
        note = (
            f"{int((seen & chosen.table['left_out'].isna()).sum())} films that the bundle was trained on are left out"
        )
        chosen = chosen.leave_out(seen, "the bundle was trained on this picture or patient")
    if chosen.films.empty:
        reasons = ", ".join(f"{why} ({n})" for why, n in counted(chosen.left_out["left_out"]).items())
        raise DataError(f"no film of that index can be scored: {reasons}")
    return chosen, (note,)

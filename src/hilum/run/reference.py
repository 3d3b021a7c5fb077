"""The reference of a finished run: made from its tested films and the films its bundle was trained on."""

from pathlib import Path

import numpy as np
import pandas as pd

from hilum.bundle import WEIGHTS, Bundle, find_bundle, load_bundle, read_manifest
from hilum.bundle.format import digest_without_notes
from hilum.cache import FrameCache
from hilum.duplicates import from_text
from hilum.errors import DataError
from hilum.index import Index
from hilum.reference import FilmCloud, Reference, fit_cloud, save_reference
from hilum.reference.distance import LEAST_FILMS
from hilum.run.films import with_lungs
from hilum.run.folder import REFIT, Run
from hilum.split import Split

MOST_FILMS = 2000
"""Films at most that the cloud is measured on, evenly taken: a pass through the network each."""
TINY = 1e-12


def attach_reference(
    run: Run, folder: Path | None = None, *, films: Index | None = None, processes: int | None = None
) -> Path:
    """Write a bundle's reference beside its manifest.

    Films trained on are those of the released division's folds `train` and `tune`. A cloud is measured on films that
    the network was trained on; where its backbone was trained too it is narrower than films of elsewhere would make it,
    and the limit with it.

    Args:
        run: finished.
        folder: of the bundle, where it is not the run's own but has its weights.
        films: the run's index, where its films lie elsewhere than it says.
        processes: films decoded at once; default one a core.

    Raises:
        DataError: the bundle is not the run's, or a film is not as it was indexed.
    """
    own, place = find_bundle(run.folder), folder or find_bundle(run.folder)
    hashes = [read_manifest(one).files[WEIGHTS] for one in (own, place)]
    if hashes[0] != hashes[1]:
        raise DataError(f"the bundle in {place} has other weights than the run in {run.folder}; name that run's")
    bundle = load_bundle(place)
    index = films or run.index
    trained, tested = _trained_on(run, index), _tested(run)
    classes = list(bundle.classes)
    groups = tested["image_id"].map(index.films.set_index("image_id")["group_id"])
    shares = np.clip(tested[[f"p.{name}" for name in classes]].to_numpy(np.float64), TINY, 1 - TINY)
    reference = Reference(
        bundle_digest=digest_without_notes(place),
        log_odds=(np.log(shares) - np.log1p(-shares)).astype(np.float32),
        labels=pd.Index(classes).get_indexer(pd.Index(tested["reference"])).astype(np.int64),
        weights=(1 / groups.groupby(groups).transform("size")).to_numpy(np.float32),
        groups=int(groups.nunique()),
        balanced=run.recipe.schedule.class_weights == "balanced",
        cloud=_cloud(bundle, trained, processes),
        hashes=from_text(sorted(set(trained.films["phash"].dropna()))),
    )
    return save_reference(reference, place)


def _tested(run: Run) -> pd.DataFrame:
    """The tested films of the first seed: each by one network that was not trained on it."""
    table = run.predictions[run.predictions["fold"] == "test"]
    first: pd.DataFrame = table[table["repeat"] == table["repeat"].min()].reset_index(drop=True)
    return first


def _trained_on(run: Run, index: Index) -> Index:
    """The index with the films of the released division's folds `train` and `tune` in use."""
    refit = sorted((run.folder / "splits").glob(f"*-fold-{REFIT}.csv"))
    split = Split.load(refit[0]) if refit else run.splits[0]
    used = split.table["image_id"][split.table["fold"].isin(["train", "tune"])]
    return index.leave_out(~index.table["image_id"].isin(used), "not trained on")


def _cloud(bundle: Bundle, films: Index, processes: int | None) -> FilmCloud | None:
    table = films.films
    if table["group_id"].nunique() < LEAST_FILMS:
        return None
    every = np.unique(np.linspace(0, len(table) - 1, min(len(table), MOST_FILMS)).round().astype(int))
    ids = table["image_id"].iloc[every]
    some = films.leave_out(~films.table["image_id"].isin(ids), "not measured")
    drawn = with_lungs(some, bundle.recipe, processes=processes)
    cache = FrameCache(bundle.preprocess)
    cache.fill(drawn.films, drawn.root, processes=processes)
    vectors = bundle.vectors(cache.view(drawn.films, drawn.root))
    if not np.isfinite(vectors).all():
        return None
    return fit_cloud(vectors, drawn.films["group_id"].to_numpy(str))

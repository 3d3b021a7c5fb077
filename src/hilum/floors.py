"""Shortcut floors: what classifiers that never see a lung reach on the same folds.

A score only says something about lungs by what it adds to the best of these:

* `floor.header`: a random forest on what the file's header says, jointly: width, height, aspect, bytes per pixel, mode,
  format, bits, photometric interpretation, and the original size where the source states it.
* `floor.attributes`: the same on view, sex, age and manufacturer, a missing value being a level of its own.
* `floor.thumbnail`: the same on the film shrunk to 8 x 8 pixels.
* `floor.border`, `floor.corners`: the same on the outermost sixteenth all round, and on four corners of a quarter of
  the side each: collimation, frames, markers, burnt-in text.
* `floor.histogram`: the same on the film's grey levels in 16 bins, wherever they lie.
* `floor.source`: how often each label occurs in the film's source, counted on the training films.

A floor nothing is known for (no attribute stated, no thumbnails, one source only) has the value None.

References:
    Zech et al. 2018, doi:10.1371/journal.pmed.1002683; DeGrave et al. 2021, doi:10.1038/s42256-021-00338-7;
    Maguolo & Nanni 2021, doi:10.1016/j.inffus.2021.04.008.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from hilum import metrics
from hilum.errors import DataError
from hilum.metrics import Floats, Ints
from hilum.scoring import Predicted, Score, best_floor, brief_scores, ranking_scores

__all__ = ["FLOORS", "best_floor", "floor_predictions", "floor_scores", "shortcut_floors"]

SIDE = 8
"""Pixels a side of the thumbnail the floor is measured on."""
TREES = 60
LEAF = 2
"""Training films a leaf holds at least."""
FILMS_A_TREE = 10_000
"""At most so many training films a tree, which keeps large sets quick."""

HEADER_NUMBERS = (
    *("width", "height", "aspect", "bytes_per_pixel", "bits"),
    *("attr.original_width", "attr.original_height"),
)
HEADER_WORDS = ("mode", "format", "photometric")
ATTRIBUTE_NUMBERS = ("age_years",)
ATTRIBUTE_WORDS = ("view", "sex", "manufacturer")

FLOORS = ("header", "attributes", "thumbnail", "border", "corners", "histogram", "source")

Rows = NDArray[np.int64]
Fold = tuple[Rows, Rows]
"""Training rows and test rows."""
Guess = Callable[[Rows, Rows], Floats]
"""Training rows, test rows -> probabilities (N, C) of the test rows."""


def shortcut_floors(
    films: pd.DataFrame,
    target: Sequence[str] | pd.Series,
    thumbnails: NDArray[np.uint8] | None,
    *,
    repeats: Sequence[Sequence[Fold]],
    classes: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Score, ...]:
    """AUROC and accuracy of every floor, with intervals over groups: `floor.NAME` and `floor.NAME.accuracy`.

    AUROC is that of the first of two classes, or the macro average over more.

    Args:
        films: index rows (F).
        target: (F,) class names.
        thumbnails: (F, S, S) grey, S a multiple of 8; None to leave the thumbnail out.
        repeats: for each repeat its folds, as positions in `films`: the very rows the network is trained and tested on.
            Within a repeat no film is tested twice.
        classes: class names; of two, the first is the positive one.
        resamples: bootstrap resamples of groups.
        seed: of the forests and the resampling.

    Raises:
        DataError: targets outside `classes`, or folds that do not fit the films.
    """
    predicted = floor_predictions(films, target, thumbnails, repeats=repeats, classes=classes, seed=seed)
    scores: list[Score] = []
    for name, tested in predicted.items():
        scores += floor_scores(tested, name, resamples=resamples, seed=seed)
    return tuple(scores)


def floor_predictions(
    films: pd.DataFrame,
    target: Sequence[str] | pd.Series,
    thumbnails: NDArray[np.uint8] | None,
    *,
    repeats: Sequence[Sequence[Fold]],
    classes: Sequence[str],
    only: Collection[str] = FLOORS,
    seed: int = 0,
) -> dict[str, Predicted | None]:
    """What every floor makes of the films it was not trained on; None for a floor nothing is known for.

    The arguments are those of `shortcut_floors`; `only` names the floors wanted.

    Raises:
        DataError: as `shortcut_floors`.
    """
    codes = _codes(target, classes, len(films))
    _check(repeats, len(films))
    seen: dict[str, Floats | None] = {
        "header": _table(_with_shape(films), HEADER_NUMBERS, HEADER_WORDS),
        "attributes": _table(films, ATTRIBUTE_NUMBERS, ATTRIBUTE_WORDS),
        **_looks(thumbnails, len(films)),
    }
    guesses = {name: _forest(features, codes, len(classes), seed) for name, features in seen.items()}
    guesses["source"] = _frequencies(films["source"], codes, len(classes))
    nobody = Predicted("test", tuple(classes), codes, _groups(films["group_id"]), ())
    return {name: _guessed(guess, nobody, repeats) for name, guess in guesses.items() if name in only}


def _codes(target: Sequence[str] | pd.Series, classes: Sequence[str], films: int) -> Ints:
    codes = pd.Index(list(classes)).get_indexer(pd.Index(list(target))).astype(np.int64)
    if len(codes) != films or (codes < 0).any():
        raise DataError(f"the shortcut floors need one of {', '.join(classes)} for each of the {films} films.")
    return codes


def _groups(group_id: pd.Series) -> Ints:
    """Groups as numbers; a film without one is a group of its own."""
    own = pd.Series(group_id.index, index=group_id.index)
    return pd.factorize(group_id.astype(object).where(group_id.notna(), own))[0].astype(np.int64)


def _check(repeats: Sequence[Sequence[Fold]], films: int) -> None:
    for folds in repeats:
        tested = np.concatenate([test for _, test in folds]) if folds else np.empty(0, dtype=np.int64)
        rows = np.concatenate([tested, *(train for train, _ in folds)])
        if not len(tested) or len(np.unique(tested)) < len(tested) or rows.min() < 0 or rows.max() >= films:
            raise DataError("the folds must test every film at most once a repeat and name rows of the index only.")
        if any(not len(train) or len(np.intersect1d(train, test)) for train, test in folds):
            raise DataError("a fold has no training films, or trains on films it tests; split again.")


def _guessed(guess: Guess | None, nobody: Predicted, repeats: Sequence[Sequence[Fold]]) -> Predicted | None:
    """The films tested at least once, with what the guess makes of them; `nobody` is all films without predictions."""
    if guess is None:
        return None
    made = tuple(
        (np.concatenate([test for _, test in folds]), np.concatenate([guess(train, test) for train, test in folds]))
        for folds in repeats
    )
    ever = np.zeros(len(nobody.target), dtype=bool)
    ever[np.concatenate([rows for rows, _ in made])] = True
    tested = replace(nobody, repeats=made).only(ever)
    return replace(tested, group=np.unique(tested.group, return_inverse=True)[1])


def floor_scores(tested: Predicted | None, name: str, *, resamples: int = 1000, seed: int = 0) -> tuple[Score, Score]:
    """The AUROC and the accuracy of one floor, under its names."""
    if tested is None:
        nothing = Score(metric=f"floor.{name}", value=None, low=None, high=None, n=0)
        return nothing, replace(nothing, metric=f"floor.{name}.accuracy")
    counts = metrics.resampled_groups(tested.groups(), resamples, seed)
    area = "auroc" if len(tested.classes) == 2 else "macro_auroc"
    auroc = next(score for score in ranking_scores(tested, counts) if score.metric == area)
    accuracy = brief_scores(tested, counts)[-1]
    return replace(auroc, metric=f"floor.{name}"), replace(accuracy, metric=f"floor.{name}.accuracy")


def _with_shape(films: pd.DataFrame) -> pd.DataFrame:
    width, height, size = (films[name].astype("Float64") for name in ("width", "height", "bytes"))
    return films.assign(aspect=width / height, bytes_per_pixel=size / (width * height))


def _table(films: pd.DataFrame, numbers: Sequence[str], words: Sequence[str]) -> Floats | None:
    """The named columns as numbers (F, K), missing = -1; None where they state nothing about any film."""
    columns = []
    for name in (name for name in (*numbers, *words) if name in films and films[name].notna().any()):
        if name in numbers:
            columns.append(
                pd.to_numeric(films[name], errors="coerce").astype("Float64").fillna(-1).to_numpy(dtype=float)
            )
        else:
            columns.append(pd.factorize(films[name].astype(object), sort=True)[0].astype(float))
    return np.column_stack(columns) if columns else None


def _looks(thumbnails: NDArray[np.uint8] | None, films: int) -> dict[str, Floats | None]:
    """What can be seen of a film without seeing a lung: (F, K) for each of four ways to look at (F, S, S)."""
    if thumbnails is None:
        return dict.fromkeys(("thumbnail", "border", "corners", "histogram"))
    small = _shrunk(thumbnails, films)
    side = thumbnails.shape[1]
    ring, corner = max(1, side // 16), side // 4
    edge = np.ones((side, side), bool)
    edge[ring:-ring, ring:-ring] = False
    corners = np.zeros((side, side), bool)
    for rows in (slice(corner), slice(-corner, None)):
        corners[rows, :corner] = corners[rows, -corner:] = True
    levels = np.stack([np.bincount(film, minlength=16)[:16] for film in (thumbnails // 16).reshape(films, -1)])
    return {
        "thumbnail": small,
        "border": thumbnails[:, edge].astype(np.float64),
        "corners": thumbnails[:, corners].astype(np.float64),
        "histogram": levels / side**2,
    }


def _shrunk(thumbnails: NDArray[np.uint8], films: int) -> Floats:
    """Mean of each block of pixels: (F, S, S) -> (F, 64)."""
    shape = thumbnails.shape
    if len(shape) != 3 or shape[0] != films or shape[1] != shape[2] or shape[1] % SIDE or not shape[1]:
        raise DataError(f"the thumbnails must be ({films}, S, S) with S a multiple of {SIDE}, not {shape}.")
    block = shape[1] // SIDE
    blocks = thumbnails.astype(np.float64).reshape(films, SIDE, block, SIDE, block)
    means: Floats = blocks.mean(axis=(2, 4)).reshape(films, SIDE * SIDE)
    return means


def _forest(features: Floats | None, codes: Ints, classes: int, seed: int) -> Guess | None:
    """A random forest on the features (F, K), trained anew on each fold."""
    if features is None:
        return None

    def guess(train: Rows, test: Rows) -> Floats:
        most = FILMS_A_TREE if len(train) > FILMS_A_TREE else None
        forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF, max_samples=most, random_state=seed, n_jobs=1)
        forest.fit(features[train], codes[train])
        probabilities = np.zeros((len(test), classes))
        probabilities[:, forest.classes_] = forest.predict_proba(features[test])
        return probabilities

    return guess


def _frequencies(sources: pd.Series, codes: Ints, classes: int) -> Guess | None:
    """Label frequencies of each source in the training films; of all training films for a source they lack."""
    if sources.nunique() < 2:
        return None
    source = pd.factorize(sources)[0] + 1
    labels = np.eye(classes)[codes]

    def guess(train: Rows, test: Rows) -> Floats:
        table = np.zeros((source.max() + 1, classes))
        np.add.at(table, source[train], labels[train])
        films = table.sum(axis=1, keepdims=True)
        shares: Floats = np.where(films > 0, table / np.maximum(films, 1), labels[train].mean(axis=0))
        return shares[source[test]]

    return guess

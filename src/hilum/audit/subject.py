"""What is audited: films with their labels, the folds they were in, and what somebody's model says of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.cache import ArrayView, FrameCache
from hilum.errors import DataError
from hilum.evaluate import Evaluation, OperatingPoint, arranged, evaluate
from hilum.files import digest_of
from hilum.floors import Fold, floor_predictions
from hilum.metrics import Ints
from hilum.parallel import Spread, Watch, spread, unwatched
from hilum.preprocess import Preprocess
from hilum.recipe import Recipe
from hilum.scoring import Predicted
from hilum.selection import TARGET, domain_column, domains_of
from hilum.split import SplitPlan, make_splits

if TYPE_CHECKING:
    from hilum.run import Run

LEARNT = ("train", "tune")
"""Folds that a model saw."""
JUDGED = ("test", "external")
"""Folds that it is judged by."""
OWN_FOLDS = 5
"""Folds that shortcut classifiers are tested in where nobody divided the films."""
RESAMPLES = 1000

SOURCE, ORIGIN = "source", "origin"
"""The index's column, and the one that the checks read: where a film comes from, as told by `Subject.domain`."""

Look = Callable[["Subject"], NDArray[np.uint8]]
"""A subject -> (F, 32, 32) grey thumbnails of its films."""


@dataclass(frozen=True)
class Division:
    """Who was in which fold. `table`: image_id and fold, a row a film; folds as in `hilum.split`."""

    seed: int
    number: str
    table: pd.DataFrame

    @property
    def name(self) -> str:
        return f"seed-{self.seed}-fold-{self.number}"

    def ids(self, *folds: str) -> pd.Series:
        """The films of some folds."""
        return self.table["image_id"][self.table["fold"].isin(folds)]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the checks ask their questions of; what is not known is None or empty, and skips the checks it is for.

    Attributes:
        title: what it is called.
        kind: how it came here.
        classes: class names; of two, the first is the positive one.
        films: rows of an index in use, with `target`, `group_id` and `source`; given the column `origin`.
        root: folder the films' paths are relative to.
        index_digest: which films.
        predictions: a row a film and repeat, as `hilum.evaluate.evaluate` takes them.
        points: thresholds by name.
        divisions: who was in which fold, where that is known.
        look: reads thumbnails; None where films cannot be read.
        domain: column of the index that tells where a film comes from; None for the collection that a film of a set put
            together from others was taken from, or its source.
        gate: kind of picture that is no frontal chest film -> how many were refused, how many were shown.
        run: where it is a run of hilum.
        bundle_folder: where there is a bundle of hilum.
        notes: what a reader must know of how it was put together, a sentence each.
        out: folder that a check may write pictures to; None before the audit begins.
        watch: told of long work.
        spread: hands out films to be decoded, and whole checks where they are asked apart.
        processes: films decoded at once where a check decodes films that nobody else needs; default one a core.
    """

    title: str
    kind: str
    classes: tuple[str, ...]
    films: pd.DataFrame
    root: Path
    index_digest: str
    predictions: pd.DataFrame
    points: tuple[OperatingPoint, ...] = ()
    temperature: float = 1.0
    divisions: tuple[Division, ...] = ()
    recipe: Recipe | None = None
    domain: str | None = None
    look: Look | None = None
    gate: Mapping[str, tuple[int, int]] | None = None
    run: "Run | None" = None
    bundle_folder: Path | None = None
    bundle_digest: str | None = None
    notes: tuple[str, ...] = ()
    out: Path | None = None
    watch: Watch = field(default=unwatched, compare=False)
    spread: Spread = field(default=spread, compare=False)
    processes: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.films.empty or self.predictions.empty:
            raise DataError(f"{self.title}: there is no film with a prediction to audit")
        origin = domains_of(self.films, self.domain)
        object.__setattr__(self, "films", self.films.assign(**{ORIGIN: origin}))

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which has others beside it: it reports to nobody, and works alone."""
        return self.__dict__ | {"watch": unwatched, "spread": spread, "processes": 1}

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of everything a finding rests on."""
        columns = ["image_id", "repeat", "fold", "reference", *(f"p.{name}" for name in self.classes)]
        told = {
            "classes": list(self.classes),
            "index": self.index_digest,
            "films": sorted(self.films["image_id"]),
            "predictions": _rows(self.predictions[columns]),
            "points": [[point.label, point.name, point.threshold] for point in self.points],
            "divisions": [[one.name, _rows(one.table[["image_id", "fold"]])] for one in self.divisions],
            "recipe": self.recipe.digest if self.recipe else None,
            "domain": domain_column(self.films, self.domain),
            "bundle": self.bundle_digest,
            "gate": {kind: list(counts) for kind, counts in (self.gate or {}).items()},
        }
        return digest_of(told)

    @cached_property
    def by_id(self) -> pd.DataFrame:
        """The films, by image_id."""
        return self.films.set_index("image_id")

    @cached_property
    def fold(self) -> str:
        """The fold whose figures are the subject's own: `test`, or `external` where there is no other."""
        return next(fold for fold in JUDGED if (self.predictions["fold"] == fold).any())

    @cached_property
    def tested(self) -> Predicted:
        """The films of `fold` and what was predicted for them."""
        return self._arranged(self.fold)[0]

    @cached_property
    def tested_films(self) -> pd.DataFrame:
        """The index rows of `tested`, in its order."""
        return self._arranged(self.fold)[1]

    def _arranged(self, fold: str) -> tuple[Predicted, pd.DataFrame]:
        part = self.predictions[self.predictions["fold"] == fold]
        return arranged(part, self.by_id, self.classes, fold)

    @property
    def resamples(self) -> int:
        return self.recipe.judgement.resamples if self.recipe else RESAMPLES

    @cached_property
    def evaluation(self) -> Evaluation:
        """Every figure of the predictions, with intervals; a finished run's as it stands."""
        if self.run is not None and self.kind == "run":
            return self.run.evaluation
        return evaluate(
            self.predictions,
            self.films,
            classes=self.classes,
            operating_points=self.points,
            temperature=self.temperature,
            index_digest=self.index_digest,
            bundle_digest=self.bundle_digest,
            resamples=self.resamples,
        )

    @cached_property
    def repeats(self) -> list[list[Fold]]:
        """Rows of `films` to train and test shortcut classifiers on: the model's own folds, or some of the audit's.

        Raises:
            DataError: nobody divided the films, and there are too few to do so.
        """
        where = pd.Index(self.films["image_id"])
        found: dict[int, list[Fold]] = {}
        for one in self.divisions:
            train, test = (where.get_indexer(pd.Index(one.ids(fold))) for fold in ("train", "test"))
            train, test = (np.asarray(rows[rows >= 0], np.int64) for rows in (train, test))
            if len(train) and len(test):
                found.setdefault(one.seed, []).append((train, test))
        return list(found.values()) or [self._own_folds(where)]

    @property
    def own_folds(self) -> bool:
        """Whether shortcut classifiers are tested in folds that the audit made."""
        return not any(len(one.ids("train")) and len(one.ids("test")) for one in self.divisions)

    def _own_folds(self, where: pd.Index) -> list[Fold]:
        plan = SplitPlan(method="kfold", folds=OWN_FOLDS, tune=0.0)
        folds = []
        for split in make_splits(self.films, plan):
            ids = split.table["image_id"]
            train, test = (where.get_indexer(pd.Index(ids.iloc[split.rows(fold)])) for fold in ("train", "test"))
            if len(test):  # of a class with fewer groups than folds, some folds have none to test
                folds.append((np.asarray(train, np.int64), np.asarray(test, np.int64)))
        return folds

    @cached_property
    def thumbnails(self) -> NDArray[np.uint8]:
        """(F, 32, 32) thumbnails of the films, in their order.

        Raises:
            DataError: films cannot be read.
        """
        if self.look is None:
            raise DataError("the films themselves are not at hand")
        return self.look(self)

    def floors(self, names: Iterable[str], *, pixels: bool = False) -> dict[str, Predicted | None]:
        """What shortcut classifiers predict for the films they were not trained on, by name.

        Raises:
            DataError: films cannot be read, or there are too few.
        """
        return floor_predictions(
            self.films.assign(**{SOURCE: self.films[ORIGIN]}),
            self.films[TARGET],
            self.thumbnails if pixels else None,
            repeats=self.repeats,
            classes=self.classes,
            only=tuple(names),
        )


def frames_of(subject: Subject, preprocess: Preprocess, films: pd.DataFrame | None = None) -> ArrayView:
    """Frames of a subject's films, or of some, decoded where nobody did so before.

    Args:
        subject: whose root the films' paths are relative to.
        preprocess: makes the frames.
        films: rows of an index; default all of the subject's.

    Raises:
        DataError: a film is not the one that was indexed.
    """
    films = subject.films if films is None else films
    cache = FrameCache(preprocess)
    with subject.watch("decode films") as progress:
        cache.fill(films, subject.root, processes=subject.processes, progress=progress, spread=subject.spread)
    return cache.view(films, subject.root)


def codes_of(reference: pd.Series, classes: Sequence[str]) -> Ints:
    """The column of each film's class, in the order of `classes`."""
    return np.asarray(reference.map({name: c for c, name in enumerate(classes)}), np.int64)


def _rows(table: pd.DataFrame) -> str:
    """A short text for a table, whatever the order of its rows."""
    ordered: Any = table.sort_values(list(table.columns[:2])).reset_index(drop=True)
    return digest_of(ordered.to_csv(index=False, float_format="%.9g", lineterminator="\n"))

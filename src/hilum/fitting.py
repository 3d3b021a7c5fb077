"""One division after another: fit on its train fold, calibrate and set thresholds on its tune fold, score the rest.

The heads of all divisions on a frozen backbone, of one recipe or of several, are fitted beforehand in one pass over the
vectors (`fit_together`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from hilum import metrics
from hilum.augment import copy_seed, seed_of
from hilum.bundle import calibrated
from hilum.cache import ArrayView
from hilum.errors import DataError
from hilum.evaluate import OperatingPoint, choose_operating_points
from hilum.features import FeatureCache, Variant, VectorBank, resolved
from hilum.files import write_json, written_aside
from hilum.networks import Classifier, Origin, build_classifier, freeze, logits_of
from hilum.parallel import Progress
from hilum.recipe import Recipe, Thawed
from hilum.selection import TARGET, domain_column, domains_of
from hilum.split import Split
from hilum.train import (
    Fitted,
    Folds,
    Halving,
    HeadTask,
    Stage,
    drawn_head,
    fit_heads,
    fit_network,
    judge_halving,
    processor,
    training_views,
    unparted,
)

SCORED = ("tune", "test", "external")
DONE = "division.json"


@dataclass(frozen=True)
class Division:
    """What one division gave. `predictions`: image_id, repeat, division, fold, reference, `logit.C`, `p.C`, and the
    division's own thresholds as `t.C.NAME`, so that pooled decisions use thresholds no tested film had a part in.
    """

    fitted: Fitted
    temperature: float
    points: tuple[OperatingPoint, ...]
    predictions: pd.DataFrame

    def save(self, folder: Path) -> None:
        """Write history (CSV, JSON) and predictions, then division.json, which says that the division is done."""
        with written_aside(folder / "history.csv") as aside:
            self.fitted.history.to_csv(aside, index=False)
        write_json(folder / "history.json", json.loads(self.fitted.history.to_json(orient="records")))
        with written_aside(folder / "predictions.parquet") as aside:
            self.predictions.to_parquet(aside, index=False)
        told = {
            "best_epoch": self.fitted.best_epoch,
            "precision": self.fitted.precision,
            "device": self.fitted.device,
            "temperature": self.temperature,
            "operating_points": [asdict(point) for point in self.points],
        }
        write_json(folder / DONE, told)

    @classmethod
    def load(cls, folder: Path) -> "Division":
        """Read what `save` wrote."""
        told = json.loads((folder / DONE).read_text(encoding="utf-8"))
        history = pd.read_csv(folder / "history.csv")
        return cls(
            fitted=Fitted(history, told["best_epoch"], told["precision"], told["device"]),
            temperature=told["temperature"],
            points=tuple(OperatingPoint(**point) for point in told["operating_points"]),
            predictions=pd.read_parquet(folder / "predictions.parquet"),
        )


@dataclass(frozen=True)
class _Head:
    """A division's head, fitted and not yet asked for; `split` is kept so that its identity stays its own."""

    split: Split
    bank: VectorBank
    head: nn.Sequential
    fitted: Fitted | DataError


class Fitter:
    """The recipe's network over one table of films: built once, fitted division by division."""

    def __init__(
        self, recipe: Recipe, films: pd.DataFrame, frames: ArrayView, *, beside: "Fitter | None" = None
    ) -> None:
        """Build the network.

        Args:
            recipe: what is trained.
            films: index rows with a target.
            frames: theirs.
            beside: another fitter, whose backbone is used too where neither ever trains it and it is the same one.
        """
        self.recipe, self.films, self.frames = recipe, films, frames
        self.classifier, self.origin = _build(recipe)
        self.still = not recipe.network.trains_backbone and not recipe.finetuning.epochs
        if beside and self.still and beside.still and beside.origin.digest == self.origin.digest:
            self.classifier.backbone = beside.classifier.backbone
        self.preprocess = resolved(recipe.preprocess, self.classifier)
        self.frozen = not recipe.network.trains_backbone
        numbers = films[TARGET].map({name: n for n, name in enumerate(recipe.classes)})
        self.targets: NDArray[np.int64] = np.asarray(numbers, np.int64)
        self.domains = domains_of(films, recipe.films.domain)
        moving = self.classifier.head if self.still else self.classifier
        self._start = {name: value.clone() for name, value in moving.state_dict().items()}
        self._features: FeatureCache | None = None
        self._heads: dict[int, _Head] = {}

    @property
    def features_place(self) -> Path | None:
        """Where the vectors lie: fitters with one place read one another's. None where none are computed."""
        return self._features.place if self._features is not None else None

    @property
    def parameters(self) -> dict[str, int]:
        """How many numbers the network has, and how many of them training moves in any stage."""
        stages: list[Thawed] = [self.recipe.network]
        if self.recipe.finetuning.epochs:
            stages.append(self.recipe.finetuning)
        trained = max(_count(freeze(self.classifier, stage)) for stage in stages)
        return {"trained": trained, "all": _count(self.classifier.parameters())}

    @property
    def _told(self) -> Recipe:
        """The recipe with the network's own scaling filled in."""
        return self.recipe.model_copy(update={"preprocess": self.preprocess})

    def prepare(
        self, splits: Sequence[Split], progress: Progress | None = None, *, compared: Split | None = None
    ) -> int:
        """Compute a frozen backbone's vectors for these divisions; returns how many were new, 0 when it is trained.

        `compared` is the division that `halving` will be asked of, which takes its tune films in bfloat16 too.
        """
        if not self.frozen:
            return 0
        self._features = FeatureCache(self.classifier.to(processor()), self.origin, self._told, self.frames)
        wanted = self._wanted(splits)
        if compared is not None and self.halved:
            wanted += [Variant(row, halved=True) for row in self._rows(compared)["tune"].tolist()]
        new = self._features.fill(list(dict.fromkeys(wanted)), progress=progress)
        self.classifier.cpu()  # heads are fitted there
        return new

    def _wanted(self, splits: Sequence[Split]) -> list[Variant]:
        """Every look at a film that these divisions train on, tune with or score."""
        wanted: list[Variant] = []
        for split in splits:
            rows = self._rows(split)
            wanted += chain.from_iterable(training_views(self._folds(rows), self.recipe.schedule))
            wanted += [Variant(row) for fold in SCORED for row in rows[fold].tolist()]
        return list(dict.fromkeys(wanted))

    def _task(self, split: Split, bank: VectorBank, features: FeatureCache) -> HeadTask:
        rows = self._rows(split)
        folds, seed = self._folds(rows), _seed(self.recipe, split.seed)
        shown = np.stack([features.rows(bank, view) for view in training_views(folds, self.recipe.schedule)])
        tune = features.rows(bank, [Variant(row) for row in rows["tune"].tolist()])
        return HeadTask(drawn_head(self.classifier.head, seed), bank, folds, self.recipe, seed, shown, tune)

    def _head(self, split: Split) -> tuple[Fitted, VectorBank]:
        """Put the division's head into the classifier: the one fitted beforehand, or one fitted now; and its vectors.

        Raises:
            DataError: it could not be fitted.
        """
        if id(split) not in self._heads:
            fit_together([(self, [split])])
        told = self._heads.pop(id(split))
        if isinstance(told.fitted, DataError):
            raise told.fitted
        self.classifier.cpu().head.load_state_dict(told.head.state_dict())
        return told.fitted, told.bank

    def fit(self, split: Split, *, checkpoint: Path, progress: Progress | None = None) -> Division:
        """Fit, calibrate, choose thresholds and score one division; the classifier holds its weights afterwards."""
        rows = self._rows(split)
        folds = self._folds(rows)
        (self.classifier.head if self.still else self.classifier).load_state_dict(self._start)
        seed = _seed(self.recipe, split.seed)
        later = checkpoint.with_name(f"{checkpoint.name}-finetuning")  # each stage its own: the first is not done twice
        bank: VectorBank | None = None
        if self._features is not None:
            fitted, bank = self._head(split)
        else:
            first = Stage(self.recipe.schedule, self.recipe.network, fresh=True)
            fitted = self._trained(first, folds, seed, checkpoint, progress)
        if self.recipe.finetuning.epochs:
            second = Stage(self.recipe.finetuning, self.recipe.finetuning, fresh=False)
            fitted = fitted.then(self._trained(second, folds, seed, later, progress))
        for file in (checkpoint, later):
            file.unlink(missing_ok=True)
        return self._scored(split, fitted, rows, None if self.recipe.finetuning.epochs else bank)

    def _trained(self, stage: Stage, folds: Folds, seed: int, checkpoint: Path, progress: Progress | None) -> Fitted:
        return fit_network(
            self.classifier, self.frames, folds, self._told, stage, seed, checkpoint=checkpoint, progress=progress
        )

    def copies(self, split: Split) -> pd.DataFrame:
        """Off-line copies a division is trained on: image_id of the film, its class, the copy's number and its seed."""
        folds = self._folds(self._rows(split))
        made = folds.copies > 0
        rows, numbers = folds.train[made], folds.copies[made].tolist()
        keys = [self.frames.keys[row] for row in rows.tolist()]
        films = self.films.iloc[rows]
        seeds = [copy_seed(self.recipe, key, number) for key, number in zip(keys, numbers, strict=True)]
        told = {"image_id": films["image_id"].to_numpy(), "target": films[TARGET].to_numpy(), "copy": numbers}
        return pd.DataFrame(told | {"seed": seeds})

    def notes(self, split: Split) -> list[str]:
        """What a reader of the run must know of how a division's films were weighed."""
        stages = [self.recipe.schedule, *([self.recipe.finetuning] if self.recipe.finetuning.epochs else [])]
        if not any(stage.balance == "source" or stage.robust for stage in stages):
            return []
        train = self._rows(split)["train"]
        targets, places = (column.iloc[train].tolist() for column in (self.films[TARGET], self.domains))
        told = unparted(targets, places, domain_column(self.films, self.recipe.films.domain))
        return [told] if told else []

    @property
    def halved(self) -> bool:
        """Whether the head that is released was fitted on vectors in bfloat16."""
        return self.still and self.recipe.schedule.precision == "bfloat16"

    def halving(self, split: Split) -> Halving | None:
        """What bfloat16 did to the tune films of a division that vectors were `compared` for, by the head held now.

        None where the head was fitted on vectors in float32, or there is no tune fold.
        """
        rows = self._rows(split)["tune"]
        if not self.halved or self._features is None or not len(rows):
            return None
        whole, halved = (
            self._features.vectors([Variant(row, halved=half) for row in rows.tolist()]) for half in (False, True)
        )
        return judge_halving(self.classifier.head, whole, halved, self.targets[rows])

    def _folds(self, rows: Mapping[str, NDArray[np.int64]]) -> Folds:
        """Who trains and tunes, off-line copies of training films included."""
        plan, train = self.recipe.oversampling, rows["train"]
        copied = np.isin(self.targets[train], [self.recipe.class_names.index(name) for name in plan.classes])
        copies = np.repeat(np.arange(plan.copies + 1), [len(train), *[copied.sum()] * plan.copies])
        places: NDArray[np.int64] = np.asarray(pd.factorize(self.domains)[0], np.int64)
        trained = np.concatenate([train, *[train[copied]] * plan.copies])
        return Folds(trained, rows["tune"], self.targets, copies, places)

    def _rows(self, split: Split) -> dict[str, NDArray[np.int64]]:
        """Row numbers in `films` by fold; the split was made from these films, but may have been loaded back."""
        where = pd.Index(self.films["image_id"])
        return {fold: where.get_indexer(split.table["image_id"].iloc[split.rows(fold)]) for fold in ("train", *SCORED)}

    def _scored(
        self, split: Split, fitted: Fitted, rows: dict[str, NDArray[np.int64]], bank: VectorBank | None
    ) -> Division:
        logits = {fold: self._logits(rows[fold], bank) for fold in SCORED}
        temperature = 1.0
        if self.recipe.judgement.calibrate and len(rows["tune"]):
            temperature = metrics.fit_temperature(logits["tune"].astype(np.float64), self.targets[rows["tune"]])
        tables = [self._table(split, fold, rows[fold], logits[fold], temperature) for fold in SCORED]
        points: tuple[OperatingPoint, ...] = ()
        if len(rows["tune"]):
            points = choose_operating_points(tables[0], self.recipe.class_names, self.recipe.judgement.operating_points)
        predictions = pd.concat(tables, ignore_index=True)
        for point in points:
            predictions[f"t.{point.label}.{point.name}"] = point.threshold
        return Division(fitted, temperature, points, predictions)

    def _table(
        self, split: Split, fold: str, rows: NDArray[np.int64], logits: NDArray[np.float32], temperature: float
    ) -> pd.DataFrame:
        table = prediction_table(self.films.iloc[rows], self.recipe.class_names, logits, temperature)
        return table.assign(repeat=split.seed, division=str(split.number), fold=fold)

    def _logits(self, rows: NDArray[np.int64], bank: VectorBank | None) -> NDArray[np.float32]:
        """Of films, by their vectors where these are in a bank, or by the whole network."""
        if self._features is not None and bank is not None:
            vectors = bank.vectors[self._features.rows(bank, [Variant(row) for row in rows.tolist()])]
            with torch.inference_mode():
                logits: NDArray[np.float32] = self.classifier.head.eval()(vectors).numpy()
            return logits
        return logits_of(self.classifier, self.preprocess, self.frames.only(rows))


def fit_together(work: Sequence[tuple[Fitter, Sequence[Split]]]) -> None:
    """Fit the heads of all these divisions in one pass over the vectors, read once; each fitter's `fit` finds its own.

    Fitters whose backbone is trained are left aside. Every fitter is prepared for its divisions.
    """
    tasks: list[HeadTask] = []
    owners: list[tuple[Fitter, Split, VectorBank]] = []
    places: dict[Path | None, list[tuple[Fitter, FeatureCache, Sequence[Split]]]] = {}
    for fitter, splits in work:
        if fitter._features is not None:
            places.setdefault(fitter.features_place, []).append((fitter, fitter._features, splits))
    for sharing in places.values():
        names = chain.from_iterable(features.keys(fitter._wanted(splits)) for fitter, features, splits in sharing)
        bank = sharing[0][1].read(names)
        for fitter, features, splits in sharing:
            tasks += [fitter._task(split, bank, features) for split in splits]
            owners += [(fitter, split, bank) for split in splits]
    for (fitter, split, bank), task, fitted in zip(owners, tasks, fit_heads(tasks), strict=True):
        fitter._heads[id(split)] = _Head(split, bank, task.head, fitted)


def prediction_table(
    films: pd.DataFrame, classes: Sequence[str], logits: NDArray[np.float32], temperature: float
) -> pd.DataFrame:
    """image_id, reference, `logit.C` and calibrated `p.C` of films (index rows with a target), a row each."""
    table = pd.DataFrame({"image_id": films["image_id"].to_numpy(), "reference": films[TARGET].to_numpy()})
    table[[f"logit.{name}" for name in classes]] = logits.astype(np.float64)
    table[[f"p.{name}" for name in classes]] = calibrated(logits, temperature)
    return table


def _count(parameters: Iterable[torch.nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _seed(recipe: Recipe, seed: int) -> int:
    """A division's seed, or another one where the recipe asks for other weights on the same division."""
    return seed_of(seed, recipe.schedule.seed) if recipe.schedule.seed else seed


def _build(recipe: Recipe) -> tuple[Classifier, Origin]:
    torch.manual_seed(_seed(recipe, recipe.split.seeds[0]))
    return build_classifier(recipe.network, recipe.preprocess, classes=len(recipe.classes))

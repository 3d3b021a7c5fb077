"""One division after another: fit on its train fold, calibrate and set thresholds on its tune fold, score the rest."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hilum import metrics
from hilum.bundle import calibrated
from hilum.cache import ArrayView
from hilum.evaluate import OperatingPoint, choose_operating_points
from hilum.features import FeatureCache, resolved
from hilum.files import write_json, written_aside
from hilum.networks import Classifier, Origin, build_classifier, logits_of
from hilum.parallel import Progress
from hilum.recipe import Recipe
from hilum.selection import TARGET
from hilum.split import Split
from hilum.train import Fitted, Folds, fit_head, fit_network, processor

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


class Fitter:
    """The recipe's network over one table of films: built once, fitted division by division."""

    def __init__(self, recipe: Recipe, films: pd.DataFrame, frames: ArrayView) -> None:
        self.recipe, self.films, self.frames = recipe, films, frames
        self.classifier, self.origin = _build(recipe)
        self.preprocess = resolved(recipe.preprocess, self.classifier)
        self.frozen = recipe.network.train_from is None
        numbers = films[TARGET].map({name: n for n, name in enumerate(recipe.classes)})
        self.targets: NDArray[np.int64] = np.asarray(numbers, np.int64)
        self._start = {name: value.clone() for name, value in self.classifier.state_dict().items()}
        self._features: FeatureCache | None = None

    def prepare(self, progress: Progress | None = None) -> int:
        """Compute a frozen backbone's vectors; returns how many were new, 0 when the backbone is trained."""
        if not self.frozen:
            return 0
        told = self.recipe.model_copy(update={"preprocess": self.preprocess})
        self._features = FeatureCache(self.classifier.to(processor()), self.origin, told)
        new = self._features.fill(self.films, self.frames, progress=progress)
        self.classifier.cpu()  # heads are fitted there
        return new

    def fit(self, split: Split, *, checkpoint: Path, progress: Progress | None = None) -> Division:
        """Fit, calibrate, choose thresholds and score one division; the classifier holds its weights afterwards."""
        rows = self._rows(split)
        folds = Folds(rows["train"], rows["tune"], self.targets)
        self.classifier.load_state_dict(self._start)
        if self._features is not None:
            fitted = fit_head(self.classifier, self._features, self.films, folds, self.recipe, split.seed)
        else:
            told = self.recipe.model_copy(update={"preprocess": self.preprocess})
            ids = self.films["image_id"].tolist()
            fitted = fit_network(
                self.classifier, self.frames, ids, folds, told, split.seed, checkpoint=checkpoint, progress=progress
            )
        return self._scored(split, fitted, rows)

    def _rows(self, split: Split) -> dict[str, NDArray[np.int64]]:
        """Row numbers in `films` by fold; the split was made from these films, but may have been loaded back."""
        where = pd.Index(self.films["image_id"])
        return {fold: where.get_indexer(split.table["image_id"].iloc[split.rows(fold)]) for fold in ("train", *SCORED)}

    def _scored(self, split: Split, fitted: Fitted, rows: dict[str, NDArray[np.int64]]) -> Division:
        logits = {fold: self._logits(rows[fold]) for fold in SCORED}
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

    def _logits(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if self._features is not None:
            vectors = torch.from_numpy(self._features.view(self.films.iloc[rows]))
            with torch.inference_mode():
                logits: NDArray[np.float32] = self.classifier.head.eval()(vectors).numpy()
            return logits
        return logits_of(self.classifier, self.preprocess, self.frames.only(rows))


def prediction_table(
    films: pd.DataFrame, classes: Sequence[str], logits: NDArray[np.float32], temperature: float
) -> pd.DataFrame:
    """image_id, reference, `logit.C` and calibrated `p.C` of films (index rows with a target), a row each."""
    table = pd.DataFrame({"image_id": films["image_id"].to_numpy(), "reference": films[TARGET].to_numpy()})
    table[[f"logit.{name}" for name in classes]] = logits.astype(np.float64)
    table[[f"p.{name}" for name in classes]] = calibrated(logits, temperature)
    return table


def _build(recipe: Recipe) -> tuple[Classifier, Origin]:
    torch.manual_seed(recipe.split.seeds[0])
    return build_classifier(recipe.network, channels=recipe.preprocess.channels, classes=len(recipe.classes))

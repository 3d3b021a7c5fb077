"""A run's folder, read when asked for, and the recipe a name, a run or a bundle stands for."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from hilum.bundle import MANIFEST, read_manifest
from hilum.errors import UsageError
from hilum.evaluate import Evaluation, load_evaluation
from hilum.index import Index
from hilum.recipe import Recipe, parse_recipe, recipe_text, toml_of
from hilum.split import Split

REFIT = "refit"
UNSEEN = "unseen.csv"


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
        return Index.load(self._finished("index.parquet"))

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

    @cached_property
    def unseen(self) -> pd.DataFrame | None:
        """What films of classes the network was never shown are called; None where the recipe names no such classes."""
        return pd.read_csv(self._finished(UNSEEN)) if self.recipe.unseen else None

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
        if self.recipe_text and not file.is_file():
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

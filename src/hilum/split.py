"""Split: who trains, tunes, tests or stays outside. Groups are dealt out, never films, so no patient can leak.

Folds: `train` fits, `tune` stops early and chooses thresholds, `test` is scored and chooses nothing, `external` holds
sources kept out whole, `unused` holds films that would tie two folds together or were not sampled.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hilum.errors import DataError
from hilum.files import written_aside

FOLDS = ("train", "tune", "test", "external", "unused")
COLUMNS = ["image_id", "group_id", "target", "fold", "why"]


class SplitPlan(BaseModel):
    """How films are divided; part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["fractions", "kfold"] = "fractions"
    tune: float = Field(default=0.15, ge=0, lt=1)
    """Share of the films for the tune fold (of those not tested, with `kfold`)."""
    test: float = Field(default=0.2, ge=0, lt=1)
    """Share of the films for the test fold, with `fractions`."""
    folds: int = Field(default=5, ge=2)
    """Number of folds, with `kfold`: each is the test fold once."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """One division a seed; figures are averaged over them."""
    hold_out_sources: tuple[str, ...] = ()
    """Sources kept out whole and scored as `external`."""
    hold_out_from: dt.date | None = None
    """Films acquired on this day or later form the test fold; their groups' other films are unused."""
    class_equal: bool = False
    """Draw as many training films of every class as the rarest has."""

    @model_validator(mode="after")
    def _leaves_films_to_train_on(self) -> "SplitPlan":
        if self.method == "fractions" and self.tune + self.test >= 1:
            raise ValueError(f"tune {self.tune} and test {self.test} leave nothing to train on")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat one")
        return self


@dataclass(frozen=True)
class Split:
    """One division. `table`: image_id, group_id, target (class name), fold, why (for unused films)."""

    table: pd.DataFrame
    seed: int
    number: int | str = 0

    def __post_init__(self) -> None:
        check_no_leak(self.table)

    @property
    def name(self) -> str:
        return f"seed-{self.seed}-fold-{self.number}"

    def rows(self, fold: str) -> NDArray[np.int64]:
        """Positions of a fold's films in the table."""
        return np.flatnonzero((self.table["fold"] == fold).to_numpy())

    def save(self, folder: Path) -> None:
        """Write `folder/seed-S-fold-N.csv`."""
        with written_aside(folder / f"{self.name}.csv") as aside:
            self.table.to_csv(aside, index=False)

    @classmethod
    def load(cls, path: Path) -> "Split":
        """Read a split back; a file edited into a leak is refused."""
        _, seed, _, number = path.stem.split("-")
        return cls(
            table=pd.read_csv(path, dtype="string"), seed=int(seed), number=int(number) if number.isdigit() else number
        )


def check_no_leak(table: pd.DataFrame) -> None:
    """Refuse a division in which one group's films lie in two folds.

    Raises:
        DataError: with the number of such groups and one of them.
    """
    used = table[table["fold"] != "unused"]
    folds = used.groupby("group_id")["fold"].nunique()
    torn = folds[folds > 1]
    if len(torn):
        raise DataError(f"{len(torn)} groups have films in two folds, first '{torn.index[0]}'; the split leaks")


def make_splits(films: pd.DataFrame, plan: SplitPlan) -> tuple[Split, ...]:
    """Every division the plan asks for: a seed after the other, a fold after the other.

    Args:
        films: image_id, group_id, target, source, acquired (ISO text or missing).
        plan: how to divide.

    Raises:
        DataError: a fold would lack a class, or a held-out source has no films.
    """
    base = films[["image_id", "group_id", "target"]].astype("string").reset_index(drop=True)
    outside = _held_out(films.reset_index(drop=True), plan)
    made = []
    for seed in plan.seeds:
        places = _deal(base, outside.isna(), seed)
        made += [_division(base, outside, places, plan, seed, number) for number in range(_divisions(plan))]
    return tuple(made)


def _divisions(plan: SplitPlan) -> int:
    return plan.folds if plan.method == "kfold" and plan.hold_out_from is None else 1


def _held_out(films: pd.DataFrame, plan: SplitPlan) -> pd.Series:
    """`external`, `test` (by date) or missing for each film, whole groups at a time; `unused` for those in between."""
    fold = pd.Series(pd.NA, index=films.index, dtype="string")
    for source in plan.hold_out_sources:
        theirs = films["source"] == source
        if not theirs.any():
            raise DataError(f"hold_out_sources names '{source}', which has no films here")
        fold[theirs] = "external"
    if plan.hold_out_from is not None:
        late = (films["acquired"] >= plan.hold_out_from.isoformat()).fillna(False) & fold.isna()
        if not late.any():
            raise DataError(f"hold_out_from = {plan.hold_out_from}: no film is dated that day or later")
        fold[late] = "test"
    # A group with a film outside must not stay inside: its other films tie the two together.
    tied = fold.isna() & films["group_id"].isin(films["group_id"][fold.notna()])
    torn = (fold == "test") & films["group_id"].isin(films["group_id"][fold == "external"])
    return fold.mask(tied | torn, "unused")


def _deal(base: pd.DataFrame, inside: pd.Series, seed: int) -> NDArray[np.float64]:
    """A place in [0, 1) for each film: groups shuffled within the class most of their films have, weighed by films.

    Cutting places into intervals therefore divides every class in the same proportions, to half a film where groups
    are single films.
    """
    pool = base[inside]
    sizes = pool.groupby(["group_id", "target"]).size().rename("films").reset_index()
    sizes = sizes.sort_values(["films", "target"], ascending=[False, True], kind="stable")
    group = sizes.groupby("group_id").agg(stratum=("target", "first"), films=("films", "sum")).sort_index()
    group["order"] = np.random.default_rng(seed).permutation(len(group))
    group = group.sort_values(["stratum", "order"])
    through = group.groupby("stratum")["films"].cumsum() - group["films"] / 2
    group["place"] = through / group.groupby("stratum")["films"].transform("sum")
    return np.asarray(base["group_id"].map(group["place"]), np.float64)


def _division(
    base: pd.DataFrame, outside: pd.Series, places: NDArray[np.float64], plan: SplitPlan, seed: int, number: int
) -> Split:
    if plan.hold_out_from is not None:
        test = np.zeros(len(base), bool)
        rest = places
    elif plan.method == "kfold":
        turned = (places - number / plan.folds) % 1.0
        test = turned < 1 / plan.folds
        rest = (turned - 1 / plan.folds) / (1 - 1 / plan.folds)
    else:
        test = places < plan.test
        rest = (places - plan.test) / (1 - plan.test)
    tune_share = plan.tune if plan.method == "kfold" else plan.tune / (1 - plan.test)
    fold = np.where(test, "test", np.where(rest < tune_share, "tune", "train"))
    table = base.assign(fold=outside.fillna(pd.Series(fold, dtype="string")))
    tied = "its group has films in a held-out source or period"
    table["why"] = pd.Series(tied, index=table.index, dtype="string").where(table["fold"] == "unused")
    if plan.class_equal:
        table = _equalise(table, seed)
    _check_classes(table, plan)
    return Split(table=table[COLUMNS].astype("string"), seed=seed, number=number)


def _equalise(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Mark training films beyond the rarest class's number as unused; the others are a seeded random draw."""
    train = table[table["fold"] == "train"]
    if train.empty:
        return table
    fewest = int(train["target"].value_counts().min())
    drawn = train.groupby("target").sample(n=fewest, random_state=seed).index
    spare = train.index.difference(drawn)
    table.loc[spare, ["fold", "why"]] = ["unused", "not drawn: classes are sampled equally"]
    return table


def _check_classes(table: pd.DataFrame, plan: SplitPlan) -> None:
    classes = sorted(table["target"].dropna().unique())
    if len(classes) < 2:
        raise DataError(f"only one class has films ({', '.join(classes) or 'none'}); a classifier needs two")
    needed = ["train"] + ["tune"] * (plan.tune > 0)
    for fold in needed:
        present = set(table["target"][table["fold"] == fold])
        for name in classes:
            if name not in present and (table["target"][table["fold"].isin(["train", "tune", "test"])] == name).any():
                raise DataError(
                    f"the {fold} fold has no film of class '{name}'; use fewer folds, a larger share or more films"
                )

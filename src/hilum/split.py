"""Split: who trains, tunes, tests or stays outside. Groups are dealt out, never films, so no patient can leak.

Folds: `train` fits, `tune` stops early and chooses thresholds, `test` is scored and chooses nothing, `external` holds
sources and domains kept out whole, `unused` holds films that would tie two folds together or were not sampled.

A division depends on the films, their groups and classes and the seed, never on the order of the rows.
"""

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from hilum.errors import DataError
from hilum.files import written_aside

if TYPE_CHECKING:
    import pandas as pd

NAME = re.compile(r"seed-(?P<seed>\d+)-fold-(?P<number>\w+)")
FOLDS = ("train", "tune", "test", "external", "unused")
NEEDED = ["image_id", "group_id", "target", "fold"]
COLUMNS = ["image_id", "source", "patient_id", "group_id", "path", "sha256", "target", "fold", "why"]
"""What a division's file tells of each film, as far as the index knows it."""


class SplitPlan(BaseModel):
    """How films are divided; part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["fractions", "kfold"] = "fractions"
    """One division by shares, or every film tested once."""
    tune: float = Field(default=0.15, ge=0, lt=1)
    """Share of the films for the tune fold; of those not tested, with `kfold` or `hold_out_from`."""
    test: float = Field(default=0.2, ge=0, lt=1)
    """Share of the films for the test fold, with `fractions`."""
    folds: int = Field(default=5, ge=2)
    """Number of folds, with `kfold`: each is the test fold once."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """One division a seed; figures are averaged over them."""
    hold_out_sources: tuple[str, ...] = ()
    """Sources kept out whole and scored as `external`."""
    hold_out_domains: tuple[str, ...] = ()
    """The same for values of the column that `films.domain` names: a film that states none there counts under its
    source. Unless a recipe names another column, domains are the sources."""
    hold_out_from: dt.date | None = None
    """Films acquired on this day or later are held out; their groups' other films are unused."""
    hold_out_as: Literal["test", "external"] = "test"
    """Held-out days are the test fold itself, or are scored as `external` beside a test fold of the rest."""
    class_equal: bool = False
    """Draw as many training films of every class as the rarest has."""

    @property
    def tests_by_date(self) -> bool:
        """Whether the test fold is the films of a period."""
        return self.hold_out_from is not None and self.hold_out_as == "test"

    # Written only where it says something, so that recipes from before it keep their digest.
    @model_serializer(mode="wrap")
    def _written(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = whole(self)
        return {key: value for key, value in told.items() if key != "hold_out_domains" or value}

    @model_validator(mode="after")
    def _leaves_films_to_train_on(self) -> "SplitPlan":
        if self.method == "fractions" and self.tune + self.test >= 1:
            raise ValueError(f"tune {self.tune} and test {self.test} leave nothing to train on")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} repeat one")
        if min(self.seeds) < 0:
            raise ValueError(f"seed {min(self.seeds)} is negative; seeds are whole numbers from 0")
        return self


@dataclass(frozen=True)
class Split:
    """One division. `table`: a row a film, `COLUMNS`; `target` is its class's name, `why` says why it is unused.

    Raises:
        DataError: a column is missing, a fold unknown, a film listed twice, or a group in two folds.
    """

    table: "pd.DataFrame"
    seed: int
    number: int | str = 0

    def __post_init__(self) -> None:
        missing = [name for name in NEEDED if name not in self.table.columns]
        if missing:
            raise DataError(f"the split lacks the column '{missing[0]}'")
        strange = self.table["fold"][~self.table["fold"].isin(FOLDS)]
        if len(strange):
            raise DataError(f"the split names a fold '{strange.iloc[0]}'; there are {', '.join(FOLDS)}")
        twice = self.table["image_id"][self.table["image_id"].duplicated()]
        if len(twice):
            raise DataError(f"the split lists the film '{twice.iloc[0]}' more than once")
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
        """Read a split back; a file edited into a leak is refused.

        Raises:
            DataError: no such file, no split, or one that must not be used.
        """
        import pandas as pd  # half a second, for those who divide films only

        named = NAME.fullmatch(path.stem)
        if named is None or not path.is_file():
            raise DataError(f"{path} is no split; they are files called seed-S-fold-N.csv")
        number = named["number"]
        try:
            # Only an empty cell is missing: a class may be called "none" and a patient "NA".
            table = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
            return cls(table=table, seed=int(named["seed"]), number=int(number) if number.isdigit() else number)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise DataError(f"{path.name} is not a readable CSV file") from error
        except DataError as error:
            raise DataError(f"{path.name}: {error}; make it anew") from error


def check_no_leak(table: "pd.DataFrame") -> None:
    """Refuse a division in which one group's films lie in two folds.

    Raises:
        DataError: with the number of such groups and one of them.
    """
    used = table[table["fold"] != "unused"]
    places = used[["group_id", "fold"]].drop_duplicates()["group_id"]
    torn = sorted(places[places.duplicated()].unique())
    if torn:
        raise DataError(f"{len(torn)} groups have films in two folds, first '{torn[0]}'; the split leaks")


def make_splits(films: "pd.DataFrame", plan: SplitPlan, *, domains: "pd.Series | None" = None) -> tuple[Split, ...]:
    """Every division the plan asks for: a seed after the other, a fold after the other.

    Args:
        films: `image_id`, `group_id`, `target`, `source`, `acquired` (ISO text or missing); a row a film. The others of
            `COLUMNS` are carried along where they are there.
        plan: how to divide.
        domains: where each film comes from, row by row; None: its source.

    Raises:
        DataError: a film has no class or group, a fold would lack a class, or what is held out has no films.
    """
    films = films.reset_index(drop=True)
    for name in ("target", "group_id"):
        if films[name].isna().any():
            raise DataError(f"film '{films['image_id'][films[name].isna()].iloc[0]}' has no {name}; leave it out first")
    base = films[[name for name in COLUMNS if name in films.columns]].astype("string")
    outside = _held_out(films, films["source"] if domains is None else domains.reset_index(drop=True), plan)
    made = []
    for seed in plan.seeds:
        places = _deal(base, outside.isna(), seed)
        made += [_division(base, outside, places, plan, seed, number) for number in range(_divisions(plan))]
    return tuple(made)


def _divisions(plan: SplitPlan) -> int:
    return plan.folds if plan.method == "kfold" and not plan.tests_by_date else 1


def _held_out(films: "pd.DataFrame", domains: "pd.Series", plan: SplitPlan) -> "pd.Series":
    """`external`, `test` (by date) or missing for each film, whole groups at a time; `unused` for those in between."""
    import pandas as pd  # half a second, for those who divide films only

    fold = pd.Series(pd.NA, index=films.index, dtype="string")
    for key, column, names in (
        ("hold_out_sources", films["source"], plan.hold_out_sources),
        ("hold_out_domains", domains, plan.hold_out_domains),
    ):
        for name in names:
            theirs = column == name
            if not theirs.any():
                raise DataError(f"{key} names '{name}', which has no films here")
            fold[theirs] = "external"
    if plan.hold_out_from is not None:
        late = (films["acquired"].astype("string") >= plan.hold_out_from.isoformat()).fillna(value=False) & fold.isna()
        if not late.any():
            raise DataError(f"hold_out_from = {plan.hold_out_from}: no film is dated that day or later")
        fold[late] = plan.hold_out_as
    # A group with a film outside must not stay inside: its other films tie the two together.
    tied = fold.isna() & films["group_id"].isin(films["group_id"][fold.notna()])
    torn = (fold == "test") & films["group_id"].isin(films["group_id"][fold == "external"])
    return fold.mask(tied | torn, "unused")


def _deal(base: "pd.DataFrame", inside: "pd.Series", seed: int) -> NDArray[np.float64]:
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
    base: "pd.DataFrame", outside: "pd.Series", places: NDArray[np.float64], plan: SplitPlan, seed: int, number: int
) -> Split:
    import pandas as pd  # half a second, for those who divide films only

    fold = outside.fillna(pd.Series(_cut(places, plan, number), dtype="string"))
    tied = "its group has films in a held-out source, domain or period"
    why = pd.Series(tied, index=base.index, dtype="string").where(fold == "unused")
    table = base.assign(fold=fold, why=why)
    if plan.class_equal:
        table = _equalise(table, seed)
    _check_classes(table, plan)
    return Split(table=table[[name for name in COLUMNS if name in table.columns]], seed=seed, number=number)


def _cut(places: NDArray[np.float64], plan: SplitPlan, number: int) -> NDArray[np.str_]:
    """The fold of each place in [0, 1): test first, then tune, then train; with k folds the circle is turned."""
    if plan.tests_by_date:
        test, tune = np.zeros(len(places), bool), places < plan.tune
    elif plan.method == "kfold":
        # Whole numbers, so that no rounding puts a film into two folds or none.
        test = np.minimum(np.floor(places * plan.folds), plan.folds - 1) == number
        rest = (places - (number + 1) / plan.folds) % 1.0
        tune = rest < plan.tune * (1 - 1 / plan.folds)
    else:
        test, tune = places < plan.test, places < plan.test + plan.tune
    return np.where(test, "test", np.where(tune, "tune", "train"))


def _equalise(table: "pd.DataFrame", seed: int) -> "pd.DataFrame":
    """Mark training films beyond the rarest class's number as unused; the others are a seeded random draw."""
    train = table[table["fold"] == "train"].sort_values("image_id")
    if train.empty:
        return table
    fewest = int(train["target"].value_counts().min())
    drawn = train.groupby("target").sample(n=fewest, random_state=seed).index
    spare = train.index.difference(drawn)
    table.loc[spare, ["fold", "why"]] = ["unused", "not drawn: classes are sampled equally"]
    return table


def _check_classes(table: "pd.DataFrame", plan: SplitPlan) -> None:
    """A network cannot learn, nor a threshold be chosen for, a class of which the fold has no film."""
    classes = sorted(table["target"].unique())
    if len(classes) < 2:
        raise DataError(f"only one class has films ({', '.join(classes) or 'none'}); a classifier needs two")
    needed = {"train": True, "tune": plan.tune > 0}
    needed["test"] = plan.method == "fractions" and not plan.tests_by_date and plan.test > 0
    for fold in (fold for fold, wanted in needed.items() if wanted):
        present = set(table["target"][table["fold"] == fold])
        for name in classes:
            if name not in present:
                raise DataError(
                    f"the {fold} fold has no film of class '{name}'; use fewer folds, a larger share, more films, or "
                    "hold out less"
                )

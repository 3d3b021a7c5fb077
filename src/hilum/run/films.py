"""Which films a run is on: those its recipe selects, with lungs drawn on them where it asks for that."""

from typing import Any

from hilum.index import Index
from hilum.lungs import DRAWN_BY, UNDRAWN, drawn_films
from hilum.parallel import Watch, unwatched
from hilum.recipe import Recipe
from hilum.selection import TARGET, need_classes, select_films


def choose_films(
    index: Index,
    recipe: Recipe,
    *,
    every_class: bool = True,
    processes: int | None = None,
    watch: Watch = unwatched,
) -> Index:
    """`select_films`; with `preprocess.masks = 'made'` then the films on which lungs can be drawn, and their masks.

    Raises:
        UsageError: as `select_films`.
        DataError: a class has no film, or a film is not the one that was indexed.
    """
    chosen = with_lungs(select_films(index, recipe, every_class=every_class), recipe, processes=processes, watch=watch)
    if every_class:
        need_classes(chosen, recipe)
    return chosen


def with_lungs(chosen: Index, recipe: Recipe, *, processes: int | None = None, watch: Watch = unwatched) -> Index:
    """The films in use with the masks their recipe asks for; drawn once, and again where they were thrown away."""
    if recipe.preprocess.masks == "given":
        return chosen
    with watch("draw lungs") as progress:
        return drawn_films(chosen, processes=processes, progress=progress)


def lungs_account(films: Index) -> dict[str, Any]:
    """Which bundle drew an index's lungs, and of each class on how many films it could draw none."""
    drawn = films.table[DRAWN_BY].dropna()
    undrawn = films.table.loc[(films.table["left_out"] == UNDRAWN).fillna(value=False), TARGET]
    counts = {name: int((undrawn == name).sum()) for name in sorted(films.table[TARGET].dropna().unique())}
    return {"bundle": drawn.iloc[0], "undrawn": counts}

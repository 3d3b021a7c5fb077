"""Which films of an index take part in a recipe, and as which class; every other film with its reason."""

import pandas as pd

from hilum.errors import DataError, unknown_name
from hilum.index import LABEL, Index
from hilum.recipe import Recipe
from hilum.records import View

TARGET = "target"


def select_films(index: Index, recipe: Recipe, *, every_class: bool = True) -> Index:
    """The index with a `target` column (class name), films that do not fit the recipe left out with the reason.

    Args:
        index: what there is.
        recipe: sources (none named: all), modality, views, classes, duplicates.
        every_class: refuse when a class has no film left; to score films elsewhere, one class may be missing.

    Raises:
        UsageError: a class is made of a label no film has been assessed for.
        DataError: fewer than two classes have films.
    """
    target, ambiguous = targets(index, recipe, every_class=every_class)
    chosen = Index(table=index.table.assign(**{TARGET: target}), root=index.root)
    films, views = recipe.films, chosen.table["view"]
    if films.sources:
        chosen = chosen.leave_out(~chosen.table["source"].isin(films.sources), "source not in the recipe")
    chosen = chosen.leave_out(chosen.table["modality"] != films.modality, f"modality is not {films.modality}")
    if films.views:
        kept = _spelt_out(films.views)
        chosen = chosen.leave_out(views.notna() & ~views.isin(kept), f"view is not {' or '.join(films.views)}")
        chosen = chosen.leave_out(views.isna() & (not films.unstated_view), "view not stated")
    chosen = chosen.leave_out(ambiguous, "labels of two classes")
    chosen = chosen.leave_out(target.isna(), "no label of any class")
    if films.duplicates == "first":
        chosen = _without_twins(chosen)
    if every_class:
        _need_classes(chosen, recipe)
    return chosen


def targets(index: Index, recipe: Recipe, *, every_class: bool = True) -> tuple[pd.Series, pd.Series]:
    """Each film's class (missing where none or several fit), and which films fit several."""
    table = index.table
    fits = pd.DataFrame(index=table.index)
    for name, labels in recipe.classes.items():
        unknown = [label for label in labels if LABEL + label not in table.columns]
        if unknown and every_class:
            raise unknown_name(f"label (class '{name}')", unknown[0], index.labels)
        known = [LABEL + label for label in labels if label not in unknown]
        fits[name] = table[known].fillna(value=False).astype(bool).any(axis=1)
    count = fits.sum(axis=1)
    target = fits.idxmax(axis=1).where(count == 1).astype("string")
    return target, count > 1


def _spelt_out(views: tuple[View, ...]) -> list[str]:
    """Asking for PA and AP includes films known to be frontal without saying which."""
    told = [view.value for view in views]
    return [*told, View.FRONTAL.value] if View.PA in views and View.AP in views else told


def _without_twins(chosen: Index) -> Index:
    """Leave out later copies of a picture in use: the class of the first film stands."""
    table = chosen.table
    first = table["duplicate_of"].fillna(table["near_duplicate_of"])
    used = table["image_id"][table["left_out"].isna()]
    class_of = table.set_index("image_id")[TARGET]
    again = first.isin(used)
    other = again & (first.map(class_of) != table[TARGET]).fillna(value=False)
    chosen = chosen.leave_out(other, "same picture as another film, under another label")
    return chosen.leave_out(again, "same picture as another film")


def _need_classes(chosen: Index, recipe: Recipe) -> None:
    present = set(chosen.films[TARGET])
    for name in recipe.classes:
        if name not in present:
            raise DataError(
                f"class '{name}' has no film left after selection; see why films were left out with: hilum describe"
            )

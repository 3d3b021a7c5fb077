"""Which films of an index take part in a recipe, and as which class; every other film with its reason."""

import re
from dataclasses import replace

import pandas as pd

from hilum.errors import DataError, unknown_name
from hilum.index import LABEL, Index
from hilum.recipe import ABSENT, Films, Recipe
from hilum.records import View

TARGET = "target"
NO_CLASS = "no label of any class"
COLLECTION = "attr.collection"
"""Column of an index: of sets put together from others, what a film was taken from."""
SEEN = "view_predicted"
"""Column of an index that `hilum view` has looked through: frontal, L or other."""
LOOKS = {View.FRONTAL: "looks frontal", View.LATERAL: "looks lateral", View.OTHER: "looks like no chest radiograph"}


def select_films(index: Index, recipe: Recipe, *, every_class: bool = True) -> Index:
    """The index with a `target` column (class name), films that do not fit the recipe left out with the reason.

    With `preprocess.masks = 'made'` no film has a mask yet, not even of its source's, and none is left out for want of
    one: see `hilum.lungs.drawn_films`.

    Args:
        index: what there is.
        recipe: sources (none named: all), modality, views, manufacturers, classes, duplicates.
        every_class: refuse when a class has no film left; to score films elsewhere, one class may be missing.

    Raises:
        UsageError: a class is made of a label that no film has been assessed for, or a source or manufacturer is not
            in the index.
        DataError: a class has no film.
    """
    target, ambiguous = targets(index, recipe, every_class=every_class)
    chosen = Index(table=index.table.assign(**{TARGET: target}), root=index.root)
    films = recipe.films
    for source in films.sources:
        if not (chosen.table["source"] == source).any():
            raise unknown_name("source of the index", source, chosen.table["source"].unique())
    if films.sources:
        chosen = chosen.leave_out(~chosen.table["source"].isin(films.sources), "source not in the recipe")
    chosen = chosen.leave_out(chosen.table["modality"] != films.modality, f"modality is not {films.modality}")
    chosen = _by_view(chosen, films)
    if films.manufacturers:
        chosen = _by_manufacturers(chosen, films.manufacturers, every_name=every_class)
    chosen = chosen.leave_out(ambiguous, "labels of two classes")
    if recipe.preprocess.masks == "made":
        chosen = replace(chosen, table=chosen.table.assign(lung_mask=pd.Series(pd.NA, chosen.table.index, "string")))
    elif films.masked or recipe.preprocess.masked:
        chosen = chosen.leave_out(chosen.table["lung_mask"].isna(), "no lung mask")
    chosen = chosen.leave_out(target.isna(), NO_CLASS)
    if films.duplicates == "first":
        chosen = _without_twins(chosen)
    if every_class:
        need_classes(chosen, recipe)
    return chosen


def targets(index: Index, recipe: Recipe, *, every_class: bool = True) -> tuple[pd.Series, pd.Series]:
    """Each film's class (missing where none or several fit), and which films fit several."""
    table = index.table
    fits = pd.DataFrame(index=table.index)
    for name, labels in recipe.classes.items():
        unknown = [label for label in labels if LABEL + label.removeprefix(ABSENT) not in table.columns]
        if unknown and every_class:
            raise unknown_name(f"label (class '{name}')", unknown[0].removeprefix(ABSENT), index.labels)
        fits[name] = False
        for label in (label for label in labels if label not in unknown):
            assessed = table[LABEL + label.removeprefix(ABSENT)]
            fits[name] |= (assessed == (not label.startswith(ABSENT))).fillna(value=False).astype(bool)
    count = fits.sum(axis=1)
    target = fits.idxmax(axis=1).where(count == 1).astype("string")
    return target, count > 1


def domain_column(films: pd.DataFrame, asked: str | None = None) -> str:
    """The column that tells where films come from: the one asked for, else that of the collections, else the source."""
    collections = COLLECTION in films and not films[COLLECTION].nunique() < 2
    return asked or (COLLECTION if collections else "source")


def domains_of(films: pd.DataFrame, asked: str | None = None) -> pd.Series:
    """Where each film comes from, by `domain_column`; by its source where it states none there.

    Raises:
        UsageError: the index has no such column, or it tells the class.
    """
    column = domain_column(films, asked)
    known = [name for name in films.columns if name != TARGET and not name.startswith(LABEL)]
    if column not in known:
        raise unknown_name("column of the index (films.domain)", column, known)
    return films[column].astype("string").fillna(films["source"])


def unseen_films(chosen: Index, recipe: Recipe) -> Index:
    """Of the films that fit a recipe but for their label, those of its `unseen` classes, with these as targets."""
    other = recipe.model_copy(update={"classes": recipe.unseen})
    target, ambiguous = targets(chosen, other, every_class=False)
    wanted = (chosen.table["left_out"] == NO_CLASS).fillna(value=False) & target.notna() & ~ambiguous
    left_out = chosen.table["left_out"].mask(wanted, pd.NA).mask(~wanted, "not of an unseen class")
    found = Index(table=chosen.table.assign(**{TARGET: target, "left_out": left_out}), root=chosen.root)
    return _without_twins(found) if recipe.films.duplicates == "first" else found


def _by_view(chosen: Index, films: Films) -> Index:
    """By the stated view; where none is stated, by what `hilum view` saw, if the index has its column.

    A film that looks frontal answers a recipe that asks for PA and AP, and says nothing to one that asks for either.
    """
    views, kept = chosen.table["view"], _spelt_out(films.views)
    seen = chosen.table[SEEN] if SEEN in chosen.table.columns else pd.Series(pd.NA, index=views.index, dtype="string")
    seen = seen.mask(views.notna())
    if View.FRONTAL.value not in kept and {View.PA, View.AP} & set(films.views):
        seen = seen.mask(seen == View.FRONTAL)
    if films.views:
        chosen = chosen.leave_out(views.notna() & ~views.isin(kept), f"view is not {' or '.join(films.views)}")
        for view, words in LOOKS.items():
            if view.value not in kept:
                chosen = chosen.leave_out((seen == view.value).fillna(value=False), f"view not stated, {words}")
    if not films.unstated_view:
        chosen = chosen.leave_out(views.isna() & ~seen.isin(kept), "view not stated")
    return chosen


def _by_manufacturers(chosen: Index, names: tuple[str, ...], *, every_name: bool) -> Index:
    stated = chosen.table["manufacturer"]
    spellings = [str(spelling) for spelling in stated.dropna().unique()]
    kept: set[str] = set()
    for name in names:
        made = {spelling for spelling in spellings if _words(name) in _words(spelling)}
        if every_name and not made:
            raise unknown_name("manufacturer of the index", name, spellings)
        kept |= made
    chosen = chosen.leave_out(stated.isna(), "manufacturer not stated")
    return chosen.leave_out(~stated.isin(kept), f"manufacturer is not {' or '.join(names)}")


def _words(text: str) -> str:
    """Its words in lower case, each between two spaces, so that whole words are found as parts of a text."""
    return " ".join(["", *re.findall(r"[^\W_]+", text.casefold()), ""])


def _spelt_out(views: tuple[View, ...]) -> list[str]:
    """Asking for PA and AP includes films known to be frontal without saying which."""
    told = [view.value for view in views]
    return [*told, View.FRONTAL.value] if View.PA in views and View.AP in views else told


def _without_twins(chosen: Index) -> Index:
    """Of the films in use that show one picture keep the first: its class stands."""
    table = chosen.table
    used = table[table["left_out"].isna()].groupby(_original(table))
    first = used[[TARGET, "image_id"]].transform("first").reindex(table.index)
    again = (first["image_id"] != table["image_id"]).fillna(value=False)
    other = again & (first[TARGET] != table[TARGET]).fillna(value=False)
    chosen = chosen.leave_out(other, "same picture as another film, under another label")
    return chosen.leave_out(again, "same picture as another film")


def _original(table: pd.DataFrame) -> pd.Series:
    """The image id of the first film of each picture, whether in use or not: copies of copies are followed back."""
    parent = table["duplicate_of"].fillna(table["near_duplicate_of"]).fillna(table["image_id"])
    before = dict(zip(table["image_id"], parent, strict=True))
    while True:
        further = parent.map(before).fillna(parent)
        if further.equals(parent):
            return parent
        parent = further


def need_classes(chosen: Index, recipe: Recipe) -> None:
    """Refuse an index in which a class of the recipe has no film.

    Raises:
        DataError: which class, and why most of its films were left out.
    """
    present = set(chosen.films[TARGET])
    for name in recipe.classes:
        if name not in present:
            reasons = chosen.table["left_out"][chosen.table[TARGET] == name].value_counts()
            why = f", most often because: {reasons.index[0]}" if len(reasons) else ""
            raise DataError(f"class '{name}' has no film left; {reasons.sum()} were left out{why}")

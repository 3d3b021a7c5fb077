"""Which films a check that costs network passes is made on, where there are more than it can afford."""

import numpy as np
import pandas as pd

from hilum.selection import TARGET


def some_films(films: pd.DataFrame, most: int, *, seed: int = 0) -> pd.DataFrame:
    """At most so many films, whole groups, of every class and source in the proportion they have among all.

    Args:
        films: index rows with a target.
        most: how many.
        seed: of the draw.

    Returns:
        Rows in the order they had, numbered anew; all of them where there are no more.
    """
    if len(films) <= most:
        return films.reset_index(drop=True)
    groups = films.sort_values("image_id").groupby("group_id")
    told = groups.agg(target=(TARGET, "first"), source=("source", "first"), films=("image_id", "size"))
    told = told.iloc[np.random.default_rng(seed).permutation(len(told))]
    stratum = told.groupby(["target", "source"])
    told["place"] = (stratum.cumcount() + 0.5) / stratum["films"].transform("size")
    told = told.sort_values("place", kind="stable")
    chosen = told.index[told["films"].cumsum() <= most]
    return films[films["group_id"].isin(chosen)].reset_index(drop=True)

"""Counting films by label and by any category of theirs."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from hilum.describe.description import ALL, NO_LABEL, NOT_STATED, Counts

LABEL_PREFIX = "label."


class Marks:
    """Who carries which label, as one boolean matrix (films, labels), so that every table is a `bincount`."""

    def __init__(self, films: pd.DataFrame) -> None:
        columns = [name for name in films.columns if name.startswith(LABEL_PREFIX)]
        self.names = tuple(name.removeprefix(LABEL_PREFIX) for name in columns)
        self.n_films = len(films)
        values = [films[name].astype("boolean") for name in columns]
        self._positive = [value.fillna(False).to_numpy(dtype=bool) for value in values]
        self._assessed = [value.notna().to_numpy(dtype=bool) for value in values]
        self._unlabelled = ~np.logical_or.reduce([np.zeros(len(films), bool), *self._positive])

    def subsets(self) -> Iterator[tuple[str, np.ndarray]]:
        """The films of each label, those of none if there are any, and all."""
        yield from zip(self.names, self._positive, strict=True)
        if self._unlabelled.any():
            yield NO_LABEL, self._unlabelled
        yield ALL, np.ones(self.n_films, bool)

    def assessed(self) -> Counts:
        rows = tuple(
            (int(positive.sum()), int((known & ~positive).sum()), int((~known).sum()))
            for positive, known in zip(self._positive, self._assessed, strict=True)
        )
        return Counts(
            title="Labels",
            heading="label",
            rows=self.names,
            columns=("positive", "negative", "not assessed"),
            cells=rows,
            n=self.n_films,
        )

    def count(
        self,
        title: str,
        heading: str,
        category: pd.Series,
        *,
        order: Sequence[str] = (),
        sort: str = "order",
        most: int | None = None,
    ) -> Counts:
        """Films by category (rows) and label (columns); categories no film has are left out, unstated ones come last.

        Args:
            title: of the table.
            heading: of its rows.
            category: text, one per film.
            order: the categories known beforehand, in their order; others follow by name.
            sort: `order`, or `count` for the commonest first.
            most: rows to list by name.
        """
        codes, found = pd.factorize(category.astype("string"), use_na_sentinel=True)
        totals = np.bincount(codes[codes >= 0], minlength=len(found))
        rank = {name: place for place, name in enumerate(order)}
        keys = [(rank.get(name, len(rank)), name) for name in found.tolist()]
        ranked = sorted(range(len(found)), key=lambda i: (-totals[i], keys[i]) if sort == "count" else keys[i])
        kept = ranked if most is None or len(ranked) <= most else ranked[:most]
        rows, place = _places(found.tolist(), kept, codes)
        subsets = list(self.subsets())
        table = np.stack([np.bincount(place[chosen], minlength=len(found) + 2) for _, chosen in subsets], axis=1)
        shown = [row for row in range(len(rows)) if table[row, -1] > 0]
        return Counts(
            title=title,
            heading=heading,
            rows=tuple(rows[row] for row in shown),
            columns=tuple(name for name, _ in subsets),
            cells=tuple(tuple(int(value) for value in table[row]) for row in shown),
            n=self.n_films,
        )


def _places(found: list[str], kept: list[int], codes: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Row names, and each film's row: the kept categories, then the others together, then the unstated."""
    target = np.full(len(found) + 1, len(kept), dtype=np.intp)
    target[kept] = np.arange(len(kept))
    target[-1] = len(kept) + 1  # code -1, no value, indexes the last place
    others = f"{len(found) - len(kept)} others"
    return [*(found[i] for i in kept), others, NOT_STATED], target[codes]

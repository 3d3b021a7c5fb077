"""Explanations as pictures, contact sheets, tables and a page; and which films of a run are worth explaining."""

import base64
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum.explain import Explanation
from hilum.explain.judging import REDRAWN, Share, told_lungs, told_randomisation
from hilum.explain.pictures import Tile, overlay, panels, sheet_of, tile_of, write_picture
from hilum.explain.writing import as_json, write_tables
from hilum.files import names_of, write_text
from hilum.report.films import choose_examples
from hilum.report.html import render
from hilum.report.tables import Grid
from hilum.run import Run

MOST_TILES = 24
"""Films on one contact sheet: the most confident ones where there are more."""
PAGE = "explanations.html.j2"
MUCH_PADDING = 0.1
"""Of a map's energy: from this median on it is told that maps lie beside the films."""
CAUTION = "A map shows where a network's evidence lies, not why, and not whether it is right."


@dataclass(frozen=True, slots=True)
class Case:
    """A film to explain, and what a run says of it.

    Attributes:
        path: of the film.
        image_id: in the run's index; None of films that are in no run.
        kind: one of `report.films.KINDS`.
        reference: its class by the reference standard.
        called: the class the run's networks called it, which is explained.
        scored: probability of that class by the networks that scored the film for the run.
    """

    path: Path
    image_id: str | None = None
    kind: str | None = None
    reference: str | None = None
    called: str | None = None
    scored: float | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What to explain; none for what the bundle decides."""
        return (self.called,) if self.called else ()


def run_cases(run: Run, *, each: int) -> tuple[list[Case], str]:
    """The tested films most worth a look, of every class and kind at most `each`, and whose network explains them.

    The released bundle scored a run's test films itself only where there is a single division. Of several folds the
    networks are not kept: the released one has seen most of these films in training.
    """
    predictions, plan = run.predictions, run.recipe.split
    predictions = predictions[predictions["fold"] == "test"]
    single = plan.method == "fractions" or plan.tests_by_date
    if single:
        first = run.splits[0]
        predictions = predictions[
            (predictions["repeat"] == first.seed) & (predictions["division"].astype(str) == str(first.number))
        ]
    note = "The maps are of the network that scored these films."
    if not single:
        note = (
            "These films were scored by networks of single folds, which are not kept. The maps are of the bundle's "
            "network, which was trained on most of these films."
        )
    return _chosen(run, predictions, each), note


def _chosen(run: Run, predictions: pd.DataFrame, each: int) -> list[Case]:
    classes = run.recipe.class_names
    films = predictions.groupby("image_id")
    mean = films[[f"p.{name}" for name in classes]].mean()
    reference = films["reference"].first().loc[mean.index]
    paths = run.index.films.set_index("image_id")["path"]
    cases = []
    for label in classes:
        rows = np.flatnonzero((reference == label).to_numpy())
        probabilities = mean.to_numpy(np.float64)[rows]
        for row, kind in choose_examples([label] * len(rows), probabilities, classes, each=each) if len(rows) else ():
            image_id, best = str(mean.index[rows[row]]), int(probabilities[row].argmax())
            path = run.index.path(paths[image_id])
            cases.append(Case(path, image_id, kind, label, classes[best], float(probabilities[row, best])))
    return cases


@dataclass
class Book:
    """Takes explanations one after another, writes each one's overlay, and in the end sheets, tables and page.

    Attributes:
        folder: to write to.
        title: of the page.
        cases: the films that explanations will come of, no path twice.
        notes: sentences to tell before those that the explanations give.
    """

    folder: Path
    title: str
    cases: Sequence[Case]
    notes: Sequence[str] = ()
    _told: list[Explanation] = field(default_factory=list)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _sheets: dict[tuple[str, str], list[tuple[float, Tile]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = names_of(case.path for case in self.cases)
        self._of_path = {case.path: (case, name) for case, name in zip(self.cases, names, strict=True)}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What is told of each explanation, for machines."""
        return self._rows

    @property
    def sentences(self) -> list[str]:
        """What to know of the explanations so far."""
        return [*self.notes, *notes_on(self._told)]

    def add(self, one: Explanation) -> None:
        """Write an explanation's overlay and keep what sheets, tables and page need of it."""
        case, name = self._of_path[one.film]
        written = None
        if one.refusal is None and one.label is not None:
            written = f"overlays/{name}-{as_name(one.label)}.png"
            pair = panels(one)
            write_picture(overlay(one, pair), self.folder / written)
            tiles = self._sheets.setdefault((case.reference or one.label, case.kind or ""), [])
            tiles.append((one.probability or 0.0, tile_of(one, pair, _tile_lines(one, case))))
        more = {"image_id": case.image_id, "reference": case.reference, "kind": case.kind, "scored": case.scored}
        self._rows.append(as_json(one, written, **(more if case.image_id else {})))
        self._told.append(one.without_pixels())

    def close(self) -> Path:
        """Write contact sheets, tables and the page; returns the page."""
        sheets = {title: self._ordered(*title) for title in self._sheets}
        below = " ".join([CAUTION, *self.notes])
        for (label, kind), tiles in sheets.items():
            name = "-".join(as_name(part) for part in (label, kind) if part)
            write_picture(sheet_of(_title(label, kind), tiles, below), self.folder / "sheets" / f"{name}.png")
        notes = self.sentences
        write_tables(self._rows, notes, self.folder)
        page = self.folder / "explanations.html"
        shown = {_title(*title): [_figure(tile) for tile in tiles] for title, tiles in sheets.items()}
        grid = _grid(self._told)
        write_text(page, render(PAGE, title=self.title, notes=notes, caution=CAUTION, grid=grid, sheets=shown))
        return page

    def _ordered(self, label: str, kind: str) -> list[Tile]:
        """A sheet's tiles: as chosen from a run, else the most probable first."""
        tiles = self._sheets[label, kind]
        ranked = tiles if kind else sorted(tiles, key=lambda tile: -tile[0])
        return [tile for _, tile in ranked[:MOST_TILES]]


def as_name(text: str) -> str:
    """A label or kind as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text)


def _title(label: str, kind: str) -> str:
    words = label.replace("_", " ")
    return f"Reference {words}: {kind}" if kind else f"What raises {words}"


def _tile_lines(one: Explanation, case: Case) -> list[str]:
    words = (one.label or "").replace("_", " ")
    lines = [f"{case.image_id or one.film.name}", f"{one.method} of {words}, p = {one.probability or 0:.2f}"]
    if case.called and case.scored is not None:
        lines.insert(1, f"called {case.called.replace('_', ' ')}, p = {case.scored:.2f}, when it was tested")
    if one.lungs_share:
        share = one.lungs_share
        of = "film" if share.film_area is None else "part seen"
        lines.append(f"in lungs: {100 * share.energy:.0f} % of the map, {100 * share.area:.0f} % of the {of}")
    return lines


def _figure(tile: Tile) -> dict[str, Any]:
    data = base64.b64encode(tile.jpeg).decode("ascii")
    return {"uri": f"data:image/jpeg;base64,{data}", "lines": tile.lines}


def notes_on(told: Sequence[Explanation]) -> list[str]:
    """What is to be said of many explanations: maps that are missing, lungs, weights drawn again."""
    explained = [one for one in told if one.refusal is None]
    missing = Counter(one.no_map for one in explained if one.no_map)
    notes = [f"{number} of {len(explained)} explanations have no map. {why}." for why, number in missing.items()]
    lungs = told_lungs([one.lungs_share for one in explained if one.lungs_share and not one.lungs_flags])
    beside = [one.padding_share for one in explained if one.padding_share is not None]
    if beside and float(np.median(beside)) >= MUCH_PADDING:
        share = f"{100 * float(np.median(beside)):.0f} %"
        notes.append(f"{share} of a map (median) lies in the black padding beside the film, where there is no patient.")
    drawn = len({one.film for one in explained if one.lesions_drawn_by})
    if drawn:
        notes.append(f"Lesions on {drawn} films are drawn by hilum's own network, not by a reader.")
    kept = {part: [one.redrawn[part] for one in explained if part in one.redrawn] for part in REDRAWN}
    return [*notes, *([lungs] if lungs else []), *told_randomisation(kept)]


def _grid(told: Sequence[Explanation]) -> Grid:
    """By label: how many maps there are and where they lie, as medians."""
    rows = []
    for label in dict.fromkeys(one.label for one in told if one.label):
        of_label = [one for one in told if one.label == label]
        shares = [[one.lungs_share, one.lesions_share] for one in of_label]
        rows.append(
            (
                label.replace("_", " "),
                f"{len(of_label)}",
                f"{sum(one.no_map is None for one in of_label)}",
                *(cell for kind in zip(*shares, strict=True) for cell in _medians([one for one in kind if one])),
            )
        )
    head = ("label", "films", "maps", "map in lungs", "lungs in film", "ratio", "map in lesions", "in film", "ratio")
    note = "Medians over films. A ratio of 1 is what a map that knows nothing of lungs or lesions would have."
    if any(one.seen for one in told):
        note += " Of a film that the network saw a part of, that part counts as the film."
    return Grid(caption="Where the maps lie", head=head, rows=tuple(rows), note=note)


def _medians(shares: Sequence[Share]) -> tuple[str, str, str]:
    """Energy, area and ratio; dashes where there is nothing to tell."""
    if not shares:
        return ("–", "–", "–")
    energy, area = (float(np.median([getattr(share, name) for share in shares])) for name in ("energy", "area"))
    return f"{energy:.0%}", f"{area:.0%}", f"{float(np.median([share.ratio for share in shares])):.2f}"

"""A run's page, put together from what the run's folder holds."""

import os
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.audit.attached import audit_of as audit_of
from hilum.audit.attached import known_of_run, line_of_run
from hilum.describe import describe
from hilum.errors import UnreadableFilm
from hilum.files import write_text
from hilum.index import Index
from hilum.pixels import read_film
from hilum.recipe import changes_of
from hilum.report import tables
from hilum.report.films import SIDE_PX, ExampleFilm, Kind, choose_examples
from hilum.report.html import RunReport, run_figures, run_report
from hilum.run import Run

PAGES = {"audit": Path("audit") / "audit.html", "explain": Path("explain") / "explanations.html"}
"""Other pages of a run, where they are made unless told where."""


def write_run_report(run: Run, out: Path | None = None) -> Path:
    """Write the run's page (`RUN/report.html` unless told where) and return its path."""
    path = out or run.folder / "report.html"
    write_text(path, run_report(gather(run, page=path)))
    return path


def write_figures(run: Run, folder: Path) -> list[Path]:
    """Write every figure of the run's page as an SVG file of its own, for papers and slides."""
    paths = []
    for name, svg in run_figures(gather(run)).items():
        paths.append(folder / f"{name}.svg")
        write_text(paths[-1], svg)
    return paths


def gather(run: Run, *, page: Path | None = None) -> RunReport:
    """All the page shows, read from the run's folder and, for the examples, from the films; links lead from `page`."""
    index, predictions = run.index, run.predictions
    examples, unread = example_films(index, predictions, run.recipe.class_names)
    warnings = [*run.evaluation.notes]
    if unread:
        warnings.append(f"{unread} example films are no longer readable where the index says they are")
    known = known_of_run(run)
    if known.why:
        warnings.append(f"the run's audit is not shown: {known.why}")
    return RunReport(
        title=run.recipe.title,
        recipe_name=run.recipe.digest[:12],
        recipe_toml=run.recipe_text,
        evaluation=run.evaluation,
        description=describe(index.films, index.left_out),
        split=tables.split_counts({split.name: split.table for split in run.splits}),
        history=run.history,
        predictions=predictions,
        examples=examples,
        provenance=run.account,
        left_out=index.left_out[["image_id", "left_out"]],
        warnings=warnings,
        unseen=run.unseen,
        changed=changes_of(run.recipe_text),
        audit=known.audit,
        verdict=known.audit.verdict.value if known.audit else None,
        headline=line_of_run(run.evaluation, known),
        links=links_of(run, page or run.folder / "report.html"),
    )


def links_of(run: Run, page: Path) -> dict[str, str]:
    """The run's other pages, as addresses from `page`; those that are there."""
    there = {name: run.folder / path for name, path in PAGES.items() if (run.folder / path).is_file()}
    return {name: quote(Path(os.path.relpath(path, page.parent)).as_posix()) for name, path in there.items()}


def example_films(index: Index, predictions: pd.DataFrame, classes: tuple[str, ...]) -> tuple[list[ExampleFilm], int]:
    """The films most worth a look, their probabilities averaged over repeats, and how many could not be read."""
    columns = [f"p.{name}" for name in classes]
    mean = predictions.groupby("image_id")[columns].mean()
    reference = predictions.groupby("image_id")["reference"].first().loc[mean.index]
    probabilities = mean.to_numpy(np.float64)
    paths = index.films.set_index("image_id")["path"]
    found: list[ExampleFilm] = []
    unread = 0
    for row, kind in choose_examples(reference.tolist(), probabilities, classes):
        image_id = str(mean.index[row])
        try:
            film = _shown(index.path(paths[image_id]))
        except (UnreadableFilm, OSError):
            unread += 1
            continue
        found.append(_example(image_id, film, str(reference.iloc[row]), probabilities[row], classes, kind))
    return found, unread


def _shown(path: Path) -> NDArray[np.uint8]:
    pixels = read_film(path, at_least_px=SIDE_PX).pixels
    shown: NDArray[np.uint8] = np.rint(pixels * 255).astype(np.uint8)
    return shown


def _example(
    image_id: str,
    pixels: NDArray[np.uint8],
    reference: str,
    probabilities: NDArray[np.float64],
    classes: tuple[str, ...],
    kind: Kind,
) -> ExampleFilm:
    best = int(probabilities.argmax())
    return ExampleFilm(image_id, pixels, reference, classes[best], float(probabilities[best]), kind)

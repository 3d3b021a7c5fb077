"""What comes before fitting: which films, decoded, and how they are divided; as saved where a run was interrupted."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd

from hilum.cache import ArrayView, FrameCache
from hilum.errors import UsageError
from hilum.files import write_text
from hilum.index import Index, build_index
from hilum.lungs import before_drawing
from hilum.parallel import Watch
from hilum.recipe import Recipe, parse_recipe
from hilum.run.films import choose_films, with_lungs
from hilum.run.folder import REFIT, Run
from hilum.selection import domains_of, select_films
from hilum.sources import read_source
from hilum.split import Split, SplitPlan, make_splits


def open_run(text: str, out: Path) -> Run:
    """The run in a folder, its recipe written there.

    Raises:
        UsageError: the folder holds a run of another recipe.
    """
    recipe = parse_recipe(text)
    file = out / "recipe.toml"
    begun = (out / "index.parquet").is_file()
    if begun and file.is_file() and Run(out).recipe.digest != recipe.digest:
        raise UsageError(f"{out} holds a run of another recipe; choose another --out or remove that folder")
    write_text(file, text)
    return Run(out)


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add up what a stage takes."""
    start = time.perf_counter()
    yield
    seconds[stage] = round(seconds.get(stage, 0.0) + time.perf_counter() - start, 2)


def check_same_films(run: Run, given: Index | None) -> None:
    """Refuse to go on with other films than a run began with."""
    file = run.folder / "index.parquet"
    if given is None or not file.is_file():
        return
    if select_films(given, run.recipe).digest != before_drawing(Index.load(file)).digest:
        raise UsageError(f"{run.folder} holds a run on other films; choose another --out or remove that folder")


def prepared(
    run: Run, root: Path | None, given: Index | None, processes: int | None, watch: Watch, seconds: dict[str, float]
) -> tuple[Index, ArrayView, list[Split]]:
    """Which films, decoded, and how they are divided."""
    with timed(seconds, "index"):
        index = _indexed(run, root, given, processes, watch)
        splits = _splits(run, index.films)
    with timed(seconds, "decode"), watch("decode films") as progress:
        cache = FrameCache(run.recipe.preprocess)
        cache.fill(index.films, index.root, processes=processes, progress=progress)
    return index, cache.view(index.films, index.root), splits


def _indexed(run: Run, root: Path | None, given: Index | None, processes: int | None, watch: Watch) -> Index:
    """The run's index with targets: as saved, or selected from the given one or from the recipe's sources."""
    file = run.folder / "index.parquet"
    if file.is_file():
        begun = Index.load(file, root=given.root if given else root)
        drawn = with_lungs(begun, run.recipe, processes=processes, watch=watch)
        if drawn.digest != begun.digest:
            raise UsageError(
                f"{run.folder} holds a run begun with lungs that another bundle drew; choose another --out or remove "
                "that folder"
            )
        return drawn
    index = given or _read_sources(run.recipe, root, processes, watch)
    chosen = choose_films(index, run.recipe, processes=processes, watch=watch)
    chosen.save(file)
    return chosen


def _read_sources(recipe: Recipe, root: Path | None, processes: int | None, watch: Watch) -> Index:
    if root is None or not recipe.films.sources:
        raise UsageError("the recipe names no sources; give an index of your films with --index FILE")
    records = [record for source in recipe.films.sources for record in read_source(source, root)]
    with watch("check films") as progress:
        return build_index(records, root, processes=processes, progress=progress)


def _splits(run: Run, films: pd.DataFrame) -> list[Split]:
    """The recipe's divisions in their order: as saved where they were, for a person may have changed a file."""
    folder = run.folder / "splits"
    splits = []
    for made in make_splits(films, run.recipe.split, domains=domains_of(films, run.recipe.films.domain)):
        file = folder / f"{made.name}.csv"
        if not file.is_file():
            made.save(folder)
        splits.append(Split.load(file))
    return splits


def final_split(run: Run, films: pd.DataFrame, splits: Sequence[Split]) -> Split:
    """The division whose weights are released: the only one, or of several folds a refit on all but a tune fold."""
    plan = run.recipe.split
    if plan.method == "fractions" or plan.tests_by_date:
        return splits[0]
    whole = SplitPlan(
        tune=plan.tune,
        test=0.0,
        seeds=plan.seeds[:1],
        hold_out_sources=plan.hold_out_sources,
        hold_out_domains=plan.hold_out_domains,
        class_equal=plan.class_equal,
    )
    domains = domains_of(films, run.recipe.films.domain)
    refit = replace(make_splits(films, whole, domains=domains)[0], number=REFIT)
    refit.save(run.folder / "splits")
    return refit

"""Train what a comparison is made of, one run after another; and each once more without every domain."""

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hilum.compare.planning import Variant, without
from hilum.errors import DataError, HilumError, UsageError, unknown_name
from hilum.index import Index
from hilum.lungs import before_drawing
from hilum.parallel import Progress
from hilum.run import Run, Watch, train_run, unwatched
from hilum.scoring import FEWEST
from hilum.selection import TARGET, domains_of

RUNS = "runs"
FEWEST_GROUPS = FEWEST
"""Groups of a class below which a kept-out domain says nothing about it."""


@dataclass(frozen=True)
class Without:
    """A variant's run that was kept from one domain, or why there is none."""

    variant: Variant
    domain: str
    run: Run | None
    failed: str = ""


def train_variants(
    variants: Sequence[Variant],
    root: Path | None,
    out: Path,
    *,
    given: Index | None = None,
    processes: int | None = None,
    watch: Watch = unwatched,
) -> list[Run]:
    """Train each variant in `out/runs/NAME`, or go on where it was interrupted; finished runs are left as they are.

    Args:
        variants: from `plan_variants`.
        root: folder the sources lie in; None with `given`.
        out: the comparison's folder.
        given: an index every recipe selects from.
        processes: how many decode at once.
        watch: told of every stage, with the run's number before it.

    Raises:
        HilumError: of the first run that fails, with its name; the runs before it stay.
    """
    runs = []
    for number, variant in enumerate(variants, 1):
        try:
            folder, numbered = out / RUNS / variant.name, _numbered(watch, f"{number}/{len(variants)}")
            runs.append(train_run(variant.text, root, folder, given=given, processes=processes, watch=numbered))
        except HilumError as error:
            raise type(error)(f"run {variant.name}: {error}") from error
    return runs


def train_without(
    variants: Sequence[Variant],
    runs: Sequence[Run],
    root: Path | None,
    out: Path,
    *,
    domains: Sequence[str] | None = None,
    given: Index | None = None,
    processes: int | None = None,
    watch: Watch = unwatched,
) -> list[list[Without]]:
    """Train every variant once more without each domain, in `out/runs/NAME-without-DOMAIN`; resumed as all runs are.

    A domain is a value of the column that the recipe's `films.domain` names. What cannot be trained without a domain,
    because no other has films of a class, is told and not an error.

    Args:
        variants: from `plan_variants`.
        runs: theirs, from `train_variants`.
        root: as there.
        out: as there.
        domains: which to keep out; None: all that have `FEWEST_GROUPS` groups of a class.
        given: as there; without one the inside run's own index is used again.
        processes: as there.
        watch: as there.

    Returns:
        Of each variant its runs, in the order of `domains`, or in alphabetical order.

    Raises:
        UsageError: an unknown domain, films of one domain only, or two runs of one name.
    """
    names = _domains(runs, domains)
    planned = [[(domain, without(variant, domain)) for domain in names] for variant in variants]
    _check_folders([*variants, *(made for row in planned for _, made in row)])
    numbers, total = itertools.count(1), len(variants) * len(names)
    found = []
    for row, run in zip(planned, runs, strict=True):
        index = given or before_drawing(Index.load(run.folder / "index.parquet", root=root))
        watches = [_numbered(watch, f"kept out {next(numbers)}/{total}") for _ in row]
        found.append(
            [
                _trained(made, domain, out, index, processes, one)
                for (domain, made), one in zip(row, watches, strict=True)
            ]
        )
    return found


def _trained(variant: Variant, domain: str, out: Path, index: Index, processes: int | None, watch: Watch) -> Without:
    try:
        folder = out / RUNS / variant.name
        run = train_run(variant.text, None, folder, given=index, processes=processes, watch=watch, for_use=False)
    except DataError as error:
        return Without(variant, domain, None, str(error))
    except HilumError as error:
        raise type(error)(f"run {variant.name}: {error}") from error
    return Without(variant, domain, run)


def _numbered(watch: Watch, number: str) -> Watch:
    def numbered(stage: str) -> AbstractContextManager[Progress]:
        return watch(f"{number} {stage}")

    return numbered


def inside_films(run: Run, inside: Run) -> pd.DataFrame:
    """image_id, group_id, target and domain of a run's films, but for those the inside run keeps out for good."""
    films = run.index.films
    told = films[["image_id", "group_id", TARGET]].assign(domain=domains_of(films, run.recipe.films.domain))
    first = inside.splits[0].table
    return told[~told["image_id"].isin(first["image_id"][first["fold"] == "external"])]


def large_domains(films: pd.DataFrame) -> set[str]:
    """Domains with `FEWEST_GROUPS` groups of a class or more; `films` from `inside_films`."""
    groups = films.groupby(["domain", TARGET])["group_id"].nunique()
    return {str(domain) for domain, _ in groups[groups >= FEWEST_GROUPS].index}


def _domains(runs: Sequence[Run], asked: Sequence[str] | None) -> list[str]:
    tables = [inside_films(run, run) for run in runs]
    known = sorted({str(name) for films in tables for name in films["domain"].unique()})
    for name in asked or ():
        if name not in known:
            raise unknown_name("domain", name, known)
    if len(known) < 2:
        raise UsageError(
            f"every film comes from '{known[0]}', so no domain can be kept out; "
            "name a finer column of the index in films.domain"
        )
    return list(asked) if asked is not None else sorted(set().union(*map(large_domains, tables)))


def _check_folders(variants: Sequence[Variant]) -> None:
    taken: set[str] = set()
    for variant in variants:
        # Some file systems do not tell upper case from lower.
        if variant.name.casefold() in taken:
            raise UsageError(
                f"two runs would be called '{variant.name}'; name fewer domains with --keep-out, or rename a recipe"
            )
        taken.add(variant.name.casefold())

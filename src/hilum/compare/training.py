"""Train what a comparison is made of, heads on the same vectors at once; and each once more without every domain."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from hilum.compare.planning import Variant, without
from hilum.errors import DataError, HilumError, UsageError, unknown_name
from hilum.index import Index
from hilum.lungs import before_drawing
from hilum.parallel import Progress
from hilum.run import Order, Run, Watch, train_runs, unwatched
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
        HilumError: of the first run that fails, with its name; the runs made before it stay.
    """
    orders = [
        Order(
            text=variant.text,
            root=root,
            out=out / RUNS / variant.name,
            given=given,
            watch=_numbered(watch, f"{number}/{len(variants)}"),
        )
        for number, variant in enumerate(variants, 1)
    ]
    runs: dict[int, Run] = {}
    for place, made in train_runs(orders, processes=processes):
        if isinstance(made, HilumError):
            raise type(made)(f"run {variants[place].name}: {made}") from made
        runs[place] = made
    return [runs[place] for place in range(len(variants))]


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
    orders = []
    for row, run in zip(planned, runs, strict=True):
        index = given or before_drawing(Index.load(run.folder / "index.parquet", root=root))
        orders += [Order(text=made.text, root=None, out=out / RUNS / made.name, given=index) for _, made in row]
    numbered = [
        replace(order, watch=_numbered(watch, f"kept out {number}/{len(orders)}"), for_use=False)
        for number, order in enumerate(orders, 1)
    ]
    asked = [pair for row in planned for pair in row]
    found: dict[int, Without] = {}
    for place, told in train_runs(numbered, processes=processes, go_on=True):
        domain, made = asked[place]
        if isinstance(told, HilumError) and not isinstance(told, DataError):
            raise type(told)(f"run {made.name}: {told}") from told
        found[place] = (
            Without(made, domain, None, str(told)) if isinstance(told, DataError) else Without(made, domain, told)
        )
    each = len(names)
    return [[found[place] for place in range(row * each, (row + 1) * each)] for row in range(len(variants))]


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

"""Where a command's work is done: on this machine's processes, or on those of a Ray cluster."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.errors import UsageError
from hilum.files import is_url
from hilum.parallel import Progress, Spread, spread

if TYPE_CHECKING:
    from hilum.cluster import Stored
    from hilum.parts import Job, Listed, Outcome, Plan


class Engine(StrEnum):
    """What hands work out."""

    LOCAL = "local"
    RAY = "ray"


On = Annotated[
    Engine,
    typer.Option("--engine", help="ray: on a Ray cluster, or on this machine's cores through Ray.", show_default=True),
]
Address = Annotated[
    str | None, typer.Option("--address", help="With --engine ray: HOST:PORT of the cluster's head, or auto.")
]


@dataclass(frozen=True, slots=True)
class Machines:
    """What a command was told of where its work is done.

    Attributes:
        engine: hands work out.
        address: of a cluster.
        processes: at once at most.

    Raises:
        UsageError: an address without `--engine ray`.
    """

    engine: Engine = Engine.LOCAL
    address: str | None = None
    processes: int | None = None

    def __post_init__(self) -> None:
        if self.engine is Engine.LOCAL and self.address is not None:
            raise UsageError("--address goes with --engine ray")

    @property
    def many(self) -> bool:
        """Whether other machines may be at work, which see no path that is relative to this one's folder."""
        return self.engine is Engine.RAY

    def place(self, told: str) -> str:
        """A path or a URL, where these machines can have one.

        Raises:
            UsageError: a URL without `--engine ray`.
        """
        if is_url(told) and not self.many:
            raise UsageError(f"{told} is a URL: it goes with --engine ray, and without it a path of this machine does")
        return told.rstrip("/") if is_url(told) else told

    def seen(self, path: Path | None) -> Path | None:
        """A path as all of the machines see it."""
        return path.resolve() if path and self.many else path


@dataclass(frozen=True)
class Films:
    """The films a command was given: paths and URLs, and what the stores say of the latter."""

    paths: Sequence[str]
    known: "Sequence[Stored]" = ()


def films_at(places: Sequence[str], machines: Machines) -> Films:
    """Files and folders, of this machine and of stores, as all the films they are.

    Raises:
        DataError: there is no such place, or no film in it.
        UsageError: a URL without `--engine ray`, or one that cannot be opened.
    """
    from hilum.predict import find_films

    paths, known = list[str](), list["Stored"]()
    for place in map(machines.place, places):
        if is_url(place):
            from hilum.cluster import stored_films

            stored = list(stored_films(place))
            known += stored
            paths += [one.url for one in stored]
        else:
            paths += map(str, find_films([Path(place)]))
    return Films(paths, known)


class Runner:
    """Plans parts and makes those that are missing, on this machine."""

    def __init__(self, processes: int | None = None) -> None:
        self._processes = processes

    def plan(self, job: "Job", films: "Sequence[Listed]", out: str, known: "Sequence[Stored]", size: int) -> "Plan":
        """What is to be done, in parts of `size` films at most."""
        from hilum.parts import plan_parts

        del known
        return plan_parts(job, films, Path(out), films_a_part=size)

    def __call__(self, job: "Job", plan: "Plan", out: str, progress: Progress) -> "Outcome":
        """Do it."""
        from hilum.parts import run_parts

        del out
        return run_parts(job, plan, processes=self._processes, progress=progress)


class RayRunner(Runner):
    """Plans parts and makes those that are missing, on the connected cluster."""

    def plan(self, job: "Job", films: "Sequence[Listed]", out: str, known: "Sequence[Stored]", size: int) -> "Plan":
        """What is to be done; few films in smaller parts, so that every process has some."""
        from hilum.cluster import part_size, plan_at

        return plan_at(job, films, out, known, films_a_part=min(size, part_size(len(films), self._processes)))

    def __call__(self, job: "Job", plan: "Plan", out: str, progress: Progress) -> "Outcome":
        """Do it."""
        from hilum.cluster import run_parts

        return run_parts(job, plan, out=out, processes=self._processes, progress=progress)


@contextmanager
def spread_on(machines: Machines) -> Iterator[Spread]:
    """What spreads work over films."""
    if not machines.many:
        yield spread
        return
    from hilum import cluster

    with _connected(machines):
        yield cluster.spread


@contextmanager
def runner_on(machines: Machines) -> Iterator[Runner]:
    """What makes parts."""
    if not machines.many:
        yield Runner(machines.processes)
        return
    with _connected(machines):
        yield RayRunner(machines.processes)


@contextmanager
def _connected(machines: Machines) -> Iterator[None]:
    """A connection; what Ray prints of lost workers meanwhile goes to standard error, away from machines' answers."""
    from hilum.cluster import connected

    with redirect_stdout(sys.stderr), connected(machines.address, processes=machines.processes):
        yield

"""Prediction of many films: this machine's processes against one and two one-processor workers of a Ray cluster.

Drawn films through the bundle that comes with hilum, in parts. Every way is timed from its second finished part to its
last: starting a pool or a Ray worker takes seconds, is the same for ten films and a million, and is told apart.

    python benchmarks/ray_scaling.py --json scaling.json --page docs/how-to/cluster.md
"""

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from films import grey_films, written
from measuring import Result, Row, Spent, Table, Timings, interleaved, line_of, parser
from pages import put_into

from hilum.cluster import connected, run_parts
from hilum.parallel import Progress, default_processes
from hilum.parts import Listed, Outcome, Plan, listed, plan_parts
from hilum.parts import run_parts as run_here
from hilum.predict_job import PredictJob

FILMS_A_PART = 64
FILMS, ROUNDS = 448, 3
FEW_FILMS = 256
ONE, ALL = "this machine, 1 thread", "this machine, all cores"
ONE_WORKER, TWO_WORKERS = "Ray, 1 worker", "Ray, 2 workers"
STARTS: dict[str, list[float]] = {}


def timed_parts(name: str, films: list[Listed], run: Callable[..., object]) -> Spent:
    """Seconds a film between the second part and the last; the seconds until the first are kept in `STARTS`."""
    seen: list[tuple[int, float]] = []
    begun = time.perf_counter()
    job = PredictJob(bundle="covid19-frontal", gate=False)  # drawn films look like no film to the gate
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_parts(job, films, Path(folder), films_a_part=FILMS_A_PART)
        run(job, plan, progress=lambda done, _total: seen.append((done, time.perf_counter())))
    STARTS.setdefault(name, []).append(next(at for done, at in seen if done) - begun)
    warm = [one for one in seen if one[0] >= 2 * FILMS_A_PART]
    (first, since), (last, until) = warm[0], warm[-1]
    return Spent(wall=(until - since) / (last - first), processor=0.0)


def here(job: PredictJob, plan: Plan, *, processes: int, progress: Progress) -> Outcome:
    """On this machine, with as many threads for networks as processes for films."""
    os.environ["OMP_NUM_THREADS"] = str(processes)
    return run_here(job, plan, processes=processes, progress=progress)


@contextmanager
def two_machines() -> Iterator[str]:
    """A cluster of two machines of one processor each, all of it on this one; yields its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def measured(films: list[Listed], rounds: int, *, warm_up: int) -> Timings:
    """All ways, on a cluster that is started for them."""
    runs = {
        ONE: partial(here, processes=1),
        ALL: partial(here, processes=default_processes()),
        ONE_WORKER: partial(run_parts, processes=1),
        TWO_WORKERS: partial(run_parts, processes=2),
    }
    ways = {name: partial(timed_parts, name, films, run) for name, run in runs.items()}
    with two_machines() as address, connected(address):
        return interleaved(ways, rounds=rounds, warm_up=warm_up)


def result_of(timings: Timings, options: argparse.Namespace) -> Result:
    """Rows of what is held against what, and a table of every way's speed."""
    pairs = ((ONE, ONE_WORKER), (ALL, TWO_WORKERS), (ONE_WORKER, TWO_WORKERS))
    rows = [
        Row.of(f"{ours}, a film", theirs, timings, ours=ours, theirs=theirs, unit="ms a film", clock="wall")
        for theirs, ours in pairs
    ]
    cells = tuple(
        (name, f"{1 / median(timings.seconds(name, 'wall')):.1f}", f"{median(STARTS[name]):.1f}")
        for name in timings.rounds
    )
    table = Table("Films a second once at work, and seconds to the first part:", ("way", "films/s", "start, s"), cells)
    return Result.of("ray_scaling", __doc__ or "", rows, options, tables=(table,))


def page_of(page: Path, result: Result) -> None:
    """Put what was measured into the page."""
    machine = result.machine
    about = (
        f"Measured by `{result.command}` on {machine.get('processor', 'this machine')}; all workers are on this one "
        f"machine, so that two of them share what it has. "
        f"Cores busy with other work before it: {machine.get('busy_before') or 0:.0%}."
    )
    rows = "\n".join(f"- {line_of(row)}" for row in result.rows)
    put_into(page, "ray-scaling", "\n\n".join([result.tables[0].markdown(), rows, about]))


def main() -> None:
    """Measure, print, and where asked write the page."""
    asked = parser(__doc__)
    asked.add_paced("films", "films", full=FILMS, quick=FEW_FILMS)
    asked.add_paced("rounds", "rounds", full=ROUNDS, quick=1)
    asked.add_argument("--page", type=Path, help="write the table into this page, between markers")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        films = listed(written(grey_films(None, options.films), Path(folder)))
        timings = measured(films, options.rounds, warm_up=0 if options.quick else 1)
    result = result_of(timings, options)
    result.deliver(options)
    if options.page:
        page_of(options.page, result)


if __name__ == "__main__":
    main()

"""Inference engines: every released bundle through torch, ONNX Runtime and OpenVINO, and how near they come.

    python benchmarks/engines.py [FILMS] [--bundle NAME] [--rounds 12]

Engines take turns round by round, with one film and with a batch of 16, over the same frames of the films given, made
as `hilum engines` makes them; without films, over simulated ones. Shifts are against torch in float32 on all films.
Nothing is written beside a bundle. OpenVINO in bfloat16 is timed whether or not its check would be passed.
"""

import argparse
import dataclasses
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from growth_films import simulated
from measuring import Result, Row, Table, interleaved, parser, use_threads

if TYPE_CHECKING:
    from hilum.engine import EngineRecord

BATCH = 16
EAGER = "torch"
FEW, FEW_SIMULATED = 120, 20


def main() -> None:
    options = _options()
    use_threads(options.threads)
    from hilum.bundle import released_names

    rows: list[Row] = []
    tables: list[Table] = []
    with tempfile.TemporaryDirectory() as folder:
        options.films = options.films or [simulated(Path(folder), FEW_SIMULATED)]
        for name in options.bundle or released_names():
            made = _of_bundle(name, options)
            rows += made[0]
            tables += made[1]
    Result.of("engines", __doc__ or "", rows, options, tables=tables).deliver(options)


def _options() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("films", type=Path, nargs="*", help="films, or folders of films; default simulated ones")
    made.add_argument("--bundle", action="append", help="name of a released bundle; repeatable; default all")
    made.add_argument("--rounds", type=int, default=12)
    options = made.parse_args()
    if options.quick:
        options.rounds = min(options.rounds, 3)
    return options


def _of_bundle(name: str, options: argparse.Namespace) -> tuple[list[Row], list[Table]]:
    """Goals are none: rows say how many times as fast as torch each engine is."""
    from hilum.agreement import check_films
    from hilum.bundle import released
    from hilum.bundle.checking import installed, load_eager
    from hilum.bundle.engines import opened
    from hilum.predict import find_films

    paths = find_films(options.films)
    paths = paths[:: max(1, len(paths) // (20 if options.quick else FEW))]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(released(name), Path(scratch) / name))
        record = check_films(folder, paths, processes=1)
        eager = load_eager(folder)
        engines = {EAGER: eager} | {
            one: dataclasses.replace(eager, engine=opened(folder, one, lambda: eager.network)) for one in installed()
        }
    frames = _frames(eager.preprocess.size_px, eager.preprocess.dtype)
    tables = [_agreement(name, record)]
    rows = []
    for count in (1, BATCH):
        films = f"{name}, {count} at once"
        ways = {one: partial(bundle.logits, frames[:count]) for one, bundle in engines.items()}
        timings = interleaved(ways, rounds=options.rounds, warm_up=2)
        tables.append(timings.table(films, against=EAGER, unit="ms a film", scale=1000 / count))
        rows += [
            Row.of(f"{films}, {one}", EAGER, timings, ours=one, theirs=EAGER, unit="ms a film", scale=1000 / count)
            for one in installed()
        ]
    return rows, tables


def _frames(side: int, dtype: type[np.generic]) -> np.ndarray:
    """Noise: what a network costs does not depend on what it is shown."""
    return np.random.default_rng(0).integers(0, 255, (BATCH, side, side)).astype(dtype)


def _agreement(name: str, record: "EngineRecord") -> Table:
    cells = tuple(
        (
            engine,
            f"{trial.largest:.2g}",
            f"{trial.median:.2g}",
            f"{trial.flips} films" if trial.flips is not None else f"{trial.pixels_flipped:.3%} of pixels",
            "" if trial.largest_share is None else f"{trial.largest_share:.2%}",
            "passed" if trial.passed else "not passed",
        )
        for engine, trial in record.trials.items()
        if engine != EAGER
    )
    columns = ("engine", "largest shift", "median", "changed", "largest change of a share", "check")
    return Table(f"{name} on {record.checked_on.films} films, against torch in float32", columns, cells)


if __name__ == "__main__":
    main()

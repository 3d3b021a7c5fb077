"""Training and prediction on a GPU: hilum's networks against the same networks in timm's own steps.

    python benchmarks/gpu.py [--networks resnet50 densenet121] [--batch 128]

Both sides: the same network of timm with random weights, the same batch, bfloat16 by autocast, channels_last, and with
`--compile` also torch.compile. timm's side is written as its benchmark.py does it: a batch that lies on the device, a
step of forward, backward and SGD, or a forward pass; what it reports is the network alone. hilum's side is measured
three ways: the same step through its own classifier, loss and Fabric; whole epochs of `fit_network` on a frame cache,
reading, scaling and copying included; and reading, scaling and copying alone, which tells whether they hold it up.

Goal: within 10 % of timm (ratio .9). Without a GPU nothing is run, and that is said; `--device cpu --quick` runs all of
it small, to see that it works.
"""

import argparse
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from measuring import Result, Row, Table, Timings, figure, interleaved, parser

GOAL = 0.9
NETWORKS = ("resnet50", "densenet121", "tf_efficientnet_lite0")
TIMM_TRAIN, TIMM_PREDICT = "timm, training step", "timm, forward"
PLAIN = "prediction in float32, as `TorchEngine` does it now, copies included"


def no_gpu() -> list[Row]:
    """What is said where there is none."""
    why = "not run: no GPU"
    return [Row(what, "timm", goal=GOAL, why=why) for what in ("training", "prediction", "loading")]


def per_call(ways: Mapping[str, Callable[[], object]], calls: int, settle: Callable[[], object]) -> dict[str, Any]:
    """Each way so many times in a row, the device waited for at the end."""

    def many(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(calls):
                work()
            settle()

        return run

    return {name: many(work) for name, work in ways.items()}


def row(
    what: str, timings: Timings, ours: str, theirs: str, films: int, *, why: str = "", goal: float | None = GOAL
) -> Row:
    """Films a second of both, by the wall clock."""
    made = Row.of(
        what,
        theirs,
        timings,
        ours=ours,
        theirs=theirs,
        unit="ms a film",
        scale=1000 / films,
        clock="wall",
        goal=goal,
        why=why,
    )
    rate = f"{figure(1000 / (made.ours or math.nan))} films/s, theirs {figure(1000 / (made.theirs or math.nan))}"
    return Row(**{**made.__dict__, "notes": rate})


def rows_of(name: str, options: argparse.Namespace, work: Path) -> tuple[list[Row], Table]:
    """Everything of one network."""
    from gpu_sides import Hilum, Timm, wait_for

    device = options.device
    hilum, timm = Hilum(name, options, work), Timm(name, options)
    ways: dict[str, Callable[[], object]] = {
        TIMM_TRAIN: timm.train,
        "hilum, training step": hilum.train,
        TIMM_PREDICT: timm.predict,
        "hilum, forward, bfloat16": hilum.predict_halved,
        "hilum, engine": hilum.predict,
        "hilum, loading": hilum.load,
    }
    if options.compile:
        ways["timm, training step, compiled"] = timm.train_compiled
        ways["timm, forward, compiled"] = timm.predict_compiled
    timed = per_call(ways, options.steps, lambda: wait_for(device))
    timed["hilum, epochs"] = lambda: hilum.epochs(options.steps)
    timings = interleaved(timed, rounds=options.rounds, warm_up=2)
    table = timings.table(
        f"{name}, {options.batch} films a step",
        against=TIMM_TRAIN,
        unit="ms a film",
        scale=1000 / (options.batch * options.steps),
    )
    return held_against(name, timings, options), table


def held_against(name: str, timings: Timings, options: argparse.Namespace) -> list[Row]:
    """A row a goal."""
    told = [
        ("training step", "hilum, training step", TIMM_TRAIN, "see the table"),
        ("whole epochs from the frame cache", "hilum, epochs", TIMM_TRAIN, held_up(timings)),
        ("forward", "hilum, forward, bfloat16", TIMM_PREDICT, "see the table"),
        (PLAIN, "hilum, engine", TIMM_PREDICT, "float32, and each batch is copied"),
    ]
    if options.compile:
        why = "hilum does not compile its networks"
        told.append(("training step, theirs compiled", "hilum, training step", f"{TIMM_TRAIN}, compiled", why))
        told.append(("forward, theirs compiled", "hilum, forward, bfloat16", f"{TIMM_PREDICT}, compiled", why))
    films = options.batch * options.steps
    return [row(f"{name}: {what}", timings, ours, theirs, films, why=why) for what, ours, theirs, why in told]


def held_up(timings: Timings) -> str:
    """Whether loading holds training up: it comes between steps, in the same process."""
    share = timings.ratio("hilum, loading", "hilum, training step", "wall").median
    verdict = "loading holds it up" if share > 0.1 else "loading does not hold it up"
    return f"{verdict}: it takes {share:.2f} times the step's time; setting up and a checkpoint count too"


def device_of(asked: str) -> str | None:
    """cuda, cpu where asked for, or None where there is no GPU."""
    if asked == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else None


def asked() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--device", choices=("auto", "cpu"), default="auto", help="cpu: to see that it works")
    made.add_argument("--networks", nargs="+", default=None, metavar="NAME", help="of timm")
    made.add_paced("batch", "films a batch", full=128, quick=4)
    made.add_paced("side", "px", full=224, quick=64)
    made.add_paced("steps", "steps a round", full=40, quick=2)
    made.add_paced("rounds", "rounds", full=5, quick=2)
    made.add_argument("--compile", action=argparse.BooleanOptionalAction, help="default: on a GPU")
    options = made.parse_args()
    options.networks = options.networks or (["resnet18"] if options.quick else list(NETWORKS))
    return options


def main() -> None:
    from hilum.process import settle

    options = asked()
    settle()
    options.device = device_of(options.device)
    rows: list[Row] = []
    tables: list[Table] = []
    told: Sequence[str] = ()
    if options.device is None:
        rows = no_gpu()
    else:
        from gpu_sides import device_name

        options.compile = options.device == "cuda" if options.compile is None else options.compile
        with tempfile.TemporaryDirectory() as work:
            for name in options.networks:
                found, table = rows_of(name, options, Path(work) / name)
                rows += found
                tables.append(table)
        told = (f"Device: {device_name(options.device)}; {options.side} px, bfloat16, wall clock.",)
    Result.of("gpu", __doc__, rows, options, tables=tables, told=told).deliver(options)


if __name__ == "__main__":
    main()

"""Predict films that are already decoded: Keras's `predict` against hilum's engines, the same network and weights.

    python benchmarks/batch_prediction.py [--films FOLDER] [--networks vgg16 resnet50] [--count 32] [--rounds 10]

Both sides get the same decoded films and threads and answer with probabilities, which are compared. Keras gets
(N, 224, 224, 3) floats and works in batches of 16; hilum gets frames of whole numbers and makes floats of them itself.
Keras runs in an environment of its own, in a process that stays warm; all ways take turns. Convolutions and batch norm
are random and the same on both sides; they tell films apart by little, which makes the most of an engine's rounding, so
whether bfloat16 may be used is a question for a trained bundle's check (`hilum engines`). Goals: 1.3 times in float32,
7 times in bfloat16 (set for AMX).
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Result, Row, Table, Timings, interleaved, parser, use_threads

from hilum.engine.trials import LARGEST_SHIFT

NETWORKS = ("vgg16", "resnet50")
BATCH = 16
FLOAT_GOAL, HALF_GOAL = 1.3, 7.0
HALF, WHOLE = "bfloat16", "float32"
PEAK = "product of matrices"
GIGA = {"vgg16": 30.7, "resnet50": 8.2}
"""Floating-point operations a film of 224 px, a multiplication and an addition counted as two."""
MATRIX = 2048


def hand_over(bundle: Any, file: Path) -> None:
    """Write a bundle's tensors under their names."""
    import numpy as np

    state = {name: value.numpy() for name, value in bundle.network.state_dict().items()}
    np.savez(file, **{name: value for name, value in state.items() if not name.endswith("num_batches_tracked")})


def measured(network: str, options: argparse.Namespace, work: Path, keras: Any, frames: Any) -> tuple[Any, ...]:
    """Rows and table of one network."""
    import numpy as np

    from networks import engines_of, farthest

    answering = {one.name: one for one in engines_of(work / network)}
    question = {"network": network, "batch": BATCH}
    keras.ask(question | {"out": str(work / "keras.npy")})
    theirs = np.load(work / "keras.npy").astype(np.float64)
    apart = {name: farthest(one.probabilities(frames), theirs) for name, one in answering.items()}
    ways: dict[str, Any] = {"Keras": lambda: keras.spent(question)}
    ways |= {name: lambda one=one: one.probabilities(frames) for name, one in answering.items()}
    timings = interleaved(ways | {PEAK: multiplied()}, rounds=options.rounds)
    rows = [row_of(network, kind, timings, apart, len(frames)) for kind in (WHOLE, HALF)]
    table = timings.table(
        f"{network}, {len(frames)} films", against="Keras", unit="ms a film", scale=1000 / len(frames)
    )
    cells = tuple(
        (*line, f"{apart[line[0]]:.1e}" if line[0] in apart else "") for line in table.cells if line[0] != PEAK
    )
    return rows, Table(table.title, (*table.columns, "largest difference of a probability"), cells)


def multiplied() -> Callable[[], object]:
    """Multiplies two matrices in float32: the most operations a second that this processor is found to do."""
    import torch

    one, other = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    return lambda: torch.mm(one, other)


def row_of(network: str, kind: str, timings: Timings, apart: dict[str, float], films: int) -> Row:
    """The quickest of hilum's engines in one precision against Keras; without one, why."""
    goal = FLOAT_GOAL if kind == WHOLE else HALF_GOAL
    what, peer = f"batch prediction, {network}, {kind}", "Keras predict"
    ours = [name for name in apart if name.endswith(kind) and not name.startswith("torch")]
    if not ours:
        return Row(what, peer, goal=goal, why=f"no engine here answers in {kind}")
    best = max(ours, key=lambda name: timings.ratio("Keras", name).median)
    return Row.of(
        what,
        peer,
        timings,
        ours=best,
        theirs="Keras",
        unit="ms a film",
        scale=1000 / films,
        goal=goal,
        why=reason(network, kind, timings, films),
        notes=f"{best}; probabilities differ by {apart[best]:.1e} at most"
        + (
            ""
            if apart[best] <= LARGEST_SHIFT
            else f", where a bundle's check lets {LARGEST_SHIFT:g} pass; weights are random"
        ),
    )


def reason(network: str, kind: str, timings: Timings, films: int) -> str:
    """What was measured that keeps the ratio down."""
    if kind == HALF:
        names = [name for name in timings.rounds if name.startswith("OpenVINO")]
        gain = timings.ratio(*sorted(names, reverse=True)).median if len(names) == 2 else float("nan")
        return (
            f"bfloat16 is {gain:.1f} times as fast as float32 on this processor; the goal was set where it is 6.5 (AMX)"
        )
    operations = GIGA[network] * films / (2e-9 * MATRIX**3)
    share = operations / timings.ratio("Keras", PEAK).median
    return f"Keras already works at {share:.0%} of the rate of a product of matrices in float32 here"


def main() -> None:
    options = asked()
    use_threads(options.threads)
    import numpy as np
    from films import grey_films
    from peers import Worker, keras_python

    from networks import framed, made_bundle, scratch

    films = grey_films(options.films, options.count)
    rows: list[Row] = []
    tables: list[Table] = []
    with scratch() as work:
        for network in options.networks:
            bundle = made_bundle(network, framed(films), work / network)
            hand_over(bundle, work / f"{network}.npz")
        frames = framed(films)(bundle.preprocess)
        np.save(work / "films.npy", np.ascontiguousarray(bundle.preprocess.normalise(frames).transpose(0, 2, 3, 1)))
        call = [keras_python(), str(Path(__file__).with_name("batch_keras.py")), str(work), str(options.threads)]
        with Worker(call, threads=options.threads) as keras:
            for network in options.networks:
                found, table = measured(network, options, work, keras, frames)
                rows += found
                tables.append(table)
            versions = keras.told["versions"]
    told = f"{versions}; batches of {BATCH} in Keras; weights random, the same on both sides."
    Result.of("batch_prediction", str(__doc__), rows, options, tables=tables, told=(told,)).deliver(options)


def asked() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--films", type=Path, help="folder of films; drawn ones without it")
    made.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    made.add_paced("count", "films", full=32, quick=8)
    made.add_paced("rounds", "rounds", full=10, quick=2)
    return made.parse_args()


if __name__ == "__main__":
    main()

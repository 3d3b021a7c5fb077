"""`hilum predict one.png` in a new process, against a new process that imports torch and timm and predicts.

    python benchmarks/cold_start.py [--rounds 10]

EfficientNet-Lite0 and its head have the same weights on both sides. hilum also draws up what a command does: it checks
the bundle's hashes, replays its self-test, and asks the view filter, a second network, whether the film is a chest;
`--no-gate` leaves that out. The files are in the system's memory after the first round. Goal: 4 times, and torch and
timm not imported, which is looked up in what Python tells of its imports.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Result, Row, Timings, interleaved, parser, use_threads

NAIVE = "torch and timm"
HILUM, NO_GATE, HELP = "hilum predict", "hilum predict --no-gate", "hilum --version"
BARRED = ("torch", "timm")
COMMAND = "from hilum.cli import main; main()"


def predict(bundle: Path, film: Path, *more: str) -> list[str]:
    """The command, as the console script runs it."""
    return [sys.executable, "-c", COMMAND, "predict", str(bundle), str(film), *more]


def run(call: list[str], variables: dict[str, str]) -> Callable[[], object]:
    """Starts it and waits; statuses 0 (done) and 3 (refused by the gate) are answers."""

    def once() -> str:
        done = subprocess.run(call, capture_output=True, text=True, env=variables, check=False)
        if done.returncode not in (0, 3):
            raise SystemExit(f"{' '.join(call)} failed:\n{done.stderr[-3000:]}")
        return done.stdout + done.stderr

    return once


def imported(call: list[str], variables: dict[str, str]) -> tuple[list[str], str]:
    """Which packages that must not be there a process imports, and what share of its time goes into imports."""
    start = time.perf_counter()
    told = str(run([call[0], "-X", "importtime", *call[1:]], variables)())
    wall = time.perf_counter() - start
    lines = [line.split("|") for line in told.splitlines() if line.startswith("import time:") and "self [" not in line]
    packages: Counter[str] = Counter()
    for own, _, name in lines:
        packages[name.strip().partition(".")[0]] += int(own.rpartition(":")[2])
    if "hilum" not in packages:
        raise SystemExit("what Python tells of its imports could not be read")
    most = ", ".join(name for name, _ in packages.most_common(4))
    share = f"{1e-6 * packages.total() / wall:.0%} of hilum's time goes into imports, most of it {most}"
    return [name for name in BARRED if name in packages], share


def weights_for_timm(bundle: Any, file: Path) -> None:
    """The bundle's weights under timm's names."""
    import torch

    state = bundle.network.state_dict()
    named = {name.replace("backbone.body.", "").replace("head.0.", "classifier."): told for name, told in state.items()}
    torch.save(named, file)


def row_of(timings: Timings, ours: str, told: tuple[list[str], str], goal: float | None) -> Row:
    """One of hilum's ways; with torch imported it is no answer to the question."""
    found, share = told
    row = Row.of(
        f"`{ours} one.png`, cold process",
        "importing torch and timm and predicting",
        timings,
        ours=ours,
        theirs=NAIVE,
        unit="ms",
        goal=goal,
        notes="imports neither torch nor timm" if not found else f"imports {' and '.join(found)}",
        why=reason(timings, share),
    )
    return Row(row.what, row.peer, goal=goal, why=f"it imports {' and '.join(found)}") if found else row


def reason(timings: Timings, share: str) -> str:
    """What was measured that keeps the ratio down."""
    return f"{share}; {1000 * median_of(timings, HELP):.0f} ms go into a command that does nothing"


def median_of(timings: Timings, way: str) -> float:
    """Median seconds of the processor."""
    return statistics.median(timings.seconds(way))


def main() -> None:
    options = asked()
    use_threads(options.threads)
    from films import grey_films, written
    from peers import environment

    from networks import LITE0, framed, made_bundle, scratch

    variables = environment(options.threads)
    films = grey_films(None, 8)
    with scratch() as work:
        film = written(films[:1], work)[0]
        weights_for_timm(made_bundle(LITE0, framed(films), work / "bundle"), work / "weights.pth")
        naive = [sys.executable, str(Path(__file__).with_name("cold_naive.py")), str(work / "weights.pth"), str(film)]
        calls = {NAIVE: naive, HILUM: predict(work / "bundle", film)}
        calls |= {
            NO_GATE: predict(work / "bundle", film, "--no-gate"),
            HELP: [sys.executable, "-c", COMMAND, "--version"],
        }
        found = {name: imported(calls[name], variables) for name in (HILUM, NO_GATE)}
        timings = interleaved({name: run(call, variables) for name, call in calls.items()}, rounds=options.rounds)
    rows = [row_of(timings, HILUM, found[HILUM], 4), row_of(timings, NO_GATE, found[NO_GATE], None)]
    table = timings.table("New processes", against=NAIVE, unit="ms")
    Result.of("cold_start", str(__doc__), rows, options, tables=[table]).deliver(options)


def asked() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_paced("rounds", "rounds", full=10, quick=2)
    return made.parse_args()


if __name__ == "__main__":
    main()

"""What was made once is not made again: frames read back from the cache, and a recipe trained a second time.

    python benchmarks/second_run.py [--films FOLDER] [--count 96] [--rounds 10] [--trains 3]

Frames: reading a batch of 224-px frames back from the cache against decoding and resizing the same files (0.7-megapixel
JPEGs), in one process. That is what a second epoch saves. A second run: `hilum train demo` on simulated films in a new
process with an empty cache, and once more into another folder; what it does beside reading films, it does again.
Goal: 10 times, for the films.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import Ratio, Result, Row, Spent, Table, Timings, interleaved, parser, timed, use_threads

AGAIN, CACHED = "decoding again", "from the cache"
FIRST, SECOND = "first run", "second run"
KEPT = ("decode", "features")
"""Stages of a run whose results are kept in the cache."""
COMMAND = "from hilum.cli import main; main()"


def frames(options: argparse.Namespace, work: Path) -> tuple[Row, Table]:
    """A second epoch's films."""
    import pandas as pd
    from films import grey_films, written

    from hilum.cache import FrameCache, read_for
    from hilum.files import sha256_file
    from hilum.preprocess import Preprocess

    paths = written(grey_films(options.films, options.count), work / "films", ".jpg")
    preprocess = Preprocess(size_px=224)
    table = pd.DataFrame({"sha256": [sha256_file(path) for path in paths], "path": [path.name for path in paths]})
    cache = FrameCache(preprocess, work / "cache")
    cache.fill(table, paths[0].parent, processes=1)
    view = cache.view(table, paths[0].parent)
    same = (view[:] == [preprocess.frame(read_for(preprocess, path).pixels) for path in paths]).all()
    ways = {
        AGAIN: lambda: [preprocess.frame(read_for(preprocess, path).pixels) for path in paths],
        CACHED: lambda: [view[start : start + 16] for start in range(0, len(view), 16)],
    }
    timings = interleaved(ways, rounds=options.rounds)
    scale = 1000 / len(paths)
    row = Row.of(
        "second epoch: frames from the cache",
        AGAIN,
        timings,
        ours=CACHED,
        theirs=AGAIN,
        unit="ms a film",
        scale=scale,
        goal=10,
        notes="the same bytes" if same else "the bytes differ",
        why=f"{preprocess.size_px**2 / 1000:.0f} kB a frame are read from a file that was just written",
    )
    return row, timings.table(f"Frames of {len(paths)} films", against=AGAIN, unit="ms a film", scale=scale)


def trained(options: argparse.Namespace, work: Path) -> tuple[list[Row], Table]:
    """A second run of the same recipe."""
    from hilum.simulate.cohort import CohortSpec, simulate_cohort

    simulate_cohort(CohortSpec(films=options.train_films, size_px=640, format="jpg"), work / "data")
    rounds: dict[str, list[Spent]] = {FIRST: [], SECOND: []}
    parts: dict[str, list[dict[str, float]]] = {FIRST: [], SECOND: []}
    for number in range(options.trains):
        cache = work / f"cache-{number}"
        for way, kept in rounds.items():
            out = work / f"{way.replace(' ', '-')}-{number}"
            kept.append(timed(lambda cache=cache, out=out: train(work / "data", out, cache, options.threads)))
            parts[way].append(json.loads((out / "run.json").read_text(encoding="utf-8"))["seconds"])
    timings = Timings(rounds)
    told = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in parts[SECOND][-1].items())
    row = Row.of(
        f"second `hilum train demo`, {options.train_films} films, whole process",
        FIRST,
        timings,
        ours=SECOND,
        theirs=FIRST,
        unit="s",
        scale=1,
        notes=f"the second run's seconds by the clock: {told}",
    )
    table = timings.table(f"`hilum train demo` on {options.train_films} films", against=FIRST, unit="s", scale=1)
    return [kept_stages(parts, options.train_films), row], table


def kept_stages(parts: dict[str, list[dict[str, float]]], films: int) -> Row:
    """The stages whose results are kept: decoding, and what the frozen network says."""
    seconds = {way: [sum(one[stage] for stage in KEPT) for one in rounds] for way, rounds in parts.items()}
    medians = {way: statistics.median(rounds) for way, rounds in seconds.items()}
    of_network = statistics.median(one["features"] for one in parts[SECOND])
    return Row(
        f"second run: frames and features of {films} films",
        "decoding and computing again",
        ratio=Ratio.of(first / max(again, 1e-3) for first, again in zip(seconds[FIRST], seconds[SECOND], strict=True)),
        goal=10,
        ours=medians[SECOND],
        theirs=medians[FIRST],
        unit="s, wall",
        n=len(seconds[FIRST]),
        why=f"{of_network:.1f} s of the second run's {medians[SECOND]:.1f} build the network, however many films",
    )


def train(data: Path, out: Path, cache: Path, threads: int) -> None:
    """The command in a new process."""
    from peers import environment

    call = [sys.executable, "-c", COMMAND, "train", "demo", "--root", str(data), "--out", str(out)]
    done = subprocess.run(call, env=environment(threads, cache), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"hilum train failed:\n{done.stderr[-3000:]}")


def main() -> None:
    options = asked()
    use_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        row, table = frames(options, Path(folder))
        rows, runs = trained(options, Path(folder))
    Result.of("second_run", str(__doc__), [row, *rows], options, tables=[table, runs]).deliver(options)


def asked() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--films", type=Path, help="folder of films to decode; drawn ones without it")
    made.add_paced("count", "films to decode", full=96, quick=16)
    made.add_paced("rounds", "rounds", full=10, quick=3)
    made.add_paced("trains", "pairs of runs", full=3, quick=1)
    made.add_paced("train-films", "films to train on", full=160, quick=40)
    return made.parse_args()


if __name__ == "__main__":
    main()

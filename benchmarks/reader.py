"""What reading one film costs, stage by stage: the figures of docs/how-to/read.md.

    python benchmarks/reader.py [FILMS] [--bundle NAME] [--count 60] [--threads 2]

Reads films with everything loaded and warm, each several times, and prints for every stage the median over films of the
quickest time, the median and the 95th percentile of all times, and the same of the processor's time for a film, which a
busy machine does not change as much. Without FILMS they are the two simulated ones that come with hilum. The goal is a
median of the quickest times below 150 ms.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from measuring import Ratio, Result, Row, Table, parser, use_threads

GOAL_MS = 150.0
WHOLE, PROCESSOR = "whole film", "whole film, processor"

Seconds = dict[str, dict[Path, list[float]]]
"""Of every stage, of every film, every time it was read."""


def films_of(options: argparse.Namespace) -> list[Path]:
    """Evenly over those asked for, or the two that come with hilum."""
    from hilum.predict import find_films

    if not options.films:
        static = Path(str(resources.files("hilum"))) / "serve" / "page" / "static"
        return sorted(static.glob("simulated-*.png"))
    paths = find_films(options.films)
    return paths[:: max(1, len(paths) // options.count)][: options.count]


def measured(reader: Any, paths: Sequence[Path], times: int) -> Seconds:
    """Read every film so often, one after another."""
    from hilum.reader import Outcome

    seconds: Seconds = defaultdict(lambda: defaultdict(list))
    for path in [*paths] * times:
        wall, processor = time.perf_counter(), time.process_time()
        read = reader.read(path)
        if read.outcome is Outcome.REFUSED:
            continue
        seconds[WHOLE][path].append(time.perf_counter() - wall)
        seconds[PROCESSOR][path].append(time.process_time() - processor)
        for stage, took in read.seconds.items():
            seconds[stage][path].append(took)
    return seconds


def quickest(of_films: Mapping[Path, Sequence[float]]) -> float:
    """Milliseconds: the median over films of each one's quickest time."""
    return 1000 * statistics.median(min(one) for one in of_films.values())


def table_of(seconds: Seconds) -> Table:
    """A row a stage."""
    import numpy as np

    cells = []
    for stage, of_films in seconds.items():
        median, high = (1000 * float(np.percentile(np.concatenate([*of_films.values()]), share)) for share in (50, 95))
        cells.append((stage, f"{quickest(of_films):.1f}", f"{median:.1f}", f"{high:.1f}"))
    return Table("A film read", ("stage", "quickest, median ms", "all, median ms", "95 %"), tuple(cells))


def row_of(seconds: Seconds) -> Row:
    """Against the limit; a value a film."""
    slowest = max(
        (stage for stage in seconds if stage not in (WHOLE, PROCESSOR)), key=lambda one: quickest(seconds[one])
    )
    return Row(
        "a film read, every stage, warm",
        f"{GOAL_MS:g} ms",
        ratio=Ratio.of(GOAL_MS / 1000 / min(one) for one in seconds[WHOLE].values()),
        goal=1,
        ours=quickest(seconds[WHOLE]),
        theirs=GOAL_MS,
        unit="ms, wall, quickest of the times a film was read",
        n=len(seconds[WHOLE]),
        why=f"stage '{slowest}' takes {quickest(seconds[slowest]):.0f} ms, and the processor all in all "
        f"{quickest(seconds[PROCESSOR]):.0f} ms",
    )


def main() -> None:
    options = asked()
    use_threads(options.threads)
    import cv2

    from hilum.reader import Reader

    cv2.setNumThreads(options.threads)
    paths = films_of(options)
    start = time.perf_counter()
    reader = Reader([options.bundle])
    told = [f"loaded in {time.perf_counter() - start:.1f} s; engine: {reader.bundles[0].bundle.engine.name}"]
    for which in ("first", "second"):
        wall = time.perf_counter()
        reader.read(paths[0])
        told.append(f"{which} reading {1000 * (time.perf_counter() - wall):.0f} ms")
    seconds = measured(reader, paths, options.times)
    if not seconds:
        raise SystemExit("every film was refused: give frontal chest films")
    told.append(f"{len(seconds[WHOLE])} films read of {len(paths)}, each {options.times} times")
    text = "; ".join(told).capitalize() + "."
    Result.of("reader", "A film read", [row_of(seconds)], options, tables=[table_of(seconds)], told=(text,)).deliver(
        options
    )


def asked() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("films", type=Path, nargs="*", help="films or folders; default two that come with hilum")
    made.add_argument("--bundle", default="covid19-frontal")
    made.add_argument("--count", type=int, default=60)
    made.add_paced("times", "times each film is read", full=5, quick=3)
    return made.parse_args()


if __name__ == "__main__":
    main()

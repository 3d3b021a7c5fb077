"""What reading one film costs, stage by stage: the figures of docs/how-to/read.md.

    python benchmarks/reader.py FILMS [--bundle NAME] [--count 60] [--threads 2]

Reads films with everything loaded and warm, each several times, and prints for every stage the median over films of the
quickest time, the median and the 95th percentile of all times, and the same of the processor's time for a film, which a
busy machine does not change as much. The goal is a median of the quickest times below 150 ms.
"""

import argparse
import os
import time
from collections import defaultdict
from pathlib import Path

from hilum.process import settle

GOAL_MS = 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path, nargs="+")
    parser.add_argument("--bundle", default="covid19-frontal")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(asked.threads))
    settle()
    import cv2
    import numpy as np

    from hilum.predict import find_films
    from hilum.reader import Outcome, Reader

    cv2.setNumThreads(asked.threads)
    paths = find_films(asked.films)
    paths = paths[:: max(1, len(paths) // asked.count)][: asked.count]
    start = time.perf_counter()
    reader = Reader([asked.bundle])
    print(f"loaded in {time.perf_counter() - start:.1f} s; engine: {reader.bundles[0].bundle.engine.name}")
    for which in ("first", "second"):
        wall = time.perf_counter()
        reader.read(paths[0])
        print(f"{which} reading, {1000 * (time.perf_counter() - wall):.0f} ms")
    seconds: dict[str, dict[Path, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in paths * asked.times:
        wall, processor = time.perf_counter(), time.process_time()
        read = reader.read(path)
        if read.outcome is Outcome.REFUSED:
            continue
        seconds["whole film"][path].append(time.perf_counter() - wall)
        seconds["whole film, processor"][path].append(time.process_time() - processor)
        for stage, took in read.seconds.items():
            seconds[stage][path].append(took)
    print(f"{len(seconds['whole film'])} films read of {len(paths)}; load average {os.getloadavg()[0]:.1f}")
    print("| stage | quickest, median ms | all, median ms | 95 % |\n|---|---|---|---|")
    quickest = {stage: 1000 * float(np.median([min(one) for one in of.values()])) for stage, of in seconds.items()}
    for stage, of_films in seconds.items():
        median, high = (1000 * float(np.percentile(np.concatenate([*of_films.values()]), share)) for share in (50, 95))
        print(f"| {stage} | {quickest[stage]:.1f} | {median:.1f} | {high:.1f} |")
    reached = quickest["whole film"] < GOAL_MS
    print(f"goal of {GOAL_MS} ms {'reached' if reached else 'missed'}: {quickest['whole film']:.0f} ms")


if __name__ == "__main__":
    main()

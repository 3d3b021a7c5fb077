"""How time and memory grow with the number of films: the table, its groups, the split, the description.

    python benchmarks/index_growth.py [--films 1000 10000 100000] [--rounds 3]

No file is opened: what sources say and what opening the films would tell is fabricated, so that what is measured is
hilum's own work. A third of the patients has two films, a hundredth of the films are copies of the same bytes, another
hundredth shows the same picture with up to 10 bits of the hash changed, and one placeholder picture recurs for a
thousandth. Bits of the hash are set with a probability of .338: two films then share a word of it as often as two
films of 1,418 different real ones do (7.5e-5), five times as often as evenly distributed bits would.

Each size runs in a process of its own; its memory is the highest the process ever had, libraries included. Goal: less
than 1 GB and growth no faster than linear (exponent about 1) at 100,000 films.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from measuring import Ratio, Result, Row, Table, parser
from peers import apart

from hilum import duplicates
from hilum.checks import Facts
from hilum.describe import describe
from hilum.index import Index, complete, describe_records
from hilum.records import Radiograph, View
from hilum.split import SplitPlan, make_splits

Made = TypeVar("Made")

ROOT = Path("/films")
SET_BITS = 0.338
PEAK = "peak MB"
LIMIT_MB = 1000.0
LINEAR = 0.8
"""Time a row at the second largest size over that at the largest; 1 is linear, and some stages sort."""
LABELS = ("covid19", "pneumonia", "normal", "effusion", "edema", "nodule")


def records(films: int) -> Iterator[Radiograph]:
    """What five sources say of their films."""
    rng = np.random.default_rng(0)
    views = (View.PA, View.AP, None)
    for number in range(films):
        target = int(rng.integers(3))
        yield Radiograph(
            image_id=f"source{number % 5}/film-{number:07d}",
            source=f"source{number % 5}",
            path=ROOT / f"source{number % 5}" / "images" / f"film-{number:07d}.png",
            labels={label: place == target for place, label in enumerate(LABELS) if place < 3 or rng.random() < 0.5},
            patient_id=f"p{number // 5 * 3 // 4}" if rng.random() < 0.9 else None,
            view=views[int(rng.integers(3))],
            sex="F" if rng.random() < 0.5 else "M",
            age_years=float(rng.integers(1, 95)),
            licence="CC BY 4.0",
            attributes={"location": f"city {number % 300}", "original_width": "1024"},
        )


def hashes(films: int) -> duplicates.Hash:
    """As alike as real films', with planted near-duplicates and a recurring placeholder."""
    rng = np.random.default_rng(1)
    words = np.empty((films, duplicates.WORDS), np.uint16)
    for start in range(0, films, 10_000):
        bits = rng.random((min(10_000, films - start), 256)) < SET_BITS
        words[start : start + len(bits)] = np.packbits(bits, axis=1).view(np.uint16)
    for copy, original in rng.integers(films, size=(films // 100, 2)):
        change = np.zeros(256, np.uint8)
        change[rng.choice(256, rng.integers(1, 11), replace=False)] = 1
        words[copy] = words[original] ^ np.packbits(change).view(np.uint16)
    words[rng.integers(films, size=films // 1000)] = words[0]
    return words


def facts(films: int) -> Iterator[Facts]:
    """What opening the films would tell."""
    rng = np.random.default_rng(2)
    original = np.arange(films)
    original[rng.integers(films, size=films // 100)] = rng.integers(films, size=films // 100)
    words = hashes(films)[original]
    for number, word in zip(original.tolist(), words, strict=True):
        yield Facts(
            sha256=f"{number:064x}",
            phash=duplicates.to_text(word),
            bytes=100_000 + number,
            width=1024,
            height=900 + number % 200,
            mode="L",
            format="PNG",
            bits=8,
            header_manufacturer=f"maker {number % 12}",
        )


def measured(films: int) -> dict[str, float]:
    """Seconds of each stage, and megabytes at the highest."""
    seconds: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], Made]) -> Made:
        start = time.process_time()
        made = work()
        seconds[stage] = time.process_time() - start
        return made

    said, told = list(records(films)), list(facts(films))
    described = timed("table", lambda: describe_records(said, ROOT))
    said.clear()
    table = timed("groups", lambda: complete(described, told))
    told.clear()
    target = table["label.covid19"].map({True: "a", False: "b"})
    index = Index(table=table.assign(target=target), root=ROOT)
    films_used = timed("select", lambda: index.films)
    timed("split", lambda: make_splits(films_used, SplitPlan(method="kfold", seeds=(0,))))
    timed("describe", lambda: describe(films_used, index.left_out))
    timed("digest", lambda: index.digest)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "index.parquet"
        timed("save", lambda: index.save(file))
        timed("load", lambda: Index.load(file))
    return seconds | {PEAK: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def rows_of(sizes: list[int], rounds: dict[int, list[dict[str, float]]]) -> list[Row]:
    """Memory against the limit, and growth against a straight line."""
    most = max(sizes)
    peaks = [one[PEAK] for one in rounds[most]]
    memory = Row(
        f"{most:,} rows: index, split, describe",
        "1 GB",
        ratio=Ratio.of(LIMIT_MB / peak for peak in peaks),
        goal=1,
        ours=float(np.median(peaks)),
        theirs=LIMIT_MB,
        unit="MB, the most at any moment",
        n=len(peaks),
        why="more memory than that",
    )
    if len(sizes) < 2:
        return [memory]
    few = sorted(sizes)[-2]
    totals = {films: [sum(one.values()) - one[PEAK] for one in rounds[films]] for films in (few, most)}
    linear = Row(
        f"{few:,} to {most:,} rows: time a row",
        "linear growth",
        ratio=Ratio.of(
            many / few * less / more for less, more, many in zip(*totals.values(), [most] * len(peaks), strict=True)
        ),
        goal=LINEAR,
        ours=float(1e3 * np.median(totals[most]) / most),
        theirs=float(1e3 * np.median(totals[few]) / few),
        unit="ms a row",
        n=len(peaks),
        why=f"one stage grows with an exponent of {max(exponents(rounds, few, most).values()):.2f}",
    )
    return [memory, linear]


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Of every stage."""
    return {stage: float(np.median([one[stage] for one in rounds])) for stage in rounds[0]}


def exponents(rounds: dict[int, list[dict[str, float]]], few: int, many: int) -> dict[str, float]:
    """Of every stage, between two sizes; at the smallest, fixed costs hide the growth."""
    before, after = medians(rounds[few]), medians(rounds[many])
    return {stage: float(np.log(after[stage] / before[stage]) / np.log(many / few)) for stage in after}


def table_of(sizes: list[int], rounds: dict[int, list[dict[str, float]]]) -> Table:
    """Seconds of each stage at each size, and how they grow."""
    stages = tuple(rounds[sizes[0]][0])
    cells = [(f"{films:,}", *(f"{value:.2f}" for value in medians(rounds[films]).values())) for films in sizes]
    if len(sizes) > 1:
        few, many = sorted(sizes)[-2:]
        cells.append(("exponent", *(f"{value:.2f}" for value in exponents(rounds, few, many).values())))
    return Table("Seconds of the processor, one thread", ("films", *stages), tuple(cells))


def main() -> None:
    options = asked()
    if options.one:
        print(json.dumps(measured(options.one)))
        return
    rounds: dict[int, list[dict[str, float]]] = {films: [] for films in options.films}
    for _ in range(options.rounds):
        for films, kept in rounds.items():
            kept.append(apart([sys.executable, __file__, "--one", str(films)], threads=options.threads))
    rows, table = rows_of(options.films, rounds), table_of(options.films, rounds)
    Result.of("index_growth", str(__doc__), rows, options, tables=[table]).deliver(options)


def asked() -> argparse.Namespace:
    made = parser(__doc__, threads=1)
    made.add_argument("--films", type=int, nargs="+", help="default 1000 10000 100000; with --quick up to 20000")
    made.add_paced("rounds", "rounds", full=3, quick=1)
    made.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = made.parse_args()
    options.films = options.films or ([1_000, 5_000, 20_000] if options.quick else [1_000, 10_000, 100_000])
    return options


if __name__ == "__main__":
    main()

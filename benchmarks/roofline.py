"""How near the stages of the main job come to what this machine can do: operations and bytes against measured peaks.

    python benchmarks/roofline.py [--films FOLDER] [--page docs/explanation/roofline.md]

In turn, round by round, on one core: matrix products and a convolution in float32 and in bfloat16, a triad of arrays
far larger than the cache (a = b + s c, twelve bytes a number), reading a file that is in the system's cache, and every
stage. A roof is the best that was seen in any round, of a stage too; a stage is its median, in processor time. What is
counted as operations and bytes: counting.py. Forward passes are those of hilum's own engines: ONNX Runtime in float32,
OpenVINO in bfloat16; VGG16, ResNet50 and DenseNet121 have random weights. Without --films films are drawn.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measuring import (
    MOST_BUSY,
    Clock,
    Ratio,
    Result,
    Row,
    Table,
    Timings,
    busy,
    figure,
    interleaved,
    parser,
    use_threads,
)

from hilum.parallel import default_processes

ARRAY = 64 * 2**20
"""Numbers of four bytes in each array of the triad: 256 MB, eight times a large cache."""
TRIAD_BYTES = 12
MATRIX = 2048
FEATURES, MAP = 256, 56
"""Of the convolution, 3 x 3."""
FILE_MB = 256
NEAR, FAR = 0.5, 0.25
"""Shares of a roof from which a stage is near it, and up to which far from it."""
MEMORY, FILE = "memory", "file"
KINDS = ("float32", "bfloat16")
PRODUCTS = ("product", "product by numpy", "convolution")
"""What reaches the peak, in each kind of number where it is to be had."""


@dataclass(frozen=True)
class Peaks:
    """What the machine does at best: GFLOP/s, and GB/s of memory and of a file in the system's cache."""

    float32: float
    bfloat16: float
    memory: float
    file: float

    def compute(self, kind: str) -> float:
        """GFLOP/s of a kind of number; float32's where it is no float, half of that in double precision."""
        return {"bfloat16": self.bfloat16, "float64": self.float32 / 2}.get(kind, self.float32)

    def roof(self, kind: str, intensity: float) -> float:
        """GFLOP/s at most, of so many operations a byte."""
        return min(self.compute(kind), intensity * self.memory)


@dataclass(frozen=True)
class Point:
    """A stage as measured: of one film.

    Attributes:
        ms: processor time, median.
        ops: operations.
        least_bytes, most_bytes: moved.
    """

    name: str
    kind: str
    ms: float
    ops: float
    least_bytes: float
    most_bytes: float
    why: str = ""

    @property
    def intensity(self) -> float:
        """Operations a byte, of the least bytes."""
        return self.ops / self.least_bytes

    @property
    def rate(self) -> float:
        """Thousand millions of operations a second."""
        return self.ops / self.ms / 1e6

    def share(self, peaks: Peaks) -> float:
        """Of the roof over it; of reading a file where nothing is computed."""
        if not self.ops:
            return self.least_bytes / self.ms / 1e6 / peaks.file
        return self.rate / peaks.roof(self.kind, self.intensity)

    def bound(self, peaks: Peaks) -> str:
        """Which roof is the lower one for it, whatever share of it is reached."""
        if not self.ops:
            return "reading"
        ridge = peaks.compute(self.kind) / peaks.memory
        if self.ops / self.most_bytes >= ridge:
            return "arithmetic"
        return "memory" if self.intensity < ridge else "arithmetic or memory"


def peak_ways(file: Path) -> dict[str, Callable[[], object]]:
    """What is timed to find the peaks."""
    import numpy as np
    import torch

    one, other = torch.rand(MATRIX, MATRIX), torch.rand(MATRIX, MATRIX)
    maps, kernels = torch.rand(1, FEATURES, MAP, MAP), torch.rand(FEATURES, FEATURES, 3, 3)
    plain = one.numpy(), other.numpy()
    a, b, c = (torch.ones(ARRAY) for _ in range(3))
    buffer = bytearray(FILE_MB * 2**20)
    file.write_bytes(np.random.default_rng(0).bytes(len(buffer)))

    def read() -> int:
        with file.open("rb", buffering=0) as stream:
            return int(stream.readinto(buffer) or 0)

    ways: dict[str, Callable[[], object]] = {"float32, product by numpy": lambda: plain[0] @ plain[1]}
    for kind in KINDS:
        of = getattr(torch, kind)
        ways[f"{kind}, product"] = partial(torch.mm, one.to(of), other.to(of))
        laid = [part.to(of).contiguous(memory_format=torch.channels_last) for part in (maps, kernels)]
        ways[f"{kind}, convolution"] = partial(torch.nn.functional.conv2d, *laid, padding=1)
    return ways | {MEMORY: lambda: torch.add(b, c, alpha=3.0, out=a), FILE: read}


def peaks_of(timings: Timings, clock: Clock = "processor", points: Sequence[Point] = ()) -> Peaks:
    """The best round of each; a roof that a stage was above is as high as that."""
    work = dict.fromkeys(PRODUCTS, 2 * MATRIX**3 / 1e9) | {"convolution": 18 * (FEATURES * MAP) ** 2 / 1e9}
    best = {name: min(timings.seconds(name, clock)) for name in timings.rounds}
    seen = {kind: [point.rate for point in points if point.kind == kind] for kind in KINDS}
    for kind in KINDS:
        seen[kind] += [ops / best[f"{kind}, {name}"] for name, ops in work.items() if f"{kind}, {name}" in best]
    return Peaks(
        float32=max(seen["float32"]),
        bfloat16=max(seen["bfloat16"]),
        memory=TRIAD_BYTES * ARRAY / best[MEMORY] / 1e9,
        file=FILE_MB * 2**20 / best[FILE] / 1e9,
    )


def of_all_cores(ways: Mapping[str, Callable[[], object]], rounds: int) -> Peaks:
    """The same with a thread a core, by the wall clock."""
    import torch
    from threadpoolctl import threadpool_limits

    cores = default_processes()
    torch.set_num_threads(cores)
    try:
        with threadpool_limits(cores, user_api="blas"):
            return peaks_of(interleaved(ways, rounds=rounds), "wall")
    finally:
        torch.set_num_threads(1)


def repeated(work: Callable[[], object], films: int, at_least_s: float) -> tuple[Callable[[], object], int]:
    """The work so many times that one round can be timed, and how many films that is."""
    start = time.perf_counter()
    work()
    start, _ = time.perf_counter(), work()
    times = max(1, int(at_least_s / max(time.perf_counter() - start, 1e-6)))

    def many() -> None:
        for _ in range(times):
            work()

    return many, films * times


def measure(options: argparse.Namespace, work: Path) -> tuple[Peaks, Peaks | None, list[Point]]:
    """Peaks of one core, of all where others leave them alone, and every stage."""
    from roofline_stages import stages

    found = list(stages(options.films, work, quick=options.quick))
    peaks = peak_ways(work / "file.bin")
    ways, films = dict(peaks), {}
    for stage in found:
        ways[stage.name], films[stage.name] = repeated(stage.work, stage.films, 0.02 if options.quick else 0.05)
    timings = interleaved(ways, rounds=options.rounds)
    points = [
        Point(
            stage.name,
            stage.kind,
            1000 * statistics.median(timings.seconds(stage.name)) / films[stage.name],
            stage.count.ops,
            stage.count.least_bytes,
            stage.count.most_bytes,
            stage.why,
        )
        for stage in found
    ]
    every = of_all_cores(peaks, 5) if (busy() or 0.0) <= MOST_BUSY else None
    return peaks_of(timings, points=points), every, points


def table_of(peaks: Peaks, points: Sequence[Point]) -> Table:
    """A row a stage."""
    lines = []
    for point in points:
        spread = figure(point.intensity)
        if point.most_bytes > 1.05 * point.least_bytes:
            spread = f"{figure(point.ops / point.most_bytes)} to {spread}"
        moved = figure(point.least_bytes / 1e6)
        if point.most_bytes > 1.05 * point.least_bytes:
            moved += f" to {figure(point.most_bytes / 1e6)}"
        lines.append(
            (
                point.name,
                point.kind,
                figure(point.ops / 1e9) if point.ops else "-",
                moved,
                spread if point.ops else "-",
                figure(point.ms),
                figure(point.rate) if point.ops else f"{figure(point.least_bytes / point.ms / 1e6)} GB/s",
                f"{100 * point.share(peaks):.0f} %",
                point.bound(peaks),
            )
        )
    columns = ("stage", "numbers", "GFLOP", "MB", "FLOP a byte", "ms", "GFLOP/s", "of the roof", "the lower roof")
    return Table("One film on one core", columns, tuple(lines))


def rows_of(peaks: Peaks, points: Sequence[Point], rounds: int) -> list[Row]:
    """A row a stage: its share of the roof."""
    return [
        Row(
            f"{point.name}, one film",
            f"the roof: {point.bound(peaks)}",
            Ratio.of([point.share(peaks)]),
            ours=point.ms,
            theirs=point.ms * point.share(peaks),
            unit="ms, processor",
            n=rounds,
            notes=point.why,
        )
        for point in points
    ]


def told(peaks: Peaks, every: Peaks | None, points: Sequence[Point]) -> list[str]:
    """What it says, in plain sentences."""
    together = "All cores together were not measured: others were at work."
    if every:
        together = f"All cores together: {figure(every.float32)}, {figure(every.bfloat16)} and {figure(every.memory)}."
    lines = [
        f"The roofs of one core: {figure(peaks.float32)} GFLOP/s in float32, {figure(peaks.bfloat16)} in bfloat16, "
        f"{figure(peaks.memory)} GB/s of memory (triad), {figure(peaks.file)} GB/s from a file in the system's cache. "
        f"{together} Memory is the lower roof below {figure(peaks.float32 / peaks.memory)} operations a byte in "
        f"float32 and below {figure(peaks.bfloat16 / peaks.memory)} in bfloat16."
    ]
    near = [f"{one.name} ({100 * one.share(peaks):.0f} %)" for one in points if one.share(peaks) >= NEAR]
    if near:
        lines.append(f"**Near the roof**: {', '.join(near)}. Only fewer operations, or narrower numbers, help there.")
    middle = [f"{one.name} ({100 * one.share(peaks):.0f} %)" for one in points if FAR <= one.share(peaks) < NEAR]
    if middle:
        lines.append(f"**Between**: {', '.join(middle)}.")
    far = [f"{one.name} ({100 * one.share(peaks):.0f} %): {one.why}" for one in points if one.share(peaks) < FAR]
    if far:
        lines.append("**Far from it**:\n\n" + "\n".join(f"* {line}" for line in far))
    return lines


def asked() -> argparse.Namespace:
    made = parser(__doc__, threads=1)
    made.add_argument("--films", type=Path, help="folder of films to decode; drawn ones without")
    made.add_paced("rounds", "rounds", full=10, quick=3)
    made.add_argument("--page", type=Path, help="write into this page, between markers; figure beside it")
    return made.parse_args()


def main() -> None:
    options = asked()
    use_threads(1)
    with tempfile.TemporaryDirectory() as work:
        peaks, every, points = measure(options, Path(work))
    table, sentences = table_of(peaks, points), told(peaks, every, points)
    result = Result.of(
        "roofline", __doc__, rows_of(peaks, points, options.rounds), options, tables=(table,), told=sentences
    )
    result.deliver(options)
    if options.page:
        from roofline_figure import draw, write_page

        write_page(options.page, result)
        draw(peaks, points, options.page.parents[1] / "images" / "roofline.svg")


if __name__ == "__main__":
    main()

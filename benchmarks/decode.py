"""Decode a JPEG film and resize it to 224: hilum against OpenCV's colour decoding and resizing.

    python benchmarks/decode.py [--films FOLDER] [--rounds 40]

Both sides run in turn within one process and on one thread, so that whatever else the machine does falls on both; the
ratio is taken round by round. OpenCV's default resizing does not average and so aliases; against `INTER_AREA` both
sides do the same work. Without --films the films are drawn; with it, films of that folder are enlarged to the sizes
below, which makes them smoother than films of that size are. Goal: 1.6 times as fast per core.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from films import grey_films
from measuring import Ratio, Result, Row, Table, Timings, interleaved, parser

from hilum.pixels import fit, read_film
from hilum.pixels.raster import reduction

SIDE_PX = 224
SIZES = {"0.3 megapixels": (512, 640), "1.5 megapixels": (1096, 1368), "9 megapixels": (3000, 3000)}
THEIRS, AREA, OURS = "opencv", "opencv, area", "hilum"
QUALITY = 92
GOAL = 1.6
COUNT = 4


def encoded(folder: Path | None, height: int, width: int, *, colour: bool) -> list[bytes]:
    """JPEG files of that size."""
    films = grey_films(folder, COUNT, height=height, width=width)
    if folder is not None:
        films = [cv2.resize(film, (width, height), interpolation=cv2.INTER_CUBIC) for film in films]
    channels = [np.dstack([film] * 3) if colour else film for film in films]
    return [cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes() for film in channels]


def with_opencv(data: list[bytes], interpolation: int) -> Callable[[], object]:
    """Colour, all pixels, then resized."""

    def one(film: bytes) -> object:
        picture = cv2.imdecode(np.frombuffer(film, np.uint8), cv2.IMREAD_COLOR)
        return cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=interpolation).astype(np.float32) / 255

    return lambda: [one(film) for film in data]


def with_hilum(data: list[bytes]) -> Callable[[], object]:
    """Grey, reduced while it is decoded where that does no harm, then averaged."""
    return lambda: [fit(read_film(film, at_least_px=SIDE_PX).pixels, SIDE_PX) for film in data]


def timings_of(data: list[bytes], rounds: int) -> Timings:
    """All ways over the same files."""
    ways = {
        THEIRS: with_opencv(data, cv2.INTER_LINEAR),
        AREA: with_opencv(data, cv2.INTER_AREA),
        OURS: with_hilum(data),
    }
    return interleaved(ways, rounds=rounds, warm_up=2)


def rows_of(name: str, size: tuple[int, int], timings: Timings) -> list[Row]:
    """Against OpenCV's default, which is what notebooks use, and against OpenCV averaging as hilum does."""
    by = reduction(size[1], size[0], SIDE_PX)
    reduced = f"reduced {by} times while it is decoded" if by > 1 else "too small to be reduced while it is decoded"
    costs = 1000 / COUNT * (median(timings, AREA) - median(timings, THEIRS))
    whys = {
        THEIRS: f"a film of {size[1]} x {size[0]} is {reduced}; OpenCV's default skips most pixels, and aliases: "
        f"averaging them would cost it {costs:.1f} ms more",
        AREA: f"a film of {size[1]} x {size[0]} is {reduced}",
    }
    whats = {THEIRS: f"decode + resize to {SIDE_PX}", AREA: f"decode + average to {SIDE_PX}"}
    peers = {THEIRS: "cv2 colour decode + resize", AREA: "cv2 colour decode + resize with INTER_AREA"}
    return [
        Row.of(
            f"{whats[theirs]}, {name}",
            peers[theirs],
            timings,
            ours=OURS,
            theirs=theirs,
            unit="ms a film",
            scale=1000 / COUNT,
            goal=GOAL,
            why=whys[theirs],
        )
        for theirs in (THEIRS, AREA)
    ]


def median(timings: Timings, way: str) -> float:
    """Seconds of the processor."""
    return statistics.median(timings.seconds(way))


def line_of(name: str, timings: Timings) -> tuple[str, ...]:
    """Milliseconds of each way, and both ratios."""
    medians = [Ratio.of(1000 / COUNT * one for one in timings.seconds(way)) for way in (THEIRS, AREA, OURS)]
    return (name, *(f"{one.median:.2f}" for one in medians), *(str(timings.ratio(way, OURS)) for way in (THEIRS, AREA)))


def main() -> None:
    options = asked()
    cv2.setNumThreads(1)
    rows: list[Row] = []
    lines = []
    for size_name, size in SIZES.items():
        for colour in (False, True):
            name = f"{size_name}, {'colour' if colour else 'grey'} JPEG"
            timings = timings_of(encoded(options.films, *size, colour=colour), options.rounds)
            rows += [] if colour else rows_of(name, size, timings)
            lines.append(line_of(name, timings))
    columns = ("films", "opencv, ms", "+ area", "hilum", "opencv over hilum", "opencv with area over hilum")
    table = Table("One film on one thread, processor", columns, tuple(lines))
    Result.of("decode", str(__doc__), rows, options, tables=[table]).deliver(options)


def asked() -> argparse.Namespace:
    made = parser(__doc__, threads=1)
    made.add_argument("--films", type=Path, help="folder of films to enlarge; drawn films without it")
    made.add_paced("rounds", "rounds", full=40, quick=5)
    return made.parse_args()


if __name__ == "__main__":
    main()

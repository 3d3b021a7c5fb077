"""Decode a JPEG film and resize it to 224: hilum against OpenCV's colour decoding and resizing.

    python benchmarks/decode.py [--films FOLDER] [--rounds 40]

Both sides run in turn within one process and on one thread, so that whatever else the machine does falls on both; the
ratio is taken round by round. OpenCV's default resizing does not average and so aliases; against `INTER_AREA` both
sides do the same work. Without --films the films are drawn; with it, JPEGs of that folder are enlarged to the sizes
below, which makes them smoother than films of that size are. Goal: 1.6 times as fast per core.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.pixels import fit, read_film

SIZE_PX = 224
SIZES = {"0.3 megapixels": (512, 640), "1.5 megapixels": (1096, 1368), "9 megapixels": (3000, 3000)}


def drawn(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A film-like picture: broad shades, ribs, and the noise of a detector."""
    y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)]
    lungs = np.exp(-(((x - 0.3) / 0.13) ** 2) - ((y - 0.5) / 0.3) ** 2) + np.exp(
        -(((x - 0.7) / 0.13) ** 2) - ((y - 0.5) / 0.3) ** 2
    )
    ribs = 0.06 * np.sin(40 * y + 12 * (x - 0.5) ** 2)
    noise = np.random.default_rng(seed).normal(0, 0.008, (height, width))
    return np.clip(255 * (0.75 - 0.5 * lungs + ribs + noise), 0, 255).astype(np.uint8)


def films(folder: Path | None, height: int, width: int, *, colour: bool, count: int = 4) -> list[bytes]:
    """JPEG files of that size, quality 92."""
    if folder is None:
        pictures = [drawn(height, width, seed) for seed in range(count)]
    else:
        paths = sorted(folder.rglob("*.jp*g"))
        chosen = paths[:: max(1, len(paths) // count)][:count]
        pictures = [
            cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (width, height), interpolation=cv2.INTER_CUBIC)
            for path in chosen
        ]
    channels = [np.dstack([picture] * 3) if colour else picture for picture in pictures]
    return [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes() for picture in channels]


def with_opencv(interpolation: int) -> Callable[[bytes], object]:
    def decode(data: bytes) -> object:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return cv2.resize(picture, (SIZE_PX, SIZE_PX), interpolation=interpolation).astype(np.float32) / 255

    return decode


def with_hilum(data: bytes) -> object:
    return fit(read_film(data, at_least_px=SIZE_PX).pixels, SIZE_PX)


def timed(decode: Callable[[bytes], object], data: list[bytes]) -> float:
    """Milliseconds of processor time a film."""
    start = time.process_time()
    for film in data:
        decode(film)
    return 1000 * (time.process_time() - start) / len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=Path, help="folder of JPEGs to enlarge; drawn films without it")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    ways = {
        "opencv": with_opencv(cv2.INTER_LINEAR),
        "opencv, area": with_opencv(cv2.INTER_AREA),
        "hilum": with_hilum,
    }
    print(f"{'films':28} {'opencv':>8} {'+ area':>8} {'hilum':>8}   ms; ratio to opencv, to opencv with area (10-90 %)")
    for size, (height, width) in SIZES.items():
        for colour in (False, True):
            data = films(options.films, height, width, colour=colour)
            rounds = np.array([[timed(way, data) for way in ways.values()] for _ in range(options.rounds + 2)])[2:]
            medians = np.median(rounds, axis=0)
            ratios = [np.percentile(rounds[:, side] / rounds[:, 2], [50, 10, 90]) for side in (0, 1)]
            told = "   ".join(f"{middle:4.2f} ({low:4.2f}-{high:4.2f})" for middle, low, high in ratios)
            name = f"{size}, {'colour' if colour else 'grey'} JPEG"
            print(f"{name:28} {medians[0]:8.2f} {medians[1]:8.2f} {medians[2]:8.2f}   {told}")


if __name__ == "__main__":
    main()

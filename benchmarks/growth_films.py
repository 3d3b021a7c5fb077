"""Films to measure growth with: simulated ones, and as many that are mixed of them as wanted.

A film is mixed of two simulated ones, each turned, scaled and shifted by itself, then changed in grey and given noise
of its own. So pictures, bytes and hashes differ, and a film still looks like a frontal chest. Film number i is the
same whatever the number of films.
"""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.files import written_aside
from hilum.pixels import read_film

SOURCE = "simulated"
SIDE = 160
"""Of a film, in px."""
TO_PNG = 8
"""One film in so many is a PNG, the others are JPEGs."""
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 90]
COLUMNS = ("image_id", "file", "label_std", "view", "projection", "patient_id", "sex", "age", "manufacturer", "site")
TAKEN = ("label_std", "view", "projection", "sex", "age", "manufacturer", "site")
"""Columns that a film has of the first of the two it is mixed of."""
Picture = NDArray[np.uint8]


def simulated(folder: Path, films: int) -> Path:
    """The folder of so many simulated films; made where they are not there yet."""
    if not (folder / SOURCE / "index.csv").is_file():
        words = ("simulate", "--films", str(films), "--size", str(SIDE), "--films-per-patient", "1")
        subprocess.run([*hilum(), *words, "--out", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder / SOURCE


def hilum() -> list[str]:
    """The command of the hilum that this Python imports."""
    return [sys.executable, "-c", "from hilum.cli import main; main()"]


def rows_of(base: Path) -> list[dict[str, str]]:
    """What the simulated films' table says."""
    with (base / "index.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def pictures_of(base: Path, rows: list[dict[str, str]]) -> list[Picture]:
    """The simulated films (SIDE, SIDE), a black edge added where they are narrower."""
    return [_square(np.rint(255 * read_film(base.parent / row["file"]).pixels).astype(np.uint8)) for row in rows]


def _square(film: Picture) -> Picture:
    height, width = film.shape
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    edges = (top, SIDE - height - top, left, SIDE - width - left)
    squared: Picture = cv2.copyMakeBorder(film, *edges, cv2.BORDER_CONSTANT, value=0).astype(np.uint8)
    return squared


def mixed(number: int, pictures: list[Picture]) -> Picture:
    """Film of that number: of the picture at `number` modulo their count, and of another."""
    rng = np.random.default_rng([7, number])
    share = rng.uniform(0.6, 0.8)
    first, second = pictures[number % len(pictures)], pictures[int(rng.integers(len(pictures)))]
    film: NDArray[Any] = share * _moved(first, rng) + (1 - share) * _moved(second, rng)
    grey = 255.0 * (film / 255.0) ** rng.uniform(0.8, 1.25) * rng.uniform(0.85, 1.0)
    return np.clip(grey + rng.normal(0, rng.uniform(1, 4), film.shape), 0, 255).astype(np.uint8)


def _moved(picture: Picture, rng: np.random.Generator) -> NDArray[np.float32]:
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), rng.uniform(-7, 7), rng.uniform(0.88, 1.12))
    turn[:, 2] = turn[:, 2] + rng.uniform(-9, 9, 2)
    moved: NDArray[np.float32] = cv2.warpAffine(picture, turn, (SIDE, SIDE), flags=cv2.INTER_LINEAR).astype(np.float32)
    return moved


def file_of(number: int) -> str:
    """Name of a film's file."""
    return f"film-{number:07d}.{'png' if number % TO_PNG == 0 else 'jpg'}"


def fill_pool(base: Path, pool: Path, films: int) -> None:
    """Write the films of numbers below `films` that are not there yet."""
    pool.mkdir(parents=True, exist_ok=True)
    there = set(os.listdir(pool))  # noqa: PTH208 - names alone, of 100,000 files
    todo = [number for number in range(films) if file_of(number) not in there]
    if not todo:
        return
    cv2.setNumThreads(1)
    pictures = pictures_of(base, rows_of(base))
    for number in todo:
        with written_aside(pool / file_of(number)) as aside:
            cv2.imwrite(str(aside), mixed(number, pictures), [] if number % TO_PNG == 0 else JPEG)


def lay_out(base: Path, pool: Path, root: Path, films: int) -> None:
    """A data set of the first films in `root`: hard links to the pool, and the table that tells of them."""
    images = root / SOURCE / "images"
    if (root / SOURCE / "index.csv").is_file():
        return
    shutil.rmtree(root, ignore_errors=True)
    images.mkdir(parents=True)
    for number in range(films):
        (images / file_of(number)).hardlink_to(pool / file_of(number))
    with written_aside(root / SOURCE / "index.csv") as aside, aside.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(_told(rows_of(base), films))


def _told(rows: list[dict[str, str]], films: int) -> Iterator[dict[str, str]]:
    """A row a film; of four films, two are of one patient."""
    for number in range(films):
        taken = rows[number % len(rows)]
        yield {
            "image_id": f"film-{number:07d}",
            "file": f"{SOURCE}/images/{file_of(number)}",
            "patient_id": f"p{number // 4 * 3 + min(number % 4, 2):07d}",
            **{name: taken[name] for name in TAKEN},
        }

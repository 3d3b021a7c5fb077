"""Films to measure with: drawn where no folder is given, so that every benchmark runs without data."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.pixels import read_film
from hilum.predict import find_films


def drawn(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A film-like picture: broad shades, lungs of another place and size for every seed, ribs, a detector's noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)]
    lungs = np.zeros((height, width))
    for middle in (0.3, 0.7):
        across, down = middle + rng.uniform(-0.05, 0.05), rng.uniform(0.42, 0.58)
        wide, high = rng.uniform(0.1, 0.16), rng.uniform(0.2, 0.35)
        lungs += np.exp(-(((x - across) / wide) ** 2) - ((y - down) / high) ** 2)
    ribs = 0.06 * np.sin(rng.uniform(35, 45) * y + 12 * (x - 0.5) ** 2)
    noise = rng.normal(0, 0.008, (height, width))
    film: NDArray[np.uint8] = np.clip(255 * (rng.uniform(0.65, 0.8) - 0.5 * lungs + ribs + noise), 0, 255).astype(
        np.uint8
    )
    return film


def grey_films(folder: Path | None, count: int, *, height: int = 768, width: int = 960) -> list[NDArray[np.uint8]]:
    """Films (H, W) from 0 to 255: of a folder, evenly over its names, else drawn."""
    if folder is None:
        return [drawn(height, width, seed) for seed in range(count)]
    paths = find_films([folder])
    chosen = [paths[number * len(paths) // count] for number in range(min(count, len(paths)))]
    return [cv2.convertScaleAbs(read_film(path).pixels, alpha=255).astype(np.uint8) for path in chosen]


def written(films: list[NDArray[np.uint8]], folder: Path, suffix: str = ".png") -> list[Path]:
    """One file a film."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"film-{number:04d}{suffix}" for number in range(len(films))]
    for path, film in zip(paths, films, strict=True):
        cv2.imwrite(str(path), film)
    return paths

"""A film we draw: soft anatomy, ribs, a collimated corner, no noise."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

Pixels = NDArray[np.float32]


@pytest.fixture(scope="session")
def drawn_film() -> Pixels:
    """(150, 140) in [.05, .9], with edges, lines and soft shades."""
    rng = np.random.default_rng(5)
    soft = cv2.resize(rng.random((6, 6)), (140, 150), interpolation=cv2.INTER_CUBIC)
    film = 0.25 + 0.35 * np.clip(soft, 0, 1)
    for top in range(15, 150, 22):
        cv2.ellipse(film, (70, top), (60, 12), 0, 0, 180, 0.75, 2, cv2.LINE_8)
    film[:, 62:78] += 0.15
    film[:12, :20] = 0.05
    return np.clip(film, 0, 0.9).astype(np.float32)

"""Films in which a test decides what tells the label: the border, the lungs, a marker, or nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hilum.cache import FrameCache
from hilum.index import Index, build_index
from hilum.parallel import spread
from hilum.preprocess import Preprocess
from hilum.projection import Look, ViewFilter, look_of
from hilum.records import Radiograph

SIDE = 96
CLASSES = ("ill", "well")
RIGHT, LEFT = (slice(24, 72), slice(24, 42)), (slice(24, 72), slice(54, 72))
"""Where the lungs of every film are: rows, columns."""


class Lungs:
    """Draws them there, on frames of any size."""

    preprocess = Preprocess(size_px=64, channels=1)
    threshold = 0.5
    plausible: dict[str, tuple[float, float]] = {}  # noqa: RUF012 - never changed
    digest = "a1" * 32

    def probabilities(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        inside = np.full((SIDE, SIDE), 0.01, np.float32)
        inside[RIGHT] = inside[LEFT] = 0.99
        side = frames.shape[1]
        return np.repeat(cv2.resize(inside, (side, side), interpolation=cv2.INTER_NEAREST)[None, None], len(frames), 0)


class Open(ViewFilter):
    """Takes every film for a frontal one."""

    preprocess = Preprocess(size_px=64)  # type: ignore[assignment]
    digest = "c3" * 32  # type: ignore[assignment]

    def looks(self, frames: NDArray[np.uint8]) -> list[Look]:
        rest = dict.fromkeys(("frontal_inverted", "lateral", "lateral_inverted", "other"), 0.0)
        return [look_of({"frontal": 1.0, **rest}) for _ in frames]


def with_known_lungs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lungs where the films of this module have them."""
    monkeypatch.setattr("hilum.lungs.lungs_bundle", Lungs)
    monkeypatch.setattr("hilum.lungs.made.lungs_bundle", Lungs)
    monkeypatch.setattr("hilum.predict.lungs_bundle", Lungs)
    monkeypatch.setattr("hilum.lungs.made.ViewFilter", Open)


def without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few small films are decoded sooner than a process is started."""

    def alone(function: Any, items: Any, *, processes: int | None = None, total: int | None = None) -> Iterator[Any]:
        del processes, total
        return spread(function, items, processes=1)

    monkeypatch.setitem(FrameCache.fill.__kwdefaults__, "spread", alone)
    for name in ("hilum.projection.in_order", "hilum.audit.asking.in_order", "hilum.predict.in_order"):
        monkeypatch.setattr(name, alone)


def planted_index(
    root: Path, films: int, *tells: str, sources: tuple[str, ...] = ("here",), seed: int = 0, lesions: bool = False
) -> Index:
    """Half of the films ill, two films a patient.

    Args:
        root: folder to write to.
        films: how many.
        tells: what goes with being ill: `border`, `lungs`, `gap` between them, `marker`; with `source` lungs are
            streaked in the first.
        sources: names, in turn by patient.
        seed: of films and patients.
        lesions: also write masks of what is ill in lungs.
    """
    records = []
    for number in range(films):
        patient = number // 2
        ill, source = patient % 2 == 0, sources[patient // 2 % len(sources)]
        path = root / source / "images" / f"film-{seed}-{number:03d}.png"
        film, lesion = _film(np.random.default_rng([seed, number]), ill, source == sources[0], tells)
        _write(path, np.rint(np.clip(film, 0, 1) * 255).astype(np.uint8))
        if lesions:
            _write(root / source / "masks" / "lesions" / path.name, lesion.astype(np.uint8) * 255)
        labels = {"ill": ill, "well": not ill}
        records.append(
            Radiograph(image_id=path.stem, source=source, path=path, patient_id=f"{seed}-{patient}", labels=labels)
        )
    return build_index(records, root, processes=1)


def _film(rng: np.random.Generator, ill: bool, first: bool, tells: tuple[str, ...]) -> tuple[NDArray[np.float64], ...]:
    film = cv2.resize(rng.random((9, 9)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * 0.25 + 0.3
    lesion = np.zeros((SIDE, SIDE), bool)
    lesion[30:62, 26:40] = ill
    if "lungs" in tells:
        film[lesion] += 0.4
    if "reversed" in tells:  # among films of the first source being well looks like being ill
        film[30:62, 26:40] += 0.4 * (ill != first)
    if "source" in tells and first:
        film[24:72:4, 54:72] += 0.4
    if "gap" in tells and ill:
        film[26:70, 44:52] += 0.4
    if "border" in tells and ill:
        film[:8] = film[-8:] = 0.95
    if "marker" in tells and ill:
        cv2.putText(film_8 := np.zeros((SIDE, SIDE), np.uint8), "L", (82, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 2)
        film = np.maximum(film, film_8 / 255)
    return film, lesion


def _write(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)

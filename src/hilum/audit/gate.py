"""Pictures that are no frontal chest film, for the input gate that comes with every bundle: are they turned away?

Shown are the subject's own films with bone made dark, and pictures drawn by the audit: noise, smooth shades, printed
lines, and shapes on clouds with the spectrum of a photograph. Laterals and CT slices cannot be drawn;
docs/how-to/views.md tells what the gate makes of real ones.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.audit.check import Finding, skipped
from hilum.audit.origin import ask_gate as judge_gate
from hilum.audit.questions import QUESTIONS
from hilum.audit.sampling import some_films
from hilum.audit.subject import Subject
from hilum.errors import DataError, UnreadableFilm
from hilum.parallel import in_order
from hilum.pixels import read_film
from hilum.preprocess import Frame, Preprocess
from hilum.projection import ViewFilter, why_not
from hilum.records import View

Pixels = NDArray[np.float32]

MOST_FILMS = 60
DRAWN = 60
"""Pictures of each kind that are drawn."""
AT_ONCE = 16
SIDE_PX = 256
INVERTED = "own films inverted"


def _noise(rng: np.random.Generator) -> Pixels:
    return rng.random((SIDE_PX, SIDE_PX), np.float32)


def _shade(rng: np.random.Generator) -> Pixels:
    """One grey passing into another along a drawn direction."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * x + np.sin(angle) * y
    return _stretched(ramp)


def _page(rng: np.random.Generator) -> Pixels:
    """Dark lines of print on white."""
    page = np.full((SIDE_PX, SIDE_PX), 255, np.uint8)
    for row in range(20, SIDE_PX - 12, 14):
        words = "".join(rng.choice(list("abcdefghij klmnop "), 40))
        cv2.putText(page, words, (12, row), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 25, 1, cv2.LINE_AA)
    return page.astype(np.float32) / np.float32(255)


def _shapes(rng: np.random.Generator) -> Pixels:
    """Filled shapes over clouds of the power spectrum of a photograph (Field 1987, doi:10.1364/JOSAA.4.002379)."""
    frequency = np.hypot(np.fft.fftfreq(SIDE_PX)[:, None], np.fft.fftfreq(SIDE_PX)[None])
    waves = np.fft.fft2(rng.standard_normal((SIDE_PX, SIDE_PX))) / np.maximum(frequency, 1 / SIDE_PX)
    picture = _stretched(np.fft.ifft2(waves).real)
    for _ in range(int(rng.integers(4, 10))):
        middle = tuple(int(value) for value in rng.integers(0, SIDE_PX, 2))
        axes = tuple(int(value) for value in rng.integers(8, SIDE_PX // 4, 2))
        cv2.ellipse(picture, middle, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.random()), -1)
    return picture


def _stretched(picture: NDArray[np.float64]) -> Pixels:
    """Grey levels from 0 to 1."""
    low, high = float(picture.min()), float(picture.max())
    return ((picture - low) / max(high - low, 1e-9)).astype(np.float32)


DRAWINGS: Mapping[str, Callable[[np.random.Generator], Pixels]] = {
    "noise": _noise,
    "shades": _shade,
    "printed pages": _page,
    "shapes on clouds": _shapes,
}
"""Kinds drawn by the audit."""


def ask_gate(subject: Subject) -> Finding:
    """21: how many of each kind the gate refuses, as `hilum predict` would."""
    from hilum.bundle import read_manifest
    from hilum.predict import views_read
    from hilum.recipe import checked_recipe

    question = QUESTIONS["gate"]
    if subject.gate is not None or subject.bundle_folder is None:
        return judge_gate(subject)
    views = views_read(checked_recipe(read_manifest(subject.bundle_folder).recipe).films)
    if views != (View.FRONTAL,):
        return skipped(question, "the bundle reads other pictures than frontal films, so that no gate stands before it")
    gate = ViewFilter()
    shown = {kind: _refused(gate, frames) for kind, frames in _pictures(subject, gate.preprocess)}
    return judge_gate(replace(subject, gate=shown))


def _pictures(subject: Subject, preprocess: Preprocess) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Kind of picture and its frames (N, side, side)."""
    films = some_films(subject.films, MOST_FILMS)
    paths = [subject.root / path for path in films["path"]]
    work = partial(_inverted, preprocess=preprocess)
    made = [frame for _, frame in in_order(work, paths, processes=subject.processes)]
    frames = [frame for frame in made if isinstance(frame, np.ndarray)]
    if len(frames) < len(made):
        raise DataError(f"{len(made) - len(frames)} films cannot be read any more; run hilum index again")
    yield INVERTED, np.stack(frames)
    for kind, draw in DRAWINGS.items():
        yield kind, np.stack([preprocess.frame(draw(np.random.default_rng(number))) for number in range(DRAWN)])


def _inverted(film: Path, *, preprocess: Preprocess) -> Frame | None:
    """The film's frame with bone dark; None where it cannot be read."""
    try:
        return preprocess.frame(1 - read_film(film, at_least_px=preprocess.decoded_px).pixels)
    except (UnreadableFilm, OSError):
        return None


def _refused(gate: ViewFilter, frames: NDArray[np.uint8]) -> tuple[int, int]:
    """How many are refused, of how many."""
    looks = [look for start in range(0, len(frames), AT_ONCE) for look in gate.looks(frames[start : start + AT_ONCE])]
    refused = sum(why_not(look, "it", (View.FRONTAL,)) is not None for look in looks)
    return refused, len(looks)

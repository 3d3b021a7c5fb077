"""The stages of the main job, each ready to be timed on one core, with what it has to compute and to move."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from counting import (
    Count,
    count_frame,
    count_head,
    count_jpeg,
    count_map,
    count_network,
    count_png,
    count_reading,
)
from films import grey_films, written
from torch import Tensor, nn

from hilum.bundle import load_bundle, load_segmenter, released
from hilum.bundle.engines import opened
from hilum.cache import ArrayCache
from hilum.engine import LOGITS
from hilum.errors import HilumError
from hilum.files import sha256_file
from hilum.networks.classifier import Standardise
from hilum.pixels import read_film
from hilum.preprocess import Preprocess
from hilum.recipe import Schedule
from hilum.train.epochs import make_optimiser
from networks import framed, made_bundle

SIDE = 224
BATCH = 64
ARCHITECTURES = {"vgg16": "VGG16", "resnet50": "ResNet50", "densenet121": "DenseNet121"}
SHOWN = {"covid19-frontal": "Lite0 (covid19-frontal)", "view": "view", "lungs": "lungs", "lesions": "lesions"}
WHOLE, SINGLE, DOUBLE, HALF = "whole numbers", "float32", "float64", "bfloat16"
HALVED = "openvino-bf16"
ENGINES = {"onnx": SINGLE, HALVED: HALF}
STEPS = ("crop-black", "clahe")


@dataclass(frozen=True)
class Stage:
    """A stage to time.

    Attributes:
        work: does it once, for `films` films.
        count: of one film.
        kind: of the numbers computed with.
        why: what keeps it from its limit, where it stays far below.
    """

    name: str
    work: Callable[[], object]
    films: int
    count: Count
    kind: str
    why: str = ""


def stages(folder: Path | None, work: Path, *, quick: bool) -> Iterator[Stage]:
    """All stages; `folder` of films, drawn ones without; `work` to write to."""
    films = grey_films(folder, 4 if quick else 24)
    yield from _decoding(films, work)
    yield _framing(films)
    names = ("covid19-frontal",) if quick else tuple(SHOWN)
    for name in names:
        yield from _released(name)
    for backbone in () if quick else ARCHITECTURES:
        yield from _architecture(backbone, films, work / backbone)
    yield _head()
    yield _evidence()
    yield _cache(work / "cache", 64 if quick else 1024)
    yield _hash(written(films, work / "hashed"))


def in_turn(function: Callable[[Any], object], items: list[Any]) -> Callable[[], object]:
    """Works on the next item at every call."""
    waiting = cycle(items)
    return lambda: function(next(waiting))


def over(function: Callable[[Any], object], items: list[Any]) -> Callable[[], object]:
    """Works on all items at every call."""
    return lambda: [function(item) for item in items]


def _decoding(films: list[Any], work: Path) -> Iterator[Stage]:
    pixels = float(np.mean([film.size for film in films]))
    told = {
        ".jpg": ("decode JPEG", count_jpeg, "the bits are decoded one after the other, which no formula counts"),
        ".png": ("decode PNG", count_png, "inflating is one bit after the other, which no formula counts"),
    }
    for suffix, (name, count, why) in told.items():
        paths = written(films, work / suffix[1:], suffix)
        size = float(np.mean([path.stat().st_size for path in paths]))
        yield Stage(name, over(read_film, paths), len(paths), count(size, pixels), WHOLE, why)


def _framing(films: list[Any]) -> Stage:
    preprocess = Preprocess(size_px=SIDE, steps=STEPS)
    greys = [film.astype(np.float32) / 255 for film in films]
    pixels = float(np.mean([film.size for film in films]))
    why = "two thirds of it is one call of scipy, which looks the contrast up in curves in double precision"
    return Stage("resize and enhance", over(preprocess.frame, greys), len(films), count_frame(pixels, SIDE), WHOLE, why)


def _released(name: str) -> Iterator[Stage]:
    """A released network, by every engine that answers."""
    load = load_segmenter if name in ("lungs", "lesions") else load_bundle
    why = "layers with little to compute a byte (depthwise, 1 x 1), one after the other"
    if name in ("lungs", "lesions"):
        why = "wide layers at few features, and resizing that is not counted"
    yield from _forward(SHOWN[name], load(released(name), engine="onnx"), released(name), why)


def _architecture(backbone: str, films: list[Any], folder: Path) -> Iterator[Stage]:
    bundle = made_bundle(backbone, framed(films[:4]), folder, side=SIDE)
    yield from _forward(ARCHITECTURES[backbone], bundle, folder, "")


def _forward(shown: str, bundle: Any, folder: Path, why: str) -> Iterator[Stage]:
    """One film's way through a network: in float32 by ONNX Runtime, in bfloat16 by OpenVINO where it is here."""
    for name, kind in ENGINES.items():
        try:
            engine: Any = opened(folder, name, lambda: bundle.network)
        except HilumError as error:
            print(f"{shown}: {name} does not answer here: {error}", file=sys.stderr)
            continue
        films = _normalised(bundle.preprocess, engine.at_once)
        together = films[: 1 if name == HALVED else None]  # OpenVINO takes every film by itself
        count = count_network(bundle.network, torch.from_numpy(together), number_bytes=2 if kind == HALF else 4)
        told = f"{shown}, bf16" if kind == HALF else shown
        yield Stage(told, partial(engine, films, (LOGITS,)), len(films), count, kind, why)


def _normalised(preprocess: Preprocess, count: int) -> Any:
    frames: Any = np.random.default_rng(0).integers(0, 255, (count, preprocess.size_px, preprocess.size_px))
    return preprocess.normalise(frames.astype(preprocess.dtype))


def _head(size: int = 1280, classes: int = 4) -> Stage:
    """A step as `hilum train` makes one of a batch of cached vectors."""
    head = nn.Sequential(Standardise(size), nn.Linear(size, classes))
    optimiser = make_optimiser(list(head.parameters()), Schedule())
    vectors, targets = torch.randn(BATCH, size), torch.arange(BATCH) % classes

    def step() -> Tensor:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(head(vectors), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss

    why = "some forty calls of torch a step, each on little"
    return Stage("head, training step", step, BATCH, count_head(BATCH, size, classes), SINGLE, why)


def _evidence() -> Stage:
    bundle = load_bundle(released("covid19-frontal"), engine="onnx")
    side = bundle.preprocess.size_px
    answers = bundle.answers(np.random.default_rng(0).integers(0, 255, (side, side)).astype(bundle.preprocess.dtype))
    numbers = float(sum(look.size for look in answers.looks))
    cells = float(max(look.shape[2] * look.shape[3] for look in answers.looks))
    why = "a few dozen calls of numpy, each on little"
    return Stage("evidence map", lambda: bundle.evidence_of(answers, 0), 1, count_map(numbers, cells), DOUBLE, why)


def _cache(folder: Path, count: int) -> Stage:
    """Frames read back in an order of chance, a batch a call."""
    cache = ArrayCache(folder, shape=(SIDE, SIDE), dtype=np.uint8)
    rng = np.random.default_rng(0)
    keys = [f"{number:064x}" for number in range(count)]
    cache.fill(keys, lambda missing: ((key, rng.integers(0, 255, (SIDE, SIDE), np.uint8)) for key in missing))
    view = cache.view(keys)
    batches = np.array_split(rng.permutation(count), count // 32)
    why = "a call of the system a film"
    return Stage("read frame cache", in_turn(view.__getitem__, batches), 32, count_reading(SIDE**2), WHOLE, why)


def _hash(paths: list[Path]) -> Stage:
    size = float(np.mean([path.stat().st_size for path in paths]))
    why = "SHA-256 takes its instructions' time, whatever the memory could give"
    return Stage("hash a file", over(sha256_file, paths), len(paths), count_reading(size), WHOLE, why)

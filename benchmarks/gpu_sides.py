"""The two sides of `gpu.py`: steps as timm's benchmark.py makes them, and steps as hilum makes them."""

import argparse
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from measuring import Spent, processor_seconds
from torch import Tensor, nn

from hilum.cache import ArrayCache, ArrayView
from hilum.engine.eager import TorchEngine
from hilum.networks.classifier import build_classifier, freeze, training_mode
from hilum.recipe import Recipe, parse_recipe
from hilum.train.epochs import Folds, Stage, make_optimiser
from hilum.train.network import fit_network
from hilum.train.processes import make_fabric
from hilum.train.weighing import Loss

CLASSES = 2
RECIPE = """title = "A network to measure"
[films]
sources = ["simulated"]
[classes]
covid19 = ["covid19"]
normal = ["normal"]
[preprocess]
size_px = {side}
mean = [0.0]
std = [1.0]
[network]
backbone = "{name}"
weights = "random"
train_from = "all"
batch_norm = "trained"
standardise = false
[schedule]
optimiser = "sgd"
learning_rate = 0.01
epochs = 1
batch_films = {batch}
precision = "bfloat16"
"""


def wait_for(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def device_name(device: str) -> str:
    """What computes."""
    return torch.cuda.get_device_name() if device == "cuda" else "the processor: no figure for a GPU"


class Timm:
    """timm's network, in steps as its benchmark.py makes them."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device = options.device
        self.network = timm.create_model(name, num_classes=CLASSES)
        self.network.to(self.device).to(memory_format=torch.channels_last)
        shape = (options.batch, 3, options.side, options.side)
        self.films = torch.randn(shape, device=self.device).contiguous(memory_format=torch.channels_last)
        self.targets = torch.arange(options.batch, device=self.device) % CLASSES
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.01, momentum=0.9)

    def train(self) -> None:
        self._step(self.network)

    def predict(self) -> Tensor:
        return self._forward(self.network)

    @cached_property
    def compiled(self) -> Any:
        """The same network, compiled."""
        return torch.compile(self.network)

    def train_compiled(self) -> None:
        self._step(self.compiled)

    def predict_compiled(self) -> Tensor:
        return self._forward(self.compiled)

    def _step(self, network: Any) -> None:
        network.train()
        self.optimiser.zero_grad()
        with torch.autocast(self.device, torch.bfloat16):
            loss = nn.functional.cross_entropy(network(self.films), self.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()

    def _forward(self, network: Any) -> Tensor:
        network.eval()
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16):
            told: Tensor = network(self.films)
        return told


class Hilum:
    """The same network as hilum builds, trains and asks it."""

    def __init__(self, name: str, options: argparse.Namespace, work: Path) -> None:
        torch.manual_seed(0)
        self.device, self.batch, self.work = options.device, options.batch, work
        text = RECIPE.format(name=name, side=options.side, batch=options.batch)
        self.recipe: Recipe = parse_recipe(text)
        self.classifier, _ = build_classifier(self.recipe.network, self.recipe.preprocess, classes=CLASSES)
        self.view = _frames(work, options)
        self.folds = _folds(len(self.view))
        self.fabric = make_fabric("bfloat16")
        module = self.classifier.to(self.device).to(memory_format=torch.channels_last)
        optimiser = make_optimiser(freeze(module, self.recipe.network), self.recipe.schedule)
        self.network, self.optimiser = self.fabric.setup(module, optimiser)
        self.loss = Loss(self.folds, CLASSES, self.recipe.schedule)
        self.rows = np.arange(self.batch)
        self.films = self.load()
        self.targets = torch.tensor(self.folds.targets[self.rows], device=self.device)

    def train(self) -> None:
        """A step on a batch that lies on the device."""
        training_mode(self.classifier, self.recipe.network)
        loss = self.loss(self.network(self.films).float(), self.targets, self.rows)
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.optimiser.step()

    def load(self) -> Tensor:
        """A batch from the cache to the device, as training reads it."""
        films = torch.from_numpy(self.recipe.preprocess.normalise(self.view[self.rows]))
        return films.to(self.device).contiguous(memory_format=torch.channels_last)

    def predict_halved(self) -> Tensor:
        """The classifier's forward pass in bfloat16, on a batch that lies on the device."""
        self.classifier.eval()
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16):
            told: Tensor = self.classifier(self.films)
        return told

    def predict(self) -> Any:
        """What a bundle on this device does with a batch: frames to logits, so many films a pass as it takes."""
        engine: TorchEngine[Any] = TorchEngine(self.classifier)
        frames = self.view[self.rows]
        at_once = engine.at_once
        parts = (frames[start : start + at_once] for start in range(0, len(frames), at_once))
        return [engine(self.recipe.preprocess.normalise(part)) for part in parts]

    def epochs(self, steps: int) -> Spent:
        """So many steps by `fit_network`, a checkpoint at the end included; building the network is not."""
        count = steps * self.batch
        rows = np.arange(count) % len(self.view)
        folds = Folds(rows, rows[:0], self.folds.targets, np.zeros(count, np.int64), self.folds.places)
        stage = Stage(self.recipe.schedule, self.recipe.network, fresh=True)
        start, processor = time.perf_counter(), processor_seconds()
        checkpoint = self.work / "checkpoint"
        fit_network(self.classifier, self.view, folds, self.recipe, stage, 0, checkpoint=checkpoint)
        wait_for(self.device)
        checkpoint.unlink(missing_ok=True)
        return Spent(time.perf_counter() - start, processor_seconds() - processor)


def _frames(work: Path, options: argparse.Namespace) -> ArrayView:
    """A cache of four batches of drawn frames."""
    side, count = options.side, 4 * options.batch
    cache = ArrayCache(work / "frames", shape=(side, side), dtype=np.uint8)
    rng = np.random.default_rng(0)
    keys = [f"{number:064x}" for number in range(count)]
    cache.add((key, rng.integers(0, 256, (side, side), np.uint8)) for key in keys)
    return cache.view(keys)


def _folds(films: int) -> Folds:
    rows = np.arange(films)
    return Folds(rows, rows[:0], rows % CLASSES, np.zeros(films, np.int64), np.zeros(films, np.int64))

"""Training on frames and what was drawn on them, whether masks or boxes: the part that both kinds of network share."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.augment import seed_of
from hilum.cache import ArrayView
from hilum.networks.backbones import per_channel
from hilum.parallel import Progress
from hilum.recipe.frames import FrameRecipe
from hilum.train.checkpoint import Training, load_checkpoint
from hilum.train.epochs import Best, Fitted, learning_rate, make_optimiser, set_rate
from hilum.train.loop import Row, batches_of, precision_of, run_epochs, settle_draws, share_of
from hilum.train.processes import make_fabric

AnyRecipe = TypeVar("AnyRecipe", bound=FrameRecipe)


class Scaled(Protocol):
    """A network that says how its films are scaled, a channel each."""

    @property
    def mean(self) -> tuple[float, ...]: ...

    @property
    def std(self) -> tuple[float, ...]: ...


class FrameFilms(Protocol):
    """Frames of films, and which rows train and tune; what was drawn on them is the subclass's to know."""

    @property
    def frames(self) -> ArrayView: ...

    @property
    def train(self) -> NDArray[np.int64]: ...

    @property
    def tune(self) -> NDArray[np.int64]: ...


AnyFilms = TypeVar("AnyFilms", bound=FrameFilms)


def with_scale(recipe: AnyRecipe, network: Scaled) -> AnyRecipe:
    """The recipe with the network's own grey scale."""
    told = recipe.preprocess
    scale = {"mean": per_channel(network.mean, told.channels), "std": per_channel(network.std, told.channels)}
    return recipe.model_copy(update={"preprocess": told.model_copy(update=scale)})


class FrameFit(ABC, Generic[AnyFilms, AnyRecipe]):
    """One epoch after another over frames and what was drawn on them, through Fabric."""

    def __init__(self, module: nn.Module, films: AnyFilms, recipe: AnyRecipe, seed: int) -> None:
        self.films, self.recipe, self.seed = films, recipe, seed
        self.fabric = make_fabric(recipe.schedule.precision)
        self.precision = precision_of(self.fabric)
        self.module = module.to(memory_format=torch.channels_last)
        optimiser = make_optimiser(list(module.parameters()), recipe.schedule)
        self.network, self.optimiser = self.fabric.setup(module, optimiser)

    @abstractmethod
    def begin(self) -> None:
        """Set the network to be trained."""

    @abstractmethod
    def loss_of(self, rows: NDArray[np.int64], views: list[int]) -> Tensor:
        """Of these rows, each changed as its view's seed draws."""

    @abstractmethod
    def score(self) -> tuple[float, float]:
        """Loss and figure on the tune fold; the first process's where several would differ."""

    def run(self, history: list[str], *, checkpoint: Path, progress: Progress | None) -> Fitted:
        """Go on from `checkpoint` to the end; the network holds its best weights afterwards.

        Args:
            history: names of the columns.
            checkpoint: file rewritten after every epoch.
            progress: called with epochs done and epochs in all.
        """
        best = Best(self.module, self.recipe.schedule.patience)
        training = Training(self.module, self.optimiser, best)
        rows = load_checkpoint(training, checkpoint)

        def one(epoch: int) -> Row:
            train_loss, rate = self.epoch(epoch)
            return epoch, train_loss, *self.score(), rate

        tuned = bool(len(self.films.tune))
        run_epochs(training, rows, self.recipe.schedule, one, tuned=tuned, checkpoint=checkpoint, progress=progress)
        self.fabric.barrier()
        table = pd.DataFrame(rows, columns=history)
        return Fitted(table, best.epoch, self.precision, self.fabric.device.type)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train loss and last learning rate; the draw of order and augmentation depends on seed and epoch alone."""
        settle_draws(self.fabric, self.seed, epoch)
        self.begin()
        schedule, count = self.recipe.schedule, len(self.films.train)
        batches = batches_of(count, schedule, self.seed, epoch)
        total = torch.zeros((), device=self.fabric.device)
        for number, places in enumerate(batches):
            rate = learning_rate(schedule, (epoch - 1) * len(batches) + number, len(batches))
            set_rate(self.optimiser, rate)
            total += self._step(self.films.train[places], epoch) * len(places)
        mean: Any = self.fabric.all_reduce(total / count, reduce_op="mean")
        return float(mean), rate

    def _step(self, batch: NDArray[np.int64], epoch: int) -> Tensor:
        """One step on a batch: this process's part of it. A loss that is no mean over films differs a little there."""
        mine, factor = share_of(self.fabric, np.ones(len(batch)))
        rows = batch[mine]
        views = [seed_of(self.seed, self.films.frames.keys[row], epoch) for row in rows.tolist()]
        loss = self.loss_of(rows, views) * factor
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.optimiser.step()
        return loss.detach()

    def grey(self, rows: NDArray[np.int64]) -> Tensor:
        """(N, 1, side, side) in [0, 1]."""
        top = float(2**self.recipe.preprocess.depth_bits - 1)
        return torch.from_numpy(self.films.frames[rows].astype(np.float32))[:, None] / top

    def as_films(self, grey: Tensor) -> Tensor:
        """Scaled as `Preprocess.normalise` does, but from greys that augmentation left between whole numbers."""
        told = self.recipe.preprocess
        mean, std = (torch.tensor(values or (0.5,)).reshape(1, -1, 1, 1) for values in (told.mean, told.std))
        films = (grey.expand(-1, told.channels, -1, -1) - mean) / std
        return films.to(self.fabric.device).contiguous(memory_format=torch.channels_last)

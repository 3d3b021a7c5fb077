"""Training on frames and what was drawn on them, whether masks or boxes: the part that both kinds of network share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.augment import seed_of
from hilum.cache import ArrayView
from hilum.engine.eager import readers
from hilum.networks.backbones import per_channel
from hilum.parallel import Ahead, Progress
from hilum.recipe.frames import FrameRecipe
from hilum.train.checkpoint import Training, load_checkpoint
from hilum.train.epochs import Best, Fitted, make_optimiser
from hilum.train.loop import Row, batches_of, precision_of, run_epochs, run_steps, settle_draws, share_of
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


Shown = TypeVar("Shown")


class FrameFit(ABC, Generic[AnyFilms, AnyRecipe, Shown]):
    """One epoch after another over frames and what was drawn on them, through Fabric."""

    def __init__(self, module: nn.Module, films: AnyFilms, recipe: AnyRecipe, seed: int) -> None:
        self.films, self.recipe, self.seed = films, recipe, seed
        self.fabric = make_fabric(recipe.schedule.precision)
        self.precision = precision_of(self.fabric)
        self.module = module.to(memory_format=torch.channels_last)
        optimiser = make_optimiser(list(module.parameters()), recipe.schedule)
        self.network, self.optimiser = self.fabric.setup(module, optimiser)
        self.ahead = Ahead(readers(self.fabric.device))

    @abstractmethod
    def begin(self) -> None:
        """Set the network to be trained."""

    @abstractmethod
    def look(self, rows: NDArray[np.int64], views: list[int]) -> Callable[[], Shown]:
        """What reads these rows and changes each as its view's seed draws; another process may be given it."""

    @abstractmethod
    def loss_of(self, shown: Shown) -> Tensor:
        """Of what a look gave."""

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
        with self.ahead:
            run_epochs(training, rows, self.recipe.schedule, one, tuned=tuned, checkpoint=checkpoint, progress=progress)
        self.fabric.barrier()
        table = pd.DataFrame(rows, columns=history)
        return Fitted(table, best.epoch, self.precision, self.fabric.device.type)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train loss and last learning rate; the draw of order and augmentation depends on seed and epoch alone."""
        settle_draws(self.fabric, self.seed, epoch)
        self.begin()
        schedule = self.recipe.schedule
        batches = batches_of(len(self.films.train), schedule, self.seed, epoch)
        return run_steps(self.fabric, self.optimiser, schedule, epoch, batches, self._losses(batches, epoch))

    def _losses(self, batches: Sequence[NDArray[np.int64]], epoch: int) -> Iterator[Tensor]:
        """Of this process's part of each batch; films are read ahead, the loss is computed when its turn comes.

        A loss that is no mean over films differs a little where several processes share a batch.
        """
        shares = [(places, *share_of(self.fabric, np.ones(len(places)))) for places in batches]
        parts = [(self.films.train[places[mine]], factor) for places, mine, factor in shares]
        shown = self.ahead.each(self.look(rows, self._views(rows, epoch)) for rows, _ in parts)
        for one, (_, factor) in zip(shown, parts, strict=True):
            yield self.loss_of(one) * factor

    def _views(self, rows: NDArray[np.int64], epoch: int) -> list[int]:
        """A seed a film, of how the epoch shows it."""
        return [seed_of(self.seed, self.films.frames.keys[row], epoch) for row in rows.tolist()]

    def grey(self, rows: NDArray[np.int64]) -> Tensor:
        """(N, 1, side, side) in [0, 1]."""
        return grey_of(self.films.frames[rows], self.recipe)

    def as_films(self, grey: Tensor) -> Tensor:
        """Scaled as `Preprocess.normalise` does, but from greys that augmentation left between whole numbers."""
        told = self.recipe.preprocess
        mean, std = (torch.tensor(values or (0.5,)).reshape(1, -1, 1, 1) for values in (told.mean, told.std))
        films = (grey.expand(-1, told.channels, -1, -1) - mean) / std
        return films.to(self.fabric.device).contiguous(memory_format=torch.channels_last)


def grey_of(frames: NDArray[Any], recipe: FrameRecipe) -> Tensor:
    """Frames (N, side, side) of whole numbers as (N, 1, side, side) in [0, 1]."""
    top = float(2**recipe.preprocess.depth_bits - 1)
    return torch.from_numpy(frames.astype(np.float32))[:, None] / top

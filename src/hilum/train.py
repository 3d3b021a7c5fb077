"""Train: fit a classifier on the train fold, stop and choose by the tune fold, never look at the test fold.

Two ways. With a frozen backbone the head is fitted on cached vectors, in seconds. Otherwise the network itself is
trained with Lightning Fabric: CPU or GPU, bfloat16, several processes under `torchrun`. Either way the best epoch by
tune loss is what remains.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hilum.augment import augment, seed_of
from hilum.cache import ArrayView
from hilum.errors import DataError
from hilum.features import FeatureCache
from hilum.files import written_aside
from hilum.networks import Classifier
from hilum.networks.classifier import Standardise, freeze, training_mode
from hilum.recipe import Recipe, Schedule

Progress = Callable[[int, int], None]

HISTORY = ["epoch", "train_loss", "tune_loss", "tune_accuracy", "learning_rate"]


@dataclass(frozen=True)
class Folds:
    """Row numbers of the films that train and tune, and every film's class number."""

    train: NDArray[np.int64]
    tune: NDArray[np.int64]
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """A history (a row an epoch, columns `HISTORY`), the epoch whose weights were kept, and how it was computed."""

    history: pd.DataFrame
    best_epoch: int
    precision: str
    device: str


class Best:
    """The weights with the lowest tune loss so far, and when to stop waiting for lower."""

    def __init__(self, module: nn.Module, patience: int | None) -> None:
        self.module = module
        self.patience = patience
        self.epoch = 0
        self.loss = math.inf
        self.state: dict[str, Tensor] = {}

    def offer(self, epoch: int, loss: float) -> bool:
        """Note an epoch's tune loss; True when it is time to stop.

        Raises:
            DataError: the loss is no number.
        """
        if not math.isfinite(loss):
            raise DataError(f"the loss is no longer a number in epoch {epoch}; lower schedule.learning_rate")
        if loss < self.loss:
            self.epoch, self.loss = epoch, loss
            self.state = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        return self.patience is not None and epoch - self.epoch >= self.patience

    def restore(self) -> None:
        """Put the best weights back."""
        self.module.load_state_dict(self.state)


def class_weights(targets: NDArray[np.int64], classes: int, kind: str) -> Tensor:
    """(classes,) weights of the loss; `balanced` is n / (k * n_class) (King and Zeng 2001).

    Raises:
        DataError: a class has no film in the train fold.
    """
    counts = np.bincount(targets, minlength=classes)
    if not counts.all():
        raise DataError(f"class number {int(np.argmin(counts))} has no film in the train fold")
    weights = len(targets) / (classes * counts) if kind == "balanced" else np.ones(classes)
    return torch.tensor(weights, dtype=torch.float32)


def make_optimiser(parameters: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    """The recipe's optimiser over `parameters`."""
    rate, decay = schedule.learning_rate, schedule.weight_decay
    match schedule.optimiser:
        case "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=schedule.momentum, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
        case "lbfgs":
            return torch.optim.LBFGS(parameters, lr=1.0, max_iter=5, line_search_fn="strong_wolfe")
        case kind:
            return torch.optim.Adam(parameters, lr=rate, weight_decay=decay, amsgrad=kind == "amsgrad")


def learning_rate(schedule: Schedule, step: int, steps_per_epoch: int) -> float:
    """The rate at a step counted from 0."""
    if schedule.decay == "cosine":
        share = step / (schedule.epochs * steps_per_epoch)
        return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
    if schedule.decay == "inverse":
        return schedule.learning_rate / (1 + step * schedule.learning_rate / schedule.epochs)
    return schedule.learning_rate


def fit_head(
    classifier: Classifier, features: FeatureCache, films: pd.DataFrame, folds: Folds, recipe: Recipe, seed: int
) -> Fitted:
    """Fit the head on cached vectors; the backbone is not touched.

    Each epoch sees every training film once, in a view drawn for that epoch; `lbfgs` sees all views at once.
    """
    torch.manual_seed(seed)
    _reset(classifier.head)
    train = films.iloc[folds.train]
    views = torch.from_numpy(np.stack([features.view(train, view) for view in range(recipe.schedule.views)]))
    tune = torch.from_numpy(features.view(films.iloc[folds.tune]))
    for layer in classifier.head:
        if isinstance(layer, Standardise):
            layer.measure(views.flatten(0, 1))
    targets = torch.tensor(folds.targets)
    fitting = _HeadFit(classifier.head, recipe.schedule, views, targets[folds.train], len(recipe.classes), seed)
    best = Best(classifier.head, recipe.schedule.patience)
    rows = []
    for epoch in range(1, recipe.schedule.epochs + 1):
        train_loss, rate = fitting.epoch(epoch)
        tune_loss, accuracy = fitting.score(tune, targets[folds.tune])
        rows.append((epoch, train_loss, tune_loss, accuracy, rate))
        if best.offer(epoch, tune_loss if len(tune) else train_loss):
            break
    best.restore()
    return Fitted(pd.DataFrame(rows, columns=HISTORY), best.epoch, "float32", "cpu")


class _HeadFit:
    """One epoch after another over cached vectors (views, N, size)."""

    def __init__(
        self, head: nn.Sequential, schedule: Schedule, views: Tensor, targets: Tensor, classes: int, seed: int
    ) -> None:
        self.head, self.schedule, self.views, self.targets, self.seed = head, schedule, views, targets, seed
        self.weights = class_weights(targets.numpy(), classes, schedule.class_weights)
        self.optimiser = make_optimiser(list(head.parameters()), schedule)
        self.steps_per_epoch = math.ceil(len(targets) / schedule.batch_films)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train loss and learning rate."""
        self.head.train()
        if self.schedule.optimiser == "lbfgs":
            return self._whole(), 1.0
        return self._batches(epoch)

    def _whole(self) -> float:
        vectors = self.views.flatten(0, 1)
        targets = self.targets.repeat(len(self.views))
        matrices = [parameter for parameter in self.head.parameters() if parameter.ndim > 1]

        def closure() -> Tensor:
            self.optimiser.zero_grad()
            loss = functional.cross_entropy(self.head(vectors), targets, self.weights)
            loss = loss + self.schedule.weight_decay / 2 * sum(matrix.square().sum() for matrix in matrices)
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
            return loss

        loss: Any = self.optimiser.step(closure)  # type: ignore[arg-type] # torch's closure type asks for a float
        return float(loss.detach())

    def _batches(self, epoch: int) -> tuple[float, float]:
        draw = torch.Generator().manual_seed(seed_of(self.seed, "order", epoch))
        order = torch.randperm(len(self.targets), generator=draw)
        view = torch.randint(len(self.views), (len(self.targets),), generator=draw)
        total = 0.0
        for number, rows in enumerate(torch.split(order, self.schedule.batch_films)):
            rate = learning_rate(self.schedule, (epoch - 1) * self.steps_per_epoch + number, self.steps_per_epoch)
            _set_rate(self.optimiser, rate)
            loss = functional.cross_entropy(self.head(self.views[view[rows], rows]), self.targets[rows], self.weights)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
            self.optimiser.step()
            total += loss.item() * len(rows)
        return total / len(order), rate

    def score(self, vectors: Tensor, targets: Tensor) -> tuple[float, float]:
        """Loss and accuracy on vectors (N, size); NaN where there are none."""
        if not len(targets):
            return math.nan, math.nan
        with torch.inference_mode():
            logits = self.head.eval()(vectors)
            loss = functional.cross_entropy(logits, targets, self.weights)
            return float(loss), float((logits.argmax(1) == targets).float().mean())


def _reset(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def native_bfloat16(device: torch.device) -> bool:
    """Whether the processor computes in bfloat16 rather than imitating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def make_fabric(precision: str) -> Fabric:
    """Fabric for this process: the GPU where there is one, the processes `torchrun` started where it did."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if precision == "auto":
        precision = "bfloat16" if native_bfloat16(device) else "float32"
    fabric = Fabric(
        accelerator=device.type,
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
    )
    fabric.launch()
    return fabric


def fit_network(
    classifier: Classifier,
    frames: ArrayView,
    film_ids: list[str],
    folds: Folds,
    recipe: Recipe,
    seed: int,
    *,
    checkpoint: Path,
    progress: Progress | None = None,
) -> Fitted:
    """Train the network from where the recipe says; continues from `checkpoint` where a run was interrupted.

    Args:
        classifier: changed in place; holds the best weights afterwards.
        frames: of all films, in the rows `folds` counts.
        film_ids: a name a film, for its augmentation's draw.
        folds: who trains and who tunes.
        recipe: the schedule, augmentation and preprocess.
        seed: of everything random here.
        checkpoint: file rewritten after every epoch, removed at the end.
        progress: called with epochs done and epochs in all.
    """
    torch.manual_seed(seed)
    _reset(classifier.head)
    fitting = _NetworkFit(classifier, frames, film_ids, folds, recipe, seed)
    best = Best(classifier, recipe.schedule.patience)
    rows = fitting.resume(checkpoint, best)
    for epoch in range(len(rows) + 1, recipe.schedule.epochs + 1):
        if rows and best.patience is not None and len(rows) - best.epoch >= best.patience:
            break
        train_loss, rate = fitting.epoch(epoch)
        tune_loss, accuracy = fitting.score()
        rows.append((epoch, train_loss, tune_loss, accuracy, rate))
        stop = best.offer(epoch, tune_loss if len(folds.tune) else train_loss)
        fitting.keep(checkpoint, best, rows)
        if progress:
            progress(epoch, recipe.schedule.epochs)
        if stop:
            break
    best.restore()
    checkpoint.unlink(missing_ok=True)
    return Fitted(pd.DataFrame(rows, columns=HISTORY), best.epoch, fitting.precision, fitting.fabric.device.type)


class _NetworkFit:
    """One epoch after another over frames, through Fabric."""

    def __init__(
        self,
        classifier: Classifier,
        frames: ArrayView,
        film_ids: list[str],
        folds: Folds,
        recipe: Recipe,
        seed: int,
    ) -> None:
        self.recipe, self.frames, self.film_ids, self.folds, self.seed = recipe, frames, film_ids, folds, seed
        self.fabric = make_fabric(recipe.schedule.precision)
        self.precision = "bfloat16" if "bf16" in str(self.fabric.strategy.precision.precision) else "float32"
        self.classifier = classifier.to(memory_format=torch.channels_last)
        optimiser = make_optimiser(freeze(classifier, recipe.network), recipe.schedule)
        self.network, self.optimiser = self.fabric.setup(classifier, optimiser)
        self.targets = torch.tensor(folds.targets)
        weights = class_weights(folds.targets[folds.train], len(recipe.classes), recipe.schedule.class_weights)
        self.weights = weights.to(self.fabric.device)

    def epoch(self, epoch: int) -> tuple[float, float]:
        """Train loss and last learning rate; the draw of order and augmentation depends on seed and epoch alone."""
        torch.manual_seed(seed_of(self.seed, "epoch", epoch))
        training_mode(self.classifier, self.recipe.network)
        schedule = self.recipe.schedule
        order = np.random.default_rng(seed_of(self.seed, "order", epoch)).permutation(self.folds.train)
        steps = math.ceil(len(order) / schedule.batch_films)
        total, rate = 0.0, schedule.learning_rate
        for number in range(steps):
            rows = order[number * schedule.batch_films : (number + 1) * schedule.batch_films]
            rate = learning_rate(schedule, (epoch - 1) * steps + number, steps)
            _set_rate(self.optimiser, rate)
            total += self._step(rows[self.fabric.global_rank :: self.fabric.world_size], epoch) * len(rows)
        return total / len(order), rate

    def _step(self, rows: NDArray[np.int64], epoch: int) -> float:
        logits = self.network(self._films(rows, epoch))
        loss = functional.cross_entropy(logits.float(), self.targets[rows].to(self.fabric.device), self.weights)
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        self.optimiser.step()
        mean: Any = self.fabric.all_reduce(loss.detach(), reduce_op="mean")
        return float(mean)

    def _films(self, rows: NDArray[np.int64], epoch: int | None) -> Tensor:
        top = float(2**self.recipe.preprocess.depth_bits - 1)
        frames = self.frames[rows]
        if epoch is not None and not self.recipe.augmentation.changes_nothing:
            grey = torch.from_numpy(frames.astype(np.float32))[:, None] / top
            seeds = [seed_of(self.seed, self.film_ids[row], epoch) for row in rows]
            frames = (augment(grey, self.recipe.augmentation, seeds)[:, 0].clamp(0, 1) * top).numpy()
        films = torch.from_numpy(self.recipe.preprocess.normalise(frames))
        return films.to(self.fabric.device).contiguous(memory_format=torch.channels_last)

    def score(self) -> tuple[float, float]:
        """Loss and accuracy on the tune fold, in float32."""
        tune = self.folds.tune
        if not len(tune):
            return math.nan, math.nan
        logits = torch.cat(list(self._logits(tune)))
        targets = self.targets[tune].to(logits.device)
        loss = functional.cross_entropy(logits, targets, self.weights)
        return float(loss), float((logits.argmax(1) == targets).float().mean())

    def _logits(self, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        self.classifier.eval()
        with torch.inference_mode():
            for start in range(0, len(rows), self.recipe.schedule.batch_films):
                yield self.classifier(self._films(rows[start : start + self.recipe.schedule.batch_films], None))

    def keep(self, checkpoint: Path, best: Best, rows: list[tuple[Any, ...]]) -> None:
        """Write all that continuing needs; tensors and numbers only, so that reading it runs no code."""
        if self.fabric.global_rank == 0:
            told = {
                "network": self.classifier.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "best": {"epoch": best.epoch, "loss": best.loss, "state": best.state},
                "rows": rows,
            }
            with written_aside(checkpoint) as aside:
                torch.save(told, aside)
        self.fabric.barrier()

    def resume(self, checkpoint: Path, best: Best) -> list[tuple[Any, ...]]:
        """Load what `keep` wrote; an empty history where nothing was."""
        if not checkpoint.is_file():
            return []
        told = torch.load(checkpoint, map_location=self.fabric.device, weights_only=True)
        self.classifier.load_state_dict(told["network"])
        self.optimiser.load_state_dict(told["optimiser"])
        best.epoch, best.loss, best.state = told["best"]["epoch"], told["best"]["loss"], told["best"]["state"]
        return [tuple(row) for row in told["rows"]]

"""What every training loop is made of: epochs with a checkpoint after each, batches, and a process's share of one."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from hilum.augment import seed_of
from hilum.parallel import Progress
from hilum.recipe import Schedule
from hilum.train.checkpoint import Rows, Training, save_checkpoint
from hilum.train.epochs import learning_rate, set_rate
from hilum.train.processes import is_leader

Row = tuple[int, float, float, float, float]
"""As `epochs.HISTORY` names them: epoch, train loss, tune loss, tune figure, learning rate."""


def run_epochs(
    training: Training,
    rows: Rows,
    schedule: Schedule,
    one: Callable[[int], Row],
    *,
    tuned: bool,
    checkpoint: Path,
    progress: Progress | None = None,
) -> None:
    """Go on from the epochs in `rows` to the last or to where waiting ends; the network then holds its best weights.

    Args:
        training: what moves.
        rows: epochs done, appended to.
        schedule: how long.
        one: trains and scores the epoch of that number.
        tuned: whether there is a tune fold; without one the train loss chooses.
        checkpoint: file rewritten after every epoch.
        progress: called with epochs done and epochs in all.
    """
    while len(rows) < schedule.epochs and not training.best.stale(len(rows)):
        row = one(len(rows) + 1)
        rows.append(row)
        epoch, train_loss, tune_loss = row[:3]
        training.best.offer(epoch, tune_loss if tuned else train_loss)
        if is_leader():
            save_checkpoint(training, rows, checkpoint)
        if progress:
            progress(epoch, schedule.epochs)
    training.best.restore()


def run_steps(
    fabric: Fabric,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    epoch: int,
    batches: Sequence[NDArray[np.int64]],
    losses: Iterable[Tensor],
) -> tuple[float, float]:
    """One epoch: a step a batch.

    Args:
        fabric: this process's.
        optimiser: of the network.
        schedule: says the learning rates.
        epoch: counted from 1.
        batches: as `batches_of` gives them.
        losses: of this process's part of each batch, computed when its turn comes.

    Returns:
        Mean train loss over films and processes, and the last learning rate.
    """
    total = torch.zeros((), device=fabric.device)
    for number, (places, loss) in enumerate(zip(batches, losses, strict=True)):
        rate = learning_rate(schedule, (epoch - 1) * len(batches) + number, len(batches))
        set_rate(optimiser, rate)
        optimiser.zero_grad()
        fabric.backward(loss)
        optimiser.step()
        total += loss.detach() * len(places)
    mean: Any = fabric.all_reduce(total / sum(map(len, batches)), reduce_op="mean")
    return float(mean), rate


def batches_of(films: int, schedule: Schedule, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Places in the train fold, batch by batch, in an order that depends on seed and epoch alone.

    Batches are of nearly one size: a last one of a single film would have no batch statistics.
    """
    order = np.random.default_rng(seed_of(seed, "order", epoch)).permutation(films)
    return np.array_split(order, math.ceil(films / schedule.batch_films))


def share_of(fabric: Fabric, weights: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int64], float]:
    """This process's part of a batch, each film being in one process's, and what its loss is multiplied by.

    Processes' gradients are averaged, and their parts may hold unequal weights. A mean loss over a part, times the
    number returned, averaged over processes, is the mean over the batch.

    Args:
        fabric: this process's.
        weights: (N,) of the batch's films in its mean loss.

    Returns:
        Places in the batch, and the factor. Of fewer films than processes those that are left over take the first film
        with factor 0.
    """
    world = fabric.world_size
    mine = np.arange(fabric.global_rank, len(weights), world)
    if not len(mine):
        return np.zeros(1, np.int64), 0.0
    return mine, 1.0 if world == 1 else float(weights[mine].sum() * world / weights.sum())


def settle_draws(fabric: Fabric, seed: int, epoch: int) -> None:
    """Seed what layers draw in an epoch: of each process its own, the first's being that of a process alone."""
    rank = fabric.global_rank
    torch.manual_seed(seed_of(seed, "epoch", epoch, *([rank] if rank else [])))


def precision_of(fabric: Fabric) -> str:
    """What steps are computed in: `bfloat16` or `float32`."""
    kept: Any = fabric.strategy.precision.precision
    return "bfloat16" if "bf16" in str(kept) else "float32"

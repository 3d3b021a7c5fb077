"""What every training loop is made of: epochs with a checkpoint after each, batches, and a process's share of one."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from hilum.augment import seed_of
from hilum.parallel import Progress
from hilum.recipe import Schedule
from hilum.train.checkpoint import Rows, Training, save_checkpoint
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


def batches_of(films: int, schedule: Schedule, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Places in the train fold, batch by batch, in an order that depends on seed and epoch alone.

    Batches are of nearly one size: a last one of a single film would have no batch statistics.
    """
    order = np.random.default_rng(seed_of(seed, "order", epoch)).permutation(films)
    return np.array_split(order, math.ceil(films / schedule.batch_films))


def share_of(fabric: Fabric, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """This process's part of a batch; some films occur twice where they do not divide evenly."""
    world = fabric.world_size
    even = np.resize(places, math.ceil(len(places) / world) * world)
    return even[fabric.global_rank :: world]


def precision_of(fabric: Fabric) -> str:
    """What steps are computed in: `bfloat16` or `float32`."""
    kept: Any = fabric.strategy.precision.precision
    return "bfloat16" if "bf16" in str(kept) else "float32"

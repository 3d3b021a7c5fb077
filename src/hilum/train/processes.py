"""The processes a training runs in: one, or those `torchrun` started, over processors or GPUs.

The processes of one training must see the same folder of results: the first prepares, and only it writes.
"""

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import distributed

from hilum.errors import HilumError


def is_leader() -> bool:
    """Whether this process is the one that writes: the only one, or the first that `torchrun` started."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def leader_first() -> Iterator[None]:
    """Let the first process through the block before the others, who then find what it left on disk.

    The others do not begin it where the first failed; what fails in any process is raised in all.
    """
    if not _several():
        yield
        return
    _everybody()  # all at once, before one of them is away for an hour
    failed: HilumError | None = None
    if not is_leader():
        _agree(None)
    try:
        yield
    except HilumError as error:
        failed = error
    if is_leader():
        _agree(failed)
    _agree(failed)


@contextmanager
def all_or_none() -> Iterator[None]:
    """Wait for every process at the end of the block; a `HilumError` that one of them raised in it is raised in all.

    A process that goes on by itself would leave the others waiting. Where the block has steps that all take together
    (those of a training), only errors that all of them raise may come out of these. Whatever is no `HilumError` ends
    the process, and `torchrun` then ends the others.
    """
    if not _several():
        yield
        return
    _everybody()
    failed: HilumError | None = None
    try:
        yield
    except HilumError as error:
        failed = error
    _agree(failed)


def _agree(failed: HilumError | None) -> None:
    """Hear from every process what failed there.

    Raises:
        HilumError: the first one's that failed, in every process.
    """
    told: list[HilumError | None] = [None] * int(os.environ["WORLD_SIZE"])
    distributed.all_gather_object(told, failed, group=_everybody())
    for error in told:
        if error is not None:
            raise error


@cache
def _everybody() -> Any:
    """All processes, who wait for one another however long one of them takes."""
    make_fabric("float32")
    group: Any = distributed.new_group(backend="gloo", timeout=timedelta(days=10_000))
    return group


def _several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def processor() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def native_bfloat16(device: torch.device) -> bool:
    """Whether the processor computes in bfloat16 rather than imitating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def make_fabric(precision: str) -> Fabric:
    """Fabric for this process, launched; `precision` as in the recipe's schedule."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    device = processor()
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
    if world > 1:
        _leave_at_exit()
    return fabric


@cache
def _leave_at_exit() -> None:
    """Leave the others while Python still runs.

    The threads of gloo free tensors that Python knows; one that is still at it when the interpreter goes aborts the
    process (https://github.com/pytorch/pytorch/pull/179291), and `torchrun` takes that for a failed training.
    """
    atexit.register(_leave)


def _leave() -> None:
    _everybody.cache_clear()
    gc.collect()  # networks that were trained hold the group too
    if distributed.is_initialized():
        distributed.destroy_process_group()

"""The processes a training runs in: one, or those `torchrun` started, over processors or GPUs.

The processes of one training must see the same folder of results: the first prepares, and only it writes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from lightning_fabric import Fabric


def is_leader() -> bool:
    """Whether this process is the one that writes: the only one, or the first that `torchrun` started."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def leader_first() -> Iterator[None]:
    """Let the first process through the block before the others, who then find what it left on disk."""
    with make_fabric("float32").rank_zero_first() if _several() else nullcontext():
        yield


def wait_for_all() -> None:
    """Return when every process has come here."""
    if _several():
        make_fabric("float32").barrier()


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
    return fabric

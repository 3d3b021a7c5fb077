"""torch as an engine: the network itself, layer by layer."""

import os
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.engine.answers import LOGITS, Floats
from hilum.parallel import default_processes

Network = TypeVar("Network", bound=nn.Module)


def films_a_pass(device: torch.device) -> int:
    """How many films to send through a network at once, without gradients.

    On a processor four: larger activations do not fit its cache and are given back to the system after every layer
    (measured: half the time of 32).
    """
    return 4 if device.type == "cpu" else 64


MOST_READERS = 4
"""Processes that prepare films for one GPU: each holds the libraries, half a gigabyte."""


def readers(device: torch.device) -> int:
    """How many processes read and change films for a network on this device; 1 is the one that trains.

    A GPU would wait for one process. Where the cores do the training, they have no time for others.
    """
    if device.type == "cpu":
        return 1
    return max(1, min(MOST_READERS, default_processes() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


class TorchEngine(Generic[Network]):
    """A network of torch; outputs beside the logits are those of its method `told`."""

    name = "torch"

    def __init__(self, network: Network) -> None:
        # As a loaded one is laid out: another layout rounds otherwise, and a figure would not repeat to the last digit.
        self.network: Network = network.to(memory_format=torch.channels_last)

    @property
    def at_once(self) -> int:
        return films_a_pass(next(self.network.parameters()).device)

    @property
    def outputs(self) -> tuple[str, ...]:
        told: tuple[str, ...] = getattr(self.network, "outputs", (LOGITS,))
        return told

    def __call__(self, films: Floats, names: Sequence[str] = (LOGITS,)) -> tuple[Floats, ...]:
        return answers_of(self.network, films, names)

    def tensors(self, prefix: str) -> dict[str, NDArray[Any]]:
        state = self.network.state_dict()
        return {name: value.detach().cpu().numpy() for name, value in state.items() if name.startswith(prefix)}


def answers_of(network: nn.Module, films: Floats, names: Sequence[str] = (LOGITS,)) -> tuple[Floats, ...]:
    """Outputs for (N, channels, H, W) films, in float32 whatever the network was trained in."""
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        given = torch.from_numpy(films).to(device).contiguous(memory_format=torch.channels_last)
        # A network that only gives logits has no `told`.
        told: dict[str, Tensor] = (
            {LOGITS: network(given)} if tuple(names) == (LOGITS,) else cast("Any", network).told(given)
        )
        return tuple(np.asarray(told[name].float().cpu().numpy(), np.float32) for name in names)

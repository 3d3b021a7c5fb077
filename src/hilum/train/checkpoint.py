"""An interrupted training on disk: tensors and numbers in one safetensors file, so that reading it runs no code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hilum.errors import DataError
from hilum.files import written_aside
from hilum.train.epochs import Best

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Training:
    """All that moves while a network is trained, besides the history."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    best: Best


def save_checkpoint(training: Training, rows: Rows, path: Path) -> None:
    """Write where a training stands after the epochs in `rows`."""
    optimiser = training.optimiser.state_dict()
    parts = {"network": training.network.state_dict(), "best": training.best.state, "optimiser": {}}
    values: dict[str, Any] = {}
    for number, moments in optimiser["state"].items():
        for name, value in moments.items():
            (parts["optimiser"] if isinstance(value, Tensor) else values)[f"{number}.{name}"] = value
    told = {
        "rows": rows,
        "groups": optimiser["param_groups"],
        "values": values,
        "best": [training.best.epoch, training.best.loss],
    }
    tensors = {f"{part}/{name}": value for part, named in parts.items() for name, value in named.items()}
    with written_aside(path) as aside:
        # A copy each: safetensors refuses tensors that share memory or are not laid out in order.
        copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        save_file(copies, aside, metadata={"told": json.dumps(told)})


def load_checkpoint(training: Training, path: Path) -> Rows:
    """Put a training back to where it was saved; returns the epochs done, none where nothing was saved.

    Raises:
        DataError: the file is damaged, or of another network.
    """
    if not path.is_file():
        return []
    try:
        parts, told = _read(path)
        training.network.load_state_dict(parts["network"])
        training.optimiser.load_state_dict({"state": _moments(parts, told), "param_groups": told["groups"]})
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(f"checkpoint {path} is damaged or of another network; remove it to train anew") from error
    training.best.epoch, training.best.loss = told["best"]
    training.best.state = parts["best"]
    return [tuple(row) for row in told["rows"]]


def _read(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimiser": {}}
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118 - a file of safetensors is no mapping
            part, _, name = key.partition("/")
            parts[part][name] = file.get_tensor(key)
        return parts, json.loads(file.metadata()["told"])


def _moments(parts: dict[str, dict[str, Tensor]], told: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """What the optimiser remembers of each parameter, by its number."""
    moments: dict[int, dict[str, Any]] = {}
    for key, value in {**parts["optimiser"], **told["values"]}.items():
        number, _, name = key.partition(".")
        moments.setdefault(int(number), {})[name] = value
    return moments

"""Classifier: a backbone's map, pooled to a vector, through a small head to a logit a class."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hilum.errors import UsageError, unknown_name
from hilum.networks.backbones import Backbone, Origin, load_backbone
from hilum.preprocess import Preprocess
from hilum.recipe import Network

GRID = 3
SCORING_BATCH = 32
"""Films decoded ahead of a forward pass when predicting."""


class Frames(Protocol):
    """(N, side, side) whole numbers, in memory or on disk, that slices can be taken of."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[Any]: ...


POOLINGS: Mapping[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "avg": (lambda maps: maps.mean((2, 3)), 1),
    "max": (lambda maps: maps.amax((2, 3)), 1),
    "avgmax": (lambda maps: torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1), 2),
    "grid3": (lambda maps: functional.adaptive_avg_pool2d(maps, GRID).flatten(1), GRID * GRID),
}
"""How (N, features, h, w) becomes (N, features * factor): the function and the factor."""


class Standardise(nn.Module):
    """Shift and scale a vector by the training films' mean and deviation, kept with the weights."""

    mean: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def measure(self, vectors: Tensor) -> None:
        """Take mean and deviation from (N, size) vectors; a constant entry keeps scale one."""
        self.mean.copy_(vectors.mean(0))
        deviation = vectors.std(0, correction=0)
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))

    def forward(self, vectors: Tensor) -> Tensor:
        return (vectors - self.mean) / self.scale


class Classifier(nn.Module):
    """(N, channels, H, W) -> (N, classes) logits."""

    def __init__(self, backbone: Backbone, head: nn.Sequential, pooling: str, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.backbone = backbone
        self.head = head
        self.pooling = pooling

    def vectors(self, films: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, size): what the head reads."""
        pool, _ = POOLINGS[self.pooling]
        return pool(self.backbone(films))

    def forward(self, films: Tensor) -> Tensor:
        logits: Tensor = self.head(self.vectors(films))
        return logits


def build_classifier(
    network: Network, *, channels: int, classes: int, weights: str | None = None
) -> tuple[Classifier, Origin]:
    """The recipe's network, ready to train, and where its weights come from.

    Args:
        network: the recipe's part.
        channels: of the films, 1 or 3.
        classes: logits to give.
        weights: in place of the recipe's; `random` when a bundle's own follow.
    """
    if network.pooling not in POOLINGS:
        raise unknown_name("pooling", network.pooling, POOLINGS)
    backbone, origin = load_backbone(
        network.backbone, weights=weights or network.weights, channels=channels, level=network.level
    )
    size = backbone.features * POOLINGS[network.pooling][1]
    return Classifier(backbone, _head(network, size, classes), network.pooling, classes), origin


def _head(network: Network, size: int, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = [Standardise(size)] if network.standardise else []
    for width in network.hidden:
        layers += [nn.Linear(size, width), nn.ReLU(inplace=True)]
        size = width
    if network.dropout:
        layers.append(nn.Dropout(network.dropout))
    return nn.Sequential(*layers, nn.Linear(size, classes))


def films_a_pass(device: torch.device) -> int:
    """How many films to send through a network at once, without gradients.

    On a processor four: larger activations do not fit its cache and are given back to the system after every layer
    (measured: half the time of 32).
    """
    return 4 if device.type == "cpu" else 64


def logits_of(classifier: Classifier, preprocess: Preprocess, frames: Frames) -> NDArray[np.float32]:
    """(N, side, side) frames -> (N, classes) logits, in float32 whatever the network was trained in."""
    classifier.eval()
    device = next(classifier.parameters()).device
    at_once = films_a_pass(device)
    parts = [np.empty((0, classifier.classes), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(frames), at_once):
            films = torch.from_numpy(preprocess.normalise(frames[start : start + at_once])).to(device)
            logits = classifier(films.contiguous(memory_format=torch.channels_last))
            parts.append(logits.float().cpu().numpy())
    return np.concatenate(parts)


def freeze(classifier: Classifier, network: Network) -> list[nn.Parameter]:
    """Freeze what the recipe freezes and return the parameters left to train.

    With `train_from` naming a module of the backbone, everything before it in forward order of definition is frozen.

    Raises:
        UsageError: no module of that name.
    """
    classifier.backbone.requires_grad_(False)
    if network.train_from == "all":
        classifier.backbone.requires_grad_(True)
    elif network.train_from is not None:
        _unfreeze_from(classifier.backbone.body, network.train_from)
    return [parameter for parameter in classifier.parameters() if parameter.requires_grad]


def _unfreeze_from(body: nn.Module, name: str) -> None:
    names = [known for known, _ in body.named_modules() if known]
    if name not in names:
        raise unknown_name("backbone module", name, names)
    started = False
    for known, module in body.named_modules():
        started = started or known == name
        if started:
            module.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in body.parameters()):
        raise UsageError(f"train_from = '{name}' leaves nothing of the backbone to train")


def training_mode(classifier: Classifier, network: Network) -> None:
    """Set the network to train; batch-norm statistics stay still in frozen parts, and everywhere with `frozen`."""
    classifier.train()
    for module in classifier.backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            trains = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
            module.train(trains and network.batch_norm == "trained")

"""Classifier: a backbone's map, pooled to a vector, through a small head to a logit a class."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hilum.engine.answers import LOGITS, VECTOR, Frames, in_passes, map_names
from hilum.engine.eager import answers_of, films_a_pass
from hilum.errors import UsageError, unknown_name
from hilum.networks.backbones import Backbone, Origin, load_backbone
from hilum.networks.own import GreyToColour
from hilum.preprocess import Preprocess
from hilum.recipe import Network, Thawed

Pooling = Callable[[Tensor], Tensor]

GRID = 3

POOLINGS: Mapping[str, Pooling] = {
    "avg": lambda maps: maps.mean((2, 3)),
    "max": lambda maps: maps.amax((2, 3)),
    "avgmax": lambda maps: torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1),
    "grid3": lambda maps: functional.adaptive_avg_pool2d(maps, GRID).flatten(1),
    "avg2": lambda maps: functional.avg_pool2d(maps, 2).flatten(1),
    "avg4": lambda maps: functional.avg_pool2d(maps, 4).flatten(1),
    "flatten": lambda maps: maps.flatten(1),
}
"""How a map (N, features, h, w) becomes vectors (N, size)."""


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

    def __init__(
        self, entry: nn.Module, backbone: Backbone, head: nn.Sequential, network: Network, classes: int
    ) -> None:
        super().__init__()
        self.classes = classes
        self.entry = entry
        self.backbone = backbone
        self.head = head
        self.pooling = network.pooling
        self.mirror = network.mirror

    def vectors(self, films: Tensor) -> Tensor:
        """(N, channels, H, W) -> (N, size): what the head reads."""
        return self._pooled(self._looks(films))

    def _looks(self, films: Tensor) -> list[tuple[Tensor, ...]]:
        """The maps of the films, then those of their mirror images where these are read too."""
        looks = (films, films.flip(-1)) if self.mirror else (films,)
        return [self.backbone(self.entry(look)) for look in looks]

    def _pooled(self, looks: list[tuple[Tensor, ...]]) -> Tensor:
        pool = POOLINGS[self.pooling]
        vectors = [torch.cat([pool(part) for part in maps], 1) for maps in looks]
        return (vectors[0] + vectors[1]) / 2 if self.mirror else vectors[0]

    def forward(self, films: Tensor) -> Tensor:
        logits: Tensor = self.head(self.vectors(films))
        return logits

    def told(self, films: Tensor) -> dict[str, Tensor]:
        """Every one of `outputs`: the logits, the vector that the head reads, and the maps that it is pooled of."""
        looks = self._looks(films)
        vectors = self._pooled(looks)
        maps = (part for look in looks for part in look)
        return dict(zip(self.outputs, (self.head(vectors), vectors, *maps), strict=True))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of all that a pass can tell."""
        return (LOGITS, VECTOR, *map_names(len(self.backbone.features), mirror=self.mirror))


def build_classifier(
    network: Network, preprocess: Preprocess, *, classes: int, weights: str | None = None
) -> tuple[Classifier, Origin]:
    """The recipe's network, ready to train, and where its weights come from.

    Args:
        network: the recipe's part.
        preprocess: channels and size of the films it will read.
        classes: logits to give.
        weights: in place of the recipe's; `random` when a bundle's own follow.

    Raises:
        UsageError: names that are not known, or parts that do not fit together.
        DataError: the weights cannot be had.
    """
    if network.pooling not in POOLINGS:
        raise unknown_name("pooling", network.pooling, POOLINGS)
    learned = network.grey == "learned"
    if learned and preprocess.channels != 1:
        raise UsageError("network.grey = 'learned' makes three channels of one: set preprocess.channels = 1")
    backbone, origin = load_backbone(
        network.backbone,
        weights=weights or network.weights,
        channels=3 if learned else preprocess.channels,
        level=network.level,
    )
    entry = GreyToColour() if learned else nn.Identity()
    size = _vector_size(entry, backbone, network, preprocess)
    return Classifier(entry, backbone, _head(network, size, classes), network, classes), origin


def _vector_size(entry: nn.Module, backbone: Backbone, network: Network, preprocess: Preprocess) -> int:
    """How long the vector of a film of the recipe's size is.

    Raises:
        UsageError: the film is smaller than what the network, or the pooling, takes in at once.
    """
    side = preprocess.size_px
    place = f"preprocess.size_px = {side}"
    try:
        with torch.inference_mode():
            maps = backbone.eval()(entry(torch.zeros(1, preprocess.channels, side, side)))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"backbone '{network.backbone}' cannot read films of {place}: choose a larger size") from error
    try:
        return sum(POOLINGS[network.pooling](part).shape[1] for part in maps)
    except RuntimeError as error:
        cells = " and ".join(f"{part.shape[2]} x {part.shape[3]}" for part in maps)
        raise UsageError(
            f"pooling '{network.pooling}' is larger than the map of {cells} that backbone '{network.backbone}' gives "
            f"at {place}: choose a larger size or another pooling"
        ) from error


def _head(network: Network, size: int, classes: int) -> nn.Sequential:
    widths = [size, *network.hidden, classes]
    shares = network.dropout if len(network.dropout) > 1 else [0.0] * len(network.hidden) + [*network.dropout, 0.0][:1]
    layers: list[nn.Module] = [Standardise(size)] if network.standardise else []
    for place, share in enumerate(shares):
        if share:
            layers.append(nn.Dropout(share))
        layers.append(nn.Linear(widths[place], widths[place + 1]))
        if place < len(network.hidden):
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def logits_of(classifier: Classifier, preprocess: Preprocess, frames: Frames) -> NDArray[np.float32]:
    """(N, side, side) frames -> (N, classes) logits, in float32 whatever the network was trained in."""
    return outputs_of(classifier, preprocess, frames)


def outputs_of(network: nn.Module, preprocess: Preprocess, frames: Frames) -> NDArray[np.float32]:
    """(N, side, side) frames -> (N, ...) of what a network gives, a few films a pass, in float32."""
    at_once = films_a_pass(next(network.parameters()).device)
    return in_passes(lambda films: answers_of(network, films), preprocess, frames, at_once)[0]


def freeze(classifier: Classifier, thawed: Thawed) -> list[nn.Parameter]:
    """Freeze what the recipe freezes and return the parameters left to train; the head and a learned entry always are.

    With `train_from` naming a module of the backbone, everything before it in order of definition is frozen; with
    `freeze_first` so many of its modules that hold no others.

    Raises:
        UsageError: no module of that name, or nothing, or everything, would be frozen.
    """
    body = classifier.backbone.body
    body.requires_grad_(False)
    if thawed.train_from == "all":
        body.requires_grad_(True)
    elif thawed.train_from is not None:
        _unfreeze_from(body, thawed.train_from)
    elif thawed.freeze_first is not None:
        _freeze_first(body, thawed.freeze_first)
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
    if all(parameter.requires_grad for parameter in body.parameters()):
        raise UsageError(f"train_from = '{name}' freezes nothing; say train_from = 'all' if that is meant")


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The modules a network is counted in: those that hold numbers themselves, or no other modules."""
    children = list(module.children())
    if not children or next(module.parameters(recurse=False), None) is not None:
        yield module
    else:
        for child in children:
            yield from _parts(child)


def _freeze_first(body: nn.Module, count: int) -> None:
    leaves = list(_parts(body))
    told = f"freeze_first = {count}"
    if not any(True for module in leaves[:count] for _ in module.parameters()):
        raise UsageError(f"{told} freezes nothing that can be trained; say train_from = 'all' if that is meant")
    if not any(True for module in leaves[count:] for _ in module.parameters()):
        raise UsageError(
            f"{told} freezes all of the backbone, which has {len(leaves)} modules; leave it out to train the head only"
        )
    for module in leaves[count:]:
        module.requires_grad_(True)


def training_mode(classifier: Classifier, thawed: Thawed) -> None:
    """Set the network to train; batch-norm statistics stay still in frozen parts, and everywhere with `frozen`."""
    classifier.train()
    for module in classifier.backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            trains = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
            module.train(trains and thawed.batch_norm == "trained")

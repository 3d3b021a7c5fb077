"""What a classifier holds for one label, as a network whose maps can be looked into, and the layers there are."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hilum.errors import UsageError, unknown_name
from hilum.networks import Classifier
from hilum.networks.classifier import POOLINGS

Grid = tuple[int, int]
"""Rows and columns of a map."""


class Evidence(nn.Module):
    """(N, channels, H, W) -> (N,): the log-odds of one label against all others, before calibration.

    Of two classes it is the difference of their logits. A softmax knows differences only, so a logit by itself would
    also show what speaks for every label alike. Where the classifier reads mirrored films beside the films, both go
    through the backbone in one pass, so that every map of it has the film's and the mirror image's.
    """

    def __init__(self, classifier: Classifier, place: int) -> None:
        super().__init__()
        self.classifier = classifier.eval()
        self.place = place
        self.levels = nn.ModuleList(nn.Identity() for _ in classifier.backbone.features)

    def maps(self, films: Tensor) -> list[Tensor]:
        """(N, channels, H, W) -> the maps (N, features, h, w) that the head reads; mirrored, those of 2 N films."""
        looks = torch.cat([films, films.flip(-1)]) if self.classifier.mirror else films
        maps = self.classifier.backbone(self.classifier.entry(looks))
        return [level(part) for level, part in zip(self.levels, maps, strict=True)]

    def logits(self, maps: list[Tensor]) -> Tensor:
        """The maps that the head reads -> (N, classes)."""
        pool = POOLINGS[self.classifier.pooling]
        vectors = torch.cat([pool(part) for part in maps], 1)
        if self.classifier.mirror:
            vectors = (vectors[: len(vectors) // 2] + vectors[len(vectors) // 2 :]) / 2
        logits: Tensor = self.classifier.head(vectors)
        return logits

    def log_odds(self, logits: Tensor) -> Tensor:
        """(N, classes) -> (N,)."""
        others = torch.cat([logits[:, : self.place], logits[:, self.place + 1 :]], 1)
        return logits[:, self.place] - others.logsumexp(1)

    def forward(self, films: Tensor) -> Tensor:
        return self.log_odds(self.logits(self.maps(films)))


def linear_head(classifier: Classifier) -> bool:
    """Whether a film's logits are sums over its vector: no hidden layer."""
    return sum(isinstance(layer, nn.Linear) for layer in classifier.head) == 1


def layers_of(classifier: Classifier, films: Tensor) -> dict[str, Grid]:
    """Modules of the backbone's body that give a map (N, features, h, w), in the order they run, with its grid.

    Args:
        classifier: whose.
        films: (1, channels, H, W) to try it with.
    """
    grids: dict[str, Grid] = {}

    def seen(name: str) -> Callable[..., None]:
        def note(_module: nn.Module, _given: Any, made: Any) -> None:
            if isinstance(made, Tensor) and made.ndim == 4:
                grids[name] = (made.shape[2], made.shape[3])

        return note

    body = classifier.backbone.body
    hooks = [module.register_forward_hook(seen(name)) for name, module in body.named_modules() if name]
    try:
        with torch.inference_mode():
            classifier.eval().backbone(classifier.entry(films))
    finally:
        for hook in hooks:
            hook.remove()
    return grids


def chosen_layers(evidence: Evidence, films: Tensor, name: str | None = None) -> list[tuple[nn.Module, Grid]]:
    """The modules whose maps are to be read, with their grids: those the head reads, or the one named.

    Args:
        evidence: of a label.
        films: (1, channels, H, W) to try it with.
        name: of a module of the backbone's body.

    Raises:
        UsageError: no such module, or its map is 1 x 1 and shows no place; one that does is named.
    """
    if name is not None:
        grids = layers_of(evidence.classifier, films)
        if name not in grids:
            useful = [layer for layer, grid in grids.items() if max(grid) > 1]
            raise unknown_name("layer with a map", name, difflib.get_close_matches(name, useful, n=5) or useful[-5:])
        found = [(evidence.classifier.backbone.body.get_submodule(name), grids[name])]
    else:
        with torch.inference_mode():
            maps = evidence.maps(films)
        found = [(level, (part.shape[2], part.shape[3])) for level, part in zip(evidence.levels, maps, strict=True)]
    if all(max(grid) == 1 for _, grid in found):
        raise UsageError(_too_small(evidence, films, name))
    return found


def _too_small(evidence: Evidence, films: Tensor, name: str | None) -> str:
    told = f"layer '{name}' gives a map of 1 x 1" if name else "the map that the head reads is 1 x 1"
    wide = [(layer, grid) for layer, grid in layers_of(evidence.classifier, films).items() if min(grid) > 1]
    if not wide:
        return f"{told}, which shows no place, and so do all before it: use method 'occlusion'"
    layer, (high, across) = wide[-1]
    return f"{told}, which shows no place: name one before it, such as '{layer}' ({high} x {across}), for 'grad-cam'"


@contextmanager
def recorded(layers: Sequence[nn.Module]) -> Iterator[dict[int, Tensor]]:
    """What the layers give while the block runs, by their place; later layers get a copy, which they may write over."""
    made: dict[int, Tensor] = {}

    def keep(place: int) -> Callable[..., Tensor]:
        def note(_module: nn.Module, _given: Any, output: Tensor) -> Tensor:
            made[place] = output
            return output.clone()

        return note

    hooks = [layer.register_forward_hook(keep(place)) for place, layer in enumerate(layers)]
    try:
        yield made
    finally:
        for hook in hooks:
            hook.remove()

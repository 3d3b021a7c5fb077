"""Backbones by name: whatever timm has, and TorchXRayVision's chest DenseNets. Each turns a film into a map.

TorchXRayVision: Cohen et al., "TorchXRayVision: A library of chest X-ray datasets and models", MIDL 2022.
timm: Wightman, "PyTorch Image Models", 2019, doi 10.5281/zenodo.4414861.
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn

from hilum.errors import DataError, UsageError, require, unknown_name
from hilum.networks.own import OWN
from hilum.networks.weights import (
    KINDS,
    PACKAGED,
    cached_file,
    digest_of_state,
    packaged_state,
    read_state,
    ways_out,
)

XRV = "xrv:"
OWN_PREFIX = "own:"
PUBLISHED_HEAD = "last_linear."
"""What published files of NASNet-A Mobile hold beside the body."""


@dataclass(frozen=True)
class Origin:
    """Where the weights came from, for the report and the bundle."""

    kind: str
    detail: str
    digest: str


class Backbone(nn.Module, ABC):
    """(N, channels, H, W) -> a map (N, features, h, w) of each level of a convolutional network that is read."""

    def __init__(
        self, body: nn.Module, *, features: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.body = body
        self.features = features
        self.mean = mean
        self.std = std

    @abstractmethod
    def forward(self, films: Tensor) -> tuple[Tensor, ...]: ...


class _Last(Backbone):
    """timm's final feature map."""

    def forward(self, films: Tensor) -> tuple[Tensor, ...]:
        return (cast("Any", self.body).forward_features(films),)


class _Levels(Backbone):
    """Inner feature levels of a timm network, cut off behind the deepest of them."""

    def __init__(self, body: nn.Module, *, indices: list[int], **described: Any) -> None:
        super().__init__(body, **described)
        self.indices = indices

    def forward(self, films: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            cast("Any", self.body).forward_intermediates(
                films, indices=self.indices, stop_early=True, intermediates_only=True
            )
        )


class _Chest(Backbone):
    """A TorchXRayVision DenseNet's features; it reads grey in [-1024, 1024]."""

    def forward(self, films: Tensor) -> tuple[Tensor, ...]:
        return (torch.relu(cast("Tensor", cast("Any", self.body).features(films))),)


class _Own(Backbone):
    """A network of hilum's own; it says itself what scaling it reads."""

    def forward(self, films: Tensor) -> tuple[Tensor, ...]:
        return (self.body(films),)


def load_backbone(name: str, *, weights: str, channels: int, level: tuple[int, ...] = ()) -> tuple[Backbone, Origin]:
    """A backbone with its weights.

    Args:
        name: a timm architecture, `own:NAME` or `xrv:NAME`.
        weights: one of `weights.KINDS`.
        channels: of the films it will read, 1 or 3.
        level: feature levels to read, as positions in timm's list of levels (-1 the deepest); none for the last map.

    Raises:
        UsageError: unknown names, or a network that makes no map.
        DataError: the weights cannot be had, with what would work instead.
    """
    kind = _check_kind(weights)
    load = {XRV: _chest, OWN_PREFIX: _own}.get(f"{name.partition(':')[0]}:", _timm)
    backbone = load(name, weights, channels, level)
    detail = weights.removeprefix("file:") if kind == "file" else name
    return backbone, Origin(kind=kind, detail=Path(detail).name, digest=digest_of_state(backbone.state_dict()))


def _check_kind(weights: str) -> str:
    kind = weights.partition(":")[0]
    if kind not in {known.partition(":")[0] for known in KINDS}:
        raise unknown_name("kind of weights", weights, KINDS)
    return kind


def check_weights(name: str, weights: str) -> None:
    """Refuse weights that loading would not find on this machine; nothing is built, nothing downloaded.

    Raises:
        UsageError: an unknown backbone, or kind of weights.
        DataError: what would work instead.
    """
    _check_kind(weights)
    if name.startswith((XRV, OWN_PREFIX)):
        return
    _check_name(name)
    if not weights.startswith(("hub", "random")):
        _timm_weights(name, weights)


def _timm(name: str, weights: str, channels: int, level: tuple[int, ...]) -> Backbone:
    _check_name(name)
    body = _timm_body(name, weights, channels)
    told = body.pretrained_cfg
    scaling = {"mean": per_channel(told["mean"], channels), "std": per_channel(told["std"], channels)}
    made = _at_levels(body, name, level, scaling) if level else _Last(body, features=(body.num_features,), **scaling)
    _check_map(made, name, torch.zeros(1, channels, *told["input_size"][1:]))
    return made


def _check_name(name: str) -> None:
    """Refuse what timm does not know, with the few names nearest to it: it knows over a thousand."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=5) or [*PACKAGED, f"{XRV}NAME"]
        raise unknown_name("backbone", name, near)
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        raise unknown_name("backbone", name, tagged)


def _timm_body(name: str, weights: str, channels: int) -> Any:
    told, state = _timm_weights(name, weights)
    try:
        body = timm.create_model(name, num_classes=0, global_pool="", in_chans=channels, **told)
    except (OSError, RuntimeError, ValueError) as error:
        if not told["pretrained"]:
            raise
        why = "they do not fit it" if state else "they cannot be downloaded"
        raise DataError(f"weights = '{weights}' of '{name}' cannot be loaded: {why}; {ways_out(name)}") from error
    if weights.startswith("file:"):
        _check_complete(body, name, state)
    return body


def _check_complete(body: nn.Module, name: str, state: Collection[str]) -> None:
    """Refuse a state dict that leaves tensors of the network as they were drawn: timm loads what there is."""
    needed = [key for key in body.state_dict() if not key.endswith("num_batches_tracked")]
    missing = [key for key in needed if key not in state]
    if missing:
        raise DataError(
            f"the weights file lacks {len(missing)} of {len(needed)} tensors of '{name}', first '{missing[0]}'; "
            "give a state dict of that network under timm's names"
        )


def _at_levels(body: Any, name: str, level: tuple[int, ...], scaling: Mapping[str, tuple[float, ...]]) -> Backbone:
    if not hasattr(body, "forward_intermediates"):
        raise UsageError(f"backbone '{name}' offers no inner levels; leave network.level out")
    levels = list(body.feature_info)  # timm keeps a dict a level
    for one in level:
        if not -len(levels) <= one < len(levels):
            raise UsageError(
                f"backbone '{name}' has levels 0 to {len(levels) - 1}; network.level = {one} is none of them"
            )
    indices = sorted({one % len(levels) for one in level})
    features = tuple(int(levels[index]["num_chs"]) for index in indices)
    kept = body.prune_intermediate_layers(indices, prune_norm=True, prune_head=True)
    return _Levels(body, indices=list(kept), features=features, **scaling)


def _timm_weights(name: str, weights: str) -> tuple[dict[str, Any], Collection[str]]:
    """What `timm.create_model` must be told to find the weights, and the names of those given."""
    kind, _, path = weights.partition(":")
    if kind == "random":
        return {"pretrained": False}, ()
    if kind == "packaged":
        return _given(packaged_state(name))
    if kind == "file":
        return _given(read_state(Path(path)))
    found = cached_file(timm.get_pretrained_cfg(name, allow_unregistered=False))
    if found is not None:
        return _given(read_state(found))
    if kind == "hub":
        return {"pretrained": True}, ()
    raise DataError(f"no weights of '{name}' in this machine's cache; {ways_out(name)}")


def _given(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], Collection[str]]:
    # timm takes the classifier out of the dict it is given, hence a copy.
    return {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(state)}}, tuple(state)


def per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """The values if they are one a channel, else their mean for each."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels


def _check_map(backbone: Backbone, name: str, films: Tensor) -> None:
    """Refuse networks whose features are no (N, features, h, w) map: heads and saliency need one.

    Parts the map does not pass through are taken away, such as VGG's dense layers: 119 of its 134 million numbers.
    """
    used: set[nn.Module] = set()
    hooks = [
        module.register_forward_hook(lambda module, _films, _map: used.add(module))
        for module in backbone.body.modules()
    ]
    with torch.inference_mode():
        seen = backbone.eval()(films)
    for hook in hooks:
        hook.remove()
    for child, part in list(backbone.body.named_children()):
        if used.isdisjoint(part.modules()) and next(part.parameters(), None) is not None:
            setattr(backbone.body, child, nn.Identity())
    for part, features in zip(seen, backbone.features, strict=True):
        if part.ndim != 4 or part.shape[1] != features:
            raise UsageError(
                f"backbone '{name}' gives no feature map (N, features, h, w); choose a convolutional network"
            )


def _own(name: str, weights: str, channels: int, level: tuple[int, ...]) -> Backbone:
    wanted = name.removeprefix(OWN_PREFIX)
    if wanted not in OWN:
        raise unknown_name("network of hilum's own", wanted, OWN)
    if level:
        raise UsageError(f"backbone '{name}' is read at its last map: leave network.level out")
    kind, _, path = weights.partition(":")
    if kind not in ("random", "file"):
        raise UsageError(f"backbone '{name}' has no published weights: set network.weights = 'random' or 'file:PATH'")
    body = OWN[wanted](channels)
    if kind == "file":
        _load_own(body, read_state(Path(path)), name)
    return _Own(body, features=(body.features,), mean=(body.mean,) * channels, std=(body.std,) * channels)


def _load_own(body: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    try:
        body.load_state_dict({key: value for key, value in state.items() if not key.startswith(PUBLISHED_HEAD)})
    except RuntimeError as error:
        raise DataError(f"the weights file does not fit '{name}': it is no state dict of that network") from error


def _chest(name: str, weights: str, channels: int, level: tuple[int, ...]) -> Backbone:
    if level or channels != 1:
        raise UsageError(
            f"backbone '{name}' reads grey films to its last map: set preprocess.channels = 1 and no level"
        )
    models = require("torchxrayvision", extra="xrv").models
    wanted = name.removeprefix(XRV)
    known = [key for key in models.model_urls if key.startswith("densenet121")]
    if wanted not in known:
        raise unknown_name("TorchXRayVision network", wanted, known)
    body = models.DenseNet(num_classes=18)
    state = _chest_state(models, wanted, weights)
    if state is not None:
        _load_chest(body, state, name)
    del body.classifier
    # Grey in [0, 1] to its [-1024, 1024] is (x - 0.5) / (1 / 2048).
    return _Chest(body, features=(1024,), mean=(0.5,), std=(1 / 2048,))


def _load_chest(body: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    try:
        missing = body.load_state_dict({**state}, strict=False).missing_keys
    except RuntimeError as error:
        raise DataError(f"the weights file does not fit '{name}': its tensors have other shapes") from error
    missing = [key for key in missing if key.startswith("features.")]
    if missing:
        raise DataError(f"the weights file lacks {len(missing)} tensors of '{name}', first '{missing[0]}'")


def _chest_state(models: Any, wanted: str, weights: str) -> Mapping[str, Tensor] | None:
    kind, _, path = weights.partition(":")
    if kind == "random":
        return None
    if kind == "file":
        return read_state(Path(path), classes=_chest_classes(models))
    if kind == "packaged":
        raise UsageError(f"no package carries the weights of '{XRV}{wanted}'; {ways_out(XRV + wanted)}")
    folder = Path(models.utils.get_cache_dir())
    file = folder / Path(models.model_urls[wanted]["weights_url"]).name
    if not file.is_file() and kind == "cache":
        raise DataError(f"no weights of '{XRV}{wanted}' in {folder}; {ways_out(XRV + wanted)}")
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        models.utils.download(models.model_urls[wanted]["weights_url"], str(file))
    return read_state(file, classes=_chest_classes(models))


def _chest_classes(models: Any) -> list[type]:
    """The module classes its published files are made of: whole networks, so these alone may be unpickled."""
    own = [models.DenseNet, models._DenseBlock, models._DenseLayer, models._Transition]
    return [*own, nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Linear, nn.Dropout]

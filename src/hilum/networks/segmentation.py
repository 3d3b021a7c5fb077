"""Segmentation networks by name: six decoders on any convolutional timm encoder, and hilum's own from their papers.

The library is segmentation-models-pytorch (Iakubovskii 2019, MIT). Its decoders: U-Net (Ronneberger et al. 2015,
doi 10.1007/978-3-319-24574-4_28), UNet++ (Zhou et al. 2018, doi 10.1007/978-3-030-00889-5_1), FPN (Lin et al. 2017,
doi 10.1109/CVPR.2017.106), PSPNet (Zhao et al. 2017, doi 10.1109/CVPR.2017.660), DeepLabv3+ (Chen et al. 2018,
doi 10.1007/978-3-030-01234-2_49), LinkNet (Chaurasia and Culurciello 2017, doi 10.1109/VCIP.2017.8305148).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hilum.errors import DataError, UsageError, require, unknown_name
from hilum.networks.backbones import Backbone, Origin, load_backbone
from hilum.networks.maskers import MASKERS, Masker
from hilum.networks.weights import digest_of_state, read_state

LIBRARY: Mapping[str, str] = {
    "unet": "Unet",
    "unet++": "UnetPlusPlus",
    "fpn": "FPN",
    "pspnet": "PSPNet",
    "deeplabv3+": "DeepLabV3Plus",
    "linknet": "Linknet",
}
"""Name -> class of segmentation-models-pytorch; all but these are hilum's own."""

_OPTIONS: Mapping[str, Mapping[str, int]] = {"pspnet": {"encoder_depth": 5, "output_stride": 8}}
"""As in its paper PSPNet reads the deepest level, dilated to an eighth of the side; the library takes the third."""

SEGMENTERS = (*LIBRARY, *MASKERS)


class Segmenter(nn.Module):
    """(N, channels, H, W) -> (N, labels, H, W) logits, for films of any size.

    Sides that are no multiples of `stride` are padded on the right and below with the film's own edge, and the logits
    cut back: what is given has the film's size. Labels may overlap, so probabilities are the sigmoid of each logit.

    Attributes:
        stride: what the network's sides are multiples of.
        mean: of the films the network was made for, a channel each: it reads (film in [0, 1] - mean) / std.
        std: the same.
        origin: of the weights it started from.
    """

    def __init__(
        self, network: nn.Module, *, stride: int, mean: tuple[float, ...], std: tuple[float, ...], origin: Origin
    ) -> None:
        super().__init__()
        self.network = network
        self.stride = stride
        self.mean = mean
        self.std = std
        self.origin = origin

    def forward(self, films: Tensor) -> Tensor:
        height, width = films.shape[2:]
        below, right = -height % self.stride, -width % self.stride
        if below or right:
            films = functional.pad(films, (0, right, 0, below), mode="replicate")
        logits: Tensor = self.network(films)
        return logits[:, :, :height, :width]


def build_segmenter(name: str, *, encoder: str | None, weights: str, channels: int, labels: int) -> Segmenter:
    """A segmentation network, ready to train; nothing is downloaded unless `weights` is `hub`.

    Args:
        name: one of `SEGMENTERS`.
        encoder: timm's convolutional architecture for a decoder of the library; None for hilum's own networks.
        weights: one of `weights.KINDS`: of the encoder, the decoder being drawn; or of the whole network, `random` or
            `file:PATH`, for hilum's own.
        channels: of the films, 1 or 3.
        labels: masks to give.

    Raises:
        UsageError: names that are not known, or parts that do not fit together.
        DataError: the weights cannot be had, with what would work instead.
        MissingExtra: the library is not installed.
    """
    if name not in SEGMENTERS:
        raise unknown_name("segmentation network", name, SEGMENTERS)
    if labels < 1:
        raise UsageError(f"segmentation network '{name}' needs a label at least, not {labels}; name what to segment")
    if name in LIBRARY:
        return _on_encoder(name, encoder, weights, channels, labels)
    if encoder is not None:
        raise UsageError(f"segmentation network '{name}' has an encoder of its own; leave out '{encoder}'")
    return _own(name, weights, channels, labels)


def _own(name: str, weights: str, channels: int, labels: int) -> Segmenter:
    kind, _, path = weights.partition(":")
    if kind not in ("random", "file"):
        raise UsageError(f"segmentation network '{name}' has no published weights: set weights 'random' or 'file:PATH'")
    state = read_state(Path(path)) if kind == "file" else None
    network: Masker = MASKERS[name](channels, labels)
    if state is not None:
        _load(network, state, name)
    origin = Origin(kind, Path(path).name if path else name, digest_of_state(network.state_dict()))
    scaling = {"mean": (network.mean,) * channels, "std": (network.std,) * channels}
    return Segmenter(network, stride=network.stride, origin=origin, **scaling)


def _load(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(
            f"the weights file does not fit '{name}' with these channels and labels: it holds "
            "no state dict of that network"
        ) from error


def _on_encoder(name: str, encoder: str | None, weights: str, channels: int, labels: int) -> Segmenter:
    if encoder is None or ":" in encoder:
        told = "none" if encoder is None else f"'{encoder}'"
        raise UsageError(
            f"segmentation network '{name}' needs an encoder that timm has, such as 'tf_efficientnet_lite0', not {told}"
        )
    library = require("segmentation_models_pytorch", extra="train")
    backbone, origin = load_backbone(encoder, weights=weights, channels=channels)
    network = _decoder(library, name, encoder, channels, labels)
    _hand_over(backbone, network.encoder.model, encoder)
    return Segmenter(network, stride=network.encoder.output_stride, mean=backbone.mean, std=backbone.std, origin=origin)


def _decoder(library: Any, name: str, encoder: str, channels: int, labels: int) -> Any:
    """The library's network, drawn, once it has shown that it makes masks of a film's size on this encoder."""
    try:
        network = getattr(library, LIBRARY[name])(
            encoder_name=f"tu-{encoder}",
            encoder_weights=None,
            in_channels=channels,
            classes=labels,
            **_OPTIONS.get(name, {}),
        )
        side = 2 * network.encoder.output_stride
        with torch.inference_mode():
            made = network.eval()(torch.zeros(1, channels, side, side)).shape
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # The library has no error of its own for an encoder that a decoder cannot use.
        raise _unfit(name, encoder) from error
    if made != (1, labels, side, side):
        raise _unfit(name, encoder)
    return network.train()


def _unfit(name: str, encoder: str) -> UsageError:
    return UsageError(
        f"segmentation network '{name}' cannot use the encoder '{encoder}'; choose a convolutional one that halves "
        "the film five times and can be dilated, such as 'tf_efficientnet_lite0' or 'resnet18'"
    )


def _hand_over(backbone: Backbone, encoder: nn.Module, name: str) -> None:
    """Copy a backbone's weights to the library's encoder, which is the same timm network cut into levels.

    Cutting joins the names of a level and its place, `stages.0` to `stages_0`; dots and lines are taken as the same.
    """
    given = {key.replace(".", "_"): value for key, value in backbone.body.state_dict().items()}
    state = {key: given.get(key.replace(".", "_")) for key in encoder.state_dict()}
    missing = [key for key, value in state.items() if value is None]
    if missing:
        raise UsageError(
            f"the encoder '{name}' cannot take its weights: timm has no '{missing[0]}' in it; choose another encoder"
        )
    encoder.load_state_dict(state)

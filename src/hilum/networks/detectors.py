"""Box detectors by name: torchvision's heads on a few feature levels of any convolutional timm encoder.

Between encoder and head lies a pyramid of few channels (Lin et al. 2017, doi 10.1109/CVPR.2017.106). The heads:
RetinaNet (Lin et al. 2017, doi 10.1109/ICCV.2017.324), FCOS (Tian et al. 2019, doi 10.1109/ICCV.2019.00972) and Faster
R-CNN (Ren et al. 2017, doi 10.1109/TPAMI.2016.2577031).

What torchvision's detectors do to films before they look is left out: a film comes at its size and scaled.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from hilum.boxes import Box, LabelledBox
from hilum.engine import Frames
from hilum.engine.eager import films_a_pass
from hilum.errors import DataError, UsageError, unknown_name
from hilum.networks.backbones import Backbone, Origin, load_backbone
from hilum.preprocess import Preprocess

LEVELS = (-3, -2, -1)
"""Of the encoder; the pyramid adds one by halving the last."""
STRIDES = (8, 16, 32, 64)
"""Pixels of the film a place of each level stands for."""
SMALLEST = tuple(4 * stride for stride in STRIDES)
"""Side of the smallest anchor of each level."""
OCTAVE = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
SHAPES = (0.5, 1.0, 2.0)
"""Height over width of anchors."""
GROUPS = 32
"""Into which torchvision's FCOS head divides its channels to normalise them; a group of one has nothing to compare."""
ROI_SIDE = 7
ROI_FEATURES = 256
CELLS = 3
"""Faster R-CNN's second stage proves itself on this many boxes a side, laid over the film as a grid."""


class Marked(NamedTuple):
    """The boxes of one film: what a detector is taught, or what it finds."""

    boxes: Tensor
    """(K, 4) left, top, right, bottom in pixels of the frame."""
    labels: Tensor
    """(K,) whole numbers from 0."""
    scores: Tensor | None = None
    """(K,) in [0, 1], falling; None where a person drew."""


class Limits(NamedTuple):
    """Which of the boxes that a network makes are told."""

    score: float
    """The least, in [0, 1]."""
    overlap: float
    """Of two boxes of a label that share more than this (intersection over union), the surer is told."""
    most: int
    """On a film."""


class _Pyramid(nn.Module):
    """(N, channels, H, W) -> a map of `out_channels` a level, the finest first."""

    def __init__(self, backbone: Backbone, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.out_channels = width
        self.levels = FeaturePyramidNetwork(list(backbone.features), width, extra_blocks=LastLevelMaxPool())

    def forward(self, films: Tensor) -> OrderedDict[str, Tensor]:
        maps = OrderedDict((str(place), part) for place, part in enumerate(self.backbone(films)))
        levels: OrderedDict[str, Tensor] = self.levels(maps)
        return levels


class _AsTheyCome(nn.Module):
    """In place of torchvision's resizing and scaling: films are only padded, right and below, with their own edge."""

    def forward(self, films: list[Tensor], targets: Any = None) -> tuple[ImageList, Any]:
        stacked = torch.stack(films)
        height, width = stacked.shape[2:]
        below, right = -height % STRIDES[-1], -width % STRIDES[-1]
        padded = functional.pad(stacked, (0, right, 0, below), mode="replicate") if below or right else stacked
        return ImageList(padded, [(height, width)] * len(films)), targets

    def postprocess(self, found: Any, *_sizes: Any) -> Any:
        return found


class Detector(nn.Module, ABC):
    """Boxes of its labels on films.

    Called with films (N, channels, H, W) alone it gives (N, numbers): all that its heads answer, before anything is
    chosen, for proofs. Called with what is on each film it gives the loss.

    Attributes:
        mean: of the films the network was made for, a channel each: it reads (film in [0, 1] - mean) / std.
        std: the same.
        origin: of the encoder's weights.
    """

    first = 0
    """Number that torchvision gives the first label."""

    def __init__(self, network: Any, *, mean: tuple[float, ...], std: tuple[float, ...], origin: Origin) -> None:
        super().__init__()
        network.transform = _AsTheyCome()
        self.network = network
        self.mean = mean
        self.std = std
        self.origin = origin

    def forward(self, films: Tensor, marked: Sequence[Marked] | None = None) -> Tensor:
        if marked is None:
            return self._answers(films)
        targets = [{"boxes": one.boxes, "labels": one.labels + self.first} for one in marked]
        losses: Mapping[str, Tensor] = self.network(list(films), targets)
        return torch.stack([loss.float() for loss in losses.values()]).sum()

    def find(self, films: Tensor, limits: Limits) -> list[Marked]:
        """The boxes on each film (N, channels, H, W), the surest first."""
        self.eval()
        self._limit(limits)
        with torch.inference_mode():
            found = self.network(list(films))
        return [_ranked(one["boxes"], one["labels"] - self.first, one["scores"]) for one in found]

    def _answers(self, films: Tensor) -> Tensor:
        padded = self.network.transform(list(films))[0].tensors
        parts = self._raw(self.network.backbone(padded), padded)
        return torch.cat([part.float().flatten(1) for part in parts], 1)

    @abstractmethod
    def _raw(self, levels: OrderedDict[str, Tensor], films: Tensor) -> list[Tensor]:
        """What the heads answer, each part (N, ...)."""

    @abstractmethod
    def _limit(self, limits: Limits) -> None: ...


def _ranked(boxes: Tensor, labels: Tensor, scores: Tensor) -> Marked:
    order = scores.argsort(descending=True, stable=True)
    return Marked(boxes[order], labels[order], scores[order])


class _OneStage(Detector):
    """RetinaNet and FCOS: every place of every level answers at once."""

    def _raw(self, levels: OrderedDict[str, Tensor], films: Tensor) -> list[Tensor]:  # noqa: ARG002 - levels suffice
        return list(self.network.head(list(levels.values())).values())

    def _limit(self, limits: Limits) -> None:
        network = self.network
        network.score_thresh, network.nms_thresh, network.detections_per_img = limits


class _TwoStage(Detector):
    """Faster R-CNN: proposes boxes, then looks at each; label 0 is its background."""

    first = 1

    def _raw(self, levels: OrderedDict[str, Tensor], films: Tensor) -> list[Tensor]:
        parts = [part for parts in self.network.rpn.head(list(levels.values())) for part in parts]
        count, height, width = films.shape[0], *films.shape[2:]
        at = [(x * width, y * height, (x + 1) * width, (y + 1) * height) for y in range(CELLS) for x in range(CELLS)]
        cells = torch.tensor(at, device=films.device, dtype=films.dtype) / CELLS
        heads = self.network.roi_heads
        pooled = heads.box_roi_pool(levels, [cells] * count, [(height, width)] * count)
        answers = heads.box_predictor(heads.box_head(pooled))
        return [*parts, *(part.reshape(count, -1) for part in answers)]

    def _limit(self, limits: Limits) -> None:
        heads = self.network.roi_heads
        heads.score_thresh, heads.nms_thresh, heads.detections_per_img = limits


def _retinanet(pyramid: _Pyramid, labels: int) -> Any:
    sizes = tuple(tuple(size * octave for octave in OCTAVE) for size in SMALLEST)
    return RetinaNet(pyramid, labels, anchor_generator=AnchorGenerator(sizes, (SHAPES,) * len(sizes)))


def _fcos(pyramid: _Pyramid, labels: int) -> Any:
    sizes = tuple((stride,) for stride in STRIDES)
    return FCOS(pyramid, labels, anchor_generator=AnchorGenerator(sizes, ((1.0,),) * len(sizes)))


def _faster_rcnn(pyramid: _Pyramid, labels: int) -> Any:
    names = [str(place) for place in range(len(LEVELS))]
    return FasterRCNN(
        pyramid,
        rpn_anchor_generator=AnchorGenerator(tuple((size,) for size in SMALLEST), (SHAPES,) * len(SMALLEST)),
        rpn_pre_nms_top_n_train=500,
        rpn_pre_nms_top_n_test=500,
        rpn_post_nms_top_n_train=200,
        rpn_post_nms_top_n_test=200,
        box_roi_pool=MultiScaleRoIAlign(names, ROI_SIDE, sampling_ratio=2),
        box_head=TwoMLPHead(pyramid.out_channels * ROI_SIDE**2, ROI_FEATURES),
        box_predictor=FastRCNNPredictor(ROI_FEATURES, labels + 1),
        box_batch_size_per_image=64,
    )


_MADE: Mapping[str, tuple[type[Detector], Callable[[_Pyramid, int], Any]]] = {
    "retinanet": (_OneStage, _retinanet),
    "fcos": (_OneStage, _fcos),
    "faster-rcnn": (_TwoStage, _faster_rcnn),
}
DETECTORS = tuple(_MADE)


def build_detector(name: str, *, encoder: str, weights: str, channels: int, labels: int, width: int = 64) -> Detector:
    """A detector, ready to train; nothing is downloaded unless `weights` is `hub`.

    Args:
        name: one of `DETECTORS`.
        encoder: timm's convolutional architecture.
        weights: of the encoder, one of `weights.KINDS`; pyramid and head are drawn.
        channels: of the films, 1 or 3.
        labels: kinds of boxes to find.
        width: channels of the pyramid and the heads, a multiple of 32 from 64 on.

    Raises:
        UsageError: names that are not known, or parts that do not fit together.
        DataError: the weights cannot be had, with what would work instead.
    """
    if name not in DETECTORS:
        raise unknown_name("detector", name, DETECTORS)
    if labels < 1:
        raise UsageError(f"detector '{name}' needs a label at least, not {labels}; name what to find")
    if width < 2 * GROUPS or width % GROUPS:
        raise UsageError(
            f"detector '{name}' has a pyramid of {2 * GROUPS} channels or a larger multiple of {GROUPS}, not {width}"
        )
    if ":" in encoder:
        raise UsageError(f"detector '{name}' needs an encoder that timm has, such as 'resnet18', not '{encoder}'")
    backbone, origin = load_backbone(encoder, weights=weights, channels=channels, level=LEVELS)
    _check_strides(backbone, name, encoder, channels)
    kind, made = _MADE[name]
    network = made(_Pyramid(backbone, width), labels)
    return kind(network, mean=backbone.mean, std=backbone.std, origin=origin).train()


def _check_strides(backbone: Backbone, name: str, encoder: str, channels: int) -> None:
    """Refuse encoders whose levels are not the ones the anchors are made for."""
    side = STRIDES[-1]
    try:
        with torch.inference_mode():
            maps = backbone.eval()(torch.zeros(1, channels, side, side))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise _unfit(name, encoder) from error
    if [tuple(part.shape[2:]) for part in maps] != [(side // stride,) * 2 for stride in STRIDES[: len(LEVELS)]]:
        raise _unfit(name, encoder)


def _unfit(name: str, encoder: str) -> UsageError:
    return UsageError(
        f"detector '{name}' cannot use the encoder '{encoder}'; choose a convolutional one that halves the film five "
        "times, such as 'tf_efficientnet_lite0' or 'resnet18'"
    )


def found_in(detector: Detector, preprocess: Preprocess, frames: Frames, limits: Limits) -> list[Marked]:
    """The boxes on each frame (N, side, side), in its pixels, computed in float32 and left on the processor."""
    device = next(detector.parameters()).device
    at_once = films_a_pass(device)
    found: list[Marked] = []
    for start in range(0, len(frames), at_once):
        films = torch.from_numpy(preprocess.normalise(frames[start : start + at_once])).to(device)
        told = detector.find(films.contiguous(memory_format=torch.channels_last), limits)
        found += [Marked(*(part.cpu() for part in one if part is not None)) for one in told]
    return found


def labelled(marked: Marked, labels: Sequence[str]) -> list[LabelledBox]:
    """What a detector found on a film, with names in place of numbers, in pixels of the frame."""
    if marked.scores is None:
        raise DataError("the boxes have no scores; give what a detector found")
    told = zip(marked.boxes.tolist(), marked.labels.tolist(), marked.scores.tolist(), strict=True)
    return [LabelledBox(labels[number], Box(*edges), score) for edges, number, score in told]

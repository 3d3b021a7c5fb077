"""Two segmentation networks on VGG16's convolutions: SegNet and FCN-8s.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
doi 10.48550/arXiv.1409.1556.
"""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hilum.networks.maskers.masker import Masker, convolved, draw_by_fan_in

WIDTHS = (64, 128, 256, 512, 512)
COUNTS = (2, 2, 3, 3, 3)


class SegNet(Masker):
    """Every maximum remembers where it was, and the way up puts numbers back there; thirteen convolutions each way.

    About 29.4 million parameters. The paper's last convolution, here as there, gives the labels without a norm.

    References:
        Badrinarayanan, Kendall and Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
        Segmentation", IEEE TPAMI 39(12), 2017, doi 10.1109/TPAMI.2016.2644615.
    """

    stride = 32

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        befores = (channels, *WIDTHS[:-1])
        self.down = nn.ModuleList(
            convolved(before, width, count=count, norm=nn.BatchNorm2d)
            for before, width, count in zip(befores, WIDTHS, COUNTS, strict=True)
        )
        rising = pairwise((*reversed(WIDTHS), labels))
        self.up = nn.ModuleList(
            _narrowed(width, after, count) for (width, after), count in zip(rising, reversed(COUNTS), strict=True)
        )
        # The last one makes logits: no norm, and no cut at zero.
        self.up[-1] = nn.Sequential(*list(cast("nn.Sequential", self.up[-1]))[:-2])
        draw_by_fan_in(self)

    def forward(self, films: Tensor) -> Tensor:
        maps, places = films, []
        for level in self.down:
            maps, place = functional.max_pool2d_with_indices(level(maps), [2, 2])
            places.append(place)
        for level, place in zip(self.up, reversed(places), strict=True):
            maps = level(functional.max_unpool2d(maps, place, [2, 2]))
        return maps


def _narrowed(width: int, after: int, count: int) -> nn.Sequential:
    """All convolutions but the last keep the width; the last makes that of the level above."""
    kept = convolved(width, width, count=count - 1, norm=nn.BatchNorm2d)
    return nn.Sequential(*kept, *convolved(width, after, count=1, norm=nn.BatchNorm2d))


class Fcn8s(Masker):
    """VGG16 with its dense layers as convolutions; scores at a 32nd, a 16th and an eighth of the side are added up.

    The 7x7 convolution is padded by 3, where the paper pads the film by 100 pixels and crops. Scores are doubled by
    learned convolutions that start bilinear; the last eightfold step stays bilinear, as in the paper. Score layers are
    drawn rather than zero, since there are no pretrained layers below for them to wait for. About 134 million
    parameters, three quarters of them in the 7x7 convolution.

    References:
        Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015,
        doi 10.1109/CVPR.2015.7298965.
    """

    stride = 32

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        befores = (channels, *WIDTHS[:-1])
        self.down = nn.ModuleList(
            convolved(before, width, count=count) for before, width, count in zip(befores, WIDTHS, COUNTS, strict=True)
        )
        self.dense = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], 4096, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Conv2d(4096, 4096, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
        )
        self.scores = nn.ModuleList(nn.Conv2d(width, labels, 1) for width in (4096, WIDTHS[3], WIDTHS[2]))
        self.doubling = nn.ModuleList(
            nn.ConvTranspose2d(labels, labels, 4, stride=2, padding=1, bias=False) for _ in range(2)
        )
        draw_by_fan_in(self)
        for layer in self.doubling:
            _draw_bilinear(cast("nn.ConvTranspose2d", layer))

    def forward(self, films: Tensor) -> Tensor:
        maps, pooled = films, []
        for level in self.down:
            maps = functional.max_pool2d(level(maps), 2)
            pooled.append(maps)
        deepest, fourth, third = self.scores
        scores = self.doubling[0](deepest(self.dense(maps))) + fourth(pooled[3])
        scores = self.doubling[1](scores) + third(pooled[2])
        return functional.interpolate(scores, scale_factor=8, mode="bilinear", align_corners=False)


def _draw_bilinear(layer: nn.ConvTranspose2d) -> None:
    """Each label is doubled in size by itself, between neighbours linearly."""
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.zero_()
        for label in range(layer.in_channels):
            layer.weight[label, label] = torch.outer(line, line)

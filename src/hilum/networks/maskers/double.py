"""DoubleU-Net: the mask of a first U-Net gates the film that a second one reads.

Jha et al., "DoubleU-Net: A Deep Convolutional Neural Network for Medical Image Segmentation", CBMS 2020,
doi 10.1109/CBMS49503.2020.00111. Its parts: Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018,
doi 10.1109/CVPR.2018.00745; Chen et al., "DeepLab", IEEE TPAMI 40(4), 2018, doi 10.1109/TPAMI.2017.2699184.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hilum.networks.maskers.masker import Masker, convolved, draw_by_fan_in

FIRST_WIDTHS = (64, 128, 256, 512, 512)
"""VGG19's blocks, of two, two, four, four and four convolutions."""
SECOND_WIDTHS = (32, 64, 128, 256)
RISING = (256, 128, 64, 32)
POOLED = 64
DILATIONS = (6, 12, 18)
SQUEEZE = 8


class DoubleUNet(Masker):
    """A U-Net on VGG19's convolutions, drawn anew, and a smaller one that reads the film times the first one's mask.

    Given are the second network's logits, which the paper calls the better; the first learns through the gate. With
    several labels a pixel passes the gate with the chance that it belongs to any of them.
    """

    stride = 16

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        befores = (channels, *FIRST_WIDTHS[:-1])
        told = zip(befores, FIRST_WIDTHS, (2, 2, 4, 4, 4), strict=True)
        self.first_down = nn.ModuleList(convolved(before, width, count=count) for before, width, count in told)
        self.first_bottom = _Pyramid(FIRST_WIDTHS[-1])
        first = FIRST_WIDTHS[:-1]
        self.first_up = _Rise(first)
        self.first_out = nn.Conv2d(RISING[-1], labels, 1)
        widths = pairwise((channels, *SECOND_WIDTHS))
        self.second_down = nn.ModuleList(_squeezed(before, width) for before, width in widths)
        self.second_bottom = _Pyramid(SECOND_WIDTHS[-1])
        self.second_up = _Rise([one + two for one, two in zip(first, SECOND_WIDTHS, strict=True)])
        self.second_out = nn.Conv2d(RISING[-1], labels, 1)
        draw_by_fan_in(self)

    def forward(self, films: Tensor) -> Tensor:
        maps = films
        first: list[Tensor] = []
        for level in self.first_down:
            maps = level(functional.max_pool2d(maps, 2) if first else maps)
            first.append(maps)
        outside = torch.sigmoid(-self.first_out(self.first_up(self.first_bottom(maps), first[:-1])))
        maps, second = films * (1 - outside.prod(1, keepdim=True)), []
        for level in self.second_down:
            second.append(level(maps))
            maps = functional.max_pool2d(second[-1], 2)
        beside = [torch.cat(pair, 1) for pair in zip(first[:-1], second, strict=True)]
        return cast("Tensor", self.second_out(self.second_up(self.second_bottom(maps), beside)))


class _Rise(nn.Module):
    """The way up: doubled bilinearly, joined to the maps beside it, convolved."""

    def __init__(self, beside: Sequence[int]) -> None:
        super().__init__()
        told = zip((POOLED, *RISING[:-1]), reversed(beside), RISING, strict=True)
        self.levels = nn.ModuleList(_squeezed(below + passed, width) for below, passed, width in told)

    def forward(self, maps: Tensor, beside: Sequence[Tensor]) -> Tensor:
        for level, passed in zip(self.levels, reversed(beside), strict=True):
            doubled = functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
            maps = level(torch.cat([doubled, passed], 1))
        return maps


class _Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: the same map seen as one mean, pixel by pixel, and at three distances.

    The mean has no batch norm: a batch of one film would leave it nothing to measure.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Conv2d(width, POOLED, 1), nn.ReLU(inplace=True))
        self.views = nn.ModuleList([_normed(width, 1, 1), *(_normed(width, 3, dilation) for dilation in DILATIONS)])
        self.join = _normed(POOLED * (2 + len(DILATIONS)), 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        mean = self.mean(maps.mean((2, 3), keepdim=True)).expand(-1, -1, *maps.shape[2:])
        return cast("Tensor", self.join(torch.cat([mean, *(view(maps) for view in self.views)], 1)))


def _normed(width: int, side: int, dilation: int) -> nn.Sequential:
    convolution = nn.Conv2d(width, POOLED, side, padding=side // 2 * dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(POOLED), nn.ReLU(inplace=True))


def _squeezed(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(convolved(channels, width, norm=nn.BatchNorm2d), _Excite(width))


class _Excite(nn.Module):
    """Squeeze and excitation: each channel weighed by what all channels hold on average."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, width // SQUEEZE, 1, bias=False)
        self.excite = nn.Conv2d(width // SQUEEZE, width, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        squeezed = torch.relu(self.squeeze(maps.mean((2, 3), keepdim=True)))
        return maps * torch.sigmoid(self.excite(squeezed))

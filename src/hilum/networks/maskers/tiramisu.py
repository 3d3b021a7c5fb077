"""FC-DenseNet103, the Hundred Layers Tiramisu: a U-Net of densely joined layers.

Jégou et al., "The One Hundred Layers Tiramisu: Fully Convolutional DenseNets for Semantic Segmentation", CVPR
Workshops 2017, doi 10.1109/CVPRW.2017.156.
"""

from typing import cast

import torch
from torch import Tensor, nn

from hilum.networks.maskers.masker import Masker, draw_by_fan_in

FIRST = 48
GROWTH = 16
LAYERS = (4, 5, 7, 10, 12)
BOTTOM = 15
DROPOUT = 0.2


class FcDenseNet(Masker):
    """48 kernels first, 16 more with every layer; 4, 5, 7, 10, 12 layers down, 15 at the bottom, and back up.

    On the way up only what a block has made is doubled in size, not what it has read: otherwise maps would grow without
    end.
    """

    stride = 2 ** len(LAYERS)

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, FIRST, 3, padding=1)
        width = FIRST
        self.down, self.halve, beside = nn.ModuleList(), nn.ModuleList(), []
        for count in LAYERS:
            self.down.append(_Block(width, count))
            width += count * GROWTH
            self.halve.append(nn.Sequential(*_layer(width, width, 1), nn.MaxPool2d(2)))
            beside.append(width)
        self.bottom = _Block(width, BOTTOM)
        made = BOTTOM * GROWTH
        self.doubling, self.up = nn.ModuleList(), nn.ModuleList()
        for count, passed in zip(reversed(LAYERS), reversed(beside), strict=True):
            self.doubling.append(nn.ConvTranspose2d(made, made, 3, stride=2, padding=1, output_padding=1))
            self.up.append(_Block(made + passed, count))
            width, made = made + passed + count * GROWTH, count * GROWTH
        self.out = nn.Conv2d(width, labels, 1)
        draw_by_fan_in(self)

    def forward(self, films: Tensor) -> Tensor:
        maps, passed = self.first(films), []
        for block, halve in zip(self.down, self.halve, strict=True):
            maps = torch.cat([maps, block(maps)], 1)
            passed.append(maps)
            maps = halve(maps)
        made = self.bottom(maps)
        for double, block, beside in zip(self.doubling, self.up, reversed(passed), strict=True):
            maps = torch.cat([double(made), beside], 1)
            made = block(maps)
        return cast("Tensor", self.out(torch.cat([maps, made], 1)))


class _Block(nn.Module):
    """(N, width, H, W) -> (N, count * GROWTH, H, W): what its layers made, each reading all before it."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(*_layer(width + number * GROWTH, GROWTH, 3)) for number in range(count)
        )

    def forward(self, maps: Tensor) -> Tensor:
        made: list[Tensor] = []
        for layer in self.layers:
            made.append(layer(torch.cat([maps, *made], 1)))
        return torch.cat(made, 1)


def _layer(width: int, kernels: int, side: int) -> list[nn.Module]:
    convolution = nn.Conv2d(width, kernels, side, padding=side // 2)
    return [nn.BatchNorm2d(width), nn.ReLU(inplace=True), convolution, nn.Dropout(DROPOUT)]

"""Convolutional bodies that timm does not have, each written once and drawn as Keras draws it.

`conv3` and `parallel3` are the two small networks of the first notebooks on COVID-19 films (April 2020), trained from
scratch on 224 px; `nasnet_mobile` is NASNet-A (4 @ 1056) of Zoph et al., "Learning Transferable Architectures for
Scalable Image Recognition", CVPR 2018, doi 10.1109/CVPR.2018.00907.
Kernels: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import cast

import torch
from timm.models.nasnet import CellStem0, CellStem1, FirstCell, NormalCell, ReductionCell0, ReductionCell1
from torch import Tensor, nn


class Body(nn.Module):
    """(N, channels, H, W) -> (N, features, h, w); it is made for films in [0, 1], less `mean`, over `std`."""

    features: int
    mean: float = 0.0
    std: float = 1.0

    def forward(self, films: Tensor) -> Tensor:
        raise NotImplementedError


class Conv3(Body):
    """Three 3x3 convolutions of 32, 64 and 128 kernels with a maximum over 2x2 behind each: a map an eighth the side.

    Flattened at 224 px, through 64 units to 3 classes, it has 6,516,035 parameters.
    """

    features = 128

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (channels, 32, 64, self.features)
        steps = [_convolved(before, after, 3) for before, after in pairwise(widths)]
        self.layers = nn.Sequential(*(layer for step in steps for layer in (step, nn.MaxPool2d(2))))
        draw_as_keras(self)

    def forward(self, films: Tensor) -> Tensor:
        return cast("Tensor", self.layers(films))


class Parallel3(Body):
    """Kernels of three sizes side by side, then a 3x3 convolution: a map a quarter the side.

    1x1 (64 kernels), 3x3 (32) and 5x5 (16), joined to 112 maps, as its authors' figure and text have it. Their code
    made all three 1x1 and the convolution behind them 7x7; which of the two their results are of is not recorded.
    Flattened at 224 px, through 64 units to 3 classes, it has 25,821,891 parameters.
    """

    features = 128

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernels = {1: 64, 3: 32, 5: 16}
        self.paths = nn.ModuleList(_convolved(channels, width, side) for side, width in kernels.items())
        joined = sum(kernels.values())
        self.layers = nn.Sequential(nn.MaxPool2d(2), _convolved(joined, self.features, 3), nn.MaxPool2d(2))
        draw_as_keras(self)

    def forward(self, films: Tensor) -> Tensor:
        return cast("Tensor", self.layers(torch.cat([path(films) for path in self.paths], 1)))


class NasnetMobile(Body):
    """NASNet-A of 3 blocks of 4 normal cells, a reduction cell between them, on timm's cells.

    timm's only NASNet is the large one. Beside its size, the small one hands the cell behind a reduction the map that
    was reduced, where the large one hands it the map before that one. With the same weights the map is Keras's, but
    for one thing: Keras pads with zeros before it takes a maximum, here padding never is one.
    The tensors have the names of the PyTorch weights known as `nasnetamobile`. 4,232,978 parameters on three channels.
    """

    features = 1056
    mean = 0.5
    std = 0.5

    def __init__(self, channels: int) -> None:
        super().__init__()
        stem, width = 32, self.features // 24
        entry = {"conv": nn.Conv2d(channels, stem, 3, stride=2, bias=False), "bn": nn.BatchNorm2d(stem, eps=1e-3)}
        self.conv0 = nn.Sequential(OrderedDict(entry))
        self.cell_stem_0 = CellStem0(stem, num_channels=width // 4, pad_type="same")
        self.cell_stem_1 = CellStem1(stem, num_channels=width // 2, pad_type="same")
        cells = dict(_cells(width))
        for name, cell in cells.items():
            self.add_module(name, cell)
        self.order = tuple(cells)
        self.act = nn.ReLU()
        draw_as_keras(self)
        _draw_unseparated(self)

    def forward(self, films: Tensor) -> Tensor:
        entered = self.conv0(films)
        before = self.cell_stem_0(entered)
        now = self.cell_stem_1(entered, before)
        for name in self.order:
            before, now = now, self.get_submodule(name)(now, before)
        return cast("Tensor", self.act(now))


class GreyToColour(nn.Module):
    """(N, 1, H, W) -> (N, 3, H, W): a learned 3x3 convolution that starts as the same film three times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        # One group a colour: without groups, Dirac would fill the first colour and leave the others black.
        nn.init.dirac_(self.conv.weight, groups=3)
        nn.init.zeros_(cast("Tensor", self.conv.bias))

    def forward(self, films: Tensor) -> Tensor:
        return cast("Tensor", self.conv(films))


OWN: Mapping[str, Callable[[int], Body]] = {
    "conv3": Conv3,
    "parallel3": Parallel3,
    "nasnet_mobile": NasnetMobile,
}
"""Name -> what builds it for films of so many channels."""


def draw_as_keras(network: nn.Module) -> None:
    """Keras's defaults for convolutions and dense layers: Glorot uniform kernels, zero biases."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _draw_unseparated(network: nn.Module) -> None:
    """Keras's NASNet departs from its defaults where a convolution is not separable: normal by fan-in, cut at 2 sigma.

    He et al., "Delving Deep into Rectifiers", ICCV 2015, doi 10.1109/ICCV.2015.123.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d) and "separable" not in name:
            # Cutting a normal at two of its deviations leaves 0.8796 of it.
            deviation = (2 / layer.weight[0].numel()) ** 0.5 / 0.8796
            nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)


def _convolved(channels: int, kernels: int, side: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, kernels, side, padding=side // 2), nn.ReLU())


def _cells(width: int) -> Iterator[tuple[str, nn.Module]]:
    """The cells behind the stem, in order; each reads the map of the one before it and of the one before that."""
    before, now = width, 2 * width
    for block, reduction in enumerate((None, ReductionCell0, ReductionCell1)):
        if reduction is not None:
            width *= 2
            yield f"reduction_cell_{block - 1}", reduction(before, width, now, width, pad_type="same")
            before, now = now, 4 * width
        # A block's numbers start at a multiple of six, the length of the large network's.
        yield f"cell_{6 * block}", FirstCell(before, width // 2, now, width, pad_type="same")
        before, now = now, 6 * width
        for number in range(1, 4):
            yield f"cell_{6 * block + number}", NormalCell(before, width, now, width, pad_type="same")
            before, now = now, 6 * width

"""U-Nets without a library's encoder: plain ones by their widths, and one with the layers of VGG16.

Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
doi 10.1007/978-3-319-24574-4_28. Here films are padded, so that masks have their size, and maps are not cropped.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hilum.networks.maskers.masker import Masker, Norm, convolved, draw_by_fan_in


class UNet(Masker):
    """Runs of 3x3 convolutions, halved by a maximum, then doubled by 2x2 transposed ones and joined to the way down.

    Each level of the way up is as wide as its partner on the way down. With 64 to 1024 kernels, one channel and one
    label it has 31,030,593 parameters; with 16 to 256, 1,940,817.
    """

    def __init__(
        self,
        channels: int,
        labels: int,
        *,
        widths: Sequence[int],
        dropout: Sequence[float],
        counts: Sequence[int] | None = None,
        norm: Norm | None = None,
    ) -> None:
        """Build it.

        Args:
            channels: of the films.
            labels: masks to give.
            widths: kernels of each level, from the top down; the last is the bottom.
            dropout: share left out inside each level, on the way down and up alike.
            counts: convolutions of each level on the way down, two by default; on the way up there are always two.
            norm: makes what normalises a map of so many channels.
        """
        super().__init__()
        counts = counts or (2,) * len(widths)
        self.stride = 2 ** (len(widths) - 1)
        befores = (channels, *widths[:-1])
        told = zip(befores, widths, counts, dropout, strict=True)
        self.down = nn.ModuleList(
            convolved(before, width, count=count, norm=norm, dropout=share) for before, width, count, share in told
        )
        rising = list(pairwise(reversed(widths)))
        self.doubling = nn.ModuleList(nn.ConvTranspose2d(below, width, 2, stride=2) for below, width in rising)
        shares = list(reversed(dropout[:-1]))
        self.up = nn.ModuleList(
            convolved(2 * width, width, norm=norm, dropout=share)
            for (_, width), share in zip(rising, shares, strict=True)
        )
        self.out = nn.Conv2d(widths[0], labels, 1)
        draw_by_fan_in(self)

    def forward(self, films: Tensor) -> Tensor:
        passed: list[Tensor] = []
        maps = films
        for level in self.down:
            maps = level(functional.max_pool2d(maps, 2) if passed else maps)
            passed.append(maps)
        for double, level, beside in zip(self.doubling, self.up, reversed(passed[:-1]), strict=True):
            maps = level(torch.cat([beside, double(maps)], 1))
        return cast("Tensor", self.out(maps))


def vgg_unet(channels: int, labels: int) -> UNet:
    """A U-Net whose way down is VGG16's thirteen convolutions, with batch norm, drawn anew.

    The norm is Keras's with momentum 0.2 and no scale, so that its statistics are almost those of the latest batch;
    the bottom leaves out half of its numbers.

    References:
        Frid-Adar et al., "Improving the Segmentation of Anatomical Structures in Chest Radiographs using U-Net with an
        ImageNet Pre-trained Encoder", 2018, doi 10.48550/arXiv.1810.02113; Simonyan and Zisserman, "Very Deep
        Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, doi 10.48550/arXiv.1409.1556.
    """
    return UNet(
        channels,
        labels,
        widths=(64, 128, 256, 512, 512),
        counts=(2, 2, 3, 3, 3),
        dropout=(0.0, 0.0, 0.0, 0.0, 0.5),
        norm=_shift_norm,
    )


def _shift_norm(width: int) -> nn.Module:
    # Keras counts what it keeps of the moving statistics, PyTorch what it takes from the batch.
    norm = nn.BatchNorm2d(width, eps=1e-3, momentum=0.8)
    norm.weight.requires_grad_(False)
    return norm

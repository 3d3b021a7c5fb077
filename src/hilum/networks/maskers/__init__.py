"""Segmentation networks written from their papers, by name: what no library has with these widths.

`unet-1` to `unet-3` and `vgg-unet`: module `unet`; `segnet` and `fcn-8s`: module `vgg`; `fc-densenet`: module
`tiramisu`; `double-unet`: module `double`.
"""

from collections.abc import Callable, Mapping
from functools import partial

from hilum.networks.maskers.double import DoubleUNet
from hilum.networks.maskers.masker import Masker
from hilum.networks.maskers.tiramisu import FcDenseNet
from hilum.networks.maskers.unet import UNet, vgg_unet
from hilum.networks.maskers.vgg import Fcn8s, SegNet

__all__ = ["MASKERS", "Masker"]

MASKERS: Mapping[str, Callable[[int, int], Masker]] = {
    "unet-1": partial(UNet, widths=(16, 32, 64, 128, 256), dropout=(0.1, 0.1, 0.2, 0.2, 0.3)),
    "unet-2": partial(UNet, widths=(112, 224, 448, 448), dropout=(0.1, 0.1, 0.2, 0.3)),
    "unet-3": partial(UNet, widths=(64, 128, 256, 512, 1024), dropout=(0.1, 0.1, 0.2, 0.2, 0.3)),
    "vgg-unet": vgg_unet,
    "segnet": SegNet,
    "fcn-8s": Fcn8s,
    "fc-densenet": FcDenseNet,
    "double-unet": DoubleUNet,
}
"""Name -> what builds it for films of so many channels and so many labels."""

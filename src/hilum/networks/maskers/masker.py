"""What every segmentation network of hilum's own is, and the run of convolutions most of them are made of."""

from collections.abc import Callable

from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


class Masker(nn.Module):
    """(N, channels, H, W) -> (N, labels, H, W) logits; it is made for films in [0, 1], less `mean`, over `std`.

    H and W are multiples of `stride`; `segmentation.Segmenter` sees to that.
    """

    stride: int
    mean: float = 0.0
    std: float = 1.0

    def forward(self, films: Tensor) -> Tensor:
        raise NotImplementedError


def convolved(
    channels: int, width: int, *, count: int = 2, norm: Norm | None = None, dropout: float = 0.0
) -> nn.Sequential:
    """`count` 3x3 convolutions of `width` kernels that keep the size, each with its norm and a ReLU.

    Args:
        channels: of the map it reads.
        width: of the map it makes.
        count: convolutions.
        norm: makes what normalises a map of so many channels.
        dropout: share of numbers left out behind the first convolution.
    """
    layers: list[nn.Module] = []
    for number in range(count):
        layers.append(nn.Conv2d(width if number else channels, width, 3, padding=1))
        if norm is not None:
            layers.append(norm(width))
        layers.append(nn.ReLU(inplace=True))
        if dropout and not number:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def draw_by_fan_in(network: nn.Module) -> None:
    """Normal kernels by fan-in, zero biases; transposed convolutions as Glorot and Bengio have them.

    A 2x2 transposed convolution of stride 2 hands each input number to four others, so its fan-in is not its kernel's.

    References:
        He et al., "Delving Deep into Rectifiers", ICCV 2015, doi 10.1109/ICCV.2015.123.
    """
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is not None:
            nn.init.zeros_(layer.bias)

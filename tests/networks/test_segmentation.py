import socket
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from hilum.errors import DataError, MissingExtra, UsageError
from hilum.networks import load_backbone
from hilum.networks.maskers import MASKERS
from hilum.networks.maskers.double import DoubleUNet
from hilum.networks.maskers.tiramisu import FcDenseNet
from hilum.networks.maskers.unet import vgg_unet
from hilum.networks.maskers.vgg import Fcn8s, SegNet
from hilum.networks.segmentation import LIBRARY, SEGMENTERS, Segmenter, build_segmenter

LITE0 = "tf_efficientnet_lite0"
SLOW = {"fcn-8s"}
SIZES = {
    "unet-1": 1_940_817,
    "unet-2": 15_535_409,
    "unet-3": 31_030_593,
    "vgg-unet": 25_865_793,
    "segnet": 29_442_433,
    "fcn-8s": 134_264_291,
    "fc-densenet": 9_318_657,
    "double-unet": 29_288_290,
}
"""Parameters with one channel and one label; those of unet-1 and unet-3 are published to the last one.

Papers say 29.5 million for SegNet, 134 for FCN on VGG16 and 9.4 for FC-DenseNet103, on colour and more labels.
"""
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in SEGMENTERS]


def _built(name: str, *, channels: int = 1, labels: int = 2) -> Segmenter:
    torch.manual_seed(3)
    encoder, weights = (LITE0, "packaged") if name in LIBRARY else (None, "random")
    return build_segmenter(name, encoder=encoder, weights=weights, channels=channels, labels=labels)


def _drawn(side: int = 64) -> tuple[Tensor, Tensor]:
    """Two films with a bright disc, and masks of the disc and of what lies beside it on the left."""
    generator = torch.Generator().manual_seed(7)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    masks = []
    for row, column in ((20, 30), (38, 26)):
        disc = (rows - row) ** 2 + (columns - column) ** 2 < 12**2
        masks.append(torch.stack([disc, ~disc & (columns < column)]))
    stacked = torch.stack(masks).float()
    films = 0.3 * torch.rand(2, 1, side, side, generator=generator) + 0.6 * stacked[:, :1]
    return films, stacked


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _sized(name: str, channels: int = 1) -> int:
    with torch.device("meta"):
        return _parameters(MASKERS[name](channels, 1))


@pytest.mark.parametrize("name", NAMES)
def test_every_network_makes_a_mask_of_the_films_size_from_all_of_the_film(name: str) -> None:
    films = _drawn()[0].requires_grad_()
    network = _built(name).eval()
    with torch.no_grad():
        assert network(films[:, :, :5, :61]).shape == (2, 2, 5, 61)
    logits = network(films)
    assert logits.shape == (2, 2, 64, 64)
    assert logits.isfinite().all()
    assert logits.std((2, 3)).min() > 0
    logits.abs().mean().backward()
    assert films.grad is not None
    for rows in (slice(None, 8), slice(-8, None)):
        for columns in (slice(None, 8), slice(-8, None)):
            assert films.grad[..., rows, columns].any(), "a corner of the film is not read"


@pytest.mark.parametrize("name", NAMES)
def test_a_step_down_the_gradient_lowers_the_loss_and_moves_everything(name: str) -> None:
    network = _built(name).train()
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()  # the two losses are then of the same network
    films, masks = _drawn()
    loss = functional.binary_cross_entropy_with_logits(network(films), masks)
    loss.backward()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert [parameter.shape for parameter in trained if parameter.grad is None] == []
    steep = sum(float(parameter.grad.square().sum()) for parameter in trained if parameter.grad is not None)
    # So long a step would lower a linear loss by a hundredth.
    torch.optim.SGD(trained, lr=0.01 * loss.item() / steep).step()
    with torch.no_grad():
        after = functional.binary_cross_entropy_with_logits(network(films), masks)
    assert after < loss


def test_padding_repeats_the_films_edge_and_a_fitting_film_has_none() -> None:
    network = _built("unet-1").eval()
    films = torch.rand(2, 1, 70, 45)
    padded = torch.cat([films, films[:, :, -1:].expand(-1, -1, 10, -1)], 2)
    padded = torch.cat([padded, padded[..., -1:].expand(-1, -1, -1, 3)], 3)
    with torch.inference_mode():
        assert torch.equal(network(films), network.network(padded)[:, :, :70, :45])
        assert torch.equal(network(padded), network.network(padded))


@pytest.mark.parametrize(("name", "size"), SIZES.items(), ids=SIZES)
def test_the_networks_have_their_size(name: str, size: int) -> None:
    assert _sized(name) == size


def test_no_size_is_left_unsaid() -> None:
    assert SIZES.keys() == MASKERS.keys()


def test_tiramisu_has_the_maps_of_the_papers_table() -> None:
    with torch.device("meta"):
        network = FcDenseNet(3, 11)
    widths = [next(halve.children()).num_features for halve in network.halve]
    assert widths == [112, 192, 304, 464, 656]
    assert [layer.in_channels for layer in network.doubling] == [240, 192, 160, 112, 80]
    assert network.out.in_channels == 256


def test_vgg_unet_has_norms_without_scale_that_follow_the_latest_batch() -> None:
    network = vgg_unet(1, 1).train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 13 + 8
    assert not any(norm.weight.requires_grad for norm in norms)
    assert all(norm.bias.requires_grad for norm in norms)
    convolution = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    films = torch.rand(2, 1, 32, 32)
    network(films)
    seen = convolution(films).mean((0, 2, 3))
    assert torch.allclose(norms[0].running_mean, 0.8 * seen, atol=1e-5)


def test_segnet_puts_numbers_back_where_the_maxima_were() -> None:
    network = SegNet(1, 1).eval()
    assert len([layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]) == 26
    assert isinstance(list(network.up[-1].children())[-1], nn.Conv2d)
    read: list[Tensor] = []
    network.up[-1].register_forward_hook(lambda _module, given, _made: read.append(given[0]))
    film = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        network(film)
        first = network.down[0](film)
    maxima, places = functional.max_pool2d(first, 2, return_indices=True)
    kept = functional.max_unpool2d(torch.ones_like(maxima), places, 2) > 0
    assert (read[0] != 0).any()
    assert not (read[0] != 0)[~kept].any()
    assert kept.float().mean() == 0.25


@pytest.mark.slow
def test_fcn_starts_with_bilinear_doubling() -> None:
    network = Fcn8s(1, 3)
    scores = torch.rand(1, 3, 6, 6)
    expected = functional.interpolate(scores, scale_factor=2, mode="bilinear", align_corners=False)
    for doubling in network.doubling:
        made = doubling(scores)
        assert made.shape == expected.shape
        # A convolution takes what lies outside for zero, an interpolation for more of the edge.
        assert torch.allclose(made[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-6)


@pytest.mark.parametrize("labels", [1, 3])
def test_the_second_u_net_reads_the_film_through_the_first_ones_masks(labels: int) -> None:
    network = DoubleUNet(1, labels).eval()
    made: dict[str, Tensor] = {}
    network.first_out.register_forward_hook(lambda _module, _given, out: made.update(mask=out.sigmoid()))
    network.second_down[0].register_forward_hook(lambda _module, given, _out: made.update(film=given[0]))
    films = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        network(films)
    any_label = 1 - (1 - made["mask"]).prod(1, keepdim=True)
    assert torch.allclose(made["film"], films * any_label, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_library_gets_the_packaged_encoder(channels: int) -> None:
    network = _built("unet", channels=channels).eval()
    backbone, origin = load_backbone(LITE0, weights="packaged", channels=channels, level=(0, 1, 2, 3, 4))
    films = torch.rand(1, channels, 64, 64)
    with torch.inference_mode():
        levels = network.network.encoder(films)[1:]
        expected = backbone.eval()(films)
    assert len(levels) == len(expected) == 5
    for level, other in zip(levels, expected, strict=True):
        assert torch.allclose(level, other, atol=1e-5)
    assert (network.origin.kind, network.origin.detail) == (origin.kind, origin.detail) == ("packaged", LITE0)
    assert network.mean == network.std == (0.5,) * channels


@pytest.mark.parametrize("encoder", ["test_resnet", "test_convnext", "mobilenetv1_100", "resnet18.a1_in1k"])
def test_encoders_whose_levels_timm_renames_get_their_weights_too(encoder: str, tmp_path: Path) -> None:
    saved = timm.create_model(encoder, pretrained=False).state_dict()
    file = tmp_path / "encoder.safetensors"
    save_file(saved, file)
    network = build_segmenter("fpn", encoder=encoder, weights=f"file:{file}", channels=3, labels=1)
    given = {key.replace(".", "_"): value for key, value in saved.items()}
    taken = network.network.encoder.model.state_dict()
    assert taken
    assert all(torch.equal(value, given[key.replace(".", "_")]) for key, value in taken.items())


def test_no_network_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for encoder, weights in ((LITE0, "packaged"), ("resnet18", "random")):
        assert build_segmenter("linknet", encoder=encoder, weights=weights, channels=1, labels=1).stride == 32


def test_without_the_library_its_networks_name_the_extra_and_the_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(MissingExtra, match=r"pip install 'hilum\[train\]'"):
        _built("unet")
    assert _built("unet-1").stride == 16


def test_own_networks_take_their_weights_from_a_file(tmp_path: Path) -> None:
    network = _built("unet-1").eval()
    file = tmp_path / "lungs.safetensors"
    save_file(network.network.state_dict(), file)
    told = {"encoder": None, "weights": f"file:{file}", "channels": 1}
    again = build_segmenter("unet-1", labels=2, **told).eval()
    films = torch.rand(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.equal(again(films), network(films))
    assert (again.origin.kind, again.origin.detail) == ("file", "lungs.safetensors")
    with pytest.raises(DataError, match="does not fit 'unet-1' with these channels and labels"):
        build_segmenter("unet-1", labels=1, **told)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"name": "unet-4"}, "unknown segmentation network 'unet-4'; did you mean 'unet-"),
        ({"labels": 0}, "needs a label at least, not 0"),
        ({"encoder": None}, "needs an encoder that timm has.*not none"),
        ({"encoder": "xrv:densenet121-res224-all"}, "needs an encoder that timm has.*not 'xrv:"),
        ({"encoder": "resnett18"}, "unknown backbone 'resnett18'"),
        ({"weights": "imagenet"}, "unknown kind of weights 'imagenet'"),
        ({"weights": "packaged"}, "weights = 'packaged' exists for tf_efficientnet_lite0 only"),
        ({"name": "deeplabv3+", "encoder": "densenet121"}, "'deeplabv3[+]' cannot use the encoder 'densenet121'"),
        ({"name": "segnet"}, "'segnet' has an encoder of its own; leave out 'resnet18'"),
        ({"name": "segnet", "encoder": None, "weights": "hub"}, "'segnet' has no published weights"),
    ],
    ids=lambda told: "-".join(f"{key}={value}" for key, value in told.items()) if isinstance(told, dict) else "",
)
def test_what_does_not_fit_is_refused_in_a_sentence(told: dict[str, object], sentence: str) -> None:
    given = {"name": "unet", "encoder": "resnet18", "weights": "random", "channels": 1, "labels": 1, **told}
    with pytest.raises(UsageError, match=sentence):
        build_segmenter(**given)

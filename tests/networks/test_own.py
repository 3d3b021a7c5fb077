from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hilum.networks import load_backbone
from hilum.networks.own import OWN, Body, Conv3, GreyToColour, draw_as_keras

SIDES = {"conv3": {224: 28, 299: 37, 96: 12}, "parallel3": {224: 56, 299: 74, 96: 24}}
SIDES["nasnet_mobile"] = {224: 7, 299: 10, 96: 3}


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _gradient(features: Callable[[Tensor], Tensor], films: Tensor) -> Tensor:
    """Of the mean of the map, with respect to the films."""
    films = films.requires_grad_()
    features(films).mean().backward()
    assert films.grad is not None
    return films.grad.abs()


def _corners(values: Tensor, side: int = 8) -> list[float]:
    """Upper left, upper right, lower left, lower right."""
    near, far = slice(None, side), slice(-side, None)
    return [values[..., rows, columns].sum().item() for rows in (near, far) for columns in (near, far)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OWN)
def test_every_body_makes_a_map(name: str, channels: int) -> None:
    body = OWN[name](channels).eval()
    with torch.inference_mode():
        maps = body(torch.rand(2, channels, 96, 64))
    assert maps.shape[:2] == (2, body.features)
    assert maps.shape[2] > maps.shape[3] > 0
    assert maps.isfinite().all()
    assert maps.std() > 0.01


@pytest.mark.parametrize("side", [224, 299, 96])
@pytest.mark.parametrize("name", OWN)
def test_maps_have_the_published_sides(name: str, side: int) -> None:
    body = OWN[name](1).eval()
    with torch.inference_mode():
        assert body(torch.rand(1, 1, side, side)).shape == (1, body.features, SIDES[name][side], SIDES[name][side])


@pytest.mark.parametrize(("name", "published"), [("conv3", 6_516_035), ("parallel3", 25_821_891)])
def test_flattened_at_224_px_the_small_bodies_have_the_published_size(name: str, published: int) -> None:
    with torch.device("meta"):
        body = OWN[name](3)
        side = SIDES[name][224]
        head = [nn.Flatten(), nn.Linear(body.features * side**2, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 3)]
        network = nn.Sequential(body, *head)
        assert network(torch.rand(2, 3, 224, 224)).shape == (2, 3)
    assert _parameters(network) == published


def test_nasnet_mobile_has_the_published_size() -> None:
    with torch.device("meta"):
        body = OWN["nasnet_mobile"](3)
    moving = sum(buffer.numel() for name, buffer in body.named_buffers() if "running" in name)
    assert (_parameters(body), moving) == (4_232_978, 36_738)
    assert _parameters(body) + moving == 4_269_716


def test_nasnet_mobile_hands_every_cell_the_two_maps_before_it() -> None:
    """Behind a reduction the second is the map that was reduced; the large network takes the one before."""
    body = OWN["nasnet_mobile"](1).eval()
    read: dict[str, tuple[Tensor, ...]] = {}
    made: dict[str, Tensor] = {}

    def keep(name: str, _: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        read[name], made[name] = given, out

    for name, cell in body.named_children():
        cell.register_forward_hook(partial(keep, name))
    body(torch.rand(1, 1, 64, 64))
    assert read["cell_stem_1"][0] is made["conv0"]
    assert read["cell_stem_1"][1] is made["cell_stem_0"]
    order = ["cell_stem_0", "cell_stem_1", *[f"cell_{n}" for n in (0, 1, 2, 3)], "reduction_cell_0"]
    order += [*[f"cell_{n}" for n in (6, 7, 8, 9)], "reduction_cell_1", *[f"cell_{n}" for n in (12, 13, 14, 15)]]
    for place, name in enumerate(order[2:], 2):
        now, before = read[name]
        assert now is made[order[place - 1]]
        assert before is made[order[place - 2]]
    assert set(read) == {"conv0", "act", *order}


def test_parallel3_looks_through_kernels_of_three_sizes() -> None:
    kernels = [tuple(layer.weight.shape) for layer in OWN["parallel3"](3).modules() if isinstance(layer, nn.Conv2d)]
    assert kernels == [(64, 3, 1, 1), (32, 3, 3, 3), (16, 3, 5, 5), (128, 112, 3, 3)]


@pytest.mark.parametrize("name", OWN)
def test_every_corner_of_the_film_reaches_the_map(name: str) -> None:
    torch.manual_seed(0)
    reached = _corners(_gradient(OWN[name](1).eval(), torch.rand(1, 1, 112, 112)))
    assert min(reached) > 0.01 * max(reached)


def test_a_pool_of_eight_cells_of_fourteen_would_leave_three_corners_unseen() -> None:
    """The law above can fail: one reference system pools its 14x14 map so, 8 cells wide and 8 apart."""
    torch.manual_seed(0)
    blind = nn.Sequential(OWN["conv3"](1), nn.MaxPool2d(8))
    upper_left, *others = _corners(_gradient(blind, torch.rand(1, 1, 112, 112)))
    assert upper_left > 0
    assert others == [0, 0, 0]


@pytest.mark.parametrize("name", OWN)
def test_a_seed_draws_the_same_body_again(name: str) -> None:
    def drawn(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        return OWN[name](1).state_dict()

    first, again, other = drawn(4), drawn(4), drawn(5)
    assert all(torch.equal(first[key], again[key]) for key in first)
    kernels = [key for key in first if first[key].ndim == 4]
    assert not any(torch.equal(first[key], other[key]) for key in kernels)


@pytest.mark.parametrize("name", ["conv3", "parallel3"])
def test_kernels_are_glorot_and_biases_zero(name: str) -> None:
    for layer in OWN[name](3).modules():
        if isinstance(layer, nn.Conv2d):
            taps = layer.kernel_size[0] * layer.kernel_size[1]
            bound = (6 / (taps * (layer.in_channels + layer.out_channels))) ** 0.5
            assert 0.9 * bound < layer.weight.abs().max() <= bound
            assert layer.bias is not None
            assert not layer.bias.any()


def test_dense_layers_are_drawn_alike() -> None:
    head = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 3, bias=False))
    draw_as_keras(head)
    assert 0.9 * (6 / 50) ** 0.5 < head[0].weight.abs().max() <= (6 / 50) ** 0.5
    assert not head[0].bias.any()


def test_nasnet_draws_what_is_not_separable_by_its_fan_in() -> None:
    torch.manual_seed(0)
    kernels = {key: value for key, value in OWN["nasnet_mobile"](3).state_dict().items() if value.ndim == 4}
    projection = kernels["cell_13.conv_1x1.conv.weight"]
    sigma = (2 / projection.shape[1]) ** 0.5
    assert projection.std().item() == pytest.approx(sigma, rel=0.02)
    assert projection.abs().max() <= 2 * sigma / 0.8796 + 1e-6
    pointwise = kernels["cell_13.comb_iter_0_left.separable_1.pointwise_conv2d.weight"]
    bound = (6 / sum(pointwise.shape[:2])) ** 0.5
    assert 0.99 * bound < pointwise.abs().max() <= bound


def test_bodies_say_what_films_they_are_made_for() -> None:
    assert {name: (body(1).mean, body(1).std) for name, body in OWN.items()} == {
        "conv3": (0.0, 1.0),
        "parallel3": (0.0, 1.0),
        "nasnet_mobile": (0.5, 0.5),
    }
    with pytest.raises(NotImplementedError):
        Body()(torch.rand(1, 1, 8, 8))


def test_grey_to_colour_starts_as_the_film_three_times() -> None:
    colour, films = GreyToColour(), torch.rand(2, 1, 20, 30)
    assert torch.equal(colour(films), films.expand(-1, 3, -1, -1))
    assert _parameters(colour) == 30


def test_grey_to_colour_learns_every_tap() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(GreyToColour(), Conv3(3))
    network(torch.rand(2, 1, 32, 32)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.all() for parameter in network[0].parameters())


# vgg16's dense layers hold nine tenths of its weights and make no map: kept small here.
SMALL_VGG = {"mlp_ratio": 1 / 1024}


@pytest.mark.parametrize(
    ("name", "first", "told"), [("vgg16", "features.0", SMALL_VGG), ("mobilenetv2_100", "conv_stem", {})]
)
def test_a_grey_network_is_the_colour_network_on_the_film_three_times(
    name: str, first: str, told: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All nine taps of every first kernel are summed over the colours, not a column of them."""
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, **told))
    torch.manual_seed(0)
    save_file(timm.create_model(name, pretrained=False).state_dict(), tmp_path / "weights.safetensors")
    weights = f"file:{tmp_path / 'weights.safetensors'}"
    grey = load_backbone(name, weights=weights, channels=1)[0].eval()
    colour = load_backbone(name, weights=weights, channels=3)[0].eval()
    films = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        (wanted,) = colour(films.expand(-1, 3, -1, -1))
        close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())
        close(grey(films)[0], wanted)
        close(colour(GreyToColour()(films))[0], wanted)
        taps = grey.body.get_submodule(first).weight
        assert taps.shape[1:] == (1, 3, 3)
        assert taps.abs().amin() > 0
        taps[..., :2] = 0
        with pytest.raises(AssertionError, match="not close"):
            close(grey(films)[0], wanted)

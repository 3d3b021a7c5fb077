"""Maps of a toy network that a bright patch decides: every method finds it, and none makes evidence of nothing."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hilum.errors import MissingExtra, UsageError
from hilum.explain.evidence import Evidence, layers_of
from hilum.explain.judging import EMPTY, FLAT, NO_NUMBERS, shown_map
from hilum.explain.maps import METHODS, raw_map
from hilum.networks import Backbone, build_classifier
from hilum.networks.classifier import POOLINGS, Classifier
from hilum.preprocess import Preprocess
from hilum.recipe import Network

SIDE, CELL = 64, 4
TOP, LEFT, PATCH = 12, 36, 16
"""Where the bright patch is, in pixels."""
PATCHED, PLAIN = 0, 1
OF_CAPTUM = [name for name, method in METHODS.items() if method.captum]


class _Bright(Backbone):
    """Two features on a map a quarter the side: how far the grey is above 0.6, and a little everywhere."""

    def __init__(self, *, single: bool = False) -> None:
        conv = nn.Conv2d(1, 2, 3, padding=1)
        with torch.no_grad():
            conv.weight.zero_()
            conv.weight[0] = 1 / 9
            conv.bias.copy_(torch.tensor([-0.6, 0.02]))
        layers = [conv, nn.ReLU(inplace=True), nn.AvgPool2d(CELL), *([nn.AdaptiveAvgPool2d(1)] if single else [])]
        super().__init__(nn.Sequential(*layers), features=(2,), mean=(0.0,), std=(1.0,))

    def forward(self, films: Tensor) -> tuple[Tensor, ...]:
        return (self.body(films),)


def _toy(pooling: str = "avg", *, mirror: bool = False, single: bool = False, hidden: bool = False) -> Classifier:
    backbone = _Bright(single=single)
    size = POOLINGS[pooling](backbone(torch.zeros(1, 1, SIDE, SIDE))[0]).shape[1]
    last = nn.Linear(size, 2)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([-0.3, 0.1]))
        last.weight.copy_(torch.tensor([1.0, -1.0])[:, None].expand(2, size))
        places = torch.arange(size).reshape(-1, 2, size // 4 if pooling == "avgmax" else size // 2)
        last.weight[:, places[:, 1].flatten()] *= -0.1  # what is everywhere speaks a little for `plain`
    layers: list[nn.Module] = [last]
    if hidden:
        first = nn.Linear(size, size)
        nn.init.eye_(first.weight)
        nn.init.zeros_(first.bias)
        layers = [first, nn.ReLU(), last]
    network = Network.model_validate({"backbone": "toy", "pooling": pooling, "mirror": mirror})
    return Classifier(nn.Identity(), backbone, nn.Sequential(*layers), network, 2).eval()


def _film(*, patch: bool = True) -> Tensor:
    film = 0.25 + 0.2 * torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    if patch:
        film[:, :, TOP : TOP + PATCH, LEFT : LEFT + PATCH] = 0.97
    return film


def _share_in_patch(shown: np.ndarray) -> float:
    """Of the map's energy, what lies in the patch or a cell beside it."""
    per_px = np.kron(shown, np.ones((SIDE // shown.shape[0],) * 2))
    around = per_px[TOP - CELL : TOP + PATCH + CELL, LEFT - CELL : LEFT + PATCH + CELL]
    return float(around.sum() / per_px.sum())


def _needs(method: str) -> None:
    if METHODS[method].captum:
        pytest.importorskip("captum", reason="needs the extra hilum[explain]")


@pytest.mark.parametrize("mirror", [False, True], ids=["once", "mirrored"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_patch_that_decides(method: str, mirror: bool) -> None:
    _needs(method)
    raw = raw_map(_toy("grid3", mirror=mirror), _film(), PATCHED, method=method)
    shown, why = shown_map(raw.signed)
    assert why is None
    # Eigen-CAM is of no label: of a film and its mirror image it shows both patches, each in the film's own place.
    assert _share_in_patch(shown) >= 0.8
    assert shown.max() == 1
    assert raw.grids[0] == raw.signed.shape
    assert raw.method == method


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_closed_form_finds_it_under_every_pooling(pooling: str) -> None:
    shown, _ = shown_map(raw_map(_toy(pooling), _film(), PATCHED, method="cam").signed)
    assert _share_in_patch(shown) >= 0.8


@pytest.mark.parametrize("mirror", [False, True], ids=["once", "mirrored"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_closed_form_adds_up_to_the_log_odds(pooling: str, mirror: bool) -> None:
    classifier, film = _toy(pooling, mirror=mirror), _film()
    raw = raw_map(classifier, film, PATCHED, method="cam")
    logits = classifier(film)[0].tolist()
    assert raw.signed.sum() / raw.signed.size - 0.4 == pytest.approx(logits[0] - logits[1], rel=1e-5)


@pytest.mark.parametrize("mirror", [False, True], ids=["once", "mirrored"])
def test_of_averages_the_closed_form_is_grad_cam(mirror: bool) -> None:
    pytest.importorskip("captum", reason="needs the extra hilum[explain]")
    classifier = _toy("avg", mirror=mirror)
    cam, grad_cam = (raw_map(classifier, _film(), PATCHED, method=method) for method in ("cam", "grad-cam"))
    np.testing.assert_allclose(cam.signed, grad_cam.signed, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_of_every_pooling_the_closed_form_is_gradient_times_activation(pooling: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="needs the extra hilum[explain]")
    evidence = Evidence(_toy(pooling), PATCHED)
    through = attr.LayerGradientXActivation(evidence, evidence.levels[0])
    expected = through.attribute(_film().requires_grad_()).sum(1)[0].detach().numpy()
    signed = raw_map(_toy(pooling), _film(), PATCHED, method="cam").signed
    np.testing.assert_allclose(signed / signed.size, expected, rtol=1e-5, atol=1e-9)


def test_grad_cam_plus_plus_is_the_papers_formula() -> None:
    classifier, film = _toy("grid3"), _film()
    evidence = Evidence(classifier, PATCHED)
    part = evidence.maps(film)[0].detach().requires_grad_()
    (slopes,) = torch.autograd.grad(evidence.log_odds(evidence.logits([part])).sum(), part)
    activations, slopes = part[0].detach().double().numpy(), slopes[0].double().numpy()
    expected = np.zeros((SIDE // CELL,) * 2)
    for activation, slope in zip(activations, slopes, strict=True):
        share = np.divide(
            slope**2, 2 * slope**2 + activation.sum() * slope**3, out=np.zeros_like(slope), where=slope > 0
        )
        expected += (share * np.maximum(slope, 0)).sum() * activation
    signed = raw_map(classifier, film, PATCHED, method="grad-cam++").signed
    np.testing.assert_allclose(signed / signed.size, expected, rtol=1e-4, atol=1e-9)


def test_eigen_cam_is_the_first_principal_direction_with_its_larger_end_up() -> None:
    classifier, film = _toy(), _film()
    cells = Evidence(classifier, PATCHED).maps(film)[0][0].detach().double().flatten(1).numpy().T
    _, vectors = np.linalg.eigh(cells.T @ cells)
    expected = np.abs(cells @ vectors[:, -1]).reshape(16, 16)
    signed = raw_map(classifier, film, PATCHED, method="eigen-cam").signed
    np.testing.assert_allclose(signed, expected / expected.max(), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(signed, raw_map(classifier, film, PLAIN, method="eigen-cam").signed)


def test_what_speaks_for_one_of_two_labels_speaks_against_the_other() -> None:
    patched, plain = (raw_map(_toy(), _film(), place, method="cam").signed for place in (PATCHED, PLAIN))
    np.testing.assert_allclose(patched, -plain, atol=1e-7)
    shown, _ = shown_map(plain)
    assert _share_in_patch(shown) < 0.2


@pytest.mark.parametrize("pooling", ["avg", "max", "grid3"])
@pytest.mark.parametrize("mirror", [False, True], ids=["once", "mirrored"])
def test_evidence_is_the_classifiers_log_odds(pooling: str, mirror: bool) -> None:
    torch.manual_seed(0)
    told = {"backbone": "test_resnet", "weights": "random", "pooling": pooling, "mirror": mirror, "level": [-1, -3]}
    classifier, _ = build_classifier(Network.model_validate(told), Preprocess(size_px=64), classes=3)
    films = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        probabilities = classifier.eval()(films).double().softmax(1)[:, 1]
        found = Evidence(classifier, 1)(films).double()
    torch.testing.assert_close(found, (probabilities / (1 - probabilities)).log(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", [name for name, how in METHODS.items() if how.of_layers])
def test_several_levels_make_one_map_on_the_finest_grid(method: str) -> None:
    _needs(method)
    torch.manual_seed(0)
    told = {"backbone": "test_resnet", "weights": "random", "level": [-1, -3], "mirror": True}
    classifier, _ = build_classifier(Network.model_validate(told), Preprocess(size_px=64), classes=3)
    raw = raw_map(classifier, torch.rand(1, 3, 64, 64), 1, method=method)
    assert raw.signed.shape == max(raw.grids)
    assert len(set(raw.grids)) == 2
    assert np.isfinite(raw.signed).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_network_gives_no_picture(method: str) -> None:
    _needs(method)
    deaf, blind = _toy("grid3"), _toy("grid3")
    nn.init.zeros_(deaf.head[0].weight)
    nn.init.zeros_(blind.backbone.body[0].weight)
    if method != "eigen-cam":  # it never asks the head
        assert shown_map(raw_map(deaf, _film(), PATCHED, method=method).signed) == (None, EMPTY)
    found = [shown_map(raw_map(blind, _film(), place, method=method).signed) for place in (PATCHED, PLAIN)]
    assert all(shown is None and why in (EMPTY, FLAT) for shown, why in found)


def test_a_film_on_which_nothing_raises_the_label_is_told() -> None:
    assert shown_map(raw_map(_toy(), _film(patch=False), PATCHED, method="cam").signed) == (None, EMPTY)


@pytest.mark.parametrize("method", METHODS)
def test_no_nan_leaves_as_a_map(method: str) -> None:
    _needs(method)
    broken = _toy()
    with torch.no_grad():
        broken.backbone.body[0].bias[0] = torch.nan
    assert shown_map(raw_map(broken, _film(), PATCHED, method=method).signed) == (None, NO_NUMBERS)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_film_gives_the_same_map_and_the_network_stays_as_it_was(method: str) -> None:
    _needs(method)
    classifier = _toy("grid3", mirror=True)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    one, other = (raw_map(classifier, _film(), PATCHED, method=method) for _ in range(2))
    np.testing.assert_array_equal(one.signed, other.signed)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert not any(module._forward_hooks for module in classifier.modules())
    assert all(parameter.grad is None for parameter in classifier.parameters())


@pytest.mark.parametrize("method", ["cam", "grad-cam", "grad-cam++", "eigen-cam"])
def test_a_map_of_one_cell_is_refused_with_a_layer_that_shows_more(method: str) -> None:
    _needs(method)
    with pytest.raises(UsageError, match=r"the map that the head reads is 1 x 1.*such as '2' \(16 x 16\)"):
        raw_map(_toy(single=True), _film(), PATCHED, method=method)


def test_a_named_layer_of_one_cell_is_refused_and_the_one_it_names_works() -> None:
    pytest.importorskip("captum", reason="needs the extra hilum[explain]")
    classifier = _toy(single=True)
    with pytest.raises(UsageError, match=r"layer '3' gives a map of 1 x 1.*such as '2' \(16 x 16\)"):
        raw_map(classifier, _film(), PATCHED, layer="3")
    for method in ("grad-cam", "grad-cam++", "eigen-cam"):
        raw = raw_map(classifier, _film(), PATCHED, method=method, layer="2")
        assert (raw.layer, raw.grids) == ("2", ((16, 16),))
        assert _share_in_patch(shown_map(raw.signed)[0]) >= 0.8


def test_a_layer_that_is_written_over_by_the_next_keeps_its_own_values() -> None:
    # The convolution's output is below 0 outside the patch until the ReLU behind it writes over it.
    raw = raw_map(_toy(), _film(), PATCHED, method="eigen-cam", layer="0")
    assert raw.signed.min() < -0.1
    assert layers_of(_toy(), _film()) == {"0": (64, 64), "1": (64, 64), "2": (16, 16)}


def _refusals() -> dict[str, tuple[Callable[[], object], str]]:
    film = _film()
    return {
        "method": (lambda: raw_map(_toy(), film, 0, method="gradcam"), "did you mean 'grad-cam'"),
        "layer": (lambda: raw_map(_toy(), film, 0, method="eigen-cam", layer="22"), "unknown layer with a map '22'"),
        "cam of hidden layers": (lambda: raw_map(_toy(hidden=True), film, 0, method="cam"), "use 'grad-cam'"),
        "cam of a layer": (lambda: raw_map(_toy(), film, 0, method="cam", layer="2"), "reads no inner layer"),
        "occlusion of a layer": (lambda: raw_map(_toy(), film, 0, method="occlusion", layer="2"), "no inner layer"),
    }


@pytest.mark.parametrize("case", _refusals())
def test_what_does_not_fit_is_refused(case: str) -> None:
    ask, told = _refusals()[case]
    with pytest.raises(UsageError, match=told):
        ask()


def test_without_a_method_hidden_heads_get_grad_cam_and_linear_ones_the_closed_form() -> None:
    assert raw_map(_toy(), _film(), PATCHED).method == "cam"
    pytest.importorskip("captum", reason="needs the extra hilum[explain]")
    raw = raw_map(_toy(hidden=True), _film(), PATCHED)
    assert raw.method == "grad-cam"
    assert _share_in_patch(shown_map(raw.signed)[0]) >= 0.8


@pytest.mark.parametrize("method", OF_CAPTUM)
def test_methods_of_captum_say_which_extra_brings_it(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExtra, match=r"hilum\[explain\]"):
        raw_map(_toy(), _film(), PATCHED, method=method)
    assert raw_map(_toy(), _film(), PATCHED, method="cam").method == "cam"

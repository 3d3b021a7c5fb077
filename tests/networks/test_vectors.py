"""From a film to the vector a head reads: poolings, levels, mirror images, and films too small for either."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from hilum.errors import UsageError
from hilum.networks import build_classifier, load_backbone
from hilum.networks.classifier import POOLINGS, Classifier
from hilum.preprocess import Preprocess
from hilum.recipe import Network

SIZES = {"avg": 5, "max": 5, "avgmax": 10, "grid3": 45, "avg2": 5 * 3 * 4, "avg4": 5 * 1 * 2, "flatten": 5 * 6 * 9}
"""How many numbers each pooling makes of 5 features in 6 x 9 places."""


def _network(**told: object) -> Network:
    return Network.model_validate({"backbone": "test_resnet", "weights": "random", **told})


def _classifier(network: Network, *, channels: Any = 3, size_px: int = 64) -> Classifier:
    torch.manual_seed(0)
    return build_classifier(network, Preprocess(size_px=size_px, channels=channels), classes=3)[0].eval()


def _vectors(classifier: Classifier, films: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return classifier.vectors(films)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_give_the_vectors_they_promise(pooling: str) -> None:
    maps = torch.rand(2, 5, 6, 9)
    vectors = POOLINGS[pooling](maps)
    assert vectors.shape == (2, SIZES[pooling])
    torch.testing.assert_close(POOLINGS[pooling](maps[:1]), vectors[:1])


def test_poolings_compute_what_they_are_called() -> None:
    maps = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert POOLINGS["avg"](maps).tolist() == [[17.5]]
    assert POOLINGS["max"](maps).tolist() == [[35.0]]
    assert POOLINGS["avgmax"](maps).tolist() == [[17.5, 35.0]]
    assert POOLINGS["flatten"](maps).tolist() == [list(range(36))]
    for pooling, side in (("grid3", 2), ("avg2", 2), ("avg4", 4)):
        cells = POOLINGS[pooling](maps)
        assert cells[0, 0] == maps[0, 0, :side, :side].mean()
    assert POOLINGS["grid3"](maps)[0, 8] == POOLINGS["avg2"](maps)[0, 8] == maps[0, 0, 4:, 4:].mean()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("level", [None, -2, 1, [-1, -3]], ids=["last", "-2", "1", "-1,-3"])
def test_every_pooling_of_every_level_reaches_a_logit_a_class(pooling: str, level: object) -> None:
    # The last map of the tiny network is a 32nd of the film's side, and avg4 needs four places.
    classifier = _classifier(_network(pooling=pooling, level=level), size_px=128)
    films = torch.rand(2, 3, 128, 128)
    with torch.inference_mode():
        assert classifier(films).shape == (2, 3)
        assert classifier.vectors(films).shape == (2, classifier.head[0].mean.numel())


def test_several_levels_stand_side_by_side() -> None:
    films = torch.rand(2, 3, 64, 64)
    told = {"pooling": "grid3", "standardise": False}
    both = _vectors(_classifier(_network(level=[-1, -3], **told)), films)
    apart = [_vectors(_classifier(_network(level=level, **told)), films) for level in (-3, -1)]
    assert torch.equal(both, torch.cat(apart, 1))
    assert torch.equal(both, _vectors(_classifier(_network(level=[2, -1], **told)), films)), "counted from either end"


def test_half_the_places_of_a_vgg_map_are_4608_numbers() -> None:
    """7 x 7 places of 512 features averaged two by two; 128 units and two classes on them are 590,210 numbers."""
    assert POOLINGS["avg2"](torch.zeros(1, 512, 7, 7)).shape == (1, 4608)
    layers = [nn.Linear(4608, 128), nn.ReLU(), nn.Linear(128, 2)]
    assert sum(parameter.numel() for layer in layers for parameter in layer.parameters()) == 590_210


@pytest.mark.slow
def test_vgg16_has_the_reference_s_head_and_no_dense_layers_of_its_own() -> None:
    network = Network(
        backbone="vgg16", weights="random", pooling="avg2", hidden=(128,), dropout=(0.5,), standardise=False
    )
    classifier, _ = build_classifier(network, Preprocess(), classes=2)
    assert sum(parameter.numel() for parameter in classifier.head.parameters()) == 590_210
    assert sum(parameter.numel() for parameter in classifier.backbone.parameters()) == 14_714_688


def test_parts_the_map_does_not_pass_through_are_taken_away() -> None:
    """A pooling and a dense classifier behind the map would be saved with every bundle."""
    backbone, _ = load_backbone("mobilenetv3_small_050", weights="random", channels=3)
    films = torch.rand(1, 3, 64, 64)
    (maps,) = backbone.eval()(films)
    for name, part in backbone.body.named_children():
        if not any(True for _ in part.parameters()):
            continue
        kept = [value.detach().clone() for value in part.parameters()]
        with torch.no_grad():
            for value in part.parameters():
                value.add_(1.0)
        assert not torch.equal(backbone(films)[0], maps), f"'{name}' has weights that the map does not depend on"
        with torch.no_grad():
            for value, before in zip(part.parameters(), kept, strict=True):
                value.copy_(before)
    assert torch.equal(backbone(films)[0], maps)


@pytest.mark.parametrize("pooling", ["avg", "grid3"])
def test_a_film_and_its_mirror_image_give_the_same_vector(pooling: str) -> None:
    films = torch.rand(3, 3, 64, 64)
    mirrored, plain = (_classifier(_network(mirror=mirror, pooling=pooling)) for mirror in (True, False))
    torch.testing.assert_close(_vectors(mirrored, films.flip(-1)), _vectors(mirrored, films))
    assert not torch.allclose(_vectors(plain, films.flip(-1)), _vectors(plain, films), rtol=1e-3)
    wanted = (_vectors(plain, films) + _vectors(plain, films.flip(-1))) / 2
    torch.testing.assert_close(_vectors(mirrored, films), wanted)


def test_a_learned_grey_entry_starts_as_the_same_film_three_times() -> None:
    grey = torch.rand(2, 1, 64, 64)
    learned = _classifier(_network(grey="learned", train_from="all"), channels=1)
    colour = _classifier(_network(train_from="all"))
    torch.testing.assert_close(_vectors(learned, grey), _vectors(colour, grey.expand(-1, 3, -1, -1)))


def test_a_learned_grey_entry_needs_grey_films() -> None:
    with pytest.raises(UsageError, match=r"grey = 'learned' makes three channels of one: set preprocess\.channels = 1"):
        _classifier(_network(grey="learned", train_from="all"), channels=3)


@pytest.mark.parametrize("pooling", ["avg2", "avg4"])
def test_films_too_small_for_a_pooling_are_refused_in_one_sentence(pooling: str) -> None:
    with pytest.raises(UsageError) as refused:
        _classifier(_network(pooling=pooling), size_px=32)
    assert str(refused.value) == (
        f"pooling '{pooling}' is larger than the map of 1 x 1 that backbone 'test_resnet' gives at "
        "preprocess.size_px = 32: choose a larger size or another pooling"
    )


def test_films_too_small_for_a_network_are_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_small(films: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(films, 48)

    backbone, origin = load_backbone("test_resnet", weights="random", channels=3)
    monkeypatch.setattr(backbone.body, "forward_features", too_small)
    monkeypatch.setattr("hilum.networks.classifier.load_backbone", lambda *_, **__: (backbone, origin))
    with pytest.raises(UsageError) as refused:
        _classifier(_network(), size_px=32)
    assert str(refused.value) == (
        "backbone 'test_resnet' cannot read films of preprocess.size_px = 32: choose a larger size"
    )

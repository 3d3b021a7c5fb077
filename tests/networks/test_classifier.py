import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from hilum.engine.eager import films_a_pass
from hilum.networks import build_classifier, logits_of
from hilum.networks.classifier import Classifier, Standardise, freeze, training_mode
from hilum.preprocess import Preprocess
from hilum.recipe import Network

TINY = "test_resnet"


def _network(**told: object) -> Network:
    return Network.model_validate({"backbone": TINY, "weights": "random", **told})


def _classifier(network: Network, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return build_classifier(network, Preprocess(size_px=64), classes=3)[0]


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        ({"standardise": False}, [nn.Linear]),
        ({}, [Standardise, nn.Linear]),
        ({"hidden": [64], "dropout": 0.5}, [Standardise, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]),
        (
            {"hidden": [64], "dropout": [0.2, 0.5]},
            [Standardise, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear],
        ),
        ({"hidden": [64], "dropout": [0.2, 0.0]}, [Standardise, nn.Dropout, nn.Linear, nn.ReLU, nn.Linear]),
        ({"hidden": [9, 4], "standardise": False}, [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]),
    ],
)
def test_heads_are_built_as_told(told: dict[str, object], kinds: list[type]) -> None:
    assert [type(layer) for layer in _classifier(_network(**told)).head] == kinds


def test_dropout_is_one_share_or_one_a_layer() -> None:
    head = _classifier(_network(hidden=[8], dropout=[0.2, 0.5])).head
    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == [0.2, 0.5]
    with pytest.raises(ValidationError, match="dropout has 3 values for 2 dense layers; give one, or one each"):
        _network(hidden=[8], dropout=[0.1, 0.2, 0.3])


def test_standardise_gives_zero_mean_and_unit_deviation_and_keeps_constants_finite() -> None:
    vectors = torch.randn(50, 4) * 7 + 3
    vectors[:, 2] = 5
    layer = Standardise(4)
    torch.testing.assert_close(layer(vectors), vectors)
    layer.measure(vectors)
    scaled = layer(vectors)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0, 1.0]), atol=1e-4, rtol=0)
    assert set(layer.state_dict()) == {"mean", "scale"}


def test_dropout_works_in_training_only() -> None:
    network = _network(dropout=0.5)
    classifier = _classifier(network)
    freeze(classifier, network)
    films = torch.rand(2, 3, 64, 64)
    training_mode(classifier, network)
    assert not torch.equal(classifier(films), classifier(films))
    classifier.eval()
    assert torch.equal(classifier(films), classifier(films))


def test_logits_do_not_depend_on_how_films_are_batched() -> None:
    classifier = _classifier(_network())
    preprocess = Preprocess(size_px=64, mean=(0.5,) * 3, std=(0.5,) * 3)
    frames = np.random.default_rng(0).integers(0, 256, (films_a_pass(torch.device("cpu")) * 2 + 1, 64, 64), np.uint8)
    logits = logits_of(classifier, preprocess, frames)
    assert logits.shape == (len(frames), 3)
    assert logits.dtype == np.float32
    one_by_one = [logits_of(classifier, preprocess, frames[row : row + 1])[0] for row in range(len(frames))]
    np.testing.assert_allclose(logits, one_by_one, atol=1e-5)
    assert logits_of(classifier, preprocess, frames[:0]).shape == (0, 3)


def test_a_class_s_logit_sees_every_corner_of_the_film() -> None:
    classifier = _classifier(_network(pooling="avg")).eval()
    films = torch.rand(1, 3, 64, 64, requires_grad=True)
    classifier(films)[0, 0].backward()
    assert films.grad is not None
    seen = films.grad.abs().sum(1)[0]
    assert all(
        seen[rows, columns].sum() > 0 for rows in (slice(8), slice(-8, None)) for columns in (slice(8), slice(-8, None))
    )

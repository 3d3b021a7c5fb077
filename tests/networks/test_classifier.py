from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from hilum.errors import UsageError
from hilum.networks import build_classifier, logits_of
from hilum.networks.classifier import POOLINGS, Classifier, Standardise, films_a_pass, freeze, training_mode
from hilum.preprocess import Preprocess
from hilum.recipe import Network

TINY = "test_resnet"


def _network(**told: object) -> Network:
    return Network.model_validate({"backbone": TINY, "weights": "random", **told})


def _classifier(network: Network, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return build_classifier(network, channels=3, classes=3)[0]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_give_the_vectors_they_promise(pooling: str) -> None:
    maps = torch.rand(2, 5, 6, 9)
    pool, factor = POOLINGS[pooling]
    vectors = pool(maps)
    assert vectors.shape == (2, 5 * factor)
    torch.testing.assert_close(pool(maps[:1]), vectors[:1])


def test_poolings_compute_what_they_are_called() -> None:
    maps = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert POOLINGS["avg"][0](maps).tolist() == [[17.5]]
    assert POOLINGS["max"][0](maps).tolist() == [[35.0]]
    assert POOLINGS["avgmax"][0](maps).tolist() == [[17.5, 35.0]]
    grid = POOLINGS["grid3"][0](maps)
    assert grid[0, 0] == maps[0, 0, :2, :2].mean()
    assert grid[0, 8] == maps[0, 0, 4:, 4:].mean()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("level", [None, -2, 1])
def test_every_pooling_of_every_level_reaches_a_logit_a_class(pooling: str, level: int | None) -> None:
    classifier = _classifier(_network(pooling=pooling, level=level)).eval()
    with torch.inference_mode():
        assert classifier(torch.rand(2, 3, 64, 64)).shape == (2, 3)
        assert classifier.vectors(torch.rand(2, 3, 64, 64)).shape == (2, classifier.head[0].mean.numel())


@pytest.mark.parametrize(
    ("told", "kinds"),
    [
        ({"standardise": False}, [nn.Linear]),
        ({}, [Standardise, nn.Linear]),
        ({"hidden": [64], "dropout": 0.5}, [Standardise, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]),
        ({"hidden": [9, 4], "standardise": False}, [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]),
    ],
)
def test_heads_are_built_as_told(told: dict[str, object], kinds: list[type]) -> None:
    assert [type(layer) for layer in _classifier(_network(**told)).head] == kinds


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


@pytest.mark.parametrize("hidden", [[], [64], [128, 32]])
def test_a_frozen_backbone_leaves_only_the_head_to_train(hidden: list[int]) -> None:
    classifier = _classifier(_network(hidden=hidden))
    trainable = freeze(classifier, _network(hidden=hidden))
    sizes = [classifier.backbone.features, *hidden, 3]
    wanted = sum(ins * outs + outs for ins, outs in pairwise(sizes))
    assert sum(parameter.numel() for parameter in trainable) == wanted
    assert {id(p) for p in trainable} == {id(p) for p in classifier.head.parameters()}


def test_all_trains_everything() -> None:
    classifier = _classifier(_network(train_from="all"))
    assert len(freeze(classifier, _network(train_from="all"))) == len(list(classifier.parameters()))


@pytest.mark.parametrize("module", ["layer3", "layer4.0", "layer2"])
def test_training_from_a_module_leaves_what_comes_before_bit_identical(module: str) -> None:
    network = _network(train_from=module, batch_norm="trained")
    classifier = _classifier(network)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    optimiser = torch.optim.SGD(freeze(classifier, network), lr=0.1)
    training_mode(classifier, network)
    for _ in range(2):  # residual branches start from zero: the first step only opens them
        optimiser.zero_grad()
        classifier(torch.rand(4, 3, 64, 64)).square().mean().backward()
        optimiser.step()
    changed = {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}
    inner = f"backbone.body.{module}."
    names = [name for name in before if name.startswith("backbone.")]
    first = next(number for number, name in enumerate(names) if name.startswith(inner))
    assert not changed & set(names[:first])
    assert {name for name in names[first:] if name.endswith("conv1.weight")} <= changed
    assert any(name.startswith("head.") for name in changed)


def test_unknown_modules_suggest_the_nearest() -> None:
    network = _network(train_from="layer44")
    with pytest.raises(UsageError, match="unknown backbone module 'layer44'; did you mean 'layer4'"):
        freeze(_classifier(network), network)


def test_a_module_with_nothing_behind_it_is_refused() -> None:
    network = _network(train_from="global_pool.flatten")
    classifier = _classifier(network)
    last = [name for name, _ in classifier.backbone.body.named_modules()][-1]
    with pytest.raises(UsageError, match="leaves nothing of the backbone to train"):
        freeze(classifier, network.model_copy(update={"train_from": last}))


def _moved(batch_norm: str, train_from: str | None) -> set[str]:
    network = _network(train_from=train_from, batch_norm=batch_norm)
    classifier = _classifier(network)
    before = {name: value.clone() for name, value in classifier.named_buffers()}
    freeze(classifier, network)
    training_mode(classifier, network)
    classifier(torch.rand(4, 3, 64, 64))
    return {name for name, value in classifier.named_buffers() if not torch.equal(value, before[name])}


def test_batch_norm_statistics_move_only_where_trained_and_told() -> None:
    assert not _moved("frozen", "all")
    assert not _moved("trained", None)
    assert _moved("trained", "all")
    part = _moved("trained", "layer4")
    assert part
    assert all(name.startswith("backbone.body.layer4.") for name in part)


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

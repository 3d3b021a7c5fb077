from itertools import pairwise

import pytest
import torch
from torch import nn

from hilum.errors import UsageError
from hilum.networks import build_classifier
from hilum.networks.classifier import Classifier, freeze, training_mode
from hilum.preprocess import Preprocess
from hilum.recipe import Network, Thawed


def _network(**told: object) -> Network:
    return Network.model_validate({"backbone": "test_resnet", "weights": "random", **told})


def _classifier(network: Network, *, channels: int = 3) -> Classifier:
    torch.manual_seed(0)
    return build_classifier(network, Preprocess(size_px=64, channels=channels), classes=3)[0]  # type: ignore[arg-type]


def _trained(classifier: Classifier, thawed: Thawed, *, channels: int = 3) -> set[str]:
    """The tensors that two steps of training change."""
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    optimiser = torch.optim.SGD(freeze(classifier, thawed), lr=0.1)
    training_mode(classifier, thawed)
    for _ in range(2):  # residual branches start from zero: the first step only opens them
        optimiser.zero_grad()
        classifier(torch.rand(4, channels, 64, 64)).square().mean().backward()
        optimiser.step()
    return {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("hidden", [[], [64], [128, 32]])
def test_a_frozen_backbone_leaves_only_the_head_to_train(hidden: list[int]) -> None:
    classifier = _classifier(_network(hidden=hidden))
    trainable = freeze(classifier, _network(hidden=hidden))
    sizes = [*classifier.backbone.features, *hidden, 3]
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
    names = [name for name in classifier.state_dict() if name.startswith("backbone.")]
    changed = _trained(classifier, network)
    inner = f"backbone.body.{module}."
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


def test_a_module_with_nothing_before_it_is_refused() -> None:
    network = _network(train_from="all")
    classifier = _classifier(network)
    first = next(name for name, module in classifier.backbone.body.named_modules() if name)
    with pytest.raises(UsageError, match="freezes nothing; say train_from = 'all'"):
        freeze(classifier, network.model_copy(update={"train_from": first}))


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


# `freeze_first` counts the backbone's modules that hold no others: in test_resnet the first ten are the stem, three
# times convolution, norm, activation, and a pool.


def _leaves(classifier: Classifier) -> list[str]:
    return [name for name, module in classifier.backbone.body.named_modules() if not list(module.children())]


@pytest.mark.parametrize("count", [1, 2, 4, 10, 25])
def test_freeze_first_counts_the_network_s_own_modules(count: int) -> None:
    network = _network(freeze_first=count, batch_norm="trained")
    classifier = _classifier(network)
    leaves = _leaves(classifier)
    frozen = tuple(f"backbone.body.{name}." for name in leaves[:count])
    changed = _trained(classifier, network)
    assert not [name for name in changed if name.startswith(frozen)]
    weights = [f"backbone.body.{name}.weight" for name in leaves[count:]]
    assert {name for name in weights if name in classifier.state_dict()} <= changed
    assert any(name.startswith("head.") for name in changed)


def test_freeze_first_in_a_plain_network_is_the_count_of_its_layers() -> None:
    """VGG's list reads convolution, activation, convolution, activation, pool: two frozen are its first kernels."""
    with torch.device("meta"):
        classifier = _plain_network()
    for count, convolutions in ((1, 1), (2, 1), (3, 2), (5, 2), (6, 3)):
        freeze(classifier, Thawed(freeze_first=count))
        still = [part for part in classifier.backbone.body if isinstance(part, nn.Conv2d) and part.bias is not None]
        assert [part.weight.requires_grad for part in still] == [False] * convolutions + [True] * (4 - convolutions)


def _plain_network() -> Classifier:
    layers: list[nn.Module] = []
    for before, after in ((3, 4), (4, 4), (4, 8), (8, 8)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        if (before, after) in ((4, 4), (8, 8)):
            layers.append(nn.MaxPool2d(2))
    classifier = Classifier(nn.Identity(), nn.Module(), nn.Sequential(nn.Linear(8, 2)), _network(), 2)  # type: ignore[arg-type]
    classifier.backbone.body = nn.Sequential(*layers)
    return classifier


@pytest.mark.parametrize("count", [57, 1000])
def test_freezing_all_of_a_backbone_is_refused(count: int) -> None:
    network = _network(freeze_first=count)
    with pytest.raises(UsageError, match=rf"freeze_first = {count} freezes all of the backbone, which has 57 modules"):
        freeze(_classifier(network), network)


def test_freezing_nothing_is_refused() -> None:
    """A maximum pool ahead of all kernels has nothing to freeze."""
    classifier = _plain_network()
    classifier.backbone.body = nn.Sequential(nn.MaxPool2d(2), *classifier.backbone.body)
    with pytest.raises(
        UsageError, match=r"freeze_first = 1 freezes nothing that can be trained; say train_from = 'all'"
    ):
        freeze(classifier, Thawed(freeze_first=1))


def test_a_second_stage_may_thaw_more_than_the_first() -> None:
    classifier = _classifier(_network())
    freeze(classifier, _network())
    assert not any(parameter.requires_grad for parameter in classifier.backbone.parameters())
    freeze(classifier, Thawed(train_from="layer4"))
    thawed = {name for name, parameter in classifier.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[2] for name in thawed if name.startswith("backbone.")} == {"layer4"}
    freeze(classifier, _network())
    assert not any(parameter.requires_grad for parameter in classifier.backbone.parameters())


def test_a_learned_grey_entry_is_trained_even_where_the_first_kernels_are_not() -> None:
    network = _network(grey="learned", train_from="layer4", batch_norm="trained")
    changed = _trained(_classifier(network, channels=1), network, channels=1)
    assert {"entry.conv.weight", "entry.conv.bias"} <= changed
    assert not [name for name in changed if name.startswith("backbone.body.conv1")]

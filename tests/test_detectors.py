"""Laws of every box detector: it learns from boxes and from none, and what it finds lies on the film with a score."""

import socket

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hilum.errors import DataError, UsageError
from hilum.networks.detectors import (
    DETECTORS,
    STRIDES,
    Detector,
    Limits,
    Marked,
    build_detector,
    found_in,
    labelled,
)
from hilum.preprocess import Preprocess

EVERYTHING = Limits(score=0.0, overlap=0.5, most=20)
LITE0 = "tf_efficientnet_lite0"
TINY = "test_resnet"


def built(name: str, *, channels: int = 1, labels: int = 2, seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    return build_detector(name, encoder=TINY, weights="random", channels=channels, labels=labels, width=64)


def films(count: int = 2, channels: int = 1, size: tuple[int, int] = (96, 96)) -> Tensor:
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def nothing() -> Marked:
    return Marked(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def marked() -> list[Marked]:
    """A film with a box of each label, and one without any."""
    return [Marked(torch.tensor([[8.0, 10, 60, 70], [40, 30, 90, 90]]), torch.tensor([0, 1])), nothing()]


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("empty", [False, True], ids=["boxes", "no boxes"])
def test_a_step_has_a_finite_loss_and_moves_encoder_and_head(name: str, empty: bool) -> None:
    detector = built(name)
    optimiser = torch.optim.SGD(detector.parameters(), lr=1e-3)
    before = {key: value.clone() for key, value in detector.named_parameters()}
    loss = detector(films(), [nothing(), nothing()] if empty else marked())
    loss.backward()
    optimiser.step()
    moved = [key for key, value in detector.named_parameters() if not torch.equal(value, before[key])]
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert any(".body." in key for key in moved)
    assert any(".body." not in key for key in moved)


@pytest.mark.parametrize("name", DETECTORS)
def test_each_label_is_taught_something_else(name: str) -> None:
    taught = []
    for label in (0, 1):
        detector = built(name)
        told = Marked(torch.tensor([[8.0, 10, 60, 70]]), torch.tensor([label]))
        detector(films(1).expand(2, -1, -1, -1), [told, told]).backward()
        taught.append(torch.cat([one.grad.flatten() for one in detector.parameters() if one.grad is not None]))
    assert not torch.equal(*taught)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize(("channels", "size"), [(1, (96, 96)), (3, (70, 101))], ids=["square", "odd colour"])
def test_what_is_found_lies_on_the_film(name: str, channels: int, size: tuple[int, int]) -> None:
    detector = built(name, channels=channels)
    found = detector.find(films(3, channels, size), EVERYTHING)
    assert len(found) == 3
    for boxes, labels, scores in found:
        assert scores is not None
        assert 0 < len(boxes) <= EVERYTHING.most
        assert boxes.shape[1:] == (4,)
        assert (boxes[:, 2:] >= boxes[:, :2]).all()
        assert boxes.min() >= 0
        assert (boxes[:, 2] <= size[1]).all()
        assert (boxes[:, 3] <= size[0]).all()
        assert set(labels.tolist()) <= {0, 1}
        assert scores.min() >= 0
        assert scores.max() <= 1
        assert (scores.diff() <= 0).all()


@pytest.mark.parametrize("name", DETECTORS)
def test_limits_are_kept(name: str) -> None:
    detector = built(name)
    everything = detector.find(films(1), EVERYTHING)[0].scores
    assert everything is not None
    middle = float(everything[len(everything) // 2])
    told = detector.find(films(1), Limits(middle, 0.5, 20))[0].scores
    assert told is not None
    assert 0 < len(told) < len(everything)
    assert told.min() > middle
    assert len(detector.find(films(1), Limits(0.0, 0.5, 3))[0].boxes) == 3
    few, many = (len(detector.find(films(1), Limits(0.0, share, 10_000))[0].boxes) for share in (0.05, 0.9))
    assert few < many


@pytest.mark.parametrize("name", DETECTORS)
def test_a_seed_decides_everything(name: str) -> None:
    def trained(seed: int) -> list[Tensor]:
        detector = built(name, seed=seed)
        optimiser = torch.optim.SGD(detector.parameters(), lr=1e-3)
        detector(films(), marked()).backward()
        optimiser.step()
        return [value.detach() for value in detector.parameters()]

    one, same, other = trained(0), trained(0), trained(1)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", DETECTORS)
def test_answers_are_of_each_film_alone_and_cover_every_part(name: str) -> None:
    """What proves a bundle must change when any layer of the network does."""
    detector = built(name).eval()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # timm starts residual branches at zero, which would hide them
    shown = films(2)
    with torch.inference_mode():
        both = detector(shown)
        assert torch.allclose(both[:1], detector(shown[:1]), atol=1e-4)
    assert both.shape[0] == 2
    detector(shown).square().sum().backward()
    unseen = [key for key, value in detector.named_parameters() if value.grad is None or not value.grad.any()]
    assert not unseen


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_learns_one_film_by_heart(name: str) -> None:
    """Trained on a single film it puts its surest box on the square that is there."""
    detector = built(name, labels=1)
    film = torch.full((1, 1, 96, 96), -0.8)
    film[:, :, 20:68, 30:78] = 0.9
    told = [Marked(torch.tensor([[30.0, 20, 78, 68]]), torch.tensor([0]))]
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    optimiser = torch.optim.Adam(detector.parameters(), lr=2e-3)
    for _ in range(40):
        optimiser.zero_grad()
        detector(film, told).backward()
        optimiser.step()
    best = detector.find(film, Limits(0.0, 0.5, 5))[0].boxes[0]
    assert (best - told[0].boxes[0]).abs().max() < 8


def test_frames_go_through_a_few_at_a_time_and_come_back_in_order() -> None:
    detector, plan = built("fcos"), Preprocess(size_px=64, channels=1)
    frames = np.random.default_rng(0).integers(0, 255, (6, 64, 64), np.uint8)
    found = found_in(detector, plan, frames, Limits(0.0, 0.5, 5))
    assert len(found) == 6
    alone = found_in(detector, plan, frames[5:], Limits(0.0, 0.5, 5))[0]
    assert torch.allclose(found[5].boxes, alone.boxes, atol=1e-2)
    assert found_in(detector, plan, frames[:0], EVERYTHING) == []


def test_numbers_become_names() -> None:
    told = labelled(Marked(torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([1]), torch.tensor([0.5])), ("a", "b"))
    assert [(one.label, tuple(one.box), one.score) for one in told] == [("b", (1, 2, 3, 4), 0.5)]
    with pytest.raises(DataError, match="have no scores"):
        labelled(nothing(), ("a",))


def test_no_network_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    detector = build_detector("retinanet", encoder=LITE0, weights="packaged", channels=1, labels=1)
    assert (detector.origin.kind, detector.origin.detail) == ("packaged", LITE0)
    assert detector.mean == detector.std == (0.5,)


@pytest.mark.parametrize("encoder", [LITE0, "test_efficientnet", "test_convnext"])
def test_other_encoders_serve_too(encoder: str) -> None:
    detector = build_detector("retinanet", encoder=encoder, weights="random", channels=1, labels=1, width=64)
    levels = detector.network.backbone(films(1))
    assert [96 // part.shape[2] for part in levels.values()] == [8, 16, 32, 48]
    assert len(levels) == len(STRIDES)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"name": "retinanett"}, "unknown detector 'retinanett'; did you mean 'retinanet'"),
        ({"labels": 0}, "needs a label at least, not 0"),
        ({"width": 80}, "64 channels or a larger multiple of 32, not 80"),
        ({"width": 32}, "64 channels or a larger multiple of 32, not 32"),
        ({"encoder": "xrv:densenet121-res224-all"}, "needs an encoder that timm has"),
        ({"encoder": "resnett18"}, "unknown backbone 'resnett18'"),
        ({"encoder": "vit_tiny_patch16_224"}, "cannot use the encoder 'vit_tiny_patch16_224'"),
        ({"weights": "imagenet"}, "unknown kind of weights 'imagenet'"),
        ({"weights": "packaged"}, "weights = 'packaged' exists for tf_efficientnet_lite0 only"),
    ],
    ids=lambda told: "-".join(f"{key}={value}" for key, value in told.items()) if isinstance(told, dict) else "",
)
def test_what_does_not_fit_is_refused_in_a_sentence(told: dict[str, object], sentence: str) -> None:
    given = {"name": "retinanet", "encoder": "resnet18", "weights": "random", "channels": 1, "labels": 1, **told}
    with pytest.raises(UsageError, match=sentence):
        build_detector(**given)  # type: ignore[arg-type]

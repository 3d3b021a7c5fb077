import importlib
from pathlib import Path
from types import ModuleType

import pytest
import timm
import torch

from hilum.errors import DataError, MissingExtra, UsageError
from hilum.networks import load_backbone

TINY = ("test_resnet", "test_efficientnet", "test_byobnet", "mobilenetv3_small_050")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", TINY)
def test_every_backbone_turns_films_into_a_map(name: str, channels: int) -> None:
    backbone, _ = load_backbone(name, weights="random", channels=channels)
    with torch.inference_mode():
        (maps,) = backbone.eval()(torch.zeros(2, channels, 96, 64))
    assert maps.shape == (2, *backbone.features, 3, 2)
    assert len(backbone.mean) == len(backbone.std) == channels


@pytest.mark.parametrize("name", TINY)
def test_every_level_equals_that_level_of_the_whole_network(name: str) -> None:
    torch.manual_seed(3)
    whole = timm.create_model(name, pretrained=False, num_classes=0).eval()
    films = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        wanted = whole.forward_intermediates(films, intermediates_only=True)
        for level, told in enumerate(wanted):
            torch.manual_seed(3)
            backbone, _ = load_backbone(name, weights="random", channels=3, level=(level,))
            assert torch.equal(backbone.eval()(films)[0], told)
            assert backbone.features == (told.shape[1],)
            counted = load_backbone(name, weights="random", channels=3, level=(level - len(wanted),))[0]
            assert counted.features == backbone.features


def test_a_level_is_cut_off_behind() -> None:
    def size(*level: int) -> int:
        backbone, _ = load_backbone("test_resnet", weights="random", channels=3, level=level)
        return sum(parameter.numel() for parameter in backbone.parameters())

    assert size(-2) < size()


def test_levels_beyond_the_network_are_refused() -> None:
    for level in (5, -6):
        with pytest.raises(UsageError, match=f"levels 0 to 4; network.level = {level}"):
            load_backbone("test_resnet", weights="random", channels=3, level=(level,))


@pytest.mark.parametrize(
    ("told", "near"),
    [("restnet18", "resnet18"), ("tf_efficientnet_lite_0", "tf_efficientnet_lite0"), ("densnet121", "densenet121")],
)
def test_unknown_backbones_suggest_the_nearest(told: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"unknown backbone '{told}'; did you mean '{near}'") as caught:
        load_backbone(told, weights="random", channels=3)
    assert len(str(caught.value)) < 400


def test_a_name_like_nothing_does_not_list_a_thousand() -> None:
    with pytest.raises(UsageError, match="unknown backbone 'zzz'") as caught:
        load_backbone("zzz", weights="random", channels=3)
    assert len(str(caught.value)) < 200


def test_unknown_weights_of_a_known_backbone_are_refused() -> None:
    with pytest.raises(UsageError, match=r"resnet10t\.c3_in1k"):
        load_backbone("resnet10t.c3_in2k", weights="random", channels=3)


def test_networks_without_a_map_are_refused() -> None:
    with pytest.raises(UsageError, match="gives no feature map"):
        load_backbone("test_vit", weights="random", channels=3)


def _xrv() -> ModuleType:
    pytest.importorskip("torchxrayvision", reason="needs the extra hilum[xrv]")
    return importlib.import_module("torchxrayvision").models


def test_without_torchxrayvision_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchxrayvision", None)
    with pytest.raises(MissingExtra, match=r"'torchxrayvision'.*pip install 'hilum\[xrv\]'"):
        load_backbone("xrv:densenet121-res224-all", weights="cache", channels=1)


@pytest.mark.parametrize(("channels", "level"), [(3, ()), (1, (-2,))])
def test_chest_networks_read_grey_to_their_last_map(channels: int, level: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"preprocess\.channels = 1 and no level"):
        load_backbone("xrv:densenet121-res224-all", weights="cache", channels=channels, level=level)


def test_unknown_chest_networks_suggest_the_nearest() -> None:
    _xrv()
    with pytest.raises(UsageError, match="did you mean 'densenet121-res224-nih'"):
        load_backbone("xrv:densenet121-res224-nhi", weights="cache", channels=1)


def test_a_chest_network_without_weights_says_where_it_looked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = _xrv()
    monkeypatch.setattr(models.utils, "get_cache_dir", lambda: str(tmp_path))
    with pytest.raises(DataError, match=f"in {tmp_path}; possible:"):
        load_backbone("xrv:densenet121-res224-nih", weights="cache", channels=1)


def test_a_chest_network_is_read_from_its_published_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = _xrv()
    monkeypatch.setattr(models.utils, "get_cache_dir", lambda: str(tmp_path))
    torch.manual_seed(5)
    published = models.DenseNet(num_classes=18)
    torch.save(published, tmp_path / Path(models.model_urls["densenet121-res224-nih"]["weights_url"]).name)
    backbone, origin = load_backbone("xrv:densenet121-res224-nih", weights="cache", channels=1)
    films = torch.rand(1, 1, 64, 64)
    scaled = (films - backbone.mean[0]) / backbone.std[0]
    assert scaled.min() >= -1024
    assert scaled.max() <= 1024
    with torch.inference_mode():
        wanted = torch.relu(published.eval().features(scaled))
        assert torch.equal(backbone.eval()(scaled)[0], wanted)
    assert wanted.shape == (1, 1024, 2, 2)
    assert origin.kind == "cache"


def test_a_chest_file_with_foreign_classes_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = _xrv()
    monkeypatch.setattr(models.utils, "get_cache_dir", lambda: str(tmp_path))
    file = tmp_path / Path(models.model_urls["densenet121-res224-nih"]["weights_url"]).name
    torch.save(torch.nn.Sequential(torch.nn.Bilinear(2, 2, 2)), file)
    with pytest.raises(DataError, match="not a readable state dict"):
        load_backbone("xrv:densenet121-res224-nih", weights="cache", channels=1)


def test_a_chest_file_of_another_network_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _xrv()
    torch.save({"features.conv0.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "part.pth")
    with pytest.raises(DataError, match=r"lacks \d+ tensors of 'xrv:"):
        load_backbone("xrv:densenet121-res224-nih", weights=f"file:{tmp_path / 'part.pth'}", channels=1)

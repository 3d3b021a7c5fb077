"""Random changes to training films: the same seed gives the same change, whatever is computed beside it."""

import hashlib

import torch
from torch import Tensor
from torchvision.transforms import v2

from hilum.recipe import Augmentation


def make_transform(augmentation: Augmentation) -> v2.Transform:
    """The recipe's augmentation as a transform of (..., H, W) in any scale."""
    grow = augmentation.zoom
    steps: list[v2.Transform] = [
        v2.RandomAffine(
            degrees=augmentation.rotate_degrees,
            translate=(augmentation.shift, augmentation.shift) if augmentation.shift else None,
            scale=(1 - grow, 1 + grow) if grow else None,
            interpolation=v2.InterpolationMode.BILINEAR,
            fill=0.0,
        )
    ]
    if augmentation.flip:
        steps.append(v2.RandomHorizontalFlip(0.5))
    if augmentation.brightness or augmentation.contrast:
        steps.append(v2.ColorJitter(brightness=augmentation.brightness, contrast=augmentation.contrast))
    return v2.Compose(steps)


def seed_of(*parts: object) -> int:
    """A 63-bit seed from any values, the same on every machine.

    >>> seed_of(0, "film", 1) == seed_of(0, "film", 1)
    True
    """
    text = "\x00".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def augment(films: Tensor, augmentation: Augmentation, seeds: list[int]) -> Tensor:
    """Change each film (N, 1, H, W) in [0, 1] by a draw of its own seed; the caller's random state is left alone."""
    transform = make_transform(augmentation)
    changed = torch.empty_like(films)
    with torch.random.fork_rng(devices=[]):
        for row, seed in enumerate(seeds):
            torch.manual_seed(seed)
            changed[row] = transform(films[row])
    return changed

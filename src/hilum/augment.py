"""Random changes to training films: the same seed gives the same change, whatever is computed beside it."""

import hashlib

import torch
from torch import Tensor
from torchvision.transforms import v2

from hilum.recipe import Augmentation


def make_transform(augmentation: Augmentation) -> v2.Transform:
    """The recipe's augmentation as a transform of (..., H, W) in [0, 1]; what it does not ask for costs nothing."""
    told = augmentation
    steps: list[v2.Transform] = []
    if told.rotate_degrees or told.shift or told.zoom:
        steps.append(
            v2.RandomAffine(
                degrees=told.rotate_degrees,
                translate=(told.shift, told.shift) if told.shift else None,
                scale=(1 - told.zoom, 1 + told.zoom) if told.zoom else None,
                interpolation=v2.InterpolationMode.BILINEAR,
                fill=0.0,
            )
        )
    if told.flip:
        steps.append(v2.RandomHorizontalFlip(0.5))
    if told.brightness or told.contrast:
        steps.append(v2.ColorJitter(brightness=told.brightness, contrast=told.contrast))
    return v2.Compose(steps or [v2.Identity()])


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

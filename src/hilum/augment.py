"""Random changes to training films: the same seed gives the same change, whatever is computed beside it."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.transforms import v2

from hilum.cache import ArrayView
from hilum.recipe import Augmentation, Recipe


def make_transform(augmentation: Augmentation, *, grown: float = 1.0) -> v2.Transform:
    """The recipe's augmentation as a transform of (..., H, W) in [0, 1]; what it does not ask for costs nothing.

    Args:
        augmentation: what to draw from.
        grown: side of what is transformed, over the film's: shifts are shares of the film.
    """
    told = augmentation
    shift = told.shift / grown
    steps: list[v2.Transform] = []
    if told.moved and (told.rotate_degrees or told.shift or told.zoom):
        move = v2.RandomAffine(
            degrees=told.rotate_degrees,
            translate=(shift, shift) if shift else None,
            scale=(1 - told.zoom, 1 + told.zoom) if told.zoom else None,
            interpolation=v2.InterpolationMode.BILINEAR,
            fill=0.0,
        )
        steps.append(v2.RandomApply([move], told.moved) if told.moved < 1 else move)
    if told.flip:
        steps.append(v2.RandomHorizontalFlip(told.flip))
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


def augment(films: Tensor, augmentation: Augmentation, seeds: Sequence[int | None]) -> Tensor:
    """Change each film (N, 1, H, W) in [0, 1] by a draw of its own seed; the caller's random state is left alone.

    A film whose seed is None stays as it is.
    """
    if augmentation.changes_nothing or not any(seed is not None for seed in seeds):
        return films
    changed = films.clone()
    for row, framed, transform in _drawn(films, augmentation, seeds):
        changed[row] = v2.functional.center_crop(transform(framed), list(films.shape[-2:]))
    return changed.clamp(0, 1)


def augment_alike(
    films: Tensor, masks: Tensor, augmentation: Augmentation, seeds: Sequence[int | None]
) -> tuple[Tensor, Tensor]:
    """`augment` of films and masks together: a mask moves as its film does, and its grey levels stay 0 and 1.

    Args:
        films: (N, 1, H, W) in [0, 1].
        masks: (N, labels, H, W), 0 and 1.
        augmentation: what is changed, how much.
        seeds: of each film's draw, the one `augment` would take; None for no change.
    """
    if augmentation.changes_nothing or not any(seed is not None for seed in seeds):
        return films, masks
    size = list(films.shape[-2:])
    changed, moved = films.clone(), masks.clone()
    both = torch.cat([films, masks.to(films.dtype)], 1)
    for row, framed, transform in _drawn(both, augmentation, seeds):
        film, mask = transform(tv_tensors.Image(framed[:1]), tv_tensors.Mask(framed[1:]))
        changed[row] = v2.functional.center_crop(film, size).as_subclass(Tensor)
        moved[row] = v2.functional.center_crop(mask, size).as_subclass(Tensor).to(masks.dtype)
    return changed.clamp(0, 1), moved


def augment_with_points(
    films: Tensor, points: Sequence[Tensor], augmentation: Augmentation, seeds: Sequence[int | None]
) -> tuple[Tensor, list[Tensor]]:
    """`augment` of films and points on them together, exactly; points that leave the film stop at its border.

    Args:
        films: (N, 1, H, W) in [0, 1].
        points: a film's (M, 2) columns and rows in pixels, (0, 0) being the film's upper left corner.
        augmentation: what is changed, how much.
        seeds: of each film's draw, the one `augment` would take; None for no change.
    """
    if augmentation.changes_nothing or not any(seed is not None for seed in seeds):
        return films, list(points)
    size = list(films.shape[-2:])
    changed, moved = films.clone(), list(points)
    for row, framed, transform in _drawn(films, augmentation, seeds):
        shape = framed.shape[-2:]
        margin = (shape[0] - size[0]) // 2
        # A box without width or height is a point, and moves as one in every torchvision that hilum runs with.
        boxes = tv_tensors.BoundingBoxes(points[row].repeat(1, 2) + margin, format="XYXY", canvas_size=shape)
        film, boxes = transform(tv_tensors.Image(framed), boxes)
        changed[row] = v2.functional.center_crop(film, size).as_subclass(Tensor)
        moved[row] = v2.functional.center_crop(boxes, size).as_subclass(Tensor)[:, :2]
    return changed.clamp(0, 1), moved


def _drawn(
    films: Tensor, augmentation: Augmentation, seeds: Sequence[int | None]
) -> Iterator[tuple[int, Tensor, v2.Transform]]:
    """Row, film (C, H, W) with its margin, and the transform, torch's generator set to the film's own seed."""
    height, width = films.shape[-2:]
    margin = _margin(augmentation, height, width)
    transform = make_transform(augmentation, grown=1 + 2 * margin / width)
    with torch.random.fork_rng(devices=[]):
        for row, seed in enumerate(seeds):
            if seed is not None:
                torch.manual_seed(seed)
                yield row, functional.pad(films[row : row + 1], (margin,) * 4, mode="replicate")[0], transform


def _margin(augmentation: Augmentation, height: int, width: int) -> int:
    """Pixels of repeated border around a film, so that no black comes into view where edges are to be filled."""
    if augmentation.fill == "black":
        return 0
    reach = math.hypot(height, width) / (1 - augmentation.zoom) * (1 + 2 * augmentation.shift) / 2
    return math.ceil(reach - min(height, width) / 2) + 1


def changed_frames(
    frames: NDArray[Any], recipe: Recipe, keys: Sequence[str], *, copies: Sequence[int], views: Sequence[int | None]
) -> NDArray[Any]:
    """Frames (N, side, side) as off-line copies, then changed again on line; whole numbers of the same type.

    Args:
        frames: whole numbers from 0 to 2**depth_bits - 1.
        recipe: what is changed, how much.
        keys: a name a film, for its copies' draws.
        copies: the number of each film's copy; 0 for the film itself.
        views: the seed of each film's on-line change; None for none.
    """
    if not any(copies) and (recipe.augmentation.changes_nothing or all(seed is None for seed in views)):
        return frames
    made = [copy_seed(recipe, key, copy) if copy else None for key, copy in zip(keys, copies, strict=True)]
    top = float(2**recipe.preprocess.depth_bits - 1)
    grey = torch.from_numpy(frames.astype(np.float32))[:, None] / top
    grey = augment(augment(grey, recipe.oversampling, made), recipe.augmentation, views)
    whole: NDArray[Any] = (grey[:, 0] * top).round().numpy().astype(frames.dtype)
    return whole


def read_changed(
    frames: ArrayView, recipe: Recipe, *, copies: Sequence[int], views: Sequence[int | None]
) -> NDArray[Any]:
    """`changed_frames` of frames still on disk: what another process can be asked for."""
    return changed_frames(frames[:], recipe, frames.keys, copies=copies, views=views)


def copy_seed(recipe: Recipe, key: str, copy: int) -> int:
    """The draw of a film's off-line copy, counted from 1: the same in every epoch and every division."""
    return seed_of("copy", recipe.split.seeds[0], key, copy)

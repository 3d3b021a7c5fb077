"""What masks are trained by: soft Dice of whole regions, with or without cross-entropy, and the focal loss.

Every loss reads logits (N, L, H, W) and masks of the same shape, 1 inside and 0 outside, and is first one number a film
and label, then the mean of those. A label that nobody drew on a film is no empty mask: `assessed` leaves it out.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from hilum.errors import unknown_name

SMOOTH = 1.0
"""Pixels added to both halves of Dice, so that an empty mask has a loss too."""
ALPHA = 0.25
GAMMA = 2.0


class MaskLoss(Protocol):
    """Logits and masks (N, L, H, W), and which are `assessed` (N, L) -> one number."""

    def __call__(self, logits: Tensor, masks: Tensor, assessed: Tensor | None = None) -> Tensor: ...


def soft_dice_loss(logits: Tensor, masks: Tensor, assessed: Tensor | None = None, *, smooth: float = SMOOTH) -> Tensor:
    """1 - Dice of probabilities and mask over the whole film, label by label.

    Summed over all pixels before anything is divided: pixel by pixel, an empty mask would score 0.875 for a region
    that covers a quarter of the film, because every pixel outside would count as a perfect region of its own.

    Args:
        logits: (N, L, H, W).
        masks: the same shape, 0 or 1.
        assessed: (N, L), True where the mask was drawn; all by default.
        smooth: pixels added to both halves.

    References:
        Milletari, Navab and Ahmadi, "V-Net", 3DV 2016, doi 10.1109/3DV.2016.79; its sums are of probabilities here,
        not of their squares, as in Drozdzal et al. 2016, doi 10.1007/978-3-319-46976-8_19.
    """
    return _mean(_dice(logits, masks, smooth), assessed)


def bce_dice_loss(logits: Tensor, masks: Tensor, assessed: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, a mean over pixels, plus `soft_dice_loss`."""
    return _mean(_cross_entropy(logits, masks).mean((2, 3)) + _dice(logits, masks, SMOOTH), assessed)


def focal_loss(
    logits: Tensor, masks: Tensor, assessed: Tensor | None = None, *, alpha: float = ALPHA, gamma: float = GAMMA
) -> Tensor:
    """Cross-entropy in which a pixel counts less the better it is told: alpha_t (1 - p_t)^gamma, a mean over pixels.

    Args:
        logits: (N, L, H, W).
        masks: the same shape, 0 or 1.
        assessed: (N, L), True where the mask was drawn; all by default.
        alpha: weight of pixels inside; outside it is 1 - alpha.
        gamma: how fast well-told pixels lose their weight.

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, doi 10.1109/ICCV.2017.324.
    """
    missed = torch.sigmoid(torch.where(masks > 0, -logits.float(), logits.float()))
    weight = torch.where(masks > 0, alpha, 1 - alpha)
    return _mean((weight * missed**gamma * _cross_entropy(logits, masks)).mean((2, 3)), assessed)


MASK_LOSSES: Mapping[str, MaskLoss] = {"dice": soft_dice_loss, "bce+dice": bce_dice_loss, "focal": focal_loss}
"""Name -> loss, with the values of the papers."""


def mask_loss(name: str) -> MaskLoss:
    """The loss of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in MASK_LOSSES:
        raise unknown_name("mask loss", name, MASK_LOSSES)
    return MASK_LOSSES[name]


def _dice(logits: Tensor, masks: Tensor, smooth: float) -> Tensor:
    # Sums of half a million pixels do not fit the eight bits of a bfloat16.
    told, masks = torch.sigmoid(logits.float()), masks.float()
    shared = (told * masks).sum((2, 3))
    return 1 - (2 * shared + smooth) / (told.sum((2, 3)) + masks.sum((2, 3)) + smooth)


def _cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits.float(), masks.float(), reduction="none")


def _mean(losses: Tensor, assessed: Tensor | None) -> Tensor:
    """Over films and labels (N, L) that were assessed; 0 where none was."""
    if assessed is None:
        return losses.mean()
    return torch.where(assessed, losses, 0.0).sum() / assessed.sum().clamp(min=1)

import math

import pytest
import torch
from torch import Tensor

from hilum.errors import UsageError
from hilum.train.mask_losses import MASK_LOSSES, bce_dice_loss, focal_loss, mask_loss, soft_dice_loss

LN2 = math.log(2)
SURE = 80.0
"""A logit whose probability is 1 to the last bit of a float32."""


def _mask(share: float = 0.25, side: int = 8) -> Tensor:
    """(1, 1, side, side) with the upper `share` of the rows inside."""
    mask = torch.zeros(1, 1, side, side)
    mask[:, :, : round(share * side)] = 1
    return mask


def _logits_of(mask: Tensor) -> Tensor:
    return (2 * mask - 1) * SURE


def _close(found: Tensor, expected: float) -> None:
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("loss", MASK_LOSSES.values(), ids=MASK_LOSSES)
def test_a_perfect_mask_costs_nothing(loss) -> None:
    for mask in (_mask(), _mask(0), _mask(1)):
        _close(loss(_logits_of(mask), mask), 0.0)


def test_dice_of_toy_masks() -> None:
    """Of 64 pixels 16 are inside; one is added to both halves."""
    mask = _mask()
    _close(soft_dice_loss(_logits_of(torch.zeros_like(mask)), mask), 1 - 1 / 17)
    _close(soft_dice_loss(_logits_of(torch.ones_like(mask)), mask), 1 - 33 / 81)
    _close(soft_dice_loss(_logits_of(_mask(0.5)), mask), 1 - 33 / 49)
    _close(soft_dice_loss(torch.zeros_like(mask), mask), 1 - (2 * 8 + 1) / (32 + 16 + 1))
    _close(soft_dice_loss(_logits_of(torch.zeros_like(mask)), mask, smooth=0.0), 1.0)


def test_an_empty_prediction_costs_nearly_all_whatever_the_films_size() -> None:
    for side in (16, 64, 224):
        mask = _mask(side=side)
        assert soft_dice_loss(_logits_of(torch.zeros_like(mask)), mask) > 0.98


def test_every_region_is_judged_by_itself() -> None:
    """A big region found and a small one missed cost a half, not the small one's share of the pixels."""
    masks = torch.cat([_mask(0.875, 64), _mask(0.125, 64)], 1)
    found = torch.cat([_mask(0.875, 64), torch.zeros(1, 1, 64, 64)], 1)
    missed = 1 - 1 / (512 + 1)
    _close(soft_dice_loss(_logits_of(found), masks), missed / 2)
    _close(soft_dice_loss(_logits_of(found).movedim(1, 0), masks.movedim(1, 0)), missed / 2)


def test_cross_entropy_is_added_to_dice() -> None:
    mask = _mask()
    _close(bce_dice_loss(torch.zeros_like(mask), mask), LN2 + 1 - 17 / 49)
    _close(bce_dice_loss(_logits_of(torch.zeros_like(mask)), mask), SURE / 4 + 1 - 1 / 17)


def test_focal_loss_of_one_probability_everywhere() -> None:
    """At even odds every pixel has (1/2)^2 ln 2, a quarter of them weighed 0.25 and the others 0.75."""
    mask = _mask()
    even = torch.zeros_like(mask)
    _close(focal_loss(even, mask), 0.25 * LN2 * (0.25 * 0.25 + 0.75 * 0.75))
    logits = torch.full_like(mask, math.log(9))  # a probability of 0.9
    inside, outside = 0.25 * 0.1**2 * -math.log(0.9), 0.75 * 0.9**2 * -math.log(0.1)
    _close(focal_loss(logits, mask), 0.25 * inside + 0.75 * outside)
    _close(focal_loss(even, mask, alpha=0.5, gamma=0.0), LN2 / 2)


@pytest.mark.parametrize("loss", MASK_LOSSES.values(), ids=MASK_LOSSES)
def test_labels_that_nobody_drew_are_left_out(loss) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(2, 2, 8, 8, generator=generator, requires_grad=True)
    masks = (torch.rand(2, 2, 8, 8, generator=generator) > 0.5).float()
    assessed = torch.tensor([[True, False], [True, True]])
    found = loss(logits, masks, assessed)
    parts = [loss(logits[i : i + 1, j : j + 1], masks[i : i + 1, j : j + 1]) for i, j in ((0, 0), (1, 0), (1, 1))]
    _close(found, sum(part.item() for part in parts) / 3)
    found.backward()
    assert logits.grad is not None
    assert not logits.grad[0, 1].any()
    assert logits.grad[0, 0].any()
    _close(loss(logits, masks, torch.zeros_like(assessed)), 0.0)


@pytest.mark.parametrize("loss", MASK_LOSSES.values(), ids=MASK_LOSSES)
def test_losses_go_down_their_gradient_and_stay_finite_at_any_logit(loss) -> None:
    mask = _mask()
    logits = torch.zeros_like(mask, requires_grad=True)
    loss(logits, mask).backward()
    assert logits.grad is not None
    assert (logits.grad[mask > 0] < 0).all()
    assert (logits.grad[mask == 0] > 0).all()
    extreme = torch.full_like(mask, -1e4, requires_grad=True)
    loss(extreme, mask).backward()
    assert extreme.grad is not None
    assert extreme.grad.isfinite().all()


@pytest.mark.parametrize("loss", MASK_LOSSES.values(), ids=MASK_LOSSES)
def test_losses_are_counted_in_single_precision(loss) -> None:
    """Half-precision logits of a large film: sums of its pixels would not fit."""
    mask = _mask(side=512)
    logits = torch.full_like(mask, 0.5)
    assert loss(logits.bfloat16(), mask.bfloat16()).item() == pytest.approx(loss(logits, mask).item(), rel=1e-5)


def test_an_unknown_loss_is_refused() -> None:
    assert mask_loss("dice") is soft_dice_loss
    with pytest.raises(UsageError, match="unknown mask loss 'dicee'; did you mean 'dice'"):
        mask_loss("dicee")

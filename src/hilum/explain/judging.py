"""What a map can be trusted for: whether it shows a place at all, how much of it lies in lungs, whether weights matter.

Lungs: a map that has no more of its energy in the lungs than the lungs have of the film says nothing of lungs; Arun et
al., "Assessing the Trustworthiness of Saliency Maps for Localizing Abnormalities in Medical Imaging", Radiology:
Artificial Intelligence 2021, doi 10.1148/ryai.2021200267, on how little such maps prove. Weights: Adebayo et al.,
"Sanity Checks for Saliency Maps", NeurIPS 2018, arXiv:1810.03292.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from hilum.explain.maps import Signed
from hilum.networks import Classifier
from hilum.preprocess import Mask

EMPTY = "empty: no cell raises this label"
FLAT = "flat: every cell raises this label alike"
NO_NUMBERS = "no numbers: the network's gradients or activations of this film are not finite"
IN_PADDING = "empty: what raises this label lies in the black padding beside the film"
TINY = 1e-6
"""Of the largest value without its sign: what is below does not count as raising a label."""
ALIKE = 1e-3
"""Of the largest value: cells that differ by less show no place."""
HARDLY_CHANGES = 0.5
"""Median rank correlation at or above which a map is said to hardly depend on the weights."""
LUNGS_WARN, LUNGS_FAIL = 1.5, 1.0
"""Median ratio of energy to area below which maps hardly, or no longer, favour lungs. Proposed, not validated."""
REDRAWN = ("head", "all")


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a map lies inside a mask: shares in [0, 1] of the map's energy and of the film's area."""

    energy: float
    area: float

    @property
    def ratio(self) -> float:
        """Energy over area: 1 for a map that knows nothing of the mask."""
        return self.energy / self.area


def shown_map(signed: Signed) -> tuple[NDArray[np.float32] | None, str | None]:
    """(h, w) signed values -> what raises the label in [0, 1], the highest cell 1; or None and why there is no map."""
    if not np.isfinite(signed).all():
        return None, NO_NUMBERS
    largest, highest = float(np.abs(signed).max()), float(signed.max())
    if highest <= TINY * largest:
        return None, EMPTY
    if highest - float(signed.min()) <= ALIKE * largest:
        return None, FLAT
    raised: NDArray[np.float32] = (np.clip(signed, 0, None) / highest).astype(np.float32)
    return raised, None


def share_inside(shown: NDArray[np.float32], mask: Mask) -> Share | None:
    """How much of a map (H, W) lies inside a mask (H, W); None where the map or the mask is empty."""
    total, area = float(shown.sum(dtype=np.float64)), float(mask.mean())
    if not total or not area:
        return None
    return Share(energy=float(shown[mask].sum(dtype=np.float64)) / total, area=area)


def points_into(shown: NDArray[np.float32], mask: Mask) -> bool:
    """The pointing game: whether the map's highest pixel lies inside the mask.

    Zhang et al., "Top-Down Neural Attention by Excitation Backprop", IJCV 2018, doi 10.1007/s11263-017-1059-x.
    """
    return bool(mask.ravel()[int(shown.argmax())])


def rank_correlation(one: Signed, other: Signed) -> float:
    """Spearman's, of two maps of one grid, without its sign; 0 where either is flat or not finite.

    Without its sign, because weights drawn again may turn a map round and leave all its lines in place.
    """
    if not (np.isfinite(one).all() and np.isfinite(other).all()) or not np.ptp(one) or not np.ptp(other):
        return 0.0
    return min(1.0, abs(float(stats.spearmanr(one.ravel(), other.ravel()).statistic)))


def redrawn(classifier: Classifier, part: str, film: torch.Tensor, seed: int) -> Classifier:
    """A copy of a network whose head, or all of it, holds its numbers in an order drawn at random.

    The numbers of each tensor stay the same, so that activations keep about their scale. Batch-norm statistics, which
    would be those of other features, are measured again on the film.

    Args:
        classifier: network to copy.
        part: one of `REDRAWN`.
        film: (1, channels, H, W).
        seed: of the draw.
    """
    drawn = copy.deepcopy(classifier)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (drawn.head if part == "head" else drawn).parameters():
            order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
            tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))
        if part == "all":
            _measure_again(drawn, film)
    return drawn.eval()


def _measure_again(classifier: Classifier, film: torch.Tensor) -> None:
    """Take every batch norm's mean and deviation from one film."""
    norms = [one for one in classifier.backbone.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    classifier.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    classifier.backbone(classifier.entry(torch.cat([film, film.flip(-1)])))  # two, or a map of 1 x 1 has no deviation
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum


def told_randomisation(correlations: Mapping[str, Sequence[float]]) -> list[str]:
    """A sentence a part whose weights were drawn again, and a warning where maps hardly change.

    Args:
        correlations: part of `REDRAWN` -> rank correlation of each film's two maps.
    """
    named = {"head": "the head's weights", "all": "all weights"}
    said = []
    for part, found in correlations.items():
        if not found:
            continue
        median = float(np.median(found))
        films = "1 film" if len(found) == 1 else f"{len(found)} films"
        sentence = f"With {named[part]} drawn again, maps keep a median rank correlation of {median:.2f} ({films})"
        if median >= HARDLY_CHANGES:
            sentence += ": they hardly depend on what was learnt there, and are no evidence for it"
        said.append(f"{sentence}.")
    return said


def told_lungs(ratios: Sequence[float]) -> str | None:
    """A sentence on how much of the maps lies in lungs, against the lungs' area; None without ratios."""
    if not ratios:
        return None
    median = float(np.median(ratios))
    films = "1 map" if len(ratios) == 1 else f"{len(ratios)} maps"
    sentence = f"Lungs hold {median:.2f} times as much of a map as their area would by chance (median of {films})"
    if median < LUNGS_FAIL:
        return f"{sentence}: less than chance, so what decides lies outside the lungs."
    if median < LUNGS_WARN:
        return f"{sentence}: hardly more than chance."
    return f"{sentence}."

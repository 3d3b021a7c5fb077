"""What a map can be trusted for: whether it shows a place at all, how much of it lies in lungs, whether weights matter.

Lungs: a map that has no more of its energy in the lungs than the lungs have of the film says nothing of lungs; Arun et
al., "Assessing the Trustworthiness of Saliency Maps for Localizing Abnormalities in Medical Imaging", Radiology:
Artificial Intelligence 2021, doi 10.1148/ryai.2021200267, on how little such maps prove. Weights: Adebayo et al.,
"Sanity Checks for Saliency Maps", NeurIPS 2018, arXiv:1810.03292.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.engine.evidence import Signed
from hilum.enhance import Box
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
    """How much of a map lies inside a mask: shares in [0, 1] of the map's energy and of the area the network saw.

    `film_area` is the mask's share of the whole film, where the network saw a part of it only.
    """

    energy: float
    area: float
    film_area: float | None = None

    @property
    def ratio(self) -> float:
        """Energy over area: 1 for a map that knows nothing of the mask."""
        return self.energy / self.area

    @property
    def film_ratio(self) -> float:
        """The ratio that limits are for: that of a film seen whole.

        A box around lungs is mostly lung, so that no ratio in it can reach what a whole film allows. Here the map is
        taken to go on outside what was seen as dense as it is beside the mask, which leaves a ratio of 1 where it is.
        """
        if self.film_area is None or self.area == 1:
            return self.ratio
        beside = (1 - self.energy) / (1 - self.area)
        return self.ratio / (self.film_area * self.ratio + (1 - self.film_area) * beside)


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


def share_inside(shown: NDArray[np.float32], mask: Mask, seen: Box | None = None) -> Share | None:
    """How much of a map (H, W) lies inside a mask (H, W); None where the map or the mask is empty.

    Of a film that the network was shown a part of, only that part's area counts: a map drawn at random lies in it too,
    and against the whole film it would seem to favour whatever the part is full of.

    Args:
        shown: the map; 0 outside `seen`.
        mask: what it is held against.
        seen: the part; None for the whole film.
    """
    part = mask if seen is None else mask[seen.top : seen.bottom, seen.left : seen.right]
    total, area = float(shown.sum(dtype=np.float64)), float(part.mean())
    if not total or not area:
        return None
    energy = float(shown[mask].sum(dtype=np.float64)) / total
    return Share(energy=energy, area=area, film_area=None if seen is None else float(mask.mean()))


def points_into(shown: NDArray[np.float32], mask: Mask) -> bool:
    """The pointing game: whether the map's highest pixel lies inside the mask.

    Zhang et al., "Top-Down Neural Attention by Excitation Backprop", IJCV 2018, doi 10.1007/s11263-017-1059-x.
    """
    return bool(mask.ravel()[int(shown.argmax())])


def rank_correlation(one: Signed, other: Signed) -> float:
    """Spearman's, of two maps of one grid, without its sign; 0 where either is flat or not finite.

    Without its sign, because weights drawn again may turn a map round and leave all its lines in place.
    """
    from scipy import stats  # a second, for those who compare maps only

    if not (np.isfinite(one).all() and np.isfinite(other).all()) or not np.ptp(one) or not np.ptp(other):
        return 0.0
    return min(1.0, abs(float(stats.spearmanr(one.ravel(), other.ravel()).statistic)))


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


def told_lungs(shares: Sequence[Share]) -> str | None:
    """A sentence on how much of the maps lies in lungs, against the lungs' area; None without shares."""
    if not shares:
        return None
    median, of_film = (
        float(np.median(found)) for found in zip(*((s.ratio, s.film_ratio) for s in shares), strict=True)
    )
    maps = "1 map" if len(shares) == 1 else f"{len(shares)} maps"
    sentence = f"Lungs hold {median:.2f} times as much of a map as their area would by chance (median of {maps})"
    if any(share.film_area is not None for share in shares):
        area = float(np.median([share.area for share in shares]))
        sentence += (
            f"; that is of the box that the network sees, which is {100 * area:.0f} % lung, and would be {of_film:.2f} "
            "on whole films"
        )
    if of_film < LUNGS_FAIL:
        return f"{sentence}: less than chance, so what decides lies outside the lungs."
    if of_film < LUNGS_WARN:
        return f"{sentence}: hardly more than chance."
    return f"{sentence}."

"""What is measured of a film's lungs, and when the result is not to be believed."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hilum.preprocess import Mask

UNSURE = (0.1, 0.9)
"""Between these probabilities the network has not made up its mind."""
SEEN = (0.5, 99.5)
"""Percentiles of the training films that plausible values lie between: a broken mask among them sets no limit."""


def measure(right: Mask, left: Mask) -> dict[str, float]:
    """Shares in [0, 1] of a film's masks (H, W).

    `area_share`, `right_share`, `left_share`: of the film's pixels. `balance`: the smaller lung's area over the
    larger's; 0 with one lung. `border_share`: of the film's outermost pixels, how many are lung.
    """
    areas = sorted((float(right.mean()), float(left.mean())))
    both = right | left
    border = np.concatenate([both[0], both[-1], both[1:-1, 0], both[1:-1, -1]])
    return {
        "area_share": float(both.mean()),
        "right_share": float(right.mean()),
        "left_share": float(left.mean()),
        "balance": areas[0] / areas[1] if areas[1] else 0.0,
        "border_share": float(border.mean()),
    }


def unsure_share(inside: NDArray[np.float32], threshold: float) -> float:
    """Pixels the network is unsure of, over those it calls lung; 1 where it calls none."""
    lung = int((inside >= threshold).sum())
    return min(1.0, float(((inside > UNSURE[0]) & (inside < UNSURE[1])).sum() / lung)) if lung else 1.0


def plausible_range(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest plausible value, from those of training films."""
    low, high = np.percentile(np.asarray(values, np.float64), SEEN)
    return float(low), float(high)


def flags_of(measures: Mapping[str, float], plausible: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Why a film's lungs are not to be believed; empty where nothing speaks against them.

    Args:
        measures: of the film.
        plausible: measure -> (lowest, highest) seen on the training films.
    """
    if not measures["area_share"]:
        return ("no lung found",)
    if not measures["balance"]:
        side = "left" if measures["right_share"] else "right"
        return (f"one lung: no {side} lung found",)
    found = []
    low, high = plausible.get("area_share", (0.0, 1.0))
    if not low <= measures["area_share"] <= high:
        found.append(
            f"lungs cover {_percent(measures['area_share'])} of the film; {_percent(low)}-{_percent(high)} seen"
        )
    if measures["balance"] < plausible.get("balance", (0.0, 1.0))[0]:
        found.append(f"asymmetric: one lung has {_percent(measures['balance'])} of the other's area")
    if measures["border_share"] > plausible.get("border_share", (0.0, 1.0))[1]:
        found.append(f"lungs run over the border: {_percent(measures['border_share'])} of it is lung")
    if measures.get("unsure_share", 0.0) > plausible.get("unsure_share", (0.0, 1.0))[1]:
        found.append(f"the network is unsure: of {_percent(measures['unsure_share'])} as many pixels as it calls lung")
    return tuple(found)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

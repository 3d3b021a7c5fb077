"""Shares: how much of each lung, of both, and of six zones of the lungs lesions cover.

The zones are named as those of the Brixia score: A, B, C are the upper, middle and lower zone of the right lung, D, E
and F those of the left. Brixia draws its lines at the lower wall of the aortic arch and of the right inferior pulmonary
vein; neither is found here, and each lung is cut into **thirds of its own height**. Borghesi and Maroldi 2020,
"COVID-19 outbreak in Italy: experimental chest X-ray scoring system for quantifying and monitoring disease
progression", doi 10.1007/s11547-020-01200-3.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.preprocess import Mask

GGO, CONSOLIDATION = "ggo", "consolidation"
LESIONS = (GGO, CONSOLIDATION)
"""The labels of which shares are told: ground-glass opacity and consolidation."""
INVOLVED = "involved"
"""Either of them."""
RIGHT_ZONES, LEFT_ZONES = ("A", "B", "C"), ("D", "E", "F")
"""From the top."""
ZONES = (*RIGHT_ZONES, *LEFT_ZONES)
PARTS = ("both", "right", "left", *ZONES)
SHARES = tuple(f"{kind}_{part}" for kind in (*LESIONS, INVOLVED) for part in PARTS)
"""The keys of `involved_shares`: `ggo_both`, `ggo_right` ... `involved_F`."""

Rows = NDArray[np.int64]


class Band(NamedTuple):
    """Rows of a film: from `top` to the one before `bottom`."""

    top: int
    bottom: int


def thirds_of(lung: Mask) -> tuple[Band, Band, Band]:
    """The upper, middle and lower third of a lung's height; their rows differ by one at most.

    Args:
        lung: (H, W); without a pixel every third is empty.

    >>> thirds_of(np.array([[False], [True], [True], [False], [True]]))
    (Band(top=1, bottom=2), Band(top=2, bottom=3), Band(top=3, bottom=5))
    """
    return _thirds(_pixels_a_row(lung))


def _thirds(rows: Rows) -> tuple[Band, Band, Band]:
    there = np.flatnonzero(rows)
    top, bottom = (int(there[0]), int(there[-1]) + 1) if len(there) else (0, 0)
    upper, lower = (top + (bottom - top) * third // 3 for third in (1, 2))
    return Band(top, upper), Band(upper, lower), Band(lower, bottom)


def involved_shares(right: Mask, left: Mask, lesions: Mapping[str, Mask]) -> dict[str, float]:
    """`SHARES`: of each part of the lungs, the share in [0, 1] that lesions cover; what lies outside counts nowhere.

    A lung or zone without a pixel has no share, which is NaN and not 0; with one lung alone neither has `both`, for the
    other may be the one that cannot be seen.

    Args:
        right: (H, W) the patient's right lung.
        left: the left one, no pixel of it in the right.
        lesions: a mask for each of `LESIONS`; they may overlap, and reach outside the lungs.
    """
    kinds = {kind: lesions[kind] for kind in LESIONS} | {INVOLVED: lesions[GGO] | lesions[CONSOLIDATION]}
    lungs = tuple((lung, _pixels_a_row(lung)) for lung in (right, left))
    shares = dict[str, float]()
    for kind, mask in kinds.items():
        covered = [_pixels_a_row(mask & lung) for lung, _ in lungs]
        shares |= {f"{kind}_{part}": share for part, share in _parts(covered, [rows for _, rows in lungs])}
    return {name: shares[name] for name in SHARES}


def _parts(covered: list[Rows], lungs: list[Rows]) -> Iterator[tuple[str, float]]:
    """Part and share, from the pixels a row of the right and of the left lung."""
    both = [_share(int(one.sum()), int(lung.sum())) for one, lung in zip(covered, lungs, strict=True)]
    whole = _share(int(sum(one.sum() for one in covered)), int(sum(lung.sum() for lung in lungs)))
    yield "both", math.nan if any(map(math.isnan, both)) else whole
    yield from zip(("right", "left"), both, strict=True)
    for one, lung, zones in zip(covered, lungs, (RIGHT_ZONES, LEFT_ZONES), strict=True):
        for zone, (top, bottom) in zip(zones, _thirds(lung), strict=True):
            yield zone, _share(int(one[top:bottom].sum()), int(lung[top:bottom].sum()))


def _share(covered: int, whole: int) -> float:
    return covered / whole if whole else math.nan


def _pixels_a_row(mask: Mask) -> Rows:
    # OpenCV's sums take a small part of the time of numpy's, and a film has many million pixels.
    return cv2.reduce(mask.view(np.uint8), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0].astype(np.int64)

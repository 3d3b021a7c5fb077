"""How well a mask covers the region it should: Dice and IoU of whole masks, film by film, with intervals over groups.

Dice 1945, "Measures of the Amount of Ecologic Association Between Species", doi 10.2307/1932409; Jaccard 1912, "The
Distribution of the Flora in the Alpine Zone", doi 10.1111/j.1469-8137.1912.tb05611.x.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hilum.errors import DataError
from hilum.metrics import Bools, Floats, bootstrap, interval, ratio, resampled_groups
from hilum.scoring import Score


def region_dice(predicted: Bools, reference: Bools) -> float | None:
    """Twice the pixels in both masks, over the pixels of the one plus those of the other: a share in [0, 1].

    An empty prediction of a region scores 0, and so does a prediction where there is none. Of two empty masks it is
    not defined, and None: nothing was to be found and nothing was, which says nothing about how well regions are
    covered.

    Args:
        predicted: (H, W), True inside.
        reference: the same shape, of the reference standard.

    Raises:
        DataError: masks of different shapes, or of other than True and False.

    >>> region_dice(np.array([[True, True, False]]), np.array([[False, True, True]]))
    0.5
    """
    both, one, other = _pixels(predicted, reference)
    return 2 * both / (one + other) if one + other else None


def region_iou(predicted: Bools, reference: Bools) -> float | None:
    """The pixels in both masks over those in any: Dice / (2 - Dice), with the same zeros and the same None.

    >>> region_iou(np.array([[True, True, False]]), np.array([[False, True, True]]))
    0.3333333333333333
    """
    both, one, other = _pixels(predicted, reference)
    return both / (one + other - both) if one + other else None


FIGURES: Mapping[str, Callable[[Bools, Bools], float | None]] = {"dice": region_dice, "iou": region_iou}
"""Name -> figure of one film."""


def mean_overlap(
    metric: str,
    figures: Sequence[float | None],
    group: Sequence[str],
    *,
    label: str | None = None,
    fold: str = "test",
    resamples: int = 1000,
    seed: int = 0,
) -> Score:
    """Mean of a figure over films, with its 95 % interval over groups.

    Films without the figure are left out; `n` counts the others. Where there is none, the mean is None, and from one
    group alone there is no interval.

    Args:
        metric: what the figures are, `dice` or `iou`.
        figures: of each film.
        group: of each film; films of a group are resampled together.
        label: what the masks are of.
        fold: `test` or `external`.
        resamples: of groups, with replacement.
        seed: of the resamples.

    Raises:
        DataError: not one group a film.
    """
    if len(figures) != len(group):
        raise DataError(f"there are {len(figures)} films with masks but {len(group)} groups; name one group a film")
    there = [(value, one) for value, one in zip(figures, group, strict=True) if value is not None]
    values = np.array([value for value, _ in there])
    score = Score(metric=metric, value=None, low=None, high=None, n=len(there), label=label, fold=fold)
    if not there:
        return score
    value = float(values.mean())
    bounds = _interval(values, value, [one for _, one in there], resamples, seed)
    low, high = bounds or (None, None)
    return replace(score, value=value, low=low, high=high)


def _interval(
    values: Floats, value: float, group: Sequence[str], resamples: int, seed: int
) -> tuple[float, float] | None:
    names, column = np.unique(group, return_inverse=True)
    if len(names) < 2:
        return None

    def statistic(weights: Floats) -> Floats:
        return ratio(weights @ values, weights.sum(axis=1))[:, None]

    replicates = bootstrap(resampled_groups(len(names), resamples, seed), [(statistic, column)])[:, 0]
    # The bound for shares of trials holds for any figure in [0, 1]: the chance of a 1 is its mean at the most.
    return interval(replicates, value, units=len(names))


def overlap_scores(
    predicted: Sequence[Bools],
    reference: Sequence[Bools],
    group: Sequence[str],
    *,
    label: str | None = None,
    fold: str = "test",
    resamples: int = 1000,
    seed: int = 0,
) -> list[Score]:
    """`mean_overlap` of Dice, then of IoU, over the same resamples.

    Args:
        predicted: a mask (H, W) a film, True inside; films may differ in size.
        reference: the same films in the same order.
        group: of each film.
        label: what the masks are of.
        fold: `test` or `external`.
        resamples: of groups, with replacement.
        seed: of the resamples.

    Raises:
        DataError: not one reference and one group a film, or masks that cannot be compared.
    """
    if len(predicted) != len(reference):
        raise DataError(f"{len(predicted)} masks were predicted but {len(reference)} drawn; give both of each film")
    return [
        mean_overlap(
            metric,
            [figure(one, other) for one, other in zip(predicted, reference, strict=True)],
            group,
            label=label,
            fold=fold,
            resamples=resamples,
            seed=seed,
        )
        for metric, figure in FIGURES.items()
    ]


def _pixels(predicted: Bools, reference: Bools) -> tuple[int, int, int]:
    """How many are in both masks, in the predicted one, and in the reference."""
    if predicted.shape != reference.shape:
        raise DataError(f"a predicted mask is {predicted.shape}, its reference {reference.shape}; bring both to a size")
    if predicted.dtype != np.bool_ or reference.dtype != np.bool_:
        raise DataError(
            f"masks must be True or False, not {predicted.dtype} and {reference.dtype}; compare them to a threshold"
        )
    counted = (np.count_nonzero(mask) for mask in (predicted & reference, predicted, reference))
    both, one, other = (int(pixels) for pixels in counted)
    return both, one, other

"""Where a classifier with a linear head sees what raises a label, from maps and weights alone: no gradients, no torch.

The log-odds of a label are a sum over the cells of the maps that the head reads: each cell's features times the weights
that the head gives them through the pooling, and a constant.

References:
    Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, doi 10.1109/CVPR.2016.319.
    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations", arXiv:2011.08891.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.engine.answers import LOGITS, MAP, MIRRORED, VECTOR, Engine, Floats
from hilum.errors import UsageError

Signed = NDArray[np.float64]
GRID = 3
SAME = 1e-6
"""Of a map's largest value: features that differ by no more are the same in every cell."""


@dataclass(frozen=True, slots=True, eq=False)
class FilmAnswers:
    """All that one pass of a film through a classifier tells.

    Attributes:
        logits: (1, classes).
        vector: (1, size), what the head reads.
        looks: the maps (looks, features, h, w) that the vector is pooled of, the film's and, where the classifier reads
            it too, the mirror image's.
    """

    logits: Floats
    vector: Floats
    looks: tuple[Floats, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EvidenceMap:
    """What each cell adds to a label's log-odds before calibration.

    Attributes:
        signed: (h, w), above 0 where a cell raises the label; of one map, with a constant they add up to the log-odds.
        grids: (rows, columns) of every map read, the finest being that of `signed`.
    """

    signed: Signed
    grids: tuple[tuple[int, int], ...]


def film_answers(engine: Engine[Any], film: Floats) -> FilmAnswers:
    """What a classifier tells of one film (1, channels, H, W), normalised, in one pass."""
    names = [name for name in engine.outputs if name.startswith((MAP, MIRRORED))]
    levels = sum(name.startswith(MAP) for name in names)
    logits, vector, *maps = engine(film, (LOGITS, VECTOR, *names))
    return FilmAnswers(logits, vector, tuple(np.concatenate(maps[level::levels]) for level in range(levels)))


def evidence_map(engine: Engine[Any], answers: FilmAnswers, place: int, *, pooling: str) -> EvidenceMap:
    """The class activation map of one film.

    Args:
        engine: of a classifier whose head has no hidden layer.
        answers: of `film_answers`.
        place: of the label among the classes.
        pooling: how the classifier pools its maps.

    Raises:
        UsageError: the head has hidden layers.
    """
    looks = answers.looks
    weights = _through_head(_weight_of(engine), answers.logits[0], place) / len(looks[0])
    signed = [_level(part, rows) for part, rows in zip(looks, _through_pooling(looks, weights, pooling), strict=True)]
    return EvidenceMap(together(signed), tuple((part.shape[0], part.shape[1]) for part in signed))


def _weight_of(engine: Engine[Any]) -> Signed:
    """(classes, size): what each number of the vector adds to each logit."""
    head = engine.tensors("head.")
    linear = [value for value in head.values() if value.ndim == 2]
    if len(linear) != 1:
        raise UsageError(
            "a class activation map needs a head of one linear layer, this one has hidden layers: hilum explain makes "
            "others"
        )
    scales = [value for name, value in head.items() if name.endswith(".scale")]
    weight: Signed = linear[0].astype(np.float64)
    return weight / scales[0].astype(np.float64) if scales else weight


def _through_head(weight: Signed, logits: Floats, place: int) -> Signed:
    """(size,): what each number of the vector adds to a label's log-odds against all others."""
    others = np.arange(len(logits)) != place
    powers = np.exp(logits[others].astype(np.float64) - logits[others].max())
    told: Signed = weight[place] - (powers / powers.sum()) @ weight[others]
    return told


def _through_pooling(looks: Sequence[Floats], weights: Signed, pooling: str) -> list[Signed]:
    """What each cell of each map (looks, features, h, w) is worth, in that shape."""
    spread = SPREADS[pooling]
    sizes = [_pooled_size(part, pooling) for part in looks]
    edges = list(accumulate(sizes))[:-1]
    return [spread(part, piece) for part, piece in zip(looks, np.split(weights, edges), strict=True)]


def _pooled_size(part: Floats, pooling: str) -> int:
    features, height, width = (int(length) for length in part.shape[1:])
    cells = {
        "avgmax": 2,
        "grid3": GRID * GRID,
        "avg2": (height // 2) * (width // 2),
        "avg4": (height // 4) * (width // 4),
        "flatten": height * width,
    }
    return features * cells.get(pooling, 1)


def _averaged(part: Floats, weights: Signed) -> Signed:
    height, width = part.shape[2:]
    return np.broadcast_to(weights[:, None, None] / (height * width), part.shape)


def _largest(part: Floats, weights: Signed) -> Signed:
    """Cells that share the maximum share its weight."""
    most = part == part.max((2, 3), keepdims=True)
    shared: Signed = most / most.sum((2, 3), keepdims=True) * weights[:, None, None]
    return shared


def _both(part: Floats, weights: Signed) -> Signed:
    average, largest = np.split(weights, 2)
    return _averaged(part, average) + _largest(part, largest)


def _gridded(part: Floats, weights: Signed) -> Signed:
    """Through averages over a grid of windows, which overlap where the map is no multiple of it."""
    height, width = part.shape[2:]
    cells = weights.reshape(-1, GRID, GRID)
    return np.broadcast_to(_windows(height).T @ cells @ _windows(width), part.shape)


def _windows(length: int) -> Signed:
    """(3, length): the share of each row in each window's average, as torch lays adaptive windows."""
    shares = np.zeros((GRID, length))
    for window, row in enumerate(shares):
        start, stop = window * length // GRID, -(-(window + 1) * length // GRID)
        row[start:stop] = 1 / (stop - start)
    return shares


def _squares(side: int) -> Callable[[Floats, Signed], Signed]:
    def spread(part: Floats, weights: Signed) -> Signed:
        rows, columns = (length // side for length in part.shape[2:])
        cells = weights.reshape(-1, rows, columns).repeat(side, 1).repeat(side, 2) / side**2
        worth = np.zeros(part.shape)  # what is left over at the edges is not read
        worth[:, :, : rows * side, : columns * side] = cells
        return worth

    return spread


SPREADS: Mapping[str, Callable[[Floats, Signed], Signed]] = {
    "avg": _averaged,
    "max": _largest,
    "avgmax": _both,
    "grid3": _gridded,
    "avg2": _squares(2),
    "avg4": _squares(4),
    "flatten": lambda part, weights: np.broadcast_to(weights.reshape(part.shape[1:]), part.shape),
}
"""Pooling -> how a vector's weights spread over the map it is pooled of."""


def _level(part: Floats, worth: Signed) -> Signed:
    """(looks, features, h, w) -> (h, w): the mirror image's map is turned back and added.

    Where no feature differs from cell to cell, the map is even: else only the head's parts would show.
    """
    cells = part.astype(np.float64)
    level: Signed = (cells * worth).sum(1)
    if (part.max((2, 3)) - part.min((2, 3))).max() <= SAME * np.abs(part).max():
        level = np.broadcast_to(level.mean((1, 2), keepdims=True), level.shape)
    upright: Signed = level[0] + level[1, :, ::-1] if len(level) > 1 else level[0]
    return upright


def together(levels: Sequence[Signed]) -> Signed:
    """Maps of several layers on the grid of the finest, added as densities: a large cell's part covers more film."""
    high, wide = max((level.shape for level in levels), key=lambda shape: shape[0] * shape[1])
    sized = [cv2.resize(level * level.size, (wide, high), interpolation=cv2.INTER_LINEAR) for level in levels]
    total: Signed = np.sum(sized, axis=0, dtype=np.float64)
    return total

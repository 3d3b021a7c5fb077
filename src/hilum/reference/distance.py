"""How far a film lies from those a classifier was made with: Mahalanobis distance in what its network makes of films.

References:
    Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks", NeurIPS
        2018, arXiv:1807.03888. Here with one mean for all classes, on the vectors that the head reads.
    Ledoit, Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of Multivariate
        Analysis 2004, doi 10.1016/S0047-259X(03)00096-4.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DIRECTIONS = 128
"""Principal directions kept at most, and one for every fifth film; what lies beside them is one number more."""
PARTS = 5
"""Each film is measured once by a cloud of the films of other groups."""
INSIDE = 99.0
"""Per cent of films kept out that lie within the limit."""
LEAST_FILMS = 40
"""Fewer do not tell where they lie."""
TINY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class FilmCloud:
    """Where films lie.

    Attributes:
        centre: (D,) their mean.
        directions: (K, D) principal directions of the scaled vectors, each entry over its own scale.
        scale: (D,) deviation of each entry.
        middle: (K + 1,) mean of the directions' values and of the logarithm of what lies beside them.
        whitening: (K + 1, K + 1): squared, the inverse of the shrunk covariance.
        limit: distance that `INSIDE` per cent of films kept out do not exceed; infinite where none were measured.
    """

    centre: Floats
    scale: Floats
    directions: Floats
    middle: Floats
    whitening: Floats
    limit: float = math.inf

    def distances(self, vectors: NDArray[Any]) -> Floats:
        """(N, D) -> (N,)."""
        away = (_coordinates(vectors, self.centre, self.scale, self.directions) - self.middle) @ self.whitening
        told: Floats = np.sqrt((away**2).sum(1))
        return told


def fit_cloud(vectors: NDArray[Any], groups: NDArray[Any]) -> FilmCloud:
    """The cloud of films, with the limit that holds for films of groups that had no part in it.

    Args:
        vectors: (N, D), finite.
        groups: (N,) films of one group are kept out together.
    """
    from sklearn.model_selection import GroupKFold  # half a second, for those who make a cloud only

    kept, kept_out = min(DIRECTIONS, len(vectors) // 5), np.empty(len(vectors))
    for seen, other in GroupKFold(PARTS).split(vectors, groups=groups):
        kept_out[other] = _cloud(vectors[seen], kept).distances(vectors[other])
    return replace(_cloud(vectors, kept), limit=float(np.percentile(kept_out, INSIDE)))


def _cloud(vectors: NDArray[Any], kept: int) -> FilmCloud:
    from sklearn.covariance import LedoitWolf

    centre = vectors.mean(0, dtype=np.float64)
    scale = np.maximum(vectors.std(0, dtype=np.float64), TINY)
    _, _, directions = np.linalg.svd((vectors - centre) / scale, full_matrices=False)
    directions = directions[:kept]
    placed = _coordinates(vectors, centre, scale, directions)
    shrunk = LedoitWolf().fit(placed)
    values, sides = np.linalg.eigh(shrunk.covariance_)
    whitening = (sides / np.sqrt(np.maximum(values, TINY))) @ sides.T
    return FilmCloud(centre, scale, directions, shrunk.location_, whitening)


def _coordinates(vectors: NDArray[Any], centre: Floats, scale: Floats, directions: Floats) -> Floats:
    """(N, D) -> (N, K + 1)."""
    scaled = (vectors - centre) / scale
    along = scaled @ directions.T
    beside = np.sqrt(np.maximum((scaled**2).sum(1) - (along**2).sum(1), TINY))
    placed: Floats = np.column_stack([along, np.log(beside)])
    return placed

"""Take from vectors what tells where a film comes from, among films of one class, before a head is fitted to them.

Iterative nullspace projection: fit a linear classifier of the source, project onto the nullspace of its weights, and
again on what is left. Within a class, because between classes the source and the disease cannot be told apart: what
separates both would be taken away with it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.errors import DataError
from hilum.networks.classifier import Standardise

LEAST = 5
"""Training vectors of a class that a place needs to have a direction of its own."""
NEGLIGIBLE = 1e-6
"""Length, of what is 1, below which a direction is rounding."""

Floats = NDArray[np.float64]


def source_directions(
    vectors: NDArray[np.float32], targets: NDArray[np.int64], places: NDArray[np.int64], rounds: int
) -> Floats:
    """Orthonormal directions (D, size), D < size, along which films of a class differ by where they come from.

    In each round and each class a least-squares classifier of the place, all places weighing the same, with a ridge as
    large as the mean eigenvalue. The paper fits support vectors; this has a closed form. With fewer films than numbers
    in a vector the directions are rough: these films tell the source no more, many others still could.

    Args:
        vectors: (N, size) of training films.
        targets: (N,) class numbers.
        places: (N,) numbers of where they come from.
        rounds: how often.

    Raises:
        DataError: no class has films from two places, or nothing would be left.

    References:
        Ravfogel, Elazar, Gonen, Twiton, Goldberg: Null it out: guarding protected attributes by iterative nullspace
        projection. ACL 2020, 7237-7256. doi:10.18653/v1/2020.acl-main.647
    """
    parts = [part for number in np.unique(targets) if (part := _told_apart(targets == number, places)) is not None]
    if not parts:
        raise DataError(
            f"network.project = 'source' needs a class with {LEAST} training films or more from each of two places "
            "(films.domain), and there is none: class and source cannot be separated"
        )
    found = np.empty((0, vectors.shape[1]))
    for _ in range(rounds):
        new = [_weights(_without(vectors[rows].astype(np.float64), found), places[rows]) for rows in parts]
        found = _grown(found, np.concatenate(new))
    if len(found) >= vectors.shape[1]:
        raise DataError(
            f"network.project takes all {len(found)} directions of the vector away: lower network.project_rounds"
        )
    return found


def _told_apart(of_class: NDArray[np.bool_], places: NDArray[np.int64]) -> NDArray[np.intp] | None:
    """Rows of a class from places with enough of its films; None where there are not two such."""
    known, counts = np.unique(places[of_class], return_counts=True)
    many = known[counts >= LEAST]
    return np.flatnonzero(of_class & np.isin(places, many)) if len(many) > 1 else None


def _weights(vectors: Floats, places: NDArray[np.int64]) -> Floats:
    """(places, size) weights of a ridge classifier of the place."""
    known, number, counts = np.unique(places, return_inverse=True, return_counts=True)
    told = np.eye(len(known))[number] - 1 / len(known)
    root = np.sqrt(len(places) / (len(known) * counts))[number, None]
    means = np.stack([vectors[number == one].mean(axis=0) for one in range(len(known))])
    seen = (vectors - means.mean(axis=0)) * root
    films, size = seen.shape
    inner = seen @ seen.T if films < size else seen.T @ seen
    inner[np.diag_indices_from(inner)] += max(np.trace(inner) / len(inner), NEGLIGIBLE)
    told = told * root
    solved = seen.T @ np.linalg.solve(inner, told) if films < size else np.linalg.solve(inner, seen.T @ told)
    weights: Floats = solved.T
    return weights


def _without(vectors: Floats, directions: Floats) -> Floats:
    left: Floats = vectors - vectors @ directions.T @ directions
    return left


def _grown(found: Floats, new: Floats) -> Floats:
    """The directions found before and what is new in others, orthonormal."""
    lengths = np.linalg.norm(new, axis=1, keepdims=True)
    new = _without(new / np.maximum(lengths, NEGLIGIBLE), found)
    _, strength, rows = np.linalg.svd(new, full_matrices=False)
    rows = _without(rows[strength > NEGLIGIBLE], found)  # once more: rounding grows with each round
    grown: Floats = np.linalg.qr(np.concatenate([found, rows]).T)[0].T
    return grown


class Projection(nn.Module):
    """Vectors (N, size) without their parts along orthonormal directions (D, size)."""

    directions: Tensor

    def __init__(self, directions: Floats) -> None:
        super().__init__()
        self.register_buffer("directions", torch.tensor(directions, dtype=torch.float32))

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors - vectors @ self.directions.T @ self.directions


def projected_head(head: nn.Sequential, directions: Floats) -> nn.Sequential:
    """The same layers, with a projection before the first that learns; what is fitted is the head's own."""
    scaled = isinstance(head[0], Standardise)
    return nn.Sequential(*head[:scaled], Projection(directions), *head[scaled:])


def fold_projection(head: nn.Sequential, directions: Floats) -> None:
    """Put the projection into the weights of the head's first dense layer, so that the head says the same without."""
    dense = next(layer for layer in head if isinstance(layer, nn.Linear))
    with torch.no_grad():
        dense.weight.copy_(Projection(directions)(dense.weight))

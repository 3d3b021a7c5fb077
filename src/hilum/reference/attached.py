"""The attachment `reference.safetensors` beside a bundle's manifest, which does not list it: it names the bundle.

No film and no name is in it. A perceptual hash keeps which of 256 low frequencies are strong: at most a blur without
grey levels could be drawn from it; but whoever has a film can tell that it was trained on.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hilum.bundle.format import REFERENCE
from hilum.duplicates import WORDS, Hash, distance
from hilum.errors import BundleError
from hilum.files import written_aside
from hilum.reference.distance import FilmCloud
from hilum.reference.venn_abers import VennAbers

FORMAT = 1
LEAST_OF_A_CLASS = 20
"""Films of each class that an interval needs."""
_CLOUD = ("centre", "scale", "directions", "middle", "whitening")


class _Account(BaseModel):
    """What is told beside the tensors, key by key."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: int
    bundle: str
    groups: int = Field(ge=0)
    balanced: bool
    limit: float | None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The films behind a classifier, as far as a reader of one film needs them.

    Attributes:
        bundle_digest: of the bundle it belongs to, as `hilum.bundle.format.digest_without_notes` tells it.
        log_odds: (N, C) calibrated log-odds of each class, of films by networks that were not trained on them.
        labels: (N,) which class each of them is.
        weights: (N,) how much each counts: one over its group's films among them.
        groups: how many groups they are of.
        balanced: whether probabilities are meant for films of which every class has as many; else for films as these.
        cloud: where the films lie; None where they were too few.
        hashes: (M, 16) perceptual hashes of the films trained on.
    """

    bundle_digest: str
    log_odds: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    groups: int
    balanced: bool
    cloud: FilmCloud | None
    hashes: Hash

    @cached_property
    def intervals(self) -> tuple[VennAbers, ...] | None:
        """One a class, against all others; None where a class has too few films."""
        classes = self.log_odds.shape[1]
        if np.bincount(self.labels, minlength=classes).min() < LEAST_OF_A_CLASS:
            return None
        worth = self._worth()
        told = []
        for place in range(classes):
            positive = self.labels == place
            others = float(np.average(worth[~positive], weights=self.weights[~positive]))
            newcomer = others, float(worth[positive][0])
            scores = self.log_odds[:, place].astype(np.float64)
            told.append(VennAbers(scores, positive, worth * self.weights, newcomer))
        return tuple(told)

    def _worth(self) -> NDArray[np.float64]:
        """(N,): what a patient counts, by the class; all patients together count as many as they are."""
        if not self.balanced:
            return np.ones(len(self.labels))
        of_class = np.bincount(self.labels, self.weights)
        worth: NDArray[np.float64] = (self.weights.sum() / len(of_class) / of_class)[self.labels]
        return worth

    def nearest_bits(self, of_film: Hash) -> int | None:
        """How many of 256 bits differ between a film's hash and the nearest of a film trained on; None without any."""
        return int(distance(self.hashes, of_film).min()) if len(self.hashes) else None


def save_reference(reference: Reference, folder: Path) -> Path:
    """Write the attachment into its bundle's folder."""
    cloud = reference.cloud
    tensors: dict[str, NDArray[Any]] = {
        "log_odds": reference.log_odds,
        "labels": reference.labels.astype(np.int32),
        "weights": reference.weights,
        "hashes": np.frombuffer(reference.hashes.astype(">u2").tobytes(), np.uint8).reshape(-1, 2 * WORDS),
    }
    if cloud:
        tensors |= {name: getattr(cloud, name).astype(np.float32) for name in _CLOUD}
    account = _Account(
        format=FORMAT,
        bundle=reference.bundle_digest,
        groups=reference.groups,
        balanced=reference.balanced,
        limit=cloud.limit if cloud else None,
    )
    with written_aside(folder / REFERENCE) as aside:
        contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        aside.write_bytes(save(contiguous, metadata={"hilum": account.model_dump_json()}))
    return folder / REFERENCE


def reference_of(folder: Path, *, digest: str, classes: int) -> Reference | None:
    """The attachment of a bundle; None where it has none.

    Args:
        folder: the bundle's.
        digest: the bundle's, as `bundle_digest` is meant.
        classes: how many the bundle tells.

    Raises:
        BundleError: it is damaged, of another format, or another bundle's.
    """
    file = folder / REFERENCE
    if not file.is_file():
        return None
    try:
        account, tensors = _read(file)
        found = _reference(account, tensors)
    except (SafetensorError, ValidationError, KeyError, ValueError, RecursionError, OSError) as error:
        raise BundleError(f"{file} is damaged or no hilum attachment: remove it, or make it anew") from error
    if found.bundle_digest != digest or found.log_odds.shape[1] != classes:
        raise BundleError(f"{file} was made for another bundle ({found.bundle_digest[:12]}): remove it")
    return found


def _read(file: Path) -> tuple[_Account, dict[str, NDArray[Any]]]:
    with safe_open(file, framework="numpy") as opened:
        told = json.loads((opened.metadata() or {})["hilum"])
        if told.get("format") != FORMAT:
            raise BundleError(f"{file} is of format {told.get('format')}, this hilum reads format {FORMAT}")
        return _Account.model_validate(told), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def _reference(account: _Account, tensors: dict[str, NDArray[Any]]) -> Reference:
    """The attachment, its shapes checked.

    Raises:
        ValueError: they do not fit together.
    """
    films = len(tensors["log_odds"])
    log_odds, labels, weights = (tensors[name] for name in ("log_odds", "labels", "weights"))
    fits = log_odds.ndim == 2 and labels.shape == weights.shape == (films,) and (weights > 0).all()
    if not fits or not ((labels >= 0) & (labels < log_odds.shape[1])).all() or not np.isfinite(log_odds).all():
        raise ValueError("scores and labels do not fit together")
    cloud = None
    if account.limit is not None:
        centre, scale, directions, middle, whitening = (tensors[name].astype(np.float64) for name in _CLOUD)
        kept = len(directions)
        if directions.shape != (kept, len(centre)) or whitening.shape != (kept + 1, kept + 1):
            raise ValueError("the cloud's parts do not fit together")
        cloud = FilmCloud(centre, scale, directions, middle, whitening, account.limit)
    words = tensors["hashes"].astype(np.uint8).reshape(-1, 2 * WORDS)
    return Reference(
        bundle_digest=account.bundle,
        log_odds=log_odds,
        labels=labels.astype(np.int64),
        weights=weights,
        groups=account.groups,
        balanced=account.balanced,
        cloud=cloud,
        hashes=np.frombuffer(words.tobytes(), ">u2").reshape(-1, WORDS).astype(np.uint16),
    )

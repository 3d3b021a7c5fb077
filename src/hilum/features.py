"""What a frozen backbone says of each film, computed once: training a head on it takes seconds."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hilum.augment import read_changed, seed_of
from hilum.cache import ArrayCache, ArrayView
from hilum.engine.eager import films_a_pass, readers
from hilum.files import cache_dir, digest_of
from hilum.networks import Classifier, Origin
from hilum.networks.backbones import per_channel
from hilum.parallel import Ahead, Progress
from hilum.preprocess import Frame, Preprocess
from hilum.recipe import Augmentation, Recipe


@dataclass(frozen=True)
class Variant:
    """One look at a film: its row, which off-line copy of it, which changed view of that, and in which precision.

    Copy 0 and view 0 are the film itself; `halved` computes in bfloat16.
    """

    row: int
    copy: int = 0
    view: int = 0
    halved: bool = False


@dataclass(frozen=True)
class VectorBank:
    """Vectors (V, size) read once for all who are fitted on them or scored, and the row each is known by."""

    vectors: torch.Tensor
    known: Mapping[str, int]


class FeatureCache:
    """Vectors (size,) of each film as it is, and of the changed views of it that heads are trained on."""

    def __init__(
        self, classifier: Classifier, origin: Origin, recipe: Recipe, frames: ArrayView, folder: Path | None = None
    ) -> None:
        self.classifier = classifier.eval().to(memory_format=torch.channels_last)
        self.recipe = recipe
        self.frames = frames
        made_by = {
            "weights": origin.digest,
            "backbone": recipe.network.backbone,
            "level": recipe.network.level,
            "pooling": recipe.network.pooling,
            "mirror": recipe.network.mirror,
            "preprocess": recipe.preprocess.model_dump(mode="json") | {"frames": recipe.preprocess.geometry_digest},
            "torch": torch.__version__,
            "device": self._device.type,
        }
        side = recipe.preprocess.size_px
        shape = self._vectors(np.zeros((1, side, side), np.uint8), halved=False).shape[1:]
        self.place = (folder or cache_dir()) / "features" / digest_of(made_by)[:16]
        self._cache = ArrayCache(self.place, shape=shape, dtype=np.float32)

    @property
    def _device(self) -> torch.device:
        return next(self.classifier.parameters()).device

    def fill(self, variants: Sequence[Variant], *, progress: Progress | None = None) -> int:
        """Compute what is not yet known; returns how many vectors that were."""
        wanted = {self._key(variant): variant for variant in variants}  # one key for films of the same bytes
        return self._cache.fill(wanted, lambda missing: self._computed(missing, wanted, progress))

    def vectors(self, variants: Sequence[Variant]) -> NDArray[np.float32]:
        """(N, size), in the order given."""
        vectors: NDArray[np.float32] = self._cache.view(self.keys(variants))[:]
        return vectors

    def keys(self, variants: Iterable[Variant]) -> list[str]:
        """The names under which the vectors are kept, in the order given."""
        return [self._key(variant) for variant in variants]

    def read(self, keys: Iterable[str]) -> VectorBank:
        """The vectors of these names, each once, also of other caches in the same `place`."""
        known = {key: row for row, key in enumerate(dict.fromkeys(keys))}
        return VectorBank(torch.from_numpy(self._cache.view(list(known))[:]), known)

    def rows(self, bank: VectorBank, variants: Iterable[Variant]) -> NDArray[np.int64]:
        """(N,) rows of the bank."""
        return np.array([bank.known[key] for key in self.keys(variants)], np.int64)

    def _key(self, variant: Variant) -> str:
        parts = [self.frames.keys[variant.row]]
        if variant.copy:
            parts.append(f"{_short(self.recipe.oversampling)}-copy{variant.copy}")
        if variant.view:
            parts.append(f"{_short(self.recipe.augmentation)}-{variant.view}")
        if variant.copy or variant.view:
            parts.append(str(self.recipe.split.seeds[0]))
        return "-".join([*parts, *(["bfloat16"] if variant.halved else [])])

    def _computed(
        self, missing: list[str], wanted: dict[str, Variant], progress: Progress | None
    ) -> Iterator[tuple[str, NDArray[np.float32]]]:
        at_once = films_a_pass(self._device)
        # Both precisions never in one pass.
        todo = sorted(missing, key=lambda key: wanted[key].halved)
        edge = sum(not wanted[key].halved for key in todo)
        starts = [*range(0, edge, at_once), *range(edge, len(todo), at_once)]
        parts = [todo[start:stop] for start, stop in pairwise([*starts, len(todo)])]
        with Ahead(readers(self._device)) as ahead:
            looks = (self._look([wanted[key] for key in keys]) for keys in parts)
            done = 0
            for keys, frames in zip(parts, ahead.each(looks), strict=True):
                yield from zip(keys, self._vectors(frames, halved=wanted[keys[0]].halved), strict=True)
                done += len(keys)
                if progress:
                    progress(done, len(todo))

    def _look(self, part: list[Variant]) -> Callable[[], Frame]:
        """What reads these films and changes them."""
        plain = [replace(variant, halved=False) for variant in part]  # both precisions see the same views
        views = [seed_of(self._key(variant)) if variant.view else None for variant in plain]
        frames = self.frames.only(np.array([variant.row for variant in part]))
        return partial(read_changed, frames, self.recipe, copies=[variant.copy for variant in part], views=views)

    def _vectors(self, frames: Frame, *, halved: bool) -> NDArray[np.float32]:
        films = torch.from_numpy(self.recipe.preprocess.normalise(frames)).to(self._device)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=halved):
            vectors = self.classifier.vectors(films.contiguous(memory_format=torch.channels_last))
        told: NDArray[np.float32] = vectors.float().cpu().numpy()
        return told


def _short(augmentation: Augmentation) -> str:
    return digest_of(augmentation.model_dump(mode="json"))[:8]


def resolved(preprocess: Preprocess, classifier: Classifier) -> Preprocess:
    """The preprocess with the mean and deviation the backbone was trained with, where the recipe gives none."""
    return preprocess.model_copy(
        update={
            "mean": preprocess.mean or per_channel(classifier.backbone.mean, preprocess.channels),
            "std": preprocess.std or per_channel(classifier.backbone.std, preprocess.channels),
        }
    )

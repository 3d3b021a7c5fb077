"""What a frozen backbone says of each film, computed once: training a head on it takes seconds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from hilum.augment import augment, seed_of
from hilum.cache import ArrayCache, ArrayView
from hilum.files import cache_dir, digest_of
from hilum.networks import Classifier, Origin
from hilum.networks.classifier import films_a_pass
from hilum.parallel import Progress
from hilum.preprocess import Frame, Preprocess
from hilum.recipe import Recipe


class FeatureCache:
    """Vectors (size,) of each film in each augmented view; view 0 is the film itself."""

    def __init__(self, classifier: Classifier, origin: Origin, recipe: Recipe, folder: Path | None = None) -> None:
        self.classifier = classifier.eval().to(memory_format=torch.channels_last)
        self.recipe = recipe
        made_by = {
            "weights": origin.digest,
            "backbone": recipe.network.backbone,
            "level": recipe.network.level,
            "pooling": recipe.network.pooling,
            "preprocess": recipe.preprocess.model_dump(mode="json") | {"frames": recipe.preprocess.geometry_digest},
            "torch": torch.__version__,
            "device": self._device.type,
        }
        side = recipe.preprocess.size_px
        shape = self._vectors(np.zeros((1, side, side), np.uint8)).shape[1:]
        place = (folder or cache_dir()) / "features" / digest_of(made_by)[:16]
        self._cache = ArrayCache(place, shape=shape, dtype=np.float32)

    @property
    def _device(self) -> torch.device:
        return next(self.classifier.parameters()).device

    def fill(self, films: pd.DataFrame, frames: ArrayView, *, progress: Progress | None = None) -> int:
        """Compute what is not yet known of every film and view; returns how many vectors that were."""
        hashes = films["sha256"].tolist()
        wanted = {  # one key for films of the same bytes
            self._key(sha, view): (view, row)
            for view in range(self.recipe.schedule.views)
            for row, sha in enumerate(hashes)
        }
        return self._cache.fill(
            wanted, lambda missing: self._computed([(key, *wanted[key]) for key in missing], frames, progress)
        )

    def view(self, films: pd.DataFrame, view: int = 0) -> NDArray[np.float32]:
        """(N, size) vectors of one view of the films."""
        vectors: NDArray[np.float32] = self._cache.view([self._key(sha, view) for sha in films["sha256"]])[:]
        return vectors

    def _key(self, sha: str, view: int) -> str:
        if view == 0:
            return sha
        change = digest_of(self.recipe.augmentation.model_dump(mode="json"))[:8]
        return f"{sha}-{change}-{self.recipe.split.seeds[0]}-{view}"

    def _computed(
        self, todo: list[tuple[str, int, int]], frames: ArrayView, progress: Progress | None
    ) -> Iterator[tuple[str, NDArray[np.float32]]]:
        at_once = films_a_pass(self._device)
        for start in range(0, len(todo), at_once):
            part = todo[start : start + at_once]
            films = self._changed(frames[np.array([row for _, _, row in part])], part)
            for (key, _, _), vector in zip(part, self._vectors(films), strict=True):
                yield key, vector
            if progress:
                progress(start + len(part), len(todo))

    def _changed(self, frames: Frame, part: list[tuple[str, int, int]]) -> Frame:
        turned = [number for number, (_, view, _) in enumerate(part) if view]
        if turned:
            grey = torch.from_numpy(frames[turned].astype(np.float32))[:, None]
            seeds = [seed_of(part[number][0]) for number in turned]
            top = float(2**self.recipe.preprocess.depth_bits - 1)
            changed = augment(grey / top, self.recipe.augmentation, seeds)[:, 0].clamp(0, 1) * top
            frames[turned] = changed.round().numpy().astype(frames.dtype)
        return frames

    def _vectors(self, frames: Frame) -> NDArray[np.float32]:
        films = torch.from_numpy(self.recipe.preprocess.normalise(frames)).to(self._device)
        with torch.inference_mode():
            vectors = self.classifier.vectors(films.contiguous(memory_format=torch.channels_last))
        told: NDArray[np.float32] = vectors.float().cpu().numpy()
        return told


def resolved(preprocess: Preprocess, classifier: Classifier) -> Preprocess:
    """The preprocess with the mean and deviation the backbone was trained with, where the recipe gives none."""
    return preprocess.model_copy(
        update={
            "mean": preprocess.mean or classifier.backbone.mean,
            "std": preprocess.std or classifier.backbone.std,
        }
    )

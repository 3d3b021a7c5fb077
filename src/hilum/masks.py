"""Masks as arrays: read strictly, brought through a preprocess's geometry beside their films, and cached.

A mask that teaches or scores a network must have the very size its film is shown at: one that is off by a pixel was
drawn on another picture, and resizing it would hide that.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.cache import ArrayCache, ArrayView
from hilum.enhance import crop_steps, parse_steps
from hilum.errors import DataError, UnreadableFilm, UsageError
from hilum.files import cache_dir, digest_of, sha256_file
from hilum.parallel import Crashed, Progress, spread
from hilum.pixels import RESAMPLING_CONTRACT, pad, read_facts, resize
from hilum.preprocess import HALF, Mask, Preprocess

if TYPE_CHECKING:
    import pandas as pd

MASK_FRAME_CONTRACT = "1: as the film, half or more of a pixel is inside"
"""Changes whenever the same mask gives another frame. Part of cache keys."""

GREY_MODES = ("1", "L", "P")


def read_mask(path: Path, size: tuple[int, int], *, may_be_empty: bool = False) -> Mask:
    """(height, width) True inside, from a PNG of two grey levels.

    Args:
        path: 0 outside and one other value inside; 1 and 255 are usual.
        size: (height, width) that the film is displayed at, and the mask must have.
        may_be_empty: whether a mask without a pixel says that nothing is there, or that it is broken.

    Raises:
        DataError: with what is wrong with the file and what would be right.
    """
    try:
        facts = read_facts(path)
    except (UnreadableFilm, OSError) as error:
        raise DataError(f"the mask {path.name} cannot be read ({error}); export it again as a grey PNG") from error
    if facts.format != "PNG" or facts.mode not in GREY_MODES:
        raise DataError(f"the mask {path.name} is {facts.format} in mode {facts.mode}; give a grey PNG, 0 and 255")
    if (facts.height, facts.width) != size:
        raise DataError(
            f"the mask {path.name} is {facts.width} x {facts.height} pixels but its film {size[1]} x {size[0]}; "
            "a mask is never resized here: export it at the film's own size"
        )
    return _two_valued(path, may_be_empty)


def _two_valued(path: Path, may_be_empty: bool) -> Mask:
    stored = cv2.imdecode(
        np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    )
    if stored is None:
        raise DataError(f"the mask {path.name} is damaged; export it again as a grey PNG")
    levels = np.flatnonzero(np.bincount(stored.ravel(), minlength=256))
    if len(levels) > 2 or (len(levels) == 2 and levels[0] != 0):
        raise DataError(
            f"the mask {path.name} holds {len(levels)} grey levels from {levels[0]} to {levels[-1]}; "
            "a mask is 0 outside and one other value inside"
        )
    mask: Mask = stored > 0
    if not mask.any() and not may_be_empty:
        raise DataError(f"the mask {path.name} is empty: no pixel of it is inside; leave the film out or draw it")
    return mask


def mask_frame(preprocess: Preprocess, mask: Mask) -> Mask:
    """(H, W) of a film -> (size_px, size_px), through the same geometry as the film's frame.

    Raises:
        UsageError: the preprocess cuts films to what they show, which a mask alone cannot tell.
    """
    check_geometry(preprocess)
    share = resize(mask.astype(np.float32), preprocess.size_px, aspect=preprocess.aspect)
    inside: Mask = pad(share, preprocess.size_px) >= HALF
    return inside


def film_sized(preprocess: Preprocess, frame: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """(size_px, size_px) values in [0, 1] of a frame -> (height, width) of its film: the way of `mask_frame` back."""
    check_geometry(preprocess)
    side = preprocess.size_px
    if preprocess.aspect == "pad":
        scale = side / max(size)
        high, wide = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
        top, left = (side - high) // 2, (side - wide) // 2
        frame = frame[top : top + high, left : left + wide]
    back = cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(back, np.float32)


def check_geometry(preprocess: Preprocess) -> None:
    """Refuse a preprocess that a mask cannot follow.

    Raises:
        UsageError: it masks or crops films.
    """
    if preprocess.masked or crop_steps(parse_steps(preprocess.steps)):
        raise UsageError(
            "a segmentation network reads whole films: set preprocess.lungs = 'none' and leave out steps that crop"
        )


class MaskCache:
    """Masks of one label as frames (side, side) of 0 and 1, made once; found by the film's hash and the mask's."""

    def __init__(self, preprocess: Preprocess, folder: Path | None = None, *, may_be_empty: bool = False) -> None:
        check_geometry(preprocess)
        self.preprocess = preprocess
        self.may_be_empty = may_be_empty
        made_by = {
            "size_px": preprocess.size_px,
            "aspect": preprocess.aspect,
            "contracts": [RESAMPLING_CONTRACT, MASK_FRAME_CONTRACT],
            "may_be_empty": may_be_empty,
        }
        place = (folder or cache_dir()) / "masks" / digest_of(made_by)[:16]
        self._cache = ArrayCache(place, shape=(preprocess.size_px,) * 2, dtype=np.uint8)
        self._hashes: dict[Path, str] = {}

    def fill(
        self,
        films: "pd.DataFrame",
        masks: Sequence[Path],
        *,
        processes: int | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Read the masks not yet known; returns how many that were.

        Args:
            films: rows of an index; `width` and `height` are the films' own.
            masks: of these films, in their order.
            processes: masks read at once; default one a core.
            progress: called with how many are done and how many there are.

        Raises:
            DataError: a mask that cannot be used, with its name and why.
        """
        sizes = zip(films["height"].astype(int), films["width"].astype(int), strict=True)
        wanted = dict(zip(self._keys(films, masks), zip(masks, sizes, strict=True), strict=True))
        work = partial(_framed, preprocess=self.preprocess, may_be_empty=self.may_be_empty)

        def made(missing: list[str]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
            found = spread(work, ((key, *wanted[key]) for key in missing), processes=processes)
            for done, ((key, path, _), frame) in enumerate(found, 1):
                if isinstance(frame, Crashed | str):
                    raise DataError(
                        f"the mask {path.name} crashed its decoder" if isinstance(frame, Crashed) else frame
                    )
                if progress:
                    progress(done, len(missing))
                yield key, frame

        return self._cache.fill(wanted, made)

    def view(self, films: "pd.DataFrame", masks: Sequence[Path]) -> ArrayView:
        """The (side, side) frames of the masks, in the films' order."""
        return self._cache.view(self._keys(films, masks))

    def _keys(self, films: "pd.DataFrame", masks: Sequence[Path]) -> list[str]:
        return [f"{film}-{self._hash(mask)}" for film, mask in zip(films["sha256"], masks, strict=True)]

    def _hash(self, mask: Path) -> str:
        if mask not in self._hashes:
            if not mask.is_file():
                raise DataError(f"the mask {mask.name} is missing; leave its film out or put it back")
            self._hashes[mask] = sha256_file(mask)[:16]
        return self._hashes[mask]


def _framed(
    item: tuple[str, Path, tuple[int, int]], *, preprocess: Preprocess, may_be_empty: bool
) -> NDArray[np.uint8] | str:
    """One mask's frame, or why there is none."""
    _, path, size = item
    try:
        return mask_frame(preprocess, read_mask(path, size, may_be_empty=may_be_empty)).astype(np.uint8)
    except DataError as error:
        return str(error)

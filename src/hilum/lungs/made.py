"""Lung masks made by a bundle, in the place of those a source gives: the same for every film, whatever its class."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hilum.files import cache_dir
from hilum.index import Index
from hilum.lungs.films import lungs_bundle, segment_lungs
from hilum.lungs.writing import write_mask
from hilum.parallel import Progress

if TYPE_CHECKING:
    from hilum.bundle import SegmenterBundle


def made_masks(
    index: Index,
    *,
    bundle: "SegmenterBundle | None" = None,
    folder: Path | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Index:
    """The index with `lung_mask` naming a mask made by the bundle for every film in use, its source's own forgotten.

    Masks are kept by the bundle's digest and the film's hash, and made once. A film on which no lung was found has
    none, as one has whose source gives none.

    Args:
        index: the films.
        bundle: in place of the one that comes with hilum.
        folder: where masks are kept; default `$HILUM_CACHE/lungs`.
        processes: films decoded at once; default one a core.
        progress: called with how many are done and how many there are.
    """
    used = bundle or lungs_bundle()
    place = (folder or cache_dir() / "lungs") / used.digest[:16]
    films = index.films.drop_duplicates("sha256")
    wanted = {
        index.path(path): place / f"{sha256}.png" for path, sha256 in zip(films["path"], films["sha256"], strict=True)
    }
    missing = [film for film, mask in wanted.items() if not (mask.is_file() or _none(mask).is_file())]
    for done, lungs in enumerate(segment_lungs(missing, bundle=used, processes=processes), 1):
        if lungs.both is not None and lungs.both.any():
            write_mask(lungs, wanted[lungs.film])
        else:
            place.mkdir(parents=True, exist_ok=True)
            _none(wanted[lungs.film]).touch()
        if progress:
            progress(done, len(missing))
    by_hash = dict(zip(films["sha256"], wanted.values(), strict=True))
    return with_masks(index, {sha256: mask for sha256, mask in by_hash.items() if mask.is_file()})


def with_masks(index: Index, masks: Mapping[str, Path]) -> Index:
    """The index with `lung_mask` naming these masks and no others.

    Args:
        index: the films.
        masks: a film's SHA-256 -> its mask's file.
    """
    named = [str(masks[sha256].resolve()) if sha256 in masks else pd.NA for sha256 in index.table["sha256"]]
    column = pd.Series(named, index=index.table.index, dtype="string")
    return Index(table=index.table.assign(lung_mask=column), root=index.root)


def _none(mask: Path) -> Path:
    """Stands for a film on which no lung was found."""
    return mask.with_suffix(".none")

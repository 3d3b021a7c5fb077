"""Lung masks made by a bundle, in the place of those a source gives: the same for every film, whatever its class."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hilum.errors import DataError
from hilum.files import cache_dir, sha256_file
from hilum.index import Index
from hilum.lungs.films import Lungs, lungs_bundle, segment_lungs
from hilum.lungs.writing import write_mask
from hilum.parallel import Progress
from hilum.projection import ViewFilter

if TYPE_CHECKING:
    from hilum.bundle import SegmenterBundle


DRAWN_BY = "lungs_drawn_by"
"""Column that `drawn_films` adds to an index: the digest of the bundle that drew `lung_mask`."""
UNDRAWN = "no lung could be drawn"


def made_masks(
    index: Index,
    *,
    bundle: "SegmenterBundle | None" = None,
    gate: ViewFilter | None = None,
    folder: Path | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Index:
    """The index with `lung_mask` naming a mask made by the bundle for every film in use, its source's own forgotten.

    Masks are kept by the bundle's digest and the film's hash, and made once. A film that is refused, or on which no
    lung was found, has none, as one has whose source gives none.

    Args:
        index: the films.
        bundle: in place of the one that comes with hilum.
        gate: as `segment_lungs` takes it.
        folder: where masks are kept; default `$HILUM_CACHE/lungs`.
        processes: films decoded at once; default one a core.
        progress: called with how many are done and how many there are.

    Raises:
        DataError: a film is not the one that was indexed.
    """
    used = bundle or lungs_bundle()
    place = (folder or cache_dir() / "lungs") / "-".join([used.digest[:16], *([gate.digest[:16]] if gate else [])])
    films = index.films.drop_duplicates("sha256")
    wanted = {
        index.path(path): place / f"{sha256}.png" for path, sha256 in zip(films["path"], films["sha256"], strict=True)
    }
    missing = [film for film, mask in wanted.items() if not (mask.is_file() or _none(mask).is_file())]
    for done, lungs in enumerate(segment_lungs(missing, bundle=used, gate=gate, processes=processes), 1):
        _keep(lungs, wanted[lungs.film])
        if progress:
            progress(done, len(missing))
    by_hash = dict(zip(films["sha256"], wanted.values(), strict=True))
    return with_masks(index, {sha256: mask for sha256, mask in by_hash.items() if mask.is_file()})


def _keep(lungs: Lungs, mask: Path) -> None:
    """Write the mask, named by its film's hash, or that there is none."""
    if not lungs.film.is_file() or sha256_file(lungs.film) != mask.stem:
        raise DataError(f"film {lungs.film.name} is not as it was indexed; run hilum index again")
    if lungs.both is not None and lungs.both.any():
        write_mask(lungs, mask)
    else:
        mask.parent.mkdir(parents=True, exist_ok=True)
        _none(mask).touch()


def drawn_films(
    chosen: Index,
    *,
    bundle: "SegmenterBundle | None" = None,
    gate: ViewFilter | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> Index:
    """A recipe's films with masks made for every one in use, those on which none could be drawn left out, in any class.

    The view filter comes first, though films were selected: it comes first in prediction too, and a network should be
    taught on the films it will be asked about. The column `DRAWN_BY` makes the index's digest another where another
    bundle draws.

    Args:
        chosen: as `select_films` gives it.
        bundle: in place of the one that comes with hilum.
        gate: in place of the filter that comes with hilum.
        processes: films decoded at once; default one a core.
        progress: called with how many are done and how many there are.

    Raises:
        DataError: a film is not the one that was indexed.
    """
    used = bundle or lungs_bundle()
    made = made_masks(chosen, bundle=used, gate=gate or ViewFilter(), processes=processes, progress=progress)
    there = made.table["lung_mask"].notna()
    by = pd.Series(used.digest, index=made.table.index, dtype="string").where(there)
    return Index(table=made.table.assign(**{DRAWN_BY: by}), root=made.root).leave_out(~there, UNDRAWN)


def before_drawing(drawn: Index) -> Index:
    """What `drawn_films` was given, but for masks: as `select_films` gave it."""
    reasons = drawn.table["left_out"]
    back = reasons.mask((reasons == UNDRAWN).fillna(value=False), pd.NA)
    table = drawn.table.drop(columns=DRAWN_BY, errors="ignore").assign(left_out=back)
    return Index(table=table, root=drawn.root)


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

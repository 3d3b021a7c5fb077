"""Lung masks made by a bundle, in the place of those a source gives: the same for every film, whatever its class."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.errors import DataError, UsageError
from hilum.files import cache_dir, sha256_file
from hilum.lungs.films import AT_ONCE, Lungs, lungs_bundle, segment_lungs
from hilum.lungs.writing import write_mask
from hilum.parallel import CRASHED, Crashed, Progress, Spread, in_batches
from hilum.projection import ViewFilter

if TYPE_CHECKING:
    from hilum.bundle import SegmenterBundle
    from hilum.index import Index


DRAWN_BY = "lungs_drawn_by"
"""Column that `drawn_films` adds to an index: the digest of the bundle that drew `lung_mask`."""
UNDRAWN = "no lung could be drawn"

_ToDraw = tuple[Path, Path]
"""A film, and the mask that is to be written."""


def made_masks(
    index: "Index",
    *,
    bundle: "SegmenterBundle | None" = None,
    gate: ViewFilter | None = None,
    folder: Path | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> "Index":
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
        spread: draws lungs in other processes, each with the bundle and the filter that come with hilum; default draws
            them in this one, and no more than decoding is done by others.

    Raises:
        DataError: a film is not the one that was indexed.
        UsageError: another bundle is to be used in other processes, or those have another version of hilum's.
    """
    used = bundle or lungs_bundle()
    place = ((folder or cache_dir() / "lungs") / _drawers(used, gate)).absolute()
    films = index.films.drop_duplicates("sha256")
    wanted = {
        index.path(path): place / f"{sha256}.png" for path, sha256 in zip(films["path"], films["sha256"], strict=True)
    }
    missing = {film: mask for film, mask in wanted.items() if not (mask.is_file() or _none(mask).is_file())}
    if spread is None:
        made = segment_lungs(list(missing), bundle=used, gate=gate, processes=processes)
        kept: Iterable[int] = (_keep(lungs, missing[lungs.film]) for lungs in made)
    else:
        kept = _drawn_elsewhere(list(missing.items()), _drawers(used, gate), gated=gate is not None, spread=spread)
    for done in accumulate(kept):
        if progress:
            progress(done, len(missing))
    by_hash = dict(zip(films["sha256"], wanted.values(), strict=True))
    return with_masks(index, {sha256: mask for sha256, mask in by_hash.items() if mask.is_file()})


def _drawers(bundle: "SegmenterBundle", gate: ViewFilter | None) -> str:
    """Names what makes a mask."""
    return "-".join([bundle.digest[:16], *([gate.digest[:16]] if gate else [])])


def _drawn_elsewhere(films: Sequence[_ToDraw], drawers: str, *, gated: bool, spread: Spread) -> Iterator[int]:
    """Have other processes draw the films' lungs; how many films are done, a batch at a time.

    Of a batch that ended its process each film is tried alone, and a film that does it again is as one refused.
    """
    work = partial(_draw, drawers=drawers, gated=gated)
    for size in (AT_ONCE, 1):
        batches, lost = list(in_batches(films, size)), list[_ToDraw]()
        for batch, told in spread(work, batches) if batches else ():
            if isinstance(told, Crashed):
                lost += batch
            else:
                yield len(batch)
        films = lost
    for film, mask in films:
        yield _keep(Lungs(film=film, bundle_digest=drawers, refusal=CRASHED), mask)


def _draw(films: Sequence[_ToDraw], *, drawers: str, gated: bool) -> None:
    """Draw a batch here and write it."""
    bundle, gate = _released(gated=gated)
    if _drawers(bundle, gate) != drawers:
        raise UsageError(
            "other processes draw lungs with what comes with their hilum: name no other bundle, and install the same "
            "hilum on every machine"
        )
    wanted = dict(films)
    for lungs in segment_lungs(list(wanted), bundle=bundle, gate=gate, processes=1):
        _keep(lungs, wanted[lungs.film])


@cache
def _released(*, gated: bool) -> "tuple[SegmenterBundle, ViewFilter | None]":
    """What comes with hilum, loaded once a process."""
    return lungs_bundle(), ViewFilter() if gated else None


def _keep(lungs: Lungs, mask: Path) -> int:
    """Write the mask, named by its film's hash, or that there is none; 1, for one film."""
    if not lungs.film.is_file() or sha256_file(lungs.film) != mask.stem:
        raise DataError(f"film {lungs.film.name} is not as it was indexed; run hilum index again")
    if lungs.both is not None and lungs.both.any():
        write_mask(lungs, mask)
    else:
        mask.parent.mkdir(parents=True, exist_ok=True)
        _none(mask).touch()
    return 1


def drawn_films(
    chosen: "Index",
    *,
    bundle: "SegmenterBundle | None" = None,
    gate: ViewFilter | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
    spread: Spread | None = None,
) -> "Index":
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
        spread: as `made_masks` takes it.

    Raises:
        DataError: a film is not the one that was indexed.
        UsageError: as `made_masks`.
    """
    used = bundle or lungs_bundle()
    made = made_masks(
        chosen, bundle=used, gate=gate or ViewFilter(), processes=processes, progress=progress, spread=spread
    )
    there = made.table["lung_mask"].notna()
    by = made.table["lung_mask"].mask(there, used.digest)
    return replace(made, table=made.table.assign(**{DRAWN_BY: by})).leave_out(~there, UNDRAWN)


def before_drawing(drawn: "Index") -> "Index":
    """What `drawn_films` was given, but for masks: as `select_films` gave it."""
    reasons = drawn.table["left_out"]
    back = reasons.mask((reasons == UNDRAWN).fillna(value=False))
    table = drawn.table.drop(columns=DRAWN_BY, errors="ignore").assign(left_out=back)
    return replace(drawn, table=table)


def with_masks(index: "Index", masks: Mapping[str, Path]) -> "Index":
    """The index with `lung_mask` naming these masks and no others.

    Args:
        index: the films.
        masks: a film's SHA-256 -> its mask's file.
    """
    named = {sha256: str(mask.resolve()) for sha256, mask in masks.items()}
    column = index.table["sha256"].map(named).astype("string")
    return replace(index, table=index.table.assign(lung_mask=column))


def _none(mask: Path) -> Path:
    """Stands for a film on which no lung was found."""
    return mask.with_suffix(".none")

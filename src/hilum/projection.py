"""Which view a film shows: a frontal or a lateral chest, or no chest radiograph; inverted or not; PA or AP.

Two released bundles tell: `view` and `projection`, of the recipes of the same names. What a film's own header states is
read beside them and never changes what they say.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hilum.cache import read_for
from hilum.enhance import Box
from hilum.errors import DataError
from hilum.parallel import CRASHED, Crashed, Progress, in_batches, in_order
from hilum.preprocess import Frame, Preprocess
from hilum.records import View

if TYPE_CHECKING:
    from hilum.bundle import Asked, Bundle
    from hilum.index import Index

VIEW, PROJECTION = "view", "projection"
FRONTAL_VIEWS = (View.FRONTAL, View.PA, View.AP)
"""What a header may state of a frontal film."""
SHOWN = {View.FRONTAL: "frontal", View.LATERAL: "lateral", View.OTHER: "other"}
"""The classes of the bundle `view`, by what they mean; a chest's also come with INVERTED behind them."""
INVERTED = "_inverted"
AT_ONCE = 32
"""Films decoded ahead of a forward pass."""
HALF = 0.5
SURE = 0.8
"""From this probability on a film is refused, or its view written to an index. Films of a source that the filter was
not trained on are told less surely: at .5 it would refuse many more of them, see docs/how-to/views.md."""
INVERTED_SEEN = "inverted_predicted"
"""Column that `view_index` adds to an index beside `SEEN`: whether bone is dark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one film shows. `probability` is the view's, inverted or not.

    `inverted_probability` is that of being inverted if it is a chest; None where the film is none. `upright` holds the
    probability of each view with bone bright.
    """

    view: View
    probability: float
    inverted_probability: float | None
    upright: Mapping[View, float]

    @property
    def sure(self) -> bool:
        """Whether the view is likely enough to act on."""
        return self.probability >= SURE

    @property
    def inverted(self) -> bool:
        """Whether bone is dark rather than bright."""
        return self.inverted_probability is not None and self.inverted_probability >= HALF


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOf:
    """What one film shows and what its header states, or why it cannot be read."""

    film: str
    look: Look | None = None
    projection: View | None = None
    """PA or AP; told of frontal films that are not inverted."""
    projection_probability: float | None = None
    stated: View | None = None
    """By the DICOM header; None where it says nothing."""
    refusal: str | None = None

    @property
    def agrees(self) -> bool | None:
        """Whether header and picture agree about the view, PA against AP aside; None where either is silent."""
        if self.look is None or self.stated is None:
            return None
        return self.look.view is (View.FRONTAL if self.stated in FRONTAL_VIEWS else self.stated)


class ViewFilter:
    """The released bundles, loaded when first asked.

    Args:
        engine: runs them, as `load_bundle` takes it; one that needs a check runs only where it was passed.
    """

    def __init__(self, engine: "Asked" = "auto") -> None:
        self._engine = engine

    @cached_property
    def views(self) -> "Bundle":
        return _released(VIEW, self._engine)

    @cached_property
    def projections(self) -> "Bundle":
        return _released(PROJECTION, self._engine)

    @property
    def preprocess(self) -> Preprocess:
        """Makes the frames that both bundles read."""
        return self.views.preprocess

    @property
    def digest(self) -> str:
        """Names the exact bundle that tells views."""
        return self.views.digest

    def looks(self, frames: NDArray[Any]) -> list[Look]:
        """What each of (N, side, side) frames shows."""
        told = self.views.probabilities(self.views.logits(frames))
        return [look_of(dict(zip(self.views.classes, row, strict=True))) for row in told.tolist()]

    def tell_projections(self, frames: NDArray[Any]) -> list[tuple[View, float]]:
        """PA or AP of each of (N, side, side) frames of frontal films, with its probability."""
        told = self.projections.probabilities(self.projections.logits(frames))
        return [
            (View(self.projections.classes[place]), row[place])
            for place, row in zip(told.argmax(1).tolist(), told.tolist(), strict=True)
        ]


def _released(name: str, engine: "Asked") -> "Bundle":
    from hilum.bundle import load_bundle, passed_or_exact

    with resources.as_file(resources.files("hilum") / "bundles" / name) as folder:
        return load_bundle(folder, engine=passed_or_exact(folder, engine))


def tells_views(classes: Sequence[str]) -> bool:
    """Whether a classifier's classes are all views of a film, and none a finding on it."""
    views = {*(view.value for view in View), *SHOWN.values()}
    return all(name.removesuffix(INVERTED) in views for name in classes)


def look_of(shares: Mapping[str, float]) -> Look:
    """A view from the probabilities of the bundle's classes.

    >>> look = look_of(
    ...     {"frontal": 0.1, "frontal_inverted": 0.7, "lateral": 0.0, "lateral_inverted": 0.0, "other": 0.2}
    ... )
    >>> look.view.value, look.probability, look.inverted_probability
    ('frontal', 0.8, 0.875)
    """
    upright = {view: round(shares[name], 9) for view, name in SHOWN.items()}
    views = {view: round(shares[name] + shares.get(name + INVERTED, 0.0), 9) for view, name in SHOWN.items()}
    view = max(views, key=views.__getitem__)
    dark = sum(share for name, share in shares.items() if name.endswith(INVERTED))
    chest = views[View.FRONTAL] + views[View.LATERAL]
    inverted = None if view is View.OTHER else round(dark / chest, 9)
    return Look(view=view, probability=views[view], inverted_probability=inverted, upright=upright)


def view_films(
    paths: Sequence[Path], *, processes: int | None = None, view_filter: ViewFilter | None = None
) -> Iterator[ViewOf]:
    """What each film shows, in the order given; a film that cannot be read is a refusal, never an exception.

    Args:
        paths: films.
        processes: how many decode at once; default one a core.
        view_filter: one already loaded.
    """
    loaded = view_filter or ViewFilter()
    for batch in read_films(paths, (loaded.preprocess,), at_once=AT_ONCE, processes=processes):
        yield from _views(loaded, batch)


def _views(loaded: ViewFilter, batch: Sequence[tuple[Path, "FilmRead | str"]]) -> Iterator[ViewOf]:
    frames = [read.frames[0] for _, read in batch if not isinstance(read, str)]
    looks = loaded.looks(np.stack(frames)) if frames else []
    upright = [one.view is View.FRONTAL and not one.inverted for one in looks]
    frontal = [frame for frame, wanted in zip(frames, upright, strict=True) if wanted]
    told = iter(loaded.tell_projections(np.stack(frontal)) if frontal else ())
    projections = [next(told) if wanted else (None, None) for wanted in upright]
    rest = iter(zip(looks, projections, strict=True))
    for path, read in batch:
        if isinstance(read, str):
            yield ViewOf(film=str(path), refusal=read)
            continue
        look, (projection, probability) = next(rest)
        yield ViewOf(
            film=str(path),
            look=look,
            projection=projection,
            projection_probability=probability,
            stated=read.stated,
        )


@dataclass(frozen=True, slots=True)
class FilmRead:
    """A film as one network after another reads it, the (height, width) it is displayed at, and the view it states.

    `seen` is what of the film, at that size, the first network's frame is made of.
    """

    frames: tuple[Frame, ...]
    size: tuple[int, int]
    stated: View | None
    seen: Box


def read_films(
    paths: Sequence[Path],
    preprocess: Sequence[Preprocess],
    *,
    at_once: int,
    processes: int | None = None,
    stated: Sequence[View] | None = None,
    gate: ViewFilter | None = None,
    views: Sequence[View] = (View.FRONTAL,),
) -> Iterator[list[tuple[Path, FilmRead | str]]]:
    """Films in batches, each as several networks read it, or why it must not be read; decoded once for them and a gate.

    Args:
        paths: films; they come back in this order.
        preprocess: one a frame. The first decides how large a JPEG is decoded, as it did when its network was taught.
        at_once: films a batch.
        processes: how many decode at once; default one a core.
        stated: views that a film's header may state; None asks no header, and none named takes all but `other`.
        gate: refuses films that do not look like `views`; None lets every film through.
        views: those of `SHOWN` that pass the gate.
    """
    wanted = (*preprocess, *([gate.preprocess] if gate else []))
    work = partial(_read, preprocess=wanted, stated=None if stated is None else tuple(stated))
    for batch in in_batches(in_order(work, paths, processes=processes), at_once):
        read = [(path, CRASHED if isinstance(film, Crashed) else film) for path, film in batch]
        yield _passed(gate, read, views) if gate else read


def _read(path: Path, *, preprocess: tuple[Preprocess, ...], stated: tuple[View, ...] | None) -> FilmRead | str:
    film = read_for(preprocess[0], path)
    if isinstance(film, str):
        return film
    refused = None if stated is None else why_stated(film.facts.view_position, path.name, stated)
    if refused:
        return refused
    size = film.facts.height, film.facts.width
    seen = preprocess[0].seen(film.pixels, size=size)
    frames, decoded_px = [], preprocess[0].decoded_px
    for one in preprocess:
        if film.facts.format == "JPEG" and one.decoded_px > decoded_px:  # others are decoded whole
            larger = read_for(one, path)
            film, decoded_px = (film if isinstance(larger, str) else larger), one.decoded_px
        frames.append(one.frame(film.pixels))
    return FilmRead(tuple(frames), size, film.facts.view_position, seen)


def why_stated(stated: View | None, name: str, views: Sequence[View]) -> str | None:
    """Why a film must not be read by its own header."""
    if stated is View.OTHER and View.OTHER not in views:
        return f"not applicable: {name} is no chest film by its own header"
    if stated is View.LATERAL and views and View.LATERAL not in views:
        return f"not applicable: {name} is a lateral film by its own header; read are {', '.join(views)} films"
    return None


def _passed(
    gate: ViewFilter, batch: Sequence[tuple[Path, FilmRead | str]], views: Sequence[View]
) -> list[tuple[Path, FilmRead | str]]:
    """The batch with films that look unlike `views` as refusals, and without the gate's frames."""
    seen = [read.frames[-1] for _, read in batch if not isinstance(read, str)]
    looks = iter(gate.looks(np.stack(seen)) if seen else ())
    told: list[tuple[Path, FilmRead | str]] = []
    for path, read in batch:
        if not isinstance(read, str):
            read = why_not(next(looks), path.name, views) or replace(read, frames=read.frames[:-1])
        told.append((path, read))
    return told


def why_not(look: Look, name: str, views: Sequence[View]) -> str | None:
    """Why a film must not be read by a bundle made for `views`; None where it may, or where there is doubt.

    Args:
        look: what the film shows.
        name: the film's, for the reason.
        views: those of `SHOWN` that the bundle reads.
    """
    unfit = 1 - sum(look.upright[view] for view in views)
    if unfit < SURE:
        return None
    if look.inverted and look.view in views:
        seen = "inverted, bone dark: invert it first"
    elif look.view not in views:
        seen = "like no chest radiograph" if look.view is View.OTHER else f"like a {SHOWN[look.view]} film"
    else:
        seen = f"unlike any {' or '.join(SHOWN[view] for view in views)} film"
    return f"not applicable: {name} looks {seen} (p = {unfit:.2f})"


def view_index(
    index: "Index", *, processes: int | None = None, progress: Progress | None = None
) -> "tuple[Index, Counter[str]]":
    """The index with `view_predicted` and `inverted_predicted` of every film in use, and how many films show what.

    Where the filter is not sure of the view, none is written.

    Raises:
        DataError: a film that the index says is readable is not.
    """
    import pandas as pd  # half a second, for those who write an index only

    from hilum.selection import SEEN

    films = index.table["left_out"].isna()
    paths = [index.path(path) for path in index.table["path"][films]]
    looks = []
    for done, told in enumerate(view_films(paths, processes=processes), 1):
        if told.look is None:
            raise DataError(f"{Path(told.film).name} is not as it was indexed ({told.refusal}); run hilum index again")
        looks.append(told.look)
        if progress:
            progress(done, len(paths))
    rows = index.table.index[films]
    view = pd.Series([look.view.value if look.sure else None for look in looks], index=rows, dtype="string")
    inverted = pd.Series([look.inverted for look in looks], index=rows, dtype="boolean")
    table = index.table.copy()
    table[SEEN], table[INVERTED_SEEN] = view.reindex(table.index), inverted.reindex(table.index)
    return replace(index, table=table), counted_looks(looks)


def counted_looks(looks: Sequence[Look]) -> Counter[str]:
    """How many films show what, in words."""
    words = {View.FRONTAL: "frontal", View.LATERAL: "lateral", View.OTHER: "no chest radiograph"}
    return Counter(
        words[look.view] + (", inverted" if look.inverted else "") if look.sure else "uncertain" for look in looks
    )

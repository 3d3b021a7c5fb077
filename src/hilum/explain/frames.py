"""What a bundle's network is shown of films, with the lungs on them, and the way back from its frame to the film."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.enhance import Box
from hilum.errors import HilumError
from hilum.lungs import segment_lungs
from hilum.lungs.films import AT_ONCE, drawn_lungs
from hilum.masks import film_sized, mask_frame
from hilum.pixels import read_film
from hilum.predict import Framed, Marked, framed_inside, lungs_for, marked_of, views_read
from hilum.preprocess import HALF, Preprocess
from hilum.projection import FilmRead, ViewFilter, read_films
from hilum.records import View

if TYPE_CHECKING:
    from hilum.bundle import Bundle, SegmenterBundle


def framed_films(
    bundle: "Bundle",
    paths: Sequence[Path],
    *,
    lungs: "SegmenterBundle | None" = None,
    masks: Mapping[Path, Path] | None = None,
    gate: ViewFilter | None = None,
    processes: int | None = None,
) -> Iterator[tuple[Path, Framed | str]]:
    """What the bundle is shown of one film after another, or why it is shown nothing; refused as `predict_films` does.

    Args:
        bundle: whose frames.
        paths: films.
        lungs: draws lungs on frontal films; None leaves them out of the result, though a bundle may be shown films by
            lungs that must be drawn then too.
        masks: film -> lung mask, for a bundle that is shown films by masks of their source.
        gate: refuses films that do not look like what the bundle reads; None lets every film through.
        processes: films decoded at once; default one a core.

    Raises:
        UsageError: the bundle was taught with lungs that another bundle draws.
    """
    if not bundle.preprocess.masked:
        frontal = views_read(bundle.recipe.films) == (View.FRONTAL,)
        yield from _whole(bundle, paths, lungs if frontal else None, gate, processes)
        return
    if bundle.preprocess.masks == "made":
        drawn = segment_lungs(paths, bundle=lungs_for(bundle, lungs), gate=gate, processes=processes)
        marked = (marked_of(one) for one in drawn)
    else:
        marked = (_given(path, masks or {}) for path in paths)
    for path, framed in framed_inside(bundle.preprocess, marked, total=len(paths), processes=processes):
        yield path, framed if isinstance(framed, str) or lungs else replace(framed, lungs=None, flags=())


def _whole(
    bundle: "Bundle",
    paths: Sequence[Path],
    lungs: "SegmenterBundle | None",
    gate: ViewFilter | None,
    processes: int | None,
) -> Iterator[tuple[Path, Framed | str]]:
    """Of a bundle that needs no lungs; each film is decoded once for it and the lungs."""
    views = views_read(bundle.recipe.films)
    batches = read_films(
        paths,
        (bundle.preprocess, *([lungs.preprocess] if lungs else [])),
        at_once=AT_ONCE,
        processes=processes,
        stated=bundle.recipe.films.views,
        gate=gate if views else None,
        views=views,
    )
    for batch in batches:
        marks = _lungs_on(lungs, batch) if lungs else [None] * len(batch)
        for (path, read), mark in zip(batch, marks, strict=True):
            if isinstance(read, str):
                yield path, read
            else:
                framed = Framed(read.frames[0], read.size, read.seen)
                yield path, replace(framed, lungs=mark[0], flags=mark[1]) if mark else framed


def _lungs_on(
    lungs: "SegmenterBundle", batch: Sequence[tuple[Path, FilmRead | str]]
) -> list[tuple[NDArray[np.bool_] | None, tuple[str, ...]]]:
    """The lungs on each film of a batch whose second frames are those of the lungs, and why not to believe them."""
    theirs = [(path, read if isinstance(read, str) else replace(read, frames=read.frames[1:])) for path, read in batch]
    return [(one.both, one.flags) for one in drawn_lungs(lungs, theirs)]


def _given(film: Path, masks: Mapping[Path, Path]) -> Marked:
    """A film with the mask that its source gives."""
    if film not in masks:
        return Marked(film, f"not applicable: {film.name}: there is no lung mask of it")
    try:
        return Marked(film, read_film(masks[film]).pixels >= HALF)
    except (HilumError, OSError) as error:
        return Marked(film, f"not applicable: {film.name}: its lung mask: {error}")


def on_film(
    preprocess: Preprocess, shown: NDArray[np.float32], size: tuple[int, int], seen: Box | None = None
) -> tuple[NDArray[np.float32], float]:
    """A map (h, w) of a frame -> (height, width) of its film, and the share of its energy that lay beside the film.

    Args:
        preprocess: that made the frame.
        shown: the map.
        size: of the film.
        seen: of the film, what the frame is made of; what lies outside it gave the network nothing, and is 0.
    """
    box = seen or Box(0, size[0], 0, size[1])
    square, part = Preprocess(size_px=preprocess.size_px, aspect=preprocess.aspect), box_size(box)
    side = square.size_px
    frame = np.asarray(cv2.resize(shown, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    inside = mask_frame(square, np.ones(part, np.bool_))
    beside = float(frame[~inside].sum(dtype=np.float64)) / float(frame.sum(dtype=np.float64))
    film = np.zeros(size, np.float32)
    film[box.top : box.bottom, box.left : box.right] = film_sized(square, frame, part)
    return film, beside


def box_size(box: Box) -> tuple[int, int]:
    """(height, width)."""
    return box.bottom - box.top, box.right - box.left

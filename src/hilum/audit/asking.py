"""The audited bundle is shown films as they are and changed, and what it says of them is kept.

A bundle that reads films by the lungs that hilum draws can be asked two ways. With the lungs of the films as they are,
where the change takes the lungs away and there would be none to draw. Or with lungs drawn anew on each changed film,
as whoever uses the bundle would have them: then a change may move the lungs, or leave none to be found.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hilum.audit.changes import Change, Picture, same
from hilum.audit.subject import Subject
from hilum.errors import DataError, UnreadableFilm
from hilum.evaluate import arranged
from hilum.masks import film_sized
from hilum.metrics import Floats
from hilum.parallel import CRASHED, Crashed, in_batches, in_order
from hilum.pixels import read_film
from hilum.preprocess import HALF, Frame, Mask, Preprocess
from hilum.scoring import Predicted

if TYPE_CHECKING:
    from hilum.bundle import Bundle, SegmenterBundle

AT_ONCE = 16
WHOLE = "whole"
NO_LUNG = "no lung found"
"""What is decided of a film that is refused because no lung can be drawn on it any more."""


@dataclass(frozen=True)
class Asked:
    """What the bundle said of films, as they are and changed.

    Attributes:
        films: index rows.
        bundle: that was asked.
        logits: change -> (F, classes); NaN of films on which no lung is found after it.
    """

    films: pd.DataFrame
    bundle: "Bundle"
    logits: Mapping[str, NDArray[np.float32]]

    def decisions(self, change: str) -> NDArray[np.str_]:
        """The label decided on for each film (F,), as `hilum predict` decides; `NO_LUNG` where it would refuse."""
        from hilum.predict import decide, findings_of

        rows = self.bundle.probabilities(self.logits[change])
        return np.array([NO_LUNG if np.isnan(row).any() else decide(findings_of(self.bundle, row)) for row in rows])

    def flipped(self, change: str) -> Floats:
        """1 for each film (F,) that is decided otherwise than as it is, or refused."""
        changed: Floats = (self.decisions(change) != self.decisions(WHOLE)).astype(np.float64)
        return changed

    def refused(self, change: str) -> int:
        """Films on which no lung is found after a change."""
        return int(np.isnan(self.logits[change]).any(axis=1).sum())

    def predicted(self, change: str) -> Predicted:
        """The probabilities as arrays."""
        from hilum.fitting import prediction_table

        table = prediction_table(self.films, self.bundle.classes, self.logits[change], self.bundle.temperature)
        table = table.assign(repeat=0, fold="test")
        return arranged(table, self.films.set_index("image_id"), tuple(self.bundle.classes), "test")[0]


def ask_bundle(subject: Subject, films: pd.DataFrame, changes: Mapping[str, Change], *, anew: bool = False) -> Asked:
    """Show the bundle each film as it is and changed.

    Args:
        subject: whose bundle.
        films: index rows, with `lung_mask` where the bundle reads films by lungs.
        changes: name -> change.
        anew: whether lungs are drawn again on each changed film, where hilum draws them for the bundle. Films on which
            none is found as they are are left out then.

    Raises:
        DataError: a film cannot be read.
        BundleError: the bundle cannot be trusted.
        UsageError: the bundle was taught with lungs that another bundle draws.
    """
    from hilum.bundle import load_bundle
    from hilum.predict import lungs_for

    if subject.bundle_folder is None:
        raise DataError("there is no bundle of hilum to ask")
    bundle = load_bundle(subject.bundle_folder)
    made = bundle.preprocess.masked and bundle.preprocess.masks == "made"
    lungs = lungs_for(bundle) if made else None
    ways = {WHOLE: same, **changes}
    items = _items(films, subject.root)
    drawing = lungs if anew else None
    shown = _shown_films(bundle.preprocess, items, tuple(ways.values()), drawing, subject.processes)
    logits: dict[str, list[NDArray[np.float32]]] = {name: [] for name in ways}
    done = 0
    with subject.watch("ask of changed films") as progress:
        for batch in in_batches(shown, AT_ONCE):
            for name, frames in zip(ways, zip(*batch, strict=True), strict=True):
                logits[name].append(_logits(bundle, frames))
            done += len(batch)
            progress(done, len(films))
    return _without_refused(Asked(films, bundle, {name: np.concatenate(parts) for name, parts in logits.items()}))


def _logits(bundle: "Bundle", frames: "Sequence[Frame | None]") -> NDArray[np.float32]:
    """(N, classes), NaN where there is no frame."""
    rows = [row for row, frame in enumerate(frames) if frame is not None]
    told = np.full((len(frames), len(bundle.classes)), np.nan, np.float32)
    if rows:
        told[rows] = bundle.logits(np.stack([frame for frame in frames if frame is not None]))
    return told


def _without_refused(asked: Asked) -> Asked:
    """Without the films on which no lung is found as they are: they are never decided."""
    there = np.flatnonzero(~np.isnan(asked.logits[WHOLE]).any(axis=1))
    if not len(there):
        raise DataError("lungs can be drawn on none of the films")
    logits = {name: told[there] for name, told in asked.logits.items()}
    return Asked(asked.films.iloc[there].reset_index(drop=True), asked.bundle, logits)


@dataclass(frozen=True, eq=False)
class _Item:
    """A film, its number, and where its lungs are.

    `lungs` is a mask's file, or (changes, side, side) probabilities of lung on the frame of the film after each change.
    """

    number: int
    film: Path
    lungs: Path | NDArray[np.float32] | None


def _items(films: pd.DataFrame, root: Path) -> list[_Item]:
    masks = films["lung_mask"] if "lung_mask" in films else [pd.NA] * len(films)
    pairs = enumerate(zip(films["path"], masks, strict=True))
    return [_Item(number, root / path, None if pd.isna(mask) else root / mask) for number, (path, mask) in pairs]


def _shown_films(
    preprocess: Preprocess,
    items: Sequence[_Item],
    changes: Sequence[Change],
    lungs: "SegmenterBundle | None",
    processes: int | None,
) -> "Iterator[list[Frame | None]]":
    """Each film's frame after each change; with a bundle that draws lungs, by the lungs it finds after that change.

    Films are decoded twice then, as in prediction: for their lungs, and for their frames.
    """
    drawn: Iterable[_Item] = items if lungs is None else _drawn_anew(items, changes, lungs, processes)
    cut = (lungs.preprocess, lungs.threshold) if lungs else None
    work = partial(_shown, preprocess=preprocess, changes=changes, cut=cut)
    for item, made in in_order(work, drawn, processes=processes, total=len(items)):
        yield _frames(item.film, made)


def _drawn_anew(
    items: Sequence[_Item], changes: Sequence[Change], lungs: "SegmenterBundle", processes: int | None
) -> Iterator[_Item]:
    """The films with what the lung network makes of them after each change."""
    work = partial(_shown, preprocess=lungs.preprocess, changes=changes)
    for item, made in in_order(work, items, processes=processes):
        frames = [frame for frame in _frames(item.film, made) if frame is not None]
        yield _Item(item.number, item.film, lungs.probabilities(np.stack(frames))[:, 0])


def _shown(
    item: _Item, *, preprocess: Preprocess, changes: Sequence[Change], cut: tuple[Preprocess, float] | None = None
) -> "list[Frame | None] | str":
    """The film's frame after each change, None without lungs; whole, for what is halved small is another thing.

    Args:
        item: the film.
        preprocess: makes the frame.
        changes: what is done to the film.
        cut: of a bundle that drew the item's lungs on its frames, its preprocess and its threshold.
    """
    try:
        given = read_film(item.lungs).pixels >= HALF if isinstance(item.lungs, Path) else None
        picture = Picture(read_film(item.film).pixels, given, item.number)
        shown = [change(picture) for change in changes]
        if cut is None or not isinstance(item.lungs, np.ndarray):
            return [preprocess.frame(one.pixels, one.lungs) for one in shown]
        drawn = [_lungs_on(one, inside, *cut) for one, inside in zip(shown, item.lungs, strict=True)]
        return [
            preprocess.frame(one.pixels, lungs) if lungs.any() else None
            for one, lungs in zip(shown, drawn, strict=True)
        ]
    except (UnreadableFilm, DataError, OSError) as error:
        return str(error)


def _lungs_on(picture: Picture, inside: NDArray[np.float32], drawn: Preprocess, threshold: float) -> Mask:
    """Both lungs at the picture's size, from the lung network's frame of it."""
    from hilum.lungs import lungs_of

    height, width = picture.pixels.shape
    right, left = lungs_of(inside, threshold, partial(film_sized, drawn, size=(height, width)))
    both: Mask = right | left
    return both


def _frames(film: Path, made: "list[Frame | None] | str | Crashed[_Item]") -> "list[Frame | None]":
    if isinstance(made, list):
        return made
    raise DataError(f"film {film.name} cannot be shown: {CRASHED if isinstance(made, Crashed) else made}")

"""Films that show what a check of the audit found: lungs hidden, one picture twice, decisions that flip."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from hilum.audit.changes import (
    MARKED,
    PAINTED,
    PERTURBED,
    Change,
    Picture,
    painted_over,
    without_drawn_lungs,
    without_lungs,
)
from hilum.errors import HilumError
from hilum.parallel import unwatched
from hilum.pixels import read_film
from hilum.preprocess import HALF
from hilum.report.audit_tables import told
from hilum.report.films import jpeg_uri

if TYPE_CHECKING:
    from hilum.audit.check import Finding
    from hilum.audit.subject import Subject

HIDDEN_EACH = 4
"""Films of each class that are shown with their lungs hidden."""
MOST_PAIRS = 6
CHANGES: Mapping[str, Change] = {PAINTED: painted_over, **MARKED, **PERTURBED}


@dataclass(frozen=True, slots=True)
class Shot:
    """A film on the page; without a picture where it cannot be read."""

    caption: str
    uri: str | None = None
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """Films to look at together; `pairs` stand side by side."""

    title: str
    shots: tuple[Shot, ...]
    pairs: bool = False


_IDS = TypeAdapter(dict[str, list[str]])
_PAIRS = TypeAdapter(list[tuple[str, str]])
_FLIPPED = TypeAdapter(dict[str, list[dict[str, str]]])


def film_rows(finding: "Finding", subject: "Subject | None") -> list[Row]:
    """The films that a finding names, as its check saw them; none where the films are not at hand."""
    show = _SHOWN.get(finding.check)
    if show is None or subject is None or "path" not in subject.films:
        return []
    return list(show(finding.details, subject))


def _hidden(details: Mapping[str, Any], subject: "Subject") -> Iterator[Row]:
    """The films told most surely and rightly although their lungs are hidden."""
    examples = told(details, "examples", _IDS) or {}
    chosen = {name: [i for i in ids if i in subject.by_id.index][:HIDDEN_EACH] for name, ids in examples.items()}
    masks = _lungs_of([image_id for ids in chosen.values() for image_id in ids], subject)
    change = without_lungs if details.get("sees", "none") == "none" else without_drawn_lungs
    for name, ids in chosen.items():
        shots = [_shot(subject, image_id, image_id, change, masks[image_id]) for image_id in ids if image_id in masks]
        if shots:
            words = name.replace("_", " ")
            yield Row(f"Lungs hidden, and still called {words}, rightly and most surely", tuple(shots))


def _lungs_of(ids: Sequence[str], subject: "Subject") -> dict[str, Path]:
    """Mask of each film on which lungs can be drawn: as the check had them drawn."""
    from hilum.audit.lungless import films_with_lungs  # torch: not for pages without such films

    films = subject.films[subject.films["image_id"].isin(ids)].reset_index(drop=True)
    if films.empty:
        return {}
    try:
        drawn, _ = films_with_lungs(films, subject.root, unwatched)
    except HilumError:
        return {}
    return {str(i): subject.root / mask for i, mask in zip(drawn["image_id"], drawn["lung_mask"], strict=True)}


def _copies(details: Mapping[str, Any], subject: "Subject") -> Iterator[Row]:
    """Pairs of films that lie on both sides of a division, the same bytes counted only."""
    for how, found in reversed(list(details.items())):
        pairs = (told(found, "such_as", _PAIRS) if isinstance(found, Mapping) else None) or []
        known = [pair for pair in pairs if all(image_id in subject.by_id.index for image_id in pair)]
        shots = [_shot(subject, i, f"{i} ({subject.by_id.loc[i, 'source']!s})") for pair in known for i in pair]
        if shots:
            shots = shots[: 2 * MOST_PAIRS]
            title = f"Films of {how}, {len(shots) // 2} of {len(known)} pairs that lie in the train and the test fold"
            yield Row(title, tuple(shots), pairs=True)
            return


def _flipped(details: Mapping[str, Any], subject: "Subject") -> Iterator[Row]:
    """Films as they are, beside the change that flips what is decided of them; of the change that flips most."""
    examples = told(details, "examples", _FLIPPED) or {}
    known = {
        change: [one for one in flips if one.get("image_id") in subject.by_id.index and {"from", "to"} <= set(one)]
        for change, flips in examples.items()
        if change in CHANGES
    }
    change = max(known, key=lambda name: len(known[name]), default=None)
    if change is None or not known[change]:
        return
    shots = []
    for one in known[change][:MOST_PAIRS]:
        before, after = (one[key].replace("_", " ") for key in ("from", "to"))
        shots.append(_shot(subject, one["image_id"], f"{one['image_id']}, as it is: {before}"))
        shots.append(_shot(subject, one["image_id"], f"{change}: {after}", CHANGES[change]))
    yield Row("Decisions that flip", tuple(shots), pairs=True)


def _shot(
    subject: "Subject", image_id: str, caption: str, change: Change | None = None, mask: Path | None = None
) -> Shot:
    """One film, as it is or changed; small."""
    try:
        pixels = read_film(subject.root / str(subject.by_id.loc[image_id, "path"])).pixels
        lungs = None if mask is None else read_film(mask).pixels >= HALF
        if change is not None:
            pixels = change(Picture(pixels, lungs)).pixels
    except (HilumError, OSError):
        return Shot(caption)
    return Shot(caption, *jpeg_uri(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)))


_SHOWN: Mapping[str, Callable[[Mapping[str, Any], "Subject"], Iterator[Row]]] = {
    "lungs-out-retrained": _hidden,
    "lungs-out": _hidden,
    "duplicates": _copies,
    "markers": _flipped,
    "perturbation": _flipped,
}
"""Check -> what it has to show."""

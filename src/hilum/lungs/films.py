"""Films in, lungs out: one result a film, in order, through the bundle that comes with hilum."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hilum.cache import read_for
from hilum.errors import BundleError
from hilum.index import Index
from hilum.lungs.quality import flags_of, measure, unsure_share
from hilum.lungs.sides import tell_sides
from hilum.masks import film_sized
from hilum.parallel import CRASHED, Crashed, in_batches, in_order
from hilum.preprocess import Frame, Mask, Preprocess
from hilum.records import View

if TYPE_CHECKING:
    from hilum.bundle import SegmenterBundle

RELEASED = "lungs"
"""The bundle's name among those that come with hilum."""
AT_ONCE = 8
"""Films a pass through the network; results come as often."""
FEW = 8
"""Up to so many films are decoded in this process: starting others would take longer."""

Read = tuple[Frame, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lungs:
    """Either the lungs of a film or a refusal with its reason; never both, never neither.

    Attributes:
        film: whose.
        bundle_digest: of the bundle that drew them.
        right: the patient's right lung, which is on the left of the picture; (H, W) as the film is displayed.
        left: the patient's left lung.
        measures: shares in [0, 1], as `quality.measure` names them, and `unsure_share`.
        flags: why the result is not to be believed; none where it looks as lungs do.
        refusal: why there is no result.
    """

    film: Path
    bundle_digest: str
    right: Mask | None = None
    left: Mask | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    refusal: str | None = None

    @property
    def both(self) -> Mask | None:
        """Either lung."""
        return None if self.right is None or self.left is None else self.right | self.left

    def without_masks(self) -> "Lungs":
        """All but the pixels: what is kept of many films."""
        return replace(self, right=None, left=None)


def lungs_bundle(path: Path | None = None) -> "SegmenterBundle":
    """The bundle that comes with hilum, or another of lungs.

    Raises:
        BundleError: it draws something else.
    """
    from hilum.bundle import load_segmenter, released

    bundle = load_segmenter(path or released(RELEASED))
    if bundle.labels != ("lungs",):
        raise BundleError(f"{path} draws {', '.join(bundle.labels)}; a bundle with the one label 'lungs' is needed")
    return bundle


def segment_lungs(
    films: Sequence[Path] | Index, *, bundle: "SegmenterBundle | None" = None, processes: int | None = None
) -> Iterator[Lungs]:
    """The lungs of one film after another, in the order given; a film that cannot be read is a refusal.

    Args:
        films: files, or an index, whose films that are not left out are taken.
        bundle: in place of the one that comes with hilum.
        processes: films decoded at once; default one a core.
    """
    paths = [films.path(path) for path in films.films["path"]] if isinstance(films, Index) else list(films)
    used = bundle or lungs_bundle()
    work = partial(_readable, preprocess=used.preprocess)
    for batch in in_batches(in_order(work, paths, processes=1 if len(paths) <= FEW else processes), AT_ONCE):
        yield from _drawn(used, [(path, CRASHED if isinstance(read, Crashed) else read) for path, read in batch])


def _readable(path: Path, *, preprocess: Preprocess) -> Read | str:
    """One film's frame and the (height, width) it is displayed at, or why there is none."""
    film = read_for(preprocess, path)
    if isinstance(film, str):
        return film
    stated = film.facts.view_position
    if stated is View.OTHER:
        return f"not applicable: {path.name} is no chest film by its own header"
    if stated is View.LATERAL:
        return f"not applicable: {path.name} is a lateral film by its own header; lungs are drawn on frontal films"
    return preprocess.frame(film.pixels), (film.facts.height, film.facts.width)


def _drawn(bundle: "SegmenterBundle", batch: Sequence[tuple[Path, Read | str]]) -> Iterator[Lungs]:
    frames = [read[0] for _, read in batch if not isinstance(read, str)]
    inside = iter(bundle.probabilities(np.stack(frames))[:, 0] if frames else ())
    for path, read in batch:
        if isinstance(read, str):
            yield Lungs(film=path, bundle_digest=bundle.digest, refusal=read)
        else:
            yield _lungs(bundle, path, next(inside), read[1])


def _lungs(bundle: "SegmenterBundle", path: Path, inside: NDArray[np.float32], size: tuple[int, int]) -> Lungs:
    right, left = lungs_of(inside, bundle.threshold, partial(film_sized, bundle.preprocess, size=size))
    measures = measure(right, left) | {"unsure_share": unsure_share(inside, bundle.threshold)}
    flags = flags_of(measures, bundle.plausible)
    return Lungs(film=path, bundle_digest=bundle.digest, right=right, left=left, measures=measures, flags=flags)


def lungs_of(
    inside: NDArray[np.float32], threshold: float, as_film: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> tuple[Mask, Mask]:
    """The right and the left lung at a film's size, from a frame's probabilities (side, side).

    The probabilities are brought to the film's size and cut there, which leaves smoother edges than larger pixels.
    """
    sides = tell_sides(inside, threshold)
    right, left = (as_film(side) >= threshold for side in (sides.right, sides.left))
    return right, left & ~right


def as_json(lungs: Lungs) -> dict[str, Any]:
    """A result for machines: plain values, no masks."""
    told: dict[str, Any] = {"film": str(lungs.film), "bundle": lungs.bundle_digest}
    if lungs.refusal is not None:
        return told | {"refused": lungs.refusal}
    return told | {name: round(value, 6) for name, value in lungs.measures.items()} | {"flags": list(lungs.flags)}

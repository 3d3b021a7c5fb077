"""Films in, lungs out: one result a film, in order, through the bundle that comes with hilum."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hilum.errors import BundleError
from hilum.lungs.heart import HEART, RATIO, HeartSize, heart_size
from hilum.lungs.quality import flags_of, measure, unsure_share
from hilum.lungs.sides import tell_sides
from hilum.masks import film_sized
from hilum.preprocess import Mask
from hilum.projection import FilmRead, ViewFilter, read_films
from hilum.records import View

if TYPE_CHECKING:
    from hilum.bundle import Asked, SegmenterBundle
    from hilum.index import Index

RELEASED = "lungs"
"""The bundle's name among those that come with hilum."""
AT_ONCE = 8
"""Films a pass through the network; results come as often."""


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
        heart: the heart's shadow with the great vessels, where it was asked for and the lungs are not flagged.
        heart_size: its widths and the thorax's, or why there are none; None where they were not asked for.
        heart_digest: of the bundle that drew the heart.
    """

    film: Path
    bundle_digest: str
    right: Mask | None = None
    left: Mask | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    refusal: str | None = None
    heart: Mask | None = None
    heart_size: HeartSize | str | None = None
    heart_digest: str | None = None

    @property
    def both(self) -> Mask | None:
        """Either lung."""
        return None if self.right is None or self.left is None else self.right | self.left

    def without_masks(self) -> "Lungs":
        """All but the pixels: what is kept of many films."""
        return replace(self, right=None, left=None, heart=None)


def lungs_bundle(path: Path | None = None, *, engine: "Asked" = "auto") -> "SegmenterBundle":
    """The bundle that comes with hilum, or another of lungs.

    Args:
        path: of the other one.
        engine: runs it, as `load_bundle` takes it; one that needs a check runs only where it was passed.

    Raises:
        BundleError: it draws something else.
    """
    from hilum.bundle import load_segmenter, passed_or_exact, released

    folder = path or released(RELEASED)
    bundle = load_segmenter(folder, engine=passed_or_exact(folder, engine))
    if bundle.labels != ("lungs",):
        raise BundleError(f"{path} draws {', '.join(bundle.labels)}; a bundle with the one label 'lungs' is needed")
    return bundle


def segment_lungs(
    films: "Sequence[Path] | Index",
    *,
    bundle: "SegmenterBundle | None" = None,
    heart: "SegmenterBundle | None" = None,
    gate: ViewFilter | None = None,
    processes: int | None = None,
) -> Iterator[Lungs]:
    """The lungs of one film after another, in the order given; a film that must not or cannot be read is a refusal.

    Args:
        films: files, or an index, whose films that are not left out are taken.
        bundle: in place of the one that comes with hilum.
        heart: draws hearts too (`heart_bundle`), from which the measure `cardiothoracic_ratio` is made.
        gate: refuses films that look lateral, inverted or like no chest radiograph; None lets every film through that
            its own header does not call lateral or no chest film.
        processes: films decoded at once; default one a core.
    """
    paths = list(films) if isinstance(films, Sequence) else [films.path(path) for path in films.films["path"]]
    used = bundle or lungs_bundle()
    read_as = (used.preprocess, *([heart.preprocess] if heart else []))
    batches = read_films(paths, read_as, at_once=AT_ONCE, processes=processes, stated=(View.FRONTAL,), gate=gate)
    for batch in batches:
        drawn = drawn_lungs(used, batch)
        yield from _with_hearts(heart, list(drawn), [read for _, read in batch]) if heart else drawn


def drawn_lungs(bundle: "SegmenterBundle", batch: Sequence[tuple[Path, FilmRead | str]]) -> Iterator[Lungs]:
    """The lungs of a batch that `read_films` gave, whose first frames are the bundle's."""
    frames = [read.frames[0] for _, read in batch if not isinstance(read, str)]
    inside = iter(bundle.probabilities(np.stack(frames))[:, 0] if frames else ())
    for path, read in batch:
        if isinstance(read, str):
            yield Lungs(film=path, bundle_digest=bundle.digest, refusal=read)
        else:
            yield _lungs(bundle, path, next(inside), read.size)


def _with_hearts(bundle: "SegmenterBundle", batch: Sequence[Lungs], reads: Sequence[FilmRead | str]) -> Iterator[Lungs]:
    """The lungs with the hearts between them; of flagged lungs none, for a thorax that is wrong measures no heart."""
    pairs = zip(batch, reads, strict=True)
    frames = [read.frames[1] for lungs, read in pairs if not (isinstance(read, str) or lungs.flags)]
    label = bundle.labels.index(HEART)
    inside = iter(bundle.probabilities(np.stack(frames))[:, label] if frames else ())
    for lungs in batch:
        if lungs.flags:
            yield replace(lungs, heart_size="its lungs are flagged", heart_digest=bundle.digest)
        elif lungs.right is None or lungs.left is None:
            yield lungs
        else:
            shown = film_sized(bundle.preprocess, next(inside), lungs.right.shape) >= bundle.threshold
            size = heart_size(lungs.right, lungs.left, shown)
            measured = {} if isinstance(size, str) else {RATIO: size.ratio}
            measures = {**lungs.measures, **measured}
            yield replace(lungs, measures=measures, heart=shown, heart_size=size, heart_digest=bundle.digest)


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

"""Films in, lesions out: one result a film, in order, inside the lungs that `hilum.lungs` draws on it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.boxes import LabelledBox
from hilum.errors import BundleError
from hilum.lesions.boxed import scored_boxes
from hilum.lesions.severity import Score, scores_of
from hilum.lesions.zones import LESIONS, involved_shares
from hilum.lungs import Lungs, lungs_bundle
from hilum.lungs.films import AT_ONCE, drawn_lungs
from hilum.masks import film_sized
from hilum.preprocess import Mask
from hilum.projection import FilmRead, ViewFilter, read_films
from hilum.records import View

if TYPE_CHECKING:
    from hilum.bundle import Asked, DetectorBundle, SegmenterBundle
    from hilum.index import Index

RELEASED = "lesions"
"""The bundle's name among those that come with hilum."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesions:
    """Either the lesions of a film or a refusal with its reason; never both, never neither.

    Attributes:
        lungs: of the film: whose it is, their masks, their flags, which bundle drew them.
        bundle_digest: of the bundle that drew the lesions.
        size: (height, width) in pixels that the film is displayed at; None where it was refused.
        masks: label -> (H, W) True inside, at the film's size. Ground glass and consolidation are cut to the lungs,
            what else the bundle draws is not.
        shares: `zones.SHARES`, each in [0, 1], or NaN where a part has no lung.
        highest: lesion -> its highest probability on any pixel of the lungs.
        boxes: of ground glass, then of consolidation, the largest first.
        scores: of severity, from the shares; none where none was fitted to the bundle.
        refusal: why there is no result.
    """

    lungs: Lungs
    bundle_digest: str
    size: tuple[int, int] | None = None
    masks: Mapping[str, Mask] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    highest: Mapping[str, float] = field(default_factory=dict)
    boxes: tuple[LabelledBox, ...] = ()
    scores: tuple[Score, ...] = ()
    refusal: str | None = None

    @property
    def film(self) -> Path:
        """Whose."""
        return self.lungs.film

    @property
    def flags(self) -> tuple[str, ...]:
        """Why the lungs, and with them every share, are not to be believed; none of a refused film."""
        return () if self.refusal else self.lungs.flags

    def without_masks(self) -> "Lesions":
        """All but the pixels: what is kept of many films."""
        return replace(self, masks={}, lungs=self.lungs.without_masks())


def lesions_bundle(path: Path | None = None, *, engine: "Asked" = "auto") -> "SegmenterBundle":
    """The bundle that comes with hilum, or another of ground glass and consolidation.

    Args:
        path: of the other one.
        engine: as `lungs_bundle` takes it.

    Raises:
        BundleError: it does not draw both.
    """
    from hilum.bundle import load_segmenter, passed_or_exact, released

    folder = path or released(RELEASED)
    bundle = load_segmenter(folder, engine=passed_or_exact(folder, engine))
    missing = [label for label in LESIONS if label not in bundle.labels]
    if missing:
        raise BundleError(
            f"{path} draws {', '.join(bundle.labels)}; a bundle with the labels {' and '.join(LESIONS)} is needed"
        )
    return bundle


def segment_lesions(
    films: "Sequence[Path] | Index",
    *,
    bundle: "SegmenterBundle | None" = None,
    lungs: "SegmenterBundle | None" = None,
    detector: "DetectorBundle | None" = None,
    gate: ViewFilter | None = None,
    processes: int | None = None,
) -> Iterator[Lesions]:
    """The lesions of one film after another, in the order given; each film is decoded once.

    A film whose lungs are refused is refused for the same reason, and one on which no lung is found for that. Where one
    lung is found the result is flagged, and says nothing of both.

    Args:
        films: files, or an index, whose films that are not left out are taken.
        bundle: draws the lesions, in place of the one that comes with hilum.
        lungs: draws the lungs, in place of the one that comes with hilum.
        detector: draws the boxes, in place of those around the pieces of the masks.
        gate: as `hilum.lungs.segment_lungs` takes it.
        processes: films decoded at once; default one a core.
    """
    paths = list(films) if isinstance(films, Sequence) else [films.path(path) for path in films.films["path"]]
    used, around = bundle or lesions_bundle(), lungs or lungs_bundle()
    read_as = (around.preprocess, used.preprocess, *([detector.preprocess] if detector else []))
    batches = read_films(paths, read_as, at_once=AT_ONCE, processes=processes, stated=(View.FRONTAL,), gate=gate)
    for batch in batches:
        reads = [read for _, read in batch]
        drawn = drawn_lesions(used, list(drawn_lungs(around, batch)), reads)
        yield from _with_boxes(detector, list(drawn), reads) if detector else drawn


def _with_boxes(
    detector: "DetectorBundle", batch: Sequence[Lesions], reads: Sequence[FilmRead | str]
) -> Iterator[Lesions]:
    """The films with a detector's boxes in place of the masks'."""
    shown = [
        (read.frames[2], read.size)
        for one, read in zip(batch, reads, strict=True)
        if one.refusal is None and not isinstance(read, str)
    ]
    found = iter(detector.detect(np.stack([frame for frame, _ in shown]), [size for _, size in shown]) if shown else ())
    for one in batch:
        yield one if one.refusal else replace(one, boxes=tuple(next(found)))


def drawn_lesions(
    bundle: "SegmenterBundle", batch: Sequence[Lungs], reads: Sequence[FilmRead | str]
) -> Iterator[Lesions]:
    """The lesions of a batch that `read_films` gave, whose second frames are the bundle's, in the lungs drawn on it."""
    refusals = [_refusal(lungs) for lungs in batch]
    frames = [
        read.frames[1]
        for read, refusal in zip(reads, refusals, strict=True)
        if refusal is None and not isinstance(read, str)
    ]
    inside = iter(bundle.probabilities(np.stack(frames)) if frames else ())
    for lungs, refusal in zip(batch, refusals, strict=True):
        if refusal is None and lungs.right is not None and lungs.left is not None:
            yield _lesions(bundle, lungs, lungs.right, lungs.left, next(inside))
        else:
            yield Lesions(lungs=lungs, bundle_digest=bundle.digest, refusal=refusal)


def _refusal(lungs: Lungs) -> str | None:
    """Why there can be no lesions of a film; None where there is a lung."""
    if lungs.both is not None and not lungs.both.any():
        return f"not applicable: no lung was found on {lungs.film.name}, and lesions are looked for in lungs alone"
    return lungs.refusal


def _lesions(bundle: "SegmenterBundle", lungs: Lungs, right: Mask, left: Mask, inside: NDArray[np.float32]) -> Lesions:
    """From a frame's probabilities (labels, side, side) and the film's lungs."""
    both = right | left
    size = both.shape[0], both.shape[1]
    masks, highest, boxes = dict[str, Mask](), dict[str, float](), list[LabelledBox]()
    for label, of_frame in zip(bundle.labels, inside, strict=True):
        sure = film_sized(bundle.preprocess, of_frame, size)
        masks[label] = sure >= bundle.threshold
        if label in LESIONS:
            masks[label] &= both
            highest[label] = float(cv2.minMaxLoc(sure, mask=both.view(np.uint8))[1])
            boxes += scored_boxes(label, masks[label], sure)
    shares = involved_shares(right, left, masks)
    return Lesions(
        lungs=lungs,
        bundle_digest=bundle.digest,
        size=size,
        masks=masks,
        shares=shares,
        highest=highest,
        boxes=tuple(boxes),
        scores=scores_of(shares, bundle.digest),
    )

"""Films in, explanations out: for each film and label a map at the film's size, or the reason why there is none.

What makes maps with torch is imported where it is used: maps are also laid on films where there is none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hilum.enhance import Box
from hilum.errors import UsageError, unknown_name
from hilum.explain.frames import framed_films, on_film
from hilum.explain.judging import (
    IN_PADDING,
    REDRAWN,
    Share,
    points_into,
    rank_correlation,
    share_inside,
    shown_map,
)
from hilum.lesions import LESIONS, segment_lesions
from hilum.predict import Framed, decide, findings_of
from hilum.preprocess import Frame, Mask
from hilum.projection import ViewFilter

if TYPE_CHECKING:
    from hilum.bundle import Bundle, SegmenterBundle
    from hilum.explain.maps import RawMap
    from hilum.networks import Classifier

CHECKED = 16
"""Films whose maps are held against those of networks with weights drawn again."""

LesionsOf = Callable[[Path, tuple[int, int]], Mask | None]
"""A film and the (height, width) it is displayed at -> where its lesions are; None where that is not known."""


@dataclass(frozen=True, slots=True)
class How:
    """How films are explained.

    Attributes:
        method: one of `maps.METHODS`; None for `cam` where the head is linear, else `grad-cam`.
        layer: a module of the backbone's body to read; None for the maps the head reads.
        checked: films, from the first on, that are also explained with weights drawn again.
    """

    method: str | None = None
    layer: str | None = None
    checked: int = CHECKED


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """Why a film is called a label, or a refusal with its reason.

    Attributes:
        film: whose.
        bundle_digest: of the bundle explained.
        label: that the map is of; None where the film was refused.
        probability: of the label, in [0, 1].
        decided: the label the bundle decides on.
        method: how the map was made.
        layer: whose maps were read.
        grids: (rows, columns) of each map read, before it was brought to the film's size.
        map: (H, W) in [0, 1] as the film is displayed, what raises the label; None where nothing does.
        no_map: why there is no map.
        seen: what of the film the network was shown, where that is not all of it; outside it the map is 0.
        lungs: (H, W) True inside; None where none were drawn.
        lungs_share: of the map's energy, and of the area of what the network was shown, in the lungs.
        lungs_flags: why the lungs are not to be believed.
        lesions: (H, W) True inside; None where they are not known.
        lesions_drawn_by: digest of the bundle that drew the lesions; None where somebody else did.
        lesions_share: of the map's energy, and of the area of what the network was shown, in lesions.
        points_at_lesion: whether the map's highest pixel is in one.
        padding_share: of the map's energy before it was cut to the film, what lay in black padding.
        redrawn: part of `judging.REDRAWN` -> rank correlation with the map under weights drawn again.
        refusal: why nothing is told.
    """

    film: Path
    bundle_digest: str
    label: str | None = None
    probability: float | None = None
    decided: str | None = None
    method: str | None = None
    layer: str | None = None
    grids: tuple[tuple[int, int], ...] = ()
    map: NDArray[np.float32] | None = None
    no_map: str | None = None
    seen: Box | None = None
    lungs: Mask | None = None
    lungs_share: Share | None = None
    lungs_flags: tuple[str, ...] = ()
    lesions: Mask | None = None
    lesions_drawn_by: str | None = None
    lesions_share: Share | None = None
    points_at_lesion: bool | None = None
    padding_share: float | None = None
    redrawn: Mapping[str, float] = field(default_factory=dict)
    refusal: str | None = None

    def without_pixels(self) -> "Explanation":
        """All but the pixels: what is kept of many films."""
        return replace(self, map=None, lungs=None, lesions=None)


def explain_films(
    bundle: "Bundle",
    paths: Sequence[Path],
    *,
    how: How | None = None,
    labels: Sequence[Sequence[str]] | None = None,
    lungs: "SegmenterBundle | None" = None,
    masks: Mapping[Path, Path] | None = None,
    lesions: LesionsOf | None = None,
    draws_lesions: "SegmenterBundle | None" = None,
    gate: ViewFilter | None = None,
    processes: int | None = None,
) -> Iterator[Explanation]:
    """The explanations of one film after another, in the order given; a film that cannot be read is a refusal.

    Args:
        bundle: what is explained.
        paths: films.
        how: method, layer and checks.
        labels: what to explain on each film; none for the label decided on.
        lungs: draws the lungs that maps are held against; None draws none, but for a bundle that is shown films by
            lungs that hilum draws.
        masks: film -> lung mask; a bundle that is shown films by masks of their source needs them.
        lesions: tells where a film's lesions are.
        draws_lesions: draws them where `lesions` does not know.
        gate: refuses films that do not look like what the bundle reads; None lets every film through.
        processes: films decoded at once; default one a core.

    Raises:
        UsageError: the bundle needs other lungs than those at hand, or method, layer or labels do not fit it.
        MissingExtra: the method needs captum, which is not installed.
    """
    how = how or How()
    check_bundle(bundle, how, labels, masks)
    one = _Explainer(bundle, how, lungs, lesions, draws_lesions)
    framed = framed_films(bundle, paths, lungs=lungs, masks=masks, gate=gate, processes=processes)
    for number, (path, read) in enumerate(framed):
        if isinstance(read, str):
            yield Explanation(film=path, bundle_digest=bundle.digest, refusal=read)
        else:
            yield from one.explained(path, read, labels[number] if labels else (), number)


def check_bundle(
    bundle: "Bundle",
    how: How,
    labels: Sequence[Sequence[str]] | None = None,
    masks: Mapping[Path, Path] | None = None,
) -> None:
    """Refuse what cannot be explained, before a film is read.

    Raises:
        UsageError: with what would work instead.
    """
    from hilum.explain.maps import check_method

    if bundle.preprocess.masked and bundle.preprocess.masks == "given" and masks is None:
        raise UsageError(
            f"{bundle.title}: this bundle reads films by lung masks that their source gives; explain films of its run, "
            "whose index names them: hilum explain RUN --out FOLDER"
        )
    check_method(bundle.network, how.method, how.layer)
    for label in {label for asked in labels or () for label in asked}:
        if label not in bundle.classes:
            raise unknown_name("label", label, bundle.classes)


@dataclass(frozen=True, slots=True)
class _Explainer:
    """What stays the same from film to film."""

    bundle: "Bundle"
    how: How
    lungs: "SegmenterBundle | None"
    lesions: LesionsOf | None
    draws_lesions: "SegmenterBundle | None"

    def explained(self, path: Path, read: Framed, asked: Sequence[str], number: int) -> Iterator[Explanation]:
        """One explanation a label; the film is the `number`-th."""
        bundle, told = self.bundle, Explanation(film=path, bundle_digest=self.bundle.digest)
        row = bundle.probabilities(bundle.logits(read.frame[None]))[0]
        if not np.isfinite(row).all():
            yield replace(told, refusal=f"{path.name}: the network gives no number for it; check the bundle's weights")
            return
        decided = decide(findings_of(bundle, row))
        told = self._with_anatomy(replace(told, decided=decided), read)
        for label in asked or (decided,):
            place = bundle.classes.index(label)
            raw = self._raw(bundle.network, read.frame, place)
            named = replace(told, label=label, probability=float(row[place]))
            mapped = self._with_map(named, raw, read.size)
            if mapped.map is not None and number < self.how.checked:
                mapped = replace(mapped, redrawn=self._kept(raw, read.frame, place, number))
            yield mapped

    def _with_anatomy(self, told: Explanation, read: Framed) -> Explanation:
        """The explanation with what the network was shown, lungs and lesions."""
        whole = Box(0, read.size[0], 0, read.size[1])
        told = replace(told, seen=None if read.seen == whole else read.seen, lungs=read.lungs, lungs_flags=read.flags)
        given = self.lesions(told.film, read.size) if self.lesions else None
        if given is not None or self.draws_lesions is None:
            return replace(told, lesions=given)
        drawn = next(segment_lesions([told.film], bundle=self.draws_lesions, lungs=self.lungs, processes=1))
        if drawn.refusal is not None or drawn.flags:
            return told
        both = np.logical_or.reduce([drawn.masks[label] for label in LESIONS])
        return replace(told, lesions=both, lesions_drawn_by=self.draws_lesions.digest)

    def _with_map(self, told: Explanation, raw: "RawMap", size: tuple[int, int]) -> Explanation:
        """The explanation with the map at the film's size and how much of it lies where."""
        told = replace(told, method=raw.method, layer=raw.layer, grids=raw.grids)
        shown, why = shown_map(raw.signed)
        if shown is None:
            return replace(told, no_map=why)
        of_film, padding = on_film(self.bundle.preprocess, shown, size, told.seen)
        told = replace(told, padding_share=padding)
        if not of_film.any():
            return replace(told, no_map=IN_PADDING)
        lungs, lesions = told.lungs, told.lesions
        return replace(
            told,
            map=of_film,
            lungs_share=None if lungs is None else share_inside(of_film, lungs, told.seen),
            lesions_share=None if lesions is None else share_inside(of_film, lesions, told.seen),
            points_at_lesion=None if lesions is None or not lesions.any() else points_into(of_film, lesions),
        )

    def _raw(self, network: "Classifier", frame: Frame, place: int) -> "RawMap":
        from hilum.explain.maps import as_film, raw_map

        film = as_film(self.bundle, frame)
        return raw_map(network, film, place, method=self.how.method, layer=self.how.layer)

    def _kept(self, raw: "RawMap", frame: Frame, place: int, seed: int) -> dict[str, float]:
        """How much of a map is left under weights drawn again; each film has its own draw."""
        from hilum.explain.maps import as_film
        from hilum.explain.redrawing import redrawn

        networks = {part: redrawn(self.bundle.network, part, as_film(self.bundle, frame), seed) for part in REDRAWN}
        return {
            part: rank_correlation(raw.signed, self._raw(network, frame, place).signed)
            for part, network in networks.items()
        }

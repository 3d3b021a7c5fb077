"""Films in, explanations out: for each film and label a map at the film's size, or the reason why there is none."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from hilum.errors import UsageError, unknown_name
from hilum.explain.judging import (
    IN_PADDING,
    REDRAWN,
    Share,
    points_into,
    rank_correlation,
    redrawn,
    share_inside,
    shown_map,
)
from hilum.explain.maps import RawMap, check_method, raw_map
from hilum.lungs import flags_of, lungs_of, measure, unsure_share
from hilum.masks import check_geometry, film_sized, mask_frame
from hilum.networks import Classifier
from hilum.predict import decide, findings_of, views_read
from hilum.preprocess import Frame, Mask, Preprocess
from hilum.projection import FilmRead, ViewFilter, read_films
from hilum.records import View

if TYPE_CHECKING:
    from hilum.bundle import Bundle, SegmenterBundle

AT_ONCE = 8
"""Films decoded ahead."""
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
        lungs: (H, W) True inside; None where none were drawn.
        lungs_share: of the map's energy and the film's area in the lungs.
        lungs_flags: why the lungs are not to be believed.
        lesions: (H, W) True inside; None where they are not known.
        lesions_share: of the map's energy and the film's area in lesions.
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
    lungs: Mask | None = None
    lungs_share: Share | None = None
    lungs_flags: tuple[str, ...] = ()
    lesions: Mask | None = None
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
    lesions: LesionsOf | None = None,
    gate: ViewFilter | None = None,
    processes: int | None = None,
) -> Iterator[Explanation]:
    """The explanations of one film after another, in the order given; a film that cannot be read is a refusal.

    Args:
        bundle: what is explained.
        paths: films.
        how: method, layer and checks.
        labels: what to explain on each film; none for the label decided on.
        lungs: draws the lungs that maps are held against; None draws none.
        lesions: tells where a film's lesions are.
        gate: refuses films that do not look like what the bundle reads; None lets every film through.
        processes: films decoded at once; default one a core.

    Raises:
        UsageError: the bundle's maps cannot be laid on films, or method, layer or labels do not fit it.
        MissingExtra: the method needs captum, which is not installed.
    """
    how = how or How()
    check_bundle(bundle, how, labels)
    frontal = views_read(bundle.recipe.films) == (View.FRONTAL,)
    one = _Explainer(bundle, how, lungs if frontal else None, lesions)
    for number, (path, read) in enumerate(one.reads(paths, gate, processes)):
        if isinstance(read, str):
            yield Explanation(film=path, bundle_digest=bundle.digest, refusal=read)
        else:
            yield from one.explained(path, read, labels[number] if labels else (), number)


def check_bundle(bundle: "Bundle", how: How, labels: Sequence[Sequence[str]] | None = None) -> None:
    """Refuse what cannot be explained, before a film is read.

    Raises:
        UsageError: with what would work instead.
    """
    if bundle.preprocess.masked:
        raise UsageError(
            f"{bundle.title}: this bundle reads lungs cut out by masks; explain one that reads whole films"
        )
    try:
        check_geometry(bundle.preprocess)
    except UsageError as error:
        raise UsageError(
            f"{bundle.title}: its preprocess has a step that crops films, so that no map of it can be laid on them; "
            "train without that step"
        ) from error
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

    def reads(
        self, paths: Sequence[Path], gate: ViewFilter | None, processes: int | None
    ) -> Iterator[tuple[Path, FilmRead | str]]:
        """Films as the bundle, and the lungs bundle if there is one, read them; refused as `predict_films` refuses."""
        films = self.bundle.recipe.films
        views = views_read(films)
        batches = read_films(
            paths,
            (self.bundle.preprocess, *([self.lungs.preprocess] if self.lungs else [])),
            at_once=AT_ONCE,
            processes=processes,
            stated=films.views,
            gate=gate if views else None,
            views=views,
        )
        for batch in batches:
            yield from batch

    def explained(self, path: Path, read: FilmRead, asked: Sequence[str], number: int) -> Iterator[Explanation]:
        """One explanation a label; the film is the `number`-th."""
        bundle, told = self.bundle, Explanation(film=path, bundle_digest=self.bundle.digest)
        row = bundle.probabilities(bundle.logits(read.frames[0][None]))[0]
        if not np.isfinite(row).all():
            yield replace(told, refusal=f"{path.name}: the network gives no number for it; check the bundle's weights")
            return
        decided = decide(findings_of(bundle, row))
        told = self._with_anatomy(replace(told, decided=decided), read)
        for label in asked or (decided,):
            place = bundle.classes.index(label)
            raw = self._raw(bundle.network, read.frames[0], place)
            named = replace(told, label=label, probability=float(row[place]))
            mapped = self._with_map(named, raw, read.size)
            if mapped.map is not None and number < self.how.checked:
                mapped = replace(mapped, redrawn=self._kept(raw, read.frames[0], place, number))
            yield mapped

    def _with_anatomy(self, told: Explanation, read: FilmRead) -> Explanation:
        if self.lesions is not None:
            told = replace(told, lesions=self.lesions(told.film, read.size))
        if self.lungs is None:
            return told
        inside = self.lungs.probabilities(read.frames[1][None])[0, 0]
        right, left = lungs_of(inside, self.lungs.threshold, partial(film_sized, self.lungs.preprocess, size=read.size))
        measures = measure(right, left) | {"unsure_share": unsure_share(inside, self.lungs.threshold)}
        return replace(told, lungs=right | left, lungs_flags=flags_of(measures, self.lungs.plausible))

    def _with_map(self, told: Explanation, raw: RawMap, size: tuple[int, int]) -> Explanation:
        """The explanation with the map at the film's size and how much of it lies where."""
        told = replace(told, method=raw.method, layer=raw.layer, grids=raw.grids)
        shown, why = shown_map(raw.signed)
        if shown is None:
            return replace(told, no_map=why)
        of_film, padding = on_film(self.bundle.preprocess, shown, size)
        told = replace(told, padding_share=padding)
        if not of_film.any():
            return replace(told, no_map=IN_PADDING)
        lungs, lesions = told.lungs, told.lesions
        return replace(
            told,
            map=of_film,
            lungs_share=None if lungs is None else share_inside(of_film, lungs),
            lesions_share=None if lesions is None else share_inside(of_film, lesions),
            points_at_lesion=None if lesions is None or not lesions.any() else points_into(of_film, lesions),
        )

    def _raw(self, network: Classifier, frame: Frame, place: int) -> RawMap:
        film = as_film(self.bundle, frame)
        return raw_map(network, film, place, method=self.how.method, layer=self.how.layer)

    def _kept(self, raw: RawMap, frame: Frame, place: int, seed: int) -> dict[str, float]:
        """How much of a map is left under weights drawn again; each film has its own draw."""
        networks = {part: redrawn(self.bundle.network, part, as_film(self.bundle, frame), seed) for part in REDRAWN}
        return {
            part: rank_correlation(raw.signed, self._raw(network, frame, place).signed)
            for part, network in networks.items()
        }


def on_film(
    preprocess: Preprocess, shown: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.float32], float]:
    """A map (h, w) of a frame -> (height, width) of its film, and the share of its energy that lay beside the film."""
    side = preprocess.size_px
    frame = np.asarray(cv2.resize(shown, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    film = mask_frame(preprocess, np.ones(size, np.bool_))
    beside = float(frame[~film].sum(dtype=np.float64)) / float(frame.sum(dtype=np.float64))
    return film_sized(preprocess, frame, size), beside


def as_film(bundle: "Bundle", frame: Frame) -> torch.Tensor:
    """A frame (side, side) -> (1, channels, side, side) as the bundle's network reads it."""
    device = next(bundle.network.parameters()).device
    return torch.from_numpy(bundle.preprocess.normalise(frame[None])).to(device)

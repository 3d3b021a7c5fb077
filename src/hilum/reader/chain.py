"""The chain from a film to an answer: gate, lungs, lesions, classifiers; each stage timed, a refusal at any of them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hilum.enhance import Box
from hilum.errors import UnreadableFilm, UsageError
from hilum.lesions import Lesions, lesions_bundle
from hilum.lesions.films import drawn_lesions
from hilum.lungs import Lungs, lungs_bundle
from hilum.lungs.films import drawn_lungs
from hilum.pixels import Film, FilmFacts
from hilum.predict import frame_of, marked_of
from hilum.preprocess import Frame, Preprocess
from hilum.projection import FilmRead, Look, ViewFilter, why_not, why_stated
from hilum.reader.answering import answer
from hilum.reader.decoding import SHOWN_DECODED_PX, Decoded, decode, refusal_of
from hilum.reader.loading import Loaded, load
from hilum.reader.looking import HASHED_PX, copy_notes, quality_notes
from hilum.reader.mapping import map_of
from hilum.reader.reading import Answer, Policy, Reading, Refusal
from hilum.records import View

if TYPE_CHECKING:
    from hilum.bundle import Asked, SegmenterBundle

DEFAULT = "covid19-frontal"
VIEWS = (View.FRONTAL,)
UNCERTAIN = "the view filter is not sure that this is a frontal film (p = {:.2f})"


@dataclass
class _Clock:
    """What each stage took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


OVERDRAWN = (
    "lesions and severity mean something only where COVID-19 pneumonia is known: the network that draws them was "
    "taught on such films, and covers a median of 38 % of the lungs on films without a finding"
)
"""Measured on 120 films of nih_subset (docs/explanation/results.md)."""


class Reader:
    """Reads one film after another; loads everything once. Safe to use from several threads.

    Args:
        bundles: classifiers, by folder or by the name of one that comes with hilum; a film's outcome is the first's.
        policy: how films are read.
        lungs: draws lungs, in place of the bundle that comes with hilum.
        lesions: draws lesions, in place of the bundle that comes with hilum.
        view_filter: tells views, in place of the one that comes with hilum.
        engine: runs the networks that are loaded here, as `load_bundle` takes it; `openvino-bf16` runs those whose
            check on films was passed, and `openvino` the others.

    Raises:
        BundleError: a bundle is damaged.
        UsageError: a bundle cannot be used on frontal films alone, or none is named.
    """

    def __init__(
        self,
        bundles: Sequence[Path | str] = (DEFAULT,),
        *,
        policy: Policy | None = None,
        lungs: "SegmenterBundle | None" = None,
        lesions: "SegmenterBundle | None" = None,
        view_filter: ViewFilter | None = None,
        engine: "Asked" = "auto",
    ) -> None:
        if not bundles:
            raise UsageError(f"name a classifier, such as {DEFAULT}")
        self.policy = policy or Policy()
        self.view_filter = view_filter or ViewFilter(engine)
        self.draws_lungs = lungs or lungs_bundle(engine=engine)
        self.draws_lesions = (lesions or lesions_bundle(engine=engine)) if self.policy.lesions else None
        self.bundles: tuple[Loaded, ...] = tuple(load(named, self.draws_lungs, engine=engine) for named in bundles)
        self._warm_up()

    @property
    def engines(self) -> Mapping[str, str]:
        """Which engine runs each network, by what the network is for or the classifier's name."""
        drawing = {"lungs": self.draws_lungs} | ({"lesions": self.draws_lesions} if self.draws_lesions else {})
        told = {"view": self.view_filter.views.engine.name} | {name: one.engine.name for name, one in drawing.items()}
        return told | {one.name: one.bundle.engine.name for one in self.bundles}

    @property
    def sizes(self) -> tuple[int, ...]:
        """What `decode` must be asked for."""
        read_as = [self.view_filter.preprocess, self.draws_lungs.preprocess]
        read_as += [one.bundle.preprocess for one in self.bundles]
        if self.draws_lesions:
            read_as.append(self.draws_lesions.preprocess)
        return tuple(sorted({*(one.decoded_px for one in read_as), SHOWN_DECODED_PX, HASHED_PX}))

    def read(self, film: Path | bytes, *, name: str | None = None) -> Reading:
        """One film read; whatever is wrong with it is a refusal, never an exception.

        Args:
            film: a file, or its bytes.
            name: what to call it; default the file's name.
        """
        called = name or (film.name if isinstance(film, Path) else "the film")
        clock = _Clock()
        try:
            with clock.stage("decode"):
                decoded = decode(film, self.sizes)
        except UnreadableFilm as error:
            return Reading(name=called, refusal=refusal_of(error, called), seconds=clock.seconds)
        return self._read(decoded, called, clock)

    def read_film(self, film: Film, *, name: str, sha256: str) -> Reading:
        """One film that somebody else has decoded, whole.

        A JPEG so large that `read` decodes it reduced, as networks were taught, is answered a little differently: to be
        told the same, give `decode` its bytes and `sizes`, and `read_decoded` what it makes of them.
        """
        return self._read(Decoded.of_film(film, sha256), name, _Clock())

    def read_decoded(self, film: Decoded, *, name: str) -> Reading:
        """One film that `decode` decoded, perhaps in another process."""
        return self._read(film, name, _Clock())

    def _read(self, film: Decoded, name: str, clock: _Clock) -> Reading:
        with clock.stage("show"):
            told = Reading(
                name=name,
                sha256=film.sha256,
                format=film.facts.format.lower(),
                size=film.size,
                pixels=film.shown(),
                seconds=clock.seconds,
            )
        with clock.stage("gate"):
            look = self._look(film)
        told = replace(told, look=look)
        refusal = _stated(film, name) or (_looks(look, name) if self.policy.gate else None)
        if refusal:
            return replace(told, refusal=refusal)
        with clock.stage("lungs"):
            lungs = self._lungs(film, name)
        if lungs.both is None or not lungs.both.any():
            says = lungs.refusal or f"not applicable: no lung is found on {name}"
            return replace(told, lungs=lungs, refusal=Refusal("no-lungs", says))
        return self._judged(replace(told, lungs=lungs), film, lungs, look, clock)

    def _judged(self, told: Reading, film: Decoded, lungs: Lungs, look: Look, clock: _Clock) -> Reading:
        """The reading with what needs lungs."""
        if self.draws_lesions:
            with clock.stage("lesions"):
                told = replace(told, lesions=self._lesions(film, lungs))
        answers = tuple(self._answer(one, film, lungs, clock) for one in self.bundles)
        with clock.stage("notes"):
            doubt = () if look.view is View.FRONTAL and look.sure else (UNCERTAIN.format(look.upright[View.FRONTAL]),)
            drawn = (OVERDRAWN,) if told.lesions and not told.lesions.refusal else ()
            notes = (*doubt, *drawn, *quality_notes(film, lungs), *copy_notes(film, self.bundles))
        return replace(told, answers=answers, notes=notes)

    def _look(self, film: Decoded) -> Look:
        return self.view_filter.looks(self._beside_lungs(self.view_filter.preprocess, film)[None])[0]

    def _lungs(self, film: Decoded, name: str) -> Lungs:
        read = _film_read(film, self._beside_lungs(self.draws_lungs.preprocess, film))
        return next(drawn_lungs(self.draws_lungs, [(Path(name), read)]))

    def _lesions(self, film: Decoded, lungs: Lungs) -> Lesions | None:
        if self.draws_lesions is None:
            return None
        frame = self._beside_lungs(self.draws_lesions.preprocess, film)
        return next(drawn_lesions(self.draws_lesions, [lungs], [_film_read(film, frame, frame)]))

    def _beside_lungs(self, preprocess: Preprocess, film: Decoded) -> Frame:
        """A frame of the film as it is decoded for lungs, or larger: as `projection.read_films` decodes it for both."""
        return preprocess.frame(film.at_least(max(preprocess.decoded_px, self.draws_lungs.preprocess.decoded_px)))

    def _answer(self, one: Loaded, film: Decoded, lungs: Lungs, clock: _Clock) -> Answer:
        with clock.stage("classify"):
            preprocess = one.bundle.preprocess
            framed = frame_of(preprocess, film.at_least(preprocess.decoded_px), film.size, marked_of(lungs))
            if isinstance(framed, str):
                return answer(one, framed, self.policy)
            told = one.bundle.answers(framed.frame)
            said = answer(one, told, self.policy)
        if not self.policy.explain or said.label is None:
            return said
        with clock.stage("explain"):
            return replace(said, map=map_of(one, told, framed, said.label, lungs.both))

    def _warm_up(self) -> None:
        """Read a film of nothing with two boxes for lungs, so that the first real one takes no longer than others.

        The first pass through a network takes several times as long, and some modules are imported when first used.
        """
        film = Decoded.of_film(_ramp(), "")
        look, _ = self._look(film), self._lungs(film, "")
        right, left = (np.zeros(film.size, np.bool_) for _ in range(2))
        right[100:400, 60:220], left[100:400, 290:450] = True, True
        drawn = Lungs(film=Path(), bundle_digest="", right=right, left=left)
        self._judged(Reading(name="", look=look, lungs=drawn), film, drawn, look, _Clock())


def _ramp() -> Film:
    """A film (512, 512) that shows nothing."""
    side = 512
    facts = FilmFacts(format="PNG", width=side, height=side, mode="L", bits=8, bytes=side * side)
    return Film(pixels=np.tile(np.linspace(0, 1, side, dtype=np.float32), (side, 1)), facts=facts)


def _film_read(film: Decoded, *frames: Frame) -> FilmRead:
    high, wide = film.size
    return FilmRead(frames, film.size, film.facts.view_position, Box(0, high, 0, wide))


def _stated(film: Decoded, name: str) -> Refusal | None:
    """Why a film must not be read by its own header."""
    stated = film.facts.view_position
    says = why_stated(stated, name, VIEWS)
    return Refusal("lateral" if stated is View.LATERAL else "not-a-chest-film", says) if says else None


def _looks(look: Look, name: str) -> Refusal | None:
    """Why a film must not be read by what it looks like."""
    says = why_not(look, name, VIEWS)
    if says is None:
        return None
    kinds: Mapping[View, str] = {View.LATERAL: "lateral", View.OTHER: "not-a-chest-film"}
    return Refusal(kinds.get(look.view, "inverted" if look.inverted else "not-frontal"), says)

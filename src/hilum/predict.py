"""Predict: a bundle and films in; for each film a decision with its probabilities, or a refusal with its reason."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hilum.bundle import Bundle, SegmenterBundle, points_of
from hilum.cache import read_for
from hilum.engine import SCORING_BATCH
from hilum.enhance import Box
from hilum.errors import DataError, UsageError
from hilum.lungs import Lungs, lungs_bundle, segment_lungs
from hilum.parallel import CRASHED, Crashed, in_batches, in_order
from hilum.preprocess import Frame, Mask, Preprocess
from hilum.projection import FRONTAL_VIEWS, ViewFilter, read_films
from hilum.recipe import Films
from hilum.records import Finding, Prediction, View
from hilum.sources.tables import films_under

DECIDES = "youden"
"""The operating point that decides between two classes; three or more are decided by the highest probability."""


def find_films(paths: Sequence[Path]) -> list[Path]:
    """Files as given; folders as every film below them, sorted: known suffixes, and DICOM whatever its name.

    Raises:
        DataError: a path does not exist, or a folder is empty.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} does not exist")
        inside = [path] if path.is_file() else films_under(path)
        if not inside:
            raise DataError(f"folder {path} holds no film")
        found += inside
    return found


def predict_films(
    bundle: Bundle,
    paths: Sequence[Path],
    *,
    processes: int | None = None,
    gate: ViewFilter | None = None,
    lungs: SegmenterBundle | None = None,
) -> Iterator[Prediction]:
    """One prediction a film, in the order given; a film that cannot be read is a refusal, never an exception.

    Args:
        bundle: says what of each film.
        paths: films.
        processes: how many decode at once; default one a core.
        gate: refuses films that do not look like what the bundle reads; none lets every film through.
        lungs: draws lungs where the classifier reads films with lungs drawn on them; default the one of hilum's own.

    Raises:
        UsageError: the bundle reads films with masks that a source gives, or lungs that another bundle draws.
    """
    if bundle.preprocess.masked and bundle.preprocess.masks == "given":
        raise UsageError(
            f"{bundle.title}: this bundle needs lung masks (preprocess.lungs = '{bundle.preprocess.lungs}'); score it "
            "on an index that names them: hilum evaluate RUN --index FILE"
        )
    if bundle.preprocess.masked:
        batches = _inside_lungs(bundle, lungs_for(bundle, lungs), paths, gate, processes)
    else:
        batches = _whole(bundle, paths, gate, processes)
    for batch in batches:
        yield from _judge(bundle, batch)


def lungs_for(bundle: Bundle, lungs: SegmenterBundle | None = None) -> SegmenterBundle:
    """The bundle that draws the lungs a classifier was taught with; a classifier is not measured on any other's.

    Raises:
        UsageError: it is another one.
    """
    used = lungs or lungs_bundle()
    taught = str(bundle.provenance.get("lungs", {}).get("bundle", "unknown"))
    if taught != used.digest:
        raise UsageError(
            f"{bundle.title}: it was taught with lungs that bundle {taught[:12]} drew, and those at hand are drawn by "
            f"{used.digest[:12]}, so its figures do not hold; train it again, or use the hilum it was made with"
        )
    return used


def _whole(
    bundle: Bundle, paths: Sequence[Path], gate: ViewFilter | None, processes: int | None
) -> Iterator[list[tuple[Path, Frame | str]]]:
    """Films' frames in batches, or why there are none."""
    films = bundle.recipe.films
    views = views_read(films)
    batches = read_films(
        paths,
        (bundle.preprocess,),
        at_once=SCORING_BATCH,
        processes=processes,
        stated=films.views,
        gate=gate if views else None,
        views=views,
    )
    for batch in batches:
        yield [(path, read if isinstance(read, str) else read.frames[0]) for path, read in batch]


def _inside_lungs(
    bundle: Bundle, lungs: SegmenterBundle, paths: Sequence[Path], gate: ViewFilter | None, processes: int | None
) -> Iterator[list[tuple[Path, Frame | str]]]:
    """Like `_whole`, with lungs drawn first."""
    drawn = (marked_of(one) for one in segment_lungs(paths, bundle=lungs, gate=gate, processes=processes))
    framed = framed_inside(bundle.preprocess, drawn, total=len(paths), processes=processes)
    yield from in_batches(((path, one if isinstance(one, str) else one.frame) for path, one in framed), SCORING_BATCH)


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """A film with the lungs that a bundle is to read it by, (H, W) at any size, or why there are none.

    `flags` tell why the lungs are not to be believed, though they are there.
    """

    film: Path
    lungs: Mask | str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Framed:
    """What a bundle's network is shown of a film.

    Attributes:
        frame: (side, side).
        size: (height, width) the film is displayed at.
        seen: what of the film, at that size, the frame is made of.
        lungs: (H, W) at that size, where they are known.
        flags: why the lungs are not to be believed.
    """

    frame: Frame
    size: tuple[int, int]
    seen: Box
    lungs: Mask | None = None
    flags: tuple[str, ...] = ()


def marked_of(lungs: Lungs) -> Marked:
    """A film with the lungs drawn on it."""
    if lungs.both is not None and lungs.both.any():
        return Marked(lungs.film, lungs.both, lungs.flags)
    return Marked(lungs.film, lungs.refusal or f"not applicable: no lung is found on {lungs.film.name}")


def framed_inside(
    preprocess: Preprocess, marked: Iterable[Marked], *, total: int, processes: int | None = None
) -> Iterator[tuple[Path, Framed | str]]:
    """What a bundle that reads films by their lungs is shown of them, or why it is shown nothing; in their order.

    Films are decoded twice, as in training, where masks come first: what a film's mask and frame are made of is then
    the same to the last bit, and no film has to be kept at its full size while its lungs are drawn.

    Args:
        preprocess: the bundle's.
        marked: films with their lungs.
        total: how many films there are.
        processes: films decoded at once; default one a core.
    """
    work = partial(_framed, preprocess=preprocess)
    for one, framed in in_order(work, marked, processes=processes, total=total):
        if isinstance(framed, Framed) and not isinstance(one.lungs, str):
            yield one.film, replace(framed, lungs=_at_size(one.lungs, framed.size), flags=one.flags)
        else:
            yield one.film, CRASHED if isinstance(framed, Crashed) else framed


def _framed(marked: Marked, *, preprocess: Preprocess) -> Framed | str:
    if isinstance(marked.lungs, str):
        return marked.lungs
    film = read_for(preprocess, marked.film)
    if isinstance(film, str):
        return film
    return frame_of(preprocess, film.pixels, (film.facts.height, film.facts.width), marked)


def frame_of(
    preprocess: Preprocess, pixels: NDArray[np.float32], size: tuple[int, int], marked: Marked
) -> Framed | str:
    """What a bundle is shown of one decoded film, or why it is shown nothing.

    Args:
        preprocess: the bundle's.
        pixels: (H, W) in [0, 1], decoded as large as the preprocess needs.
        size: (height, width) that the film is displayed at.
        marked: the film with its lungs, which are looked at where the preprocess asks for them.
    """
    if isinstance(marked.lungs, str):
        return marked.lungs
    lungs = marked.lungs if preprocess.masked else None
    try:
        return Framed(preprocess.frame(pixels, lungs), size, preprocess.seen(pixels, lungs, size=size))
    except DataError as error:
        return f"not applicable: {marked.film.name}: {error}"


def _at_size(lungs: Mask, size: tuple[int, int]) -> Mask:
    if lungs.shape == size:
        return lungs
    scaled: Mask = cv2.resize(lungs.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT) > 0
    return scaled


def views_read(films: Films) -> tuple[View, ...]:
    """Which of frontal, lateral and other films a recipe's bundle may be given; none where a gate has nothing to say.

    A recipe that names no view is taken to mean frontal films, as all published classifiers do.
    """
    if films.modality == "CT" or View.OTHER in films.views:
        return ()
    frontal = not films.views or bool(set(films.views) & set(FRONTAL_VIEWS))
    lateral = View.LATERAL in films.views
    return (*((View.FRONTAL,) if frontal else ()), *((View.LATERAL,) if lateral else ()))


def _judge(bundle: Bundle, batch: Sequence[tuple[Path, Frame | str]]) -> Iterator[Prediction]:
    frames = [film for _, film in batch if not isinstance(film, str)]
    rows = iter(bundle.probabilities(bundle.logits(np.stack(frames)))) if frames else iter(())
    for path, film in batch:
        if isinstance(film, str):
            yield Prediction(film=str(path), bundle_digest=bundle.digest, refusal=film)
        else:
            yield _finding(bundle, path, next(rows))


def _finding(bundle: Bundle, path: Path, row: NDArray[Any]) -> Prediction:
    findings = findings_of(bundle, row)
    return Prediction(film=str(path), bundle_digest=bundle.digest, decided=decide(findings), findings=findings)


def findings_of(bundle: Bundle, row: NDArray[Any]) -> tuple[Finding, ...]:
    """A film's probabilities (classes,), each with the threshold it is held against."""
    return tuple(
        Finding(label=label, probability=float(value), threshold=points_of(bundle.operating_points, label).get(DECIDES))
        for label, value in zip(bundle.classes, row, strict=True)
    )


def decide(findings: Sequence[Finding]) -> str:
    """The label decided on: of two classes the positive one at or above its threshold, of more the likeliest."""
    positive = findings[0]
    if len(findings) == 2 and positive.threshold is not None:
        return positive.label if positive.probability >= positive.threshold else findings[1].label
    return max(findings, key=lambda finding: finding.probability).label


def as_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction for machines: plain values, no empty keys."""
    told: dict[str, Any] = {"film": prediction.film, "bundle": prediction.bundle_digest}
    if prediction.refusal is not None:
        return told | {"refused": prediction.refusal}
    probabilities = {finding.label: round(finding.probability, 6) for finding in prediction.findings}
    thresholds = {f.label: round(f.threshold, 6) for f in prediction.findings if f.threshold is not None}
    return told | {"decided": prediction.decided, "probabilities": probabilities, "thresholds": thresholds}

"""Predict: a bundle and films in; for each film a decision with its probabilities, or a refusal with its reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.bundle import Bundle, points_of
from hilum.cache import read_for
from hilum.errors import DataError, UsageError
from hilum.networks import SCORING_BATCH
from hilum.parallel import CRASHED, Crashed, in_batches, in_order
from hilum.pixels import Film
from hilum.preprocess import Frame, Preprocess
from hilum.projection import FRONTAL_VIEWS, ViewFilter, why_not
from hilum.recipe import Films
from hilum.records import Finding, Prediction, View
from hilum.sources.tables import films_under

DECIDES = "youden"
"""The operating point that decides between two classes; three or more are decided by the highest probability."""

FEW = 8
"""Up to so many films are decoded in this process: starting others would take longer."""


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


@dataclass(frozen=True, slots=True)
class _Readable:
    """A film's frame, and the one the gate looks at where there is a gate."""

    frame: Frame
    seen: Frame | None


def predict_films(
    bundle: Bundle, paths: Sequence[Path], *, processes: int | None = None, gate: ViewFilter | None = None
) -> Iterator[Prediction]:
    """One prediction a film, in the order given; a film that cannot be read is a refusal, never an exception.

    Args:
        bundle: says what of each film.
        paths: films.
        processes: how many decode at once; default one a core.
        gate: refuses films that do not look like what the bundle reads; none lets every film through.
    """
    if bundle.preprocess.masked:
        raise UsageError(
            f"{bundle.title}: this bundle needs lung masks (preprocess.lungs = '{bundle.preprocess.lungs}'); score it "
            "on an index that names them: hilum evaluate RUN --index FILE"
        )
    kept = views_read(bundle.recipe.films)
    gate = gate if kept else None
    work = partial(
        _readable,
        preprocess=bundle.preprocess,
        views=bundle.recipe.films.views,
        gate=gate.preprocess if gate else None,
    )
    films = in_order(work, paths, processes=1 if len(paths) <= FEW else processes)
    for batch in in_batches(films, SCORING_BATCH):
        told = [(path, CRASHED if isinstance(film, Crashed) else film) for path, film in batch]
        yield from _judge(bundle, _gated(gate, told, kept) if gate else told)


def views_read(films: Films) -> tuple[View, ...]:
    """Which of frontal, lateral and other films a recipe's bundle may be given; none where a gate has nothing to say.

    A recipe that names no view is taken to mean frontal films, as all published classifiers do.
    """
    if films.modality == "CT" or View.OTHER in films.views:
        return ()
    frontal = not films.views or bool(set(films.views) & set(FRONTAL_VIEWS))
    lateral = View.LATERAL in films.views
    return (*((View.FRONTAL,) if frontal else ()), *((View.LATERAL,) if lateral else ()))


def _readable(
    path: Path, *, preprocess: Preprocess, views: tuple[View, ...], gate: Preprocess | None
) -> _Readable | str:
    """One film's frames, or why there are none: unreadable, or by its own header not what the bundle reads."""
    film = read_for(preprocess, path)
    if isinstance(film, str):
        return film
    stated = film.facts.view_position
    if stated is View.OTHER and View.OTHER not in views:
        return f"not applicable: {path.name} is no chest film by its own header"
    if stated is View.LATERAL and views and View.LATERAL not in views:
        return f"not applicable: {path.name} is a lateral film by its own header; the bundle reads {', '.join(views)}"
    return _Readable(preprocess.frame(film.pixels), _seen(gate, path, film, preprocess) if gate else None)


def _seen(gate: Preprocess, path: Path, film: Film, preprocess: Preprocess) -> Frame:
    """The gate's frame; of a film that was decoded smaller than the gate needs, decoded again."""
    if gate.decoded_px <= preprocess.decoded_px:
        return gate.frame(film.pixels)
    larger = read_for(gate, path)
    return gate.frame((film if isinstance(larger, str) else larger).pixels)


def _gated(
    gate: ViewFilter, batch: Sequence[tuple[Path, _Readable | str]], views: Sequence[View]
) -> list[tuple[Path, _Readable | str]]:
    """The batch with films the bundle is not made for as refusals."""
    seen = [film.seen for _, film in batch if isinstance(film, _Readable) and film.seen is not None]
    looks = iter(gate.looks(np.stack(seen)) if seen else ())
    return [
        (path, (why_not(next(looks), path.name, views) or film) if isinstance(film, _Readable) else film)
        for path, film in batch
    ]


def _judge(bundle: Bundle, batch: Sequence[tuple[Path, _Readable | str]]) -> Iterator[Prediction]:
    frames = [film.frame for _, film in batch if isinstance(film, _Readable)]
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

"""Predict: a bundle and films in; for each film a decision with its probabilities, or a refusal with its reason."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.bundle import Bundle, points_of
from hilum.cache import read_for
from hilum.errors import DataError, UsageError
from hilum.networks import SCORING_BATCH
from hilum.parallel import Crashed, spread
from hilum.preprocess import Frame, Preprocess
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


def predict_films(bundle: Bundle, paths: Sequence[Path], *, processes: int | None = None) -> Iterator[Prediction]:
    """One prediction a film, in the order given; a film that cannot be read is a refusal, never an exception."""
    if bundle.preprocess.masked:
        raise UsageError(
            f"{bundle.title}: this bundle needs lung masks (preprocess.lungs = '{bundle.preprocess.lungs}'); score it "
            "on an index that names them: hilum evaluate RUN --index FILE"
        )
    batch: list[tuple[Path, Frame | str]] = []
    for item in _frames(bundle, paths, processes):
        batch.append(item)
        if len(batch) == SCORING_BATCH:
            yield from _judge(bundle, batch)
            batch = []
    yield from _judge(bundle, batch)


def _frames(bundle: Bundle, paths: Sequence[Path], processes: int | None) -> Iterator[tuple[Path, Frame | str]]:
    """Frames or reasons in order, whatever order the processes finish in."""
    work = partial(_readable, preprocess=bundle.preprocess, views=bundle.recipe.films.views)
    items = list(enumerate(paths))
    ready: dict[int, Frame | str] = {}
    following = 0
    for (number, _), frame in spread(work, items, processes=1 if len(paths) <= FEW else processes):
        ready[number] = "the film crashed its decoder" if isinstance(frame, Crashed) else frame
        while following in ready:
            yield paths[following], ready.pop(following)
            following += 1


def _readable(item: tuple[int, Path], *, preprocess: Preprocess, views: tuple[View, ...]) -> Frame | str:
    """One film's frame, or why there is none: unreadable, or by its own header not what the bundle reads."""
    path = item[1]
    film = read_for(preprocess, path)
    if isinstance(film, str):
        return film
    stated = film.facts.view_position
    if stated is View.OTHER and View.OTHER not in views:
        return f"not applicable: {path.name} is no chest film by its own header"
    if stated is View.LATERAL and views and View.LATERAL not in views:
        return f"not applicable: {path.name} is a lateral film by its own header; the bundle reads {', '.join(views)}"
    return preprocess.frame(film.pixels)


def _judge(bundle: Bundle, batch: Sequence[tuple[Path, Frame | str]]) -> Iterator[Prediction]:
    frames = [frame for _, frame in batch if not isinstance(frame, str)]
    rows = iter(bundle.probabilities(bundle.logits(np.stack(frames)))) if frames else iter(())
    for path, frame in batch:
        if isinstance(frame, str):
            yield Prediction(film=str(path), bundle_digest=bundle.digest, refusal=frame)
        else:
            yield _finding(bundle, path, next(rows))


def _finding(bundle: Bundle, path: Path, row: NDArray[Any]) -> Prediction:
    findings = tuple(
        Finding(label=label, probability=float(value), threshold=points_of(bundle.operating_points, label).get(DECIDES))
        for label, value in zip(bundle.classes, row, strict=True)
    )
    return Prediction(film=str(path), bundle_digest=bundle.digest, decided=decide(findings), findings=findings)


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

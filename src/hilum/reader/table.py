"""Readings as a CSV: a row for each film and classifier, and one for each film that is refused."""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from hilum.files import written_aside
from hilum.lesions import LESIONS
from hilum.reader.reading import Answer, Reading
from hilum.reader.words import decisive

SEVERITY = ("brixia", "extent", "opacity")
COLUMNS = (
    *("film", "sha256", "outcome", "bundle", "digest", "decided", "label", "probability", "low", "high", "threshold"),
    *("reasons", "verdict", "map_in_lungs", "view", "view_probability"),
    *(f"{label}_share" for label in LESIONS),
    *(f"{name}{end}" for name in SEVERITY for end in ("", "_low", "_high")),
    *("notes", "refused_kind", "refused"),
)
"""`label` is the one that `probability` and `threshold` are of: of two labels the first, else the one decided."""


def write_table(found: Sequence[tuple[Path, Reading]], path: Path) -> None:
    """Write `COLUMNS`; what is not there is empty.

    Args:
        found: films with their readings.
        path: of the CSV.
    """
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="")
        writer.writeheader()
        for film, reading in found:
            shared = {"film": str(film), "sha256": reading.sha256 or "", "outcome": reading.outcome.value}
            rows = [dict(_answered(one)) for one in reading.answers] or [{}]
            writer.writerows(shared | dict(_of_film(reading)) | row for row in rows)


def _answered(one: Answer) -> Iterator[tuple[str, str]]:
    yield from (("outcome", one.outcome.value), ("bundle", one.bundle), ("digest", one.digest))
    yield from (("decided", one.label or ""), ("reasons", "; ".join(one.reasons)), ("verdict", one.verdict or ""))
    held = decisive(one)
    if held:
        yield "label", held.label
        for name in ("probability", "low", "high", "threshold"):
            yield name, _number(getattr(held, name))
    if one.map and one.map.lungs:
        yield "map_in_lungs", _number(one.map.lungs.energy)


def _of_film(reading: Reading) -> Iterator[tuple[str, str]]:
    yield "notes", "; ".join(reading.notes)
    if reading.look:
        yield from (("view", reading.look.view.value), ("view_probability", _number(reading.look.probability)))
    if reading.refusal:
        yield from (("refused_kind", reading.refusal.kind), ("refused", reading.refusal.says))
    if reading.lesions and not reading.lesions.refusal:
        yield from ((f"{label}_share", _number(reading.lesions.shares[f"{label}_both"])) for label in LESIONS)
        for score in reading.lesions.scores:
            if score.name in SEVERITY:
                ends = (("", score.value), ("_low", score.low), ("_high", score.high))
                yield from ((score.name + end, _number(value)) for end, value in ends)


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"

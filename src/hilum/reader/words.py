"""A reading in plain text for people, line by line."""

import math
from collections.abc import Iterator

from hilum.lesions import LESIONS, Lesions
from hilum.reader.reading import Answer, Held, Outcome, Reading

COVERS = {"ggo": "ground glass", "consolidation": "consolidation"}


def decisive(one: Answer) -> Held | None:
    """The finding that the outcome rests on: of two labels the first, which has the threshold; else the one decided."""
    if len(one.findings) == 2:
        return one.findings[0]
    return next((held for held in one.findings if held.label == one.label), None)


def words_of(label: str | None) -> str:
    """A label as it is said.

    >>> words_of("other_pneumonia")
    'other pneumonia'
    """
    return (label or "").replace("_", " ")


def lines_of(reading: Reading) -> Iterator[str]:
    """What is said of a film: outcome first, then what speaks against believing it; headlines are left out."""
    if reading.refusal:
        yield f"{reading.name}: REFUSED ({reading.refusal.kind})"
        yield f"  {reading.refusal.says}"
        return
    for one in reading.answers:
        yield f"{reading.name}: {one.outcome.value}  {held_words(one)}  ({one.bundle})"
        yield from (f"  why: {reason}" for reason in one.reasons)
        yield from map_words(one)
    if reading.lesions:
        yield from (f"  {line}" for line in lesion_words(reading.lesions))
    yield from (f"  note: {note}" for note in reading.notes)


def held_words(one: Answer) -> str:
    """`covid19 0.61 [0.52, 0.70] against 0.47`."""
    held = decisive(one)
    if held is None:
        return "no numbers"
    interval = "" if held.low is None else f" [{held.low:.2f}, {held.high:.2f}]"
    against = "" if held.threshold is None else f" against {held.threshold:.2f}"
    return f"{words_of(held.label)} {held.probability:.2f}{interval}{against}"


def map_words(one: Answer) -> Iterator[str]:
    """How much of the map lies in the lungs, or why there is none."""
    if one.map and one.map.lungs:
        share = f"{100 * one.map.lungs.energy:.0f} % of the map for {words_of(one.label)} lies in the lungs"
        yield f"  {share}, which are {100 * one.map.lungs.area:.0f} % of what the network saw"
    elif one.map and one.map.no_map:
        yield f"  no map: {one.map.no_map}"


def lesion_words(lesions: Lesions) -> Iterator[str]:
    """Shares of the lungs, and severity."""
    if lesions.refusal:
        return
    told = []
    for label in LESIONS:
        share = lesions.shares[f"{label}_both"]
        told.append(f"{COVERS[label]} " + ("not told" if math.isnan(share) else f"{100 * share:.0f} % of the lungs"))
    yield ", ".join(told)
    totals = [score for score in lesions.scores if "_zone_" not in score.name]
    if totals:
        scores = [f"{one.name} {one.value:.1f} [{one.low:.1f}, {one.high:.1f}] of {one.highest:g}" for one in totals]
        yield f"severity: {', '.join(scores)}"


def caveats(answers: tuple[Answer, ...]) -> Iterator[str]:
    """A line for each classifier: its score and verdict, and what the verdict means where it is FAIL."""
    for one in answers:
        yield f"{one.bundle}: {one.headline}"
        if one.verdict == "FAIL":
            yield f"{one.bundle}: its audit says FAIL: do not take its answers for findings in lungs"


def counted(readings: list[Reading]) -> str:
    """How many films have which outcome."""
    counts = {outcome: sum(one.outcome is outcome for one in readings) for outcome in Outcome}
    return ", ".join(f"{number} {outcome.value}" for outcome, number in counts.items() if number)

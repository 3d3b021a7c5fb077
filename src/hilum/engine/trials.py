"""`engines.json`: how near each engine came to torch in float32 on films, and whether that is near enough to use it."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from hilum.engine.record import Closed, OfBundle, read_of_bundle
from hilum.errors import BundleError

ENGINES = "engines.json"
FORMAT = 1

FEWEST_FILMS = 100
"""With no decision changed on so many, fewer than 3 in 100 change with 95 % confidence (Hanley and Lippman-Hand, "If
nothing goes wrong, is everything all right?", JAMA 1983, doi 10.1001/jama.1983.03330370053031)."""
LARGEST_SHIFT = 0.01
"""Of a classifier's probability: it is shown in whole per cent."""
LARGEST_FLIPPED = 1e-3
"""Share of a segmentation network's pixels. Two readers' lungs differ in several per cent of their pixels."""
LARGEST_SHARE = 2e-3
"""Change of what share of a frame a label covers; lungs cover a quarter or more, so under one per cent of them."""


class CheckedOn(Closed):
    """Which films an engine was checked on."""

    films: int = Field(ge=1)
    digest: str
    """Of the index, or of the films' own hashes."""
    named: str = Field(max_length=200)
    """What they are, in words; no film's name."""


class Trial(Closed):
    """One engine against torch in float32.

    Attributes:
        largest: the largest change of any probability, of a segmentation network of any pixel's.
        median: of each film's largest change.
        flips: of a classifier, films on which another class is likeliest or a probability crosses a threshold.
        pixels_flipped: of a segmentation network, the share of pixels that change sides.
        largest_share: of a segmentation network, the largest change of the share of a frame that a label covers.
        selftest: the largest change of a logit of the bundle's self-test, in units of the largest of these (of one).
        ms: median milliseconds a film, of passes that took turns with the other engines'.
        processor_ms: the same of the processor's time.
        passed: near enough to be used.
    """

    largest: float = Field(ge=0, le=1)
    median: float = Field(ge=0, le=1)
    flips: int | None = Field(ge=0)
    pixels_flipped: float | None = Field(ge=0, le=1)
    largest_share: float | None = Field(ge=0, le=1)
    selftest: float = Field(ge=0)
    ms: float = Field(ge=0)
    processor_ms: float = Field(ge=0)
    passed: bool


class EngineRecord(OfBundle):
    """`engines.json`, key by key."""

    network: str
    """SHA-256 of `network.onnx`."""
    checked_on: CheckedOn
    trials: Mapping[str, Trial]
    """By engine; `torch` itself is among them for its time."""
    limits: Mapping[str, float]
    versions: Mapping[str, str]
    processor: str
    instructions: tuple[str, ...]
    """Of the processor's, those for short numbers."""
    threads: int = Field(ge=1)


def limits() -> dict[str, float]:
    """What a trial must keep to be passed, by name."""
    return {
        "fewest_films": FEWEST_FILMS,
        "largest": LARGEST_SHIFT,
        "flips": 0,
        "pixels_flipped": LARGEST_FLIPPED,
        "largest_share": LARGEST_SHARE,
    }


def near_enough(
    films: int,
    *,
    largest: float,
    flips: int | None = None,
    pixels_flipped: float | None = None,
    largest_share: float | None = None,
) -> bool:
    """Whether an engine may be used, after so many films: a classifier's has `flips`, a segmentation network's not.

    >>> near_enough(120, largest=0.004, flips=0), near_enough(120, largest=0.004, flips=1)
    (True, False)
    """
    if films < FEWEST_FILMS:
        return False
    if flips is not None:
        return flips == 0 and largest <= LARGEST_SHIFT
    kept = pixels_flipped is not None and pixels_flipped <= LARGEST_FLIPPED
    return kept and largest_share is not None and largest_share <= LARGEST_SHARE


def read_engines(folder: Path, digest: str) -> EngineRecord:
    """The checked record of a bundle's engines.

    Args:
        folder: the bundle's.
        digest: the bundle's without notes.

    Raises:
        BundleError: there is none, it is of another bundle or format, or it says passed of what is not near enough.
    """
    file = folder / ENGINES
    if not file.is_file():
        raise BundleError(f"the engines of {folder} were not checked on films: hilum engines {folder} FILMS")
    remedy = "check this one's engines again"
    record = read_of_bundle(file, EngineRecord, FORMAT, digest, is_a="record of engines", remedy=remedy)
    for name, trial in record.trials.items():
        if trial.passed != _follows(record, trial):
            raise BundleError(f"{file} says of '{name}' what its figures do not: check the engines again")
    return record


def _follows(record: EngineRecord, trial: Trial) -> bool:
    return near_enough(
        record.checked_on.films,
        largest=trial.largest,
        flips=trial.flips,
        pixels_flipped=trial.pixels_flipped,
        largest_share=trial.largest_share,
    )

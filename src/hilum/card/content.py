"""What a card tells: every section is facts, sentences and tables, and what is not recorded keeps its place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hilum.audit.attached import Known
from hilum.bundle import Figure
from hilum.bundle.notes import Failure
from hilum.report.tables import Grid

Standing = Literal["same", "other", "unknown"]
BLANK = "not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of a card; `told` is None for a named blank."""

    name: str
    told: str | None
    asked: str = ""
    """What belongs into the blank, where the name does not say it."""

    @property
    def text(self) -> str:
        """What is told, or which blank this is."""
        return f"{BLANK}: {self.asked or self.name.lower()}" if self.told is None else self.told


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a card."""

    key: str
    title: str
    facts: tuple[Fact, ...] = ()
    sentences: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    gaps: tuple[str, ...] = ()
    """Blanks that are no facts of their own, such as a whole table."""
    cells: tuple[str, ...] = ()
    """Blanks that show in the tables."""

    def blanks(self) -> Iterator[str]:
        """Everything this section has a place for and the bundle says nothing about."""
        yield from self.gaps
        yield from self.cells
        yield from (fact.asked or fact.name.lower() for fact in self.facts if fact.told is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure, and how its films stand to those trained on."""

    figure: Figure
    standing: Standing
    words: str | None = None

    @property
    def own(self) -> bool:
        """Whether this bundle's own training was measured."""
        return self.figure.training == "this"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A bundle's card, the same for the same bundle."""

    title: str
    kind: str
    digest: str
    disclaimer: str
    headline: str | None
    """Of the run that made it: score, interval, floor, unseen source and, of a classifier, its audit's verdict."""
    sections: tuple[Section, ...]
    measured: tuple[Measured, ...]
    failures: tuple[Failure, ...]
    recipe: str
    """TOML."""
    audit: Known | None = None
    """What is known of a classifier's audit; None for what `hilum audit` asks nothing about."""

    @property
    def blanks(self) -> tuple[str, ...]:
        """All that is not recorded, in the order of the card."""
        return tuple(dict.fromkeys(blank for section in self.sections for blank in section.blanks()))

    def section(self, key: str) -> Section:
        """The section of this key."""
        return next(section for section in self.sections if section.key == key)

    def elsewhere(self) -> str:
        """Whether it was measured on films of a source it was not trained on, in a sentence."""
        return elsewhere(self.measured)


def elsewhere(measured: Sequence[Measured]) -> str:
    """Whether any figure is of films of a source not trained on, in a sentence.

    >>> elsewhere(())
    'Figures on films of another source: none measured.'
    """
    own = [one for one in measured if one.standing == "other" and one.own]
    other = [one for one in measured if one.standing == "other" and not one.own]
    if own:
        count = len({one.figure.films for one in own})
        return f"Figures on films of another source: {count} set{'s' if count > 1 else ''} of films."
    if other:
        return "Figures on films of another source: none measured of this bundle, only of another training."
    if any(one.standing == "unknown" for one in measured):
        return "Figures on films of another source: not recorded which, if any."
    return "Figures on films of another source: none measured."

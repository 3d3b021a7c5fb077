"""What is known of a data set before one of its films is opened, and the reader that goes with it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hilum.records import Radiograph


@dataclass(frozen=True, kw_only=True)
class Datasheet:
    """Where a data set comes from, what it holds, and what must not be concluded from it.

    `counts` are the published ones, not what is on this disk. `labels` are all the labels its films can carry.
    `known_absent` are labels that no film of the set can carry whatever it shows, because of when or how it was
    made (COVID-19 in films older than the virus); every film with a diagnosis has them set to False. `collections`
    says of a set put together from others which of them the films of a label were taken from.
    """

    name: str
    title: str
    what: str
    who: str
    where: str
    devices: str
    years: str
    counts: Mapping[str, int]
    views: str
    labels: tuple[str, ...]
    licence: str
    citation: str
    homepages: tuple[str, ...]
    obtain: tuple[str, ...]
    layout: str
    caveats: tuple[str, ...]
    known_absent: tuple[str, ...] = ()
    collections: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The whole sheet as plain text, for a terminal."""
        facts = {
            "who": self.who,
            "where": self.where,
            "devices": self.devices,
            "years": self.years,
            "views": self.views,
            "labels": ", ".join(self.labels) or "none",
            "counts": ", ".join(f"{what} {count:,}" for what, count in self.counts.items()) or "not published",
            "licence": self.licence,
            "citation": self.citation,
            "homepage": ", ".join(self.homepages) or "none",
        }
        if self.collections:
            facts["taken from"] = ", ".join(f"{label}: {name}" for label, name in self.collections.items())
        width = max(map(len, facts))
        lines = [f"{self.name}: {self.title}", self.what, ""]
        lines += [f"{fact:<{width}}  {value}" for fact, value in facts.items()]
        lines += ["", "How to get it:", *(f"  {step}. {text}" for step, text in enumerate(self.obtain, start=1))]
        lines += ["", "Expected on disk:", *(f"  {line}" for line in self.layout.strip().splitlines())]
        lines += ["", "Beware:", *(f"  - {caveat}" for caveat in self.caveats)]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A datasheet and its reader: the folder of the data set, in its published layout -> its films.

    `collection` tells where a film of a set put together from others was taken from, where its label does not.
    """

    sheet: Datasheet
    read: Callable[[Path], Iterator[Radiograph]]
    collection: Callable[[Radiograph], str | None] | None = None

    def collection_of(self, film: Radiograph) -> str | None:
        """What a film was taken from: of a set of one origin, or where nobody knows, None."""
        if self.collection is not None:
            return self.collection(film)
        return next((name for label, name in self.sheet.collections.items() if film.labels.get(label)), None)

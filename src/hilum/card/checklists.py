"""The card's answers to reporting checklists, item by item; what it does not say is a named blank.

Numbered as in two editions, with topics and questions in words of our own, which do not replace the items' text:

* CLAIM, the 2024 update of 44 items: Tejani et al. 2024, doi:10.1148/ryai.240300; the first edition, of 42, is
  Mongan et al. 2020, doi:10.1148/ryai.2020200029.
* TRIPOD+AI, 2024, 27 items in 52 parts: Collins et al. 2024, doi:10.1136/bmj-2023-078378.

An item counts as answered only where the card tells all that is asked; where it tells a part, that stands beside the
blank. Items about a manuscript are left to it.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from hilum.card.checklist_items import CLAIM, PAPER, PARTS, TRIPOD_AI, Row
from hilum.card.content import BLANK, Card

Standing = Literal["answered", "blank", "paper"]
OF_PAPER = "not for a bundle: paper"
LONGEST = 160
"""Letters of one answer: the card tells the whole of it above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item of a checklist."""

    number: str
    topic: str
    told: str | None
    """What the card tells; beside a blank, the part that it does tell."""
    asked: str
    """All that belongs here, in few words; empty for an item of the paper."""
    missing: tuple[str, ...] = ()
    """What the author has to add."""

    @property
    def standing(self) -> Standing:
        """Whether the card answers it, leaves it blank, or it is of the paper."""
        return "paper" if not self.asked else "blank" if self.missing else "answered"

    @property
    def blank(self) -> str:
        """The blank by its name; empty where there is none."""
        return f"{BLANK}: {'; '.join(self.missing)}" if self.missing else ""

    @property
    def text(self) -> str:
        """The answer, what there is of it, or that it is of the paper."""
        return OF_PAPER if self.standing == "paper" else " · ".join(filter(None, (self.told, self.blank)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """A checklist as a card answers it."""

    key: str
    name: str
    edition: str
    items: tuple[Item, ...]

    def number_of(self, standing: Standing) -> int:
        """How many items stand so."""
        return sum(item.standing == standing for item in self.items)

    @property
    def line(self) -> str:
        """How far the card goes, in one line."""
        return (
            f"{self.name}, {self.edition}: answered {self.number_of('answered')} of {len(self.items)}, "
            f"blank {self.number_of('blank')}, of the paper {self.number_of('paper')}"
        )


def checklists_of(card: Card) -> tuple[Checklist, ...]:
    """CLAIM and TRIPOD+AI as this card answers them."""
    return (
        Checklist(key="claim", name="CLAIM", edition="2024 update", items=_items(CLAIM, card)),
        Checklist(key="tripod_ai", name="TRIPOD+AI", edition="2024", items=_items(TRIPOD_AI, card)),
    )


def checklist_json(checklist: Checklist) -> dict[str, Any]:
    """A checklist as plain values."""
    kinds: tuple[Standing, ...] = ("answered", "blank", "paper")
    return {
        "name": checklist.name,
        "edition": checklist.edition,
        "count": {"items": len(checklist.items)} | {kind: checklist.number_of(kind) for kind in kinds},
        "items": [
            {
                "number": item.number,
                "topic": item.topic,
                "asked": item.asked or None,
                "standing": item.standing,
                "told": item.told,
                "missing": list(item.missing),
            }
            for item in checklist.items
        ],
    }


def _items(rows: Iterable[Row], card: Card) -> tuple[Item, ...]:
    return tuple(_item(row, card) for row in rows)


def _item(row: Row, card: Card) -> Item:
    number, topic, *names = row
    if names == [PAPER]:
        return Item(number=number, topic=topic, told=None, asked="")
    told: list[str] = []
    missing: list[str] = []
    for part in (PARTS[name] for name in names):
        found = [text for place in part.places if (text := place(card))]
        told += [textwrap.shorten(text, LONGEST, placeholder=" …") for text in found]
        missing += [part.asked] if part.asked and not found else []
    return Item(
        number=number,
        topic=topic,
        told=" · ".join(dict.fromkeys(told)) or None,
        asked="; ".join(PARTS[name].asked for name in names if PARTS[name].asked),
        missing=tuple(missing),
    )

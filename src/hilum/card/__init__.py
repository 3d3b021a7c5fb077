"""Card: what a bundle is, for whom, from what, how good, where it fails, and what nobody recorded."""

from hilum.card.content import BLANK, Card, Fact, Measured, Section
from hilum.card.drawing import contour_of
from hilum.card.pages import card_json, card_markdown, card_page, short_card, write_card
from hilum.card.reading import read_card

__all__ = [
    "BLANK",
    "Card",
    "Fact",
    "Measured",
    "Section",
    "card_json",
    "card_markdown",
    "card_page",
    "contour_of",
    "read_card",
    "short_card",
    "write_card",
]

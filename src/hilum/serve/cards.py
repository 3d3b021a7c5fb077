"""The cards of the bundles that are served, made once and remembered."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilum.errors import MissingExtra
from hilum.serve.refusals import Refusal

CARD_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
"""A card has its style inside and no script at all."""


class Cards:
    """Cards by the bundle's name.

    Args:
        folders: bundle name -> its folder; what is not here is not looked for anywhere.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)
        self._made: dict[str, tuple[str, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def card(self, name: str) -> tuple[str, dict[str, Any]]:
        """A bundle's card as a page and as JSON.

        Raises:
            Refusal: no such bundle is served, or the card cannot be made here.
        """
        if name not in self._folders:
            raise Refusal(404, "unknown-bundle", "no bundle of that name is served; /api/bundles lists them")
        with self._lock:
            if name not in self._made:
                self._made[name] = _made(self._folders[name])
            return self._made[name]


def _made(folder: Path) -> tuple[str, dict[str, Any]]:
    try:
        from hilum.card import card_json, card_page, read_card
    except (MissingExtra, ModuleNotFoundError):
        raise Refusal(501, "no-card", "cards need more than is installed here; use `hilum card` elsewhere") from None
    told = read_card(folder)
    return card_page(told), card_json(told)

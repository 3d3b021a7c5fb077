"""The command that tells what a bundle is: card."""

from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.options import AsJson, print_json
from hilum.console import OUT
from hilum.process import settle


def card(
    bundle: Annotated[str, typer.Argument(help="A bundle's or a run's folder, or the name of one hilum comes with.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for card.html, card.md and card.json.", file_okay=False)
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """A bundle's card: use and misuse, data, figures, failures, and what is not recorded.

    Example: `hilum card lungs --out card`
    """
    settle()
    from hilum.bundle import bundle_folder
    from hilum.card import card_json, read_card, short_card, write_card

    told = read_card(bundle_folder(bundle))
    written = write_card(told, out) if out else ()
    if as_json:
        print_json(card_json(told))
        return
    OUT.print(short_card(told), soft_wrap=True, highlight=False)
    for path in written:
        OUT.print(f"card: {path}", highlight=False, soft_wrap=True)

"""What several commands have in common: their options, and plain output for machines."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hilum.errors import UsageError

if TYPE_CHECKING:
    from hilum.index import Index

REFUSED = 3
"""Exit status: done, but some films were refused."""

Root = Annotated[Path, typer.Option(help="Folder the data sets lie in, as ROOT/NAME.", file_okay=False)]
Processes = Annotated[int | None, typer.Option(help="Films worked on at once; default one a core.", min=1)]
Backbone = Annotated[str | None, typer.Option(help="In place of the recipe's: a timm name, own:NAME or xrv:NAME.")]
Weights = Annotated[
    str | None, typer.Option(help="In place of the recipe's: packaged, cache, hub (downloads), random or file:PATH.")
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change the recipe, KEY=VALUE as in TOML; repeatable; recorded.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def told_changes(backbone: str | None, weights: str | None, changes: list[str] | None) -> dict[str, str]:
    """What the command line changes of a recipe: dotted key -> value."""
    told = {"network.backbone": backbone, "network.weights": weights}
    found = {key: value for key, value in told.items() if value is not None}
    for change in changes or []:
        key, equals, value = change.partition("=")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, such as --set schedule.epochs=10, not '{change}'")
        found[key.strip()] = value.strip()
    return found


def given_index(root: Path | None, index_file: Path | None) -> "Index | None":
    """The index named with --index, or None where --root says where the films are.

    Raises:
        UsageError: both are named, or neither.
    """
    from hilum.index import Index

    if (root is None) == (index_file is None):
        raise UsageError("say where the films are: --root DATA, or --index FILE")
    return Index.load(index_file) if index_file else None


def print_json(value: Any) -> None:
    """A value as JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_plain(text: str) -> None:
    """Text on standard output, as it is."""
    sys.stdout.write(text.rstrip("\n") + "\n")

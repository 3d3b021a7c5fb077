"""The `hilum` command: parse, call one function, print, exit status.

Exit status: 0 done, 1 failed, 2 wrong use, 3 some films were refused, 130 interrupted.
"""

import sys
from typing import Annotated

import typer
from rich.text import Text

from hilum import __version__
from hilum.cli.anatomy import lungs
from hilum.cli.audit import audit
from hilum.cli.cache import cache
from hilum.cli.card import card
from hilum.cli.data import describe, export, index, preprocess, simulate, sources_app
from hilum.cli.duplicates import duplicates
from hilum.cli.engines import engines
from hilum.cli.explain import explain
from hilum.cli.judge import evaluate, predict, report
from hilum.cli.learn import compare, recipes_app, reproduce, train
from hilum.cli.lesions import boxes, lesions
from hilum.cli.read import read
from hilum.cli.serve import serve
from hilum.cli.view import view
from hilum.console import ERR, OUT
from hilum.errors import HilumError
from hilum.records import DISCLAIMER

__all__ = ["app", "main"]

app = typer.Typer(
    help="Train, audit and serve chest-radiograph classifiers, and learn whether they read lungs or data sets.\n\n"
    + DISCLAIMER,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
# The help lists the verbs in this order.
for verb in (
    index,
    describe,
    duplicates,
    view,
    preprocess,
    cache,
    export,
    train,
    compare,
    reproduce,
    evaluate,
    audit,
    predict,
    read,
    explain,
    lungs,
    lesions,
    boxes,
    report,
    card,
    engines,
    serve,
    simulate,
):
    app.command()(verb)
app.add_typer(sources_app, name="sources")
app.add_typer(recipes_app, name="recipes")


def _version(wanted: bool) -> None:
    if wanted:
        OUT.print(f"hilum {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; errors become one sentence and an exit status."""
    try:
        app()
    except HilumError as error:
        ERR.print(Text(f"hilum: {error}"), soft_wrap=True)
        sys.exit(error.exit_status)
    except OSError as error:
        ERR.print(Text(f"hilum: {error.strerror or error}: {error.filename or ''}"), soft_wrap=True)
        sys.exit(1)

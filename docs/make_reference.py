"""Write the reference pages that are made from the code: commands.md, recipe.md and sources.md in docs/reference.

With --check nothing is written; the exit status is 1 when a page is not what the code says.
"""

import argparse
import ast
import datetime as dt
import inspect
import itertools
import sys
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from hilum.cli import app
from hilum.recipe import Recipe
from hilum.sources import SOURCES, Datasheet

REFERENCE = Path(__file__).parent / "reference"
MADE = "<!-- Made from the code by docs/make_reference.py; change it there. -->"
LIMITS = (
    ("ge", "from {}"),
    ("gt", "above {}"),
    ("le", "to {}"),
    ("lt", "below {}"),
    ("min_length", "at least {} of them"),
)
KINDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    dt.date: "date, such as 2020-03-01",
    Path: "path",
}


def cell(text: object) -> str:
    """Text that stays inside its cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table, a line a row."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return [*lines, *("| " + " | ".join(cell(text) for text in row) + " |" for row in rows), ""]


def bare(kind: Any) -> Any:
    """A type without its annotations and without None."""
    if typing.get_origin(kind) is typing.Annotated:
        return bare(typing.get_args(kind)[0])
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return bare(next(part for part in typing.get_args(kind) if part is not type(None)))
    return kind


def bounded(limits: Sequence[Any]) -> str:
    """Bounds in brackets, or nothing."""
    told = [
        text.format(f"{getattr(limit, bound):g}")
        for limit in limits
        for bound, text in LIMITS
        if getattr(limit, bound, None) is not None
    ]
    return f" ({', '.join(told)})" if told else ""


def spelt(kind: Any) -> str:
    """A type in words a user of TOML or of a shell knows, with the bounds it carries."""
    if typing.get_origin(kind) is typing.Annotated:
        limits = [limit for told in kind.__metadata__ for limit in getattr(told, "metadata", ())]
        return spelt(bare(kind)) + bounded(limits)
    kind = bare(kind)
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (tuple, list):
        return f"list of: {spelt(parts[0])}"
    if origin is dict:
        return "table"
    if isinstance(kind, type) and issubclass(kind, str) and kind is not str:
        return ", ".join(f"`{value}`" for value in typing.cast("Any", kind))
    return KINDS[kind]


def paragraphs(function: Callable[..., Any]) -> str:
    """A command's docstring, its examples as code blocks."""
    text = inspect.getdoc(function) or ""
    before, _, example = text.partition("Example: ")
    return before.strip() + (f"\n\n```console\n$ {example.strip().strip('`')}\n```" if example else "")


def flags(name: str, told: Any, kind: Any) -> str:
    """An option's spellings."""
    # Inside Annotated there is no default: typer keeps the first spelling in its place.
    given = [text for text in (told.default, *(told.param_decls or ())) if str(text).startswith("-")]
    if given:
        return ", ".join(f"`{text}`" for text in given)
    plain = name.replace("_", "-")
    return f"`--{plain}`, `--no-{plain}`" if bare(kind) is bool else f"`--{plain}`"


def limited(told: Any, kind: Any) -> str:
    """An option's type and its bounds."""
    if bare(kind) is bool:
        return "flag"
    bounds = [
        text.format(f"{bound:g}") for bound, text in ((told.min, "from {}"), (told.max, "to {}")) if bound is not None
    ]
    if typing.get_origin(bare(kind)) is tuple:
        return ", ".join(map(spelt, typing.get_args(bare(kind))))
    several = typing.get_origin(bare(kind)) is list
    words = f"{spelt(typing.get_args(bare(kind))[0])}, repeatable" if several else spelt(kind)
    return " ".join([words, *bounds])


def preset(name: str, default: Any) -> str:
    """What holds where an option is not given."""
    if default is inspect.Parameter.empty:
        return "required"
    if default is None or default is False:
        return ""
    if isinstance(default, tuple):
        return f"`{' '.join(map(str, default))}`"
    return f"`--{name.replace('_', '-')}`" if default is True else f"`{default}`"


def parameters(function: Callable[..., Any]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Rows of arguments (name, kind, meaning) and of options (name, kind, default, meaning)."""
    arguments: list[tuple[str, ...]] = []
    options: list[tuple[str, ...]] = []
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        told = next(iter(getattr(hints[name], "__metadata__", ())), None)
        if hints[name] is typer.Context or (told is not None and told.hidden):
            continue
        if told is None or isinstance(told, typer.models.ArgumentInfo):
            shown = (told.metavar if told else None) or name.upper()
            kind = hints[name] if told is None else limited(told, hints[name])
            arguments.append(
                (f"`{shown}`", kind if isinstance(kind, str) else spelt(kind), str(told.help or "") if told else "")
            )
            continue
        default = parameter.default
        options.append(
            (flags(name, told, hints[name]), limited(told, hints[name]), preset(name, default), str(told.help or ""))
        )
    return arguments, options


def command_section(name: str, function: Callable[..., Any]) -> list[str]:
    """One command: usage, what it does, its parameters."""
    arguments, options = parameters(function)
    words = [f"hilum {name}", *(row[0].strip("`") + ("..." if "repeatable" in row[1] else "") for row in arguments)]
    words += [f"{row[0].split(',')[0].strip('`')} ..." for row in options if row[2] == "required"]
    lines = [f"## hilum {name}", "", f"`{' '.join(words)}{' [OPTIONS]' if options else ''}`", ""]
    lines += [paragraphs(function), ""]
    if arguments:
        lines += table(("argument", "kind", "meaning"), arguments)
    if options:
        lines += table(("option", "kind", "default", "meaning"), options)
    return lines


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every verb and its function, those of sub-commands included."""
    for told in app.registered_commands:
        if told.callback is not None:
            yield told.name or told.callback.__name__, told.callback
    for group in app.registered_groups:
        inner = group.typer_instance
        if inner is None:
            continue
        if inner.registered_callback is not None and inner.registered_callback.callback is not None:
            yield str(group.name), inner.registered_callback.callback
        for told in inner.registered_commands:
            if told.callback is not None:
                yield f"{group.name} {told.name}", told.callback


def commands_page() -> str:
    """docs/reference/commands.md."""
    lines = [MADE, "# Commands", "", str(app.info.help), ""]
    lines += ["`hilum COMMAND --help` says the same in a terminal; `hilum --version` prints the version.", ""]
    rows = [(0, "done"), (1, "failed: the data or a bundle cannot carry what was asked of them")]
    rows += [(2, "wrong use: an unknown name, a misspelt key, options that exclude each other")]
    rows += [(3, "done, but some films were refused; the output lists them with their reasons"), (130, "interrupted")]
    lines += table(("exit status", "meaning"), rows)
    lines += ["Results go to standard output; progress, counts of films left out, and errors to standard error.", ""]
    lines += ["`HILUM_CACHE` names the folder for decoded films, features and the prepared CT; without it they lie in"]
    lines += ["`~/.cache/hilum` (`$XDG_CACHE_HOME/hilum` where that is set). It can be deleted at any time.", ""]
    for name, function in commands():
        lines += command_section(name, function)
    return "\n".join(lines).rstrip() + "\n"


def field_notes(model: type[BaseModel]) -> dict[str, str]:
    """What the string below each field of a model says, and below those it inherits."""
    parts = [part for part in reversed(model.__mro__) if issubclass(part, BaseModel) and part is not BaseModel]
    bodies = [ast.parse(inspect.getsource(part)).body[0] for part in parts]
    notes = {}
    statements = [line for body in bodies if isinstance(body, ast.ClassDef) for line in body.body]
    for field, note in itertools.pairwise(statements):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant):
            notes[field.target.id] = str(note.value.value).replace("``", "`")
    return notes


def toml(value: Any) -> str:
    """A default as it would be written; an absent one says so."""
    if value is None:
        return "left out"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{part}"' if isinstance(part, str) else str(part) for part in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def key_row(name: str, field: Any, note: str) -> tuple[str, str, str, str]:
    """One key of a recipe."""
    kind = spelt(field.annotation) + bounded(field.metadata)
    return f"`{name}`", kind, "required" if field.default is PydanticUndefined else toml(field.default), note


def recipe_page() -> str:
    """docs/reference/recipe.md."""
    lines = [MADE, "# Recipe keys", "", "A recipe is TOML. Every key has to be known and every value of its kind;"]
    lines += [
        "what is wrong is said in one line, with the nearest right key. `hilum recipes show NAME` prints a shipped"
    ]
    lines += ["recipe to start from; [Write a recipe](../how-to/write-a-recipe.md) walks through one.", ""]
    parts = {name: field.annotation for name, field in Recipe.model_fields.items()}
    models = {name: kind for name, kind in parts.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}
    notes = field_notes(Recipe)
    top = [(name, field) for name, field in Recipe.model_fields.items() if name not in models]
    rows = [key_row(name, field, notes.get(name, "")) for name, field in top]
    lines += ["## At the top", "", *table(("key", "value", "default", "meaning"), rows)]
    for name, model in models.items():
        own = field_notes(model)
        rows = [key_row(key, field, own.get(key, "")) for key, field in model.model_fields.items()]
        lines += [f"## [{name}]", "", inspect.getdoc(model) or "", ""]
        lines += table(("key", "value", "default", "meaning"), rows)
    return "\n".join(lines).rstrip() + "\n"


def source_section(sheet: Datasheet) -> list[str]:
    """One datasheet."""
    facts = [("who", sheet.who), ("where", sheet.where), ("devices", sheet.devices), ("years", sheet.years)]
    facts += [("views", sheet.views), ("labels", ", ".join(f"`{label}`" for label in sheet.labels) or "none")]
    facts += [("counts", ", ".join(f"{what} {count:,}" for what, count in sheet.counts.items()) or "not published")]
    facts += [("never in it", ", ".join(f"`{label}`" for label in sheet.known_absent))] * bool(sheet.known_absent)
    facts += [
        ("licence", sheet.licence),
        ("citation", sheet.citation),
        ("homepage", " ".join(sheet.homepages) or "none"),
    ]
    lines = [f"## {sheet.name}", "", f"**{sheet.title}.** {sheet.what}", "", *table(("", ""), facts)]
    lines += ["How to get it:", "", *(f"{number}. {text}" for number, text in enumerate(sheet.obtain, 1)), ""]
    lines += ["Expected under the data folder:", "", "```text", *sheet.layout.strip("\n").splitlines(), "```", ""]
    return [*lines, "Beware:", "", *(f"- {text}" for text in sheet.caveats), ""]


def sources_page() -> str:
    """docs/reference/sources.md."""
    lines = [MADE, "# Sources", "", "The data sets hilum knows by name. Nothing is downloaded: get a set under its own"]
    lines += ["licence, lay it out as shown, and `hilum index NAME --root DATA` reads it. The same text in a terminal:"]
    lines += ["`hilum sources show NAME`. Counts are the published ones.", ""]
    sheets = [source.sheet for _, source in sorted(SOURCES.items())]
    rows = [(f"[{sheet.name}](#{sheet.name})", sheet.what, sheet.licence) for sheet in sheets]
    lines += table(("name", "what", "licence"), rows)
    for sheet in sheets:
        lines += source_section(sheet)
    return "\n".join(lines).rstrip() + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "recipe.md": recipe_page,
    "sources.md": sources_page,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check all pages; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is stale")
    check = parser.parse_args(arguments).check
    stale = []
    for name, made in PAGES.items():
        file, text = REFERENCE / name, made()
        if file.is_file() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            file.write_text(text, encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run: python docs/make_reference.py\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())

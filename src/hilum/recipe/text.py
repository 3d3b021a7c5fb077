"""Recipes as TOML: strict reading, faithful writing, and changes to a recipe that stay visible in it."""

import itertools
import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hilum.errors import UsageError, nearest
from hilum.recipe.schema import Recipe

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
"""What TOML takes as a key without quotes."""

LIKE = "like"
"""Key of a recipe that is another one, by name or path, but for what it says itself."""

WHOLE = ("classes", "unseen")
"""Tables that a recipe made from another one replaces as a whole."""

CHANGED = "changed: "
"""Begins the comment that a change to a recipe leaves in it."""

PARTS = [
    name
    for name, field in Recipe.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
]
"""The tables a recipe is made of."""


def parse_recipe(text: str, *, where: str = "recipe") -> Recipe:
    """Read a recipe; every key must be known and every value of its kind.

    Raises:
        UsageError: all that is wrong, a line each, misspelt keys with the nearest right one.
    """
    return checked_recipe(read_toml(text, where=where), where=where)


def read_toml(text: str, *, where: str = "recipe") -> dict[str, Any]:
    """The values of a TOML text.

    Raises:
        UsageError: it is none.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}") from error


def comments(text: str) -> list[str]:
    """The comment lines a recipe begins with."""
    return list(itertools.takewhile(lambda line: line.startswith("#"), text.lstrip().splitlines()))


def merged(base: Mapping[str, Any], text: str) -> str:
    """A recipe's TOML on top of another's values: its own comments, every key it gives, the base's others."""
    told = {**base}
    for key, value in read_toml(text).items():
        if key == LIKE:
            continue
        both = isinstance(value, Mapping) and isinstance(told.get(key), Mapping) and key not in WHOLE
        told[key] = {**told[key], **value} if both else value
    return "\n".join([*comments(text), toml_of(told)])


def changed(text: str, changes: Mapping[str, str]) -> str:
    """A recipe's TOML with some values set, and a comment line for each that says so.

    Args:
        text: the recipe.
        changes: dotted key -> a TOML value, or bare words for a text; a part's name -> `off` for its defaults, `on` to
            leave it as it is.

    Raises:
        UsageError: an unknown key, or a value it cannot have.
    """
    if not changes:
        return text
    told, lines = read_toml(text), comments(text)
    for key, value in changes.items():
        _change(told, key, value)
        lines.append(f"# {CHANGED}{key} = {value if value.isprintable() else _toml(value)}")
    checked_recipe(told, where=", ".join(f"{key}={value}" for key, value in changes.items()))
    return "\n".join([*lines, toml_of(told)])


def changes_of(text: str) -> list[str]:
    """What was changed in a recipe after it was written, as `changed` notes it: `key = value`."""
    return [line.removeprefix(f"# {CHANGED}") for line in comments(text) if line.startswith(f"# {CHANGED}")]


def _change(told: dict[str, Any], key: str, value: str) -> None:
    part, _, name = key.partition(".")
    if not name and part in PARTS:
        if value not in ("on", "off"):
            raise UsageError(f"'{key}' is a part of a recipe: give it 'on' or 'off', or name a key in it, {key}.KEY")
        if value == "off":
            told.pop(part, None)
        if value == "off" and part == "augmentation":  # views are its doing
            told["schedule"] = {**told.get("schedule", {}), "views": 1}
        return
    try:
        meant = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        meant = value
    if not name:
        told[part] = meant
    elif not isinstance(told.get(part, {}), Mapping):
        raise UsageError(f"'{key}': '{part}' is one value of a recipe, not a table with keys of its own")
    else:
        told[part] = {**told.get(part, {}), name: meant}


def toml_of(told: Mapping[str, Any]) -> str:
    """TOML of a recipe's values, keys without a value left out, tables last."""
    lines = _lines({key: value for key, value in told.items() if not isinstance(value, Mapping)})
    for key, part in told.items():
        if isinstance(part, Mapping):
            lines += ["", f"[{_key(key)}]", *_lines(part)]
    return "\n".join(lines) + "\n"


def _lines(part: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_toml(value)}" for name, value in part.items() if value is not None]


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else _toml(name)


def _toml(value: Any) -> str:
    # JSON's strings, numbers, booleans and arrays are TOML's too, but for one character; dates become text.
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")


def checked_recipe(told: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """A recipe from its values, as read from TOML or JSON; a text is no number and a number no text.

    Raises:
        UsageError: like `parse_recipe`.
    """
    try:
        return Recipe.model_validate_json(json.dumps(told, default=str), strict=True)  # dates become text
    except ValidationError as error:
        raise UsageError(f"{where}: " + "; ".join(_explain(problem) for problem in error.errors())) from error


def _explain(problem: ErrorDetails) -> str:
    place, value = problem["loc"], problem["input"]
    key = ".".join(str(part) for part in place)
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(place)
        near = nearest(str(place[-1]), known)
        return f"unknown key '{key}'" + (f"; did you mean '{near}'?" if near else f"; known here: {', '.join(known)}")
    if problem["type"] == "missing":
        return f"key '{key}' is missing"
    text = problem["msg"].removeprefix("Value error, ")
    for theirs, ours in (("Input should be", "must be"), ("an object", "a table"), ("a valid array", "a list")):
        text = text.replace(theirs, ours)
    told = f", not {json.dumps(value)}" if isinstance(value, str | int | float) else ""
    return f"'{key}' {text}{told}" if key else text


def _keys_beside(place: tuple[int | str, ...]) -> list[str]:
    part: type[BaseModel] = Recipe
    for step in place[:-1]:
        inner = part.model_fields[str(step)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        part = inner
    return sorted(part.model_fields)

"""The recipes that come with hilum, and recipes as files."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from hilum.errors import UsageError, unknown_name
from hilum.recipe.text import LIKE, merged, read_toml


def shipped() -> dict[str, Traversable]:
    """The recipes that come with hilum, by name."""
    folder = resources.files("hilum") / "recipes"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file for file in files if file.name.endswith(".toml")}


def recipe_text(name: str) -> str:
    """The TOML of a shipped recipe's name, or of a path; one that is `like` another is written out in full.

    Raises:
        UsageError: neither, or it is like one that is not there.
    """
    return _whole(name, ())


def _whole(name: str, above: tuple[str, ...]) -> str:
    text = _written(name)
    base = read_toml(text, where=name).get(LIKE)
    if base is None:
        return text
    place = _beside(name, base) if isinstance(base, str) else ""
    if not place or place in (name, *above):
        raise UsageError(f"recipe {name}: '{LIKE}' must name another recipe, not {base!r}")
    return merged(read_toml(_whole(place, (name, *above)), where=place), text)


def _beside(name: str, base: str) -> str:
    """A recipe's name as it is; a path counts from the folder of the recipe that gives it."""
    return str((Path(name).parent / base).resolve()) if base.endswith(".toml") else base


def _written(name: str) -> str:
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise UsageError(f"recipe file {name} does not exist")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"recipe file {name} is not UTF-8 text") from error
    known = shipped()
    if name not in known:
        raise unknown_name("recipe", name, known)
    return known[name].read_text(encoding="utf-8")


def summary(text: str) -> str:
    """A recipe's first comment line: what it is."""
    first = text.lstrip().splitlines()[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""

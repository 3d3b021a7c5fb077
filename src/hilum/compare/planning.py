"""Which runs a comparison is made of: every recipe with every combination of what varies."""

import csv
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hilum.errors import UsageError
from hilum.recipe import changed, parse_recipe
from hilum.run import find_recipe
from hilum.split import SplitPlan

EACH = "each"
"""For `--keep-out`: every domain in turn."""
PIECE = re.compile(r"""(?:"[^"]*"|'[^']*'|[^,"'\[\]]|\[[^\]]*\])+""")
"""A value up to the next comma outside quotes and brackets."""


@dataclass(frozen=True)
class Variant:
    """A run to be made."""

    name: str
    """Its folder's name, unique in the comparison."""
    recipe: str
    """What its recipe is called."""
    text: str
    """Its recipe's TOML, changes included."""
    varied: Mapping[str, str] = field(default_factory=dict)
    """Dotted key -> the value that tells it from its recipe's other runs."""

    @property
    def says(self) -> str:
        """What was varied, in words; empty where nothing was."""
        return ", ".join(f"{key} = {value}" for key, value in brief(self.varied).items())


def brief(varied: Mapping[str, str]) -> dict[str, str]:
    """Keys without their part's name, where that leaves them apart.

    >>> brief({"network.pooling": "avg", "schedule.seed": "1", "split.seed": "2"})
    {'pooling': 'avg', 'schedule.seed': '1', 'split.seed': '2'}
    """
    short = [key.rpartition(".")[2] for key in varied]
    keys = (name if short.count(name) == 1 else key for name, key in zip(short, varied, strict=True))
    return dict(zip(keys, varied.values(), strict=True))


def parse_vary(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What `--vary KEY=A,B` says, key by key.

    >>> parse_vary(["network.level=-1,[-1, -2]", "augmentation=on,off"])
    {'network.level': ('-1', '[-1, -2]'), 'augmentation': ('on', 'off')}

    Raises:
        UsageError: no key, no value, or a key or value given twice.
    """
    vary: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, _, told = (part.strip() for part in text.partition("="))
        pieces = PIECE.findall(told)
        values = tuple(piece.strip() for piece in pieces)
        if not key or not all(values) or not told or ",".join(pieces) != told:
            raise UsageError(f"--vary takes KEY=A,B, such as --vary network.pooling=avg,grid3; not '{text}'")
        if key in vary:
            raise UsageError(f"--vary names '{key}' twice; give all its values at once: --vary {key}=A,B,C")
        if len(set(values)) < len(values):
            raise UsageError(f"--vary {key} has a value twice: {told}")
        vary[key] = values
    return vary


def parse_keep_out(text: str) -> tuple[str, ...] | None:
    """What `--keep-out` says: names of domains, or None for each of them.

    >>> parse_keep_out("each"), parse_keep_out('nih_subset,"Hannover, Germany"')
    (None, ('nih_subset', 'Hannover, Germany'))

    Raises:
        UsageError: no name, or one twice.
    """
    names = tuple(name.strip() for name in next(csv.reader([text], skipinitialspace=True), []))
    if not names or not all(names) or len(set(names)) < len(names):
        raise UsageError(f"--keep-out takes 'each' or NAME,NAME, every domain once; not '{text}'")
    return None if names == (EACH,) else names


def without(variant: Variant, domain: str) -> Variant:
    """The variant trained and tuned on all other domains: once, on the recipe's first seed, nothing tested inside.

    With no test fold no shortcut floor is measured either; what floors have to say, the inside run says.
    """
    recipe = parse_recipe(variant.text)
    held_out = [*recipe.split.hold_out_domains, domain]
    told = {
        "split.method": '"fractions"',
        "split.test": "0.0",
        "split.seeds": json.dumps(recipe.split.seeds[:1]),
        "split.hold_out_domains": json.dumps(held_out, ensure_ascii=False),
    }
    if recipe.split.tests_by_date:
        told["split.hold_out_as"] = '"external"'
    if recipe.unseen:
        told["unseen"] = "{}"
    return Variant(
        _folder(f"{variant.name}-without-{domain}"), variant.recipe, changed(variant.text, told), variant.varied
    )


def plan_variants(
    recipes: Sequence[str],
    vary: Mapping[str, Sequence[str]] | None = None,
    *,
    own_splits: bool = False,
    alone: bool = False,
) -> list[Variant]:
    """Every recipe in every combination of what varies, in the order given; all on the first recipe's split.

    Args:
        recipes: as `find_recipe` understands them: shipped names, TOML files, runs, bundles.
        vary: dotted key -> values, as `hilum.recipe.changed` takes them.
        own_splits: leave every recipe its own split.
        alone: let a single run pass, for its inside score is to be compared with what it was kept from.

    Raises:
        UsageError: nothing to compare, a recipe twice, two runs of one name or of one recipe, or a wrong key.
    """
    vary = vary or {}
    combinations = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    if len(recipes) * len(combinations) < 2 and not alone:
        raise UsageError("one run is no comparison; name a second recipe, or vary this one with --vary KEY=A,B")
    twice = next((name for name in recipes if recipes.count(name) > 1), None)
    if twice:
        raise UsageError(f"recipe '{twice}' is listed twice; list it once and say what differs with --vary KEY=A,B")
    texts = {name: find_recipe(name) for name in recipes}
    split = parse_recipe(texts[recipes[0]], where=recipes[0]).split
    shared = {name: text if own_splits else _with_split(text, split, name) for name, text in texts.items()}
    several = [key for key, values in vary.items() if len(values) > 1]
    variants = [_variant(name, text, told, several) for name, text in shared.items() for told in combinations]
    _check_apart(
        variants, "" if own_splits or len(recipes) == 1 else ", given the first one's split (see --own-splits)"
    )
    return variants


def _with_split(text: str, split: SplitPlan, where: str) -> str:
    """The recipe divided as the first is."""
    if parse_recipe(text, where=where).split == split:
        return text
    told = split.model_dump(mode="json", exclude_defaults=True)
    return changed(text, {"split": "off"} | {f"split.{key}": json.dumps(value) for key, value in told.items()})


def _variant(recipe: str, text: str, told: Mapping[str, str], several: Sequence[str]) -> Variant:
    """The recipe with all changes, named by those that have several values."""
    varied = {key: told[key] for key in several}
    called = Path(recipe).stem if recipe.endswith(".toml") else Path(recipe).name
    words = [f"{key}={value}" for key, value in brief(varied).items()]
    return Variant(_folder("_".join([called, *words])), called, changed(text, told), varied)


def _folder(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.=+-]+", "-", name)


def _check_apart(variants: Sequence[Variant], given: str) -> None:
    for one, other in itertools.combinations(variants, 2):
        # Some file systems do not tell upper case from lower.
        if one.name.casefold() == other.name.casefold():
            raise UsageError(f"two runs would be called '{one.name}'; give one of the recipes another file name")
        if _identity(one) == _identity(other):
            raise UsageError(
                f"'{one.name}' and '{other.name}' would be the same run: their recipes say the same{given}"
            )


def _identity(variant: Variant) -> tuple[str, tuple[str, ...]]:
    """What two variants share only where they are the same run; which class is the first is not in the digest."""
    recipe = parse_recipe(variant.text)
    return recipe.digest, recipe.class_names

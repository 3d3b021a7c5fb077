"""Recipe: a whole run as data. Strict TOML in, the same recipe out of every run and bundle made from it."""

from hilum.recipe.library import recipe_text, shipped, summary
from hilum.recipe.schema import (
    ABSENT,
    Augmentation,
    Films,
    FineTuning,
    Judgement,
    Network,
    Oversampling,
    Recipe,
    Schedule,
    Thawed,
)
from hilum.recipe.text import changed, changes_of, checked_recipe, parse_recipe, toml_of

__all__ = [
    "ABSENT",
    "Augmentation",
    "Films",
    "FineTuning",
    "Judgement",
    "Network",
    "Oversampling",
    "Recipe",
    "Schedule",
    "Thawed",
    "changed",
    "changes_of",
    "checked_recipe",
    "parse_recipe",
    "recipe_text",
    "shipped",
    "summary",
    "toml_of",
]

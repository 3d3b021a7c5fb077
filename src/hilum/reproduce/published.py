"""The published figures, and the runs that ask the same questions."""

import tomllib
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from hilum.files import digest_of
from hilum.recipe import changed, recipe_text


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Plan(_Row):
    """A recipe, and what is changed of it."""

    recipe: str
    changes: dict[str, str] = Field(default_factory=dict)

    @property
    def text(self) -> str:
        """The recipe's TOML, its changes noted in it."""
        return changed(recipe_text(self.recipe), self.changes)

    @property
    def name(self) -> str:
        """The run's folder: the recipe's name, and a few characters of what was changed."""
        name = Path(self.recipe).stem
        return f"{name}-{digest_of(self.changes)[:6]}" if self.changes else name


class Published(_Row):
    """One figure of a reference system; the keys are explained in published.toml."""

    system: str
    asked: str
    metric: str
    label: str | None = None
    shown: str | None = None
    fold: str = "test"
    value: float | None = None
    n: int | None = None
    recipe: str
    here: str | None = None
    comment: str = ""


class _File(_Row):
    instead: dict[str, Plan]
    figure: list[Published]


def load_published() -> list[tuple[Published, Plan, Plan | None]]:
    """Every figure with the run that follows the reference, and what runs where that one cannot."""
    text = (resources.files("hilum") / "reproduce" / "published.toml").read_text(encoding="utf-8")
    told = _File.model_validate(tomllib.loads(text))
    return [(row, Plan(recipe=row.recipe), told.instead[row.here] if row.here else None) for row in told.figure]

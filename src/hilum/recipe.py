"""Recipe: a whole run as data. Strict TOML in, the same recipe out of every run and bundle made from it."""

import difflib
import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hilum.errors import UsageError, unknown_name
from hilum.files import digest_of
from hilum.preprocess import Preprocess
from hilum.records import View
from hilum.split import SplitPlan


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Films(_Part):
    """Which films take part."""

    sources: tuple[str, ...] = ()
    """Names of sources, as `hilum sources` lists them; none takes every film of an index given with `--index`."""
    modality: Literal["XR", "CT"] = "XR"
    views: tuple[View, ...] = ()
    """Views to keep; empty keeps all. A film whose view is not stated is kept only with `unstated_view`."""
    unstated_view: bool = True
    duplicates: Literal["first", "all"] = "first"
    """`first` keeps one of several films with the same bytes or the same picture within a source; `all` keeps them
    in one group."""


class Network(_Part):
    """Backbone, where its weights come from, and the head on top."""

    backbone: str = "tf_efficientnet_lite0"
    """A timm name, or `xrv:NAME` for a TorchXRayVision DenseNet."""
    weights: str = "packaged"
    """`packaged`, `cache`, `hub`, `random` or `file:PATH`."""
    pooling: Literal["avg", "max", "avgmax", "grid3"] = "avg"
    """How the last map becomes a vector; `grid3` averages in 3 x 3 cells and keeps where things are."""
    level: int | None = None
    """None reads the last map; -2 the feature level before the deepest (half as coarse), and so on."""
    hidden: tuple[int, ...] = ()
    """Dense layers (ReLU) between vector and classes."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    standardise: bool = True
    """Scale the vector by the training films' mean and deviation before the head."""
    train_from: str | None = None
    """None trains the head on a frozen backbone; `all`, or a backbone module's name (`blocks.5`), trains from there."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """Whether batch-normalisation statistics of the trained part move."""


class Augmentation(_Part):
    """Random changes to training films only."""

    rotate_degrees: float = Field(default=0.0, ge=0, le=180)
    zoom: float = Field(default=0.0, ge=0, lt=1)
    """Scale drawn from [1 - zoom, 1 + zoom]."""
    shift: float = Field(default=0.0, ge=0, lt=1)
    """Shift drawn up to this share of the side."""
    flip: bool = False
    """Left-right flip of every second film."""
    brightness: float = Field(default=0.0, ge=0, lt=1)
    contrast: float = Field(default=0.0, ge=0, lt=1)

    @property
    def changes_nothing(self) -> bool:
        return self == Augmentation()


class Schedule(_Part):
    """How the trained part is fitted."""

    epochs: int = Field(default=60, ge=1)
    batch_films: int = Field(default=64, ge=1)
    optimiser: Literal["adam", "amsgrad", "adamw", "sgd", "lbfgs"] = "adamw"
    """`lbfgs` fits a head on cached features in whole batches, to the optimum of a convex problem."""
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """For `sgd` only."""
    decay: Literal["constant", "cosine", "inverse"] = "constant"
    """Learning rate over the epochs; `inverse` divides by 1 + step * learning_rate / epochs, as Keras's decay did."""
    class_weights: Literal["none", "balanced"] = "balanced"
    """`balanced` weighs a class n / (k * n_class)."""
    patience: int | None = Field(default=10, ge=1)
    """Epochs without a lower tune loss before stopping; null never stops early. The best epoch is kept either way."""
    views: int = Field(default=1, ge=1)
    """With a frozen backbone: views of each film whose features are computed once; the first is the film itself."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of training steps. `auto` uses bfloat16 where the processor computes in it. Scoring is float32 always."""


class Judgement(_Part):
    """How the run is scored."""

    operating_points: tuple[str, ...] = ("youden", "sensitivity>=0.95", "specificity>=0.95")
    resamples: int = Field(default=1000, ge=100)
    calibrate: bool = True
    """Fit a temperature on the tune fold."""


class Recipe(_Part):
    """Everything that decides a run's result."""

    title: str
    films: Films = Films()
    classes: dict[str, tuple[str, ...]]
    """Class -> labels of the index that make it up. The first of two classes is the positive one."""
    split: SplitPlan = SplitPlan()
    preprocess: Preprocess = Preprocess()
    network: Network = Network()
    augmentation: Augmentation = Augmentation()
    schedule: Schedule = Schedule()
    judgement: Judgement = Judgement()

    @model_validator(mode="after")
    def _classes_apart(self) -> "Recipe":
        if len(self.classes) < 2:
            raise ValueError("[classes] needs two classes or more")
        labels = [label for members in self.classes.values() for label in members]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"label '{label}' makes up two classes")
        if not all(self.classes.values()):
            raise ValueError("every class needs a label")
        if self.schedule.views > 1 and self.augmentation.changes_nothing:
            raise ValueError(f"schedule.views = {self.schedule.views} needs an [augmentation] that changes something")
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.classes)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what the recipe says."""
        return digest_of(self.model_dump(mode="json"))


def shipped() -> dict[str, Traversable]:
    """The recipes that come with hilum, by name."""
    folder = resources.files("hilum") / "recipes"
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return {file.name.removesuffix(".toml"): file for file in files if file.name.endswith(".toml")}


def recipe_text(name: str) -> str:
    """The TOML of a shipped recipe's name, or of a path.

    Raises:
        UsageError: neither.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise UsageError(f"recipe file {name} does not exist")
        return path.read_text(encoding="utf-8")
    known = shipped()
    if name not in known:
        raise unknown_name("recipe", name, known)
    return known[name].read_text(encoding="utf-8")


def summary(text: str) -> str:
    """A recipe's first comment line: what it is."""
    first = text.lstrip().splitlines()[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def parse_recipe(text: str, *, where: str = "recipe") -> Recipe:
    """Read a recipe; every key must be known and every value of its kind.

    Raises:
        UsageError: all that is wrong, a line each, misspelt keys with the nearest right one.
    """
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where} is not valid TOML: {error}") from error
    return checked_recipe(told, where=where)


def toml_of(told: Mapping[str, Any]) -> str:
    """TOML of a recipe's values, keys without a value left out, tables last."""
    lines = [f"{key} = {_toml(value)}" for key, value in told.items() if not isinstance(value, Mapping)]
    for key, part in told.items():
        if isinstance(part, Mapping):
            lines += [
                "",
                f"[{key}]",
                *(f"{name} = {_toml(value)}" for name, value in part.items() if value is not None),
            ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    # JSON's strings, numbers, booleans and arrays are TOML's too.
    return json.dumps(value, ensure_ascii=False)


def checked_recipe(told: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """A recipe from its values, as read from TOML or JSON.

    Raises:
        UsageError: like `parse_recipe`.
    """
    try:
        return Recipe.model_validate(told)
    except ValidationError as error:
        lines = [_explain(problem["type"], problem["loc"], problem["msg"]) for problem in error.errors()]
        raise UsageError(f"{where}: " + "; ".join(lines)) from error


def _explain(kind: str, place: tuple[int | str, ...], message: str) -> str:
    key = ".".join(str(part) for part in place)
    if kind == "extra_forbidden":
        known = _keys_beside(place)
        near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
        return f"unknown key '{key}'" + (
            f"; did you mean '{near[0]}'?" if near else f"; known here: {', '.join(known)}"
        )
    if kind == "missing":
        return f"key '{key}' is missing"
    text = message.removeprefix("Value error, ")
    return f"'{key}': {text}" if key else text


def _keys_beside(place: tuple[int | str, ...]) -> list[str]:
    part: type[BaseModel] = Recipe
    for step in place[:-1]:
        inner = part.model_fields[str(step)].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        part = inner
    return sorted(part.model_fields)

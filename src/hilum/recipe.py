"""Recipe: a whole run as data. Strict TOML in, the same recipe out of every run and bundle made from it."""

import json
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator, model_validator
from pydantic_core import ErrorDetails

from hilum.errors import UsageError, nearest, unknown_name
from hilum.files import digest_of
from hilum.preprocess import Preprocess
from hilum.records import View
from hilum.split import SplitPlan

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
"""What TOML takes as a key without quotes."""


ABSENT = "!"
"""Before a label in a recipe's class: the label was assessed and is absent, which is not the same as missing."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Films(_Part):
    """Which films take part."""

    sources: tuple[str, ...] = ()
    """Names of sources, as `hilum sources` lists them; none takes every film of an index given with `--index`."""
    modality: Literal["XR", "CT"] = "XR"
    """Radiographs, or the CT slices some collections mix in."""
    views: tuple[View, ...] = ()
    """Views to keep; empty keeps all. A film whose view is not stated is kept only with `unstated_view`."""
    unstated_view: bool = True
    """Whether films whose source states no view take part where `views` asks for some."""
    duplicates: Literal["first", "all"] = "first"
    """`first` keeps one of several films with the same bytes or the same picture; `all` keeps them, in one group."""


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
    """Share of the last hidden vector dropped in training."""
    standardise: bool = True
    """Scale the vector by the training films' mean and deviation before the head."""
    train_from: str | None = None
    """None trains the head on a frozen backbone; `all`, or a backbone module's name (`blocks.5`), trains from there."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """Whether batch-normalisation statistics of the trained part move."""


class Augmentation(_Part):
    """Random changes to training films only."""

    rotate_degrees: float = Field(default=0.0, ge=0, le=180)
    """Rotation drawn from [-rotate_degrees, rotate_degrees]."""
    zoom: float = Field(default=0.0, ge=0, lt=1)
    """Scale drawn from [1 - zoom, 1 + zoom]."""
    shift: float = Field(default=0.0, ge=0, lt=1)
    """Shift drawn up to this share of the side."""
    flip: bool = False
    """Left-right flip of every second film."""
    brightness: float = Field(default=0.0, ge=0, lt=1)
    """Grey levels multiplied by a draw from [1 - brightness, 1 + brightness]."""
    contrast: float = Field(default=0.0, ge=0, lt=1)
    """Distance from the film's mean multiplied by a draw from [1 - contrast, 1 + contrast]."""

    @property
    def changes_nothing(self) -> bool:
        return self == Augmentation()


class Schedule(_Part):
    """How the trained part is fitted."""

    epochs: int = Field(default=60, ge=1)
    """Passes over the training films at most; with `lbfgs`, rounds of five iterations."""
    batch_films: int = Field(default=64, ge=1)
    """Films a step; `lbfgs` takes all at once."""
    optimiser: Literal["adam", "amsgrad", "adamw", "sgd", "lbfgs"] = "adamw"
    """`lbfgs` fits a head on cached features in whole batches, to the optimum of a convex problem."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """At the first step; see `decay`. `lbfgs` searches its own step."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Penalty on squared weights; decoupled with `adamw`; with `lbfgs` half of it times the squared weights is added to
    the mean loss."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """For `sgd` only."""
    decay: Literal["constant", "cosine", "inverse"] = "constant"
    """Learning rate over the epochs; `inverse` divides by 1 + step * learning_rate / epochs, as Keras's decay did."""
    class_weights: Literal["none", "balanced"] = "balanced"
    """`balanced` weighs a class n / (k * n_class)."""
    patience: int | None = Field(default=10, ge=0)
    """Epochs without a lower tune loss before stopping; 0 never stops early. The best epoch is kept either way."""
    views: int = Field(default=1, ge=1)
    """With a frozen backbone: views of each film whose features are computed once; the first is the film itself."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of training steps. `auto` uses bfloat16 where the processor computes in it. Scoring is float32 always."""

    # TOML has no null: 0 stands for None in files, so that a recipe written out and read again is the same.
    @field_validator("patience")
    @classmethod
    def _zero_is_none(cls, patience: int | None) -> int | None:
        return patience or None

    @field_serializer("patience")
    def _none_is_zero(self, patience: int | None) -> int:
        return patience or 0


class Judgement(_Part):
    """How the run is scored."""

    operating_points: tuple[str, ...] = ("youden", "sensitivity>=0.95", "specificity>=0.95")
    """Thresholds chosen on the tune fold: `youden`, `sensitivity>=S`, `specificity>=S`, or a number."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples of groups behind every interval."""
    calibrate: bool = True
    """Fit a temperature on the tune fold."""


class Recipe(_Part):
    """Everything that decides a run's result."""

    title: str
    """What the run is called in reports and bundles."""
    films: Films = Films()
    classes: dict[str, tuple[str, ...]]
    """Class -> labels of the index that make it up; `!NAME` stands for films assessed and found without NAME. The first
    of two classes is the positive one."""
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
                raise ValueError(f"label '{label}' is named twice in [classes]")
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
    # JSON's strings, numbers, booleans and arrays are TOML's too, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


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

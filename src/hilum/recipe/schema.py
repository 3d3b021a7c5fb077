"""What a recipe may say, key by key."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from hilum.files import digest_of
from hilum.preprocess import Preprocess
from hilum.records import View
from hilum.split import SplitPlan

ABSENT = "!"
"""Before a label in a recipe's class: the label was assessed and is absent, which is not the same as missing."""


Share = Annotated[float, Field(ge=0, lt=1)]
Chance = Annotated[float, Field(ge=0, le=1)]


LATER = ("domain", "project", "project_rounds", "balance", "robust")
"""Keys that recipes did not have at first. They are written only where they say something, so that a recipe from before
them keeps its digest, and a bundle without them can be read by the hilum from before."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _written(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        told: dict[str, Any] = whole(self)
        return {key: value for key, value in told.items() if key not in LATER or value != fields[key].default}


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
    manufacturers: tuple[str, ...] = ()
    """Makers of the devices to keep, by whole words in any case: `ge` keeps GE MEDICAL SYSTEMS and not Agfa-Gevaert. A
    film whose manufacturer is not stated is then left out. Empty keeps all."""
    duplicates: Literal["first", "all"] = "first"
    """`first` keeps one of several films with the same bytes or the same picture; `all` keeps them, in one group."""
    masked: bool = False
    """Keep only films that come with a lung mask, as `preprocess.lungs` needs them: to compare runs with such."""
    domain: str | None = None
    """Column of the index that tells where a film comes from, for `schedule.balance`, `schedule.robust`,
    `network.project`, `split.hold_out_domains` and the floor `source`: `source`, or one that is finer, such as
    `attr.location`. A film that states none counts under its source. Where it is left out: `attr.collection` of sets
    put together from others, else `source`."""

    @field_validator("manufacturers")
    @classmethod
    def _made_of_words(cls, told: tuple[str, ...]) -> tuple[str, ...]:
        if not all(any(letter.isalnum() for letter in name) for name in told):
            raise ValueError("manufacturers holds a name without a letter; name them as the films state them")
        return told


class Thawed(_Part):
    """What of a backbone is trained."""

    train_from: str | None = None
    """None trains the head on a frozen backbone; `all`, or a backbone module's name (`blocks.5`), trains from there."""
    freeze_first: int | None = Field(default=None, ge=1)
    """In place of `train_from`: so many of the backbone's own modules (convolutions, norms, activations, pools, in
    order) stay frozen, the rest is trained."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """Whether batch-normalisation statistics of the trained part move."""

    @property
    def trains_backbone(self) -> bool:
        return self.train_from is not None or self.freeze_first is not None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if self.train_from is not None and self.freeze_first is not None:
            raise ValueError("train_from and freeze_first say the same thing twice; give one of them")
        return self


class Network(Thawed):
    """Backbone, where its weights come from, and the head on top."""

    backbone: str = "tf_efficientnet_lite0"
    """A timm name, `own:NAME` for a network of hilum's own, or `xrv:NAME` for a TorchXRayVision DenseNet."""
    weights: str = "packaged"
    """`packaged`, `cache`, `hub`, `random` or `file:PATH`."""
    pooling: Literal["avg", "max", "avgmax", "grid3", "avg2", "avg4", "flatten"] = "avg"
    """How a map becomes a vector; `grid3` averages in 3 x 3 cells and keeps where things are; `avg2` and `avg4` average
    every 2 x 2 or 4 x 4 places; `flatten` takes the map as it is."""
    level: tuple[int, ...] = ()
    """None reads the last map; -2 the feature level before the deepest (half as coarse), and so on; a list reads some
    and puts their vectors side by side."""
    grey: Literal["summed", "learned"] = "summed"
    """How a network made for colour reads films of one channel: its first kernels summed, which gives what it would say
    of repeated grey, or a learned 3 x 3 convolution to three channels before it."""
    mirror: bool = False
    """Read each film and its mirror image and average the two vectors."""
    hidden: tuple[int, ...] = ()
    """Dense layers (ReLU) between vector and classes."""
    dropout: tuple[Share, ...] = ()
    """Share dropped in training before the last dense layer, or a list with one before each."""
    standardise: bool = True
    """Scale the vector by the training films' mean and deviation before the head."""
    project: Literal["none", "source"] = "none"
    """With a frozen backbone: `source` takes from the vector, before the head is fitted, the directions that tell films
    of one class apart by where they come from (`films.domain`)."""
    project_rounds: int = Field(default=3, ge=1, le=100)
    """So often such directions are looked for in what is left."""

    @field_validator("level", "dropout", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, told: Any) -> Any:
        if isinstance(told, list):
            return tuple(told)
        if told is None:
            return ()
        return (told,) if isinstance(told, int | float) and not isinstance(told, bool) else told

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        layers = len(self.hidden) + 1
        if len(self.dropout) not in (0, 1, layers):
            raise ValueError(f"dropout has {len(self.dropout)} values for {layers} dense layers; give one, or one each")
        if self.grey == "learned" and not self.trains_backbone:
            raise ValueError("grey = 'learned' is trained with the backbone: give train_from or freeze_first")
        if self.project != "none" and self.trains_backbone:
            raise ValueError("project = 'source' needs a frozen backbone: leave train_from and freeze_first out")
        return self


class Augmentation(_Part):
    """Random changes to training films only."""

    rotate_degrees: float = Field(default=0.0, ge=0, le=180)
    """Rotation drawn from [-rotate_degrees, rotate_degrees]."""
    moved: Chance = 1.0
    """Share of the films that are rotated, zoomed and shifted at all."""
    zoom: float = Field(default=0.0, ge=0, lt=1)
    """Scale drawn from [1 - zoom, 1 + zoom]."""
    shift: float = Field(default=0.0, ge=0, lt=1)
    """Shift drawn up to this share of the side."""
    fill: Literal["black", "edge"] = "black"
    """What comes into view at the border: black, or the nearest grey."""
    flip: Chance = 0.0
    """Share of the films that are mirrored left-right."""
    brightness: float = Field(default=0.0, ge=0, lt=1)
    """Grey levels multiplied by a draw from [1 - brightness, 1 + brightness]."""
    contrast: float = Field(default=0.0, ge=0, lt=1)
    """Distance from the film's mean multiplied by a draw from [1 - contrast, 1 + contrast]."""

    @property
    def changes_nothing(self) -> bool:
        moved = self.moved and (self.rotate_degrees or self.zoom or self.shift)
        return not (moved or self.flip or self.brightness or self.contrast)


class Oversampling(Augmentation):
    """Changed copies of training films of rare classes, made once before training and kept through it."""

    copies: int = Field(default=0, ge=0)
    """So many copies of each training film of the classes named; 0 makes none."""
    classes: tuple[str, ...] = ()
    """Classes whose training films are copied."""

    @model_validator(mode="after")
    def _copies_differ(self) -> Self:
        if self.copies and (self.changes_nothing or not self.classes):
            raise ValueError("copies need classes to copy and a change that tells copies apart")
        return self


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
    balance: Literal["none", "source"] = "none"
    """`source` weighs films in place of `class_weights`, so that every cell, the films of one class from one place
    (`films.domain`), has the same weight in all: n / (cells * n_cell) a film."""
    robust: bool = False
    """With a frozen backbone: fit for the cell that is worst, not for the mean film. Cells begin with the same weight;
    after each epoch it is moved to those with a high loss (group DRO)."""
    patience: int | None = Field(default=10, ge=0)
    """Epochs without a lower tune loss before stopping; 0 never stops early. The best epoch is kept either way."""
    views: int = Field(default=1, ge=1)
    """With a frozen backbone: views of each film whose features are computed once; the first is the film itself."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of training steps. `auto` uses bfloat16 where the processor computes in it, but computes a frozen backbone's
    features in float32; `bfloat16` computes those of training films so too. Scoring is float32 always."""
    seed: int = Field(default=0, ge=0)
    """Another number draws other weights and another order on the same division of the films."""

    # TOML has no null: 0 stands for None in files, so that a recipe written out and read again is the same.
    @field_validator("patience")
    @classmethod
    def _zero_is_none(cls, patience: int | None) -> int | None:
        return patience or None

    @field_serializer("patience")
    def _none_is_zero(self, patience: int | None) -> int:
        return patience or 0


class FineTuning(Schedule, Thawed):
    """A second stage: from the first stage's best weights on, with more of the network trained."""

    epochs: int = Field(default=0, ge=0)
    """Passes over the training films at most; 0 leaves the stage out."""

    @model_validator(mode="after")
    def _trains_something(self) -> Self:
        if self.epochs and not self.trains_backbone:
            raise ValueError("say what is trained with train_from or freeze_first")
        if self.views > 1 or self.optimiser == "lbfgs":
            raise ValueError("views and 'lbfgs' go with a frozen backbone, in [schedule]")
        if self.robust:
            raise ValueError("robust fits a head on a frozen backbone, in [schedule]: leave it out here")
        if self.seed:
            raise ValueError("one seed serves both stages: give it in [schedule]")
        return self


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
    unseen: dict[str, tuple[str, ...]] = {}
    """Like classes, but never trained on: such films are scored at the end, to see what the network calls them."""
    split: SplitPlan = SplitPlan()
    preprocess: Preprocess = Preprocess()
    network: Network = Network()
    augmentation: Augmentation = Augmentation()
    oversampling: Oversampling = Oversampling()
    schedule: Schedule = Schedule()
    finetuning: FineTuning = FineTuning()
    judgement: Judgement = Judgement()

    @model_validator(mode="after")
    def _classes_apart(self) -> Self:
        if len(self.classes) < 2:
            raise ValueError("[classes] needs two classes or more")
        named = [*self.classes.values(), *self.unseen.values()]
        labels = [label for members in named for label in members]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(
                    f"label '{label}' is named twice in [classes]" + (" and [unseen]" if self.unseen else "")
                )
        if not all(named):
            raise ValueError("every class needs a label")
        for name in self.oversampling.classes:
            if name not in self.classes:
                raise ValueError(f"[oversampling] names a class '{name}' that is not in [classes]")
        return self

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        if self.schedule.views > 1 and self.augmentation.changes_nothing:
            raise ValueError(f"schedule.views = {self.schedule.views} needs an [augmentation] that changes something")
        if self.schedule.robust and self.network.trains_backbone:
            raise ValueError("schedule.robust needs a frozen backbone: use schedule.balance = 'source' in its place")
        if self.network.project != "none" and self.finetuning.epochs:
            raise ValueError("[finetuning] would learn again what network.project takes away: leave one of them out")
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.classes)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what the recipe says; the order of the classes is part of it, for the first is positive."""
        return digest_of(self.model_dump(mode="json") | {"order": list(self.classes)})

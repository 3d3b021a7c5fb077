"""What the recipe of a box detector may say, key by key."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hilum.files import digest_of
from hilum.preprocess import Preprocess
from hilum.recipe.schema import Augmentation, Schedule


class DetectionRecipe(BaseModel):
    """Everything but the films that decides how a box detector is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    title: str
    """What the detector is called in bundles."""
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    """What its boxes are around; boxes of different labels may overlap."""
    network: str = "retinanet"
    """`retinanet`, `fcos` or `faster-rcnn`."""
    encoder: str = "tf_efficientnet_lite0"
    """A convolutional timm name."""
    weights: str = "packaged"
    """Of the encoder: `packaged`, `cache`, `hub`, `random` or `file:PATH`."""
    width: int = Field(default=64, ge=64, multiple_of=32)
    """Channels of the pyramid between encoder and head, and of the head."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """Whether the encoder's batch statistics move; those of four films are too rough to follow."""
    preprocess: Preprocess = Preprocess(size_px=320, aspect="pad", channels=1)
    augmentation: Augmentation = Augmentation()
    schedule: Schedule = Schedule(
        epochs=40, batch_films=4, learning_rate=3e-4, class_weights="none", precision="float32"
    )
    """`class_weights` and `views` play no part. Boxes are computed in the steps' precision: bfloat16 rounds corners."""
    score_threshold: float = Field(default=0.3, ge=0, lt=1)
    """Boxes with a lower score are not told."""
    nms_threshold: float = Field(default=0.5, gt=0, le=1)
    """Of two boxes of a label whose intersection over union is larger, the surer is told."""
    most_found: int = Field(default=100, ge=1)
    """Boxes on a film."""

    @model_validator(mode="after")
    def _can_train(self) -> Self:
        if self.schedule.optimiser == "lbfgs":
            raise ValueError("schedule.optimiser = 'lbfgs' fits a head only: use 'adamw'")
        if self.schedule.balance != "none" or self.schedule.robust:
            raise ValueError("schedule.balance and schedule.robust weigh films of classes: leave them out here")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels names one twice")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what the recipe says."""
        return digest_of(self.model_dump(mode="json"))

"""What the recipe of a segmentation network may say, key by key."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hilum.files import digest_of
from hilum.preprocess import Preprocess
from hilum.recipe.schema import Augmentation, Schedule


class SegmentationRecipe(BaseModel):
    """Everything but the films that decides how a segmentation network is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    title: str
    """What the network is called in bundles."""
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    """What its masks are of; masks may overlap."""
    network: str = "unet"
    """A segmentation network: `unet`, `fpn`, `deeplabv3+` and others on an encoder, or one of hilum's own."""
    encoder: str | None = "tf_efficientnet_lite0"
    """A convolutional timm name; none for hilum's own networks."""
    weights: str = "packaged"
    """Of the encoder: `packaged`, `cache`, `hub`, `random` or `file:PATH`."""
    loss: Literal["dice", "bce+dice", "focal"] = "bce+dice"
    """What the masks are trained by."""
    preprocess: Preprocess = Preprocess(size_px=256, channels=1)
    augmentation: Augmentation = Augmentation()
    schedule: Schedule = Schedule(epochs=20, batch_films=8, class_weights="none")
    """`class_weights` and `views` play no part."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """A pixel is inside from this probability on."""

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

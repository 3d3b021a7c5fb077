"""What the recipes of networks that read frames and draw on them have in common, whether they draw masks or boxes."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hilum.files import digest_of
from hilum.preprocess import Preprocess
from hilum.recipe.schema import Augmentation, Schedule


class FrameRecipe(BaseModel):
    """Everything but the films, and but the kind of network, that decides how it is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    title: str
    """What the network is called in bundles."""
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    """What it draws; what is drawn of different labels may overlap."""
    preprocess: Preprocess
    augmentation: Augmentation = Augmentation()
    schedule: Schedule
    """`class_weights` and `views` play no part."""

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

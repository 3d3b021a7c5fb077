"""What the recipe of a segmentation network may say, key by key."""

from typing import Literal

from pydantic import Field

from hilum.preprocess import Preprocess
from hilum.recipe.frames import FrameRecipe
from hilum.recipe.schema import Schedule


class SegmentationRecipe(FrameRecipe):
    """Everything but the films that decides how a segmentation network is trained."""

    network: str = "unet"
    """A segmentation network: `unet`, `fpn`, `deeplabv3+` and others on an encoder, or one of hilum's own."""
    encoder: str | None = "tf_efficientnet_lite0"
    """A convolutional timm name; none for hilum's own networks."""
    weights: str = "packaged"
    """Of the encoder: `packaged`, `cache`, `hub`, `random` or `file:PATH`."""
    loss: Literal["dice", "bce+dice", "focal"] = "bce+dice"
    """What the masks are trained by."""
    preprocess: Preprocess = Preprocess(size_px=256, channels=1)
    schedule: Schedule = Schedule(epochs=20, batch_films=8, class_weights="none")
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """A pixel is inside from this probability on."""

"""What the recipe of a box detector may say, key by key."""

from typing import Literal

from pydantic import Field

from hilum.preprocess import Preprocess
from hilum.recipe.frames import FrameRecipe
from hilum.recipe.schema import Schedule


class DetectionRecipe(FrameRecipe):
    """Everything but the films that decides how a box detector is trained."""

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
    schedule: Schedule = Schedule(
        epochs=40, batch_films=4, learning_rate=3e-4, class_weights="none", precision="float32"
    )
    """Boxes are computed in the steps' precision: bfloat16 rounds corners."""
    score_threshold: float = Field(default=0.3, ge=0, lt=1)
    """Boxes with a lower score are not told."""
    nms_threshold: float = Field(default=0.5, gt=0, le=1)
    """Of two boxes of a label whose intersection over union is larger, the surer is told."""
    most_found: int = Field(default=100, ge=1)
    """Boxes on a film."""

"""Networks: a backbone by name, a head as data, and weights that are local first."""

from hilum.engine import SCORING_BATCH, Frames
from hilum.networks.backbones import Backbone, Origin, check_weights, load_backbone
from hilum.networks.classifier import Classifier, build_classifier, freeze, logits_of

__all__ = [
    "SCORING_BATCH",
    "Backbone",
    "Classifier",
    "Frames",
    "Origin",
    "build_classifier",
    "check_weights",
    "freeze",
    "load_backbone",
    "logits_of",
]

"""Networks: a backbone by name, a head as data, and weights that are local first."""

from hilum.networks.backbones import Backbone, Origin, check_weights, load_backbone
from hilum.networks.classifier import SCORING_BATCH, Classifier, Frames, build_classifier, freeze, logits_of

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

"""Lungs: the right and the left lung of frontal films, their areas, and whether to believe them."""

from hilum.lungs.films import Lungs, lungs_bundle, lungs_of, segment_lungs
from hilum.lungs.heart import HeartSize, Reach, heart_bundle, heart_size
from hilum.lungs.made import DRAWN_BY, UNDRAWN, before_drawing, drawn_films, made_masks, with_masks
from hilum.lungs.quality import flags_of, measure, plausible_range, unsure_share
from hilum.lungs.rows import as_json
from hilum.lungs.sides import Sides, tell_sides

__all__ = [
    "DRAWN_BY",
    "UNDRAWN",
    "HeartSize",
    "Lungs",
    "Reach",
    "Sides",
    "as_json",
    "before_drawing",
    "drawn_films",
    "flags_of",
    "heart_bundle",
    "heart_size",
    "lungs_bundle",
    "lungs_of",
    "made_masks",
    "measure",
    "plausible_range",
    "segment_lungs",
    "tell_sides",
    "unsure_share",
    "with_masks",
]

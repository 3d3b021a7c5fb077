"""Lesions: ground glass and consolidation on frontal films, what share of the lungs they cover, and their boxes."""

from hilum.lesions.boxed import Boxed, boxes_of_masks, check_names, scored_boxes, write_boxes
from hilum.lesions.films import Lesions, lesions_bundle, segment_lesions
from hilum.lesions.rows import as_json
from hilum.lesions.zones import LESIONS, SHARES, ZONES, involved_shares, thirds_of

__all__ = [
    "LESIONS",
    "SHARES",
    "ZONES",
    "Boxed",
    "Lesions",
    "as_json",
    "boxes_of_masks",
    "check_names",
    "involved_shares",
    "lesions_bundle",
    "scored_boxes",
    "segment_lesions",
    "thirds_of",
    "write_boxes",
]

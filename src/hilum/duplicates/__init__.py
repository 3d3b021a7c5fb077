"""Which films show the same picture: a perceptual hash that finds exports, keypoints that find crops and edits."""

from hilum.duplicates.hashing import (
    NEAR_BITS,
    WORDS,
    Hash,
    distance,
    from_text,
    looks_like,
    near_pairs,
    perceptual_hash,
    to_text,
)

__all__ = [
    "NEAR_BITS",
    "WORDS",
    "Hash",
    "distance",
    "from_text",
    "looks_like",
    "near_pairs",
    "perceptual_hash",
    "to_text",
]

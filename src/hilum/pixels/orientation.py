"""The EXIF orientation of PNG and JPEG files, and turning a film upright by it.

Read here rather than left to the decoders: they disagree about when they apply it.
"""

import struct

import numpy as np

from hilum.pixels.film import Stored

ORIENTATION = 0x0112
PICTURES_HELD = 0xB001
"""Tag of the multi-picture index (CIPA DC-007): how many pictures the file holds."""


def tiff_number(block: bytes, tag: int) -> int | None:
    """An unsigned number from the first directory of a TIFF structure, None where it is absent or damaged."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 10:
        return None
    start = struct.unpack_from(order + "I", block, 4)[0]
    if start + 2 > len(block):
        return None
    count = struct.unpack_from(order + "H", block, start)[0]
    for entry in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        found, kind = struct.unpack_from(order + "HH", block, entry)
        if found == tag:
            size = {3: "H", 4: "I"}.get(kind)
            return int(struct.unpack_from(order + size, block, entry + 8)[0]) if size else None
    return None


def turns_sideways(orientation: int) -> bool:
    """Whether width and height change places."""
    return 5 <= orientation <= 8


def upright(stored: Stored, orientation: int) -> Stored:
    """Apply an EXIF orientation (1 to 8; anything else is left alone) to `(H, W)` or `(H, W, C)` samples."""
    if turns_sideways(orientation):
        stored = stored.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    return np.ascontiguousarray(stored)

"""What a PNG says in its chunks, and the PNG again with nothing but its picture (W3C PNG, 3rd edition)."""

import struct
import zlib
from dataclasses import dataclass

from hilum.pixels.film import Refused
from hilum.pixels.orientation import ORIENTATION, tiff_number

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
MODES = {
    (0, 1): "1",
    (0, 2): "L",
    (0, 4): "L",
    (0, 8): "L",
    (0, 16): "I;16",
    (2, 8): "RGB",
    (2, 16): "RGB;16",
    (3, 1): "P",
    (3, 2): "P",
    (3, 4): "P",
    (3, 8): "P",
    (4, 8): "LA",
    (4, 16): "LA;16",
    (6, 8): "RGBA",
    (6, 16): "RGBA;16",
}
"""(colour type, bit depth), all that the standard allows, to the mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PngHeader:
    """A PNG's header, and the file reduced to the chunks that make the picture.

    The reduction is what is decoded: colour profiles, compressed texts and whatever else a decoder might unfold or
    apply play no part.
    """

    width: int
    height: int
    mode: str
    bits: int
    orientation: int
    bare: bytes


def read_header(data: bytes) -> PngHeader:
    """Walk all chunks, checking those of the picture.

    Raises:
        Refused: chunks are missing or damaged, or the PNG is animated.
    """
    position, orientation, header = len(SIGNATURE), 1, b""
    kept = [SIGNATURE]
    while True:
        name, content, stop = _chunk(data, position)
        if name == b"acTL":
            raise Refused("several pictures", "is an animated PNG; give one film per file")
        if name == b"eXIf":
            orientation = tiff_number(bytes(content), ORIENTATION) or 1
        if name in PICTURE:
            kept.append(data[position:stop])
        if name == b"IHDR":
            header = bytes(content)
        position = stop
        if name == b"IEND":
            break
    if len(header) != 13:
        raise Refused("damaged", "is a PNG without a header")
    width, height, depth, colour = struct.unpack_from(">IIBB", header)
    mode = MODES.get((colour, depth))
    if mode is None:
        raise Refused("damaged", "is a PNG of a kind the standard does not know")
    return PngHeader(width=width, height=height, mode=mode, bits=depth, orientation=orientation, bare=b"".join(kept))


def _chunk(data: bytes, position: int) -> tuple[bytes, memoryview, int]:
    """Name, content and end of the chunk at `position`."""
    if position + 12 > len(data):
        raise Refused("truncated", "is a PNG that ends before its picture does")
    length, name = struct.unpack_from(">I4s", data, position)
    stop = position + 12 + length
    if stop > len(data):
        raise Refused("truncated", "is a PNG that ends before its picture does")
    content = memoryview(data)[position + 8 : stop - 4]
    if name in PICTURE and zlib.crc32(content, zlib.crc32(name)) != struct.unpack_from(">I", data, stop - 4)[0]:
        raise Refused("damaged", "is a PNG whose checksum does not match its content")
    return name, content, stop

"""What a JPEG says before its first scan: size, components, coding, orientation.

Layout of the markers: ITU-T T.81, annex B; of JPEG-LS: ITU-T T.87, annex C.
"""

import struct
from dataclasses import dataclass

from hilum.pixels.film import Refused
from hilum.pixels.orientation import ORIENTATION, PICTURES_HELD, tiff_number

FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers, 0xF7 being JPEG-LS; C4, C8 and CC are tables and an extension."""
STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
SCAN = 0xDA
END = b"\xff\xd9"
MOST_SCANS = 200
"""Progressive files have about ten scans; each costs a pass over the whole picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegHeader:
    """A JPEG's frame header and what its application segments say."""

    width: int
    height: int
    components: int
    precision: int
    process: int
    """The start-of-frame marker: 0xC0 and 0xC1 sequential, 0xC2 progressive, 0xC3 lossless, 0xF7 JPEG-LS."""
    orientation: int
    pictures: int
    scan: int
    """Offset of the first scan."""


def read_header(data: bytes) -> JpegHeader:
    """Walk the markers up to the first scan.

    Raises:
        Refused: the file ends or breaks off before its first scan.
    """
    frame: tuple[int, int, int, int, int] | None = None
    orientation, pictures, position = 1, 1, 2
    while True:
        marker, start, stop = _segment(data, position)
        if marker == SCAN:
            break
        if marker in FRAME_MARKERS and frame is None and stop - start >= 6:
            frame = (marker, *struct.unpack_from(">BHHB", data, start))
        elif marker == 0xE1 and data[start : start + 6] == b"Exif\0\0":
            orientation = tiff_number(data[start + 6 : stop], ORIENTATION) or 1
        elif marker == 0xE2 and data[start : start + 4] == b"MPF\0":
            pictures = tiff_number(data[start + 4 : stop], PICTURES_HELD) or 1
        position = stop
    if frame is None:
        raise Refused("damaged", "is a JPEG without a frame header")
    process, precision, height, width, components = frame
    return JpegHeader(
        width=width,
        height=height,
        components=components,
        precision=precision,
        process=process,
        orientation=orientation,
        pictures=pictures,
        scan=position,
    )


def _segment(data: bytes, position: int) -> tuple[int, int, int]:
    """The marker at or after `position`, and where its content starts and stops."""
    while True:
        if position + 4 > len(data):
            raise Refused("truncated", "is a JPEG that ends inside its header")
        if data[position] != 0xFF:
            raise Refused("damaged", "is a JPEG with a broken header")
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in STANDALONE:
            position += 2
        else:
            break
    start = position + 4
    stop = position + 2 + struct.unpack_from(">H", data, position + 2)[0]
    if marker == SCAN:
        return marker, start, position
    if stop < start or stop > len(data):
        raise Refused("truncated", "is a JPEG that ends inside its header")
    return marker, start, stop


def check_scans(data: bytes, header: JpegHeader) -> None:
    """Refuse a JPEG that breaks off: decoders fill the missing part with grey and say nothing.

    Entropy-coded data never holds the end marker (0xFF is always followed by a stuffed zero), so looking for it after
    the first scan is sound and costs nothing. What it cannot see is data lost from the middle of a file.
    """
    if data.rfind(END, header.scan) < 0:
        raise Refused("truncated", "is a JPEG that ends before its picture does")
    if data.count(b"\xff\xda", header.scan) > MOST_SCANS:
        raise Refused("damaged", f"is a JPEG of more than {MOST_SCANS} scans")

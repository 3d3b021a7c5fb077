"""Decoding DICOM pixel data: only with the decoders named here, only what the header has room for."""

import struct

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from hilum.pixels import jpeg
from hilum.pixels.dicom_header import NATIVE, DicomHeader, native_bytes, quiet, whole
from hilum.pixels.film import Refused, Stored, refusing

JPEG_PLUGINS = {
    "1.2.840.10008.1.2.4.50": "pillow",
    "1.2.840.10008.1.2.4.51": "pillow",
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
}
PROCESSES = {
    "1.2.840.10008.1.2.4.50": {0xC0},
    "1.2.840.10008.1.2.4.51": {0xC0, 0xC1},
    "1.2.840.10008.1.2.4.57": {0xC3},
    "1.2.840.10008.1.2.4.70": {0xC3},
    "1.2.840.10008.1.2.4.80": {0xF7},
    "1.2.840.10008.1.2.4.81": {0xF7},
}
"""The JPEG processes, by their start-of-frame marker, that a transfer syntax may hold."""
JPEG_2000_PLUGINS = {f"1.2.840.10008.1.2.4.{number}": "pylibjpeg" for number in (90, 91, 201, 202, 203)}
RLE = "1.2.840.10008.1.2.5"
"""Decoded by pydicom itself: the plug-in pylibjpeg-rle panics on damaged data."""


def stored_pixels(header: DicomHeader) -> Stored:
    """The samples `(H, W)` as stored: 8- or 16-bit integers, bits beyond `BitsStored` cleared.

    Raises:
        Refused: the compression is not supported, damaged, or holds another size than the header states.
    """
    data, syntax = header.data, header.transfer_syntax
    plugin = _plugin(syntax)
    with quiet(), refusing("damaged", "holds pixel data that cannot be decoded"):
        if syntax not in NATIVE:
            _check_frame(get_frame(data.PixelData, 0, number_of_frames=1), data, syntax)
        data.pop("NumberOfFrames", None)  # one, as was checked; pydicom trips over an empty one
        decoder = get_decoder(data.file_meta.TransferSyntaxUID)
        stored, _ = decoder.as_array(data, index=0, raw=True, decoding_plugin=plugin)
    if stored.shape != (whole(data, "Rows"), whole(data, "Columns")):
        raise Refused("damaged", "holds pixel data of another size than its header states")
    return _used_bits(stored, whole(data, "BitsStored"))


def _plugin(syntax: UID) -> str:
    if syntax in NATIVE:
        return ""
    plugin = {**JPEG_PLUGINS, **JPEG_2000_PLUGINS, RLE: "pydicom"}.get(str(syntax))
    if plugin is None:
        raise Refused("unsupported", "is compressed in a way that is not supported")
    return plugin


def _check_frame(frame: bytes, data: Dataset, syntax: UID) -> None:
    """Hold a compressed frame to the header's size before a decoder allocates what the frame itself asks for."""
    if syntax == RLE:
        _check_rle(frame, native_bytes(data))
        return
    if syntax in JPEG_2000_PLUGINS:
        size = _jpeg_2000_size(frame)
    else:
        header = jpeg.read_header(frame)
        jpeg.check_scans(frame, header)
        if header.precision == 12 and header.process in (0xC0, 0xC1, 0xC2):
            raise Refused("unsupported", "is compressed as 12-bit JPEG, which is not supported")
        # GDCM has crashed on a frame whose coding or precision is not what the DICOM header promises.
        wide = whole(data, "BitsAllocated") == 16
        if header.process not in PROCESSES[str(syntax)] or header.precision > 16 or (header.precision > 8) != wide:
            raise Refused("damaged", "holds pixel data of another kind than its header states")
        size = (header.width, header.height, header.components)
    if size != (whole(data, "Columns"), whole(data, "Rows"), 1):
        raise Refused("damaged", "holds pixel data of another size than its header states")


def _jpeg_2000_size(frame: bytes) -> tuple[int, int, int]:
    """Width, height and components from a JPEG 2000 codestream's SIZ marker (ITU-T T.800, A.5.1)."""
    start = frame.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise Refused("damaged", "holds no JPEG 2000 picture where it says so")
    right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
    return right - left, bottom - top, struct.unpack_from(">H", frame, start + 40)[0]


def _check_rle(frame: bytes, expected: int) -> None:
    """Follow the run lengths without unfolding them (PS3.5, annex G)."""
    count, *starts = struct.unpack_from("<16I", frame)
    unfolded = 0
    for start, stop in zip(starts[:count], [*starts[1:count], len(frame)], strict=True):
        position = start
        while position < stop:
            run = frame[position]
            position += run + 2 if run < 128 else (2 if run > 128 else 1)
            unfolded += run + 1 if run < 128 else (257 - run if run > 128 else 0)
        if unfolded > expected + 256 * count:
            raise Refused("damaged", "unfolds to more pixel data than its header states")


def _used_bits(stored: Stored, bits: int) -> Stored:
    """Clear what lies above the stored bits (old files keep overlays there), extending the sign of signed samples."""
    spare = stored.dtype.itemsize * 8 - bits
    if spare == 0:
        return stored
    shifted: Stored = np.right_shift(np.left_shift(stored, spare), spare)
    return shifted

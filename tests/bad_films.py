"""Films no service may stumble over, and what must come of each: whoever takes films in is tested against this table.

Every DICOM file among them names a patient; no answer, log or file may.
"""

import io
import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from pydicom.uid import DigitalXRayImageStorageForProcessing, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from .pixels.conftest import CANARY, DicomFiles
from .pixels.test_dicom_refusals import deep_sequences, deflate_bomb, huge_rle, relabelled, without_pixels
from .pixels.test_raster import chunk, colour_picture, jpeg, png, png_of_size

SECRETS = ("DOE", "JANE", "CANARY", "canary", "03/1951", "47114711")
"""Parts of the patient's name, numbers and date, none of which digests and times can hold; none may be heard again."""

MPEG = "1.2.840.10008.1.2.4.100"


@dataclass(frozen=True)
class BadFilm:
    """A film's bytes and what must come of it.

    Attributes:
        name: begins with the input's number in the list of bad inputs.
        make: draws it.
        refused: the kind of its refusal while decoding; None where it is decoded.
    """

    name: str
    make: Callable[[DicomFiles], bytes]
    refused: str | None


def _damaged_j2k(dicom: DicomFiles) -> bytes:
    data = bytearray(dicom.of_syntax("JPEG 2000"))
    start = data.index(b"\xff\x93") + 2
    data[start : start + 200] = bytes(200)
    return bytes(data)


def _damaged_rle(dicom: DicomFiles) -> bytes:
    data = bytearray(dicom.of_syntax("RLE"))
    data[-900:-700] = b"\x7f" * 200
    return bytes(data)


def _polyglot(dicom: DicomFiles) -> bytes:
    return b"MZ" + dicom(dicom.drawn())[2:]


def _turned(dicom: DicomFiles) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(_grey(), exif=exif)


def _saved(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def _grey() -> np.ndarray:  # type: ignore[type-arg]
    return np.round(np.linspace(0, 255, 96 * 128).reshape(96, 128)).astype(np.uint8)


def _text_bomb(_dicom: DicomFiles) -> bytes:
    text = b"Comment\0\0" + zlib.compress(bytes(1 << 26), 9)
    whole = png(_grey())
    return whole[:33] + chunk(b"zTXt", text) + whole[33:]


def _nan_tiff(_dicom: DicomFiles) -> bytes:
    return _saved(Image.fromarray(np.full((64, 64), np.nan, np.float32)), "TIFF")


BAD_FILMS = (
    BadFilm("1 truncated pixel data", lambda dicom: dicom(dicom.drawn())[:-100], "truncated"),
    BadFilm("2 truncated header", lambda dicom: dicom(dicom.drawn())[:300], "no-pixels"),
    BadFilm("3 65535 x 65535 native", lambda dicom: dicom(dicom.drawn(), Rows=65535, Columns=65535), "too-large"),
    BadFilm("4 65535 x 65535 RLE", huge_rle, "too-large"),
    BadFilm("5 deflate bomb", deflate_bomb, "too-large"),
    BadFilm("6 two billion frames", lambda dicom: dicom(dicom.drawn(), NumberOfFrames=2 * 10**9), "several-pictures"),
    BadFilm("7 no rows", lambda dicom: dicom(dicom.drawn(), Rows=0), "damaged"),
    BadFilm(
        "8 JPEG-LS called JPEG 2000",
        lambda dicom: relabelled(dicom.of_syntax("JPEG-LS"), JPEGLSLossless, JPEG2000Lossless),
        "damaged",
    ),
    BadFilm("9 damaged JPEG 2000", _damaged_j2k, "any"),
    BadFilm("9 damaged RLE", _damaged_rle, "any"),
    BadFilm(
        "10 MPEG",
        lambda dicom: relabelled(dicom(dicom.drawn()), ExplicitVRLittleEndian, "1.2.840.10008.1.2.4.100"),
        "any",
    ),
    BadFilm("11 slope NaN", lambda dicom: dicom(dicom.drawn(), RescaleSlope="nan", RescaleIntercept="0"), "bad-header"),
    BadFilm("11 slope 0", lambda dicom: dicom(dicom.drawn(), RescaleSlope="0", RescaleIntercept="0"), "bad-header"),
    BadFilm(
        "11 intercept infinite",
        lambda dicom: dicom(dicom.drawn(), RescaleSlope="1", RescaleIntercept="inf"),
        "bad-header",
    ),
    BadFilm("12 window width 0", lambda dicom: dicom(dicom.drawn(), WindowCenter=2048, WindowWidth=0), None),
    BadFilm(
        "12 two windows", lambda dicom: dicom(dicom.drawn(), WindowCenter=[2048, 100], WindowWidth=[4096, 10]), None
    ),
    BadFilm("13 MONOCHROME1", lambda dicom: dicom(dicom.drawn(), PhotometricInterpretation="MONOCHROME1"), None),
    BadFilm("14 constant", lambda dicom: dicom(np.full((48, 64), 700, np.uint16)), "constant"),
    BadFilm("15 palette", lambda dicom: dicom(dicom.drawn(), PhotometricInterpretation="PALETTE COLOR"), "colour"),
    BadFilm("16 segmentation", lambda dicom: dicom(dicom.drawn(), Modality="SEG"), "not-a-film"),
    BadFilm("16 report", lambda dicom: without_pixels(dicom, Modality="SR", Rows=None, Columns=None), "not-a-film"),
    BadFilm("16 document", lambda dicom: without_pixels(dicom, Modality="OT", Rows=None, Columns=None), "no-pixels"),
    BadFilm("16 CT", lambda dicom: dicom(dicom.drawn(), Modality="CT"), None),
    BadFilm("16 leg", lambda dicom: dicom(dicom.drawn(), BodyPartExamined="LEG"), None),
    BadFilm("16 lateral", lambda dicom: dicom(dicom.drawn(), ViewPosition="LL"), None),
    BadFilm(
        "17 FOR PROCESSING",
        lambda dicom: dicom(dicom.drawn(), PresentationIntentType="FOR PROCESSING"),
        "for-processing",
    ),
    BadFilm(
        "17 FOR PROCESSING by its class",
        lambda dicom: dicom(dicom.drawn(), SOPClassUID=DigitalXRayImageStorageForProcessing),
        "for-processing",
    ),
    BadFilm("18 a path as identifier", lambda dicom: dicom(dicom.drawn(), SOPInstanceUID=f"../../{CANARY}"), None),
    BadFilm("18 a long identifier", lambda dicom: dicom(dicom.drawn(), SOPInstanceUID="1.2." + "4711" * 40), None),
    BadFilm(
        "19 a name with controls",
        lambda dicom: dicom(dicom.drawn(), PatientName="DOE\0\x1b$B<script>CANARY</script>" * 160),
        None,
    ),
    BadFilm("20 an identifier", lambda dicom: dicom(dicom.drawn(), SOPInstanceUID="1.2.3"), None),
    BadFilm("20 the same, other pixels", lambda dicom: dicom(dicom.drawn()[::-1].copy(), SOPInstanceUID="1.2.3"), None),
    BadFilm("21 20,000 deep", deep_sequences, "damaged"),
    BadFilm("22 polyglot", _polyglot, None),
    BadFilm("22 empty", lambda _: b"", "empty"),
    BadFilm("22 random", lambda _: np.random.default_rng(0).bytes(4000), "unknown-format"),
    BadFilm("22 text", lambda _: f"{CANARY} is no film".encode() * 9, "unknown-format"),
    BadFilm("23 16-bit PNG", lambda _: png(_grey().astype(np.uint16) << 8), None),
    BadFilm("23 turned JPEG", _turned, None),
    BadFilm("23 GIF", lambda _: _saved(Image.fromarray(_grey()), "GIF"), "unknown-format"),
    BadFilm("23 CMYK", lambda _: jpeg(Image.fromarray(colour_picture()).convert("CMYK")), "colour"),
    BadFilm("23 EPS", lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unknown-format"),
    BadFilm("23 SVG", lambda _: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "unknown-format"),
    BadFilm("23 NaN TIFF", _nan_tiff, "unknown-format"),
    BadFilm("23 144 MP PNG", lambda _: png_of_size(12000, 12000), "too-large"),
    BadFilm("23 text bomb in a PNG", _text_bomb, None),
    BadFilm("24 pickle", lambda _: pickle.dumps({"weights": [0.5] * 99}), "unknown-format"),
)
"""`refused` is "any" where decoders may read the damage as a picture: all that counts is that they survive it."""

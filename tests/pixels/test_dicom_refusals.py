"""Hostile, damaged and unsuitable DICOM files: refused in one sentence that tells nothing of what they say."""

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from hilum.errors import UnreadableFilm
from hilum.pixels import read_facts, read_film

CANARY = "DOE^JANE CANARY 12/03/1951"
"""The patient's name in every file drawn; the id holds 4711."""


def deep_sequences(dicom: Any, depth: int = 20_000) -> bytes:
    whole = dicom(dicom.drawn())
    opened = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return whole[: whole.index(b"\x08\x00\x16\x00")] + opened * depth


def deflate_bomb(dicom: Any) -> bytes:
    whole = dicom(dicom.drawn(), DeflatedExplicitVRLittleEndian)
    start = whole.index(DeflatedExplicitVRLittleEndian.encode()) + 22
    packer = zlib.compressobj(9, wbits=-15)
    return whole[:start] + b"".join(packer.compress(bytes(1 << 24)) for _ in range(9)) + packer.flush()


def huge_rle(dicom: Any) -> bytes:
    data = pydicom.dcmread(io.BytesIO(dicom.of_syntax("RLE")))
    data.Rows = data.Columns = 65535
    return dicom.written(data, RLELossless)


def relabelled(data: bytes, old: UID, new: str) -> bytes:
    return data.replace(
        old.encode().ljust(len(old) + len(old) % 2, b"\0"), new.encode().ljust(len(old) + len(old) % 2, b"\0")
    )


def rle_bomb(dicom: Any) -> bytes:
    frame = struct.pack("<16I", 2, 64, 70_064, *[0] * 13) + b"\x81\x00" * 70_000
    data = dicom.data_set(dicom.drawn())
    data.PixelData = pydicom.encaps.encapsulate([frame])
    data["PixelData"].VR = "OB"
    return dicom.written(data, RLELossless)


def larger_inside(dicom: Any, name: str) -> bytes:
    """Compressed data that state 65535 x 65535 inside a header that states 64 x 48."""
    data = dicom.of_syntax(name)
    if name == "JPEG 2000":
        at = data.index(b"\xff\x4f\xff\x51") + 8
        return data[:at] + struct.pack(">II", 65535, 65535) + data[at + 8 :]
    at = data.index(b"\xff\xf7" if name == "JPEG-LS" else b"\xff\xc3") + 5
    return data[:at] + struct.pack(">HH", 65535, 65535) + data[at + 4 :]


def of_199_bits(dicom: Any) -> bytes:
    """A lossless JPEG that states a precision no decoder has room for."""
    data = dicom.of_syntax("JPEG lossless")
    at = data.index(b"\xff\xc3") + 4
    return data[:at] + bytes([199]) + data[at + 1 :]


def without_pixels(dicom: Any, **attributes: object) -> bytes:
    return dicom(dicom.drawn(), PixelData=None, **attributes)


BAD: dict[str, tuple[Callable[[Any], bytes], str]] = {
    "truncated pixels": (lambda dicom: dicom(dicom.drawn())[:-100], "truncated"),
    "truncated header": (lambda dicom: dicom(dicom.drawn())[:300], "no pixels"),
    "65535 x 65535 native": (lambda dicom: dicom(dicom.drawn(), Rows=65535, Columns=65535), "too large"),
    "65535 x 65535 RLE": (huge_rle, "too large"),
    "deflate bomb": (deflate_bomb, "too large"),
    "RLE bomb": (rle_bomb, "damaged"),
    "two billion frames": (lambda dicom: dicom(dicom.drawn(), NumberOfFrames=2_000_000_000), "several pictures"),
    "two frames": (lambda dicom: dicom(np.vstack([dicom.drawn()] * 2), Rows=48, NumberOfFrames=2), "several pictures"),
    "no rows": (lambda dicom: dicom(dicom.drawn(), Rows=0), "damaged"),
    "rows missing": (lambda dicom: dicom(dicom.drawn(), Rows=None), "no pixels"),
    "bits beyond the allocated": (lambda dicom: dicom(dicom.drawn(), BitsStored=17), "unsupported"),
    "JPEG-LS called JPEG 2000": (
        lambda dicom: relabelled(dicom.of_syntax("JPEG-LS"), JPEGLSLossless, JPEG2000Lossless),
        "damaged",
    ),
    "JPEG 2000 part 2": (
        lambda dicom: relabelled(dicom.of_syntax("JPEG-LS"), JPEGLSLossless, "1.2.840.10008.1.2.4.93"),
        "unsupported",
    ),
    "unknown syntax": (
        lambda dicom: relabelled(dicom(dicom.drawn()), ExplicitVRLittleEndian, "1.2.3.4.5"),
        "unsupported",
    ),
    "larger inside: JPEG 2000": (lambda dicom: larger_inside(dicom, "JPEG 2000"), "damaged"),
    "larger inside: JPEG-LS": (lambda dicom: larger_inside(dicom, "JPEG-LS"), "damaged"),
    "larger inside: JPEG lossless": (lambda dicom: larger_inside(dicom, "JPEG lossless"), "damaged"),
    "199 bits inside": (of_199_bits, "damaged"),
    "half an RLE": (lambda dicom: dicom.of_syntax("RLE")[:-1500], "no pixels"),
    "slope zero": (lambda dicom: dicom(dicom.drawn(), RescaleSlope="0", RescaleIntercept="0"), "bad header"),
    "slope NaN": (lambda dicom: dicom(dicom.drawn(), RescaleSlope="nan", RescaleIntercept="0"), "bad header"),
    "intercept infinite": (lambda dicom: dicom(dicom.drawn(), RescaleSlope="1", RescaleIntercept="inf"), "bad header"),
    "slope is a name": (
        lambda dicom: dicom(dicom.drawn(), RescaleSlope=DataElement("RescaleSlope", "LO", "DOE JANE")),
        "bad header",
    ),
    "constant": (lambda dicom: dicom(np.full((48, 64), 700, np.uint16)), "constant"),
    "all padding": (lambda dicom: dicom(dicom.drawn(), PixelPaddingValue=0, PixelPaddingRangeLimit=4095), "constant"),
    "RGB": (
        lambda dicom: dicom(
            np.zeros((48, 64, 3), np.uint8), SamplesPerPixel=3, PhotometricInterpretation="RGB", BitsStored=8
        ),
        "colour",
    ),
    "palette": (lambda dicom: dicom(dicom.drawn(), PhotometricInterpretation="PALETTE COLOR"), "colour"),
    "segmentation": (lambda dicom: dicom(dicom.drawn(), Modality="SEG"), "not a film"),
    "report": (lambda dicom: without_pixels(dicom, Modality="SR", Rows=None, Columns=None), "not a film"),
    "document": (lambda dicom: without_pixels(dicom, Modality="OT", Rows=None, Columns=None), "no pixels"),
    "no pixel data": (without_pixels, "no pixels"),
    "20,000 deep": (deep_sequences, "damaged"),
    "empty after the prefix": (lambda dicom: bytes(128) + b"DICM", "no pixels"),
    "noise after the prefix": (lambda dicom: bytes(128) + b"DICM" + np.random.default_rng(0).bytes(5000), "no pixels"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_without_telling_what_they_say(
    dicom: Any, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    make, kind = BAD[name]
    path = tmp_path / "film.dcm"
    path.write_bytes(make(dicom))
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    capfd.readouterr()
    with pytest.raises(UnreadableFilm, match=f"^{kind}: film.dcm ") as refusal:
        read_film(path)
    with suppress(UnreadableFilm):
        read_facts(path)
    heard = str(refusal.value) + caplog.text + "".join(capfd.readouterr())
    assert "DOE" not in heard
    assert refusal.value.__context__ is None
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    "name", ["truncated pixels", "truncated header", "no pixel data", "deflate bomb", "two frames"]
)
def test_facts_already_refuse_what_the_header_gives_away(dicom: Any, name: str) -> None:
    make, kind = BAD[name]
    with pytest.raises(UnreadableFilm, match=f"^{kind}: the film "):
        read_facts(make(dicom))


@pytest.mark.parametrize(
    "attributes",
    [
        {"PatientBirthDate": CANARY, "StudyDate": CANARY, "AcquisitionDate": CANARY},
        {"PatientAge": CANARY, "PatientSex": CANARY, "ViewPosition": CANARY},
        {"SOPInstanceUID": f"../../{CANARY}", "StudyInstanceUID": CANARY * 40},
        {"PatientName": "DOE\0\x1b$B<script>CANARY</script>" * 200, "SpecificCharacterSet": "ISO_IR CANARY"},
        {"PixelSpacing": DataElement("PixelSpacing", "LO", [CANARY, CANARY]), "RescaleType": CANARY},
    ],
)
def test_odd_attributes_stay_between_the_file_and_its_patient(
    dicom: Any, attributes: dict[str, object], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    data = dicom(dicom.drawn(), **attributes)
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        film = read_film(data)
        told = repr((film.facts, read_facts(data)))
    assert heard == []
    for text in (told, caplog.text, *capfd.readouterr()):
        assert "CANARY" not in text
        assert "4711" not in text


def test_pydicoms_log_level_is_given_back(dicom: Any) -> None:
    before = logging.getLogger("pydicom").level
    read_film(dicom(dicom.drawn()))
    assert logging.getLogger("pydicom").level == before


def test_a_foreign_preamble_is_remarked_upon(dicom: Any) -> None:
    data = b"MZ" + dicom(dicom.drawn())[2:]
    assert "DICOM preamble not empty" in read_facts(data).warnings


SYNTAXES = ["implicit", "RLE", "JPEG-LS", "deflated", "no preamble"]


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(SYNTAXES),
    cut=st.floats(0, 1),
    changed=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
def test_damage_is_refused_or_survived(dicom: Any, name: str, cut: float, changed: list[tuple[float, int]]) -> None:
    whole = dicom.of_syntax(name)
    data = bytearray(whole[: round(cut * len(whole))])
    for place, value in changed:
        if data:
            data[int(place * len(data))] = value
    for read in (read_facts, read_film):
        with suppress(UnreadableFilm):
            read(bytes(data))

"""DICOM headers: the few attributes films are read by, taken from hostile files without repeating what they say.

Only the attributes of `WANTED` are ever parsed. pydicom quotes values, names of patients among them, in its warnings
and log records, so both are kept back while it works.
"""

import datetime as dt
import hashlib
import logging
import re
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from hilum.pixels.film import MOST_BYTES, FilmFacts, Refused, check_size, refusing
from hilum.records import Sex, View

NOBODY = frozenset(
    ("", "0", "00000", "anon", "anonymous", "anonymized", "anonymised", "unknown", "none", "na", "n/a", "test")
)
"""Patient ids (case aside) that anonymisers and consoles put where there is none: they would join everybody's films."""

DESCRIBING = (
    "SOPClassUID",
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PresentationIntentType",
    "BurnedInAnnotation",
    "PatientID",
    "IssuerOfPatientID",
    "PatientSex",
    "PatientAge",
    "PatientBirthDate",
    "Manufacturer",
    "ManufacturerModelName",
    "AcquisitionDate",
    "StudyDate",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "EstimatedRadiographicMagnificationFactor",
)
RENDERING = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
    "PresentationLUTShape",
)
PICTURE = ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")
WANTED = [*DESCRIBING, *RENDERING, *PICTURE]

NATIVE = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
NOT_FILMS = frozenset({"SEG", "SR", "PR", "KO", "DOC", "PM", "RTDOSE", "RTSTRUCT", "RTPLAN", "RTIMAGE", "REG", "M3D"})
"""Modalities of objects derived from or about a picture; some of them hold pixel data that is no picture."""
CHEST = ("CHEST", "THORA", "LUNG", "RIB")
VIEWS = {
    "PA": View.PA,
    "AP": View.AP,
    "LL": View.LATERAL,
    "RL": View.LATERAL,
    "LAT": View.LATERAL,
    "LATERAL": View.LATERAL,
}
SEXES: dict[str | None, Sex] = {"F": "F", "M": "M"}
YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
OLDEST_YEARS = 110
"""An age worked out to be more comes from a placeholder, such as 1 January 1900, or from dates shifted apart."""
PIXEL_DATA = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
"""The tag of the pixel data in little and big endian."""

_pydicom = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomHeader:
    """The wanted attributes of a DICOM file.

    Attributes:
        data: the attributes, in pydicom's hands; `PixelData` among them only where pixels were asked for.
        transfer_syntax: as stated, or as found where the file states none.
        warnings: what was odd about the file's structure.
    """

    data: Dataset
    transfer_syntax: UID
    warnings: tuple[str, ...]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings and log records, which quote attribute values, from everybody.

    Both are process-wide switches, so one thread at a time is let in; decoding holds the interpreter's lock anyway.
    """
    logger = logging.getLogger("pydicom")
    with _pydicom, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


def read_header(stream: BinaryIO, *, pixels: bool) -> DicomHeader:
    """Read the wanted attributes, and the pixel data where `pixels` says so.

    Raises:
        Refused: the file is damaged, unfolds to more than a film's size, or holds no picture.
    """
    with quiet(), refusing("damaged", "has a DICOM header that cannot be read"):
        stated, start = _meta(stream)
        stream.seek(0)
        odd = () if start > 132 else ("no DICOM preamble",)
        if stated == DeflatedExplicitVRLittleEndian:
            stream = _inflated(stream, start)
        data = pydicom.dcmread(stream, force=True, stop_before_pixels=not pixels, specific_tags=list(WANTED))
        found = _syntax(data, stated)
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if stated == DeflatedExplicitVRLittleEndian else found
        if stated is None:
            odd = (*odd, "no transfer syntax stated")
        if data.preamble and any(data.preamble):
            odd = (*odd, "DICOM preamble not empty")
        header = DicomHeader(data=data, transfer_syntax=found, warnings=odd)
        _check_kind(header)
        _check_picture(header, None if pixels else stream)
    return header


def _meta(stream: BinaryIO) -> tuple[UID | None, int]:
    """The stated transfer syntax, and where the data set starts."""
    stream.seek(128)
    if stream.read(4) != b"DICM":
        stream.seek(0)
    meta = read_dataset(stream, False, True, stop_when=_after_meta)
    stated = meta.get("TransferSyntaxUID")
    return (UID(str(stated)) if stated else None), stream.tell()


def _after_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != 2


def _inflated(stream: BinaryIO, start: int) -> BytesIO:
    """The file as if it had not been deflated, if that is no larger than a film can be."""
    stream.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    plain = inflater.decompress(stream.read(), MOST_BYTES)
    if inflater.unconsumed_tail:
        raise Refused("too large", "unfolds to more than a film can hold")
    if not inflater.eof:
        raise Refused("truncated", "is a compressed DICOM file that breaks off")
    meta = b"\x02\x00\x10\x00UI\x14\x00" + ExplicitVRLittleEndian.encode().ljust(20, b"\0")
    return BytesIO(bytes(128) + b"DICM" + meta + plain)


def _syntax(data: Dataset, stated: UID | None) -> UID:
    if stated is not None:
        return stated
    implicit, little = data.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _check_kind(header: DicomHeader) -> None:
    """Refuse objects that are not one grey picture."""
    data = header.data
    if text(data, "Modality") in NOT_FILMS:
        raise Refused("not a film", "is a DICOM object about pictures, not a picture")
    if _for_processing(data):
        raise Refused(
            "for processing", "is a DICOM object FOR PROCESSING, which no viewer shows; use the one FOR PRESENTATION"
        )
    if "Rows" not in data or "Columns" not in data:
        raise Refused("no pixels", "is a DICOM object without a picture")
    if whole(data, "NumberOfFrames", 1) > 1:
        raise Refused("several pictures", "is a DICOM object of several frames")
    check_size(whole(data, "Columns"), whole(data, "Rows"))
    photometric = text(data, "PhotometricInterpretation")
    if whole(data, "SamplesPerPixel", 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Refused("colour", "is a DICOM object in colour or without a grey scale")
    allocated, used = whole(data, "BitsAllocated"), whole(data, "BitsStored")
    if allocated not in (8, 16) or not 1 < used <= allocated or whole(data, "HighBit", used - 1) != used - 1:
        raise Refused("unsupported", "stores its samples in an uncommon number or order of bits")


def _for_processing(data: Dataset) -> bool:
    """Whether these are a detector's own samples (PS3.3, C.8.11.1), from which each maker makes films in its own way.

    The class of the object speaks where the header does not: anonymisers leave more classes than intents.
    """
    intent = text(data, "PresentationIntentType")
    return intent == "FOR PROCESSING" or (
        intent is None and text(data, "SOPClassUID") == DigitalXRayImageStorageForProcessing
    )


def _check_picture(header: DicomHeader, rest: BinaryIO | None) -> None:
    """Refuse a file whose pixel data is missing or short; `rest` stands before it where it was not read."""
    data = header.data
    if rest is not None:
        if rest.read(4) not in PIXEL_DATA:
            raise Refused("no pixels", "is a DICOM object without a picture, or ends before it")
        here = rest.tell()
        available = rest.seek(0, 2) - here
    elif "PixelData" not in data:
        raise Refused("no pixels", "is a DICOM object without a picture, or ends before it")
    else:
        available = len(data.PixelData)
    if header.transfer_syntax in NATIVE and available < native_bytes(data):
        raise Refused("truncated", "is a DICOM file that ends before its picture does")


def native_bytes(data: Dataset) -> int:
    """How many bytes the picture takes uncompressed."""
    return whole(data, "Rows") * whole(data, "Columns") * whole(data, "BitsAllocated") // 8


def numbers(data: Dataset, keyword: str) -> tuple[float, ...]:
    """An attribute's numbers, none where it is absent or empty.

    Raises:
        Refused: it holds something else.
    """
    with refusing("bad header", f"has a {keyword} that is not a number"):
        value = data.get(keyword)
        if value is None or value == "":
            return ()
        several = value if isinstance(value, list | tuple | pydicom.multival.MultiValue) else [value]
        return tuple(float(one) for one in several)


def whole(data: Dataset, keyword: str, default: int | None = None) -> int:
    """An attribute's one whole number.

    Raises:
        Refused: it is absent and there is no default, or it is something else.
    """
    found = numbers(data, keyword)
    if not found and default is not None:
        return default
    if len(found) != 1 or not found[0].is_integer():
        raise Refused("bad header", f"has no usable {keyword}")
    return int(found[0])


def text(data: Dataset, keyword: str) -> str | None:
    """An attribute's text: the first of several, printable, at most 64 characters, None where nothing is left."""
    try:
        value = data.get(keyword)
    except Exception:  # noqa: BLE001 - whatever a damaged attribute raises, it says nothing
        return None
    first = value[0] if isinstance(value, list | tuple | pydicom.multival.MultiValue) and value else value
    clean = "".join(letter for letter in str(first or "") if letter.isprintable()).strip()
    return clean[:64] or None


def facts(header: DicomHeader, size: int) -> FilmFacts:
    """What the header says of the film, in hilum's words."""
    with quiet():
        data = header.data
        spacing, odd_spacing = _spacing(data)
        modality, body_part = text(data, "Modality"), text(data, "BodyPartExamined")
        photometric = text(data, "PhotometricInterpretation")
        acquired = _day(text(data, "AcquisitionDate")) or _day(text(data, "StudyDate"))
        return FilmFacts(
            format="DICOM",
            width=whole(data, "Columns"),
            height=whole(data, "Rows"),
            mode=photometric or "",
            bits=whole(data, "BitsStored"),
            bytes=size,
            modality=modality,
            photometric=photometric,
            transfer_syntax=_name(header.transfer_syntax),
            presentation_intent=text(data, "PresentationIntentType"),
            body_part=body_part,
            view_position=_view(text(data, "ViewPosition"), body_part, modality),
            sex=SEXES.get(text(data, "PatientSex")),
            age_years=_age_years(data, acquired),
            manufacturer=text(data, "Manufacturer"),
            model=text(data, "ManufacturerModelName"),
            acquired=acquired.isoformat() if acquired else None,
            pixel_spacing_mm=spacing,
            patient_id=_patient(data),
            warnings=(*header.warnings, *odd_spacing, *_oddities(data)),
        )


def _name(syntax: UID) -> str:
    """A transfer syntax's name in the standard; a UID of the file's own making is not repeated."""
    return syntax.name if syntax.name != str(syntax) else "unknown"


def _view(stated: str | None, body_part: str | None, modality: str | None) -> View | None:
    elsewhere = body_part is not None and not any(word in body_part.upper() for word in CHEST)
    if elsewhere or modality in ("CT", "MR", "US"):
        return View.OTHER
    return VIEWS.get(stated.upper(), View.OTHER) if stated else None


def _age_years(data: Dataset, acquired: dt.date | None) -> float | None:
    """The age stated, else that from birth to the film, which is all that is kept of the day of birth."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", text(data, "PatientAge") or "")
    if match:
        return round(int(match[1]) * YEARS[match[2]], 2)
    born = _day(text(data, "PatientBirthDate"))
    if born is None or acquired is None:
        return None
    whole = acquired.year - born.year - ((acquired.month, acquired.day) < (born.month, born.day))
    # Leap days must not make anybody younger on a birthday: decades are counted by these ages.
    years = min(max((acquired - born).days * YEARS["D"], whole), whole + 0.99)
    return round(years, 2) if 0 <= years < OLDEST_YEARS else None


def _day(stated: str | None) -> dt.date | None:
    digits = re.sub(r"[.\-/]", "", stated or "")
    try:
        return dt.datetime.strptime(digits, "%Y%m%d").date()
    except ValueError:
        return None


def _patient(data: Dataset) -> str | None:
    stated = text(data, "PatientID")
    if stated is None or stated.strip().casefold() in NOBODY:
        return None
    return hashlib.sha256(f"{text(data, 'IssuerOfPatientID') or ''}\0{stated}".encode()).hexdigest()[:16]


def _spacing(data: Dataset) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Spacing in mm: calibrated if stated, else the detector's, divided by the magnification where that is known."""
    try:
        at_patient, at_detector = numbers(data, "PixelSpacing"), numbers(data, "ImagerPixelSpacing")
        magnified = (numbers(data, "EstimatedRadiographicMagnificationFactor") or (1.0,))[0]
    except Refused:
        return None, ("pixel spacing unusable: lengths unknown",)
    stated = at_patient or tuple(one / magnified if magnified > 0 else 0.0 for one in at_detector)
    if not stated:
        return None, ()
    if len(stated) != 2 or not all(0 < one < 10 for one in stated):
        return None, ("pixel spacing unusable: lengths unknown",)
    odd = ("pixels are not square",) if abs(stated[0] / stated[1] - 1) > 0.01 else ()
    return (stated[0], stated[1]), odd


def _oddities(data: Dataset) -> tuple[str, ...]:
    return ("text burned into the picture",) if text(data, "BurnedInAnnotation") == "YES" else ()

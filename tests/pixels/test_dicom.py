"""DICOM films: what is shown equals what is worked out by hand."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

from hilum.pixels import FilmFacts, read_facts, read_film
from hilum.records import View

SYNTAXES = ("implicit", "big endian", "deflated", "RLE", "JPEG-LS", "JPEG 2000", "JPEG lossless", "no preamble")


def window(values: NDArray[np.generic], centre: float, width: float) -> NDArray[np.float64]:
    """PS3.3, C.11.2.1.2, as its pseudo-code has it, to [0, 1]."""
    values = values.astype(np.float64)
    inside = (values - (centre - 0.5)) / (width - 1) + 0.5
    inside = np.where(values <= centre - 0.5 - (width - 1) / 2, 0.0, inside)
    return np.where(values > centre - 0.5 + (width - 1) / 2, 1.0, inside)


def lookup(table: NDArray[np.uint16], first: int, bits: int) -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [len(table) % 65536, first, bits]
    item["LUTDescriptor"].VR = "US"
    item.LUTData = table.astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return Sequence([item])


@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (900.5, 300), (2000, 1), (-50, 8000)])
def test_the_window_is_the_standards(dicom: Any, centre: float, width: float) -> None:
    film = read_film(dicom(dicom.drawn(), WindowCenter=centre, WindowWidth=width))
    expected = window(dicom.drawn(), centre, width) if width > 1 else dicom.drawn() > centre - 0.5
    np.testing.assert_allclose(film.pixels, expected, atol=1e-6)
    assert film.facts.warnings == ()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR_EXACT", lambda x: np.clip((x - 1800.0) / 900 + 0.5, 0, 1)),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 1800.0) / 900))),
    ],
)
def test_other_window_functions(
    dicom: Any, function: str, expected: Callable[[NDArray[np.generic]], NDArray[np.float64]]
) -> None:
    film = read_film(dicom(dicom.drawn(), WindowCenter=1800, WindowWidth=900, VOILUTFunction=function))
    np.testing.assert_allclose(film.pixels, expected(dicom.drawn().astype(float)), atol=1e-6)


def test_rescaling_comes_before_the_window(dicom: Any) -> None:
    film = read_film(
        dicom(dicom.drawn(), RescaleSlope="0.25", RescaleIntercept="-100", WindowCenter=300, WindowWidth=500)
    )
    np.testing.assert_allclose(film.pixels, window(dicom.drawn() * 0.25 - 100, 300, 500), atol=1e-6)


def test_signed_samples(dicom: Any) -> None:
    stored = (dicom.drawn().astype(np.int32) - 2048).astype(np.int16)
    film = read_film(dicom(stored, WindowCenter=0, WindowWidth=4096))
    np.testing.assert_allclose(film.pixels, window(stored, 0, 4096), atol=1e-6)


@pytest.mark.parametrize("windowed", [{"WindowCenter": 1500, "WindowWidth": 1001}, {}])
def test_monochrome1_is_the_same_film_as_its_twin(dicom: Any, windowed: dict[str, int]) -> None:
    twin = {**windowed, "WindowCenter": 4095 - 1500 + 1} if windowed else {}
    bright = read_film(dicom(dicom.drawn(), **windowed))
    dark = read_film(dicom(4095 - dicom.drawn(), PhotometricInterpretation="MONOCHROME1", **twin))
    assert (dicom.drawn() == 0).any()
    np.testing.assert_allclose(dark.pixels, bright.pixels, atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_inverse_shape_inverts_once(dicom: Any, photometric: str) -> None:
    plain = read_film(dicom(dicom.drawn(), WindowCenter=2048, WindowWidth=4096))
    inverse = dicom(
        dicom.drawn(),
        WindowCenter=2048,
        WindowWidth=4096,
        PresentationLUTShape="INVERSE",
        PhotometricInterpretation=photometric,
    )
    np.testing.assert_allclose(read_film(inverse).pixels, 1 - plain.pixels, atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_dark_and_has_no_say_in_the_window(dicom: Any, photometric: str) -> None:
    stored = dicom.drawn(least=100)
    stored[:, :20] = 4
    stored[:, 20:24] = 7
    data = dicom(stored, PixelPaddingValue=7, PixelPaddingRangeLimit=0, PhotometricInterpretation=photometric)
    film = read_film(data)
    rest = read_film(dicom(stored[:, 24:], PhotometricInterpretation=photometric))
    assert film.pixels[:, :24].max() == 0
    np.testing.assert_array_equal(film.pixels[:, 24:], rest.pixels)


def test_a_voi_table_comes_before_a_window(dicom: Any) -> None:
    table = np.round(np.sqrt(np.arange(4096) / 4095) * 1023).astype(np.uint16)
    film = read_film(dicom(dicom.drawn(), VOILUTSequence=lookup(table, 0, 10), WindowCenter=5, WindowWidth=5))
    np.testing.assert_allclose(film.pixels, table[dicom.drawn()] / 1023, atol=1e-6)


def test_a_modality_table_clamps_outside_its_range(dicom: Any) -> None:
    table = np.arange(0, 2000, 2, dtype=np.uint16)
    film = read_film(
        dicom(dicom.drawn(), ModalityLUTSequence=lookup(table, 500, 16), WindowCenter=1000, WindowWidth=2000)
    )
    values = table[np.clip(dicom.drawn().astype(int) - 500, 0, 999)]
    np.testing.assert_allclose(film.pixels, window(values, 1000, 2000), atol=1e-6)


@pytest.mark.parametrize(
    ("attributes", "warned"),
    [
        ({"WindowCenter": 100, "WindowWidth": 0}, "WindowWidth of zero or less ignored"),
        ({"WindowCenter": 100, "WindowWidth": -5}, "WindowWidth of zero or less ignored"),
        ({"WindowCenter": 90000, "WindowWidth": 10}, "window shows nothing: ignored"),
        (
            {"WindowCenter": DataElement("WindowCenter", "LO", "wide"), "WindowWidth": 5},
            "window is not a number: ignored",
        ),
        ({}, "no usable window: percentiles used"),
    ],
)
def test_without_a_usable_window_the_films_own_range_is_shown(
    dicom: Any, attributes: dict[str, object], warned: str
) -> None:
    film = read_film(dicom(dicom.drawn(), **attributes))
    ranked = np.sort(dicom.drawn().ravel())
    beyond = int(np.ceil(0.005 * ranked.size))
    low, high = int(ranked[beyond - 1]), int(ranked[-beyond])
    np.testing.assert_allclose(
        film.pixels, np.clip((dicom.drawn().astype(float) - low) / (high - low), 0, 1), atol=1e-6
    )
    assert warned in film.facts.warnings


def test_the_first_of_several_windows_is_used(dicom: Any) -> None:
    film = read_film(dicom(dicom.drawn(), WindowCenter=[1000, 5], WindowWidth=[500, 5]))
    np.testing.assert_allclose(film.pixels, window(dicom.drawn(), 1000, 500), atol=1e-6)
    assert film.facts.warnings == ("several windows: first used",)


def test_bits_above_the_stored_ones_are_no_part_of_the_picture(dicom: Any) -> None:
    overlaid = dicom.drawn() | np.uint16(0xF000)
    plain = dicom(dicom.drawn(), WindowCenter=2048, WindowWidth=4096)
    np.testing.assert_array_equal(
        read_film(dicom(overlaid, WindowCenter=2048, WindowWidth=4096)).pixels, read_film(plain).pixels
    )


def test_eight_bit_samples(dicom: Any) -> None:
    stored = (dicom.drawn() >> 4).astype(np.uint8)
    film = read_film(dicom(stored, BitsStored=8, WindowCenter=128, WindowWidth=256))
    np.testing.assert_allclose(film.pixels, stored / 255, atol=1e-6)


@pytest.mark.parametrize("name", SYNTAXES)
def test_every_lossless_transfer_syntax_gives_the_same_film(dicom: Any, name: str) -> None:
    data = dicom.of_syntax(name)
    plain = read_film(dicom(dicom.drawn(), WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_array_equal(read_film(data).pixels, plain.pixels)
    assert read_facts(data) == read_film(data).facts


def test_baseline_jpeg_inside_dicom(dicom: Any) -> None:
    stored, buffer = (dicom.drawn() >> 4).astype(np.uint8), io.BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG", quality=95)
    data = dicom.data_set(stored, WindowCenter=128, WindowWidth=256)
    data.PixelData = encapsulate([buffer.getvalue()])
    film = read_film(dicom.written(data, JPEGBaseline8Bit))
    np.testing.assert_allclose(film.pixels, np.asarray(Image.open(buffer)) / 255, atol=1e-6)


def test_facts_in_hilums_words(dicom: Any) -> None:
    data = dicom(
        dicom.drawn(),
        ViewPosition="PA",
        BodyPartExamined="CHEST",
        PatientSex="F",
        PatientAge="018M",
        Manufacturer="Maker",
        ManufacturerModelName="Model 1",
        AcquisitionDate="20200317",
        ImagerPixelSpacing=["0.2", "0.2"],
        EstimatedRadiographicMagnificationFactor="1.25",
        PresentationIntentType="FOR PRESENTATION",
        BurnedInAnnotation="YES",
    )
    facts = read_facts(data)
    assert facts == FilmFacts(
        format="DICOM",
        width=64,
        height=48,
        mode="MONOCHROME2",
        bits=12,
        bytes=len(data),
        modality="DX",
        photometric="MONOCHROME2",
        transfer_syntax="Explicit VR Little Endian",
        presentation_intent="FOR PRESENTATION",
        body_part="CHEST",
        view_position=View.PA,
        sex="F",
        age_years=1.5,
        manufacturer="Maker",
        model="Model 1",
        acquired="2020-03-17",
        pixel_spacing_mm=(0.16, 0.16),
        patient_id=facts.patient_id,
        warnings=("text burned into the picture",),
    )
    assert facts.patient_id is not None
    assert len(facts.patient_id) == 16


@pytest.mark.parametrize(
    ("age", "born", "taken", "years"),
    [
        ("061Y", "19900101", "20200101", 61.0),
        (None, "19590917", "20200317", 60.5),
        ("", "20200310", "20200317", 0.02),
        ("old", "19591231", "20200101", 60.0),
        (None, "19590917", None, None),
        (None, None, "20200317", None),
        (None, "20010317", "20190317", 18.0),
        (None, "20010317", "20190316", 17.99),
        (None, "20210101", "20200317", None),
        (None, "19000101", "20200317", None),
    ],
)
def test_an_age_not_stated_is_counted_from_birth(
    dicom: Any, age: str | None, born: str | None, taken: str | None, years: float | None
) -> None:
    told = {"PatientAge": age, "PatientBirthDate": born, "StudyDate": taken}
    facts = read_facts(dicom(dicom.drawn(), **{name: value for name, value in told.items() if value is not None}))
    assert facts.age_years == (None if years is None else pytest.approx(years, abs=0.01))
    assert not born or not {born, f"{born[:4]}-{born[4:6]}-{born[6:]}"} & set(re.findall(r"[\d-]+", str(facts)))


@pytest.mark.parametrize(
    ("attributes", "view"),
    [
        ({"ViewPosition": "LL"}, View.LATERAL),
        ({"ViewPosition": "AP", "BodyPartExamined": "EXTREMITY"}, View.OTHER),
        ({"ViewPosition": "RAO"}, View.OTHER),
        ({"ViewPosition": ""}, None),
        ({}, None),
        ({"Modality": "CT"}, View.OTHER),
    ],
)
def test_views(dicom: Any, attributes: dict[str, str], view: View | None) -> None:
    assert read_facts(dicom(dicom.drawn(), **attributes)).view_position == view


def test_pixel_spacing_zero_is_no_spacing(dicom: Any) -> None:
    facts = read_facts(dicom(dicom.drawn(), PixelSpacing=["0.000", "0.000"]))
    assert facts.pixel_spacing_mm is None
    assert facts.warnings == ("pixel spacing unusable: lengths unknown",)


def test_patients_are_told_apart_without_being_named(dicom: Any) -> None:
    same = [read_facts(dicom(dicom.drawn(), PatientID="a")).patient_id for _ in range(2)]
    other = read_facts(dicom(dicom.drawn(), PatientID="a", IssuerOfPatientID="b")).patient_id
    assert same[0] == same[1] != other
    assert read_facts(dicom(dicom.drawn(), PatientID="")).patient_id is None


@pytest.mark.parametrize(("name", "bits"), [("CR-MONO1-10-chest.dcm", 10), ("RG1_J2KI.dcm", 15)])
def test_real_chest_films_show_bright_bone_and_dark_lungs(data_pack: Path, name: str, bits: int) -> None:
    film = read_film(data_pack / "dicom_samples" / name)
    height, width = film.pixels.shape
    spine = film.pixels[int(0.5 * height) : int(0.6 * height), int(0.45 * width) : int(0.52 * width)].mean()
    lungs = film.pixels[int(0.35 * height) : int(0.45 * height), int(0.22 * width) : int(0.32 * width)].mean()
    assert spine > lungs + 0.1
    assert film.facts.view_position is View.PA
    assert (film.facts.bits, film.facts.photometric) == (bits, "MONOCHROME1")


def test_a_real_leg_is_no_chest_view(data_pack: Path) -> None:
    assert read_facts(data_pack / "dicom_samples" / "RG3_J2KI.dcm").view_position is View.OTHER

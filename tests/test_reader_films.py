"""The released networks on real films: what is refused as what, and that one film's numbers are those of many."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from hilum.bundle import load_bundle, released
from hilum.lesions import segment_lesions
from hilum.lungs import segment_lungs
from hilum.pixels import read_film
from hilum.predict import predict_films
from hilum.projection import ViewFilter
from hilum.reader import Outcome, Policy, Reader, as_json
from hilum.records import View
from hilum.sources import read_source


@pytest.fixture(scope="module")
def reader() -> Reader:
    pytest.importorskip("torch", reason="the bundles may have no export")
    return Reader()


def frontal(data_pack: Path) -> Path:
    return next(record.path for record in read_source("nih_subset", data_pack))


def write_grey(path: Path, film: np.ndarray) -> Path:
    cv2.imwrite(str(path), np.rint(np.clip(film, 0, 1) * 255).astype(np.uint8))
    return path


def write_ct(path: Path) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_ = Dataset()
    slice_.file_meta = meta
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    slice_.Modality, slice_.PhotometricInterpretation = "CT", "MONOCHROME2"
    slice_.Rows = slice_.Columns = 128
    slice_.BitsAllocated = slice_.BitsStored = 16
    slice_.HighBit, slice_.PixelRepresentation, slice_.SamplesPerPixel = 15, 0, 1
    across, down = np.meshgrid(np.linspace(-1, 1, 128), np.linspace(-1, 1, 128))
    body = 1000.0 * ((across / 0.9) ** 2 + (down / 0.6) ** 2 < 1)
    slice_.PixelData = body.astype("<u2").tobytes()
    slice_.save_as(path, enforce_file_format=True)
    return path


def drawn(kind: str, folder: Path) -> Path:
    """A file that is no film of a chest."""
    rng = np.random.default_rng(0)
    path = folder / f"{kind}.png"
    if kind == "noise":
        return write_grey(path, rng.random((400, 400)))
    if kind == "photo":
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (300, 300), interpolation=cv2.INTER_CUBIC))
    elif kind == "truncated":
        whole = write_grey(path, rng.random((300, 300))).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "tiny":
        write_grey(path, rng.random((16, 16)))
    elif kind == "ct":
        return write_ct(folder / "slice.dcm")
    return path


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        ("noise", "not-a-chest-film"),
        ("photo", "colour"),
        ("truncated", "truncated"),
        ("empty", "empty"),
        ("tiny", "too-small"),
        ("ct", "not-a-chest-film"),
    ],
)
def test_what_is_no_film_is_refused_for_what_it_is(reader: Reader, tmp_path: Path, kind: str, refused: str) -> None:
    film = drawn(kind, tmp_path)
    read = reader.read(film)
    assert read.outcome is Outcome.REFUSED
    assert read.refusal is not None
    assert read.refusal.kind == refused
    assert film.name in read.refusal.says
    assert as_json(read, pictures=True)["refusal"] == {"kind": refused, "says": read.refusal.says}


def test_films_that_are_not_upright_frontal_chests_are_refused(reader: Reader, data_pack: Path, tmp_path: Path) -> None:
    lateral = next(one.path for one in read_source("covid_chestxray", data_pack) if one.view is View.LATERAL)
    inverted = write_grey(tmp_path / "inverted.png", 1 - read_film(frontal(data_pack)).pixels)
    foot = data_pack / "dicom_samples" / "RG3_J2KI.dcm"
    for film, kind in ((lateral, "lateral"), (inverted, "inverted"), (foot, "not-a-chest-film")):
        read = reader.read(film)
        assert read.refusal is not None, film.name
        assert read.refusal.kind == kind


def test_one_film_s_numbers_are_those_of_many(reader: Reader, data_pack: Path) -> None:
    records = list(read_source("nih_subset", data_pack))
    films = [records[0].path, data_pack / "dicom_samples" / "RG1_J2KI.dcm"]
    bundle, gate = load_bundle(released("covid19-frontal")), ViewFilter()
    predicted = predict_films(bundle, films, gate=gate, processes=1)
    lungs = segment_lungs(films, gate=gate, processes=1)
    lesions = segment_lesions(films, gate=gate, processes=1)
    for film, one, around, drawn_in in zip(films, predicted, lungs, lesions, strict=True):
        read = reader.read(film)
        assert read.lungs is not None
        assert read.lesions is not None
        assert read.lungs.measures == pytest.approx(around.measures, abs=1e-6)
        assert read.lungs.flags == around.flags
        assert read.lesions.shares == pytest.approx(drawn_in.shares, abs=1e-6, nan_ok=True)
        assert [score.value for score in read.lesions.scores] == pytest.approx(
            [score.value for score in drawn_in.scores], abs=1e-4
        )
        told = [finding.probability for finding in one.findings]
        assert [held.probability for held in read.answers[0].findings] == pytest.approx(told, abs=1e-5)


def test_the_released_classifier_tells_an_interval(reader: Reader, data_pack: Path) -> None:
    (one,) = reader.read(frontal(data_pack)).answers
    first = one.findings[0]
    assert first.low is not None
    assert first.high is not None
    assert 0 <= first.low <= first.probability <= first.high <= 1
    assert one.interval.startswith("low and high hold")
    assert one.map is not None


def test_a_policy_leaves_stages_out(data_pack: Path) -> None:
    pytest.importorskip("torch", reason="the bundles may have no export")
    read = Reader(policy=Policy(lesions=False, explain=False)).read(frontal(data_pack))
    assert read.lesions is None
    assert read.answers[0].map is None
    assert {"lesions", "explain"}.isdisjoint(read.seconds)

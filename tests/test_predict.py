import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from hilum.bundle import Bundle, load_bundle
from hilum.engine import SCORING_BATCH
from hilum.errors import DataError, UsageError
from hilum.evaluate import OperatingPoint
from hilum.index import Index
from hilum.parallel import FEW
from hilum.predict import as_json, decide, find_films, predict_films, views_read
from hilum.preprocess import Preprocess
from hilum.projection import Look, ViewFilter, look_of
from hilum.recipe import Films
from hilum.records import Finding, Prediction, View


@pytest.fixture(scope="module")
def bundle(finished: Path) -> Bundle:
    return load_bundle(finished)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, draw_index: Callable[..., Index]) -> list[Path]:
    index = draw_index(tmp_path_factory.mktemp("new"), 20, first_seed=2000)
    return [index.path(path) for path in index.films["path"]]


def _probability(prediction: Prediction) -> float:
    return next(finding.probability for finding in prediction.findings if finding.label == "patch")


def _finding(label: str, probability: float, threshold: float | None = None) -> Finding:
    return Finding(label=label, probability=probability, threshold=threshold)


@pytest.mark.parametrize("processes", [1, 2])
def test_predictions_come_in_the_order_asked_for(bundle: Bundle, films: list[Path], processes: int) -> None:
    turned = [*films[::-1], films[3], films[3]]
    assert len(turned) > FEW
    told = list(predict_films(bundle, turned, processes=processes))
    assert [prediction.film for prediction in told] == [str(path) for path in turned]
    alone = {str(path): next(iter(predict_films(bundle, [path]))) for path in films[:4]}
    for prediction in told:
        if prediction.film in alone:
            assert _probability(prediction) == pytest.approx(_probability(alone[prediction.film]), abs=1e-5)


@pytest.mark.parametrize("lungs", ["crop", "only", "not"])
def test_a_bundle_that_needs_lung_masks_says_so_before_any_film(bundle: Bundle, films: list[Path], lungs: str) -> None:
    masked = replace(bundle, preprocess=bundle.preprocess.model_copy(update={"lungs": lungs}))
    with pytest.raises(
        UsageError, match=rf"needs lung masks \(preprocess\.lungs = '{lungs}'\).*hilum evaluate RUN --index"
    ):
        next(iter(predict_films(masked, films)))


def test_more_films_than_a_batch_are_all_predicted(bundle: Bundle, films: list[Path]) -> None:
    many = (films * 4)[: 2 * SCORING_BATCH + 3]
    assert [told.film for told in predict_films(bundle, many, processes=1)] == [str(path) for path in many]


def test_new_films_are_told_apart(bundle: Bundle, films: list[Path]) -> None:
    told = list(predict_films(bundle, films, processes=1))
    patch = np.array([number // 2 % 2 == 0 if number % 6 != 5 else (number - 1) // 2 % 2 == 0 for number in range(20)])
    values = np.array([_probability(prediction) for prediction in told])
    assert values[patch].mean() - values[~patch].mean() > 0.4
    for prediction in told:
        assert sum(finding.probability for finding in prediction.findings) == pytest.approx(1)
        assert prediction.bundle_digest == bundle.digest
        assert prediction.refusal is None


def test_what_cannot_be_read_is_a_refusal_in_its_place(bundle: Bundle, films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a film")
    (tmp_path / "torn.png").write_bytes(films[0].read_bytes()[:200])
    (tmp_path / "empty.dcm").touch()
    asked = [films[0], *sorted(tmp_path.iterdir()), films[1], tmp_path / "gone.png"]
    told = list(predict_films(bundle, asked))
    assert [bool(prediction.refusal) for prediction in told] == [False, True, True, True, False, True]
    for prediction in told:
        assert bool(prediction.refusal) != bool(prediction.findings)
        assert (prediction.decided is None) == bool(prediction.refusal)


def test_only_refusals_need_no_network(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no film")
    told = list(predict_films(bundle, [tmp_path / "a.png"]))
    assert len(told) == 1
    assert told[0].refusal
    assert list(predict_films(bundle, [])) == []


def test_a_folder_is_every_file_below_it_but_hidden_ones(films: list[Path], tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.png", "a.png", "b/.hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(films[0], tmp_path / name)
    (tmp_path / ".DS_Store").touch()
    found = find_films([films[5], tmp_path])
    assert found == [films[5], tmp_path / "a.png", tmp_path / "b/1.png", tmp_path / "b/2.png"]
    assert find_films([tmp_path / "b/.hidden.png"]) == [tmp_path / "b/.hidden.png"]


def test_a_path_without_films_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone does not exist"):
        find_films([tmp_path / "gone"])
    with pytest.raises(DataError, match="holds no film"):
        find_films([tmp_path])


@pytest.mark.parametrize(
    ("probability", "threshold", "decided"),
    [
        (0.30, 0.25, "covid19"),
        (0.25, 0.25, "covid19"),
        (0.24, 0.25, "normal"),
        (0.80, 0.90, "normal"),
        (0.51, None, "covid19"),
        (0.49, None, "normal"),
    ],
)
def test_of_two_classes_the_threshold_decides(probability: float, threshold: float | None, decided: str) -> None:
    findings = [_finding("covid19", probability, threshold), _finding("normal", 1 - probability)]
    assert decide(findings) == decided


def test_of_many_classes_the_likeliest_is_decided_whatever_the_thresholds() -> None:
    findings = [_finding("a", 0.3, 0.1), _finding("b", 0.45, 0.9), _finding("c", 0.25, 0.2)]
    assert decide(findings) == "b"


def test_the_bundle_s_threshold_is_the_one_held_against(bundle: Bundle, films: list[Path]) -> None:
    for threshold, decided in ((0.0, "patch"), (1.1, "plain")):
        point = OperatingPoint(label="patch", name="youden", threshold=threshold)
        told = predict_films(replace(bundle, operating_points=(point,)), films[:4])
        assert {prediction.decided for prediction in told} == {decided}


def _dicom(film: Path, path: Path, *, inverted: bool, bits: int = 12) -> None:
    grey = cv2.imread(str(film), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    top = 2**bits - 1
    stored = np.rint(grey / 255 * top).astype("<u2")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.Modality = "DX"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.PixelData = (top - stored if inverted else stored).astype("<u2").tobytes()
    dataset.WindowCenter, dataset.WindowWidth = (top + 1) / 2, top + 1
    dataset.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("inverted", [False, True])
def test_the_same_film_as_dicom_has_nearly_the_same_probability(
    bundle: Bundle, films: list[Path], tmp_path: Path, *, inverted: bool
) -> None:
    for number, film in enumerate(films[:4]):
        _dicom(film, tmp_path / f"{number}.dcm", inverted=inverted)
    png = [_probability(told) for told in predict_films(bundle, films[:4])]
    dicom = [_probability(told) for told in predict_films(bundle, sorted(tmp_path.iterdir()))]
    assert dicom == pytest.approx(png, abs=0.02)


def test_json_is_plain_and_has_no_empty_keys(bundle: Bundle, films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no film")
    told = [json.loads(json.dumps(as_json(p))) for p in predict_films(bundle, [films[0], tmp_path / "a.png"])]
    assert set(told[0]) == {"film", "bundle", "decided", "probabilities", "thresholds"}
    assert set(told[0]["probabilities"]) == {"patch", "plain"}
    assert set(told[1]) == {"film", "bundle", "refused"}


class Gate(ViewFilter):
    """Sees laterals in films whose upper left is bright; remembers how many frames of which size it was shown."""

    def __init__(self, size_px: int = 48) -> None:
        self.size_px = size_px
        self.shown: list[int] = []

    @property
    def preprocess(self) -> Preprocess:
        return Preprocess(size_px=self.size_px)

    def looks(self, frames: NDArray[Any]) -> list[Look]:
        self.shown += [frame.shape[0] for frame in frames]
        lateral = [frame[: self.size_px // 2, : self.size_px // 2].max() > 240 for frame in frames]
        shares = [(0.01, 0.99) if one else (0.99, 0.01) for one in lateral]
        return [
            look_of({"frontal": one, "lateral": two, "frontal_inverted": 0, "lateral_inverted": 0, "other": 0})
            for one, two in shares
        ]


@pytest.mark.parametrize("processes", [1, 2])
def test_the_gate_refuses_films_the_bundle_is_not_made_for(bundle: Bundle, films: list[Path], processes: int) -> None:
    patch = [number // 2 % 2 == 0 if number % 6 != 5 else (number - 1) // 2 % 2 == 0 for number in range(20)]
    gate = Gate()
    told = list(predict_films(bundle, films, processes=processes, gate=gate))
    assert gate.shown == [48] * len(films)
    assert [one.film for one in told] == [str(path) for path in films]
    assert [one.refusal is not None for one in told] == patch
    first = told[patch.index(True)]
    assert first.refusal == f"not applicable: {Path(first.film).name} looks like a lateral film (p = 0.99)"
    ungated = list(predict_films(bundle, films, processes=1))
    for ours, theirs in zip(told, ungated, strict=True):
        if ours.refusal is None:
            assert _probability(ours) == pytest.approx(_probability(theirs), abs=1e-6)


def test_the_gate_never_sees_what_cannot_be_read(bundle: Bundle, films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(films[0].read_bytes()[:200])
    gate = Gate()
    told = list(predict_films(bundle, [tmp_path / "torn.png", films[2]], gate=gate))
    assert gate.shown == [48]
    assert (told[0].refusal or "").startswith("truncated: torn.png")
    assert told[1].refusal is None


def test_a_gate_that_reads_more_pixels_than_the_bundle_gets_them(bundle: Bundle, tmp_path: Path) -> None:
    fine = np.tile(np.array([[0, 0, 120, 120], [120, 120, 0, 0]], np.uint8).repeat(2, axis=0), (200, 200))
    fine += np.linspace(0, 120, 800).astype(np.uint8)
    path = tmp_path / "fine.jpg"
    cv2.imwrite(str(path), fine, [cv2.IMWRITE_JPEG_QUALITY, 100])
    frames = []

    class Looking(Gate):
        def looks(self, frames_seen: NDArray[Any]) -> list[Look]:
            frames.extend(frames_seen)
            return super().looks(frames_seen)

    list(predict_films(bundle, [path], gate=Looking(size_px=800)))
    assert np.abs(np.diff(frames[0].astype(int))).max() > 60


def test_a_bundle_made_for_laterals_is_given_them(bundle: Bundle, films: list[Path]) -> None:
    recipe = bundle.recipe.model_copy(update={"films": Films(views=(View.PA, View.AP, View.LATERAL))})
    told = list(predict_films(replace(bundle, recipe=recipe), films, processes=1, gate=Gate()))
    assert all(one.refusal is None for one in told)


@pytest.mark.parametrize(
    ("films_part", "read"),
    [
        ({}, "frontal"),
        ({"views": ["PA"]}, "frontal"),
        ({"views": ["PA", "AP", "L"]}, "frontal L"),
        ({"views": ["L"]}, "L"),
        ({"views": ["PA", "other"]}, ""),
        ({"modality": "CT"}, ""),
    ],
)
def test_a_recipe_says_what_its_bundle_may_be_given(films_part: dict[str, Any], read: str) -> None:
    assert " ".join(views_read(Films.model_validate(films_part))) == read


def test_there_is_no_gate_before_a_bundle_that_reads_other_things(bundle: Bundle, films: list[Path]) -> None:
    gate = Gate()
    recipe = bundle.recipe.model_copy(update={"films": Films(modality="CT")})
    assert all(one.refusal is None for one in predict_films(replace(bundle, recipe=recipe), films[:3], gate=gate))
    assert gate.shown == []

"""A check of engines: what it finds, what it keeps, and what it lets be used."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum.bundle import (
    MANIFEST,
    Bundle,
    SegmenterBundle,
    check_engines,
    engine_states,
    load_bundle,
    load_segmenter,
    passed_or_exact,
    save_bundle,
)
from hilum.bundle.format import digest_without_notes
from hilum.engine import ENGINES, read_engines
from hilum.engine.session import OnnxEngine
from hilum.engine.trials import CheckedOn, near_enough
from hilum.errors import BundleError, DataError, UsageError

FILMS = CheckedOn(films=20, digest="0" * 64, named="drawn frames")
MANY = CheckedOn(films=120, digest="0" * 64, named="drawn frames")
Frames = np.ndarray[Any, Any]


def test_an_engine_in_float32_is_found_to_agree(copied: Path, drawn_frames: Frames) -> None:
    before = (copied / MANIFEST).read_bytes()
    told = []
    record = check_engines(copied, drawn_frames, FILMS, engines=["onnx"], progress=lambda *now: told.append(now))
    assert set(record.trials) == {"torch", "onnx"}
    assert record.trials["torch"].largest == 0
    assert 0 <= record.trials["onnx"].median <= record.trials["onnx"].largest < 1e-4
    assert record.trials["onnx"].flips == 0
    assert record.trials["onnx"].ms > 0
    assert told[-1] == (20, 20)
    assert (copied / MANIFEST).read_bytes() == before
    assert read_engines(copied, digest_without_notes(copied)) == record
    assert not record.trials["onnx"].passed  # twenty films are too few to say so


def test_more_than_a_hundred_films_can_pass(copied: Path, drawn_frames: Frames) -> None:
    record = check_engines(copied, np.tile(drawn_frames, (6, 1, 1)), MANY, engines=["onnx"])
    assert record.trials["onnx"].passed


def test_an_engine_that_answers_otherwise_is_found_out(
    copied: Path, drawn_frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OnnxEngine.__call__
    monkeypatch.setattr(
        OnnxEngine, "__call__", lambda self, *told, **named: tuple(-one for one in right(self, *told, **named))
    )
    record = check_engines(copied, np.tile(drawn_frames, (6, 1, 1)), MANY, engines=["onnx"])
    trial = record.trials["onnx"]
    bundle = load_bundle(copied, engine="torch")
    logits = bundle.logits(drawn_frames)
    one, other = bundle.probabilities(logits), bundle.probabilities(-logits)
    assert trial.largest == pytest.approx(np.abs(one - other).max(), abs=1e-6)
    assert trial.flips == 6 * int(_changed(bundle, one, other).sum())
    assert trial.flips
    assert not trial.passed


def _changed(bundle: Bundle, one: Frames, other: Frames) -> Frames:
    changed = one.argmax(1) != other.argmax(1)
    for point in bundle.operating_points:
        place = bundle.classes.index(point.label)
        changed |= (one[:, place] >= point.threshold) != (other[:, place] >= point.threshold)
    return changed


def test_masks_are_compared_by_pixels_and_shares(
    halved: Path, drawn_frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = Path(shutil.copytree(halved, tmp_path / "b"))
    right = OnnxEngine.__call__
    monkeypatch.setattr(
        OnnxEngine, "__call__", lambda self, *told, **named: tuple(one + 0.3 for one in right(self, *told, **named))
    )
    trial = check_engines(folder, drawn_frames, FILMS, engines=["onnx"]).trials["onnx"]
    bundle: SegmenterBundle = load_segmenter(folder, engine="torch")
    logits = bundle.logits(drawn_frames)
    before, after = logits >= 0, logits + np.float32(0.3) >= 0
    assert trial.flips is None
    assert trial.pixels_flipped == pytest.approx((before != after).mean(), abs=1e-3)
    shares = np.abs(before.mean((2, 3)) - after.mean((2, 3)))
    assert trial.largest_share == pytest.approx(shares.max(), abs=1e-3)
    assert trial.largest_share > 0
    assert trial.selftest > 0


def test_limits_are_kept_on_both_sides() -> None:
    assert near_enough(100, largest=0.01, flips=0)
    assert not near_enough(99, largest=0.0, flips=0)
    assert not near_enough(100, largest=0.0101, flips=0)
    assert not near_enough(100, largest=0.0, flips=1)
    assert near_enough(100, largest=0.9, pixels_flipped=0.001, largest_share=0.002)
    assert not near_enough(100, largest=0.0, pixels_flipped=0.0011, largest_share=0.0)
    assert not near_enough(100, largest=0.0, pixels_flipped=0.0, largest_share=0.0021)


def test_bfloat16_is_refused_without_a_check(copied: Path) -> None:
    if not find_spec("openvino"):
        pytest.skip("needs the extra hilum[openvino]")
    with pytest.raises(BundleError, match=r"were not checked on films: hilum engines .* FILMS"):
        load_bundle(copied, engine="openvino-bf16")
    assert passed_or_exact(copied, "openvino-bf16") == "openvino"
    assert passed_or_exact(copied, "onnx") == "onnx"


def test_bfloat16_is_taken_where_its_check_was_passed(copied: Path, passing_record: Callable[..., None]) -> None:
    passing_record(copied)
    assert passed_or_exact(copied, "openvino-bf16") == "openvino-bf16"


def _of_another(told: dict[str, Any]) -> None:
    told["bundle"] = "0" * 64


def _of_another_export(told: dict[str, Any]) -> None:
    told["network"] = "0" * 64


def _another_format(told: dict[str, Any]) -> None:
    told["format"] = 2


def _a_key_more(told: dict[str, Any]) -> None:
    told["more"] = 1


def _passed_of_too_far(told: dict[str, Any]) -> None:
    told["trials"]["openvino-bf16"]["largest"] = 0.5


def _not_passed(told: dict[str, Any]) -> None:
    told["trials"]["openvino-bf16"] |= {"largest": 0.5, "passed": False}


def _not_tried(told: dict[str, Any]) -> None:
    del told["trials"]["openvino-bf16"]


CHANGED = {
    "of another bundle": (_of_another, r"belongs to another bundle"),
    "of another export": (_of_another_export, r"was not checked on films with this export"),
    "another format": (_another_format, r"format 2"),
    "a key more": (_a_key_more, r"no record of engines"),
    "passed of too far": (_passed_of_too_far, r"what its figures do not"),
    "not passed": (_not_passed, r"did not pass the check on 120 films: use 'openvino'"),
    "not tried": (_not_tried, r"was not checked on films with this export"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_record_that_does_not_say_passed_lets_nothing_be_used(
    copied: Path, passing_record: Callable[..., None], case: str
) -> None:
    change, told = CHANGED[case]
    passing_record(copied)
    record = json.loads((copied / ENGINES).read_text())
    change(record)
    (copied / ENGINES).write_text(json.dumps(record))
    if not find_spec("openvino"):
        pytest.skip("needs the extra hilum[openvino]")
    with pytest.raises(BundleError, match=told):
        load_bundle(copied, engine="openvino-bf16")
    assert passed_or_exact(copied, "openvino-bf16") == "openvino"
    assert load_bundle(copied).engine.name == "onnx"


def test_another_bundle_in_the_same_folder_has_no_record(copied: Path, passing_record: Callable[..., None]) -> None:
    passing_record(copied)
    save_bundle(replace(load_bundle(copied, engine="torch"), title="Another"), copied)
    assert not (copied / ENGINES).exists()


def test_engines_and_what_speaks_against_them_are_told(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = {one.name: one for one in engine_states(copied)}
    assert [name for name, one in states.items() if one.auto] == ["onnx"]
    assert states["torch"].why_not is None
    assert states["openvino-bf16"].why_not is not None
    (copied / "network.onnx").unlink()
    states = {one.name: one for one in engine_states(copied)}
    assert [name for name, one in states.items() if one.auto] == ["torch"]
    assert "has no export" in str(states["onnx"].why_not)
    monkeypatch.setattr("hilum.bundle.engines.find_spec", lambda name: None)
    assert "is not installed" in str(engine_states(copied)[0].why_not)


def test_no_films_and_unknown_engines_are_refused(copied: Path, drawn_frames: Frames) -> None:
    with pytest.raises(DataError, match=r"no film is left"):
        check_engines(copied, drawn_frames[:0], FILMS, engines=["onnx"])
    with pytest.raises(UsageError, match=r"unknown engine 'onxx'; did you mean 'onnx'"):
        check_engines(copied, drawn_frames, FILMS, engines=["onxx"])
    assert not (copied / ENGINES).exists()


def test_a_damaged_export_is_said_once_and_a_missing_one_never(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    (copied / "network.onnx").write_bytes(b"graph")
    for _ in range(2):
        assert load_bundle(copied).engine.name == "torch"
    (said,) = [one.getMessage() for one in caplog.records if one.name == "hilum.bundle"]
    assert "hash does not match" in said
    assert "runs with torch" in said
    caplog.clear()
    for name in ("network.onnx", "export.json"):
        (copied / name).unlink()
    assert load_bundle(copied).engine.name == "torch"
    assert not caplog.records

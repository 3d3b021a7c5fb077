"""The bundle of a segmentation network: what is saved is what is loaded, in half precision too, and nothing else is."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.special import expit

from hilum.bundle import (
    MANIFEST,
    SELFTEST,
    WEIGHTS,
    Figure,
    SegmenterBundle,
    load_bundle,
    load_segmenter,
    released,
    released_names,
    save_segmenter,
)
from hilum.bundle.segmenter import shares_of
from hilum.errors import BundleError, UsageError
from hilum.files import digest_of, sha256_file
from hilum.records import DISCLAIMER

from .drawers import untrained

FIGURE = Figure(
    metric="dice", label="lungs", films="drawn", n=3, groups=3, value=0.9, low=0.8, high=1.0, training="this"
)


def _made(**told: Any) -> SegmenterBundle:
    bundle = untrained("lungs")
    settings: dict[str, Any] = {
        "title": "Drawn",
        "preprocess": bundle.preprocess.model_copy(update={"mean": (0.5,), "std": (0.25,)}),
        "threshold": 0.4,
        "figures": (FIGURE,),
        "plausible": {"area_share": (0.1, 0.6)},
        "provenance": {"films": 3},
    }
    return replace(bundle, **settings | told)


def _frames(count: int = 3) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 255, (count, 64, 64), np.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "one"
    save_segmenter(_made(), folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def _rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest and sign it anew, as somebody would who knows the format."""
    told = json.loads((folder / MANIFEST).read_text())
    change(told)
    told["files"] = {name: sha256_file(folder / name) for name in (WEIGHTS, SELFTEST)}
    told["digest"] = digest_of({key: value for key, value in told.items() if key != "digest"})
    (folder / MANIFEST).write_text(json.dumps(told))


def test_a_loaded_bundle_draws_exactly_what_was_saved(saved: Path) -> None:
    before, after = _made(), load_segmenter(saved)
    assert np.array_equal(after.logits(_frames()), before.logits(_frames()))
    assert (after.labels, after.threshold, after.figures, after.stored) == (("lungs",), 0.4, (FIGURE,), "float32")
    assert (after.recipe, after.preprocess, after.plausible) == (before.recipe, before.preprocess, before.plausible)
    assert after.digest == json.loads((saved / MANIFEST).read_text())["digest"]
    assert json.loads((saved / MANIFEST).read_text())["disclaimer"] == DISCLAIMER


def test_probabilities_are_of_each_label_alone(saved: Path) -> None:
    shares = load_segmenter(saved).probabilities(_frames())
    assert shares.shape == (3, 1, 64, 64)
    assert 0 <= shares.min() < shares.max() <= 1
    assert load_segmenter(saved).probabilities(_frames(0)).shape == (0, 1, 64, 64)


def test_shares_are_those_of_scipy_however_large_the_logits() -> None:
    largest = float(np.finfo(np.float32).max)
    logits = np.float32([-largest, -200, -104, -88.8, -87, 0, 87, 200, largest, -np.inf, np.inf, np.nan])
    logits = np.concatenate([logits, np.linspace(-30, 30, 10_001, dtype=np.float32)])
    shares = shares_of(logits)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, expit(logits), rtol=3e-7, atol=1e-38)


def test_half_precision_halves_the_file_and_says_what_it_cost(saved: Path, tmp_path: Path) -> None:
    whole = _made()
    wanted = whole.probabilities(_frames())
    halved = save_segmenter(_made(), tmp_path / "half", halved_on=_frames())
    assert halved.stored == "float16"
    share = (tmp_path / "half" / WEIGHTS).stat().st_size / (saved / WEIGHTS).stat().st_size
    assert 0.49 < share < 0.52
    told = halved.agreement
    assert told is not None
    made = halved.probabilities(_frames())
    assert told.films == 3
    assert told.largest_change == pytest.approx(np.abs(made - wanted).max())
    assert told.pixels_changed == pytest.approx(((made >= 0.4) != (wanted >= 0.4)).mean())
    assert 0 < told.largest_change < 0.02
    assert {value.dtype for value in halved.network.parameters()} == {torch.float32}


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    bundle = _made()
    with torch.no_grad():
        next(bundle.network.parameters()).fill_(1e6)
    with pytest.raises(UsageError, match=r"too large for float16"):
        save_segmenter(bundle, tmp_path / "b", halved_on=_frames())


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another kind": (lambda told: told.update(kind="classifier"), r"holds a classifier, and a segmenter is needed"),
    "a key more": (lambda told: told.update(more=1), r"wrong: more"),
    "a key less": (lambda told: told.pop("figures"), r"wrong: figures"),
    "threshold": (lambda told: told.update(threshold=1.5), r"wrong: threshold"),
    "other labels": (lambda told: told.update(labels=["heart"]), r"other labels than its recipe"),
    "recipe": (lambda told: told["recipe"].update(loss="l2"), r"a recipe this hilum cannot read \(wrong: loss\)"),
    "network": (lambda told: told["recipe"].update(network="unet-9"), r"cannot be built here"),
    "other network": (lambda told: told["recipe"].update(network="unet-2"), r"does not fit the network"),
}


@pytest.mark.parametrize("kind", TAMPERED)
def test_a_bundle_that_does_not_hold_together_is_refused(copy: Path, kind: str) -> None:
    change, says = TAMPERED[kind]
    _rewritten(copy, change)
    with pytest.raises(BundleError, match=says):
        load_segmenter(copy)


def test_other_weights_fail_the_self_test(copy: Path) -> None:
    state = load_file(copy / WEIGHTS)
    name = next(name for name, value in state.items() if value.ndim == 4)
    state[name] = state[name] * 1.2
    save_file(state, copy / WEIGHTS)
    with pytest.raises(BundleError, match=r"its hash does not match"):
        load_segmenter(copy)
    _rewritten(copy, lambda _: None)
    with pytest.raises(BundleError, match=r"self-test gives logits"):
        load_segmenter(copy)


def test_a_segmenter_is_no_classifier(saved: Path) -> None:
    with pytest.raises(BundleError, match=r"holds a segmenter, and a classifier is needed"):
        load_bundle(saved)


def test_an_unknown_released_bundle_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"unknown released bundle 'lnugs'"):
        released("lnugs")
    assert all((released(name) / MANIFEST).is_file() for name in released_names())

import json
import pickletools
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hilum.bundle import (
    MANIFEST,
    SELFTEST,
    WEIGHTS,
    Bundle,
    calibrated,
    find_bundle,
    load_bundle,
    points_of,
    proof_frames,
    read_manifest,
    save_bundle,
)
from hilum.engine.eager import TorchEngine
from hilum.errors import BundleError
from hilum.evaluate import OperatingPoint
from hilum.files import digest_of, sha256_file
from hilum.networks import build_classifier
from hilum.preprocess import Preprocess
from hilum.recipe import changed, parse_recipe
from hilum.records import DISCLAIMER

POINTS = (OperatingPoint(label="patch", name="youden", threshold=0.4),)


def _made(text: str, **told: Any) -> Bundle:
    recipe = parse_recipe(text)
    torch.manual_seed(0)
    network, _ = build_classifier(recipe.network, recipe.preprocess, classes=2)
    with torch.no_grad():
        network.head[0].mean.uniform_()
    settings: dict[str, Any] = {
        "title": recipe.title,
        "classes": recipe.class_names,
        "recipe": recipe,
        "preprocess": recipe.preprocess.model_copy(update={"mean": (0.5,) * 3, "std": (0.25,) * 3}),
        "engine": TorchEngine(network),
        "temperature": 1.7,
        "operating_points": POINTS,
        "evaluation": {"headline": "macro AUROC 0.9"},
        "provenance": {"seeds": [0]},
    }
    return Bundle(**settings | told)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: str) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "one"
    save_bundle(_made(tiny_recipe), folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def _frames(count: int = 6, dtype: type = np.uint8) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (count, 64, 64), dtype)


def _rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest and sign it anew, as somebody would who knows the format."""
    told = json.loads((folder / MANIFEST).read_text())
    change(told)
    told["files"] = {name: sha256_file(folder / name) for name in (WEIGHTS, SELFTEST)}
    told["digest"] = digest_of({key: value for key, value in told.items() if key != "digest"})
    (folder / MANIFEST).write_text(json.dumps(told))


def test_a_loaded_bundle_computes_exactly_what_was_saved(tiny_recipe: str, tmp_path: Path) -> None:
    before = _made(tiny_recipe)
    frames = _frames()
    wanted = before.logits(frames)
    save_bundle(before, tmp_path / "b")
    after = load_bundle(tmp_path / "b")
    assert np.abs(after.logits(frames) - wanted).max() == 0
    assert (after.classes, after.temperature, after.operating_points) == (("patch", "plain"), 1.7, POINTS)
    assert (after.recipe, after.preprocess) == (before.recipe, before.preprocess)
    assert after.evaluation == {"headline": "macro AUROC 0.9"}
    assert after.digest == read_manifest(tmp_path / "b").digest


@pytest.mark.parametrize(
    "part",
    [
        {"level": (-2,)},
        {"level": (-1, -3)},
        {"pooling": "flatten"},
        {"mirror": True},
        {"hidden": (8,), "dropout": (0.5,), "standardise": False},
        {"hidden": (8,), "dropout": (0.5, 0.2)},
    ],
    ids=lambda part: ",".join(f"{name}={value}" for name, value in part.items()),
)
def test_every_head_and_level_survives_saving(tiny_recipe: str, tmp_path: Path, part: dict[str, Any]) -> None:
    recipe = parse_recipe(tiny_recipe)
    recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update=part)})
    network, _ = build_classifier(recipe.network, recipe.preprocess, classes=2)
    before = _made(tiny_recipe, recipe=recipe, engine=TorchEngine(network))
    save_bundle(before, tmp_path / "b")
    assert np.array_equal(load_bundle(tmp_path / "b").logits(_frames()), before.logits(_frames()))


def test_a_learned_grey_entry_survives_saving(tiny_recipe: str, tmp_path: Path) -> None:
    told = {"network.grey": "learned", "network.train_from": "all", "preprocess.channels": "1"}
    recipe = parse_recipe(changed(tiny_recipe, told))
    network, _ = build_classifier(recipe.network, recipe.preprocess, classes=2)
    network.to(memory_format=torch.channels_last)  # as training leaves it: another layout adds in another order
    torch.nn.init.normal_(network.entry.conv.weight)
    scaled = recipe.preprocess.model_copy(update={"mean": (0.5,), "std": (0.25,)})
    before = _made(tiny_recipe, recipe=recipe, engine=TorchEngine(network), preprocess=scaled)
    save_bundle(before, tmp_path / "b")
    after = load_bundle(tmp_path / "b")
    assert torch.equal(after.network.entry.conv.weight, network.entry.conv.weight)
    assert np.array_equal(after.logits(_frames()), before.logits(_frames()))


def test_sixteen_bit_bundles_keep_their_depth(tiny_recipe: str, tmp_path: Path) -> None:
    preprocess = Preprocess(size_px=64, depth_bits=16, mean=(0.5,) * 3, std=(0.25,) * 3)
    before = _made(tiny_recipe, preprocess=preprocess)
    save_bundle(before, tmp_path / "b")
    frames = _frames(dtype=np.uint16)
    assert np.array_equal(load_bundle(tmp_path / "b").logits(frames), before.logits(frames))


def test_the_same_bundle_saved_twice_has_one_digest(tiny_recipe: str, tmp_path: Path) -> None:
    digests = {save_bundle(_made(tiny_recipe), tmp_path / name).digest for name in "ab"}
    assert len(digests) == 1


def test_predictions_do_not_change_when_the_folder_moves(saved: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(saved, tmp_path / "elsewhere" / "renamed"))
    one, other = load_bundle(saved), load_bundle(moved)
    assert np.array_equal(one.logits(_frames()), other.logits(_frames()))
    assert one.digest == other.digest


def test_loading_needs_neither_the_packaged_weights_nor_a_network(
    tiny_recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = parse_recipe(tiny_recipe.replace('"test_resnet"', '"tf_efficientnet_lite0"').replace("random", "packaged"))
    network, _ = build_classifier(recipe.network, recipe.preprocess, classes=2)
    save_bundle(_made(tiny_recipe, recipe=recipe, engine=TorchEngine(network)), tmp_path / "b")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went to the network"))
    assert load_bundle(tmp_path / "b").logits(_frames(1)).shape == (1, 2)


def test_nothing_in_it_is_pickled(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == [MANIFEST, SELFTEST, WEIGHTS]
    for path in saved.iterdir():
        assert not zipfile.is_zipfile(path)
        with pytest.raises(ValueError, match=r".+"), path.open("rb") as stream:
            list(pickletools.genops(stream))


def test_it_says_what_it_is_not_for(saved: Path) -> None:
    told = json.loads((saved / MANIFEST).read_text())
    assert told["disclaimer"] == DISCLAIMER
    assert "Not for patients" in told["intended_use"]


def test_the_bundle_of_a_run_is_found(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "bundle")
    assert find_bundle(tmp_path) == tmp_path / "bundle"
    assert find_bundle(tmp_path / "bundle") == tmp_path / "bundle"


def _flip_last_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _replace(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("file", "damage", "sentence"),
    [
        (WEIGHTS, _flip_last_byte, "weights.safetensors in .* damaged or changed"),
        (SELFTEST, _flip_last_byte, "selftest.safetensors in .* damaged or changed"),
        (WEIGHTS, _truncate, "weights.safetensors in .* damaged or changed"),
        (WEIGHTS, Path.unlink, "weights.safetensors is missing"),
        (SELFTEST, Path.unlink, "selftest.safetensors is missing"),
        (MANIFEST, Path.unlink, "is no bundle: it has no bundle.json"),
        (MANIFEST, _truncate, "not readable JSON: the bundle is damaged"),
        (MANIFEST, lambda path: path.write_bytes(b"\xff\xfe\x00"), "not readable JSON"),
        (MANIFEST, lambda path: path.write_text("[" * 100_000), "not readable JSON"),
        (MANIFEST, lambda path: path.write_text("[1, 2]"), "of format None"),
        (MANIFEST, lambda path: path.write_text('{"name": "other"}'), "of format None, this hilum reads format 1"),
        (MANIFEST, _replace('"format": 1', '"format": 2'), "of format 2, this hilum reads format 1"),
        (MANIFEST, _replace('"temperature": 1.7', '"temperature": 1.6'), "changed after it was written"),
        (MANIFEST, _replace('"temperature": 1.7', '"temperature": NaN'), "not readable JSON"),
        (MANIFEST, _replace('"threshold": 0.4', '"threshold": 0.1'), "changed after it was written"),
        (MANIFEST, _replace('"kind"', '"run_me": "x", "kind"'), r"no hilum bundle \(wrong: run_me\)"),
        (MANIFEST, _replace('"title"', '"titel"'), r"wrong: .*title.*titel"),
    ],
)
def test_what_is_damaged_is_refused_with_one_sentence(
    copy: Path, file: str, damage: Callable[[Path], object], sentence: str
) -> None:
    damage(copy / file)
    with pytest.raises(BundleError, match=sentence) as caught:
        load_bundle(copy)
    assert "\n" not in str(caught.value)


def _classes(told: dict[str, Any]) -> None:
    told["classes"] = ["patch", "other"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda told: told.update(temperature=0), "wrong: temperature"),
        (lambda told: told.update(temperature=-1.0), "wrong: temperature"),
        (lambda told: told["operating_points"][0].update(extra=1), "wrong: operating_points"),
        (lambda told: told["operating_points"][0].pop("label"), "wrong: operating_points"),
        (lambda told: told["preprocess"].update(sise_px=9), "wrong: preprocess"),
        (lambda told: told["recipe"].pop("title"), "recipe this hilum cannot read: .*'title' is missing"),
        (
            lambda told: told["recipe"]["network"].update(backbone="test_resnettt"),
            "cannot be built here: unknown backb",
        ),
        (lambda told: told["recipe"]["network"].update(backbone="test_efficientnet"), "does not fit the network"),
        (lambda told: told["recipe"]["network"].update(pooling="avg"), "does not fit the network"),
        (_classes, "other classes than its recipe"),
        (lambda told: told["preprocess"].update(mean=[0.1] * 3), "self-test gives logits .* away"),
    ],
)
def test_a_signed_manifest_that_contradicts_itself_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], Any], sentence: str
) -> None:
    _rewritten(copy, change)
    with pytest.raises(BundleError, match=sentence):
        load_bundle(copy)


def test_signed_weights_of_other_values_fail_the_self_test(copy: Path) -> None:
    state = load_file(copy / WEIGHTS)
    name = "head.1.weight"
    save_file({**state, name: state[name] * 1.5}, copy / WEIGHTS)
    _rewritten(copy, lambda _told: None)
    with pytest.raises(BundleError, match="self-test gives logits"):
        load_bundle(copy)


@pytest.mark.parametrize(
    "proof",
    [
        {"frames": torch.zeros(2, 64, 64, dtype=torch.int32)},
        {"frames": torch.zeros(2, 64, 64, dtype=torch.int32), "logits": torch.zeros(2, 9)},
        {"frames": torch.zeros(2, dtype=torch.int32), "logits": torch.zeros(2, 2)},
    ],
)
def test_a_signed_self_test_of_something_else_is_refused(copy: Path, proof: dict[str, torch.Tensor]) -> None:
    save_file(proof, copy / SELFTEST)
    _rewritten(copy, lambda _told: None)
    with pytest.raises(BundleError, match="is no self-test of this bundle"):
        load_bundle(copy)


def test_signed_nonsense_in_place_of_tensors_is_refused(copy: Path) -> None:
    for name in (WEIGHTS, SELFTEST):
        kept = (copy / name).read_bytes()
        (copy / name).write_bytes(b"nonsense")
        _rewritten(copy, lambda _told: None)
        with pytest.raises(BundleError, match=name):
            load_bundle(copy)
        (copy / name).write_bytes(kept)


def test_an_interrupted_saving_leaves_no_bundle(copy: Path, tiny_recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="disk full"):
        save_bundle(_made(tiny_recipe), copy)
    with pytest.raises(BundleError, match="is no bundle"):
        load_bundle(copy)


def test_a_large_logit_is_held_against_its_own_size(tiny_recipe: str, tmp_path: Path) -> None:
    bundle = _made(tiny_recipe)
    with torch.no_grad():
        bundle.network.head[-1].weight.mul_(1e4)
    save_bundle(bundle, tmp_path / "b")
    proof = load_file(tmp_path / "b" / SELFTEST)
    large = float(proof["logits"].abs().max())
    save_file(proof | {"logits": proof["logits"] + 5e-4 * large}, tmp_path / "b" / SELFTEST)
    _rewritten(tmp_path / "b", lambda _told: None)
    assert load_bundle(tmp_path / "b").classes == bundle.classes


def test_probabilities_are_a_softmax_over_the_temperature() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0]], np.float32)
    told = calibrated(logits, 2.0)
    wanted = np.exp(logits[0] / 2) / np.exp(logits[0] / 2).sum()
    np.testing.assert_allclose(told[0], wanted, rtol=1e-6)
    np.testing.assert_allclose(told.sum(1), 1)
    assert np.isfinite(told).all()
    assert (calibrated(logits[:1], 10.0).max()) < told[0].max()


@pytest.mark.parametrize("depth", [8, 16])
def test_drawn_frames_use_the_whole_range_and_repeat(depth: Any) -> None:
    preprocess = Preprocess(size_px=64, depth_bits=depth)
    frames = proof_frames(preprocess)
    assert frames.shape == (2, 64, 64)
    assert frames.dtype == preprocess.dtype
    assert frames.max() - frames.min() > 0.9 * (2**depth - 1)
    assert np.array_equal(frames, proof_frames(preprocess))


def test_points_of_a_label() -> None:
    points = (*POINTS, OperatingPoint(label="plain", name="youden", threshold=0.6))
    assert points_of(points, "plain") == {"youden": 0.6}
    assert points_of(points, "other") == {}

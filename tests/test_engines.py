"""Engines: an export answers as torch does, belongs to one bundle, and needs no torch."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from hilum.bundle import (
    MANIFEST,
    WEIGHTS,
    Bundle,
    SegmenterBundle,
    load_bundle,
    load_segmenter,
    released,
    released_names,
    save_bundle,
    save_segmenter,
)
from hilum.bundle.exporting import drawn_frames, export_bundle, try_export
from hilum.bundle.notes import Notes, with_notes
from hilum.engine import EXPORT, LOGITS, NETWORK, VECTOR, map_names
from hilum.engine.eager import TorchEngine
from hilum.errors import BundleError, UsageError
from hilum.explain.maps import raw_map
from hilum.networks import build_classifier
from hilum.networks.classifier import POOLINGS, Classifier
from hilum.recipe import parse_recipe

from .drawers import chest, untrained

TORCH = ("torch", "timm", "segmentation_models_pytorch", "torchvision")
TABLES = ("pandas", "scipy", "pyarrow", "sklearn", "matplotlib", "pydicom")
"""What is slow to import, and only tables, figures and DICOM files need."""
WITHOUT = """\
import sys
forbidden = {forbidden}
if {blocked}:
    for name in forbidden:
        sys.modules[name] = None  # importing it raises ModuleNotFoundError
{work}
found = [name for name in forbidden if sys.modules.get(name) is not None]
sys.exit(f"imported: {{found}}" if found else 0)
"""


def _classifier(text: str, **network: Any) -> Bundle:
    recipe = parse_recipe(text)
    told = recipe.network.model_copy(update={"backbone": "test_efficientnet", **network})
    recipe = recipe.model_copy(update={"network": told})
    torch.manual_seed(1)
    built, _ = build_classifier(told, recipe.preprocess, classes=2)
    _unlike_new(built)
    return Bundle(
        title=recipe.title,
        classes=recipe.class_names,
        recipe=recipe,
        preprocess=recipe.preprocess.model_copy(update={"mean": (0.5,) * 3, "std": (0.25,) * 3}),
        engine=TorchEngine(built),
        temperature=1.3,
        operating_points=(),
    )


def _unlike_new(network: Classifier) -> None:
    """Other statistics than those a network is drawn with, as training leaves them: ones and zeros hide mistakes."""
    with torch.no_grad():
        for name, value in network.named_buffers():
            if name.endswith(("running_var", "scale")):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "mean")):
                value.normal_(0, 0.1)


def _frames(count: int, side: int = 64) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(5)
    return rng.integers(0, 255, (count, side // 8, side // 8), np.uint8).repeat(8, 1).repeat(8, 2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: str) -> Path:
    """A classifier of mirrored films and two levels with its export; not to be changed."""
    folder = tmp_path_factory.mktemp("bundles") / "one"
    save_bundle(_classifier(tiny_recipe, pooling="grid3", mirror=True, level=(-1, -2), standardise=True), folder)
    export_bundle(folder)
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def test_an_export_answers_as_torch_does_whatever_the_number_of_films(exported: Path) -> None:
    eager, onnx = load_bundle(exported, engine="torch"), load_bundle(exported, engine="onnx")
    assert (eager.engine.name, onnx.engine.name) == ("torch", "onnx")
    for count in (1, 3, 6):
        assert onnx.logits(_frames(count)) == pytest.approx(eager.logits(_frames(count)), abs=1e-5)
        assert onnx.vectors(_frames(count)) == pytest.approx(eager.vectors(_frames(count)), abs=1e-5)
    assert onnx.logits(_frames(0)).shape == (0, 2)
    assert eager.logits(_frames(6)).std(0).min() > 1e-3  # films are told apart


def test_an_export_tells_every_map_that_the_head_reads(exported: Path) -> None:
    eager, onnx = load_bundle(exported, engine="torch").engine, load_bundle(exported, engine="onnx").engine
    names = (LOGITS, VECTOR, *map_names(2, mirror=True))
    assert eager.outputs == onnx.outputs == names
    films = load_bundle(exported).preprocess.normalise(_frames(3))
    for name, one, other in zip(names, eager(films, names), onnx(films, names), strict=True):
        assert one.shape == other.shape, name
        assert one == pytest.approx(other, abs=1e-4), name


def test_the_graph_holds_no_weights_and_reads_those_of_the_bundle(exported: Path) -> None:
    import onnx

    graph = onnx.load(exported / NETWORK, load_external_data=False).graph
    outside = {one.name for one in graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL}
    stored = load_bundle(exported, engine="torch").network.state_dict()
    assert {name for name in stored if not name.endswith("num_batches_tracked")} == {
        name.removeprefix("network.") for name in outside
    }
    assert not any(node.metadata_props or node.doc_string for node in graph.node)


def test_the_torch_network_is_built_when_it_is_asked_for(exported: Path) -> None:
    bundle = load_bundle(exported)
    assert bundle.engine.name == "onnx"
    assert "network" not in vars(bundle.engine)
    assert replace(bundle, title="Other").engine is bundle.engine
    assert "network" not in vars(bundle.engine)
    assert isinstance(bundle.network, Classifier)
    assert bundle.network is bundle.network
    eager = replace(bundle, engine=TorchEngine(bundle.network))
    assert eager.logits(_frames(2)) == pytest.approx(bundle.logits(_frames(2)), abs=1e-5)


@pytest.mark.parametrize("mirror", [False, True], ids=["films", "mirrored"])
@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_evidence_is_the_class_activation_map(tiny_recipe: str, pooling: str, mirror: bool) -> None:
    level = (-2, -3) if pooling == "avg4" else (-1, -2)
    bundle = _classifier(tiny_recipe, pooling=pooling, mirror=mirror, level=level, standardise=True)
    for place in range(2):
        wanted = raw_map(bundle.network, _film(bundle), place, method="cam")
        found = bundle.evidence(_frames(1)[0], place)
        assert found.grids == wanted.grids
        assert found.signed == pytest.approx(wanted.signed, abs=1e-5 * max(1.0, float(np.abs(wanted.signed).max())))
        assert np.ptp(found.signed) > 0


def test_evidence_of_three_classes_weighs_the_others_by_their_probability(tiny_recipe: str) -> None:
    bundle = _classifier(tiny_recipe, pooling="avg", level=(-1,))
    network, _ = build_classifier(bundle.recipe.network, bundle.recipe.preprocess, classes=3)
    bundle = replace(bundle, engine=TorchEngine(network))
    wanted = raw_map(network, _film(bundle), 1, method="cam")
    assert bundle.evidence(_frames(1)[0], 1).signed == pytest.approx(wanted.signed, abs=1e-5)


def test_evidence_comes_out_of_an_export_without_building_a_network(exported: Path) -> None:
    bundle = load_bundle(exported, engine="onnx")
    found = bundle.evidence(_frames(1)[0], 0).signed
    assert "network" not in vars(bundle.engine)
    wanted = raw_map(bundle.network, _film(bundle), 0, method="cam").signed
    assert found == pytest.approx(wanted, abs=1e-5 * max(1.0, float(np.abs(wanted).max())))


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_one_pass_tells_what_three_do(exported: Path, engine: Literal["onnx", "torch"]) -> None:
    bundle, frame = load_bundle(exported, engine=engine), _frames(3)[1]
    told = bundle.answers(frame)
    assert (told.logits == bundle.logits(frame[None])).all()
    assert (told.vector == bundle.vectors(frame[None])).all()
    assert [len(look) for look in told.looks] == [2, 2]  # the film and its mirror image, at two levels
    for place in range(2):
        alone, beside = bundle.evidence(frame, place), bundle.evidence_of(told, place)
        assert (alone.signed == beside.signed).all()
        assert alone.grids == beside.grids


def test_a_head_with_hidden_layers_has_no_such_map(tiny_recipe: str) -> None:
    with pytest.raises(UsageError, match=r"one linear layer"):
        _classifier(tiny_recipe, hidden=(8,)).evidence(_frames(1)[0], 0)


def _film(bundle: Bundle) -> torch.Tensor:
    return torch.from_numpy(bundle.preprocess.normalise(_frames(1)))


def test_exporting_leaves_the_bundle_as_it_was(copy: Path) -> None:
    before = (copy / MANIFEST).read_bytes()
    first = (copy / NETWORK).read_bytes()
    export = export_bundle(copy)
    assert (copy / MANIFEST).read_bytes() == before
    assert (copy / NETWORK).read_bytes() == first
    assert set(json.loads(before)["files"]).isdisjoint({NETWORK, EXPORT})
    assert 0 <= export.shift.largest_probability <= export.shift.largest_logit < 1e-4
    assert export.shift.frames == len(drawn_frames(load_bundle(copy).preprocess))


def test_notes_leave_an_export_valid(copy: Path) -> None:
    with_notes(copy, Notes(split="by patient"))
    assert load_bundle(copy).engine.name == "onnx"


def test_another_bundle_in_the_same_folder_has_no_export(copy: Path, tiny_recipe: str) -> None:
    save_bundle(_classifier(tiny_recipe, pooling="avg"), copy)
    assert not {NETWORK, EXPORT} & {file.name for file in copy.iterdir()}
    assert load_bundle(copy).engine.name == "torch"
    with pytest.raises(BundleError, match=r"has no export"):
        load_bundle(copy, engine="onnx")


def _of_another(folder: Path) -> None:
    told = json.loads((folder / EXPORT).read_text())
    (folder / EXPORT).write_text(json.dumps(told | {"bundle": "0" * 64}))


def _another_format(folder: Path) -> None:
    told = json.loads((folder / EXPORT).read_text())
    (folder / EXPORT).write_text(json.dumps(told | {"format": 2}))


def _other_answers(folder: Path) -> None:
    """A graph, signed, whose last layer reads its weights elsewhere in the file."""
    import onnx

    from hilum.files import sha256_file

    model = onnx.load(folder / NETWORK, load_external_data=False)
    last = next(one for one in model.graph.initializer if one.name.endswith("head.1.weight"))
    place = next(entry for entry in last.external_data if entry.key == "offset")
    place.value = str(int(place.value) - 4 * 64)
    (folder / NETWORK).write_bytes(model.SerializeToString())
    told = json.loads((folder / EXPORT).read_text())
    (folder / EXPORT).write_text(json.dumps(told | {"network": sha256_file(folder / NETWORK)}))


def _no_graph(folder: Path) -> None:
    from hilum.files import sha256_file

    (folder / NETWORK).write_bytes(b"no graph")
    told = json.loads((folder / EXPORT).read_text())
    (folder / EXPORT).write_text(json.dumps(told | {"network": sha256_file(folder / NETWORK)}))


DAMAGED = {
    "account gone": (lambda folder: (folder / EXPORT).unlink(), r"has no export"),
    "graph gone": (lambda folder: (folder / NETWORK).unlink(), r"has no export"),
    "no account": (lambda folder: (folder / EXPORT).write_text("[]"), r"no account"),
    "another format": (_another_format, r"format 2"),
    "of another bundle": (_of_another, r"belongs to another bundle"),
    "graph changed": (lambda folder: (folder / NETWORK).write_bytes(b"graph"), r"hash does not match"),
    "no graph": (_no_graph, r"cannot be read by ONNX Runtime"),
    "other answers": (_other_answers, r"self-test gives logits"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_an_export_that_is_not_the_bundles_is_not_used(copy: Path, case: str) -> None:
    damage, told = DAMAGED[case]
    damage(copy)
    with pytest.raises(BundleError, match=told):
        load_bundle(copy, engine="onnx")
    assert load_bundle(copy).engine.name == "torch"


def test_a_damaged_bundle_is_refused_whatever_its_export_says(copy: Path) -> None:
    weights = bytearray((copy / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (copy / WEIGHTS).write_bytes(weights)
    with pytest.raises(BundleError, match=r"damaged or changed"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"engine": "tensorrt"}, r"unknown engine 'tensorrt'"),
        ({"engine": "onnx", "device": "cuda"}, r"on the processor"),
    ],
    ids=["unknown", "another device"],
)
def test_an_engine_that_cannot_be_had_is_refused(exported: Path, how: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_bundle(exported, **how)


def test_what_is_saved_is_the_network_and_not_its_export(copy: Path, tmp_path: Path) -> None:
    bundle = load_bundle(copy)
    with torch.no_grad():
        bundle.network.head[-1].bias.add_(torch.tensor([1.0, -1.0]))
    again = save_bundle(bundle, tmp_path / "again")
    shift = again.logits(_frames(3)) - load_bundle(copy).logits(_frames(3))
    assert shift == pytest.approx(np.array([[1.0, -1.0]] * 3), abs=1e-5)


def _segmenter() -> SegmenterBundle:
    bundle = untrained("lungs", "heart")
    return replace(bundle, preprocess=bundle.preprocess.model_copy(update={"mean": (0.5,), "std": (0.25,)}))


def test_weights_in_half_precision_are_read_as_they_are_stored(tmp_path: Path) -> None:
    saved = save_segmenter(_segmenter(), tmp_path / "b", halved_on=_frames(2))
    export = export_bundle(tmp_path / "b")
    assert saved.stored == "float16"
    onnx = load_segmenter(tmp_path / "b", engine="onnx")
    assert onnx.logits(_frames(3)).flags.c_contiguous
    assert saved.logits(_frames(3)).flags.c_contiguous
    assert onnx.logits(_frames(3)) == pytest.approx(saved.logits(_frames(3)), abs=1e-3)
    assert onnx.probabilities(_frames(0)).shape == (0, 2, 64, 64)
    assert export.outputs == (LOGITS,)
    size = {name: (tmp_path / "b" / name).stat().st_size for name in (NETWORK, WEIGHTS)}
    assert size[NETWORK] < size[WEIGHTS] / 10


def test_a_network_that_cannot_be_written_leaves_a_bundle_that_runs(
    tmp_path: Path, tiny_recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("an operator ONNX lacks")

    save_bundle(_classifier(tiny_recipe), tmp_path / "b")
    monkeypatch.setattr(torch.onnx, "export", refuse)
    assert "cannot write this network" in try_export(tmp_path / "b")["not_exported"]
    assert load_bundle(tmp_path / "b").engine.name == "torch"


def test_an_export_that_answers_otherwise_is_not_kept(
    tmp_path: Path, tiny_recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hilum.engine.session import OnnxEngine

    right = OnnxEngine.__call__

    def wrong(self: Any, *told: Any) -> Any:
        return tuple(part * 1.1 for part in right(self, *told))

    save_bundle(_classifier(tiny_recipe), tmp_path / "b")
    monkeypatch.setattr(OnnxEngine, "__call__", lambda self, films, names=(LOGITS,): wrong(self, films, names))
    with pytest.raises(BundleError, match=r"answers otherwise than torch"):
        export_bundle(tmp_path / "b")
    assert not {NETWORK, EXPORT} & {file.name for file in (tmp_path / "b").iterdir()}


def _run_without_torch(work: str, *, blocked: bool, folder: Path, also: tuple[str, ...] = ()) -> str:
    code = WITHOUT.format(forbidden=TORCH + also, blocked=blocked, work=work)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("blocked", [True, False], ids=["absent", "not asked for"])
def test_predicting_with_a_released_bundle_needs_neither_torch_nor_tables(tmp_path: Path, blocked: bool) -> None:
    chest(tmp_path / "film.png")
    work = (
        "from hilum.cli import main\n"
        'sys.argv = ["hilum", "predict", "covid19-frontal", "film.png", "--no-gate", "--json"]\n'
        "try:\n    main()\nexcept SystemExit as end:\n    if end.code:\n        raise"
    )
    (told,) = json.loads(_run_without_torch(work, blocked=blocked, folder=tmp_path, also=TABLES))
    assert sum(told["probabilities"].values()) == pytest.approx(1)


def test_the_view_filter_and_a_printed_answer_need_no_tables_either(tmp_path: Path) -> None:
    chest(tmp_path / "film.png")
    work = (
        "from hilum.cli import main\n"
        'sys.argv = ["hilum", "predict", "covid19-frontal", "film.png"]\n'
        "try:\n    main()\nexcept SystemExit as end:\n    if end.code not in (0, 3):\n        raise"
    )
    assert "film.png" in _run_without_torch(work, blocked=False, folder=tmp_path, also=TABLES)


def test_every_released_bundle_runs_without_torch(tmp_path: Path) -> None:
    work = """
import json, numpy as np
from hilum.bundle import load_bundle, load_segmenter, read_manifest, released, released_names
for name in released_names():
    kind = json.loads((released(name) / "bundle.json").read_text())["kind"]
    bundle = {"classifier": load_bundle, "segmenter": load_segmenter}[kind](released(name))
    frames = np.zeros((1, bundle.preprocess.size_px, bundle.preprocess.size_px), np.uint8)
    print(name, bundle.engine.name, np.isfinite(bundle.logits(frames)).all())
"""
    said = _run_without_torch(work, blocked=True, folder=tmp_path).splitlines()
    assert said == [f"{name} onnx True" for name in released_names()]


def test_without_torch_and_without_an_export_the_way_out_is_told(copy: Path, tmp_path: Path) -> None:
    (copy / EXPORT).unlink()
    work = f"""
from pathlib import Path
from hilum.bundle import load_bundle
from hilum.errors import BundleError
try:
    load_bundle(Path({str(copy)!r}))
except BundleError as error:
    print(error)
"""
    assert "pip install 'hilum[train]'" in _run_without_torch(work, blocked=True, folder=tmp_path)


def test_importing_what_serves_imports_no_torch(tmp_path: Path) -> None:
    modules = ("bundle", "engine", "predict", "lungs", "lesions", "projection", "recipe", "cli", "audit.attached")
    work = "\n".join(f'import hilum.{module}; print("torch" in sys.modules)' for module in modules)
    assert _run_without_torch(work, blocked=False, folder=tmp_path).split() == ["False"] * len(modules)


@pytest.mark.parametrize("name", released_names())
def test_released_exports_belong_to_the_released_bundles(name: str) -> None:
    assert {NETWORK, EXPORT} <= {file.name for file in released(name).iterdir()}
    assert json.loads((released(name) / EXPORT).read_text())["shift"]["largest_probability"] < 1e-4

"""OpenVINO: it answers as torch does, keeps compiled graphs by content, and reports to nobody."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if find_spec("openvino") is None:  # importing it here, before hilum, would let it report its use
    pytest.skip("needs the extra hilum[openvino]", allow_module_level=True)
pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum.bundle import load_bundle, load_segmenter
from hilum.engine import LOGITS, NETWORK, VECTOR
from hilum.engine.openvino import FEW, computes_bf16
from hilum.errors import BundleError
from hilum.files import cache_dir

WITHOUT_TORCH = """\
import sys
from pathlib import Path
sys.modules["torch"] = None  # importing it raises ModuleNotFoundError
import numpy as np
from hilum.bundle import load_bundle
bundle = load_bundle(Path(sys.argv[1]), engine="openvino")
frames = np.zeros((5, 64, 64), np.uint8)
assert bundle.logits(frames).shape == (5, 2)
loaded = [name for name in sys.modules if name.startswith("openvino_telemetry.")]
sys.exit(f"loaded: {loaded}" if loaded else 0)
"""


@pytest.mark.parametrize("count", [0, 1, FEW, FEW + 1, 20])
def test_it_answers_as_torch_does_whatever_the_number_of_films(
    exported: Path, drawn_frames: np.ndarray[Any, Any], count: int
) -> None:
    eager, vino = load_bundle(exported, engine="torch"), load_bundle(exported, engine="openvino")
    assert vino.engine.name == "openvino"
    frames = drawn_frames[:count]
    assert vino.logits(frames).shape == (count, 2)
    assert vino.logits(frames) == pytest.approx(eager.logits(frames), abs=1e-4)
    assert vino.vectors(frames) == pytest.approx(eager.vectors(frames), abs=1e-4)


def test_many_films_come_back_in_their_order(
    exported: Path, drawn_frames: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.engine.openvino.threads_wanted", lambda: 3)
    bundle = load_bundle(exported, engine="openvino")
    alone = np.concatenate([bundle.logits(frame[None]) for frame in drawn_frames])
    assert bundle.logits(drawn_frames) == pytest.approx(alone, abs=1e-5)
    assert alone.std(0).min() > 1e-3  # films are told apart


def test_several_threads_may_ask_at_once(exported: Path, drawn_frames: np.ndarray[Any, Any]) -> None:
    bundle = load_bundle(exported, engine="openvino")
    expected = [bundle.logits(frame[None]) for frame in drawn_frames]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda frame: bundle.logits(frame[None]), drawn_frames))
    assert np.array_equal(np.stack(found), np.stack(expected))


def test_every_output_is_told_by_its_name(exported: Path, drawn_frames: np.ndarray[Any, Any]) -> None:
    eager, vino = load_bundle(exported, engine="torch"), load_bundle(exported, engine="openvino")
    names = vino.engine.outputs
    assert names == eager.engine.outputs
    assert names[:2] == (LOGITS, VECTOR)
    films = vino.preprocess.normalise(drawn_frames[:2])
    backwards = names[::-1]
    for name, one, other in zip(backwards, eager.engine(films, backwards), vino.engine(films, backwards), strict=True):
        assert one == pytest.approx(other, abs=1e-4), name
    assert vino.evidence(drawn_frames[0], 0).signed == pytest.approx(
        eager.evidence(drawn_frames[0], 0).signed, abs=1e-4
    )


def test_weights_in_half_precision_are_read(halved: Path, drawn_frames: np.ndarray[Any, Any]) -> None:
    eager, vino = load_segmenter(halved, engine="torch"), load_segmenter(halved, engine="openvino")
    assert eager.stored == "float16"
    assert vino.logits(drawn_frames) == pytest.approx(eager.logits(drawn_frames), abs=1e-3)


def test_a_graph_it_cannot_read_is_refused(copied: Path) -> None:
    import json

    from hilum.engine import EXPORT
    from hilum.files import sha256_file

    (copied / NETWORK).write_bytes(b"no graph")
    told = json.loads((copied / EXPORT).read_text())
    (copied / EXPORT).write_text(json.dumps(told | {"network": sha256_file(copied / NETWORK)}))
    with pytest.raises(BundleError, match=r"cannot be read by OpenVINO"):
        load_bundle(copied, engine="openvino")


def test_a_damaged_graph_in_the_cache_is_compiled_anew(exported: Path, drawn_frames: np.ndarray[Any, Any]) -> None:
    expected = load_bundle(exported, engine="openvino").logits(drawn_frames)
    kept = [file for file in (cache_dir() / "openvino").rglob("*") if file.is_file()]
    assert kept
    for file in kept:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert np.array_equal(load_bundle(exported, engine="openvino").logits(drawn_frames), expected)


def test_it_needs_no_torch_and_loads_nothing_that_reports(exported: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(exported)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def test_bfloat16_runs_where_its_check_was_passed(
    copied: Path, drawn_frames: np.ndarray[Any, Any], passing_record: Any
) -> None:
    if not computes_bf16():
        pytest.skip("this processor does not compute in bfloat16")
    passing_record(copied)
    bundle = load_bundle(copied, engine="openvino-bf16")
    assert bundle.engine.name == "openvino-bf16"
    exact = load_bundle(copied, engine="openvino").logits(drawn_frames)
    shift = np.abs(bundle.logits(drawn_frames) - exact).max()
    assert 0 < shift < 0.1 * np.abs(exact).max() + 0.1

"""The load test of benchmarks/serve_load.py, short: a server under load, killed under load, started again."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "serve_load.py"


@pytest.mark.slow
def test_a_server_under_load_answers_and_comes_back_after_a_kill() -> None:
    pytest.importorskip("onnxruntime", reason="needs an engine for the released bundles: the extra hilum[serve]")
    pytest.importorskip("uvicorn", reason="needs the extra hilum[serve]")
    if not Path("/proc/self/stat").is_file():
        pytest.skip("memory is read from /proc")
    words = ("--seconds", "15", "--clients", "8", "--ready-s", "180")
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("statuses: ", "films/s", "memory: ", "decoding processes killed", "ready again after", "all held"):
        assert said in done.stdout

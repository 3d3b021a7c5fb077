import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SEVERAL = """
import json, os, sys
from pathlib import Path
from hilum.index import Index
from hilum.run import train_run
told = json.loads(sys.argv[1])
run = train_run(told["recipe"], None, Path(told["out"]), given=Index.load(Path(told["index"])), processes=1)
Path(told["out"], f"rank-{os.environ['RANK']}.json").write_text(json.dumps(run.history["epoch"].tolist()))
"""


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path, drawn: Any, tiny_recipe: str) -> None:
    text = tiny_recipe.replace('weights = "random"', 'weights = "random"\ntrain_from = "all"\nbatch_norm = "trained"')
    text = text.replace('optimiser = "lbfgs"', 'optimiser = "adamw"\nprecision = "float32"')
    drawn.save(tmp_path / "index.parquet")
    (tmp_path / "go.py").write_text(_SEVERAL)
    told = {"recipe": text, "out": str(tmp_path / "run"), "index": str(tmp_path / "index.parquet")}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(tmp_path / "go.py"), json.dumps(told)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    epochs = [json.loads((tmp_path / "run" / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert epochs[0] == epochs[1]
    from hilum.bundle import load_bundle

    assert load_bundle(tmp_path / "run").classes == ("patch", "plain")

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from hilum.bundle import load_bundle
from hilum.train.loop import share_of

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
TRAINING = str(Path(__file__).with_name("ddp.py"))
JOB = {"films": 27, "tune": 6, "batch_films": 7, "epochs": 3}
"""Batches of seven films over two processes: parts of four and of three, with classes of unequal weight in them."""

_SEVERAL = """
import json, os, sys
from pathlib import Path
from hilum.index import Index
from hilum.run import train_run
told = json.loads(sys.argv[1])
run = train_run(told["recipe"], None, Path(told["out"]), given=Index.load(Path(told["index"])), processes=1)
Path(told["out"], f"rank-{os.environ['RANK']}.json").write_text(json.dumps(run.history["epoch"].tolist()))
"""

_FAILING = """
import json, os, sys
from pathlib import Path
from hilum.errors import DataError
from hilum.index import Index
from hilum.run import Order, Run, train_runs, training
told, rank = json.loads(sys.argv[1]), int(os.environ["RANK"])
out, prepared, account, train = Path(told["out"]), training.prepared, training._account, training._train

def failing(name, where, work):
    def tried(of, *rest):
        if name == getattr(of, "run", of).folder.name and rank == where:
            raise DataError(f"{name} fails in process {where}")
        return work(of, *rest)
    return tried

training.prepared = failing("second", 1, failing("first", 0, prepared))
training._account, training._train = failing("third", 0, account), failing("fourth", 1, train)
names = ["first", "second", "third", "fourth", "fifth"]
index = Index.load(Path(told["index"]))
orders = [Order(text=told["recipe"], root=None, out=out / name, given=index, for_use=False) for name in names]
found = {names[n]: str(one) * isinstance(one, DataError) for n, one in train_runs(orders, processes=1, go_on=True)}
Path(out, f"rank-{rank}.json").write_text(json.dumps(found))
"""


def _started(command: list[str]) -> subprocess.CompletedProcess[str]:
    settings = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=settings)


def _trained(folder: Path, processes: int, **told: Any) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    job = json.dumps(JOB | {"folder": str(folder)} | told)
    begin = [sys.executable] if processes == 1 else [*TORCHRUN, str(processes)]
    return _started([*begin, TRAINING, job])


def _history(folder: Path, rank: int = 0) -> np.ndarray[Any, Any]:
    return np.array(json.loads((folder / f"history-{rank}.json").read_text()))


def _assert_alike(one: Path, other: Path, within: float) -> None:
    np.testing.assert_allclose(_history(one), _history(other), rtol=within, atol=within)
    weights, others = load_file(one / "weights"), load_file(other / "weights")
    for name, value in weights.items():
        np.testing.assert_allclose(value, others[name], rtol=within, atol=within, err_msg=name)


@pytest.mark.parametrize("films", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_every_film_is_in_one_part_and_parts_average_to_the_whole(films: int, world: int) -> None:
    rng = np.random.default_rng(films)
    weights, losses = rng.random(films) + 0.1, rng.random(films)
    parts = [share_of(SimpleNamespace(world_size=world, global_rank=rank), weights) for rank in range(world)]  # type: ignore[arg-type]
    counted = np.concatenate([places for places, factor in parts if factor])
    assert sorted(counted) == list(range(films))
    means = [factor * np.average(losses[places], weights=weights[places]) for places, factor in parts]
    assert np.mean(means) == pytest.approx(np.average(losses, weights=weights))


def test_two_processes_come_to_the_weights_of_one(tmp_path: Path) -> None:
    alone, both = (_trained(tmp_path / str(processes), processes) for processes in (1, 2))
    assert alone.returncode == 0, alone.stderr[-3000:]
    assert both.returncode == 0, both.stderr[-3000:]
    _assert_alike(tmp_path / "1", tmp_path / "2", within=2e-5)
    assert np.array_equal(_history(tmp_path / "2"), _history(tmp_path / "2", rank=1))
    for rank in (0, 1):  # a group that outlives Python aborts its process now and then
        assert json.loads((tmp_path / "2" / f"left-{rank}.json").read_text())


@pytest.mark.slow
def test_a_training_goes_on_when_one_of_two_processes_was_killed(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert _trained(whole, 2).returncode == 0
    assert _trained(killed, 2, dies=2).returncode != 0
    assert not (killed / "weights").exists()
    assert (killed / "checkpoint").is_file()
    done = _trained(killed, 2)
    assert done.returncode == 0, done.stderr[-3000:]
    _assert_alike(whole, killed, within=1e-6)


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path, drawn: Any, tiny_recipe: str) -> None:
    text = tiny_recipe.replace('weights = "random"', 'weights = "random"\ntrain_from = "all"\nbatch_norm = "trained"')
    text = text.replace('optimiser = "lbfgs"', 'optimiser = "adamw"\nprecision = "float32"')
    drawn.save(tmp_path / "index.parquet")
    (tmp_path / "go.py").write_text(_SEVERAL)
    told = {"recipe": text, "out": str(tmp_path / "run"), "index": str(tmp_path / "index.parquet")}
    done = _started([*TORCHRUN, "2", str(tmp_path / "go.py"), json.dumps(told)])
    assert done.returncode == 0, done.stderr[-3000:]
    epochs = [json.loads((tmp_path / "run" / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert epochs[0] == epochs[1]
    assert load_bundle(tmp_path / "run").classes == ("patch", "plain")
    left = [path.name for path in (tmp_path / "run").rglob("*") if "checkpoint" in path.name or "aside" in path.name]
    assert not left


@pytest.mark.slow
def test_what_fails_in_one_process_fails_in_both_and_the_other_runs_go_on(
    tmp_path: Path, drawn: Any, tiny_recipe: str
) -> None:
    drawn.save(tmp_path / "index.parquet")
    (tmp_path / "go.py").write_text(_FAILING)
    told = {"recipe": tiny_recipe, "out": str(tmp_path), "index": str(tmp_path / "index.parquet")}
    done = _started([*TORCHRUN, "2", str(tmp_path / "go.py"), json.dumps(told)])
    assert done.returncode == 0, done.stderr[-3000:]
    where = {"first": 0, "second": 1, "third": 0, "fourth": 1}
    said = {name: f"{name} fails in process {process}" for name, process in where.items()} | {"fifth": ""}
    for rank in (0, 1):
        assert json.loads((tmp_path / f"rank-{rank}.json").read_text()) == said
    assert (tmp_path / "fifth" / "run.json").is_file()

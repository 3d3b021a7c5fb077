"""A small cluster on this machine: a head that only directs, and machines of one processor each, real Ray processes."""

import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs the extra hilum[ray]")

STORE_BYTES = 80 << 20

JOBS = '''
"""Work that other processes can import."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from hilum.parallel import CRASHED, Crashed, in_order


def square(item):
    return item * item


def dies_at(item, fatal):
    if item in fatal:
        os._exit(3)
    return item


def raises(item):
    raise ValueError("a bug")


def slow_process_of(item):
    time.sleep(0.05)
    return os.getpid()


def killed_once(item, mark):
    if item == 5 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def array_of(item):
    import numpy as np

    return np.full((300, 300), item, np.uint8)


def decoded(film):
    """What a decoder does; one film ends its process."""
    path, told = film
    if path.name.startswith("deadly"):
        os.abort()
    return path.stat().st_size


@dataclass(frozen=True)
class Sizes:
    """A row and a note a film; tells which process is at work, and how often each film was done."""

    diary: Path
    pause_s: float = 0.0
    deadly_itself: bool = False

    @property
    def identity(self):
        return {"job": "sizes"}

    @property
    def schema(self):
        return pa.schema([("bytes", pa.int64()), ("note", pa.string()), ("refused", pa.string())])

    def rows(self, films, out, *, processes=None):
        for (path, film), size in in_order(decoded, films, processes=processes):
            if self.deadly_itself and path.name.startswith("fatal"):
                os._exit(3)
            time.sleep(self.pause_s)
            with self.diary.open("a") as stream:
                stream.write(f"{os.getpid()} {film.number}\\n")
            if isinstance(size, Crashed):
                yield {"refused": CRASHED}
            elif size == 0:
                yield {"refused": f"{path.name} is empty"}
            else:
                note = out / "notes" / f"{film.name}.txt"
                note.parent.mkdir(parents=True, exist_ok=True)
                note.write_text(str(size))
                yield {"bytes": size, "note": f"notes/{film.name}.txt"}


class Short(Sizes):
    """Forgets a film."""

    def rows(self, films, out, *, processes=None):
        yield from super().rows(films[1:], out, processes=processes)
'''


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A module of work that the processes of the cluster can import, as they could hilum's."""
    file = tmp_path_factory.mktemp("jobs") / "jobs_of_cluster_tests.py"
    file.write_text(JOBS)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    sys.path.insert(0, str(file.parent))
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(file.parent))  # machines of the cluster are started with it
        yield module
    sys.path.remove(str(file.parent))
    del sys.modules[file.stem]


@pytest.fixture(scope="session")
def cluster(jobs: Any) -> Iterator[Any]:
    """A running cluster with one machine of one processor, to which tests add others; no port is fixed."""
    from hilum.cluster.connecting import ray_module

    ray_module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        made = Cluster(initialize_head=True, head_node_args=head)
        made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        yield made
        made.shutdown()


@pytest.fixture
def second_machine(cluster: Any) -> Iterator[Callable[[], None]]:
    """Another machine for one test; calling it ends that machine as a power cut would."""
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    cluster.wait_for_nodes()

    def lose() -> None:
        cluster.remove_node(node, allow_graceful=False)

    yield lose
    if node in cluster.worker_nodes:
        cluster.remove_node(node, allow_graceful=False)


@pytest.fixture
def connection(cluster: Any) -> Iterator[None]:
    """A connection to the cluster for one test."""
    from hilum.cluster import connected

    with connected(cluster.address):
        yield


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    """24 files of different sizes."""
    made = []
    for number in range(24):
        path = tmp_path / "films" / f"film-{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * (number + 1))
        made.append(path)
    return made

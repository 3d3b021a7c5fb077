"""Peers that need an environment of their own, made once beside hilum's cache, and work done in processes apart."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from measuring import Spent

from hilum.files import cache_dir

KERAS_FOLDER = cache_dir() / "peers" / "keras"
KERAS_PACKAGES = ("opencv-python-headless", "scipy")


def keras_python(folder: Path = KERAS_FOLDER) -> str:
    """The interpreter of an environment with TensorFlow, made where there is none yet (2 GB, a few minutes)."""
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        print(f"making an environment with TensorFlow in {folder}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*install, "tensorflow-cpu", *KERAS_PACKAGES], check=False).returncode:
            subprocess.run([*install, "tensorflow", *KERAS_PACKAGES], check=True)
        (folder / "ready").touch()
    return str(python)


def apart(call: Sequence[str], *, cache: Path | None = None, threads: int) -> dict[str, Any]:
    """Run something in a process of its own, without a GPU, and read the line of JSON it ends with.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    done = subprocess.run(
        list(call),
        env=environment(threads, cache),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(call)} failed:\n{done.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def environment(threads: int, cache: Path | None = None) -> dict[str, str]:
    """This process's environment with so many threads and no GPU; `cache` in place of hilum's own."""
    changed = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    return {**os.environ, **changed, **({"HILUM_CACHE": str(cache)} if cache else {})}


class Worker:
    """A process that stays warm between rounds: a line of JSON in, a line of JSON out; it measures itself.

    Args:
        call: what to start; its first line says that it is ready.
        threads: it may take.
    """

    def __init__(self, call: Sequence[str], *, threads: int) -> None:
        self._process = subprocess.Popen(
            list(call), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(threads)
        )
        self.told = self._heard()

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """What it answers."""
        if self._process.stdin is None:
            raise SystemExit("the process cannot be asked")
        self._process.stdin.write(json.dumps(dict(question)) + "\n")
        self._process.stdin.flush()
        return self._heard()

    def spent(self, question: Mapping[str, Any]) -> Spent:
        """What answering took by its own clocks."""
        told = self.ask(question)
        return Spent(wall=told["wall"], processor=told["processor"])

    def _heard(self) -> dict[str, Any]:
        for line in self._process.stdout or ():
            if line.startswith("{"):
                told: dict[str, Any] = json.loads(line)
                return told
        self._close()
        raise SystemExit(f"the peer ended with {self._process.returncode} before it answered")

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

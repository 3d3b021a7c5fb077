"""A connection to a Ray cluster, or a Ray of this machine's cores: quiet, and ended where it was begun.

Ray has no authentication: whoever reaches a cluster's ports can run anything on its machines. It belongs in a private
network.
"""

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hilum.errors import HilumError, UsageError, require
from hilum.files import cache_dir
from hilum.parallel import default_processes
from hilum.process import settle

ANSWERS_S = 10.0
"""Seconds a cluster has to answer a first knock; Ray itself would try for two minutes, and then end the process."""

KEPT = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "ORT_DISABLE_TELEMETRY")
"""What `process.settle` sets, and every machine is to have alike."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ClusterError(HilumError):
    """A cluster cannot be reached, or cannot do what is asked of it."""


def ray_module() -> Any:
    """Ray, told before it is imported to report its use to nobody.

    Raises:
        MissingExtra: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return require("ray", extra="ray")


def ray_data() -> Any:
    """Ray Data, with its own progress bars and its notices of every run off.

    Raises:
        MissingExtra: it is not installed.
    """
    ray_module()
    with warnings.catch_warnings():  # its settings warn of each other's deprecated names as they are made
        warnings.simplefilter("ignore")
        data = require("ray.data", extra="ray")
        context = data.DataContext.get_current()
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # importing it sets another level
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # a part may take an hour, and a machine an hour to come
    context.max_consecutive_actor_init_deaths = 3  # a machine that leaves while an actor starts is no fault of the job
    return data


@contextmanager
def connected(address: str | None = None, *, processes: int | None = None) -> Iterator[None]:
    """A connection while the block runs; what was there before the block is used, and left there.

    Args:
        address: `HOST:PORT` of a cluster's head, or `auto` for the one this machine belongs to; default a Ray of this
            machine's own, for as long as the block runs.
        processes: workers of a Ray of this machine's own; default one a core.

    Raises:
        ClusterError: the cluster cannot be reached, or is of another version.
        MissingExtra: Ray is not installed.
    """
    ray = ray_module()
    if ray.is_initialized():
        yield
        return
    settle()
    _knock(address)
    own = {"num_cpus": processes or default_processes(), "include_dashboard": False} if address is None else {}
    _begin(ray, address, own)
    try:
        yield
    finally:
        ray.shutdown()


def workers() -> int:
    """Processors of the connected cluster, which may grow and shrink."""
    ray = ray_module()
    if not ray.is_initialized():
        raise UsageError("no cluster is connected; work within `with hilum.cluster.connected(ADDRESS):`")
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _begin(ray: Any, address: str | None, own: dict[str, Any]) -> None:
    try:
        with warnings.catch_warnings(), _unheard():
            warnings.simplefilter("ignore")
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env={"env_vars": _settings()},
                **own,
            )
    except (OSError, RuntimeError, ValueError, SystemExit) as error:  # SystemExit: so Ray ends where no head answers
        told = str(error).strip().partition("\n")[0]
        place = f"the cluster at {address}" if address else "a Ray of this machine's own"
        raise ClusterError(f"{place} cannot be used ({told or type(error).__name__})") from error


@contextmanager
def _unheard() -> Iterator[None]:
    """Nothing that is not Python's reaches standard error: Ray's core says there that it was told to say nothing."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _settings() -> dict[str, str]:
    """Environment of every worker: as this process was settled, one thread each, one cache where one is named."""
    named = {name: os.environ[name] for name in KEPT if name in os.environ} | dict.fromkeys(ONE_THREAD, "1")
    return named | ({"HILUM_CACHE": str(cache_dir().resolve())} if "HILUM_CACHE" in os.environ else {})


def _knock(address: str | None) -> None:
    """Whether anything answers at `HOST:PORT`; names such as `auto` and `ray://` are Ray's to find."""
    host, colon, port = (address or "").rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no cluster answers at {address} ({error}); start one with: ray start --head, and name the address it says"
        ) from error

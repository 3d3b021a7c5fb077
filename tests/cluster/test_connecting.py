"""Connecting says in a sentence what is wrong, and soon."""

import socket
import sys
from typing import Any

import pytest

from hilum.cluster import ClusterError, connected, workers
from hilum.errors import MissingExtra


def test_a_cluster_that_is_not_there_is_said_to_be_absent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else answers there
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match=f"no cluster answers at {address} .*ray start --head"),
            connected(address),
        ):
            pytest.fail("connected to nothing")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"hilum\[ray\]"), connected():
        pytest.fail("connected without Ray")


def test_a_connection_that_was_there_stays(cluster: Any) -> None:
    import ray

    with connected(cluster.address):
        with connected("127.0.0.1:1"):
            assert workers() == 1
        assert ray.is_initialized()
    assert not ray.is_initialized()

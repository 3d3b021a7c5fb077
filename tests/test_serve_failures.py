"""`hilum serve` that cannot start: one sentence that says what to do, and an exit status."""

import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.bundle import released
from hilum.serve import running

from .calling import Call

Serve = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def serve(hilum: Call, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Calls `hilum serve`; gives its exit status and the lines on standard error."""
    pytest.importorskip("onnxruntime", reason="needs an engine for the released bundles: the extra hilum[serve]")
    monkeypatch.delenv("HILUM_TOKEN", raising=False)

    def call(*words: object) -> tuple[int, list[str]]:
        status, out, err = hilum("serve", *words)
        assert out == ""
        return status, err.splitlines()

    return call


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundle is loaded: what fails does so without one."""
    monkeypatch.setattr(running, "application", lambda bundles, settings, **_engine: None)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A classifier that may be damaged."""
    return shutil.copytree(released("covid19-frontal"), tmp_path / "copied")


def cut(folder: Path) -> None:
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def swapped(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes((released("view") / "weights.safetensors").read_bytes())


def garbled(folder: Path) -> None:
    (folder / "bundle.json").write_text("{")


def gone(folder: Path) -> None:
    (folder / "bundle.json").unlink()


@pytest.mark.parametrize("damage", [cut, swapped, garbled, gone], ids=lambda damage: damage.__name__)
def test_a_broken_bundle_is_not_served(serve: Serve, copied: Path, damage: Callable[[Path], None]) -> None:
    damage(copied)
    status, said = serve("--bundle", copied, "--port", 0)
    assert status == 1
    assert len(said) == 1
    assert said[0].startswith("hilum: ")
    assert "copied" in said[0]


@pytest.mark.parametrize(
    ("named", "status", "says"),
    [
        ("covid19-fronta", 2, "did you mean 'covid19-frontal'?"),
        ("no/such/folder", 2, "'no/such/folder'"),
        ("lungs", 1, "a classifier is needed"),
    ],
)
def test_a_bundle_that_is_none_is_said_to_be_none(serve: Serve, named: str, status: int, says: str) -> None:
    told, said = serve("--bundle", named, "--port", 0)
    assert told == status
    assert len(said) == 1
    assert said[0].startswith("hilum: ")
    assert says in said[0]


@pytest.mark.usefixtures("unloaded")
def test_a_port_in_use(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = serve("--port", port)
    assert status == 2
    assert said == [
        f"hilum: cannot listen at 127.0.0.1, port {port} (Address already in use); choose another --port or --host"
    ]


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "2001:db8::1"])
def test_a_host_that_is_not_this_machine(serve: Serve, host: str) -> None:
    status, said = serve("--host", host, "--port", 0)
    assert status == 2
    assert said[-1].startswith(f"hilum: cannot listen at {host}, port 0 (")
    assert all(line.startswith("WARNING: ") for line in said[:-1]), "reaching beyond this machine is warned of"
    assert len(said) > 1


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), ("", "is empty"), ("short", "at least 16")],
    ids=["missing", "empty", "short"],
)
def test_a_token_that_is_none(serve: Serve, tmp_path: Path, content: str | None, says: str) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)
    status, said = serve("--token-file", token)
    assert (status, len(said)) == (2, 1)
    assert says in said[0]


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "python_multipart"])
def test_without_the_extra(serve: Serve, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    status, said = serve()
    assert status == 1
    assert len(said) == 1
    assert said[0].endswith("which is not installed; run: pip install 'hilum[serve]'")

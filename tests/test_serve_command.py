"""`hilum serve` on the command line."""

import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hilum.cli.serve import serve
from hilum.errors import MissingExtra, UsageError
from hilum.serve import running
from hilum.serve.settings import Settings

app = typer.Typer()
app.command()(serve)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been served, and where."""
    heard: list[Any] = []
    monkeypatch.delenv("HILUM_TOKEN", raising=False)
    monkeypatch.setattr(
        running, "application", lambda bundles, settings, engine: heard.append((tuple(bundles), settings, engine))
    )
    monkeypatch.setattr(running, "run", lambda _app, host, port, told: heard.append((host, port)))
    return heard


def test_by_default_only_this_machine_is_served(started: list[Any]) -> None:
    done = CliRunner().invoke(app, [], catch_exceptions=False)
    assert done.exit_code == 0
    assert "WARNING" not in done.output
    assert started == [((), Settings(hosts=("127.0.0.1",)), "auto"), ("127.0.0.1", 8600)]


def test_every_option_arrives(started: list[Any], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a long random token\n")
    words = (
        "--bundle a --bundle b --host 0.0.0.0 --port 0 --allow-host films.example.org --max-mb 9 --queue 2 --workers 3"
    )
    more = ["--keep", str(tmp_path), "--token-file", str(token), "--per-minute", "7", "--runtime", "onnx"]
    done = CliRunner().invoke(app, [*words.split(), *more], catch_exceptions=False)
    assert "can be reached from other machines" in done.output
    assert "a long random token" not in done.output
    expected = Settings(
        hosts=("films.example.org",),
        token="a long random token",
        keep=tmp_path,
        most_mb=9,
        queue=2,
        workers=3,
        per_minute=7,
    )
    assert started == [(("a", "b"), expected, "onnx"), ("0.0.0.0", 0)]


def test_the_token_may_come_from_the_environment(started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_TOKEN", "another long random token")
    CliRunner().invoke(app, [], catch_exceptions=False)
    assert started[0][1].token == "another long random token"
    monkeypatch.setenv("HILUM_TOKEN", "short")
    with pytest.raises(UsageError, match="at least 16"):
        CliRunner().invoke(app, [], catch_exceptions=False)


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "python_multipart"])
def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"pip install 'hilum\[serve\]'"):
        CliRunner().invoke(app, [], catch_exceptions=False)

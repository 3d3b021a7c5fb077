"""`hilum card`: short on a terminal, whole for machines, files where asked for."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hilum.bundle import released
from hilum.cli.card import card as verb
from hilum.errors import BundleError, UsageError
from hilum.records import DISCLAIMER

app = typer.Typer()
app.command()(verb)


def _run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_terminal_shows_a_short_card() -> None:
    shown = _run("lungs")
    digest = json.loads((released("lungs") / "bundle.json").read_text())["digest"]
    for said in (digest, "Intended use: ", "Figures on films of another source: ", "Not recorded (", DISCLAIMER):
        assert said in shown
    assert len(shown.splitlines()) < 80


def test_json_is_the_whole_card_and_nothing_else(tmp_path: Path) -> None:
    told = json.loads(_run("view", "--json", "--out", str(tmp_path / "card")))
    assert told == json.loads((tmp_path / "card" / "card.json").read_text())
    assert told["kind"] == "classifier"
    assert told["headline"].startswith("macro AUROC")
    assert {"card.html", "card.md", "card.json"} == {file.name for file in (tmp_path / "card").iterdir()}


def test_what_is_no_bundle_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown released bundle 'lung'; did you mean 'lungs'"):
        CliRunner().invoke(app, ["lung"], catch_exceptions=False)
    with pytest.raises(BundleError, match="is no bundle"):
        CliRunner().invoke(app, [str(tmp_path)], catch_exceptions=False)

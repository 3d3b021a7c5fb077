"""`hilum engines`, and the option that names an engine."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("onnxruntime")
pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum.agreement import check_films
from hilum.bundle.format import digest_without_notes
from hilum.cli.engines import engines
from hilum.cli.runtime import asked_engine
from hilum.engine import ENGINES, read_engines
from hilum.errors import DataError, UsageError
from hilum.index import Index
from hilum.reader import Policy, Reader


@pytest.fixture(scope="module")
def command() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(engines)
    return app


@pytest.fixture(autouse=True)
def without_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn films look like no chest radiograph."""
    monkeypatch.setattr("hilum.agreement.ViewFilter", lambda: None)


def test_engines_are_listed_without_films(command: typer.Typer, copied: Path) -> None:
    done = CliRunner().invoke(command, [str(copied)], catch_exceptions=False)
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines() if line[:1] in "ot"][:2] == ["torch", "onnx"]
    told = json.loads(CliRunner().invoke(command, [str(copied), "--json"], catch_exceptions=False).stdout)
    assert {one["engine"]: one["auto"] for one in told["engines"]}["onnx"]
    assert told["check"] is None
    assert not (copied / ENGINES).exists()


def test_films_are_read_as_the_bundle_reads_them_and_the_check_is_kept(
    command: typer.Typer, copied: Path, drawn: Index, tmp_path: Path
) -> None:
    drawn.save(tmp_path / "index.parquet")
    asked = [str(copied), "--index", str(tmp_path / "index.parquet"), "--processes", "1"]
    done = CliRunner().invoke(command, [*asked, "--json"], catch_exceptions=False)
    told = json.loads(done.stdout)["check"]
    assert told["checked_on"] == {"films": 48, "digest": drawn.digest, "named": "an index of drawn"}
    assert told["trials"]["onnx"]["largest"] < 1e-4
    assert read_engines(copied, digest_without_notes(copied)).model_dump(mode="json") == told
    shown = CliRunner().invoke(command, [str(copied)], catch_exceptions=False).stdout
    assert "too few films" in shown
    assert "48 films (an index of drawn)" in shown


def test_a_film_that_cannot_be_read_is_left_out(copied: Path, drawn: Index, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no film")
    films = [drawn.path(path) for path in drawn.films["path"][:3]]
    record = check_films(copied, [tmp_path / "broken.png", *films], engines=["onnx"], processes=1)
    assert record.checked_on.films == 3
    with pytest.raises(DataError, match=r"no film is left"):
        check_films(copied, [tmp_path / "broken.png"], engines=["onnx"], processes=1)


def test_films_and_an_index_are_not_named_together(command: typer.Typer, copied: Path, tmp_path: Path) -> None:
    (tmp_path / "index.parquet").touch()
    with pytest.raises(UsageError, match=r"not both"):
        CliRunner().invoke(
            command,
            [str(copied), str(tmp_path), "--index", str(tmp_path / "index.parquet")],
            catch_exceptions=False,
        )


def test_an_engine_is_named_as_load_bundle_names_it() -> None:
    assert asked_engine("openvino-bf16") == "openvino-bf16"
    with pytest.raises(UsageError, match=r"unknown engine 'openvin'; did you mean 'openvino'"):
        asked_engine("openvin")


def test_a_reader_tells_which_engine_runs_what() -> None:
    reader = Reader(policy=Policy(lesions=False), engine="onnx")
    assert reader.engines == {"view": "onnx", "lungs": "onnx", "covid19-frontal": "onnx"}

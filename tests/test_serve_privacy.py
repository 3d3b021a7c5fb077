"""Bad films over HTTP, and what stays behind of any film: nothing in an answer, a log, a folder or a message."""

import io
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hilum.serve.logs import JsonLines, say, say_failure
from hilum.serve.schema import FilmAnswer

from .bad_films import BAD_FILMS, SECRETS, BadFilm
from .pixels.conftest import CANARY, DicomFiles
from .serving import BRIGHT, films, serving

PATIENT = "DOE_JANE_4711.dcm"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with serving() as client:
        yield client


@pytest.fixture(scope="module")
def log() -> Iterator[io.StringIO]:
    """Every record of every logger, as the server writes them."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


def heard_of(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize("bad", BAD_FILMS, ids=lambda bad: bad.name)
def test_bad_films_are_answered_in_one_sentence_and_the_server_goes_on(
    client: TestClient, log: io.StringIO, capfd: pytest.CaptureFixture[str], bad: BadFilm
) -> None:
    data = bad.make(DicomFiles())
    log.truncate(0)
    told = client.post("/api/read", files=films(data, BRIGHT, name=PATIENT))
    page = client.post("/query", files=films(data, field="file", name=PATIENT))
    assert (told.status_code, page.status_code) == (200, 200)
    answer, after = told.json()
    FilmAnswer.model_validate(answer)
    assert after["outcome"] == "POSITIVE"
    if bad.refused is None:
        assert answer["refusal"] is None
    elif bad.refused != "any" or answer["refusal"]:
        kind, says = answer["refusal"]["kind"], answer["refusal"]["says"]
        assert kind == bad.refused or bad.refused == "any"
        assert says.startswith("film-1 ")
        assert "\n" not in says
        assert len(says) < 200
    for text in (told.text, page.text, log.getvalue(), *capfd.readouterr()):
        assert heard_of(text) == []
    assert client.get("/readyz").status_code == 200


def test_every_kind_of_bad_film_is_in_the_table() -> None:
    numbers = {int(bad.name.split()[0]) for bad in BAD_FILMS}
    assert numbers == set(range(1, 25))
    assert len({bad.name for bad in BAD_FILMS}) == len(BAD_FILMS)
    secret = DicomFiles()(DicomFiles.drawn())
    assert CANARY.encode() in secret
    assert heard_of(CANARY + " canary-" + "4711" * 40) == list(SECRETS)


class Written:
    """Files opened for writing in this process, by Python's own account of every one."""

    def __init__(self) -> None:
        self.listening = False
        self.paths: list[str] = []
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.listening:
            return
        if event.startswith("tempfile."):
            self.paths.append(event)
        if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            self.paths.append(str(arguments[0]))
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & 3:
            self.paths.append(str(arguments[0]))


@pytest.fixture(scope="module")
def written() -> Written:
    return Written()


def test_the_hook_hears_of_a_spooled_upload(written: Written) -> None:
    written.listening = True
    with tempfile.SpooledTemporaryFile(max_size=10) as spooled:
        spooled.write(bytes(100))
    written.listening = False
    assert written.paths
    written.paths.clear()


def test_uploads_are_never_written_to_a_disk(
    client: TestClient, written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    large = DicomFiles()(DicomFiles.drawn(height=1500, width=1500))
    assert len(large) > 4_000_000
    written.listening = True
    told = client.post("/api/read", files=films(large, large, name=PATIENT))
    page = client.post("/query", files=films(large, field="file", name=PATIENT))
    written.listening = False
    assert [one["refusal"] for one in told.json()] == [None, None]
    assert page.status_code == 200
    # The network's own sockets and this process's pipes are no files.
    assert written.paths == []
    assert list(tmp_path.rglob("*")) == []


def test_log_lines_are_json_without_addresses_or_names(client: TestClient, log: io.StringIO) -> None:
    log.truncate(0)
    log.seek(0)
    client.post(f"/api/read?pictures=1&patient={CANARY}", files=films(BRIGHT, name=PATIENT))
    client.get(f"/nothing/{CANARY}?name={CANARY}", headers={"Referer": CANARY.encode(), "User-Agent": "DOE"})
    client.request("DOE", "/")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    ours = [line for line in lines if line["logger"] == "hilum.serve"]
    assert len(lines) > len(ours), "the client's own log is not heard"
    assert [line["event"] for line in ours] == ["film", "request", "request", "request"]
    assert ours[0]["request"] == ours[1]["request"]
    assert {"request", "method", "route", "status", "seconds"} <= set(ours[1])
    assert (ours[1]["route"], ours[2]["route"]) == ("/api/read", "other")
    assert heard_of(log.getvalue()) == []


def test_errors_are_logged_by_kind_and_place_alone() -> None:
    def line_of(call: Any) -> dict[str, Any]:
        written = io.StringIO()
        handler = logging.StreamHandler(written)
        handler.setFormatter(JsonLines())
        logger = logging.getLogger("hilum.serve")
        logger.addHandler(handler)
        level, logger.level = logger.level, logging.INFO
        try:
            call()
        finally:
            logger.removeHandler(handler)
            logger.level = level
        return dict(json.loads(written.getvalue()))

    def fails() -> None:
        try:
            raise ValueError(CANARY)
        except ValueError as error:
            say_failure("film failed", error, request="1")
            return

    line = line_of(fails)
    assert (line["error"], line["event"], line["level"]) == ("ValueError", "film failed", "error")
    assert line["at"][-1].endswith(" fails")
    assert CANARY not in str(line)
    assert line_of(lambda: say("request", status=200))["status"] == 200


@pytest.mark.parametrize(("name", "heard"), [("pydicom", False), ("uvicorn.error", True), ("python_multipart", False)])
def test_messages_of_other_libraries_are_left_out(name: str, heard: bool) -> None:
    record = logging.LogRecord(name, logging.WARNING, "", 1, "Invalid value %s", (CANARY,), None)
    assert (CANARY in JsonLines().format(record)) is heard


def test_a_failure_in_the_server_tells_nobody_what_was_sent(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(**_content: Any) -> str:
        raise KeyError(CANARY)

    monkeypatch.setattr("hilum.serve.pages.page", fails)
    told = client.get("/")
    assert (told.status_code, told.json()["error"]["kind"]) == (500, "failed")
    assert told.headers["x-content-type-options"] == "nosniff"
    assert CANARY not in told.text + caplog.text + str([vars(record) for record in caplog.records])

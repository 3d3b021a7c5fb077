"""A real server on a real port: large and broken-off uploads, stopping in order, and what it writes meanwhile."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from hilum.errors import UsageError
from hilum.serve import running
from hilum.serve.settings import Settings

from .bad_films import SECRETS
from .pixels.conftest import DicomFiles
from .serving import BRIGHT, FORM, films, form

PROGRAM = Path(__file__).parent / "serve_process.py"


class Server:
    """A server in a process of its own."""

    def __init__(self, folder: Path, takes_s: float, limits: dict[str, Any]) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self._log = (folder / "log").open("w+b")
        environment = {**os.environ, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps({"per_minute": 10_000, **limits}), str(takes_s)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            cwd=folder,
        )
        self.address = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.address, timeout=60, trust_env=False)

    def connected(self) -> socket.socket:
        """A connection with which anything can be sent."""
        return socket.create_connection(("127.0.0.1", urlsplit(self.address).port or 0), timeout=30)

    def gauge(self, name: str) -> float:
        with self.client() as client:
            found = re.search(rf"^hilum_{name} (.*)$", client.get("/metrics").text, re.MULTILINE)
        assert found is not None
        return float(found[1])

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        if self.process.stdout:
            self.process.stdout.close()
        self._log.close()
        return status


@contextmanager
def server(folder: Path, takes_s: float = 0.0, **limits: Any) -> Iterator[Server]:
    started = Server(folder, takes_s, limits)
    try:
        yield started
    finally:
        started.stop()


def head(length: int) -> bytes:
    sized = f"Content-Length: {length}"
    told = ["POST /api/read HTTP/1.1", "Host: localhost", f"Content-Type: {FORM['Content-Type']}", sized, "", ""]
    return "\r\n".join(told).encode()


def until(holds: Any, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_films_are_read_and_nothing_of_them_stays(tmp_path: Path) -> None:
    large = DicomFiles()(DicomFiles.drawn(height=1500, width=1500))
    with server(tmp_path) as running_server, running_server.client() as client:
        answers = client.post("/api/read?q=DOE", files=films(large, large, b"DOE", name="DOE_JANE.dcm")).json()
        assert [one["refusal"]["kind"] for one in answers] == ["slow", "slow", "unknown-format"]
        assert client.get("/nothing/CANARY").status_code == 404
        with running_server.connected() as raw:
            raw.sendall(b"DOE JANE\r\n\r\n")
            assert b" 400 " in raw.recv(4096)
        assert running_server.stop() == 0
    log = running_server.log()
    lines = [json.loads(line) for line in log.splitlines()]
    assert sum(line.get("event") == "film" for line in lines) == 3
    assert [secret for secret in SECRETS if secret in log + json.dumps(answers)] == []
    assert {path.name for path in tmp_path.rglob("*")} == {"tmp", "log"}


def test_too_large_an_upload_is_answered_while_it_comes(tmp_path: Path) -> None:
    with server(tmp_path, most_mb=1) as running_server, running_server.client() as client:
        before = running_server.memory_mb()
        told = client.post("/api/read", files=films(bytes(40_000_000)))
        assert (told.status_code, told.json()["error"]["kind"]) == (413, "too-large")
        pieces = (bytes(1 << 16) for _ in range(600))
        told = client.post("/api/read", content=pieces, headers=FORM)
        assert told.status_code in (400, 413)
        assert running_server.memory_mb() - before < 30
        assert client.post("/api/read", files=films(BRIGHT)).status_code == 200


def test_an_upload_broken_off_gives_place_and_memory_back(tmp_path: Path) -> None:
    with server(tmp_path, queue=0, workers=1) as running_server, running_server.client() as client:
        client.post("/api/read", files=films(BRIGHT))
        before = running_server.memory_mb()
        body = form(("films", "a.png", bytes(50_000_000)))
        with running_server.connected() as raw:
            raw.sendall(head(len(body)) + body[:45_000_000])
            assert until(lambda: running_server.memory_mb() - before > 40), "the upload did not arrive"
            assert client.post("/api/read", files=films(BRIGHT)).status_code == 429
        assert until(lambda: running_server.gauge("places_taken") == 0)
        assert until(lambda: running_server.memory_mb() - before < 25)
        assert client.post("/api/read", files=films(BRIGHT)).status_code == 200


def test_a_client_that_goes_away_is_not_read_for(tmp_path: Path) -> None:
    with server(tmp_path, takes_s=1.0, queue=4) as running_server:
        body = form(*[("films", "a.png", BRIGHT)] * 8)
        with running_server.connected() as raw:
            raw.sendall(head(len(body)) + body)
            assert running_server.line() == "reading"
        assert until(lambda: running_server.gauge("places_taken") == 0)
        with running_server.client() as client:
            client.post("/api/read", files=films(BRIGHT))
            text = client.get("/metrics").text
        assert 'route="/api/read",status="499"} 1' in text
        running_server.stop()
        read = sum(json.loads(line).get("event") == "film" for line in running_server.log().splitlines())
        assert read < 5, "films nobody waits for were read"


def test_a_stopped_server_finishes_what_it_reads(tmp_path: Path) -> None:
    with server(tmp_path, takes_s=1.5) as running_server:
        answers: list[httpx2.Response] = []

        def send() -> None:
            with running_server.client() as client:
                answers.append(client.post("/api/read", files=films(BRIGHT)))

        sending = threading.Thread(target=send)
        sending.start()
        assert running_server.line() == "reading"
        assert running_server.stop() == 0
        sending.join(30)
        assert answers[0].json()[0]["refusal"]["says"] == "film-1 was read"
        with pytest.raises(ConnectionRefusedError):
            running_server.connected()


def test_a_port_in_use_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"port {port} .*; choose another --port"),
            running._listening("127.0.0.1", port),
        ):
            pass


@pytest.mark.parametrize(
    ("host", "settings", "said"),
    [
        ("127.0.0.1", Settings(), 0),
        ("0.0.0.0", Settings(), 3),
        ("0.0.0.0", Settings(token="a long random token", hosts=("a",)), 1),
        ("127.0.0.1", Settings(keep=Path("kept")), 1),
    ],
    ids=["loopback", "everywhere", "with a token", "keeping"],
)
def test_the_operator_is_warned(host: str, settings: Settings, said: int) -> None:
    assert len(running.notices(host, settings)) == said


def test_an_address_listened_at_is_a_name_answered_to() -> None:
    assert running.hosts_of("192.0.2.1", ["a"]) == ("a", "192.0.2.1")
    assert running.hosts_of("0.0.0.0", ["a"]) == ("a",)


def test_the_tokens_variable_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_TOKEN", "a long random token")
    assert running.token_of(None) == "a long random token"
    assert "HILUM_TOKEN" not in os.environ

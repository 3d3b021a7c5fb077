"""Who is let in: names asked by, tokens, pages that forms come from."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from hilum.errors import UsageError
from hilum.serve.settings import Settings, is_loopback, read_token

from .serving import BRIGHT, films, serving

TOKEN = "a long random token"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with serving(hosts=("films.example.org",)) as client:
        yield client


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient]:
    with serving(token=TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8600", 200),
        ("localhost:8600", 200),
        ("LocalHost", 200),
        ("localhost.", 200),
        ("[::1]:8600", 200),
        ("films.example.org", 200),
        ("films.example.org:443", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("films.example.org@evil.example", 421),
        ("evil.example:127.0.0.1", 421),
        ("", 421),
        ("[::1", 200),
        ("192.168.1.2", 421),
    ],
)
def test_only_our_own_names_are_answered_to(client: TestClient, host: str, status: int) -> None:
    told = client.get("/api/bundles", headers={"Host": host})
    assert told.status_code == status
    assert "evil" not in told.text
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8600"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_forms_of_other_sites_are_refused(client: TestClient, headers: dict[str, str], status: int) -> None:
    for address, field in (("/api/read", "films"), ("/query", "file")):
        assert client.post(address, files=films(BRIGHT, field=field), headers=headers).status_code == status
    assert client.get("/", headers=headers).status_code == 200


def basic(told: str) -> str:
    return f"Basic {base64.b64encode(told.encode()).decode()}"


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (basic(f"anybody:{TOKEN}"), 200),
        (basic(f":{TOKEN}"), 200),
        (None, 401),
        ("", 401),
        (TOKEN, 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Digest {TOKEN}", 401),
        (basic(TOKEN), 401),
        ("Basic %%%", 401),
    ],
)
def test_the_token_is_wanted_everywhere_but_by_probes(
    guarded: TestClient, authorization: str | None, status: int
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for address in ("/", "/api/bundles", "/metrics", "/static/page.css", "/api/openapi.json"):
        told = guarded.get(address, headers=headers)
        assert told.status_code == status
        assert TOKEN not in told.text
    assert guarded.post("/api/read", files=films(BRIGHT), headers=headers).status_code == status
    if status == 401:
        assert told.headers["www-authenticate"].startswith("Basic ")
    assert {guarded.get(address).status_code for address in ("/healthz", "/readyz")} == {200}


def test_guessing_a_token_is_slowed_down() -> None:
    with serving(token=TOKEN, per_minute=5) as client:
        told = [client.get("/api/bundles", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(7)]
    assert told == [401] * 5 + [429] * 2


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"  {TOKEN}\n")
    assert read_token(file, "another token, longer") == TOKEN
    assert read_token(None, f"{TOKEN}\n") == TOKEN
    assert read_token(None, None) is None
    assert read_token(None, " ") is None
    file.write_text("\n")
    with pytest.raises(UsageError, match="is empty"):
        read_token(file, TOKEN)
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(tmp_path / "none", TOKEN)


def test_a_token_that_can_be_guessed_is_none_and_no_token_is_shown() -> None:
    with pytest.raises(UsageError, match="has 5 characters; at least 16"):
        Settings(token="short")
    assert TOKEN not in repr(Settings(token=TOKEN))


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_which_addresses_are_this_machines_alone(host: str, here: bool) -> None:
    assert is_loopback(host) is here

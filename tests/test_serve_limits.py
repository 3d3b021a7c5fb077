"""Every limit of the server: size, number, rate, places, time; and that it is free again afterwards."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request

from hilum.serve.app import create_app
from hilum.serve.limiting import MOST_CLIENTS, Places, Rate
from hilum.serve.refusals import Refusal
from hilum.serve.settings import Settings
from hilum.serve.uploads import received_films

from .serving import BRIGHT, BUNDLE, DARK, FORM, BrightReader, films, form, serving

MB = 1_000_000


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with serving() as client:
        yield client


def request_of(pieces: list[bytes], headers: dict[str, str] | None = None, pause_s: float = 0.0) -> Request:
    """A request whose body comes in these pieces."""
    waiting = list(pieces)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause_s)
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or FORM).items()]
    request = Request({"type": "http", "method": "POST", "headers": raw, "path": "/api/read"}, receive)
    request.scope["left"] = waiting
    return request


def received(request: Request, **limits: Any) -> list[bytes]:
    return asyncio.run(received_films(request, "films", Settings(**limits)))


def test_a_body_may_be_cut_anywhere() -> None:
    body = form(("films", "a.png", BRIGHT), ("note", None, b"text"), ("films", "b.png", DARK))
    for size in (1, 7, 64, len(body)):
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        assert received(request_of(pieces)) == [BRIGHT, DARK]


def test_a_body_too_large_is_left_where_it_is() -> None:
    body = form(("films", "a.png", bytes(5 * MB)))
    request = request_of([body[start : start + 100_000] for start in range(0, len(body), 100_000)])
    with pytest.raises(Refusal, match="1 MB at most") as refusal:
        received(request, most_mb=1)
    assert refusal.value.status == 413
    assert len(request.scope["left"]) > 35, "the rest of the body was read"


def test_a_length_too_large_is_refused_before_the_first_byte() -> None:
    request = request_of([b""], {**FORM, "Content-Length": str(2 * MB)})
    with pytest.raises(Refusal, match="1 MB at most"):
        received(request, most_mb=1)
    assert request.scope["left"] == [b""]


def test_a_slow_upload_is_given_up() -> None:
    pieces = [bytes([one]) for one in form(("films", "a.png", BRIGHT))]
    with pytest.raises(Refusal, match=r"longer than 0\.2 s") as refusal:
        received(request_of(pieces, pause_s=0.05), upload_s=0.2)
    assert refusal.value.status == 408


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form(("films", "a.png", BRIGHT), end=False), 400),
        (form(("films", "a.png", BRIGHT))[:-40], 400),
        (b"", 400),
        (b"DOE" * 99, 400),
        (b"--other\r\n\r\n\r\n--other--\r\n", 400),
        (form(("films", "DOE" * 2000, BRIGHT)), 400),
        (form(*[("films", "a.png", b"x")] * 17), 413),
        (form(*[("other", "a.png", b"x")] * 65), 413),
    ],
    ids=["no end", "cut", "empty", "text", "boundary", "long name", "17 films", "65 parts"],
)
def test_broken_or_crowded_forms_are_refused_without_quoting_them(client: TestClient, body: bytes, status: int) -> None:
    told = client.post("/api/read", content=body, headers=FORM)
    assert told.status_code == status
    assert "DOE" not in told.text
    assert client.post("/api/read", files=films(BRIGHT)).status_code == 200


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "multipart/mixed; boundary=a", "DOE"])
def test_what_is_no_form_is_refused(client: TestClient, kind: str) -> None:
    told = client.post("/api/read", content=b"{}", headers={"Content-Type": kind})
    assert (told.status_code, told.json()["error"]["kind"]) == (415, "not-a-form")
    assert "DOE" not in told.text


def test_too_large_a_request_is_answered_413_and_the_next_is_read() -> None:
    with serving(most_mb=1) as client:
        for content in (bytes(2 * MB), iter([form(("films", "a", bytes(2 * MB)))])):
            told = client.post("/api/read", content=content, headers=FORM)
            assert (told.status_code, told.json()["error"]["kind"]) == (413, "too-large")
        assert client.post("/api/read", files=films(BRIGHT)).status_code == 200


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    clock = Clock()
    rate = Rate(6, clock)
    for _ in range(6):
        rate.take("192.0.2.1")
    with pytest.raises(Refusal) as refusal:
        rate.take("192.0.2.1")
    assert (refusal.value.status, refusal.value.headers) == (429, {"Retry-After": "10"})
    rate.take("192.0.2.2")
    clock.now += 9.9
    with pytest.raises(Refusal, match="come back in 1 s"):
        rate.take("192.0.2.1")
    clock.now += 0.2
    rate.take("192.0.2.1")


def test_an_ipv6_network_is_one_client() -> None:
    rate = Rate(1, Clock())
    rate.take("2001:db8::1")
    with pytest.raises(Refusal):
        rate.take("2001:db8::ffff:2")
    rate.take("2001:db8:0:1::1")


def test_the_memory_of_clients_is_bounded() -> None:
    rate = Rate(1, Clock())
    for number in range(MOST_CLIENTS + 50):
        rate.take(f"client {number}")
    assert len(rate._buckets) == MOST_CLIENTS


def test_the_rate_is_kept_over_http_but_probes_and_assets_are_free() -> None:
    with serving(per_minute=2) as client:
        assert [client.get("/api/bundles").status_code for _ in range(3)] == [200, 200, 429]
        assert int(client.get("/").headers["retry-after"]) >= 1
        assert [client.get(free).status_code for free in ("/healthz", "/readyz", "/static/page.css")] == [200] * 3


def test_places_are_given_back_whatever_happens() -> None:
    places, tries = Places(1), []
    with contextlib.suppress(ValueError), places.one(5):
        with pytest.raises(Refusal, match="come back in 5 s"), places.one(5):
            tries.append("inside")
        raise ValueError
    assert (places.taken, tries) == (0, [])


def in_background(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    return thread, answers


def test_one_request_too_many_is_turned_away_and_none_is_lost() -> None:
    reader = BrightReader()
    reader.free.clear()
    with serving(reader, queue=1, workers=1) as client:
        first = in_background(lambda: client.post("/api/read", files=films(BRIGHT)))
        assert reader.reading.acquire(timeout=30)
        second = in_background(lambda: client.post("/api/read", files=films(DARK)))
        room = client.app.state.room  # type: ignore[attr-defined]
        while room.places.taken < 2:
            threading.Event().wait(0.01)
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200, "the loop is not free while a film is read"
        turned_away = client.post("/api/read", files=films(BRIGHT))
        page = client.post("/query", files=films(BRIGHT, field="file"))
        reader.free.set()
        for thread, _ in (first, second):
            thread.join(30)
        assert client.get("/readyz").status_code == 200
    assert (turned_away.status_code, turned_away.json()["error"]["kind"]) == (429, "busy")
    assert int(turned_away.headers["retry-after"]) >= 1
    assert page.status_code == 429
    assert page.headers["retry-after"]
    assert "all places are taken" in page.text
    assert [answers[0].json()[0]["outcome"] for _, answers in (first, second)] == ["POSITIVE", "NEGATIVE"]
    assert room.places.taken == 0


def test_an_upload_broken_off_gives_its_place_back() -> None:
    async def sent() -> int:
        reader = BrightReader()
        app = create_app(reader, [BUNDLE], Settings())
        body = form(("films", "a.png", bytes(MB)))

        async def receive() -> AsyncIterator[dict[str, Any]]:
            yield {"type": "http.request", "body": body[:5000], "more_body": True}
            yield {"type": "http.disconnect"}

        messages = receive()
        answered: list[Any] = []

        async def send(message: Any) -> None:
            answered.append(message)

        headers = [(name.lower().encode(), value.encode()) for name, value in (*FORM.items(), ("Host", "localhost"))]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/read",
            "raw_path": b"/api/read",
            "query_string": b"",
            "root_path": "",
            "headers": [*headers, (b"transfer-encoding", b"chunked")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "scheme": "http",
            "http_version": "1.1",
        }
        async with app.router.lifespan_context(app):
            await app(scope, messages.__anext__, send)
        assert answered == []
        assert reader.seen == []
        return int(app.state.room.places.taken)

    assert asyncio.run(sent()) == 0


def test_the_number_of_films_is_bounded() -> None:
    with serving(most_films=2) as client:
        sent = [client.post("/api/read", files=films(*[BRIGHT] * number)).status_code for number in (1, 2, 3)]
    assert sent == [200, 200, 413]

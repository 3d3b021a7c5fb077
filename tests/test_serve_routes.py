"""What the server answers: REST, the page, the routes of the reference system."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from hilum.records import DISCLAIMER
from hilum.serve import cards, pages
from hilum.serve.app import create_app
from hilum.serve.schema import FilmAnswer
from hilum.serve.settings import Settings

from .serving import BRIGHT, BUNDLE, DARK, FORM, GREY, BrightReader, films, form, serving

VERDICT = re.compile(r'<p class="verdict (\w+) (\w+)">(\w+)</p>')


@pytest.fixture(scope="module")
def reader() -> BrightReader:
    return BrightReader()


@pytest.fixture(scope="module")
def client(reader: BrightReader) -> Iterator[TestClient]:
    with serving(reader) as client:
        yield client


def test_films_are_answered_in_order_and_a_bad_one_in_its_place(client: TestClient) -> None:
    told = client.post("/api/read", files=films(BRIGHT, b"no film", DARK, GREY, name="patient.png"))
    assert told.status_code == 200
    answers = told.json()
    assert [one["film"]["name"] for one in answers] == ["film-1", "film-2", "film-3", "film-4"]
    assert [one["outcome"] for one in answers] == ["POSITIVE", "REFUSED", "NEGATIVE", "INCONCLUSIVE"]
    assert answers[1]["refusal"] == {"kind": "unknown-format", "says": "film-2 is not a PNG, JPEG or DICOM file"}
    assert answers[0]["film"]["sha256"] == hashlib.sha256(BRIGHT).hexdigest()
    assert [*answers[0]["seconds"]] == ["decode", "read"]
    for answer in answers:
        FilmAnswer.model_validate(answer)
        assert answer["disclaimer"] == DISCLAIMER
        assert "pictures" not in answer


def test_pictures_come_where_asked_for(client: TestClient) -> None:
    answer = client.post("/api/read?pictures=true", files=films(BRIGHT)).json()[0]
    assert answer["pictures"]["film"].startswith("data:image/png;base64,")
    assert answer["answers"][0]["map"]["picture"]


def test_other_fields_of_a_form_are_no_films(client: TestClient) -> None:
    told = client.post("/api/read", files=[*films(BRIGHT), ("other", ("b.png", DARK))], data={"note": "x" * 5000})
    assert [one["outcome"] for one in told.json()] == ["POSITIVE"]


@pytest.mark.parametrize(
    "parts",
    [[], [("films", "", b"")], [("films", None, BRIGHT)], [("film", "a.png", BRIGHT)]],
    ids=["no part", "an input left empty", "a text field", "another field"],
)
def test_a_form_without_films_is_told_so(client: TestClient, parts: list[tuple[str, str | None, bytes]]) -> None:
    told = client.post("/api/read", content=form(*parts), headers=FORM)
    assert told.status_code == 400
    assert told.json()["error"] == {
        "kind": "no-film",
        "says": "no film was sent; choose a DICOM, PNG or JPEG file",
    }


def test_an_error_in_the_reader_costs_one_film_and_says_nothing_of_it(
    client: TestClient, reader: BrightReader, caplog: pytest.LogCaptureFixture
) -> None:
    reader.fails = ValueError("DOE^JANE")
    try:
        answer = client.post("/api/read", files=films(BRIGHT)).json()[0]
    finally:
        reader.fails = None
    assert answer["refusal"]["kind"] == "failed"
    assert "DOE" not in str(answer) + caplog.text + str([vars(record) for record in caplog.records])
    assert [record.fields["error"] for record in caplog.records if record.levelname == "ERROR"] == ["ValueError"]  # type: ignore[attr-defined]


def test_bundles_are_listed(client: TestClient) -> None:
    assert client.get("/api/bundles").json() == [BUNDLE.model_dump()]


def test_a_card_is_shown_as_a_page_or_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(cards, "_made", lambda folder: made.append(folder) or ("<html>card</html>", {"title": "card"}))
    app = create_app(BrightReader(), [BUNDLE], Settings(), cards={BUNDLE.name: tmp_path})
    with TestClient(app, base_url="http://127.0.0.1") as client:
        page = client.get(f"/api/card?bundle={BUNDLE.name}")
        assert page.text == "<html>card</html>"
        assert page.headers["content-security-policy"] == cards.CARD_POLICY
        assert "script" not in cards.CARD_POLICY
        assert client.get(f"/api/card?bundle={BUNDLE.name}&format=json").json() == {"title": "card"}
        for wrong in ("lungs", "../../etc/passwd", str(tmp_path)):
            refused = client.get("/api/card", params={"bundle": wrong})
            assert refused.status_code == 404
            assert wrong not in refused.text
    assert made == [tmp_path]


def test_health_readiness_and_figures(client: TestClient) -> None:
    assert (client.get("/healthz").status_code, client.get("/readyz").text) == (200, "ready\n")
    client.post("/api/read", files=films(BRIGHT, b"no film"))
    client.get("/secret/DOE")
    text = client.get("/metrics").text
    assert re.search(r'^hilum_films_total\{outcome="REFUSED",refusal="unknown-format"\} \d+$', text, re.MULTILINE)
    assert re.search(r'^hilum_requests_total\{method="POST",route="/api/read",status="200"\} \d+$', text, re.MULTILINE)
    assert 'route="other",status="404"' in text
    assert "DOE" not in text
    buckets = [int(number) for number in re.findall(r"^hilum_film_seconds_bucket.* (\d+)$", text, re.MULTILINE)]
    assert buckets == sorted(buckets)
    assert f"hilum_film_seconds_count {buckets[-1]}\n" in text
    for line in text.splitlines():
        assert re.fullmatch(r"# TYPE \w+ \w+|\w+(\{[^}]+\})? [0-9.e+-]+", line), line


def test_a_server_that_is_down_is_not_ready() -> None:
    client = TestClient(create_app(BrightReader(), [BUNDLE], Settings()), base_url="http://127.0.0.1")
    assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)


@pytest.mark.parametrize(
    ("method", "address", "status", "kind"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/static/../app.py", 404, "not-found"),
        ("GET", "/static/%2e%2e%2fapp.py", 404, "not-found"),
        ("GET", "/docs", 404, "not-found"),
        ("GET", "/api/read", 405, "wrong-method"),
        ("GET", "/api/card", 422, "wrong-parameter"),
        ("GET", "/api/kept", 404, "nothing-kept"),
        ("GET", "/api/kept/..%2f..%2fetc", 404, "not-found"),
        ("GET", "/api/kept/DOE", 422, "wrong-parameter"),
        ("DELETE", f"/api/kept/{'0' * 32}", 404, "nothing-kept"),
        ("POST", "/api/read?pictures=DOE", 422, "wrong-parameter"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_sentence(
    client: TestClient, method: str, address: str, status: int, kind: str
) -> None:
    told = client.request(method, address)
    assert (told.status_code, told.json()["error"]["kind"]) == (status, kind)
    assert "DOE" not in told.text
    assert "\n" not in told.json()["error"]["says"]


def test_nothing_is_loaded_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert DISCLAIMER in page.text
    links = re.findall(r'(?:src|href|action)="([^"]+)"', page.text)
    assert links
    assert all(link.startswith("/") and not link.startswith("//") for link in links)
    assert re.search(r'<form [^>]*action="/query" method="post" enctype="multipart/form-data">', page.text)
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page.text)


def test_assets_are_cached_under_the_digest_of_their_content(client: TestClient) -> None:
    page = client.get("/").text
    for address in re.findall(r'"(/static/[^"]+)"', page):
        asset = client.get(address)
        assert asset.status_code == 200
        assert "immutable" in asset.headers["cache-control"]
        assert asset.headers["x-content-type-options"] == "nosniff"
    plain = client.get("/static/page.css")
    assert plain.headers["cache-control"] == "no-cache"
    unchanged = client.get("/static/page.css", headers={"If-None-Match": plain.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert pages.integrity("page.css") in page


HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}


@pytest.mark.parametrize("address", ["/", "/api/bundles", "/healthz", "/metrics", "/nothing", "/api/openapi.json"])
def test_every_answer_has_the_safe_headers(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert set(headers["content-security-policy"].split("; ")) == POLICY
    assert "camera=()" in headers["permissions-policy"]
    assert re.fullmatch(r"[0-9a-f]{16}", headers["x-request-id"])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("valid.png", BRIGHT, ("positive", "red", "POSITIVE")),
        ("valid.jpg", DARK, ("negative", "yellow", "NEGATIVE")),
        ("valid.jpeg", GREY, ("inconclusive", "grey", "INCONCLUSIVE")),
        ("", b"", ("inconclusive", "grey", "INCONCLUSIVE")),
        ("film.exe", BRIGHT, ("positive", "red", "POSITIVE")),
        ("film.txt", b"hello", ("inconclusive", "grey", "INCONCLUSIVE")),
        ("film.pdf", b"%PDF-1.7\n", ("inconclusive", "grey", "INCONCLUSIVE")),
        ("corrupt.png", BRIGHT[:90], ("inconclusive", "grey", "INCONCLUSIVE")),
        ("../../../../tmp/hilum_traversal.png", BRIGHT, ("positive", "red", "POSITIVE")),
        ("'><script>alert(1)</script>.png", BRIGHT, ("positive", "red", "POSITIVE")),
    ],
    ids=["positive", "negative", "inconclusive", "none", "extension", "text", "pdf", "corrupt", "traversal", "script"],
)
def test_the_reference_systems_query(client: TestClient, name: str, content: bytes, said: tuple[str, str, str]) -> None:
    page = client.post("/query", content=form(("file", name, content)), headers=FORM)
    assert page.status_code == 200
    assert VERDICT.findall(page.text) == [said]
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert DISCLAIMER in page.text
    assert "traversal" not in page.text
    assert "alert" not in page.text
    assert not Path("/tmp/hilum_traversal.png").exists()


def test_a_query_that_is_no_form_is_answered_with_a_page(client: TestClient) -> None:
    page = client.post("/query", json={"file": "DOE"})
    assert page.status_code == 415
    assert VERDICT.findall(page.text) == [("inconclusive", "grey", "INCONCLUSIVE")]
    assert "DOE" not in page.text

"""The OpenAPI document: what is sent by its rules is answered by its rules."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hilum.serve.app import create_app
from hilum.serve.settings import Settings

from .serving import BUNDLE, BrightReader

schemathesis = pytest.importorskip("schemathesis", reason="needs the development dependencies")
OPERATIONS = {
    ("POST", "/api/read"),
    ("GET", "/api/bundles"),
    ("GET", "/api/card"),
    ("GET", "/api/kept"),
    ("GET", "/api/kept/{id}"),
    ("GET", "/api/kept/{id}/picture"),
    ("DELETE", "/api/kept/{id}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(per_minute=1_000_000, keep=tmp_path_factory.mktemp("kept"), most_films=4)
    with TestClient(create_app(BrightReader(), [BUNDLE], settings), base_url="http://127.0.0.1") as client:
        yield client


def test_every_operation_is_described(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == OPERATIONS
    body = document["paths"]["/api/read"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert body["properties"]["films"]["items"] == {"type": "string", "format": "binary"}
    assert "/tmp" not in str(document)
    assert str(Path.home()) not in str(document)


def rules_of_answers() -> list[Any]:
    from schemathesis.specs.openapi import checks

    conforms = ("status_code", "content_type", "response_schema")
    return [schemathesis.checks.not_a_server_error, *(getattr(checks, f"{name}_conformance") for name in conforms)]


def test_what_is_sent_by_the_document_is_answered_by_it(client: TestClient) -> None:
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", client.app, headers={"Host": "127.0.0.1"})
    asked = set()

    def check(case: Any) -> None:
        asked.add((case.method.upper(), case.path))
        response = case.call(session=client, base_url="http://127.0.0.1")
        case.validate_response(response, checks=rules_of_answers())

    from hypothesis import HealthCheck, Phase, given, settings

    rules = settings(
        max_examples=6,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    for operation in schema.get_all_operations():
        rules(given(case=operation.ok().as_strategy())(check))()
    assert asked == OPERATIONS

"""The server with the real reader: what REST answers is what the reader answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hilum.reader import Reader, as_json
from hilum.serve.reading import refused
from hilum.serve.running import application
from hilum.serve.schema import FilmAnswer
from hilum.serve.settings import Settings

from .pixels.conftest import DicomFiles
from .serving import films


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = application((), Settings(keep=tmp_path_factory.mktemp("kept"), per_minute=10_000))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("seconds", "kept")}


def test_a_real_film_is_answered_as_the_reader_answers(client: TestClient, data_pack: Path) -> None:
    path = next(path for path in sorted((data_pack / "sandrofab").rglob("*.jp*g")))
    data = path.read_bytes()
    answer = client.post("/api/read?pictures=true", files=films(data, name="DOE_JANE.jpg")).json()[0]
    FilmAnswer.model_validate(answer)
    expected = as_json(Reader().read(data, name="film-1"), pictures=True)
    assert without_times(answer) == without_times(expected)
    assert answer["outcome"] != "REFUSED"
    kept = client.get(f"/api/kept/{answer['kept']}/picture")
    assert kept.content.startswith(b"\x89PNG")
    page = client.post("/query", files=films(data, field="file", name="DOE_JANE.jpg"))
    assert page.status_code == 200
    assert "DOE_JANE" not in page.text + str(answer)


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"Modality": "CT"}, "not-a-chest-film"),
        ({"BodyPartExamined": "LEG"}, "not-a-chest-film"),
        ({"ViewPosition": "LL"}, "lateral"),
    ],
    ids=["CT", "leg", "lateral"],
)
def test_what_is_no_frontal_chest_film_by_its_header_is_refused(
    client: TestClient, attributes: dict[str, str], kind: str
) -> None:
    drawn = DicomFiles.drawn(height=300, width=300)
    answer = client.post("/api/read", files=films(DicomFiles()(drawn, **attributes))).json()[0]
    FilmAnswer.model_validate(answer)
    assert (answer["outcome"], answer["refusal"]["kind"]) == ("REFUSED", kind)


def test_a_refused_film_has_the_same_fields(client: TestClient) -> None:
    noise = np.random.default_rng(0).bytes(500)
    answer = client.post("/api/read", files=films(noise)).json()[0]
    expected = as_json(Reader().read(noise, name="film-1"))
    assert set(answer) - {"kept"} == set(expected) == set(refused("film-1", "", "", ""))
    assert answer["refusal"]["kind"] == expected["refusal"]["kind"]


def test_the_classifiers_are_listed(client: TestClient) -> None:
    (bundle,) = client.get("/api/bundles").json()
    assert bundle["name"] == "covid19-frontal"
    assert "covid19" in bundle["classes"]
    assert len(bundle["digest"]) >= 16

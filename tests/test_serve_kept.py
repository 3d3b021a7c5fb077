"""Results are kept only where the operator says so, under random names, and can be deleted."""

import json
import re
from pathlib import Path

import pytest

from hilum.serve.kept import Kept

from .serving import BRIGHT, DARK, films, serving


def test_nothing_is_kept_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with serving() as client:
        answer = client.post("/api/read", files=films(BRIGHT)).json()[0]
    assert "kept" not in answer
    assert list(tmp_path.rglob("*")) == []


def test_results_are_listed_shown_and_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with serving(keep=folder) as client:
        sent = client.post("/api/read", files=films(BRIGHT, b"no film", name="DOE.png")).json()
        first, refused = (one["kept"] for one in sent)
        second = client.post("/api/read?pictures=1", files=films(DARK)).json()[0]["kept"]
        history = client.get("/api/kept").json()
        assert [one["id"] for one in history] == [second, refused, first]
        assert {one["id"]: (one["outcome"], one["label"]) for one in history} == {
            first: ("POSITIVE", "bright"),
            refused: ("REFUSED", None),
            second: ("NEGATIVE", "dark"),
        }
        assert [one["id"] for one in client.get("/api/kept?most=1").json()] == [second]
        told = client.get(f"/api/kept/{first}").json()
        assert told["answers"][0]["findings"] == sent[0]["answers"][0]["findings"]
        picture = client.get(f"/api/kept/{first}/picture")
        assert (picture.headers["content-type"], picture.content[:4]) == ("image/png", b"\x89PNG")
        assert client.get(f"/api/kept/{refused}/picture").status_code == 404
        assert client.delete(f"/api/kept/{first}").status_code == 204
        assert client.delete(f"/api/kept/{first}").status_code == 404
        assert client.get(f"/api/kept/{first}").status_code == 404
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([f"{refused}.json", f"{second}.json", f"{second}_film-1__dark.png"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert "data:image" not in "".join(path.read_text() for path in folder.glob("*.json"))


def test_a_new_server_knows_what_was_kept_and_leaves_other_files_alone(tmp_path: Path) -> None:
    with serving(keep=tmp_path) as client:
        identifier = client.post("/api/read", files=films(BRIGHT)).json()[0]["kept"]
    (tmp_path / "notes.json").write_text('{"a": 1}')
    (tmp_path / f"{'0' * 32}.json").write_text("[1]")
    kept = Kept(tmp_path)
    assert [one["id"] for one in kept.history(10)] == [identifier]
    assert re.fullmatch(r"[0-9a-f]{32}", identifier)
    assert kept.picture(identifier) is not None
    assert kept.forget(identifier)
    assert not kept.forget("0" * 32)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{'0' * 32}.json", "notes.json"]


def test_a_film_is_answered_even_where_it_cannot_be_kept(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with serving(keep=folder) as client:
        folder.rmdir()
        folder.write_text("in the way")
        answer = client.post("/api/read", files=films(BRIGHT)).json()[0]
    assert (answer["outcome"], answer["kept"]) == ("POSITIVE", None)
    assert answer["notes"][-1] == "the result could not be kept: its folder cannot be written to"


@pytest.mark.parametrize("name", ["../../escape__x.png", "a/b.png", "x" * 300 + ".png"])
def test_names_of_pictures_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    kept = Kept(tmp_path / "kept")
    answer = {"film": {"name": "film-1", "sha256": "0"}, "outcome": "REFUSED", "refusal": None, "answers": []}
    identifier = kept.add(answer, (name, b"png"))
    assert kept.picture(identifier) == b"png"
    assert {path.parent for path in tmp_path.rglob("*.png")} == {tmp_path / "kept"}
    assert json.loads((tmp_path / "kept" / f"{identifier}.json").read_text())["outcome"] == "REFUSED"

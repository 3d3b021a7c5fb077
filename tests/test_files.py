"""Files appear whole or not at all; digests name content."""

import hashlib
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.files import cache_dir, canonical_json, digest_of, sha256_file, write_json, write_text, written_aside

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_text(file, "old")

    def fail() -> None:
        with written_aside(file) as aside:
            aside.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_file_is_not_there_until_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "new" / "deep" / "a.parquet"
    with written_aside(file) as aside:
        aside.write_text("half")
        assert not file.exists()
        assert aside.suffix == ".parquet"
        assert aside.parent == file.parent
    assert file.read_text() == "half"


def test_threads_do_not_write_into_each_others_files(tmp_path: Path) -> None:
    file, failed = tmp_path / "a.txt", []

    def write(letter: str) -> None:
        try:
            for _ in range(50):
                write_text(file, letter * 1000)
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(set(file.read_text())) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_json_keeps_the_order_and_refuses_what_is_no_number(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "ü"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "ü"\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


@given(JSON)
def test_equal_values_have_equal_digests_after_a_round_trip(value: object) -> None:
    assert digest_of(json.loads(canonical_json(value))) == digest_of(value)


def test_digests_tell_values_and_types_apart() -> None:
    told = [digest_of(value) for value in (1, "1", [1], {"a": 1}, {"a": 2}, None, True)]
    assert len(set(told)) == len(told)


def test_the_hash_of_a_file_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


@pytest.mark.parametrize(
    ("hilum", "xdg", "place"),
    [("/c", "/x", "/c"), (None, "/x", "/x/hilum"), ("", "/x", "/x/hilum"), (None, "", "/home/me/.cache/hilum")],
)
def test_where_the_cache_is(hilum: str | None, xdg: str | None, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    for name, value in (("HILUM_CACHE", hilum), ("XDG_CACHE_HOME", xdg)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert cache_dir() == Path(place)

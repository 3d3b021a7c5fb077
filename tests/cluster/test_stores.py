"""Stores hold films by the rules of folders, and files whole."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum.cluster import stores
from hilum.errors import DataError, UsageError
from hilum.files import is_url
from hilum.sources.tables import films_under


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server of the S3 protocol on this machine."""
    pytest.importorskip("moto.server", reason="needs moto[server]")
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            break
        except OSError:
            time.sleep(0.2)
    yield address
    process.terminate()
    process.wait()


@pytest.fixture(params=["file", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder that a URL names."""
    if request.param == "file":
        return f"file://{tmp_path}/store"
    if request.param == "memory":
        pytest.importorskip("fsspec")
        return f"memory://bucket/{tmp_path.name}"
    address = request.getfixturevalue("server")
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    urllib.request.urlopen(urllib.request.Request(f"{address}/films", method="PUT"), timeout=5).close()
    return f"s3://films/{tmp_path.name}"


def test_films_of_a_store_are_those_of_a_folder(store: str, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    contents = {
        "b.png": b"1",
        "a b.JPG": b"22",
        "deep/er/c.dcm": b"333",
        "IM0001": bytes(128) + b"DICM",
        "notes": b"text",
        "table.csv": b"x",
        "lung masks/m.png": b"x",
        ".hidden.png": b"x",
        "100%25#.png": b"4444",
    }
    for name, content in contents.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        stores.put(file, f"{store}/{name}")
    found = list(stores.stored_films(store))
    assert [one.url.removeprefix(f"{store}/") for one in found] == [
        path.relative_to(folder).as_posix() for path in films_under(folder)
    ]
    for one in found:
        name = one.url.removeprefix(f"{store}/")
        stores.fetch(one.url, tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == contents[name]
        assert one.bytes == len(contents[name]) == stores.size_of(one.url)
    assert [one.url for one in stores.stored_films(f"{store}/b.png")] == [f"{store}/b.png"]


def test_what_is_not_there(store: str, tmp_path: Path) -> None:
    assert stores.file_names(f"{store}/nothing") == []
    assert stores.size_of(f"{store}/nothing") is None
    stores.remove(f"{store}/nothing")
    with pytest.raises(FileNotFoundError):
        stores.fetch(f"{store}/nothing", tmp_path / "fetched")
    with pytest.raises(DataError, match="does not exist, or holds no film"):
        list(stores.stored_films(f"{store}/nothing"))


def test_a_file_is_put_over_another_and_leaves_no_other(store: str, tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / "file").write_text(text)
        stores.put(tmp_path / "file", f"{store}/file.txt")
    assert stores.file_names(store) == ["file.txt"]
    stores.fetch(f"{store}/file.txt", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_text() == "second"
    stores.remove(f"{store}/file.txt")
    assert stores.file_names(store) == []


@pytest.mark.parametrize(
    ("place", "url"), [("s3://a/b", True), ("abfs://c@a/b", True), ("/a/b", False), ("a://", True)]
)
def test_urls_are_told_from_paths(place: str, *, url: bool) -> None:
    assert is_url(place) == url


def test_a_scheme_that_nothing_opens_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nosuch://a/ cannot be opened"):
        stores.file_names("nosuch://a/b")

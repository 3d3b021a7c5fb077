"""Bad films on the command line, good ones between them: one row and one sentence each, and nobody named anywhere."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from hilum.cli.options import REFUSED
from hilum.errors import UnreadableFilm
from hilum.index import build_index
from hilum.pixels import read_film
from hilum.records import DISCLAIMER, Radiograph

from .bad_films import BAD_FILMS, SECRETS
from .pixels.conftest import DicomFiles

pytest.importorskip("onnxruntime", reason="needs an engine for the released bundles: the extra hilum[serve]")

HILUM = "import logging; logging.basicConfig(level=logging.DEBUG); from hilum.cli import main; main()"
"""The command, with every record of every logger on its standard error."""
GOOD_EVERY = 12
LONGEST = 200


@dataclass(frozen=True)
class Told:
    """What a call of the command left behind."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Films:
    """A folder of films, sorted, and what must come of each: a refusal's kind, "any", "good", or None for decoded."""

    folder: Path
    expected: dict[str, str | None]

    @property
    def names(self) -> list[str]:
        return list(self.expected)

    @property
    def good(self) -> list[str]:
        return [name for name, kind in self.expected.items() if kind == "good"]


Call = Callable[..., Told]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Calls the command in a process of its own; there is no traceback, nobody is named, no file is left behind."""
    cache, temporary = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("tmp")
    # Where these are set, ONNX Runtime is silent by itself.
    environment = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("ORT_")}
    environment |= {"HILUM_CACHE": str(cache), "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}

    def called(*words: object) -> Told:
        done = subprocess.run(
            [sys.executable, "-c", HILUM, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
        )
        assert "Traceback" not in done.stderr
        assert heard_of(done.stdout + done.stderr) == []
        assert [path.name for path in temporary.iterdir()] == []
        return Told(done.returncode, done.stdout, done.stderr)

    return called


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    """The bad films, a simulated film before every dozen of them and one behind the last."""
    folder = tmp_path_factory.mktemp("films")
    good = simulated()
    expected: dict[str, str | None] = {}
    for number, bad in enumerate(BAD_FILMS):
        if number % GOOD_EVERY == 0:
            expected[_written(folder, f"{number:03d}-good.png", good[number // GOOD_EVERY % len(good)])] = "good"
        name = f"{number:03d}-{bad.name.replace(' ', '-').replace(',', '')}.dcm"
        expected[_written(folder, name, bad.make(DicomFiles()))] = bad.refused
    expected[_written(folder, "999-good.png", good[-1])] = "good"
    return Films(folder, dict(sorted(expected.items())))


def simulated() -> list[bytes]:
    """The simulated frontal films that come with the page."""
    static = resources.files("hilum") / "serve" / "page" / "static"
    return [(static / f"simulated-{number}.png").read_bytes() for number in (1, 2)]


def _written(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return name


def heard_of(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


@dataclass(frozen=True)
class Read:
    """One call of `hilum read`: what it printed and wrote."""

    told: Told
    table: Path
    drawn: Path

    @property
    def answers(self) -> list[dict[str, Any]]:
        return list(json.loads(self.told.out))

    @property
    def rows(self) -> list[dict[str, str]]:
        with self.table.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def read(call: Call, films: Films, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """All films read at once, with every output there is."""
    out = tmp_path_factory.mktemp("read")
    table, drawn = out / "read.csv", out / "drawn"
    told = call("read", films.folder, "--json", "--csv", table, "--annotate", drawn, "--processes", 2)
    return Read(told, table, drawn)


def test_every_film_is_read_or_refused_for_what_it_is(read: Read, films: Films) -> None:
    assert read.told.status == REFUSED
    assert [one["film"]["name"] for one in read.answers] == films.names
    for one, kind in zip(read.answers, films.expected.values(), strict=True):
        if kind == "good":
            assert one["refusal"] is None
            assert one["answers"][0]["findings"]
        elif kind not in ("any", None):
            assert one["refusal"]["kind"] == kind
        else:
            # What is decoded is a drawing: whether the view filter knows it from a chest is another test's matter.
            assert kind == "any" or one["film"]["format"]


def test_every_refusal_is_one_sentence_that_names_the_film(read: Read, films: Films) -> None:
    refused = [one for one in read.answers if one["refusal"]]
    assert len(refused) >= len(BAD_FILMS) // 2
    for one in refused:
        says = one["refusal"]["says"]
        assert one["film"]["name"] in says
        assert "\n" not in says
        assert len(says) < LONGEST
        assert one["refusal"]["kind"] == one["refusal"]["kind"].strip().replace(" ", "-")


def test_the_table_says_what_the_json_says(read: Read, films: Films) -> None:
    assert heard_of(read.table.read_text(encoding="utf-8")) == []
    assert [Path(row["film"]).name for row in read.rows] == films.names
    for row, one in zip(read.rows, read.answers, strict=True):
        assert row["film"] == one["path"]
        assert row["outcome"] == one["outcome"]
        assert row["sha256"] == (one["film"]["sha256"] or "")
        assert row["notes"] == "; ".join(one["notes"])
        assert (row["refused_kind"], row["refused"]) == (tuple(one["refusal"].values()) if one["refusal"] else ("", ""))
        if one["answers"]:
            answer, held = one["answers"][0], one["answers"][0]["findings"][0]
            assert (row["label"], row["decided"]) == (held["label"], answer["label"])
            for name in ("probability", "low", "high", "threshold"):
                assert float(row[name]) == pytest.approx(held[name], abs=6e-5)
            assert float(row["brixia"]) == pytest.approx(one["severity"]["brixia"]["value"], abs=6e-3)


def test_a_picture_is_drawn_of_every_film_that_was_decoded(read: Read) -> None:
    decoded = [one for one in read.answers if one["film"]["format"]]
    pictures = sorted(read.drawn.iterdir())
    assert sorted(path.name for path in pictures) == sorted(_picture_of(one) for one in decoded)
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.info == {}
            assert picture.format == "PNG"


def _picture_of(one: dict[str, Any]) -> str:
    stem = one["film"]["name"].rpartition(".")[0]
    if one["refusal"]:
        return f"{stem}__refused.png"
    answer = one["answers"][0]
    held = next(held for held in answer["findings"] if held["label"] == answer["label"])
    return f"{stem}__{answer['label']}_{held['probability']:.2f}.png"


def test_nothing_else_is_left_behind(read: Read, films: Films) -> None:
    assert sorted(path.name for path in films.folder.iterdir()) == films.names
    assert {path.name for path in read.table.parent.iterdir()} == {"read.csv", "drawn"}


def test_predict_refuses_the_same_films_in_the_same_words(call: Call, read: Read, films: Films, tmp_path: Path) -> None:
    table, drawn = tmp_path / "told.csv", tmp_path / "drawn"
    words = ("predict", "covid19-frontal", films.folder, "--json", "--out", table, "--annotate", drawn)
    told = call(*words, "--processes", 2)
    assert told.status == REFUSED
    predictions = json.loads(told.out)
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert heard_of(table.read_text(encoding="utf-8")) == []
    assert [Path(one["film"]).name for one in predictions] == films.names
    for one, row, told_by_read in zip(predictions, rows, read.answers, strict=True):
        assert (row["film"], row["refused"]) == (one["film"], one.get("refused", ""))
        if "refused" in one:
            assert told_by_read["refusal"]["says"] in one["refused"]
        elif told_by_read["answers"]:
            findings = told_by_read["answers"][0]["findings"]
            by_read = {held["label"]: held["probability"] for held in findings}
            assert one["probabilities"] == pytest.approx(by_read, abs=1e-5)
            assert row["decided"] == one["decided"] == told_by_read["answers"][0]["label"]
        else:
            # Lungs are looked for by `hilum read` alone.
            assert told_by_read["refusal"]["kind"] == "no-lungs"
    assert len(list(drawn.iterdir())) == sum("refused" not in one for one in predictions)


@pytest.mark.slow
def test_in_plain_words_a_refusal_takes_two_lines_and_the_view_filter_may_be_left_out(call: Call, films: Films) -> None:
    told = call("read", films.folder, "--no-gate", "--processes", 2)
    assert told.status == REFUSED
    lines = told.out.splitlines()
    firsts = [place for place, line in enumerate(lines) if line.partition(": ")[0] in films.expected]
    assert [lines[place].partition(": ")[0] for place in firsts] == films.names
    for place in firsts:
        if ": REFUSED (" in lines[place]:
            assert lines[place].partition(": ")[0] in lines[place + 1]
            assert place + 2 in firsts or lines[place + 2].startswith(f"{len(films.names)} films: ")
    assert all(": REFUSED (" not in lines[place] for place in firsts if "good" in lines[place])
    assert lines[-1] == DISCLAIMER


def test_an_index_leaves_out_what_cannot_be_decoded_and_says_the_same(films: Films) -> None:
    records = [Radiograph(image_id=f"a/{name}", source="a", path=films.folder / name) for name in films.names]
    left_out = build_index(records, films.folder, processes=1).table["left_out"]
    for name, reason in zip(films.names, left_out, strict=True):
        refused = _refused(films.folder / name)
        assert refused == (None if pd.isna(reason) else reason)
        assert films.expected[name] == "any" or (refused is None) == (films.expected[name] in ("good", None))


def _refused(film: Path) -> str | None:
    try:
        read_film(film)
    except UnreadableFilm as error:
        return str(error)
    return None

"""Predictions, lungs and lesions made in parts give the tables, pictures and JSON that they give in one go."""

import csv
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum import parts
from hilum.bundle import load_bundle, load_segmenter
from hilum.lesions import LESIONS, as_json, segment_lesions
from hilum.lesions.job import LesionsJob
from hilum.lesions.writing import FIRST, LAST
from hilum.lesions.zones import SHARES
from hilum.lungs import Lungs, segment_lungs
from hilum.lungs import as_json as lungs_json
from hilum.lungs.job import LungsJob
from hilum.lungs.rows import MEASURES
from hilum.lungs.writing import COLUMNS
from hilum.parts import listed, part_rows, plan_parts, run_parts
from hilum.predict import as_json as prediction_json
from hilum.predict import predict_films
from hilum.predict_job import PredictJob, prediction_of

from . import drawers
from .calling import Call
from .killing import contents

FILMS = 10


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.cli.films.FILMS_A_PART", 4)


@pytest.fixture
def hilum(hilum: Call) -> Call:
    """Calls the command in this process, one process and no view filter."""
    return lambda *words: hilum(*words, "--no-gate", "--processes", 1)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Drawn films in two folders, some of one name; the fourth is cut short."""
    root, made = tmp_path_factory.mktemp("films"), []
    for number in range(FILMS):
        path = root / f"{number // 5}" / f"film-{number % 5}, a.png"
        path.parent.mkdir(exist_ok=True)
        film = cv2.resize(np.random.default_rng(number).random((9, 9)), (90, 80), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path), np.clip(film * 200, 0, 255).astype(np.uint8))
        made.append(path)
    made[3].write_bytes(made[3].read_bytes()[:500])
    return made


@pytest.fixture(scope="module")
def drawer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A bundle that draws anything under any labels."""
    return lambda *labels: drawers.drawer(tmp_path_factory.mktemp("drawer"), *labels)


def test_a_table_of_predictions_is_the_same(finished: Path, films: list[Path], tmp_path: Path, hilum: Call) -> None:
    bundle, out = load_bundle(finished), tmp_path / "p.csv"
    status, told, _ = hilum("predict", finished, *films, "--out", out, "--json")
    made = list(predict_films(bundle, films, processes=1))
    rows = [
        {"film": one.film, "decided": one.decided, "refused": one.refusal, "bundle": one.bundle_digest}
        | {f"p.{finding.label}": finding.probability for finding in one.findings}
        | {f"threshold.{finding.label}": finding.threshold for finding in one.findings}
        for one in made
    ]
    numbers = [f"{kind}.{name}" for kind in ("p", "threshold") for name in bundle.classes]
    stream = io.StringIO()
    pd.DataFrame(rows, columns=["film", "decided", *numbers, "refused", "bundle"]).to_csv(stream, index=False)
    assert out.read_bytes() == stream.getvalue().encode()
    assert status == 3
    assert json.loads(told) == [prediction_json(one) for one in made]
    assert [file.name for file in tmp_path.iterdir()] == ["p.csv"], "no part stays"
    status, told, _ = hilum("predict", finished, *films, "--json")
    assert (status, json.loads(told)) == (3, [prediction_json(one) for one in made]), "the same without a table"


def test_a_compressed_table_of_predictions_is_compressed(
    finished: Path, films: list[Path], tmp_path: Path, hilum: Call
) -> None:
    for name in ("p.csv", "p.csv.gz"):
        hilum("predict", finished, *films, "--out", tmp_path / name)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "p.csv.gz"), pd.read_csv(tmp_path / "p.csv"))
    assert (tmp_path / "p.csv.gz").read_bytes()[:2] == b"\x1f\x8b"


def lungs_table(found: list[Lungs], masks: list[str]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for one, mask in zip(found, masks, strict=True):
        shares = [f"{one.measures[name]:.4f}" if name in one.measures else "" for name in MEASURES]
        no_ratio = one.heart_size if isinstance(one.heart_size, str) else ""
        last = ["; ".join(one.flags), one.refusal or "", one.bundle_digest, one.heart_digest or ""]
        writer.writerow([str(one.film), "" if one.refusal else mask, *shares, no_ratio, *last])
    return stream.getvalue().encode()


def test_a_table_of_lungs_is_the_same(
    drawer: Callable[..., Path], films: list[Path], tmp_path: Path, hilum: Call
) -> None:
    folder = drawer("lungs")
    status, told, _ = hilum("lungs", *films, "--out", tmp_path, "--bundle", folder, "--json")
    found = list(segment_lungs(films, bundle=load_segmenter(folder), processes=1))
    names = [f"film-{number % 5}, a{'-2' if number > 4 else ''}.png" for number in range(FILMS)]
    assert (tmp_path / "lungs.csv").read_bytes() == lungs_table(found, [f"masks/{name}" for name in names])
    assert (status, json.loads(told)) == (3, [lungs_json(one) for one in found])
    assert {file.name for file in (tmp_path / "masks").iterdir()} == {*names} - {names[3]}
    assert {file.name for file in tmp_path.iterdir()} == {"masks", "lungs.csv"}


def test_a_table_of_lesions_is_the_same(
    drawer: Callable[..., Path],
    films: list[Path],
    tmp_path: Path,
    hilum: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    around, folder = drawer("lungs"), drawer(*LESIONS)
    monkeypatch.setattr("hilum.lesions.job.lungs_bundle", lambda **_: load_segmenter(around))
    status, told, _ = hilum("lesions", *films, "--out", tmp_path, "--bundle", folder, "--boxes", "--json")
    bundles = {"bundle": load_segmenter(folder), "lungs": load_segmenter(around)}
    found = list(segment_lesions(films, processes=1, **bundles))
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow([*FIRST, *LAST])

    def number(value: float | None) -> str:
        return "" if value is None or np.isnan(value) else f"{value:.4f}"

    for place, one in enumerate(found):
        name = f"film-{place % 5}, a{'-2' if place > 4 else ''}"
        shares = [number(one.shares.get(share)) for share in SHARES]
        highest = [number(one.highest.get(label)) for label in LESIONS]
        last = ["; ".join(one.flags), one.refusal or "", one.bundle_digest, one.lungs.bundle_digest]
        writer.writerow([one.film, name, *shares, *highest, "" if one.refusal else len(one.boxes), *last])
    assert (tmp_path / "lesions.csv").read_bytes() == stream.getvalue().encode()
    assert json.loads(told) == [as_json(one) for one in found]
    assert status == 3
    boxes = pd.read_csv(tmp_path / "boxes" / "boxes.csv")
    assert len(boxes) == sum(len(one.boxes) for one in found)
    assert {file.name for file in tmp_path.iterdir()} == {"masks", "boxes", "lesions.csv"}


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A part that is never written."""
    real = parts.write_part

    def written(job: Any, plan: parts.Plan, at: int, rows: Any) -> None:
        rows = list(rows)
        if at == number:
            raise KeyboardInterrupt
        real(job, plan, at, rows)

    monkeypatch.setattr(parts, "write_part", written)


def test_interrupted_it_goes_on_and_another_command_does_not(
    finished: Path, films: list[Path], tmp_path: Path, hilum: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, drawn = tmp_path / "killed" / "p.csv", tmp_path / "killed" / "drawn"
    words = ("predict", finished, *films, "--annotate", drawn, "--out", out)
    with monkeypatch.context() as patched:
        interrupt_at(patched, 2)
        assert hilum(*words)[0] == 130
    assert not out.exists()
    status, _, said = hilum("predict", finished, *films, "--out", out)
    assert status == 2
    assert "was begun with another folder of pictures; repeat that command" in " ".join(said.split())
    status, _, said = hilum(*words[:-3], drawn, "--out", out, films[0])
    assert (status, "with other films" in " ".join(said.split())) == (2, True)
    status, told, said = hilum(*words)
    assert status == 3
    assert "8 of 10 films were done before" in said
    assert "10 films" in told
    whole = tmp_path / "whole"
    hilum("predict", finished, *films, "--annotate", whole / "drawn", "--out", whole / "p.csv")
    assert contents(tmp_path / "killed") == contents(whole)
    assert len(list(drawn.iterdir())) == FILMS - 1


def test_a_bundle_that_is_none_leaves_nothing_behind(films: list[Path], tmp_path: Path, hilum: Call) -> None:
    status, _, said = hilum("lungs", *films, "--out", tmp_path / "out", "--bundle", films[0].parent)
    assert (status, "bundle" in said) == (1, True)
    assert not (tmp_path / "out").exists()


def test_jobs_travel_with_options_and_without_bundles(
    finished: Path, drawer: Callable[..., Path], films: list[Path], tmp_path: Path
) -> None:
    jobs: list[parts.Job] = [
        PredictJob(bundle=finished, gate=False),
        LungsJob(bundle=drawer("lungs"), gate=False),
        LesionsJob(bundle=drawer(*LESIONS), gate=False),
    ]
    for number, job in enumerate(jobs):
        identity = dict(job.identity)
        sent = pickle.loads(pickle.dumps(job))
        assert sent == job
        assert len(pickle.dumps(job)) < 1000, "no bundle goes along"
        assert sent.identity == identity
        plan = plan_parts(sent, listed(films[:4]), tmp_path / str(number), films_a_part=2)
        assert run_parts(sent, plan, processes=1).refused >= 1
        assert [row["film"] for row in part_rows(tmp_path / str(number))] == [str(film) for film in films[:4]]


def test_other_options_are_another_job(drawer: Callable[..., Path]) -> None:
    job = LungsJob(bundle=drawer("lungs"), gate=False)
    others = [replace(job, **{name: True}) for name in ("sides", "overlay")] + [replace(job, bundle=drawer("lungs"))]
    assert [dict(other.identity) == dict(job.identity) for other in others] == [False, False, True]


def test_a_prediction_comes_back_from_its_row(finished: Path, films: list[Path], tmp_path: Path) -> None:
    job = PredictJob(bundle=finished, gate=False)
    run_parts(job, plan_parts(job, listed(films), tmp_path), processes=1)
    back = [prediction_of(row, job.loaded.classes) for row in part_rows(tmp_path)]
    assert back == list(predict_films(job.loaded, films, processes=1))

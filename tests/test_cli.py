"""The command as a user meets it: every verb on films drawn here, its status, its words, and what it never says."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from safetensors import safe_open

from hilum.index import Index
from hilum.records import DISCLAIMER

from .calling import Call, Told

CANARY = "QZXCANARY"
"""Stands for a person's name; it may be in a film's header and nowhere else."""

RECIPE = """\
# Bright patch against none, on drawn films.
title = "Drawn films"

[classes]
patch = ["patch"]
clear = ["clear"]

[split]
method = "kfold"
folds = 2
tune = 0.25

[preprocess]
size_px = 64

[network]
level = -2

[schedule]
optimiser = "lbfgs"
weight_decay = 1.0
epochs = 8

[judgement]
resamples = 100
"""
EPOCHS = 20
INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from hilum.cli import main; main()"
)
"""A shell that runs the tests in its background has them, and all they start, ignore interrupts."""

SLOW_RECIPE = RECIPE.replace(
    'method = "kfold"\nfolds = 2\ntune = 0.25', 'method = "fractions"\ntune = 0.25\ntest = 0.25'
).replace(
    'optimiser = "lbfgs"\nweight_decay = 1.0\nepochs = 8',
    f'optimiser = "adam"\nlearning_rate = 1e-4\nepochs = {EPOCHS}\npatience = {EPOCHS}\nprecision = "float32"',
)
SLOW_RECIPE = SLOW_RECIPE.replace("[network]\n", '[network]\ntrain_from = "blocks.4"\n')


@pytest.fixture
def hilum(hilum: Call) -> Call:
    """Calls the command in this process; whatever the call, there is no name of a patient."""

    def call(*words: object) -> Told:
        told = hilum(*words)
        assert CANARY not in told.out + told.err
        return told

    return call


def draw(rng: np.random.Generator, *, patch: bool) -> NDArray[np.uint8]:
    """A film of soft shapes, no two alike, with or without a bright patch."""
    height, width = rng.integers(64, 97, 2)
    coarse = rng.random((7, 7)).astype(np.float32)
    film = 40 + 90 * cv2.resize(coarse, (int(width), int(height)), interpolation=cv2.INTER_CUBIC)
    if patch:
        top, left = rng.integers(8, 24, 2)
        film[top : top + 28, left : left + 28] += 90
    drawn: NDArray[np.uint8] = np.clip(film + rng.normal(0, 3, film.shape), 0, 255).astype(np.uint8)
    return drawn


def draw_cohort(folder: Path, films: int, seed: int) -> Path:
    """`folder`/patch and `folder`/clear with as many films each; the first of `patch` is a DICOM with a canary."""
    rng = np.random.default_rng(seed)
    for name in ("patch", "clear"):
        (folder / name).mkdir(parents=True)
        for number in range(films):
            film = draw(rng, patch=name == "patch")
            if (name, number) == ("patch", 0):
                write_dicom(folder / name / "film-00.dcm", film)
            else:
                Image.fromarray(film).save(folder / name / f"film-{number:02d}.png")
    return folder


def write_dicom(path: Path, film: NDArray[np.uint8]) -> None:
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID, data.AccessionNumber = f"{CANARY}^ANNA", f"{CANARY}-17", f"{CANARY}9"
    data.InstitutionName = data.ReferringPhysicianName = CANARY
    data.Modality, data.ViewPosition, data.BodyPartExamined, data.PatientSex = "DX", "PA", "CHEST", "F"
    data.Rows, data.Columns = film.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.PixelData = film.tobytes() + b"\0" * (film.size % 2)
    data.save_as(path, enforce_file_format=True)


@dataclass(frozen=True)
class Place:
    """Films, an index of them, a recipe and a finished run."""

    folder: Path
    trained: Told

    @property
    def films(self) -> Path:
        return self.folder / "films"

    @property
    def index(self) -> Path:
        return self.folder / "index.parquet"

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.toml"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def film(self) -> Path:
        return self.films / "patch" / "film-03.png"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One trained run for the whole module."""
    folder = tmp_path_factory.mktemp("cli")
    films = draw_cohort(folder / "films", 20, seed=1)
    (films / "clear" / "broken.png").write_bytes((films / "clear" / "film-01.png").read_bytes()[:300])
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    index, run = folder / "index.parquet", folder / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HILUM_CACHE", str(folder / "cache"))
        told = [
            command(patch, "index", "folder", "--root", films, "--out", index, "--processes", 1),
            command(patch, "train", folder / "recipe.toml", "--index", index, "--out", run, "--processes", 1),
        ]
        assert [one.status for one in told] == [0, 0], told
        yield Place(folder, told[1])


def command(patch: pytest.MonkeyPatch, *words: object) -> Told:
    """Like the fixture `hilum`, for fixtures of a module."""
    done = subprocess.run(  # the command as installed, once: arguments, output and status of a real process
        [sys.executable, "-c", "from hilum.cli import main; main()", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return Told(done.returncode, done.stdout, done.stderr)


def test_every_verb_explains_itself_with_an_example_that_is_a_command(hilum: Call) -> None:
    verbs = ["index", "describe", "preprocess", "export", "train", "compare", "reproduce", "evaluate", "predict"]
    verbs += ["view", "report", "simulate", "sources show", "recipes show"]
    for verb in verbs:
        told = hilum(*verb.split(), "--help")
        assert told.status == 0
        assert f"Example: hilum {verb}" in told.words


def test_the_disclaimer_and_the_version_are_on_the_front(hilum: Call) -> None:
    assert DISCLAIMER in hilum("--help").words
    assert hilum("--version").out.startswith("hilum ")


def test_sources_are_listed_shown_and_given_to_machines(hilum: Call) -> None:
    assert "kermany" in hilum("sources").out
    shown = hilum("sources", "show", "kermany").out
    assert "How to get it:" in shown
    assert "Beware:" in shown
    listed = json.loads(hilum("sources", "--json").out)
    assert {"name", "what", "licence"} == set(listed[0])


def test_recipes_are_listed_and_shown_as_toml_that_trains(hilum: Call, tmp_path: Path) -> None:
    from hilum.recipe import parse_recipe, shipped

    listed = hilum("recipes").out
    for name in shipped():
        assert name in listed
        assert parse_recipe(hilum("recipes", "show", name).out).class_names


def test_index_counts_films_and_names_why_one_was_left_out(hilum: Call, place: Place, tmp_path: Path) -> None:
    told = hilum("index", "folder", "--root", place.films, "--out", tmp_path / "index.parquet", "--processes", 1)
    assert told.status == 0
    assert "40 films in 40 groups, 0 exact and 0 near-duplicates, 1 left out" in told.words
    assert "left out: 1 films" in told.err
    assert "1 truncated" in " ".join(told.err.split())
    reason = Index.load(tmp_path / "index.parquet").left_out["left_out"].item()
    assert reason == "truncated: broken.png is a PNG that ends before its picture does"


def test_index_maps_columns_and_keeps_not_assessed_apart_from_false(hilum: Call, place: Place, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    rows = [("File", "Pt", "Opacity", "Edema", "Proj", "Ward")]
    rows += [(f"patch/film-{n:02d}.png", f"p{n // 2}", "1", "" if n == 1 else "0", "PA", "B") for n in range(1, 4)]
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    columns = ("path=File", "patient_id=Pt", "label.lung_opacity=Opacity", "label.edema=Edema", "view=Proj")
    options = [word for column in columns for word in ("--column", column)]
    out = tmp_path / "index.parquet"
    told = hilum("index", "folder", "--root", place.films, "--labels", table, *options, "--out", out, "--processes", 1)
    assert told.status == 0, told.err
    made = Index.load(out)
    assert made.labels == ["edema", "lung_opacity"]
    assert made.films["label.edema"].isna().tolist() == [True, False, False]
    assert made.films["label.lung_opacity"].all()
    assert set(made.films["view"]) == {"PA"}
    assert made.films["group_id"].nunique() == 2  # p0: one film, p1: two
    assert set(made.films["attr.Ward"]) == {"B"}


def test_index_refuses_options_that_do_not_go_together(hilum: Call, place: Place, tmp_path: Path) -> None:
    for words in (("kermany", "--column", "path=File"), ("folder", "kermany"), ("folder", "--column", "path")):
        told = hilum("index", *words, "--root", place.films, "--out", tmp_path / "index.parquet")
        assert told.status == 2
        assert told.err.count("\n") == 1
        assert told.err.startswith("hilum: ")


def test_describe_in_words_as_json_and_as_a_page(hilum: Call, place: Place, tmp_path: Path) -> None:
    page = tmp_path / "cohort.html"
    told = hilum("describe", place.index, "--html", page)
    assert told.status == 0
    assert "40 films" in told.words
    assert "broken" in told.words
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert CANARY not in page.read_text(encoding="utf-8")
    described = json.loads(hilum("describe", place.index, "--json").out)
    assert described["n_films"] == 40
    assert described["left_out"][0]["n"] == 1


def test_train_ends_with_score_interval_floor_and_disclaimer(place: Place) -> None:
    out = " ".join(place.trained.out.split())
    assert "AUROC" in out
    assert "shortcut floor" in out
    assert "above the floor" in out
    assert DISCLAIMER in out
    assert "Traceback" not in place.trained.err
    assert (place.run / "report.html").is_file()
    headline = json.loads((place.run / "bundle" / "bundle.json").read_text(encoding="utf-8"))["evaluation"]["headline"]
    assert float(headline.split()[1]) > 0.8  # the patch can be seen


def test_what_the_command_line_changes_is_recorded(hilum: Call, place: Place, tmp_path: Path) -> None:
    words = ("--set", "schedule.epochs=3", "--weights", "random")
    told = hilum("train", place.recipe, "--index", place.index, "--out", tmp_path / "run", *words)
    assert told.status == 0
    assert "# changed: schedule.epochs = 3" in (tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["changed"] == [
        "network.weights = random",
        "schedule.epochs = 3",
    ]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Changed in the recipe: <code>network.weights = random</code>" in page


def test_a_film_is_drawn_before_and_after(hilum: Call, place: Place, tmp_path: Path) -> None:
    film = next(place.films.rglob("*.png"))
    told = hilum("preprocess", film, "--steps", "crop-black, clahe:clip=3", "--out", tmp_path / "sheet.png")
    assert told.status == 0
    assert (tmp_path / "sheet.png").stat().st_size > 10_000
    listed = hilum("preprocess", "--list")
    assert "local-phase" in listed.out


def test_films_are_exported_with_the_classes_of_a_recipe(hilum: Call, place: Place, tmp_path: Path) -> None:
    words = ("--size", 32, "--size", 48, "--depth", "16", "--steps", "crop-black, clahe", "--processes", 1)
    told = hilum("export", place.index, "--recipe", place.recipe, *words, "--out", tmp_path)
    assert told.status == 0, told.err
    assert "40 films: films-32.npy, films-48.npy and films.csv" in told.words
    assert "1 truncated" in " ".join(told.err.split())
    small, large = (np.load(tmp_path / f"films-{size}.npy") for size in (32, 48))
    assert (small.shape, large.shape, small.dtype) == ((40, 32, 32), (40, 48, 48), np.uint16)
    table = pd.read_csv(tmp_path / "films.csv")
    assert table.columns.tolist() == ["image_id", "class", "class.patch", "class.clear", "source", "group", "sha256"]
    assert table["class"].value_counts().to_dict() == {"patch": 20, "clear": 20}
    assert CANARY not in (tmp_path / "films.csv").read_text(encoding="utf-8")


def test_an_export_without_a_film_that_went_says_so_by_its_status(hilum: Call, place: Place, tmp_path: Path) -> None:
    films = shutil.copytree(place.films, tmp_path / "films")
    index = tmp_path / "index.parquet"
    assert hilum("index", "folder", "--root", films, "--out", index, "--processes", 1).status == 0
    (films / "clear" / "film-07.png").unlink()
    told = hilum("export", index, "--size", 32, "--out", tmp_path / "out", "--processes", 1)
    assert told.status == 3
    assert "1 not found" in " ".join(told.err.split())
    assert len(np.load(tmp_path / "out" / "films-32.npy")) == 39
    for words in (("--size", 32, "--size", 32), ("--steps", "sharpen"), ("--recipe", "no-such")):
        assert hilum("export", index, *words, "--out", tmp_path / "wrong").status == 2


def test_nothing_a_run_leaves_behind_names_the_patient(place: Place) -> None:
    written = [file for file in place.folder.rglob("*") if file.is_file() and place.films not in file.parents]
    assert len(written) > 10
    assert [file.name for file in written if CANARY.encode() in file.read_bytes()] == []
    assert CANARY not in place.trained.out + place.trained.err
    # Parquet is compressed: its cells have to be read.
    tables = [pd.read_parquet(file) for file in written if file.suffix == ".parquet"]
    assert len(tables) >= 3
    assert not any(CANARY in table.to_csv() for table in tables)


def test_training_again_continues_what_is_there(hilum: Call, place: Place) -> None:
    before = (place.run / "run.json").read_bytes()
    told = hilum("train", place.recipe, "--index", place.index, "--out", place.run)
    assert told.status == 0
    assert (place.run / "run.json").read_bytes() == before
    assert DISCLAIMER in told.words


def test_a_run_of_another_recipe_is_not_overwritten(hilum: Call, place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace("folds = 2", "folds = 3"), encoding="utf-8")
    told = hilum("train", other, "--index", place.index, "--out", place.run)
    assert told.status == 2
    assert "another recipe" in told.err


def test_an_interrupted_training_is_continued(hilum: Call, place: Place, tmp_path: Path) -> None:
    recipe, run = tmp_path / "slow.toml", tmp_path / "run"
    recipe.write_text(SLOW_RECIPE, encoding="utf-8")
    words = ["train", str(recipe), "--index", str(place.index), "--out", str(run), "--processes", "1"]
    checkpoint = run / "divisions" / "seed-0-fold-0" / "checkpoint.pt"
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as training:
        limit = time.monotonic() + 120
        while not checkpoint.is_file() and training.poll() is None and time.monotonic() < limit:
            time.sleep(0.02)
        training.send_signal(signal.SIGINT)
        _, err = training.communicate(timeout=60)
    assert training.returncode == 130, err
    assert "Traceback" not in err
    done = _epochs(checkpoint)
    assert 0 < len(done) < EPOCHS
    assert hilum("evaluate", run).status == 2  # not finished, and said so
    assert hilum(*words).status == 0
    history = pd.read_csv(run / "divisions" / "seed-0-fold-0" / "history.csv")
    assert len(history) == EPOCHS
    assert history["train_loss"].head(len(done)).tolist() == pytest.approx([row[1] for row in done])
    assert not checkpoint.exists()


def _epochs(checkpoint: Path) -> list[list[float]]:
    with safe_open(checkpoint, "np") as file:
        rows: list[list[float]] = json.loads(file.metadata()["told"])["rows"]
    return rows


def test_evaluate_prints_the_run_and_gives_it_to_machines(hilum: Call, place: Place) -> None:
    told = hilum("evaluate", place.run)
    assert told.status == 0
    assert "shortcut floor" in told.words
    assert DISCLAIMER in told.words
    assert json.loads(hilum("evaluate", place.run, "--json").out)["classes"] == ["patch", "clear"]


def test_evaluate_elsewhere_scores_other_films_and_leaves_out_the_known(
    hilum: Call, place: Place, tmp_path: Path
) -> None:
    other = draw_cohort(tmp_path / "other", 8, seed=2)
    known = place.films / "clear" / "film-05.png"
    (other / "clear" / "copy.png").write_bytes(known.read_bytes())
    index = tmp_path / "other.parquet"
    assert hilum("index", "folder", "--root", other, "--out", index, "--processes", 1).status == 0
    out = tmp_path / "elsewhere"
    told = hilum("evaluate", place.run, "--index", index, "--out", out)
    assert told.status == 0, told.err
    assert " on external films (n = " in told.words
    assert "not audited on these films (hilum audit RUN --index FILE --out DIR)" in told.words
    assert "the run's own films: AUROC" in told.words
    assert "n = 16 films" in told.words
    assert "the bundle was trained on this picture or patient" in " ".join(told.err.split())
    assert DISCLAIMER in told.words
    assert json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["n_films"] == 16


def test_predict_says_label_probability_floor_and_disclaimer(hilum: Call, place: Place) -> None:
    told = hilum("predict", place.run, place.film, "--no-gate")
    assert told.status == 0
    assert "patch 0." in told.words
    assert "shortcut floor" in told.words
    assert DISCLAIMER in told.words


def test_predict_gives_machines_json_and_a_table(hilum: Call, place: Place, tmp_path: Path) -> None:
    (told,) = json.loads(hilum("predict", place.run / "bundle", place.film, "--no-gate", "--json").out)
    assert told["decided"] in ("patch", "clear")
    assert sum(told["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    out = tmp_path / "predictions.csv"
    films = [place.films / "patch" / f"film-{number:02d}.png" for number in range(1, 6)]
    assert hilum("predict", place.run, *films, "--no-gate", "--out", out).status == 0
    table = pd.read_csv(out)
    assert table["film"].tolist() == [str(film) for film in films]
    assert table["p.patch"].tolist()[2] == pytest.approx(told["probabilities"]["patch"], abs=1e-5)
    assert table["bundle"].str.fullmatch("[0-9a-f]{64}").all()


def test_predict_draws_the_result_on_the_film(hilum: Call, place: Place, tmp_path: Path) -> None:
    dicom = place.films / "patch" / "film-00.dcm"
    assert hilum("predict", place.run, place.film, dicom, "--no-gate", "--annotate", tmp_path / "drawn").status == 0
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert len(drawn) == 2
    assert drawn[0].stem.split("_")[0] in ("patch", "clear")
    with Image.open(drawn[0]) as picture:
        assert picture.width == 640
    assert not any(CANARY.encode() in file.read_bytes() for file in drawn)


def test_a_refused_film_is_listed_and_the_others_are_done(hilum: Call, place: Place, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    told = hilum("predict", place.run, place.films / "clear", "--no-gate", "--out", out, "--processes", 1)
    assert told.status == 3
    assert "1 refused" in told.words
    table = pd.read_csv(out)
    assert len(table) == 21
    refused = table[table["refused"].notna()]
    assert refused["film"].tolist() == [str(place.films / "clear" / "broken.png")]
    assert refused["decided"].isna().all()
    assert refused["refused"].item().startswith("truncated: broken.png")


def test_predict_refuses_what_does_not_look_like_a_chest_film(hilum: Call, place: Place) -> None:
    told = hilum("predict", place.run, place.film, "--json")
    assert told.status == 3
    (row,) = json.loads(told.out)
    assert row["refused"].startswith(f"not applicable: {place.film.name} looks like no chest radiograph (p = ")


def test_view_gives_machines_json_and_a_table(hilum: Call, place: Place, tmp_path: Path) -> None:
    told = hilum("view", place.film, place.films / "clear" / "broken.png", "--json", "--processes", 1)
    assert told.status == 3
    film, broken = json.loads(told.out)
    assert film["view"] == "other"
    assert film["refused"] is None
    assert broken["view"] is None
    assert broken["refused"].startswith("truncated: broken.png")
    out = tmp_path / "views.csv"
    told = hilum("view", place.film, "--out", out)
    assert told.status == 0
    assert "1 films: 1 no chest radiograph" in told.words
    assert DISCLAIMER in told.words
    assert pd.read_csv(out)["view"].tolist() == ["other"]


def test_view_of_an_index_makes_another(hilum: Call, place: Place, tmp_path: Path) -> None:
    told = hilum("view", place.index, "--out", tmp_path / "seen.parquet", "--processes", 1)
    assert told.status == 0
    seen, before = (Index.load(file).table for file in (tmp_path / "seen.parquet", place.index))
    used = seen["left_out"].isna()
    assert used.sum() == before["left_out"].isna().sum() > 0
    assert seen["view_predicted"][~used].isna().all()
    assert set(seen["view_predicted"][used].dropna()) <= {"other", "frontal", "L"}
    assert seen["inverted_predicted"][used].notna().all()
    assert seen[before.columns.tolist()].equals(before)
    for wrong in (("view", place.index), ("view", place.index, place.film, "--out", tmp_path / "b.parquet")):
        told = hilum(*wrong)
        assert told.status == 2
        assert "hilum view INDEX --out INDEX2" in " ".join(told.err.split())


def test_report_is_written_where_it_is_asked_for(hilum: Call, place: Place, tmp_path: Path) -> None:
    told = hilum("report", place.run, "--out", tmp_path / "page.html")
    assert told.status == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert DISCLAIMER in page
    assert CANARY not in page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("index", "kermny", "--root", "."), "did you mean 'kermany'"),
        (("sources", "show", "sandrofap"), "did you mean 'sandrofab'"),
        (("recipes", "show", "dmo"), "did you mean 'demo'"),
        (("train", "demoo", "--root", ".", "--out", "RUN"), "did you mean 'demo'"),
        (("train", "demo", "--out", "RUN"), "--root DATA, or --index FILE"),
        (("train", "mine.toml", "--root", ".", "--out", "RUN"), "mine.toml does not exist"),
        (("train", "demo", "--root", ".", "--out", "RUN", "--backbone", "resnt50"), "did you mean 'resnet50'"),
        (("train", "demo", "--root", ".", "--out", "RUN", "--weights", "pakaged"), "did you mean 'packaged'"),
        (("train", "demo", "--root", ".", "--out", "RUN", "--set", "schedule.epoch=1"), "did you mean 'epochs'"),
        (("train", "demo", "--root", ".", "--out", "RUN", "--set", "epochs"), "--set takes KEY=VALUE"),
        (("preprocess", "film.png", "--steps", "clahee"), "did you mean 'clahe'"),
        (("preprocess", "film.png", "--steps", "clahe:clip=0"), "clip must be a number from 1 to 256"),
        (("preprocess", "film.png"), "name a film and the steps"),
        (("reproduce", "--root", ".", "--out", "DIR", "--system", "rovay"), "did you mean 'rovai'"),
        (("simulate", "--out", "DIR", "--plant", "markr=covid19@0.9"), "did you mean 'marker'"),
        (("simulate", "--out", "DIR", "--plant", "marker=covid@0.9"), "did you mean 'covid19'"),
        (("simulate", "--out", "DIR", "--plant", "marker"), "kind=label@strength"),
        (("simulate", "--out", "DIR", "--plant", "marker=covid19@0.2"), "0.5 (none) to 1 (always)"),
        (("simulate", "--out", "DIR", "--labels", "norml,covid19"), "did you mean 'normal'"),
        (("simulate", "--out", "DIR", "--views", "PA,AX"), "unknown view 'AX'"),
        (("simulate", "--out", "DIR", "--size", "20"), "size_px is 20"),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(
    hilum: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = hilum(*words)
    assert told.status == 2
    assert told.out == ""
    assert told.err.startswith("hilum: ")
    assert told.err.count("\n") == 1
    assert says in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("trian",), "Did you mean 'train'"),
        (("train", "demo"), "--out"),
        (("predict", "--al"), "No such option"),
        (("simulate", "--films", "0", "--out", "DIR"), "--films"),
        (("simulate", "--format", "gif", "--out", "DIR"), "dcm"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_status_2(hilum: Call, words: tuple[str, ...], says: str) -> None:
    told = hilum(*words)
    assert told.status == 2
    assert says in " ".join(told.err.split())


def test_a_misspelt_recipe_key_is_named_with_the_right_one(hilum: Call, place: Place, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(RECIPE.replace("epochs", "epoch"), encoding="utf-8")
    told = hilum("train", mine, "--index", place.index, "--out", tmp_path / "run")
    assert told.status == 2
    assert "schedule.epoch" in told.err
    assert "did you mean 'epochs'" in told.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("describe", "no.parquet"), "no.parquet does not exist"),
        (("predict", ".", "film.png"), "is no bundle"),
        (("index", "kermany", "--root", "."), "hilum sources show kermany"),
        (("index", "folder", "--root", "NOWHERE"), "does not exist"),
        (("train", "demo", "--root", ".", "--out", "RUN"), "hilum sources show simulated"),
    ],
)
def test_what_is_not_there_is_status_1_and_says_what_to_do(
    hilum: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = hilum(*words)
    assert told.status == 1
    assert told.err.startswith("hilum: ")
    assert says in told.err


def test_predict_of_a_film_that_is_not_there_is_status_1(hilum: Call, place: Place) -> None:
    told = hilum("predict", place.run, place.films / "gone.png")
    assert told.status == 1
    assert "gone.png does not exist" in told.err


def test_a_changed_bundle_is_refused(hilum: Call, place: Place, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for file in (place.run / "bundle").iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    weights = bytearray((bundle / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (bundle / "weights.safetensors").write_bytes(weights)
    told = hilum("predict", bundle, place.film)
    assert told.status == 1
    assert "hash does not match" in told.err


@pytest.mark.parametrize("words", [[], ["sources"], ["recipes"], ["recipes", "show", "demo"], ["--help"]])
def test_what_needs_no_network_imports_nothing_slow(words: list[str]) -> None:
    code = (
        "import sys\nimport hilum.cli\n"
        f"sys.argv = ['hilum', *{words!r}]\n"
        f"try:\n    {'pass' if not words else 'hilum.cli.main()'}\nexcept SystemExit: pass\n"
        "slow = {'torch', 'timm', 'torchvision', 'lightning_fabric', 'pandas', 'scipy', 'pyarrow', 'sklearn', "
        "'matplotlib', 'pydicom'} & set(sys.modules)\n"
        "sys.exit(f'imported: {slow}' if slow else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr

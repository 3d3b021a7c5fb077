"""A fabricated run and cohort, the same every time, for the tests of pages and figures."""

import numpy as np
import pandas as pd
import pytest

from hilum.describe import Description, describe
from hilum.evaluate import Curve, Evaluation, OperatingPoint, Score
from hilum.report.films import ExampleFilm
from hilum.report.html import RunReport
from hilum.report.tables import split_counts

CLASSES = ("covid19", "bacterial_pneumonia", "normal")


def score(metric: str, value: float | None, **more: object) -> Score:
    known = {"low": None if value is None else value - 0.02, "high": None if value is None else min(1.0, value + 0.01)}
    return Score(**{"metric": metric, "value": value, "n": 300, **known, **more})


def make_evaluation(network: float = 0.9, header: float = 0.97) -> Evaluation:
    scores = [score("macro_auroc", network), score("accuracy", 0.81), score("brier", 0.2), score("ece", 0.04)]
    scores.append(score("macro_auroc", 0.61, fold="external", n=75))
    for label in CLASSES:
        scores.append(score("auroc", 0.93, label=label, n_positive=100))
        scores.append(score("average_precision", 0.88, label=label, n_positive=100))
        scores.append(score("sensitivity", 0.84, label=label, n_positive=100, at="youden", n=100))
        scores.append(score("auroc", 0.88, label=label, subgroup="sex=F", n=140))
        scores.append(score("auroc", None, label=label, subgroup="sex=M", n=4))
        scores.append(score("auroc", 0.66, label=label, source="elsewhere", n=75, fold="external"))
    x = np.linspace(0, 1, 11)
    curves = [Curve(kind=kind, label=c, x=tuple(x), y=tuple(x**0.3)) for kind in ("roc", "pr") for c in CLASSES]
    curves += [Curve(kind="reliability", label=c, x=tuple(x), y=tuple(x), weight=(27.0,) * 11) for c in CLASSES]
    return Evaluation(
        classes=CLASSES,
        scores=tuple(scores),
        confusion=((80, 15, 5), (9, 88, 3), (2, 11, 87)),
        operating_points=(OperatingPoint(label="covid19", name="youden", threshold=0.31),),
        curves=tuple(curves),
        floors=(score("floor.header", header), score("floor.source", 0.7), score("floor.header.width", 0.99)),
        n_films=300,
        n_groups=270,
        n_repeats=2,
        temperature=1.3,
        index_digest="ab" * 32,
        bundle_digest="cd" * 32,
        notes=("means over 2 repeats",),
    )


def make_films(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, n)
    films = pd.DataFrame({"image_id": [f"film/{i:03d}" for i in range(n)]})
    films["source"] = pd.array(np.where(target == 0, "hospital_a", "hospital_b"), dtype="string")
    films["view"] = pd.array(rng.choice(["PA", "AP", None], n), dtype="string")
    films["sex"] = pd.array(rng.choice(["F", "M", None], n), dtype="string")
    films["age_years"] = pd.array(np.where(target == 2, 4.0, 61.0), dtype="Float64")
    films["patient_id"] = pd.array([str(i // 2) for i in range(n)], dtype="string")
    films["group_id"] = films["patient_id"]
    for place, label in enumerate(CLASSES):
        films[f"label.{label}"] = pd.array(target == place, dtype="boolean")
    return films


def make_left_out() -> pd.DataFrame:
    reasons = ["lateral view"] * 7 + ["cannot be decoded"] * 2
    return pd.DataFrame({"image_id": [f"lost/{i}" for i in range(9)], "left_out": pd.array(reasons, dtype="string")})


def make_history() -> pd.DataFrame:
    rows = [
        (repeat, epoch, 1 / epoch, 1 / epoch + 0.1 + 0.01 * epoch, 0.9 - 0.5 / epoch, 1e-3)
        for repeat in (0, 1)
        for epoch in range(1, 12 - 2 * repeat)
    ]
    return pd.DataFrame(rows, columns=["repeat", "epoch", "train_loss", "tune_loss", "tune_accuracy", "lr"])


def make_predictions() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = []
    for film in range(150):
        for repeat in (0, 1):
            logits = rng.normal(0, 1, 3)
            logits[film % 3] += 2
            p = np.exp(logits) / np.exp(logits).sum()
            rows.append((f"film/{film:03d}", repeat, "test", CLASSES[film % 3], *p))
    return pd.DataFrame(rows, columns=["image_id", "repeat", "fold", "reference", *(f"p.{c}" for c in CLASSES)])


def make_run(evaluation: Evaluation, **more: object) -> RunReport:
    division = make_films().assign(fold=["train", "tune", "test"] * 40, target=[*CLASSES] * 40)
    pixels = np.tile(np.arange(48, dtype=np.uint8), (40, 1))
    content = {
        "title": "A fabricated run",
        "recipe_name": "fabricated",
        "recipe_toml": '[network]\nname = "vgg16"  # <frozen>\n',
        "evaluation": evaluation,
        "description": describe(make_films(), make_left_out()),
        "split": split_counts({"seed-0-fold-0": division}),
        "history": make_history(),
        "predictions": make_predictions(),
        "examples": (
            ExampleFilm("film/001", pixels, "covid19", "covid19", 0.97, "confident right"),
            ExampleFilm("film/002", pixels, "covid19", "normal", 0.91, "confident wrong"),
        ),
        "provenance": {"seeds": [0, 1], "versions": {"hilum": "0.1.0", "torch": "2.9"}},
        "left_out": make_left_out(),
        "warnings": ("28 films only",),
    }
    return RunReport(**{**content, **more})


@pytest.fixture(scope="session")
def evaluation() -> Evaluation:
    return make_evaluation()


@pytest.fixture(scope="session")
def description() -> Description:
    return describe(make_films(), make_left_out())


@pytest.fixture(scope="session")
def run(evaluation: Evaluation) -> RunReport:
    return make_run(evaluation)


@pytest.fixture(scope="session")
def history() -> pd.DataFrame:
    return make_history()


@pytest.fixture(scope="session")
def predictions() -> pd.DataFrame:
    return make_predictions()

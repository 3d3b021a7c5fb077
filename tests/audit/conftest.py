"""Subjects without a pixel: tables of films with labels, folds and scores, in which a test plants what it looks for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum import floors
from hilum.audit.subject import Division, Subject

CLASSES = ("covid19", "other")


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is planted is found by small forests too."""
    monkeypatch.setattr(floors, "TREES", 15)


def film_table(films: int, seed: int = 0, classes: tuple[str, ...] = CLASSES) -> pd.DataFrame:
    """Films of patients with two films each, whose facts say nothing about their label."""
    rng = np.random.default_rng(seed)
    patients = (films + 1) // 2
    labels = np.resize(np.array(classes, object), patients)
    rng.shuffle(labels)

    def text(values: object) -> pd.api.extensions.ExtensionArray:
        return pd.array(np.asarray(values, object), dtype="string")

    return pd.DataFrame(
        {
            "image_id": text([f"f{i:04d}" for i in range(films)]),
            "group_id": text([f"g{i // 2}" for i in range(films)]),
            "patient_id": text([f"p{i // 2}" for i in range(films)]),
            "source": text(rng.choice(["here", "there"], films)),
            "path": text([f"f{i:04d}.png" for i in range(films)]),
            "target": text(np.repeat(labels, 2)[:films]),
            "sha256": text([f"{i:064x}" for i in range(films)]),
            "phash": text([rng.bytes(32).hex() for _ in range(films)]),
            "duplicate_of": text([None] * films),
            "near_duplicate_of": text([None] * films),
            "width": pd.array(rng.integers(400, 2000, films), dtype="Int64"),
            "height": pd.array(rng.integers(400, 2000, films), dtype="Int64"),
            "bytes": pd.array(rng.integers(10_000, 90_000, films), dtype="Int64"),
            "mode": text(["L"] * films),
            "format": text(["JPEG"] * films),
            "view": text(rng.choice(["PA", "AP"], films)),
            "sex": text(rng.choice(["F", "M"], films)),
            "age_years": pd.array(rng.uniform(1, 90, films), dtype="Float64"),
            "manufacturer": text([None] * films),
            "licence": text(["CC0-1.0"] * films),
        }
    )


def score_table(films: pd.DataFrame, *, classes: tuple[str, ...] = CLASSES, skill: float = 1.0, seed: int = 0):
    """One calibrated-looking probability a film: a normal score shifted by `skill` for its class."""
    rng = np.random.default_rng(seed)
    target = films["target"].map({name: c for c, name in enumerate(classes)}).to_numpy(int)
    logits = skill * (np.eye(len(classes))[target] + rng.normal(0, 1, (len(films), len(classes))))
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    told = pd.DataFrame({"image_id": films["image_id"], "repeat": 0, "fold": "test", "reference": films["target"]})
    return told.assign(**{f"p.{name}": p[:, c] for c, name in enumerate(classes)})


@pytest.fixture
def make_subject() -> Callable[..., Subject]:
    """`make_subject(films, predictions, divisions=..., look=...)`: what is left out is drawn without any shortcut."""

    def make(films: pd.DataFrame | None = None, predictions: pd.DataFrame | None = None, **told: object) -> Subject:
        films = film_table(200) if films is None else films
        classes = told.pop("classes", CLASSES)
        predictions = score_table(films, classes=classes) if predictions is None else predictions
        given = {"title": "drawn", "kind": "scores", "root": Path(), "index_digest": "0" * 64} | told
        return Subject(classes=classes, films=films, predictions=predictions, **given)

    return make


def halves(films: pd.DataFrame, train: np.ndarray) -> Division:
    """One division: the marked films trained on, the others tested."""
    return Division(0, "0", films[["image_id"]].assign(fold=np.where(train, "train", "test")))

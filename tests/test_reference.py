"""Intervals, limits and hashes of the films behind a classifier, and the file they lie in."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.isotonic import IsotonicRegression

from hilum.bundle import load_bundle
from hilum.bundle.format import MANIFEST, REFERENCE, digest_without_notes
from hilum.duplicates import perceptual_hash, to_text
from hilum.errors import BundleError, DataError
from hilum.pixels import read_film
from hilum.reference import FilmCloud, Reference, VennAbers, fit_cloud, reference_of, save_reference
from hilum.reference.distance import INSIDE
from hilum.run import Run
from hilum.run.reference import attach_reference

Floats = NDArray[np.float64]


def drawn_scores(count: int, seed: int) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Scores, labels that are true with probability 1 / (1 + exp(-2 s)), and those probabilities."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=count), 2)
    shares = 1 / (1 + np.exp(-2 * scores))
    return scores, rng.random(count) < shares, shares


def brute_force(
    scores: Floats, positive: NDArray[np.bool_], weights: Floats, newcomer: tuple[float, float], score: float
) -> list[float]:
    told = []
    for label in (0, 1):
        regression = IsotonicRegression(out_of_bounds="clip")
        regression.fit([*scores, score], [*positive, label], [*weights, newcomer[label]])
        told.append(float(regression.predict([score])[0]))
    return told


@pytest.mark.parametrize("score", [-9.0, -0.37, 0.0, 0.015, 1.2, 9.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_interval_is_that_of_two_isotonic_regressions(score: float, weighted: bool) -> None:
    scores, positive, _ = drawn_scores(60, seed=1)
    weights = np.linspace(0.2, 1.0, 60) if weighted else np.ones(60)
    newcomer = (0.7, 1.3) if weighted else (1.0, 1.0)
    expected = brute_force(scores, positive, weights, newcomer, score)
    assert VennAbers(scores, positive, weights, newcomer)(score) == pytest.approx((min(expected), max(expected)))


def test_intervals_rise_with_the_score_and_narrow_with_films() -> None:
    few, many = (VennAbers(*drawn_scores(count, seed=2)[:2], np.ones(count)) for count in (50, 1000))
    told = np.array([many(score) for score in np.linspace(-3, 3, 50)])
    assert (np.diff(told, axis=0) >= -1e-12).all()
    assert ((told[:, 0] <= told[:, 1]) & (told >= 0).all(1) & (told <= 1).all(1)).all()
    widths = [np.mean([high - low for low, high in map(one, np.linspace(-1, 1, 20).tolist())]) for one in (few, many)]
    assert widths[1] < widths[0] / 3


def test_intervals_are_near_the_truth_however_scores_are_scaled() -> None:
    scores, positive, shares = drawn_scores(2000, seed=3)
    told = VennAbers(7 * scores - 3, positive, np.ones(2000))
    ends = np.array([told(score) for score in (7 * scores[:300] - 3).tolist()])
    assert np.abs(ends.mean(1) - shares[:300]).mean() < 0.05


def test_a_patient_s_second_film_adds_nothing_where_each_patient_counts_once() -> None:
    scores, positive, _ = drawn_scores(80, seed=4)
    once = VennAbers(scores, positive, np.ones(80))
    twice = VennAbers(np.tile(scores, 2), np.tile(positive, 2), np.full(160, 0.5))
    for score in (-1.0, 0.1, 2.0):
        assert twice(score) == pytest.approx(once(score))


def cloud_of(seed: int, films: int = 300) -> tuple[FilmCloud, np.random.Generator, Floats]:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(12, 40))
    vectors = rng.normal(size=(films, 12)) @ mixing + 0.1 * rng.normal(size=(films, 40))
    return fit_cloud(vectors, np.arange(films) // 2), rng, mixing


def test_films_alike_lie_within_the_limit_and_strange_ones_beyond_it() -> None:
    cloud, rng, mixing = cloud_of(0)
    alike = rng.normal(size=(1000, 12)) @ mixing + 0.1 * rng.normal(size=(1000, 40))
    assert (cloud.distances(alike) <= cloud.limit).mean() == pytest.approx(INSIDE / 100, abs=0.025)
    far = 6 * rng.normal(size=(50, 12)) @ mixing
    beside = alike[:50] + 3 * rng.normal(size=(50, 40))
    assert (cloud.distances(far) > cloud.limit).mean() > 0.9
    assert (cloud.distances(beside) > cloud.limit).all()


def test_a_feature_that_never_changes_is_no_trouble_until_it_does() -> None:
    rng = np.random.default_rng(1)
    vectors = np.column_stack([rng.normal(size=(100, 5)), np.zeros(100)])
    cloud = fit_cloud(vectors, np.arange(100))
    changed = vectors[:1] + np.array([0, 0, 0, 0, 0, 0.5])
    assert np.isfinite(cloud.limit)
    assert cloud.distances(changed)[0] > cloud.limit


def made(digest: str = "a" * 64, *, cloud: bool = True, films: int = 60, balanced: bool = False) -> Reference:
    scores, positive, _ = drawn_scores(films, seed=5)
    rng = np.random.default_rng(6)
    return Reference(
        bundle_digest=digest,
        log_odds=np.column_stack([scores, -scores]).astype(np.float32),
        labels=(~positive).astype(np.int64),
        weights=np.ones(films, np.float32),
        groups=films,
        balanced=balanced,
        cloud=cloud_of(7, 60)[0] if cloud else None,
        hashes=rng.integers(0, 1 << 16, (9, 16), dtype=np.uint16),
    )


@pytest.mark.parametrize("cloud", [True, False])
def test_a_reference_comes_back_as_it_was_saved(tmp_path: Path, cloud: bool) -> None:
    saved = made(cloud=cloud, balanced=True)
    save_reference(saved, tmp_path)
    read = reference_of(tmp_path, digest="a" * 64, classes=2)
    assert read is not None
    assert read.balanced
    assert (read.hashes == saved.hashes).all()
    assert read.intervals is not None
    assert saved.intervals is not None
    assert read.intervals[0](0.3) == saved.intervals[0](0.3)
    if saved.cloud and read.cloud:
        away = np.random.default_rng(0).normal(size=(5, 40))
        assert read.cloud.distances(away) == pytest.approx(saved.cloud.distances(away), rel=1e-3)
        assert read.cloud.limit == saved.cloud.limit
    assert (read.cloud is None) == (not cloud)
    assert reference_of(tmp_path / "nothing", digest="a" * 64, classes=2) is None


def test_balanced_classes_raise_the_rarer_one() -> None:
    plain, balanced = made(films=400), made(films=400, balanced=True)
    kept = np.flatnonzero((plain.labels == 1) | (np.arange(400) % 4 == 0))
    rarer = []
    for one in (plain, balanced):
        fewer = Reference(
            **{**vars(one), "log_odds": one.log_odds[kept], "labels": one.labels[kept], "weights": one.weights[kept]}
        )
        assert fewer.intervals is not None
        rarer.append(np.mean(fewer.intervals[0](0.0)))
    assert rarer[1] > rarer[0] + 0.15


def test_no_interval_where_a_class_has_hardly_a_film() -> None:
    assert made(films=20).intervals is None


def test_another_bundle_s_reference_is_refused(tmp_path: Path) -> None:
    save_reference(made("b" * 64), tmp_path)
    with pytest.raises(BundleError, match="made for another bundle"):
        reference_of(tmp_path, digest="a" * 64, classes=2)
    with pytest.raises(BundleError, match="made for another bundle"):
        reference_of(tmp_path, digest="b" * 64, classes=3)


@pytest.mark.parametrize(
    "harm", ["cut", "noise", "no account", "format", "labels", "weights", "whitening", "not finite"]
)
def test_a_damaged_reference_is_refused(tmp_path: Path, harm: str) -> None:
    file = save_reference(made(), tmp_path)
    whole, tensors = file.read_bytes(), load_file(file)
    length = int.from_bytes(whole[:8], "little")
    account = json.loads(whole[8 : 8 + length])["__metadata__"]
    if harm == "cut":
        file.write_bytes(whole[:-100])
    elif harm == "noise":
        file.write_bytes(b"nothing of the kind" * 100)
    else:
        changes = {
            "labels": {"labels": tensors["labels"] + 7},
            "weights": {"weights": tensors["weights"][:-1]},
            "whitening": {"whitening": tensors["whitening"][:-1].copy()},
            "not finite": {"log_odds": np.full_like(tensors["log_odds"], np.nan)},
        }
        told = {"no account": {}, "format": {"hilum": account["hilum"].replace('"format":1', '"format":2')}}
        save_file(tensors | changes.get(harm, {}), file, metadata=told.get(harm, account))
    with pytest.raises(BundleError, match=r"reference\.safetensors is"):
        reference_of(tmp_path, digest="a" * 64, classes=2)


def test_training_leaves_a_reference_that_names_no_film(finished: Path) -> None:
    folder, run = finished / "bundle", Run(finished)
    bundle = load_bundle(folder)
    reference = reference_of(folder, digest=digest_without_notes(folder), classes=2)
    assert reference is not None
    first = run.predictions[(run.predictions["fold"] == "test") & (run.predictions["repeat"] == 0)]
    assert len(reference.labels) == len(first) == len(run.index.films)
    assert reference.weights.sum() == pytest.approx(reference.groups)
    assert [bundle.classes[place] for place in reference.labels] == first["reference"].tolist()
    whole = (folder / REFERENCE).read_bytes()
    assert not any(str(name).encode() in whole for name in run.index.films["image_id"])


def test_hashes_are_those_of_the_films_trained_on(finished: Path) -> None:
    folder, run = finished / "bundle", Run(finished)
    reference = reference_of(folder, digest=digest_without_notes(folder), classes=2)
    assert reference is not None
    film = run.index.path(run.index.films["path"].iloc[0])
    of_film = perceptual_hash(read_film(film).pixels)
    assert to_text(of_film) == run.index.films["phash"].iloc[0]
    assert reference.nearest_bits(of_film) == 0
    assert (reference.nearest_bits(of_film ^ np.uint16(0xFFFF)) or 0) > 50


def test_a_reference_can_be_given_to_the_bundle_s_copy_and_to_no_other(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished / "bundle", copy)
    (copy / REFERENCE).unlink()
    before = (copy / MANIFEST).read_bytes()
    assert attach_reference(Run(finished), copy, processes=1).is_file()
    assert (copy / MANIFEST).read_bytes() == before
    assert reference_of(copy, digest=digest_without_notes(copy), classes=2) is not None
    other = json.loads(before)
    other["files"]["weights.safetensors"] = "0" * 64
    shutil.copytree(copy, tmp_path / "other")
    (tmp_path / "other" / MANIFEST).write_text(json.dumps(other))
    with pytest.raises((DataError, BundleError)):
        attach_reference(Run(finished), tmp_path / "other", processes=1)

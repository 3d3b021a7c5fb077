from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.cache import ArrayView, FrameCache
from hilum.features import FeatureCache, resolved
from hilum.index import Index
from hilum.networks import build_classifier
from hilum.recipe import Recipe, parse_recipe

TURNED = {"augmentation": {"rotate_degrees": 20.0}, "schedule": {"views": 3}}


def _recipe(text: str, **parts: dict[str, object]) -> Recipe:
    told = parse_recipe(text).model_dump()
    for part, values in parts.items():
        told[part] |= values
    return Recipe.model_validate(told)


def _cache(recipe: Recipe, folder: Path, seed: int = 0) -> FeatureCache:
    torch.manual_seed(seed)
    classifier, origin = build_classifier(recipe.network, channels=3, classes=2)
    made = recipe.model_copy(update={"preprocess": resolved(recipe.preprocess, classifier)})
    return FeatureCache(classifier, origin, made, folder)


@pytest.fixture
def frames(drawn: Index, tiny_recipe: str) -> ArrayView:
    cache = FrameCache(parse_recipe(tiny_recipe).preprocess)
    cache.fill(drawn.films, drawn.root, processes=1)
    return cache.view(drawn.films)


def test_vectors_are_what_the_network_computes(
    drawn: Index, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    cache = _cache(_recipe(tiny_recipe), tmp_path)
    assert cache.fill(drawn.films, frames) == 48
    vectors = cache.view(drawn.films)
    films = torch.from_numpy(cache.recipe.preprocess.normalise(frames[np.array([3, 40])]))
    with torch.inference_mode():
        wanted = cache.classifier.eval().vectors(films)
    np.testing.assert_allclose(vectors[[3, 40]], wanted, atol=1e-5)
    assert vectors.dtype == np.float32


def test_what_is_known_is_not_computed_again(
    drawn: Index, frames: ArrayView, tiny_recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    first = _cache(_recipe(tiny_recipe), tmp_path)
    first.fill(drawn.films.iloc[:10], frames.only(np.arange(10)), progress=lambda *at: told.append(at))
    assert told[-1] == (10, 10)
    again = _cache(_recipe(tiny_recipe), tmp_path)
    assert again.fill(drawn.films, frames) == 38
    monkeypatch.setattr(again, "_vectors", lambda _frames: pytest.fail("computed again"))
    assert again.fill(drawn.films, frames) == 0
    assert np.array_equal(again.view(drawn.films.iloc[:10]), first.view(drawn.films.iloc[:10]))


def test_films_of_the_same_bytes_are_computed_once(
    drawn: Index, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    rows = np.array([0, 1, 0, 0])
    cache = _cache(_recipe(tiny_recipe), tmp_path)
    assert cache.fill(drawn.films.iloc[rows], frames.only(rows)) == 2
    vectors = cache.view(drawn.films.iloc[rows])
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1])


@pytest.mark.parametrize(
    ("parts", "seed"),
    [
        ({"network": {"pooling": "avg"}}, 0),
        ({"network": {"level": -2}}, 0),
        ({"preprocess": {"mean": (0.1,) * 3}}, 0),
        ({"preprocess": {"size_px": 96}}, 0),
        ({}, 1),
    ],
)
def test_another_network_or_preprocess_shares_no_vectors(
    drawn: Index,
    frames: ArrayView,
    tiny_recipe: str,
    tmp_path: Path,
    parts: dict[str, dict[str, object]],
    seed: int,
) -> None:
    _cache(_recipe(tiny_recipe), tmp_path).fill(drawn.films.iloc[:2], frames.only(np.arange(2)))
    _cache(_recipe(tiny_recipe, **parts), tmp_path, seed)
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_views_differ_and_the_first_is_the_film_itself(
    drawn: Index, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    cache = _cache(_recipe(tiny_recipe, **TURNED), tmp_path)
    assert cache.fill(drawn.films.iloc[:5], frames.only(np.arange(5))) == 15
    views = [cache.view(drawn.films.iloc[:5], view) for view in range(3)]
    assert not np.array_equal(views[0], views[1])
    assert not np.array_equal(views[1], views[2])
    plain = _cache(_recipe(tiny_recipe), tmp_path)
    plain.fill(drawn.films.iloc[:5], frames.only(np.arange(5)))
    assert np.array_equal(plain.view(drawn.films.iloc[:5]), views[0])


def test_another_augmentation_makes_other_views(
    drawn: Index, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    few, rows = drawn.films.iloc[:3], frames.only(np.arange(3))
    one = _cache(_recipe(tiny_recipe, **TURNED), tmp_path)
    one.fill(few, rows)
    other = _cache(_recipe(tiny_recipe, **(TURNED | {"augmentation": {"flip": True}})), tmp_path)
    assert other.fill(few, rows) == 6
    assert not np.array_equal(one.view(few, 1), other.view(few, 1))


def test_scaling_comes_from_the_backbone_unless_the_recipe_gives_it(tiny_recipe: str) -> None:
    recipe = _recipe(tiny_recipe)
    classifier, _ = build_classifier(recipe.network, channels=3, classes=2)
    told = resolved(recipe.preprocess, classifier)
    assert (told.mean, told.std) == (classifier.backbone.mean, classifier.backbone.std)
    own = recipe.preprocess.model_copy(update={"mean": (0.2,) * 3})
    assert resolved(own, classifier).mean == (0.2,) * 3

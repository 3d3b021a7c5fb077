from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hilum.cache import ArrayView, FrameCache
from hilum.engine.eager import films_a_pass
from hilum.features import FeatureCache, Variant, resolved
from hilum.index import Index
from hilum.networks import build_classifier
from hilum.recipe import Recipe, parse_recipe

TURNED = {"augmentation": {"rotate_degrees": 20.0}, "schedule": {"views": 3}}
COPIED = {"oversampling": {"rotate_degrees": 15.0, "copies": 3, "classes": ("patch",)}}


def _recipe(text: str, **parts: dict[str, object]) -> Recipe:
    told = parse_recipe(text).model_dump()
    for part, values in parts.items():
        told[part] |= values
    return Recipe.model_validate(told)


def _cache(recipe: Recipe, frames: ArrayView, folder: Path, seed: int = 0) -> FeatureCache:
    torch.manual_seed(seed)
    classifier, origin = build_classifier(recipe.network, recipe.preprocess, classes=2)
    made = recipe.model_copy(update={"preprocess": resolved(recipe.preprocess, classifier)})
    return FeatureCache(classifier, origin, made, frames, folder)


def _films(*rows: int, **told: Any) -> list[Variant]:
    return [Variant(row, **told) for row in rows]


@pytest.fixture
def frames(drawn: Index, tiny_recipe: str) -> ArrayView:
    cache = FrameCache(parse_recipe(tiny_recipe).preprocess)
    cache.fill(drawn.films, drawn.root, processes=1)
    return cache.view(drawn.films, drawn.root)


def test_vectors_are_what_the_network_computes(frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    cache = _cache(_recipe(tiny_recipe), frames, tmp_path)
    assert cache.fill(_films(*range(48))) == 48
    vectors = cache.vectors(_films(*range(48)))
    films = torch.from_numpy(cache.recipe.preprocess.normalise(frames[np.array([3, 40])]))
    with torch.inference_mode():
        wanted = cache.classifier.eval().vectors(films)
    np.testing.assert_allclose(vectors[[3, 40]], wanted, atol=1e-5)
    assert np.array_equal(cache.vectors(_films(40, 3)), vectors[[40, 3]])
    assert vectors.dtype == np.float32


def test_what_is_known_is_not_computed_again(
    frames: ArrayView, tiny_recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    first = _cache(_recipe(tiny_recipe), frames, tmp_path)
    first.fill(_films(*range(10)), progress=lambda *at: told.append(at))
    assert told[-1] == (10, 10)
    again = _cache(_recipe(tiny_recipe), frames, tmp_path)
    assert again.fill(_films(*range(48))) == 38
    monkeypatch.setattr(again, "_vectors", lambda *_, **__: pytest.fail("computed again"))
    assert again.fill(_films(*range(48))) == 0
    assert np.array_equal(again.vectors(_films(*range(10))), first.vectors(_films(*range(10))))


def test_films_of_the_same_bytes_are_computed_once(frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    cache = _cache(_recipe(tiny_recipe), frames.only(np.array([0, 1, 0, 0])), tmp_path)
    assert cache.fill(_films(0, 1, 2, 3)) == 2
    vectors = cache.vectors(_films(0, 1, 2, 3))
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1])


@pytest.mark.parametrize(
    ("parts", "seed"),
    [
        ({"network": {"pooling": "avg"}}, 0),
        ({"network": {"level": (-2,)}}, 0),
        ({"network": {"mirror": True}}, 0),
        ({"preprocess": {"mean": (0.1,) * 3}}, 0),
        ({"preprocess": {"size_px": 96}}, 0),
        ({"preprocess": {"lungs": "only"}}, 0),
        ({"preprocess": {"steps": ("clahe",)}}, 0),
        ({}, 1),
    ],
)
def test_another_network_or_preprocess_shares_no_vectors(
    frames: ArrayView, tiny_recipe: str, tmp_path: Path, parts: dict[str, dict[str, object]], seed: int
) -> None:
    _cache(_recipe(tiny_recipe), frames, tmp_path).fill(_films(0, 1))
    _cache(_recipe(tiny_recipe, **parts), frames, tmp_path, seed)
    assert len(list((tmp_path / "features").iterdir())) == 2


def test_views_differ_and_the_first_is_the_film_itself(frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    cache = _cache(_recipe(tiny_recipe, **TURNED), frames, tmp_path)
    assert cache.fill([Variant(row, view=view) for view in range(3) for row in range(5)]) == 15
    views = [cache.vectors(_films(*range(5), view=view)) for view in range(3)]
    assert not np.array_equal(views[0], views[1])
    assert not np.array_equal(views[1], views[2])
    plain = _cache(_recipe(tiny_recipe), frames, tmp_path)
    assert plain.fill(_films(*range(5))) == 0
    assert np.array_equal(plain.vectors(_films(*range(5))), views[0])


def test_another_augmentation_makes_other_views(frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    views = [Variant(row, view=view) for view in (1, 2) for row in range(3)]
    one = _cache(_recipe(tiny_recipe, **TURNED), frames, tmp_path)
    one.fill(views)
    other = _cache(_recipe(tiny_recipe, **(TURNED | {"augmentation": {"flip": 1.0}})), frames, tmp_path)
    assert other.fill(views) == 6
    assert not np.array_equal(one.vectors(views), other.vectors(views))


def test_copies_differ_from_the_film_and_from_each_other(frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    cache = _cache(_recipe(tiny_recipe, **COPIED), frames, tmp_path)
    variants = [Variant(3, copy=copy) for copy in range(4)]
    assert cache.fill(variants) == 4
    assert len({vector.tobytes() for vector in cache.vectors(variants)}) == 4
    turned = _cache(_recipe(tiny_recipe, **(COPIED | {"oversampling": {"shift": 0.2}})), frames, tmp_path)
    assert turned.fill(variants) == 3, "another way to make copies makes other copies of the same film"


def test_a_view_of_a_copy_is_no_view_of_the_film(frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    cache = _cache(_recipe(tiny_recipe, **TURNED, **COPIED), frames, tmp_path)
    variants = [Variant(3, copy=copy, view=view) for copy in range(2) for view in range(2)]
    assert cache.fill(variants) == 4
    assert len({vector.tobytes() for vector in cache.vectors(variants)}) == 4


def test_bfloat16_features_are_kept_apart(frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    cache = _cache(_recipe(tiny_recipe), frames, tmp_path)
    rows = range(films_a_pass(torch.device("cpu")) + 2)
    assert cache.fill(_films(*rows, halved=True)) == len(rows)
    assert cache.fill([*_films(*rows), *_films(*rows, halved=True)]) == len(rows), "the whole ones were not there yet"
    whole, halved = cache.vectors(_films(*rows)), cache.vectors(_films(*rows, halved=True))
    assert not np.array_equal(whole, halved)
    np.testing.assert_allclose(halved, whole, rtol=0.1, atol=0.05 * np.abs(whole).max())
    mixed = cache.vectors([Variant(1), Variant(1, halved=True)])
    assert np.array_equal(mixed, np.stack([whole[1], halved[1]]))


def test_precisions_asked_for_together_are_computed_apart(frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    """One pass computes in one precision: vectors must not depend on what else was asked for."""
    both = [Variant(row, halved=halved) for row in range(3) for halved in (False, True)]
    together, apart = (_cache(_recipe(tiny_recipe), frames, tmp_path / name) for name in "ab")
    assert together.fill(both) == 6
    for halved in (False, True):
        apart.fill(_films(*range(3), halved=halved))
    assert np.array_equal(together.vectors(both), apart.vectors(both))


def test_films_prepared_by_other_processes_give_the_same_vectors(
    frames: ArrayView, tiny_recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (_cache(_recipe(tiny_recipe, **TURNED), frames, tmp_path / name) for name in ("here", "there"))
    looks = [Variant(row, view=view) for view in range(2) for row in range(5)]
    here.fill(looks)
    monkeypatch.setattr("hilum.features.readers", lambda _device: 2)
    there.fill(looks)
    assert np.array_equal(here.vectors(looks), there.vectors(looks))


def test_both_precisions_see_the_same_views(frames: ArrayView, tiny_recipe: str, tmp_path: Path) -> None:
    cache = _cache(_recipe(tiny_recipe, **TURNED, **COPIED), frames, tmp_path)
    variants = _films(1, 2, copy=1, view=2)
    looks = [cache._look([replace(variant, halved=halved) for variant in variants]) for halved in (False, True)]
    seen = [look() for look in looks]
    assert np.array_equal(seen[0], seen[1])


def test_scaling_comes_from_the_backbone_unless_the_recipe_gives_it(tiny_recipe: str) -> None:
    recipe = _recipe(tiny_recipe)
    classifier, _ = build_classifier(recipe.network, recipe.preprocess, classes=2)
    told = resolved(recipe.preprocess, classifier)
    assert (told.mean, told.std) == (classifier.backbone.mean, classifier.backbone.std)
    own = recipe.preprocess.model_copy(update={"mean": (0.2,) * 3})
    assert resolved(own, classifier).mean == (0.2,) * 3

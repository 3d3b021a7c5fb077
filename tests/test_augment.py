from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from hilum.augment import augment, changed_frames, copy_seed, make_transform, seed_of
from hilum.recipe import Augmentation, Recipe

KINDS = [
    Augmentation(rotate_degrees=20),
    Augmentation(zoom=0.2),
    Augmentation(shift=0.2),
    Augmentation(flip=0.5),
    Augmentation(brightness=0.4),
    Augmentation(contrast=0.4),
    Augmentation(rotate_degrees=10, zoom=0.1, shift=0.1, flip=0.5, brightness=0.2, contrast=0.2),
]


@pytest.fixture
def films() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(4, 1, 32, 32)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: ",".join(sorted(kind.model_fields_set)))
def test_the_same_seed_gives_the_same_change_whatever_stands_beside_it(films: torch.Tensor, kind: Augmentation) -> None:
    seeds = [seed_of("film", row) for row in range(4)]
    together = augment(films, kind, seeds)
    alone = torch.cat([augment(films[row : row + 1], kind, seeds[row : row + 1]) for row in reversed(range(4))])
    assert torch.equal(together, alone.flip(0))
    assert together.shape == films.shape
    assert torch.isfinite(together).all()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: ",".join(sorted(kind.model_fields_set)))
def test_other_seeds_give_other_changes(films: torch.Tensor, kind: Augmentation) -> None:
    same = films[:1].repeat(8, 1, 1, 1)
    changed = augment(same, kind, list(range(8)))
    assert len({film.numpy().tobytes() for film in changed}) > 1


def test_nothing_asked_nothing_changed(films: torch.Tensor) -> None:
    assert torch.equal(augment(films, Augmentation(), [1, 2, 3, 4]), films)
    assert len(make_transform(Augmentation()).transforms) == 1


def test_a_flip_turns_left_and_right_only(films: torch.Tensor) -> None:
    changed = augment(films[:1].repeat(40, 1, 1, 1), Augmentation(flip=0.5), list(range(40)))
    turned = [torch.equal(film, films[0].flip(-1)) for film in changed]
    kept = [torch.equal(film, films[0]) for film in changed]
    assert all(one != other for one, other in zip(turned, kept, strict=True))
    assert 8 < sum(turned) < 32


def test_a_shift_moves_the_film_and_fills_with_black() -> None:
    changed = augment(torch.ones(20, 1, 32, 32), Augmentation(shift=0.3), list(range(20)))
    assert (changed == 0).any()
    assert set(changed.unique().tolist()) <= {0.0, 1.0}


def test_zoom_keeps_the_middle_where_it_is() -> None:
    film = torch.zeros(1, 1, 33, 33)
    film[..., 14:19, 14:19] = 1
    for seed in range(5):
        changed = augment(film, Augmentation(zoom=0.3), [seed])[0, 0]
        rows, columns = torch.meshgrid(torch.arange(33.0), torch.arange(33.0), indexing="ij")
        assert abs(float((rows * changed).sum() / changed.sum()) - 16) < 0.6
        assert abs(float((columns * changed).sum() / changed.sum()) - 16) < 0.6


ALL = Augmentation(rotate_degrees=30, zoom=0.4, shift=0.3, fill="edge")


def test_filling_with_edges_brings_no_black_into_view() -> None:
    """A white film stays white under the widest turns, zooms and shifts; filled with black, it does not."""
    white = torch.ones(60, 1, 32, 32)
    assert (augment(white, ALL, list(range(60))) > 0.999).all()
    assert (augment(white, ALL.model_copy(update={"fill": "black"}), list(range(60))) == 0).any()


def test_edges_are_filled_with_the_nearest_grey() -> None:
    """A ramp from top to bottom, only shifted: what comes into view above is its first row, below its last."""
    ramp = torch.linspace(0.2, 0.8, 32)[:, None].expand(32, 32)[None, None]
    changed = augment(ramp.repeat(30, 1, 1, 1), Augmentation(shift=0.4, fill="edge"), list(range(30)))
    assert (changed.min() >= 0.2 - 1e-6, changed.max() <= 0.8 + 1e-6) == (True, True)
    torch.testing.assert_close(changed, changed[..., :1].expand_as(changed), msg="rows stay even")
    assert (changed.diff(dim=2) >= -1e-6).all()
    moved_down = changed[changed[:, 0, 5, 0] < 0.2 + 1e-6]
    assert len(moved_down) > 3


@pytest.mark.parametrize(
    "kind", [{"shift": 0.2}, {"zoom": 0.2}, {"rotate_degrees": 30}], ids=lambda told: next(iter(told))
)
def test_how_edges_are_filled_does_not_change_how_far_films_move(kind: dict[str, Any]) -> None:
    film = torch.zeros(1, 1, 65, 65)
    film[..., 26:36, 28:40] = 1
    for seed in range(6):
        black, edge = (augment(film, Augmentation(fill=fill, **kind), [seed]) for fill in ("black", "edge"))
        # Shares of a larger, padded film are rounded to its whole pixels.
        assert _centre(black) == pytest.approx(_centre(edge), abs=1.01)
        assert float(black.sum()) == pytest.approx(float(edge.sum()), rel=0.03)


def _centre(films: torch.Tensor) -> list[float]:
    rows, columns = torch.meshgrid(torch.arange(65.0), torch.arange(65.0), indexing="ij")
    return [float((places * films[0, 0]).sum() / films.sum()) for places in (rows, columns)]


# 400 draws of a share of a quarter: 100, with a deviation of 8.7; beyond four deviations one draw in 16,000.
FEW, MANY = 65, 135


@pytest.mark.parametrize("fill", ["black", "edge"])
def test_so_large_a_share_of_films_is_moved(films: torch.Tensor, fill: Any) -> None:
    told = Augmentation(rotate_degrees=20, zoom=0.1, shift=0.1, moved=0.25, fill=fill)
    changed = augment(films[:1].repeat(400, 1, 1, 1), told, list(range(400)))
    still = [torch.equal(film, films[0]) for film in changed]
    assert FEW < 400 - sum(still) < MANY
    assert Augmentation(rotate_degrees=20, moved=0.0).changes_nothing


def test_so_large_a_share_of_films_is_mirrored(films: torch.Tensor) -> None:
    changed = augment(films[:1].repeat(400, 1, 1, 1), Augmentation(flip=0.25), list(range(400)))
    assert FEW < sum(torch.equal(film, films[0].flip(-1)) for film in changed) < MANY
    every = augment(films, Augmentation(flip=1.0), list(range(4)))
    assert torch.equal(every, films.flip(-1))


def test_a_share_moved_says_nothing_of_flips_and_brightness(films: torch.Tensor) -> None:
    told = Augmentation(shift=0.2, moved=0.0, flip=1.0)
    assert not told.changes_nothing
    assert torch.equal(augment(films, told, list(range(4))), films.flip(-1))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: ",".join(sorted(kind.model_fields_set)))
def test_a_film_without_a_seed_stays_as_it_is(films: torch.Tensor, kind: Augmentation) -> None:
    changed = augment(films, kind, [None, 3, None, 4])
    assert torch.equal(changed[[0, 2]], films[[0, 2]])
    assert torch.equal(changed[[1, 3]], augment(films[[1, 3]], kind, [3, 4]))


# Frames: off-line copies, then on-line views


def _recipe(depth: int = 8, **parts: dict[str, Any]) -> Recipe:
    told: dict[str, Any] = {"title": "t", "classes": {"a": ("a",), "b": ("b",)}, "preprocess": {"depth_bits": depth}}
    return Recipe.model_validate(told | parts)


COPIED = {"oversampling": {"rotate_degrees": 20.0, "copies": 4, "classes": ("a",)}}
TURNED = {"augmentation": {"rotate_degrees": 20.0}}


def _frames(films: int = 3, dtype: Any = np.uint8) -> Any:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (films, 32, 32)).astype(dtype)


@pytest.mark.parametrize(("depth", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_copies_are_changed_and_films_themselves_are_not(depth: int, dtype: Any) -> None:
    frames, keys = _frames(dtype=dtype), ["x", "y", "z"]
    made = changed_frames(frames, _recipe(depth, **COPIED), keys, copies=[0, 1, 2], views=[None] * 3)
    assert made.dtype == dtype
    assert np.array_equal(made[0], frames[0])
    assert not np.array_equal(made[1], frames[1])
    assert made.max() > np.iinfo(dtype).max / 2, "in the scale of its own depth"


def test_copies_of_a_film_differ_and_are_the_same_each_time() -> None:
    recipe, frames = _recipe(**COPIED), np.repeat(_frames(1), 4, 0)
    once, again = (
        changed_frames(frames, recipe, ["x"] * 4, copies=order, views=[None] * 4)
        for order in ([1, 2, 3, 4], [4, 3, 2, 1])
    )
    assert len({frame.tobytes() for frame in once}) == 4
    assert np.array_equal(once, again[::-1]), "whatever is made beside them"
    assert len({copy_seed(recipe, key, copy) for key in "xy" for copy in range(1, 5)}) == 8


def test_a_copy_is_changed_again_as_the_film_would_be() -> None:
    recipe = _recipe(**COPIED, **TURNED)
    frames = _frames()
    copied = changed_frames(frames, recipe, list("xyz"), copies=[1, 1, 1], views=[None] * 3)
    both = changed_frames(frames, recipe, list("xyz"), copies=[1, 1, 1], views=[7, 8, 9])
    after = changed_frames(copied, recipe, list("xyz"), copies=[0, 0, 0], views=[7, 8, 9])
    assert np.abs(both.astype(int) - after).max() <= 1, "but for rounding in between"
    assert not np.array_equal(both, copied)


def test_what_is_not_to_be_changed_is_the_same_array() -> None:
    frames = _frames()
    assert changed_frames(frames, _recipe(**COPIED), list("xyz"), copies=[0] * 3, views=[1, 2, 3]) is frames
    assert changed_frames(frames, _recipe(**TURNED), list("xyz"), copies=[0] * 3, views=[None] * 3) is frames


def test_the_caller_s_random_state_is_left_alone(films: torch.Tensor) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    augment(films, KINDS[-1], [1, 2, 3, 4])
    assert torch.equal(torch.rand(3), wanted)


@given(some.lists(some.one_of(some.integers(), some.text()), max_size=3))
def test_seeds_fit_torch_and_repeat(parts: list[object]) -> None:
    seed = seed_of(*parts)
    assert 0 <= seed < 2**63
    assert seed == seed_of(*parts)


def test_seeds_tell_their_parts_apart() -> None:
    told = [("a", "b"), ("ab",), ("a", "b", ""), ("b", "a"), (1, "a"), ("a", 1), (11, "a")]
    assert len({seed_of(*parts) for parts in told}) == len(told)

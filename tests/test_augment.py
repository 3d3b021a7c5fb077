import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from hilum.augment import augment, make_transform, seed_of
from hilum.recipe import Augmentation

KINDS = [
    Augmentation(rotate_degrees=20),
    Augmentation(zoom=0.2),
    Augmentation(shift=0.2),
    Augmentation(flip=True),
    Augmentation(brightness=0.4),
    Augmentation(contrast=0.4),
    Augmentation(rotate_degrees=10, zoom=0.1, shift=0.1, flip=True, brightness=0.2, contrast=0.2),
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
    changed = augment(films[:1].repeat(40, 1, 1, 1), Augmentation(flip=True), list(range(40)))
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

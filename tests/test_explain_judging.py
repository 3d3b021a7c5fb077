"""What maps are judged by: emptiness, shares, the pointing game, and weights drawn again."""

import numpy as np
import pytest
import torch

from hilum.enhance import Box
from hilum.explain.judging import (
    EMPTY,
    FLAT,
    NO_NUMBERS,
    Share,
    points_into,
    rank_correlation,
    share_inside,
    shown_map,
    told_lungs,
    told_randomisation,
)
from hilum.explain.redrawing import redrawn
from hilum.networks import build_classifier
from hilum.networks.classifier import Classifier
from hilum.preprocess import Preprocess
from hilum.recipe import Network


def test_a_map_is_what_raises_the_label_with_its_highest_cell_one() -> None:
    shown, why = shown_map(np.array([[-4.0, 0.0], [1.0, 2.0]]))
    assert why is None
    np.testing.assert_array_equal(shown, np.array([[0, 0], [0.5, 1]], np.float32))


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        ([[0.0, 0.0], [0.0, 0.0]], EMPTY),
        ([[-1.0, -2.0], [0.0, -3.0]], EMPTY),
        ([[-1.0, 1e-9], [-1.0, -1.0]], EMPTY),
        ([[3.0, 3.0], [3.0, 3.0001]], FLAT),
        ([[1.0, np.nan], [0.0, 0.0]], NO_NUMBERS),
        ([[1.0, np.inf], [0.0, 0.0]], NO_NUMBERS),
    ],
    ids=["zeros", "all lower it", "next to nothing raises it", "flat", "nan", "infinite"],
)
def test_what_shows_no_place_is_no_map(signed: list[list[float]], why: str) -> None:
    assert shown_map(np.array(signed)) == (None, why)


def test_shares_are_of_energy_and_of_area() -> None:
    shown, mask = np.zeros((4, 5), np.float32), np.zeros((4, 5), np.bool_)
    shown[0, 0], shown[3, 4] = 1, 0.5
    mask[:2, :2] = True
    share = share_inside(shown, mask)
    assert share is not None
    assert (share.energy, share.area) == (pytest.approx(2 / 3), pytest.approx(0.2))
    assert share.ratio == pytest.approx(10 / 3)
    assert points_into(shown, mask)
    assert not points_into(shown, ~mask)


def test_an_even_map_has_the_areas_share_in_any_mask() -> None:
    mask = np.random.default_rng(0).random((30, 20)) < 0.3
    share = share_inside(np.full((30, 20), 0.4, np.float32), mask)
    assert share is not None
    assert share.ratio == pytest.approx(1)


@pytest.mark.parametrize("empty", ["map", "mask"])
def test_without_a_map_or_a_mask_there_is_no_share(empty: str) -> None:
    shown, mask = np.ones((3, 3), np.float32) * (empty != "map"), np.full((3, 3), empty != "mask")
    assert share_inside(shown, mask) is None


def test_rank_correlation_is_of_order_and_without_sign() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 40, 40))
    assert rank_correlation(one, one**3) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(1)
    assert rank_correlation(one, other) < 0.1
    assert rank_correlation(one, np.zeros((40, 40))) == 0
    assert rank_correlation(one, np.full((40, 40), np.nan)) == 0


def _classifier() -> tuple[Classifier, torch.Tensor]:
    torch.manual_seed(0)
    network = Network.model_validate({"backbone": "test_resnet", "weights": "random", "pooling": "avg"})
    built, _ = build_classifier(network, Preprocess(size_px=64), classes=2)
    return built.eval(), torch.rand(1, 3, 64, 64)


@pytest.mark.parametrize("part", ["head", "all"])
def test_weights_are_drawn_again_where_it_is_said_and_nowhere_else(part: str) -> None:
    classifier, film = _classifier()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    drawn, again, other = (redrawn(classifier, part, film, seed).state_dict() for seed in (1, 1, 2))
    for name, value in before.items():
        assert torch.equal(classifier.state_dict()[name], value)
        assert torch.equal(drawn[name], again[name])
        if name.endswith("weight") and value.ndim > 1:
            changes = part == "all" or name.startswith("head.")
            assert torch.equal(drawn[name], value) != changes
            assert torch.equal(drawn[name], other[name]) != changes
            assert torch.equal(drawn[name].flatten().sort().values, value.flatten().sort().values)


def test_a_network_drawn_again_has_statistics_of_its_own_features() -> None:
    classifier, film = _classifier()
    drawn = redrawn(classifier, "all", film, 1)
    assert not drawn.training
    with torch.inference_mode():
        (maps,) = drawn.backbone(film)
    assert torch.isfinite(maps).all()
    assert 0.01 < float(maps.std()) < 100
    norms = [module for module in drawn.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    kept = [module for module in classifier.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert [norm.momentum for norm in norms] == [norm.momentum for norm in kept]


def test_randomisation_warns_only_where_maps_hardly_change() -> None:
    head, everything = told_randomisation({"head": [0.9, 0.8, 0.1], "all": [0.1, 0.2]})
    assert "median rank correlation of 0.80 (3 films): they hardly depend" in head
    assert everything.endswith("median rank correlation of 0.15 (2 films).")
    assert told_randomisation({"head": [], "all": []}) == []


@pytest.mark.parametrize(
    ("ratios", "told"),
    [
        ([0.5, 0.9, 3.0], "less than chance"),
        ([1.2], "1.20 times as much of a map as their area would by chance (median of 1 map): hardly more"),
        ([2.0, 2.5], "2.25 times as much of a map as their area would by chance (median of 2 maps)."),
    ],
    ids=["below", "hardly", "above"],
)
def test_lungs_are_told_by_the_median_ratio(ratios: list[float], told: str) -> None:
    assert told in str(told_lungs([Share(energy=0.3 * ratio, area=0.3) for ratio in ratios]))
    assert told_lungs([]) is None


def test_of_a_part_seen_its_own_area_counts_and_limits_are_those_of_whole_films() -> None:
    shown, mask = np.zeros((20, 20), np.float32), np.zeros((20, 20), np.bool_)
    mask[5:15, 5:9] = True
    seen = Box(5, 15, 5, 10)
    shown[5:15, 5:10] = 1  # a map that knows nothing, of a box that is nearly all lung
    random = share_inside(shown, mask, seen)
    assert random is not None
    assert (random.area, random.film_area) == (pytest.approx(0.8), pytest.approx(0.1))
    assert (random.ratio, random.film_ratio) == (pytest.approx(1), pytest.approx(1))
    perfect = share_inside(shown * mask, mask, seen)
    assert perfect is not None
    assert (perfect.ratio, perfect.film_ratio) == (pytest.approx(1.25), pytest.approx(10))
    against_the_film = share_inside(shown, mask)
    assert against_the_film is not None
    assert against_the_film.ratio == pytest.approx(8), "what the box alone would flatter a map by"
    assert "which is 80 % lung" in str(told_lungs([perfect]))
    full = Share(energy=1.0, area=1.0, film_area=0.3)
    assert full.film_ratio == 1


@pytest.mark.parametrize(("energy", "below"), [(0.5, True), (0.7, False)], ids=["below", "above"])
def test_the_two_ratios_are_on_one_side_of_chance(energy: float, below: bool) -> None:
    share = Share(energy=energy, area=0.6, film_area=0.3)
    assert (share.ratio < 1, share.film_ratio < 1) == (below, below)


def test_a_ratio_is_energy_over_area() -> None:
    assert Share(energy=0.6, area=0.3).ratio == pytest.approx(2)

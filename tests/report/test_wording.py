"""What the headline says for which figures."""

import dataclasses

import pytest

from hilum.evaluate import Evaluation, Score
from hilum.report.wording import Headline, figure, floor_name, headline, score_text


def told(evaluation: Evaluation, score: tuple[float, float, float], floor: tuple[float, float, float]) -> Headline:
    """The headline of a network and a header floor given as value, low, high."""
    network = Score(metric="macro_auroc", value=score[0], low=score[1], high=score[2], n=300)
    header = Score(metric="floor.header", value=floor[0], low=floor[1], high=floor[2], n=300)
    return headline(dataclasses.replace(evaluation, scores=(network,), floors=(header,)))


def test_a_floor_as_high_as_the_score_is_no_evidence(evaluation: Evaluation) -> None:
    top = told(evaluation, (0.95, 0.93, 0.97), (0.99, 0.98, 1.0))
    assert top.standing == "fail"
    assert top.above == pytest.approx(-0.04)
    assert top.sentence.startswith("A model that only reads file headers does better (0.990)")
    assert "not evidence that the network reads lungs" in top.sentence


def test_equal_to_the_digits_shown_is_as_well_not_better(evaluation: Evaluation) -> None:
    assert "does as well (0.950)" in told(evaluation, (0.95, 0.93, 0.97), (0.9501, 0.94, 0.96)).sentence


@pytest.mark.parametrize(
    ("score", "floor", "standing", "words"),
    [
        ((0.72, 0.64, 0.80), (0.66, 0.60, 0.70), "warn", "may be chance"),
        ((0.93, 0.91, 0.95), (0.80, 0.78, 0.82), "warn", "told apart by data set"),
        ((0.97, 0.96, 0.98), (0.55, 0.50, 0.60), "warn", "unverified"),
        ((0.85, 0.82, 0.88), (0.60, 0.55, 0.65), "above", "0.250 above a model that only reads file headers"),
    ],
)
def test_standings(
    evaluation: Evaluation,
    score: tuple[float, float, float],
    floor: tuple[float, float, float],
    standing: str,
    words: str,
) -> None:
    top = told(evaluation, score, floor)
    assert top.standing == standing
    assert words in top.sentence


@pytest.mark.parametrize(("outside", "standing", "words"), [(0.7, "warn", "falls to 0.700"), (0.95, "above", "probed")])
def test_a_fall_on_unseen_sources_is_said(evaluation: Evaluation, outside: float, standing: str, words: str) -> None:
    network = Score(metric="macro_auroc", value=0.97, low=0.96, high=0.98, n=300)
    elsewhere = dataclasses.replace(network, value=outside, fold="external")
    floor = Score(metric="floor.header", value=0.55, low=0.5, high=0.6, n=300)
    top = headline(dataclasses.replace(evaluation, scores=(network, elsewhere), floors=(floor,)))
    assert top.standing == standing
    assert words in top.sentence


def test_without_a_floor_nobody_knows(evaluation: Evaluation) -> None:
    top = headline(dataclasses.replace(evaluation, floors=()))
    assert (top.floor, top.above, top.standing) == (None, None, "warn")
    assert "No shortcut floor was measured" in top.sentence


def test_without_a_score_nothing_can_be_said(evaluation: Evaluation) -> None:
    top = headline(dataclasses.replace(evaluation, scores=()))
    assert (top.score, top.standing) == (None, "fail")


def test_parts_of_a_floor_are_not_the_floor_and_elsewhere_is_external(evaluation: Evaluation) -> None:
    top = headline(evaluation)
    assert top.floor is not None
    assert top.floor.metric == "floor.header", "floor.header.width is higher, but a part"
    assert top.elsewhere is not None
    assert (top.elsewhere.value, top.elsewhere.fold) == (0.61, "external")


def test_digits() -> None:
    assert figure(-0.0123) == "−0.012"
    assert figure(0.00004) == "0.0000"
    assert score_text(Score(metric="auroc", value=0.5, low=None, high=0.6, n=3)) == "0.500"
    assert floor_name(Score(metric="floor.lung_size", value=0.5, low=None, high=None, n=3)) == "lung size only"

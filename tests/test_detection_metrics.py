"""Average precision of boxes: against the definition, against COCO's own tool, and its intervals."""

import itertools
from typing import Any

import numpy as np
import pytest

from hilum.boxes import Box, LabelledBox
from hilum.detection_metrics import ALL_LABELS, MOST_FOUND, THRESHOLDS, Detection, Ranking, detection_scores
from hilum.errors import DataError

Films = list[list[LabelledBox]]


def box(left: float, top: float, side: float = 10, *, label: str = "ggo", score: float | None = None) -> LabelledBox:
    return LabelledBox(label, Box.at(left, top, side, side), score)


def scored(reference: Films, found: Films, **told: Any) -> dict[str, Detection]:
    group = told.pop("group", [str(film) for film in range(len(reference))])
    return {one.label: one for one in detection_scores(reference, found, group, resamples=100, **told)}


def random_films(seed: int, films: int = 25, labels: tuple[str, ...] = ("ggo", "mass")) -> tuple[Films, Films]:
    """Films with none to five boxes; a detector that finds most of them, roughly, and some that are not there."""
    rng = np.random.default_rng(seed)
    reference: Films = []
    found: Films = []
    for _ in range(films):
        there = [
            LabelledBox(str(rng.choice(labels)), Box.at(*rng.uniform(0, 200, 2), *rng.uniform(10, 80, 2)))
            for _ in range(rng.integers(0, 6))
        ]
        made = []
        for one in there:
            for _ in range(rng.integers(0, 3)):
                shift = rng.normal(0, 0.12, 4) * np.array([one.box.width, one.box.height] * 2)
                left, top, right, bottom = np.array(one.box) + shift
                moved = Box(left, top, max(right, left + 1), max(bottom, top + 1))
                made.append(LabelledBox(one.label, moved, float(rng.beta(3, 2))))
        for _ in range(rng.integers(0, 3)):
            alarm = Box.at(*rng.uniform(0, 200, 2), *rng.uniform(10, 80, 2))
            made.append(LabelledBox(str(rng.choice(labels)), alarm, float(rng.beta(2, 3))))
        reference.append(there)
        found.append(made)
    return reference, found


def test_an_oracle_is_perfect_and_silence_finds_nothing() -> None:
    reference = [[box(0, 0), box(30, 0, label="mass")], [box(5, 5)], []]
    oracle = [[LabelledBox(one.label, one.box, 0.9) for one in boxes] for boxes in reference]
    perfect = scored(reference, oracle)
    assert [(told.ap50, told.ap) for told in perfect.values()] == [(1.0, 1.0)] * 3
    assert perfect["ggo"].ap_interval == (pytest.approx(0.025**0.5), 1.0), "two films prove little"
    assert perfect["mass"].ap_interval is None, "one film of three is missing from too many resamples"
    for told in scored(reference, [[], [], []]).values():
        assert (told.ap50, told.ap) == (0.0, 0.0)
        assert told.found == 0


def test_counts_of_films_and_boxes() -> None:
    reference = [[box(0, 0), box(30, 0), box(60, 0, label="mass")], [box(5, 5)], []]
    found = [[box(0, 0, score=0.5)], [], [box(0, 0, score=0.5)]]
    told = scored(reference, found)
    assert list(told) == ["ggo", "mass", ALL_LABELS]
    assert [(one.films, one.boxes, one.found) for one in told.values()] == [(2, 3, 2), (1, 1, 0), (2, 4, 2)]
    assert told[ALL_LABELS].ap50 == pytest.approx((told["ggo"].ap50 or 0) / 2)


def test_a_film_without_boxes_and_without_finds_counts_nothing() -> None:
    reference, found = random_films(3)
    with_empty = scored(reference + [[]] * 10, found + [[]] * 10)
    for label, told in scored(reference, found).items():
        assert (told.ap50, told.ap, told.boxes) == (
            with_empty[label].ap50,
            with_empty[label].ap,
            with_empty[label].boxes,
        )
    alarm = scored([*reference, []], [*found, [box(0, 0, score=1.0)]])
    assert (alarm["ggo"].ap50 or 0) < (scored(reference, found)["ggo"].ap50 or 0)


def test_by_hand() -> None:
    """Right, wrong, right, and one never found: precision 1 up to recall 1/3, 2/3 up to 2/3, then 0."""
    reference = [[box(0, 0), box(30, 0), box(60, 0)]]
    found = [[box(0, 0, score=0.9), box(0, 50, score=0.8), box(30, 0, score=0.7)]]
    ap = (34 * 1 + 33 * 2 / 3 + 34 * 0) / 101
    assert scored(reference, found)["ggo"].ap50 == pytest.approx(ap)
    assert scored(reference, found)["ggo"].ap == pytest.approx(ap)


def test_each_box_is_found_once_and_by_the_surest() -> None:
    reference = [[box(0, 0)]]
    twice = [[box(0, 0, score=0.9), box(0, 0, score=0.8)]]
    assert scored(reference, twice)["ggo"].ap50 == 1.0
    ranking = Ranking.of(reference, twice, "ggo")
    assert ranking.right[0].tolist() == [True, False]
    rough_first = [[box(2, 0, score=0.9), box(0, 0, score=0.8)]]  # overlap 2/3: right up to .65, then the second is
    ranking = Ranking.of(reference, rough_first, "ggo")
    assert ranking.right[:, 0].tolist() == (THRESHOLDS < 2 / 3).tolist()
    assert ranking.right[:, 1].tolist() == (THRESHOLDS > 2 / 3).tolist()


def test_another_label_on_the_spot_is_wrong() -> None:
    told = scored([[box(0, 0)]], [[box(0, 0, label="mass", score=0.9)]])
    assert list(told) == ["ggo", ALL_LABELS], "a label nobody drew has no recall"
    assert told["ggo"].ap50 == 0.0


@pytest.mark.parametrize("side", [5.0, 10.0])
def test_an_overlap_of_one_half_reaches_one_half(side: float) -> None:
    reference = [[LabelledBox("ggo", Box.at(0, 0, 10, 10))]]
    found = [[LabelledBox("ggo", Box.at(0, 0, 10, side), 0.9)]]
    told = scored(reference, found)["ggo"]
    assert told.ap50 == 1.0
    assert told.ap == pytest.approx(0.1 if side == 5 else 1.0)


def test_no_boxes_at_all_is_no_figure() -> None:
    (told,) = scored([[], []], [[box(0, 0, score=0.5)], []]).values()
    assert (told.label, told.films, told.boxes, told.found, told.ap50, told.ap) == (ALL_LABELS, 0, 0, 1, None, None)
    assert told.ap_interval is None


def test_the_order_of_films_and_boxes_does_not_matter_even_where_scores_tie() -> None:
    reference, found = random_films(5)
    found = [[LabelledBox(one.label, one.box, round(one.score or 0, 1)) for one in made] for made in found]
    there = scored(reference, found)
    for label, told in scored(reference[::-1], found[::-1]).items():
        assert (told.ap50, told.ap) == pytest.approx((there[label].ap50, there[label].ap))


@pytest.mark.parametrize("seed", range(4))
def test_whole_weights_are_films_repeated(seed: int) -> None:
    """What every interval rests on."""
    reference, found = random_films(seed)
    weights = np.random.default_rng(seed).integers(0, 4, len(reference))
    rows = np.repeat(np.arange(len(reference)), weights)
    repeated = Ranking.of([reference[row] for row in rows], [found[row] for row in rows], "ggo")
    weighted = Ranking.of(reference, found, "ggo").average_precision(weights[None].astype(float))
    assert weighted == pytest.approx(repeated.average_precision(np.ones((1, len(rows)))))
    none = Ranking.of(reference, found, "ggo").average_precision(np.zeros((1, len(reference))))
    assert np.isnan(none).all()


def test_intervals_hold_the_figure_and_widen_with_the_groups() -> None:
    reference, found = random_films(11, films=60)
    alone = scored(reference, found)
    grouped = scored(reference, found, group=[str(film // 20) for film in range(60)])
    for label, told in alone.items():
        assert told.ap is not None
        assert told.ap_interval is not None
        assert told.ap_interval[0] < told.ap < told.ap_interval[1]
        assert grouped[label].ap == told.ap
    assert scored(reference, found) == alone
    assert scored(reference, found, seed=1) != alone


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(DataError, match="1, 2 and 1 films"):
        detection_scores([[]], [[], []], ["a"])
    with pytest.raises(DataError, match="has no score"):
        detection_scores([[]], [[box(0, 0)]], ["a"])


GOLDEN = {
    0: (0.542995914918973, 0.23200943753506575),
    1: (0.4559883284289772, 0.20329375818561723),
    2: (0.5031244490876515, 0.22947956795098182),
}
"""AP@.5 and AP@.5:.95 of `random_films(seed)` as pycocotools 2.0.11 gives them."""


@pytest.mark.parametrize("seed", sorted(GOLDEN))
def test_the_figures_are_cocos(seed: int) -> None:
    told = scored(*random_films(seed))[ALL_LABELS]
    assert (told.ap50, told.ap) == pytest.approx(GOLDEN[seed], abs=1e-9)


@pytest.mark.parametrize("seed", range(100, 106))
def test_cocos_own_tool_agrees(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools", reason="needs pycocotools, which compares")
    reference, found = random_films(seed, labels=("ggo", "mass", "effusion"))
    reference[0] += [box(20.0 * n, 0, 15) for n in range(8)]
    rng = np.random.default_rng(seed)
    found[0] += [box(*rng.uniform(0, 200, 2), 15, score=float(rng.random())) for _ in range(MOST_FOUND + 20)]
    theirs = coco_figures(reference, found)
    capsys.readouterr()
    ours = scored(reference, found)
    assert [(one.ap50, one.ap) for one in ours.values()] == [pytest.approx(pair, abs=1e-9) for pair in theirs]


def coco_figures(reference: Films, found: Films) -> list[tuple[float, float]]:
    """AP@.5 and AP@.5:.95 of every label, and last their mean, as pycocotools gives them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    labels = sorted({one.label for boxes in reference for one in boxes})
    numbers = itertools.count(1)

    def rows(films: Films) -> list[dict[str, Any]]:
        return [
            {
                "id": next(numbers),
                "image_id": film + 1,
                "category_id": labels.index(one.label),
                "bbox": [one.box.left, one.box.top, one.box.width, one.box.height],
                "area": one.box.area,
                "iscrowd": 0,
                "score": one.score,
            }
            for film, boxes in enumerate(films)
            for one in boxes
            if one.label in labels
        ]

    truth = COCO()
    truth.dataset = {
        "images": [{"id": film + 1} for film in range(len(reference))],
        "categories": [{"id": number} for number in range(len(labels))],
        "annotations": rows(reference),
        "info": {},
    }
    truth.createIndex()
    judge = COCOeval(truth, truth.loadRes(rows(found)), "bbox")
    judge.evaluate()
    judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, 2]  # (thresholds, recalls, labels), any area, 100 boxes
    pairs = [(float(precision[0, :, k].mean()), float(precision[:, :, k].mean())) for k in range(len(labels))]
    return [*pairs, (float(precision[0].mean()), float(precision.mean()))]

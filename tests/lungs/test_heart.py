"""The cardiothoracic ratio: exact on drawn masks, told with its reason where there is none, measured beside lungs."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hilum.lungs import HeartSize, Reach, as_json, heart_size, segment_lungs
from hilum.lungs.rows import row_of
from hilum.lungs.writing import write_overlay, write_table
from hilum.preprocess import Mask, Preprocess

SHAPE = (100, 120)


def box(top: int, bottom: int, left: int, right: int) -> Mask:
    mask = np.zeros(SHAPE, bool)
    mask[top:bottom, left:right] = True
    return mask


RIGHT, LEFT = box(10, 90, 12, 48) | box(70, 80, 8, 48), box(14, 86, 62, 108)
HEART = box(55, 84, 38, 84)
VESSELS = box(12, 56, 30, 96)
"""Wider than the heart, and above the middle of the lungs' height, which is row 50."""


def measured(right: Mask, left: Mask, heart: Mask) -> HeartSize:
    size = heart_size(right, left, heart)
    assert isinstance(size, HeartSize), size
    return size


def test_the_ratio_is_that_of_the_drawn_widths() -> None:
    size = measured(RIGHT, LEFT, HEART)
    assert size.ratio == (84 - 38) / (108 - 8)
    assert (size.right, size.left) == (Reach(69, 38, 55), Reach(69, 55, 84))
    assert (size.thorax.start, size.thorax.end, size.thorax.width) == (8, 108, 100)
    assert 70 <= size.thorax.row < 80


def test_what_lies_above_the_lungs_lower_half_does_not_count() -> None:
    vessels = VESSELS.copy()
    vessels[50:] = False
    assert measured(RIGHT, LEFT, HEART | vessels | box(50, 56, 50, 60)) == measured(
        RIGHT, LEFT, HEART | box(50, 56, 50, 60)
    )
    assert measured(RIGHT, LEFT, HEART | VESSELS).ratio > measured(RIGHT, LEFT, HEART).ratio, "its lowest rows do"


def test_what_lies_below_the_lungs_and_apart_from_the_heart_does_not_count() -> None:
    belly, speck = box(84, 100, 0, 120) & ~box(84, 90, 0, 120), box(60, 64, 100, 104)
    assert measured(RIGHT, LEFT, HEART | box(84, 95, 50, 60) | belly | speck) == measured(
        RIGHT, LEFT, HEART | box(84, 90, 50, 60)
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(30, 54), st.integers(56, 90), st.integers(0, 11), st.integers(1, 3))
def test_the_ratio_is_the_same_at_any_scale_and_place_and_in_the_mirror(
    first: int, last: int, shift: int, scale: int
) -> None:
    heart = box(55, 84, first, last)
    size = measured(RIGHT, LEFT, heart)
    assert size.ratio == pytest.approx((last - first) / 100)
    assert size.right.end == size.left.start
    moved = [np.roll(mask, shift, axis=1) for mask in (RIGHT, LEFT, heart)]
    assert measured(*moved).ratio == size.ratio
    larger = [np.kron(mask, np.ones((scale, scale), bool)) for mask in (RIGHT, LEFT, heart)]
    assert measured(*larger).ratio == pytest.approx(size.ratio)
    mirrored = measured(LEFT[:, ::-1], RIGHT[:, ::-1], heart[:, ::-1])
    assert mirrored.ratio == size.ratio
    assert (mirrored.left.width, mirrored.right.width) == (size.right.width, size.left.width)


NOTHING = np.zeros(SHAPE, bool)


@pytest.mark.parametrize(
    ("right", "left", "heart", "says"),
    [
        (RIGHT, LEFT, NOTHING, "no heart is found in the lower half of the lungs' height"),
        (RIGHT, LEFT, box(10, 40, 40, 70), "no heart is found in the lower half of the lungs' height"),
        (RIGHT, NOTHING, HEART, "one lung alone does not show how wide the thorax is"),
        (box(0, 20, 5, 40), box(40, 90, 60, 110), HEART, "no row of the lungs' lower half crosses both of them"),
        (RIGHT, LEFT, box(55, 84, 20, 50), "the heart lies on one side of the midline"),
        (RIGHT, LEFT, box(55, 84, 4, 110), "the heart is as wide as the thorax"),
    ],
)
def test_where_there_is_no_ratio_the_reason_is_told(right: Mask, left: Mask, heart: Mask, says: str) -> None:
    assert heart_size(right, left, heart) == says


def film(path: Path, *, heart: bool = True, left: bool = True) -> Path:
    """Dark lungs (grey 40), a bright heart (230), all else between."""
    grey = np.full(SHAPE, 140, np.uint8)
    grey[RIGHT], grey[LEFT if left else NOTHING], grey[HEART if heart else NOTHING] = 40, 40, 230
    cv2.imwrite(str(path), grey)
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("films")
    (folder / "torn.png").write_bytes(film(folder / "a.png").read_bytes()[:90])
    return [
        folder / "a.png",
        folder / "torn.png",
        film(folder / "one.png", left=False),
        film(folder / "heartless.png", heart=False),
        folder / "a.png",
    ]


def says(where: Any, labels: tuple[str, ...], **preprocess: Any) -> Any:
    """A bundle whose labels are all where its frames are."""

    def probabilities(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        inside = np.where(where(frames), 0.97, 0.02).astype(np.float32)[:, None]
        return np.concatenate([np.zeros_like(inside)] * (len(labels) - 1) + [inside], axis=1)

    return SimpleNamespace(
        labels=labels,
        preprocess=Preprocess(channels=1, **preprocess),
        threshold=0.5,
        digest=labels[-1][0] * 64,
        plausible={},
        probabilities=probabilities,
    )


@pytest.fixture
def bundles() -> dict[str, Any]:
    """Lungs as they are drawn, hearts of a bundle with several labels and frames of another size and aspect."""
    lungs = says(lambda frames: frames < 90, ("lungs",), size_px=120)
    heart = says(lambda frames: frames > 190, ("ggo", "consolidation", "cardiomediastinum"), size_px=160, aspect="pad")
    return {"bundle": lungs, "heart": heart}


def test_hearts_are_measured_beside_lungs_and_each_film_without_a_ratio_says_why(
    films: list[Path], bundles: dict[str, Any], tmp_path: Path
) -> None:
    found = list(segment_lungs(films, **bundles))
    assert [one.film for one in found] == films
    whole, torn, one_lung, heartless, again = found
    assert whole.heart is not None
    assert whole.heart.shape == SHAPE
    assert whole.measures["cardiothoracic_ratio"] == pytest.approx(0.46, abs=0.02)
    assert again.measures == whole.measures
    assert (torn.heart_size, torn.heart) == (None, None)
    assert (one_lung.heart_size, one_lung.heart) == ("its lungs are flagged", None)
    assert heartless.heart_size == "no heart is found in the lower half of the lungs' height"
    assert "cardiothoracic_ratio" not in one_lung.measures.keys() | heartless.measures.keys()
    assert whole.without_masks().heart is None
    told = as_json(whole)
    assert told["cardiothoracic_ratio"] == round(whole.measures["cardiothoracic_ratio"], 6)
    assert told["heart_bundle"] == "c" * 64
    assert as_json(heartless)["no_ratio"] == heartless.heart_size
    write_table([row_of(one) for one in found], tmp_path / "lungs.csv")
    rows = list(csv.DictReader((tmp_path / "lungs.csv").read_text().splitlines()))
    assert [row["cardiothoracic_ratio"] != "" for row in rows] == [True, False, False, False, True]
    assert [row["no_ratio"] != "" for row in rows] == [False, False, True, True, False]
    assert [row["heart_bundle"] != "" for row in rows] == [True, False, True, True, True]


def test_lungs_are_the_same_whether_hearts_are_measured_or_not(films: list[Path], bundles: dict[str, Any]) -> None:
    for one, alone in zip(segment_lungs(films, **bundles), segment_lungs(films, bundle=bundles["bundle"]), strict=True):
        assert (one.refusal, one.flags) == (alone.refusal, alone.flags)
        assert np.array_equal(one.both, alone.both)  # type: ignore[arg-type]
        assert alone.measures.items() <= one.measures.items()
        assert (alone.heart, alone.heart_size, alone.heart_digest) == (None, None, None)
        assert "heart_bundle" not in as_json(alone)


def test_the_overlay_shows_the_heart_and_its_widths(films: list[Path], bundles: dict[str, Any], tmp_path: Path) -> None:
    (found,) = segment_lungs(films[:1], **bundles)
    write_overlay(found, tmp_path / "with.png")
    (alone,) = segment_lungs(films[:1], bundle=bundles["bundle"])
    write_overlay(alone, tmp_path / "without.png")
    one, other = (cv2.imread(str(tmp_path / name)) for name in ("with.png", "without.png"))
    assert one is not None
    assert other is not None
    assert one.shape == other.shape
    changed = (one != other).any(axis=2)
    scale = 640 / 120
    heart, outside = changed[round(55 * scale) : round(84 * scale)], changed[round(92 * scale) :]
    assert heart.mean() > 0.01
    assert not outside.any()


def test_hearts_drawn_by_hand_have_plausible_ratios(data_pack: Path) -> None:
    masks = data_pack / "covid_seg" / "masks"
    ratios = []
    for path in sorted((masks / "cardiomediastinum").glob("*.png")):
        others = [masks / side / path.name for side in ("right_lung", "left_lung")]
        if not all(other.is_file() for other in others):
            continue
        right, left, heart = (np.asarray(cv2.imread(str(file), 0)) > 127 for file in (*others, path))
        size = heart_size(right, left, heart)
        ratios += [size.ratio] if isinstance(size, HeartSize) else []
    assert len(ratios) > 90
    assert 0.4 < np.median(ratios) < 0.55
    assert 0.25 < min(ratios) < max(ratios) < 0.85

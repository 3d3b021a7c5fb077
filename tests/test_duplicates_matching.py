"""Crops, turned, squeezed, mirrored and inverted films lie where they were cut; captions and devices make no pair."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hilum.duplicates.keypoints import HANGINGS, MOST, SIDE_PX, Hanging, Keypoints, describe, hung
from hilum.duplicates.matching import INLIERS, Match, distinct, frame_of, in_own_pixels, match, moved, plausible
from hilum.duplicates.words import BITS, COMMON, TABLES, WordIndex, words_of

Film = NDArray[np.float32]


def textured(seed: int, height: int = 420, width: int = 360) -> Film:
    """Soft blobs of many sizes: as many places to recognise as a film has, and others for every seed."""
    rng = np.random.default_rng(seed)
    film = np.zeros((height, width), np.float32)
    for cells in (5, 11, 23, 47):
        layer = rng.random((cells, cells)).astype(np.float32)
        film += cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) / cells**0.5
    return ((film - film.min()) / np.ptp(film)).astype(np.float32)


def warped(film: Film, affine: list[list[float]], size: tuple[int, int]) -> Film:
    """The film moved; `size` is (width, height)."""
    moved_film: Film = cv2.warpAffine(film, np.array(affine), size, flags=cv2.INTER_AREA)
    return moved_film


def captioned(film: Film, text: str) -> Film:
    """Burnt-in lines of text in the upper left corner."""
    ink = np.zeros(film.shape, np.uint8)
    for line in range(3):
        cv2.putText(ink, text, (8, 22 + 20 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
    return np.maximum(film, ink.astype(np.float32) / 255)


@pytest.fixture(scope="module")
def film() -> Film:
    return textured(0)


@pytest.fixture(scope="module")
def whole(film: Film) -> Keypoints:
    return describe(film)


def matched(whole: Keypoints, film: Film, hanging: Hanging = "as is") -> Match | None:
    other = describe(np.ascontiguousarray(film))
    found = match(whole, other, hanging=hanging)
    return found and in_own_pixels(found, whole, other)


def test_a_crop_lies_where_it_was_cut(film: Film, whole: Keypoints) -> None:
    found = matched(whole, film[90:300, 60:270])
    assert found is not None
    assert found.inliers >= INLIERS
    assert found.affine == pytest.approx(np.array([[1, 0, 60], [0, 1, 90]]), abs=1.5)
    assert found.overlap == pytest.approx(1, abs=0.02)


def test_the_movement_is_told_in_pixels_of_both_films(whole: Keypoints, film: Film) -> None:
    large = cv2.resize(film, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC).clip(0, 1)
    found = matched(whole, large[300:1200, 150:1050])
    assert found is not None
    assert max(large.shape) > SIDE_PX
    assert found.scale == pytest.approx(1 / 3, rel=0.02)
    assert found.affine[:, 2] == pytest.approx([50, 100], abs=2)


@pytest.mark.parametrize("degrees", [-20, 90, 180])
def test_a_turned_film_is_recognised(film: Film, whole: Keypoints, degrees: int) -> None:
    turn = cv2.getRotationMatrix2D((180, 210), degrees, 0.8)
    found = matched(whole, warped(film, turn.tolist(), (360, 420)))
    assert found is not None
    turned = (found.rotation_degrees - degrees + 180) % 360 - 180
    assert turned == pytest.approx(0, abs=2), "back by as much as it was turned"


def test_a_film_squeezed_to_a_square_is_recognised(film: Film, whole: Keypoints) -> None:
    found = matched(whole, cv2.resize(film, (256, 256), interpolation=cv2.INTER_AREA))
    assert found is not None
    assert found.stretch == pytest.approx(420 / 360, rel=0.03)


@pytest.mark.parametrize("hanging", HANGINGS)
def test_a_hanging_is_recognised_as_itself_only(film: Film, whole: Keypoints, hanging: Hanging) -> None:
    other = film[:, ::-1] if hanging.startswith("mirrored") else film
    other = 1 - other if hanging.endswith("inverted") else other
    for tried in HANGINGS:
        found = matched(whole, other, tried)
        assert (found is not None) == (tried == hanging)
        assert found is None or found.affine == pytest.approx(np.array([[1, 0, 0], [0, 1, 0]]), abs=1.5)


def test_hanging_twice_changes_nothing(whole: Keypoints) -> None:
    for hanging in HANGINGS:
        again = hung(hung(whole, hanging), hanging)
        assert (again.descriptors == whole.descriptors).all()
        assert again.points == pytest.approx(whole.points, abs=1e-3)


def test_other_films_do_not_match(whole: Keypoints) -> None:
    assert [matched(whole, textured(seed)) for seed in range(1, 5)] == [None] * 4


def test_a_shared_caption_is_no_shared_picture() -> None:
    text = "PORTABLE AP 12:45 SEMI-ERECT"
    first, second = (describe(captioned(textured(seed), text)) for seed in (1, 2))
    assert match(first, second) is None
    assert match(first, describe(captioned(textured(1), "ANOTHER CAPTION"))) is not None


def test_agreement_in_one_corner_is_not_enough(film: Film, whole: Keypoints) -> None:
    """The same device, in one place, on films of different patients."""
    other = textured(7)
    other[:150, :150] = film[:150, :150]
    assert match(whole, describe(other)) is None


def test_films_without_anything_to_recognise_match_nothing(whole: Keypoints) -> None:
    blank = describe(np.full((200, 100), 0.5, np.float32))
    assert len(blank) == 0
    assert match(whole, blank) is None
    assert match(blank, blank) is None


def test_no_more_keypoints_than_promised_lie_in_the_film() -> None:
    described = describe(textured(3, 900, 700))
    assert 0 < len(described) <= MOST
    assert described.size == (512, 398)
    assert described.shape == (900, 700)
    assert (described.points >= 0).all()
    assert (described.points < described.size[::-1]).all()


def test_equal_pixels_have_equal_digests_and_other_shapes_have_not(film: Film, whole: Keypoints) -> None:
    assert describe(film.copy()).digest == whole.digest
    assert describe(film.reshape(360, 420)).digest != whole.digest


@pytest.mark.parametrize(
    ("linear", "can"),
    [
        ([[0.5, 0], [0, 0.5]], True),
        ([[0, -1], [1, 0]], True),
        ([[1, 0], [0, 1.5]], True),
        ([[1, 0], [0, 2.5]], False),
        ([[1, 0.4], [0, 1]], False),
        ([[-1, 0], [0, 1]], False),
        ([[0.01, 0], [0, 0.01]], False),
        ([[9, 0], [0, 9]], False),
    ],
)
def test_what_an_export_can_do(linear: list[list[float]], can: bool) -> None:
    assert plausible(np.hstack([np.array(linear, float), [[3.0], [4.0]]])) == can


def test_keypoints_on_one_spot_count_once() -> None:
    spot = np.full((30, 2), 100.0, np.float32)
    apart = np.stack([np.arange(30) * 20, np.zeros(30)], axis=1).astype(np.float32)
    assert distinct(spot, apart) == 1
    assert distinct(apart, apart) == 30


def test_a_frame_is_moved_as_its_film_is() -> None:
    half = np.array([[0.5, 0, 10], [0, 0.5, 20]])
    assert moved(frame_of((100, 60)), half).tolist() == [[10, 20], [40, 20], [40, 70], [10, 70]]


def test_a_crop_is_looked_up_before_other_films() -> None:
    films = [textured(seed) for seed in range(12)]
    films.append(films[4][100:330, 80:300])
    words = [words_of(describe(np.ascontiguousarray(film)).descriptors) for film in films]
    known = WordIndex.of(words)
    assert known.nearest(words[12], most=1, but=12).tolist() == [4]
    assert 12 not in known.nearest(words[12], most=13, but=12)


def test_a_mirrored_film_is_looked_up_by_its_mirrored_words() -> None:
    films = [describe(textured(seed)) for seed in range(6)]
    films.append(describe(np.ascontiguousarray(textured(2)[:, ::-1])))
    words, mirrored = ([words_of(hung(film, way).descriptors) for film in films] for way in (HANGINGS[0], HANGINGS[1]))
    known = WordIndex.of(words)
    assert known.nearest(mirrored[6], most=1, but=6).tolist() == [2]
    assert known.nearest(mirrored[2], most=1, but=2).tolist() == [6]
    assert known.nearest(words[6], most=1, but=6).tolist() != [2]


def test_a_rare_word_counts_more_and_one_of_too_many_films_not_at_all() -> None:
    everywhere, some, rare = 7, 8, 9
    words = [np.array([everywhere], np.int32) for _ in range(COMMON + 1)]
    words[1:20] = [np.array([everywhere, some], np.int32)] * 19
    words[30] = np.array([everywhere, rare], np.int32)
    known = WordIndex.of(words)
    asked = np.array([everywhere, some, rare], np.int32)
    assert known.nearest(asked, most=4, but=0).tolist() == [30, 1, 2, 3]
    assert known.nearest(asked, most=4, but=30).tolist() == [1, 2, 3, 4]
    assert known.nearest(words[0], most=4, but=0).tolist() == []
    assert known.nearest(asked[:0], most=4, but=0).tolist() == []


def test_fewer_films_than_are_asked_for() -> None:
    words = [np.array([3], np.int32), np.array([3, 4], np.int32)]
    assert WordIndex.of(words).nearest(words[0], most=4, but=0).tolist() == [1]


@pytest.mark.parametrize("films", [0, 1, 3])
def test_an_index_is_the_same_when_it_is_opened_again(films: int, tmp_path: Path) -> None:
    words = [np.array([3, 5 + film], np.int32) for film in range(films)]
    known = WordIndex.of(words)
    known.save(tmp_path)
    again = WordIndex.open(tmp_path)
    asked = np.array([3, 5], np.int32)
    assert again.nearest(asked, most=9, but=7).tolist() == known.nearest(asked, most=9, but=7).tolist()
    assert len(again.nearest(asked, most=9, but=7)) == films


def test_words_hold_the_bits_they_say() -> None:
    words = words_of(np.random.default_rng(0).integers(0, 60, (500, 128)).astype(np.uint8))
    assert set((words >> BITS).tolist()) == set(range(TABLES))
    assert (words & ((1 << BITS) - 1)).max() >= 1 << (BITS - 1)
    assert (np.diff(words) > 0).all()
    assert len(words_of(np.zeros((0, 128), np.uint8))) == 0

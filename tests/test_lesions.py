"""Films in, lesions out: with networks that draw what is grey or bright, so that every result is known beforehand."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hilum.boxes import Box, LabelledBox, read_classes, read_yolo
from hilum.errors import BundleError
from hilum.index import build_index
from hilum.lesions import LESIONS, SHARES, Lesions, as_json, lesions_bundle, scored_boxes, segment_lesions, write_boxes
from hilum.lesions import films as lesion_films
from hilum.lesions.rows import boxed, row_of
from hilum.lesions.severity import Score
from hilum.lesions.writing import FIRST, LAST, score_names, write_masks, write_table
from hilum.preprocess import Mask, Preprocess
from hilum.records import Radiograph
from hilum.report.lesions import COLOURS, write_overlay

from .drawers import drawer

HIGH, WIDE = 180, 240
LABELS = (*LESIONS, "cardiomediastinum")
PATCH = (slice(60, 90), slice(40, 80))
"""Of ground glass, inside the right lung of the drawn film, whose rows are 30 to 150."""


def film_of(kind: str = "ill") -> NDArray[np.uint8]:
    """Bright, two dark lungs, ground glass as a grey patch in the right one and a lighter one in the left.

    A heart that is brighter still lies beside the left lung.
    """
    film = np.full((HIGH, WIDE), 200, np.uint8)
    if kind != "none":
        film[30:150, 30:100] = 40
    if kind not in ("none", "one"):
        film[30:150, 140:210] = 40
    if kind == "ill":
        film[PATCH] = 90
        film[120:150, 160:190] = 120
        film[70:140, 105:135] = 240
    return film + np.random.default_rng(len(kind)).integers(0, 5, film.shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    told = {kind: folder / f"{kind}.png" for kind in ("ill", "well", "one", "none", "broken")}
    for kind, path in told.items():
        cv2.imwrite(str(path), film_of("ill" if kind == "broken" else kind))
    told["broken"].write_bytes(told["ill"].read_bytes()[:400])
    return told


class Grey:
    """A bundle that says of grey levels what they are; it counts the films it is shown."""

    plausible: dict[str, tuple[float, float]] = {}  # noqa: RUF012 - never changed
    threshold = 0.5

    def __init__(self, ranges: dict[str, tuple[int, int]], size_px: int) -> None:
        self.ranges, self.preprocess = ranges, Preprocess(size_px=size_px, channels=1)
        self.labels, self.digest = tuple(ranges), f"{size_px:064d}"
        self.shown = 0

    def probabilities(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.shown += len(frames)
        inside = [(low <= frames) & (frames < high) for low, high in self.ranges.values()]
        return np.where(np.stack(inside, 1), 0.9, 0.1).astype(np.float32)


@pytest.fixture
def around() -> Any:
    return Grey({"lungs": (0, 160)}, 96)


@pytest.fixture
def bundle() -> Any:
    return Grey({"ggo": (70, 110), "consolidation": (110, 150), "cardiomediastinum": (220, 256)}, 120)


def same(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_masks_have_the_film_s_size_and_shares_what_was_drawn(films: dict[str, Path], bundle: Any, around: Any) -> None:
    (found,) = segment_lesions([films["ill"]], bundle=bundle, lungs=around)
    patch = np.zeros((HIGH, WIDE), bool)
    patch[PATCH] = True
    assert found.refusal is None
    assert tuple(found.masks) == LABELS
    assert {mask.shape for mask in found.masks.values()} == {(HIGH, WIDE)}
    assert same(found.masks["ggo"], patch) > 0.9
    assert found.shares["ggo_right"] == pytest.approx(30 * 40 / (120 * 70), rel=0.1)
    assert found.shares["ggo_left"] < 0.06, "the soft edge of the other lesion alone"
    assert found.shares["consolidation_left"] == pytest.approx(30 * 30 / (120 * 70), rel=0.1)
    assert found.shares["consolidation_F"] == pytest.approx(3 * found.shares["consolidation_left"], rel=0.1)
    assert found.highest["ggo"] == pytest.approx(0.9)
    assert (found.bundle_digest, found.lungs.bundle_digest) == (bundle.digest, around.digest)
    assert found.scores == ()


def test_lesions_are_cut_to_the_lungs_and_the_heart_is_not(films: dict[str, Path], around: Any) -> None:
    everywhere: Any = Grey({"ggo": (0, 256), "consolidation": (255, 256), "cardiomediastinum": (220, 256)}, 64)
    (found,) = segment_lesions([films["ill"]], bundle=everywhere, lungs=around)
    assert found.lungs.both is not None
    assert np.array_equal(found.masks["ggo"], found.lungs.both)
    assert [found.shares[f"ggo_{part}"] for part in ("both", "right", "left")] == [1, 1, 1]
    assert found.highest["consolidation"] == pytest.approx(0.1)
    heart = found.masks["cardiomediastinum"]
    assert heart[80:130, 110:130].all()
    assert not (heart & found.lungs.both).any()


def test_results_come_in_order_and_refusals_say_why(films: dict[str, Path], bundle: Any, around: Any) -> None:
    order = [films[kind] for kind in ("one", "broken", "none", "ill", "well")] * 3
    for processes in (1, 2):
        found = list(segment_lesions(order, bundle=bundle, lungs=around, processes=processes))
        assert [one.film for one in found] == order
        assert [one.refusal is None for one in found] == [True, False, False, True, True] * 3
    one, broken, none, _, well = found[:5]
    assert one.flags == ("one lung: no left lung found",)
    assert math.isnan(one.shares["involved_both"])
    assert "broken.png" in (broken.refusal or "")
    assert none.refusal == "not applicable: no lung was found on none.png, and lesions are looked for in lungs alone"
    assert (none.masks, none.shares, none.boxes, none.size, none.flags) == ({}, {}, (), None, ())
    assert set(well.shares.values()) == {0.0}
    assert well.boxes == ()
    assert (around.shown, bundle.shown) == (2 * 3 * 4, 2 * 3 * 3), "nothing is asked of a film without lungs"


def test_a_detector_draws_the_boxes_in_place_of_the_masks(films: dict[str, Path], bundle: Any, around: Any) -> None:
    class Boxer:
        preprocess = Preprocess(size_px=48, channels=1)
        labels = ("ggo",)
        seen: ClassVar[list[tuple[int, int]]] = []

        def detect(self, frames: NDArray[Any], sizes: list[tuple[int, int]]) -> list[list[LabelledBox]]:
            assert frames.shape == (len(sizes), 48, 48)
            self.seen += sizes
            return [[LabelledBox("ggo", Box(number, 0, number + 5, 5), 0.5)] for number in range(len(sizes))]

    order = [films[kind] for kind in ("broken", "ill", "none", "well")]
    boxer: Any = Boxer()
    found = list(segment_lesions(order, bundle=bundle, lungs=around, detector=boxer))
    assert [[box.box.left for box in one.boxes] for one in found] == [[], [0], [], [1]], "each film its own"
    assert boxer.seen == [(HIGH, WIDE)] * 2
    assert found[1].masks["ggo"].any(), "the masks stay"


def test_each_film_is_decoded_once(
    films: dict[str, Path], bundle: Any, around: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hilum import projection

    read, seen = projection.read_for, []

    def counted(preprocess: Preprocess, path: Path) -> Any:
        seen.append(path.name)
        return read(preprocess, path)

    monkeypatch.setattr(projection, "read_for", counted)
    list(segment_lesions([films["ill"], films["well"]], bundle=bundle, lungs=around, processes=1))
    assert seen == ["ill.png", "well.png"]


def test_a_film_the_gate_refuses_is_refused_in_its_words(films: dict[str, Path], bundle: Any, around: Any) -> None:
    from hilum.projection import Look
    from hilum.records import View

    upright = {View.FRONTAL: 0.01, View.LATERAL: 0.98, View.OTHER: 0.01}
    look = Look(view=View.LATERAL, probability=0.98, inverted_probability=0.0, upright=upright)
    gate: Any = SimpleNamespace(preprocess=Preprocess(size_px=64), looks=lambda frames: [look] * len(frames))
    (found,) = segment_lesions([films["ill"]], bundle=bundle, lungs=around, gate=gate)
    assert found.refusal == "not applicable: ill.png looks like a lateral film (p = 0.99)"
    assert (around.shown, bundle.shown) == (0, 0)


def test_an_index_is_taken_without_the_films_it_leaves_out(films: dict[str, Path], bundle: Any, around: Any) -> None:
    records = [Radiograph(image_id=kind, source="drawn", path=path) for kind, path in films.items()]
    index = build_index(records, films["ill"].parent, processes=1)
    told = [one.film.name for one in segment_lesions(index, bundle=bundle, lungs=around)]
    assert told == ["ill.png", "well.png", "one.png", "none.png"]


def test_the_scores_are_those_of_the_shares_and_the_bundle(
    films: dict[str, Path], bundle: Any, around: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def told(shares: dict[str, float], digest: str) -> tuple[Score, ...]:
        assert digest == bundle.digest
        value = 10 * shares["ggo_right"]
        return (Score(name="extent", value=value, low=0.5, high=2, lowest=0, highest=8, meaning="made up"),)

    monkeypatch.setattr(lesion_films, "scores_of", told)
    found = list(segment_lesions([films["ill"], films["broken"]], bundle=bundle, lungs=around))
    assert as_json(found[0])["scores"]["extent"]["value"] == pytest.approx(10 * found[0].shares["ggo_right"], abs=1e-3)
    told = [row_of(one, one.film.stem) for one in found]
    write_table(told, tmp_path / "lesions.csv", scores=score_names(told))
    rows = list(csv.DictReader((tmp_path / "lesions.csv").read_text().splitlines()))
    assert tuple(rows[0]) == (*FIRST, "extent", "extent_low", "extent_high", *LAST)
    assert [row["extent_high"] for row in rows] == ["2.0000", ""]


def test_the_table_has_a_row_a_film_and_nothing_where_nothing_is_known(
    films: dict[str, Path], bundle: Any, around: Any, tmp_path: Path
) -> None:
    order = [films[kind] for kind in ("ill", "one", "broken")]
    found = list(segment_lesions(order, bundle=bundle, lungs=around))
    write_table([row_of(one, one.film.stem) for one in found], tmp_path / "lesions.csv")
    rows = list(csv.DictReader((tmp_path / "lesions.csv").read_text().splitlines()))
    assert tuple(rows[0]) == (*FIRST, *LAST)
    assert [row["name"] for row in rows] == ["ill", "one", "broken"]
    assert float(rows[0]["ggo_right"]) == pytest.approx(found[0].shares["ggo_right"], abs=1e-4)
    assert (rows[1]["ggo_right"], rows[1]["ggo_left"], rows[1]["ggo_both"]) == ("0.0000", "", "")
    assert {rows[2][name] for name in (*SHARES, "ggo_highest", "boxes")} == {""}
    assert [row["boxes"] for row in rows[:2]] == [str(len(found[0].boxes)), "0"]
    assert "broken.png" in rows[2]["refused"]
    plain = json.loads(json.dumps([as_json(one) for one in found], allow_nan=False))
    assert plain[1]["shares"]["ggo_left"] is None
    assert set(plain[2]) == {"film", "bundle", "lungs_bundle", "refused"}


def test_a_result_without_its_pixels_keeps_the_rest(films: dict[str, Path], bundle: Any, around: Any) -> None:
    (found,) = segment_lesions([films["ill"]], bundle=bundle, lungs=around)
    kept = found.without_masks()
    assert (kept.masks, kept.lungs.right) == ({}, None)
    assert (kept.shares, kept.boxes, kept.size) == (found.shares, found.boxes, found.size)


def test_masks_on_disk_are_0_and_255_of_the_film_s_size(
    films: dict[str, Path], bundle: Any, around: Any, tmp_path: Path
) -> None:
    found = list(segment_lesions([films["ill"], films["broken"]], bundle=bundle, lungs=around))
    for one in found:
        write_masks(one, tmp_path, "x-2" if one.refusal is None else "refused")
    assert {file.name for file in tmp_path.iterdir()} == {f"x-2-{label}.png" for label in LABELS}
    for label in LABELS:
        mask = cv2.imread(str(tmp_path / f"x-2-{label}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(mask, 255 * found[0].masks[label].astype(np.uint8))


def test_a_box_is_tight_and_scored_by_what_it_is_around() -> None:
    mask, inside = np.zeros((100, 200), bool), np.full((100, 200), 0.1, np.float32)
    mask[10:20, 10:30] = True
    inside[10:20, 10:30] = 0.6
    mask[60:90, 100:110] = mask[80:90, 100:140] = True
    inside[mask & (inside < 0.5)] = 0.8
    mask[50, 180] = True  # a speck
    told = scored_boxes("ggo", mask, inside)
    assert [one.box for one in told] == [Box(100, 60, 140, 90), Box(10, 10, 30, 20)]
    assert [one.score for one in told] == pytest.approx([0.8, 0.6])


def test_a_lesion_that_a_rib_cuts_has_one_box() -> None:
    mask = np.zeros((100, 200), bool)
    mask[10:20, 10:30] = mask[23:30, 10:30] = True
    (told,) = scored_boxes("ggo", mask, np.where(mask, 0.7, 0.0).astype(np.float32))
    assert told.box == Box(10, 10, 30, 30)
    assert told.score == pytest.approx(0.7)


def test_boxes_on_disk_come_back(films: dict[str, Path], bundle: Any, around: Any, tmp_path: Path) -> None:
    found = list(segment_lesions([films["ill"], films["well"], films["broken"]], bundle=bundle, lungs=around))
    write_boxes([boxed(row_of(one, one.film.stem)) for one in found], LESIONS, tmp_path)
    assert {file.name for file in tmp_path.glob("*.txt")} == {"ill.txt", "well.txt", "classes.txt"}
    classes = read_classes(tmp_path / "classes.txt")
    back = read_yolo(tmp_path / "ill.txt", classes, width_px=WIDE, height_px=HIGH)
    assert {one.label for one in back} == set(LESIONS)
    for one, other in zip(back, found[0].boxes, strict=True):
        assert (one.label, one.box) == (other.label, pytest.approx(other.box, abs=1e-3))
        assert one.score == pytest.approx(other.score, abs=1e-5)
    assert (tmp_path / "well.txt").read_text() == ""
    rows = list(csv.DictReader((tmp_path / "boxes.csv").read_text().splitlines()))
    assert [[int(row[edge]) for edge in ("left", "top", "right", "bottom")] for row in rows] == [
        list(one.box) for one in found[0].boxes
    ]
    assert {(row["width_px"], row["height_px"]) for row in rows} == {(str(WIDE), str(HIGH))}


def test_an_overlay_tints_each_lesion_in_its_own_colour(
    films: dict[str, Path], bundle: Any, around: Any, tmp_path: Path
) -> None:
    found = list(segment_lesions([films["ill"], films["broken"]], bundle=bundle, lungs=around))
    for one in found:
        write_overlay(one, tmp_path / f"{one.film.stem}.png", boxes=one.refusal is None)
    assert [file.name for file in tmp_path.iterdir()] == ["ill.png"]
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "ill.png")), cv2.COLOR_BGR2RGB).astype(int)
    film = picture[:480]
    blue, orange = (np.abs(film - COLOURS[label]).max(2) < 50 for label in LESIONS)
    assert picture.shape[1] == 640
    assert picture.shape[0] > 480, "the legend is below the film"
    assert blue[:, :320].sum() > 500
    assert orange[:, 320:].sum() > 300
    assert not orange[:, :320].any()
    assert not np.ptp(film[:60], axis=2).any(), "what is not a lesion stays grey"


def test_an_overlay_of_a_narrow_film_and_of_one_lung_is_drawn(
    films: dict[str, Path], bundle: Any, tmp_path: Path
) -> None:
    narrow = tmp_path / "narrow.png"
    cv2.imwrite(str(narrow), film_of("one")[:, :90])
    around: Any = Grey({"lungs": (0, 160)}, 96)
    (found,) = segment_lesions([narrow], bundle=bundle, lungs=around)
    write_overlay(found, tmp_path / "o.png")
    assert cv2.imread(str(tmp_path / "o.png")).shape[1] == 640


def test_a_bundle_must_draw_both_lesions_in_any_place(tmp_path: Path) -> None:
    bundle = lesions_bundle(drawer(tmp_path / "b", "cardiomediastinum", "consolidation", "ggo"))
    around: Any = Grey({"lungs": (0, 160)}, 96)
    cv2.imwrite(str(tmp_path / "film.png"), film_of())
    (found,) = segment_lesions([tmp_path / "film.png"], bundle=bundle, lungs=around)
    assert isinstance(found, Lesions)
    assert tuple(found.masks) == bundle.labels
    assert all(0 <= share <= 1 for share in found.shares.values())
    with pytest.raises(
        BundleError, match=r"draws lungs, ggo; a bundle with the labels ggo and consolidation is needed"
    ):
        lesions_bundle(drawer(tmp_path / "other", "lungs", "ggo"))


def test_lesions_are_imported_without_torch() -> None:
    told = "import sys, hilum.lesions, hilum.lesions.writing, hilum.report.lesions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0

"""Films in, lungs out: with a network that draws what is dark, so that every result is known beforehand."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hilum.index import build_index
from hilum.lungs import Lungs, as_json, flags_of, measure, plausible_range, segment_lungs, unsure_share
from hilum.lungs.rows import row_of
from hilum.lungs.writing import COLUMNS, write_mask, write_overlay, write_table
from hilum.preprocess import Mask, Preprocess
from hilum.projection import Look, ViewFilter, look_of
from hilum.records import Radiograph

HIGH, WIDE = 150, 190


def chest(kind: str = "both") -> tuple[NDArray[np.uint8], Mask, Mask]:
    """A film (150, 190) with dark lungs, the right one the larger, and where they are."""
    y, x = np.mgrid[0 : 1 : complex(HIGH), 0 : 1 : complex(WIDE)]
    right = ((x - 0.3) / 0.16) ** 2 + ((y - 0.5) / 0.34) ** 2 < 1
    left = ((x - 0.7) / 0.14) ** 2 + ((y - 0.5) / 0.32) ** 2 < 1
    right, left = right & (kind != "none"), left & (kind == "both")
    noise = np.random.default_rng(len(kind)).integers(0, 30, (HIGH, WIDE))
    return (200 - 150 * (right | left) + noise).astype(np.uint8), right, left


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    told = {}
    for kind in ("both", "one", "none"):
        told[kind] = folder / f"{kind}.png"
        cv2.imwrite(str(told[kind]), chest(kind)[0])
    told["broken"] = folder / "broken.png"
    told["broken"].write_bytes(told["both"].read_bytes()[:400])
    return told


@pytest.fixture
def bundle() -> Any:
    """Says lung where a frame is dark."""

    def probabilities(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.where(frames < 140, 0.97, 0.02).astype(np.float32)[:, None]

    return SimpleNamespace(
        preprocess=Preprocess(size_px=96, channels=1),
        threshold=0.5,
        digest="d" * 64,
        plausible={"area_share": (0.1, 0.5), "balance": (0.5, 1.0), "border_share": (0.0, 0.02)},
        probabilities=probabilities,
    )


def same(one: Mask, other: Mask) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_lungs_have_the_film_s_size_and_sides(films: dict[str, Path], bundle: Any) -> None:
    (found,) = segment_lungs([films["both"]], bundle=bundle)
    _, right, left = chest()
    assert found.right is not None
    assert found.left is not None
    assert found.both is not None
    assert found.right.shape == (HIGH, WIDE)
    assert same(found.right, right) > 0.96
    assert same(found.left, left) > 0.96
    assert found.measures["area_share"] == pytest.approx((right | left).mean(), rel=0.04)
    assert found.measures["right_share"] + found.measures["left_share"] == pytest.approx(found.measures["area_share"])
    assert found.flags == ()
    assert found.refusal is None


def test_results_come_in_order_and_a_film_that_cannot_be_read_is_refused(films: dict[str, Path], bundle: Any) -> None:
    order = [films[kind] for kind in ("one", "broken", "none", "both")] * 3
    for processes in (1, 2):
        found = list(segment_lungs(order, bundle=bundle, processes=processes))
        assert [one.film for one in found] == order
        assert [one.refusal is None for one in found] == [True, False, True, True] * 3
        assert found[0].flags == ("one lung: no left lung found",)
        assert found[2].flags == ("no lung found",)
        assert (found[1].right, found[1].measures) == (None, {})
        assert "broken.png" in (found[1].refusal or "")


class ByNoise(ViewFilter):
    """Takes films with two lungs for laterals, and counts the frames it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, ...]] = []

    @property
    def preprocess(self) -> Preprocess:
        return Preprocess(size_px=48)

    def looks(self, frames: NDArray[Any]) -> list[Look]:
        self.shown += [frame.shape for frame in frames]
        lateral = [float((frame < 140).mean() > 0.25) for frame in frames]
        rest = {"frontal_inverted": 0.0, "lateral_inverted": 0.0, "other": 0.0}
        return [look_of({"lateral": share, "frontal": 1 - share, **rest}) for share in lateral]


@pytest.mark.parametrize("processes", [1, 2])
def test_the_gate_refuses_before_the_network_and_the_others_are_drawn_alike(
    films: dict[str, Path], bundle: Any, processes: int
) -> None:
    order = [films[kind] for kind in ("one", "both", "broken", "none")] * 3
    gate, drawn = ByNoise(), []

    def probabilities(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        drawn.append(len(frames))
        return np.asarray(bundle.probabilities(frames))

    watched = SimpleNamespace(**{**vars(bundle), "probabilities": probabilities})
    found = list(segment_lungs(order, bundle=watched, gate=gate, processes=processes))  # type: ignore[arg-type]
    assert [one.film for one in found] == order
    assert gate.shown == [(48, 48)] * 9, "never what cannot be read"
    assert sum(drawn) == 6, "what was refused is not drawn"
    assert found[1].refusal == "not applicable: both.png looks like a lateral film (p = 1.00)"
    assert (found[1].right, found[1].measures, found[1].flags) == (None, {}, ())
    for one, alone in zip(found, segment_lungs(order, bundle=bundle, processes=1), strict=True):
        if one.film.name in ("one.png", "none.png"):
            assert (one.measures, one.flags) == (alone.measures, alone.flags)


def test_a_film_that_is_no_chest_by_its_header_is_refused_even_without_a_gate(data_pack: Path, bundle: Any) -> None:
    leg = data_pack / "dicom_samples" / "RG3_J2KI.dcm"
    (found,) = segment_lungs([leg], bundle=bundle)
    assert found.refusal == "not applicable: RG3_J2KI.dcm is no chest film by its own header"


def test_an_index_is_taken_without_the_films_it_leaves_out(films: dict[str, Path], bundle: Any) -> None:
    records = [Radiograph(image_id=kind, source="drawn", path=path) for kind, path in films.items()]
    index = build_index(records, films["both"].parent, processes=1)
    assert [one.film.name for one in segment_lungs(index, bundle=bundle)] == ["both.png", "one.png", "none.png"]


FLAGGED: dict[str, tuple[dict[str, float], str]] = {
    "small": ({"area_share": 0.05}, r"lungs cover 5 % of the film; 10 %-50 % seen"),
    "large": ({"area_share": 0.7}, r"lungs cover 70 % of the film"),
    "asymmetric": ({"balance": 0.2}, r"asymmetric: one lung has 20 % of the other's area"),
    "border": ({"border_share": 0.3}, r"over the border: 30 %"),
    "unsure": ({"unsure_share": 0.4}, r"unsure"),
}


@pytest.mark.parametrize("kind", FLAGGED)
def test_each_implausible_result_is_flagged_for_its_reason_alone(kind: str) -> None:
    usual = {"area_share": 0.3, "right_share": 0.16, "balance": 0.9, "border_share": 0.0, "unsure_share": 0.02}
    limits = {"area_share": (0.1, 0.5), "balance": (0.5, 1.0), "border_share": (0.0, 0.02), "unsure_share": (0.0, 0.1)}
    change, says = FLAGGED[kind]
    assert flags_of(usual, limits) == ()
    (flag,) = flags_of(usual | change, limits)
    assert says.replace("\\", "") in flag


def test_measures_of_known_masks() -> None:
    right, left = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    right[2:6, 0:5], left[2:4, 6:9] = True, True
    told = measure(right, left)
    assert told == pytest.approx(
        {"area_share": 0.26, "right_share": 0.2, "left_share": 0.06, "balance": 0.3, "border_share": 4 / 36}
    )
    assert measure(right, np.zeros((10, 10), bool))["balance"] == 0
    assert unsure_share(np.array([[0.99, 0.5], [0.6, 0.0]], np.float32), 0.55) == 1.0
    assert unsure_share(np.array([[0.99, 0.98], [0.95, 0.5]], np.float32), 0.55) == pytest.approx(1 / 3)
    assert unsure_share(np.zeros((2, 2), np.float32), 0.5) == 1.0
    low, high = plausible_range([0.2] * 500 + [0.4] * 500 + [9.0])
    assert (low, high) == pytest.approx((0.2, 0.4))


def test_masks_on_disk_are_0_and_255_or_sides(films: dict[str, Path], bundle: Any, tmp_path: Path) -> None:
    (found,) = segment_lungs([films["both"]], bundle=bundle)
    write_mask(found, tmp_path / "m.png")
    write_mask(found, tmp_path / "s.png", sides=True)
    write_overlay(found, tmp_path / "o.png")
    mask, sides = (cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED) for name in ("m.png", "s.png"))
    assert mask.shape == sides.shape == (HIGH, WIDE)
    assert np.array_equal(mask, 255 * found.both)
    assert np.array_equal(sides, found.right + 2 * found.left)
    overlay = cv2.imread(str(tmp_path / "o.png"))
    assert overlay.shape == (505, 640, 3)
    blue, orange = (np.abs(overlay.astype(int) - colour).max(2) < 60 for colour in ((255, 190, 0), (0, 190, 255)))
    assert blue[:, :320].sum() > 300
    assert orange[:, 320:].sum() > 300
    assert not blue[:, 320:].any()


def test_the_table_has_a_row_a_film(films: dict[str, Path], bundle: Any, tmp_path: Path) -> None:
    found = list(segment_lungs([films["both"], films["one"], films["broken"]], bundle=bundle))
    write_table([row_of(one, None if one.refusal else "m.png") for one in found], tmp_path / "lungs.csv")
    rows = list(csv.DictReader((tmp_path / "lungs.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["flags"] for row in rows] == ["", "one lung: no left lung found", ""]
    assert float(rows[0]["area_share"]) == pytest.approx(found[0].measures["area_share"], abs=1e-4)
    assert (rows[2]["mask"], rows[2]["area_share"]) == ("", "")
    assert "broken.png" in rows[2]["refused"]
    assert "refused" not in as_json(found[0])
    assert json.dumps(as_json(found[2])).count("broken.png") == 2


def test_a_result_without_its_pixels_keeps_what_was_measured() -> None:
    one = Lungs(film=Path("f"), bundle_digest="d", right=np.ones((2, 2), bool), left=np.ones((2, 2), bool))
    kept = replace(one, measures={"balance": 1.0}).without_masks()
    assert (kept.right, kept.left, kept.both, kept.measures) == (None, None, None, {"balance": 1.0})


def test_lungs_are_imported_without_torch() -> None:
    told = "import sys, hilum.lungs, hilum.lungs.writing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0

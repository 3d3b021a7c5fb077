"""Masks made for a whole index: once, for every film alike, and used by a recipe's preprocess."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from hilum.cache import FrameCache
from hilum.errors import DataError, UsageError
from hilum.index import Index, build_index
from hilum.lungs import DRAWN_BY, UNDRAWN, before_drawing, drawn_films, made_masks, with_masks
from hilum.lungs import made as made_module
from hilum.parallel import Crashed, spread
from hilum.preprocess import Preprocess
from hilum.projection import Look, ViewFilter, look_of
from hilum.records import Radiograph


class Counting:
    """Says lung where a frame is dark, and counts the films it was shown."""

    preprocess = Preprocess(size_px=64, channels=1)
    threshold = 0.5
    digest = "a1" * 32
    plausible: dict[str, tuple[float, float]] = {}  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self.shown = 0

    def probabilities(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.shown += len(frames)
        return np.where(frames < 100, 0.9, 0.1).astype(np.float32)[:, None]


class Gate(ViewFilter):
    """Takes the film whose lungs are not quite as dark for a lateral."""

    preprocess = Preprocess(size_px=100)  # type: ignore[assignment]
    digest = "c3" * 32  # type: ignore[assignment]

    def looks(self, frames: NDArray[Any]) -> list[Look]:
        lateral = [float(frame[30, 30] == 41) for frame in frames]
        rest = {"frontal_inverted": 0.0, "lateral_inverted": 0.0, "other": 0.0}
        return [look_of({"lateral": share, "frontal": 1 - share, **rest}) for share in lateral]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Two films with two dark lungs, one of them with a mask of its source's, one bright film, one unreadable."""
    records = []
    for number, kind in enumerate(["lungs", "lungs", "bright", "broken"]):
        path = tmp_path / f"{number}.png"
        film = np.random.default_rng(number).integers(150, 220, (90, 100))
        if kind == "lungs":
            film[20:70, 15:40], film[20:70, 60:85] = 40 + number, 50
        cv2.imwrite(str(path), film.astype(np.uint8))
        if kind == "broken":
            path.write_bytes(path.read_bytes()[:300])
        own = tmp_path / "own.png" if number == 0 else None
        records.append(Radiograph(image_id=str(number), source="drawn", path=path, lung_mask=own))
    cv2.imwrite(str(tmp_path / "own.png"), np.full((90, 100), 255, np.uint8))
    return build_index(records, tmp_path, processes=1)


def test_every_film_gets_the_bundle_s_mask_and_none_of_its_source_s(index: Index) -> None:
    made = made_masks(index, bundle=Counting(), processes=1)  # type: ignore[arg-type]
    told = made.table.set_index("image_id")["lung_mask"]
    assert told.isna().tolist() == [False, False, True, True]
    for name in ("0", "1"):
        mask = cv2.imread(told[name], cv2.IMREAD_UNCHANGED) > 0
        assert mask.shape == (90, 100)
        assert mask.mean() == pytest.approx(2 * 50 * 25 / 9000, rel=0.15)
    assert index.table["lung_mask"].notna().sum() == 1, "the given index is left alone"


def test_masks_are_made_once_for_a_bundle(index: Index) -> None:
    first, second, other = Counting(), Counting(), Counting()
    other.digest = "b2" * 32
    told = [made_masks(index, bundle=one, processes=1) for one in (first, second, other)]  # type: ignore[arg-type]
    assert (first.shown, second.shown, other.shown) == (3, 0, 3)
    assert told[0].table.equals(told[1].table)


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small networks in place of those that come with hilum."""
    monkeypatch.setattr(made_module, "lungs_bundle", Counting)
    monkeypatch.setattr(made_module, "ViewFilter", Gate)
    made_module._released.cache_clear()
    yield
    made_module._released.cache_clear()


def alone(function: Any, items: Any, *, processes: int | None = None) -> Iterator[Any]:
    del processes
    return spread(function, items, processes=1)


@pytest.mark.usefixtures("released")
def test_other_processes_draw_the_same_masks(index: Index, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = [
        made_masks(index, gate=Gate(), folder=tmp_path / "here", processes=1),
        made_masks(
            index, gate=Gate(), folder=tmp_path / "there", spread=alone, progress=lambda *told: seen.append(told)
        ),
    ]
    drawn, kept = ([path.read_bytes() for path in one.table["lung_mask"].dropna().map(Path)] for one in made)
    assert drawn == kept
    assert len(kept) == 1
    assert seen == [(3, 3)]
    made_masks(index, gate=Gate(), folder=tmp_path / "there", spread=lambda *_told, **_more: 1 / 0)  # type: ignore


@pytest.mark.usefixtures("released")
def test_a_film_that_ends_its_process_costs_no_other_its_mask(index: Index, tmp_path: Path) -> None:
    fatal = index.path(index.films["path"].iloc[0])

    def dying(function: Any, items: Any, *, processes: int | None = None) -> Iterator[Any]:
        del processes
        for item in items:
            yield item, Crashed(item) if fatal in dict(item) else function(item)

    made = made_masks(index, folder=tmp_path, spread=dying)
    assert made.table["lung_mask"].notna().tolist() == [False, True, False, False]
    assert len(list(tmp_path.rglob("*.none"))) == 2


@pytest.mark.usefixtures("released")
def test_another_bundle_draws_in_this_process_alone(index: Index, tmp_path: Path) -> None:
    other = Counting()
    other.digest = "b2" * 32
    with pytest.raises(UsageError, match="name no other bundle"):
        made_masks(index, bundle=other, folder=tmp_path, spread=alone)  # type: ignore[arg-type]


def test_progress_counts_the_films_still_to_be_drawn(index: Index) -> None:
    seen: list[tuple[int, int]] = []
    made_masks(index, bundle=Counting(), processes=1, progress=lambda *told: seen.append(told))  # type: ignore[arg-type]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_recipe_s_frames_show_what_the_made_masks_hold(index: Index) -> None:
    made = made_masks(index, bundle=Counting(), processes=1)  # type: ignore[arg-type]
    films = made.films[made.films["lung_mask"].notna()].reset_index(drop=True)
    cache = FrameCache(Preprocess(size_px=64, lungs="only"))
    assert cache.fill(films, made.root, processes=1) == 2
    frames = cache.view(films, made.root)[:]
    assert 0.2 < (frames > 0).mean() < 0.35
    assert frames.max() < 120, "nothing bright is left"


def test_masks_are_named_where_they_lie(index: Index, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    told: Any = with_masks(index, {index.table["sha256"][1]: tmp_path / "m" / "x.png"}).table["lung_mask"]
    assert told[1] == str(tmp_path / "m" / "x.png")
    assert pd.isna(told[0])
    assert told.notna().sum() == 1


def test_films_on_which_none_can_be_drawn_are_left_out_and_the_view_filter_comes_first(index: Index) -> None:
    drawn = drawn_films(index, bundle=Counting(), gate=Gate(), processes=1)  # type: ignore[arg-type]
    reasons = drawn.table.set_index("image_id")["left_out"].fillna("")
    assert reasons[["0", "1", "2"]].tolist() == ["", UNDRAWN, UNDRAWN]
    assert reasons["3"] not in ("", UNDRAWN), "it was left out before, and keeps its reason"
    assert drawn.table[DRAWN_BY].fillna("").tolist() == ["a1" * 32, "", "", ""]
    ungated = made_masks(index, bundle=Counting(), processes=1)  # type: ignore[arg-type]
    assert ungated.table["lung_mask"].notna().tolist() == [True, True, False, False], "kept apart from gated ones"


def test_drawing_can_be_taken_back_and_shows_in_the_digest(index: Index, tmp_path: Path) -> None:
    other = Counting()
    other.digest = "b2" * 32
    told = [drawn_films(index, bundle=one, gate=Gate(), processes=1) for one in (Counting(), other)]  # type: ignore[arg-type]
    assert len({index.digest, *(drawn.digest for drawn in told)}) == 3
    told[0].save(tmp_path / "drawn.parquet")
    loaded = Index.load(tmp_path / "drawn.parquet")
    assert loaded.digest == told[0].digest
    assert before_drawing(loaded).digest == before_drawing(index).digest == index.digest
    again = drawn_films(loaded, bundle=Counting(), gate=Gate(), processes=1)  # type: ignore[arg-type]
    assert again.digest == loaded.digest


def test_masks_that_were_thrown_away_are_drawn_again(index: Index) -> None:
    first = drawn_films(index, bundle=Counting(), gate=Gate(), processes=1)  # type: ignore[arg-type]
    mask = Path(first.films["lung_mask"].iloc[0])
    content = mask.read_bytes()
    mask.unlink()
    again = drawn_films(first, bundle=Counting(), gate=Gate(), processes=1)  # type: ignore[arg-type]
    assert Path(again.films["lung_mask"].iloc[0]).read_bytes() == content


@pytest.mark.parametrize("what", ["gone", "another"])
def test_no_mask_is_kept_of_a_film_that_is_not_the_one_indexed(index: Index, what: str) -> None:
    film = index.path(index.films["path"].iloc[0])
    if what == "gone":
        film.unlink()
    else:
        film.write_bytes(index.path(index.films["path"].iloc[1]).read_bytes())
    with pytest.raises(DataError, match=r"film 0\.png is not as it was indexed; run hilum index again"):
        made_masks(index, bundle=Counting(), processes=1)  # type: ignore[arg-type]

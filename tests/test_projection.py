"""What films show: how answers are put together, what the gate refuses, and what the released bundles say."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hilum.cache import read_for
from hilum.errors import DataError
from hilum.index import Index, build_index
from hilum.pixels import Film
from hilum.preprocess import Preprocess
from hilum.projection import (
    FRONTAL_VIEWS,
    INVERTED_SEEN,
    SHOWN,
    FilmRead,
    Look,
    ViewFilter,
    ViewOf,
    counted_looks,
    look_of,
    read_films,
    view_films,
    view_index,
    why_not,
)
from hilum.records import Radiograph, View
from hilum.report.views import as_row, summary_of, views_table, write_views
from hilum.selection import SEEN

CLASSES = ("frontal", "lateral", "frontal_inverted", "lateral_inverted", "other")


class ByGrey(ViewFilter):
    """Tells by mean grey: dark films are frontal, then lateral, then inverted frontal, and bright ones no chest."""

    @property
    def preprocess(self) -> Preprocess:
        return Preprocess(size_px=32)

    def looks(self, frames: NDArray[Any]) -> list[Look]:
        sure = {name: np.eye(5)[place].tolist() for place, name in enumerate(CLASSES)}
        order = ("frontal", "lateral", "frontal_inverted", "other")
        return [look_of(dict(zip(CLASSES, sure[order[int(frame.mean() // 64)]], strict=True))) for frame in frames]

    def tell_projections(self, frames: NDArray[Any]) -> list[tuple[View, float]]:
        return [(View.PA if frame.mean() < 32 else View.AP, 0.75) for frame in frames]


def film(path: Path, grey: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(grey)
    cv2.imwrite(str(path), np.clip(rng.normal(grey, 4, (40, 40)), 0, 255).astype(np.uint8))
    return path


GREYS = {"pa": 16, "ap": 48, "lateral": 96, "inverted": 160, "page": 220}


@pytest.fixture
def films(tmp_path: Path) -> list[Path]:
    return [film(tmp_path / f"{name}.png", grey) for name, grey in GREYS.items()]


@given(st.lists(st.floats(0.001, 1), min_size=5, max_size=5))
def test_a_view_is_the_likeliest_whether_inverted_or_not(weights: list[float]) -> None:
    shares = dict(zip(CLASSES, np.array(weights) / sum(weights), strict=True))
    look = look_of(shares)
    told = {
        View.FRONTAL: shares["frontal"] + shares["frontal_inverted"],
        View.LATERAL: shares["lateral"] + shares["lateral_inverted"],
        View.OTHER: shares["other"],
    }
    assert look.probability == pytest.approx(max(told.values()))
    assert told[look.view] == pytest.approx(max(told.values()))
    if look.view is View.OTHER:
        assert look.inverted_probability is None
        assert not look.inverted
    else:
        upright, dark = shares["frontal"] + shares["lateral"], shares["frontal_inverted"] + shares["lateral_inverted"]
        assert look.inverted_probability == pytest.approx(dark / (upright + dark), abs=1e-6)
        assert look.inverted == (look.inverted_probability >= 0.5)


@pytest.mark.parametrize(
    ("shares", "reads", "says"),
    [
        ((0.98, 0.02, 0, 0, 0), "frontal", None),
        ((0.98, 0.02, 0, 0, 0), "L", "looks like a frontal film (p = 0.98)"),
        ((0.02, 0.98, 0, 0, 0), "frontal", "looks like a lateral film (p = 0.98)"),
        ((0.02, 0.98, 0, 0, 0), "frontal L", None),
        ((0.2, 0.79, 0, 0, 0.01), "frontal", "looks like a lateral film (p = 0.80)"),
        ((0.22, 0.77, 0, 0, 0.01), "frontal", None),
        ((0.01, 0.01, 0, 0, 0.98), "frontal L", "looks like no chest radiograph (p = 0.98)"),
        ((0.1, 0, 0.9, 0, 0), "frontal", "looks inverted, bone dark: invert it first (p = 0.90)"),
        ((0, 0.1, 0, 0.9, 0), "frontal", "looks like a lateral film (p = 1.00)"),
        ((0.15, 0.33, 0.2, 0, 0.32), "frontal", "looks unlike any frontal film (p = 0.85)"),
    ],
)
def test_a_refusal_says_what_the_film_looks_like(shares: tuple[float, ...], reads: str, says: str | None) -> None:
    look = look_of(dict(zip(CLASSES, shares, strict=True)))
    views = [View(name) for name in reads.split()]
    assert why_not(look, "film.png", views) == (says and f"not applicable: film.png {says}")


@pytest.mark.parametrize("processes", [1, 2])
def test_films_are_told_in_the_order_asked_for(films: list[Path], processes: int) -> None:
    asked = [*films[::-1], films[1]]
    told = list(view_films(asked, processes=processes, view_filter=ByGrey()))
    assert [one.film for one in told] == [str(path) for path in asked]
    looks = {Path(one.film).stem: one.look for one in told}
    assert {name: (look.view, look.inverted) for name, look in looks.items() if look} == {
        "pa": (View.FRONTAL, False),
        "ap": (View.FRONTAL, False),
        "lateral": (View.LATERAL, False),
        "inverted": (View.FRONTAL, True),
        "page": (View.OTHER, False),
    }


def test_the_projection_is_told_of_upright_frontal_films_only(films: list[Path]) -> None:
    told = {Path(one.film).stem: one for one in view_films(films, processes=1, view_filter=ByGrey())}
    assert {name: one.projection for name, one in told.items()} == {
        "pa": View.PA,
        "ap": View.AP,
        "lateral": None,
        "inverted": None,
        "page": None,
    }
    assert all((one.projection is None) == (one.projection_probability is None) for one in told.values())


def test_more_films_than_a_batch_are_all_told(films: list[Path]) -> None:
    many = films * 15
    told = list(view_films(many, processes=1, view_filter=ByGrey()))
    assert [one.film for one in told] == [str(path) for path in many]
    assert [one.look for one in told[:5]] == [one.look for one in told[-5:]]


def test_what_cannot_be_read_is_a_refusal_in_its_place(films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no film")
    told = list(view_films([films[0], tmp_path / "notes.txt", films[2]], processes=1, view_filter=ByGrey()))
    assert [one.refusal is None for one in told] == [True, False, True]
    assert told[1].look is None
    assert "notes.txt" in (told[1].refusal or "")
    (alone,) = view_films([tmp_path / "notes.txt"], processes=1, view_filter=ByGrey())
    assert alone == told[1]


@pytest.mark.parametrize("stated", [None, *View])
@pytest.mark.parametrize("seen", list(SHOWN))
def test_header_and_picture_agree_about_the_view(stated: View | None, seen: View) -> None:
    look = look_of({name: 0.96 if name == SHOWN[seen] else 0.01 for name in CLASSES})
    assert look.view is seen
    told = ViewOf(film="film.dcm", look=look, stated=stated)
    right = seen is View.FRONTAL if stated in FRONTAL_VIEWS else seen is stated
    assert told.agrees == (None if stated is None else right)
    assert ViewOf(film="film.dcm", stated=stated, refusal="torn").agrees is None


@pytest.mark.parametrize(
    ("suffix", "sizes", "decoded"),
    [
        (".png", (32, 64, 128), [None]),
        (".jpg", (64, 32, 48), [64]),
        (".jpg", (32, 64, 48), [32, 64]),
    ],
)
def test_a_film_is_decoded_once_for_all_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, sizes: tuple[int, ...], decoded: list[int | None]
) -> None:
    """A JPEG again, where a later network reads more pixels than it was decoded with."""
    path = film(tmp_path / f"film{suffix}", 90)
    asked: list[int | None] = []

    def counted(preprocess: Preprocess, path: Path) -> Film | str:
        asked.append(preprocess.decoded_px if suffix == ".jpg" else None)
        return read_for(preprocess, path)

    monkeypatch.setattr("hilum.projection.read_for", counted)
    (((_, read),),) = read_films([path], [Preprocess(size_px=size) for size in sizes], at_once=4)
    assert isinstance(read, FilmRead)
    assert [frame.shape for frame in read.frames] == [(size, size) for size in sizes]
    assert (read.size, read.stated) == ((40, 40), None)
    assert asked == decoded


def test_the_gate_takes_its_frame_back(films: list[Path]) -> None:
    (batch,) = read_films(films, [Preprocess(size_px=64)], at_once=8, gate=ByGrey(), views=(View.FRONTAL, View.OTHER))
    told = {
        path.stem: read if isinstance(read, str) else [frame.shape for frame in read.frames] for path, read in batch
    }
    assert told == {
        "pa": [(64, 64)],
        "ap": [(64, 64)],
        "lateral": "not applicable: lateral.png looks like a lateral film (p = 1.00)",
        "inverted": "not applicable: inverted.png looks inverted, bone dark: invert it first (p = 1.00)",
        "page": [(64, 64)],
    }


@pytest.mark.parametrize(
    ("name", "stated", "says"),
    [
        ("RG3_J2KI.dcm", None, None),
        ("RG3_J2KI.dcm", (), "not applicable: RG3_J2KI.dcm is no chest film by its own header"),
        ("RG3_J2KI.dcm", (View.OTHER,), None),
        ("RG1_J2KI.dcm", (View.FRONTAL,), None),
    ],
)
def test_what_a_header_may_state(data_pack: Path, name: str, stated: tuple[View, ...] | None, says: str | None) -> None:
    path = data_pack / "dicom_samples" / name
    (((_, read),),) = read_films([path], [Preprocess(size_px=32)], at_once=1, stated=stated)
    assert (read if isinstance(read, str) else None) == says


def test_an_index_gets_what_its_films_show(tmp_path: Path, films: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.projection.ViewFilter", ByGrey)
    (tmp_path / "torn.png").write_bytes(films[0].read_bytes()[:80])
    records = [
        Radiograph(image_id=path.stem, source="mixed", path=path, labels={"ill": True})
        for path in [*films, tmp_path / "torn.png"]
    ]
    index = build_index(records, tmp_path, processes=1)
    made, counts = view_index(index, processes=1)
    assert counts == {"frontal": 2, "lateral": 1, "frontal, inverted": 1, "no chest radiograph": 1}
    made.save(tmp_path / "seen.parquet")
    table = Index.load(tmp_path / "seen.parquet").table.set_index("image_id")
    assert table[SEEN].fillna("missing").to_dict() == {
        "pa": "frontal",
        "ap": "frontal",
        "lateral": "L",
        "inverted": "frontal",
        "page": "other",
        "torn": "missing",
    }
    assert table[INVERTED_SEEN].dropna().to_dict() == {name: name == "inverted" for name in GREYS}
    pd.testing.assert_frame_equal(made.table.drop(columns=[SEEN, INVERTED_SEEN]), index.table)


def test_an_indexed_film_that_is_gone_is_said(
    tmp_path: Path, films: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.projection.ViewFilter", ByGrey)
    index = build_index([Radiograph(image_id="a", source="one", path=films[0])], tmp_path, processes=1)
    films[0].write_text("no film")
    with pytest.raises(DataError, match=r"pa\.png is not as it was indexed .*run hilum index again"):
        view_index(index, processes=1)


def test_a_row_holds_what_is_told_and_nothing_else(films: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no film")
    told = list(view_films([*films, tmp_path / "notes.txt"], processes=1, view_filter=ByGrey()))
    rows = [as_row(one) for one in told]
    assert [row["view"] for row in rows] == ["frontal", "frontal", "lateral", "frontal", "other", None]
    assert [row["inverted"] for row in rows] == [False, False, False, True, False, None]
    assert rows[0]["projection"] == "PA"
    assert rows[4]["p.inverted"] is None
    assert [row["refused"] is None for row in rows] == [True] * 5 + [False]
    write_views(told, tmp_path / "views.csv")
    table = pd.read_csv(tmp_path / "views.csv")
    assert table.columns.tolist() == list(rows[0])
    assert table["film"].tolist() == [one.film for one in told]
    assert views_table(told).row_count == 6


def test_a_header_that_says_otherwise_is_remarked() -> None:
    look = look_of({name: 0.96 if name == "lateral" else 0.01 for name in CLASSES})
    shown = views_table([ViewOf(film="film.dcm", look=look, stated=View.PA)])
    assert "its header says PA" in str(next(iter(shown.columns[-1].cells)))


def test_what_is_uncertain_is_counted_as_such() -> None:
    doubt = look_of({"frontal": 0.5, "frontal_inverted": 0, "lateral": 0.45, "lateral_inverted": 0, "other": 0.05})
    assert not doubt.sure
    assert counted_looks([doubt]) == {"uncertain": 1}


def test_a_summary_counts_the_most_frequent_first() -> None:
    assert summary_of({"lateral": 2, "frontal": 10}) == "12 films: 10 frontal, 2 lateral"


def test_importing_the_module_loads_no_torch() -> None:
    import subprocess

    code = "import sys, hilum.projection; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.fixture(scope="module")
def released() -> ViewFilter:
    pytest.importorskip("torch", reason="needs the extra hilum[train]")
    return ViewFilter()


def test_the_released_bundles_are_small_and_fit_together(released: ViewFilter) -> None:
    import hilum

    assert set(released.views.classes) == set(CLASSES)
    assert set(released.projections.classes) == {"PA", "AP"}
    assert released.projections.preprocess == released.preprocess
    for name in ("view", "projection"):
        folder = Path(hilum.__file__).parent / "bundles" / name
        assert sum(file.stat().st_size for file in folder.iterdir()) < 5_000_000


def noise() -> NDArray[np.float32]:
    return np.random.default_rng(3).random((224, 224), np.float32)


def page() -> NDArray[np.float32]:
    sheet = np.full((400, 300), 255, np.uint8)
    for line in range(30, 390, 24):
        cv2.putText(sheet, f"line {line} of a page", (12, line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 0, 1)
    return sheet.astype(np.float32) / 255


def ramp() -> NDArray[np.float32]:
    return np.tile(np.linspace(0.1, 0.9, 200, dtype=np.float32), (200, 1))


@pytest.mark.parametrize("draw", [noise, page, ramp])
def test_what_is_no_film_is_refused(released: ViewFilter, draw: Callable[[], NDArray[np.float32]]) -> None:
    (look,) = released.looks(released.preprocess.frame(draw())[None])
    assert look.view is View.OTHER
    assert look.probability > 0.5


def real(pack: Path, dataset: str, projection: str, count: int) -> list[Path]:
    table = pd.read_csv(pack / dataset / "index.csv")
    rows = table[table["projection"] == projection]
    return [pack / file for file in rows["file"].iloc[:: max(1, len(rows) // count)][:count]]


@pytest.mark.parametrize(
    ("dataset", "projection", "view"),
    [
        ("covid_chestxray", "frontal", View.FRONTAL),
        ("nih_subset", "frontal", View.FRONTAL),
        ("sandrofab", "frontal", View.FRONTAL),
        ("covid_chestxray", "lateral", View.LATERAL),
        ("covid_chestxray", "ct_slice", View.OTHER),
    ],
)
def test_real_films_are_told(released: ViewFilter, data_pack: Path, dataset: str, projection: str, view: View) -> None:
    told = list(view_films(real(data_pack, dataset, projection, 8), processes=1, view_filter=released))
    assert [one.look.view for one in told if one.look] == [view] * 8
    assert not any(one.look.inverted for one in told if one.look)


def test_real_films_inverted_are_told_so(released: ViewFilter, data_pack: Path, tmp_path: Path) -> None:
    paths = []
    for number, path in enumerate(real(data_pack, "nih_subset", "frontal", 8)):
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    told = list(view_films(paths, processes=1, view_filter=released))
    assert all(one.look and one.look.view is View.FRONTAL and one.look.inverted for one in told)


def test_headers_of_real_films_are_read_beside_the_picture(released: ViewFilter, data_pack: Path) -> None:
    leg, chest = (data_pack / "dicom_samples" / name for name in ("RG3_J2KI.dcm", "RG1_J2KI.dcm"))
    told = list(view_films([leg, chest], processes=1, view_filter=released))
    assert told[0].look is not None
    assert told[0].look.view is View.OTHER
    assert told[1].look is not None
    assert told[1].look.view is View.FRONTAL

"""Films in, explanations out: geometry, labels, refusals, lungs, lesions and the folder they are written to."""

import csv
import json
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.bundle import Bundle, load_bundle
from hilum.engine.eager import TorchEngine
from hilum.errors import DataError, UsageError
from hilum.explain import Explanation, How, explain_films
from hilum.explain.frames import on_film
from hilum.explain.judging import EMPTY, Share
from hilum.explain.pictures import overlay, panels, sheet_of, tile_of
from hilum.explain.writing import COLUMNS, as_json, lesions_in
from hilum.index import Index
from hilum.networks import Backbone, Classifier
from hilum.predict import predict_films
from hilum.preprocess import Preprocess
from hilum.recipe import Network
from hilum.report.explanations import Book, Case, notes_on, run_cases
from hilum.run import Run

QUICK = How(checked=0)


@dataclass
class _Halves:
    """Draws the left half of every frame as lung; what of it is the patient's left is not asked here."""

    preprocess: Preprocess
    threshold: float = 0.5
    plausible: Any = None
    digest: str = "halves"

    def probabilities(self, frames: NDArray[Any]) -> NDArray[np.float32]:
        inside = np.zeros((len(frames), 1, *frames.shape[1:]), np.float32)
        side = frames.shape[1]
        inside[..., side // 8 : -side // 8, side // 8 : side // 2 - 2] = 1
        inside[..., side // 8 : -side // 8, side // 2 + 2 : -side // 4] = 1
        return inside


@pytest.fixture(scope="module")
def bundle(finished: Path) -> Bundle:
    return load_bundle(finished)


@pytest.fixture
def films(drawn: Index) -> list[Path]:
    return [drawn.path(path) for path in drawn.films["path"][:4]]


def _explained(bundle: Bundle, films: list[Path], **told: Any) -> list[Explanation]:
    return list(explain_films(bundle, films, **{"how": QUICK, "processes": 1, **told}))


def test_each_film_gets_the_map_of_what_the_bundle_decides(bundle: Bundle, films: list[Path]) -> None:
    found = _explained(bundle, films)
    predicted = list(predict_films(bundle, films, processes=1))
    assert [one.film for one in found] == films
    assert [one.label for one in found] == [one.decided for one in predicted]
    for one, prediction in zip(found, predicted, strict=True):
        assert one.probability == pytest.approx(
            next(finding.probability for finding in prediction.findings if finding.label == one.label)
        )
        assert one.method == "cam"
        assert (one.map is None) != (one.no_map is None)
        if one.map is not None:
            assert one.map.shape == (80, 80)
            assert 0 <= one.map.min() < one.map.max() <= 1


def test_labels_asked_for_are_explained_film_by_film(bundle: Bundle, films: list[Path]) -> None:
    found = _explained(bundle, films[:2], labels=[("patch", "plain"), ("plain",)])
    assert [(one.film, one.label) for one in found] == [
        (films[0], "patch"),
        (films[0], "plain"),
        (films[1], "plain"),
    ]
    assert found[0].probability + found[1].probability == pytest.approx(1)


def test_unreadable_films_are_refusals_in_their_place(bundle: Bundle, films: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no film")
    found = _explained(bundle, [films[0], broken, films[1]], labels=[("patch",), ("patch",), ("plain",)])
    assert [one.refusal is None for one in found] == [True, False, True]
    assert found[1].label is None
    assert found[2].label == "plain"


def test_a_network_without_numbers_refuses_the_film(bundle: Bundle, films: list[Path], tmp_path: Path) -> None:
    network = deepcopy(bundle.network)
    torch.nn.init.constant_(network.head[-1].bias, torch.nan)
    (one,) = _explained(replace(bundle, engine=TorchEngine(network)), films[:1])
    assert one.refusal is not None
    assert "gives no number" in one.refusal


def test_an_unknown_label_is_refused_before_a_film_is_read(bundle: Bundle, films: list[Path]) -> None:
    with pytest.raises(UsageError, match="did you mean 'patch'"):
        _explained(bundle, [Path("nowhere.png")], labels=[("pach",)])


def test_maps_come_back_to_the_film_without_the_padding_beside_it() -> None:
    shown = np.zeros((4, 4), np.float32)
    shown[1, 0] = 1  # a tall film padded to a square has its first quarter of columns black
    of_film, beside = on_film(Preprocess(size_px=64, aspect="pad"), shown, (200, 100))
    assert of_film.shape == (200, 100)
    assert beside > 0.7
    shown = np.zeros((4, 4), np.float32)
    shown[1, 1] = 1
    of_film, beside = on_film(Preprocess(size_px=64, aspect="pad"), shown, (200, 100))
    row, column = np.unravel_index(of_film.argmax(), of_film.shape)
    assert (abs(row - 75) < 4, abs(column - 25) < 4) == (True, True)
    assert 0 < beside < 0.3
    of_film, beside = on_film(Preprocess(size_px=64, aspect="stretch"), shown, (200, 100))
    assert beside == 0
    row, column = np.unravel_index(of_film.argmax(), of_film.shape)
    assert (abs(row - 75) < 4, abs(column - 37) < 4) == (True, True)


def test_maps_are_held_against_lungs_and_lesions(bundle: Bundle, films: list[Path]) -> None:
    lesion = np.zeros((80, 80), np.bool_)
    lesion[:40, :40] = True
    found = _explained(
        bundle,
        films,
        labels=[("patch",)] * 4,
        lungs=_Halves(Preprocess(size_px=64), plausible={}),
        lesions=lambda film, size: lesion if size == (80, 80) and film != films[0] else None,
    )
    for one in found:
        assert one.lungs is not None
        assert one.lungs.shape == (80, 80)
        assert one.map is not None
        assert one.lungs_share is not None
        assert one.lungs_share.energy == pytest.approx(one.map[one.lungs].sum() / one.map.sum(), rel=1e-5)
        assert one.lungs_share.area == pytest.approx(one.lungs.mean())
    assert found[0].lesions_share is None
    assert all(one.lesions_share is not None and one.lesions_share.area == 0.25 for one in found[1:])
    assert all(isinstance(one.points_at_lesion, bool) for one in found[1:])


def test_the_first_films_are_explained_again_with_weights_drawn_again(bundle: Bundle, films: list[Path]) -> None:
    one, two = (_explained(bundle, films, how=How(checked=2)) for _ in range(2))
    assert [sorted(explanation.redrawn) for explanation in one] == [["all", "head"]] * 2 + [[]] * 2
    assert [explanation.redrawn for explanation in one] == [explanation.redrawn for explanation in two]
    assert all(0 <= value <= 1 for explanation in one for value in explanation.redrawn.values())


def test_lesions_are_read_by_the_films_name(tmp_path: Path) -> None:
    size = (40, 50)
    for name, row in (("a", 0), ("b-ggo", 1), ("b-consolidation", 2), ("b-cardiomediastinum", 3)):
        mask = np.zeros(size, np.uint8)
        mask[row] = 255
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)
    read = lesions_in(tmp_path)
    assert np.flatnonzero(read(Path("x/a.jpg"), size).any(axis=1)).tolist() == [0]
    assert np.flatnonzero(read(Path("b.dcm"), size).any(axis=1)).tolist() == [1, 2]
    assert read(Path("c.png"), size) is None
    with pytest.raises(DataError, match="50 x 40 pixels but its film"):
        read(Path("a.png"), (80, 100))
    with pytest.raises(DataError, match="holds no lesion mask"):
        lesions_in(tmp_path / "nothing")


def _with_map(film: Path, **told: Any) -> Explanation:
    shown = np.zeros((80, 80), np.float32)
    shown[10:30, 50:70] = 1
    plain = {"label": "patch", "probability": 0.9, "decided": "patch", "method": "cam", "layer": "x", "map": shown}
    return Explanation(film=film, bundle_digest="d", grids=((4, 4),), **(plain | told))


def test_an_overlay_is_bright_where_the_map_is_and_the_film_elsewhere(films: list[Path]) -> None:
    one = _with_map(films[0])
    film, marked = panels(one)
    changed = np.abs(film.astype(int) - marked).max(axis=2)
    side = film.shape[0]
    assert changed[side // 4, side * 3 // 4] > 40
    assert changed[side * 3 // 4, side // 4] == 0
    yellow = marked[side // 4, side * 3 // 4]
    assert int(yellow[0]) > int(yellow[2]) + 40
    assert overlay(one, (film, marked)).width > 2 * side


def test_without_a_map_the_overlay_is_the_film_and_says_so(films: list[Path]) -> None:
    one = _with_map(films[0], map=None, no_map=EMPTY)
    film, marked = panels(one)
    np.testing.assert_array_equal(film, marked)
    with_map, without = (overlay(each, panels(each)) for each in (_with_map(films[0]), one))
    assert without.height > with_map.height  # a line more
    assert tile_of(one, (film, marked), ["a"]).lines == ("a", f"no map: {EMPTY}")


def test_outlines_are_drawn_in_their_colours(films: list[Path]) -> None:
    mask = np.zeros((80, 80), np.bool_)
    mask[40:70, 10:40] = True
    _, lungs = panels(_with_map(films[0], lungs=mask))
    _, lesions = panels(_with_map(films[0], lesions=mask))
    assert (lungs[..., 2].astype(int) - lungs[..., 0] > 100).any()
    assert (lesions[..., 1].astype(int) - lesions[..., 0] > 100).any()


def test_a_contact_sheet_holds_every_tile(films: list[Path]) -> None:
    pairs = [(one, panels(one)) for one in map(_with_map, films[:3])]
    tiles = [tile_of(one, pair, ["name"]) for one, pair in pairs]
    few, many = sheet_of("Title", tiles[:2]), sheet_of("Title", tiles)
    assert few.width == many.width
    assert many.height > few.height + 200


def test_a_row_says_all_that_is_known_and_nothing_else(films: list[Path]) -> None:
    share = Share(energy=0.5, area=0.25)
    row = as_json(_with_map(films[0], lungs_share=share, redrawn={"head": 0.25}), "overlays/a.png")
    assert tuple(row) == COLUMNS
    assert (row["lungs_energy"], row["lungs_ratio"], row["lesions_ratio"]) == (0.5, 2.0, None)
    assert (row["grid"], row["redrawn_head"], row["redrawn_all"]) == ("4 x 4", 0.25, None)
    json.dumps(row, allow_nan=False)


def test_missing_maps_are_counted_by_reason(films: list[Path]) -> None:
    told = [_with_map(films[0]), _with_map(films[1], map=None, no_map=EMPTY)]
    told.append(Explanation(film=films[2], bundle_digest="d", refusal="not applicable"))
    assert notes_on(told) == [f"1 of 2 explanations have no map. {EMPTY}."]


def test_flagged_lungs_do_not_count(films: list[Path]) -> None:
    share = Share(energy=0.5, area=0.25)
    told = [_with_map(films[0], lungs_share=share, lungs_flags=("no lung found",))]
    assert notes_on(told) == []
    assert "2.00 times" in notes_on([_with_map(films[0], lungs_share=share)])[0]


def test_a_runs_films_are_chosen_by_class_and_kind(finished: Path) -> None:
    run = Run(finished)
    cases, note = run_cases(run, each=2)
    assert "not kept" in note
    assert len({case.image_id for case in cases}) == len(cases)
    predictions = run.predictions.set_index("image_id")
    for case in cases:
        of_film = predictions.loc[[case.image_id]]
        assert set(of_film["reference"]) == {case.reference}
        assert case.scored == pytest.approx(max(of_film["p.patch"].mean(), of_film["p.plain"].mean()))
        assert (case.called == case.reference) or case.kind != "confident right"
        assert case.path.is_file()
    for label in run.recipe.class_names:
        for kind in ("confident right", "confident wrong", "borderline"):
            assert sum((case.reference, case.kind) == (label, kind) for case in cases) <= 2


def test_of_a_single_division_the_network_is_the_one_that_scored(
    finished: Path, drawn: Index, tiny_recipe: str, tmp_path: Path
) -> None:
    from hilum.run import train_run

    recipe = tiny_recipe.replace(
        'method = "kfold"\nfolds = 3\ntune = 0.25', 'method = "fractions"\ntune = 0.2\ntest = 0.3'
    )
    run = train_run(recipe, None, tmp_path / "run", given=drawn, processes=1)
    cases, note = run_cases(run, each=2)
    assert note == "The maps are of the network that scored these films."
    found = _explained(load_bundle(run.folder), [case.path for case in cases], labels=[case.labels for case in cases])
    assert [one.probability for one in found] == pytest.approx([case.scored for case in cases], abs=1e-4)


def test_a_book_writes_overlays_sheets_tables_and_a_page_with_nothing_beside_it(
    bundle: Bundle, films: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no film")
    book = Book(tmp_path / "out", "Explained: <drawn>", [Case(path) for path in [*films, broken]], ["A note."])
    for one in _explained(bundle, [*films, broken], how=How(checked=2)):
        book.add(one)
    page = book.close().read_text(encoding="utf-8")
    overlays = sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir())
    assert overlays == sorted(f"{row['film'].rpartition('/')[2][:-4]}-{row['label']}.png" for row in book.rows[:4])
    assert all(cv2.imread(str(tmp_path / "out" / "overlays" / name)).shape[1] > 1000 for name in overlays)
    sheets = {path.stem for path in (tmp_path / "out" / "sheets").iterdir()}
    assert sheets == {row["label"] for row in book.rows[:4]}
    with (tmp_path / "out" / "explanations.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [bool(row["refused"]) for row in rows] == [False] * 4 + [True]
    told = json.loads((tmp_path / "out" / "explanations.json").read_text(encoding="utf-8"))
    assert told["notes"] == book.sentences
    assert told["notes"][0] == "A note."
    assert len(told["explanations"]) == 5
    assert "&lt;drawn&gt;" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/jpeg") == 4


def test_a_runs_book_has_a_sheet_a_class_and_kind(finished: Path, bundle: Bundle, tmp_path: Path) -> None:
    cases, note = run_cases(Run(finished), each=1)
    book = Book(tmp_path, "Explained", cases, [note])
    for one in _explained(bundle, [case.path for case in cases], labels=[case.labels for case in cases]):
        book.add(one)
    book.close()
    expected = {f"{case.reference}-{str(case.kind).replace(' ', '-')}" for case in cases}
    assert {path.stem for path in (tmp_path / "sheets").iterdir()} == expected
    assert [row["image_id"] for row in book.rows] == [case.image_id for case in cases]


class _Boxes:
    """Draws two lungs as upright boxes in fixed places of every film."""

    preprocess = Preprocess(size_px=64, channels=1)
    threshold = 0.5
    plausible: dict[str, tuple[float, float]] = {}  # noqa: RUF012 - never changed
    digest = "b0" * 32

    def probabilities(self, frames: NDArray[Any]) -> NDArray[np.float32]:
        inside = np.full((len(frames), 1, *frames.shape[1:]), 0.01, np.float32)
        inside[..., 16:48, 8:20] = inside[..., 16:48, 28:40] = 0.99  # of 64: rows 1/4 to 3/4, columns 1/8 to 5/8
        return inside


LUNGS_BOX = (75, 225, 25, 125)
"""Top, bottom, left, right of what `_Boxes` draws on a film of 300 x 200."""


class _Bright(Backbone):
    """One feature on a map of half the side: how far the grey is above 0.6."""

    def __init__(self) -> None:
        super().__init__(nn.AvgPool2d(2), features=(1,), mean=(0.0,), std=(1.0,))

    def forward(self, films: Tensor) -> tuple[Tensor, ...]:
        return ((self.body(films) - 0.6).relu(),)


def _bright_is_evidence(bundle: Bundle, **preprocess: Any) -> Bundle:
    """A bundle whose network calls a film `patch` for what is bright on its frame, wherever that is."""
    last = nn.Linear(1, 2)
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        last.bias.zero_()
    network = Network.model_validate({"backbone": "toy", "pooling": "avg"})
    classifier = Classifier(nn.Identity(), _Bright(), nn.Sequential(last), network, 2).eval()
    plan = Preprocess(size_px=64, aspect="pad", channels=1, mean=(0.0,), std=(1.0,), **preprocess)
    return replace(
        bundle, engine=TorchEngine(classifier), preprocess=plan, provenance={"lungs": {"bundle": _Boxes.digest}}
    )


def _planted(path: Path, row: int, column: int) -> Path:
    """A grey film of 300 x 200 with a bright patch of 12 x 12 around a place."""
    film = np.full((300, 200), 90, np.uint8)
    film[::7] += 10
    film[row - 12 : row + 12, column - 12 : column + 12] = 255
    cv2.imwrite(str(path), film)
    return path


def _peak(one: Explanation) -> tuple[int, int]:
    assert one.map is not None
    weight = one.map / one.map.sum()
    rows, columns = np.indices(one.map.shape)
    return round(float((rows * weight).sum())), round(float((columns * weight).sum()))


@pytest.mark.parametrize("place", [(100, 45), (200, 106), (150, 45)], ids=["upper", "lower", "middle"])
@pytest.mark.parametrize("way", ["crop", "only", "not"])
def test_evidence_planted_in_lungs_that_were_cut_out_is_shown_where_it_is_on_the_film(
    bundle: Bundle, tmp_path: Path, way: str, place: tuple[int, int]
) -> None:
    if way == "not":
        place = (place[0], 160)  # beside the lungs
    toy = _bright_is_evidence(bundle, lungs=way, masks="made")
    (one,) = _explained(toy, [_planted(tmp_path / "film.png", *place)], labels=[("patch",)], lungs=_Boxes())
    assert one.map is not None
    row, column = np.unravel_index(one.map.argmax(), one.map.shape)
    assert max(abs(row - place[0]), abs(column - place[1])) <= 20, "in the patch, or the cell it reaches into"
    assert np.abs(np.subtract(_peak(one), place)).max() <= 12
    assert one.seen == (LUNGS_BOX if way == "crop" else None)


def test_outside_the_box_that_the_network_saw_the_map_is_nothing(bundle: Bundle, tmp_path: Path) -> None:
    toy = _bright_is_evidence(bundle, lungs="crop", masks="made")
    film = _planted(tmp_path / "film.png", 100, 50)
    (one,) = _explained(toy, [film], labels=[("patch",)], lungs=_Boxes())
    top, bottom, left, right = LUNGS_BOX
    assert one.map is not None
    outside = one.map.copy()
    outside[top:bottom, left:right] = 0
    assert not outside.any()
    assert one.lungs is not None
    assert one.lungs_share is not None
    assert one.lungs_share.area == pytest.approx(one.lungs[top:bottom, left:right].mean())
    assert one.lungs_share.film_area == pytest.approx(one.lungs.mean())
    row = as_json(one)
    assert [row[name] for name in ("seen_top", "seen_bottom", "seen_left", "seen_right")] == list(LUNGS_BOX)
    _, marked = panels(one)
    scale = marked.shape[0] / 300
    line = marked[round(top * scale), round(75 * scale)]  # above the gap between the lungs
    assert line.tolist() == [190, 190, 190], "the box is drawn"


def test_lungs_are_drawn_for_such_a_bundle_though_maps_are_not_held_against_them(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.predict.lungs_bundle", _Boxes)
    toy = _bright_is_evidence(bundle, lungs="crop", masks="made")
    (one,) = _explained(toy, [_planted(tmp_path / "film.png", 100, 50)], labels=[("patch",)])
    assert one.seen == LUNGS_BOX
    assert (one.lungs, one.lungs_share) == (None, None)
    other = replace(toy, provenance={"lungs": {"bundle": "c1" * 32}})
    with pytest.raises(UsageError, match="taught with lungs that bundle c1c1c1c1c1c1 drew"):
        _explained(other, [tmp_path / "film.png"])


def test_films_cropped_to_what_they_show_get_their_maps_back(bundle: Bundle, tmp_path: Path) -> None:
    toy = _bright_is_evidence(bundle, steps=("crop-black",))
    film = cv2.imread(str(_planted(tmp_path / "film.png", 100, 50)), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "framed.png"), np.pad(film, ((40, 10), (30, 60))))
    (one,) = _explained(toy, [tmp_path / "framed.png"], labels=[("patch",)])
    assert one.seen == (40, 340, 30, 230)
    assert np.abs(np.subtract(_peak(one), (140, 80))).max() <= 12


def test_masks_that_a_source_gives_are_asked_for_and_used(bundle: Bundle, tmp_path: Path) -> None:
    toy = _bright_is_evidence(bundle, lungs="crop", masks="given")
    film = _planted(tmp_path / "film.png", 100, 50)
    with pytest.raises(UsageError, match="hilum explain RUN --out"):
        _explained(toy, [film])
    mask = np.zeros((300, 200), np.uint8)
    mask[60:150, 20:90] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    found = _explained(toy, [film, tmp_path / "other.png"], masks={film: tmp_path / "mask.png"}, lungs=_Boxes())
    assert found[0].seen == (60, 150, 20, 90)
    assert found[0].lungs is not None
    assert np.array_equal(found[0].lungs, mask > 0)
    assert "there is no lung mask" in str(found[1].refusal)


def test_lesions_are_drawn_where_no_mask_is_given_and_said_to_be(
    bundle: Bundle, films: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Drawn:
        refusal, flags = None, ()
        masks: dict[str, NDArray[np.bool_]] = {  # noqa: RUF012 - never changed
            "ggo": np.eye(80, dtype=bool),
            "consolidation": np.zeros((80, 80), bool),
        }

    monkeypatch.setattr("hilum.explain.films.segment_lesions", lambda *_, **__: iter([Drawn()]))
    given = np.ones((80, 80), np.bool_)
    found = _explained(
        bundle,
        films[:2],
        lesions=lambda film, _: given if film == films[0] else None,
        draws_lesions=_Boxes(),
    )
    assert [one.lesions_drawn_by for one in found] == [None, _Boxes.digest]
    assert found[1].lesions is not None
    assert found[1].lesions.sum() == 80
    assert "1 films are drawn by hilum's own network" in " ".join(notes_on(found))

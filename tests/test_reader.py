"""One film in, an answer or a refusal: with networks that draw what is grey, so that every result is known before."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from hilum import reader as reader_package
from hilum.bundle import Bundle, load_bundle
from hilum.bundle.format import REFERENCE
from hilum.cli.options import REFUSED
from hilum.cli.read import read as read_command
from hilum.engine import FilmAnswers
from hilum.errors import BundleError, DataError, UsageError
from hilum.index import Index
from hilum.lesions import LESIONS, segment_lesions
from hilum.lungs import segment_lungs
from hilum.pixels import read_film
from hilum.predict import predict_films
from hilum.preprocess import Preprocess
from hilum.projection import Look, look_of
from hilum.reader import (
    Outcome,
    Policy,
    Reader,
    Reading,
    annotated,
    annotated_name,
    answering,
    as_json,
    chain,
    read_films,
)
from hilum.reader.decoding import Decoded, decode
from hilum.reader.looking import quality_notes
from hilum.reader.table import COLUMNS, write_table
from hilum.reader.words import lines_of
from hilum.records import DISCLAIMER, View

SIDE = 80


class Boxes:
    """Draws boxes that are shares of the frame, one a label, whatever the film."""

    plausible: dict[str, tuple[float, float]] = {}  # noqa: RUF012 - never changed
    threshold = 0.5

    def __init__(self, boxes: dict[str, list[tuple[float, float, float, float]]], size_px: int) -> None:
        self.boxes, self.preprocess = boxes, Preprocess(size_px=size_px, channels=1)
        self.labels, self.digest = tuple(boxes), f"{size_px:064d}"

    def probabilities(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        side = self.preprocess.size_px
        told = np.full((len(frames), len(self.boxes), side, side), 0.05, np.float32)
        for place, boxes in enumerate(self.boxes.values()):
            for top, bottom, left, right in boxes:
                told[:, place, int(top * side) : int(bottom * side), int(left * side) : int(right * side)] = 0.95
        return told


class Views:
    """Says of a film what it is told to."""

    digest = "v" * 64
    preprocess = Preprocess(size_px=32, channels=1)

    def __init__(self, **shares: float) -> None:
        names = ("frontal", "frontal_inverted", "lateral", "lateral_inverted", "other")
        self.look = look_of(dict.fromkeys(names, 0.0) | (shares or {"frontal": 1.0}))

    def looks(self, frames: NDArray[Any]) -> list[Look]:
        return [self.look] * len(frames)


LUNGS = {"lungs": [(0.2, 0.8, 0.1, 0.42), (0.2, 0.8, 0.58, 0.9)]}
PATCHES = {"ggo": [(0.5, 0.7, 0.15, 0.3)], "consolidation": [(0.6, 0.7, 0.7, 0.8)]}


def reader_of(bundle: Path | str, *, views: Views | None = None, lungs: Boxes | None = None, **policy: Any) -> Reader:
    told: dict[str, Any] = {
        "lungs": lungs or Boxes(LUNGS, 40),
        "lesions": Boxes(PATCHES, 50),
        "view_filter": views or Views(),
    }
    return Reader([bundle], policy=Policy(**policy), **told)


@pytest.fixture(scope="module")
def bundle(finished: Path) -> Path:
    return finished / "bundle"


@pytest.fixture(scope="module")
def reader(bundle: Path) -> Reader:
    return reader_of(bundle)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, draw_index: Callable[..., Index]) -> list[Path]:
    index = draw_index(tmp_path_factory.mktemp("new"), 12, first_seed=3000)
    return [index.path(path) for path in index.films["path"]]


def test_numbers_are_those_of_predict(reader: Reader, bundle: Path, films: list[Path]) -> None:
    loaded = load_bundle(bundle)
    for film in films:
        (told,) = predict_films(loaded, [film], processes=1)  # torch rounds by how many films there are
        (one,) = reader.read(film).answers
        assert one.label == told.decided
        assert one.digest == told.bundle_digest
        assert [held.probability for held in one.findings] == [finding.probability for finding in told.findings]
        assert [held.threshold for held in one.findings] == [finding.threshold for finding in told.findings]


def test_lungs_and_lesions_are_those_of_many_films(reader: Reader, films: list[Path]) -> None:
    around: Any = Boxes(LUNGS, 40)
    drawn: Any = Boxes(PATCHES, 50)
    read = reader.read(films[0])
    assert read.lungs is not None
    assert read.lesions is not None
    lungs = next(segment_lungs(films[:1], bundle=around, processes=1))
    lesions = next(segment_lesions(films[:1], bundle=drawn, lungs=around, processes=1))
    assert read.lungs.measures == lungs.measures
    assert (read.lungs.both == lungs.both).all()  # type: ignore[union-attr]
    assert read.lesions.shares == pytest.approx(lesions.shares)
    assert read.lesions.boxes == lesions.boxes
    assert all((read.lesions.masks[label] == lesions.masks[label]).all() for label in LESIONS)


@pytest.mark.parametrize("given", ["file", "bytes", "film"])
def test_a_film_is_the_same_however_it_comes(reader: Reader, films: list[Path], given: str) -> None:
    whole = as_json(reader.read(films[0], name="a film"))
    if given == "film":
        again = reader.read_film(read_film(films[0]), name="a film", sha256=whole["film"]["sha256"])
    else:
        again = reader.read(films[0] if given == "file" else films[0].read_bytes(), name="a film")
    told = as_json(again)
    assert set(whole.pop("seconds")) - set(told.pop("seconds")) <= {"decode"}
    assert told == whole


def test_a_large_jpeg_is_reduced_as_networks_were_taught(reader: Reader, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    film = tmp_path / "large.jpg"
    smooth = cv2.resize(rng.random((30, 30)), (2600, 2000), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(film), np.clip(smooth * 200, 0, 255).astype(np.uint8))
    decoded = decode(film, reader.sizes)
    for size in reader.sizes:
        assert (decoded.at_least(size) == read_film(film, at_least_px=size).pixels).all()
    whole = Decoded.of_film(read_film(film), decoded.sha256)
    for size in reader.sizes:
        assert np.abs(whole.at_least(size) - decoded.at_least(size)).mean() < 0.003
    assert len(decoded.by) < len(reader.sizes)
    assert max(decoded.shown().shape) <= 1400
    assert reader.read(film).size == (2000, 2600)


def noise(path: Path, *, shape: tuple[int, ...] = (SIDE, SIDE)) -> bytes:
    rng = np.random.default_rng(0)
    cv2.imwrite(str(path), rng.integers(0, 256, shape, dtype=np.uint8))
    return path.read_bytes()


BROKEN = {
    "empty": "empty",
    "truncated": "truncated",
    "no-picture": "unknown-format",
    "colour": "colour",
    "tiny": "too-small",
    "one-grey": "constant",
    "missing": "not-found",
    "folder": "not-found",
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_decoded_is_a_refusal_in_one_sentence(reader: Reader, tmp_path: Path, case: str) -> None:
    film = tmp_path / f"{case}.png"
    whole = noise(film, shape=(SIDE, SIDE, 3) if case == "colour" else (SIDE, SIDE))
    if case in ("empty", "truncated", "no-picture"):
        film.write_bytes({"empty": b"", "truncated": whole[:900], "no-picture": b"a letter" * 50}[case])
    elif case == "tiny":
        noise(film, shape=(20, 20))
    elif case == "one-grey":
        cv2.imwrite(str(film), np.full((SIDE, SIDE), 90, np.uint8))
    elif case in ("missing", "folder"):
        film.unlink()
        if case == "folder":
            film.mkdir()
    read = reader.read(film)
    assert read.outcome is Outcome.REFUSED
    assert read.refusal is not None
    assert read.refusal.kind == BROKEN[case]
    assert read.refusal.says.startswith(film.name)
    assert "\n" not in read.refusal.says
    assert read.answers == ()
    assert json.dumps(as_json(read, pictures=True))


SEEN = {
    "lateral": {"lateral": 0.95, "frontal": 0.05},
    "inverted": {"frontal_inverted": 0.97, "frontal": 0.03},
    "not-a-chest-film": {"other": 0.9, "frontal": 0.1},
    "not-frontal": {"frontal": 0.19, "frontal_inverted": 0.2, "lateral": 0.3, "other": 0.31},
}
"""The last is most like a frontal film, upright or not, and yet hardly one."""


@pytest.mark.parametrize("kind", SEEN)
def test_what_is_no_upright_frontal_film_is_refused(bundle: Path, films: list[Path], kind: str) -> None:
    views = Views(**SEEN[kind])
    read = reader_of(bundle, views=views, lesions=False).read(films[0])
    assert read.refusal is not None
    assert read.refusal.kind == kind
    assert films[0].name in read.refusal.says
    assert read.look == views.look
    assert read.pixels is not None
    open_door = reader_of(bundle, views=views, lesions=False, gate=False).read(films[0])
    assert open_door.refusal is None
    assert any("not sure" in note for note in open_door.notes) == (kind != "inverted")


def test_a_film_without_lungs_is_refused(bundle: Path, films: list[Path]) -> None:
    read = reader_of(bundle, lungs=Boxes({"lungs": []}, 40)).read(films[0])
    assert read.refusal is not None
    assert read.refusal.kind == "no-lungs"
    assert read.answers == ()


def test_one_lung_is_a_note_and_no_refusal(bundle: Path, films: list[Path]) -> None:
    one = {"lungs": LUNGS["lungs"][:1]}
    read = reader_of(bundle, lungs=Boxes(one, 40)).read(films[0])
    assert read.refusal is None
    assert any("one lung: no left lung found" in note for note in read.notes)
    told = as_json(read)
    assert told["lesions"]["ggo"]["share_of_lungs"] is None
    assert json.dumps(told, allow_nan=False)


def test_a_header_that_says_lateral_is_believed(reader: Reader, films: list[Path]) -> None:
    film = read_film(films[0])
    lateral = replace(film, facts=replace(film.facts, view_position=View.LATERAL))
    read = reader.read_film(lateral, name="film-1", sha256="0" * 64)
    assert read.refusal is not None
    assert read.refusal.kind == "lateral"
    assert "film-1 is a lateral film by its own header" in read.refusal.says


def test_a_film_trained_on_is_told_by_its_hash(reader: Reader, finished: Path, drawn: Index, films: list[Path]) -> None:
    known, new = drawn.path(drawn.films["path"].iloc[0]), films[0]
    assert any("was trained on this film or a copy" in note for note in reader.read(known).notes)
    assert not any("trained on" in note for note in reader.read(new).notes)


def test_without_a_reference_there_is_an_answer_and_the_sentence_why_no_interval(
    bundle: Path, films: list[Path], tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(bundle, bare)
    (bare / REFERENCE).unlink()
    (one,) = reader_of(bare).read(films[0]).answers
    assert one.outcome in (Outcome.POSITIVE, Outcome.NEGATIVE)
    assert one.findings[0].low is None
    assert one.interval.startswith("no interval: no reference.safetensors")
    assert one.bundle == "bare"


def test_another_bundle_s_reference_stops_the_reader(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    whole = (other / REFERENCE).read_bytes()
    digest = load_bundle(bundle).digest.encode()
    assert digest in whole
    (other / REFERENCE).write_bytes(whole.replace(digest, b"f" * 64))
    with pytest.raises(BundleError, match="another bundle"):
        reader_of(other)


def test_a_bundle_that_needs_a_source_s_masks_says_so(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_bundle(bundle)
    masked = replace(whole, preprocess=whole.preprocess.model_copy(update={"lungs": "only"}))
    monkeypatch.setattr("hilum.reader.loading.load_bundle", lambda _, **__: masked)
    with pytest.raises(UsageError, match="lung masks that a source gives"):
        reader_of(bundle)


@pytest.mark.parametrize("named", ["view", "projection"])
def test_views_are_no_findings(named: str) -> None:
    with pytest.raises(UsageError, match=f"^{named} tells views of films, and no findings; ask it with: hilum view$"):
        reader_of(named)


def test_a_bundle_that_is_shown_lungs_is_shown_those_drawn(
    bundle: Path, films: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, around = load_bundle(bundle), Boxes(LUNGS, 40)
    cropping = whole.preprocess.model_copy(update={"lungs": "crop", "masks": "made"})
    cropped = replace(whole, preprocess=cropping, provenance={"lungs": {"bundle": around.digest}})
    monkeypatch.setattr("hilum.reader.loading.load_bundle", lambda _, **__: cropped)
    (one,) = reader_of(bundle, lungs=around).read(films[0]).answers
    expected = next(predict_films(cropped, films[:1], lungs=around, processes=1))  # type: ignore[arg-type]
    assert one.findings[0].probability == expected.findings[0].probability
    assert one.map is not None
    shown = one.map.shown
    if shown is not None:
        assert not shown[: SIDE // 6].any()
        assert not shown[:, -SIDE // 12 :].any()


def interval_of(low: float, high: float) -> Any:
    """A reference whose intervals are always the same."""
    return SimpleNamespace(
        intervals=(lambda _: (low, high),) * 3, cloud=None, labels=np.zeros(9), groups=9, balanced=False
    )


def answered(bundle: Bundle, shares: list[float], reference: Any, **policy: Any) -> Any:
    """The answer of a classifier that says these probabilities of any film."""
    fixed = SimpleNamespace(
        probabilities=lambda _: np.array([shares]),
        classes=bundle.classes if len(shares) == 2 else ("normal", "covid19", "pneumonia"),
        operating_points=bundle.operating_points if len(shares) == 2 else (),
    )
    verdict = policy.pop("verdict", None)
    one: Any = SimpleNamespace(
        name="fixed",
        title="Fixed",
        digest="",
        classes=fixed.classes,
        bundle=fixed,
        reference=reference,
        verdict=verdict,
        headline="",
    )
    told = FilmAnswers(np.zeros((1, 2), np.float32), np.full((1, 3), 5.0, np.float32), ())
    return answering.answer(one, told, Policy(**policy))


@pytest.fixture
def of_drawn(bundle: Path) -> Bundle:
    """Threshold .5 for `patch`."""
    whole = load_bundle(bundle)
    points = tuple(replace(point, threshold=0.5) for point in whole.operating_points)
    return replace(whole, operating_points=points)


@pytest.mark.parametrize(
    ("probability", "low", "high", "outcome"),
    [
        (0.8, 0.6, 0.9, Outcome.POSITIVE),
        (0.5, 0.5, 0.5, Outcome.POSITIVE),
        (0.2, 0.1, 0.49, Outcome.NEGATIVE),
        (0.6, 0.4, 0.7, Outcome.INCONCLUSIVE),
        (0.45, 0.1, 0.5, Outcome.INCONCLUSIVE),
        (0.6, 0.1, 0.2, Outcome.INCONCLUSIVE),
        (0.2, 0.7, 0.8, Outcome.INCONCLUSIVE),
    ],
)
def test_an_interval_on_both_sides_of_the_threshold_decides_nothing(
    of_drawn: Bundle, probability: float, low: float, high: float, outcome: Outcome
) -> None:
    told = answered(of_drawn, [probability, 1 - probability], interval_of(low, high))
    assert told.outcome is outcome
    assert bool(told.reasons) == (outcome is Outcome.INCONCLUSIVE)
    first, second = told.findings
    assert first.low == min(low, probability)
    assert first.high == max(high, probability)
    assert (second.low, second.high) == pytest.approx((1 - first.high, 1 - first.low))
    assert told.label == ("patch" if probability >= 0.5 else "plain")


@pytest.mark.parametrize(
    ("shares", "outcome"),
    [([0.8, 0.1, 0.1], Outcome.NEGATIVE), ([0.1, 0.8, 0.1], Outcome.POSITIVE), ([0.1, 0.2, 0.7], Outcome.POSITIVE)],
)
def test_of_more_classes_normal_is_negative(of_drawn: Bundle, shares: list[float], outcome: Outcome) -> None:
    assert answered(of_drawn, shares, None).outcome is outcome
    assert answered(of_drawn, shares, interval_of(0.3, 0.6)).outcome is Outcome.INCONCLUSIVE


def test_a_film_far_from_all_others_is_left_open(of_drawn: Bundle) -> None:
    reference = interval_of(0.9, 0.9)
    for distance, outcome in ((3.0, Outcome.POSITIVE), (9.0, Outcome.INCONCLUSIVE), (np.nan, Outcome.INCONCLUSIVE)):
        reference.cloud = SimpleNamespace(limit=5.0, distances=lambda _, told=distance: np.array([told]))
        told = answered(of_drawn, [0.9, 0.1], reference)
        assert told.outcome is outcome
        assert any("unlike the films" in reason for reason in told.reasons) == (outcome is Outcome.INCONCLUSIVE)


@pytest.mark.parametrize("verdict", ["FAIL", "WARN", None])
def test_a_failed_audit_is_a_caveat_or_stops_every_decision(of_drawn: Bundle, verdict: str | None) -> None:
    assert answered(of_drawn, [0.9, 0.1], None, verdict=verdict).outcome is Outcome.POSITIVE
    refused = answered(of_drawn, [0.9, 0.1], None, verdict=verdict, on_fail="refuse")
    assert (refused.outcome is Outcome.INCONCLUSIVE) == (verdict == "FAIL")


def test_a_network_without_a_number_decides_nothing(of_drawn: Bundle) -> None:
    told = answered(of_drawn, [float("nan"), float("nan")], interval_of(0, 1))
    assert told.outcome is Outcome.INCONCLUSIVE
    assert told.findings == ()
    assert "no number" in told.reasons[0]


def quality(pixels: NDArray[Any], facts: Any = None) -> list[str]:
    high, wide = pixels.shape
    mask = np.zeros(pixels.shape, bool)
    mask[high // 4 : -high // 4, wide // 4 : -wide // 4] = True
    film: Any = SimpleNamespace(
        size=pixels.shape, facts=facts or SimpleNamespace(warnings=()), at_least=lambda _: pixels.astype(np.float32)
    )
    return list(quality_notes(film, SimpleNamespace(flags=(), both=mask)))  # type: ignore[arg-type]


def test_notes_on_exposure_contrast_and_size() -> None:
    ramp = np.tile(np.linspace(0.05, 0.95, 400), (400, 1))
    assert quality(ramp) == []
    assert [note for note in quality(ramp[:100]) if "400 x 100 pixels" in note]
    assert "little contrast" in quality(0.5 + 0.1 * ramp)[0]
    assert "exposure" in quality(np.where(ramp > 0.6, 1.0, ramp))[0]
    assert "few grey levels: 10" in quality(np.round(ramp * 10 + 0.1) / 12)[0]
    assert quality(ramp, SimpleNamespace(warnings=("colour dropped",))) == ["decoding: colour dropped"]


def test_json_is_what_was_agreed(reader: Reader, films: list[Path]) -> None:
    told = as_json(reader.read(films[0]), pictures=True)
    keys = ["film", "outcome", "refusal", "notes", "view", "lungs", "lesions", "severity", "answers", "pictures"]
    assert list(told) == [*keys, "seconds", "disclaimer"]
    assert told["disclaimer"] == DISCLAIMER
    assert set(told["film"]) == {"name", "sha256", "height", "width", "format"}
    assert told["film"]["format"] == "png"
    json.dumps(told, allow_nan=False)
    right = np.array(told["lungs"]["outlines"]["right"][0])
    assert right.min(0) == pytest.approx([0.1, 0.2], abs=0.03)
    assert right.max(0) == pytest.approx([0.42, 0.8], abs=0.03)
    left, top, width, height = told["lesions"]["ggo"]["boxes"][0]
    assert (left, top, width, height) == pytest.approx((0.15, 0.5, 0.15, 0.2), abs=0.03)
    assert set(told["answers"][0]["findings"][0]) == {"label", "probability", "low", "high", "threshold"}
    assert "pictures" not in as_json(reader.read(films[0]))


def test_pictures_in_json_are_pngs_of_the_film_and_the_map(reader: Reader, films: list[Path]) -> None:
    import base64

    told = as_json(reader.read(films[0]), pictures=True)
    uris = [told["pictures"]["film"]] + [one["map"]["picture"] for one in told["answers"] if "picture" in one["map"]]
    modes = []
    for uri in uris:
        head, _, data = uri.partition(",")
        assert head == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            modes.append(picture.mode)
            assert picture.size == (SIDE, SIDE)
    assert modes == ["L", "RGBA"]


@pytest.mark.parametrize("explain", [True, False])
def test_maps_are_made_where_asked_for(bundle: Path, films: list[Path], explain: bool) -> None:
    (one,) = reader_of(bundle, explain=explain).read(films[0]).answers
    assert (one.map is not None) == explain
    if one.map is not None and one.map.shown is not None:
        assert one.map.shown.shape == (SIDE, SIDE)
        assert one.map.lungs is not None
        assert 0 <= one.map.lungs.energy <= 1


def test_a_head_with_hidden_layers_has_an_answer_and_no_map(
    bundle: Path, films: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, hidden = load_bundle(bundle), {f"head.{place}.weight": np.zeros((2, 2)) for place in (0, 2)}
    monkeypatch.setattr(whole.engine, "tensors", lambda _: hidden)
    monkeypatch.setattr("hilum.reader.loading.load_bundle", lambda _, **__: whole)
    (one,) = reader_of(bundle).read(films[0]).answers
    assert one.findings
    assert one.map is not None
    assert one.map.shown is None
    assert "has hidden layers: hilum explain makes others" in str(one.map.no_map)


def test_a_film_passes_a_classifier_once(bundle: Path, films: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, passes = load_bundle(bundle), []

    class Counted:
        """The bundle's engine, counting what goes through it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(whole.engine, name)

        def __call__(self, shown: NDArray[np.float32], names: Any) -> Any:
            passes.append(len(shown))
            return whole.engine(shown, names)

    counted: Any = Counted()
    monkeypatch.setattr("hilum.reader.loading.load_bundle", lambda _, **__: replace(whole, engine=counted))
    ready = reader_of(bundle)
    passes.clear()  # of the warm-up
    (one,) = ready.read(films[0]).answers
    assert one.map is not None
    assert passes == [1]


def test_a_drawing_carries_label_and_probability_in_its_name(reader: Reader, films: list[Path]) -> None:
    read = reader.read(films[0])
    one = read.answers[0]
    shown = next(held for held in one.findings if held.label == one.label)
    assert annotated_name(read) == f"{films[0].stem}__{one.label}_{shown.probability:.2f}.png"
    with Image.open(io.BytesIO(annotated(read))) as picture:
        assert picture.width == 720
        assert picture.height > 720
    assert annotated_name(Reading(name="../odd/na:me.dcm")) == "na-me__refused.png"
    with pytest.raises(DataError, match="was not decoded"):
        annotated(Reading(name="film"))


def test_words_say_the_outcome_first(reader: Reader, films: list[Path], tmp_path: Path) -> None:
    read = reader.read(films[0])
    said = list(lines_of(read))
    assert said[0].startswith(f"{films[0].name}: {read.outcome.value}")
    refused = list(lines_of(reader.read(tmp_path / "absent.png")))
    assert refused == ["absent.png: REFUSED (not-found)", "  absent.png is not a file"]


def test_every_film_has_a_reading_come_what_may(reader: Reader, films: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(films[0].read_bytes()[:500])
    asked = [films[0], broken, *films[1:9]]
    for processes in (1, 2):
        found = list(read_films(reader, asked, processes=processes))
        assert [path for path, _ in found] == asked
        assert [one.outcome is Outcome.REFUSED for _, one in found] == [False, True, *[False] * 8]
    (one,) = found[2][1].answers
    assert one.findings[0].probability == reader.read(films[1]).answers[0].findings[0].probability


def test_want_of_memory_costs_one_film(reader: Reader, films: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(chain, "drawn_lesions", starved)
    ((_, read),) = read_films(reader, films[:1], processes=1)
    assert read.refusal is not None
    assert read.refusal.kind == "too-large"


def test_the_table_has_a_row_a_film_and_classifier(reader: Reader, films: list[Path], tmp_path: Path) -> None:
    read = reader.read(films[0])
    two = replace(read, answers=(read.answers[0], replace(read.answers[0], bundle="second")))
    missing = reader.read(tmp_path / "absent.png")
    write_table([(films[0], two), (tmp_path / "absent.png", missing)], tmp_path / "read.csv")
    with (tmp_path / "read.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert [row["bundle"] for row in rows] == [
        "bundle" if read.answers[0].bundle == "bundle" else rows[0]["bundle"],
        "second",
        "",
    ]
    assert rows[0]["label"] == "patch"
    assert float(rows[0]["probability"]) == pytest.approx(read.answers[0].findings[0].probability, abs=1e-4)
    assert rows[2]["refused_kind"] == "not-found"


def test_a_reading_without_pixels_still_tells_its_numbers(reader: Reader, films: list[Path]) -> None:
    whole, kept = as_json(reader.read(films[0])), as_json(reader.read(films[0]).without_pixels())
    assert kept["lungs"]["measures"] == whole["lungs"]["measures"]
    assert kept["lungs"]["outlines"] == {}
    assert kept["answers"] == whole["answers"]
    assert kept["severity"] == whole["severity"]


@pytest.fixture
def command(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """`hilum read` with the drawn reader's networks."""

    def drawn_reader(bundles: Any, *, policy: Policy, engine: str) -> Reader:
        assert engine == "auto"
        told: dict[str, Any] = {"lungs": Boxes(LUNGS, 40), "lesions": Boxes(PATCHES, 50), "view_filter": Views()}
        return Reader([Path(one) for one in bundles], policy=policy, **told)

    monkeypatch.setattr(reader_package, "Reader", drawn_reader)
    app = typer.Typer()
    app.command()(read_command)
    return app


def test_the_command_reads_films_and_says_what_it_refuses(
    command: typer.Typer, bundle: Path, films: list[Path], tmp_path: Path
) -> None:
    good = CliRunner().invoke(command, [str(films[0]), "--bundle", str(bundle)])
    assert good.exit_code == 0, good.output
    assert films[0].name in good.stdout
    assert DISCLAIMER in good.stdout
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    table, drawings = tmp_path / "read.csv", tmp_path / "drawn"
    asked = [str(films[0]), str(broken), "--bundle", str(bundle), "--csv", str(table), "--annotate", str(drawings)]
    some = CliRunner().invoke(command, asked)
    assert some.exit_code == REFUSED
    assert "broken.png is not a PNG" in some.stdout
    assert len(table.read_text(encoding="utf-8").splitlines()) == 3
    assert len(list(drawings.glob("*.png"))) == 1


def test_the_command_s_json_is_a_list_of_readings(command: typer.Typer, bundle: Path, films: list[Path]) -> None:
    told = CliRunner().invoke(command, [str(films[0]), "--bundle", str(bundle), "--json", "--no-lesions"])
    (one,) = json.loads(told.stdout)
    assert one["path"] == str(films[0])
    assert one["lesions"] is None


def test_the_command_refuses_an_unknown_policy(command: typer.Typer, films: list[Path]) -> None:
    told = CliRunner().invoke(command, [str(films[0]), "--on-fail", "shrug"])
    assert isinstance(told.exception, UsageError)

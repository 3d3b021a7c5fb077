"""Cards: bound to the digest, all told or a named blank, failures without pixels, notes under the digest."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import hilum.bundle.notes as notes_module
from hilum.bundle import (
    MANIFEST,
    SELFTEST,
    WEIGHTS,
    Figure,
    SegmenterBundle,
    bundle_folder,
    load_segmenter,
    released,
    released_names,
    save_segmenter,
)
from hilum.bundle.format import NOTES, sign_manifest
from hilum.bundle.notes import Answers, Contour, DataSet, Failure, FilmSet, Notes, read_notes, with_notes
from hilum.card import (
    BLANK,
    Card,
    card_json,
    card_markdown,
    card_page,
    contour_of,
    read_card,
    short_card,
    write_card,
)
from hilum.card.asked import ASKED
from hilum.console import Console
from hilum.engine.eager import TorchEngine
from hilum.errors import BundleError, UsageError
from hilum.files import sha256_file
from hilum.networks.segmentation import build_segmenter
from hilum.preprocess import Preprocess
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.records import DISCLAIMER

from .made_up import signed_bundle


def _figure(**told: Any) -> Figure:
    settings: dict[str, Any] = {
        "metric": "dice",
        "label": "lungs",
        "films": "drawn, test",
        "n": 31,
        "groups": 17,
        "value": 0.9,
        "low": 0.8123,
        "high": 0.95,
        "training": "this",
    }
    return Figure(**settings | told)


SQUARE = "M.1 .1L.4 .1L.4 .5Z"
NOTED = Notes(
    data=(DataSet(source="drawn <b>", films=40, groups=20, licence="CC BY-NC 4.0", research_use=True, labels_by="us"),),
    labels={"lungs": "both | lungs"},
    split="by group",
    views="frontal",
    refused=("Feet.",),
    misuse=("Not for horses.",),
    film_sets=(FilmSet(films="drawn, test", other_source=False), FilmSet(films="elsewhere", other_source=True)),
    figures=(_figure(films="elsewhere", value=0.5, low=0.4, high=0.6),),
    failures=(
        Failure(
            film="worst.png",
            metric="dice",
            value=0.1,
            reason="an arm",
            aspect=0.5,
            contours=(
                Contour(label="lungs", drawn_by="bundle", path=SQUARE),
                Contour(label="lungs", drawn_by="reference", path="M0 0L1 0L1 1Z"),
            ),
        ),
    ),
    answers=Answers(patients="none"),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny segmenter without notes; not to be changed."""
    plain = Preprocess(size_px=64, channels=1)
    recipe = SegmentationRecipe(
        title="Drawn", labels=("lungs",), network="unet-1", encoder=None, weights="random", preprocess=plain
    )
    torch.manual_seed(0)
    bundle = SegmenterBundle(
        title="Drawn <lungs>",
        labels=("lungs",),
        recipe=recipe,
        preprocess=plain.model_copy(update={"mean": (0.5,), "std": (0.25,)}),
        engine=TorchEngine(build_segmenter("unet-1", encoder=None, weights="random", channels=1, labels=1)),
        threshold=0.4,
        figures=(_figure(), _figure(metric="iou", value=0.82, low=0.7, high=0.9)),
        plausible={"area_share": (0.1, 0.6)},
        provenance={"films": 40, "sources": ["drawn"], "held_out": "ten groups"},
    )
    folder = tmp_path_factory.mktemp("bundles") / "one"
    save_segmenter(bundle, folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


@pytest.fixture(scope="module")
def noted(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bundle with notes; not to be changed."""
    folder = Path(shutil.copytree(saved, tmp_path_factory.mktemp("noted") / "one"))
    with_notes(folder, NOTED)
    return folder


def _words(page: str) -> str:
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))
    return re.sub(r"\s+", " ", " ".join(found))


def _terminal(card: Card) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(short_card(card))
    return captured.get()


# Notes: in the digest, and never half there


def test_notes_change_the_digest_and_nothing_that_is_computed(copy: Path) -> None:
    before = load_segmenter(copy)
    weights = (copy / WEIGHTS).stat().st_mtime_ns, sha256_file(copy / WEIGHTS)
    digest = with_notes(copy, NOTED)
    after = load_segmenter(copy)
    assert after.digest == digest != before.digest
    assert read_notes(copy) == NOTED
    assert ((copy / WEIGHTS).stat().st_mtime_ns, sha256_file(copy / WEIGHTS)) == weights
    assert set(json.loads((copy / MANIFEST).read_text())["files"]) == {WEIGHTS, SELFTEST, NOTES}


def test_notes_can_be_replaced_and_taken_away(copy: Path) -> None:
    plain = load_segmenter(copy).digest
    with_notes(copy, NOTED)
    with_notes(copy, Notes(split="otherwise"))
    assert read_notes(copy) == Notes(split="otherwise")
    assert with_notes(copy, None) == plain
    assert read_notes(copy) is None
    assert sorted(file.name for file in copy.iterdir()) == sorted([MANIFEST, SELFTEST, WEIGHTS])
    assert load_segmenter(copy).digest == plain


def test_the_same_notes_give_the_same_digest(copy: Path) -> None:
    assert with_notes(copy, NOTED) == with_notes(copy, NOTED)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: file.write_text(file.read_text().replace("Not for horses", "Good for horses")), "its hash does"),
        (lambda file: file.unlink(), "notes.json is missing"),
    ],
    ids=["changed", "removed"],
)
def test_tampered_notes_are_found_on_load_and_by_the_card(copy: Path, change: Any, says: str) -> None:
    with_notes(copy, NOTED)
    change(copy / NOTES)
    for read in (load_segmenter, read_card, read_notes):
        with pytest.raises(BundleError, match=says):
            read(copy)
    with pytest.raises(BundleError, match=says):
        with_notes(copy, NOTED)


def test_notes_the_manifest_does_not_list_are_not_told(copy: Path) -> None:
    (copy / NOTES).write_text(NOTED.model_dump_json())
    assert read_notes(copy) is None
    assert "horses" not in card_markdown(read_card(copy))
    assert load_segmenter(copy)


@pytest.mark.parametrize("step", [1, 2, 3], ids=["bare manifest", "notes", "manifest"])
def test_a_stop_at_any_step_leaves_a_bundle_that_loads(copy: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    with_notes(copy, NOTED)
    done = 0

    def counting(write: Any) -> Any:
        def stopped(*told: Any) -> Any:
            nonlocal done
            done += 1
            if done == step:
                raise KeyboardInterrupt
            return write(*told)

        return stopped

    for name in ("sign_manifest", "write_json"):
        monkeypatch.setattr(notes_module, name, counting(getattr(notes_module, name)))
    with pytest.raises(KeyboardInterrupt):
        with_notes(copy, Notes(split="otherwise"))
    assert done == step
    load_segmenter(copy)
    assert read_notes(copy) == (NOTED if step == 1 else None)


def test_a_bundle_saved_again_has_no_notes_of_the_former(copy: Path) -> None:
    with_notes(copy, NOTED)
    save_segmenter(load_segmenter(copy), copy)
    assert not (copy / NOTES).exists()
    assert read_notes(copy) is None


def test_a_damaged_bundle_is_not_signed_anew(copy: Path) -> None:
    (copy / WEIGHTS).write_bytes(b"other")
    with pytest.raises(BundleError, match="its hash does not match"):
        with_notes(copy, NOTED)


def test_signed_notes_of_another_form_are_refused(copy: Path) -> None:
    with_notes(copy, NOTED)
    (copy / NOTES).write_text(json.dumps({"split": "by film", "opinion": "good"}))
    told = json.loads((copy / MANIFEST).read_text())
    sign_manifest(copy, told | {"files": told["files"] | {NOTES: sha256_file(copy / NOTES)}})
    with pytest.raises(BundleError, match=r"no notes this hilum can read \(wrong: opinion\)"):
        read_card(copy)


def test_a_manifest_lists_no_other_file(copy: Path) -> None:
    told = json.loads((copy / MANIFEST).read_text())
    (copy / "more.json").write_text("{}")
    sign_manifest(copy, told | {"files": told["files"] | {"more.json": sha256_file(copy / "more.json")}})
    with pytest.raises(BundleError, match="lists other files"):
        load_segmenter(copy)


@pytest.mark.parametrize(
    "path",
    ['M0 0L1 1Z"/><script>', "M0 0L2 1Z", "M0 0L1 1", "M0 0Z", "M-.1 0L1 1Z", "M0 0L1e9 1Z", "M0 0C1 1 1 0 0 1Z", ""],
)
def test_a_contour_is_polygons_inside_the_film_and_nothing_else(path: str) -> None:
    with pytest.raises(ValidationError):
        Contour(label="lungs", drawn_by="bundle", path=path)


def test_a_failure_names_a_film_without_folders() -> None:
    with pytest.raises(ValidationError):
        Failure(film="/home/anna/film.png", metric="dice")


# Contours: what a mask looks like without its film


def test_a_contour_encloses_its_mask() -> None:
    down, across = np.mgrid[:90, :120]
    mask = ((down - 40) / 25) ** 2 + ((across - 50) / 30) ** 2 < 1
    path = contour_of(mask)
    Contour(label="lungs", drawn_by="bundle", path=path)
    points = np.array([[float(n) for n in point.split()] for point in re.findall(r"[ML]([^MLZ]+)", path)])
    assert path.count("M") == 1
    assert 6 < len(points) < 60
    assert points.min(0) == pytest.approx([20 / 120, 15 / 90], abs=0.02)
    assert points.max(0) == pytest.approx([80 / 120, 65 / 90], abs=0.02)
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(mask.mean(), rel=0.05)


def test_contours_of_edges_holes_specks_and_nothing() -> None:
    assert contour_of(np.zeros((40, 40), bool)) == ""
    speck = np.zeros((400, 400), bool)
    speck[7, 7:12] = True
    assert contour_of(speck) == ""
    whole = contour_of(np.ones((40, 60), bool))
    Contour(label="lungs", drawn_by="bundle", path=whole)
    assert whole.count("M") == 1
    ring = np.ones((40, 40), bool)
    ring[10:30, 10:30] = False
    assert contour_of(ring).count("M") == 2


# The card


def test_a_card_is_bound_to_its_bundle(noted: Path) -> None:
    card = read_card(noted)
    digest = load_segmenter(noted).digest
    assert card.digest == digest
    for said in (card_page(card), card_markdown(card), json.dumps(card_json(card)), _terminal(card)):
        assert digest in said
        assert DISCLAIMER in said
    assert card_page(card) == card_page(read_card(noted))


TOLD = ("both", "CC BY-NC 4.0", "Not for horses.", "Feet.", "by group", "ten groups", "worst.png", "an arm", "frontal")


@pytest.mark.parametrize("said", [*TOLD, "0.900 [0.812–0.950]", "31", "another source", "unet-1", "0.600"])
def test_what_a_bundle_carries_is_on_every_card(noted: Path, said: str) -> None:
    card = read_card(noted)
    assert said in _words(card_page(card))
    assert said in card_markdown(card).replace("\\", "")
    assert said in json.dumps(card_json(card), ensure_ascii=False)


def test_research_use_is_said_where_licences_ask_for_it(noted: Path, saved: Path) -> None:
    assert "the licences of films of drawn <b> ask for it" in str(card_json(read_card(noted)))
    assert "ask for it" not in str(card_json(read_card(saved)))


BLANKS = (
    "meaning of lungs",
    "what it must not be used for, beyond patients",
    "which views it is made for",
    "which films it refuses",
    "of drawn: licence of its films, who gave the labels or masks, number of films, number of groups",
    "how films were split into train, tune and test",
    "whether its source was trained on: drawn, test",
    "failure examples",
    *(asked for _, asked in ASKED.values()),
)


def test_every_blank_is_named_on_every_card(saved: Path) -> None:
    card = read_card(saved)
    assert set(card.blanks) == set(BLANKS)
    page, text = _words(card_page(card)), card_markdown(card)
    for blank in BLANKS:
        assert blank in page
        assert blank in text
    assert card_json(card)["not_recorded"] == list(card.blanks)
    assert card_json(card)["sections"]["asked"]["facts"]["Ethics"] is None
    assert f"Not recorded ({len(BLANKS)})" in _terminal(card)


def test_notes_fill_blanks(noted: Path) -> None:
    assert set(read_card(noted).blanks) == {asked for name, asked in ASKED.values() if name != "Patients"}


def test_a_bundle_of_any_kind_has_a_card(tmp_path: Path) -> None:
    figures = [_figure(metric="error_px", value=7.5, low=None, high=None).model_dump()]
    told = {"labels": ["opacity"], "figures": figures, "nms_threshold": 0.45, "most_found": 100}
    card = read_card(signed_bundle(tmp_path / "boxes", kind="detector", **told))
    page = _words(card_page(card))
    assert "A detector: draws boxes" in page
    assert "0.45" in page
    assert "7.500" in page
    assert "<svg" not in card_page(card).split("<main")[1].split("Figure")[0].replace('<svg class="glyph"', "")


def test_a_classifier_without_figures_has_its_headline_and_says_what_was_not_measured(tmp_path: Path) -> None:
    headline = "AUROC 0.858 [0.827, 0.888] (n = 706 films, 508 groups) · shortcut floor 0.749 (thumbnail)"
    points = [{"label": "AP", "name": "youden", "threshold": 0.489}]
    told: dict[str, Any] = {"classes": ["AP", "PA"], "temperature": 1.02, "operating_points": points}
    card = read_card(signed_bundle(tmp_path / "one", evaluation={"headline": headline, "n_films": 706}, **told))
    page = _words(card_page(card))
    assert headline in page
    assert "for AP from its threshold (youden) on, else for PA" in page
    assert "Figures on films of another source: none measured." in page
    assert "figures on films of another source (none measured)" in card.blanks
    bare = read_card(signed_bundle(tmp_path / "two", evaluation=None, **told))
    assert {"figures on films kept out of training", "shortcut floor"} <= set(bare.blanks)


@pytest.mark.parametrize(
    ("figures", "sets", "says"),
    [
        ([], [], "none measured."),
        ([_figure()], [], "not recorded which, if any."),
        ([_figure()], [FilmSet(films="drawn, test", other_source=False)], "none measured."),
        ([_figure()], [FilmSet(films="drawn, test", other_source=True)], "1 set of films."),
        (
            [_figure(training="a twin")],
            [FilmSet(films="drawn, test", training="a twin", other_source=True)],
            "none measured of this bundle, only of another training.",
        ),
        (
            [_figure(training="a twin")],
            [FilmSet(films="drawn, test", other_source=True)],
            "not recorded which, if any.",
        ),
    ],
    ids=["no figure", "unknown", "same source", "another source", "a twin elsewhere", "the twin is not told of"],
)
def test_figures_of_other_sources_are_marked_or_said_to_be_missing(
    tmp_path: Path, figures: list[Figure], sets: list[FilmSet], says: str
) -> None:
    folder = signed_bundle(
        tmp_path / "one", kind="segmenter", labels=["lungs"], figures=[one.model_dump() for one in figures]
    )
    with_notes(folder, Notes(film_sets=tuple(sets)))
    assert read_card(folder).elsewhere() == f"Figures on films of another source: {says}"


def test_the_page_requests_nothing_and_escapes_everything(noted: Path) -> None:
    page = card_page(read_card(noted))
    assert "drawn <b>" not in page
    assert "drawn &lt;b&gt;" in page
    assert "Drawn <lungs>" not in page
    assert not re.search(r"<script|<link|<img|@import|url\((?!#)|(?:src|href)=\"(?!#)", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_failures_are_drawn_by_outlines_alone(noted: Path) -> None:
    page = card_page(read_card(noted))
    drawing = re.search(r'<svg[^>]*class="contours".*?</svg>', page, re.DOTALL)
    assert drawing
    assert 'viewBox="0 0 100.0 200.0"' in drawing.group()
    assert f'd="{SQUARE}"' in drawing.group()
    assert drawing.group().count("<path") == 2
    assert drawing.group().count("stroke-dasharray") == 1
    assert "<image" not in page


def test_markdown_tables_keep_their_columns(noted: Path) -> None:
    for block in card_markdown(read_card(noted)).split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, block


def test_a_changed_bundle_has_no_card(copy: Path) -> None:
    (copy / WEIGHTS).write_bytes((copy / WEIGHTS).read_bytes() + b" ")
    with pytest.raises(BundleError, match="its hash does not match"):
        read_card(copy)


def test_cards_are_written(noted: Path, tmp_path: Path) -> None:
    paths = write_card(read_card(noted), tmp_path / "cards")
    assert [path.name for path in paths] == ["card.html", "card.md", "card.json"]
    assert json.loads(paths[2].read_text())["digest"] == read_card(noted).digest


def test_released_bundles_have_cards_and_are_found_by_name() -> None:
    for name in released_names():
        card = read_card(bundle_folder(name))
        assert card.title in card_markdown(card).replace("\\", "")
        assert card_page(card)
    assert bundle_folder(str(released("lungs"))) == released("lungs")
    with pytest.raises(UsageError, match="did you mean 'lungs'"):
        bundle_folder("lnugs")


def test_blank_is_one_word_everywhere(saved: Path) -> None:
    page = _words(card_page(read_card(saved)))
    assert page.count(BLANK) > len(BLANKS)

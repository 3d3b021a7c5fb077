"""Checklists on a card: every item numbered, answered only where the card tells it, else a named blank."""

import html
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hilum.audit.attached import Known
from hilum.audit.check import Measured as Found
from hilum.audit.check import found, skipped
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import Audit
from hilum.bundle import Figure, bundle_folder, released_names
from hilum.bundle.format import NOTES
from hilum.bundle.notes import Answers, DataSet, Failure, FilmSet, Notes, read_notes, with_notes
from hilum.card import BLANK, Card, audited, card_json, card_markdown, card_page, read_card, short_card
from hilum.card.asked import ASKED, MORE
from hilum.card.checklist_items import CLAIM, PAPER, PARTS, TRIPOD_AI
from hilum.card.checklists import OF_PAPER, Checklist, Item, checklists_of
from hilum.console import Console

from .made_up import signed_bundle

HEADLINE = "AUROC 0.858 [0.827, 0.888] (n = 706 films, 508 groups) · shortcut floor 0.749 (thumbnail)"
RECIPE: dict[str, Any] = {
    "films": {"sources": ["drawn"], "views": ["PA"], "duplicates": "first"},
    "network": {"backbone": "tiny", "weights": "random"},
    "schedule": {"optimiser": "adamw", "epochs": 3, "class_weights": "balanced"},
    "augmentation": {"flip": 0.5},
    "split": {"method": "kfold", "folds": 5},
}
CLASSIFIER: dict[str, Any] = {
    "classes": ["ill", "well"],
    "temperature": 1.5,
    "operating_points": [{"label": "ill", "name": "youden", "threshold": 0.4}],
    "evaluation": {"headline": HEADLINE},
    "recipe": RECIPE,
    "provenance": {"films": 40, "versions": {"hilum": "0.1.0"}},
}
ALL_TOLD = Answers(**{key: f"{key} <told> | 2019" for key in Answers.model_fields})


def _figure(**told: Any) -> Figure:
    plain: dict[str, Any] = {"metric": "sensitivity", "label": "ill", "films": "drawn, test", "n": 31, "groups": 17}
    return Figure(**plain | {"value": 0.9, "low": 0.8, "high": 0.95, "training": "this"} | told)


RICH = Notes(
    data=(DataSet(source="drawn", films=40, groups=20, licence="CC BY", research_use=True, labels_by="two of us"),),
    labels={"ill": "an opacity", "well": "none"},
    split="by group",
    views="frontal",
    refused=("Feet.",),
    misuse=("Not for horses.",),
    figures=(_figure(), _figure(films="elsewhere", value=0.7, low=0.5, high=0.8)),
    film_sets=(
        FilmSet(films="drawn, test", other_source=False, words="new groups"),
        FilmSet(films="elsewhere", other_source=True, words="another hospital"),
    ),
    failures=(Failure(film="worst.png", metric="sensitivity", reason="an arm"),),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place for bundles of this module."""
    return tmp_path_factory.mktemp("bundles")


def _bundle(folder: Path, name: str, notes: Notes | None = None, **told: Any) -> Card:
    """The card of a bundle as far as one reads it: hashes hold, the tensors are none."""
    place = signed_bundle(folder / name, **told)
    if notes:
        with_notes(place, notes)
    return read_card(place)


@pytest.fixture(scope="module")
def bare(folder: Path) -> Card:
    return _bundle(folder, "bare", classes=["ill", "well"])


@pytest.fixture(scope="module")
def rich(folder: Path) -> Card:
    return _bundle(folder, "rich", RICH, **CLASSIFIER)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Card:
    return _bundle(folder, "whole", RICH.model_copy(update={"answers": ALL_TOLD}), **CLASSIFIER)


@pytest.fixture(scope="module")
def drawn(folder: Path) -> Card:
    """Of a segmenter with limits, without thresholds that were chosen."""
    told = {"labels": ["lungs"], "threshold": 0.5, "plausible": {"area_share": (0.1, 0.6)}}
    recipe = {"network": "unet", "encoder": "tiny", "weights": "random", "loss": "dice"}
    return _bundle(folder, "drawn", kind="segmenter", recipe=recipe, **told)


def _by_number(card: Card, key: str) -> Mapping[str, Item]:
    return {item.number: item for item in _checklist(card, key).items}


def _checklist(card: Card, key: str) -> Checklist:
    return next(one for one in checklists_of(card) if one.key == key)


def _standings(card: Card) -> dict[tuple[str, str], str]:
    return {(one.key, item.number): item.standing for one in checklists_of(card) for item in one.items}


def _with(card: Card, notes: Notes, folder: Path, name: str) -> Card:
    """A card like the rich one with other notes."""
    return _bundle(folder, name, notes, **CLASSIFIER)


# The tables


def test_claim_has_its_44_items_in_order() -> None:
    assert [row[0] for row in CLAIM] == [str(number) for number in range(1, 45)]


def test_tripod_ai_has_its_27_items_in_52_parts() -> None:
    parts = {3: 3, 5: 2, 6: 3, 8: 3, 9: 3, 12: 7, 18: 6, 20: 3, 23: 2, 27: 3}
    expected = [f"{number}{letter}" for number in range(1, 28) for letter in "abcdefg"[: parts.get(number, 0)] or ("",)]
    assert [row[0] for row in TRIPOD_AI] == expected
    assert len(expected) == 52


def test_items_of_a_manuscript_are_left_to_it(bare: Card) -> None:
    of_paper = {one.key: {i.number for i in one.items if i.standing == "paper"} for one in checklists_of(bare)}
    assert of_paper == {"claim": {"1", "2", "4", "6", "44"}, "tripod_ai": {"1", "2", "4", "18a", "18b", "25", "27c"}}
    assert _by_number(bare, "claim")["44"].text == OF_PAPER


def test_every_part_is_asked_and_every_item_asks_something() -> None:
    used = {name for row in (*CLAIM, *TRIPOD_AI) for name in row[2:]}
    assert used - {PAPER} <= PARTS.keys()
    in_others = {"contact", "practice", "thresholds"}
    assert PARTS.keys() - used == in_others
    for row in (*CLAIM, *TRIPOD_AI):
        assert row[2:] == (PAPER,) or any(PARTS[name].asked for name in row[2:]), row[0]


def test_every_answer_of_notes_has_its_words_and_its_item() -> None:
    assert ASKED.keys() | MORE.keys() == Answers.model_fields.keys()
    assert not ASKED.keys() & MORE.keys()
    assert len({name for name, _ in (ASKED | MORE).values()}) == len(ASKED | MORE)


def test_every_place_tells_something_on_some_card(rich: Card, whole: Card, drawn: Card) -> None:
    cards = (rich, whole, drawn, _audited(rich))
    dead = [name for name, part in PARTS.items() if not any(place(card) for place in part.places for card in cards)]
    assert dead == []


# What counts as answered


def test_notes_answer_more_and_all_of_them_answer_everything(bare: Card, rich: Card, whole: Card) -> None:
    for key, least in (("claim", 8), ("tripod_ai", 8)):
        counts = [_checklist(card, key).number_of("answered") for card in (bare, rich, whole)]
        assert counts[0] + least <= counts[1] < counts[2]
        assert _checklist(whole, key).number_of("blank") == 0


def test_counts_add_up(bare: Card, rich: Card) -> None:
    for card in (bare, rich):
        for one in checklists_of(card):
            answered, blank, paper = (one.number_of(kind) for kind in ("answered", "blank", "paper"))
            assert answered + blank + paper == len(one.items)
            assert one.line.endswith(f": answered {answered} of {len(one.items)}, blank {blank}, of the paper {paper}")


def test_a_bare_bundle_names_its_blanks(bare: Card) -> None:
    items = _by_number(bare, "claim")
    assert items["21"].text == f"{BLANK}: why this many films"
    assert items["7"].missing == ("which sources the films come from",)
    assert items["33"].missing == ("figures of this bundle on films of another source",)
    assert items["9"].standing == "answered"
    for item in items.values():
        assert item.standing == "paper" or item.told or item.missing


def test_what_a_card_tells_of_a_part_stands_beside_the_blank(bare: Card) -> None:
    item = _by_number(bare, "claim")["3"]
    assert item.standing == "blank"
    assert item.told == "Intended use: Tests."
    assert item.text == f"Intended use: Tests. · {BLANK}: {MORE['background'][1]}"


@pytest.mark.parametrize(
    ("key", "answers"),
    [
        ("registration", {("claim", "34"), ("tripod_ai", "18d")}),
        ("missing_data", {("claim", "12"), ("tripod_ai", "11")}),
        ("limitations", {("claim", "40"), ("tripod_ai", "26")}),
        ("agreement", {("claim", "18")}),
        ("code_availability", {("tripod_ai", "18f")}),
        ("robustness", {("claim", "30")}),
        ("contact", set()),
    ],
)
def test_one_answer_answers_its_items_and_no_other(
    folder: Path, rich: Card, key: str, answers: set[tuple[str, str]]
) -> None:
    told = RICH.model_copy(update={"answers": Answers(**{key: "told"})})
    before, after = _standings(rich), _standings(_with(rich, told, folder, f"only-{key}"))
    assert {one for one in after if after[one] != before[one]} == answers
    assert {after[one] for one in answers} <= {"answered"}


@pytest.mark.parametrize(
    ("update", "blanks"),
    [
        ({"split": "by chance"}, {("claim", "20")}),
        ({"split": "by patient"}, set()),
        ({"failures": (Failure(film="worst.png", metric="sensitivity"),)}, {("claim", "39")}),
        ({"data": (DataSet(source="drawn", films=40, groups=20, licence="CC BY"),)}, set()),
        (
            {"film_sets": (FilmSet(films="drawn, test", other_source=False, words="new"),)},
            {("claim", "33"), ("tripod_ai", "12d"), ("tripod_ai", "16"), ("tripod_ai", "23b")},
        ),
        (
            {"figures": (_figure(), _figure(films="elsewhere", low=None, high=None))},
            {("claim", "29"), ("claim", "37")},
        ),
        (
            {
                "figures": (_figure(), _figure(films="elsewhere", training="a twin")),
                "film_sets": (
                    FilmSet(films="drawn, test", other_source=False, words="new"),
                    FilmSet(films="elsewhere", training="a twin", other_source=True, words="other"),
                ),
            },
            {("claim", "33")},
        ),
        ({"labels": {"ill": "an opacity"}}, set()),
    ],
    ids=[
        "split by nothing",
        "split by patient",
        "failure without a reason",
        "labels by nobody known",
        "source not known",
        "figure without an interval",
        "a twin's figure elsewhere",
        "a label without meaning",
    ],
)
def test_half_an_answer_is_none(
    folder: Path, rich: Card, update: dict[str, Any], blanks: set[tuple[str, str]], request: pytest.FixtureRequest
) -> None:
    card = _with(rich, RICH.model_copy(update=update), folder, re.sub(r"\W", "-", request.node.name))
    before, after = _standings(rich), _standings(card)
    assert {one for one in after if after[one] == "blank" and before[one] == "answered"} == blanks
    parts = {(one.key, i.number, name) for one in checklists_of(card) for i in one.items for name in i.missing}
    if "data" in update:
        assert ("claim", "16", "who gave the labels or drew the masks of each source") in parts
    if "labels" in update:
        assert ("claim", "14", "what each label means") in parts


@pytest.mark.parametrize(("places", "standing"), [("Basel", "blank"), ("Basel, 2019 to 2021", "answered")])
def test_dates_are_told_by_a_year(folder: Path, rich: Card, places: str, standing: str) -> None:
    told = RICH.model_copy(update={"answers": Answers(places=places)})
    items = _by_number(_with(rich, told, folder, f"places-{standing}"), "tripod_ai")
    assert items["5b"].standing == standing
    assert items["6a"].standing == "answered"


OTHER = "audited on other films: AUROC 0.9 [0.8, 1.0] (n = 9 films, 9 groups) · unseen source 0.9 [0.8, 1.0] (n = 9)"


@pytest.mark.parametrize(
    ("headline", "inside", "outside"),
    [
        (HEADLINE, True, False),
        (f"{HEADLINE} · unseen source not measured · not audited", True, False),
        (f"{HEADLINE} · unseen source 0.612 [0.500, 0.700] (n = 80 films)", True, True),
        (f"{HEADLINE} · unseen source 0.612 [0.500, 0.700] (a probe's)", True, False),
        (f"score not recorded · unseen source not measured · {OTHER}", False, False),
        ("AUROC 0.7 [0.6, 0.8] on external films (n = 80 films, 70 groups) · shortcut floor not measured", False, True),
        ("score not measured · shortcut floor not measured", False, False),
    ],
    ids=["own", "unseen not measured", "unseen", "a probe's", "other films", "external", "nothing"],
)
def test_a_headline_is_taken_at_its_word(bare: Card, headline: str, inside: bool, outside: bool) -> None:
    items = _by_number(replace(bare, headline=headline), "claim")
    assert (items["32"].standing == "answered") == inside
    assert (items["33"].standing == "answered") == outside
    assert (items["37"].standing == "answered") == (inside or outside)


def test_an_input_cut_by_masks_that_somebody_drew_has_its_judge(folder: Path) -> None:
    cut = {"preprocess": {"lungs": "crop", "masks": "given"}}
    assert _by_number(_bundle(folder, "cut", recipe=cut), "tripod_ai")["9c"].standing == "blank"
    made = {"preprocess": {"lungs": "crop", "masks": "made"}}
    assert _by_number(_bundle(folder, "made", recipe=made), "tripod_ai")["9c"].standing == "answered"


def _audited(card: Card) -> Card:
    """The card with an audit of which four checks were made."""
    measured = Found(of="all", value=0.9, low=0.8, high=0.95, p=0.01, n=40, groups=20)
    made = ("perturbation", "lungs-out", "attributes", "duplicates")
    findings = [
        found(question, [measured], "Said.") if name in made else skipped(question, "no films")
        for name, question in QUESTIONS.items()
    ]
    audit = Audit(
        title="Made up",
        kind="run",
        subject_digest="0",
        index_digest="0",
        bundle_digest="0",
        score=None,
        external=None,
        findings=tuple(findings),
        n_films=40,
        n_groups=20,
    )
    return replace(card, sections=(*_but_audit(card), audited.section_of(Known(audit=audit))))


def _but_audit(card: Card) -> tuple[Any, ...]:
    return tuple(section for section in card.sections if section.key != audited.KEY)


def test_an_audit_answers_by_the_checks_that_were_made(rich: Card) -> None:
    before, after = _standings(rich), _standings(_audited(rich))
    assert {one for one in after if after[one] != before[one]} == {("claim", "30"), ("claim", "31")}
    items = _by_number(_audited(rich), "claim")
    assert str(items["30"].told).startswith("Audit: perturbation ")
    assert "Verdict: " in str(items["39"].told)
    assert "attributes" in str(_by_number(_audited(rich), "tripod_ai")["14"].told)


# Where they are shown


class _Tables(HTMLParser):
    """The cells of every table of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        del attrs
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td") and self.rows:
            self.rows[-1].append("")
            self._in = True
        if tag == "br" and self._in:
            self.rows[-1][-1] += " · "

    def handle_endtag(self, tag: str) -> None:
        self._in = self._in and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self._in:
            self.rows[-1][-1] += data


def _unescaped(cell: str) -> str:
    return re.sub(r"\\(.)", r"\1", cell).strip()


@pytest.mark.parametrize("name", ["bare", "rich", "whole"])
def test_page_markdown_and_json_say_the_same(name: str, request: pytest.FixtureRequest) -> None:
    card: Card = request.getfixturevalue(name)
    page, text, plain = _Tables(), card_markdown(card), card_json(card)
    page.feed(card_page(card).partition('<section id="checklists">')[2])
    lines = text.partition("## Reporting checklists")[2].splitlines()
    written = [[_unescaped(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line[:1] == "|"]
    spoken = [" ".join(" ".join(row).split()) for row in page.rows]
    for one in checklists_of(card):
        assert one.line in _unescaped(text)
        told = plain["checklists"][one.key]
        assert [item["number"] for item in told["items"]] == [item.number for item in one.items]
        for item, values in zip(one.items, told["items"], strict=True):
            row = [item.number, item.topic, " ".join(item.text.split())]
            assert row in written
            assert " ".join(row) in spoken
            assert values["standing"] == item.standing
            assert (values["told"], values["missing"]) == (item.told, list(item.missing))
        assert told["count"] == {
            "items": len(one.items),
            **{kind: one.number_of(kind) for kind in ("answered", "blank", "paper")},
        }


def test_the_page_keeps_them_folded_and_last(rich: Card) -> None:
    page = card_page(rich)
    assert page.count('<details class="checklist"><summary>') == 2
    assert page.index('id="checklists"') > page.index('id="toml"') > page.index('id="blanks"')
    assert "details-content { content-visibility: visible" in page.partition("@media print")[2]


def test_answers_are_escaped(whole: Card) -> None:
    assert "<told>" not in card_page(whole)
    assert html.escape("registration <told> | 2019") in card_page(whole)


def test_a_terminal_shows_the_counts_alone(rich: Card) -> None:
    console = Console(width=400)
    with console.capture() as captured:
        console.print(short_card(rich))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    assert f"Checklists: {'; '.join(one.line for one in checklists_of(rich))}" in lines
    assert not any("De-identification" in line for line in lines)


# Notes and cards from before


def test_a_card_without_new_answers_has_the_facts_it_had(bare: Card, whole: Card) -> None:
    assert list(card_json(bare)["sections"]["asked"]["facts"]) == [name for name, _ in ASKED.values()]
    assert list(card_json(whole)["sections"]["asked"]["facts"]) == [name for name, _ in (ASKED | MORE).values()]
    assert "protocol" not in " ".join(bare.blanks)


def test_notes_write_later_answers_only_where_told() -> None:
    assert list(Answers().model_dump(mode="json")) == list(ASKED)
    told = Notes(answers=Answers(protocol="none", ethics="waived"))
    assert told.model_dump(mode="json")["answers"]["protocol"] == "none"
    assert Notes.model_validate_json(told.model_dump_json()) == told


@pytest.mark.parametrize("name", sorted(released_names()))
def test_released_notes_are_written_as_they_lie_there(name: str) -> None:
    lies = bundle_folder(name) / NOTES
    notes = read_notes(bundle_folder(name))
    assert notes is not None
    assert notes.model_dump(mode="json") == json.loads(lies.read_text(encoding="utf-8"))


def test_released_bundles_answer_what_they_tell() -> None:
    items = _by_number(read_card(bundle_folder("lungs")), "claim")
    assert {number: items[number].standing for number in ("7", "28", "32", "33", "39", "40")} == {
        "7": "answered",
        "28": "answered",
        "32": "answered",
        "33": "blank",
        "39": "answered",
        "40": "blank",
    }
    assert "covid_chestxray" in str(items["7"].told)

"""The card's section on the audit: verdict, checks, what was not measured; a named blank where none was made."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum.audit.attached import attach_audit
from hilum.audit.check import Measured, found, skipped
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import Audit, headline
from hilum.bundle import find_bundle, read_manifest, released
from hilum.bundle.format import AUDIT
from hilum.card import Card, card_json, card_markdown, card_page, read_card, short_card
from hilum.card.pages import _safe
from hilum.console import Console
from hilum.evaluate import headline_score
from hilum.run import Run


def _audit(run: Run) -> Audit:
    one = Measured(of="border", value=0.95, low=0.9, high=0.99, p=0.001, n=48, groups=40)
    findings = {name: skipped(question, f"too few <films> for {name}") for name, question in QUESTIONS.items()}
    findings["edges"] = found(QUESTIONS["edges"], [one], "From the <b>border</b> alone 0.950.")
    findings["header"] = skipped(QUESTIONS["header"], "no header")
    return Audit(
        title="Drawn films",
        kind="run",
        subject_digest="1" * 64,
        index_digest=run.index.digest,
        bundle_digest=read_manifest(run.folder).digest,
        score=headline_score(run.evaluation),
        external=None,
        findings=tuple(findings.values()),
        n_films=48,
        n_groups=40,
        notes=("a note on the films",),
        version="9.9",
    )


@pytest.fixture(scope="module")
def bare(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Card:
    return read_card(shutil.copytree(find_bundle(finished), tmp_path_factory.mktemp("bare") / "bundle"))


@pytest.fixture(scope="module")
def audited(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Card:
    folder = shutil.copytree(find_bundle(finished), tmp_path_factory.mktemp("audited") / "bundle")
    attach_audit(folder, _audit(Run(finished)))
    return read_card(folder)


def _terminal(card: Card) -> str:
    console = Console(width=500, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(short_card(card))
    return shown.get()


def test_a_bundle_without_an_audit_says_so_on_every_card(bare: Card) -> None:
    blank = "what an audit finds (not audited (hilum audit RUN))"
    assert blank in bare.blanks
    assert bare.headline.endswith("unseen source not measured · not audited (hilum audit RUN)")
    told = card_json(bare)
    assert told["audit"] is None
    assert blank in told["not_recorded"]
    assert f"not recorded: {_safe(blank)}" in card_markdown(bare)
    assert "Audit: not audited (hilum audit RUN)" in _terminal(bare)
    page = card_page(bare)
    assert blank in page
    assert "<strong>not audited</strong>" in page


def test_the_verdict_stands_on_every_card(audited: Card, finished: Path) -> None:
    line = headline(_audit(Run(finished)))
    assert audited.headline == line
    assert "FAIL (data set: edges; 1 of 23 checks made)" in line
    assert line in card_page(audited)
    assert _safe(line) in card_markdown(audited)
    assert f"Headline: {line}" in _terminal(audited)
    assert "  FAIL, edges: From the <b>border</b> alone 0.950." in _terminal(audited)
    told = card_json(audited)
    assert told["headline"] == told["audit"]["headline"] == line
    assert {key: told["audit"][key] for key in ("verdict", "deciding", "made", "asked", "made_with")} == {
        "verdict": "FAIL",
        "deciding": ["edges"],
        "made": 1,
        "asked": 23,
        "made_with": "hilum 9.9",
    }


def test_checks_stand_with_figure_and_limit_and_the_others_with_their_reason(audited: Card) -> None:
    made, skips = audited.section("audit").grids
    ((number, check, question, verdict, value, limits),) = made.rows
    assert (number, check, verdict, value) == ("5", "edges", "FAIL", "0.950 [0.900–0.990]")
    assert question == QUESTIONS["edges"].asks
    assert limits == "WARN > 0.6, FAIL > 0.75"
    assert len(skips.rows) == len(QUESTIONS) - 1
    assert ("header", "no header") in skips.rows
    page = card_page(audited)
    assert "too few &lt;films&gt; for source" in page
    assert "<b>border</b>" not in page
    assert "a note on the films" in page


def test_an_audit_of_another_bundle_is_a_blank_that_says_why(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(find_bundle(finished), tmp_path / "bundle")
    file = attach_audit(folder, _audit(Run(finished)))
    file.write_text(file.read_text(encoding="utf-8").replace(read_manifest(folder).digest, "f" * 64), encoding="utf-8")
    card = read_card(folder)
    assert any("audit.json is of bundle ffffffffffff" in blank for blank in card.blanks)
    assert "audit not shown: audit.json is of bundle ffffffffffff" in card.headline
    assert "FAIL" not in card_page(card)
    assert card_json(card)["audit"] is None


def test_what_no_audit_asks_about_has_no_section() -> None:
    card = read_card(released("lungs"))
    assert card.audit is None
    assert all(section.key != "audit" for section in card.sections)
    assert "not audited" not in card_page(card)


def test_the_classifier_that_comes_along_carries_its_audit() -> None:
    folder = released("covid19-frontal")
    assert (folder / AUDIT).is_file()
    card = read_card(folder)
    assert card.audit.audit.kind == "run"
    assert card.headline.endswith("checks made)")
    assert "covid_chestxray/" not in (folder / AUDIT).read_text(encoding="utf-8")

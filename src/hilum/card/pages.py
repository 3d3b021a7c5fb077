"""A card as a page, as Markdown, as JSON, and a short one for the terminal."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.console import Group, RenderableType
from rich.text import Text

import hilum
from hilum.card import audited
from hilum.card.checklists import Checklist, Item, checklist_json, checklists_of
from hilum.card.content import BLANK, Card, Fact, Section
from hilum.card.drawing import failure_drawing, interval_plots
from hilum.card.sections import NONE, figures_grid, with_interval
from hilum.files import write_json, write_text
from hilum.report.html import Plot, render
from hilum.report.tables import Grid
from hilum.report.wording import metric_name

HEADLINE = re.compile(r"(?P<metric>\D+) (?P<value>[01]\.\d+)(?P<rest>.*?)(?= · |$)")
"""Of an evaluation's headline, its first part: `AUROC 0.858 [0.827, 0.888] (n = 706 films, 508 groups)`."""
NO_BREAK = "\N{NO-BREAK SPACE}"
FORMAT = 1
"""Of card.json."""
CHECKED = (
    "Answered is what this card says, and nothing else. A blank names what the author has to add; items about a "
    "manuscript are left to it. Topics are in words of our own and do not replace the checklists' text."
)
CHECKLIST_HEAD = ("item", "asked", "the card's answer")


def write_card(card: Card, folder: Path) -> tuple[Path, ...]:
    """Write card.html, card.md and card.json and return their paths."""
    page, text, machines = (folder / f"card.{kind}" for kind in ("html", "md", "json"))
    write_text(page, card_page(card))
    write_text(text, card_markdown(card))
    write_json(machines, card_json(card))
    return page, text, machines


def card_page(card: Card) -> str:
    """The card as one page that needs nothing beside it."""
    plots = [Plot(svg=Markup(svg), caption=said) for svg, said in interval_plots(card.measured)]  # noqa: S704
    return render(
        "card.html.j2",
        title=card.title,
        card=card,
        blank=BLANK,
        tiles=_tiles(card),
        facts={section.key: _facts_grid(section) for section in card.sections if section.facts},
        plots=plots,
        drawn=[(failure, failure_drawing(failure)) for failure in card.failures if failure.contours],
        checked=CHECKED,
        checklists=[(checklist, _checklist_grid(checklist)) for checklist in checklists_of(card)],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A figure that leads the page."""

    name: str
    strong: str
    words: str = ""


def _tiles(card: Card) -> list[Tile]:
    """What leads the page: the first figure there is, and how little it may rest on."""
    measured = {one.figure.films for one in card.measured}
    other = {one.figure.films for one in card.measured if one.own and one.standing == "other"}
    below = "each with its n below" if measured else ""
    return [
        _lead(card),
        _standing(card),
        Tile(name="Sets of films measured", strong=str(len(measured) or "none"), words=below),
        Tile(name="Of another source", strong=str(len(other) or "none"), words="measured of this bundle"),
        Tile(name="Not recorded", strong=str(len(card.blanks)), words="blanks, named at the end"),
    ]


def _standing(card: Card) -> Tile:
    """A classifier's verdict; of what no audit asks about, what it is."""
    if card.audit is None:
        return Tile(name="Kind", strong=card.kind)
    strong, words = audited.lead_of(card.audit)
    return Tile(name="Audit", strong=strong, words=words)


def _lead(card: Card) -> Tile:
    found = next((one.figure for one in sorted(card.measured, key=lambda one: not one.own)), None)
    headline = HEADLINE.match(card.headline or "")
    if headline:
        return Tile(name=headline["metric"], strong=headline["value"], words=headline["rest"].strip())
    if found is None:
        return Tile(name="Figures", strong="none", words="none measured")
    within = with_interval(found.value, found.low, found.high).partition(" ")
    rests = f"n = {found.n:,} films, {found.groups:,} groups: {found.films}"
    rests += "" if found.training == "this" else f"; another training: {found.training}"
    name = f"{metric_name(found.metric)}, {found.label}"
    return Tile(name=name, strong=within[0], words=f"{within[2]} {rests}".strip())


def _facts_grid(section: Section) -> Grid:
    rows = tuple((fact.name.replace(" ", NO_BREAK), _marked(fact)) for fact in section.facts)
    return Grid(caption=section.title, head=("", ""), rows=rows, texts=2)


def _marked(fact: Fact) -> str:
    return Markup('<span class="nothing">{}</span>').format(fact.text) if fact.told is None else fact.text


def _checklist_grid(checklist: Checklist) -> Grid:
    rows = tuple((item.number, item.topic, _answered(item)) for item in checklist.items)
    return Grid(caption=f"{checklist.name}, {checklist.edition}", head=CHECKLIST_HEAD, rows=rows, texts=3)


def _answered(item: Item) -> str:
    if item.standing == "paper":
        return Markup('<span class="nothing">{}</span>').format(item.text)
    if not item.missing:
        return item.text
    told = Markup("{}<br>").format(item.told) if item.told else Markup("")
    return told + Markup('<span class="blank">{}</span>').format(item.blank)


def card_json(card: Card) -> dict[str, Any]:
    """The card as plain values; a blank is null, and `not_recorded` names them all."""
    return {
        "format": FORMAT,
        "digest": card.digest,
        "kind": card.kind,
        "title": card.title,
        "disclaimer": card.disclaimer,
        "made_with": f"hilum {hilum.__version__}",
        "headline": card.headline,
        "audit": audited.plain(card.audit),
        "sections": {section.key: _plain(section) for section in card.sections},
        "figures": [
            one.figure.model_dump(mode="json") | {"films_of": one.standing, "words": one.words} for one in card.measured
        ],
        "elsewhere": card.elsewhere(),
        "failures": [failure.model_dump(mode="json") for failure in card.failures],
        "not_recorded": list(card.blanks),
        "recipe": card.recipe,
        "checklists": {checklist.key: checklist_json(checklist) for checklist in checklists_of(card)},
    }


def _plain(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "facts": {fact.name: fact.told for fact in section.facts},
        "sentences": list(section.sentences),
        "tables": [
            {"caption": g.caption, "columns": list(g.head), "rows": [*map(list, g.rows)]} for g in section.grids
        ],
        "not_recorded": list(section.blanks()),
    }


def card_markdown(card: Card) -> str:
    """The card as Markdown; outlines are drawn on the page alone."""
    parts = [f"# {_safe(card.title)}", f"**{_safe(card.disclaimer)}**", f"Bundle `{card.digest}`, a {card.kind}."]
    for section in card.sections:
        parts.append(f"## {section.title}")
        parts += [_safe(said) for said in section.sentences]
        if section.facts:
            rows = tuple((fact.name, fact.text) for fact in section.facts)
            parts.append(_markdown_table(("", ""), rows))
        for grid in section.grids:
            parts += [f"**{_safe(grid.caption)}**", _markdown_table(grid.head, grid.rows)]
            parts += [_safe(grid.note)] if grid.note else []
        parts += [f"{BLANK}: {_safe(gap)}" for gap in section.gaps]
    parts += [f"## Not recorded ({len(card.blanks)})", "\n".join(f"* {_safe(blank)}" for blank in card.blanks)]
    parts += ["## The whole recipe", f"~~~~toml\n{card.recipe.rstrip()}\n~~~~", "## Reporting checklists", CHECKED]
    for checklist in checklists_of(card):
        answers = ((item.number, item.topic, item.text) for item in checklist.items)
        parts += [f"**{checklist.line}**", _markdown_table(CHECKLIST_HEAD, answers)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(map(_safe, head)) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(_safe, row)) + " |" for row in rows)])


def _safe(text: str) -> str:
    """Text that Markdown takes as text: no cell, mark-up or line begins in it."""
    for sign in ("\\", "|", "*", "_", "`", "<", "[", "#"):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def short_card(card: Card) -> RenderableType:
    """What a terminal shows: what it is, what it was measured on, what nobody knows."""
    use = {fact.name: fact for key in ("use", "input", "data") for fact in card.section(key).facts}
    lines = [Text(card.title, style="bold"), Text(f"{card.kind} {card.digest}")]
    facts = (use[name] for name in ("Intended use", "Misuse", "Views", "Films trained on") if name in use)
    lines += [Text(f"{fact.name}: {fact.text}", style="" if fact.told else "yellow") for fact in facts]
    sources = next((grid for grid in card.section("data").grids), None)
    if sources:
        lines.append(Text(f"Sources: {', '.join(row[0] for row in sources.rows)}"))
    found: list[RenderableType] = [*lines]
    if card.headline:
        found.append(Text(f"Headline: {card.headline}"))
    found += [Text(said) for said in (audited.lines_of(card.audit) if card.audit else ())]
    if card.measured:
        found += _short_figures(card)
    found.append(Text(card.elsewhere()))
    found.append(Text(f"Failure examples: {len(card.failures) or BLANK}"))
    if card.blanks:
        found.append(Text(f"Not recorded ({len(card.blanks)}): {'; '.join(card.blanks)}", style="yellow"))
    found.append(Text(f"Checklists: {'; '.join(checklist.line for checklist in checklists_of(card))}"))
    return Group(*found, Text(card.disclaimer, style="dim"))


def _short_figures(card: Card) -> list[Text]:
    """A line for each set of films and one for each label; a terminal is too narrow for the table."""
    grid, lines, former = figures_grid(card.measured), [Text("Figures", style="bold")], ("", "")
    for films, label, source, n, groups, *told in grid.rows:
        if former != (films, source):
            lines.append(Text(f"  {films} ({source})"))
        former = (films, source)
        metrics = zip(grid.head[-len(told) :], told, strict=True)
        said = ", ".join(f"{name} {value}" for name, value in metrics if value != NONE)
        lines.append(Text(f"    {label}: {said}; n = {n} films, {groups} groups"))
    return lines

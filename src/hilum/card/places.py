"""Where on a card an answer stands: each place reads a card and returns what it tells there, or None."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from hilum.card.asked import ASKED, MORE
from hilum.card.content import BLANK, Card, Fact, Measured, Section
from hilum.report.tables import Grid
from hilum.report.wording import metric_name

Place = Callable[[Card], str | None]

AT_NO_THRESHOLD = (
    "auroc",
    "macro_auroc",
    "average_precision",
    "brier",
    "ece",
    "log_loss",
    "calibration_slope",
    "calibration_intercept",
)
"""Metrics of probabilities: they say nothing of what is decided."""
SCORED = re.compile(r"(?P<metric>(?:macro )?AUROC) \d\.\d+ \[[^]]*\][^·]*")
"""In a headline, what was measured on films that were not trained on."""
UNSEEN = re.compile(r"unseen source \d[^·]*")
"""In a headline, the same on sources never seen."""
PROBE = "a probe's"
OUTSIDE = " on external films"
ELSEWHERE = "audited on other films"
"""Begins what a headline says of films that the bundle's own figures are not of."""
VALUE = "value [95 % interval]"
"""A column of the audit's table."""
LEVEL = re.compile(r"\bby (?:group|patient|person|examination|study|film|image|source|publisher|hospital|site)s?\b")
YEAR = re.compile(r"\b(?:19|20)\d\d\b")


def fact(key: str, name: str) -> Place:
    """A fact of a section."""
    return lambda card: next((_line(one.name, one.told) for one in _facts(card, key) if one.name == name), None)


def answer(key: str) -> Place:
    """What `notes.Answers` tells of this key."""
    return fact("asked", (ASKED | MORE)[key][0])


def cells(key: str, caption: str, head: str = "") -> Place:
    """A column of the table whose caption begins so, each cell after its row's name; None where a cell is blank.

    Without `head` only the rows are named.
    """

    def read(card: Card) -> str | None:
        found = next((grid for grid in _grids(card, key) if grid.caption.startswith(caption)), None)
        if found is None or (head and head not in found.head):
            return None
        names = list(dict.fromkeys(row[0] for row in found.rows))
        if not head:
            return _line(found.caption, ", ".join(names))
        column = found.head.index(head)
        if any(row[column] == BLANK for row in found.rows):
            return None
        return _line(head.capitalize(), "; ".join(f"{row[0]}: {row[column]}" for row in found.rows))

    return read


def pairs(key: str, caption: str) -> Place:
    """A table of two columns."""

    def read(card: Card) -> str | None:
        found = next((grid for grid in _grids(card, key) if grid.caption == caption), None)
        return _line(caption, ", ".join(" ".join(row) for row in found.rows)) if found else None

    return read


def written(*keys: str) -> Place:
    """What the recipe says of these keys, as many of them as it has; a dot leads into a table."""

    def read(card: Card) -> str | None:
        found = [(key, _at(tomllib.loads(card.recipe), key)) for key in keys]
        told = [f"{_spoken(key)} {_plain(value)}" for key, value in found if value not in (None, {})]
        return f"Recipe: {'; '.join(told)}" if told else None

    return read


def recipe(card: Card) -> str | None:
    """The recipe as a whole."""
    return "The whole recipe is in the bundle and on this card" if card.recipe.strip() else None


def always(said: str) -> Place:
    """What holds of every bundle by the way it is made."""
    return lambda _: said


def performance(card: Card) -> str | None:
    """The headline's score, or what this bundle was measured by and on which films."""
    own = [one for one in card.measured if one.own] or card.measured
    return _scored(card) or (_line("Figures", f"{_metrics(own)} on {_sets(own)}") if own else None)


def metrics(card: Card) -> str | None:
    """The metrics there are figures of."""
    scored = SCORED.search(_headline(card))
    names = [scored["metric"]] if scored else []
    names += [metric_name(one.figure.metric) for one in card.measured]
    return _line("Metrics", ", ".join(dict.fromkeys(names))) if names else None


def intervals(card: Card) -> str | None:
    """That every figure has its interval."""
    bare = [one for one in card.measured if one.figure.low is None or one.figure.high is None]
    there = bool(card.measured) or _scored(card) is not None
    return "Each figure with its 95 % interval, over groups" if there and not bare else None


def decided(card: Card) -> str | None:
    """Figures of what is decided at a threshold, with intervals."""
    found = [one for one in card.measured if one.figure.metric not in AT_NO_THRESHOLD and one.figure.low is not None]
    return _line("Figures", f"{_metrics(found)} on {_sets(found)}") if found else None


def inside(card: Card) -> str | None:
    """Figures on new films of the sources trained on."""
    found = [one for one in card.measured if one.standing == "same"]
    scored = _scored(card)
    told = [scored] if scored and OUTSIDE not in scored else []
    return _line("The sources trained on", "; ".join([*told, *([_sets(found)] if found else [])]))


def outside(card: Card) -> str | None:
    """Figures of this very bundle on films of a source not trained on."""
    found = [one for one in card.measured if one.own and one.standing == "other"]
    scored, unseen = _scored(card), UNSEEN.search(_headline(card))
    told = [scored] if scored and OUTSIDE in scored else []
    told += [unseen.group().strip()] if unseen and PROBE not in unseen.group() else []
    return _line("Another source", "; ".join([*told, *([_sets(found)] if found else [])]))


def by_source(card: Card) -> str | None:
    """Figures set by set, some of them of a source kept out of training."""
    apart = [one for one in card.measured if one.standing == "other"]
    return _line("By source", _sets(card.measured)) if apart else outside(card)


def elsewhere(card: Card) -> str | None:
    """What the card says of films of another source, whatever it is."""
    return card.elsewhere()


def differences(card: Card) -> str | None:
    """How the films of every figure differ from those trained on; None where one set's words are missing."""
    told = dict.fromkeys(f"{one.figure.films}: {one.words}" for one in card.measured)
    whole = all(one.words and one.standing != "unknown" for one in card.measured)
    return "; ".join(told) if told and whole else None


def counted(card: Card) -> str | None:
    """Films and groups of each set measured."""
    scored = _scored(card)
    told = [f"{one.figure.films}: n = {one.figure.n:,} films, {one.figure.groups:,} groups" for one in card.measured]
    return "; ".join(dict.fromkeys([*([scored] if scored else []), *told])) or None


def level(card: Card) -> str | None:
    """The split, where its words say what it keeps together."""
    told = fact("recipe", "Split")(card)
    return told if told and LEVEL.search(told) else None


def dates(card: Card) -> str | None:
    """Places and dates, where a year is among them."""
    told = answer("places")(card)
    return told if told and YEAR.search(told) else None


def highest(card: Card) -> str | None:
    """That no threshold is needed: the highest probability decides."""
    told = fact("what", "Decides")(card)
    return told if told and "highest probability" in told else None


def checked(*names: str) -> Place:
    """What the attached audit found by these checks, of those that were made."""

    def read(card: Card) -> str | None:
        made = next((grid for grid in _grids(card, "audit") if "verdict" in grid.head), None)
        if made is None:
            return None
        found = [dict(zip(made.head, row, strict=True)) for row in made.rows]
        told = [f"{row['check']} {row['verdict']}, {row[VALUE]}" for row in found if row["check"] in names]
        return _line("Audit", "; ".join(told))

    return read


def failures(card: Card) -> str | None:
    """Failure examples."""
    return f"{len(card.failures)} films, shown as failure examples" if card.failures else None


def reasons(card: Card) -> str | None:
    """Why they fail, where it is said of every one."""
    told = dict.fromkeys(one.reason for one in card.failures if one.reason)
    whole = bool(card.failures) and all(one.reason for one in card.failures)
    return _line("Why", "; ".join(filter(None, told))) if whole else None


def unjudged(card: Card) -> str | None:
    """That nobody's judgement goes into the input; None where masks that somebody drew cut it."""
    told = _at(tomllib.loads(card.recipe), "preprocess") or {}
    drawn = told.get("lungs", "none") != "none" and told.get("masks") == "given"
    return None if drawn else "Nobody: pixels are taken as the file holds them"


def _facts(card: Card, key: str) -> Iterator[Fact]:
    for section in _sections(card, key):
        yield from section.facts


def _grids(card: Card, key: str) -> Iterator[Grid]:
    for section in _sections(card, key):
        yield from section.grids


def _sections(card: Card, key: str) -> list[Section]:
    return [section for section in card.sections if section.key == key]


def _line(name: str, told: str | None) -> str | None:
    return f"{name}: {told}" if told else None


def _headline(card: Card) -> str:
    return (card.headline or "").partition(ELSEWHERE)[0]


def _scored(card: Card) -> str | None:
    found = SCORED.search(_headline(card))
    return found.group().strip() if found else None


def _metrics(measured: Iterable[Measured]) -> str:
    return ", ".join(dict.fromkeys(metric_name(one.figure.metric) for one in measured))


def _sets(measured: Iterable[Measured]) -> str:
    """The sets of films, each with the training it is of where that is another."""
    named = (one.figure.films + ("" if one.own else f" (another training: {one.figure.training})") for one in measured)
    return "; ".join(dict.fromkeys(named))


def _at(told: Mapping[str, Any], key: str) -> Any:
    value: Any = told
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _spoken(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        told = (f"{_spoken(key)} {_plain(one)}" for key, one in value.items() if one not in ([], {}))
        return f"({', '.join(told)})"
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)

"""An audit as tables: a row a check, and what findings keep beside their figures.

What a finding keeps is decided by its check. A table is made of what has the shape it needs, and of nothing else.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from hilum.audit.check import Finding, Measured, Question, Verdict
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import Audit, question_of
from hilum.report.tables import Grid
from hilum.report.wording import figure, percent

Shape = TypeVar("Shape")
LEAST_P = 0.0001
"""Smaller ones are told as smaller than this."""
WORST_FIRST = (Verdict.FAIL, Verdict.WARN, Verdict.PASS, Verdict.SKIPPED)

_COUNTS = TypeAdapter(dict[str, int])
_SHARES = TypeAdapter(dict[str, float])
_LEVELS = TypeAdapter(dict[str, dict[str, dict[str, int]]])
_MEDIANS = TypeAdapter(dict[str, dict[str, float]])
_NAMES = TypeAdapter(dict[str, str])
_LINES = TypeAdapter(list[str])
_ROWS = TypeAdapter(list[list[str]])
_NUMBERS = TypeAdapter(list[float])
_PARTS = TypeAdapter(dict[str, list[int]])


@dataclass(frozen=True, slots=True)
class _Stratum:
    subgroup: str
    label: str | None
    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class _Place:
    source: str
    label: str
    sensitivity: float | None
    specificity: float | None
    ppv: float | None
    npv: float | None
    n_positive: int
    n_negative: int


@dataclass(frozen=True, slots=True)
class _Copies:
    pairs: int
    between_sources: int
    leaked: int


_COPIES = TypeAdapter(_Copies)
_STRATA = TypeAdapter(list[_Stratum])
_PLACES = TypeAdapter(list[_Place])


def told(details: Mapping[str, Any], key: str, shape: TypeAdapter[Shape]) -> Shape | None:
    """What a finding keeps under a key, where it has the shape; None where there is no such thing."""
    if not details.get(key):
        return None
    try:
        return shape.validate_python(details[key])
    except ValidationError:
        return None


def ordered(audit: Audit) -> list[Finding]:
    """The findings, the worst first, and then in the order of their numbers."""
    return sorted(audit.findings, key=lambda one: (WORST_FIRST.index(one.verdict), question_of(one).number))


def unasked(audit: Audit) -> list[Question]:
    """Questions that this audit was not asked."""
    asked = {one.check for one in audit.findings}
    return [question for name, question in QUESTIONS.items() if name not in asked]


def value_text(one: Measured) -> str:
    """A count, or a value with its interval."""
    if one.counts and one.value == int(one.value):
        return f"{int(one.value):,}"
    return f"{figure(one.value)} {interval_text(one)}".rstrip()


def interval_text(one: Measured) -> str:
    return "" if one.low is None or one.high is None else f"[{figure(one.low)}–{figure(one.high)}]"


def p_text(p: float | None) -> str:
    """A p of a permutation; a dash for what needs none.

    >>> p_text(0.0005), p_text(2e-46), p_text(None)
    ('0.0005', '< 0.0001', '–')
    """
    if p is None:
        return "–"
    return f"< {LEAST_P}" if p < LEAST_P else f"{p:.4f}"


def limit_texts(question: Question, one: Measured) -> list[str]:
    """`WARN > 0.6` and `FAIL > 0.75`, that a measurement is judged by; one that it does not have is not told."""
    sign, limits = "<" if question.low_is_bad else ">", question.limits_of(one)
    told = {"WARN": limits.warn, "FAIL": limits.fail}
    return [f"{name} {sign} {limit:g}" for name, limit in told.items() if limit is not None]


def summary_grid(audit: Audit, names: Mapping[str, str]) -> Grid:
    """A row a check, the worst first.

    Args:
        audit: what was found.
        names: check -> how its name is written, such as a link; those without are written as they are.
    """
    rows = []
    for finding in ordered(audit):
        question, worst = question_of(finding), finding.worst
        cells = (value_text(worst), p_text(worst.p), f"{worst.n:,}") if worst else ("–", "–", "–")
        limits = (", ".join(limit_texts(question, worst)) or "none") if worst else "–"
        name = names.get(finding.check, finding.check)
        rows.append((name, finding.verdict.value, *cells, limits, question.about))
    head = ("check", "verdict", "value [95 % interval]", "p", "n", "limits", "about")
    return Grid(caption="All checks, the worst first", head=head, rows=tuple(rows), texts=2)


def measured_grid(finding: Finding) -> Grid:
    """Every measurement of a check; none where it is told in full beside the verdict."""
    question = question_of(finding)
    rows = tuple(
        (
            one.of,
            value_text(one),
            p_text(one.p),
            f"{one.n:,}",
            "–" if one.groups is None else f"{one.groups:,}",
            *([", ".join(limit_texts(question, one))] if question.own else []),
        )
        for one in finding.measured
    )
    head = ("measured", "value [95 % interval]", "p", "n", "groups", *(["limits"] if question.own else []))
    caption = question.metric[0].upper() + question.metric[1:]
    return Grid(caption=caption, head=head, rows=rows if len(rows) > 1 else ())


def detail_grids(finding: Finding) -> list[Grid]:
    """What a finding keeps, as tables; empty ones are dropped."""
    grids = [measured_grid(finding)]
    for make in _MADE_OF.get(finding.check, ()):
        grids += make(finding.details)
    return [grid for grid in grids if grid.rows]


def _crossed(details: Mapping[str, Any]) -> Iterable[Grid]:
    """Films by level of an attribute and class."""
    for column, levels in (told(details, "tables", _LEVELS) or {}).items():
        classes = list(dict.fromkeys(name for counts in levels.values() for name in counts))
        rows = tuple((level, *(f"{counts.get(c, 0):,}" for c in classes)) for level, counts in levels.items())
        yield Grid(caption=f"Films by {column.replace('_', ' ')} and label", head=(column, *classes), rows=rows)


def _medians(details: Mapping[str, Any]) -> Iterable[Grid]:
    medians = told(details, "medians", _MEDIANS) or {}
    classes = list(dict.fromkeys(name for of_class in medians.values() for name in of_class))
    rows = tuple(
        (name.removeprefix("attr."), *(f"{of_class[c]:,.6g}" if c in of_class else "–" for c in classes))
        for name, of_class in medians.items()
    )
    yield Grid(caption="Medians by label", head=("number", *classes), rows=rows)


def _within(details: Mapping[str, Any]) -> Iterable[Grid]:
    rows = tuple(
        (
            one.subgroup.replace("=", ": "),
            one.label or "all",
            value_text(Measured(of="", value=one.value, low=one.low, high=one.high, n=one.n)),
            f"{one.n:,}",
        )
        for one in told(details, "within", _STRATA) or ()
    )
    head = ("films with", "label", "AUROC of the model", "n")
    yield Grid(caption="The model among films that share an attribute", head=head, rows=rows, texts=2)


def _places(details: Mapping[str, Any]) -> Iterable[Grid]:
    rows = tuple(
        (
            one.source,
            one.label,
            *(figure(value) for value in (one.sensitivity, one.specificity, one.ppv, one.npv)),
            f"{one.n_positive:,} + {one.n_negative:,}",
        )
        for one in told(details, "sources", _PLACES) or ()
    )
    prevalence = details.get("prevalence")
    where = f" at a prevalence of {percent(prevalence)}" if isinstance(prevalence, float) else ""
    head = ("source", "label", "sensitivity", "specificity", "PPV", "NPV", "films")
    named = told(details, "thresholds", _NAMES) or {}
    note = "; ".join(f"threshold of {label}: {point}" for label, point in named.items())
    yield Grid(caption=f"At the same threshold by source; PPV and NPV{where}", head=head, rows=rows, texts=2, note=note)


def _flips(details: Mapping[str, Any]) -> Iterable[Grid]:
    """Each change beside the harmless one it is held against."""
    shares, controls = told(details, "flips", _SHARES) or {}, told(details, "controls", _NAMES) or {}
    rows = tuple(
        (change, _share(share), _share(shares[controls[change]]) if controls.get(change) in shares else "–")
        for change, share in shares.items()
        if change not in controls.values()
    )
    yield Grid(caption="Decisions that flip", head=("change", "flip", "with as large a change elsewhere"), rows=rows)


def _share(share: float) -> str:
    """With a decimal: limits lie at a few percent."""
    return f"{100 * share:.1f} %"


def _copies(details: Mapping[str, Any]) -> Iterable[Grid]:
    counted = {how: told(details, how, _COPIES) for how in details}
    rows = [
        (how, f"{one.pairs:,}", f"{one.between_sources:,}", f"{one.leaked:,}") for how, one in counted.items() if one
    ]
    head = ("copies by", "pairs", "between sources", "test films in train")
    yield Grid(caption="Copies among the films", head=head, rows=tuple(rows))


def _counted(key: str, caption: str, heading: str) -> Callable[[Mapping[str, Any]], Iterable[Grid]]:
    """A table of counts that a finding keeps under a key."""

    def make(details: Mapping[str, Any]) -> Iterable[Grid]:
        rows = tuple((name, f"{n:,}") for name, n in (told(details, key, _COUNTS) or {}).items())
        yield Grid(caption=caption, head=(heading, "films"), rows=rows)

    return make


def _listed(key: str, caption: str) -> Callable[[Mapping[str, Any]], Iterable[Grid]]:
    """Sentences or names that a finding keeps under a key."""

    def make(details: Mapping[str, Any]) -> Iterable[Grid]:
        lines = told(details, key, _LINES) or ()
        yield Grid(caption=caption, head=("",), rows=tuple((line,) for line in lines))

    return make


def _groups_by_label(details: Mapping[str, Any]) -> Iterable[Grid]:
    films, groups = (told(details, key, _COUNTS) or {} for key in ("films", "groups"))
    rows = tuple((name, f"{n:,}", f"{groups.get(name, 0):,}") for name, n in films.items())
    yield Grid(caption="Films and groups by label", head=("label", "films", "groups"), rows=rows)


def _areas(details: Mapping[str, Any]) -> Iterable[Grid]:
    over = details.get("over")
    areas = told(details, "areas", _NUMBERS) or ()
    rows = tuple((f"{number}", figure(area)) for number, area in enumerate(areas, 1))
    yield Grid(caption=f"AUROC over {over}" if over else "AUROC", head=("number", "AUROC"), rows=rows)


def _refused(details: Mapping[str, Any]) -> Iterable[Grid]:
    kinds = told(details, "kinds", _PARTS) or {}
    rows = tuple((kind, f"{n[0]:,}", f"{n[1]:,}") for kind, n in kinds.items() if len(n) == 2)
    yield Grid(caption="Pictures that are no frontal chest film", head=("kind", "refused", "shown"), rows=rows)


def _trials(details: Mapping[str, Any]) -> Iterable[Grid]:
    from hilum.audit.tested import COLUMNS  # scikit-learn comes with it: not for pages without a self-test

    rows = tuple(tuple(row) for row in told(details, "table", _ROWS) or () if len(row) == len(COLUMNS))
    yield Grid(caption="Planted shortcuts and their controls", head=COLUMNS, rows=rows, texts=len(COLUMNS))


_MADE_OF: Mapping[str, tuple[Callable[[Mapping[str, Any]], Iterable[Grid]], ...]] = {
    "source": (_crossed,),
    "header": (_crossed, _medians),
    "attributes": (_crossed, _medians, _within),
    "lungs-out-retrained": (_counted("no lungs drawn", "Films on which no lungs were drawn", "label"),),
    "lungs-out": (_counted("no lungs drawn", "Films on which no lungs were drawn", "label"),),
    "source-within-label": (_counted("no lungs drawn", "Films on which no lungs were drawn", "label"),),
    "groups-across-folds": (_listed("groups", "Groups in both folds, the first of them"),),
    "duplicates": (_copies,),
    "hygiene": (_listed("faults", "Faults"), _listed("checked", "What was looked at")),
    "markers": (_flips,),
    "perturbation": (_flips,),
    "size": (_groups_by_label,),
    "threshold-transport": (_places,),
    "seeds": (_areas,),
    "gate": (_refused,),
    "self-test": (_trials,),
    "provenance": (
        _counted("lacking", "Films that lack it", "fact"),
        _counted("sources", "Films by source", "source"),
        _counted("licences", "Films by licence", "licence"),
    ),
}
"""Check -> the tables that can be made of what it keeps."""

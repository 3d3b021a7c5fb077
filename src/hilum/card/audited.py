"""A card's section on the audit attached to a bundle: the verdict, every check that was made, and what was not."""

from typing import Any

from hilum.audit.attached import Known
from hilum.audit.check import Finding, Verdict
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import Audit, headline, question_of, verdict_words
from hilum.card.content import Fact, Section
from hilum.evaluate import NOT_AUDITED
from hilum.report.audit_tables import limit_texts, ordered, value_text
from hilum.report.tables import Grid

KEY = "audit"
FILMS = {
    "run": "those of the run that made the bundle",
    "bundle elsewhere": "others than those of the run that made the bundle",
}
MEANS = (
    "A verdict is the worst of the checks that were made. One about the data set speaks of any model trained on these "
    "films: it does not prove that this one uses a shortcut, it says that its score cannot show that it does not."
)


def section_of(known: Known) -> Section:
    """What the audit found; a named blank where there is none, or none that can be shown."""
    audit = known.audit
    if audit is None:
        asked = f"what an audit finds ({known.why or NOT_AUDITED})"
        return Section(key=KEY, title="Audit", facts=(Fact(name="Verdict", told=None, asked=asked),))
    facts = (
        Fact(name="Verdict", told=verdict_words(audit)),
        Fact(name="In one line", told=headline(audit)),
        Fact(name="Films", told=f"{FILMS.get(audit.kind, audit.kind)}; index SHA-256 {audit.index_digest}"),
        Fact(name="Audited with", told=f"hilum {audit.version}"),
    )
    return Section(
        key=KEY,
        title="Audit",
        sentences=(MEANS, *deciding(audit), *audit.notes),
        facts=facts,
        grids=tuple(grid for grid in (_made(audit), _skipped(audit)) if grid.rows),
    )


def deciding(audit: Audit) -> tuple[str, ...]:
    """The checks that the verdict is owed to, a sentence each."""
    return tuple(f"{one.verdict.value}, {one.check}: {one.says}" for one in audit.deciding)


def lead_of(known: Known) -> tuple[str, str]:
    """The verdict, and which checks it is owed to: what leads a page."""
    if known.audit is None:
        return ("not shown", known.why) if known.why else ("not audited", "hilum audit RUN")
    return known.audit.verdict.value, ", ".join(one.check for one in known.audit.deciding)


def lines_of(known: Known) -> tuple[str, ...]:
    """What a terminal shows: the verdict and the sentences that it is owed to."""
    if known.audit is None:
        return (f"Audit: {known.why or NOT_AUDITED}",)
    return f"Audit: {verdict_words(known.audit)}", *(f"  {said}" for said in deciding(known.audit))


def plain(known: Known | None) -> dict[str, Any] | None:
    """The audit in short for machines; None where there is none to show."""
    audit = known.audit if known else None
    if audit is None:
        return None
    return {
        "verdict": audit.verdict.value,
        "headline": headline(audit),
        "deciding": [one.check for one in audit.deciding],
        "made": len(audit.made),
        "asked": len(QUESTIONS),
        "kind": audit.kind,
        "made_with": f"hilum {audit.version}",
    }


def _made(audit: Audit) -> Grid:
    rows = tuple(_row(one) for one in ordered(audit) if one.verdict != Verdict.SKIPPED)
    head = ("no.", "check", "question", "verdict", "value [95 % interval]", "limits")
    return Grid(caption=f"The {len(rows)} checks that were made, the worst first", head=head, rows=rows, texts=4)


def _row(finding: Finding) -> tuple[str, ...]:
    question, worst = question_of(finding), finding.worst
    value = value_text(worst) if worst else "–"
    limits = (", ".join(limit_texts(question, worst)) or "none") if worst else "–"
    return str(question.number), question.name, question.asks, finding.verdict.value, value, limits


def _skipped(audit: Audit) -> Grid:
    rows = tuple((one.check, one.reason or "") for one in audit.findings if one.verdict == Verdict.SKIPPED)
    return Grid(caption=f"The {len(rows)} checks that were not made", head=("check", "why not"), rows=rows, texts=2)

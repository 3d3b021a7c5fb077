"""The audit: every finding, the verdict over them, and the headline that never shows a score alone."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hilum.audit.check import Finding, Measured, Question, Verdict, outdated, worst
from hilum.audit.questions import QUESTIONS
from hilum.errors import DataError
from hilum.files import write_json
from hilum.scoring import Score, in_one_line, spelt

FORMAT = 1
FLOORS = ("source", "header", "edges", "attributes")
"""Checks that a score is held against: what is reached without a lung."""
UNSEEN = "unseen-source"
"""The check that keeps a source out; its `details["unseen"]` holds value, low, high and n of the AUROC there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found of one subject.

    Attributes:
        title: of the subject.
        kind: `run`, `bundle elsewhere`, `scores`.
        subject_digest: of everything the findings rest on.
        index_digest: of the films.
        bundle_digest: of the bundle, if one was audited.
        score: AUROC of the first of two classes, macro AUROC of more; in the subject's own test fold if it has one.
        external: the same on sources never trained on, where the subject has predictions of such.
        findings: in the order of their numbers.
        n_films: films with a prediction in the score's fold.
        n_groups: their groups.
        notes: what a reader must know of how the subject was put together.
        version: of the hilum that asked.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    title: str
    kind: str
    subject_digest: str
    index_digest: str
    bundle_digest: str | None
    score: Score | None
    external: Score | None
    findings: tuple[Finding, ...]
    n_films: int
    n_groups: int
    notes: tuple[str, ...] = ()
    version: str = ""

    @property
    def verdict(self) -> Verdict:
        """The worst of all checks that were made."""
        return worst(self.findings)

    @property
    def made(self) -> tuple[Finding, ...]:
        """The checks that measured something."""
        return tuple(finding for finding in self.findings if finding.verdict != Verdict.SKIPPED)

    @property
    def deciding(self) -> tuple[Finding, ...]:
        """The checks that the verdict is owed to; none where it is PASS or nothing was measured."""
        if self.verdict not in (Verdict.WARN, Verdict.FAIL):
            return ()
        return tuple(finding for finding in self.findings if finding.verdict == self.verdict)

    def about(self, what: str) -> Verdict:
        """The verdict of the checks about the `data set`, the `model` or the `audit` itself."""
        return worst([one for one in self.findings if question_of(one).about == what])

    def find(self, name: str) -> Finding | None:
        """The finding of a check by name; None where it was not asked."""
        return next((one for one in self.findings if one.check == name), None)

    @property
    def floor(self) -> Measured | None:
        """The best that was reached without a lung; None where no such check was made."""
        return max(self._floors(), key=lambda one: one.value, default=None)

    def _floors(self) -> Iterator[Measured]:
        for name in FLOORS:
            finding = self.find(name)
            for one in finding.measured if finding else ():
                if " come from " not in one.of:
                    yield one

    @property
    def above_floor(self) -> float | None:
        """What the score adds to the floor."""
        if self.score is None or self.score.value is None or self.floor is None:
            return None
        return self.score.value - self.floor.value

    @property
    def unseen(self) -> Score | None:
        """The score on sources never trained on: the subject's own, or that of the check that keeps one out."""
        finding = self.find(UNSEEN)
        told = finding.details.get("unseen") if finding else None
        if self.external is not None or not isinstance(told, Mapping) or self.score is None:
            return self.external
        value, low, high = (told.get(key) for key in ("value", "low", "high"))
        n = int(told.get("n", 0))
        return replace(self.score, fold="external", value=value, low=low, high=high, n=n, n_positive=None)

    @property
    def of_a_probe(self) -> bool:
        """Whether `unseen` is the score of a probe trained for it, and not the model's own."""
        finding = self.find(UNSEEN)
        return self.external is None and finding is not None and finding.details.get("by") == "probe"


def question_of(finding: Finding) -> Question:
    """What a finding answers."""
    return QUESTIONS[finding.check]


def headline(audit: Audit) -> str:
    """Score, shortcut floor, what is above it, score on unseen sources and verdict, in one line: always together."""
    floor, unseen = audit.floor, audit.unseen
    told = in_one_line(
        audit.score,
        audit.n_films,
        audit.n_groups,
        floor=(floor.value, floor.of) if floor else None,
        unseen="" if unseen is not None and unseen == audit.score else unseen_words(audit),
    )
    return f"{told} · {verdict_words(audit)}"


def unseen_words(audit: Audit) -> str | None:
    """The score on unseen sources, and whose it is where it is not the model's; None where none was measured."""
    if audit.unseen is None:
        return None
    return spelt(audit.unseen) + (" (a probe's)" if audit.of_a_probe else "")


def verdict_words(audit: Audit) -> str:
    """The verdict, which checks it is owed to, whom they accuse, and how many were made.

    Checks about the data set speak of any model trained on it; those about the model, of this one and its figures.
    """
    deciding = audit.deciding
    told = f"{len(audit.made)} of {len(QUESTIONS)} checks made"
    if not deciding:
        return f"{audit.verdict} ({told})"
    parts = []
    for what in ("data set", "model", "audit"):
        names = [one.check for one in deciding if question_of(one).about == what]
        if names:
            parts.append(f"{what}: {', '.join(names)}")
    return f"{audit.verdict} ({'; '.join(parts)}; {told})"


def as_dict(audit: Audit) -> dict[str, Any]:
    """The audit as JSON values, with its format number; verdict and headline are told for readers of the file."""
    return {"format": FORMAT, "verdict": audit.verdict.value, "headline": headline(audit), **asdict(audit)}


def save_audit(audit: Audit, path: Path) -> None:
    """Write JSON that `load_audit` reads back equal."""
    write_json(path, as_dict(audit))


def load_audit(path: Path) -> Audit:
    """Read what `save_audit` wrote; unknown and missing keys are refused, and so is a verdict its findings do not give.

    Raises:
        DataError: no such file, or not an audit of this format.
    """
    if not path.is_file():
        raise DataError(f"audit {path} does not exist; make one with: hilum audit RUN")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        form, verdict, said = (told.pop(key) for key in ("format", "verdict", "headline"))
        if form != FORMAT:
            raise DataError(f"{path.name} is not an audit of format {FORMAT}; audit again")
        audit = TypeAdapter(Audit).validate_json(json.dumps(told))
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError, AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{path.name} is not an audit hilum wrote; audit again") from error
    if any(one.check not in QUESTIONS for one in audit.findings):
        raise DataError(f"{path.name} answers a question that this hilum does not ask; audit again")
    if any(outdated(question_of(one), one) for one in audit.findings):
        raise DataError(f"{path.name} was judged by other limits than this hilum's; audit again")
    if (verdict, said) != (audit.verdict.value, headline(audit)):
        raise DataError(f"{path.name} states a verdict that its findings do not give; audit again")
    return audit

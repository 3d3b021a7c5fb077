"""What a check of the audit asks, what it found, and when that is a warning or a failure.

A verdict needs two things at once: what was measured is too large to be chance (a permutation p below `CHANCE`), and
the bound of its interval nearer to harmless lies past the limit. A count, such as of patients in two folds, needs
neither: one is too many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

CHANCE = 0.01


class Verdict(StrEnum):
    """In order of badness; of several checks the worst one counts."""

    SKIPPED = "SKIPPED"
    """Nothing was measured; `reason` says why."""
    PASS = "PASS"  # noqa: S105
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Limits:
    """A value past `warn` is a warning, past `fail` a failure; None for none."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    warn: float | None
    fail: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One check: what it asks, and where its limits lie.

    Attributes:
        number: as in the table of checks.
        name: in lower case with hyphens; what files are called by.
        asks: one plain sentence.
        metric: what is measured, with its unit.
        warn: a value past it is a warning; None for none.
        fail: a value past it is a failure; None for none.
        low_is_bad: values below the limits are the bad ones.
        basis: `evidence`, published or measured; or `proposed`.
        because: of what the limits were set.
        own: limits of measurements that have others than the question, by what they are of.
        about: what the answer accuses: the data set, whatever is trained on it; the model; or the audit itself.
    """

    number: int
    name: str
    asks: str
    metric: str
    warn: float | None
    fail: float | None
    low_is_bad: bool = False
    basis: Literal["evidence", "proposed"]
    because: str
    about: Literal["data set", "model", "audit"]
    own: Mapping[str, Limits] = field(default_factory=dict, hash=False)

    def limits_of(self, measured: "Measured") -> Limits:
        """What a measurement is judged by."""
        return self.own.get(measured.of) or Limits(self.warn, self.fail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measurement of a check; a check with several (a class each, a probe each) is as bad as its worst.

    Attributes:
        of: what it is of, such as a probe or a class.
        value: in the metric of the question.
        low: of its 95 % interval; None where it has none.
        high: the same.
        p: of the permutation null, one-sided; None for a count.
        n: films.
        groups: patients with all copies of their films; None where it does not matter.
        counts: it is a count, or a fact known for certain, and needs neither interval nor p.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    of: str
    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int
    groups: int | None = None
    counts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A check's answer.

    Attributes:
        check: name of the question.
        verdict: the worst of its measurements.
        says: one plain sentence with the figures in it.
        measured: what was measured, the worst first; empty where it was skipped.
        limits: what each measurement was judged by, in their order.
        reason: why it was skipped.
        details: whatever else a reader may want, plain values: curves, pairs of films, tables.
        pictures: files beside the audit's JSON, of which the first convinces most.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    check: str
    verdict: Verdict
    says: str
    measured: tuple[Measured, ...] = ()
    limits: tuple[Limits, ...] = ()
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()

    @property
    def worst(self) -> Measured | None:
        """The measurement that the sentence is about: the first one."""
        return self.measured[0] if self.measured else None


def judge(question: Question, measured: Measured) -> Verdict:
    """What one measurement means.

    >>> asks = Question(
    ...     number=5, name="edges", asks="?", metric="AUROC", warn=0.6, fail=0.75, basis="evidence", because="measured",
    ...     about="data set",
    ... )
    >>> judge(asks, Measured(of="border", value=0.9, low=0.8, high=1.0, p=0.001, n=100)).value
    'FAIL'
    >>> judge(asks, Measured(of="border", value=0.9, low=0.7, high=1.0, p=0.001, n=20)).value
    'WARN'
    >>> judge(asks, Measured(of="border", value=0.9, low=0.5, high=1.0, p=0.2, n=5)).value
    'PASS'
    """
    if not measured.counts and (measured.p is None or measured.p >= CHANCE):
        return Verdict.PASS
    bound = measured.high if question.low_is_bad else measured.low
    sure = measured.value if measured.counts or bound is None else bound
    limits = question.limits_of(measured)
    for limit, verdict in ((limits.fail, Verdict.FAIL), (limits.warn, Verdict.WARN)):
        if limit is not None and (sure < limit if question.low_is_bad else sure > limit):
            return verdict
    return Verdict.PASS


def ranked(question: Question, measured: Sequence[Measured]) -> list[Measured]:
    """The worst verdict first, and of one verdict the worst value."""
    return sorted(measured, key=lambda one: (_badness(judge(question, one)), _towards_bad(question, one)))[::-1]


def found(
    question: Question,
    measured: Sequence[Measured],
    says: str,
    *,
    at_least: Verdict = Verdict.PASS,
    at_most: Verdict = Verdict.FAIL,
    details: Mapping[str, Any] | None = None,
    pictures: Sequence[str] = (),
) -> Finding:
    """A check's answer, its worst measurement first and deciding.

    Args:
        question: with the limits.
        measured: one or more.
        says: one plain sentence with the figures in it.
        at_least: the verdict that a fact beside the measurements calls for; `says` names that fact.
        at_most: the worst verdict that is left where a fact speaks for the subject; `says` names it.
        details: plain values, without NaN.
        pictures: names of files beside the audit's JSON.
    """
    ordered = ranked(question, measured)
    return Finding(
        check=question.name,
        verdict=min(max(judge(question, ordered[0]), at_least, key=_badness), at_most, key=_badness),
        says=says,
        measured=tuple(ordered),
        limits=tuple(question.limits_of(one) for one in ordered),
        details=details or {},
        pictures=tuple(pictures),
    )


def outdated(question: Question, finding: Finding) -> bool:
    """Whether a finding was judged by other limits than the question has now."""
    return finding.limits != tuple(question.limits_of(one) for one in finding.measured)


def skipped(question: Question, reason: str) -> Finding:
    """A check that could not be made, and why."""
    return Finding(check=question.name, verdict=Verdict.SKIPPED, says="Not measured.", reason=reason)


def worst(findings: Sequence[Finding]) -> Verdict:
    """The verdict over several checks; those skipped do not count unless all were."""
    return max((finding.verdict for finding in findings), key=_badness, default=Verdict.SKIPPED)


def _badness(verdict: Verdict) -> int:
    return list(Verdict).index(verdict)


def _towards_bad(question: Question, measured: Measured) -> float:
    return -measured.value if question.low_is_bad else measured.value

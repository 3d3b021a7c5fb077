"""What the audit's test of itself found, as this machine remembers it, and the check that tells it: number 22."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hilum import __version__
from hilum.audit.check import Finding, Measured, Verdict, found, skipped
from hilum.audit.questions import QUESTIONS
from hilum.audit.subject import Subject
from hilum.files import cache_dir, digest_of

ASKED = ("source", "header", "edges", "attributes")
"""Checks that are tested: those that need films and labels only."""
PROBED = ("lungs-out-retrained",)
"""Those that train a probe, tested on films with disease."""
RESULT = "self-test.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A check that did not pass."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    check: str
    of: str
    verdict: Verdict
    value: float
    low: float | None

    def __str__(self) -> str:
        """`edges: corners 0.96 (FAIL)`, or what a label's films have in common."""
        return f"{self.check}: {self.of} {self.value:.2f} ({self.verdict})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One cohort with a known answer, and the audit's.

    Attributes:
        kind: what was planted.
        control: labels were dealt once more, or marks in their stead, so that nothing is planted any longer.
        films: in the cohort.
        verdict: of the audit.
        seen: checks that did not pass, the worst first.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    kind: str
    control: bool
    films: int
    verdict: Verdict
    seen: tuple[Seen, ...]

    @property
    def right(self) -> bool:
        """A planted shortcut is flagged, a control is not accused."""
        return self.verdict == Verdict.PASS if self.control else self.verdict in (Verdict.WARN, Verdict.FAIL)


@dataclass(frozen=True)
class SelfTest:
    """All trials. `key` names the audit that was tested: another version or other limits have another."""

    key: str
    trials: tuple[Trial, ...]

    @cached_property
    def missed(self) -> tuple[str, ...]:
        """Kinds that were planted and not flagged."""
        return tuple(one.kind for one in self.trials if not one.control and not one.right)

    @cached_property
    def accused(self) -> tuple[str, ...]:
        """Kinds whose control was not passed."""
        return tuple(one.kind for one in self.trials if one.control and not one.right)

    @property
    def verdict(self) -> Verdict:
        return Verdict.FAIL if self.missed or self.accused else Verdict.PASS


def audit_key() -> str:
    """What the audit that is tested consists of: its version and the questions with their limits."""
    return digest_of({"version": __version__, "asked": [asdict(QUESTIONS[name]) for name in (*ASKED, *PROBED)]})


def memory() -> Path:
    """Where the last answer is kept."""
    return cache_dir() / "audit" / RESULT


def remembered() -> SelfTest | None:
    """The last test of this very audit on this machine; None where there was none."""
    try:
        told = json.loads(memory().read_text(encoding="utf-8"))
        known = SelfTest(told["key"], TypeAdapter(tuple[Trial, ...]).validate_json(json.dumps(told["trials"])))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, ValidationError, KeyError, TypeError):
        return None
    return known if known.key == audit_key() else None


def ask_self_test(_subject: Subject) -> Finding:
    """22: what the last self-test of this audit found; it is about the audit, whatever the subject."""
    question = QUESTIONS["self-test"]
    known = remembered()
    if known is None:
        return skipped(question, "this audit was not tested on this machine; run: hilum audit --self-test")
    planted = sum(not one.control for one in known.trials)
    controls = len(known.trials) - planted
    measured = [
        Measured(of="planted shortcuts missed", value=float(len(known.missed)), n=planted, counts=True),
        Measured(of="controls accused", value=float(len(known.accused)), n=controls, counts=True),
    ]
    says = f"{planted - len(known.missed)} of {planted} planted shortcuts were flagged"
    says += f" and {len(known.accused)} of {controls} controls accused."
    details = {"table": [list(row) for row in rows_of(known)], "key": known.key}
    return found(question, measured, says, details=details)


COLUMNS = ("planted", "verdict", "seen by", "its control", "accused by")


def rows_of(made: SelfTest) -> list[tuple[str, ...]]:
    """A row for each kind: what was planted, the verdict, which checks saw it, and the same of the control."""
    by_kind = {(one.kind, one.control): one for one in made.trials}
    rows: list[tuple[str, ...]] = []
    for kind in dict.fromkeys(one.kind for one in made.trials):
        planted, control = by_kind[kind, False], by_kind[kind, True]
        rows.append((kind, *_cells(planted), *_cells(control)))
    return rows


def _cells(trial: Trial) -> tuple[str, str]:
    return trial.verdict.value, _listed(trial.seen)


def _listed(seen: Sequence[Seen]) -> str:
    return "; ".join(map(str, seen)) or "-"

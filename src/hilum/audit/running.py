"""Every check in order, each kept as soon as it is made, so that an interrupted audit goes on where it stopped."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from hilum import __version__
from hilum.audit.apart import asked, asked_apart
from hilum.audit.check import Finding, Verdict
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import Audit, save_audit
from hilum.audit.subject import Subject
from hilum.audit.table import CHECKS, Check
from hilum.errors import unknown_name
from hilum.evaluate import headline_score
from hilum.files import digest_of, write_json
from hilum.parallel import Watch, unwatched

RESULT = "audit.json"


def run_audit(
    subject: Subject,
    out: Path,
    *,
    only: Collection[str] | None = None,
    watch: Watch = unwatched,
    apart: bool = False,
) -> Audit:
    """Make every check that the subject allows and write `out/audit.json`.

    A finding is kept in `out/checks/NAME.json` under a digest of what it rests on, and not made again. What a check
    cannot do (a film gone, too few films) skips that check alone, with the reason; any other exception is a fault of
    hilum's, and ends the audit with what was found so far kept.

    Args:
        subject: what is audited.
        out: folder of the audit.
        only: names or numbers of the checks wanted; None for all.
        watch: told of every check.
        apart: whether `subject.spread` hands out the checks, all of them at once, to processes of a cluster; each takes
            the memory of a network or two. By default this process answers them, one after another.

    Raises:
        UsageError: `only` names no check.
    """
    subject = replace(subject, out=out, watch=watch)
    findings = tuple(_answered(_wanted(only), subject, out / "checks", apart=apart))
    audit = Audit(
        title=subject.title,
        kind=subject.kind,
        subject_digest=subject.digest,
        index_digest=subject.index_digest,
        bundle_digest=subject.bundle_digest,
        score=headline_score(subject.evaluation, subject.fold),
        external=headline_score(subject.evaluation, "external"),
        findings=findings,
        n_films=len(subject.tested.target),
        n_groups=subject.tested.groups(),
        notes=subject.notes,
        version=__version__,
    )
    save_audit(audit, out / RESULT)
    return audit


def _wanted(only: Collection[str] | None) -> list[Check]:
    """The checks asked for, in the order of their numbers."""
    ordered = sorted(CHECKS.values(), key=lambda check: check.question.number)
    if only is None:
        return ordered
    by_number = {str(question.number): question.name for question in QUESTIONS.values()}
    names = {by_number.get(name, name) for name in only}
    for name in sorted(names):
        if name not in CHECKS:
            raise unknown_name("check", name, CHECKS)
    return [check for check in ordered if check.question.name in names]


def _answered(checks: Sequence[Check], subject: Subject, folder: Path, *, apart: bool) -> list[Finding]:
    """Their findings, in their order, each kept as it comes."""
    keys = {
        check.question.name: digest_of(
            {"subject": subject.digest, "question": asdict(check.question), "version": __version__}
        )
        for check in checks
    }
    known = {name: _recalled(folder / f"{name}.json", key) for name, key in keys.items()}
    rest = [check for check in checks if known[check.question.name] is None]
    for check, finding in asked_apart(rest, subject) if apart else ((check, asked(check, subject)) for check in rest):
        name = check.question.name
        write_json(folder / f"{name}.json", {"key": keys[name], "finding": asdict(finding)})
        known[name] = finding
    return [finding for finding in known.values() if finding is not None]


def _recalled(file: Path, key: str) -> Finding | None:
    """The finding kept in a file, where it rests on the very same; None where it must be made, as after a skip."""
    if not file.is_file():
        return None
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if told["key"] != key:
            return None
        finding = TypeAdapter(Finding).validate_json(json.dumps(told["finding"]))
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError, KeyError, TypeError):
        return None
    return finding if finding.verdict != Verdict.SKIPPED else None

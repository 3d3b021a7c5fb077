"""The audit that goes along with a bundle, and the one line in which its score and its verdict stand together.

`audit.json` beside the manifest is the whole audit but for what tells of single films, which may not leave a hospital
with a bundle. The manifest does not list it: a bundle is audited after it was written. The audit names the bundle by
the digest that it has without notes, which may be given before and after and change nothing that is audited.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilum.audit.check import Finding
from hilum.audit.questions import QUESTIONS
from hilum.audit.result import UNSEEN, Audit, headline, load_audit, save_audit
from hilum.bundle.format import AUDIT, OpenManifest, digest_without_notes, find_bundle, read_checked
from hilum.errors import BundleError, DataError, UsageError
from hilum.scoring import NOT_AUDITED, UNSEEN_BLANK

if TYPE_CHECKING:
    from hilum.evaluate import Evaluation
    from hilum.run import Run

KEPT = {UNSEEN: ("unseen", "by")}
"""Check -> the details that the headline is made of; those of no other check leave with a bundle."""
HIDDEN = "\N{HORIZONTAL ELLIPSIS}"
FILE = re.compile(
    r"(?<![^\s(])[/\\]\S+|\b\S*\.(?:dcm|dicom|jpe?g|png|tiff?|bmp|webp|gif|npy|nii|gz)\b|\b[0-9a-f]{32,}\b",
    re.IGNORECASE,
)
"""What may name a film in a sentence: a path, an image file, a hash."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an audit: it, or why it is not shown, or neither where none was made."""

    audit: Audit | None = None
    why: str | None = None


def attach_audit(path: Path, audit: Audit, *, films: Collection[str] = ()) -> Path:
    """Write a bundle's audit beside its manifest, without a film's name, and return the file.

    Args:
        path: of the bundle or its run.
        audit: a whole one, of this bundle with its notes or without.
        films: ids and names of the films audited, which no reason may tell; files are taken out without them.

    Raises:
        BundleError: the bundle is not what it claims to be, or the audit is of another one.
        UsageError: some questions were not asked.
    """
    folder = find_bundle(path)
    noted, digest = read_checked(folder, None, OpenManifest).digest, digest_without_notes(folder)
    if audit.bundle_digest not in (noted, digest):
        named = "no bundle" if audit.bundle_digest is None else f"bundle {audit.bundle_digest[:12]}"
        raise BundleError(f"the audit is of {named} and not of {folder}, which is {digest[:12]}; audit this one")
    missing = len(QUESTIONS.keys() - {one.check for one in audit.findings})
    if missing:
        raise UsageError(f"the audit leaves {missing} of {len(QUESTIONS)} checks out: make it without --only")
    save_audit(replace(_without_films(audit, films), bundle_digest=digest), folder / AUDIT)
    return folder / AUDIT


def attached_audit(path: Path) -> Audit | None:
    """The audit attached to a bundle; None where there is none.

    Args:
        path: of the bundle or its run.

    Raises:
        BundleError: the bundle is not what it claims to be, or the audit is of another one.
        DataError: it is no audit, or its verdict does not follow from its findings.
    """
    folder = find_bundle(path)
    if not (folder / AUDIT).is_file():
        return None
    read_checked(folder, None, OpenManifest)
    digest, audit = digest_without_notes(folder), load_audit(folder / AUDIT)
    if audit.bundle_digest != digest:
        named = (audit.bundle_digest or "none")[:12]
        raise BundleError(f"{AUDIT} is of bundle {named}, and this one is {digest[:12]}; audit again")
    return audit


def audit_of(run: "Run") -> Audit | None:
    """The audit in the run's folder, else the one attached to its bundle; None where there is neither.

    Raises:
        DataError: it is no audit, or one of another bundle, other films or other figures than the run's.
    """
    from hilum.evaluate import headline_score  # half a second, for those who have a run only

    file = run.folder / "audit" / AUDIT
    audit = load_audit(file) if file.is_file() else _released_with(run.folder)
    if audit is None:
        return None
    score = headline_score(run.evaluation, audit.score.fold if audit.score else "test")
    if (audit.kind, audit.index_digest, audit.score) != ("run", run.index.digest, score):
        raise DataError(f"{AUDIT} is of other films or figures than the run's; audit again")
    return audit


def _released_with(run: Path) -> Audit | None:
    """The audit attached to a run's bundle; one on other films says nothing of the run's figures."""
    try:
        audit = attached_audit(run) if (run / "bundle" / AUDIT).is_file() else None
    except BundleError as error:
        raise DataError(str(error)) from error
    return audit if audit is not None and audit.kind == "run" else None


def known_of_bundle(path: Path) -> Known:
    """The audit attached to a bundle, or in one sentence why it is not shown."""
    return _tried(lambda: attached_audit(path))


def line_of_bundle(said: str | None, known: Known) -> str:
    """The one line of a bundle: score, floor, what is above it, unseen source, verdict.

    Args:
        said: the headline of its evaluation, as its manifest has it; None where it has none.
        known: from `known_of_bundle`.
    """
    if known.audit is not None and known.audit.kind == "run":
        return headline(known.audit)
    parts = [said or "score not recorded"]
    if "unseen source" not in parts[0] and "external" not in parts[0]:
        parts.append(UNSEEN_BLANK)
    return " · ".join([*parts, _other(known)])


def known_of_run(run: "Run") -> Known:
    """A run's own audit, or in one sentence why it is not shown."""
    return _tried(lambda: audit_of(run))


def line_of_run(evaluation: "Evaluation", known: Known) -> str:
    """The one line of a run, as `line_of_bundle`; `known` is from `known_of_run`."""
    from hilum.evaluate import headline as headline_of  # half a second, for those who have a run only

    return headline(known.audit) if known.audit else headline_of(evaluation, _other(known))


def _other(known: Known) -> str:
    """What stands in place of the verdict on the films that the score is of."""
    if known.audit is not None:
        return f"audited on other films: {headline(known.audit)}"
    return f"audit not shown: {known.why}" if known.why else NOT_AUDITED


def _tried(read: Callable[[], Audit | None]) -> Known:
    try:
        return Known(audit=read())
    except (BundleError, DataError) as error:
        return Known(why=str(error))


def _without_films(audit: Audit, films: Collection[str]) -> Audit:
    names = {name for film in films for name in (film, Path(film).name)}
    findings = tuple(_without_names(one, sorted(names, key=len, reverse=True)) for one in audit.findings)
    return replace(audit, findings=findings, notes=tuple(FILE.sub(HIDDEN, note) for note in audit.notes))


def _without_names(finding: Finding, names: Sequence[str]) -> Finding:
    """The finding without pictures, details of films, and names of files; figures and verdict stay."""
    kept: Mapping[str, Any] = finding.details
    reason = finding.reason
    for name in names:
        if reason and name in reason:
            reason = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", HIDDEN, reason)
    return replace(
        finding,
        says=FILE.sub(HIDDEN, finding.says),
        reason=reason and FILE.sub(HIDDEN, reason),
        details={key: kept[key] for key in KEPT.get(finding.check, ()) if key in kept},
        pictures=(),
    )

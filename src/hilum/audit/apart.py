"""Checks answered by other processes, of this machine or of many; what several of them need is made before.

Lungs are drawn and films decoded by the subject's `spread` first, film by film. Then every check is handed out at once,
and is answered by one process alone. Checks in `TOGETHER` compute the same vectors of the same films: one process
answers them, one after another and in the order of an audit in one process, so that nothing is computed twice.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from hilum.audit.check import Finding, skipped
from hilum.audit.probes import prepare_probes
from hilum.audit.subject import Subject
from hilum.audit.table import CHECKS, Check
from hilum.errors import HilumError
from hilum.parallel import Crashed

TOGETHER = (("lungs-out-retrained", "unseen-source"),)
"""Checks that share what is expensive; each name once."""
ENDED = "the process that answered it ended, twice; it may have had too little memory"


def asked(check: Check, subject: Subject) -> Finding:
    """What a check finds, or why it is skipped."""
    lacking = check.lacks(subject)
    if lacking:
        return skipped(check.question, lacking)
    try:
        with subject.watch(f"{check.question.number:>2} {check.question.name}"):
            return check.ask(subject)
    except HilumError as error:
        return skipped(check.question, str(error))


def asked_apart(checks: Sequence[Check], subject: Subject) -> Iterator[tuple[Check, Finding]]:
    """What other processes find, as they find it; a check whose process ends again and again is skipped.

    Args:
        checks: of `CHECKS`.
        subject: what they are asked of; its films, its folders and hilum's cache lie where every process finds them.
    """
    by_name = {check.question.name: check for check in checks}
    if not by_name:
        return
    subject = _findable(subject)
    _prepare(subject, by_name)
    groups, done = _groups(checks), 0
    with subject.watch("answer checks") as progress:
        for names, found in subject.spread(partial(_answers, subject=subject), groups, processes=len(groups)):
            for place, name in enumerate(names):
                check = by_name[name]
                yield check, skipped(check.question, ENDED) if isinstance(found, Crashed) else found[place]
            done += len(names)
            progress(done, len(by_name))


def _answers(names: Sequence[str], *, subject: Subject) -> list[Finding]:
    return [asked(CHECKS[name], subject) for name in names]


def _groups(checks: Sequence[Check]) -> list[tuple[str, ...]]:
    """Names of checks that one process answers; first those that need most, which take longest."""
    ordered = sorted(checks, key=lambda check: len(check.needs), reverse=True)
    names = [check.question.name for check in ordered]
    shared = {name: one for one in TOGETHER for name in one}
    groups = (tuple(other for other in shared.get(name, (name,)) if other in names) for name in names)
    return list(dict.fromkeys(groups))


def _prepare(subject: Subject, names: Collection[str]) -> None:
    """Make what checks need; where that cannot be done, the check that needs it says why."""
    steps: list[Callable[[], object]] = [lambda: subject.evaluation]
    if "edges" in names and subject.look is not None:
        steps.append(lambda: subject.thumbnails)
    if subject.look is not None:
        steps.append(lambda: prepare_probes(subject, names))
    for step in steps:
        with suppress(HilumError):
            step()


def _findable(subject: Subject) -> Subject:
    """With full paths: other processes work in other folders."""
    run = replace(subject.run, folder=subject.run.folder.resolve()) if subject.run else None
    out = subject.out.resolve() if subject.out else None
    bundle = subject.bundle_folder.resolve() if subject.bundle_folder else None
    return replace(subject, root=subject.root.resolve(), run=run, out=out, bundle_folder=bundle)

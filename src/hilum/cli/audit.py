"""The command that asks whether a classifier looks at disease or at the data set."""

from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hilum.cli.machines import Address, Engine, Machines, On, spread_on
from hilum.cli.options import AsJson, print_json
from hilum.console import ERR, OUT, table, watch
from hilum.errors import UsageError
from hilum.parallel import Spread
from hilum.process import settle
from hilum.records import DISCLAIMER

if TYPE_CHECKING:
    from hilum.audit.check import Finding
    from hilum.audit.result import Audit
    from hilum.audit.subject import Subject

FAILED = 1
COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "red", "SKIPPED": "dim"}
FOLDER = "audit"


class FailOn(StrEnum):
    """From which verdict on the command's exit status is 1."""

    WARN = "warn"
    FAIL = "fail"


def audit(
    subject: Annotated[
        Path | None, typer.Argument(metavar="[RUN|BUNDLE]", help="A run's or a bundle's folder.")
    ] = None,
    index_file: Annotated[
        Path | None, typer.Option("--index", help="Other films to judge a bundle on, or those that --scores are of.")
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="CSV of any model's scores: image_id or path, p.LABEL or score, fold, reference."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="The label that a column 'score' is of.")] = None,
    domain: Annotated[
        str | None, typer.Option(help="Column of the index that tells where films come from, such as attr.location.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for audit.json; default RUN/audit.", file_okay=False)] = None,
    only: Annotated[list[str] | None, typer.Option(help="Make this check only, by name or number; repeatable.")] = None,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with status 1 from this verdict on.")] = None,
    attach: Annotated[
        bool, typer.Option("--attach", help="Put the audit into the bundle; without --index that is done anyway.")
    ] = False,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Plant shortcuts, and see whether the audit finds them; with --out.")
    ] = False,
    engine: On = Engine.LOCAL,
    address: Address = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Does it look at disease or at the data set? Every check with its interval, and a verdict.

    Example: `hilum audit RUN`
    """
    settle()
    machines = Machines(engine, address)
    if self_test:
        if machines.many:
            raise UsageError("--self-test works on this machine: leave --engine and --address out")
        _test_itself(out, as_json=as_json)
        return
    from hilum.audit.result import as_dict
    from hilum.audit.running import run_audit
    from hilum.report.audit import write_audit

    if attach and (only or scores is not None):
        raise UsageError("--attach goes with a whole audit of a run or a bundle: leave --only and --scores out")
    folder = out or _default_out(subject, index_file, scores)
    with spread_on(machines) as spread:
        audited = replace(_subject(subject, index_file, scores, label, spread), spread=spread)
        if domain is not None:
            audited = replace(audited, domain=domain)
        made = run_audit(audited, folder, only=only, watch=watch, apart=machines.many)
    page = write_audit(made, folder, subject=audited)
    attached = _attached(made, audited) if attach or (audited.kind == "run" and not only) else None
    if as_json:
        print_json(as_dict(made))
    else:
        _say(made, folder, page)
        if attached:
            OUT.print(f"attached: {attached}", highlight=False, soft_wrap=True)
    if fail_on is not None and made.verdict.value in _from(fail_on):
        raise typer.Exit(FAILED)


def _attached(made: "Audit", audited: "Subject") -> Path | None:
    """The audit's file in the bundle; None where there is no bundle to put it into."""
    if audited.bundle_folder is None:
        return None
    from hilum.audit.attached import attach_audit

    names = {*audited.films["image_id"], *audited.films["path"]}
    return attach_audit(audited.bundle_folder, made, films=names)


def _test_itself(out: Path | None, *, as_json: bool) -> None:
    """The audit of planted shortcuts and of their controls; exit status 1 where it missed or accused one."""
    if out is None:
        raise UsageError("say with --out where the simulated films of the self-test go")
    from hilum.audit.check import Verdict
    from hilum.audit.selftest import self_test
    from hilum.audit.tested import COLUMNS, rows_of

    made = self_test(out, watch=watch)
    if as_json:
        print_json(asdict(made))
    else:
        OUT.print(table("Planted shortcuts and their shuffled controls", COLUMNS, rows_of(made)))
        OUT.print(f"self-test: {made.verdict}; {out / 'self-test.json'}", highlight=False, soft_wrap=True)
    if made.verdict is Verdict.FAIL:
        raise typer.Exit(FAILED)


def _from(least: FailOn) -> tuple[str, ...]:
    return ("WARN", "FAIL") if least is FailOn.WARN else ("FAIL",)


def _default_out(subject: Path | None, index_file: Path | None, scores: Path | None) -> Path:
    """Beside what is audited; a bundle elsewhere has no folder that is its own."""
    if scores is not None:
        return scores.with_name(f"{scores.stem}-{FOLDER}")
    if subject is None:
        raise UsageError("name a run or a bundle, or give --scores FILE with --index FILE")
    if index_file is not None:
        raise UsageError("say with --out where the audit of a bundle on other films goes")
    return subject / FOLDER


def _subject(
    subject: Path | None, index_file: Path | None, scores: Path | None, label: str | None, spread: Spread
) -> "Subject":
    from hilum.index import Index

    if scores is not None:
        if subject is not None or index_file is None:
            raise UsageError("--scores goes with --index FILE, and without a run or bundle")
        from hilum.audit.given import subject_of_scores

        return subject_of_scores(scores, Index.load(index_file), label=label)
    if label is not None:
        raise UsageError("--label goes with --scores")
    if subject is None:
        raise UsageError("name a run or a bundle, or give --scores FILE with --index FILE")
    from hilum.audit.runs import subject_elsewhere, subject_of_run

    if index_file is not None:
        return subject_elsewhere(subject, Index.load(index_file), watch=watch, spread=spread)
    if not (subject / "recipe.toml").is_file():
        raise UsageError(f"{subject} is no run; audit a bundle on films with --index FILE")
    return subject_of_run(subject)


def _say(made: "Audit", folder: Path, page: Path) -> None:
    from hilum.audit.result import headline, question_of

    rows = []
    for finding in made.findings:
        question = question_of(finding)
        rows.append((str(question.number), question.name, *_figures(finding), _limits(finding), finding.verdict.value))
    columns = ("no.", "check", "value [95 %]", "p", "limits", "verdict")
    OUT.print(table(made.title, columns, rows, right=("no.", "p")))
    for finding in made.findings:
        colour = COLOURS[finding.verdict.value]
        OUT.print(
            Text(f"{finding.verdict.value:<7} {finding.check}: {finding.reason or finding.says}", style=colour),
            soft_wrap=True,
        )
    for note in made.notes:
        ERR.print(Text(f"note: {note}"), soft_wrap=True)
    OUT.print(Text(headline(made), style=f"bold {COLOURS[made.verdict.value]}"), soft_wrap=True)
    OUT.print(f"audit: {folder / 'audit.json'}", highlight=False, soft_wrap=True)
    OUT.print(f"page: {page}", highlight=False, soft_wrap=True)
    OUT.print(Text(DISCLAIMER, style="dim"))


def _figures(finding: "Finding") -> tuple[str, str]:
    """The worst measurement: its value with interval, and p."""
    worst = finding.worst
    if worst is None:
        return "-", ""
    value = f"{worst.value:.0f}" if worst.counts and worst.value == int(worst.value) else f"{worst.value:.3f}"
    bounds = "" if worst.low is None or worst.high is None else f" [{worst.low:.3f}, {worst.high:.3f}]"
    return value + bounds, "" if worst.p is None else f"{worst.p:.4f}"


def _limits(finding: "Finding") -> str:
    """Past what its worst measurement is a warning, and a failure: `> 0.6 / 0.75`."""
    from hilum.audit.result import question_of

    question, worst = question_of(finding), finding.worst
    limits = question.limits_of(worst) if worst else question
    told = " / ".join("-" if limit is None else f"{limit:g}" for limit in (limits.warn, limits.fail))
    return f"{'<' if question.low_is_bad else '>'} {told}"

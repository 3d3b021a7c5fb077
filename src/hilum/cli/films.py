"""How the commands that take many films work through them: in parts, so that a kill costs little."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.text import Text

from hilum.cli.machines import Films, Machines, Runner, runner_on
from hilum.console import ERR, OUT, watch
from hilum.files import is_url, remove_asides
from hilum.parts import FILMS_A_PART, Job, Outcome, Row, claimed, listed, part_rows, remove_parts
from hilum.records import DISCLAIMER


@dataclass(frozen=True)
class Finished:
    """Every film's row.

    Attributes:
        outcome: how many films there are, and how many were refused.
        out: folder or URL with the folder of parts.
        tables: folder to write tables to; where `out` is a URL they are copied there when the block ends well.
    """

    outcome: Outcome
    out: str
    tables: Path

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """The rows in the order of the films, a part of them in memory; `columns` are those wanted, default all."""
        if is_url(self.out):
            from hilum.cluster import part_rows_at

            return part_rows_at(self.out, columns)
        return part_rows(Path(self.out), columns)

    def told(self, name: str) -> str:
        """Where a table of this name lies in the end."""
        return f"{self.out}/{name}" if is_url(self.out) else str(Path(self.out, name))


@contextmanager
def finished_parts(
    job: Job,
    films: Films,
    out: str,
    *,
    stage: str,
    machines: Machines,
    tables: Sequence[Path] = (),
    folders: Sequence[Path] = (),
    keep: bool = False,
) -> Iterator[Finished]:
    """Every film's row in the parts of `out`, made now or before; the parts are removed when the block ends well.

    Args:
        job: what is done to the films.
        films: which.
        out: folder or URL that gets the folder of parts, and what the job writes beside.
        stage: what progress is called.
        machines: do it.
        tables: files that are made of the rows when all are there.
        folders: that the job writes masks and pictures to.
        keep: the parts stay.

    Raises:
        ClusterError: a cluster cannot be reached, or cannot do it.
        UsageError: there are parts of another job or of other films, or another run is at work on them.
    """
    # A bundle that cannot be loaded, like a cluster that is absent, is said before anything is written.
    _ = job.identity
    with ExitStack() as held:
        with runner_on(machines) as runner:
            if not is_url(out):
                held.enter_context(_claimed(Path(out), tables, folders))
            outcome = _made(runner, job, films, out, stage)
        place = Path(held.enter_context(TemporaryDirectory())) if is_url(out) else Path(out)
        yield Finished(outcome, out, place)
        _settled(out, place, keep=keep)


@contextmanager
def _claimed(out: Path, tables: Sequence[Path], folders: Sequence[Path]) -> Iterator[None]:
    """The folders are this run's, and nothing half-written is in them."""
    with claimed(out):
        for folder in folders:
            remove_asides(folder, elsewhere=True)
        for table in tables:
            remove_asides(table.parent, of=table, elsewhere=True)
        yield


def _made(runner: Runner, job: Job, films: Films, out: str, stage: str) -> Outcome:
    plan = runner.plan(job, listed(films.paths), out, films.known, FILMS_A_PART)
    if plan.done:
        ERR.print(f"{stage}: {plan.done} of {len(plan.films)} films were done before", highlight=False)
    with watch(stage) as progress:
        return runner(job, plan, out, progress)


def _settled(out: str, tables: Path, *, keep: bool) -> None:
    """Tables lie where they belong, and nothing is left that only the work needed."""
    if keep or is_url(out):
        from hilum.cluster import finish_parts, put_folder

        if is_url(out):
            put_folder(tables, out)
        finish_parts(out)
    else:
        remove_parts(Path(out))


def say_drawn(finished: Finished, table: str) -> None:
    """How many films were drawn on, and by name which are flagged and which refused."""
    outcome = finished.outcome
    drawn = outcome.films - outcome.refused
    flagged = sum(bool(row["flags"]) for row in finished.rows(["flags"]))
    counts = f"{drawn} drawn, {flagged} of them flagged, {outcome.refused} refused"
    OUT.print(f"{outcome.films} films: {counts}; a row each in {table}", highlight=False, soft_wrap=True)
    for row in finished.rows(["film", "flags"]):
        if row["flags"]:
            ERR.print(Text(f"  flagged {Path(row['film']).name}: {'; '.join(row['flags'])}"), soft_wrap=True)
    for row in finished.rows(["refused"]):
        if row["refused"] is not None:
            ERR.print(Text(f"  refused {row['refused']}"), soft_wrap=True)
    OUT.print(Text(DISCLAIMER, style="dim"))

"""What the terminal shows: progress with rate and time left on standard error, tables on standard output."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

OUT = Console()
ERR = Console(stderr=True)


@contextmanager
def watch(stage: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for one stage: done, rate, time left; two lines in its place where there is no terminal.

    The rate is of this run: what was done before its first report does not count.
    """
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    if not ERR.is_terminal:
        with _logged(stage) as report:
            yield report
        return
    with Progress(*columns, console=ERR) as bar:
        task, rate_at = bar.add_task(stage, total=None, rate=""), _rated()

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, rate=rate_at(done))

        yield report


@contextmanager
def _logged(stage: str) -> Iterator[Callable[[int, int], None]]:
    """Where nobody watches a bar: a line when a stage begins and one when it ends."""
    start, rate_at, said, rate = time.monotonic(), _rated(), "", ""
    ERR.print(f"{stage} ...", highlight=False)

    def report(done: int, total: int) -> None:
        nonlocal said, rate
        said, rate = f"{done} of {total}, ", rate_at(done)

    yield report
    ERR.print(f"{stage}: {said}{time.monotonic() - start:.1f} s{rate and f', {rate}'}", highlight=False)


def _rated() -> Callable[[int], str]:
    """Tells how many a second were done since it was made; nothing in the first half second."""
    start = time.monotonic()
    before: int | None = None  # the first report

    def rate_at(done: int) -> str:
        nonlocal before
        before = max(0, done - 1) if before is None else before
        elapsed = time.monotonic() - start
        rate = (done - before) / elapsed if elapsed > 0.5 else 0.0
        return f"{rate:.0f}/s" if rate >= 100 else f"{rate:.1f}/s" if rate else ""

    return rate_at


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> Table:
    """A plain table; cells are shown as they are, whatever markup is in them."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made


def say_left_out(counts: Mapping[str, int]) -> None:
    """Count what was left out, by reason, on standard error."""
    if not counts:
        return
    ERR.print(f"left out: {sum(counts.values())} films")
    for reason, number in counts.items():
        ERR.print(f"  {number:>6}  {reason}", markup=False, highlight=False)

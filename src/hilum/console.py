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
    """A progress bar for one stage: done, rate, time left; two lines in its place where there is no terminal."""
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
        task = bar.add_task(stage, total=None, rate="")

        def report(done: int, total: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f"{done / elapsed:.1f}/s" if elapsed > 0.5 else ""
            bar.update(task, completed=done, total=total, rate=rate)

        yield report


@contextmanager
def _logged(stage: str) -> Iterator[Callable[[int, int], None]]:
    """Where nobody watches a bar: a line when a stage begins and one when it ends."""
    start, said = time.monotonic(), ""
    ERR.print(f"{stage} ...", highlight=False)

    def report(done: int, total: int) -> None:
        nonlocal said
        said = f"{done} of {total}, "

    yield report
    ERR.print(f"{stage}: {said}{time.monotonic() - start:.1f} s", highlight=False)


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

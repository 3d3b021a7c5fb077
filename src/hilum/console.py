"""What the terminal shows: progress with rate and time left on standard error, tables on standard output."""

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
    """A progress bar for one stage: films done, films a second, time left. Nothing is drawn where nobody looks."""
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=ERR, disable=not ERR.is_terminal) as bar:
        task = bar.add_task(stage, total=None, rate="")

        def report(done: int, total: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            rate = f"{done / elapsed:.1f}/s" if elapsed > 0.5 else ""
            bar.update(task, completed=done, total=total, rate=rate)

        yield report


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

"""The command that finds films of the same picture, within and across indexes."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hilum.cli.options import REFUSED, AsJson, Processes, print_json
from hilum.console import OUT, say_left_out, watch
from hilum.errors import UsageError


def duplicates(
    indexes: Annotated[list[Path], typer.Argument(metavar="INDEX...", help="Indexes, or runs' folders.")],
    out: Annotated[Path | None, typer.Option(help="Folder for pairs.csv, films.csv and refused.csv.")] = None,
    processes: Processes = None,
    *,
    sheet: Annotated[bool, typer.Option("--sheet", help="Also OUT/pairs.html: each pair side by side.")] = False,
    as_json: AsJson = False,
) -> None:
    """Films of the same picture: copies, exports, crops, edits.

    Example: `hilum duplicates ours.parquet theirs.parquet --out twins --sheet`
    """
    if sheet and not out:
        raise UsageError("--sheet goes with --out: say where to write the page")
    from hilum.copies import find_copies
    from hilum.files import write_text
    from hilum.index import Index
    from hilum.report.duplicates import as_rows, copies_page, copies_table, summary_of, write_copies

    found = find_copies(
        {name: Index.load(path) for name, path in _named(indexes).items()}, processes=processes, watch=watch
    )
    if out:
        write_copies(found, out)
    if out and sheet:
        with watch("draw pairs") as progress:
            write_text(out / "pairs.html", copies_page(found, progress=progress))
    if as_json:
        print_json(as_rows(found))
    else:
        if not out:
            OUT.print(copies_table(found))
        OUT.print(Text(summary_of(found) + (f": {out}" if out else "")), soft_wrap=True)
    say_left_out({str(kind): int(films) for kind, films in found.reasons.items()})
    if len(found.refused):
        raise typer.Exit(REFUSED)


def _named(paths: list[Path]) -> dict[str, Path]:
    """Short names for indexes: the file's, or the run's folder's; the whole path where that is not enough."""
    files = {path: path / "index.parquet" if path.is_dir() else path for path in paths}
    if len(files) < len(paths):
        raise UsageError("an index is named twice; films of one index are compared with each other as it is")
    short = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    if len(set(short)) < len(short):
        return {str(path): file for path, file in files.items()}
    return dict(zip(short, files.values(), strict=True))

"""The command that says which view films show."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hilum.cli.options import REFUSED, AsJson, Processes, print_json
from hilum.console import OUT, watch
from hilum.errors import UsageError
from hilum.process import settle
from hilum.records import DISCLAIMER

INDEX_SUFFIX = ".parquet"


def view(
    films: Annotated[list[Path], typer.Argument(help="Films, folders of films, or one index.")],
    out: Annotated[
        Path | None, typer.Option(help="Write a CSV, a row a film; of an index, the index it makes.")
    ] = None,
    processes: Processes = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Frontal, lateral or no chest film; inverted; PA or AP.

    Example: `hilum view films/ --out views.csv`
    """
    settle()
    if any(film.suffix == INDEX_SUFFIX for film in films):
        if len(films) > 1 or out is None:
            raise UsageError("one index makes another: hilum view INDEX --out INDEX2")
        _of_index(films[0], out, processes, as_json=as_json)
        return
    from hilum.predict import find_films
    from hilum.projection import view_films
    from hilum.report.views import as_row, views_summary, views_table, write_views

    paths, told = find_films(films), []
    with watch("read films") as progress:
        for done, film in enumerate(view_films(paths, processes=processes), 1):
            told.append(film)
            progress(done, len(paths))
    if out:
        write_views(told, out)
    if as_json:
        print_json([as_row(film) for film in told])
    else:
        if not out:
            OUT.print(views_table(told))
        OUT.print(views_summary(told), soft_wrap=True)
        OUT.print(Text(DISCLAIMER, style="dim"))
    if any(film.refusal for film in told):
        raise typer.Exit(REFUSED)


def _of_index(file: Path, out: Path, processes: int | None, *, as_json: bool) -> None:
    from hilum.index import Index
    from hilum.projection import view_index
    from hilum.report.views import summary_of

    with watch("read films") as progress:
        made, counts = view_index(Index.load(file), processes=processes, progress=progress)
    made.save(out)
    if as_json:
        print_json(dict(counts))
        return
    OUT.print(f"{summary_of(counts)}: {out}", highlight=False, soft_wrap=True)

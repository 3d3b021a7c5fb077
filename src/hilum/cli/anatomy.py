"""Commands that draw anatomy on films: lungs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.cli.machines import Address, Engine, Films, Machines, On, films_at
from hilum.cli.options import REFUSED, AsJson, Processes, print_json
from hilum.cli.runtime import Runtime, asked_engine, say_engines
from hilum.errors import UsageError
from hilum.files import is_url
from hilum.process import settle

if TYPE_CHECKING:
    from hilum.cli.films import Finished
    from hilum.index import Index

BESIDE = {"tables": ("lungs.csv", "index.parquet"), "folders": ("masks", "overlays")}
"""What a run writes to its folder."""


def lungs(
    films: Annotated[list[str] | None, typer.Argument(help="Films, or folders of films.")] = None,
    index_file: Annotated[Path | None, typer.Option("--index", help="Films of an index in place of FILMS.")] = None,
    *,
    out: Annotated[str, typer.Option(help="Folder for a mask a film and lungs.csv.", metavar="FOLDER")],
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write each film with its lungs outlined.")] = False,
    sides: Annotated[bool, typer.Option("--sides", help="Masks of 1 (right) and 2 (left) in place of 255.")] = False,
    heart: Annotated[bool, typer.Option("--heart", help="Also measure the cardiothoracic ratio.")] = False,
    bundle: Annotated[Path | None, typer.Option(help="In place of the bundle that comes with hilum.")] = None,
    gate: Annotated[bool, typer.Option(help="--no-gate: also draw on films that do not look frontal.")] = True,
    runtime: Runtime = "auto",
    processes: Processes = None,
    engine: On = Engine.LOCAL,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Draw the lungs of frontal films: masks, areas, and whether to believe them.

    With --index, OUT/index.parquet is the index with these masks: recipes with preprocess.lungs then use them.

    Example: `hilum lungs films/ --out lungs --overlay`
    """
    settle()
    from hilum.cli.films import finished_parts, say_drawn
    from hilum.lungs.job import LungsJob
    from hilum.lungs.rows import told_of
    from hilum.lungs.writing import write_table

    machines = Machines(engine, address, processes)
    index, given = _given(films, index_file, machines)
    place = machines.place(out)
    if index and is_url(place):
        raise UsageError(f"--index names masks by their paths: --out must be a folder of this machine, not {place}")
    job = LungsJob(
        bundle=machines.seen(bundle), gate=gate, heart=heart, sides=sides, overlay=overlay, engine=asked_engine(runtime)
    )
    if runtime != "auto":
        say_engines(job.engines)
    beside = {name: [Path(place, one) for one in BESIDE[name]] for name in BESIDE}
    with finished_parts(job, given, place, stage="lungs", machines=machines, keep=machines.many, **beside) as finished:
        write_table(finished.rows(), finished.tables / "lungs.csv")
        if index:
            _index_with(index, finished)
        if as_json:
            print_json([told_of(row) for row in finished.rows()])
        else:
            say_drawn(finished, finished.told("lungs.csv"))
    if finished.outcome.refused:
        raise typer.Exit(REFUSED)


def _given(films: list[str] | None, index_file: Path | None, machines: Machines) -> "tuple[Index | None, Films]":
    """The films, and the index they are of."""
    from hilum.index import Index

    if bool(films) == bool(index_file):
        raise UsageError("name films, or an index with --index FILE; one of the two")
    if not index_file:
        return None, films_at(films or [], machines)
    index = Index.load(index_file)
    return index, Films([str(index.path(path)) for path in index.films["path"]])


def _index_with(index: "Index", finished: "Finished") -> None:
    """Write the index with the masks of the films on which a lung was found."""
    from hilum.lungs import with_masks

    rows = zip(index.films["sha256"], finished.rows(["mask", "area_share"]), strict=True)
    masks = {sha256: finished.tables / row["mask"] for sha256, row in rows if row["mask"] and row["area_share"]}
    with_masks(index, masks).save(finished.tables / "index.parquet")

"""The command that reads films: an answer with its interval and its caveats, or a refusal with its reason."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hilum.cli.options import REFUSED, AsJson, Processes, print_json
from hilum.cli.runtime import Runtime, asked_engine, say_engines
from hilum.console import OUT, watch
from hilum.errors import UsageError
from hilum.process import settle
from hilum.records import DISCLAIMER

if TYPE_CHECKING:
    from hilum.reader import Reader, Reading

ON_FAIL = ("caveat", "refuse")
COVID19 = "covid19-frontal"


def read(
    films: Annotated[list[Path], typer.Argument(help="Films, or folders of films.")],
    *,
    bundle: Annotated[
        list[str] | None,
        typer.Option(help=f"A bundle's or a run's folder, or a released bundle's name; repeatable; default {COVID19}."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV, a row a film and classifier.")] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="Folder for each film with its reading drawn on it.", file_okay=False)
    ] = None,
    lesions: Annotated[bool, typer.Option(help="--no-lesions: draw no lesions and tell no severity.")] = True,
    gate: Annotated[
        bool, typer.Option(help="--no-gate: also read films that do not look like frontal chest films.")
    ] = True,
    on_fail: Annotated[
        str, typer.Option(help="Where a bundle's audit says FAIL: caveat answers and says so, refuse does not decide.")
    ] = "caveat",
    runtime: Runtime = "auto",
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Read films: what each shows, how sure that is, where, and what speaks against believing it.

    Example: `hilum read films/ --annotate read --csv read.csv`
    """
    settle()
    from hilum.predict import find_films
    from hilum.reader import Policy, Reader
    from hilum.reader import as_json as plain

    if on_fail not in ON_FAIL:
        raise UsageError(f"--on-fail takes {' or '.join(ON_FAIL)}, not '{on_fail}'")
    paths = find_films(films)
    explain = annotate is not None or as_json or len(paths) == 1
    policy = Policy(gate=gate, explain=explain, lesions=lesions, on_fail="refuse" if on_fail == "refuse" else "caveat")
    reader = Reader(bundle or (COVID19,), policy=policy, engine=asked_engine(runtime))
    if runtime != "auto":
        say_engines(reader.engines)
    found = _read(reader, paths, annotate=annotate, csv=csv, processes=processes)
    if as_json:
        print_json([plain(one) | {"path": str(path)} for path, one in found])
    else:
        _say([one for _, one in found], csv)
    if any(one.refusal for _, one in found):
        raise typer.Exit(REFUSED)


def _read(
    reader: "Reader", paths: list[Path], *, annotate: Path | None, csv: Path | None, processes: int | None
) -> "list[tuple[Path, Reading]]":
    """Read films one by one; the table is written of all that were read, even where something stops the rest."""
    from hilum.reader import read_films
    from hilum.reader.drawing import write_annotated
    from hilum.reader.table import write_table

    found: list[tuple[Path, Reading]] = []
    try:
        with watch("read films") as progress:
            for done, (path, one) in enumerate(read_films(reader, paths, processes=processes), 1):
                if annotate:
                    write_annotated(one, annotate)
                found.append((path, one if len(paths) == 1 else one.without_pixels()))
                progress(done, len(paths))
    finally:
        if csv and found:
            write_table(found, csv)
    return found


def _say(readings: "list[Reading]", csv: Path | None) -> None:
    """Every film in a few lines, or many in one, then what to know of the classifiers."""
    from hilum.reader.words import caveats, counted, lines_of

    shown = readings if csv is None else [one for one in readings if one.refusal]
    for line in (line for one in shown for line in lines_of(one)):
        OUT.print(Text(line), soft_wrap=True)
    if len(readings) > 1:
        OUT.print(Text(f"{len(readings)} films: {counted(readings)}" + (f"; a row each in {csv}" if csv else "")))
    answers = next((one.answers for one in readings if one.answers), ())
    for line in caveats(answers):
        OUT.print(Text(line), soft_wrap=True)
    OUT.print(Text(DISCLAIMER, style="dim"))

"""The command that tells which engines can run a bundle, and checks them on films."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from hilum.cli.options import AsJson, Processes, print_json
from hilum.console import OUT, table, watch
from hilum.errors import UsageError
from hilum.process import settle

if TYPE_CHECKING:
    from hilum.bundle import EngineState
    from hilum.engine import EngineRecord, Trial

IndexFile = Annotated[Path | None, typer.Option("--index", help="Check on the films of this index.", dir_okay=False)]


def engines(
    bundle: Annotated[str, typer.Argument(help="A bundle's or a run's folder, or the name of one hilum comes with.")],
    films: Annotated[list[Path] | None, typer.Argument(help="Check on these films, or folders of films.")] = None,
    index_file: IndexFile = None,
    processes: Processes = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Which engines can run a bundle here; with films, how near each comes to torch in float32, and how fast.

    A check is kept beside the bundle, as engines.json. An engine in bfloat16 runs only where it was passed.

    Example: `hilum engines RUN films/`
    """
    settle()
    from hilum.bundle import bundle_folder, engine_states

    if films and index_file:
        raise UsageError("name films or --index FILE, not both")
    folder = bundle_folder(bundle)
    record = _checked(folder, films, index_file, processes) if films or index_file else _kept(folder)
    states = engine_states(folder)
    if as_json:
        print_json(_plain(states, record))
        return
    OUT.print(_states(states))
    if record:
        OUT.print()
        OUT.print(_trials(record))
        OUT.print(Text(_about(record)), soft_wrap=True)


def _checked(folder: Path, films: list[Path] | None, index_file: Path | None, processes: int | None) -> "EngineRecord":
    from hilum.agreement import check_films
    from hilum.index import Index
    from hilum.predict import find_films

    chosen = Index.load(index_file) if index_file else find_films(films or [])
    return check_films(folder, chosen, processes=processes, watch=watch)


def _kept(folder: Path) -> "EngineRecord | None":
    """The record beside a bundle, if it is this bundle's."""
    from hilum.bundle.format import digest_without_notes
    from hilum.engine import read_engines
    from hilum.errors import BundleError

    try:
        return read_engines(folder, digest_without_notes(folder))
    except BundleError:
        return None


def _plain(states: "tuple[EngineState, ...]", record: "EngineRecord | None") -> dict[str, Any]:
    rows = [
        {"engine": one.name, "installed": one.installed, "auto": one.auto, "why_not": one.why_not} for one in states
    ]
    return {"engines": rows, "check": record.model_dump(mode="json") if record else None}


def _states(states: "tuple[EngineState, ...]") -> Any:
    def cells(one: "EngineState") -> list[str]:
        return [one.name, "yes" if one.installed else "no", "yes" if one.auto else "", one.why_not or "can be used"]

    return table("Engines", ["engine", "installed", "auto", "here"], [cells(one) for one in states])


def _trials(record: "EngineRecord") -> Any:
    columns = ["engine", "shift", "median", "changed", "ms", "processor", "check"]
    few = record.checked_on.films < record.limits["fewest_films"]
    rows = [_row(name, trial, few=few) for name, trial in record.trials.items()]
    return table("Against torch in float32", columns, rows, right=columns[1:-1])


def _row(name: str, trial: "Trial", *, few: bool) -> list[str]:
    changed = f"{trial.flips} films" if trial.flips is not None else f"{trial.pixels_flipped or 0:.3%}"
    shifts = [f"{trial.largest:.2g}", f"{trial.median:.2g}"]
    times = [f"{trial.ms:.1f}", f"{trial.processor_ms:.1f}"]
    return [name, *shifts, changed, *times, "passed" if trial.passed else "too few films" if few else "not passed"]


def _about(record: "EngineRecord") -> str:
    kept = record.limits
    return (
        "Shift: the largest change of a probability, and the median of each film's. Milliseconds a film, and of the "
        f"processor. {record.checked_on.films} films ({record.checked_on.named}), {record.threads} threads, "
        f"{record.processor}. "
        f"To pass: {kept['fewest_films']:.0f} films or more; of a classifier no decision changed and no probability by "
        f"more than {kept['largest']:g}; of a segmentation network {kept['pixels_flipped']:.1%} of the pixels at most, "
        f"and of a film no label's share of it by more than {kept['largest_share']:.1%}."
    )

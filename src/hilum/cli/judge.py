"""Commands that ask what a run or a bundle says: evaluate, predict, report."""

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hilum.cli.machines import Address, Engine, Films, Machines, On, films_at
from hilum.cli.options import REFUSED, AsJson, Processes, print_json, print_plain
from hilum.cli.runtime import Runtime, asked_engine, say_engines
from hilum.console import OUT, say_left_out, watch
from hilum.errors import UsageError
from hilum.files import is_url
from hilum.process import settle
from hilum.records import DISCLAIMER

if TYPE_CHECKING:
    from hilum.cli.films import Finished
    from hilum.predict_job import Draw, PredictJob

ELSEWHERE = "not audited on these films (hilum audit RUN --index FILE --out DIR)"


def evaluate(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    index_file: Annotated[Path | None, typer.Option("--index", help="Score the run's bundle on these films.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for evaluation.json and scores.csv.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """A run's figures, or its bundle's on other films.

    Example: `hilum evaluate RUN --index other.parquet`
    """
    settle()
    from hilum.audit.attached import known_of_run, line_of_run
    from hilum.evaluate import as_dict, classification_report, headline, save_evaluation, scores_table
    from hilum.files import written_aside
    from hilum.index import Index, counted
    from hilum.run import Run, evaluate_elsewhere

    run = Run(run_folder)
    evaluation, line = run.evaluation, line_of_run(run.evaluation, known_of_run(run))
    if index_file:
        evaluation, left_out = evaluate_elsewhere(run, Index.load(index_file), watch=watch)
        say_left_out(counted(left_out))
        line = f"{headline(evaluation, ELSEWHERE)}\nthe run's own films: {line}"
    if out:
        save_evaluation(evaluation, out / "evaluation.json")
        with written_aside(out / "scores.csv") as aside:
            scores_table(evaluation).to_csv(aside, index=False)
    if as_json:
        print_json(as_dict(evaluation))
        return
    print_plain(f"{classification_report(evaluation)}\n\n{line}")
    OUT.print(Text(DISCLAIMER, style="dim"))


def predict(
    bundle: Annotated[Path, typer.Argument(help="A bundle's or a run's folder, or the name of a released bundle.")],
    films: Annotated[list[str], typer.Argument(help="Films, or folders of films.")],
    out: Annotated[
        str | None,
        typer.Option(help="Write a CSV, a row a film; with --engine ray also a folder for parts.", metavar="FILE"),
    ] = None,
    annotate: Annotated[
        str | None, typer.Option(help="Write films with their result drawn on them here.", metavar="FOLDER")
    ] = None,
    gate: Annotated[
        bool, typer.Option(help="--no-gate: also predict films that do not look like what the bundle reads.")
    ] = True,
    runtime: Runtime = "auto",
    processes: Processes = None,
    engine: On = Engine.LOCAL,
    address: Address = None,
    *,
    as_json: AsJson = False,
) -> None:
    """What a bundle says of films.

    Example: `hilum predict RUN films/ --out predictions.csv`
    """
    settle()
    from hilum.audit.attached import known_of_bundle, line_of_bundle
    from hilum.bundle import bundle_folder
    from hilum.predict_job import PredictJob

    machines = Machines(engine, address, processes)
    place = _place(out, machines)
    job = PredictJob(
        bundle=(machines.seen(bundle) or bundle) if bundle.exists() else str(bundle),
        gate=gate,
        annotate=_annotated(annotate),
        engine=asked_engine(runtime),
    )
    loaded, given = job.loaded, films_at(films, machines)
    if runtime != "auto":
        say_engines(job.engines)
    if place is None:
        refused = _predict_here(job, given, processes=processes, as_json=as_json)
    else:
        refused = _predict_to(job, given, place, machines, as_json=as_json)
    if not as_json:
        said, known = (loaded.evaluation or {}).get("headline"), known_of_bundle(bundle_folder(job.bundle))
        OUT.print(Text(f"{loaded.title}: {line_of_bundle(said, known)}"), soft_wrap=True)
        OUT.print(Text(DISCLAIMER, style="dim"))
    if refused:
        raise typer.Exit(REFUSED)


def _place(out: str | None, machines: Machines) -> str | None:
    """Where results go; None where they are shown."""
    if out is None:
        if machines.many:
            raise UsageError("with --engine ray say where results go: --out DIR for parts, --out FILE.csv for a table")
        return None
    place = machines.place(out)
    if is_url(place) and _is_table(place):
        raise UsageError(f"{place}: a table is written to this machine; in a store name a folder, which gets parts")
    return place


def _is_table(place: str) -> bool:
    return ".csv" in PurePath(place).suffixes


def _annotated(folder: str | None) -> "tuple[Draw, Path] | None":
    """What draws films with their result, and where to, whichever machine it does so on."""
    from hilum.report.annotate import write_annotated

    if folder is None:
        return None
    if is_url(folder):
        raise UsageError(f"--annotate takes a folder that every machine sees, and {folder} is a URL")
    return write_annotated, Path(folder).resolve()


def _predict_to(job: "PredictJob", films: Films, place: str, machines: Machines, *, as_json: bool) -> int:
    """Write a CSV of the films, or leave the parts and the list of those refused; returns how many were refused."""
    from hilum.cli.films import finished_parts
    from hilum.predict import as_json as plain
    from hilum.predict_job import prediction_of
    from hilum.report.predictions import REFUSED_FILMS, predictions_summary

    keep = machines.many and not _is_table(place)
    beside = {
        "tables": [Path(place, REFUSED_FILMS) if keep else Path(place)],
        "folders": [job.annotate[1]] if job.annotate else [],
    }
    out = place if keep else f"{place}.parts"
    with finished_parts(job, films, out, stage="read films", machines=machines, keep=keep, **beside) as finished:
        written = _write(finished, job.loaded.classes, None if keep else Path(place))
        if as_json:
            print_json([plain(prediction_of(row, job.loaded.classes)) for row in finished.rows()])
        else:
            decided = (row["decided"] for row in finished.rows(["decided"]))
            OUT.print(predictions_summary(decided, written), soft_wrap=True)
    return finished.outcome.refused


def _write(finished: "Finished", classes: Sequence[str], table: Path | None) -> str:
    """Write the CSV, or that of refused films where the parts are the result; returns where the rows are."""
    from hilum.parts import FOLDER, PARTS
    from hilum.report.predictions import REFUSED_FILMS, write_predictions, write_refused

    if table:
        write_predictions(finished.rows(), classes, table)
        return str(table)
    write_refused(finished.rows(["film", "refused"]), finished.tables / REFUSED_FILMS)
    return finished.told(f"{FOLDER}/{PARTS}")


def _predict_here(job: "PredictJob", films: Films, *, processes: int | None, as_json: bool) -> int:
    """Show what is said of the films; returns how many were refused."""
    from hilum.parts import listed
    from hilum.predict import as_json as plain
    from hilum.predict_job import prediction_of
    from hilum.report.predictions import predictions_table

    made, told = [], [(Path(film.path), film) for film in listed(films.paths)]
    with watch("read films") as progress:
        for row in job.rows(told, Path(), processes=processes):
            made.append(prediction_of(row, job.loaded.classes))
            progress(len(made), len(told))
    if as_json:
        print_json([plain(prediction) for prediction in made])
    else:
        OUT.print(predictions_table(made))
    return sum(prediction.refusal is not None for prediction in made)


def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    out: Annotated[Path | None, typer.Option(help="Where to write it; default RUN/report.html.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Also write every figure as an SVG file here.")] = None,
) -> None:
    """Write a run's page: data, split, curves, figures, examples, provenance.

    Example: `hilum report RUN`
    """
    from hilum.report.pages import write_figures, write_run_report
    from hilum.run import Run

    run = Run(run_folder)
    OUT.print(f"report: {write_run_report(run, out)}", highlight=False, soft_wrap=True)
    if figures:
        OUT.print(f"figures: {len(write_figures(run, figures))} in {figures}", highlight=False, soft_wrap=True)

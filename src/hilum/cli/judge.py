"""Commands that ask what a run or a bundle says: evaluate, predict, report."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hilum.cli.options import REFUSED, AsJson, Processes, print_json, print_plain
from hilum.console import OUT, say_left_out, watch
from hilum.process import settle
from hilum.records import DISCLAIMER

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
    films: Annotated[list[Path], typer.Argument(help="Films, or folders of films.")],
    out: Annotated[Path | None, typer.Option(help="Write a CSV, a row a film.")] = None,
    annotate: Annotated[Path | None, typer.Option(help="Write films with their result drawn on them here.")] = None,
    gate: Annotated[
        bool, typer.Option(help="--no-gate: also predict films that do not look like what the bundle reads.")
    ] = True,
    processes: Processes = None,
    *,
    as_json: AsJson = False,
) -> None:
    """What a bundle says of films.

    Example: `hilum predict RUN films/ --out predictions.csv`
    """
    settle()
    from hilum.audit.attached import known_of_bundle, line_of_bundle
    from hilum.bundle import load_bundle, released, released_names
    from hilum.predict import as_json as plain
    from hilum.predict import find_films, predict_films
    from hilum.projection import ViewFilter
    from hilum.report.annotate import write_annotated
    from hilum.report.predictions import predictions_summary, predictions_table, write_predictions

    by_name = str(bundle) in released_names() and not bundle.exists()
    folder = released(str(bundle)) if by_name else bundle
    loaded = load_bundle(folder)
    paths = find_films(films)
    made = []
    told = predict_films(loaded, paths, processes=processes, gate=ViewFilter() if gate else None)
    with watch("read films") as progress:
        for done, prediction in enumerate(told, 1):
            made.append(prediction)
            if annotate and prediction.refusal is None:
                write_annotated(prediction, annotate)
            progress(done, len(paths))
    if out:
        write_predictions(made, loaded.classes, out)
    if as_json:
        print_json([plain(prediction) for prediction in made])
    else:
        OUT.print(predictions_summary(made, out) if out else predictions_table(made))
        said = (loaded.evaluation or {}).get("headline")
        OUT.print(Text(f"{loaded.title}: {line_of_bundle(said, known_of_bundle(folder))}"), soft_wrap=True)
        OUT.print(Text(DISCLAIMER, style="dim"))
    if any(prediction.refusal for prediction in made):
        raise typer.Exit(REFUSED)


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

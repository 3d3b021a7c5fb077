"""The `hilum` command: parse, call one function, print, exit status.

Exit status: 0 done, 1 failed, 2 wrong use, 3 some films were refused, 130 interrupted.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from hilum import __version__
from hilum.console import ERR, OUT, say_left_out, table, watch
from hilum.errors import HilumError, UsageError, unknown_name
from hilum.process import settle
from hilum.records import DISCLAIMER, View

REFUSED = 3

app = typer.Typer(
    help="Train, audit and serve chest-radiograph classifiers, and learn whether they read lungs or data sets.\n\n"
    + DISCLAIMER,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
sources_app = typer.Typer()
recipes_app = typer.Typer()
app.add_typer(sources_app, name="sources")
app.add_typer(recipes_app, name="recipes")

Root = Annotated[Path, typer.Option(help="Folder the data sets lie in, as ROOT/NAME.", file_okay=False)]
Processes = Annotated[int | None, typer.Option(help="Films decoded at once; default one a core.", min=1)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def _version(wanted: bool) -> None:
    if wanted:
        OUT.print(f"hilum {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _plain(text: str) -> None:
    sys.stdout.write(text.rstrip("\n") + "\n")


@sources_app.callback(invoke_without_command=True)
def list_sources(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Every known data set.

    Example: `hilum sources show covid_chestxray`
    """
    if context.invoked_subcommand:
        return
    from hilum.sources import SOURCES

    sheets = [source.sheet for _, source in sorted(SOURCES.items())]
    if as_json:
        _print_json([{"name": sheet.name, "what": sheet.what, "licence": sheet.licence} for sheet in sheets])
        return
    OUT.print(table("", ["name", "what", "licence"], [(sheet.name, sheet.what, sheet.licence) for sheet in sheets]))
    OUT.print("\nHow to get one, and the layout expected on disk: hilum sources show NAME", highlight=False)


@sources_app.command("show")
def show_source(name: Annotated[str, typer.Argument(help="As `hilum sources` lists it.")]) -> None:
    """One data set: what it is, how to get it, what to beware of.

    Example: `hilum sources show kermany`
    """
    from hilum.sources import find_source

    _plain(find_source(name).sheet.text())


@app.command()
def index(
    sources: Annotated[list[str], typer.Argument(help="Data sets, or `folder` for films of your own in ROOT.")],
    root: Root,
    out: Annotated[Path, typer.Option(help="Where to write the index.")] = Path("index.parquet"),
    labels: Annotated[Path | None, typer.Option(help="With `folder`: CSV that names the films.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="With --labels: FIELD=COLUMN, repeatable.")] = None,
    processes: Processes = None,
) -> None:
    """Check, hash and group films; write one row a film.

    Example: `hilum index sandrofab --root DATA`
    """
    from hilum.index import build_index, counted
    from hilum.sources import read_folder, read_source
    from hilum.sources.tables import films_under

    if "folder" in sources and len(sources) > 1:
        raise UsageError("'folder' stands alone: index it by itself")
    if (labels or column) and sources != ["folder"]:
        raise UsageError("--labels and --column go with the source 'folder'")
    if sources == ["folder"]:
        records = list(read_folder(root, labels=labels, columns=_pairs(column or [])))
    else:
        records = [record for name in sources for record in read_source(name, root)]
    with watch("check films") as progress:
        made = build_index(records, root, processes=processes, progress=progress)
    made.save(out)
    if labels:
        unnamed = len(set(films_under(root)) - {record.path for record in records})
        say_left_out({f"in {root} but not named in {labels.name}": unnamed} if unnamed else {})
    say_left_out(counted(made.left_out["left_out"]))
    twins = made.table[["duplicate_of", "near_duplicate_of"]].notna().sum()
    OUT.print(
        f"{len(made.films)} films in {made.films['group_id'].nunique()} groups, {twins['duplicate_of']} exact and "
        f"{twins['near_duplicate_of']} near-duplicates, {len(made.left_out)} left out: {out}",
        highlight=False,
        soft_wrap=True,
    )


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts)
    if not all(pairs.values()):
        raise UsageError("--column takes FIELD=COLUMN, such as --column patient_id=PatientID")
    return pairs


@app.command()
def describe(
    index_file: Annotated[Path, typer.Argument(metavar="INDEX", help="An index, or a run's folder.")],
    html: Annotated[Path | None, typer.Option(help="Write a page with figures here.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Cohort statistics of an index.

    Example: `hilum describe index.parquet --html cohort.html`
    """
    from hilum.describe import describe as described
    from hilum.files import write_text
    from hilum.index import Index
    from hilum.report.terminal import format_description

    loaded = Index.load(index_file / "index.parquet" if index_file.is_dir() else index_file)
    description = described(loaded.films, loaded.left_out)
    if html:
        from hilum.report.html import describe_page

        write_text(html, describe_page(description, title=f"Films in {index_file.name}"))
    if as_json:
        _print_json(description.to_json())
        return
    OUT.print(format_description(description))
    if html:
        OUT.print(f"\npage: {html}", highlight=False, soft_wrap=True)


@recipes_app.callback(invoke_without_command=True)
def list_recipes(context: typer.Context) -> None:
    """The recipes that come with hilum.

    Example: `hilum recipes show sandrofab-binary-lite0`
    """
    if context.invoked_subcommand:
        return
    from hilum.recipe import shipped, summary

    rows = [(name, summary(file.read_text(encoding="utf-8"))) for name, file in shipped().items()]
    OUT.print(table("", ["name", "what"], rows))


@recipes_app.command("show")
def show_recipe(name: Annotated[str, typer.Argument(help="As `hilum recipes` lists it, or a file.")]) -> None:
    """A recipe's TOML, to read or to start one's own from.

    Example: `hilum recipes show demo > mine.toml`
    """
    from hilum.recipe import recipe_text

    _plain(recipe_text(name))


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, a TOML file, or a bundle to repeat.")],
    out: Annotated[Path, typer.Option(help="The run's folder; an interrupted run in it is continued.")],
    root: Annotated[Path | None, typer.Option(help="Folder the data sets lie in, as ROOT/NAME.")] = None,
    index_file: Annotated[Path | None, typer.Option("--index", help="Use this index; the recipe then selects.")] = None,
    processes: Processes = None,
) -> None:
    """Index, split, train, evaluate, bundle, report.

    Example: `hilum train demo --root DATA --out RUN`
    """
    settle()
    from hilum.index import Index, counted
    from hilum.report.pages import write_run_report
    from hilum.run import find_recipe, train_run
    from hilum.train import is_leader

    if (root is None) == (index_file is None):
        raise UsageError("say where the films are: --root DATA, or --index FILE")
    given = Index.load(index_file) if index_file else None
    run = train_run(find_recipe(recipe), root, out, given=given, processes=processes, watch=watch)
    if not is_leader():
        return
    say_left_out(counted(run.index.left_out["left_out"]))
    _say_result(run.folder)
    OUT.print(f"report: {write_run_report(run)}\nbundle: {run.folder / 'bundle'}", highlight=False, soft_wrap=True)


def _say_result(folder: Path) -> None:
    from hilum.evaluate import classification_report, headline
    from hilum.run import Run

    evaluation = Run(folder).evaluation
    _plain(f"\n{classification_report(evaluation)}\n\n{headline(evaluation)}")
    OUT.print(Text(DISCLAIMER, style="dim"))


@app.command()
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
    from hilum.evaluate import as_dict, classification_report, headline, save_evaluation, scores_table
    from hilum.files import written_aside
    from hilum.index import Index, counted
    from hilum.run import Run, evaluate_elsewhere

    evaluation = Run(run_folder).evaluation
    if index_file:
        evaluation, left_out = evaluate_elsewhere(Run(run_folder), Index.load(index_file), watch=watch)
        say_left_out(counted(left_out))
    if out:
        save_evaluation(evaluation, out / "evaluation.json")
        with written_aside(out / "scores.csv") as aside:
            scores_table(evaluation).to_csv(aside, index=False)
    if as_json:
        _print_json(as_dict(evaluation))
        return
    _plain(f"{classification_report(evaluation)}\n\n{headline(evaluation)}")
    OUT.print(Text(DISCLAIMER, style="dim"))


@app.command()
def predict(
    bundle: Annotated[Path, typer.Argument(help="A bundle's or a run's folder.")],
    films: Annotated[list[Path], typer.Argument(help="Films, or folders of films.")],
    out: Annotated[Path | None, typer.Option(help="Write a CSV, a row a film.")] = None,
    annotate: Annotated[Path | None, typer.Option(help="Write films with their result drawn on them here.")] = None,
    processes: Processes = None,
    *,
    as_json: AsJson = False,
) -> None:
    """What a bundle says of films.

    Example: `hilum predict RUN films/ --out predictions.csv`
    """
    settle()
    from hilum.bundle import load_bundle
    from hilum.predict import as_json as plain
    from hilum.predict import find_films, predict_films
    from hilum.report.annotate import write_annotated
    from hilum.report.predictions import predictions_summary, predictions_table, write_predictions

    loaded = load_bundle(bundle)
    paths = find_films(films)
    made = []
    with watch("read films") as progress:
        for done, prediction in enumerate(predict_films(loaded, paths, processes=processes), 1):
            made.append(prediction)
            if annotate and prediction.refusal is None:
                write_annotated(prediction, annotate)
            progress(done, len(paths))
    if out:
        write_predictions(made, loaded.classes, out)
    if as_json:
        _print_json([plain(prediction) for prediction in made])
    else:
        OUT.print(predictions_summary(made, out) if out else predictions_table(made))
        said = (loaded.evaluation or {}).get("headline")
        OUT.print(Text(f"{loaded.title}: {said}" if said else loaded.title), soft_wrap=True)
        OUT.print(Text(DISCLAIMER, style="dim"))
    if any(prediction.refusal for prediction in made):
        raise typer.Exit(REFUSED)


@app.command()
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


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write to; the films go into OUT/simulated.")],
    films: Annotated[int, typer.Option(help="How many films.", min=1)] = 240,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Longest side of a film, in pixels.")] = 320,
    views: Annotated[str, typer.Option(help="Views to draw from: PA, AP, L.")] = "PA,AP",
    labels: Annotated[str | None, typer.Option(help="Labels, comma-separated; default all four.")] = None,
    sites: Annotated[int, typer.Option(help="Hospitals.", min=1)] = 4,
    plant: Annotated[
        list[str] | None, typer.Option(help="Shortcut, KIND=LABEL[@STRENGTH][:shuffled]; repeatable.")
    ] = None,
    lesions: Annotated[bool, typer.Option(help="--no-lesions: the control cohort without disease.")] = True,
    counterfactuals: Annotated[bool, typer.Option(help="Also every diseased film without its disease.")] = False,
    near_duplicates: Annotated[float, typer.Option(help="Share of films exported twice.", min=0, max=1)] = 0.0,
    films_per_patient: Annotated[float, typer.Option(help="On average.", min=1)] = 1.2,
    severity: Annotated[tuple[float, float], typer.Option(help="Beta distribution; 2 2.2 is harder.")] = (4.0, 2.0),
    film_format: Annotated[Literal["png", "jpg", "dcm"], typer.Option("--format", help="Of the films.")] = "png",
    sheet: Annotated[Path | None, typer.Option(help="Also draw a contact sheet here.")] = None,
    processes: Processes = None,
) -> None:
    """Simulate films with exact truth.

    Example: `hilum simulate --films 240 --out DIR --plant marker=covid19@0.9`
    """
    from hilum.simulate.cohort import CohortSpec, simulate_cohort
    from hilum.simulate.sheet import draw_sheet
    from hilum.simulate.shortcuts import Plant

    told: dict[str, Any] = {"labels": tuple(labels.split(","))} if labels else {}
    spec = CohortSpec(
        films=films,
        seed=seed,
        size_px=size,
        views=tuple(_view(view) for view in views.split(",")),
        sites=sites,
        plants=tuple(Plant.parse(text) for text in plant or []),
        lesions=lesions,
        counterfactuals=counterfactuals,
        near_duplicates=near_duplicates,
        films_per_patient=films_per_patient,
        severity=severity,
        format=film_format,
        **told,
    )
    with watch("simulate films") as progress:
        folder = simulate_cohort(spec, out, processes=processes, progress=progress)
    if sheet:
        draw_sheet(folder, sheet)
    OUT.print(f"{films} films: {folder}", highlight=False, soft_wrap=True)


def _view(text: str) -> View:
    try:
        return View(text.strip())
    except ValueError:
        raise unknown_name("view", text, [view.value for view in View]) from None


def main() -> None:
    """Run the command; errors become one sentence and an exit status."""
    try:
        app()
    except HilumError as error:
        ERR.print(Text(f"hilum: {error}"), soft_wrap=True)
        sys.exit(error.exit_status)
    except OSError as error:
        ERR.print(Text(f"hilum: {error.strerror or error}: {error.filename or ''}"), soft_wrap=True)
        sys.exit(1)

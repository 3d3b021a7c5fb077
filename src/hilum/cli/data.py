"""Commands before a network: data sets, an index of films, cohort statistics, simulated films."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hilum.cli.machines import Address, Engine, Machines, On, spread_on
from hilum.cli.options import REFUSED, AsJson, Processes, Root, print_json, print_plain
from hilum.console import OUT, say_left_out, table, watch
from hilum.errors import UsageError, unknown_name
from hilum.records import View

sources_app = typer.Typer()


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
        print_json([{"name": sheet.name, "what": sheet.what, "licence": sheet.licence} for sheet in sheets])
        return
    OUT.print(table("", ["name", "what", "licence"], [(sheet.name, sheet.what, sheet.licence) for sheet in sheets]))
    OUT.print("\nHow to get one, and the layout expected on disk: hilum sources show NAME", highlight=False)


@sources_app.command("show")
def show_source(name: Annotated[str, typer.Argument(help="As `hilum sources` lists it.")]) -> None:
    """One data set: what it is, how to get it, what to beware of.

    Example: `hilum sources show kermany`
    """
    from hilum.sources import find_source

    print_plain(find_source(name).sheet.text())


def index(
    sources: Annotated[list[str], typer.Argument(help="Data sets, or `folder` for films of your own in ROOT.")],
    root: Root,
    out: Annotated[Path, typer.Option(help="Where to write the index.")] = Path("index.parquet"),
    labels: Annotated[Path | None, typer.Option(help="With `folder`: CSV that names the films.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="With --labels: FIELD=COLUMN, repeatable.")] = None,
    processes: Processes = None,
    engine: On = Engine.LOCAL,
    address: Address = None,
) -> None:
    """Check, hash and group films; write one row a film.

    Example: `hilum index sandrofab --root DATA`
    """
    from hilum.index import build_index, counted
    from hilum.sources import read_folder, read_source
    from hilum.sources.tables import films_under

    machines = Machines(engine, address, processes)
    if "folder" in sources and len(sources) > 1:
        raise UsageError("'folder' stands alone: index it by itself")
    if (labels or column) and sources != ["folder"]:
        raise UsageError("--labels and --column go with the source 'folder'")
    if sources == ["folder"]:
        records = list(read_folder(root, labels=labels, columns=_pairs(column or [])))
    else:
        records = [record for name in sources for record in read_source(name, root)]
    with spread_on(machines) as spread, watch("check films") as progress:
        made = build_index(records, root, processes=processes, progress=progress, spread=spread)
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
        print_json(description.to_json())
        return
    OUT.print(format_description(description))
    if html:
        OUT.print(f"\npage: {html}", highlight=False, soft_wrap=True)


def preprocess(
    film: Annotated[Path | None, typer.Argument(help="A film.")] = None,
    steps: Annotated[
        str | None, typer.Option(help="Steps in order, comma-separated: crop-black,clahe:clip=2:tiles=8")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to draw the film before and after each step.")] = Path("sheet.png"),
    size: Annotated[int, typer.Option(help="Longest side at which grey levels are changed, in pixels.", min=32)] = 320,
    every: Annotated[bool, typer.Option("--list", help="List the steps and their settings instead.")] = False,
) -> None:
    """What enhancement does to a film: before and after, with histograms.

    Example: `hilum preprocess film.png --steps crop-black,clahe --out sheet.png`
    """
    from hilum.enhance import STEPS, parse_step, parse_steps
    from hilum.pixels import read_film, resize
    from hilum.report.before_after import draw_steps

    if every:
        OUT.print(
            table("", ["step", "what it does"], [(str(parse_step(name)), step.says) for name, step in STEPS.items()])
        )
        return
    if film is None or not steps:
        raise UsageError("name a film and the steps, such as: hilum preprocess film.png --steps crop-black,clahe")
    parsed = parse_steps(step.strip() for step in steps.split(","))
    pixels = read_film(film).pixels
    draw_steps(pixels, parsed, out, resize=lambda shown: resize(shown, size, aspect="pad"))
    OUT.print(f"sheet: {out}", highlight=False, soft_wrap=True)


def export(
    index_file: Annotated[Path, typer.Argument(metavar="INDEX", help="An index, or a run's folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the arrays and their tables.")],
    size: Annotated[
        list[int] | None,
        typer.Option(help="Side in pixels; repeatable; default the recipe's.", min=32, max=2048),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Says which films, their classes, steps and aspect.")] = None,
    steps: Annotated[str | None, typer.Option(help="In place of the recipe's: crop-black,clahe:clip=2")] = None,
    aspect: Annotated[Literal["stretch", "pad"] | None, typer.Option(help="In place of the recipe's.")] = None,
    depth: Annotated[Literal["8", "16"] | None, typer.Option(help="Bits a pixel, in place of the recipe's.")] = None,
    processes: Processes = None,
) -> None:
    """Films as .npy arrays, several sizes with the same rows.

    Example: `hilum export index.parquet --size 224 --size 600 --out arrays`
    """
    from hilum.enhance import parse_steps
    from hilum.export import export_arrays, in_sizes
    from hilum.index import Index, counted
    from hilum.preprocess import Preprocess
    from hilum.recipe import parse_recipe, recipe_text
    from hilum.selection import select_films

    chosen = Index.load(index_file / "index.parquet" if index_file.is_dir() else index_file)
    base, classes = Preprocess(), tuple[str, ...]()
    if recipe:
        told = parse_recipe(recipe_text(recipe), where=recipe)
        chosen, base, classes = select_films(chosen, told), told.preprocess, told.class_names
    if base.masks == "made":
        from hilum.lungs import drawn_films

        with watch("draw lungs") as progress:
            chosen = drawn_films(chosen, processes=processes, progress=progress)
    parsed = None if steps is None else tuple(str(one) for one in parse_steps(steps.split(",") if steps else ()))
    ways = in_sizes(base, size or [base.size_px], steps=parsed, aspect=aspect, depth_bits=int(depth) if depth else None)
    with watch("export films") as progress:
        made = export_arrays(chosen, out, ways, classes=classes, processes=processes, progress=progress)
    say_left_out(counted(made.left_out["reason"]))
    files = ", ".join(path.name for path in made.arrays)
    OUT.print(f"{made.films} films: {files} and films.csv in {out}", highlight=False, soft_wrap=True)
    if made.refused:
        raise typer.Exit(REFUSED)


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

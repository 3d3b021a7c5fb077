"""The command that shows where on a film a bundle finds what raises a label."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hilum.cli.options import REFUSED, AsJson, Processes, print_json
from hilum.console import ERR, OUT, watch
from hilum.errors import UsageError
from hilum.process import settle
from hilum.records import DISCLAIMER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hilum.explain import Explanation
    from hilum.report.explanations import Book, Case

Layer = Annotated[str | None, typer.Option(help="Module of the backbone to read; default what the head reads.")]
Method = Annotated[
    str | None,
    typer.Option(help="cam, grad-cam, grad-cam++, eigen-cam, occlusion or integrated-gradients; default what fits."),
]


def explain(
    bundle: Annotated[Path, typer.Argument(help="A bundle's or a run's folder, or the name of a released bundle.")],
    films: Annotated[
        list[Path] | None, typer.Argument(help="Films, or folders of films; none for the tested films of a run.")
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder for overlays, contact sheets, tables and a page.", file_okay=False)],
    method: Method = None,
    layer: Layer = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Label to explain; repeatable; default the one decided on.")
    ] = None,
    lungs: Annotated[bool, typer.Option(help="--no-lungs: do not hold maps against lungs.")] = True,
    lesions: Annotated[
        bool, typer.Option("--lesions", help="Draw lesions where no mask is given, by hilum's own network.")
    ] = False,
    lesion_masks: Annotated[Path | None, typer.Option(help="Folder of lesion masks, NAME.png or NAME-ggo.png.")] = None,
    check: Annotated[int, typer.Option(help="Films to explain again with weights drawn at random.", min=0)] = 16,
    each: Annotated[int, typer.Option(help="Of a run: films of each class and kind.", min=1)] = 6,
    gate: Annotated[
        bool, typer.Option(help="--no-gate: also explain films that do not look like what the bundle reads.")
    ] = True,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Show what on a film raises a label, how much of that lies in the lungs, and whether to believe it.

    Example: `hilum explain covid19-frontal films/ --out explained`
    """
    settle()
    from hilum.bundle import bundle_folder, load_bundle
    from hilum.explain import How, explain_films
    from hilum.explain.writing import lesions_in
    from hilum.lesions import lesions_bundle
    from hilum.lungs import lungs_bundle
    from hilum.projection import ViewFilter
    from hilum.report.explanations import Book

    loaded = load_bundle(bundle_folder(bundle))
    cases, notes = _cases(bundle, films, each)
    book = Book(out, f"Explained: {loaded.title}", cases, notes)
    wanted = [tuple(label)] * len(cases) if label else [case.labels for case in cases]
    told = explain_films(
        loaded,
        [case.path for case in cases],
        how=How(method, layer, check),
        labels=wanted,
        lungs=lungs_bundle() if lungs else None,
        masks=_masks(bundle),
        lesions=lesions_in(lesion_masks) if lesion_masks else None,
        draws_lesions=lesions_bundle() if lesions else None,
        gate=ViewFilter() if gate and films else None,
        processes=processes,
    )
    page = _written(book, told)
    if as_json:
        print_json({"notes": book.sentences, "explanations": book.rows})
    else:
        _say(book, page)
    if any(row["refused"] for row in book.rows):
        raise typer.Exit(REFUSED)


def _written(book: "Book", told: "Iterable[Explanation]") -> Path:
    """Write explanations as they come, then what is made of all of them; returns the page."""
    seen = set[Path]()
    with watch("explain") as progress:
        for one in told:
            book.add(one)
            seen.add(one.film)
            progress(len(seen), len(book.cases))
    return book.close()


def _cases(bundle: Path, films: list[Path] | None, each: int) -> "tuple[list[Case], list[str]]":
    """The films named, or without any those of the run that are most worth a look, and what to know of them."""
    from hilum.predict import find_films
    from hilum.report.explanations import Case, run_cases
    from hilum.run import Run

    if films:
        return [Case(path) for path in dict.fromkeys(find_films(films))], []
    if not (bundle / "recipe.toml").is_file():
        raise UsageError(f"{bundle} is no run with films of its own: name films, as hilum explain {bundle} FILMS")
    cases, note = run_cases(Run(bundle), each=each)
    return cases, [note]


def _masks(bundle: Path) -> "dict[Path, Path] | None":
    """Film -> lung mask, as a run's index names them; None where a bundle is no run's."""
    from hilum.run import Run

    if not (bundle / "recipe.toml").is_file():
        return None
    index = Run(bundle).index
    films = index.films[index.films["lung_mask"].notna()]
    return {index.path(film): index.path(mask) for film, mask in zip(films["path"], films["lung_mask"], strict=True)}


def _say(book: "Book", page: Path) -> None:
    """How many maps there are, what to know of them, and which films were refused."""
    refused = [row["refused"] for row in book.rows if row["refused"]]
    maps = sum(row["no_map"] is None and not row["refused"] for row in book.rows)
    OUT.print(f"{maps} maps, {len(refused)} films refused: {page}", highlight=False, soft_wrap=True)
    for sentence in book.sentences:
        OUT.print(Text(f"  {sentence}"), soft_wrap=True)
    for reason in refused:
        ERR.print(Text(f"  refused {reason}"), soft_wrap=True)
    OUT.print(Text(DISCLAIMER, style="dim"))

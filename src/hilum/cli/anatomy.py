"""Commands that draw anatomy on films: lungs."""

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
    from hilum.index import Index
    from hilum.lungs import Lungs


def lungs(
    films: Annotated[list[Path] | None, typer.Argument(help="Films, or folders of films.")] = None,
    index_file: Annotated[Path | None, typer.Option("--index", help="Films of an index in place of FILMS.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder for a mask a film and lungs.csv.", file_okay=False)],
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write each film with its lungs outlined.")] = False,
    sides: Annotated[bool, typer.Option("--sides", help="Masks of 1 (right) and 2 (left) in place of 255.")] = False,
    heart: Annotated[bool, typer.Option("--heart", help="Also measure the cardiothoracic ratio.")] = False,
    bundle: Annotated[Path | None, typer.Option(help="In place of the bundle that comes with hilum.")] = None,
    gate: Annotated[bool, typer.Option(help="--no-gate: also draw on films that do not look frontal.")] = True,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Draw the lungs of frontal films: masks, areas, and whether to believe them.

    With --index, OUT/index.parquet is the index with these masks: recipes with preprocess.lungs then use them.

    Example: `hilum lungs films/ --out lungs --overlay`
    """
    settle()
    from hilum.index import Index
    from hilum.lungs import as_json as plain
    from hilum.lungs import heart_bundle, lungs_bundle, segment_lungs
    from hilum.lungs.writing import names_of, write_mask, write_overlay, write_table
    from hilum.predict import find_films
    from hilum.projection import ViewFilter

    if bool(films) == bool(index_file):
        raise UsageError("name films, or an index with --index FILE; one of the two")
    index = Index.load(index_file) if index_file else None
    paths = [index.path(path) for path in index.films["path"]] if index else find_films(films or [])
    made = segment_lungs(
        paths,
        bundle=lungs_bundle(bundle),
        heart=heart_bundle() if heart else None,
        gate=ViewFilter() if gate else None,
        processes=processes,
    )
    found, told = [], []
    with watch("lungs") as progress:
        for done, (one, name) in enumerate(zip(made, names_of(paths), strict=True), 1):
            write_mask(one, out / "masks" / name, sides=sides)
            if overlay:
                write_overlay(one, out / "overlays" / name)
            found.append((one.without_masks(), None if one.refusal else f"masks/{name}"))
            told.append(plain(one))
            progress(done, len(paths))
    write_table(found, out / "lungs.csv")
    if index:
        _index_with(index, found, out)
    if as_json:
        print_json(told)
    else:
        _say([one for one, _ in found], out)
    if any(one.refusal for one, _ in found):
        raise typer.Exit(REFUSED)


def _index_with(index: "Index", found: "list[tuple[Lungs, str | None]]", out: Path) -> None:
    """Write the index with the masks of the films on which a lung was found."""
    from hilum.lungs import with_masks

    hashes = index.films["sha256"]
    named = {sha256: (one, mask) for sha256, (one, mask) in zip(hashes, found, strict=True)}
    masks = {sha256: out / mask for sha256, (one, mask) in named.items() if mask and one.measures["area_share"]}
    with_masks(index, masks).save(out / "index.parquet")


def _say(found: "list[Lungs]", out: Path) -> None:
    """How many were drawn, and by name which are flagged and which refused."""
    flagged = [one for one in found if one.flags]
    refused = [one for one in found if one.refusal]
    drawn = len(found) - len(refused)
    counts = f"{drawn} drawn, {len(flagged)} of them flagged, {len(refused)} refused"
    OUT.print(f"{len(found)} films: {counts}; a row each in {out / 'lungs.csv'}", highlight=False, soft_wrap=True)
    for one in flagged:
        ERR.print(Text(f"  flagged {one.film.name}: {'; '.join(one.flags)}"), soft_wrap=True)
    for one in refused:
        ERR.print(Text(f"  refused {one.refusal}"), soft_wrap=True)
    OUT.print(Text(DISCLAIMER, style="dim"))

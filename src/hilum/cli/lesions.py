"""Commands that find lesions on films, and that turn masks into boxes."""

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
    from collections.abc import Iterator

    from hilum.lesions import Lesions


def lesions(
    films: Annotated[list[Path], typer.Argument(help="Films, or folders of films.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for lesions.csv and masks.", file_okay=False)],
    boxes: Annotated[bool, typer.Option("--boxes", help="Also write boxes: YOLO text, boxes.csv.")] = False,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write each film with its lesions drawn.")] = False,
    bundle: Annotated[Path | None, typer.Option(help="In place of the bundle that comes with hilum.")] = None,
    detector: Annotated[
        Path | None, typer.Option(help="Bundle of a box detector: its boxes in place of those around the masks.")
    ] = None,
    gate: Annotated[bool, typer.Option(help="--no-gate: also draw on films that do not look frontal.")] = True,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Draw ground glass and consolidation: masks, shares of the lungs and of six zones, boxes.

    Example: `hilum lesions films/ --out lesions --boxes --overlay`
    """
    settle()
    from hilum.bundle import load_detector
    from hilum.lesions import LESIONS, lesions_bundle, segment_lesions, write_boxes
    from hilum.lesions import as_json as plain
    from hilum.lesions.writing import boxed, write_table
    from hilum.predict import find_films
    from hilum.projection import ViewFilter

    paths, used = find_films(films), lesions_bundle(bundle)
    boxer = load_detector(detector) if detector else None
    view_filter = ViewFilter() if gate else None
    made = segment_lesions(paths, bundle=used, detector=boxer, gate=view_filter, processes=processes)
    found = _written(made, paths, out, overlay=overlay, boxes=boxes or boxer is not None)
    write_table(found, out / "lesions.csv")
    if boxes or boxer:
        classes = boxer.labels if boxer else LESIONS
        write_boxes([boxed(one, name) for one, name in found], classes, out / "boxes")
    if as_json:
        print_json([plain(one) for one, _ in found])
    else:
        _say([one for one, _ in found], out)
    if any(one.refusal for one, _ in found):
        raise typer.Exit(REFUSED)


def _written(
    made: "Iterator[Lesions]", paths: list[Path], out: Path, *, overlay: bool, boxes: bool
) -> "list[tuple[Lesions, str]]":
    """Write masks and overlays film by film; returns the films without their pixels, and what each is called."""
    from hilum.lesions.writing import write_masks
    from hilum.lungs.writing import names_of
    from hilum.report.lesions import write_overlay

    found = []
    with watch("lesions") as progress:
        for done, (one, file) in enumerate(zip(made, names_of(paths), strict=True), 1):
            name = file.removesuffix(".png")
            write_masks(one, out / "masks", name)
            if overlay:
                write_overlay(one, out / "overlays" / file, boxes=boxes)
            found.append((one.without_masks(), name))
            progress(done, len(paths))
    return found


def _say(found: "list[Lesions]", out: Path) -> None:
    """How many were drawn, and by name which are flagged and which refused."""
    flagged = [one for one in found if one.flags]
    refused = [one for one in found if one.refusal]
    counts = f"{len(found) - len(refused)} drawn, {len(flagged)} of them flagged, {len(refused)} refused"
    OUT.print(f"{len(found)} films: {counts}; a row each in {out / 'lesions.csv'}", highlight=False, soft_wrap=True)
    for one in flagged:
        ERR.print(Text(f"  flagged {one.film.name}: {'; '.join(one.flags)}"), soft_wrap=True)
    for one in refused:
        ERR.print(Text(f"  refused {one.refusal}"), soft_wrap=True)
    OUT.print(Text(DISCLAIMER, style="dim"))


def boxes(
    masks: Annotated[list[Path], typer.Argument(help="Mask PNGs, 0 outside and 255 inside, or folders of them.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for a text a mask, classes.txt, boxes.csv.", file_okay=False)],
    label: Annotated[str, typer.Option(help="What the masks are of.")] = "ggo",
    merge: Annotated[
        float, typer.Option(help="Join pieces closer than this share of the longer side; 0 joins none.", min=0, max=1)
    ] = 0.0,
    films: Annotated[
        Path | None, typer.Option(help="Folder of the films: a mask must have the size of the film of its name.")
    ] = None,
    empty: Annotated[
        bool, typer.Option("--empty", help="A mask without a pixel says that nothing is there: write no box.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Turn masks into boxes: YOLO text, a box around every piece of a mask.

    Example: `hilum boxes masks/ --out labels --label ggo --merge 0.02`
    """
    if not label.strip():
        raise UsageError("--label names what the masks are of, such as ggo; it cannot be empty")
    from hilum.lesions.boxed import as_json as plain
    from hilum.lesions.boxed import boxes_of_masks, write_boxes
    from hilum.predict import find_films

    of_films = find_films([films]) if films else None
    found = list(boxes_of_masks(find_films(masks), label, gap_share=merge, films=of_films, may_be_empty=empty))
    write_boxes(found, (label,), out)
    if as_json:
        print_json([plain(one) for one in found])
    else:
        refused = [one for one in found if one.refusal]
        total = sum(len(one.boxes) for one in found)
        said = f"{len(found)} masks: {total} boxes, {len(refused)} refused; see {out}"
        OUT.print(said, highlight=False, soft_wrap=True)
        for one in refused:
            ERR.print(Text(f"  refused {one.refusal}"), soft_wrap=True)
    if any(one.refusal for one in found):
        raise typer.Exit(REFUSED)

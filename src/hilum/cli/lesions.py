"""Commands that find lesions on films, and that turn masks into boxes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hilum.cli.machines import Address, Engine, Machines, On, films_at
from hilum.cli.options import REFUSED, AsJson, Processes, print_json
from hilum.cli.runtime import Runtime, asked_engine, say_engines
from hilum.console import ERR, OUT
from hilum.errors import UsageError
from hilum.process import settle

if TYPE_CHECKING:
    from hilum.cli.films import Finished

BESIDE = {"tables": ("lesions.csv",), "folders": ("masks", "overlays", "boxes")}
"""What a run writes to its folder."""


def lesions(
    films: Annotated[list[str], typer.Argument(help="Films, or folders of films.")],
    *,
    out: Annotated[str, typer.Option(help="Folder for lesions.csv and masks.", metavar="FOLDER")],
    boxes: Annotated[bool, typer.Option("--boxes", help="Also write boxes: YOLO text, boxes.csv.")] = False,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write each film with its lesions drawn.")] = False,
    bundle: Annotated[Path | None, typer.Option(help="In place of the bundle that comes with hilum.")] = None,
    detector: Annotated[
        Path | None, typer.Option(help="Bundle of a box detector: its boxes in place of those around the masks.")
    ] = None,
    gate: Annotated[bool, typer.Option(help="--no-gate: also draw on films that do not look frontal.")] = True,
    runtime: Runtime = "auto",
    processes: Processes = None,
    engine: On = Engine.LOCAL,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Draw ground glass and consolidation: masks, shares of the lungs and of six zones, boxes.

    Example: `hilum lesions films/ --out lesions --boxes --overlay`
    """
    settle()
    from hilum.cli.films import finished_parts, say_drawn
    from hilum.files import names_of
    from hilum.lesions import check_names
    from hilum.lesions.job import LesionsJob
    from hilum.lesions.rows import told_of
    from hilum.report.lesions import write_overlay

    machines, boxes = Machines(engine, address, processes), boxes or detector is not None
    given, place = films_at(films, machines), machines.place(out)
    if boxes:
        check_names(names_of(given.paths))
    job = LesionsJob(
        bundle=machines.seen(bundle),
        detector=machines.seen(detector),
        gate=gate,
        overlay=write_overlay if overlay else None,
        boxes=boxes,
        engine=asked_engine(runtime),
    )
    if runtime != "auto":
        say_engines(job.engines)
    beside = {name: [Path(place, one) for one in BESIDE[name]] for name in BESIDE}
    with finished_parts(
        job, given, place, stage="lesions", machines=machines, keep=machines.many, **beside
    ) as finished:
        _tabulate(finished, box_labels=job.box_labels if boxes else ())
        if as_json:
            print_json([told_of(row) for row in finished.rows()])
        else:
            say_drawn(finished, finished.told("lesions.csv"))
    if finished.outcome.refused:
        raise typer.Exit(REFUSED)


def _tabulate(finished: "Finished", *, box_labels: tuple[str, ...]) -> None:
    """Write the CSV of all rows, and boxes where they are asked for."""
    from hilum.lesions import write_boxes
    from hilum.lesions.rows import boxed
    from hilum.lesions.writing import score_names, write_table

    scores = score_names(finished.rows(["scores"]))
    write_table(finished.rows(), finished.tables / "lesions.csv", scores=scores)
    if box_labels:
        write_boxes(map(boxed, finished.rows()), box_labels, finished.tables / "boxes")


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
    from hilum.lesions.boxed import boxes_of_masks, check_names, write_boxes
    from hilum.predict import find_films

    of_films = find_films([films]) if films else None
    found = list(boxes_of_masks(find_films(masks), label, gap_share=merge, films=of_films, may_be_empty=empty))
    check_names(one.name for one in found)
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

"""The command that decodes films ahead: cache."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hilum.cli.machines import Address, Engine, Machines, On, spread_on
from hilum.cli.options import AsJson, Changes, Processes, print_json, told_changes
from hilum.console import OUT, say_left_out, watch
from hilum.process import settle

if TYPE_CHECKING:
    from hilum.index import Index
    from hilum.preprocess import Preprocess


def cache(
    index_file: Annotated[Path, typer.Argument(metavar="INDEX", help="An index, as `hilum index` writes it.")],
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name, a TOML file, or a bundle to repeat.")],
    root: Annotated[
        Path | None, typer.Option(help="Folder the films lie in now, where they have moved.", file_okay=False)
    ] = None,
    changes: Changes = None,
    processes: Processes = None,
    engine: On = Engine.LOCAL,
    address: Address = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Decode the films that a recipe selects, so that training and audits need not; go on where it was stopped.

    With --engine ray the cluster decodes films; lungs, where the recipe asks for drawn ones, are drawn here.

    Example: `hilum cache index.parquet --recipe demo`
    """
    settle()
    machines = Machines(engine, address, processes)
    from hilum.index import Index, counted
    from hilum.recipe import changed, parse_recipe
    from hilum.run import find_recipe
    from hilum.run.films import choose_films

    wanted = parse_recipe(changed(find_recipe(recipe), told_changes(None, None, changes)))
    chosen = choose_films(Index.load(index_file, root=root), wanted, processes=processes, watch=watch)
    told = _filled(chosen, wanted.preprocess, machines)
    if as_json:
        print_json(told)
        return
    say_left_out(counted(chosen.left_out["left_out"]))
    OUT.print(
        f"{told['films']} films: {told['made']} decoded, {told['known']} known before; {told['bytes'] / 1e6:.1f} MB "
        f"of {told['size_px']}-pixel frames in {told['folder']}",
        highlight=False,
        soft_wrap=True,
    )


def _filled(chosen: "Index", preprocess: "Preprocess", machines: Machines) -> dict[str, Any]:
    """Decode what is missing, and tell how much that was."""
    from hilum.cache import FrameCache

    frames = FrameCache(preprocess)
    with spread_on(machines) as spread, watch("decode films") as progress:
        made = frames.fill(
            chosen.films, chosen.root.resolve(), processes=machines.processes, progress=progress, spread=spread
        )
    films = len(set(frames.view(chosen.films, chosen.root).rows.tolist()))
    return {
        "films": films,
        "made": made,
        "known": films - made,
        "bytes": films * frames.frame_bytes,
        "size_px": preprocess.size_px,
        "folder": str(frames.folder),
    }

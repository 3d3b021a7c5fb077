"""Commands that fit networks: recipes, train, compare, reproduce."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hilum.cli.options import (
    AsJson,
    Backbone,
    Changes,
    Processes,
    Root,
    Weights,
    given_index,
    print_json,
    print_plain,
    told_changes,
)
from hilum.console import OUT, say_left_out, table, watch
from hilum.errors import unknown_name
from hilum.process import settle
from hilum.records import DISCLAIMER

recipes_app = typer.Typer()
KeepOut = Annotated[
    str | None,
    typer.Option(
        metavar="each|NAME,NAME",
        help="Train every run again without each source, or these, and score it there. Other domains: films.domain.",
    ),
]


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

    print_plain(recipe_text(name))


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, a TOML file, or a bundle to repeat.")],
    out: Annotated[Path, typer.Option(help="The run's folder; an interrupted run in it is continued.")],
    root: Annotated[Path | None, typer.Option(help="Folder the data sets lie in, as ROOT/NAME.")] = None,
    index_file: Annotated[Path | None, typer.Option("--index", help="Use this index; the recipe then selects.")] = None,
    backbone: Backbone = None,
    weights: Weights = None,
    changes: Changes = None,
    processes: Processes = None,
) -> None:
    """Index, split, train, evaluate, bundle, report.

    Example: `hilum train demo --root DATA --out RUN`
    """
    settle()
    from hilum.index import counted
    from hilum.recipe import changed
    from hilum.report.pages import write_run_report
    from hilum.run import find_recipe, train_run
    from hilum.train import is_leader

    given = given_index(root, index_file)
    text = changed(find_recipe(recipe), told_changes(backbone, weights, changes))
    run = train_run(text, root, out, given=given, processes=processes, watch=watch)
    if not is_leader():
        return
    say_left_out(counted(run.index.left_out["left_out"]))
    _say_result(run.folder)
    OUT.print(f"report: {write_run_report(run)}\nbundle: {run.folder / 'bundle'}", highlight=False, soft_wrap=True)


def _say_result(folder: Path) -> None:
    from hilum.audit.attached import known_of_run, line_of_run
    from hilum.evaluate import classification_report
    from hilum.report.tables import of_unseen
    from hilum.run import Run

    run = Run(folder)
    print_plain(f"\n{classification_report(run.evaluation)}")
    if run.unseen is not None:
        grid = of_unseen(run.unseen)
        OUT.print(table(grid.caption, list(grid.head), grid.rows))
    print_plain(f"\n{line_of_run(run.evaluation, known_of_run(run))}")
    OUT.print(Text(DISCLAIMER, style="dim"))


def compare(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE", help="Shipped names, TOML files, runs; the first is the yardstick.")
    ],
    out: Annotated[Path, typer.Option(help="The comparison's folder; its runs lie in OUT/runs and are continued.")],
    root: Annotated[Path | None, typer.Option(help="Folder the data sets lie in, as ROOT/NAME.")] = None,
    index_file: Annotated[Path | None, typer.Option("--index", help="Use this index; the recipes then select.")] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=A,B: every recipe once with each value; KEY=A: all with it; a part takes on,off; repeatable."
        ),
    ] = None,
    own_splits: Annotated[bool, typer.Option("--own-splits", help="Leave every recipe its own split.")] = False,
    keep_out: KeepOut = None,
    processes: Processes = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Train several recipes and variations, and put them side by side.

    Example: `hilum compare demo --vary network.pooling=avg,grid3 --root DATA --out DIR`
    """
    settle()
    from hilum.compare import (
        Without,
        as_dict,
        judge_runs,
        parse_keep_out,
        parse_vary,
        plan_variants,
        train_variants,
        train_without,
    )
    from hilum.report.comparison import format_comparison, with_verdicts, write_comparison
    from hilum.train import is_leader

    given = given_index(root, index_file)
    domains = parse_keep_out(keep_out) if keep_out is not None else None
    alone = keep_out is not None
    variants = plan_variants(recipes, parse_vary(vary or []), own_splits=own_splits, alone=alone)
    runs = train_variants(variants, root, out, given=given, processes=processes, watch=watch)
    kept: list[list[Without]] = []
    if keep_out is not None:
        kept = train_without(variants, runs, root, out, domains=domains, given=given, processes=processes, watch=watch)
    if not is_leader():
        return
    comparison = with_verdicts(judge_runs(variants, runs, kept))
    page = write_comparison(comparison, out)
    if as_json:
        print_json(as_dict(comparison))
        return
    OUT.print(format_comparison(comparison))
    OUT.print(Text(f"\n{DISCLAIMER}", style="dim"))
    OUT.print(f"page: {page}\ntable: {page.with_suffix('.csv')}", highlight=False, soft_wrap=True)


def reproduce(
    root: Root,
    out: Annotated[Path, typer.Option(help="Folder of the runs; finished ones are not run again.")],
    page: Annotated[Path | None, typer.Option(help="Write the page here; default OUT/reproduction.md.")] = None,
    system: Annotated[list[str] | None, typer.Option(help="Only figures of this reference system; repeatable.")] = None,
    processes: Processes = None,
) -> None:
    """Run what the reference systems published, and put ours beside it.

    Example: `hilum reproduce --root DATA --out DIR --system rovai`
    """
    settle()
    from hilum.files import write_text, written_aside
    from hilum.provenance import describe_machine
    from hilum.reproduce import load_published, reproduce, reproduction_page, reproduction_table
    from hilum.train import is_leader

    rows = load_published()
    names = {row.system.partition(" ")[0] for row, _, _ in rows}
    for name in system or []:
        if name not in names:
            raise unknown_name("reference system", name, sorted(names))
    wanted = [told for told in rows if not system or told[0].system.partition(" ")[0] in system]
    outcomes = reproduce(wanted, root, out, processes=processes, watch=watch)
    if not is_leader():
        return
    path = page or out / "reproduction.md"
    write_text(path, reproduction_page(outcomes, describe_machine()))
    with written_aside(out / "reproduction.csv") as aside:
        reproduction_table(outcomes).to_csv(aside, index=False)
    made = sum(outcome.ours is not None for outcome in outcomes)
    OUT.print(f"{made} of {len(outcomes)} figures: {path}", highlight=False, soft_wrap=True)

"""A comparison for readers, on a page and in a terminal: runs side by side, nothing ranked by a test score."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup
from rich.console import Group, RenderableType
from rich.text import Text

from hilum.audit.attached import audit_of
from hilum.compare import MEASURES, Compared, Comparison, comparison_table, difference_text
from hilum.console import table
from hilum.errors import DataError
from hilum.evaluate import Score, spelt
from hilum.files import write_text, written_aside
from hilum.report import comparison_figures as figures
from hilum.report import comparison_kept as kept
from hilum.report.comparison_dots import kept_figure
from hilum.report.html import Plot, render
from hilum.report.pages import write_run_report
from hilum.report.tables import Grid
from hilum.report.wording import figure, headline, interval, metric_name
from hilum.run import Run

PAGE, TABLE = "comparison.html", "comparison.csv"


def with_verdicts(comparison: Comparison) -> Comparison:
    """The comparison with the verdict of each run's audit, where there is one of these very figures."""
    rows, notes = [], list(comparison.notes)
    for row in comparison.rows:
        try:
            audit = audit_of(row.run)
        except DataError as error:
            audit = None
            notes.append(f"The audit of {row.variant.name} is not shown: {error}.")
        rows.append(replace(row, verdict=audit.verdict.value if audit else None))
    return replace(comparison, rows=tuple(rows), notes=tuple(notes))


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write the table, the page, and the report of every run that has none yet; returns the page's path."""
    for row in comparison.rows:
        if not _is_reported(row.run):
            write_run_report(row.run)
    with written_aside(out / TABLE) as aside:
        comparison_table(comparison).to_csv(aside, index=False)
    write_text(out / PAGE, comparison_page(comparison, out))
    return out / PAGE


def _is_reported(run: Run) -> bool:
    page, account = run.folder / "report.html", run.folder / "run.json"
    return page.is_file() and page.stat().st_mtime_ns >= account.stat().st_mtime_ns


def format_comparison(comparison: Comparison) -> RenderableType:
    """The comparison for a terminal: scores, how the runs were made, the spread over seeds, what to bear in mind."""
    names = comparison.names
    scores = [
        (names[row.variant.name], *(_below(spelt(row.scores[m])) for m in MEASURES), _below(difference_text(row)))
        for row in comparison.rows
    ]
    made = [
        (
            names[row.variant.name] + (" (chosen on tune)" if row.variant.name == comparison.chosen else ""),
            f"{row.evaluation.n_films} ({row.evaluation.n_groups})",
            "-" if row.tune_loss is None else f"{row.tune_loss:.3f}",
            row.weights.partition(":")[0],
            f"{row.trained:,}\nof {row.parameters:,}",
            f"{row.seconds:.0f}",
        )
        for row in comparison.rows
    ]
    head = ("run", "accuracy", "macro F1", _area(comparison), "difference to the first")
    more = ("run", "films (groups)", "tune loss", "weights", "parameters", "seconds")
    parts: list[RenderableType] = [kept.evidence_table(comparison, _area(comparison)), ""]
    parts += [kept.domains_table(comparison), ""] if comparison.kept_domains else []
    parts += [table("", head, scores, right=head[1:]), "", table("", more, made, right=more[-2:])]
    for spread in comparison.seeds:
        told = [f"{_measure(comparison, m)} {mean:.3f} ± {spread.deviation[m]:.3f}" for m, mean in spread.mean.items()]
        whose = f"{comparison.name_of(spread)}, seeds {', '.join(map(str, spread.seeds))}"
        parts.append(Text(f"\n{whose}: mean ± standard deviation {', '.join(told)}"))
    if comparison.choice:
        best = f"Chosen on kept-out domains: {names[comparison.choice.best]}."
        parts.append(Text(f"\n{best} {kept.choice_text(comparison.choice)}"))
    return Group(*parts, *(Text(f"\n{note}") for note in comparison.notes))


def _below(text: str) -> str:
    """The interval under its figure, so that a narrow terminal has room for several."""
    return text.replace(" [", "\n[")


def comparison_page(comparison: Comparison, folder: Path) -> str:
    """The page, to be written into `folder`: its links to the runs' own reports are relative to it."""
    names = {run: _unbroken(name) for run, name in comparison.names.items()}
    chosen = next((row for row in comparison.rows if row.variant.name == comparison.chosen), None)
    return render(
        "comparison.html.j2",
        title="One run, inside and kept out" if len(names) == 1 else f"{len(names)} runs side by side",
        comparison=comparison,
        first=names[comparison.rows[0].variant.name],
        chosen=chosen,
        top=headline(chosen.evaluation) if chosen else None,
        names=names,
        films=_films(comparison),
        plots=_plots(comparison),
        evidence=kept.evidence_grid(comparison, _links(comparison, names, folder), _area(comparison)),
        kept=kept.domains_grid(comparison, names),
        choice=kept.choice_grid(comparison, names),
        choice_text=kept.choice_text(comparison.choice) if comparison.choice else "",
        scores=_scores(comparison, names),
        training=_training(comparison, names),
        seeds=_seeds(comparison),
    )


def _unbroken(name: str) -> str:
    """A run's name, whose lines break between what was varied and not within it."""
    return name.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def _films(comparison: Comparison) -> str:
    told = {(row.evaluation.n_films, row.evaluation.n_groups) for row in comparison.rows}
    if len(told) > 1:
        return "The runs tested different films"
    films, groups = told.pop()
    return f"{'Each tested' if len(comparison.rows) > 1 else 'Tested'} on n = {films:,} films of {groups:,} groups"


def _area(comparison: Comparison) -> str:
    """What the area under the curve is called: AUROC, macro AUROC, or both where runs differ in classes."""
    found = [row.scores["auroc"] for row in comparison.rows]
    return " / ".join(dict.fromkeys(metric_name(score.metric) for score in found if score)) or "AUROC"


def _measure(comparison: Comparison, measure: str) -> str:
    return _area(comparison) if measure == "auroc" else metric_name(measure)


def _plots(comparison: Comparison) -> dict[str, Plot]:
    """Every figure there are data for."""
    rows, area = comparison.rows, _area(comparison)
    by_name = dict(zip(figures.drawn_names(list(comparison.names.values())), rows, strict=True))
    drawn = {}
    if comparison.kept_domains:
        drawn["kept"] = kept_figure(by_name, comparison.kept_domains, area, name="kept")
    histories = {name: row.run.history for name, row in by_name.items()}
    if any(history["tune_loss"].notna().any() for history in histories.values()):
        drawn["overlay"] = figures.learning_overlay(histories)
    curves = {name: [c for c in row.evaluation.curves if c.kind == "roc"] for name, row in by_name.items()}
    curves = {name: found for name, found in curves.items() if found}
    if curves:
        drawn["roc"] = figures.roc_overlay(curves, {name: by_name[name].scores["auroc"] for name in curves}, name="roc")
    scores = {measure: {name: row.scores[measure] for name, row in by_name.items()} for measure in MEASURES}
    floors = {name: row.floor.value for name, row in by_name.items() if row.floor}
    drawn["floors"] = figures.score_forest(scores["auroc"], floors, area, name="floors")
    for measure in ("accuracy", "macro_f1"):
        drawn[measure] = figures.score_forest(scores[measure], {}, metric_name(measure), name=measure.replace("_", "-"))
    paired = {name: row.differences["auroc"] for name, row in by_name.items() if row.differences}
    if paired:
        drawn["differences"] = figures.difference_forest(paired, area, next(iter(by_name)), name="differences")
    return {name: Plot(svg=Markup(text), caption=_CAPTIONS[name]) for name, text in drawn.items()}  # noqa: S704


_CAPTIONS = {
    "kept": "Each run inside and on every domain it was kept from, with the mean over domains and its 95 % interval; "
    "what lies in the tinted band is reached inside without a look at a lung.",
    "overlay": "Tune loss and tune accuracy by epoch, the mean of a run's divisions while all of them run; a dot marks "
    "the lowest tune loss.",
    "roc": "Receiver operating characteristic of each run on its tested films: of two classes the positive one's, of "
    "more the mean over classes at equal specificity.",
    "floors": "Each run with its 95 % interval; what lies in the tinted band is reached on its own folds without a "
    "look at a lung.",
    "accuracy": "Accuracy with 95 % interval.",
    "macro_f1": "Macro F1 with 95 % interval.",
    "differences": "Paired differences with 95 % intervals: both runs on the same resamples of the same groups. An "
    "interval that meets the upright mark at zero is a difference that chance can make.",
}


def _scores(comparison: Comparison, names: Mapping[str, str]) -> Grid:
    rows = tuple(
        (
            names[row.variant.name],
            f"{row.evaluation.n_films:,}\n{row.evaluation.n_groups:,} groups",
            *(_cell(row.scores[measure]) for measure in MEASURES),
            _difference(row),
        )
        for row in comparison.rows
    )
    head = ("run", "films", "accuracy", "macro F1", _area(comparison), "difference to the first")
    note = "In brackets 95 % intervals from resampling groups."
    return Grid(caption="Scores inside, in the order asked for", head=head, rows=rows, note=note)


def _links(comparison: Comparison, names: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Run -> its name as a link to its report."""
    reports = {row.variant.name: row.run.folder / "report.html" for row in comparison.rows}
    return {
        run: Markup('<a href="{}">{}</a>').format(quote(report.relative_to(folder).as_posix()), names[run])
        for run, report in reports.items()
    }


def _cell(score: Score | None) -> str:
    return f"{figure(score.value)}\n{interval(score)}".rstrip() if score else "–"


def _difference(row: Compared) -> str:
    score = (row.differences or {}).get("auroc")
    return figures.signed_text(score).replace(" [", "\n[") if score else row.apart or "–"


def _training(comparison: Comparison, names: Mapping[str, str]) -> Grid:
    rows = tuple(
        (
            names[row.variant.name],
            row.weights,
            "–" if row.tune_loss is None else figure(row.tune_loss),
            "on tune" if row.variant.name == comparison.chosen else "",
            f"{row.trained:,}",
            f"{row.parameters:,}",
            f"{row.seconds:,.0f}",
            row.run.recipe.digest[:12],
        )
        for row in comparison.rows
    )
    head = ("run", "weights", "tune loss", "chosen", "parameters trained", "of all", "seconds", "recipe")
    note = "Tune loss at the best epoch, mean over divisions. Seconds of the whole run on the machine that trained it."
    return Grid(caption="How the runs were made", head=head, rows=rows, texts=2, note=note)


def _seeds(comparison: Comparison) -> Grid | None:
    """Mean and standard deviation over runs that differ in their seed alone."""
    if not comparison.seeds:
        return None
    rows = tuple(
        (
            _unbroken(comparison.name_of(spread)),
            ", ".join(map(str, spread.seeds)),
            *(
                f"{figure(spread.mean[measure])} ± {figure(spread.deviation[measure])}"
                if measure in spread.mean
                else "–"
                for measure in MEASURES
            ),
        )
        for spread in comparison.seeds
    )
    head = ("runs", "seeds", "accuracy", "macro F1", _area(comparison))
    note = "Spread of the draws of weights and order on one division of the films; the films' own chance is not in it."
    return Grid(caption="Mean ± standard deviation over seeds", head=head, rows=rows, texts=2, note=note)

"""Pages that need nothing beside them: no network, no script, no file; figures and films are inside.

Templates escape everything they are given; only the figures this package draws are let through as they are. Each page
carries a content policy under which a browser would refuse any request at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import hilum
from hilum.audit.result import Audit, headline
from hilum.describe import Description, left_out_by_reason
from hilum.evaluate import FOLDS, NOT_AUDITED, Evaluation
from hilum.evaluate import headline as evaluation_headline
from hilum.records import DISCLAIMER
from hilum.report import figures, tables, wording
from hilum.report.audit_tables import summary_grid
from hilum.report.cohort_figures import cohort_figures
from hilum.report.films import ExampleFilm, contact_sheet
from hilum.report.tables import Grid


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """All a run's page shows, in memory. What a run does not have stays empty, and the page says so."""

    title: str
    recipe_name: str
    recipe_toml: str
    evaluation: Evaluation
    sentence: str | None = None
    """What the headline means, in one sentence; None for the one that follows from score and floor."""
    headline: str | None = None
    """The one line of score, floor, unseen source and verdict; None for the one that follows from the evaluation."""
    verdict: str | None = None
    """The audit's verdict, such as `PASS`, `WARN`, `FAIL`; None before an audit."""
    audit: Audit | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    """`audit` and `explain` -> address of their page from the run's, where there is one."""
    description: Description | None = None
    split: pd.DataFrame | None = None
    """From `tables.split_counts`."""
    history: pd.DataFrame | None = None
    """repeat, epoch, train_loss, tune_loss, tune_accuracy; None where nothing was fitted by epochs."""
    predictions: pd.DataFrame | None = None
    """image_id, repeat, fold, reference, `p.<class>`."""
    examples: Sequence[ExampleFilm] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    left_out: pd.DataFrame | None = None
    """image_id and left_out, the reason."""
    unseen: pd.DataFrame | None = None
    """What films of classes never trained on are called: `run.unseen.COLUMNS`."""
    changed: Sequence[str] = ()
    """What the command line changed of the recipe, `key = value`."""
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A figure on a page, with what stands below it."""

    svg: Markup
    caption: str


def describe_page(description: Description, title: str) -> str:
    """The page of a cohort."""
    return render(
        "cohort.html.j2",
        title=title,
        description=description,
        plots=_cohort_plots(description),
        grids=_cohort_grids(description),
    )


def run_report(content: RunReport) -> str:
    """The page of a run: the headline first, never a bare score."""
    top = wording.headline(content.evaluation)
    drawn = run_figures(content)
    return render(
        "run.html.j2",
        title=content.title,
        run=content,
        top=top,
        beyond=_beyond(content.audit, top),
        line=content.headline or evaluation_headline(content.evaluation, content.verdict or NOT_AUDITED),
        sentence=content.sentence or top.sentence,
        figures={name: _run_plot(name, text, content) for name, text in drawn.items()},
        cohort=_cohort_plots(content.description) if content.description else [],
        grids=_run_grids(content),
        subgroups=[name for name in drawn if name.startswith("subgroups")],
        sheets=contact_sheet(content.examples),
        audited=headline(content.audit) if content.audit else None,
        provenance=tables.of_provenance(content.provenance),
    )


def _beyond(audit: Audit | None, top: wording.Headline) -> dict[str, str]:
    """What the audit adds to the figures of an evaluation: a higher floor, a score on unseen sources."""
    found = dict.fromkeys(("floor", "above", "unseen", "unseen_words"), "")
    if audit is None:
        return found
    if audit.floor and audit.above_floor is not None and audit.floor.value > ((top.floor and top.floor.value) or 0):
        found["floor"] = f"{wording.figure(audit.floor.value)} in the audit ({audit.floor.of})"
        found["above"] = f"{wording.signed(audit.above_floor)} over the audit's floor"
    if audit.unseen and not top.elsewhere:
        found["unseen"] = wording.figure(audit.unseen.value)
        whose = "a probe's, " if audit.of_a_probe else ""
        found["unseen_words"] = f"{wording.interval(audit.unseen)} {whose}n = {audit.unseen.n:,}"
    return found


def run_figures(content: RunReport) -> dict[str, str]:
    """Every figure of a run that it has data for: name -> SVG text, also to be written as files."""
    evaluation, scores = content.evaluation, content.evaluation.scores
    by_kind = {kind: [c for c in evaluation.curves if c.kind == kind] for kind in ("roc", "pr", "reliability")}
    drawn = {"floors": figures.floor_forest(evaluation)}
    if content.history is not None and len(content.history):
        drawn["learning"] = figures.learning_curves(content.history)
    if by_kind["roc"]:
        drawn["roc"] = figures.roc(by_kind["roc"], scores)
    if by_kind["pr"]:
        drawn["pr"] = figures.precision_recall(by_kind["pr"], scores)
    if by_kind["reliability"]:
        drawn["reliability"] = figures.reliability(by_kind["reliability"])
    if any(map(any, evaluation.confusion)):
        drawn["confusion"] = figures.confusion(evaluation.classes, evaluation.confusion)
    return drawn | _class_figures(content)


def _class_figures(content: RunReport) -> dict[str, str]:
    """One score distribution and one subgroup figure for each class judged against the rest."""
    evaluation, drawn = content.evaluation, {}
    for place, label in enumerate(_judged(evaluation)):
        if content.predictions is not None and len(content.predictions):
            points = [point for point in evaluation.operating_points if point.label == label]
            name = f"scores-{place}"
            drawn[name] = figures.score_distribution(content.predictions, label, points=points, name=name)
        forest = figures.subgroup_forest(evaluation, label, name=f"subgroups-{place}")
        if forest:
            drawn[f"subgroups-{place}"] = forest
    return drawn


def _judged(evaluation: Evaluation) -> tuple[str, ...]:
    """The classes judged one against the rest: of two only the first, the second being its mirror."""
    return evaluation.classes[:1] if len(evaluation.classes) == 2 else evaluation.classes


def _run_plot(name: str, text: str, content: RunReport) -> Plot:
    kind, _, place = name.partition("-")
    label = _judged(content.evaluation)[int(place)].replace("_", " ") if place else ""
    films = content.evaluation.n_films
    if kind == "scores" and content.predictions is not None:
        films = content.predictions["image_id"].nunique()
    n = "" if kind in ("learning", "subgroups") else f" n = {films:,} films."
    return Plot(svg=Markup(text), caption=_CAPTIONS[kind].format(label=label) + n)  # noqa: S704


_CAPTIONS = {
    "floors": "The network beside classifiers that never see a lung, on the same folds. Lines are 95 % intervals; "
    "what lies in the tinted band is reached without a look at a lung.",
    "learning": "Learning curves. Thin lines are divisions, thick lines their mean while all run; a dot marks the "
    "epoch with the lowest tune loss.",
    "roc": "Receiver operating characteristic by class, each against the rest, with AUROC and 95 % interval.",
    "pr": "Precision and recall by class, with average precision and 95 % interval; dotted lines mark the prevalence, "
    "which chance reaches.",
    "reliability": "Reliability: observed share against predicted probability, above the films in each bin.",
    "confusion": "Films by reference standard (rows) and most probable class (columns); percent of the row.",
    "scores": "Probability of {label} for each film, averaged over repeats, by reference class.",
    "subgroups": "AUROC of {label} by source and subgroup with 95 % intervals, n = films; the upright line marks "
    "everybody's.",
}

_COHORT_CAPTIONS = {
    "sources": "Where each label's films come from. A bar of one colour is a label that the source alone can tell.",
    "views": "Views of each label's films.",
    "sexes": "Sex of each label's patients, by film.",
    "ages": "Age by label, in decades, of the films that state it.",
    "manufacturers": "Manufacturer of each label's devices, by film. Bars that differ are a shortcut.",
    "missing": "Films without a value, by column.",
}


def _cohort_plots(description: Description) -> list[Plot]:
    drawn = cohort_figures(description)
    films = dict.fromkeys(drawn, description.n_films) | {"ages": description.age_years[-1].n}
    return [
        Plot(svg=Markup(text), caption=f"{_COHORT_CAPTIONS[name]} n = {films[name]:,} films.")  # noqa: S704
        for name, text in drawn.items()
    ]


def _cohort_grids(description: Description) -> dict[str, list[Grid]]:
    """The tables of a cohort by section."""
    count = tables.of_counts
    return {
        "Labels and sources": [count(description.labels, shares=True), count(description.sources)],
        "Patients": [
            count(description.ages),
            tables.of_ages(description),
            count(description.sexes),
            count(description.ages_by_sex),
            count(description.films_per_patient),
        ],
        "Acquisition": [
            count(description.views),
            tables.of_dates(description),
            count(description.manufacturers),
            count(description.devices),
        ],
        "Files": [count(description.formats), count(description.image_sizes), tables.of_pixels(description)],
        "Gaps": [count(description.missing), tables.of_left_out(description.left_out)],
    }


def _run_grids(content: RunReport) -> dict[str, list[Grid]]:
    """The tables of a run by section; empty ones are dropped."""
    evaluation = content.evaluation
    folds = [fold for fold in FOLDS if any(score.fold == fold for score in evaluation.scores)]
    left_out = left_out_by_reason(content.left_out) if content.left_out is not None else ()
    grids = {
        "floors": [tables.of_floors(evaluation)],
        "data": [
            tables.of_counts(content.description.labels, shares=True),
            tables.of_counts(content.description.sources),
        ]
        if content.description
        else [],
        "left_out": [tables.of_left_out(left_out)],
        "split": [tables.of_split(content.split, evaluation.classes)]
        if content.split is not None and len(content.split)
        else [],
        "results": [
            table(evaluation, fold)
            for fold in folds
            for table in (tables.of_overall, tables.of_classes, tables.of_points)
        ],
        "calibration": [
            table(evaluation, fold) for fold in folds for table in (tables.of_calibration, tables.of_class_calibration)
        ],
        "parts": [tables.of_parts(evaluation)],
        "unseen": [tables.of_unseen(content.unseen)] if content.unseen is not None else [],
        "audit": [summary_grid(content.audit, {})] if content.audit is not None else [],
    }
    return {section: [grid for grid in found if grid.rows] for section, found in grids.items()}


def render(template: str, **content: Any) -> str:
    """A page from a template of this package, everything in `content` escaped but `Markup`."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hilum.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(disclaimer=DISCLAIMER, version=hilum.__version__)
    environment.filters.update(
        figure=wording.figure,
        interval=wording.interval,
        signed=wording.signed,
        metric=wording.metric_name,
        floor=wording.floor_name,
        percent=wording.percent,
    )
    return environment

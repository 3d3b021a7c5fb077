"""What a comparison says of inside score, floor, kept-out domains and audit: tables for a page and for a terminal."""

from collections.abc import Mapping

from rich.table import Table

from hilum.compare import FEWEST_GROUPS, NOT_AUDITED, Choice, Compared, Comparison, Kept, signed_text
from hilum.console import table
from hilum.evaluate import Score, spelt
from hilum.report.comparison_figures import signed_text as signed_page_text
from hilum.report.tables import Grid
from hilum.report.wording import figure, floor_name, interval, metric_name, score_text, signed

NOTHING = "not measured"


def evidence_table(comparison: Comparison, area: str) -> Table:
    """For a terminal: every run's inside score, floor, mean over kept-out domains and verdict."""
    rows = [
        (
            _name(comparison, row),
            _below(spelt(row.scores["auroc"])),
            f"{row.floor.value:.3f}\n{row.floor.metric.removeprefix('floor.')}" if row.floor else "-",
            "-" if row.above is None else f"{row.above:+.3f}",
            _below(spelt(row.kept.mean)) if row.kept else NOTHING,
            _below(signed_text(row.kept.difference if row.kept else None)),
            row.verdict or NOT_AUDITED,
        )
        for row in comparison.rows
    ]
    head = ("run", f"inside {area}", "floor", "above it", "kept out, mean", "difference", "audit")
    return table("", head, rows, right=head[1:-1])


def domains_table(comparison: Comparison) -> Table:
    """For a terminal: every run on every domain it was kept from."""
    domains = comparison.kept_domains
    rows = [(_name(comparison, row), *(_below(_plain(row, domain)) for domain in domains)) for row in comparison.rows]
    head = ("kept from", *domains)
    return table("", head, rows, right=domains)


def _name(comparison: Comparison, row: Compared) -> str:
    return comparison.names[row.variant.name] + (" (control)" if row.control else "")


def _below(text: str) -> str:
    """The interval under its figure, so that a narrow terminal has room for several."""
    return text.replace(" [", "\n[")


def _plain(row: Compared, domain: str) -> str:
    part = row.kept.find(domain) if row.kept else None
    if part is None or part.without.run is None:
        return "-"
    shares = (f"{_share(share)} {spelt(share)}" for share in part.shares)
    return spelt(part.area) if part.area else "\n".join(shares) or "too few"


def _share(share: Score) -> str:
    """`specificity`, or of several classes `recall of a class`."""
    return metric_name(share.metric) if share.at else f"recall of {share.label}"


def evidence_grid(comparison: Comparison, links: Mapping[str, str], area: str) -> Grid:
    """Inside score, floor, what is above it, mean over kept-out domains, and the audit's verdict: always together."""
    rows = tuple(
        (
            links[row.variant.name],
            _cell(row.scores["auroc"]),
            f"{figure(row.floor.value)}\n{floor_name(row.floor)}" if row.floor else NOTHING,
            signed(row.above) if row.above is not None else "–",
            _cell(row.kept.mean) if row.kept else NOTHING,
            _difference(row, comparison.domains),
            (row.verdict or NOT_AUDITED) + ("\ncontrol, never chosen" if row.control else ""),
        )
        for row in comparison.rows
    )
    head = (
        "run (its report)",
        f"{area} inside",
        "floor",
        "above the floor",
        "kept out, mean",
        "difference, kept out",
        "audit",
    )
    return Grid(caption="Inside, floor, kept out, audit", head=head, rows=rows, note=_evidence_note(comparison))


def _evidence_note(comparison: Comparison) -> str:
    note = (
        "In brackets 95 % intervals from resampling groups. Floor: the highest reached inside without a look at a lung."
    )
    if not comparison.kept_domains:
        return f"{note} Kept out: measured with --keep-out each."
    over = ", ".join(comparison.domains) or "no domain that every run has an AUROC for"
    return (
        f"{note} Kept out: trained and tuned without a domain and scored there, the mean over {over}, each domain "
        "counting the same. Difference: to the first run's mean, on the same resamples of the same films."
    )


def _cell(score: Score | None) -> str:
    return f"{figure(score.value)}\n{interval(score)}".rstrip() if score else "–"


def _difference(row: Compared, domains: tuple[str, ...]) -> str:
    """The paired difference of the means, and in which domains where it is not all of them."""
    if row.kept is None or row.kept.difference is None:
        return "–"
    told = signed_page_text(row.kept.difference).replace(" [", "\n[")
    return told if row.kept.paired == domains else f"{told}\nin {', '.join(row.kept.paired)}"


def domains_grid(comparison: Comparison, names: Mapping[str, str]) -> Grid | None:
    """Every run on every domain it was kept from; None where none was kept out."""
    domains = comparison.kept_domains
    if not domains:
        return None
    rows = tuple(
        (
            names[row.variant.name],
            *(_domain(row.kept.find(domain) if row.kept else None) for domain in domains),
            _cell(row.kept.mean) if row.kept else "–",
        )
        for row in comparison.rows
    )
    note = (
        f"A domain with fewer than {FEWEST_GROUPS} groups of a class has no AUROC: how often films of its other class "
        "are called right at the run's threshold stands in its place and is not averaged."
    )
    return Grid(caption="Domain by domain", head=("run", *domains, "mean"), rows=rows, note=note)


def _domain(part: Kept | None) -> str:
    if part is None or part.without.run is None:
        return "not trained" if part else "–"
    shares = [f"{_share(share)}\n{_cell(share)}" for share in part.shares]
    told = [_cell(part.area)] if part.area else shares or ["too few groups"]
    return "\n".join([*told, f"{part.films:,} films, {part.groups:,} groups"])


def choice_text(choice: Choice) -> str:
    """What a choice by kept-out domains is worth, in two sentences."""
    return (
        f"It has the highest mean over domains it was kept from, {score_text(choice.mean)}, an optimistic figure: "
        f"these domains chose it. A choice on the other domains reaches {score_text(choice.nested)} on one that had no "
        "part in it: report that."
    )


def choice_grid(comparison: Comparison, names: Mapping[str, str]) -> Grid | None:
    """Which run the other domains choose for each domain, and what it reaches there."""
    if comparison.choice is None:
        return None
    told = comparison.choice
    rows = [(domain, names[run], figure(value)) for domain, (run, value) in told.by_domain.items()]
    rows.append(("mean", "", f"{figure(told.nested.value)}\n{interval(told.nested)}".rstrip()))
    return Grid(
        caption="Chosen on the other domains",
        head=("domain", "best on the others", "reaches here"),
        rows=tuple(rows),
        texts=2,
        note="The interval chooses anew in every resample.",
    )

"""The page of a comparison with kept-out domains: what stands together, and what is never averaged."""

import dataclasses
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from rich.console import Console

from hilum.compare import Choice, Compared, Comparison, Kept, KeptOut, Variant, Without, judge_runs
from hilum.errors import DataError
from hilum.evaluate import Score
from hilum.report import comparison as pages
from hilum.report.comparison import comparison_page, format_comparison, with_verdicts
from hilum.report.comparison_dots import kept_figure
from hilum.run import Run

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("one", "two", "three")


def score(value: float, n: int = 40) -> Score:
    return Score(metric="auroc", value=value, low=value - 0.1, high=value + 0.05, n=n, label="patch", fold="external")


def part(run: Run, domain: str, value: float | None = None, *, failed: str = "") -> Kept:
    made = Without(Variant(f"v-without-{domain}", "v", ""), domain, None if failed else run, failed)
    share = dataclasses.replace(score(0.4321, n=226), metric="specificity", at="youden")
    area = None if value is None else score(value)
    return Kept(without=made, films=45, groups=40, area=area, shares=() if area or failed else (share,))


@pytest.fixture(scope="module")
def folder(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("comparison")
    for name in NAMES:
        shutil.copytree(finished, out / "runs" / name)
    return out


@pytest.fixture(scope="module")
def compared(folder: Path) -> Comparison:
    """Three runs: the second is paired in one domain only, the third could not be kept from one and is a control."""
    runs = [Run(folder / "runs" / name) for name in NAMES]
    judged = judge_runs([Variant(name, name, "") for name in NAMES], runs)
    one = KeptOut(
        parts=(part(runs[0], "rome", 0.71), part(runs[0], "graz", 0.62), part(runs[0], "bonn")), mean=score(0.665)
    )
    two = dataclasses.replace(one, difference=score(0.0421), paired=("rome",), mean=score(0.7071))
    three = KeptOut(parts=(part(runs[2], "rome", failed="the train fold has no film"),))
    rows = [dataclasses.replace(row, kept=kept) for row, kept in zip(judged.rows, (one, two, three), strict=True)]
    rows[0] = dataclasses.replace(rows[0], verdict="FAIL")
    rows[2] = dataclasses.replace(rows[2], control=True)
    choice = Choice(best="two", mean=score(0.7071), nested=score(0.6543), by_domain={"rome": ("one", 0.71)})
    return dataclasses.replace(judged, rows=tuple(rows), domains=("graz", "rome"), choice=choice)


@pytest.fixture(scope="module")
def page(compared: Comparison, folder: Path) -> str:
    return comparison_page(compared, folder).replace("\N{NO-BREAK SPACE}", " ")


def cells(page: str, caption: str) -> list[list[str]]:
    """The rows of the table with that caption."""
    grid = page[page.index(f"<caption>{caption}") :]
    rows = re.findall(r"<tr>(.*?)</tr>", grid[: grid.index("</table>")], re.DOTALL)
    return [
        [re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def test_inside_floor_kept_out_and_verdict_stand_in_one_row(page: str, compared: Comparison) -> None:
    _, one, two, three = cells(page, "Inside, floor, kept out, audit")
    floor = compared.rows[0].floor
    assert floor is not None
    assert one[2].startswith(f"{floor.value:.3f}")
    assert one[4].startswith("0.665")
    assert two[4:6] == ["0.707\n[0.607–0.757]", "+0.042\n[−0.058 to +0.092]\nin rome"]
    assert (one[6], two[6]) == ("FAIL", "not audited")
    assert three[4:] == ["–", "–", "not audited\ncontrol, never chosen"]


def test_every_domain_has_its_films_and_groups(page: str) -> None:
    head, one, _, three = cells(page, "Domain by domain")
    assert head == ["run", "rome", "graz", "bonn", "mean"]
    assert one[1] == "0.710\n[0.610–0.760]\n45 films, 40 groups"
    assert one[3] == "specificity\n0.432\n[0.332–0.482]\n45 films, 40 groups"
    assert three[1:] == ["not trained", "–", "–", "–"]


def test_the_honest_figure_of_the_choice_stands_beside_the_optimistic_one(page: str) -> None:
    assert "Chosen on kept-out domains: two" in page
    assert "0.707 [0.607–0.757], an optimistic figure" in page
    assert cells(page, "Chosen on the other domains")[1] == ["rome", "one", "0.710"]
    assert cells(page, "Chosen on the other domains")[2][2].startswith("0.654")


def test_every_contents_link_has_its_place_and_ids_are_unique(page: str) -> None:
    targets = re.findall(r'<a href="#([^"]+)"', page)
    assert {"evidence", "kept", "scores", "training"} <= set(targets)
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert set(targets) <= set(ids)
    assert len(ids) == len(set(ids))


def test_without_kept_out_domains_the_page_says_so(compared: Comparison, folder: Path) -> None:
    rows = tuple(dataclasses.replace(row, kept=None) for row in compared.rows)
    page = comparison_page(dataclasses.replace(compared, rows=rows, domains=(), choice=None), folder)
    assert 'id="kept"' not in page
    assert cells(page, "Inside, floor, kept out, audit")[1][4] == "not measured"
    assert "--keep-out each" in page


def test_one_run_alone_has_a_page(compared: Comparison, folder: Path) -> None:
    page = comparison_page(dataclasses.replace(compared, rows=compared.rows[:1], choice=None), folder)
    assert "One run, inside and kept out" in page
    assert "Differences are to the first" not in page


def test_the_figure_draws_a_dot_a_domain_and_none_for_a_share(compared: Comparison) -> None:
    rows: dict[str, Compared] = dict(zip(NAMES, compared.rows, strict=True))
    tree = ET.fromstring(kept_figure(rows, compared.kept_domains, "AUROC", name="kept"))
    told = " | ".join("".join(text.itertext()) for text in tree.iter(f"{SVG}text"))
    for said in ("inside", "kept out, mean", "rome", "graz", "one", "two", "three", "0.665", "no mean"):
        assert said in told
    assert "bonn" not in told


def test_the_terminal_shows_the_same(compared: Comparison) -> None:
    console = Console(width=140, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(format_comparison(compared))
    told = " ".join(captured.get().split())
    for said in ("three (control)", "FAIL", "specificity 0.432", "Chosen on kept-out domains: two.", "0.654"):
        assert said in told


def test_an_audit_that_is_not_of_the_run_is_said(compared: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row.verdict for row in with_verdicts(compared).rows] == [None] * 3

    def refuse(run: Run) -> None:
        if run.folder.name == "two":
            raise DataError("audit.json is of other films")

    monkeypatch.setattr(pages, "audit_of", refuse)
    told = with_verdicts(compared)
    assert told.notes[-1] == "The audit of two is not shown: audit.json is of other films."

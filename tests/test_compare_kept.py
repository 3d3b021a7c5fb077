"""Runs kept from a domain: what they are trained on, what they are worth, and which choice they allow."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from typer.testing import CliRunner

from hilum import metrics, scoring
from hilum.cli import app
from hilum.compare import (
    Comparison,
    Kept,
    KeptOut,
    Variant,
    Without,
    as_dict,
    comparison_table,
    judge_runs,
    parse_keep_out,
    plan_variants,
    train_variants,
    train_without,
)
from hilum.compare.kept import choose, common_domains, kept_out
from hilum.compare.planning import without
from hilum.errors import UsageError
from hilum.fitting import Fitter
from hilum.index import Index, build_index
from hilum.recipe import parse_recipe
from hilum.records import Radiograph
from hilum.run import Run
from hilum.scoring import Predicted, Score

SITES = ("east", "north", "south")
POOLING = {"network.pooling": ("grid3", "flatten")}
RECIPE_END = """
[films]
domain = "attr.site"
"""


def draw(path: Path, seed: int, *, corner: str | None) -> None:
    """A film that looks like no other, with a bright square upper left (the disease) or a dark one below (a marker)."""
    rng = np.random.default_rng(seed)
    film = cv2.resize(rng.random((9, 9)), (80, 80), interpolation=cv2.INTER_CUBIC) * 0.4 + 0.25
    if corner is not None:
        top, left = rng.integers(6, 16, 2) if corner == "disease" else rng.integers(50, 56, 2)
        film[top : top + 22, left : left + 22] = 0.97 if corner == "disease" else 0.02
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.rint(np.clip(film, 0, 1) * 255).astype(np.uint8))


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Three sites of 30 films: in north a marker gives the class away and there is no disease to see. A fourth, west,
    has films of one class only, and one film of east is of a patient of north."""
    root = tmp_path_factory.mktemp("sites")
    records = []
    for number in range(102):
        site = SITES[number % 3] if number < 90 else "west"
        patch = number < 90 and number // 3 % 2 == 0
        path = root / "drawn" / f"{number:03d}.png"
        draw(path, number, corner=None if not patch else "marker" if site == "north" else "disease")
        patient = "p001" if number == 3 else f"p{number:03d}"
        records.append(
            Radiograph(
                image_id=f"drawn/{number:03d}",
                source="drawn",
                path=path,
                patient_id=patient,
                labels={"patch": patch, "plain": not patch},
                attributes={"site": site},
            )
        )
    return build_index(records, root, processes=1)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: str) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    file.write_text(tiny_recipe.replace("folds = 3", "folds = 2") + RECIPE_END, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def variants(recipe: Path) -> list[Variant]:
    return plan_variants([str(recipe)], POOLING)


@pytest.fixture(scope="module")
def runs(variants: list[Variant], sites: Index, out: Path) -> list[Run]:
    return train_variants(variants, None, out, given=sites, processes=1)


@pytest.fixture(scope="module")
def kept(variants: list[Variant], runs: list[Run], sites: Index, out: Path) -> list[list[Without]]:
    return train_without(variants, runs, None, out, given=sites, processes=1)


@pytest.fixture(scope="module")
def compared(variants: list[Variant], runs: list[Run], kept: list[list[Without]]) -> Comparison:
    return judge_runs(variants, runs, kept)


def value(score: Score | None) -> float:
    assert score is not None
    assert score.value is not None
    return score.value


def test_names_are_read_with_commas_in_quotes_and_each_is_none() -> None:
    assert parse_keep_out("each") is None
    assert parse_keep_out(' nih, "Hannover, Germany"') == ("nih", "Hannover, Germany")
    for wrong in ("", " ", "a,,b", "a,a"):
        with pytest.raises(UsageError, match="--keep-out takes 'each' or NAME,NAME"):
            parse_keep_out(wrong)


def test_a_run_without_a_domain_trains_once_and_tests_nothing_inside(recipe: Path) -> None:
    (first, _) = plan_variants([str(recipe)], {"split.seeds": ("[3, 4]",), **POOLING})
    made = without(first, "Graz, Austria")
    split = parse_recipe(made.text).split
    assert (split.method, split.test, split.seeds) == ("fractions", 0.0, (3,))
    assert split.hold_out_domains == ("Graz, Austria",)
    assert made.name == f"{first.name}-without-Graz-Austria"
    assert parse_recipe(made.text).network == parse_recipe(first.text).network


def test_a_run_alone_is_planned_where_a_domain_is_kept_out(recipe: Path) -> None:
    with pytest.raises(UsageError, match="one run is no comparison"):
        plan_variants([str(recipe)])
    assert len(plan_variants([str(recipe)], alone=True)) == 1


def test_days_held_out_for_good_are_not_trained_on_either(recipe: Path) -> None:
    (first, _) = plan_variants([str(recipe)], {"split.hold_out_from": ("2020-03-01",), **POOLING})
    split = parse_recipe(without(first, "north").text).split
    assert (str(split.hold_out_from), split.hold_out_as) == ("2020-03-01", "external")


def test_what_is_kept_out_is_external_and_no_group_of_it_is_trained_on(kept: list[list[Without]]) -> None:
    assert [one.domain for one in kept[0]] == [*SITES, "west"]
    for one in (one for row in kept for one in row):
        assert one.run is not None
        films = one.run.index.films.set_index("image_id")
        table = one.run.splits[0].table.set_index("image_id")
        theirs = films["attr.site"] == one.domain
        assert (table["fold"][theirs[theirs].index] == "external").all()
        seen = table[table["fold"].isin(["train", "tune"])]
        assert not set(seen["group_id"]) & set(films["group_id"][theirs])
        assert set(one.run.predictions["fold"]) == {"external"}
        assert one.run.evaluation.floors == ()
    north = next(one.run for one in kept[0] if one.domain == "north")
    assert north is not None
    assert north.splits[0].table.set_index("image_id").loc["drawn/003", "fold"] == "unused"


def test_the_floor_of_who_only_knows_the_source_is_that_of_the_domain(runs: list[Run]) -> None:
    (floor,) = (floor for floor in runs[0].evaluation.floors if floor.metric == "floor.source")
    assert set(runs[0].index.films["source"]) == {"drawn"}
    assert 0.4 < value(floor) < 0.75  # west has films of one class only, the others as many of each


def test_a_shortcut_of_one_site_falls_there_and_nowhere_inside(compared: Comparison) -> None:
    for row in compared.rows:
        assert row.kept is not None
        inside, found = value(row.scores["auroc"]), {part.domain: part for part in row.kept.parts}
        assert inside > 0.9
        assert value(found["north"].area) < 0.75
        assert min(value(found["east"].area), value(found["south"].area)) > 0.9
        assert value(row.kept.mean) < inside
        assert value(row.kept.mean) == pytest.approx(np.mean([value(found[name].area) for name in SITES]))
    assert compared.domains == SITES


def test_a_domain_of_one_class_has_a_specificity_and_no_part_in_the_mean(compared: Comparison) -> None:
    for row in compared.rows:
        assert row.kept is not None
        west = row.kept.find("west")
        assert west is not None
        assert west.area is None
        (share,) = west.shares
        assert (share.metric, share.n, west.films, west.groups) == ("specificity", 12, 12, 12)
        run = west.without.run
        assert run is not None
        table = run.predictions
        assert share.value == (table["p.patch"] < table["t.patch.youden"]).mean()
    assert any("Too few groups of a class, so no AUROC, in: west" in note for note in compared.notes)


def test_the_figure_of_a_domain_is_that_of_its_run_s_own_report(compared: Comparison) -> None:
    for part in compared.rows[0].kept.parts[:3] if compared.rows[0].kept else ():
        assert part.without.run is not None
        theirs = scoring.find_score(part.without.run.evaluation.scores, "auroc", label="patch", fold="external")
        assert value(part.area) == value(theirs)


def test_the_difference_is_that_of_the_means_on_the_same_draws(compared: Comparison) -> None:
    first, other = (row.kept for row in compared.rows)
    assert first is not None
    assert other is not None
    assert first.difference is None
    assert other.paired == SITES
    assert value(other.difference) == pytest.approx(value(other.mean) - value(first.mean))


def test_again_trains_nothing(
    variants: list[Variant],
    runs: list[Run],
    kept: list[list[Without]],
    sites: Index,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(Fitter, "fit", none)
    again = train_without(variants, runs, None, out, domains=["south"], given=sites, processes=1)
    assert [[one.domain for one in row] for row in again] == [["south"], ["south"]]
    assert again[0][0].run == kept[0][2].run


def test_without_an_index_given_the_inside_run_s_own_is_used(
    variants: list[Variant], runs: list[Run], kept: list[list[Without]], sites: Index, out: Path
) -> None:
    again = train_without(variants[:1], runs[:1], sites.root, out, domains=["south"], processes=1)
    assert again[0][0].run == kept[0][2].run


def test_what_cannot_be_kept_out_is_said(
    variants: list[Variant], runs: list[Run], sites: Index, drawn: Index, recipe: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"unknown domain 'noth'; did you mean 'north'\?"):
        train_without(variants, runs, None, tmp_path, domains=["noth"], given=sites, processes=1)
    plain = tmp_path / "plain.toml"
    plain.write_text(recipe.read_text(encoding="utf-8").replace("attr.site", "source"), encoding="utf-8")
    alone = plan_variants([str(plain)], POOLING)[:1]
    inside = train_variants(alone, None, tmp_path, given=drawn, processes=1)
    with pytest.raises(UsageError, match=r"every film comes from 'drawn'.*films\.domain"):
        train_without(alone, inside, None, tmp_path, given=drawn, processes=1)


def test_a_class_that_no_other_domain_has_is_told_and_the_rest_goes_on(
    variants: list[Variant], sites: Index, tmp_path: Path
) -> None:
    table = sites.table
    split = (table["attr.site"] == "west") | (table["label.patch"] & (table["attr.site"] == "south"))
    two = Index(table.assign(left_out=table["left_out"].mask(~split.astype(bool), "not here")), sites.root)
    runs = train_variants(variants[:1], None, tmp_path, given=two, processes=1)
    kept = train_without(variants[:1], runs, None, tmp_path, given=two, processes=1)
    assert [one.run for one in kept[0]] == [None, None]
    compared = judge_runs(variants[:1], runs, kept)
    assert compared.domains == ()
    assert compared.rows[0].kept is not None
    assert compared.rows[0].kept.mean is None
    assert any("the train fold has no film of class 'patch'" in note for note in compared.notes)


def test_table_and_json_hold_every_domain(compared: Comparison) -> None:
    table = comparison_table(compared)
    row = compared.rows[1]
    assert row.kept is not None
    assert table["kept_out"][1] == value(row.kept.mean)
    assert table["kept_out_difference"].isna().tolist() == [True, False]
    for part in row.kept.parts[:3]:
        assert table[f"without_{part.domain}"][1] == value(part.area)
        assert table[f"without_{part.domain}_groups"][1] == part.groups
    assert pd.isna(table["without_west"]).all()
    assert table["without_west_specificity"].notna().all()
    assert table["audit"].tolist() == ["not audited"] * 2
    assert table["above_floor"][0] == pytest.approx(table["auroc"][0] - table["floor"][0])
    told = json.loads(json.dumps(as_dict(compared), allow_nan=False))
    assert told["kept_out_domains"] == [*SITES]
    assert set(told["choice"]["by_domain"]) == set(SITES)


def test_a_control_is_shown_and_never_chosen(
    variants: list[Variant], runs: list[Run], kept: list[list[Without]]
) -> None:
    for control, other in (variants, reversed(variants)):
        told = judge_runs(variants, runs, kept, controls=[control.name])
        assert [row.control for row in told.rows] == [variant is control for variant in variants]
        assert told.chosen == other.name
        assert told.choice is None  # one run is left, and there is nothing to choose


def film_scores(area: Mapping[str, float], name: str) -> list[Kept]:
    """Runs without a domain each; of 20 positives and 20 negatives so many pairs are ordered rightly."""
    parts = []
    for domain, share in area.items():
        target = np.repeat([0, 1], 20)
        p = np.concatenate([np.where(np.arange(20) < round(20 * share), 0.9, 0.1), np.full(20, 0.5)])
        tested = Predicted(
            "external", ("a", "b"), target, np.arange(40), ((np.arange(40), np.column_stack([p, 1 - p])),)
        )
        (score, *_) = scoring.ranking_scores(tested, metrics.resampled_groups(40, 100))
        made = Without(Variant(name, "r", ""), domain, None)
        ids = tuple(f"{domain}-{film}" for film in range(40))
        parts.append(Kept(without=made, films=40, groups=40, area=score, tested=tested, ids=ids))
    return parts


def judged(*rows: list[Kept]) -> list[KeptOut]:
    return kept_out(rows, common_domains(rows), 200)


def test_the_choice_is_scored_where_it_had_no_part() -> None:
    one = film_scores({"x": 0.9, "y": 0.6, "z": 0.5}, "one")
    two = film_scores({"x": 0.5, "y": 0.8, "z": 0.8}, "two")
    rows = dict(zip(("one", "two"), judged(one, two), strict=True))
    found = choose(rows, ("x", "y", "z"), 200)
    assert found is not None
    assert (found.best, value(found.mean)) == ("two", pytest.approx(0.7))
    # On y and z 'two' is best, on x and z 'one', on x and y 'one'.
    assert {name: told[0] for name, told in found.by_domain.items()} == {"x": "two", "y": "one", "z": "one"}
    assert value(found.nested) == pytest.approx((0.5 + 0.6 + 0.5) / 3)
    assert found.nested.low is not None
    assert found.nested.low < value(found.nested)
    assert found.mean == rows["two"].mean


def test_groups_are_drawn_within_each_domain() -> None:
    parts = film_scores({"x": 0.9, "y": 0.6}, "one")
    (row,) = judged(parts)
    by_hand = []
    for place, part in enumerate(parts, 1):
        counts = metrics.resampled_groups(40, 200, seed=place)
        assert part.tested is not None
        ((rows, p),) = part.tested.repeats
        ranking = metrics.Ranking.of(part.tested.target[rows] == 0, p[:, 0])
        by_hand.append(ranking.auroc(counts.astype(float)))
    low, high = np.quantile(np.mean(by_hand, axis=0), (0.025, 0.975))
    assert row.mean is not None
    assert (row.mean.low, row.mean.high, row.mean.n) == (pytest.approx(low), pytest.approx(high), 80)


def test_means_are_over_domains_that_every_run_has() -> None:
    one, two = film_scores({"x": 0.9, "y": 0.6, "z": 0.7}, "one"), film_scores({"x": 0.8, "y": 0.7}, "two")
    none = [Kept(without=Without(Variant("three", "r", ""), "x", None, "no film"))]
    assert common_domains([one, two, none]) == ("x", "y")
    first, second, third = judged(one, two, none)
    assert value(first.mean) == pytest.approx(0.75)
    assert value(second.difference) == pytest.approx(0.0)
    assert third.mean is None


def test_only_domains_with_the_same_films_are_paired() -> None:
    one, two = film_scores({"x": 0.9, "y": 0.6}, "one"), film_scores({"x": 0.8, "y": 0.7}, "two")
    fewer = film_scores({"x": 0.8}, "two")[0]
    other = Kept(**{**vars(fewer), "ids": tuple(reversed(fewer.ids))})
    _, second = judged(one, [other, two[1]])
    assert second.paired == ("y",)
    assert value(second.difference) == pytest.approx(0.1)


def test_the_command_keeps_domains_out(
    recipe: Path, sites: Index, out: Path, kept: list[list[Without]], tmp_path: Path
) -> None:
    sites.save(tmp_path / "index.parquet")
    words = ["compare", str(recipe), "--vary", "network.pooling=grid3,flatten", "--out", str(out), "--processes", "1"]
    words += ["--index", str(tmp_path / "index.parquet"), "--keep-out", "each"]
    told = CliRunner().invoke(app, words, catch_exceptions=False, env={"COLUMNS": "160"})
    assert told.exit_code == 0
    for said in ("kept", "north", "specificity", "audited", "kept-out domains"):  # words that no width of a table parts
        assert said in " ".join(told.stdout.split())
    again = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert again["kept_out_domains"] == [*SITES]

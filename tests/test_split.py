"""Laws of every division, over random cohorts; and the published counts."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hilum.errors import DataError
from hilum.split import COLUMNS, FOLDS, Split, SplitPlan, check_no_leak, make_splits


def cohort(counts: Mapping[str, int], **columns: Any) -> pd.DataFrame:
    """That many films of each class, each a group of its own, all of one source and without a date."""
    target = [name for name, count in counts.items() for _ in range(count)]
    films = pd.DataFrame({"target": target, "source": "one", "acquired": None} | columns)
    films["image_id"] = [f"film-{number:05}" for number in range(len(films))]
    if "group_id" not in films:
        films["group_id"] = films["image_id"]
    return films.astype("string")


def counted(split: Split, fold: str) -> list[int]:
    """Films of a fold by class, classes in alphabetical order."""
    table = split.table
    return [int(((table["fold"] == fold) & (table["target"] == name)).sum()) for name in sorted(set(table["target"]))]


@st.composite
def cohorts(draw: st.DrawFn) -> pd.DataFrame:
    """Two to four classes, two sources, groups of one to a few films that may mix classes and sources."""
    classes, size = draw(st.integers(2, 4)), draw(st.integers(40, 160))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = rng.integers(0, draw(st.integers(size // 3, 3 * size)), size)
    films = pd.DataFrame({"group_id": [f"g{number}" for number in groups]})
    films["target"] = [f"c{number}" for number in rng.integers(0, classes, size)]
    films["source"] = [f"s{number}" for number in rng.integers(0, 2, size)]
    films["acquired"] = [None if day == 0 else f"2020-0{day}-01" for day in rng.integers(0, 7, size)]
    films["image_id"] = [f"film-{number}" for number in rng.permutation(size)]
    return films.astype("string")


PLANS = st.builds(
    SplitPlan,
    method=st.sampled_from(["fractions", "kfold"]),
    tune=st.sampled_from([0.0, 0.15, 0.3]),
    test=st.sampled_from([0.1, 0.2, 1 / 3]),
    folds=st.integers(2, 6),
    seeds=st.just((0, 7)),
    hold_out_sources=st.sampled_from([(), ("s1",)]),
    hold_out_domains=st.sampled_from([(), ("s1",)]),
    hold_out_from=st.sampled_from([None, dt.date(2020, 5, 1)]),
    class_equal=st.booleans(),
)


def divided(films: pd.DataFrame, plan: SplitPlan) -> tuple[Split, ...]:
    """The plan's divisions; cohorts too small for it do not count as examples."""
    try:
        return make_splits(films, plan)
    except DataError as error:
        assume(not any(said in str(error) for said in ("no film of class", "no film is dated")))
        raise


@settings(max_examples=60, deadline=None)
@given(cohorts(), PLANS)
def test_every_film_has_one_fold_and_no_group_two(films: pd.DataFrame, plan: SplitPlan) -> None:
    for split in divided(films, plan):
        assert split.table["image_id"].tolist() == films["image_id"].tolist()
        assert split.table["fold"].isin(FOLDS).all()
        used = split.table[split.table["fold"] != "unused"]
        assert used.groupby("group_id")["fold"].nunique().max() == 1
        assert ((split.table["fold"] == "unused") == split.table["why"].notna()).all()


@settings(max_examples=40, deadline=None)
@given(cohorts(), PLANS)
def test_held_out_films_are_held_out(films: pd.DataFrame, plan: SplitPlan) -> None:
    for split in divided(films, plan):
        fold, source, day = split.table["fold"], films["source"], films["acquired"].fillna("")
        outside = source.isin([*plan.hold_out_sources, *plan.hold_out_domains])
        assert (fold[outside] == "external").all()
        assert not (fold[~outside] == "external").any()
        inside = fold.isin(["train", "tune"])
        if plan.hold_out_from is not None:
            late = day >= plan.hold_out_from.isoformat()
            assert not (late & inside).any()
            assert late[fold == "test"].all()
        ties = set(films["group_id"][outside])
        assert not films["group_id"][inside | (fold == "test")].isin(ties).any()


@settings(max_examples=40, deadline=None)
@given(cohorts(), st.integers(2, 7), st.integers(0, 99))
def test_k_folds_test_every_film_once(films: pd.DataFrame, folds: int, seed: int) -> None:
    splits = divided(films, SplitPlan(method="kfold", folds=folds, seeds=(seed,), tune=0.1))
    assert len(splits) == folds
    tested = np.concatenate([split.table["image_id"][split.rows("test")] for split in splits])
    assert sorted(tested) == sorted(films["image_id"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(20, 200), min_size=2, max_size=4),
    st.sampled_from([(0.7, 0.15), (0.8, 0.2), (0.64, 0.16), (0.6, 0.3)]),
    st.integers(0, 99),
)
def test_single_films_are_divided_to_half_a_film_a_class(
    counts: list[int], shares: tuple[float, float], seed: int
) -> None:
    train, test = shares
    tune = round(1 - train - test, 6)
    films = cohort({f"c{number}": count for number, count in enumerate(counts)})
    (split,) = make_splits(films, SplitPlan(tune=tune, test=test, seeds=(seed,)))
    for fold, share, slack in (("test", test, 0.5), ("tune", tune, 1), ("train", train, 0.5)):
        for got, of in zip(counted(split, fold), counts, strict=True):
            assert abs(got - share * of) <= slack + 1e-6


@settings(max_examples=40, deadline=None)
@given(cohorts(), st.integers(0, 99))
def test_groups_are_divided_to_one_group_a_class(films: pd.DataFrame, seed: int) -> None:
    """Where each group is of one class: half of the largest group at either side of a border."""
    films["target"] = films.groupby("group_id")["target"].transform("first")
    (split,) = divided(films, SplitPlan(tune=0.2, test=0.3, seeds=(seed,)))
    largest = films.groupby(["target", "group_id"]).size().groupby("target").max()
    for got, name in zip(counted(split, "test"), sorted(set(films["target"])), strict=True):
        of = (films["target"] == name).sum()
        assert abs(got - 0.3 * of) <= largest[name] / 2 + 1e-6


@settings(max_examples=30, deadline=None)
@given(cohorts(), PLANS, st.integers(0, 99))
def test_the_order_of_the_rows_plays_no_part(films: pd.DataFrame, plan: SplitPlan, seed: int) -> None:
    shuffled = films.sample(frac=1, random_state=seed)
    for ours, theirs in zip(divided(films, plan), divided(shuffled, plan), strict=True):
        assert dict(ours.table[["image_id", "fold"]].values) == dict(theirs.table[["image_id", "fold"]].values)


def test_the_seed_alone_decides() -> None:
    films = cohort({"a": 60, "b": 40})
    first, second, other = (make_splits(films, SplitPlan(seeds=(seed,)))[0] for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first.table, second.table)
    assert (first.table["fold"] != other.table["fold"]).sum() > 20
    many = make_splits(films, SplitPlan(seeds=(4, 3), method="kfold", folds=3))
    assert [split.name for split in many] == [f"seed-{seed}-fold-{n}" for seed in (4, 3) for n in range(3)]


def test_published_four_classes_at_a_fifth() -> None:
    films = cohort({"bacterial": 197, "covid": 140, "normal": 200, "viral": 143})
    (split,) = make_splits(films, SplitPlan(test=0.2, tune=0.0))
    assert counted(split, "test") == [39, 28, 40, 29]


def test_published_merged_classes_at_a_fifth() -> None:
    (split,) = make_splits(cohort({"covid": 140, "other": 540}), SplitPlan(test=0.2, tune=0.0))
    assert counted(split, "test") == [28, 108]


def test_published_three_classes_at_fifteen_percent() -> None:
    films = cohort({"covid": 219, "normal": 1341, "viral": 1345})
    (split,) = make_splits(films, SplitPlan(test=0.15, tune=0.15))
    assert counted(split, "test") == [33, 201, 202]
    sizes = split.table["fold"].value_counts()
    assert [abs(sizes[fold] - share * 2905) < 1 for fold, share in (("train", 0.7), ("tune", 0.15), ("test", 0.15))]
    assert sizes["train"] == pytest.approx(0.7 * 2905, abs=1)


def test_films_from_a_day_on_are_the_test_fold() -> None:
    """Eight films of March or later; a patient's earlier film is tied to one of them, another film has no date."""
    days = [None, "2020-01-09", *["2020-02-29"] * 30, "2020-03-01", *["2020-03-15"] * 7]
    films = cohort({"a": len(days), "b": 60})
    films["acquired"] = pd.array([*days, *["2020-02-01"] * 60], dtype="string")
    films.loc[films["image_id"] == "film-00001", "group_id"] = "film-00039"
    plan = SplitPlan(hold_out_from=dt.date(2020, 3, 1), tune=0.25)
    (split,) = make_splits(films, plan)
    tested = split.table[split.table["fold"] == "test"]["image_id"].tolist()
    assert tested == [f"film-{number:05}" for number in range(32, 40)]
    unused = split.table[split.table["fold"] == "unused"]
    assert unused["image_id"].tolist() == ["film-00001"]
    assert unused["why"].tolist() == ["its group has films in a held-out source, domain or period"]
    assert split.table["fold"].value_counts()["tune"] == pytest.approx(0.25 * 91, abs=1)


def test_a_held_out_source_stays_whole_and_unties_its_groups() -> None:
    films = cohort({"a": 40, "b": 40})
    films.loc[::4, "source"] = "two"
    films.loc[[0, 1], "group_id"] = "shared"
    (split,) = make_splits(films, SplitPlan(hold_out_sources=("two",)))
    assert (split.table["fold"][films["source"] == "two"] == "external").all()
    assert split.table["fold"][1] == "unused"
    assert (split.table["fold"] == "unused").sum() == 1


def test_a_held_out_domain_is_a_value_of_another_column() -> None:
    films = cohort({"a": 40, "b": 40})
    films.loc[[0, 1], "group_id"] = "shared"
    domains = pd.Series(["north", "south", "east", "south"] * 20, index=range(500, 580))
    (split,) = make_splits(films, SplitPlan(hold_out_domains=("north",)), domains=domains)
    assert ((split.table["fold"] == "external").to_numpy() == (domains == "north").to_numpy()).all()
    assert split.table.loc[split.table["fold"] == "unused", "image_id"].tolist() == ["film-00001"]
    with pytest.raises(DataError, match="hold_out_domains names 'nort', which has no films here"):
        make_splits(films, SplitPlan(hold_out_domains=("nort",)), domains=domains)


def test_domains_are_sources_unless_told() -> None:
    films = cohort({"a": 40, "b": 40})
    films.loc[::4, "source"] = "two"
    (one,), (other,) = (
        make_splits(films, SplitPlan(**{f"hold_out_{key}": ("two",)})) for key in ("sources", "domains")
    )
    pd.testing.assert_frame_equal(one.table, other.table)


def test_a_plan_that_holds_no_domain_out_is_written_as_before() -> None:
    assert "hold_out_domains" not in SplitPlan().model_dump(mode="json")
    told = SplitPlan(hold_out_domains=("x",)).model_dump(mode="json")
    assert SplitPlan.model_validate(told).hold_out_domains == ("x",)


def test_equal_classes_train_on_as_many_films_each() -> None:
    films = cohort({"a": 30, "b": 200, "c": 90})
    plain, equal = (make_splits(films, SplitPlan(class_equal=wanted))[0] for wanted in (False, True))
    fewest = min(counted(plain, "train"))
    assert counted(equal, "train") == [fewest] * 3
    for fold in ("tune", "test"):
        assert equal.rows(fold).tolist() == plain.rows(fold).tolist()
    drawn = set(equal.rows("train")) | set(equal.rows("unused"))
    assert drawn == set(plain.rows("train"))


def test_the_rarer_class_of_a_mixed_group_goes_with_the_group() -> None:
    films = cohort({"a": 30, "b": 30})
    films.loc[[0, 1, 30], "group_id"] = "mixed"
    (split,) = make_splits(films, SplitPlan())
    assert len(set(split.table["fold"][[0, 1, 30]])) == 1


@pytest.mark.parametrize(
    ("plan", "counts", "says"),
    [
        ({"hold_out_sources": ("tow",)}, {"a": 20, "b": 20}, "'tow', which has no films"),
        ({"hold_out_from": dt.date(2030, 1, 1)}, {"a": 20, "b": 20}, "no film is dated that day or later"),
        ({}, {"a": 20}, r"only one class has films \(a\)"),
        ({"test": 0.3, "tune": 0.1}, {"a": 50, "b": 2}, "the tune fold has no film of class 'b'"),
        ({"tune": 0.0}, {"a": 50, "b": 2}, "the test fold has no film of class 'b'"),
        ({"hold_out_sources": ("one",)}, {"a": 20, "b": 20}, "the train fold has no film of class 'a'"),
    ],
)
def test_what_the_data_cannot_carry_is_said(plan: dict[str, Any], counts: dict[str, int], says: str) -> None:
    with pytest.raises(DataError, match=says):
        make_splits(cohort(counts), SplitPlan(**plan))


def test_a_class_only_outside_cannot_be_learnt() -> None:
    films = cohort({"a": 20, "b": 20, "c": 20})
    films.loc[films["target"] == "c", "source"] = "two"
    with pytest.raises(DataError, match="the train fold has no film of class 'c'"):
        make_splits(films, SplitPlan(hold_out_sources=("two",)))


@pytest.mark.parametrize("column", ["target", "group_id"])
def test_a_film_without_class_or_group_is_refused(column: str) -> None:
    films = cohort({"a": 20, "b": 20})
    films.loc[3, column] = pd.NA
    with pytest.raises(DataError, match=f"film 'film-00003' has no {column}"):
        make_splits(films, SplitPlan())


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ({"tune": 0.5, "test": 0.5}, "leave nothing to train on"),
        ({"seeds": (1, 1)}, "repeat one"),
        ({"seeds": (-1,)}, "seed -1 is negative"),
        ({"seeds": ()}, "at least 1"),
        ({"folds": 1}, "folds"),
    ],
)
def test_plans_that_make_no_sense_are_refused(plan: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SplitPlan(**plan)


def manifest(tmp_path: Path) -> Split:
    films = cohort({"none": 30, "NA": 30}, patient_id="NULL", path='a, "b".png', sha256="0" * 64)
    (split,) = make_splits(films, SplitPlan(class_equal=True))
    split.save(tmp_path)
    return split


def test_the_file_says_who_is_where_and_comes_back_the_same(tmp_path: Path) -> None:
    """Path, subject, source, split and hash of every film; words like "NA" are not taken for missing."""
    split = manifest(tmp_path)
    assert list(pd.read_csv(tmp_path / "seed-0-fold-0.csv").columns) == COLUMNS
    loaded = Split.load(tmp_path / "seed-0-fold-0.csv")
    pd.testing.assert_frame_equal(loaded.table, split.table.reset_index(drop=True))
    assert (loaded.seed, loaded.number, loaded.name) == (0, 0, split.name)
    Split(table=split.table, seed=12, number="refit").save(tmp_path)
    assert Split.load(tmp_path / "seed-12-fold-refit.csv").number == "refit"


EDITS = {
    "1 groups have films in two folds, first 'film-00001'; the split leaks": ("group_id", "film-00001"),
    "names a fold 'tets'": ("fold", "tets"),
    "lists the film 'film-00001' more than once": ("image_id", "film-00001"),
}


@pytest.mark.parametrize("says", EDITS)
def test_a_file_edited_wrongly_is_refused(says: str, tmp_path: Path) -> None:
    split = manifest(tmp_path)
    column, value = EDITS[says]
    table = split.table.copy()
    table.loc[1, "fold"] = "train"
    row = split.rows("test")[0]
    table.loc[row, column] = value
    table.to_csv(tmp_path / "seed-0-fold-0.csv", index=False)
    with pytest.raises(DataError, match=f"seed-0-fold-0.csv: .*{says}"):
        Split.load(tmp_path / "seed-0-fold-0.csv")


def test_what_is_no_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no split"):
        Split.load(tmp_path / "seed-0-fold-0.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"called seed-S-fold-N\.csv"):
        Split.load(tmp_path / "other.csv")
    (tmp_path / "seed-0-fold-1.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="lacks the column 'image_id'"):
        Split.load(tmp_path / "seed-0-fold-1.csv")
    (tmp_path / "seed-0-fold-2.csv").write_bytes(b"")
    with pytest.raises(DataError, match="not a readable CSV"):
        Split.load(tmp_path / "seed-0-fold-2.csv")


def test_a_planted_leak_is_named() -> None:
    table = pd.DataFrame({"group_id": ["g", "g", "h", "h"], "fold": ["train", "test", "train", "unused"]})
    with pytest.raises(DataError, match="1 groups have films in two folds, first 'g'"):
        check_no_leak(table)
    check_no_leak(table.iloc[1:])

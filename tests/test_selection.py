"""Which films a recipe takes, as which class, and why not the others."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hilum.errors import DataError, UsageError
from hilum.index import Index, counted, typed
from hilum.recipe import Recipe, checked_recipe
from hilum.selection import NO_CLASS, TARGET, select_films, targets, unseen_films


def index(*films: dict[str, Any]) -> Index:
    """An index of films that are what they say and otherwise fit; `labels` is a space-separated list."""
    rows = []
    for number, film in enumerate(films):
        row = {"image_id": f"f{number}", "source": "one", "modality": "XR", "view": "PA", "left_out": None}
        row |= {"duplicate_of": None, "near_duplicate_of": None, "label.covid19": False, "label.normal": False}
        row |= {"label.viral": None}
        row |= {f"label.{name}": True for name in film.get("labels", "").split()}
        rows.append(row | {name: value for name, value in film.items() if name != "labels"})
    return Index(typed(pd.DataFrame(rows)), Path("/films"))


def recipe(**films: Any) -> Recipe:
    return checked_recipe({"title": "t", "films": films, "classes": {"ill": ["covid19", "viral"], "well": ["normal"]}})


BOTH: tuple[dict[str, Any], ...] = ({"labels": "covid19"}, {"labels": "normal"})


def reasons(chosen: Index) -> list[str | None]:
    return [None if pd.isna(reason) else reason for reason in chosen.table["left_out"]]


def test_a_class_is_any_of_its_labels_and_two_classes_are_none() -> None:
    films = index(*BOTH, {"labels": "viral"}, {"labels": "covid19 viral"}, {"labels": "covid19 normal"}, {})
    chosen = select_films(films, recipe())
    told = [None if pd.isna(name) else name for name in chosen.table[TARGET]]
    assert told == ["ill", "well", "ill", "ill", None, None]
    assert reasons(chosen)[4:] == ["labels of two classes", "no label of any class"]
    assert len(chosen.films) == 4
    assert len(chosen.table) == len(films.table)


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ([], [0, 1, 2, 3, 4, 5]),
        (["ge"], [0, 1]),
        (["GE Medical"], [0]),
        (["Agfa"], [3]),
        (["agfa-gevaert", "Siemens"], [2, 3]),
        (["medical systems", "philips"], [0, 4]),
    ],
)
def test_manufacturers_are_found_by_whole_words(names: list[str], kept: list[int]) -> None:
    spelt = ["GE MEDICAL SYSTEMS", "Ge Healthcare", "SIEMENS", "Agfa-Gevaert", "Philips Medical Systems", None]
    labels = ["covid19", "normal"]
    films = index(*({"labels": labels[n % 2], "manufacturer": one} for n, one in enumerate(spelt)))
    chosen = select_films(films, recipe(manufacturers=names), every_class=False)
    assert chosen.films["image_id"].tolist() == [f"f{n}" for n in kept]
    if names:
        told = reasons(chosen)
        assert told[5] == "manufacturer not stated"
        assert {told[n] for n in range(5) if n not in kept} == {f"manufacturer is not {' or '.join(names)}"}


def test_a_manufacturer_no_film_states_is_a_misspelling() -> None:
    films = index(*({**one, "manufacturer": "Philips"} for one in BOTH))
    with pytest.raises(UsageError, match="did you mean 'Philips'"):
        select_films(films, recipe(manufacturers=["Phillips"]))
    with pytest.raises(UsageError, match="without a letter"):
        recipe(manufacturers=["-"])
    elsewhere = select_films(films, recipe(manufacturers=["Siemens"]), every_class=False)
    assert reasons(elsewhere) == ["manufacturer is not Siemens"] * 2


def test_a_label_not_assessed_makes_no_class() -> None:
    films = index(*BOTH, {"label.covid19": None, "label.normal": None})
    assert reasons(select_films(films, recipe()))[2] == "no label of any class"


def test_absent_is_a_class_of_its_own_and_missing_is_none() -> None:
    told = checked_recipe({"title": "t", "classes": {"ill": ["covid19"], "rest": ["!covid19"]}})
    chosen = select_films(index(*BOTH, {"label.covid19": None}), told)
    assert [None if pd.isna(name) else name for name in chosen.table[TARGET]] == ["ill", "rest", None]
    wrong = checked_recipe({"title": "t", "classes": {"ill": ["covid19"], "rest": ["!covid-19"]}})
    with pytest.raises(UsageError, match="did you mean 'covid19'"):
        select_films(index(*BOTH), wrong)


def test_what_was_left_out_before_keeps_its_reason() -> None:
    films = index(*BOTH, {"labels": "normal", "left_out": "truncated: a.png"}, {"left_out": "empty: b.png"})
    assert reasons(select_films(films, recipe(views=["AP", "PA"])))[2:] == ["truncated: a.png", "empty: b.png"]


@pytest.mark.parametrize(
    ("views", "unstated", "kept"),
    [
        ([], True, "PA AP frontal L other none"),
        ([], False, "PA AP frontal L other"),
        (["PA"], True, "PA none"),
        (["PA"], False, "PA"),
        (["PA", "AP"], False, "PA AP frontal"),
        (["L"], False, "L"),
    ],
)
def test_views(views: list[str], *, unstated: bool, kept: str) -> None:
    stated = ["PA", "AP", "frontal", "L", "other", None]
    films = index(*({"labels": label, "view": view} for view in stated for label in ("covid19", "normal")))
    chosen = select_films(films, recipe(views=views, unstated_view=unstated))
    assert list(dict.fromkeys(chosen.films["view"].fillna("none"))) == kept.split()
    if not unstated:
        assert reasons(chosen)[-1] == "view not stated"
    if views == ["PA"]:
        assert reasons(chosen)[2] == "view is not PA"


@pytest.mark.parametrize(
    ("views", "unstated", "kept"),
    [
        ([], True, "PA-L -frontal -L -other -"),
        (["PA", "AP"], True, "PA-L -frontal -"),
        (["PA", "AP"], False, "PA-L -frontal"),
        (["PA"], True, "PA-L -frontal -"),
        (["PA"], False, "PA-L"),
        (["L"], True, "-L -"),
        (["L"], False, "-L"),
        (["PA", "AP", "L"], False, "PA-L -frontal -L"),
    ],
)
def test_what_a_film_looks_like_counts_where_no_view_is_stated(views: list[str], *, unstated: bool, kept: str) -> None:
    films = [("PA", "L"), (None, "frontal"), (None, "L"), (None, "other"), (None, None)]
    told = [{"view": stated, "view_predicted": seen} for stated, seen in films]
    chosen = select_films(
        index(*(film | {"labels": label} for film in told for label in ("covid19", "normal"))),
        recipe(views=views, unstated_view=unstated),
    )
    left = chosen.films["view"].fillna("") + "-" + chosen.films["view_predicted"].fillna("").astype("string")
    assert " ".join(dict.fromkeys(left)) == kept


def test_films_left_out_by_their_looks_are_counted_as_such() -> None:
    told = [{"view": None, "view_predicted": seen} for seen in ("frontal", "frontal", "L", "other", "L")]
    films = index(*(film | {"labels": label} for film, label in zip(told, ["covid19", *["normal"] * 4], strict=True)))
    chosen = select_films(films, recipe(views=["PA", "AP"], unstated_view=False))
    assert dict(counted(chosen.left_out["left_out"])) == {
        "view not stated, looks lateral": 2,
        "view not stated, looks like no chest radiograph": 1,
    }


def test_sources_and_modality() -> None:
    films = index(*BOTH, {"labels": "normal", "source": "two"}, {"labels": "normal", "modality": "CT"})
    chosen = select_films(films, recipe(sources=["one"]))
    assert reasons(chosen)[2:] == ["source not in the recipe", "modality is not XR"]
    assert len(select_films(films, recipe()).films) == 3


def test_of_copies_the_first_stays() -> None:
    films = index(
        *BOTH,
        {"labels": "covid19", "duplicate_of": "f0"},
        {"labels": "normal", "near_duplicate_of": "f0"},
        {"labels": "normal", "near_duplicate_of": "f1"},
    )
    chosen = select_films(films, recipe())
    same = "same picture as another film"
    assert reasons(chosen) == [None, None, same, f"{same}, under another label", same]
    assert len(select_films(films, recipe(duplicates="all")).films) == 5


def test_copies_of_a_film_not_in_use_leave_one() -> None:
    """The first is a CT slice by its source; the second takes its place, the third is the second's copy."""
    films = index(
        {"labels": "covid19", "modality": "CT"},
        {"labels": "covid19", "duplicate_of": "f0"},
        {"labels": "covid19", "near_duplicate_of": "f0"},
        {"labels": "normal"},
    )
    assert select_films(films, recipe()).films["image_id"].tolist() == ["f1", "f3"]


def test_copies_of_copies_are_copies() -> None:
    chain = ({"labels": "covid19", "near_duplicate_of": f"f{number + 1}"} for number in range(1, 6))
    films = index(*BOTH, {"labels": "covid19"}, *chain)
    assert select_films(films, recipe()).films["image_id"].tolist() == ["f0", "f1", "f2"]


def test_an_unknown_label_is_said_with_the_nearest() -> None:
    told = checked_recipe({"title": "t", "classes": {"ill": ["covid-19"], "well": ["normal"]}})
    with pytest.raises(UsageError, match=r"label \(class 'ill'\) 'covid-19'; did you mean 'covid19'"):
        select_films(index(*BOTH), told)
    target, ambiguous = targets(index(*BOTH), told, every_class=False)
    assert target.isna().tolist() == [True, False]
    assert not ambiguous.any()


def test_an_unknown_source_is_said_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="source of the index 'once'; did you mean 'one'"):
        select_films(index(*BOTH), recipe(sources=["one", "once"]))


def test_a_class_without_films_is_said_with_the_commonest_reason() -> None:
    lateral = {"labels": "normal", "view": "L"}
    films = index({"labels": "covid19"}, lateral, lateral, {"labels": "normal", "modality": "CT"})
    with pytest.raises(
        DataError, match=r"'well' has no film left; 3 were left out, most often because: view is not PA"
    ):
        select_films(films, recipe(views=["PA"]))
    assert len(select_films(films, recipe(views=["PA"]), every_class=False).films) == 1
    with pytest.raises(DataError, match="class 'ill' has no film left; 0 were left out"):
        select_films(index({"labels": "normal"}), recipe())


MASKED = {"lung_mask": "masks/1.png"}


@pytest.mark.parametrize("part", ["films", "preprocess"])
def test_films_without_a_mask_are_left_out_whatever_their_class(part: str) -> None:
    told = {"films": {"masked": True}} if part == "films" else {"preprocess": {"lungs": "crop"}}
    asked = checked_recipe(recipe().model_dump(mode="json") | told)
    shown = [film | MASKED for film in BOTH]
    films = index(*shown, *BOTH, {"labels": "viral"}, {"labels": "covid19 normal"}, {}, MASKED)
    chosen = select_films(films, asked)
    assert reasons(chosen) == [None, None, *["no lung mask"] * 3, "labels of two classes", "no lung mask", NO_CLASS]
    assert reasons(select_films(films, recipe()))[:5] == [None] * 5


@pytest.mark.parametrize("lungs", ["none", "only"])
def test_masks_still_to_be_made_leave_no_film_out_and_forget_those_given(lungs: str) -> None:
    told = {"films": {"masked": True}, "preprocess": {"lungs": lungs, "masks": "made"}}
    asked = checked_recipe(recipe().model_dump(mode="json") | told)
    chosen = select_films(index(BOTH[0] | MASKED, *BOTH), asked)
    assert reasons(chosen) == [None] * 3
    assert chosen.table["lung_mask"].isna().all()


def test_a_class_without_any_mask_is_said() -> None:
    films = index(BOTH[0] | MASKED, BOTH[1])
    with pytest.raises(DataError, match="'well' has no film left; 1 were left out, most often because: no lung mask"):
        select_films(films, recipe(masked=True))


# Films of classes never trained on

UNSEEN = checked_recipe(
    {
        "title": "t",
        "films": {"views": ["PA"]},
        "classes": {"ill": ["covid19"], "well": ["normal"]},
        "unseen": {"virus": ["viral"], "other": ["tb", "mass"]},
    }
)


def _unseen(*films: dict[str, Any], told: Recipe = UNSEEN) -> Index:
    """What is found among two films that are trained on and these."""
    rows = [{"label.tb": None, "label.mass": None} | film for film in (*BOTH, *films)]
    for row in rows:
        row.update({f"label.{name}": True for name in ("tb", "mass") if name in row.get("labels", "").split()})
    return unseen_films(select_films(index(*rows), told), told)


def test_unseen_films_are_those_that_fit_but_for_their_label() -> None:
    found = _unseen({"labels": "viral"}, {"labels": "tb"}, {"labels": "mass", "view": "L"}, {"labels": "covid19 viral"})
    assert dict(zip(found.films["image_id"], found.films[TARGET], strict=True)) == {"f2": "virus", "f3": "other"}
    assert reasons(found)[:2] == ["not of an unseen class"] * 2
    assert reasons(found)[4:] == ["not of an unseen class"] * 2, "a lateral film, and one that was trained on"


def test_a_film_of_two_unseen_classes_is_of_none() -> None:
    assert _unseen({"labels": "viral tb"}, {"labels": "tb mass"}).films["image_id"].tolist() == ["f3"]


def test_of_copies_of_an_unseen_film_the_first_stays() -> None:
    twins = ({"labels": "tb"}, {"labels": "tb", "duplicate_of": "f2"}, {"labels": "tb", "near_duplicate_of": "f2"})
    assert _unseen(*twins).films["image_id"].tolist() == ["f2"]
    every = UNSEEN.model_copy(update={"films": UNSEEN.films.model_copy(update={"duplicates": "all"})})
    assert len(_unseen(*twins, told=every).films) == 3


def test_an_unseen_label_that_no_film_has_finds_none() -> None:
    told = UNSEEN.model_copy(update={"unseen": {"rib": ("fracture",)}})
    assert _unseen({"labels": "viral"}, told=told).films.empty

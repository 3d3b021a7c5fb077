"""Recipes: strict in, the same out, and every mistake said with its cure."""

import tomllib
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from hilum.errors import UsageError
from hilum.recipe import Recipe, checked_recipe, parse_recipe, recipe_text, shipped, summary, toml_of

BASE = 'title = "t"\n[classes]\nill = ["covid19"]\nwell = ["normal"]\n'


def parts(model: type[BaseModel] = Recipe, place: str = "") -> dict[str, type[BaseModel]]:
    """Every table of a recipe, by its name; the recipe itself under the empty one."""
    found = {place: model}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= parts(field.annotation, name)
    return found


def again(recipe: Recipe) -> Recipe:
    """Written out as TOML and read back."""
    return parse_recipe(toml_of(recipe.model_dump(mode="json")))


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_are_right_and_say_what_they_are(name: str) -> None:
    recipe = parse_recipe(recipe_text(name))
    assert again(recipe) == recipe
    assert again(recipe).digest == recipe.digest
    assert len(summary(recipe_text(name))) > 20


def test_a_recipe_is_found_by_name_or_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(BASE)
    assert recipe_text(str(tmp_path / "mine.toml")) == BASE
    with pytest.raises(UsageError, match=r"recipe file nowhere\.toml does not exist"):
        recipe_text("nowhere.toml")
    with pytest.raises(UsageError, match="did you mean 'sandrofab-binary-lite0'"):
        recipe_text("sandrofab-binary-lite")
    (tmp_path / "mine.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(UsageError, match="not UTF-8"):
        recipe_text(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("place", parts())
def test_every_misspelt_key_is_answered_with_the_right_one(place: str) -> None:
    for name in parts()[place].model_fields:
        wrong = name[:-1] + "x" + name[-1:]
        told: dict[str, Any] = {place: {wrong: 1}} if place else {wrong: 1}
        with pytest.raises(UsageError) as refused:
            checked_recipe(tomllib.loads(BASE) | told)
        key = f"{place}.{wrong}" if place else wrong
        assert f"unknown key '{key}'; did you mean '{name}'?" in str(refused.value)


def test_a_key_like_no_other_gets_the_list_of_keys() -> None:
    with pytest.raises(UsageError, match=r"unknown key 'preprocess.zzz'; known here: aspect, .*size_px, std"):
        parse_recipe(BASE + "[preprocess]\nzzz = 1\n")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('[preprocess]\nsize_px = "224"', "'preprocess.size_px' must be a valid integer, not \"224\""),
        ("[preprocess]\nsize_px = 224.5", "'preprocess.size_px' must be a valid integer"),
        ("[preprocess]\nsize_px = true", "'preprocess.size_px' must be a valid integer, not true"),
        ("[films]\nmasked = 1", "'films.masked' must be a valid boolean, not 1"),
        ("[augmentation]\nflip = 2", "'augmentation.flip' must be less than or equal to 1, not 2"),
        ('[films]\nsources = "one"', "'films.sources' must be a list, not \"one\""),
        ('[films]\nviews = ["PP"]', "'films.views.0' must be 'PA', 'AP', .* not \"PP\""),
        ("[split]\ntest = 1.5", "'split.test' must be less than 1, not 1.5"),
        ("[split]\ntune = 0.6\ntest = 0.5", "'split' tune 0.6 and test 0.5 leave nothing"),
        ("[split]\nhold_out_from = 'soon'", "'split.hold_out_from' must be a valid date"),
        ("[schedule]\nlearning_rate = inf", "'schedule.learning_rate' must be a finite number"),
        ("[preprocess]\nchannels = 1\nmean = [0.1, 0.2]", "'preprocess' mean has 2 values for 1 channels"),
        ("[schedule]\nviews = 4", r"schedule.views = 4 needs an \[augmentation\]"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(lines: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_recipe(BASE + lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('title = "t"', "key 'classes' is missing"),
        ('[classes]\na = ["a"]\nb = ["b"]', "key 'title' is missing"),
        ('title = "t"\n[classes]\na = ["a"]', "two classes or more"),
        ('title = "t"\n[classes]\na = ["x"]\nb = ["y", "x"]', "label 'x' is named twice"),
        ('title = "t"\n[classes]\na = ["x"]\nb = []', "every class needs a label"),
        ("title = ", "mine.toml is not valid TOML"),
        ("films = 3\n" + BASE, "'films' must be a table, not 3"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_recipe(text, where="mine.toml")


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(UsageError) as refused:
        parse_recipe(BASE + "[split]\ntset = 0.1\n[preprocess]\nsize_px = 1\n")
    assert "did you mean 'test'" in str(refused.value)
    assert "'preprocess.size_px'" in str(refused.value)


def test_dates_may_be_written_as_dates_or_text() -> None:
    first, second = (parse_recipe(f"{BASE}[split]\nhold_out_from = {day}") for day in ("2020-03-01", '"2020-03-01"'))
    assert first == second
    assert first.split.hold_out_from is not None
    assert again(first) == first


def test_never_stopping_early_survives_being_written_out() -> None:
    recipe = parse_recipe(BASE + "[schedule]\npatience = 0")
    assert recipe.schedule.patience is None
    assert again(recipe).schedule.patience is None
    assert again(parse_recipe(BASE)).schedule.patience == 10


def test_what_is_left_out_of_toml_is_none_by_default() -> None:
    """TOML has no null, so a value that may be None must be None where it is not given, or have another spelling."""
    for place, part in parts().items():
        for name, field in part.model_fields.items():
            if type(None) in typing.get_args(field.annotation) and name != "patience":
                assert field.default is None, f"{place}.{name}"


NAMES = st.text(min_size=1, max_size=12)
SMALL = st.floats(0, 0.9, allow_subnormal=False)


@settings(max_examples=80, deadline=None)
@given(
    title=st.text(),
    classes=st.dictionaries(NAMES, st.just(()), min_size=2, max_size=4),
    split=st.fixed_dictionaries({}, optional={"test": st.floats(0, 0.4), "seeds": st.just([3, 1])}),
    preprocess=st.fixed_dictionaries(
        {}, optional={"size_px": st.integers(32, 512), "mean": st.lists(SMALL, min_size=3, max_size=3)}
    ),
    augmentation=st.fixed_dictionaries({}, optional={"zoom": SMALL, "flip": st.floats(0, 1)}),
    schedule=st.fixed_dictionaries(
        {},
        optional={
            "learning_rate": st.floats(1e-12, 1e6),
            "patience": st.integers(0, 9),
            "weight_decay": st.integers(0, 5),
        },
    ),
)
def test_any_recipe_written_out_and_read_again_is_the_same(classes: dict[str, Any], **told: Any) -> None:
    named = {name: [f"label {number}", f"{name} {number}"] for number, name in enumerate(classes)}
    recipe = checked_recipe({"classes": named} | told)
    assert again(recipe) == recipe
    assert again(recipe).digest == recipe.digest
    assert again(recipe).class_names == tuple(classes)


def test_the_digest_is_the_content_not_the_spelling() -> None:
    recipe = parse_recipe(BASE)
    spelt = parse_recipe(
        "# a comment\n" + BASE + "[preprocess]\nsize_px = 224 # the default\n[schedule]\nweight_decay = 0\n"
    )
    assert spelt.digest == recipe.digest
    assert parse_recipe(BASE + "[split]\nseeds = [1]").digest != recipe.digest


def test_the_first_comment_is_the_summary() -> None:
    assert summary("\n#  What it is \n# more\ntitle = 1") == "What it is"
    assert summary(BASE) == ""

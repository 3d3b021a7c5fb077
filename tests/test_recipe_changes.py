"""A recipe that is another one but for a few keys, and changes to a recipe that stay visible in it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import UsageError
from hilum.recipe import changed, changes_of, parse_recipe, recipe_text, shipped, summary

BASE = """\
# What it is
# and more of it
title = "t"

[classes]
ill = ["covid19"]
well = ["normal"]

[network]
pooling = "max"
hidden = [8]

[split]
hold_out_from = 2020-03-01
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in that holds `base.toml`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.toml").write_text(BASE)
    return tmp_path


def _like(folder: Path, text: str, name: str = "mine.toml") -> str:
    (folder / name).write_text(text)
    return recipe_text(name)


def test_a_recipe_like_another_is_that_one_but_for_what_it_says(folder: Path) -> None:
    text = _like(folder, '# Mine\nlike = "base.toml"\ntitle = "mine"\n[network]\npooling = "avg"\n')
    told, base = parse_recipe(text), parse_recipe(BASE)
    assert (told.title, told.network.pooling) == ("mine", "avg")
    rest = base.model_copy(update={"title": "mine", "network": base.network.model_copy(update={"pooling": "avg"})})
    assert told == rest
    assert (summary(text), "and more" in text, "like" in text) == ("Mine", False, False)


def test_classes_are_replaced_whole(folder: Path) -> None:
    text = _like(folder, 'like = "base.toml"\n[classes]\nill = ["viral"]\nlike = ["normal"]\n')
    assert parse_recipe(text).classes == {"ill": ("viral",), "like": ("normal",)}
    (folder / "seen.toml").write_text(BASE + '[unseen]\na = ["a"]\nb = ["b"]\n')
    assert parse_recipe(_like(folder, 'like = "seen.toml"\n[unseen]\nc = ["c"]\n')).unseen == {"c": ("c",)}


def test_likes_may_follow_each_other(folder: Path) -> None:
    (folder / "second.toml").write_text('like = "base.toml"\n[network]\nhidden = [16]\n')
    told = parse_recipe(_like(folder, ' like = "second.toml"\n[network]\nmirror = true\n')).network
    assert (told.pooling, told.hidden, told.mirror) == ("max", (16,), True)


def test_a_recipe_may_be_like_a_shipped_one(folder: Path) -> None:
    name = next(iter(shipped()))
    told = parse_recipe(_like(folder, f'like = "{name}"\ntitle = "mine"\n'))
    assert told == parse_recipe(recipe_text(name)).model_copy(update={"title": "mine"})


def test_a_path_counts_from_the_recipe_that_gives_it(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "one.toml").write_text('like = "two.toml"\n')
    (folder / "deep" / "two.toml").write_text('like = "../base.toml"\n')
    assert parse_recipe(recipe_text("deep/one.toml")) == parse_recipe(BASE)


@pytest.mark.parametrize(
    "texts",
    [
        {"a.toml": 'like = "a.toml"'},
        {"a.toml": 'like = "b.toml"', "b.toml": 'like = "./a.toml"'},
        {"a.toml": 'like = "b.toml"', "b.toml": 'like = "c.toml"', "c.toml": 'like = "b.toml"'},
        {"a.toml": "like = 3"},
        {"a.toml": 'like = ""'},
    ],
    ids=["itself", "each other", "further on", "number", "nothing"],
)
def test_likes_in_a_circle_or_of_nothing_are_refused(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).write_text(text)
    with pytest.raises(UsageError, match=r"recipe .*\.toml: 'like' must name another recipe, not "):
        recipe_text("a.toml")


def test_a_recipe_like_one_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"recipe file .*gone\.toml does not exist"):
        _like(folder, 'like = "gone.toml"')
    with pytest.raises(UsageError, match="unknown recipe 'dmo'; did you mean 'demo'"):
        _like(folder, 'like = "dmo"')


@pytest.mark.parametrize("name", shipped())
def test_changing_nothing_of_a_shipped_recipe_changes_nothing(name: str) -> None:
    text = recipe_text(name)
    assert parse_recipe(changed(text, {})) == parse_recipe(text)
    assert changes_of(changed(text, {})) == []


def test_a_change_is_made_and_noted_below_the_recipe_s_own_comments() -> None:
    text = changed(BASE, {"network.pooling": "avg", "split.seeds": "[3, 4]", "title": "other words"})
    told = parse_recipe(text)
    assert (told.network.pooling, told.split.seeds, told.title) == ("avg", (3, 4), "other words")
    assert told.split.hold_out_from == parse_recipe(BASE).split.hold_out_from
    assert summary(text) == "What it is"
    assert changes_of(text) == ["network.pooling = avg", "split.seeds = [3, 4]", "title = other words"]
    assert changes_of(BASE) == []


def test_changes_of_a_changed_recipe_add_up() -> None:
    text = changed(changed(BASE, {"network.pooling": "avg"}), {"network.mirror": "true"})
    assert changes_of(text) == ["network.pooling = avg", "network.mirror = true"]
    assert (parse_recipe(text).network.pooling, parse_recipe(text).network.mirror) == ("avg", True)


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_words_may_become_a_title_and_leave_a_recipe(words: str) -> None:
    text = changed(BASE, {"title": f"words {words}"})
    assert parse_recipe(text).title == f"words {words}"
    assert parse_recipe(text).classes == parse_recipe(BASE).classes
    assert len(changes_of(text)) == 1


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("network.poling", "avg", "network.poling=avg: unknown key 'network.poling'; did you mean 'pooling'"),
        ("netwrk.pooling", "avg", "unknown key 'netwrk'; did you mean 'network'"),
        ("network.hidden.0", "8", "unknown key 'network.hidden.0'"),
        ("network.pooling", "mean", "'network.pooling' must be 'avg'"),
        ("preprocess.size_px", "big", "'preprocess.size_px' must be a valid integer"),
        ("title.words", "x", "'title.words': 'title' is one value of a recipe, not a table"),
        ("classes", "off", "'classes' must be a table"),
        ("network", "maybe", "'network' is a part of a recipe: give it 'on' or 'off', or name a key in it"),
    ],
)
def test_changes_that_make_no_recipe_are_refused(key: str, value: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        changed(BASE, {key: value})


def test_a_part_is_left_as_it_is_or_put_back_to_its_defaults() -> None:
    text = BASE + "[augmentation]\nflip = 0.5\n[schedule]\nviews = 3\nepochs = 7\n"
    assert parse_recipe(changed(text, {"augmentation": "on"})) == parse_recipe(text)
    off = parse_recipe(changed(text, {"augmentation": "off"}))
    assert off.augmentation.changes_nothing
    assert (off.schedule.views, off.schedule.epochs) == (1, 7), "views are the augmentation's doing"
    assert parse_recipe(changed(text, {"network": "off"})).network == type(off.network)()
    assert changes_of(changed(text, {"augmentation": "off"})) == ["augmentation = off"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("[network]\ntrain_from = 'all'\nfreeze_first = 3", "say the same thing twice"),
        ("[network]\nfreeze_first = 0", "'network.freeze_first' must be greater than or equal to 1"),
        ("[network]\ngrey = 'learned'", "grey = 'learned' is trained with the backbone"),
        ("[network]\nlevel = true", "'network.level' must be"),
        ("[network]\nhidden = [8]\ndropout = [0.1, 0.2, 0.3]", "dropout has 3 values for 2 dense layers"),
        ("[network]\ndropout = 1.0", "'network.dropout.0' must be less than 1"),
        ("[oversampling]\ncopies = 2\nclasses = ['ill']", "'oversampling' copies need classes to copy and a change"),
        ("[oversampling]\ncopies = 2\nflip = 0.5", "'oversampling' copies need classes to copy and a change"),
        ("[oversampling]\nclasses = ['sick']", r"\[oversampling\] names a class 'sick' that is not in \[classes\]"),
        ("[finetuning]\nepochs = 3", "'finetuning' say what is trained with train_from or freeze_first"),
        ("[finetuning]\nepochs = 3\ntrain_from = 'all'\nviews = 2", r"go with a frozen backbone, in \[schedule\]"),
        ("[finetuning]\noptimiser = 'lbfgs'", r"go with a frozen backbone, in \[schedule\]"),
        ("[finetuning]\nseed = 3", r"'finetuning' one seed serves both stages: give it in \[schedule\]"),
        ("[unseen]\nother = ['covid19']", r"label 'covid19' is named twice in \[classes\] and \[unseen\]"),
        ("[unseen]\nother = []", "every class needs a label"),
        ("[preprocess]\nsteps = ['clahee']", "'preprocess.steps' .*did you mean 'clahe'"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(lines: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_recipe(f'title = "t"\n[classes]\nill = ["covid19"]\nwell = ["normal"]\n{lines}')


def test_one_level_and_one_dropout_are_lists_of_one() -> None:
    start = 'title = "t"\n[classes]\nill = ["covid19"]\nwell = ["normal"]\n[network]\n'
    told = parse_recipe(start + "level = -2\ndropout = 0.3").network
    assert (told.level, told.dropout) == ((-2,), (0.3,))
    assert parse_recipe(start + "level = [-1, -2]\nhidden = [4]\ndropout = [0.1, 0.2]").network.level == (-1, -2)

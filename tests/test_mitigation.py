"""What a recipe may do about a shortcut: what it is written as, what is refused, and what a run makes of it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.cache import ArrayView, FrameCache
from hilum.errors import DataError, UsageError
from hilum.fitting import Fitter
from hilum.index import Index
from hilum.networks import logits_of
from hilum.recipe import parse_recipe, toml_of
from hilum.recipe.detection import DetectionRecipe
from hilum.recipe.segmentation import SegmentationRecipe
from hilum.run import train_run
from hilum.selection import select_films
from hilum.split import make_splits

BASE = 'title = "t"\n[classes]\na = ["a"]\nb = ["b"]\n'


def test_keys_at_their_defaults_are_not_written() -> None:
    plain = parse_recipe(BASE)
    spelt = parse_recipe(
        BASE + '[network]\nproject = "none"\nproject_rounds = 3\n' + '[schedule]\nbalance = "none"\nrobust = false\n'
    )
    assert spelt == plain
    assert spelt.digest == plain.digest
    written = toml_of(plain.model_dump(mode="json"))
    assert not any(key in written for key in ("domain", "project", "balance =", "robust"))


@pytest.mark.parametrize(
    "told",
    [
        '[films]\ndomain = "attr.location"',
        '[network]\nproject = "source"\nproject_rounds = 2',
        '[schedule]\nbalance = "source"',
        "[schedule]\nrobust = true",
    ],
    ids=["domain", "project", "balance", "robust"],
)
def test_a_key_that_says_something_is_written_and_read_again(told: str) -> None:
    recipe = parse_recipe(BASE + told)
    assert parse_recipe(toml_of(recipe.model_dump(mode="json"))) == recipe
    assert recipe.digest != parse_recipe(BASE).digest


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ('[network]\nproject = "source"\ntrain_from = "all"', "needs a frozen backbone: leave train_from"),
        ('[network]\ntrain_from = "all"\n[schedule]\nrobust = true', r"robust needs a frozen backbone: use .*balance"),
        (
            '[network]\nproject = "source"\n[finetuning]\nepochs = 1\ntrain_from = "all"',
            r"\[finetuning\] would learn again what network.project takes away",
        ),
        ('[finetuning]\nepochs = 1\ntrain_from = "all"\nrobust = true', r"robust fits a head .*in \[schedule\]"),
        ('[schedule]\nbalance = "hospital"', "balance"),
        ("[network]\nproject_rounds = 0", "project_rounds"),
    ],
    ids=["project-trained", "robust-trained", "project-finetuned", "robust-second", "word", "rounds"],
)
def test_what_cannot_be_done_together_is_refused(told: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_recipe(BASE + told)


@pytest.mark.parametrize("kind", [DetectionRecipe, SegmentationRecipe])
@pytest.mark.parametrize("told", [{"balance": "source"}, {"robust": True}], ids=["balance", "robust"])
def test_networks_of_masks_and_boxes_weigh_no_classes(
    kind: type[DetectionRecipe | SegmentationRecipe], told: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="weigh films of classes: leave them out here"):
        kind.model_validate({"title": "t", "labels": ("a",), "schedule": told})


@pytest.fixture
def films(drawn: Index, tiny_recipe: str) -> pd.DataFrame:
    """Drawn films of two hospitals in turn; one film states none."""
    table = select_films(drawn, parse_recipe(tiny_recipe)).films
    rows = np.arange(len(table))
    where = np.where(rows % 2 == 0, "north", "south")
    return table.assign(**{"attr.hospital": pd.Series(where, dtype="string").mask(rows == 1)})


@pytest.fixture
def frames(drawn: Index, films: pd.DataFrame, tiny_recipe: str) -> ArrayView:
    cache = FrameCache(parse_recipe(tiny_recipe).preprocess)
    cache.fill(films, drawn.root, processes=1)
    return cache.view(films, drawn.root)


def _with(tiny_recipe: str, films: str, part: str, told: str) -> str:
    return tiny_recipe.replace(f"[{part}]\n", f"[{part}]\n{told}\n") + f"\n[films]\n{films}\n"


def test_a_film_that_states_no_place_counts_under_its_source(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str
) -> None:
    text = _with(tiny_recipe, 'domain = "attr.hospital"', "schedule", 'balance = "source"')
    fitter = Fitter(parse_recipe(text), films, frames)
    assert fitter.domains.iloc[1] == films["source"].iloc[1]
    assert set(fitter.domains) == {"north", "south", "drawn"}


@pytest.mark.parametrize("column", ["attr.hospitl", "target", "label.patch"])
def test_a_place_must_be_a_column_that_does_not_tell_the_class(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, column: str
) -> None:
    text = _with(tiny_recipe, f'domain = "{column}"', "schedule", 'balance = "source"')
    with pytest.raises(UsageError, match=r"column of the index \(films\.domain\)"):
        Fitter(parse_recipe(text), films, frames)


def test_a_projection_is_folded_into_what_is_released(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    """The network itself, without any projection, says what was scored; and it says something else than without."""
    split = make_splits(films, parse_recipe(tiny_recipe).split)[0]
    scored = []
    for told in ('project = "source"\nproject_rounds = 1', ""):
        text = _with(tiny_recipe, 'domain = "attr.hospital"', "network", told)
        fitter = Fitter(parse_recipe(text), films, frames)
        fitter.prepare([split])
        table = fitter.fit(split, checkpoint=tmp_path / "c").predictions
        rows = pd.Index(films["image_id"]).get_indexer(table["image_id"])
        logits = logits_of(fitter.classifier, fitter.preprocess, frames.only(rows))
        scored.append(table[["logit.patch", "logit.plain"]].to_numpy())
        np.testing.assert_allclose(scored[-1], logits, atol=1e-4)
    assert np.abs(scored[0] - scored[1]).max() > 0.01


def test_one_source_cannot_be_projected_away(
    films: pd.DataFrame, frames: ArrayView, tiny_recipe: str, tmp_path: Path
) -> None:
    split = make_splits(films, parse_recipe(tiny_recipe).split)[0]
    fitter = Fitter(parse_recipe(_with(tiny_recipe, "", "network", 'project = "source"')), films, frames)
    fitter.prepare([split])
    with pytest.raises(DataError, match="class and source cannot be separated"):
        fitter.fit(split, checkpoint=tmp_path / "c")


@pytest.mark.parametrize("told", ['balance = "source"', "robust = true"], ids=["balance", "robust"])
def test_a_run_says_where_no_weighting_helps(
    draw_index: Callable[..., Index], tiny_recipe: str, tmp_path: Path, told: str
) -> None:
    index = draw_index(tmp_path / "films", 24)
    patch = index.table["label.patch"].astype("boolean")
    table = index.table.assign(**{"attr.hospital": pd.Series(np.where(patch, "north", "south"), dtype="string")})
    text = _with(tiny_recipe, 'domain = "attr.hospital"', "schedule", told)
    train_run(text, None, tmp_path / "run", given=Index(table=table, root=index.root), processes=1)
    account = json.loads((tmp_path / "run" / "run.json").read_text())
    assert account["notes"] == [
        "no weighting can separate class and attr.hospital: every attr.hospital holds films of one class only"
    ]


def test_a_run_that_weighs_no_place_has_no_notes(finished: Path) -> None:
    assert "notes" not in json.loads((finished / "run.json").read_text())

"""The classifiers of the five reference systems as recipes: their sizes, what stays frozen, what siblings share."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hilum.recipe import Recipe, parse_recipe, recipe_text, shipped, summary
from hilum.split import Split, make_splits

OWN = (
    "cohen-covid-lite0",
    "covid19-frontal",
    "demo",
    "projection",
    "sandrofab-binary-lite0",
    "sandrofab-multiclass-lite0",
    "view",
)
"""Recipes that follow nobody; the second stage of the last is one of them."""
REFERENCES = [name for name in shipped() if not name.startswith(OWN)]
FAMILIES = ("bioaiteam-vgg16", "bioaiteam-vgg19", "bioaiteam-lite0")
"""Networks that parts of a film are compared on."""
DOCS = Path(__file__).parents[1] / "docs"


def recipe(name: str) -> Recipe:
    """A shipped recipe, in full."""
    return parse_recipe(recipe_text(name))


def told_apart(one: str, other: str) -> set[str]:
    """Keys, as `part.key`, in which two recipes differ; their titles always do."""
    first, second = (recipe(name).model_dump() for name in (one, other))
    keys = set()
    for part, values in first.items():
        if part in ("title", "classes", "unseen"):
            keys |= {part} if values != second[part] else set()
        else:
            keys |= {f"{part}.{key}" for key, value in values.items() if value != second[part][key]}
    return keys - {"title"}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Builds a recipe's network and freezes what the recipe freezes; shapes only, no numbers are drawn or computed."""
    torch = pytest.importorskip("torch", reason="needs the extra hilum[train]")
    from hilum.networks import backbones, build_classifier
    from hilum.networks.classifier import freeze

    monkeypatch.setattr(backbones, "digest_of_state", lambda _: "")  # tensors without numbers have no digest

    def build(name: str) -> Any:
        told = recipe(name)
        with torch.device("meta"):
            classes = len(told.class_names)
            made, _ = build_classifier(told.network, told.preprocess, classes=classes, weights="random")
            freeze(made, told.finetuning if told.finetuning.epochs else told.network)
        return made

    return build


def size(module: Any, *, trained: bool = False) -> int:
    """Parameters of a module, or those of them that are trained."""
    return sum(one.numel() for one in module.parameters() if one.requires_grad or not trained)


def convolutions(module: Any) -> Iterator[bool]:
    """Whether each convolution of a network is trained."""
    from torch import nn

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            yield layer.weight.requires_grad


def test_the_five_systems_are_all_there() -> None:
    assert len(REFERENCES) == 38
    assert {name.split("-")[0] for name in REFERENCES} == {"pereira", "sandrofab", "rovai", "bioaiteam", "polazaro"}


@pytest.mark.parametrize("name", shipped())
def test_a_recipe_is_listed_in_a_line(name: str) -> None:
    text = shipped()[name].read_text(encoding="utf-8")
    assert 20 < len(summary(text)) <= 110
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_header_says_all_it_must_in_order(name: str) -> None:
    text = shipped()[name].read_text(encoding="utf-8")
    where = "--index FILE" if not recipe(name).films.sources else "--root DATA"
    wanted = [
        "# Follows: ",
        f"#   hilum train {name} {where} --out RUN",
        "# Weights: ",
        "# Cost: ",
        "# Published: ",
        "# Ours",
        "# Differs:",
    ]
    header = [line for line in text.splitlines() if line.startswith("#")]
    places = [number for want in wanted for number, line in enumerate(header) if line.startswith(want)]
    assert len(places) == len(wanted)
    assert places == sorted(places)
    assert re.search(r"\(.*\bn\b.*\)", " ".join(header[places[4] : places[5]]))


@pytest.mark.parametrize("name", shipped())
def test_our_figure_in_a_header_is_one_of_the_reproduction(name: str) -> None:
    text = shipped()[name].read_text(encoding="utf-8")
    ours = re.search(r"# Ours(.*?)(?:\n# [A-Z]|\n[a-z])", text, re.DOTALL)
    if ours is None:
        assert name not in REFERENCES
        return
    told = " ".join(ours[1].replace("\n#", " ").split())
    figure = re.search(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", told)
    if figure is None:
        assert "not run here" in told
        return
    page = (Path(__file__).parents[1] / "docs" / "reproduction.md").read_text(encoding="utf-8")
    assert figure[0] in page
    assert told.endswith("docs/reproduction.md")


@pytest.mark.parametrize("name", REFERENCES)
def test_a_header_sends_to_recipes_that_are_there(name: str) -> None:
    text = shipped()[name].read_text(encoding="utf-8")
    for told in re.findall(r"\b(?:pereira|sandrofab|rovai|bioaiteam|polazaro)-[a-z0-9-]+[a-z0-9]", text):
        assert told in shipped() or told == "bioaiteam-zoo"


@pytest.mark.parametrize("name", REFERENCES)
def test_nothing_is_downloaded_unasked_and_nothing_standardised(name: str) -> None:
    network = recipe(name).network
    assert network.weights in ("cache", "packaged", "random")
    assert not network.standardise or "lite0" in name


@pytest.mark.parametrize("name", REFERENCES)
def test_the_weights_a_recipe_asks_for_exist(name: str) -> None:
    timm = pytest.importorskip("timm", reason="needs the extra hilum[train]")
    told = recipe(name).network
    published = told.backbone in timm.list_pretrained() or told.weights == "packaged"
    assert published == (told.weights != "random")


@pytest.mark.parametrize(
    ("name", "whole", "trained"),
    [
        ("rovai-normal", 15_304_898, 590_210),
        ("bioaiteam-vgg16-whole", 15_796_610, 15_796_610),
        ("bioaiteam-vgg19-whole", 21_106_306, 21_106_306),
        ("polazaro-baseline", 6_516_035, 6_516_035),
        ("polazaro-inception", 25_821_891, 25_821_891),
        ("sandrofab-multiclass-vgg16", 14_714_688 + 32_832 + 260, 32_832 + 260),
        ("sandrofab-binary-finetuned", None, 98_368 + 130 + 2080 * 1536 + 2 * 1536),
    ],
)
def test_networks_have_the_published_sizes(
    name: str, whole: int | None, trained: int, built: Callable[[str], Any]
) -> None:
    made = built(name)
    assert size(made, trained=True) == trained
    assert whole is None or size(made) == whole


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("sandrofab-multiclass-xception", 131_136 + 260),
        ("sandrofab-multiclass-nasnetlarge", 258_112 + 260),
        ("sandrofab-multiclass-inceptionresnetv2", 98_368 + 260),
        ("sandrofab-binary", 98_368 + 130),
    ],
)
def test_heads_have_the_published_sizes(name: str, head: int, built: Callable[[str], Any]) -> None:
    made = built(name)
    assert size(made, trained=True) == size(made.head) == head


@pytest.mark.parametrize(
    ("name", "frozen", "of"),
    [
        ("vgg16", 1, 13),
        ("vgg19", 2, 16),
        ("resnet50", 31, 53),
        ("resnet152v2", 0, 155),
        ("inceptionv3", 1, 94),
        ("inceptionresnetv2", 5 + 7 + 6 * 7, 244),
        ("mobilenetv2", 1 + 2 + 3 * 3, 52),
        ("densenet201", 1 + 2 * 6 + 1 + 2 * 12 + 1 + 2 * 5, 200),
        ("nasnetmobile", 0, 356),
    ],
)
def test_zoo_networks_keep_the_share_frozen_that_was_meant(
    name: str, frozen: int, of: int, built: Callable[[str], Any]
) -> None:
    made = built(f"bioaiteam-zoo-{name}")
    trained = list(convolutions(made.backbone))
    assert (trained.count(False), len(trained)) == (frozen, of)
    assert trained == sorted(trained)  # all that is frozen comes first
    assert all(convolutions(made.entry))
    assert recipe(f"bioaiteam-zoo-{name}").network.batch_norm == "trained"


def test_zoo_networks_differ_in_the_network_alone() -> None:
    names = [name for name in REFERENCES if name.startswith("bioaiteam-zoo-")]
    assert len(names) == 9
    for name in names:
        assert told_apart(names[0], name) <= {"network.backbone", "network.weights", "network.train_from"}


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_of_a_film_are_compared_on_the_same_films(family: str) -> None:
    parts = {"whole": "none", "lungs": "only", "background": "not"}
    assert {part: recipe(f"{family}-{part}").preprocess.lungs for part in parts} == parts
    for part in parts:
        assert recipe(f"{family}-{part}").films.masked
        assert told_apart(f"{family}-whole", f"{family}-{part}") <= {"preprocess.lungs"}


@pytest.mark.parametrize(
    ("one", "other", "keys"),
    [
        ("pereira-vgg16", "pereira-resnet50", {"network.backbone"}),
        ("bioaiteam-vgg16-whole", "bioaiteam-vgg19-whole", {"network.backbone"}),
        ("sandrofab-binary-lite0", "bioaiteam-lite0-whole", {"films.masked"}),
        ("rovai-normal", "rovai-pneumonia", {"classes", "unseen"}),
        ("rovai-normal-here", "rovai-pneumonia-here", {"classes", "unseen"}),
        ("polazaro-baseline", "polazaro-baseline-noaug", {"oversampling.copies"}),
        ("polazaro-baseline", "polazaro-inception", {"network.backbone"}),
        ("sandrofab-multiclass-vgg16", "sandrofab-multiclass-mobilenetv2", {"network.backbone"}),
        ("sandrofab-multiclass-xception", "sandrofab-multiclass-xception-adam", {"schedule.optimiser"}),
        ("sandrofab-multiclass-inceptionresnetv2", "sandrofab-binary", {"classes", "schedule.epochs"}),
        (
            "rovai-normal",
            "rovai-normal-here",
            {"films.sources", "split.hold_out_sources", "split.hold_out_from", "split.hold_out_as"}
            | {"network.backbone", "network.weights"},
        ),
    ],
)
def test_siblings_differ_in_what_they_say_they_do(one: str, other: str, keys: set[str]) -> None:
    assert told_apart(one, other) == keys


def test_a_run_without_augmentation_changes_no_film() -> None:
    told = recipe("sandrofab-multiclass-nasnetlarge-noaug")
    assert told.augmentation.changes_nothing
    assert told.schedule.views == 1
    assert recipe("polazaro-baseline").oversampling.copies == 5


@pytest.mark.parametrize("name", ["xception", "inceptionresnetv2", "nasnetlarge"])
def test_each_network_gets_its_size(name: str) -> None:
    sizes = {"xception": 299, "inceptionresnetv2": 299, "nasnetlarge": 331}
    assert recipe(f"sandrofab-multiclass-{name}").preprocess.size_px == sizes[name]
    assert told_apart("sandrofab-multiclass-vgg16", f"sandrofab-multiclass-{name}") == {
        "preprocess.size_px",
        "network.backbone",
    }


@pytest.mark.parametrize("name", ["rovai-normal", "rovai-pneumonia", "rovai-normal-here", "rovai-pneumonia-here"])
def test_each_pair_is_shown_the_class_it_never_saw(name: str) -> None:
    told = recipe(name)
    assert {*told.classes, *told.unseen} == {"covid19", "normal", "pneumonia"}
    assert told.split.class_equal


def split_of(name: str, counts: dict[str, int]) -> Split:
    """The recipe's division of so many films of each class, every film a patient of its own."""
    target = [label for label, count in counts.items() for _ in range(count)]
    films = pd.DataFrame({"target": target, "source": "one", "acquired": None})
    films["image_id"] = films["group_id"] = [f"film-{number:04}" for number in range(len(films))]
    return make_splits(films.astype("string"), recipe(name).split)[0]


def films_tested(split: Split) -> dict[str, int]:
    """Test films by class."""
    table = split.table
    return {str(name): int(count) for name, count in table["target"][table["fold"] == "test"].value_counts().items()}


def test_test_folds_have_the_published_counts() -> None:
    four = split_of("sandrofab-multiclass-vgg16", {"bacterial": 197, "covid19": 140, "normal": 200, "viral": 143})
    assert films_tested(four) == {"bacterial": 39, "covid19": 28, "normal": 40, "viral": 29}
    two = split_of("sandrofab-binary", {"covid19": 140, "other": 540})
    assert films_tested(two) == {"covid19": 28, "other": 108}
    three = split_of("polazaro-baseline", {"covid19": 219, "normal": 1341, "viral_pneumonia": 1345})
    assert films_tested(three) == {"covid19": 33, "normal": 201, "viral_pneumonia": 202}


def test_the_table_of_recipes_lists_every_recipe_and_no_other() -> None:
    page = (DOCS / "reference" / "recipes.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `([a-z0-9-]+)` \|", page)
    assert sorted(rows) == sorted(shipped())
    assert "reference/recipes.md" in (DOCS / "README.md").read_text(encoding="utf-8")

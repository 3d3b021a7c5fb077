import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from hilum import floors
from hilum.errors import DataError
from hilum.floors import best_floor, shortcut_floors

TWO = ("covid19", "other")
FLOORS = ("header", "attributes", "thumbnail", "border", "corners", "histogram", "source")
PICTURES = {"thumbnail", "border", "corners", "histogram"}


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    """Planted shortcuts are found by small forests too, in a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(floors, "TREES", 30)
        yield


def cohort(films=300, seed=0):
    """Films that say nothing about their label: same sizes, devices, patients and grey levels for all."""
    rng = np.random.default_rng(seed)
    target = rng.choice(TWO, films)
    table = pd.DataFrame(
        {
            "group_id": pd.array([f"g{i // 2}" for i in range(films)], dtype="string"),
            "source": pd.array(rng.choice(["here", "there"], films), dtype="string"),
            "width": pd.array(rng.integers(400, 2000, films), dtype="Int64"),
            "height": pd.array(rng.integers(400, 2000, films), dtype="Int64"),
            "bytes": pd.array(rng.integers(10_000, 90_000, films), dtype="Int64"),
            "mode": pd.array(["L"] * films, dtype="string"),
            "format": pd.array(["JPEG"] * films, dtype="string"),
            "bits": pd.array([8] * films, dtype="Int64"),
            "view": pd.array(rng.choice(["PA", "AP"], films), dtype="string"),
            "sex": pd.array(rng.choice(["F", "M"], films), dtype="string"),
            "age_years": pd.array(rng.uniform(1, 90, films), dtype="Float64"),
            "manufacturer": pd.array([None] * films, dtype="string"),
        }
    )
    return table, target, rng.integers(0, 256, (films, 32, 32)).astype(np.uint8)


def folds(films, target, seed=0):
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    return list(splitter.split(films, target, films["group_id"]))


def measure(films, target, thumbnails, classes=TWO, repeats=None, resamples=100):
    repeats = repeats or [folds(films, target)]
    scores = shortcut_floors(films, target, thumbnails, repeats=repeats, classes=classes, resamples=resamples)
    return {score.metric.removeprefix("floor."): score for score in scores}


@pytest.fixture(scope="module")
def nothing_planted():
    return measure(*cohort())


def test_where_nothing_is_planted_every_floor_is_chance(nothing_planted):
    assert list(nothing_planted) == [name + suffix for name in FLOORS for suffix in ("", ".accuracy")]
    for name in FLOORS:
        score = nothing_planted[name]
        assert 0.36 < score.value < 0.62, score
        assert score.low < 0.55, score
        assert (score.n, score.label) == (300, "covid19")


def plant(name, films, covid, thumbnails):
    if name == "header":
        films["attr.original_width"] = np.where(covid, "1024", "2048")
    if name == "source":
        films["source"] = np.where(covid, "here", "there")
    if name == "attributes":
        films.loc[covid, "sex"] = pd.NA
    if name == "thumbnail":
        thumbnails[covid, 12:16, 12:16] = 255
    if name == "border":
        thumbnails[covid, 0, 8:24] = 255
    if name == "corners":
        thumbnails[covid, 2:5, 2:5] = 255
    if name == "histogram":
        thumbnails[covid] //= 2


@pytest.mark.parametrize("name", FLOORS)
def test_a_planted_shortcut_raises_its_floor_and_no_other(name, nothing_planted):
    films, target, thumbnails = cohort()
    plant(name, films, target == "covid19", thumbnails)
    found = measure(films, target, thumbnails)
    assert found[name].value > 0.99
    assert found[f"{name}.accuracy"].value > 0.97
    alike = PICTURES if name in PICTURES else {name}  # what one look at a picture shows, another may show too
    assert best_floor(found.values()).metric in {f"floor.{floor}" for floor in alike}
    for other in set(FLOORS) - alike:
        assert found[other] == nothing_planted[other]


def test_the_header_is_read_jointly():
    films, target, _ = cohort(600)
    rng = np.random.default_rng(1)
    tall = rng.random(600) < 0.5
    films["width"] = np.where(tall, 1024, 2048)
    films["height"] = np.where(tall == (target == "covid19"), 1024, 2048)
    films["bytes"] = films["width"] * films["height"] // 10
    assert measure(films, target, None)["header"].value > 0.99


def test_nothing_known_is_no_figure():
    films, target, _ = cohort()
    films = films.drop(columns=["manufacturer"]).assign(view=pd.NA, sex=pd.NA, age_years=pd.NA, source="one")
    found = measure(films, target, None)
    for name in ("attributes", "thumbnail", "source"):
        assert (found[name].value, found[name].n, found[f"{name}.accuracy"].value) == (None, 0, None)
    assert best_floor(found.values()).metric == "floor.header"


def test_more_classes_are_averaged():
    films, _, _ = cohort()
    target = np.array(["a", "b", "c"])[np.arange(300) // 2 % 3]
    films["source"] = np.where(target == "a", "here", "there")
    score = measure(films, target, None, ("a", "b", "c"))["source"]
    assert score.value == pytest.approx((1 + 0.75 + 0.75) / 3, abs=0.06)
    assert score.label is None


def test_a_hold_out_counts_only_its_test_films():
    films, target, thumbnails = cohort()
    rows = np.arange(300)
    found = measure(films, target, thumbnails, repeats=[[(rows[:200], rows[200:])], [(rows[100:], rows[:100])]])
    assert found["header"].n == 200
    assert found["header"].n_positive == (target[[*range(100), *range(200, 300)]] == "covid19").sum()


def test_a_class_or_source_the_training_films_lack():
    films, target, _ = cohort(60)
    target[:], films["source"] = "other", "here"
    target[:20], films.loc[:9, "source"] = "covid19", "unseen"
    rows = np.arange(60)
    found = measure(films, target, None, repeats=[[(rows[20:40], np.r_[rows[:20], rows[40:]])]])
    assert found["source"].value == 0.5
    assert found["header.accuracy"].value == 0.5


def test_repeatable():
    films, target, thumbnails = cohort(80)
    assert measure(films, target, thumbnails) == measure(films, target, thumbnails)


def test_a_thumbnail_of_any_size_is_the_same_floor():
    films, target, thumbnails = cohort(80)
    small = thumbnails.reshape(80, 8, 4, 8, 4)[:, :, :1, :, :1]
    large = np.broadcast_to(small, (80, 8, 4, 8, 4)).reshape(80, 32, 32)
    found = [measure(films, target, size)["thumbnail"] for size in (small.reshape(80, 8, 8), large)]
    assert found[0] == found[1]


def test_what_does_not_fit_is_refused():
    films, target, thumbnails = cohort(60)
    rows = np.arange(60)
    with pytest.raises(DataError, match="one of covid19, other for each of the 60"):
        measure(films, np.full(60, "tuberculosis"), thumbnails, repeats=[folds(films, target)])
    with pytest.raises(DataError, match="multiple of 8"):
        measure(films, target, thumbnails[:, :30, :30])
    for bad in ([], [(rows, rows)], [(rows[:30], rows[30:]), (rows[:30], rows[30:])], [(rows[:30], rows[30:] + 1)]):
        with pytest.raises(DataError, match="fold"):
            measure(films, target, thumbnails, repeats=[bad])


@pytest.fixture(scope="module")
def sandrofab(data_pack):
    table = pd.read_csv(data_pack / "sandrofab" / "index.csv").rename(columns={"dataset": "source"})
    files = [data_pack / name for name in table["file"]]
    small = [
        cv2.resize(cv2.imread(str(f), cv2.IMREAD_GRAYSCALE), (32, 32), interpolation=cv2.INTER_AREA) for f in files
    ]
    films = table[["group_id", "source", "width", "height", "view"]].assign(
        bytes=[f.stat().st_size for f in files],
        **{f"attr.original_{side}": table[f"original_{side}"].astype("string") for side in ("width", "height")},
    )
    return films, np.where(table["label_std"] == "covid19", *TWO), np.stack(small)


def test_the_composite_set_is_told_apart_without_a_lung(sandrofab):
    found = measure(*sandrofab, resamples=200)
    assert found["header"].value > 0.93
    assert found["thumbnail"].value > 0.98
    assert found["attributes"].value == 1.0, "all COVID-19 films are PA and all others AP"
    assert found["attributes"].low > 0.9
    assert found["source"].value is None

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn import metrics as reference

from hilum import evaluate as ev
from hilum.errors import DataError, UsageError
from hilum.evaluate import NOT_AUDITED, Score, choose_operating_points, evaluate, find_score, headline

FOUR = ("covid19", "normal", "bacterial_pneumonia", "viral_pneumonia")
TWO = ("covid19", "other")


def cohort(classes=FOUR, films=400, repeats=1, seed=0, signal=1.5):
    """Films of two sources, and what a fair network predicts for them in each repeat."""
    rng = np.random.default_rng(seed)
    ids = [f"film{i}" for i in range(films)]
    table = pd.DataFrame(
        {
            "image_id": pd.array(ids, dtype="string"),
            "group_id": pd.array([f"g{i // 2}" for i in range(films)], dtype="string"),
            "source": pd.array(rng.choice(["here", "there"], films), dtype="string"),
            "view": pd.array(rng.choice(["PA", "AP"], films), dtype="string"),
            "sex": pd.array([None if i % 10 == 0 else "FM"[i % 2] for i in range(films)], dtype="string"),
            "age_years": pd.array(rng.uniform(5, 95, films), dtype="Float64"),
            "manufacturer": pd.array([None] * films, dtype="string"),
        }
    )
    target = rng.integers(0, len(classes), films)
    frames = []
    for repeat in range(repeats):
        logits = rng.normal(size=(films, len(classes)))
        logits[np.arange(films), target] += signal
        frame = pd.DataFrame(softmax(logits, axis=1), columns=[f"p.{name}" for name in classes])
        frames.append(frame.assign(image_id=ids, repeat=repeat, fold="test", reference=np.array(classes)[target]))
    return pd.concat(frames, ignore_index=True), table


def evaluated(predictions, films, classes=FOUR, points=(), resamples=200, **more):
    return evaluate(
        predictions, films, classes=classes, operating_points=points, temperature=1.2, index_digest="i",
        bundle_digest="b", resamples=resamples, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def four():
    predictions, films = cohort()
    points = choose_operating_points(cohort(seed=1)[0], FOUR)
    return predictions, films, evaluated(predictions, films, points=points)


def value(evaluation, metric, **where):
    return find_score(evaluation.scores, metric, **where).value


def test_figures_equal_scikit_learn(four):
    predictions, _, evaluation = four
    p = predictions[[f"p.{name}" for name in FOUR]].to_numpy()
    target = predictions["reference"].map(FOUR.index).to_numpy()
    decided = p.argmax(axis=1)
    wanted = {
        "accuracy": reference.accuracy_score(target, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(target, decided),
        "macro_f1": reference.f1_score(target, decided, average="macro"),
        "macro_auroc": reference.roc_auc_score(target, p, multi_class="ovr", average="macro"),
        "log_loss": reference.log_loss(target, p),
    }
    assert {name: value(evaluation, name) for name in wanted} == pytest.approx(wanted)
    report = reference.classification_report(target, decided, output_dict=True)
    for c, name in enumerate(FOUR):
        assert value(evaluation, "auroc", label=name) == pytest.approx(reference.roc_auc_score(target == c, p[:, c]))
        area = reference.average_precision_score(target == c, p[:, c])
        assert value(evaluation, "average_precision", label=name) == pytest.approx(area)
        found = [value(evaluation, metric, label=name) for metric in ("precision", "recall", "f1")]
        assert found == pytest.approx([report[str(c)][key] for key in ("precision", "recall", "f1-score")])
        assert find_score(evaluation.scores, "recall", label=name).n == (target == c).sum()
        assert find_score(evaluation.scores, "precision", label=name).n == (decided == c).sum()
    assert evaluation.confusion == tuple(map(tuple, reference.confusion_matrix(target, decided).tolist()))


def test_every_interval_holds_its_figure(four):
    _, _, evaluation = four
    bounded = [score for score in evaluation.scores if score.low is not None]
    assert len(bounded) > 60
    for score in bounded:
        slack = 0.02 if score.metric == "ece" else 0.0
        assert score.low - slack <= score.value <= score.high, score
        assert score.low < score.high, score


def test_operating_points_equal_counting(four):
    predictions, _, evaluation = four
    point = next(p for p in evaluation.operating_points if p.label == "normal" and p.name == "youden")
    alarm = predictions["p.normal"] >= point.threshold
    positive = predictions["reference"] == "normal"
    wanted = {
        "sensitivity": (positive[positive], alarm[positive]),
        "specificity": (positive[~positive], ~alarm[~positive]),
        "ppv": (alarm[alarm], positive[alarm]),
        "npv": (alarm[~alarm], ~positive[~alarm]),
    }
    for metric, (films, right) in wanted.items():
        score = find_score(evaluation.scores, metric, label="normal", at="youden")
        assert score.value == pytest.approx(right.mean()), metric
        assert score.n == len(films), metric


def test_every_network_is_used_at_its_own_operating_point():
    predictions, films = cohort(TWO, repeats=2)
    points = [ev.OperatingPoint(label="covid19", name="youden", threshold=0.5)]
    own = np.where(np.arange(800) % 400 < 150, 0.2, np.where(np.arange(800) < 700, 0.8, np.nan))
    evaluation = evaluated(predictions.assign(**{"t.covid19.youden": own}), films, TWO, points)
    alarm = predictions["p.covid19"] >= np.nan_to_num(own, nan=0.5)
    positive = predictions["reference"] == "covid19"
    wanted = np.mean([alarm[positive & (predictions["repeat"] == repeat)].mean() for repeat in (0, 1)])
    assert value(evaluation, "sensitivity", label="covid19", at="youden") == pytest.approx(wanted)
    common = evaluated(predictions, films, TWO, points)
    assert value(common, "sensitivity", label="covid19", at="youden") != pytest.approx(wanted)


def test_sources_and_subgroups_equal_their_films_alone(four):
    predictions, films, evaluation = four
    there = (films["source"] == "there").to_numpy()
    score = find_score(evaluation.scores, "auroc", label="normal", source="there")
    wanted = reference.roc_auc_score(predictions["reference"][there] == "normal", predictions["p.normal"][there])
    assert score.value == pytest.approx(wanted)
    assert score.n == there.sum()
    sixties = films["age_years"].between(60, 70, inclusive="left").to_numpy(dtype=bool)
    decided = predictions[[f"p.{name}" for name in FOUR]].idxmax(axis=1).str.removeprefix("p.")
    score = find_score(evaluation.scores, "accuracy", subgroup="age=60-69")
    assert score.value == pytest.approx((decided == predictions["reference"])[sixties].mean())
    assert score.n == sixties.sum()


def test_subgroups_are_named_for_what_is_stated(four):
    evaluation = four[2]
    found = {score.subgroup for score in evaluation.scores} - {None}
    assert {"sex=F", "sex=M", "sex=unstated", "view=AP", "view=PA", "age=0-9", "age=90+"} <= found
    assert not any(name.startswith("manufacturer") or name == "view=unstated" for name in found)
    assert sum(find_score(evaluation.scores, "accuracy", subgroup=f"sex={s}").n for s in ("F", "M", "unstated")) == 400


def test_too_few_films_give_no_figure_but_their_number():
    predictions, films = cohort(TWO, 100)
    few = np.flatnonzero(predictions["reference"] == "covid19")[:4]
    films["view"] = "PA"
    films.loc[[*few, *np.flatnonzero(predictions["reference"] == "other")[:20]], "view"] = "AP"
    evaluation = evaluated(predictions, films, TWO)
    score = find_score(evaluation.scores, "auroc", label="covid19", subgroup="view=AP")
    assert (score.value, score.low, score.n, score.n_positive) == (None, None, 24, 4)
    assert value(evaluation, "accuracy", subgroup="view=AP") is not None


def test_two_classes_are_judged_once():
    predictions, films = cohort(TWO)
    evaluation = evaluated(predictions, films, TWO, choose_operating_points(predictions, TWO))
    assert {score.label for score in evaluation.scores if score.metric == "auroc"} == {"covid19"}
    assert {point.label for point in evaluation.operating_points} == {"covid19"}
    assert {curve.label for curve in evaluation.curves} == {"covid19"}
    assert find_score(evaluation.scores, "macro_auroc") is None
    assert {score.label for score in evaluation.scores if score.metric == "recall"} == set(TWO)


def test_repeats_are_averaged_and_counted_once():
    predictions, films = cohort(TWO, repeats=3)
    evaluation = evaluated(predictions, films, TWO)
    areas = [
        reference.roc_auc_score(rows["reference"] == "covid19", rows["p.covid19"])
        for _, rows in predictions.groupby("repeat")
    ]
    assert value(evaluation, "auroc", label="covid19") == pytest.approx(np.mean(areas))
    assert (evaluation.n_films, evaluation.n_groups, evaluation.n_repeats) == (400, 200, 3)
    assert np.sum(evaluation.confusion) == 1200
    assert find_score(evaluation.scores, "auroc", label="covid19").n == 400
    assert any("3 repeats" in note for note in evaluation.notes)


def test_films_of_one_group_widen_the_interval():
    predictions, films = cohort(TWO, films=200)
    copies = pd.concat([predictions.assign(image_id=predictions["image_id"] + f"copy{k}") for k in range(5)])
    table = pd.concat([films.assign(image_id=films["image_id"] + f"copy{k}") for k in range(5)])
    grouped = find_score(evaluated(copies, table, TWO).scores, "accuracy")
    apart = find_score(evaluated(copies, table.assign(group_id=table["image_id"]), TWO).scores, "accuracy")
    assert grouped.high - grouped.low > 1.8 * (apart.high - apart.low)


def test_a_class_of_33_films_has_a_wide_interval_and_a_perfect_one_is_not_certain():
    rng = np.random.default_rng(0)
    right = {"covid19": 26, "normal": 198, "pneumonia": 202}
    films = {"covid19": 33, "normal": 201, "pneumonia": 202}
    classes = tuple(films)
    rows = []
    for c, name in enumerate(classes):
        for i in range(films[name]):
            p = np.full(3, 0.1)
            p[c if i < right[name] else (c + 1) % 3] = 0.8
            rows.append({"reference": name, **{f"p.{other}": q for other, q in zip(classes, p, strict=True)}})
    predictions = pd.DataFrame(rows).assign(repeat=0, fold="test", image_id=lambda t: [f"f{i}" for i in t.index])
    table = pd.DataFrame({"image_id": predictions["image_id"], "group_id": predictions["image_id"], "source": "one"})
    evaluation = evaluated(predictions.sample(frac=1, random_state=rng), table, classes)
    small = find_score(evaluation.scores, "recall", label="covid19")
    large = find_score(evaluation.scores, "recall", label="normal")
    assert round(100 * small.value, 2) == 78.79
    assert round(100 * large.value, 2) == 98.51
    assert small.high - small.low > 0.2 > 4 * (large.high - large.low)
    perfect = find_score(evaluation.scores, "recall", label="pneumonia")
    assert perfect.value == perfect.high == 1.0
    assert perfect.low == pytest.approx(0.025 ** (1 / 202))


def test_external_films_are_scored_apart():
    predictions, films = cohort(TWO)
    away, more = cohort(TWO, seed=5, signal=0.0)
    away = away.assign(image_id="x" + away["image_id"], fold="external")
    more = more.assign(image_id="x" + more["image_id"].astype(object), source="elsewhere")
    alone = evaluated(predictions, films, TWO)
    both = evaluated(pd.concat([predictions, away]), pd.concat([films, more]), TWO)
    assert [score for score in both.scores if score.fold == "test"] == list(alone.scores)
    assert both.confusion == alone.confusion
    assert value(both, "auroc", label="covid19", fold="external") == pytest.approx(0.5, abs=0.1)
    assert find_score(both.scores, "auroc", label="covid19", source="elsewhere", fold="external").n == 400
    assert re.search(r" · unseen source 0\.\d{3} \[.*\] \(n = 400 films\)$", headline(both))
    assert re.fullmatch(
        r"AUROC 0\.\d{3} \[.*\] on external films \(n = 400 films, 200 groups\) · shortcut floor not measured",
        headline(evaluated(away, more, TWO)),
    )


def test_probability_summary_and_calibration():
    predictions, films = cohort(TWO, films=2000)
    evaluation = evaluated(predictions, films, TWO, resamples=0)
    positive = predictions["reference"] == "covid19"
    p = predictions["p.covid19"]
    assert value(evaluation, "probability_mean_positive", label="covid19") == pytest.approx(p[positive].mean())
    assert value(evaluation, "probability_median_negative", label="covid19") == pytest.approx(p[~positive].median())
    assert value(evaluation, "calibration_slope", label="covid19") == pytest.approx(1.5, abs=0.2)
    assert find_score(evaluation.scores, "auroc", label="covid19").low is None, "no resamples, no interval"


def test_the_headline_never_shows_the_score_alone():
    predictions, films = cohort(TWO)
    floors = [
        Score(metric="floor.header", value=0.95, low=0.9, high=0.97, n=400),
        Score(metric="floor.header.accuracy", value=0.99, low=0.9, high=1.0, n=400),
        Score(metric="floor.thumbnail", value=0.7, low=0.6, high=0.8, n=400),
        Score(metric="floor.source", value=None, low=None, high=None, n=0),
    ]
    bare = evaluated(predictions, films, TWO)
    auroc = value(bare, "auroc", label="covid19")
    assert re.fullmatch(
        r"AUROC 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] \(n = 400 films, 200 groups\) · shortcut floor not measured"
        r" · unseen source not measured",
        headline(bare),
    )
    full = dataclasses.replace(bare, floors=tuple(floors))
    rest = f" · shortcut floor 0.950 (header) · above the floor {auroc - 0.95:+.3f} · unseen source not measured"
    assert headline(full).endswith(rest)
    assert headline(full, NOT_AUDITED).endswith(f"{rest} · not audited (hilum audit RUN)")
    many, _ = cohort()
    assert headline(evaluated(many, films)).startswith("macro AUROC 0.")


def test_the_report_holds_every_class_and_operating_point(four):
    _, _, evaluation = four
    text = ev.classification_report(evaluation)
    for name in FOUR:
        recall = find_score(evaluation.scores, "recall", label=name)
        assert re.search(rf"^{name} +{recall.n} +{re.escape(ev.spelt(recall))} ", text, re.MULTILINE)
    assert f"accuracy: {ev.spelt(find_score(evaluation.scores, 'accuracy'))}" in text
    assert text.count("sensitivity>=0.95") == 4


def test_the_report_lists_every_floor_highest_first(four):
    def floor(name, area):
        return ev.Score(metric=f"floor.{name}", value=area, low=None, high=None, n=400)

    floors = (floor("header", 0.6), floor("thumbnail", 0.7), floor("source", None), floor("thumbnail.accuracy", 0.9))
    text = ev.classification_report(dataclasses.replace(four[2], floors=floors))
    assert text.splitlines()[-3:] == ["shown no lung  macro AUROC", "thumbnail      0.700", "header         0.600"]
    assert "shown no lung" not in ev.classification_report(dataclasses.replace(four[2], floors=()))


def test_curves_are_there_and_short(four):
    _, _, evaluation = four
    assert len(evaluation.curves) == 12
    for curve in evaluation.curves:
        assert len(curve.x) == len(curve.y) <= 202
        assert (np.diff(curve.x) >= 0).all()
        assert sum(curve.weight) == (400 if curve.kind == "reliability" else 0)


def test_saved_and_loaded_are_equal(four, tmp_path):
    _, _, evaluation = four
    floor = Score(metric="floor.source", value=None, low=None, high=None, n=0)
    evaluation = dataclasses.replace(evaluation, floors=(floor,), bundle_digest=None)
    ev.save_evaluation(evaluation, tmp_path / "evaluation.json")
    assert ev.load_evaluation(tmp_path / "evaluation.json") == evaluation


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.update(format=2),
        lambda told: told.pop("format"),
        lambda told: told.update(surprise=1),
        lambda told: told["scores"][0].update(surprise=1),
        lambda told: told["scores"][0].update(value="0.9"),
        lambda told: told.pop("classes"),
    ],
)
def test_what_is_no_evaluation_is_refused(four, tmp_path, spoil):
    path = tmp_path / "evaluation.json"
    ev.save_evaluation(four[2], path)
    told = json.loads(path.read_text())
    spoil(told)
    path.write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"evaluation\.json is not an evaluation"):
        ev.load_evaluation(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_files_of_another_kind_are_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(DataError, match="not an evaluation"):
        ev.load_evaluation(path)
    with pytest.raises(DataError, match="does not exist"):
        ev.load_evaluation(tmp_path / "absent.json")


def test_the_table_has_a_row_for_every_score(four):
    _, _, evaluation = four
    table = ev.scores_table(evaluation)
    assert list(table.columns) == [field.name for field in dataclasses.fields(Score)]
    assert len(table) == len(evaluation.scores)
    assert table.loc[table["metric"] == "accuracy", "value"].iloc[0] == value(evaluation, "accuracy")


def test_row_order_and_seed(four):
    predictions, films, evaluation = four
    assert evaluated(predictions, films, points=evaluation.operating_points) == evaluation
    shuffled = evaluated(predictions, films.sample(frac=1, random_state=0), points=evaluation.operating_points)
    assert shuffled == evaluation
    other = evaluated(predictions, films, points=evaluation.operating_points, seed=1)
    assert value(other, "accuracy") == value(evaluation, "accuracy")
    assert find_score(other.scores, "accuracy") != find_score(evaluation.scores, "accuracy")


def test_films_without_a_group_are_groups_of_their_own():
    predictions, films = cohort(TWO, films=100)
    films.loc[:9, "group_id"] = pd.NA
    evaluation = evaluated(predictions, films, TWO)
    assert evaluation.n_groups == 10 + 45
    assert "10 test films have no group: each counts as a group of its own" in evaluation.notes


def test_a_class_without_test_films_is_unknown_not_zero():
    predictions, films = cohort()
    kept = predictions[predictions["reference"] != "normal"]
    evaluation = evaluated(kept, films)
    for metric in ("auroc", "average_precision", "recall"):
        assert value(evaluation, metric, label="normal") is None
    assert value(evaluation, "balanced_accuracy") == pytest.approx(
        np.mean([value(evaluation, "recall", label=name) for name in FOUR if name != "normal"])
    )
    assert value(evaluation, "macro_auroc") is not None
    assert any(note.startswith("no test film is normal") for note in evaluation.notes)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns=["p.normal"]), r"lack p\.normal"),
        (lambda t: t.iloc[:0], "no predictions"),
        (lambda t: t.assign(fold="tune"), "a fold other than"),
        (lambda t: t.assign(reference="tuberculosis"), "a reference that is none of"),
        (lambda t: t.assign(image_id="x" + t["image_id"]), "an image id the index does not have"),
        (lambda t: pd.concat([t, t.iloc[:3]]), "3 predictions have an image id and repeat that occur twice"),
        (lambda t: t.assign(**{"p.normal": 0.9}), "not summing to 1"),
        (lambda t: t.assign(**{"p.normal": np.nan}), "not summing to 1"),
        (
            lambda t: pd.concat([t, t.assign(repeat=1, reference=np.roll(t["reference"], 1))]),
            "a reference that differs between repeats",
        ),
    ],
)
def test_predictions_that_do_not_fit_are_refused_without_naming_films(spoil, message):
    predictions, films = cohort()
    with pytest.raises(DataError, match=message) as caught:
        evaluated(spoil(predictions), films)
    assert "film1" not in str(caught.value)


def test_operating_points_need_positives_and_a_known_name():
    predictions, _ = cohort()
    with pytest.raises(DataError, match="class 'normal': the tune fold has no positives"):
        choose_operating_points(predictions[predictions["reference"] != "normal"], FOUR)
    with pytest.raises(UsageError, match="did you mean"):
        choose_operating_points(predictions, FOUR, ["youdens"])

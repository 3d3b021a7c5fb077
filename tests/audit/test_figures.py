import numpy as np
import pandas as pd
import pytest

from hilum.audit.check import Verdict
from hilum.audit.figures import ask_calibration, ask_seeds, ask_size, ask_too_good
from hilum.audit.origin import ask_gate, ask_provenance
from hilum.audit.transport import ask_transport, predictive_values

from .conftest import film_table, score_table


def with_scores(films, p):
    return score_table(films).assign(**{"p.covid19": p, "p.other": 1 - p})


def covid(films):
    return (films["target"] == "covid19").to_numpy(bool)


def test_a_score_of_one_is_a_warning_until_another_source_has_it_too(make_subject):
    films = film_table(400)
    perfect = with_scores(films, np.where(covid(films), 0.9, 0.1))
    assert ask_too_good(make_subject(films, perfect)).verdict == Verdict.WARN
    split = perfect.assign(fold=np.where(np.arange(400) % 6 < 4, "test", "external"))
    held = ask_too_good(make_subject(films, split))
    assert held.verdict == Verdict.PASS
    assert "on a source never trained on" in held.says


def test_an_honest_score_is_not_too_good(make_subject):
    assert ask_too_good(make_subject()).verdict == Verdict.PASS


def test_ten_perfect_films_are_not_too_good(make_subject):
    films = film_table(10)
    perfect = with_scores(films, np.where(covid(films), 0.9, 0.1))
    assert ask_too_good(make_subject(films, perfect)).verdict == Verdict.PASS


def test_few_groups_are_a_warning(make_subject):
    few = ask_size(make_subject(film_table(60)))
    assert few.verdict == Verdict.WARN
    assert few.details["groups"] == {"covid19": 15, "other": 15}
    assert "fewer than 100" in few.says
    films = film_table(1600)
    many = ask_size(make_subject(films, score_table(films, skill=2.0)))
    assert many.verdict == Verdict.PASS, many


def test_right_probabilities_pass_and_shameless_ones_fail(make_subject):
    films = film_table(800)
    rng = np.random.default_rng(0)
    p = np.clip(np.where(covid(films), rng.beta(2, 1, 800), rng.beta(1, 2, 800)), 0.01, 0.99)
    assert ask_calibration(make_subject(films, with_scores(films, p))).verdict == Verdict.PASS
    sure = np.where(p > 0.5, 0.999, 0.001)
    finding = ask_calibration(make_subject(films, with_scores(films, sure)))
    assert finding.verdict == Verdict.FAIL
    assert set(finding.details["reliability"]) == {"covid19"}


def test_few_films_are_not_called_badly_calibrated(make_subject):
    films = film_table(20)
    rng = np.random.default_rng(1)
    p = np.clip(np.where(covid(films), rng.beta(2, 1, 20), rng.beta(1, 2, 20)), 0.01, 0.99)
    assert ask_calibration(make_subject(films, with_scores(films, p))).verdict == Verdict.PASS


def test_the_temperature_is_taken_back_where_logits_are_told(make_subject):
    films = film_table(200)
    told = score_table(films)
    logits = np.log(told[["p.covid19", "p.other"]].to_numpy()) * 5
    told = told.assign(**{"logit.covid19": logits[:, 0], "logit.other": logits[:, 1]})
    finding = ask_calibration(make_subject(films, told, temperature=5.0))
    assert finding.details["ece_before_temperature"] > finding.worst.value


def folds(films, skills, seed=0):
    """A fold each skill, patients whole."""
    number = np.arange(len(films)) // 2 % len(skills)
    parts = [score_table(films, skill=1.0, seed=seed).assign(division=str(n))[number == n] for n in range(len(skills))]
    rng = np.random.default_rng(seed)
    for n, part in enumerate(parts):
        shift = skills[n] * (part["reference"] == "covid19").to_numpy() + rng.normal(0, 1, len(part))
        p = 1 / (1 + np.exp(-shift))
        parts[n] = part.assign(**{"p.covid19": p, "p.other": 1 - p})
    return pd.concat(parts, ignore_index=True)


def test_folds_that_differ_by_sampling_pass_and_one_that_learnt_nothing_fails(make_subject):
    films = film_table(1000)
    same = ask_seeds(make_subject(films, folds(films, [2.0] * 5)))
    assert (same.verdict, same.details["over"]) == (Verdict.PASS, "folds")
    torn = ask_seeds(make_subject(films, folds(films, [4.0, 4.0, 0.0, 4.0, 0.0])))
    assert torn.verdict == Verdict.FAIL, torn


def test_small_folds_are_not_accused(make_subject):
    films = film_table(60)
    finding = ask_seeds(make_subject(films, folds(films, [1.0] * 5)))
    assert finding.worst.value > 0.02
    assert finding.verdict == Verdict.PASS


def test_seeds_on_the_same_films(make_subject):
    films = film_table(300)
    parts = [
        score_table(films, skill=1.0, seed=0).assign(repeat=seed, division="0", **{"p.covid19": p, "p.other": 1 - p})
        for seed, p in enumerate(seeded(films, 6))
    ]
    finding = ask_seeds(make_subject(films, pd.concat(parts, ignore_index=True)))
    assert finding.details["over"] == "seeds"
    assert finding.verdict == Verdict.FAIL


def seeded(films, seeds):
    rng = np.random.default_rng(0)
    for seed in range(seeds):
        skill = 3.0 if seed % 2 else 0.3
        yield 1 / (1 + np.exp(-(skill * covid(films) + rng.normal(0, 1, len(films)))))


def test_three_folds_are_too_few(make_subject):
    films = film_table(120)
    assert ask_seeds(make_subject(films, folds(films, [1.0] * 3))).verdict == Verdict.SKIPPED


def test_one_model_has_no_seeds(make_subject):
    assert ask_seeds(make_subject()).verdict == Verdict.SKIPPED


def test_a_threshold_that_fails_at_one_source_fails(make_subject):
    films = film_table(600)
    rng = np.random.default_rng(0)
    there = (films["source"] == "there").to_numpy(bool)
    p = np.clip(np.where(covid(films), 0.7, 0.3) + rng.normal(0, 0.1, 600), 0.01, 0.99)
    assert ask_transport(make_subject(films, with_scores(films, p))).verdict == Verdict.PASS
    finding = ask_transport(make_subject(films, with_scores(films, np.clip(p - 0.25 * there, 0.01, 0.99))))
    assert finding.verdict == Verdict.FAIL
    assert finding.worst.of.startswith("sensitivity for covid19")
    rows = {row["source"]: row for row in finding.details["sources"]}
    assert rows["there"]["sensitivity"] < rows["here"]["sensitivity"] - 0.3
    assert rows["here"]["ppv"] == pytest.approx(
        predictive_values(rows["here"]["sensitivity"], rows["here"]["specificity"])["ppv"]
    )


def test_a_few_films_at_two_sources_are_not_accused(make_subject):
    films = film_table(40)
    finding = ask_transport(make_subject(films))
    assert finding.verdict in (Verdict.PASS, Verdict.SKIPPED)


def test_a_films_own_threshold_is_used(make_subject):
    films = film_table(200)
    told = with_scores(films, np.where(covid(films), 0.2, 0.1)).assign(**{"t.covid19.youden": 0.15})
    from hilum.evaluate import OperatingPoint

    points = (OperatingPoint(label="covid19", name="youden", threshold=0.9),)
    rows = ask_transport(make_subject(films, told, points=points)).details["sources"]
    assert rows[0]["sensitivity"] == rows[0]["specificity"] == 1.0


@pytest.mark.parametrize(("sensitivity", "specificity"), [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_predictive_values_at_the_edges(sensitivity, specificity):
    values = predictive_values(sensitivity, specificity)
    assert values["ppv"] is None or 0 <= values["ppv"] <= 1
    assert values["npv"] is None or 0 <= values["npv"] <= 1


def test_films_nobody_can_name_are_a_warning(make_subject):
    films = film_table(40)
    assert ask_provenance(make_subject(films)).verdict == Verdict.PASS
    films.loc[:4, "licence"] = pd.NA
    finding = ask_provenance(make_subject(films))
    assert (finding.verdict, finding.worst.value) == (Verdict.WARN, 5)


@pytest.mark.parametrize(
    ("refused", "verdict"), [(1000, Verdict.PASS), (985, Verdict.PASS), (970, Verdict.WARN), (900, Verdict.FAIL)]
)
def test_a_gate_that_lets_pictures_through(make_subject, refused, verdict):
    assert ask_gate(make_subject(gate={"lateral": (refused, 1000), "CT": (50, 50)})).verdict == verdict


def test_five_pictures_do_not_accuse_a_gate(make_subject):
    assert ask_gate(make_subject(gate={"CT": (4, 5)})).verdict == Verdict.PASS

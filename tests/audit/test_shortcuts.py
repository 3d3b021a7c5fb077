import json

import numpy as np
import pandas as pd
import pytest

from hilum.audit import shortcuts
from hilum.audit.check import Measured, Verdict
from hilum.audit.shortcuts import ask_attributes, ask_edges, ask_header, ask_source
from hilum.errors import DataError, UsageError

from .conftest import film_table, halves


def text(values):
    return pd.array(np.asarray(values, object), dtype="string")


def covid(films):
    return (films["target"] == "covid19").to_numpy(bool)


def thumbnails(films, *, planted):
    made = np.random.default_rng(0).integers(0, 200, (len(films), 32, 32)).astype(np.uint8)
    if planted:
        made[covid(films), 0, 4:28] = 255  # an edge, but no corner
    return made


PLANTS = {
    "source": lambda films: films.assign(source=text(np.where(covid(films), "here", "there"))),
    "collection": lambda films: films.assign(**{"attr.collection": text(np.where(covid(films), "a", "b"))}),
    "header": lambda films: films.assign(bytes=films["width"] * films["height"] // np.where(covid(films), 2, 5)),
    "attributes": lambda films: films.assign(sex=films["sex"].mask(covid(films))),
}
ASKS = {"source": ask_source, "collection": ask_source, "header": ask_header, "attributes": ask_attributes}


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_shortcut_fails(make_subject, name):
    finding = ASKS[name](make_subject(PLANTS[name](film_table(200))))
    assert finding.verdict == Verdict.FAIL
    assert finding.worst.value > 0.9
    assert finding.worst.p < 0.01
    json.dumps(dict(finding.details), allow_nan=False)


def test_a_named_column_tells_where_films_come_from(make_subject):
    films = film_table(200).assign(source="one")
    films["attr.ward"] = text(np.where(covid(films), "a", "b"))
    assert ask_source(make_subject(films)).verdict == Verdict.SKIPPED
    finding = ask_source(make_subject(films, domain="attr.ward"))
    assert finding.verdict == Verdict.FAIL
    assert "covid19 come from a" in finding.says
    with pytest.raises(UsageError, match=r"attr\.wrd"):
        make_subject(films, domain="attr.wrd")


@pytest.mark.parametrize("name", PLANTS)
def test_the_same_shuffled_passes(make_subject, name):
    films = PLANTS[name](film_table(200))
    by_patient = np.random.default_rng(1).permutation(100)
    films["target"] = text(np.repeat(films["target"].to_numpy()[::2][by_patient], 2))
    finding = ASKS[name](make_subject(films))
    assert finding.verdict == Verdict.PASS, finding


@pytest.mark.parametrize("name", PLANTS)
def test_a_few_films_are_not_accused(make_subject, name):
    films = PLANTS[name](film_table(16, seed=3))
    assert ASKS[name](make_subject(films)).verdict != Verdict.FAIL


def test_a_label_of_one_source_fails_though_others_mix(make_subject):
    """COVID-19 comes from one hospital that has others too: the AUROC alone would pass as a warning."""
    films = film_table(400)
    source = np.where(covid(films) | (np.arange(400) % 8 < 6), "big", "small")
    finding = ask_source(make_subject(films.assign(source=text(source))))
    assert finding.verdict == Verdict.FAIL
    assert finding.worst.of == "covid19 come from big"
    assert finding.measured[1].value < 0.8


def test_three_films_of_one_source_prove_nothing(make_subject):
    films = film_table(60)
    source = np.where(np.arange(60) < 30, "here", "there")
    films = films.assign(source=text(source), target=text(["covid19"] * 4 + ["other"] * 56))
    finding = ask_source(make_subject(films, divisions=(halves(films, np.arange(60) % 4 < 2),)))
    assert finding.verdict == Verdict.PASS
    assert finding.measured[-1].p > 0.01 or finding.measured[0].p > 0.01


def test_one_source_is_no_question(make_subject):
    finding = ask_source(make_subject(film_table(40).assign(source=text(["here"] * 40))))
    assert finding.verdict == Verdict.SKIPPED
    assert "one source by name, here" in finding.reason


@pytest.mark.parametrize(("planted", "verdict"), [(True, Verdict.FAIL), (False, Verdict.PASS)])
def test_a_bright_edge_fails(make_subject, planted, verdict):
    films = film_table(200)
    finding = ask_edges(make_subject(films, look=lambda subject: thumbnails(subject.films, planted=planted)))
    assert finding.verdict == verdict
    assert {one.of for one in finding.measured} == {"border", "corners", "thumbnail", "histogram"}
    if planted:
        assert finding.worst.of != "corners"
        assert "border" in finding.details["roc"]


def whiter(films, *, share):
    """Whiter films of a share of the positive ones: what consolidation does, and no shortcut."""
    rng = np.random.default_rng(2)
    made = rng.integers(0, 200, (len(films), 32, 32)).astype(np.uint8)
    made[covid(films) & (rng.random(len(films)) < share), 8:24, 8:24] += 40
    return made


def test_what_disease_does_to_a_thumbnail_is_no_warning_and_a_total_shortcut_is(make_subject):
    films = film_table(200)
    finding = ask_edges(make_subject(films, look=lambda subject: whiter(subject.films, share=0.3)))
    shown = {one.of: one for one in finding.measured}
    assert finding.verdict == Verdict.PASS
    assert shown["histogram"].low > 0.6, "it would have been a warning by the limit of borders"
    total = ask_edges(make_subject(films, look=lambda subject: whiter(subject.films, share=1.0)))
    assert total.verdict == Verdict.FAIL


def test_the_sentence_is_about_the_measurement_that_decides(make_subject, monkeypatch):
    """The border is past its limit; the thumbnail, though it tells the label better, is not past its own."""
    lows = {"border": 0.62, "corners": 0.4, "thumbnail": 0.68, "histogram": 0.5}

    def measured(subject, name, predicted):
        return Measured(of=name, value=lows[name] + 0.05, low=lows[name], high=0.9, p=0.001, n=200)

    monkeypatch.setattr(shortcuts, "measured_floor", measured)
    finding = ask_edges(make_subject(look=lambda subject: thumbnails(subject.films, planted=False)))
    assert (finding.verdict, finding.worst.of) == (Verdict.WARN, "border")
    assert finding.says == "From a film's border alone the label is told with AUROC 0.670 [0.620, 0.900]."


def test_films_that_are_gone_are_said(make_subject):
    with pytest.raises(DataError, match="not at hand"):
        ask_edges(make_subject())


def test_nothing_stated_is_no_attribute(make_subject):
    films = film_table(40).drop(columns=["view", "sex", "age_years"])
    assert ask_attributes(make_subject(films)).verdict == Verdict.SKIPPED


def test_three_classes_are_told_by_their_average(make_subject):
    classes = ("covid19", "normal", "viral")
    films = film_table(240, classes=classes)
    planted = films.assign(view=films["target"])
    assert ask_attributes(make_subject(planted, classes=classes)).verdict == Verdict.FAIL
    assert ask_attributes(make_subject(films, classes=classes)).verdict == Verdict.PASS


def test_tables_count_films_by_class(make_subject):
    films = PLANTS["source"](film_table(40))
    told = ask_source(make_subject(films)).details["tables"]["source"]
    count = int(covid(films).sum())
    assert told == {"here": {"covid19": count, "other": 0}, "there": {"covid19": 0, "other": 40 - count}}

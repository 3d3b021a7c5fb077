import numpy as np
import pandas as pd

from hilum.audit import leaks
from hilum.audit.check import Verdict
from hilum.audit.leaks import ask_duplicates, ask_groups

from .conftest import film_table, halves


def divided(films):
    """Whole patients on either side."""
    return np.arange(len(films)) % 4 < 2


def test_a_clean_division_passes(make_subject):
    films = film_table(80)
    subject = make_subject(films, divisions=(halves(films, divided(films)),))
    for ask in (ask_groups, ask_duplicates):
        finding = ask(subject)
        assert finding.verdict == Verdict.PASS
        assert all(one.value == 0 and one.counts for one in finding.measured)


def test_one_patient_on_both_sides_fails(make_subject):
    films = film_table(80)
    train = divided(films)
    train[1] = False
    finding = ask_groups(make_subject(films, divisions=(halves(films, train),)))
    assert (finding.verdict, finding.worst.value) == (Verdict.FAIL, 1)
    assert finding.details["groups"] == ["g0"]
    assert finding.details["patients"] == 1


def test_a_patient_of_another_source_is_another_patient(make_subject):
    films = film_table(80)
    films.loc[0, "source"], films.loc[2, "source"] = "a", "b"
    films.loc[2, "patient_id"] = films.loc[0, "patient_id"]
    assert ask_groups(make_subject(films, divisions=(halves(films, divided(films)),))).verdict == Verdict.PASS


def test_films_left_unused_leak_nothing(make_subject):
    films = film_table(80)
    one = halves(films, divided(films))
    one.table.loc[1, "fold"] = "unused"
    assert ask_groups(make_subject(films, divisions=(one,))).verdict == Verdict.PASS


def test_copies_are_found_by_bytes_by_hash_and_by_what_the_index_says(make_subject):
    films = film_table(80)
    near = format(int(films.loc[0, "phash"], 16) ^ 0b111, "064x")
    planted = {
        "the same bytes": films.assign(sha256=films["sha256"].where(films.index != 2, films.loc[0, "sha256"])),
        "the same picture": films.assign(phash=films["phash"].where(films.index != 2, near)),
        "index": films.assign(near_duplicate_of=pd.array([None, None, "f0000"] + [None] * 77, dtype="string")),
    }
    for how, table in planted.items():
        finding = ask_duplicates(make_subject(table, divisions=(halves(table, divided(table)),)))
        assert finding.verdict == Verdict.FAIL, how
        value = {one.of: one.value for one in finding.measured}
        assert value["the same bytes"] == (how == "the same bytes")
        assert value["the same picture"] == (how != "the same bytes")
        told = finding.details["the same picture" if how == "index" else how]
        assert sorted(told["such_as"][0]) == ["f0000", "f0002"]


def test_a_copy_of_a_copy_counts(make_subject):
    """The first film is tested, its two copies are: the index pairs both with the first only."""
    films = film_table(80)
    films.loc[[3, 4], "near_duplicate_of"] = "f0002"
    train = divided(films)
    assert not train[2]
    assert not train[3]
    assert train[4]
    finding = ask_duplicates(make_subject(films, divisions=(halves(films, train),)))
    assert finding.worst.value == 2


def test_copies_on_one_side_are_told_but_no_fault(make_subject):
    films = film_table(80)
    films.loc[1, "sha256"] = films.loc[0, "sha256"]
    finding = ask_duplicates(make_subject(films, divisions=(halves(films, divided(films)),)))
    assert finding.verdict == Verdict.PASS
    assert finding.details["the same bytes"]["pairs"] == 1


def test_what_was_not_looked_for_is_said(make_subject, monkeypatch):
    films = film_table(80)
    divisions = (halves(films, divided(films)),)
    absent = ask_duplicates(make_subject(films, divisions=divisions))
    monkeypatch.setattr(leaks, "MOST_COMPARED", 79)
    many = ask_duplicates(make_subject(films, divisions=divisions, look=lambda subject: None))
    says = "A part of the same picture was not looked for: "
    assert f"{says}the films are not at hand." in absent.says
    assert f"{says}there are more than 79 films; hilum duplicates looks" in many.says
    assert {one.of for one in many.measured} == {"the same bytes", "the same picture"}

"""Pictures that are no frontal chest film, shown to the input gate."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra hilum[train]")

from hilum.audit import gate
from hilum.audit.check import Verdict
from hilum.audit.runs import subject_of_run
from hilum.projection import ViewFilter

from .drawing import Open


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(gate, "DRAWN", 5)
    monkeypatch.setattr(gate, "MOST_FILMS", 6)


def test_a_gate_that_stands_open_is_found(finished, monkeypatch):
    monkeypatch.setattr(gate, "ViewFilter", Open)
    finding = gate.ask_gate(subject_of_run(finished))
    assert finding.verdict == Verdict.FAIL
    assert finding.details["kinds"] == {gate.INVERTED: [0, 6]} | {kind: [0, 5] for kind in gate.DRAWINGS}


def test_the_gate_that_comes_with_hilum_refuses_what_is_drawn():
    released = ViewFilter()
    for draw in gate.DRAWINGS.values():
        pictures = [draw(np.random.default_rng(number)) for number in range(5)]
        assert all(0 <= one.min() < one.max() <= 1 for one in pictures)
        assert gate._refused(released, np.stack([released.preprocess.frame(one) for one in pictures])) == (5, 5)


def test_counts_that_are_known_are_judged_as_they_are(finished):
    known = replace(subject_of_run(finished), gate={"lateral": (50, 50)})
    assert gate.ask_gate(known).verdict == Verdict.PASS


def test_scores_alone_have_no_gate(finished):
    finding = gate.ask_gate(replace(subject_of_run(finished), bundle_folder=None))
    assert finding.verdict == Verdict.SKIPPED

"""Progress in a log: two lines a stage, with a rate that is of this run."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from hilum import console
from hilum.console import watch


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What was written to a standard error that is no terminal."""
    stream = io.StringIO()
    monkeypatch.setattr(console, "ERR", Console(file=stream, force_terminal=False, width=200))
    return stream.getvalue


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as its one entry."""
    now = [0.0]
    monkeypatch.setattr("hilum.console.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("first", "last", "seconds", "line"),
    [
        (1, 1660, 8.1, "films: 1660 of 1660, 8.1 s, 205/s"),
        (1, 30, 60.0, "films: 30 of 30, 60.0 s, 0.5/s"),
        (901, 1000, 10.0, "films: 1000 of 1000, 10.0 s, 10.0/s"),
        (0, 20, 2.0, "films: 20 of 20, 2.0 s, 10.0/s"),
        (1, 3, 0.2, "films: 3 of 3, 0.2 s"),
    ],
    ids=["fast", "slow", "some done before", "nothing done at first", "too short for a rate"],
)
def test_a_log_ends_with_how_many_in_what_time_and_how_fast(
    said: Callable[[], str], clock: list[float], first: int, last: int, seconds: float, line: str
) -> None:
    with watch("films") as progress:
        progress(first, last)
        clock[0] = seconds
        progress(last, last)
    assert said().splitlines() == ["films ...", line]


def test_a_stage_that_counts_nothing_says_its_time(said: Callable[[], str], clock: list[float]) -> None:
    with watch("load"):
        clock[0] = 3.0
    assert said().splitlines() == ["load ...", "load: 3.0 s"]


def test_a_terminal_shows_the_rate_of_this_run(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(console, "ERR", Console(file=stream, force_terminal=True, width=120))
    with watch("films") as progress:
        progress(901, 1000)
        clock[0] = 10.0
        progress(1000, 1000)
    assert "1000/1000" in stream.getvalue()
    assert "10.0/s" in stream.getvalue()

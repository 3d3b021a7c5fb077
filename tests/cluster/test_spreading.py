"""Work over a cluster's processes keeps the promises of `hilum.parallel.spread`."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.cluster import spread
from hilum.errors import UsageError
from hilum.parallel import Crashed


def test_every_item_comes_back_once(connection: None, jobs: Any) -> None:
    assert sorted(spread(jobs.square, range(40))) == [(item, item * item) for item in range(40)]
    assert list(spread(jobs.square, [])) == []


def test_a_death_costs_that_item_only(connection: None, jobs: Any) -> None:
    found = dict(spread(partial(jobs.dies_at, fatal=(5, 6)), range(20)))
    assert {item for item, result in found.items() if result == Crashed(item)} == {5, 6}
    assert {item for item, result in found.items() if result == item} == set(range(20)) - {5, 6}


def test_a_process_that_is_killed_costs_nothing(connection: None, jobs: Any, tmp_path: Path) -> None:
    found = dict(spread(partial(jobs.killed_once, mark=tmp_path / "mark"), range(20)))
    assert found == {item: item for item in range(20)}
    assert (tmp_path / "mark").exists()


def test_what_the_work_raises_ends_the_run(connection: None, jobs: Any) -> None:
    with pytest.raises(ValueError, match=r"^a bug$"):
        list(spread(jobs.raises, range(5)))


def test_items_are_taken_as_they_are_needed(connection: None, jobs: Any) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    results = spread(jobs.square, items(), at_once=2)
    next(results)
    assert len(taken) <= 2 * 2 * 2
    results.close()  # type: ignore[attr-defined]


def test_arrays_are_the_receivers_own(connection: None, jobs: Any) -> None:
    ((_, array),) = spread(jobs.array_of, [3])
    assert isinstance(array, np.ndarray)
    array += 1
    assert (array == 4).all()


@pytest.mark.slow
def test_a_lost_machine_costs_nothing(second_machine: Callable[[], None], connection: None, jobs: Any) -> None:
    found, lost = [], False
    for item, pid in spread(jobs.slow_process_of, range(120), at_once=2, processes=4):
        found.append(item)
        if not lost and len(found) > 20:
            second_machine()
            lost = True
        assert isinstance(pid, int)
    assert sorted(found) == list(range(120))


def test_without_a_connection_nothing_is_spread(jobs: Any) -> None:
    with pytest.raises(UsageError, match="no cluster is connected"):
        list(spread(jobs.square, range(3)))

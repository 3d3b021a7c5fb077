"""Work over processes: everything comes back, a crash costs one item, memory stays bounded."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hilum.errors import DataError
from hilum.parallel import FEW, IN_FLIGHT, Ahead, Crashed, default_processes, in_batches, in_order, spread

from .meeting import MEET

WORK = """
import ctypes

def square(item):
    return item * item

def dies_at(item, fatal):
    if item in fatal:
        os._exit(3)
    return item

def faults_at(item, fatal):
    if item == fatal:
        ctypes.string_at(0)
    return item

def raises(item):
    raise ValueError("a bug")

def threads_of_torch(item):
    import torch
    return torch.get_num_threads()

def process_of(item):
    return os.getpid()

def one_of_two(item, met):
    meet(met)
    return os.getpid()
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A module other processes can import: this one is not on their path."""
    file = tmp_path_factory.mktemp("work") / "work_for_other_processes.py"
    file.write_text(MEET + WORK)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    sys.path.insert(0, str(file.parent))
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(file.parent))
    del sys.modules[file.stem]


@pytest.mark.parametrize("processes", [1, 2, None])
def test_every_item_comes_back_once(work: Any, processes: int | None) -> None:
    found = list(spread(work.square, range(40), processes=processes))
    assert sorted(found) == [(item, item * item) for item in range(40)]


def test_one_process_is_this_one_and_keeps_the_order() -> None:
    def here(item: int) -> int:  # would not reach another process
        return os.getpid()

    assert list(spread(here, [3, 1, 2], processes=1)) == [(item, os.getpid()) for item in (3, 1, 2)]


def test_several_processes_are_others(work: Any, tmp_path: Path) -> None:
    pids = {pid for _, pid in spread(partial(work.one_of_two, met=tmp_path), range(16), processes=2)}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_nothing_to_do_starts_no_process(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessPoolExecutor, "submit", None)
    assert list(spread(work.square, [], processes=2)) == []


@pytest.mark.parametrize("kind", ["dies", "segmentation fault"])
def test_a_death_costs_that_item_only(work: Any, kind: str) -> None:
    function: Callable[[int], int] = (
        partial(work.dies_at, fatal=(5,)) if kind == "dies" else partial(work.faults_at, fatal=5)
    )
    found = dict(spread(function, range(30), processes=2))
    assert found.pop(5) == Crashed(5)
    assert found == {item: item for item in range(30) if item != 5}


def test_several_deaths_cost_those_items_only(work: Any) -> None:
    found = dict(spread(partial(work.dies_at, fatal=(0, 1, 19)), range(20), processes=2))
    assert {item for item, result in found.items() if isinstance(result, Crashed)} == {0, 1, 19}
    assert set(found) == set(range(20))


def test_a_process_that_dies_while_the_caller_is_busy_loses_nothing(work: Any) -> None:
    found = []
    for pair in spread(partial(work.dies_at, fatal=(3,)), range(40), processes=2):
        found.append(pair)
        time.sleep(0.03)  # the pool notices the death meanwhile, and refuses the next item
    assert sorted(item for item, _ in found) == list(range(40))
    assert dict(found)[3] == Crashed(3)


@pytest.mark.parametrize("processes", [1, 2])
def test_answers_come_in_the_order_of_the_items(work: Any, processes: int) -> None:
    items = [7, 3, 3, *range(30)]
    assert list(in_order(work.square, items, processes=processes)) == [(item, item * item) for item in items]


def test_a_death_keeps_its_place_in_the_order(work: Any) -> None:
    found = list(in_order(partial(work.dies_at, fatal=(5,)), range(12), processes=2))
    assert found == [(item, Crashed(5) if item == 5 else item) for item in range(12)]


@pytest.mark.parametrize(
    ("count", "processes", "total", "here"),
    [(FEW, None, None, True), (FEW + 1, None, None, False), (FEW, None, FEW, True), (2, 2, None, False)],
)
def test_few_items_are_done_in_this_process_unless_told_otherwise(
    work: Any, count: int, processes: int | None, total: int | None, *, here: bool
) -> None:
    items = range(count) if total is None else iter(range(count))
    found = {pid for _, pid in in_order(work.process_of, items, processes=processes, total=total)}
    assert (found == {os.getpid()}) == here


@pytest.mark.parametrize(("items", "sizes"), [(0, []), (1, [1]), (3, [3]), (4, [3, 1]), (6, [3, 3])])
def test_batches_hold_everything_in_order(items: int, sizes: list[int]) -> None:
    batches = list(in_batches(iter(range(items)), 3))
    assert [len(batch) for batch in batches] == sizes
    assert [item for batch in batches for item in batch] == list(range(items))


def test_what_the_work_raises_ends_the_run(work: Any) -> None:
    with pytest.raises(ValueError, match="a bug"):
        list(spread(work.raises, range(5), processes=2))


def test_items_are_taken_as_they_are_needed(work: Any) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    results = spread(work.square, items(), processes=2)
    next(results)
    assert len(taken) <= 2 * IN_FLIGHT
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("processes", [1, 2])
def test_what_is_done_ahead_comes_in_order(work: Any, processes: int) -> None:
    with Ahead(processes) as ahead:
        for count in (0, 1, 40):  # fewer than are worked on at once, and more
            assert list(ahead.each(partial(work.square, item) for item in range(count))) == [
                item * item for item in range(count)
            ]


def test_a_process_has_one_thread_in_libraries_loaded_later_too(work: Any) -> None:
    assert {threads for _, threads in spread(work.threads_of_torch, range(4), processes=2)} == {1}


def two(folder: Path) -> Iterator[Path]:
    """Places where processes meet."""
    for name in ("one", "other"):
        (folder / name).mkdir()
        yield folder / name


def test_processes_stay_between_calls_and_end_with_the_block(work: Any, tmp_path: Path) -> None:
    with Ahead(2) as ahead:
        one, other = ({*ahead.each(partial(work.one_of_two, item, met) for item in range(16))} for met in two(tmp_path))
    assert one == other
    assert len(one) == 2
    assert os.getpid() not in one
    for pid in one:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_process_does_nothing_before_its_turn() -> None:
    done: list[int] = []
    with Ahead(1) as ahead:
        results = ahead.each(partial(done.append, item) for item in (1, 2, 3))
        assert not done
        next(results)
    assert done == [1]


def test_only_so_much_is_done_ahead(work: Any) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    with Ahead(2) as ahead:
        next(ahead.each(partial(work.square, item) for item in items()))
    assert len(taken) <= 2 * IN_FLIGHT


def test_a_death_ahead_ends_the_run_in_one_sentence(work: Any) -> None:
    with Ahead(2) as ahead, pytest.raises(DataError, match="a process that prepares films died"):
        list(ahead.each(partial(work.dies_at, item, fatal={3}) for item in range(40)))


def test_a_bug_ahead_is_told_as_it_is(work: Any) -> None:
    with Ahead(2) as ahead, pytest.raises(ValueError, match="a bug"):
        list(ahead.each(partial(work.raises, item) for item in range(5)))


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from hilum.parallel import spread\nprint(list(spread(abs, [1, 2], processes=2)))\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "UsageError: no further process can be started" in done.stderr
    assert "Crashed" not in done.stdout


def test_the_number_of_processes_is_that_of_usable_cores() -> None:
    assert 1 <= default_processes() <= (os.cpu_count() or 1)

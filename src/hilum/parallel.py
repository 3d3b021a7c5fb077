"""Work spread over processes: bounded in memory, results as they finish, and a crash costs one item, not the run."""

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Crashed(Generic[Item]):
    """The process working on `item` died (a decoder's segmentation fault, a kill for memory)."""

    item: Item


def default_processes() -> int:
    """One process a core this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], *, processes: int | None = None
) -> Iterator[tuple[Item, Result | Crashed[Item]]]:
    """Yield `(item, function(item))` as results finish, or `(item, Crashed(item))` where the process died.

    At most four items a process are in flight, so memory does not grow with the number of items. `function` must be
    importable (a module's function or a `functools.partial` of one). What `function` raises ends the run: return
    expected failures as values.
    """
    count = processes or default_processes()
    waiting = iter(items)
    if count == 1:
        for item in waiting:
            yield item, function(item)
        return
    while True:
        suspects = yield from _until_crash(function, waiting, count)
        if not suspects:
            return
        for item in suspects:
            yield item, _alone(function, item)


def _until_crash(
    function: Callable[[Item], Result], waiting: Iterator[Item], count: int
) -> Generator[tuple[Item, Result], None, list[Item]]:
    """Yield results until all are done or a process dies; returns the items in flight then."""
    running: dict[Future[Result], Item] = {}
    with _pool(count) as pool:
        try:
            while True:
                for item in islice(waiting, 4 * count - len(running)):
                    running[pool.submit(function, item)] = item
                if not running:
                    return []
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            return list(running.values())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _alone(function: Callable[[Item], Result], item: Item) -> Result | Crashed[Item]:
    """Try one suspect in a process of its own, so that only the guilty item is given up."""
    with _pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return Crashed(item)


def _pool(count: int) -> ProcessPoolExecutor:
    # Forking a process that holds OpenCV's or torch's threads can deadlock; a fork server holds none.
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_single_threaded)


def _single_threaded() -> None:
    """One thread a process: processes already fill the cores."""
    import cv2

    cv2.setNumThreads(1)

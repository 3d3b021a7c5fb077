"""Work spread over processes: bounded in memory, results as they finish, and a crash costs one item, not the run."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, Protocol, TypeVar

from hilum.errors import DataError, UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""

Watch = Callable[[str], AbstractContextManager[Progress]]
"""Told the name of a stage, gives something to report its progress to."""


def unwatched(_stage: str) -> AbstractContextManager[Progress]:
    """Reports to nobody."""
    return nullcontext(lambda _done, _total: None)


IN_FLIGHT = 4
"""Items a process that are handed out and not yet answered: enough to keep it busy, few enough to stay small."""


FEW = 8
"""Up to so many films are worked on in this process: starting others would take longer."""

CRASHED = "the film crashed its decoder"
"""Why there is nothing of a film whose process died."""


@dataclass(frozen=True, slots=True)
class Crashed(Generic[Item]):
    """The process working on `item` died (a decoder's segmentation fault, a kill for memory)."""

    item: Item


class Spread(Protocol):
    """Whatever does work as `spread` does: on the processes of this machine, or on those of many."""

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, processes: int | None = None
    ) -> Iterator[tuple[Item, Result | Crashed[Item]]]:
        """Yield every item with what `function` says of it, as results finish."""


def default_processes() -> int:
    """One process a core this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], *, processes: int | None = None
) -> Iterator[tuple[Item, Result | Crashed[Item]]]:
    """Yield `(item, function(item))` as results finish, or `(item, Crashed(item))` where the process died.

    At most `IN_FLIGHT` items a process are handed out, so memory does not grow with the number of items. What
    `function` raises ends the run: return expected failures as values.

    Args:
        function: importable: a module's function, or a `functools.partial` of one.
        items: picklable.
        processes: how many; default one a core. 1 works in this process, in order, where a crash is the run's.

    Raises:
        UsageError: no process can be started.
    """
    if processes == 1:
        for item in items:
            yield item, function(item)
        return
    waiting, count = iter(items), processes or default_processes()
    while True:
        suspects = yield from _until_crash(function, waiting, count)
        if not suspects:
            return
        _check_startable()
        for item in suspects:
            yield item, _alone(function, item)


def in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    processes: int | None = None,
    total: int | None = None,
) -> Iterator[tuple[Item, Result | Crashed[Item]]]:
    """What `spread` yields, in the order of the items, whatever order the processes finish in.

    Args:
        function: as `spread` takes it.
        items: picklable.
        processes: how many; default one a core, and this one alone for `FEW` items.
        total: how many items there are, where they cannot be counted.
    """
    total = len(items) if isinstance(items, Sized) else total
    if processes is None and total is not None and total <= FEW:
        processes = 1
    ready: dict[int, tuple[Item, Result | Crashed[Item]]] = {}
    following = 0
    work = partial(_numbered, function)
    for (number, item), result in spread(work, enumerate(items), processes=processes):
        ready[number] = item, Crashed(item) if isinstance(result, Crashed) else result
        while following in ready:
            yield ready.pop(following)
            following += 1


def _numbered(function: Callable[[Item], Result], item: tuple[int, Item]) -> Result:
    return function(item[1])


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of `size`, the last one shorter where they do not come out even."""
    waiting = iter(items)
    while batch := list(islice(waiting, size)):
        yield batch


class Ahead:
    """Work done beforehand, for a consumer that waits for it: answers in order, in processes that stay between calls.

    The first work starts them; leaving the block ends them.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._pool = _pool(processes) if processes > 1 else None

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def each(self, works: Iterable[Callable[[], Result]]) -> Iterator[Result]:
        """What each work returns, in their order; at most `IN_FLIGHT` a process are done beforehand.

        Args:
            works: picklable, a `functools.partial` of a module's function say. One process alone does them here, each
                when its turn comes.

        Raises:
            DataError: a process died.
            UsageError: no process can be started.
        """
        if not self._pool:
            yield from (work() for work in works)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for work in works:
                waiting.append(self._pool.submit(work))
                if len(waiting) == IN_FLIGHT * self.processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            _check_startable()
            raise DataError("a process that prepares films died, perhaps for want of memory; run it again") from error
        finally:
            for future in waiting:
                future.cancel()


def _until_crash(
    function: Callable[[Item], Result], waiting: Iterator[Item], count: int
) -> Generator[tuple[Item, Result], None, list[Item]]:
    """Yield results until all are done or a process dies; returns the items taken up and not answered then."""
    taken: deque[Item] = deque()
    running: dict[Future[Result], Item] = {}
    with _pool(count) as pool:
        try:
            while True:
                taken.extend(islice(waiting, IN_FLIGHT * count - len(running)))
                while taken:
                    # A pool that broke while the caller was at work refuses here: only then is the item off the list.
                    running[pool.submit(function, taken[0])] = taken[0]
                    taken.popleft()
                if not running:
                    return []
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    yield running.pop(future), result
        except BrokenProcessPool:
            return [*running.values(), *taken]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _alone(function: Callable[[Item], Result], item: Item) -> Result | Crashed[Item]:
    """Try one suspect in a process of its own, so that only the guilty item is given up."""
    with _pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return Crashed(item)


def _check_startable() -> None:
    """Refuse to go on where no process starts at all, which no item is guilty of."""
    if isinstance(_alone(_answers, None), Crashed):
        raise UsageError(
            "no further process can be started; a script must call hilum under `if __name__ == '__main__':`, "
            "or work in one process (processes = 1)"
        )


def _answers(_: None) -> bool:
    """What any process that starts at all can do."""
    return True


def _pool(count: int) -> ProcessPoolExecutor:
    # Forking a process that holds OpenCV's or torch's threads can deadlock; a fork server holds none.
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_begin)


def _begin() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    single_threaded()


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for work for ever, with all its memory."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def single_threaded() -> None:
    """One thread a process: processes already fill the cores, and BLAS threads that wait by spinning take from them."""
    import cv2
    import numpy as np  # noqa: F401 - its BLAS must be loaded to be limited
    from threadpoolctl import threadpool_limits

    cv2.setNumThreads(1)
    threadpool_limits(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # torch and other engines are loaded later

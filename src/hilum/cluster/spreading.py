"""Work spread over a cluster's processes, as `hilum.parallel.spread` spreads it over this machine's.

Plain tasks, and not Ray Data: a block of Ray Data whose process died fails the run or is dropped, and neither says
which item did it; and Ray Data wants to know all items before it begins. Where films are many and answers are counts,
`run_parts` uses Ray Data.
"""

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from hilum.cluster.connecting import ray_module, workers
from hilum.parallel import Crashed, in_batches, single_threaded

Item = TypeVar("Item")
Result = TypeVar("Result")

BATCH = 8
"""Items a task, where there are many: a task costs 1-5 ms, decoding a film about 5."""
WAITING = 2
"""Tasks a processor that are handed out and not yet answered: one at work, one to follow it."""
TRIES = 2
"""Processes that an item may end while it is alone in them: one may have been ended by something else."""
LOOKED_S = 5.0
"""Seconds between two looks at how large the cluster is."""


@dataclass(eq=False)
class _Batch(Generic[Item]):
    items: list[Item]
    deaths: int = 0


def spread(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    processes: int | None = None,
    at_once: int | None = None,
) -> Iterator[tuple[Item, Result | Crashed[Item]]]:
    """Yield `(item, function(item))` as results finish, or `(item, Crashed(item))` where its process died.

    An item whose process died is tried again alone, and given up where its process dies again; what was under way on a
    machine that is lost is done elsewhere. What `function` raises ends the run.

    Args:
        function: importable on every machine, or a `functools.partial` of what is.
        items: picklable; no more than a few a processor are taken before they are needed.
        processes: tasks at once; default as many as the cluster has processors.
        at_once: items a task; default up to `BATCH`, fewer where there are few.

    Raises:
        UsageError: no cluster is connected.
    """
    ray, limit = ray_module(), _Limit(processes)
    size = at_once or _batch_size(items, limit())
    work = ray.remote(num_cpus=1, max_retries=0)(_answered)
    shared = ray.put(pickle.dumps(function))
    waiting, again = in_batches(items, size), deque[_Batch[Item]]()
    running: dict[Any, _Batch[Item]] = {}
    try:
        while True:
            while len(running) < limit():
                batch = again.popleft() if again else _next(waiting)
                if batch is None:
                    break
                running[work.remote(shared, batch.items)] = batch
            if not running:
                return
            for answer in ray.wait(list(running))[0]:
                yield from _told(ray, answer, running.pop(answer), again)
    finally:
        for answer in running:
            ray.cancel(answer, force=True)


def _batch_size(items: Iterable[Any], limit: int) -> int:
    """So many that every processor gets several."""
    return min(BATCH, max(1, len(items) // (2 * limit))) if isinstance(items, Sized) else BATCH


def _next(waiting: Iterator[list[Item]]) -> _Batch[Item] | None:
    items = next(waiting, None)
    return None if items is None else _Batch(items)


def _told(
    ray: Any, answer: Any, batch: _Batch[Item], again: "deque[_Batch[Item]]"
) -> Iterator[tuple[Item, Any | Crashed[Item]]]:
    """A task's answers; where it has none, what of it is to be done again is put there."""
    errors = ray.exceptions
    try:
        results = pickle.loads(ray.get(answer))  # noqa: S301 - of this run's own worker
    except (errors.NodeDiedError, errors.LocalRayletDiedError, errors.ObjectLostError):
        again.append(batch)
    except (errors.WorkerCrashedError, errors.OutOfMemoryError):
        if len(batch.items) > 1:
            again.extend(_Batch([item]) for item in batch.items)
        elif batch.deaths + 1 < TRIES:
            again.append(_Batch(batch.items, batch.deaths + 1))
        else:
            yield batch.items[0], Crashed(batch.items[0])
    except errors.RayTaskError as error:
        raise error.cause from error
    else:
        yield from zip(batch.items, results, strict=True)


def _answered(function: bytes, items: list[Any]) -> bytes:
    """What one worker does; pickled here, so that arrays arrive as the receiver's own, not as views of Ray's store."""
    settled()
    work = pickle.loads(function)  # noqa: S301 - of this run's own driver
    return pickle.dumps([work(item) for item in items], protocol=5)


@cache
def settled() -> None:
    """Settle a worker, once."""
    single_threaded()


class _Limit:
    """How many tasks may be under way, as the cluster grows and shrinks."""

    def __init__(self, processes: int | None) -> None:
        self._processes = processes
        self._looked, self._limit = 0.0, 0

    def __call__(self) -> int:
        if self._processes:
            return self._processes
        if time.monotonic() - self._looked > LOOKED_S:
            self._looked, self._limit = time.monotonic(), WAITING * workers()
        return self._limit

"""How often a client may ask, and how many may wait."""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hilum.serve.refusals import too_many

MOST_CLIENTS = 10_000


class Rate:
    """A bucket a client: each request takes one token, and `per_minute` come back in a minute.

    Memory is bounded: the clients heard of longest ago are forgotten, whose buckets are full again by then.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Count a request of a client.

        Raises:
            Refusal: it has sent too many; says when the next one may come.
        """
        client, now = _network(client), self._clock()
        left, before = self._buckets.pop(client, (self._most, now))
        left = min(self._most, left + (now - before) * self._most / 60)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise too_many("too-often", "too many requests", math.ceil((1 - left) * 60 / self._most))


def _network(client: str) -> str:
    """An IPv6 client may use any address of its network: the network is counted."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


class Places:
    """So many requests are taken in at once; a place is taken before a byte of the body is read."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    @contextmanager
    def one(self, seconds: int) -> Iterator[None]:
        """Hold a place.

        Args:
            seconds: after which to come back when all are taken.

        Raises:
            Refusal: all are taken.
        """
        if self.taken >= self.most:
            raise too_many("busy", "all places are taken", seconds)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

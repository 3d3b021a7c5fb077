"""What a server did, counted for Prometheus (text exposition format 0.0.4)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

import hilum

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the classes of reading time."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""A client may send any word as a method: only these are repeated."""
LATELY = 0.2
"""Weight of the last film in the running mean of seconds."""


class Counts:
    """Counters, filled on the event loop alone. Labels come from closed lists, so their number is bounded."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._films: Counter[tuple[str, str]] = Counter()
        self._classes = [0] * (len(SECONDS) + 1)
        self._seconds = 0.0
        self.mean_s = 1.0
        """Seconds a film took of late."""

    def request(self, method: str, route: str, status: int) -> None:
        """Count an answered request by the route's pattern, never by its address."""
        self._requests[method, route, status] += 1

    def film(self, outcome: str, refusal: str, seconds: float) -> None:
        """Count a film, with the kind of its refusal or an empty text, and the seconds it took."""
        self._films[outcome, refusal] += 1
        self._classes[bisect_left(SECONDS, seconds)] += 1
        self._seconds += seconds
        self.mean_s += LATELY * (seconds - self.mean_s)

    def text(self, now: Mapping[str, float]) -> str:
        """Everything counted, in Prometheus' text format.

        Args:
            now: gauges, name -> value.
        """
        return "\n".join([*self._lines(now), ""])

    def _lines(self, now: Mapping[str, float]) -> Iterator[str]:
        yield from ("# TYPE hilum_info gauge", f'hilum_info{{version="{hilum.__version__}"}} 1')
        yield "# TYPE hilum_requests_total counter"
        for (method, route, status), number in sorted(self._requests.items()):
            yield f'hilum_requests_total{{method="{method}",route="{route}",status="{status}"}} {number}'
        yield "# TYPE hilum_films_total counter"
        for (outcome, refusal), number in sorted(self._films.items()):
            yield f'hilum_films_total{{outcome="{outcome}",refusal="{refusal}"}} {number}'
        yield "# TYPE hilum_film_seconds histogram"
        total = 0
        for end, number in zip((*map(str, SECONDS), "+Inf"), self._classes, strict=True):
            total += number
            yield f'hilum_film_seconds_bucket{{le="{end}"}} {total}'
        yield from (f"hilum_film_seconds_sum {self._seconds:.6f}", f"hilum_film_seconds_count {total}")
        for name, value in now.items():
            yield from (f"# TYPE hilum_{name} gauge", f"hilum_{name} {value:g}")

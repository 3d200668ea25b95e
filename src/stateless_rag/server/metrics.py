"""Counts for Prometheus, of one application."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from stateless_rag.types import Answer, InsertReport

if TYPE_CHECKING:
    from stateless_rag.types import Event
    from stateless_rag.types.reports import UsageByPurpose

__all__ = ["Metrics"]

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counts requests, events of ingestion, and tokens. Routes are told by their pattern, never by a path."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._events: Counter[str] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests[method if method in _METHODS else "other", route, status] += 1
        counts = self._buckets.setdefault(route, [0] * (len(_BOUNDS) + 1))
        counts[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds[route] += seconds  # type: ignore[assignment]  # a Counter of numbers

    def note(self, event: Event) -> None:
        """Count an event of an engine."""
        self._events[event.kind] += 1
        if isinstance(event.report, InsertReport | Answer):
            self._spent(event.report.usage)

    def _spent(self, usage: UsageByPurpose) -> None:
        for purpose, used in usage.items():
            self._tokens[purpose, "prompt"] += used.prompt_tokens
            self._tokens[purpose, "completion"] += used.completion_tokens

    def lines(self, gauges: Mapping[str, float]) -> Iterator[str]:
        """The text that Prometheus reads; `gauges` are values of this moment."""
        yield "# TYPE stateless_rag_requests_total counter"
        for (method, route, status), count in sorted(self._requests.items()):
            yield f'stateless_rag_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}'
        yield "# TYPE stateless_rag_request_seconds histogram"
        for route, counts in sorted(self._buckets.items()):
            yield from self._histogram(route, counts)
        yield "# TYPE stateless_rag_events_total counter"
        for kind, count in sorted(self._events.items()):
            yield f'stateless_rag_events_total{{kind="{kind}"}} {count}'
        yield "# TYPE stateless_rag_tokens_total counter"
        for (purpose, kind), count in sorted(self._tokens.items()):
            yield f'stateless_rag_tokens_total{{purpose="{purpose}",kind="{kind}"}} {count}'
        told = ""
        for name, value in gauges.items():
            if (family := name.partition("{")[0]) != told:
                told = family
                yield f"# TYPE stateless_rag_{family} gauge"
            yield f"stateless_rag_{name} {value:g}"

    def _histogram(self, route: str, counts: list[int]) -> Iterator[str]:
        total = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), counts, strict=True):
            total += count
            yield f'stateless_rag_request_seconds_bucket{{route="{route}",le="{bound}"}} {total}'
        yield f'stateless_rag_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}'
        yield f'stateless_rag_request_seconds_count{{route="{route}"}} {total}'

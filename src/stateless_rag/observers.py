"""Observers for `Engine.open(observer=…)`: events as log records, and as spans of OpenTelemetry.

Neither tells texts of documents, questions or answers, but for what an error quotes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from stateless_rag.checks import callback, whole
from stateless_rag.errors import InvalidInput
from stateless_rag.types import Answer, DocumentReport, InsertReport, ReembedReport, Retrieval

if TYPE_CHECKING:
    from stateless_rag.protocols import Observer
    from stateless_rag.types import Event
    from stateless_rag.types.reports import UsageByPurpose

__all__ = ["all_of", "logging_observer", "otel_observer"]

_RESULTS = frozenset({"finished", "retrieved", "answered", "deleted", "reembedded", "enabled", "disabled"})
_FAILURES_TOLD = 100
_INSTALL = "otel_observer needs OpenTelemetry: pip install 'stateless-rag[otel]', or give it a tracer"

Attributes = dict[str, str | int | float | bool]


def all_of(*observers: Observer) -> Observer:
    """One observer that tells several, in order."""
    for place, observer in enumerate(observers):
        callback(f"observers[{place}]", observer)

    def tell(event: Event) -> None:
        for observer in observers:
            observer(event)

    return tell


# ---- logging -------------------------------------------------------------------------------------------


def logging_observer(
    logger: logging.Logger | str = "stateless_rag", *, level: int = logging.INFO, steps: int = logging.DEBUG
) -> Observer:
    """Events as log records: results at `level`, steps on the way at `steps`, failures as warnings.

    Each record has the attributes `event`, `workspace` and, where there is one, `document_id` or `trace_id`.
    """
    target = logging.getLogger(logger) if isinstance(logger, str) else logger
    if not isinstance(target, logging.Logger):
        raise InvalidInput(f"logger is a {type(logger).__name__}; give a logging.Logger or its name")
    whole("level", level)
    whole("steps", steps)

    def tell(event: Event) -> None:
        chosen = level if event.kind in _RESULTS else steps
        if event.kind == "failed":
            chosen = logging.WARNING
        if target.isEnabledFor(chosen):
            facts = {"event": event.kind, "workspace": event.workspace}
            facts |= {"document_id": event.document_id} if event.document_id else {}
            facts |= {"trace_id": event.trace_id} if event.trace_id else {}
            target.log(chosen, "%s", _line(event), extra=facts)

    return tell


def _line(event: Event) -> str:
    about = event.document_id or event.trace_id
    parts = [f"{event.workspace}: {event.kind}"]
    parts += [repr(about)] if about else []
    if event.done or event.total:
        parts.append(f"{event.done}/{'?' if event.total is None else event.total}")
    if event.message:
        parts.append(event.message)
    told = ", ".join(f"{name} {value}" for name, value in _facts(event).items())
    return " ".join(parts) + (f" ({told})" if told else "")


# ---- what a report says --------------------------------------------------------------------------------


def _facts(event: Event) -> Attributes:
    """Counts, tokens and times of what an event reports."""
    match event.report:
        case InsertReport() as report:
            counted = {f"documents.{status}": count for status, count in report.counts.items()}
            return {**counted, "seconds": round(report.seconds, 3), **_usage(report.usage)}
        case DocumentReport() as report:
            told: Attributes = {"chunks": report.chunks, "errors": len(report.errors)}
            return told
        case ReembedReport() as report:
            counts = {"chunks": report.chunks, "entities": report.entities, "relations": report.relations}
            return {**counts, "seconds": round(report.seconds, 3), **_usage(report.usage)}
        case Retrieval() as report:
            return _found(report) | _usage(report.usage)
        case Answer() as report:
            facts: Attributes = {"references": len(report.references), "no_context": report.no_context}
            facts |= {"truncated": report.truncated, "degraded": len(report.degraded)}
            return facts | {"milliseconds": _total(report.timings)} | _usage(report.usage)
    return {}


def _found(retrieval: Retrieval) -> Attributes:
    return {
        "mode": retrieval.mode,
        "revision": retrieval.revision,
        "entities": len(retrieval.entities),
        "relations": len(retrieval.relations),
        "passages": len(retrieval.passages),
        "degraded": len(retrieval.degraded),
        "milliseconds": _total(retrieval.timings),
    }


def _usage(usage: UsageByPurpose) -> Attributes:
    facts: Attributes = {}
    for purpose, spent in usage.items():
        told = {"calls": spent.calls, "cached": spent.cached}
        told |= {"prompt_tokens": spent.prompt_tokens, "completion_tokens": spent.completion_tokens}
        facts |= {f"usage.{purpose}.{name}": count for name, count in told.items() if count}
    return facts


def _total(timings: Mapping[str, float]) -> float:
    return round(sum(timings.values()), 3)


# ---- OpenTelemetry -------------------------------------------------------------------------------------


def otel_observer(tracer: Any = None, *, clock: Callable[[], int] = time.time_ns) -> Observer:
    """Results as spans of OpenTelemetry: `stateless_rag.insert`, `.retrieve` with one for each step, `.answer`.

    Spans are written when the work is done, with the times it took, below the span that is current where the
    engine was called. Those of an insert hold an event for each document that failed, up to 100. Attributes
    begin with `stateless_rag.`; durations are those the reports tell. `tracer` is one of
    `opentelemetry.trace.get_tracer`, by default that named `stateless_rag` of the global provider; `clock`
    gives nanoseconds since 1970.
    """
    try:
        from opentelemetry import trace
    except ImportError as exc:
        raise InvalidInput(_INSTALL) from exc
    chosen = trace.get_tracer("stateless_rag") if tracer is None else tracer
    if not hasattr(chosen, "start_span"):
        raise InvalidInput(f"tracer is a {type(tracer).__name__}; give one of opentelemetry.trace.get_tracer")

    def tell(event: Event) -> None:
        now = clock()
        match event.report:
            case InsertReport() as report:
                span = chosen.start_span(
                    "stateless_rag.insert",
                    start_time=now - int(report.seconds * 1e9),
                    attributes=_attributes(event) | {"stateless_rag.tracking_id": report.tracking_id},
                )
                _add_failures(span, report, now)
                span.end(end_time=now)
            case Retrieval() as report:
                _add_steps(chosen, trace.set_span_in_context, event, report.timings, now)
            case Answer() as report:
                took = int(report.timings.get("answer", 0.0) * 1e6)
                attributes = _attributes(event)
                span = chosen.start_span("stateless_rag.answer", start_time=now - took, attributes=attributes)
                span.end(end_time=now)

    return tell


def _attributes(event: Event) -> Attributes:
    facts: Attributes = {"workspace": event.workspace}
    facts |= {"trace_id": event.trace_id} if event.trace_id else {}
    return {f"stateless_rag.{name}": value for name, value in (facts | _facts(event)).items()}


def _add_failures(span: Any, report: InsertReport, now: int) -> None:
    for document in report.failed[:_FAILURES_TOLD]:
        error = document.error or (document.errors[0].error if document.errors else "")
        facts: Attributes = {"document_id": document.id, "chunks_failed": len(document.errors)}
        span.add_event("document failed", facts | {"error": error.partition(":")[0]}, timestamp=now)


def _add_steps(
    tracer: Any, within: Callable[[Any], Any], event: Event, timings: Mapping[str, float], now: int
) -> None:
    """A span for the retrieval and one for each of its steps, one after the other."""
    begun = now - int(sum(timings.values()) * 1e6)
    whole_span = tracer.start_span("stateless_rag.retrieve", start_time=begun, attributes=_attributes(event))
    parent = within(whole_span)
    for step, milliseconds in timings.items():
        ended = min(now, begun + int(milliseconds * 1e6))
        child = tracer.start_span(f"stateless_rag.{step}", context=parent, start_time=begun)
        child.end(end_time=ended)
        begun = ended
    whole_span.end(end_time=now)

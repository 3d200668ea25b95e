"""Events as log records and as spans."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from stateless_rag.errors import InvalidInput
from stateless_rag.observers import all_of, logging_observer, otel_observer
from stateless_rag.types import (
    Answer,
    ChunkError,
    DocumentReport,
    Event,
    InsertReport,
    Keywords,
    Retrieval,
    Status,
    Usage,
)

FAILED = DocumentReport(
    id="b", source=None, status=Status.FAILED, errors=(ChunkError(chunk_id="c", ordinal=0, error="No: x"),)
)
INSERTED = InsertReport(
    tracking_id="track-1",
    documents=(DocumentReport(id="a", source=None, status=Status.PROCESSED), FAILED),
    usage={"extract": Usage(3, 100, 20)},
    seconds=2.5,
    revision=4,
)
FOUND = Retrieval(
    question="a secret question",
    mode="mix",
    revision=4,
    keywords=Keywords(low_level=("secret",)),
    entities=(),
    relations=(),
    passages=(),
    references=(),
    context="secret",
    found={},
    usage={"keywords": Usage(1, 10, 5)},
    timings={"keywords": 30.0, "search": 10.0},
    degraded=("rerank: left out",),
)
ANSWERED = Answer(
    text="secret",
    references=(),
    context="secret",
    retrieval=FOUND,
    usage={"keywords": Usage(1, 10, 5), "answer": Usage(1, 50, 7)},
    timings={"keywords": 30.0, "search": 10.0, "answer": 60.0},
)
EVENTS = [
    Event(kind="accepted", workspace="w", document_id="a", done=1),
    Event(kind="extracted", workspace="w", document_id="a", done=1, total=2),
    Event(kind="failed", workspace="w", document_id="b", message="No: x", report=FAILED),
    Event(kind="finished", workspace="w", done=2, total=2, report=INSERTED),
    Event(kind="searching", workspace="w", trace_id="t"),
    Event(kind="retrieved", workspace="w", trace_id="t", report=FOUND),
    Event(kind="answered", workspace="w", trace_id="t", report=ANSWERED),
]


# ---- logging -------------------------------------------------------------------------------------------


def test_events_become_records(caplog: pytest.LogCaptureFixture) -> None:
    observer = logging_observer("my.rag")
    with caplog.at_level(logging.DEBUG, "my.rag"):
        for event in EVENTS:
            observer(event)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "w: accepted 'a' 1/?"),
        ("DEBUG", "w: extracted 'a' 1/2"),
        ("WARNING", "w: failed 'b' No: x (chunks 0, errors 1)"),
        (
            "INFO",
            (
                "w: finished 2/2 (documents.processed 1, documents.failed 1, seconds 2.5, usage.extract.calls 3, "
                "usage.extract.prompt_tokens 100, usage.extract.completion_tokens 20)"
            ),
        ),
        ("DEBUG", "w: searching 't'"),
        (
            "INFO",
            (
                "w: retrieved 't' (mode mix, revision 4, entities 0, relations 0, passages 0, degraded 1, "
                "milliseconds 40.0, usage.keywords.calls 1, usage.keywords.prompt_tokens 10, "
                "usage.keywords.completion_tokens 5)"
            ),
        ),
        (
            "INFO",
            (
                "w: answered 't' (references 0, no_context False, truncated False, degraded 0, milliseconds 100.0, "
                "usage.keywords.calls 1, usage.keywords.prompt_tokens 10, usage.keywords.completion_tokens 5, "
                "usage.answer.calls 1, usage.answer.prompt_tokens 50, usage.answer.completion_tokens 7)"
            ),
        ),
    ]
    told = [
        tuple(getattr(record, name, None) for name in ("event", "workspace", "document_id", "trace_id"))
        for record in caplog.records
    ]
    assert told[2] == ("failed", "w", "b", None)
    assert told[5] == ("retrieved", "w", None, "t")
    assert "secret" not in caplog.text


def test_levels_are_the_callers(caplog: pytest.LogCaptureFixture) -> None:
    observer = logging_observer(logging.getLogger("my.rag"), level=logging.ERROR, steps=logging.INFO)
    with caplog.at_level(logging.WARNING, "my.rag"):
        for event in EVENTS:
            observer(event)
    assert [record.levelname for record in caplog.records] == ["WARNING", *["ERROR"] * 3]


@pytest.mark.parametrize("wrong", [{"logger": 5}, {"level": "INFO"}, {"steps": -1}])
def test_loggers_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        logging_observer(**wrong)


def test_one_observer_tells_several() -> None:
    told: list[tuple[int, Event]] = []
    observer = all_of(lambda event: told.append((1, event)), lambda event: told.append((2, event)))
    observer(EVENTS[0])
    assert told == [(1, EVENTS[0]), (2, EVENTS[0])]
    with pytest.raises(InvalidInput, match=r"observers\[1\]"):
        all_of(observer, 5)  # type: ignore[arg-type]


# ---- OpenTelemetry -------------------------------------------------------------------------------------


@dataclass
class Span:
    name: str
    start_time: int
    attributes: dict[str, Any] = field(default_factory=dict)
    context: Any = None
    end_time: int | None = None
    events: list[tuple[str, Any]] = field(default_factory=list)

    def add_event(self, name: str, attributes: Any, timestamp: int) -> None:
        self.events.append((name, attributes))

    def end(self, end_time: int) -> None:
        self.end_time = end_time


@dataclass
class Tracer:
    spans: list[Span] = field(default_factory=list)

    def start_span(self, name: str, **options: Any) -> Span:
        self.spans.append(Span(name, **options))
        return self.spans[-1]


NOW = 10**18


def test_results_become_spans_with_the_times_they_took() -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    tracer = Tracer()
    observer = otel_observer(tracer, clock=lambda: NOW)
    for event in EVENTS:
        observer(event)
    times = {span.name: (span.start_time - NOW, (span.end_time or 0) - NOW) for span in tracer.spans}
    second, millisecond = 10**9, 10**6
    assert times == {
        "stateless_rag.insert": (-2.5 * second, 0),
        "stateless_rag.retrieve": (-40 * millisecond, 0),
        "stateless_rag.keywords": (-40 * millisecond, -10 * millisecond),
        "stateless_rag.search": (-10 * millisecond, 0),
        "stateless_rag.answer": (-60 * millisecond, 0),
    }
    inserted, retrieved, *steps, answered = tracer.spans
    assert inserted.attributes["stateless_rag.documents.failed"] == 1
    assert inserted.attributes["stateless_rag.tracking_id"] == "track-1"
    assert inserted.events == [("document failed", {"document_id": "b", "chunks_failed": 1, "error": "No"})]
    assert retrieved.attributes["stateless_rag.trace_id"] == "t"
    assert answered.attributes["stateless_rag.usage.answer.prompt_tokens"] == 50
    assert all(step.context == trace.set_span_in_context(retrieved) for step in steps)
    assert "secret" not in repr(tracer.spans)


def test_spans_of_the_real_thing_lie_below_the_current_one() -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    observer = otel_observer(tracer)
    with tracer.start_as_current_span("request"):
        for event in EVENTS:
            observer(event)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    ids = {name: span.context.span_id for name, span in spans.items()}
    parents = {name: span.parent.span_id for name, span in spans.items() if span.parent}
    assert parents == {
        "stateless_rag.insert": ids["request"],
        "stateless_rag.retrieve": ids["request"],
        "stateless_rag.keywords": ids["stateless_rag.retrieve"],
        "stateless_rag.search": ids["stateless_rag.retrieve"],
        "stateless_rag.answer": ids["request"],
    }


def test_what_is_no_tracer() -> None:
    pytest.importorskip("opentelemetry.trace")
    with pytest.raises(InvalidInput, match="tracer is a int"):
        otel_observer(5)


def test_without_opentelemetry_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(InvalidInput, match=r"pip install 'stateless-rag\[otel\]'"):
        otel_observer()

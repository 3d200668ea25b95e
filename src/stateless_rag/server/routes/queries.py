"""/api/v1/projects/{workspace}/query and its like: questions, answers, and why."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from stateless_rag.server.asked import Asked, ReadProject
from stateless_rag.server.asking import Failed, Found, Piece, Step, ask
from stateless_rag.server.replies import server_event, server_events, told
from stateless_rag.server.routes.described import PROJECT, project_router
from stateless_rag.server.runs import failed_event
from stateless_rag.settings import QueryOptions
from stateless_rag.types import (
    Answer,
    Budget,
    Citation,
    Edge,
    Entity,
    Expected,
    Keywords,
    Message,
    Mode,
    Passage,
    Quote,
    Reference,
    Relation,
    Seed,
    Theme,
    Unsupported,
    Usage,
)
from stateless_rag.types.traces import Step as LosingStep

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.types import Retrieval

__all__ = ["answer_of", "query_routes"]

_Count = Annotated[int, Field(ge=1, le=1000)]
_Tokens = Annotated[int, Field(ge=0, le=1_000_000)]
_Words = Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=64)]
_Text = Annotated[str, Field(max_length=65_536)]


class Turn(BaseModel, extra="forbid"):
    """An earlier turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: Annotated[str, Field(max_length=32_768)]


class Options(BaseModel, extra="forbid"):
    """How a question is answered; what is left out is as the library has it."""

    mode: Mode | None = None
    top_k: _Count | None = None
    chunk_top_k: _Count | None = None
    max_communities: _Count | None = None
    max_summaries: Annotated[int, Field(ge=0, le=1000)] | None = None
    max_summary_tokens: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    max_entity_tokens: _Tokens | None = None
    max_relation_tokens: _Tokens | None = None
    max_total_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    min_similarity: Annotated[float, Field(ge=-1, le=1)] | None = None
    related_chunks: Annotated[int, Field(ge=0, le=1000)] | None = None
    high_level_keywords: _Words | None = None
    low_level_keywords: _Words | None = None
    history: Annotated[list[Turn], Field(max_length=128)] | None = None
    response_type: Annotated[str, Field(max_length=256)] | None = None
    user_prompt: _Text | None = None
    cache: bool | None = None
    rerank: bool | None = None
    min_rerank_score: Annotated[float, Field(allow_inf_nan=False)] | None = None
    on_provider_error: Literal["raise", "degrade"] | None = None
    deadline: Annotated[float, Field(gt=0, le=86_400)] | None = None
    metadata_filter: dict[str, Any] | None = None


class Question(BaseModel, extra="forbid"):
    """A question."""

    question: Annotated[str, Field(min_length=1, max_length=65_536)]
    options: Annotated[Options, Field(default_factory=Options)]


class Answered(Question):
    """A question to be answered, within a budget of its own if there is one.

    `include_context`: with what the LLM was given; `include_passages`: with all passages that were found.

    `include_retrieval` with what was found as `retrieve` tells it, `include_trace` with how it came about, too.
    """

    budget: Budget | None = None
    only_context: bool = False
    only_prompt: bool = False
    include_context: bool = False
    include_passages: bool = False
    include_retrieval: bool = False
    include_trace: bool = False


class Explained(Question):
    """A question, and the document that was expected to be found for it."""

    expect: str | None = None
    include_trace: bool = False


class RelationChunks(BaseModel):
    """The passages that speak of a relation, by the keys of its entities."""

    keys: tuple[str, str]
    chunk_ids: list[str]


class DroppedBody(BaseModel):
    """What one step left out, best first."""

    step: LosingStep
    entities: list[Entity]
    relations: list[Relation]
    passages: list[Passage]


class TraceBody(BaseModel):
    """How what was found came about: what led to it, what search returned, what each later step left out of it."""

    id: str
    revision: int
    models: dict[str, str]
    chunks: int
    searched: int
    seeds: list[Seed]
    entities: list[Entity]
    relations: list[Relation]
    candidates: list[Passage]
    entity_chunks: dict[str, list[str]]
    relation_chunks: list[RelationChunks]
    dropped: list[DroppedBody]
    messages: list[Message]
    expected: Expected | None = None


class RetrievalBody(BaseModel):
    """What was found for a question. `context` is what an LLM would be given."""

    question: str
    mode: Mode
    revision: int
    keywords: Keywords
    entities: list[Entity]
    relations: list[Relation]
    passages: list[Passage]
    references: list[Reference]
    context: str
    found: dict[str, int]
    usage: dict[str, Usage]
    timings: dict[str, float]
    degraded: list[str]
    themes: list[Theme]
    trace: TraceBody | None = None


class AnswerBody(BaseModel):
    """An answer and what it rests on. `timings` are milliseconds."""

    text: str
    references: list[Reference]
    citations: list[Citation]
    quotes: list[Quote]
    unsupported: list[Unsupported]
    no_context: bool
    truncated: bool
    degraded: list[str]
    mode: Mode
    revision: int
    keywords: Keywords
    usage: dict[str, Usage]
    timings: dict[str, float]
    context: str | None = None
    passages: list[Passage] | None = None
    retrieval: RetrievalBody | None = None


class ReasonBody(BaseModel):
    """Why a passage is where it is: what led to it, its rank, and the rank before a reranker."""

    rank: int
    before: int
    passage: Passage
    seeds: list[Seed]
    entities: list[str]
    edges: list[Edge]


class ExplanationBody(BaseModel):
    """What was found for a question, and why; `expected` is what became of the document that was asked after."""

    retrieval: RetrievalBody
    reasons: list[ReasonBody]
    expected: Expected | None = None


async def query(asked: ReadProject, body: Answered) -> Response:
    """Answer a question, with references."""
    options = await _options(asked, body)
    async with asked.engine() as engine:
        answer = await engine.query(body.question, **options)
    asked.note(answer.usage)
    return told(_answer_of(answer, body))


async def stream_query(asked: ReadProject, body: Answered) -> Response:
    """Answer a question as server-sent events: step, found, text, at last answer, or error."""
    options = await _options(asked, body)
    async with asked.engine():
        pass  # that there is none is told before the stream begins
    return server_events(_events(asked, body, options))


async def retrieve(asked: ReadProject, body: Question) -> Response:
    """What would be found for a question; no LLM is asked."""
    options = await _options(asked, body)
    async with asked.engine() as engine:
        return told(await engine.retrieve(body.question, **options))


async def explain(asked: ReadProject, body: Explained) -> Response:
    """Why each passage is found for a question, and which step lost the document that was expected."""
    options = await _options(asked, body)
    async with asked.engine() as engine:
        found = await engine.explain(body.question, expect=body.expect, **options)
    if not body.include_trace:
        return told(found)
    whole = {each.name: getattr(found, each.name) for each in fields(found)}
    return told(whole | {"retrieval": _traced(found.retrieval)})


def answer_of(answer: Answer, *, context: bool = False, passages: bool = False) -> dict[str, Any]:
    """An answer as the API tells it."""
    found: Retrieval = answer.retrieval
    return {
        "text": answer.text,
        "references": answer.references,
        "citations": answer.citations,
        "quotes": answer.quotes,
        "unsupported": answer.unsupported,
        "no_context": answer.no_context,
        "truncated": answer.truncated,
        "degraded": answer.degraded,
        "mode": found.mode,
        "revision": found.revision,
        "keywords": found.keywords,
        "usage": answer.usage,
        "timings": answer.timings,
        "context": answer.context if context else None,
        "passages": found.passages if passages else None,
    }


def _answer_of(answer: Answer, body: Answered) -> dict[str, Any]:
    """An answer with what else was asked for."""
    whole = answer_of(answer, context=body.include_context, passages=body.include_passages)
    if body.include_trace:
        whole["retrieval"] = _traced(answer.retrieval)
    elif body.include_retrieval:
        whole["retrieval"] = answer.retrieval
    return whole


def _traced(retrieval: Retrieval) -> dict[str, Any]:
    """A retrieval with its trace, which answers leave out otherwise."""
    whole = {each.name: getattr(retrieval, each.name) for each in fields(retrieval)}
    trace = retrieval.trace
    if trace is not None:
        chunks = [{"keys": keys, "chunk_ids": ids} for keys, ids in trace.relation_chunks.items()]
        told_ = {each.name: getattr(trace, each.name) for each in fields(trace)}
        whole["trace"] = told_ | {"relation_chunks": chunks}
    return whole


async def _events(asked: Asked, body: Answered, options: dict[str, Any]) -> AsyncGenerator[bytes]:
    async with aclosing(ask(asked, body.question, options)) as pieces:
        async for piece in pieces:
            match piece:
                case Step(kind):
                    yield server_event("step", {"step": kind})
                case Found(retrieval):
                    yield server_event(
                        "found", {"references": retrieval.references, "counts": retrieval.found}
                    )
                case Piece(text):
                    yield server_event("text", {"text": text})
                case Answer():
                    yield server_event("answer", _answer_of(piece, body))
                case Failed(error):
                    yield failed_event(error)


async def _options(asked: Asked, body: Question) -> dict[str, Any]:
    """What is said of how to answer, checked. Raises Refused if the workspace has spent its tokens."""
    await asked.within_tokens()
    given: dict[str, Any] = body.options.model_dump(exclude_none=True)
    if isinstance(body, Answered):
        given |= {"only_context": body.only_context, "only_prompt": body.only_prompt}
    QueryOptions(**given)
    if isinstance(body, Answered) and body.budget is not None:
        given["budget"] = body.budget
    return given


def query_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Questions: query, stream, retrieve, explain."""
    router = project_router("queries")
    add: Any = router.add_api_route
    stream = {200: {"content": {"text/event-stream": {}}, "description": "Server-sent events."}}
    add(f"{PROJECT}/query", query, methods=["POST"], response_model=AnswerBody)
    add(f"{PROJECT}/query/stream", stream_query, methods=["POST"], responses=stream, response_class=Response)
    add(f"{PROJECT}/retrieve", retrieve, methods=["POST"], response_model=RetrievalBody)
    add(f"{PROJECT}/explain", explain, methods=["POST"], response_model=ExplanationBody)
    return router

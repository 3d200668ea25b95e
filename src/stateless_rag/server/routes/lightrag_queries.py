"""/query, /query/stream and /query/data, as clients of LightRAG know them."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, field_validator, model_validator

from stateless_rag.errors import InvalidInput, WorkspaceNotFound
from stateless_rag.interop.lightrag.errors import EmptyQueryError, RAGQueryTooShortError
from stateless_rag.interop.lightrag.parameters import checked_query
from stateless_rag.interop.shapes import to_lightrag_data
from stateless_rag.prompts import Prompts
from stateless_rag.server.asked import Asked, Reading
from stateless_rag.server.asking import Failed, Found, Piece, Step, ask, is_generated
from stateless_rag.server.problems import error_text
from stateless_rag.server.replies import json_line, ndjson, told
from stateless_rag.server.routes.described import lightrag_router
from stateless_rag.settings import QueryOptions
from stateless_rag.types import Answer

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings
    from stateless_rag.types import Retrieval

__all__ = ["lightrag_query_routes", "progress_of"]

_MOST = 131_072  # characters of question, prompt and history together
_Count = Annotated[int, Field(ge=1, le=1000)] | None
_Tokens = Annotated[int, Field(ge=1, le=1_000_000)] | None
_Word = Annotated[str, Field(max_length=512)]
_STEPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "keywords": ("extracting_keywords",),
        "searching": ("retrieving_entities", "retrieving_relations", "retrieving_chunks"),
        "reranking": ("reranking",),
        "answering": ("generating_response",),
    }
)


class Query(BaseModel):
    """A question, and how it is answered."""

    query: Annotated[str, Field(max_length=65_536)]
    mode: Literal["local", "global", "hybrid", "naive", "mix", "bypass"] = "mix"
    only_need_context: bool | None = None
    only_need_prompt: bool | None = None
    response_type: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    top_k: _Count = None
    chunk_top_k: _Count = None
    max_entity_tokens: _Tokens = None
    max_relation_tokens: _Tokens = None
    max_total_tokens: _Tokens = None
    hl_keywords: Annotated[list[_Word], Field(default_factory=list, max_length=64)]
    ll_keywords: Annotated[list[_Word], Field(default_factory=list, max_length=64)]
    conversation_history: Annotated[list[dict[str, Any]], Field(max_length=128)] | None = None
    user_prompt: Annotated[str, Field(max_length=65_536)] | None = None
    disable_user_prompt_prefix: bool | None = None
    enable_rerank: bool | None = None
    include_references: bool | None = True
    include_chunk_content: bool | None = False
    include_progress: bool | None = False
    stream: bool | None = None

    @field_validator("conversation_history")
    @classmethod
    def _turns(cls, value: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        for turn in value or []:
            role, content = turn.get("role"), turn.get("content")
            if not isinstance(role, str) or not role.strip() or len(role) > 64:
                raise ValueError("each turn needs a role of at most 64 characters")
            if not isinstance(content, str) or len(content) > 32_768:
                raise ValueError("each turn needs a content of at most 32768 characters")
        return value

    @model_validator(mode="after")
    def _checked(self) -> Query:
        try:
            self.query = checked_query(self.query, self.mode)
        except (EmptyQueryError, RAGQueryTooShortError) as error:
            raise ValueError(str(error)) from error
        history = (
            json.dumps(self.conversation_history, ensure_ascii=False) if self.conversation_history else ""
        )
        if len(self.query) + len(self.user_prompt or "") + len(history) > _MOST:
            raise ValueError(f"query, user_prompt and conversation_history have more than {_MOST} characters")
        return self

    def options(self, prefix: str) -> dict[str, Any]:
        """The same as fields of QueryOptions; `prefix` comes before the user's prompt."""
        names = (
            ("top_k", "top_k"),
            ("chunk_top_k", "chunk_top_k"),
            ("max_entity_tokens", "max_entity_tokens"),
            ("max_relation_tokens", "max_relation_tokens"),
            ("max_total_tokens", "max_total_tokens"),
            ("response_type", "response_type"),
            ("enable_rerank", "rerank"),
            ("only_need_context", "only_context"),
            ("only_need_prompt", "only_prompt"),
        )
        made: dict[str, Any] = {
            ours: value for theirs, ours in names if (value := getattr(self, theirs)) is not None
        }
        begin = "" if self.disable_user_prompt_prefix else prefix
        made["mode"] = self.mode
        made["high_level_keywords"] = tuple(self.hl_keywords)
        made["low_level_keywords"] = tuple(self.ll_keywords)
        made["history"] = tuple(_turn(turn) for turn in self.conversation_history or [])
        made["user_prompt"] = "\n".join(filter(None, (begin, self.user_prompt)))
        made["cache"] = self.mode != "bypass" and not self.conversation_history
        QueryOptions(**made)
        return made


class ReferenceItem(BaseModel):
    """A document that an answer rests on."""

    reference_id: str
    file_path: str
    content: list[str] | None = None


class Reply(BaseModel):
    """An answer. `response_time` is in seconds."""

    response: str
    references: list[ReferenceItem] | None = None
    response_time: float | None = None
    llm_generated: bool = True


class Data(BaseModel):
    """What was found for a question."""

    status: str
    message: str
    data: dict[str, Any]
    metadata: dict[str, Any]


async def query(asked: Reading, body: Query) -> Response:
    """Answer a question."""
    await asked.within_tokens()
    begun = time.perf_counter()
    options = body.options(asked.service.settings.user_prompt_prefix)
    async with asked.engine_or_none() as engine:
        answer = None if engine is None else await engine.query(body.query, **options)
    if answer is not None:
        asked.note(answer.usage)
    text = Prompts().no_context if answer is None else answer.text
    references = [] if answer is None else _references(answer.retrieval, body)
    reply = {
        "response": text,
        "references": references if body.include_references else None,
        "response_time": round(time.perf_counter() - begun, 3),
        "llm_generated": answer is not None and is_generated(answer),
    }
    return told(reply)


async def stream_query(asked: Reading, body: Query) -> Response:
    """Answer a question as lines of JSON: references, then the text piece by piece."""
    await asked.within_tokens()
    options = body.options(asked.service.settings.user_prompt_prefix)
    return ndjson(_lines(asked, body, options))


async def query_data(asked: Reading, body: Query) -> Response:
    """What is found for a question, without an answer."""
    await asked.within_tokens()
    options = {
        **body.options(asked.service.settings.user_prompt_prefix),
        "only_context": True,
        "only_prompt": False,
    }
    async with asked.engine_or_none() as engine:
        answer = None if engine is None else await engine.query(body.query, **options)
    if answer is not None:
        asked.note(answer.usage)
        data = to_lightrag_data(answer.retrieval)
        if body.mode == "bypass":
            data["data"] = {"entities": [], "relationships": [], "chunks": [], "references": []}
        return told(data)
    metadata = {"failure_reason": "no_results", "mode": body.mode}
    message = "Query returned no results"
    return told({"status": "failure", "message": message, "data": {}, "metadata": metadata})


async def _lines(asked: Asked, body: Query, options: Mapping[str, Any]) -> AsyncGenerator[bytes]:
    begun = time.perf_counter()
    try:
        async with aclosing(_told(asked, body, options)) as lines:
            async for line in lines:
                yield json_line(line)
    except WorkspaceNotFound:
        empty: dict[str, Any] = {"response": Prompts().no_context, "llm_generated": False}
        yield json_line({**empty, "references": []} if body.include_references else empty)
    if body.include_progress:
        yield json_line({"response_time": round(time.perf_counter() - begun, 3)})


async def _told(asked: Asked, body: Query, options: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    streaming, generating = body.stream is not False, False
    found: Retrieval | None = None
    async with aclosing(ask(asked, body.query, options)) as pieces:
        async for piece in pieces:
            match piece:
                case Step(kind):
                    for step in progress_of(kind) if body.include_progress else ():
                        yield {"progress": step}
                    generating = generating or kind == "answering"
                case Found(retrieval):
                    found = retrieval
                case Piece(text) if streaming and generating:
                    if found is not None and body.include_references:
                        yield {"references": _references(found, body)}
                    found = None
                    yield {"response": text}
                case Answer() if not (streaming and generating):
                    whole: dict[str, Any] = {"response": piece.text, "llm_generated": is_generated(piece)}
                    if body.include_references:
                        whole["references"] = _references(piece.retrieval, body)
                    yield whole
                case Failed(error):
                    yield {"error": error_text(error, "")}


def progress_of(step: str) -> tuple[str, ...]:
    """What LightRAG calls a step."""
    return _STEPS.get(step, ())


def _references(found: Retrieval, body: Query) -> list[dict[str, Any]]:
    if found.mode == "bypass" or found.empty:
        return []
    listed: list[dict[str, Any]] = to_lightrag_data(found)["data"]["references"]
    if not body.include_chunk_content:
        return listed
    contents: dict[str, list[str]] = {}
    for passage, reference in zip(found.passages, found.references, strict=True):
        contents.setdefault(str(reference.number), []).append(passage.text)
    return [{**each, "content": contents.get(each["reference_id"], [])} for each in listed]


def _turn(turn: Mapping[str, Any]) -> tuple[str, str]:
    role = str(turn["role"]).strip().lower()
    if role not in ("user", "assistant", "system"):
        raise InvalidInput(
            f"a turn of conversation_history has the role {role!r}; there are user, assistant, system"
        )
    return role, str(turn["content"])


def lightrag_query_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """Questions."""
    router = lightrag_router()
    add: Any = router.add_api_route
    lines = {
        200: {
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
            "description": "Lines of JSON.",
        }
    }
    invalid = {400: {"model": Data, "description": "The request has not the shape it must have."}}
    add("/query", query, methods=["POST"], response_model=Reply)
    add("/query/stream", stream_query, methods=["POST"], response_class=Response, responses=lines)
    add("/query/data", query_data, methods=["POST"], response_model=Data, responses=invalid)
    return router

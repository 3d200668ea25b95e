"""/api/*: what clients of Ollama ask, answered from a workspace."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from stateless_rag.errors import InvalidInput, WorkspaceNotFound
from stateless_rag.interop.lightrag.parameters import checked_query
from stateless_rag.prompts import Prompts
from stateless_rag.server.asked import Asked, Chatting
from stateless_rag.server.asking import Failed, Piece, ask
from stateless_rag.server.models import chosen, model_names
from stateless_rag.server.problems import Refused, error_text
from stateless_rag.server.reading_json import read_json
from stateless_rag.server.replies import json_line, ndjson, told
from stateless_rag.server.routes.described import ollama_router
from stateless_rag.types import Answer

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["ollama_routes"]

Model = TypeVar("Model", bound=BaseModel)
_CREATED = "2024-01-15T00:00:00Z"
_EXPIRES = "2050-12-31T14:38:31.83753-07:00"
_SIZE = 7_365_960_935
_DIGEST = "sha256:lightrag"
_VERSION = "0.9.3"
_MOST = 131_072
_TITLES = "\n<chat_history>\nUSER:"
_PREFIX = re.compile(
    r"/(?P<mode>local|global|naive|hybrid|mix|bypass)?(?P<context>context)?(?:\[(?P<prompt>[^\]]*)\])? (?P<rest>.*)\Z",
    re.DOTALL,
)
_Images = Annotated[list[str], Field(max_length=16)]


class Turn(BaseModel):
    """A message."""

    role: Annotated[str, Field(max_length=64)]
    content: Annotated[str, Field(max_length=32_768)]
    images: _Images | None = None


class Chat(BaseModel):
    """A conversation, whose last message asks."""

    model: Annotated[str, Field(max_length=256)]
    messages: Annotated[list[Turn], Field(min_length=1, max_length=128)]
    stream: bool = True
    options: dict[str, Any] | None = None
    system: Annotated[str, Field(max_length=32_768)] | None = None


class Generate(BaseModel):
    """A prompt for the LLM alone."""

    model: Annotated[str, Field(max_length=256)]
    prompt: Annotated[str, Field(max_length=65_536)]
    system: Annotated[str, Field(max_length=32_768)] | None = None
    stream: bool = False
    options: dict[str, Any] | None = None


class Version(BaseModel):
    """The version of Ollama that is emulated."""

    version: str


class Models(BaseModel):
    """The models that there are."""

    models: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Shape:
    """How pieces of text are told: by /api/chat as messages, by /api/generate as responses."""

    model: str
    kind: Literal["chat", "generate"]

    def piece(self, text: str, *, done: bool) -> dict[str, Any]:
        """A piece of text."""
        told_: Mapping[str, Any] = {"message": {"role": "assistant", "content": text, "images": None}}
        if self.kind == "generate":
            told_ = {"response": text}
        return {"model": self.model, "created_at": _CREATED, **told_, "done": done}

    def end(self, answer: Answer | None, begun: float, text: str = "") -> dict[str, Any]:
        """The last piece, with the counts."""
        spent = time.perf_counter_ns() - int(begun * 1e9)
        usage = [] if answer is None else list(answer.usage.values())
        body = {
            **self.piece(text, done=True),
            "done_reason": "stop",
            "total_duration": spent,
            "load_duration": 0,
            "prompt_eval_count": sum(each.prompt_tokens for each in usage),
            "prompt_eval_duration": spent // 2,
            "eval_count": sum(each.completion_tokens for each in usage),
            "eval_duration": spent - spent // 2,
        }
        return body | {"context": []} if self.kind == "generate" else body


async def version() -> Response:
    """The version of Ollama that is emulated."""
    return told({"version": _VERSION})


async def tags(asked: Chatting) -> Response:
    """The models: the server's own, and the workspaces that the key opens."""
    own = asked.service.settings.ollama_model
    return told({"models": [_model(name) for name in (own, *await model_names(asked))]})


async def running(asked: Chatting) -> Response:
    """The model that answers."""
    model = _model(asked.service.settings.ollama_model)
    details = {**model["details"], "family": "llama", "families": ["llama"], "parameter_size": "7.2B"}
    return told({"models": [{**model, "details": details, "expires_at": _EXPIRES, "size_vram": _SIZE}]})


async def generate(request: Request, asked: Chatting) -> Response:
    """Ask the LLM alone."""
    body = await _body(request, Generate)
    if not body.prompt.strip():
        raise InvalidInput("the prompt is blank")
    picked = await chosen(request, asked, body.model)
    options: dict[str, Any] = {"mode": "bypass", "system_prompt": body.system}
    shape = _Shape(body.model, "generate")
    return await _answer(picked.asked, body.prompt, options, shape, stream=body.stream)


async def chat(request: Request, asked: Chatting) -> Response:
    """Ask a workspace. A mode may begin the question: "/local …", "/naivecontext …", "/mix[in one word] …"."""
    body = await _body(request, Chat)
    if body.messages[-1].role != "user":
        raise InvalidInput("the last message must be the user's")
    if sum(len(turn.content) for turn in body.messages) + len(body.system or "") > _MOST:
        raise Refused(413, f"the messages have more than {_MOST} characters")
    picked = await chosen(request, asked, body.model)
    question, options = _asked_for(body.messages[-1].content, picked.mode or "mix")
    if _TITLES in question:
        options = {"mode": "bypass"}
    if options["mode"] == "bypass":
        options["system_prompt"] = body.system
    checked_query(question, options["mode"])
    options["history"] = tuple(
        (turn.role, turn.content)
        for turn in body.messages[:-1]
        if turn.role in ("user", "assistant", "system")
    )
    return await _answer(picked.asked, question, options, _Shape(body.model, "chat"), stream=body.stream)


def _asked_for(text: str, mode: str) -> tuple[str, dict[str, Any]]:
    """The question without the prefix that says how to answer it.

    >>> _asked_for("/localcontext Who?", "mix")
    ('Who?', {'mode': 'local', 'only_context': True})
    >>> _asked_for("/[in German] Who?", "mix")
    ('Who?', {'mode': 'mix', 'user_prompt': 'in German'})
    """
    found = _PREFIX.match(text)
    said = found is not None and any(found[name] is not None for name in ("mode", "context", "prompt"))
    if found is None or not said or (found["mode"] == "bypass" and found["context"]):
        return text, {"mode": mode}
    options: dict[str, Any] = {"mode": found["mode"] or ("mix" if found["context"] else mode)}
    if found["context"]:
        options["only_context"] = True
    if found["prompt"]:
        options["user_prompt"] = found["prompt"]
    return found["rest"], options


async def _answer(
    asked: Asked, question: str, options: Mapping[str, Any], shape: _Shape, *, stream: bool
) -> Response:
    await asked.within_tokens()
    if stream:
        return ndjson(_lines(asked, question, options, shape))
    begun = time.perf_counter()
    async with asked.engine_or_none() as engine:
        answer = None if engine is None else await engine.query(question, **options)
    if answer is not None:
        asked.note(answer.usage)
    text = Prompts().no_context if answer is None else answer.text
    return told(shape.end(answer, begun, text))


async def _lines(
    asked: Asked, question: str, options: Mapping[str, Any], shape: _Shape
) -> AsyncGenerator[bytes]:
    begun = time.perf_counter()
    try:
        async with aclosing(ask(asked, question, options)) as pieces:
            async for piece in pieces:
                match piece:
                    case Piece(text):
                        yield json_line(shape.piece(text, done=False))
                    case Answer():
                        yield json_line(shape.end(piece, begun))
                    case Failed(error):
                        told_ = error_text(error, "")
                        yield json_line({**shape.piece(told_, done=False), "error": told_})
                        yield json_line(shape.piece("", done=True))
    except WorkspaceNotFound:
        yield json_line(shape.piece(Prompts().no_context, done=False))
        yield json_line(shape.end(None, begun))


async def _body(request: Request, kind: type[Model]) -> Model:
    """The body, whatever its content type says."""
    value = await asyncio.to_thread(read_json, await request.body())
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False)) from error


def _model(name: str) -> dict[str, Any]:
    family = name.partition(":")[0]
    details = MappingProxyType(
        {
            "parent_model": "",
            "format": "gguf",
            "family": family,
            "families": [family],
            "parameter_size": "13B",
            "quantization_level": "Q4_0",
        }
    )
    known = {"name": name, "model": name, "size": _SIZE, "digest": _DIGEST, "modified_at": _CREATED}
    return {**known, "details": details}


def ollama_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """What clients of Ollama ask."""
    router = ollama_router()
    add: Any = router.add_api_route
    add("/version", version, methods=["GET"], response_model=Version)
    add("/tags", tags, methods=["GET"], response_model=Models)
    add("/ps", running, methods=["GET"], response_model=Models)
    for path, route, kind in (("/generate", generate, Generate), ("/chat", chat, Chat)):
        schema = kind.model_json_schema()
        parts = schema.pop("$defs", {})
        if "Turn" in parts:
            schema["properties"]["messages"]["items"] = parts["Turn"]
        content = {"application/json": {"schema": schema}}
        body = {"requestBody": {"required": True, "content": content}}
        add(path, route, methods=["POST"], response_model=dict[str, Any], openapi_extra=body)
    return router

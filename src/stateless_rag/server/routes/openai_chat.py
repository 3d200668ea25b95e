"""/v1/chat/completions and /v1/models: what clients of OpenAI ask, answered from a workspace."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from stateless_rag.errors import InvalidInput
from stateless_rag.server.asked import Asked, Chatting
from stateless_rag.server.asking import Failed, Piece, ask
from stateless_rag.server.models import chosen, model_names
from stateless_rag.server.problems import Refused, error_text, status_of
from stateless_rag.server.replies import server_event, server_events, told
from stateless_rag.server.routes.described import openai_router
from stateless_rag.types import Answer

if TYPE_CHECKING:
    from stateless_rag.server.settings import ServerSettings

__all__ = ["openai_routes"]

_MOST = 131_072
_ASSISTANT = "assistant"


class Part(BaseModel):
    """A part of a message; only texts are read."""

    type: str
    text: str | None = None


class ChatTurn(BaseModel):
    """A message."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """What it says. Raises InvalidInput for parts that are no text."""
        if not isinstance(self.content, list):
            return self.content or ""
        if other := next((part.type for part in self.content if part.type != "text"), None):
            raise InvalidInput(f"a message has a part of type {other[:40]!r}; only texts can be read")
        return "\n".join(part.text or "" for part in self.content)


class StreamOptions(BaseModel):
    """What a stream tells."""

    include_usage: bool | None = False


class Completion(BaseModel):
    """A conversation, whose last message asks. `model` is a workspace, and a mode after a colon.

    What else clients of OpenAI send (temperature and the like) is ignored: the server's LLM is set up already.
    """

    model: Annotated[str, Field(max_length=256)]
    messages: Annotated[list[ChatTurn], Field(min_length=1, max_length=512)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None


class Tokens(BaseModel):
    """Tokens that were paid."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Choice(BaseModel):
    """The answer."""

    index: int
    message: dict[str, Any]
    finish_reason: str
    logprobs: None = None


class Completed(BaseModel):
    """An answer; `references` tell what it rests on."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Tokens
    references: list[dict[str, Any]]


class ModelCard(BaseModel):
    """A workspace, or one with a mode."""

    id: str
    object: str
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The models that the key opens."""

    object: str
    data: list[ModelCard]


async def complete(request: Request, asked: Chatting, body: Completion) -> Response:
    """Ask a workspace. System messages tell the LLM how to answer."""
    turns = [(turn.role, turn.text) for turn in body.messages]
    if turns[-1][0] != "user" or not turns[-1][1].strip():
        raise InvalidInput("the last message must be the user's, and not blank")
    if sum(len(text) for _, text in turns) > _MOST:
        raise Refused(413, f"the messages have more than {_MOST} characters")
    picked = await chosen(request, asked, body.model)
    options: dict[str, Any] = {
        "mode": picked.mode or "mix",
        "history": tuple((role, text) for role, text in turns[:-1] if role in ("user", _ASSISTANT) and text),
        "user_prompt": "\n".join(text for role, text in turns if role in ("system", "developer")),
    }
    await picked.asked.within_tokens()
    head = {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "created": int(asked.service.wall()),
        "model": body.model,
    }
    async with picked.asked.engine() as engine:
        if not body.stream:
            answer = await engine.query(turns[-1][1], **options)
            picked.asked.note(answer.usage)
            return told(_whole(head, answer))
    usage = bool(body.stream_options and body.stream_options.include_usage)
    return server_events(_chunks(picked.asked, turns[-1][1], options, head, usage=usage))


async def list_models(asked: Chatting) -> Response:
    """The models: the workspaces that the key opens, each alone and with each mode."""
    names = await model_names(asked)
    cards = [{"id": name, "object": "model", "created": 0, "owned_by": "stateless-rag"} for name in names]
    return told({"object": "list", "data": cards})


async def get_model(request: Request, asked: Chatting, model: str) -> Response:
    """A model by its name."""
    await chosen(request, asked, model)
    return told({"id": model, "object": "model", "created": 0, "owned_by": "stateless-rag"})


def _whole(head: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    message = {"role": _ASSISTANT, "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": _reason(answer), "logprobs": None}
    body = {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(answer)}
    return {**body, "references": answer.references}


async def _chunks(
    asked: Asked, question: str, options: Mapping[str, Any], head: Mapping[str, Any], *, usage: bool
) -> AsyncGenerator[bytes]:
    yield _chunk(head, {"role": _ASSISTANT, "content": ""})
    async with aclosing(ask(asked, question, options)) as pieces:
        async for piece in pieces:
            match piece:
                case Piece(text):
                    yield _chunk(head, {"content": text})
                case Answer():
                    yield _chunk(head, {}, _reason(piece), {"references": piece.references})
                    if usage:
                        yield server_event(None, {**_head(head), "choices": [], "usage": _usage(piece)})
                case Failed(error):
                    kind = "invalid_request_error" if status_of(error) < 500 else "server_error"
                    failed = {"message": error_text(error, ""), "type": kind, "param": None, "code": None}
                    yield server_event(None, {"error": failed})
    yield b"data: [DONE]\n\n"


def _chunk(
    head: Mapping[str, Any],
    delta: Mapping[str, Any],
    reason: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
    return server_event(None, {**_head(head), "choices": [choice], **(more or {})})


def _head(head: Mapping[str, Any]) -> dict[str, Any]:
    return {**head, "object": "chat.completion.chunk"}


def _reason(answer: Answer) -> str:
    return "length" if answer.truncated else "stop"


def _usage(answer: Answer) -> dict[str, int]:
    used = list(answer.usage.values())
    prompt, completion = (
        sum(each.prompt_tokens for each in used),
        sum(each.completion_tokens for each in used),
    )
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def openai_routes(settings: ServerSettings) -> APIRouter:  # noqa: ARG001 -- as all of them are called
    """What clients of OpenAI ask."""
    router = openai_router()
    add: Any = router.add_api_route
    add("/chat/completions", complete, methods=["POST"], response_model=Completed)
    add("/models", list_models, methods=["GET"], response_model=ModelList)
    add("/models/{model:path}", get_model, methods=["GET"], response_model=ModelCard)
    return router

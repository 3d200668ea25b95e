"""What the fake server speaks of HTTP/1.1, of OpenAI's API and of rerankers', right and wrong: pure functions."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.testing.faults import Empty, Fault, Malformed, Truncated
from stateless_rag.types import Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stateless_rag.protocols import Embeddings

__all__ = [
    "GARBAGE",
    "chat_body",
    "chat_request",
    "embeddings_body",
    "error_body",
    "http_chunk",
    "http_head",
    "input_texts",
    "message_texts",
    "parse_head",
    "rerank_body",
    "rerank_texts",
    "rerank_top_n",
    "spoiled_ranks",
    "spoiled_reply",
    "spoiled_rows",
    "stream_events",
]

_PIECE = re.compile(r"\S+\s*|\s+")
_CREATED = 0
_NONSENSE = "}}] <|#|<|#|>> entity<| ???"

GARBAGE = b'{"choices": [{"message": {"cont'
"""A body that breaks off."""


def parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, path without query, and headers (names in lower case) of a request; else `ValueError`."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return method, target.partition("?")[0], headers


def http_head(status: int, headers: Mapping[str, str]) -> bytes:
    """The head of an answer, blank line included."""
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def http_chunk(content: bytes) -> bytes:
    """One chunk of a chunked body; the empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def message_texts(body: Mapping[str, Any]) -> list[str]:
    """The texts of a chat request's messages, in order."""
    return [_text(message.get("content")) for message in body.get("messages", ())]


def input_texts(body: Mapping[str, Any]) -> list[str]:
    """The texts of an embeddings request."""
    given = body.get("input", [])
    return [given] if isinstance(given, str) else [str(text) for text in given]


def chat_request(body: Mapping[str, Any]) -> LLMRequest:
    """A chat request as the protocol's value: system message first, prompt last, history between."""
    turns = [Message(str(message["role"]), _text(message.get("content"))) for message in body["messages"]]
    system = turns.pop(0).content if len(turns) > 1 and turns[0].role == "system" else None
    response_format = body.get("response_format") or {}
    return LLMRequest(
        prompt=turns.pop().content,
        system=system,
        history=tuple(turns),
        json=response_format.get("type") in ("json_object", "json_schema"),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
    )


def chat_body(model: str, reply: LLMReply) -> dict[str, Any]:
    """The body of an answer to a chat request."""
    message = {"role": "assistant", "content": reply.text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": _finish(reply), "logprobs": None}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": _CREATED,
        "model": model,
        "choices": [choice],
        "usage": _usage(reply),
    }


def stream_events(model: str, reply: LLMReply, *, usage: bool) -> Iterator[dict[str, Any]]:
    """The events of a streamed answer: words, the finish reason, and the tokens if asked for."""
    event = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": _CREATED, "model": model}
    for piece in _PIECE.findall(reply.text):
        yield {**event, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
    yield {**event, "choices": [{"index": 0, "delta": {}, "finish_reason": _finish(reply)}]}
    if usage:
        yield {**event, "choices": [], "usage": _usage(reply)}


def embeddings_body(model: str, embeddings: Embeddings, *, encoding: str) -> dict[str, Any]:
    """The body of an answer to an embeddings request, in floats or base64."""
    rows = [
        {
            "object": "embedding",
            "index": index,
            "embedding": (
                base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
                if encoding == "base64"
                else vector.tolist()
            ),
        }
        for index, vector in enumerate(embeddings.vectors)
    ]
    tokens = embeddings.tokens or 0
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": rows, "model": model, "usage": usage}


def rerank_texts(body: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Question and texts of a rerank request: the latter are `documents` for Cohere and Jina, `texts` for TEI.

    For Alibaba Cloud they are in the body's `input`.
    """
    body = body.get("input", body)
    return body["query"], [
        str(entry["text"]) if isinstance(entry, dict) else str(entry)
        for entry in body["texts" if "texts" in body else "documents"]
    ]


def rerank_top_n(body: Mapping[str, Any], count: int) -> int:
    """How many of the texts are asked for."""
    return int(body.get("parameters", body).get("top_n", count))


def rerank_body(body: Mapping[str, Any], ranks: Sequence[tuple[int, float | str]]) -> Any:
    """The body of an answer to a rerank request, best first, in the form in which it was asked."""
    if "texts" in body:
        return [{"index": index, "score": score} for index, score in ranks]
    results = [{"index": index, "relevance_score": score} for index, score in ranks]
    if "input" in body:
        return {"request_id": "rerank-fake", "output": {"results": results}}
    answer: dict[str, Any] = {"id": "rerank-fake", "results": results}
    return answer | {"model": body["model"], "usage": {"total_tokens": 0}}


def spoiled_ranks(
    ranks: Sequence[tuple[int, float]], fault: Fault | None
) -> Sequence[tuple[int, float | str]]:
    """The ranks as a fault leaves them."""
    match fault:
        case Empty():
            return []
        case Truncated():
            return ranks[:-1]
        case Malformed("text"):
            return [*ranks[:-1], (ranks[-1][0], "?")]
    return ranks


def error_body(status: int, code: str) -> bytes:
    """The body of an error."""
    error = {"message": f"The fake server answers {status}.", "type": code, "param": None, "code": code}
    return json.dumps({"error": error}).encode()


def spoiled_reply(reply: LLMReply, fault: Fault | None) -> LLMReply:
    """The reply as a fault leaves it."""
    match fault:
        case Empty():
            return replace(reply, text="")
        case Truncated():
            return replace(reply, text=reply.text[: len(reply.text) // 2], truncated=True)
        case Malformed("text"):
            return replace(reply, text=_NONSENSE)
    return reply


def spoiled_rows(rows: list[dict[str, Any]], fault: Fault | None) -> list[dict[str, Any]]:
    """The rows of an embeddings answer as a fault leaves them."""
    match fault:
        case Empty():
            return []
        case Truncated():
            return rows[:-1]
        case Malformed("text"):
            return [*rows[:-1], {**rows[-1], "embedding": "?"}]
    return rows


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _finish(reply: LLMReply) -> str:
    return "length" if reply.truncated else "stop"


def _usage(reply: LLMReply) -> dict[str, int]:
    prompt, completion = reply.prompt_tokens or 0, reply.completion_tokens or 0
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

"""Whatever a server does ends in an error of the tree, and without secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from integration.openai_servers import (
    FAULTS,
    HI,
    KEY,
    REQUEST,
    Raw,
    Says,
    complete,
    embed,
    json_answer,
    llm_at,
    stream,
)
from stateless_rag.errors import (
    InvalidReply,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.providers import OpenAILLM
from stateless_rag.providers.http import retry_after
from stateless_rag.testing import (
    Empty,
    FakeOpenAIServer,
    Fault,
    Faults,
    Hang,
    Malformed,
    RateLimited,
    ServerError,
    Truncated,
)

CHAT_FAULTS: tuple[tuple[Fault, type[ProviderError]], ...] = (
    *FAULTS,
    (ServerError(409), ProviderUnavailable),
    (ServerError(403), ProviderRejected),
)


@pytest.mark.parametrize(("fault", "error"), CHAT_FAULTS, ids=lambda value: str(value))
@pytest.mark.parametrize("call", [complete, stream, embed])
async def test_faults_end_in_the_right_error(
    call: Callable[..., Any], fault: Fault, error: type[ProviderError]
) -> None:
    async with FakeOpenAIServer(faults=Faults.first(1, fault)) as server:
        with pytest.raises(error) as caught:
            await call(server)
        assert len(server.log) == 1  # the SDK did not try again
        await call(server)
        assert [record.fault for record in server.log] == [type(fault).__name__, None]
    assert type(caught.value) is error
    message = str(caught.value)
    assert KEY not in message
    assert "secret" not in message
    if isinstance(fault, ServerError):
        assert caught.value.status == fault.status
        assert str(fault.status) in message
    if isinstance(fault, RateLimited):
        assert caught.value.retry_after == 2.5


@pytest.mark.parametrize("fault", [Empty(), Truncated(), Malformed("text")], ids=str)
async def test_spoiled_embeddings_are_invalid(fault: Fault) -> None:
    async with FakeOpenAIServer(faults=Faults.first(1, fault)) as server:
        with pytest.raises(InvalidReply):
            await embed(server)


async def test_spoiled_answers_are_answers() -> None:
    faults = Faults([Empty(), Truncated(), Malformed("text")])
    async with FakeOpenAIServer(Says("twelve chars"), faults=faults) as server:
        empty, truncated, nonsense = [await complete(server) for _ in range(3)]
    assert (empty.text, empty.truncated) == ("", False)
    assert (truncated.text, truncated.truncated) == ("twelve", True)
    assert "<|#|>" in nonsense.text


async def test_a_refused_connection_and_a_slow_server() -> None:
    with pytest.raises(ProviderUnavailable):
        llm = OpenAILLM("m", base_url="http://127.0.0.1:9/v1")
        try:
            await llm.complete(REQUEST)
        finally:
            await llm.close()
    async with FakeOpenAIServer(faults=Faults.first(1, Hang(30))) as server:
        llm = llm_at(server)
        # The SDK is told not to time calls; should it do so all the same, the error is the right one.
        llm._clients.get().timeout = 0.1
        with pytest.raises(ProviderTimeout):
            await llm.complete(REQUEST)
        await llm.close()


@pytest.mark.parametrize(
    ("choice", "error"),
    [
        ({"message": {"content": None}, "finish_reason": "stop"}, InvalidReply),
        ({"message": {"content": 7}, "finish_reason": "stop"}, InvalidReply),
        ({"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}, ProviderRejected),
        ({"message": {"content": "a"}, "finish_reason": "content_filter"}, ProviderRejected),
        ({}, InvalidReply),
        (None, InvalidReply),
    ],
)
async def test_answers_without_content(choice: Any, error: type[ProviderError]) -> None:
    async with Raw(json_answer({"choices": [choice] if choice is not None else []})) as server:
        with pytest.raises(error) as caught:
            await complete(server)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"\xff\xfe", b"<html>", b'{"choices": 5}', b"[" * 100_000]
)
async def test_bodies_that_are_no_answer(body: bytes) -> None:
    async with Raw(json_answer(body)) as server:
        with pytest.raises(InvalidReply):
            await complete(server)
        with pytest.raises(InvalidReply):
            await embed(server)


def sent(status: int = 200, headers: str = "", content: bytes = b"{}") -> bytes:
    """An answer with these headers, and a length."""
    return (
        f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{headers}Connection: close\r\n\r\n".encode()
        + content
    )


UNUSUAL: list[tuple[str, bytes, type[ProviderError]]] = [
    ("no HTTP", b"\x00 what?\r\n\r\n", ProviderUnavailable),
    ("no number as length", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", ProviderUnavailable),
    (
        "no number as size",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ProviderUnavailable,
    ),
    ("a header without end", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", ProviderUnavailable),
    ("no content", b"HTTP/1.1 204 No Content\r\n\r\n", InvalidReply),
    ("a status of its own", sent(999), ProviderUnavailable),
    ("not gzip", sent(headers="Content-Encoding: gzip\r\n", content=b"plain"), InvalidReply),
    ("an error not gzip", sent(400, "Content-Encoding: gzip\r\n", b"plain"), InvalidReply),
    ("a ring of redirects", sent(307, "Location: /v1/again\r\n"), ProviderRejected),
    ("a redirect to no URL", sent(307, "Location: http://[::1\r\n"), ProviderUnavailable),
    ("a redirect to another protocol", sent(307, "Location: ftp://host/\r\n"), ProviderRejected),
    ("a redirect without a place", sent(307), ProviderRejected),
    ("an error as a list", sent(400, content=b"[1]"), ProviderRejected),
    ("an error of numbers", sent(400, content=b'{"error": {"code": 5, "message": [1]}}'), ProviderRejected),
    ("an error not UTF-8", sent(400, content=b"\xff\xfe"), ProviderRejected),
    ("an error too deep", sent(500, content=b"[" * 100_000), ProviderUnavailable),
    ("an unknown charset", sent(400, "Content-Type: text/x; charset=none\r\n", b"?"), ProviderRejected),
    ("a number without end", sent(content=b'{"choices": ' + b"9" * 5_000 + b"}"), InvalidReply),
    ("a body not UTF-8", sent(content=b'{"choices": "\xff"}'), InvalidReply),
    ("a list in place of choices", sent(content=b'{"choices": {"0": 1}, "data": {"0": 1}}'), InvalidReply),
]


@pytest.mark.parametrize(("answer", "error"), [pytest.param(*case[1:], id=case[0]) for case in UNUSUAL])
@pytest.mark.parametrize("call", [complete, embed])
async def test_whatever_a_server_sends_ends_in_the_error_tree(
    call: Callable[..., Any], answer: bytes, error: type[ProviderError]
) -> None:
    async with Raw(answer) as server:
        with pytest.raises(error) as caught:
            await call(server)
    assert type(caught.value) is error
    assert caught.value.__cause__ is not None or type(caught.value) is InvalidReply


@pytest.mark.parametrize(
    "usage", [5, [1], {"prompt_tokens": 10**30, "completion_tokens": True}, {"prompt_tokens": -1}, {}, None]
)
async def test_counts_that_are_none_are_left_out(usage: Any) -> None:
    async with Raw(json_answer({**HI, "usage": usage})) as server:
        assert await complete(server) == LLMReply(text="hi")


@pytest.mark.parametrize("call", [complete, stream, embed])
async def test_headers_that_http_cannot_carry_are_refused(call: Callable[..., Any]) -> None:
    async with Raw(json_answer(HI)) as server:
        with pytest.raises(ProviderRejected, match="ascii"):
            await call(server, headers={"X-Team": "ä"})
        assert server.heads == []


async def test_texts_that_http_cannot_carry_are_refused() -> None:
    async with Raw(json_answer(HI)) as server:
        with pytest.raises(ProviderRejected, match="utf-8") as caught:
            await complete(server, LLMRequest(prompt="secret \ud800"))
        with pytest.raises(ProviderRejected, match="utf-8"):
            await embed(server, ["\ud800"])
        assert server.heads == []
    assert "secret" not in str(caught.value)


async def test_messages_do_not_hold_what_servers_echo() -> None:
    error = {"error": {"message": f"Wrong key {KEY}: A secret question?", "code": KEY, "type": "auth_error"}}
    async with Raw(json_answer(error, 401)) as server:
        url = server.base_url.replace("http://", "http://user:hidden@") + "?token=hidden"
        llm = OpenAILLM("gpt-x", api_key=KEY, base_url=url)
        with pytest.raises(ProviderRejected, match=r"401 \(auth_error\): check api_key") as caught:
            await llm.complete(REQUEST)
        await llm.close()
    for secret in (KEY, "secret", "hidden"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        (
            {
                "retry-after": "Thu, 01 Jan 1970 00:01:40 GMT",
                "date": "Thu, 01 Jan 1970 00:01:35 GMT",
            },
            5.0,
        ),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "inf", "retry-after": "2"}, 2.0),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=10.0) == seconds

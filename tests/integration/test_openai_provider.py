"""The OpenAI LLM against a server on a real socket: what is sent and what comes back."""

from __future__ import annotations

import pytest

from integration.openai_servers import (
    HI,
    KEY,
    REQUEST,
    Raw,
    Says,
    complete,
    json_answer,
    stream,
)
from stateless_rag.errors import (
    InvalidInput,
    ProviderUnavailable,
)
from stateless_rag.protocols import LLM, LLMReply, LLMRequest
from stateless_rag.providers import OpenAILLM
from stateless_rag.testing import (
    FakeOpenAIServer,
)
from stateless_rag.types import Message


async def test_messages_json_mode_and_tokens_arrive() -> None:
    says = Says('{"a": 1}')
    async with FakeOpenAIServer(says) as server:
        request = LLMRequest(
            prompt="Who?", system="S", history=(Message("user", "Hi"), Message("assistant", "Ho")), json=True
        )
        reply = await complete(server, request, max_tokens=50)
        (record,) = server.log
    assert reply == LLMReply(text='{"a": 1}', prompt_tokens=11, completion_tokens=7)
    (asked,) = says.asked
    assert (asked.prompt, asked.system, asked.history, asked.json, asked.max_tokens) == (
        "Who?",
        "S",
        request.history,
        True,
        50,
    )
    assert (record.model, record.status, record.prompt_tokens, record.completion_tokens, record.stream) == (
        "gpt-x",
        200,
        11,
        7,
        False,
    )


async def test_the_wire_holds_what_was_set() -> None:
    async with Raw(json_answer(HI)) as server:
        settings = {
            "headers": {"X-Team": "a"},
            "temperature": 0.5,
            "extra_body": {"top_k": 3},
            "max_tokens": 9,
        }
        await complete(server, REQUEST, **settings)
        await complete(server, LLMRequest(prompt="Who?", max_tokens=4), **settings)
        with pytest.raises(ProviderUnavailable):
            await stream(server)
    head = server.heads[0].decode().lower()
    assert f"authorization: bearer {KEY}" in head
    assert "x-team: a" in head
    bounded, other, streamed = server.bodies
    assert bounded == {
        "model": "gpt-x",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "user", "content": "A secret question?"},
        ],
        "temperature": 0.5,
        "max_tokens": 9,
        "top_k": 3,
    }
    assert other["max_tokens"] == 4
    assert (streamed["stream"], streamed["stream_options"]) == (True, {"include_usage": True})
    own = OpenAILLM("gpt-x", api_key=KEY, max_tokens=9)._arguments(REQUEST)
    assert own["max_completion_tokens"] == 9
    assert "max_tokens" not in own


async def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OPENAI_API_KEY": "env-key",
        "OPENAI_ADMIN_KEY": "env-admin",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/env",
        "OPENAI_ORG_ID": "env-org",
        "OPENAI_PROJECT_ID": "env-project",
        "OPENAI_CUSTOM_HEADERS": "X-Env: env-header",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    async with Raw(json_answer(HI)) as server:
        llm = OpenAILLM("local", base_url=server.base_url)
        assert (await llm.complete(REQUEST)).text == "hi"
        await llm.close()
        (head,) = server.heads
    assert b"env-" not in head
    assert b"openai-organization" not in head.lower()
    with pytest.raises(InvalidInput, match="api_key"):
        OpenAILLM("gpt-x")
    assert OpenAILLM("gpt-x", api_key="k")._clients.server == "https://api.openai.com/v1"


async def test_thinking_is_removed() -> None:
    async with FakeOpenAIServer(Says("<think>I wonder.\n</think>\n\nIt is 42.")) as server:
        assert (await complete(server)).text == "It is 42."
        texts, reply = await stream(server)
    assert "".join(texts) == "It is 42."
    assert reply == LLMReply(text="It is 42.", prompt_tokens=11, completion_tokens=7)
    message: dict[str, str | None] = {"content": "<think>too long", "reasoning_content": "more"}
    async with Raw(json_answer({"choices": [{"message": message, "finish_reason": "length"}]})) as server:
        assert await complete(server) == LLMReply(text="", truncated=True)
    message = {"content": None, "reasoning_content": "all of it"}
    async with Raw(json_answer({"choices": [{"message": message, "finish_reason": "length"}]})) as server:
        assert await complete(server) == LLMReply(text="", truncated=True)


def test_model_names_what_changes_answers_and_no_secret() -> None:
    plain = OpenAILLM("gpt-x", api_key=KEY)
    assert isinstance(plain, LLM)
    assert plain.model == "gpt-x"
    one = OpenAILLM("gpt-x", api_key=KEY, extra_body={"a": 1, "b": KEY}, temperature=0, headers={"X": KEY})
    same = OpenAILLM("gpt-x", api_key="other", extra_body={"b": KEY, "a": 1}, temperature=0)
    other = OpenAILLM("gpt-x", api_key=KEY, extra_body={"a": 2}, temperature=0)
    assert one.model == same.model != other.model
    assert one.model.startswith("gpt-x;temperature=0;extra_body=")
    assert KEY not in one.model + repr(one) + str(vars(one).get("_model"))
    with pytest.raises(InvalidInput, match="blank"):
        OpenAILLM("", api_key=KEY)
    for url in ("localhost:80", "ftp://host", "https://"):
        with pytest.raises(InvalidInput, match="base_url"):
            OpenAILLM("m", base_url=url)

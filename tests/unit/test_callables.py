"""Async functions as providers."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from stateless_rag import calls
from stateless_rag.context import Context
from stateless_rag.errors import InvalidInput, InvalidReply
from stateless_rag.protocols import LLM, Embedder, Embeddings, LLMReply, LLMRequest, Reranker, StreamPart
from stateless_rag.providers import as_embedder, as_llm, as_reranker
from stateless_rag.providers.callables import CallableEmbedder, CallableLLM, CallableReranker
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Message

REQUEST = LLMRequest(
    prompt="Who?", system="Be brief.", history=(Message("user", "Hi"), Message("assistant", "Ho")), json=True
)


async def streamed(llm: LLM, request: LLMRequest = REQUEST) -> tuple[list[str], LLMReply | None]:
    parts = [part async for part in llm.stream(request)]
    assert all(part.reply is None for part in parts[:-1])
    return [part.text for part in parts if part.text], parts[-1].reply


async def test_messages_are_given_by_name() -> None:
    seen: dict[str, Any] = {}

    async def model(prompt: str, system_prompt: Any = None, history_messages: Any = None, **rest: Any) -> str:
        seen.update(prompt=prompt, system=system_prompt, history=history_messages, rest=rest)
        return "<think>hm</think>Ada"

    assert (await as_llm(model).complete(REQUEST)).text == "Ada"
    assert seen == {
        "prompt": "Who?",
        "system": "Be brief.",
        "history": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
        "rest": {},
    }


async def test_keywords_alone_are_enough() -> None:
    async def model(prompt: str, **keywords: Any) -> str:
        return f"{prompt}|{sorted(keywords)}"

    assert (await as_llm(model).complete(REQUEST)).text == "Who?|['history_messages', 'system_prompt']"


async def test_what_a_function_cannot_take_stands_before_the_prompt() -> None:
    async def plain(prompt: str) -> str:
        return prompt

    async def half(
        prompt: str, *, system_prompt: str | None, max_tokens: int = 0, response_format: Any = None
    ) -> str:
        return f"{system_prompt}|{prompt}|{max_tokens}|{response_format}"

    assert (await as_llm(plain).complete(REQUEST)).text == "Be brief.\n\nuser: Hi\n\nassistant: Ho\n\nWho?"
    bounded = LLMRequest(prompt="Who?", system="S", json=True, max_tokens=7)
    assert (await as_llm(half).complete(bounded)).text == "S|Who?|7|{'type': 'json_object'}"


async def test_a_function_of_the_request() -> None:
    async def by_name(request: Any) -> LLMReply:
        return LLMReply(text=request.prompt, prompt_tokens=3, truncated=True)

    async def by_annotation(asked: LLMRequest) -> str:
        return asked.system or ""

    assert await as_llm(by_name).complete(REQUEST) == LLMReply(text="Who?", prompt_tokens=3, truncated=True)
    assert (await as_llm(by_annotation).complete(REQUEST)).text == "Be brief."


async def test_iterators_are_collected_or_passed_on() -> None:
    closed = []

    async def generator(prompt: str) -> AsyncIterator[str]:
        try:
            for piece in ("<th", "ink>x</think>", "Ada ", "Lovelace"):
                yield piece
        finally:
            closed.append(True)

    async def returning(prompt: str) -> AsyncIterator[str]:
        return generator(prompt)

    for function in (generator, returning):
        llm = as_llm(function)
        assert (await llm.complete(REQUEST)).text == "Ada Lovelace"
        assert await streamed(llm) == (["Ada ", "Lovelace"], LLMReply(text="Ada Lovelace"))
    stream = as_llm(generator).stream(REQUEST)
    assert (await anext(stream)).text == "Ada "
    closed.clear()
    await stream.aclose()  # type: ignore[attr-defined]
    assert closed == [True]


async def test_parts_are_passed_on_with_their_reply() -> None:
    async def parts(prompt: str) -> AsyncIterator[StreamPart]:
        yield StreamPart(text="A")
        yield StreamPart(reply=LLMReply(text="A", completion_tokens=1))

    assert await streamed(as_llm(parts)) == (["A"], LLMReply(text="A", completion_tokens=1))
    assert (await as_llm(parts).complete(REQUEST)).completion_tokens == 1


async def test_a_string_is_one_part() -> None:
    async def model(prompt: str) -> str:
        return "whole"

    assert await streamed(as_llm(model)) == (["whole"], LLMReply(text="whole"))


@pytest.mark.parametrize("answer", [None, 5, b"bytes", ["list"]])
async def test_other_answers_are_invalid(answer: Any) -> None:
    async def model(prompt: str) -> Any:
        return answer

    with pytest.raises(InvalidReply, match="returned"):
        await as_llm(model).complete(REQUEST)


async def test_streams_of_other_things_are_invalid() -> None:
    async def model(prompt: str) -> AsyncIterator[Any]:
        yield 5

    with pytest.raises(InvalidReply, match="int"):
        await streamed(as_llm(model))


def test_instances_are_left_alone_and_the_rest_is_refused() -> None:
    def blocking(prompt: str) -> str:
        return prompt

    async def generator(texts: list[str]) -> AsyncIterator[str]:
        yield ""

    llm, embedder = DeterministicLLM(), DeterministicEmbedder()
    assert as_llm(llm) is llm
    assert as_embedder(embedder) is embedder
    assert isinstance(CallableLLM(_answer), LLM)
    assert isinstance(CallableEmbedder(_answer), Embedder)
    with pytest.raises(InvalidInput, match="blocking is not async"):
        as_llm(blocking)
    with pytest.raises(InvalidInput, match="generator is not async"):
        as_embedder(generator)
    with pytest.raises(InvalidInput, match="DeterministicLLM is a class"):
        as_llm(DeterministicLLM)
    with pytest.raises(InvalidInput, match="neither"):
        as_embedder("text-embedding-3-small")  # type: ignore[arg-type]


def test_names() -> None:
    class Bound:
        async def __call__(self, prompt: str) -> str:
            return prompt

    assert as_llm(_answer).model == f"{__name__}._answer"
    assert as_llm(functools.partial(_answer, prompt="x")).model == f"{__name__}._answer"
    assert as_llm(Bound()).model.endswith("Bound")
    assert CallableLLM(_answer, model="mine").model == "mine"


async def _answer(prompt: str) -> str:
    return prompt


async def test_embedders_give_float32_rows() -> None:
    roles = []

    async def lists(texts: list[str]) -> list[list[float]]:
        return [[len(text), 1.0] for text in texts]

    async def with_role(texts: Sequence[str], role: str) -> Any:
        roles.append(role)
        return Embeddings(vectors=np.ones((len(texts), 3), dtype=np.float32), tokens=9)

    embedded = await as_embedder(lists).embed(["a", "bc"], role="document")
    assert embedded.vectors.dtype == np.float32
    assert embedded.vectors.tolist() == [[1.0, 1.0], [2.0, 1.0]]
    assert (await as_embedder(with_role).embed(["a"], role="query")).tokens == 9
    assert roles == ["query"]


@pytest.mark.parametrize("answer", [[[1.0]], [[1.0], [1.0, 2.0]], [1.0, 2.0], "no", None, [["x"], ["y"]]])
async def test_embedders_that_give_no_rows_are_invalid(answer: Any) -> None:
    async def model(texts: list[str]) -> Any:
        return answer

    with pytest.raises(InvalidReply):
        await as_embedder(model).embed(["a", "b"], role="document")


# ---- rerankers -----------------------------------------------------------------------------------------


async def as_pairs(query: str, documents: list[str]) -> Any:
    return [(index, float(len(text))) for index, text in enumerate(documents)]


async def as_rows(query: str, documents: list[str], top_n: int) -> Any:
    return [{"index": index, "relevance_score": len(text)} for index, text in enumerate(documents)][:top_n]


async def as_scores(query: str, documents: list[str], **options: Any) -> Any:
    return [{"index": index, "score": len(text)} for index, text in enumerate(documents)][: options["top_n"]]


@pytest.mark.parametrize(("function", "given"), [(as_pairs, 2), (as_rows, 1), (as_scores, 1)])
async def test_an_async_function_is_a_reranker(function: Any, given: int) -> None:
    reranker = as_reranker(function)
    assert isinstance(reranker, Reranker)
    assert as_reranker(reranker) is reranker
    assert reranker.model.endswith(function.__name__)
    assert CallableReranker(function, model="mine").model == "mine"
    assert await reranker.rerank("q", ["a", "bc"], top_n=1) == [(0, 1), (1, 2)][:given]
    context = Context.create(reranker=function)
    assert await calls.rerank(context, "q", ["a", "bc"], 2) == [(1, 2.0), (0, 1.0)]


@pytest.mark.parametrize("answer", [None, 5, [5], [(1, 2, 3)], [{"index": 0}], [{"score": 1}]])
async def test_rankings_that_are_none(answer: Any) -> None:
    async def rank(query: str, documents: list[str]) -> Any:
        return answer

    with pytest.raises(InvalidReply, match="rank returned"):
        await as_reranker(rank).rerank("q", ["a"], top_n=1)


@pytest.mark.parametrize("value", [5, "x", CallableReranker, lambda query, documents: []])
def test_what_is_no_reranker(value: Any) -> None:
    with pytest.raises(InvalidInput, match="reranker="):
        Context.create(reranker=value)

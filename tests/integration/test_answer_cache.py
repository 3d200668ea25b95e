"""Answers that are kept: nothing is paid twice for the same prompt at the same revision, and nothing is stale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stateless_rag import Answer, Engine, InvalidInput
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.settings import QueryOptions
from stateless_rag.testing import DeterministicLLM

if TYPE_CHECKING:
    from stateless_rag.types import Usage

QUESTION = "What did Ada Lovelace write?"


class Counting(DeterministicLLM):
    """Numbers its answers."""

    def __init__(self, name: str = "counting") -> None:
        super().__init__()
        self.name, self.answers = name, 0

    @property
    def model(self) -> str:
        return self.name

    async def complete(self, request: LLMRequest) -> LLMReply:
        if request.purpose != "answer":
            return await super().complete(request)
        self.answers += 1
        return LLMReply(text=f"answer {self.answers} [1]", prompt_tokens=10, completion_tokens=3)


async def said(engine: Engine, *, stream: bool = False, question: str = QUESTION, **options: Any) -> Answer:
    if not stream:
        return await engine.query(question, **options)
    pieces = [piece async for piece in engine.stream(question, **options)]
    last = pieces[-1]
    assert isinstance(last, Answer)
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == last.text
    return last


def spent(answer: Answer) -> Usage:
    return answer.usage["answer"]


@pytest.mark.parametrize("first", [False, True], ids=["asked", "streamed"])
@pytest.mark.parametrize("second", [False, True], ids=["asked", "streamed"])
async def test_the_same_question_is_paid_once(tmp_path: Path, first: bool, second: bool) -> None:
    llm = Counting()
    async with Engine.open(tmp_path, llm=llm) as engine:
        await engine.insert("Ada Lovelace wrote notes.")
        revision = engine.revision
        one = await said(engine, stream=first, cache=True)
        other = await said(engine, stream=second, cache=True)
        assert (one.text, other.text) == ("answer 1 [1]", "answer 1 [1]")
        assert (spent(one).calls, spent(one).cached) == (1, 0)
        assert (spent(other).calls, spent(other).cached, spent(other).tokens) == (0, 1, 0)
        assert other.references == one.references
        assert engine.revision == revision
    async with Engine.open(tmp_path, llm=Counting()) as again:  # it outlasts the engine
        assert spent(await said(again, stream=second, cache=True)).cached == 1


async def test_nothing_is_kept_unless_it_is_wanted(tmp_path: Path) -> None:
    llm = Counting()
    async with Engine.open(tmp_path, llm=llm) as engine:
        await engine.insert("Ada Lovelace wrote notes.")
        assert not QueryOptions().cache
        for expected in (1, 2):
            assert (await said(engine)).text == f"answer {expected} [1]"
        assert (await said(engine, cache=True)).text == "answer 3 [1]"
        assert (await said(engine)).text == "answer 4 [1]"
        assert "answer" in await engine.costs()


CHANGES: list[dict[str, Any]] = [
    {"question": "What did Ada Lovelace write then?"},
    {"history": (("user", "Hi"), ("assistant", "Ho"))},
    {"response_type": "One word"},
    {"user_prompt": "Be kind."},
    {"system_prompt": "Answer from {context}"},
    {"mode": "naive"},
    {"metadata_filter": {"year": 1843}},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: next(iter(changes)))
async def test_another_prompt_is_another_answer(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with Engine.open(tmp_path, llm=Counting()) as engine:
        await engine.insert(["Ada Lovelace wrote notes.", "Ada Lovelace wrote letters."])
        await said(engine, cache=True)
        other = await said(engine, cache=True, **changes)
        assert other.no_context or spent(other).cached == 0


async def test_another_revision_or_model_is_another_answer(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, llm=Counting()) as engine:
        await engine.insert("Ada Lovelace wrote notes.")
        await said(engine, cache=True)
        await engine.insert("Of something else entirely: bees make honey.")
        assert spent(await said(engine, cache=True)).cached == 0
        assert spent(await said(engine, cache=True)).cached == 1
        await engine.insert("Ada Lovelace wrote letters.")
        fresh = await said(engine, cache=True)
        assert spent(fresh).cached == 0
        assert "letters" in fresh.context
    async with Engine.open(tmp_path, llm=Counting("another")) as engine:
        assert spent(await said(engine, cache=True)).cached == 0


async def test_a_stream_that_is_left_is_not_kept(tmp_path: Path) -> None:
    async with Engine.open(tmp_path, llm=Counting()) as engine:
        await engine.insert("Ada Lovelace wrote notes.")
        pieces = engine.stream(QUESTION, cache=True)
        assert await anext(pieces)
        await pieces.aclose()
        assert spent(await said(engine, cache=True)).cached == 0


async def test_workspaces_do_not_share_answers(tmp_path: Path) -> None:
    for number in (1, 2):
        async with Engine.open(tmp_path, f"w{number}", llm=Counting()) as engine:
            await engine.insert("Ada Lovelace wrote notes.")
            assert spent(await said(engine, cache=True)).cached == 0


def test_what_is_no_flag() -> None:
    with pytest.raises(InvalidInput, match="cache is 1"):
        QueryOptions(cache=1)  # type: ignore[arg-type]

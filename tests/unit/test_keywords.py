from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from stateless_rag.context import Context
from stateless_rag.errors import ProviderError, ProviderRejected, ProviderUnavailable
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.providers.cooccurrence import CooccurrenceExtractor, builtin_keywords
from stateless_rag.retrieval.keywords import keywords, parse_keywords
from stateless_rag.settings import CallSettings, ExtractSettings, QueryOptions, Settings
from stateless_rag.types import Keywords
from unit.scripted import NoEmbedder, NoTokenizer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stateless_rag.protocols import StreamPart

QUESTION = "Who founded Microsoft in Albuquerque?"


@dataclass
class OneAnswerLLM:
    answer: str | Exception
    asked: list[LLMRequest] = field(default_factory=list)
    model: str = "one answer"

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return LLMReply(text=self.answer)

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        raise AssertionError("keywords are not streamed")


def a_context(llm: OneAnswerLLM | None) -> Context:
    settings = Settings(calls=CallSettings(attempts=1), extraction=ExtractSettings(language="Latin"))
    return Context(
        settings=settings,
        tokenizer=NoTokenizer(),
        embedder=NoEmbedder(),
        extractor=CooccurrenceExtractor(),
        llm=llm,
    )


async def ask(answer: str | Exception, **options: Any) -> tuple[Keywords, tuple[str, ...]]:
    return await keywords(a_context(OneAnswerLLM(answer)), QUESTION, QueryOptions(**options))


async def test_keywords_of_the_caller_are_taken_as_they_are() -> None:
    llm = OneAnswerLLM("never asked")
    options = QueryOptions(low_level_keywords=("Ada", "Ada "))
    found, notes = await keywords(a_context(llm), QUESTION, options)
    assert found == Keywords(low_level=("Ada", "Ada "))
    assert (notes, llm.asked) == ((), [])


async def test_without_an_llm_the_rules_read_the_question() -> None:
    found, notes = await keywords(a_context(None), QUESTION, QueryOptions())
    assert found == builtin_keywords(QUESTION)
    assert found.low_level == ("Microsoft", "Albuquerque")
    assert notes == ()


async def test_the_llm_is_asked_once_for_json() -> None:
    llm = OneAnswerLLM('{"high_level_keywords": ["founding"], "low_level_keywords": ["Microsoft"]}')
    context = a_context(llm)
    found, notes = await keywords(context, QUESTION, QueryOptions())
    assert (found, notes) == (Keywords(high_level=("founding",), low_level=("Microsoft",)), ())
    (request,) = llm.asked
    assert request.json and request.purpose == "keywords"
    assert request.prompt.endswith(f"Question:\n{QUESTION}")
    assert "Latin" in request.prompt
    assert context.meter.totals()["keywords"].calls == 1


async def test_when_nothing_is_found_the_question_is_looked_up() -> None:
    found, notes = await ask('{"high_level_keywords": [], "low_level_keywords": []}')
    assert (found, notes) == (Keywords(low_level=(QUESTION,)), ())


@pytest.mark.parametrize(
    "error", [ProviderUnavailable("it is down"), ProviderRejected("wrong key", status=401)]
)
async def test_a_provider_that_fails_is_an_error_or_a_note(error: ProviderError) -> None:
    with pytest.raises(type(error)):
        await ask(error)
    found, notes = await ask(error, on_provider_error="degrade")
    assert found == builtin_keywords(QUESTION)
    (note,) = notes
    assert note.startswith("keywords: built-in extractor (") and str(error) in note


@pytest.mark.parametrize("reply", ["I don't know.", "[]", '{"keywords": ["x"]}', "{"])
async def test_a_malformed_reply_is_a_note_and_no_error(reply: str) -> None:
    found, notes = await ask(reply)
    assert found == builtin_keywords(QUESTION)
    assert notes == ("keywords: built-in extractor (the LLM's reply was malformed)",)


@pytest.mark.parametrize(
    ("reply", "high", "low"),
    [
        ('{"high_level_keywords": ["a", "b"], "low_level_keywords": ["c"]}', ("a", "b"), ("c",)),
        ('```json\n{"low_level_keywords": ["c", "c", " c "]}\n```', (), ("c",)),
        ('{"high_level_keywords": "a, b；c\nd", "low_level_keywords": null}', ("a", "b", "c", "d"), ()),
        ("{'high_level_keywords': ['a',], 'low_level_keywords': [1, {}, 'b'],}", ("a",), ("b",)),
        ('Keywords: {"high_level_keywords": ["a"], "low_level_keywords": ["b", "c', ("a",), ("b",)),
        ('{"high_level_keywords": ["", "  "]}', (), ()),
        ('{"high_level_keywords": 3}', (), ()),
    ],
)
def test_replies_are_read_tolerantly(reply: str, high: tuple[str, ...], low: tuple[str, ...]) -> None:
    assert parse_keywords(reply) == Keywords(high_level=high, low_level=low)


def test_keywords_are_bounded() -> None:
    many = ", ".join(f"word{number}" for number in range(500))
    found = parse_keywords(f'{{"high_level_keywords": "{many}", "low_level_keywords": ["{"x" * 5000}"]}}')
    assert found is not None
    assert len(found.high_level) == 32
    assert len(found.low_level[0]) == 256

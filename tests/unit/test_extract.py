from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from stateless_rag.context import Context
from stateless_rag.errors import InvalidReply, Overloaded, ProviderRejected, ProviderUnavailable
from stateless_rag.limits import Limits, Priority
from stateless_rag.prompts import Prompts, fenced, render
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.settings import CallSettings, ExtractSettings, MergeSettings, Settings
from stateless_rag.stages.extract import (
    CooccurrenceExtractor,
    LLMExtractor,
    extract,
    extract_one,
    mentions,
    merge_passes,
    to_delta,
)
from stateless_rag.stages.merge import merge
from stateless_rag.stages.records import ParsedReply
from stateless_rag.types import Extraction, GraphDelta, Message
from unit.scripted import NoEmbedder, WordTokenizer, a_chunk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from stateless_rag.protocols import StreamPart
    from stateless_rag.types import Chunk

DONE = "<|COMPLETE|>"
ADA = "entity<|#|>Ada<|#|>Person<|#|>Ada wrote programs."
BOB = "entity<|#|>Bob<|#|>Person<|#|>Bob built engines."
WORK = "relation<|#|>Ada<|#|>Bob<|#|>work<|#|>Ada worked with Bob."


@dataclass
class ScriptedLLM:
    """Gives the answers in turn, or what a function makes of the request; keeps what it was asked."""

    answers: list[LLMReply | str | Exception] | Callable[[LLMRequest], Any] = field(default_factory=list)
    asked: list[LLMRequest] = field(default_factory=list)
    model: str = "scripted"
    running: int = 0
    most: int = 0

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.asked.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        answer = self.answers(request) if callable(self.answers) else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, LLMReply) else LLMReply(text=answer)

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        raise AssertionError("extraction does not stream")


def lines(*records: str) -> str:
    return "\n".join([*records, DONE])


def a_context(llm: Any = None, *, extraction: Any = None, **others: Any) -> Context:
    settings = Settings(
        extraction=ExtractSettings(**(extraction or {})),
        calls=CallSettings(attempts=1),
        merging=others.pop("merging", MergeSettings()),
    )
    others.setdefault("extractor", LLMExtractor())
    return Context(settings=settings, tokenizer=WordTokenizer(), embedder=NoEmbedder(), llm=llm, **others)


def found(extraction: Extraction) -> tuple[set[str], set[tuple[str, str]]]:
    pairs = {(relation.source, relation.target) for relation in extraction.relations}
    return {entity.name for entity in extraction.entities}, pairs


# ---- prompts -------------------------------------------------------------------------------------------


def test_only_slots_that_are_filled_are_replaced() -> None:
    assert render('{"a": {x}} {y} {X} {}', x="{y}") == '{"a": {y}} {y} {X} {}'


@given(st.text(alphabet="`a\n", max_size=30))
def test_no_text_ends_its_own_fence(text: str) -> None:
    fence, *inside, last = fenced(text).split("\n")
    assert (fence, "\n".join(inside)) == (last + "text", text)
    assert last not in text and set(last) == {"`"} and len(last) >= 3


async def test_all_before_the_text_is_the_same_for_all_chunks() -> None:
    for form in ("text", "json"):
        llm = ScriptedLLM(lambda request: '{"entities": []}' if request.json else DONE)
        context = a_context(llm, extraction={"format": form, "gleaning": 0})
        await extract(context, [a_chunk("One text.", 1), a_chunk("Another ```text``` {language}.", 2)])
        first, second = llm.asked
        assert first.system == second.system
        assert first.prompt.endswith("\n\nText:\n```text\nOne text.\n```")
        assert second.prompt.endswith("\n\nText:\n````text\nAnother ```text``` {language}.\n````")
        assert first.prompt.split("```")[0] == second.prompt.split("````")[0]
        assert first.json == (form == "json")
        for request in llm.asked:
            told = f"{request.system}{request.prompt}"
            assert not any(hint in told for hint in ("chunk-", "the-document", "77"))


async def test_every_slot_of_the_prompts_is_filled() -> None:
    for form in ("text", "json"):
        llm = ScriptedLLM([lines(ADA), DONE])
        context = a_context(
            llm, extraction={"format": form, "language": "Latin", "entity_types": ("Rex", "Res")}
        )
        await extract_one(context, a_chunk())
        for request in llm.asked:
            told = f"{request.system}{request.prompt}"
            assert not re.search(r"\{[a-z_]+\}", told)
            assert "Rex, Res" in told and "Latin" in told


# ---- the LLM -------------------------------------------------------------------------------------------


async def test_gleaning_adds_what_was_missed() -> None:
    llm = ScriptedLLM([lines(ADA), lines(BOB, WORK)])
    extraction = await extract_one(a_context(llm), a_chunk())
    assert found(extraction) == ({"Ada", "Bob"}, {("Ada", "Bob")})
    first, second = llm.asked
    assert [first.purpose, second.purpose] == ["extract", "glean"]
    assert second.history == (Message("user", first.prompt), Message("assistant", lines(ADA)))
    assert second.system == first.system


async def test_gleaning_stops_when_a_pass_adds_nothing() -> None:
    llm = ScriptedLLM([lines(ADA), lines(BOB), lines(ADA), lines(WORK)])
    extraction = await extract_one(a_context(llm, extraction={"gleaning": 5}), a_chunk())
    assert found(extraction) == ({"Ada", "Bob"}, set())
    assert len(llm.asked) == 3
    assert [message.role for message in llm.asked[2].history] == ["user", "assistant"] * 2


async def test_gleaning_can_be_turned_off() -> None:
    llm = ScriptedLLM([lines(ADA)])
    await extract_one(a_context(llm, extraction={"gleaning": 0}), a_chunk())
    assert len(llm.asked) == 1


async def test_gleaning_is_skipped_when_it_would_be_too_long() -> None:
    """The bound is in tokens of system prompt, history and prompt; 0 is no bound."""
    for bound, calls in ((0, 2), (100, 1), (100_000, 2)):
        llm = ScriptedLLM([lines(ADA), lines(BOB)])
        await extract_one(a_context(llm, extraction={"max_input_tokens": bound}), a_chunk())
        assert len(llm.asked) == calls
    asked = llm.asked[1]
    texts = [asked.system or "", *(message.content for message in asked.history), asked.prompt]
    exactly = sum(len(text.split()) for text in texts)
    for bound, calls in ((exactly, 2), (exactly - 1, 1)):
        llm = ScriptedLLM([lines(ADA), lines(BOB)])
        await extract_one(a_context(llm, extraction={"max_input_tokens": bound}), a_chunk())
        assert len(llm.asked) == calls


async def test_an_unusable_reply_is_an_error_that_says_so() -> None:
    for reply in ("", "I cannot do that.", "entity<|#|>Ada"):
        with pytest.raises(InvalidReply):
            await extract_one(a_context(ScriptedLLM([reply])), a_chunk())
    with pytest.raises(InvalidReply, match=r"1 × no record.*'I cannot do that\.'"):
        await extract_one(a_context(ScriptedLLM(["I cannot do that.\n"])), a_chunk())


async def test_nothing_to_find_is_no_error() -> None:
    for form, reply in (("text", DONE), ("json", '{"entities": [], "relationships": []}')):
        llm = ScriptedLLM([reply, reply])
        extraction = await extract_one(a_context(llm, extraction={"format": form}), a_chunk())
        assert (extraction.entities, extraction.relations, extraction.error) == ((), (), None)


async def test_of_a_truncated_reply_whole_records_are_used() -> None:
    cut = LLMReply(text=f"{ADA}\nentity<|#|>Bob<|#|>Person<|#|>Bob bui", truncated=True)
    extraction = await extract_one(a_context(ScriptedLLM([cut, DONE])), a_chunk())
    assert found(extraction) == ({"Ada"}, set())
    assert extraction.warnings == {"cut off": 1, "truncated": 1}
    with pytest.raises(InvalidReply, match="max_tokens"):
        await extract_one(a_context(ScriptedLLM([replace(cut, text="entity<|#|>Bo")])), a_chunk())


async def test_json_mode() -> None:
    reply = '{"entities": [{"name": "Ada", "type": "Person", "description": "Ada wrote."}]}'
    llm = ScriptedLLM([reply, '{"entities": []}'])
    extraction = await extract_one(a_context(llm, extraction={"format": "json", "max_tokens": 9}), a_chunk())
    assert found(extraction) == ({"Ada"}, set())
    assert [request.json for request in llm.asked] == [True, True]
    assert [request.max_tokens for request in llm.asked] == [9, 9]
    assert all("<|#|>" not in f"{request.system}{request.prompt}" for request in llm.asked)


def test_the_generation_names_all_that_decides() -> None:
    def generation(**changes: Any) -> str:
        model = changes.pop("model", "scripted")
        prompts = changes.pop("prompts", Prompts())
        return LLMExtractor().generation(
            a_context(ScriptedLLM(model=model), extraction=changes, prompts=prompts)
        )

    variants = [
        generation(),
        generation(model="other"),
        generation(language="German"),
        generation(entity_types=("Person",)),
        generation(format="json"),
        generation(gleaning=2),
        generation(max_records=9),
        generation(max_entities=9),
        generation(max_input_tokens=9),
        generation(max_tokens=9),
        *(
            generation(prompts=Prompts(**{name: "x"}))
            for name in ("extract_system", "extract_user", "extract_continue")
        ),
    ]
    assert len(set(variants)) == len(variants)
    assert generation() == generation()
    # What is not asked does not count.
    assert generation(prompts=Prompts(answer_system="x", extract_json_user="x")) == generation()
    assert all(re.fullmatch("llm-[0-9a-f]{12}", variant) for variant in variants)


# ---- passes and mentions -------------------------------------------------------------------------------


def test_of_two_passes_the_longer_description_stays() -> None:
    first = ParsedReply(
        (("Ada", "person", "Short."), ("Bob", "person", "Bob built engines.")),
        (("Ada", "Bob", ("work",), "They worked."),),
        {"bad name": 1},
        complete=True,
    )
    second = ParsedReply(
        (("ADA", "person", "Ada wrote programs."), ("Bob", "person", "Bob."), ("Cy", "person", "Cy.")),
        (("Bob", "Ada", ("friends",), "They were friends for life."),),
        {"bad name": 1, "bad type": 1},
        complete=True,
    )
    merged = merge_passes(first, second)
    assert [name for name, _, _ in merged.entities] == ["ADA", "Bob", "Cy"]
    assert merged.entities[1][2] == "Bob built engines."
    assert merged.relations == second.relations
    assert merged.warnings == {"bad name": 2, "bad type": 1}
    assert merge_passes(first, ParsedReply(complete=True)).entities == first.entities
    alike = ParsedReply((("ada", "place", "Tall.."),))
    assert merge_passes(first, alike).entities == first.entities
    exact = merge_passes(first, second, "exact")
    assert [name for name, _, _ in exact.entities] == ["Ada", "Bob", "ADA", "Cy"]


def test_ends_of_relations_are_mentioned_by_implication() -> None:
    parsed = ParsedReply(
        (("Ada", "person", "Ada wrote."),),
        (("ada", "Bob", (), "Short."), ("Bob", "Cy", (), "Bob knew Cy for long.")),
    )
    extraction = mentions(a_context(), a_chunk(), "g", parsed)
    told = {(mention.key, mention.name, mention.type, mention.description) for mention in extraction.entities}
    assert told == {
        ("ada", "Ada", "person", "Ada wrote."),
        ("bob", "Bob", "", "Bob knew Cy for long."),
        ("cy", "Cy", "", "Bob knew Cy for long."),
    }


def test_records_of_one_key_are_one_mention_only_if_alike() -> None:
    parsed = ParsedReply((("Ada", "person", "One."), ("Ada", "person", "One."), ("ADA", "person", "Two.")))
    extraction = mentions(a_context(), a_chunk(), "g", parsed)
    assert [(mention.key, mention.description) for mention in extraction.entities] == [
        ("ada", "Two."),
        ("ada", "One."),
    ]


def test_a_relation_of_a_key_with_itself_is_dropped() -> None:
    parsed = ParsedReply((), (("IT", "it", (), "One is the other."),))
    assert mentions(a_context(), a_chunk(), "g", parsed).relations == ()
    exact = a_context(merging=MergeSettings(key_policy="exact"))
    extraction = mentions(exact, a_chunk(), "g", parsed)
    assert [(relation.source_key, relation.target_key) for relation in extraction.relations] == [("IT", "it")]


name_pool = st.sampled_from(["Ada", "ada", "Bob", "Cy", "Dee"])
parses = st.builds(
    ParsedReply,
    st.lists(st.tuples(name_pool, st.just("person"), st.sampled_from(["x.", "yy."])), max_size=5).map(tuple),
    st.lists(
        st.tuples(name_pool, name_pool, st.just(("k",)), st.sampled_from(["x.", "yy.", "zz."])), max_size=6
    ).map(tuple),
)


@examples(max_examples=50)
@given(parses, st.randoms(use_true_random=False))
def test_mentions_do_not_depend_on_order_and_leave_no_end_open(parsed: ParsedReply, random: Any) -> None:
    context = a_context()
    extraction = mentions(context, a_chunk(), "g", parsed)
    keys = {mention.key for mention in extraction.entities}
    assert all({relation.source_key, relation.target_key} <= keys for relation in extraction.relations)
    shuffled = replace(
        parsed,
        entities=tuple(random.sample(parsed.entities, len(parsed.entities))),
        relations=tuple(random.sample(parsed.relations, len(parsed.relations))),
    )
    assert mentions(context, a_chunk(), "g", shuffled) == extraction


@examples(max_examples=50)
@given(st.lists(parses, max_size=4), st.integers(0, 4))
def test_the_delta_of_a_batch_is_the_union_of_its_parts(parsed: list[ParsedReply], cut: int) -> None:
    context = a_context()
    every = [mentions(context, a_chunk(number=n), "g", one) for n, one in enumerate(parsed)]
    assert to_delta(every) == merge(context, to_delta(every[:cut]), to_delta(every[cut:]))
    assert to_delta([]) == GraphDelta()


# ---- the stage -----------------------------------------------------------------------------------------


def by_text(request: LLMRequest) -> Any:
    name = request.prompt.split("```text\n")[-1].split()[0]
    if name == "Bad":
        return ProviderUnavailable("the provider is down")
    if name == "Wrong":
        return ProviderRejected("wrong key", status=401)
    return lines(f"entity<|#|>{name}<|#|>Person<|#|>{name} is here.")


async def test_one_chunk_that_fails_does_not_stop_the_others() -> None:
    context = a_context(ScriptedLLM(by_text), extraction={"gleaning": 0})
    names = ["Ada", "Bad", "Bob", "Wrong", "Nonsense"]
    chunks = [a_chunk(f"{name} is here.", number) for number, name in enumerate(names)]
    extractions = await extract(context, chunks)
    assert [extraction.chunk_id for extraction in extractions] == [chunk.id for chunk in chunks]
    assert [bool(extraction.error) for extraction in extractions] == [False, True, False, True, False]
    assert "ProviderUnavailable" in str(extractions[1].error) and "down" in str(extractions[1].error)
    assert "ProviderRejected" in str(extractions[3].error)
    assert {extraction.generation for extraction in extractions} == {LLMExtractor().generation(context)}


async def test_chunks_are_extracted_side_by_side_within_the_limit() -> None:
    llm = ScriptedLLM(by_text)
    context = a_context(llm, limits=Limits(llm=3), extraction={"gleaning": 0})
    await extract(context, [a_chunk(f"Name{number} is here.", number) for number in range(40)])
    assert llm.most == 3
    assert len(llm.asked) == 40


@dataclass
class CountingExtractor:
    """Waits until it is let go; knows how many wait."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    inside: int = 0
    cancelled: int = 0

    def generation(self, context: Context) -> str:
        return "counting"

    async def extract(self, context: Context, chunk: Chunk) -> Extraction:
        self.inside += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Extraction(chunk_id=chunk.id, generation="counting")


async def test_a_great_many_chunks_are_not_all_begun_at_once_and_cancelling_ends_them() -> None:
    extractor = CountingExtractor()
    context = a_context(limits=Limits(llm=2), extractor=extractor)
    task = asyncio.create_task(extract(context, [a_chunk(number=number) for number in range(1000)]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert extractor.inside == 8
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert extractor.cancelled == 8


async def test_an_overload_ends_the_stage_as_itself() -> None:
    """In a query; an ingest waits instead."""
    limits = Limits(llm=1, queue=1)
    context = a_context(ScriptedLLM(by_text), limits=limits, priority=Priority.QUERY)
    with pytest.raises(Overloaded):
        await extract(context, [a_chunk(f"Name{number} is here.", number) for number in range(10)])


async def test_no_chunks_no_extractions() -> None:
    assert await extract(a_context(), []) == []


async def test_without_an_llm_the_built_in_extractor_works() -> None:
    context = Context.create(tokenizer=WordTokenizer(), embedder=NoEmbedder())
    assert isinstance(context.extractor, CooccurrenceExtractor)
    (extraction,) = await extract(context, [a_chunk("Ada Lovelace met Charles Babbage in London.")])
    assert found(extraction)[0] == {"Ada Lovelace", "Charles Babbage", "London"}

"""Search, retrieval and answers on a small graph made by hand; vectors are counts of known words."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
import pytest

from stateless_rag.context import Context
from stateless_rag.errors import DeadlineExceeded, InvalidInput, ProviderRejected, ProviderUnavailable
from stateless_rag.limits import Priority
from stateless_rag.protocols import Embeddings, Extractor, LLMReply, LLMRequest, Snapshot, StreamPart
from stateless_rag.retrieval.answer import answer, stream_answer
from stateless_rag.retrieval.budget import RESERVE
from stateless_rag.retrieval.render import system_prompt
from stateless_rag.retrieval.retrieve import Read, begin, retrieve
from stateless_rag.settings import CallSettings, QueryOptions, Settings
from stateless_rag.testing.snapshot import MemorySnapshot, chunk_row, entity_row, relation_row
from stateless_rag.types import Answer, Entity, Passage, Relation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from stateless_rag.protocols import Vectors

Result = TypeVar("Result")
VOCABULARY = ("ada", "babbage", "engine", "london", "notes", "mathematics", "loom", "punched", "friendship")

TEXTS = {
    "c1": ("d1", "ada.md", "Ada wrote notes on the engine."),
    "c2": ("d1", "ada.md", "Ada met Babbage in London; a long friendship followed."),
    "c3": ("d2", None, "Babbage designed the engine with punched cards."),
    "c4": ("d3", "loom.md", "The loom used punched cards."),
    "c5": ("d4", "misc.md", "Mathematics is older than London."),
}
ENTITIES = {
    "Ada Lovelace": ("person", "Ada wrote the notes.", ("c1", "c2")),
    "Charles Babbage": ("person", "Babbage built things.", ("c2", "c3")),
    "Analytical Engine": ("artifact", "An engine.", ("c1", "c3")),
    "Jacquard Loom": ("artifact", "A loom with punched cards.", ("c4",)),
}
RELATIONS = {
    ("Ada Lovelace", "Charles Babbage"): ("Ada and Babbage: a friendship in London.", ("c2",)),
    ("Charles Babbage", "Analytical Engine"): ("Babbage designed the engine.", ("c3",)),
    ("Analytical Engine", "Jacquard Loom"): ("Both used punched cards.", ("c3", "c4")),
}


def vector(text: str) -> Vectors:
    words = re.findall(r"\w+", text.casefold())
    return np.array([words.count(word) for word in VOCABULARY], dtype=np.float32)


class Words:
    name = "words"

    def count(self, text: str) -> int:
        return len(re.findall(r"\w+|\W", text))

    def offsets(self, text: str) -> Sequence[int]:
        return [match.start() for match in re.finditer(r"\w+|\W", text)]


@dataclass
class FakeEmbedder:
    error: Exception | None = None
    max_tokens: int | None = None
    asked: list[list[str]] = field(default_factory=list)
    model = "vocabulary"
    dimension = len(VOCABULARY)
    max_batch = 64
    max_batch_tokens = None

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        assert role == "query"
        self.asked.append(list(texts))
        if self.error is not None:
            raise self.error
        return Embeddings(vectors=np.stack([vector(text) for text in texts]), tokens=len(texts))


@dataclass
class FakeLLM:
    error: Exception | None = None
    fail_after: int = 0
    pieces: tuple[str, ...] = ("Ada ", "wrote ", "notes [1].")
    truncated: bool = False
    requests: list[LLMRequest] = field(default_factory=list)
    closed: int = 0
    model = "fake"

    async def complete(self, request: LLMRequest) -> LLMReply:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        text = "".join(self.pieces)
        return LLMReply(text=text, prompt_tokens=9, completion_tokens=3, truncated=self.truncated)

    async def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        self.requests.append(request)
        try:
            for number, piece in enumerate(self.pieces):
                if self.error is not None and number >= self.fail_after:
                    raise self.error
                yield StreamPart(text=piece)
            yield StreamPart(reply=LLMReply(text="".join(self.pieces), truncated=self.truncated))
        finally:
            self.closed += 1


@dataclass
class FakeReranker:
    error: Exception | None = None
    model = "reverse"

    async def rerank(self, query: str, texts: Sequence[str], *, top_n: int) -> list[tuple[int, float]]:
        if self.error is not None:
            raise self.error
        return [(index, 1.0 + index) for index in reversed(range(len(texts)))][:top_n]


def passage(name: str, document: str, source: str | None, text: str) -> Passage:
    return Passage(
        chunk_id=name,
        document_id=document,
        source=source,
        ordinal=0,
        start=10,
        stop=10 + len(text),
        text=text,
        tokens=Words().count(text),
        score=0.0,
    )


def snapshot_of(
    *, with_vectors: bool = True, empty: bool = False, length: int = 1, **stated: Sequence[str]
) -> MemorySnapshot:
    if empty:
        return MemorySnapshot(revision=3)
    vectors = {chunk_row(name): vector(text) for name, (_, _, text) in TEXTS.items()} if with_vectors else {}
    vectors |= {entity_row(name): vector(name + " " + text) for name, (_, text, _) in ENTITIES.items()}
    vectors |= {relation_row(*pair): vector(text) for pair, (text, _) in RELATIONS.items()}
    return MemorySnapshot(
        entities=[
            Entity(key=name.casefold(), name=name, type=kind, description=text * length, weight=len(chunks))
            for name, (kind, text, chunks) in ENTITIES.items()
        ],
        relations=[
            Relation(
                source_key=one.casefold(),
                target_key=other.casefold(),
                source=one,
                target=other,
                keywords=(),
                description=text * length,
                weight=len(chunks),
            )
            for (one, other), (text, chunks) in RELATIONS.items()
        ],
        passages=[
            passage(name, document, source, text * length) for name, (document, source, text) in TEXTS.items()
        ],
        mentions={name: chunks for name, (_, _, chunks) in ENTITIES.items()},
        statements={pair: stated.get(pair[0][:3], chunks) for pair, (_, chunks) in RELATIONS.items()},
        vectors=vectors,
        revision=7,
    )


def reader(snapshot: MemorySnapshot) -> Read:
    async def read(query: Callable[[Snapshot], Result], /) -> Result:
        await asyncio.sleep(0)
        return query(snapshot)

    return read


def context_with(**parts: Any) -> Context:
    return Context(
        **{
            "settings": Settings(calls=CallSettings(attempts=1)),
            "tokenizer": Words(),
            "embedder": FakeEmbedder(),
            "extractor": cast("Extractor", None),
            **parts,
        }
    )


OPTIONS = QueryOptions(low_level_keywords=("Ada",), high_level_keywords=("friendship",))
QUESTION = "What notes did Ada write?"
DOWN = ProviderUnavailable("no connection")


def names(rows: Sequence[Entity]) -> list[str]:
    return [row.name for row in rows]


def ends(rows: Sequence[Relation]) -> list[tuple[str, str]]:
    return [(row.source, row.target) for row in rows]


def chunks(rows: Sequence[Passage]) -> list[str]:
    return [row.chunk_id for row in rows]


# ---- modes ---------------------------------------------------------------------------------------------


async def test_naive_finds_passages_only() -> None:
    embedder = FakeEmbedder()
    options = replace(OPTIONS, mode="naive")
    found = await retrieve(context_with(embedder=embedder), reader(snapshot_of()), QUESTION, options)
    assert chunks(found.passages) == ["c1", "c2"]
    assert found.passages[0].similarity == pytest.approx(2 / 6**0.5)
    assert [one.score for one in found.passages] == [1.0, 0.5]
    assert {one.found_by for one in found.passages} == {("vector",)}
    assert (found.entities, found.relations) == ((), ())
    assert found.keywords.low_level == ()
    assert embedder.asked == [[QUESTION]]
    assert "Entities" not in found.context
    assert found.context.endswith("[1] ada.md\n")
    assert found.revision == 7
    assert found.usage["embed_query"].calls == 1
    assert set(found.timings) == {"embed", "search", "rerank", "budget", "render"}


async def test_local_goes_from_entities_to_their_relations() -> None:
    embedder = FakeEmbedder()
    options = replace(OPTIONS, mode="local")
    found = await retrieve(context_with(embedder=embedder), reader(snapshot_of()), QUESTION, options)
    assert names(found.entities) == ["Ada Lovelace"]
    assert ends(found.relations) == [("Ada Lovelace", "Charles Babbage")]
    assert embedder.asked == [[QUESTION, "Ada"]]
    assert chunks(found.passages) == ["c1", "c2"]
    assert found.passages[0].found_by == ("entity:Ada Lovelace",)
    assert found.passages[1].found_by == ("entity:Ada Lovelace", "relation:Ada Lovelace—Charles Babbage")
    assert found.found["relations_reached"] == 1
    assert found.found["chunk_seeds"] == 0


async def test_local_without_keywords_uses_the_question_and_not_the_other_list() -> None:
    embedder = FakeEmbedder()
    options = replace(OPTIONS, mode="local", low_level_keywords=(), high_level_keywords=("loom",))
    found = await retrieve(context_with(embedder=embedder), reader(snapshot_of()), QUESTION, options)
    assert names(found.entities) == ["Ada Lovelace"]
    assert embedder.asked == [[QUESTION]]


async def test_global_goes_from_relations_to_their_entities() -> None:
    options = replace(OPTIONS, mode="global")
    found = await retrieve(context_with(), reader(snapshot_of()), QUESTION, options)
    assert ends(found.relations) == [("Ada Lovelace", "Charles Babbage")]
    assert names(found.entities) == ["Ada Lovelace", "Charles Babbage"]
    assert found.found["entity_seeds"] == 0


async def test_hybrid_takes_turns() -> None:
    options = replace(OPTIONS, mode="hybrid", low_level_keywords=("loom",))
    found = await retrieve(context_with(), reader(snapshot_of()), QUESTION, options)
    assert names(found.entities) == ["Jacquard Loom", "Ada Lovelace", "Charles Babbage"]
    assert ends(found.relations) == [
        ("Analytical Engine", "Jacquard Loom"),
        ("Ada Lovelace", "Charles Babbage"),
    ]
    assert found.found["chunk_seeds"] == 0
    assert "c1" in chunks(found.passages)


async def test_mix_adds_the_nearest_passages_first() -> None:
    options = replace(OPTIONS, low_level_keywords=("loom",))
    found = await retrieve(context_with(), reader(snapshot_of()), QUESTION, options)
    assert chunks(found.passages)[0] == "c1"
    assert {"vector", "words", "walk"} <= set(found.passages[0].found_by)
    assert "c3" in chunks(found.passages)
    assert found.found["chunk_seeds"] == 2
    assert set(found.timings) >= {"embed", "search", "rerank", "budget", "render"}


async def test_bypass_looks_nothing_up() -> None:
    llm, snapshot = FakeLLM(), snapshot_of()
    options = replace(OPTIONS, mode="bypass", history=(("user", "Hi"), ("assistant", "Hello")))
    said = await answer(context_with(llm=llm), reader(snapshot), "ok", options)
    assert said.text == "Ada wrote notes [1]."
    assert [message.content for message in llm.requests[0].history] == ["Hi", "Hello"]
    assert llm.requests[0].system is None
    assert not snapshot.asked
    with pytest.raises(InvalidInput, match="bypass"):
        await answer(context_with(), reader(snapshot), "ok", options)
    with pytest.raises(ProviderUnavailable):
        degrading = replace(options, on_provider_error="degrade")
        await answer(context_with(llm=FakeLLM(DOWN)), reader(snapshot), "ok", degrading)


@pytest.mark.parametrize("mode", ["naive", "local", "global", "hybrid", "mix"])
async def test_the_same_question_finds_the_same(mode: Any) -> None:
    options = replace(OPTIONS, mode=mode)
    one = await retrieve(context_with(), reader(snapshot_of()), QUESTION, options)
    other = await retrieve(context_with(), reader(snapshot_of()), QUESTION, options)
    assert replace(one, timings={}) == replace(other, timings={})
    assert len(one.references) == len(one.passages)
    assert [reference.chunk_id for reference in one.references] == chunks(one.passages)


async def test_chunks_without_vectors_are_counted_out() -> None:
    options = replace(OPTIONS, mode="local", low_level_keywords=("Ada", "engine"))
    found = await retrieve(context_with(), reader(snapshot_of(with_vectors=False)), QUESTION, options)
    assert set(chunks(found.passages)) >= {"c1", "c2", "c3"}


async def test_a_long_question_is_embedded_as_far_as_the_embedder_takes_it() -> None:
    embedder = FakeEmbedder(max_tokens=3)
    options = replace(OPTIONS, mode="naive")
    await retrieve(context_with(embedder=embedder), reader(snapshot_of()), QUESTION, options)
    assert embedder.asked == [["What notes"]]


# ---- budgets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spare", [*range(0, 400, 23), *range(1000, 4000, 97)])
async def test_the_prompt_respects_the_total_to_the_token(spare: int) -> None:
    context, count = context_with(), Words().count
    least = await _least(context)
    words = ("Ada", "engine", "punched", "loom", "Babbage")
    options = replace(OPTIONS, max_total_tokens=least + spare, low_level_keywords=words)
    try:
        found = await retrieve(context, reader(snapshot_of(length=20)), QUESTION, options)
    except InvalidInput as error:
        assert spare < 1000, error
        assert "none fits" in str(error)
        return
    prompt = system_prompt(context.prompts, options, found.context)
    assert count(prompt) + count(QUESTION) + RESERVE <= options.max_total_tokens


async def _least(context: Context) -> int:
    with pytest.raises(InvalidInput, match="at least") as raised:
        await retrieve(context, reader(snapshot_of()), QUESTION, replace(OPTIONS, max_total_tokens=201))
    return int(re.findall(r"at least ([\d,]+)", str(raised.value))[0].replace(",", ""))


async def test_only_kept_entities_and_relations_lead_to_passages() -> None:
    options = replace(OPTIONS, mode="hybrid", max_relation_tokens=0, low_level_keywords=("loom", "Ada"))
    all_of_them = await retrieve(context_with(), reader(snapshot_of()), QUESTION, options)
    assert len(all_of_them.entities) > 1
    assert all_of_them.relations == ()
    line = Words().count(all_of_them.context.splitlines()[3] + "\n")
    one = await retrieve(
        context_with(), reader(snapshot_of()), QUESTION, replace(options, max_entity_tokens=line)
    )
    assert one.entities == all_of_them.entities[:1]
    first = f"entity:{one.entities[0].name}"
    assert {name for found in one.passages for name in found.found_by} == {first}
    assert one.found["entities"] == len(all_of_them.entities)


async def test_what_was_found_but_fits_nowhere_is_not_nothing() -> None:
    options = replace(OPTIONS, mode="local", max_entity_tokens=0, max_relation_tokens=0)
    with pytest.raises(InvalidInput, match="1 entities, 1 relations, 0 passages were found and none fits"):
        await retrieve(context_with(), reader(snapshot_of()), QUESTION, options)


async def test_a_question_beyond_the_total_is_refused_before_it_costs() -> None:
    embedder, llm = FakeEmbedder(), FakeLLM()
    with pytest.raises(InvalidInput, match="question has 4,001 tokens"):
        options = QueryOptions(max_total_tokens=3000)
        context = context_with(embedder=embedder, llm=llm)
        await answer(context, reader(snapshot_of()), "ada " * 2000 + "!", options)
    assert (embedder.asked, llm.requests) == ([], [])


async def test_relations_lead_to_passages_that_entities_did_not_lead_to() -> None:
    options = replace(OPTIONS, mode="local", related_chunks=2)
    snapshot = snapshot_of(Ada=("c1", "c4"))
    found = await retrieve(context_with(), reader(snapshot), QUESTION, options)
    assert chunks(found.passages) == ["c1", "c4"]


async def test_chunk_top_k_cuts_the_passages() -> None:
    found = await retrieve(context_with(), reader(snapshot_of()), QUESTION, replace(OPTIONS, chunk_top_k=1))
    assert chunks(found.passages) == ["c1"]


# ---- rerank and degrading ------------------------------------------------------------------------------


async def test_a_reranker_decides_the_order() -> None:
    options = replace(OPTIONS, mode="naive")
    context = context_with(reranker=FakeReranker())
    found = await retrieve(context, reader(snapshot_of()), QUESTION, options)
    assert [(one.chunk_id, one.score) for one in found.passages] == [("c2", 2.0), ("c1", 1.0)]
    top = await retrieve(context, reader(snapshot_of()), QUESTION, replace(options, chunk_top_k=1))
    assert chunks(top.passages) == ["c1"]


async def test_a_failing_reranker_is_left_out_or_raised() -> None:
    options = replace(OPTIONS, mode="naive")
    context = context_with(reranker=FakeReranker(DOWN))
    with pytest.raises(ProviderUnavailable):
        await retrieve(context, reader(snapshot_of()), QUESTION, options)
    degrading = replace(options, on_provider_error="degrade")
    found = await retrieve(context, reader(snapshot_of()), QUESTION, degrading)
    assert chunks(found.passages) == ["c1", "c2"]
    assert found.degraded == ("rerank: left out (ProviderUnavailable: no connection)",)


@pytest.mark.parametrize("mode", ["naive", "local", "global", "hybrid", "mix"])
async def test_without_vectors_names_and_words_lead_to_something(mode: Any) -> None:
    context = context_with(embedder=FakeEmbedder(DOWN))
    options = replace(OPTIONS, mode=mode, low_level_keywords=("ada lovelace", "Nobody"))
    with pytest.raises(ProviderUnavailable):
        await retrieve(context, reader(snapshot_of()), QUESTION, options)
    degrading = replace(options, on_provider_error="degrade")
    found = await retrieve(context, reader(snapshot_of()), QUESTION, degrading)
    assert found.passages[0].found_by[0] == "words"
    assert names(found.entities) == ([] if mode == "naive" else ["Ada Lovelace"])
    assert found.degraded == ("search: words instead of vectors (ProviderUnavailable: no connection)",)


async def test_a_failing_llm_is_raised_or_replaced_by_passages() -> None:
    context = context_with(llm=FakeLLM(ProviderRejected("wrong key")))
    with pytest.raises(ProviderRejected):
        await answer(context, reader(snapshot_of()), QUESTION, OPTIONS)
    degrading = replace(OPTIONS, on_provider_error="degrade")
    said = await answer(context, reader(snapshot_of()), QUESTION, degrading)
    assert said.text.startswith("Ada wrote notes on the engine. [1]")
    assert said.degraded == ("answer: passages only (ProviderRejected: wrong key)",)
    assert not said.no_context


# ---- answers -------------------------------------------------------------------------------------------


async def test_an_answer_carries_its_references_and_costs() -> None:
    llm = FakeLLM()
    options = replace(OPTIONS, history=(("user", "Hi"),), user_prompt="Be brief.", response_type="One line")
    context = context_with(llm=llm)
    said = await answer(context, reader(snapshot_of()), f"  {QUESTION}\x00", options)
    assert said.text == "Ada wrote notes [1]."
    assert said.references == said.retrieval.references
    assert (said.references[0].document_id, said.references[0].start) == ("d1", 10)
    assert said.usage["answer"].tokens == 12
    assert said.usage["embed_query"].calls == 1
    assert said.timings["answer"] >= 0
    assert said.degraded == ()
    request = llm.requests[-1]
    assert (request.prompt, request.purpose) == (QUESTION, "answer")
    assert request.system == system_prompt(context.prompts, options, said.context)
    assert all(part in request.system for part in (said.context, "Be brief.", "One line"))
    assert [message.role for message in request.history] == ["user"]


async def test_keywords_of_the_llm_are_used_and_paid_for() -> None:
    llm = FakeLLM(pieces=('{"high_level_keywords": ["friendship"], "low_level_keywords": ["loom"]}',))
    context = context_with(llm=llm)
    found = await retrieve(context, reader(snapshot_of()), QUESTION, QueryOptions(mode="hybrid"))
    assert names(found.entities)[0] == "Jacquard Loom"
    assert found.usage["keywords"].calls == len(llm.requests) == 1
    assert context.meter.totals() == {}


async def test_without_an_llm_the_passages_are_the_answer() -> None:
    said = await answer(context_with(), reader(snapshot_of()), QUESTION, OPTIONS)
    assert said.text.startswith("Ada wrote notes on the engine. [1]")
    assert said.text.endswith(("- [1] ada.md", "- [2] d2", "- [3] loom.md"))
    assert said.degraded == ("answer: no LLM, passages only",)


async def test_nothing_found_asks_no_llm() -> None:
    llm = FakeLLM()
    context = context_with(llm=llm)
    said = await answer(context, reader(snapshot_of(empty=True)), QUESTION, OPTIONS)
    assert said.no_context
    assert said.text == context.prompts.no_context
    assert said.text.rstrip().endswith("[no-context]")
    assert (said.context, said.references, said.retrieval.revision) == ("", (), 3)
    assert llm.requests == []
    streamed = [
        part async for part in stream_answer(context, reader(snapshot_of(empty=True)), QUESTION, OPTIONS)
    ]
    assert streamed[0] == said.text
    assert cast("Answer", streamed[1]).no_context


async def test_only_the_context_or_only_the_prompt() -> None:
    llm = FakeLLM()
    context, read = context_with(llm=llm), reader(snapshot_of())
    shown = await answer(context, read, QUESTION, replace(OPTIONS, only_context=True))
    assert shown.text == shown.context != ""
    prompt = await answer(context, read, QUESTION, replace(OPTIONS, only_context=True, only_prompt=True))
    system = system_prompt(context.prompts, OPTIONS, prompt.context)
    assert prompt.text == f"{system}\n\n---User Query---\n\n{QUESTION}"
    assert llm.requests == []


async def test_a_system_prompt_of_ones_own() -> None:
    llm = FakeLLM()
    context, read = context_with(llm=llm), reader(snapshot_of())
    template = "Like a pirate, in {response_type}: {context} {braces}"
    said = await answer(context, read, QUESTION, replace(OPTIONS, system_prompt=template))
    assert llm.requests[-1].system == f"Like a pirate, in Multiple Paragraphs: {said.context} {{braces}}"
    said = await answer(context, read, QUESTION, replace(OPTIONS, system_prompt="Like a pirate."))
    assert llm.requests[-1].system == f"Like a pirate.\n\n{said.context}"


async def test_a_truncated_reply_is_told() -> None:
    said = await answer(context_with(llm=FakeLLM(truncated=True)), reader(snapshot_of()), QUESTION, OPTIONS)
    assert said.truncated


async def test_a_question_goes_ahead_and_its_deadline_holds() -> None:
    context = context_with()
    assert begin(context, OPTIONS).priority is Priority.QUERY
    assert begin(context, OPTIONS).deadline is None
    early = context.derive(deadline=1.0)
    assert begin(early, replace(OPTIONS, deadline=5.0)).deadline == 1.0
    with pytest.raises(DeadlineExceeded):
        await answer(early, reader(snapshot_of()), QUESTION, OPTIONS)


# ---- streams -------------------------------------------------------------------------------------------


async def test_a_stream_yields_pieces_and_then_the_answer() -> None:
    llm = FakeLLM()
    context = context_with(llm=llm)
    parts = [part async for part in stream_answer(context, reader(snapshot_of()), QUESTION, OPTIONS)]
    said = cast("Answer", parts.pop())
    assert "".join(cast("list[str]", parts)) == said.text == "Ada wrote notes [1]."
    assert len(parts) > 1
    assert said.usage["answer"].calls == 1
    assert said.references
    assert llm.closed == 1


async def test_a_stream_closed_early_closes_the_providers() -> None:
    llm = FakeLLM()
    context = context_with(llm=llm)
    async with aclosing(stream_answer(context, reader(snapshot_of()), QUESTION, OPTIONS)) as parts:
        assert await anext(parts) == "Ada"
    assert llm.closed == 1


@pytest.mark.parametrize("fail_after", [0, 2])
async def test_a_stream_that_breaks_raises(fail_after: int) -> None:
    context = context_with(llm=FakeLLM(DOWN, fail_after))
    with pytest.raises(ProviderUnavailable):
        [part async for part in stream_answer(context, reader(snapshot_of()), QUESTION, OPTIONS)]


async def test_a_stream_that_breaks_may_degrade() -> None:
    degrading = replace(OPTIONS, on_provider_error="degrade")
    context = context_with(llm=FakeLLM(DOWN, fail_after=0))
    first = [part async for part in stream_answer(context, reader(snapshot_of()), QUESTION, degrading)]
    said = cast("Answer", first[-1])
    assert said.text == first[0]
    assert said.text.startswith("Ada wrote notes on the engine. [1]")
    assert said.degraded == ("answer: passages only (ProviderUnavailable: no connection)",)
    context = context_with(llm=FakeLLM(DOWN, fail_after=2))
    later = [part async for part in stream_answer(context, reader(snapshot_of()), QUESTION, degrading)]
    said = cast("Answer", later[-1])
    assert said.text == "Ada wrote "
    assert said.truncated
    assert said.degraded == ("answer: cut off (ProviderUnavailable: no connection)",)


QUOTED = "Ada “wrote  notes on the engine” "
CITED = f"{QUOTED}[1, 8][9], and “never went to the sea” [2].\n\n### References\n- [9] x\n- [1] y"
CHECKED = f"{QUOTED}[1], and “never went to the sea” [2].\n\n### References\n- [1] y"


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_what_an_answer_names_is_checked_in_a_stream_too(size: int) -> None:
    pieces = tuple(CITED[start : start + size] for start in range(0, len(CITED), size))
    context, read = context_with(llm=FakeLLM(pieces=pieces)), reader(snapshot_of())
    parts = [part async for part in stream_answer(context, read, QUESTION, OPTIONS)]
    streamed = parts.pop()
    assert isinstance(streamed, Answer)
    once = await answer(context, read, QUESTION, OPTIONS)
    for told in (streamed, once):
        assert told.text == CHECKED
        assert [one.numbers for one in told.citations] == [(1,), (2,), (1,)]
        assert [(one.kind, one.text) for one in told.unsupported] == [
            ("reference", "[8]"),
            ("reference", "[9]"),
            ("reference", "[9]"),
            ("quote", "never went to the sea"),
        ]
        (quote,) = told.quotes
        span = slice(quote.reference.start - 10, quote.reference.stop - 10)
        assert TEXTS[quote.reference.chunk_id][2][span] == "wrote notes on the engine"
    assert "".join(map(str, parts)) == CHECKED


async def test_a_prompt_of_the_callers_keeps_its_brackets() -> None:
    context, read = context_with(llm=FakeLLM(pieces=('{"scores": [1, 77]}',))), reader(snapshot_of())
    found = await answer(context, read, QUESTION, replace(OPTIONS, system_prompt="Write JSON."))
    assert found.text == '{"scores": [1, 77]}'
    assert [one.text for one in found.unsupported] == ["[77]"]
    alone = await answer(context, read, QUESTION, replace(OPTIONS, mode="bypass"))
    assert (alone.text, alone.citations, alone.unsupported) == (found.text, (), ())


async def test_a_stream_that_breaks_shows_what_was_held_back() -> None:
    llm = FakeLLM(error=DOWN, fail_after=1, pieces=("Ada wrote [", "9]"))
    options = replace(OPTIONS, on_provider_error="degrade")
    parts = [p async for p in stream_answer(context_with(llm=llm), reader(snapshot_of()), QUESTION, options)]
    assert "".join(p for p in parts if isinstance(p, str)) == "Ada wrote ["
    assert isinstance(parts[-1], Answer)
    assert (parts[-1].text, parts[-1].truncated) == ("Ada wrote [", True)

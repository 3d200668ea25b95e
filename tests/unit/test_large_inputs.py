"""What is large is taken in slices, and worked on in threads that leave the event loop alone."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from stateless_rag.context import Context
from stateless_rag.embedding import embed_into_journal, vector_digest
from stateless_rag.errors import ProviderUnavailable
from stateless_rag.flights import Flights
from stateless_rag.ingest.source import groups_of, submit
from stateless_rag.limits import Limits
from stateless_rag.protocols import Embeddings, LLMReply, LLMRequest
from stateless_rag.providers.cooccurrence import CooccurrenceExtractor
from stateless_rag.providers.terms import find_terms
from stateless_rag.settings import CallSettings, ExtractSettings, Settings
from stateless_rag.stages.extract import LLMExtractor
from unit.scripted import WordTokenizer, a_chunk

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from stateless_rag.protocols import Claim, Vectors
    from stateless_rag.types import Usage


class Paper:
    """A journal that keeps the digests of vectors, and how many were looked up at once."""

    def __init__(self, embedder: Slots | None = None) -> None:
        self.flights = Flights()
        self.kept: Counter[str] = Counter()
        self.looked_up: list[int] = []
        self.embedder = embedder
        self.while_embedding = 0

    async def get(self, digest: str) -> LLMReply | None:
        raise AssertionError(digest)

    async def put(self, entry: Any) -> None:
        raise AssertionError(entry)

    async def get_vectors(self, digests: Collection[str]) -> Mapping[str, Vectors]:
        self.looked_up.append(len(digests))
        for _ in range(3):
            await asyncio.sleep(0)
        self.while_embedding += self.embedder is not None and self.embedder.now > 0
        return {digest: np.zeros(2, np.float32) for digest in digests if digest in self.kept}

    async def put_vectors(self, vectors: Mapping[str, Vectors], entry_usage: Usage, model: str) -> None:
        await asyncio.sleep(0)
        self.kept.update(vectors.keys())


class Slots:
    """Embeds, and counts how many calls are under way together."""

    model, dimension, max_tokens, max_batch, max_batch_tokens = "slots", 2, None, 256, None

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.now = self.most = 0
        self.fails = False

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        if self.fails:
            raise ProviderUnavailable("gone")
        self.batches.append(len(texts))
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(20):
            await asyncio.sleep(0)
        self.now -= 1
        return Embeddings(vectors=np.ones((len(texts), 2), np.float32), tokens=len(texts))


def make(**fields: Any) -> Context:
    defaults: dict[str, Any] = {"embedder": Slots(), "tokenizer": WordTokenizer(), "extractor": None}
    settings = Settings(calls=CallSettings(attempts=1), extraction=ExtractSettings(gleaning=1, format="json"))
    return Context(settings=settings, **(defaults | fields))


def wanted(count: int) -> dict[str, str]:
    return {vector_digest("slots", f"text {n}"): f"text {n}" for n in range(count)}


async def test_a_great_many_texts_are_embedded_in_slices_with_full_batches_and_full_slots() -> None:
    embedder, texts = Slots(), wanted(10_000)
    journal = Paper(embedder)
    context = make(embedder=embedder, limits=Limits(embedder=4))
    await embed_into_journal(context, journal, texts)
    assert journal.kept == dict.fromkeys(texts, 1)
    assert max(journal.looked_up) == 1024 and len(journal.looked_up) == 10
    assert Counter(embedder.batches) == {256: 39, 16: 1}
    assert embedder.most == 4 and journal.while_embedding >= 7
    assert not len(journal.flights)


async def test_what_the_journal_holds_is_not_embedded_again() -> None:
    embedder, journal = Slots(), Paper()
    await embed_into_journal(make(embedder=embedder), journal, wanted(3000))
    embedder.batches.clear()
    await asyncio.gather(*(embed_into_journal(make(embedder=embedder), journal, wanted(3100)) for _ in "ab"))
    assert sum(embedder.batches) == 100


async def test_a_slice_that_fails_is_told_as_it_is_and_ends_all_flights() -> None:
    embedder, journal = Slots(), Paper()
    embedder.fails = True
    with pytest.raises(ProviderUnavailable, match="gone"):
        await embed_into_journal(make(embedder=embedder), journal, wanted(3000))
    assert not len(journal.flights)


# ---- threads -------------------------------------------------------------------------------------------


class Verbose:
    model = "verbose"

    def __init__(self, records: int) -> None:
        entities = [
            {"name": f"Name {n}", "type": "Person", "description": "somebody " * 12} for n in range(records)
        ]
        self.text = str({"entities": entities, "relationships": []}).replace("'", '"')

    async def complete(self, request: LLMRequest) -> LLMReply:
        empty = '{"entities": [], "relationships": []}'
        text = self.text if request.purpose == "extract" else empty
        return LLMReply(text=text, prompt_tokens=1, completion_tokens=1)

    def stream(self, request: LLMRequest) -> Any:
        raise AssertionError(request)


@pytest.mark.parametrize(("records", "in_thread"), [(3, False), (1000, True)])
async def test_a_long_reply_is_parsed_in_a_thread(
    records: int, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stateless_rag.stages import records as parsing

    longest: dict[bool, int] = {}
    real = parsing.parse_reply

    def parse(text: str, **given: Any) -> Any:
        here = threading.current_thread() is threading.main_thread()
        longest[here] = max(longest.get(here, 0), len(text))
        return real(text, **given)

    monkeypatch.setitem(LLMExtractor.extract.__globals__, "parse_reply", parse)
    llm = Verbose(records)
    found = await LLMExtractor().extract(make(llm=llm), a_chunk("Some text."))
    assert len(found.entities) == records
    assert longest.get(False, 0) == (len(llm.text) if in_thread else 0)
    assert longest[True] <= 100_000


@pytest.mark.parametrize(("sentences", "in_thread"), [(1, False), (100, True)])
async def test_the_built_in_extractor_reads_long_chunks_in_a_thread(
    sentences: int, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def find(*given: Any) -> Any:
        threads.append(threading.current_thread())
        return find_terms(*given)

    monkeypatch.setattr("stateless_rag.providers.cooccurrence.find_terms", find)
    text = "Ada Lovelace met Charles Babbage. " * sentences
    found = await CooccurrenceExtractor().extract(make(), a_chunk(text))
    assert found.entities
    assert (threads != [threading.main_thread()]) == in_thread


class Desk:
    async def submit(
        self, claims: Sequence[Claim], *, claimed: bool
    ) -> tuple[Sequence[Claim], Sequence[Claim]]:
        return claims, claims if claimed else []


@pytest.mark.parametrize(("length", "in_thread"), [(1_000, False), (1_000_000, True)])
async def test_a_long_text_is_cleaned_and_hashed_in_a_thread(
    length: int, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = 0
    real = asyncio.to_thread

    async def noted(function: Any, *given: Any) -> Any:
        nonlocal threads
        threads += 1
        return await real(function, *given)

    monkeypatch.setattr(asyncio, "to_thread", noted)
    groups = [group async for group in groups_of("a" * length)]
    assert threads == in_thread and len(groups[0][0].text) == length
    await submit(Desk(), groups[0], "t", claimed=True)  # type: ignore[arg-type]
    assert threads == 2 * in_thread

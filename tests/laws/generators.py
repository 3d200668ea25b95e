"""What the laws are tried on: a language of statements, documents written in it, and providers that read it.

A chunk is a paragraph, a statement a line:

    entity | Ada | Person | wrote the first program
    relation | Ada | Babbage | letters, friendship | wrote to each other
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import strategies as st

from stateless_rag.errors import ProviderUnavailable
from stateless_rag.protocols import Embeddings, LLMReply, LLMRequest, StreamPart
from stateless_rag.settings import (
    CallSettings,
    ChunkSettings,
    ExtractSettings,
    IngestSettings,
    MergeSettings,
    Settings,
)
from stateless_rag.testing import DeterministicEmbedder
from stateless_rag.testing.deterministic import render_records, text_of_chunk
from stateless_rag.types import Document

NAMES = (
    "Ada",
    "ADA",
    "ada",
    "Straße",
    "STRASSE",
    "Ｂabbage",
    "Babbage",
    "“Babbage”",
    "艾达",
    "Engine  No. 1",
    "engine no. 1",
    "Zuse",
)
KEYS = ("Ada", "Straße", "Babbage", "艾达", "Engine No. 1", "Zuse", "Nobody")
TYPES = ("Person", "Place", "Machine")
TEXTS = (
    "wrote the first program",
    "is often called the first",
    "was never finished",
    "lies in a museum now",
    "wrote letters about it, for years and years",
    "计算机的先驱",
    "counts",
)
KEYWORDS = ("letters", "friendship", "money", "work", "程序")
PROSE = ("Nothing is stated here.", "Nor is anything here.")
IDS = ("one", "two", "three", "four", "five")
FAILING = "wrote letters about it"
"""Chunks with this text in them fail while `StatementLLM.broken` is set."""

K = 3
WORDS = 2
SUMMARIZE_FROM = 3


# ---- documents -----------------------------------------------------------------------------------------


def entities() -> st.SearchStrategy[str]:
    parts = (st.sampled_from(NAMES), st.sampled_from(TYPES), st.sampled_from(TEXTS))
    return st.builds("entity | {} | {} | {}".format, *parts)


def relations() -> st.SearchStrategy[str]:
    words = st.lists(st.sampled_from(KEYWORDS), max_size=3).map(", ".join)
    parts = (st.sampled_from(NAMES), st.sampled_from(NAMES), words, st.sampled_from(TEXTS))
    return st.builds("relation | {} | {} | {} | {}".format, *parts)


def chunks() -> st.SearchStrategy[str]:
    statements = st.lists(entities() | relations(), min_size=1, max_size=4).map("\n".join)
    return statements | st.sampled_from(PROSE)


def texts(max_chunks: int = 3) -> st.SearchStrategy[str]:
    return st.lists(chunks(), max_size=max_chunks).map("\n\n".join)


def metadata() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(({}, {"year": 1843}, {"tags": ["a", "b"], "year": None}))


def documents(ids: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Document]:
    return st.builds(Document, texts(), id=ids or st.sampled_from(IDS), source=st.none(), metadata=metadata())


@st.composite
def corpora(draw: st.DrawFn, min_size: int = 1) -> list[Document]:
    """Documents with different ids; now and then two with the same text."""
    found = draw(st.lists(documents(), min_size=min_size, max_size=len(IDS), unique_by=lambda d: str(d.id)))
    if len(found) > 1 and draw(st.booleans()):
        found[-1] = Document(found[0].text, id=found[-1].id, metadata=found[-1].metadata)
    return found


@st.composite
def versions(draw: st.DrawFn, text: str) -> str:
    """Another version of a text: chunks kept, dropped, moved, doubled, and new ones."""
    old = text.split("\n\n") if text else []
    kept = draw(st.lists(st.sampled_from(old), max_size=3)) if old else []
    new = draw(st.lists(chunks(), max_size=2))
    return "\n\n".join(draw(st.permutations(kept + new)))


def aliases() -> st.SearchStrategy[list[tuple[str, str]]]:
    """Pairs (name, target) without cycles: a name stands for one that comes later in KEYS."""

    def sound(pairs: list[tuple[int, int]]) -> list[tuple[str, str]]:
        return [(KEYS[min(pair)], KEYS[max(pair)]) for pair in pairs if pair[0] != pair[1]]

    index = st.integers(0, len(KEYS) - 1)
    return st.lists(st.tuples(index, index), max_size=3, unique_by=min).map(sound)


# ---- providers -----------------------------------------------------------------------------------------

_SUBJECT = re.compile(r"Below are descriptions of (.*), one JSON object per line")


@dataclass
class StatementLLM:
    """Reads the statements of a chunk; counts what it is asked; fails on demand.

    A summary names its subject and repeats the texts in the order given, so that a different input shows.
    """

    calls: Counter[str] = field(default_factory=Counter)
    asked: list[str] = field(default_factory=list)
    broken: bool = False
    before: Callable[[LLMRequest], None] | None = None
    model: str = "statements-1"

    async def complete(self, request: LLMRequest) -> LLMReply:
        if self.before is not None:
            self.before(request)
        await asyncio.sleep(0)
        self.calls[request.purpose] += 1
        if request.purpose == "summarize":
            return LLMReply(text=summary_in(request.prompt), prompt_tokens=1, completion_tokens=1)
        if request.purpose == "keywords":
            return LLMReply(text='{"high_level_keywords": ["work"], "low_level_keywords": ["Ada", "Zuse"]}')
        text = text_of_chunk(request.prompt)
        self.asked.append(text)
        if self.broken and FAILING in text:
            raise ProviderUnavailable("broken")
        reply = render_records(*records(text), json_mode=request.json)
        return LLMReply(text=reply, prompt_tokens=1, completion_tokens=1)

    async def stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        yield StreamPart(reply=await self.complete(request))


@dataclass
class CountingEmbedder(DeterministicEmbedder):
    """The deterministic embedder; counts texts."""

    embedded: int = 0

    def __post_init__(self) -> None:
        super().__init__(dimension=16)

    async def embed(self, texts: Sequence[str], *, role: Literal["document", "query"]) -> Embeddings:
        self.embedded += len(texts)
        await asyncio.sleep(0)
        return await super().embed(texts, role=role)


def records(text: str) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str, str]]]:
    """The statements of a chunk: entities, relations."""
    rows = [[part.strip() for part in line.split("|")] for line in text.splitlines()]
    return (
        [(row[1], row[2], row[3]) for row in rows if row[0] == "entity"],
        [(row[1], row[2], row[3], row[4]) for row in rows if row[0] == "relation"],
    )


def summary(subject: str, descriptions: Sequence[str]) -> str:
    return f"{subject}, in short: {' / '.join(descriptions)}"


def summary_in(prompt: str) -> str:
    subject = _SUBJECT.search(prompt)
    assert subject is not None
    lines = [line for line in prompt.splitlines() if line.startswith('{"Description"')]
    return summary(subject[1], [json.loads(line)["Description"] for line in lines])


def settings(*, accept_partial: bool = False, commit_chunks: int = 512) -> Settings:
    """Small sketches and early summaries; one paragraph is one chunk; no second attempts."""
    return Settings(
        chunking=ChunkSettings(strategy="separator"),
        extraction=ExtractSettings(gleaning=0),
        merging=MergeSettings(
            description_texts=K,
            relation_keywords=WORDS,
            summarize_from=SUMMARIZE_FROM,
        ),
        calls=CallSettings(attempts=1),
        ingest=IngestSettings(accept_partial=accept_partial, commit_chunks=commit_chunks),
    )

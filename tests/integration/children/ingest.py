"""Ingests documents into a root through a server until it is killed; tells of each paid call once it is durable."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Collection, Mapping
from typing import Any

from stateless_rag.engine import Engine
from stateless_rag.limits import Limits
from stateless_rag.protocols import JournalEntry, LLMReply, LLMRequest
from stateless_rag.providers import OpenAIEmbedder, OpenAILLM
from stateless_rag.settings import ExtractSettings, IngestSettings, MergeSettings, Settings
from stateless_rag.stores.duckdb.journal import DuckJournal
from stateless_rag.text import digest
from stateless_rag.types import Document, Usage

NAMES = ("Ada", "Babbage", "Turing", "Hopper", "Lovelace", "Zuse", "Shannon", "Neumann", "Knuth", "Hamilton")
MODEL = "fake"


def documents() -> list[Document]:
    """Short texts about a few of the same names; some texts occur twice."""
    return [
        Document(
            f"{NAMES[n % 10]} met {NAMES[(3 * n + 1) % 10]} in Town{n % 4}. {NAMES[(7 * n) % 10]} wrote to "
            f"{NAMES[(n * n) % 10]} about Machine{n % 20}.",
            id=f"d{n}",
        )
        for n in range(24)
    ]


def call_key(request: LLMRequest) -> str:
    """What the server calls the request in its log."""
    texts = [*(turn.content for turn in request.history), request.prompt]
    return digest("/v1/chat/completions", MODEL, *([request.system] if request.system else []), *texts)


class NotingLLM(OpenAILLM):
    """Remembers which request a reply answers."""

    def __init__(self, base_url: str) -> None:
        super().__init__(MODEL, base_url=base_url)
        self.keys: dict[int, tuple[LLMReply, str]] = {}

    async def complete(self, request: LLMRequest) -> LLMReply:
        reply = await super().complete(request)
        self.keys[id(reply)] = (reply, call_key(request))
        return reply


def engine_options(base_url: str) -> dict[str, Any]:
    """How the parent and the child open the engine."""
    return {
        "settings": Settings(
            extraction=ExtractSettings(gleaning=0),
            merging=MergeSettings(summarize_from=4, description_texts=6),
            ingest=IngestSettings(commit_chunks=4, documents_in_flight=8),
        ),
        "llm": NotingLLM(base_url),
        "embedder": OpenAIEmbedder(MODEL, base_url=base_url, dimension=32),
        "limits": Limits(llm=4, embedder=2),
    }


async def ingest(engine: Engine) -> None:
    """The work that may be killed at any moment and done again from the start."""
    for n in range(0, 24, 8):
        await engine.insert(documents()[n : n + 8])
    await engine.delete(["d1", "d2"])


def say(kind: str, key: str) -> None:
    """Written at once: nothing is held back when the process is killed."""
    os.write(1, f"{kind} {key}\n".encode())


def tell_what_is_durable(journal: DuckJournal, llm: NotingLLM) -> None:
    put, put_vectors = journal.put, journal.put_vectors

    async def telling(entry: JournalEntry) -> None:
        await put(entry)
        say("call", llm.keys[id(entry.reply)][1])

    async def telling_vectors(vectors: Mapping[str, Any], entry_usage: Usage, model: str) -> None:
        await put_vectors(vectors, entry_usage, model)
        keys: Collection[str] = vectors
        for key in keys:
            say("vector", key)

    journal.put = telling  # type: ignore[method-assign]
    journal.put_vectors = telling_vectors  # type: ignore[method-assign]


async def main(root: str, base_url: str) -> None:
    options = engine_options(base_url)
    async with Engine.open(root, **options) as engine:
        tell_what_is_durable(engine._workspace.journal, options["llm"])
        say("open", "-")
        await ingest(engine)
    say("done", "-")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

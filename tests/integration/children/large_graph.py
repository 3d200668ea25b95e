"""Take in a graph of so many entities, 20 in a file; print the peak of memory beyond what it began with, in MB."""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path
from typing import Any

from stateless_rag import Engine, HashingEmbedder
from stateless_rag.protocols import LLMReply, LLMRequest
from stateless_rag.testing import DeterministicLLM

PER_FILE = 20


class Forbidden(DeterministicLLM):
    async def complete(self, request: LLMRequest) -> LLMReply:
        raise AssertionError(request.purpose)


def graph(entities: int) -> dict[str, Any]:
    files = entities // PER_FILE
    named = [(f, n, f"function_{f}_{n}") for f in range(files) for n in range(PER_FILE)]
    return {
        "chunks": [{"content": f"def file_{f}(): ...", "source_id": f"file{f}.py"} for f in range(files)],
        "entities": [
            {"entity_name": name, "entity_type": "function", "description": name, "source_id": f"file{f}.py"}
            for f, _, name in named
        ],
        "relationships": [
            {
                "src_id": name,
                "tgt_id": f"function_{(f * 7 + n) % files}_{(n * 3 + 1) % PER_FILE}",
                "description": "calls",
                "source_id": f"file{f}.py",
            }
            for f, n, name in named
        ],
    }


async def main() -> None:
    root, entities = Path(sys.argv[1]), int(sys.argv[2])
    async with Engine.open(root, llm=Forbidden(), embedder=HashingEmbedder(dimension=64)) as engine:
        await engine.insert_graph(graph(2 * PER_FILE), document_id="warm")
        given = graph(entities)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        report = await engine.insert_graph(given)
        assert not report.failed and (await engine.describe()).entities >= entities
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)


asyncio.run(main())

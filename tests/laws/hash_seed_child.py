"""Prints what a workspace holds and what it answers; run by test_hash_seeds.py under several hash seeds."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from dataclasses import replace
from typing import Any, get_args

from laws.generators import StatementLLM, settings
from stateless_rag.engine import Engine
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.testing.dump import dump
from stateless_rag.types import Document, Mode
from unit.scripted import WordTokenizer

STATEMENTS = (
    """entity | Ada | Person | wrote the first program
relation | ADA | Babbage | letters, work, money | wrote to each other""",
    """relation | Babbage | ada | friendship, work | were friends
entity | Zuse | Person | built the Z3

entity | ada | Place | a town
entity | Ada | Machine | a language
entity | ADA | Person | a countess""",
    """relation | Zuse | Babbage | work | never met
relation | Zuse | Ada | work | never met either

entity | Babbage | Machine | counts
entity | babbage | Person | counted
entity | Babbage | Place | a shop""",
    "",
)
PROSE = (
    "Ada Lovelace wrote to Charles Babbage about the Analytical Engine. Babbage lived in London.",
    "The Z3 was built in Berlin by Konrad Zuse in 1941. Konrad Zuse had not heard of Charles Babbage.",
    "查尔斯·巴贝奇设计了分析机。艾达·洛夫莱斯为它写了程序。",
    "Grace Hopper read what Ada Lovelace had written. Die Zuse Z4 lief in Zürich an der ETH.",
)


async def answers(engine: Engine) -> dict[str, object]:
    found: dict[str, object] = {}
    for mode in get_args(Mode):
        retrieval = await engine.retrieve(
            "Who wrote to Charles Babbage about the Analytical Engine?", mode=mode
        )
        counts = [len(retrieval.passages), len(retrieval.entities), len(retrieval.relations)]
        found[mode] = [counts, repr(replace(retrieval, timings={}, usage={}, revision=0))]
    return found


async def main() -> None:
    found = {}
    providers: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
        "statements": (StatementLLM(), DeterministicEmbedder(16), STATEMENTS),
        "llm": (DeterministicLLM(), DeterministicEmbedder(16), PROSE),
        "built-in": (None, None, PROSE),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (llm, embedder, texts) in providers.items():
            async with Engine.open(
                f"{folder}/{name}",
                llm=llm,
                embedder=embedder,
                tokenizer=WordTokenizer(),
                settings=settings(),
            ) as engine:
                await engine.insert(Document(text, id=f"document {n}") for n, text in enumerate(texts))
                await engine.alias("Zuse", "Konrad Zuse")
                await engine.delete("document 3")
                found[name] = [await dump(engine), await answers(engine)]
    json.dump(found, sys.stdout, ensure_ascii=True)


if __name__ == "__main__":
    asyncio.run(main())

"""Ingests until a file may not grow any more, tells what happened, and tries to go on."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys

from stateless_rag.engine import Engine
from stateless_rag.errors import StoreError
from stateless_rag.settings import StoreSettings
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Document


async def main(root: str, placement: str) -> None:
    settings = StoreSettings(placement=placement, base_rows=50)  # type: ignore[arg-type]
    store = await Store.open(root, settings)
    engine = await Engine.open(store, "w", llm=DeterministicLLM(), embedder=DeterministicEmbedder())
    await engine.insert(Document("Ada Lovelace met Charles Babbage.", id="first"))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    done = 0
    try:
        async with asyncio.timeout(240):
            for n in range(1000):
                await engine.insert(Document(f"Person{n} met Nobody{n}. " + "and so on " * 5000, id=f"d{n}"))
                done = n + 1
    except StoreError as error:
        print("failed", done, str(error).replace("\n", " "), flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    try:
        async with asyncio.timeout(240):
            found = await engine.retrieve("Who met Charles Babbage?", mode="naive")
        print("reads", len(found.passages) > 0, flush=True)
    except StoreError as error:
        print("reads refused", error, flush=True)
    try:
        await store.close()
        print("closed", flush=True)
    except StoreError as error:
        print("closed with", error, flush=True)
    async with Store.open(root, settings) as store:  # in this very process
        engine = await Engine.open(store, "w", llm=DeterministicLLM(), embedder=DeterministicEmbedder())
        print("again", (await engine.describe()).chunks >= done, flush=True)


asyncio.run(main(*sys.argv[1:]))

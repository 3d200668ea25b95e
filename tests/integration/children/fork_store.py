"""Opens a store, forks, lets the child try to use it and leave in the way that is asked for, and goes on."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings

from stateless_rag.engine import Engine
from stateless_rag.errors import StoreClosed, StoreLocked
from stateless_rag.stores.duckdb.store import Store
from stateless_rag.testing import DeterministicEmbedder, DeterministicLLM
from stateless_rag.types import Document


async def refused(store: Store, engine: Engine) -> int:
    count = 0
    calls = (store.names, lambda: store.create("b"), lambda: store.drop("a"), lambda: engine.insert("More."))
    for call in (*calls, lambda: engine.retrieve("Ada?"), engine.documents, store.close):
        try:
            await call()
        except StoreClosed:
            count += 1
    return count


def in_child(store: Store, engine: Engine, root: str) -> int:
    count = asyncio.run(refused(store, engine))
    try:
        asyncio.run(Store.open(root).__aenter__())
    except StoreLocked:
        count += 1
    return count


async def opened(root: str) -> tuple[Store, Engine]:
    store = await Store.open(root)
    engine = await Engine.open(store, "a", llm=DeterministicLLM(), embedder=DeterministicEmbedder())
    await engine.insert(Document("Ada Lovelace met Charles Babbage.", id="one"))
    return store, engine


async def go_on(store: Store, engine: Engine) -> None:
    await engine.insert(Document("Alan Turing met Ada Lovelace.", id="two"))
    print("still locked", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await store.close()


def main(root: str, leave: str) -> None:
    # No event loop is open at the fork: a child that closes its copy would stop the parent's.
    store, engine = asyncio.run(opened(root))
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what is tested
    child = os.fork()
    if child == 0:
        print("refused", in_child(store, engine, root), flush=True)
        if leave == "os._exit":
            os._exit(0)
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    print("left with", os.waitstatus_to_exitcode(status), flush=True)
    asyncio.run(go_on(store, engine))


main(sys.argv[1], sys.argv[2])

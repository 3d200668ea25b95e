"""Opens a store, forks, lets the child try to use it and leave in the way that is asked for, and goes on."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from typing import Any

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


def main(root: str, leave: str) -> None:
    loop = asyncio.new_event_loop()
    store = loop.run_until_complete(Store.open(root).__aenter__())
    options: dict[str, Any] = {"llm": DeterministicLLM(), "embedder": DeterministicEmbedder()}
    engine = loop.run_until_complete(Engine.open(store, "a", **options).__aenter__())
    loop.run_until_complete(engine.insert(Document("Ada Lovelace met Charles Babbage.", id="one")))
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what is tested
    child = os.fork()
    if child == 0:
        count = in_child(store, engine, root)
        if leave == "os._exit":
            os._exit(count)
        sys.exit(count)
    _, status = os.waitpid(child, 0)
    print("refused", os.waitstatus_to_exitcode(status), flush=True)
    loop.run_until_complete(engine.insert(Document("Alan Turing met Ada Lovelace.", id="two")))
    print("still locked", flush=True)
    sys.stdin.readline()
    loop.run_until_complete(store.close())
    loop.close()


main(sys.argv[1], sys.argv[2])

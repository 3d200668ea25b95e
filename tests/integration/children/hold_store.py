"""Opens the store on a root, says so, and holds it until its input ends; or says why it may not."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from stateless_rag.errors import StoreLocked
from stateless_rag.stores.duckdb.store import Store


def read_all(root: Path) -> None:
    """Open, read and close every file, which makes POSIX locks of this process void."""
    for path in root.glob("*"):
        if path.is_file():
            path.read_bytes()


async def main(root: Path) -> None:
    try:
        async with Store.open(root) as store:
            await store.create("held")
            print("open", flush=True)
            await asyncio.to_thread(sys.stdin.read)
    except StoreLocked as error:
        print(f"locked {error.holder}|{error}", flush=True)


if "--read-first" in sys.argv:
    read_all(Path(sys.argv[1]))
asyncio.run(main(Path(sys.argv[1])))

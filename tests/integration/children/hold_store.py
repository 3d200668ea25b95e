"""Opens the store on a root, says so, and holds it until its input ends; or says why it may not."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from stateless_rag.errors import StoreLocked
from stateless_rag.stores.duckdb.store import Store


async def main(root: Path, *, read_first: bool) -> None:
    if read_first:
        for path in sorted(root.glob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    file.read()
    try:
        async with Store.open(root) as store:
            await store.create("held")
            print("open", flush=True)
            await asyncio.to_thread(sys.stdin.read)
    except StoreLocked as error:
        print(f"locked {error.holder}|{error}", flush=True)


asyncio.run(main(Path(sys.argv[1]), read_first="--read-first" in sys.argv))

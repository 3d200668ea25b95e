"""Backs up, restores, copies or compacts, and is killed at a moment that is named."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stateless_rag import Store
from stateless_rag.stores.duckdb import compact, copying, keeping


def kill(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any, **named: Any) -> None:
        function(*arguments, **named)
        kill()

    return called


def arm(moment: str) -> None:
    """See to it that the process dies at the moment."""
    places = [(copying, "put_in_place"), (compact, "put_in_place")]
    if moment == "tables are copied":
        setattr(keeping, "copy_tables", after(copying.copy_tables))  # noqa: B010 -- no name that it exports
    elif moment == "file is written":
        for module, name in places:
            setattr(module, name, kill)
    elif moment == "file is to be renamed":
        setattr(Path, "replace", kill)  # noqa: B010
    elif moment == "file is renamed":
        setattr(Path, "replace", after(Path.replace))  # noqa: B010
    elif moment == "file is in place":
        written = after(copying.put_in_place)
        for module, name in places:
            setattr(module, name, written)
    else:
        raise ValueError(moment)


async def main(root: str, operation: str, moment: str, file: str) -> None:
    async with Store.open(root) as store:
        arm(moment)
        if operation == "backup":
            await store.backup("one", file, overwrite=True)
        elif operation == "restore":
            await store.restore(file, "two", placement="own", overwrite=True)
        elif operation == "restore into the root":
            await store.restore(file, "two", overwrite=True)
        elif operation == "copy":
            await store.copy("one", "three")
        elif operation == "compact":
            await store.compact("one")
        elif operation == "compact a file of its own":
            await store.compact("two")


asyncio.run(main(*sys.argv[1:]))

"""LightRAG's class, on an engine of ours."""

from __future__ import annotations

from typing import Any, Self

from stateless_rag.interop.lightrag.roles import Roles
from stateless_rag.interop.lightrag.synchronous import Synchronous

__all__ = ["LightRAG"]


class LightRAG(Synchronous, Roles):
    """A workspace with LightRAG's arguments, methods and results: change the import, keep the script.

    What it writes is an ordinary workspace: that of `Engine.open(working_dir)`, and with a `workspace` that of
    `Engine.open(working_dir/workspace, workspace)`. It opens on first use, or by `initialize_storages()`, and is
    the only one that has the folder open then; `finalize_storages()` closes it.
    """

    @classmethod
    async def create_async(cls, *arguments: Any, **named: Any) -> Self:
        """An instance that is open."""
        made = cls(*arguments, **named)
        await made.initialize_storages()
        return made
